import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSlots, type Person, people } from '../../test/support/people.ts';
import { type BothClients, clientsOf, outcomeOf } from '../../test/support/process-client.ts';
import { startDatabaseProxy } from '../../test/support/process-proxy.ts';
import { atInstances } from '../at-instances.ts';
import type { Drill } from '../drill.ts';

/** The longest that the lock of a frozen instance may keep others from a slot: idle_in_transaction_session_timeout and a bit. */
const HELD_MS = 8_000;

export const frozenInstance: Drill = {
  name: 'frozen-instance',
  story: 'an instance is frozen (SIGSTOP) while it holds the lock of a slot; another books that slot; then it wakes up',
  breaks: [
    {
      file: 'src/db/orm.ts',
      from: 'idle_in_transaction_session_timeout: 5_000',
      to: 'idle_in_transaction_session_timeout: 60_000',
      means: 'the database lets idle transactions hold their locks for a minute',
    },
  ],
  run: (stage) =>
    atInstances(stage, 1, async ({ clinic, clients: [healthy] }) => {
      const proxy = await startDatabaseProxy(stage.postgres.url(clinic.database));
      try {
        const frozen = await clinic.start({ DATABASE_URL: proxy.url });
        const [doctor] = (await people(clinic, 'DOCTOR', 1)) as [Person];
        const [slot] = await openSlots(clinic, doctor.id);
        const [first, second] = (await people(clinic, 'PATIENT', 2)) as [Person, Person];
        const book = (by: Person, at: BothClients, requestId: string) =>
          outcomeOf(by, (as) => at.grpc.booking.bookSlot({ requestId, slotId: slot?.id ?? '' }, as));

        const requestId = randomUUID();
        const stopped = proxy.nextCommit();
        const held = book(first, clientsOf(frozen), requestId);
        const commit = await stopped;
        frozen.kill('SIGSTOP');
        const frozenAt = performance.now();
        let won = await book(second, healthy as BothClients, randomUUID());
        while (won.reason !== 'OK' && performance.now() - frozenAt < HELD_MS) {
          await sleep(100);
          won = await book(second, healthy as BothClients, randomUUID());
        }
        const heldMs = performance.now() - frozenAt;
        if (!won.answer?.booking) throw new Error(`the lock was held for more than ${HELD_MS} ms: ${won.reason}`);

        frozen.kill('SIGCONT');
        commit.cut(); // the database has closed the connection long ago
        const { reason } = await held;
        if (reason === 'OK') throw new Error('the frozen instance acknowledged a booking that was rolled back');
        const retry = await book(first, clientsOf(frozen), requestId);
        if (retry.reason !== 'SLOT_TAKEN') throw new Error(`the retry was told ${retry.reason}`);
        return {
          booked: [won.answer.booking.id],
          recoveryMs: heldMs,
          notes: [`the frozen call ended as ${reason}, its retry as ${retry.reason}`],
        };
      } finally {
        await proxy.close();
      }
    }),
};
