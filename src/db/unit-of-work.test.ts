import { randomUUIDv7 as uuid } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { query } from '../../test/support/calls.ts';
import { openSlots, type Person, people, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { User } from '../auth/user.entity.ts';
import { Slot } from '../availability/slot.entity.ts';
import type { Call } from '../caller.ts';
import { Fault, type Reason } from '../fault.ts';
import { toConnectError } from '../rpc/errors.ts';
import { Sql, sql } from './sql.ts';
import { row, rows } from './statement.ts';
import type { Answer } from './unit-of-work.ts';
import { lockRows, type Work } from './work.ts';

let server: TestServer;
/** A second instance on the same database, with a single connection. */
let narrow: TestServer;

beforeAll(async () => {
  server = await startServer();
  narrow = await startServer({ databaseUrl: server.url, pool: 1 });
});

afterAll(async () => {
  await narrow.stop();
  await server.stop();
});

const callBy = ({ id, sessionId }: Person, { method = 'Probe', signal = AbortSignal.timeout(30_000) } = {}): Call => ({
  caller: { userId: id, sessionId, role: 'PATIENT' },
  method,
  traceId: `trace of ${method}`,
  clientAddress: '192.0.2.7',
  userAgent: '',
  signal,
});

/** Counts in the name: `tries 1`, `tries 2` … so that an effect that happens twice shows. */
async function countUp(work: Work): Promise<string> {
  const userId = work.call.caller?.userId as string;
  work.about({ entityType: 'user', entityId: userId });
  const {
    users: [user],
    now,
  } = await work.lock({
    users: lockRows(User, (held) => sql`SELECT * FROM app_user WHERE id = ${userId} AND ${held} FOR NO KEY UPDATE`),
  });
  if (!user) throw new Error('the caller has an account');
  user.rename(`tries ${1 + Number(/^tries (\d+)/.exec(user.displayName)?.[1] ?? 0)}`, now);
  return user.displayName;
}

interface Probe {
  readonly requestId?: string;
  readonly asks?: readonly unknown[];
  readonly work?: (work: Work) => Promise<string>;
  readonly of?: TestServer;
}

const once = (call: Call, { requestId = uuid(), asks = ['a'], work = countUp, of = server }: Probe = {}) =>
  of.units.once(call, { requestId, asks }, work, (text) => Buffer.from(text));

const textOf = ({ bytes, replayed }: Answer) => [Buffer.from(bytes).toString(), replayed];

/** What a caller would see of a refusal: as its interceptor makes it. */
async function refusalOf(call: Promise<unknown>): Promise<ConnectError> {
  const thrown = await call.then(
    () => new Error('was answered'),
    (error: unknown) => error,
  );
  if (thrown instanceof Error && thrown.message === 'was answered') throw thrown;
  return toConnectError(thrown);
}

const reasonOf = async (call: Promise<unknown>) => {
  const error = await refusalOf(call);
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? error;
};

const nameOf = async ({ id }: Person) =>
  (await query<{ name: string }>(server, sql`SELECT display_name AS name FROM app_user WHERE id = ${id}`))[0]?.name;

const kept = (requestId: string) =>
  query<{ code: number | null }>(server, sql`SELECT code FROM idempotency WHERE request_id = ${requestId}`);

const onRecord = (requestId: string) =>
  query<{ outcome: string; reason: string; changed_fields: string[] }>(
    server,
    sql`SELECT outcome, reason, changed_fields FROM audit_event WHERE request_id = ${requestId}`,
  );

/** Runs `during` while another connection holds what `statement` locks. */
async function whileHeld<T>(statement: string, values: unknown[], during: () => Promise<T>): Promise<T> {
  const other = new pg.Client(server.url);
  await other.connect();
  try {
    await other.query('BEGIN');
    await other.query(statement, values);
    return await during();
  } finally {
    await other.query('ROLLBACK');
    await other.end();
  }
}

describe('the same request again', () => {
  test('gets the first answer, byte for byte, and nothing happens twice', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    const first = await once(callBy(patient), { requestId });
    const again = await once(callBy(patient), { requestId });
    expect(textOf(first)).toEqual(['tries 1', false]);
    expect(again.replayed).toBe(true);
    expect(Buffer.compare(again.bytes, first.bytes)).toBe(0);
    expect(await nameOf(patient)).toBe('tries 1');
    expect(await onRecord(requestId)).toEqual([
      { outcome: 'DONE', reason: '', changed_fields: ['app_user.display_name'] },
    ]);
  });

  test('fifty times at once: one effect, fifty identical answers', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    const answers = await Promise.all(Array.from({ length: 50 }, () => once(callBy(patient), { requestId })));
    expect(new Set(answers.map(({ bytes }) => Buffer.from(bytes).toString()))).toEqual(new Set(['tries 1']));
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await nameOf(patient)).toBe('tries 1');
    expect(await onRecord(requestId)).toHaveLength(1);
  });

  test('on two instances at once: one effect', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    const answers = await Promise.all([server, narrow].map((of) => once(callBy(patient), { requestId, of })));
    expect(answers.map(({ replayed }) => replayed).sort()).toEqual([false, true]);
    expect(await nameOf(patient)).toBe('tries 1');
  });

  test('with another meaning is refused, and the first answer stays', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    await once(callBy(patient), { requestId, asks: ['a', ''] });
    for (const asks of [['', 'a'], ['a'], ['a', null], ['a', '', ''], [['a', '']]])
      expect(await reasonOf(once(callBy(patient), { requestId, asks }))).toBe('REQUEST_ID_REUSED');
    expect(textOf(await once(callBy(patient), { requestId, asks: ['a', ''] }))).toEqual(['tries 1', true]);
    expect(await onRecord(requestId)).toHaveLength(1);
  });

  test('of another caller, or for another method, is another request', async () => {
    const [one, two] = (await people(server, 'PATIENT', 2)) as [Person, Person];
    const requestId = uuid();
    await once(callBy(one), { requestId });
    expect(textOf(await once(callBy(two), { requestId, asks: ['b'] }))).toEqual(['tries 1', false]);
    expect(textOf(await once(callBy(one, { method: 'Other' }), { requestId, asks: ['c'] }))).toEqual([
      'tries 2',
      false,
    ]);
  });

  test.each([
    ['7 days 1 minute', 'is a new one', ['tries 2', false]],
    ['6 days 23 hours 59 minutes', 'is still the same', ['tries 1', true]],
  ])('%s later it %s', async (age, _, expected) => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    await once(callBy(patient), { requestId });
    await query(
      server,
      sql`UPDATE idempotency SET created_at = now() - ${age}::interval WHERE request_id = ${requestId}`,
    );
    expect(textOf(await once(callBy(patient), { requestId }))).toEqual(expected);
    expect(textOf(await once(callBy(patient), { requestId }))).toEqual([expected[0], true]);
  });

  test('7 days later it may also mean something else', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    await once(callBy(patient), { requestId });
    await query(
      server,
      sql`UPDATE idempotency SET created_at = now() - interval '8 days' WHERE request_id = ${requestId}`,
    );
    expect(textOf(await once(callBy(patient), { requestId, asks: ['b'] }))).toEqual(['tries 2', false]);
  });
});

