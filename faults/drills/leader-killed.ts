import { setTimeout as sleep } from 'node:timers/promises';
import { atPatroni, longestGap, type PatroniScene, REJOIN_MS } from '../at-patroni.ts';
import type { Drill, Report, Stage } from '../drill.ts';

/** Without walsenders: what is committed now reaches no standby, and must not be acknowledged. */
const UNSENT_MS = 1_500;
const LED_MS = 60_000;
const SERVED_MS = 15_000;

export const leaderKilled: Drill = {
  name: 'leader-killed',
  story: 'of three nodes under Patroni the leader, cut off from its standbys, is killed whole while 16 patients book',
  breaks: [
    {
      file: 'deploy/patroni/patroni.yml',
      from: 'synchronous_mode: true',
      to: 'synchronous_mode: false',
      means: 'COMMITs are acknowledged before a standby has them',
    },
    {
      file: 'src/db/transaction.ts',
      from: 'if (isDefinite(error)) throw error;',
      to: 'if (!isDefinite(error)) return;',
      means: 'a lost COMMIT counts as done',
    },
  ],
  run: (stage) => atPatroni(stage, (scene) => killLeader(stage, scene)),
};

/** Kills it, looks when somebody is served again, and starts it again. */
export async function killLeader(stage: Stage, { patroni, bookers }: PatroniScene): Promise<Partial<Report>> {
  const old = await patroni.leader();
  old.freeze(({ command }) => command.includes('walsender'));
  await sleep(UNSENT_MS);
  stage.say(`${bookers.acknowledged.length} booked; ${old.name} is killed with its etcd`);
  const killedAt = performance.now();
  await old.kill();
  const ledMs = await patroni.ledByAnother(old, LED_MS);
  await bookers.servedAfter(killedAt + ledMs, SERVED_MS);
  const gap = longestGap(bookers, killedAt - UNSENT_MS);
  const recoveryMs = gap.endedAt - killedAt;
  stage.say(
    `${(await patroni.leader()).name} leads after ${ledMs.toFixed(0)} ms, booked ${recoveryMs.toFixed(0)} ms after the kill`,
  );
  const wroteBefore = old.log().length;
  old.start();
  const wholeMs = await patroni.whole(REJOIN_MS);
  const rewound = /running pg_rewind/.test(old.log().slice(wroteBefore));
  return {
    recoveryMs,
    notes: [
      `no booking for ${(gap.ms / 1000).toFixed(1)} s, of them ${UNSENT_MS / 1000} s before the kill`,
      `another led after ${(ledMs / 1000).toFixed(1)} s`,
      `started again, the old leader was ${rewound ? 'rewound and ' : ''}a standby after ${(wholeMs / 1000).toFixed(1)} s`,
    ],
  };
}
