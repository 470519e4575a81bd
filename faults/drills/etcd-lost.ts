import { setTimeout as sleep } from 'node:timers/promises';
import { atPatroni, longestGap } from '../at-patroni.ts';
import type { Drill } from '../drill.ts';

/** More than twice as long as a leader's lock lasts. */
const AWAY_MS = 25_000;
/** While etcd is away and while it comes back. */
const LONGEST_GAP_MS = 5_000;
const CALM_MS = 10_000;

export const etcdLost: Drill = {
  name: 'etcd-lost',
  story: 'all of etcd is killed for 25 s below three nodes under Patroni, while 16 patients book',
  breaks: [
    {
      file: 'deploy/patroni/patroni.yml',
      from: 'failsafe_mode: true',
      to: 'failsafe_mode: false',
      means: 'a leader that reaches no etcd steps down',
    },
  ],
  run: (stage) =>
    atPatroni(stage, async ({ patroni, bookers }) => {
      const led = await patroni.leader();
      stage.say(`${bookers.acknowledged.length} booked; every member of etcd is killed`);
      const killedAt = performance.now();
      await Promise.all(patroni.nodes.map((node) => node.killEtcd()));
      await sleep(AWAY_MS);
      for (const node of patroni.nodes) node.startEtcd();
      stage.say('etcd is started again');
      await sleep(CALM_MS);
      const gap = longestGap(bookers, killedAt);
      if (gap.ms > LONGEST_GAP_MS) throw new Error(`nothing was booked for ${gap.ms.toFixed(0)} ms`);
      if ((await patroni.leader()) !== led) throw new Error('another node leads, though none had failed');
      return { recoveryMs: gap.ms, notes: [`no booking for ${gap.ms.toFixed(0)} ms at most; the leader stayed`] };
    }),
};
