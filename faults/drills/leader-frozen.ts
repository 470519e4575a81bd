import { setTimeout as sleep } from 'node:timers/promises';
import { atPatroni, longestGap, REJOIN_MS } from '../at-patroni.ts';
import type { Drill } from '../drill.ts';
import type { PatroniNode } from '../patroni-node.ts';

const LED_MS = 60_000;
const SERVED_MS = 15_000;
/** For which the old leader's PostgreSQL is awake and its Patroni, which would stop it, is not. */
const UNTOLD_MS = 4_000;
/** For which its Patroni is awake and its etcd, from which it would hear what happened, is not. */
const ALONE_MS = 4_000;

export const leaderFrozen: Drill = {
  name: 'leader-frozen',
  story: 'the leader of three nodes under Patroni is frozen whole; thawed, its PostgreSQL has not heard of the new one',
  breaks: [
    {
      file: 'deploy/patroni/patroni.yml',
      from: 'synchronous_mode: true',
      to: 'synchronous_mode: false',
      means: 'the old leader acknowledges what no standby has',
    },
  ],
  run: (stage) =>
    atPatroni(stage, async ({ patroni, bookers }) => {
      const old = await patroni.leader();
      stage.say(`${bookers.acknowledged.length} booked; ${old.name} is frozen`);
      const frozenAt = performance.now();
      old.freeze();
      const ledMs = await patroni.ledByAnother(old, LED_MS);
      await bookers.servedAfter(frozenAt + ledMs, SERVED_MS);
      const gap = longestGap(bookers, frozenAt);
      stage.say(`another led after ${ledMs.toFixed(0)} ms; no booking for ${gap.ms.toFixed(0)} ms`);
      old.thaw(({ command }) => /postgres/.test(command) && !/patroni /.test(command));
      await mustNotAcknowledge(old);
      stage.say('the old leader, awake and untold, acknowledged nothing');
      old.thaw(({ command }) => !/^etcd /.test(command));
      await sleep(ALONE_MS);
      old.thaw();
      const wholeMs = await patroni.whole(REJOIN_MS);
      return {
        recoveryMs: gap.endedAt - frozenAt,
        notes: [
          `no booking for ${(gap.ms / 1000).toFixed(1)} s; awake and untold the old leader acknowledged nothing`,
          `told, it was a standby after ${(wholeMs / 1000).toFixed(1)} s`,
        ],
      };
    }),
};

/** A write at it, past the balancer: it is taken for done by nobody. */
async function mustNotAcknowledge(old: PatroniNode): Promise<void> {
  const [recovering] = await old.query('SELECT pg_is_in_recovery() AS yes');
  if (recovering?.yes) throw new Error('the old leader knows already: nothing was shown');
  const told = old.query('CREATE TABLE split_brain ()').then(
    () => true,
    () => false,
  );
  if (await Promise.race([told, sleep(UNTOLD_MS, false)])) throw new Error('two leaders acknowledged writes at once');
}