describe('a refusal', () => {
  const refuse = (reason: Reason) => async (work: Work) => {
    await countUp(work);
    throw new Fault(reason, 'words for people', { metadata: { state: 'CLOSED' } });
  };

  test.each<Reason>(['SLOT_TAKEN', 'BOOKING_STATE', 'SLOT_NOT_FOUND', 'TOO_LATE'])(
    '%s after locks and changes: the changes are undone, the refusal is kept and on record',
    async (reason) => {
      const patient = await person(server, 'PATIENT', 'Asha');
      const requestId = uuid();
      expect(await reasonOf(once(callBy(patient), { requestId, work: refuse(reason) }))).toBe(reason);
      expect(await nameOf(patient)).toBe('Asha');
      expect(await kept(requestId)).toEqual([{ code: reason.endsWith('NOT_FOUND') ? 5 : 9 }]);
      expect(await onRecord(requestId)).toEqual([{ outcome: 'REFUSED', reason, changed_fields: [] }]);
    },
  );

  test('is replayed with its code, words, reason and details, even when it would be answered today', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    const first = await refusalOf(once(callBy(patient), { requestId, work: refuse('SLOT_TAKEN') }));
    const again = await refusalOf(once(callBy(patient), { requestId }));
    expect([again.code, again.rawMessage, again.details]).toEqual([first.code, first.rawMessage, first.details]);
    expect(again.metadata.get('idempotency-replayed')).toBe('true');
    expect(first.metadata.get('idempotency-replayed')).toBeNull();
    expect(await onRecord(requestId)).toHaveLength(1);
  });

  test.each<Reason>(['DOCTOR_NOT_APPROVED', 'FIELD_INVALID', 'OVERLOADED', 'CONTENTION'])(
    '%s is no answer: nothing is kept, and the next try counts',
    async (reason) => {
      const patient = await person(server, 'PATIENT');
      const requestId = uuid();
      expect(await reasonOf(once(callBy(patient), { requestId, work: refuse(reason) }))).toBe(reason);
      expect(await kept(requestId)).toEqual([]);
      expect(await onRecord(requestId)).toEqual([]);
      expect(textOf(await once(callBy(patient), { requestId }))).toEqual(['tries 1', false]);
    },
  );

  test('an unexpected error keeps nothing, and the next try counts', async () => {
    const patient = await person(server, 'PATIENT', 'Asha');
    const requestId = uuid();
    const broken = once(callBy(patient), {
      requestId,
      work: async (work) => {
        await countUp(work);
        throw new TypeError('a bug');
      },
    });
    await expect(broken).rejects.toThrow('a bug');
    expect([await kept(requestId), await nameOf(patient)]).toEqual([[], 'Asha']);
    expect(textOf(await once(callBy(patient), { requestId }))).toEqual(['tries 1', false]);
  });

  test('an error that somebody swallows is still no commit: refused for certain, nothing kept', async () => {
    const patient = await person(server, 'PATIENT', 'Asha');
    const requestId = uuid();
    const swallowing = async (work: Work) => {
      const name = await countUp(work);
      await rows(work.em, sql`SELECT 1 / 0`).catch(() => {});
      return name;
    };
    const error = await refusalOf(once(callBy(patient), { requestId, work: swallowing }));
    expect(error.findDetails(ErrorInfoSchema)).toEqual([]);
    const written = server.units.write(callBy(patient), async (work) => {
      await rows(work.em, sql`SELECT 1 / 0`).catch(() => {});
      return 'written';
    });
    expect((await refusalOf(written)).findDetails(ErrorInfoSchema)).toEqual([]);
    expect([await kept(requestId), await nameOf(patient)]).toEqual([[], 'Asha']);
  });

  test('found by a constraint in the last statement: a second transaction keeps it, with its record', async () => {
    const [patient, doctor] = await Promise.all([person(server, 'PATIENT', 'Asha'), person(server, 'DOCTOR')]);
    const [slot] = (await openSlots(server, doctor.id)) as [Slot];
    const requestId = uuid();
    const overlap = async (work: Work) => {
      await countUp(work);
      work.about({ entityType: 'doctor', entityId: doctor.id });
      work.em.persist(
        Slot.open(doctor.id, { startAt: slot.startAt, endAt: slot.endAt }, { field: '', now: new Date() }),
      );
      return 'published';
    };
    expect(await reasonOf(once(callBy(patient), { requestId, work: overlap }))).toBe('SLOT_OVERLAP');
    expect(await nameOf(patient)).toBe('Asha');
    expect(await kept(requestId)).toEqual([{ code: 9 }]);
    expect(
      await query(
        server,
        sql`SELECT outcome, reason, entity_type, entity_id, changed_fields FROM audit_event WHERE request_id = ${requestId}`,
      ),
    ).toEqual([
      { outcome: 'REFUSED', reason: 'SLOT_OVERLAP', entity_type: 'doctor', entity_id: doctor.id, changed_fields: [] },
    ]);
    expect(await reasonOf(once(callBy(patient), { requestId }))).toBe('SLOT_OVERLAP');
  });
});

