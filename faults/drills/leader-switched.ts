import { setTimeout as sleep } from 'node:timers/promises';
import { atPatroni, longestGap, REJOIN_MS } from '../at-patroni.ts';
import type { Drill } from '../drill.ts';

const TIMES = 2;
const LED_MS = 30_000;
const SERVED_MS = 10_000;
const CALM_MS = 3_000;

export const leaderSwitched: Drill = {
  name: 'leader-switched',
  story: 'the leader of three nodes under Patroni hands over twice, as planned, while 16 patients book',
  breaks: [
    {
      file: 'src/db/pool.ts',
      from: "pool.on('error', (error) => {",
      to: "pool.on('failure' as 'error', (error) => {",
      means: 'a connection that breaks while it is idle ends the process',
    },
  ],
  run: (stage) =>
    atPatroni(stage, async ({ patroni, bookers }) => {
      const gaps: number[] = [];
      for (let time = 0; time < TIMES; time++) {
        const old = await patroni.leader();
        stage.say(`${bookers.acknowledged.length} booked; ${old.name} hands over`);
        const switchedAt = performance.now();
        await patroni.switchOver();
        await patroni.ledByAnother(old, LED_MS);
        const ledMs = performance.now() - switchedAt;
        await bookers.servedAfter(performance.now(), SERVED_MS);
        const gap = longestGap(bookers, switchedAt);
        gaps.push(gap.ms);
        stage.say(`another led ${ledMs.toFixed(0)} ms later; no booking for ${gap.ms.toFixed(0)} ms`);
        await patroni.whole(REJOIN_MS);
        await sleep(CALM_MS);
      }
      return {
        recoveryMs: Math.max(...gaps),
        notes: [`no booking for ${gaps.map((ms) => (ms / 1000).toFixed(1)).join(' and ')} s`],
      };
    }),
};
