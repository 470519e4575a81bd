import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../../test/support/process-service.ts';
import type { Drill } from '../drill.ts';
import { seededRandom } from '../seeded-random.ts';
import { underLoad } from '../under-load.ts';

const INSTANCES = 3;
const KILLS = 6;

export const killedInstances: Drill = {
  name: 'killed-instances',
  story: 'kill -9 of one of three instances at random moments, six times, each started again, while 16 patients book',
  breaks: [
    {
      file: 'src/db/transaction.ts',
      from: '  await commit(em);\n  return result;',
      to: '  setTimeout(() => void commit(em).catch(() => {}), 100);\n  return result;',
      means: 'callers are answered before the COMMIT',
    },
  ],
  run: (stage) =>
    underLoad(stage, { instances: INSTANCES, brutal: true }, async ({ clinic, services, bookers, replaced }) => {
      const random = seededRandom(stage.seed);
      let recoveryMs = 0;
      for (let i = 0; i < KILLS; i++) {
        await sleep(300 + random() * 700);
        const index = Math.floor(random() * INSTANCES);
        const victim = services[index] as Service;
        victim.kill('SIGKILL');
        const killedAt = performance.now();
        await victim.ended;
        recoveryMs = Math.max(recoveryMs, await bookers.servedAfter(killedAt, 5_000));
        replaced(index, await clinic.start());
      }
      return { recoveryMs, notes: [`${KILLS} killed`] };
    }),
};