describe('who may not act any more', () => {
  const ends = {
    ACCOUNT_SUSPENDED: ({ id }: Person) => sql`UPDATE app_user SET state = 'SUSPENDED' WHERE id = ${id}`,
    SESSION_REVOKED: ({ sessionId }: Person) => sql`UPDATE session SET revoked_at = now() WHERE id = ${sessionId}`,
    'SESSION_REVOKED, run out': ({ sessionId }: Person) =>
      sql`UPDATE session SET expires_at = now() - interval '1 second' WHERE id = ${sessionId}`,
  };

  test.each(Object.entries(ends))(
    '%s: at once, also for answers given before, and nothing is kept',
    async (key, end) => {
      const [reason] = key.split(',');
      const patient = await person(server, 'PATIENT', 'Asha');
      const [answered, fresh] = [uuid(), uuid()];
      await once(callBy(patient), { requestId: answered });
      await query(server, end(patient));
      expect(await reasonOf(once(callBy(patient), { requestId: fresh }))).toBe(reason);
      expect(await reasonOf(once(callBy(patient), { requestId: answered }))).toBe(reason);
      expect(await reasonOf(once(callBy(patient), { requestId: answered, asks: ['other'] }))).toBe(reason);
      expect(await reasonOf(server.units.write(callBy(patient), countUp))).toBe(reason);
      expect(await nameOf(patient)).toBe('tries 1');
      expect(await kept(fresh)).toEqual([]);
    },
  );

  test('somebody else’s session is no session', async () => {
    const [one, two] = (await people(server, 'PATIENT', 2)) as [Person, Person];
    const call = callBy({ ...one, sessionId: two.sessionId });
    expect(await reasonOf(once(call))).toBe('SESSION_REVOKED');
  });

  test('an account that is gone has a token that is none', async () => {
    const patient = await person(server, 'PATIENT');
    expect(await reasonOf(once(callBy({ ...patient, id: uuid() })))).toBe('TOKEN_INVALID');
  });
});

describe('a change without a request_id', () => {
  const write = (patient: Person, work: (work: Work) => Promise<string | Fault>) =>
    server.units.write(callBy(patient, { method: 'Plain' }), work);
  const recordOf = ({ id }: Person) =>
    query(
      server,
      sql`SELECT outcome, reason, changed_fields FROM audit_event WHERE actor_id = ${id} AND action = 'Plain'`,
    );
  const fault = new Fault('CREDENTIALS_INVALID', 'no');

  test('is made and on record', async () => {
    const patient = await person(server, 'PATIENT');
    expect(await write(patient, countUp)).toBe('tries 1');
    expect(await recordOf(patient)).toEqual([
      { outcome: 'DONE', reason: '', changed_fields: ['app_user.display_name'] },
    ]);
  });

  test('that throws a refusal keeps nothing but its record', async () => {
    const patient = await person(server, 'PATIENT', 'Asha');
    const refused = write(patient, async (work) => {
      await countUp(work);
      throw fault;
    });
    await expect(refused).rejects.toBe(fault);
    expect(await nameOf(patient)).toBe('Asha');
    expect(await recordOf(patient)).toEqual([
      { outcome: 'REFUSED', reason: 'CREDENTIALS_INVALID', changed_fields: [] },
    ]);
  });

  test('that returns a refusal keeps its changes', async () => {
    const patient = await person(server, 'PATIENT', 'Asha');
    const refused = write(patient, async (work) => {
      await countUp(work);
      return fault;
    });
    await expect(refused).rejects.toBe(fault);
    expect(await nameOf(patient)).toBe('tries 1');
    expect(await recordOf(patient)).toMatchObject([{ outcome: 'REFUSED', reason: 'CREDENTIALS_INVALID' }]);
  });
});

describe('who has to wait', () => {
  test.each(['IN_PROGRESS', 'CONTENTION'])(
    '%s after two seconds, nothing kept; afterwards the same try succeeds',
    async (reason) => {
      const patient = await person(server, 'PATIENT');
      const requestId = uuid();
      const [statement, values] =
        reason === 'IN_PROGRESS'
          ? [`INSERT INTO idempotency VALUES ($1, 'Probe', $2, '', NULL, NULL, now())`, [patient.id, requestId]]
          : ['SELECT FROM app_user WHERE id = $1 FOR UPDATE', [patient.id]];
      const startedAt = performance.now();
      const seen = await whileHeld(statement as string, values as string[], async () => {
        const error = await refusalOf(once(callBy(patient), { requestId }));
        return [error.findDetails(ErrorInfoSchema)[0]?.reason, error.code];
      });
      expect(seen).toEqual([reason, 10]);
      expect(performance.now() - startedAt).toBeGreaterThan(1_900);
      expect(await kept(requestId)).toEqual([]);
      expect(textOf(await once(callBy(patient), { requestId }))).toEqual(['tries 1', false]);
    },
  );

  test('a replay doesn’t queue behind what its request would have to lock', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    await once(callBy(patient), { requestId });
    const answer = await whileHeld('SELECT FROM app_user WHERE id = $1 FOR UPDATE', [patient.id], async () => {
      const startedAt = performance.now();
      const replay = await once(callBy(patient), { requestId });
      expect(performance.now() - startedAt).toBeLessThan(1_500);
      return replay;
    });
    expect(textOf(answer)).toEqual(['tries 1', true]);
  });

  test('two that deadlock both succeed: the loser starts over, afresh', async () => {
    const [one, two] = (await people(server, 'PATIENT', 2)) as [Person, Person];
    let runs = 0;
    let waiting = 0;
    const crosswise = (other: Person) => async (work: Work) => {
      runs += 1;
      const name = await countUp(work);
      waiting += 1;
      for (let i = 0; waiting < 2 && i < 200; i++) await sleep(5);
      await rows(work.em, sql`SELECT FROM app_user WHERE id = ${other.id} FOR NO KEY UPDATE`);
      return name;
    };
    const answers = await Promise.all([
      once(callBy(one), { work: crosswise(two) }),
      once(callBy(two), { work: crosswise(one) }),
    ]);
    expect(answers.map(textOf)).toEqual([
      ['tries 1', false],
      ['tries 1', false],
    ]);
    expect(runs).toBe(3);
  });

  test.each(['40P01', '40001'])('%s: three tries, then CONTENTION, and nothing is kept', async (state) => {
    const patient = await person(server, 'PATIENT', 'Asha');
    const requestId = uuid();
    let runs = 0;
    const losing = async (work: Work) => {
      runs += 1;
      await countUp(work);
      await rows(work.em, new Sql([`DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '${state}'; END $$`]));
      return '';
    };
    expect(await reasonOf(once(callBy(patient), { requestId, work: losing }))).toBe('CONTENTION');
    expect([runs, await kept(requestId), await nameOf(patient)]).toEqual([3, [], 'Asha']);
  });
});

describe('a caller who goes away', () => {
  const sleeping = async () => {
    const [found] = await query<{ count: number }>(
      server,
      sql`SELECT count(*)::integer AS count FROM pg_stat_activity
          WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()`,
    );
    return found?.count;
  };

  test.each(['read', 'write', 'once'] as const)(
    'ends the running statement of a %s in the database, and its only connection is free again',
    async (kind) => {
      const patient = await person(server, 'PATIENT');
      const controller = new AbortController();
      const call = callBy(patient, { signal: controller.signal });
      const requestId = uuid();
      const nap = sql`SELECT pg_sleep(20)`;
      const napping = async (work: Work) => {
        const name = await countUp(work);
        await rows(work.em, nap);
        return name;
      };
      const running = {
        read: () => narrow.units.read(call.signal, (em) => rows(em, nap)),
        write: () => narrow.units.write(call, napping),
        once: () => once(call, { requestId, of: narrow, work: napping }),
      }
        [kind]()
        .catch((error: unknown) => error);
      for (let tries = 0; tries < 100 && (await sleeping()) === 0; tries++) await sleep(20);
      expect(await sleeping()).toBe(1);
      const gone = new Error('gone');
      controller.abort(gone);
      expect(await running).toBe(gone);
      for (let tries = 0; tries < 100 && (await sleeping()) !== 0; tries++) await sleep(20);
      expect(await sleeping()).toBe(0);
      expect(textOf(await once(callBy(patient), { requestId, of: narrow }))).toEqual(['tries 1', false]);
    },
  );

  test('before it began, nothing begins', async () => {
    const patient = await person(server, 'PATIENT');
    const call = callBy(patient, { signal: AbortSignal.abort(new Error('gone')) });
    await expect(once(call)).rejects.toThrow('gone');
    await expect(server.units.write(call, countUp)).rejects.toThrow('gone');
    expect(await nameOf(patient)).not.toContain('tries');
  });
});

describe('connections', () => {
  test('when none becomes free in two seconds: OVERLOADED, nothing kept', async () => {
    const patient = await person(server, 'PATIENT');
    const requestId = uuid();
    const hog = narrow.units.read(AbortSignal.timeout(10_000), (em) => rows(em, sql`SELECT pg_sleep(2.8)`));
    await sleep(50);
    const seen = await Promise.all([
      reasonOf(once(callBy(patient), { requestId, of: narrow })),
      reasonOf(narrow.units.read(AbortSignal.timeout(10_000), (em) => rows(em, sql`SELECT 1`))),
    ]);
    expect(seen).toEqual(['OVERLOADED', 'OVERLOADED']);
    await hog;
    expect(textOf(await once(callBy(patient), { requestId, of: narrow }))).toEqual(['tries 1', false]);
  });

  test('each has the time-outs, READ COMMITTED and UTC from its start', async () => {
    const settings = await Promise.all(
      Array.from({ length: 8 }, () =>
        server.units.read(AbortSignal.timeout(10_000), (em) =>
          row<Record<string, string>>(
            em,
            sql`SELECT pg_backend_pid() AS pid, current_setting('lock_timeout') AS lock, current_setting('statement_timeout') AS statement,
              current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('transaction_isolation') AS isolation,
              current_setting('timezone') AS zone, pg_sleep(0.2)`,
          ),
        ),
      ),
    );
    expect(new Set(settings.map((one) => one?.pid)).size).toBe(8);
    const expected = { lock: '2s', statement: '5s', idle: '5s', isolation: 'read committed', zone: 'UTC' };
    for (const one of settings) expect(one).toMatchObject(expected);
  });

  test('a report has longer for a statement, and leaves no trace of that on its connection', async () => {
    const timeout = sql`SELECT current_setting('statement_timeout') AS statement`;
    const signal = AbortSignal.timeout(10_000);
    expect(await narrow.units.report(signal, (em) => row(em, timeout))).toEqual({ statement: '25s' });
    expect(await narrow.units.read(signal, (em) => row(em, timeout))).toEqual({ statement: '5s' });
  });

  test('none is left in a transaction', async () => {
    const open = await query(
      server,
      sql`SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`,
    );
    expect(open).toEqual([]);
    const unanswered = await query(server, sql`SELECT request_id FROM idempotency WHERE answer IS NULL`);
    expect(unanswered).toEqual([]);
  });
});
