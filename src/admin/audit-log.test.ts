import { randomUUIDv7 as uuid } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AdminService, AuditFlawKind } from '../../gen/amrutam/admin/v1/admin_pb.ts';
import { query, reasonOf, refusal } from '../../test/support/calls.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type Person, person } from '../../test/support/people.ts';
import { startServer, type TestServer } from '../../test/support/server.ts';
import { createSealKeyFile, readSealKeys } from '../audit/seal-keys.ts';
import { sealRows } from '../audit/seal-rows.ts';
import { poolLoad } from '../db/orm.ts';
import { Sql, sql } from '../db/sql.ts';
import { inTransaction } from '../db/transaction.ts';
import { watchStatements } from '../db/watched.ts';

type Admin = Client<typeof AdminService>;

let server: TestServer;
let folder: string;
let auditKeysFile: string;
let admin: Person;
let clients: Record<'gRPC' | 'gRPC-Web' | 'Connect', Admin>;
let statements = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'amrutam-audit-'));
  auditKeysFile = join(folder, 'audit-keys.json');
  await createSealKeyFile(auditKeysFile);
  server = await startServer({ auditKeysFile });
  admin = await person(server, 'ADMINISTRATOR');
  const http = { baseUrl: `http://127.0.0.1:${server.httpPort}`, httpVersion: '1.1' as const };
  const over = (transport: Transport) => createClient(AdminService, transport);
  clients = {
    gRPC: over(createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.grpcPort}` })),
    'gRPC-Web': over(createGrpcWebTransport(http)),
    Connect: over(createConnectTransport(http)),
  };
  watchStatements(server.orm, () => {
    statements += 1;
  });
});

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

const rowsOf = async (where: ReturnType<typeof sql>) =>
  (await query<{ id: string }>(server, sql`SELECT id FROM audit_event WHERE ${where} ORDER BY recorded_at, id`)).map(
    ({ id }) => id,
  );

/** So many rows of one action, some in the same microsecond. */
const written = (action: string, count: number, size = 0) =>
  query(
    server,
    sql`INSERT INTO audit_event SELECT gen_random_uuid(), clock_timestamp() - (n / 3) * interval '1 microsecond', NULL, NULL, NULL,
          ${action}, 'DONE', repeat('x', ${size}), '', NULL, NULL, NULL, '', '', '', '{}', pg_current_xact_id() FROM generate_series(1, ${count}) n`,
  );

/** Resolves when the server asks the database hardly anything: whoever follows listings does so five times a second. */
async function quiet(): Promise<void> {
  for (let before = -100; statements - before > 6; ) {
    before = statements;
    await sleep(500);
  }
}

describe.each(['gRPC', 'gRPC-Web', 'Connect'] as const)('an export over %s', (over) => {
  const exported = async (ask: Parameters<Admin['exportAuditEvents']>[0], who = admin) => {
    const parts: string[][] = [];
    for await (const { events } of clients[over].exportAuditEvents({ purpose: 'review', ...ask }, who))
      parts.push(events.map(({ id }) => id));
    return parts;
  };

  test('has every record of the filter once, oldest first, and not those that come later', async () => {
    const action = `Export${over.replace(/\W/, '')}`;
    await written(action, 1_000);
    const parts = await exported({ action });
    expect(parts.flat()).toEqual(await rowsOf(sql`action = ${action}`));
    expect(parts.map((ids) => ids.length)).toEqual([250, 250, 250, 250]);
    const before = await rowsOf(sql`TRUE`);
    expect((await exported({})).flat()).toEqual(before); // its own record came after them
  });

  test('keeps to times and other conditions', async () => {
    await person(server, 'PATIENT');
    const [middle] = await query<{ at: Date }>(
      server,
      sql`SELECT date_trunc('milliseconds', recorded_at) AS at FROM audit_event WHERE action = 'SignUp' ORDER BY recorded_at DESC LIMIT 1`,
    );
    const at = middle?.at as Date;
    const upTo = await exported({ until: timestampFromDate(at), action: 'SignUp' });
    expect(upTo.flat()).toEqual(await rowsOf(sql`action = 'SignUp' AND recorded_at < ${at}`));
    const since = await exported({ from: timestampFromDate(at), action: 'SignUp' });
    expect(since.flat()).toEqual(await rowsOf(sql`action = 'SignUp' AND recorded_at >= ${at}`));
    expect(await exported({ actorId: uuid() })).toEqual([]);
  });

  test('is on record itself, with what it was for and whose data it was about', async () => {
    const { id: patientId } = await person(server, 'PATIENT');
    const purpose = `complaint ${uuid()}`;
    await exported({ purpose, patientId });
    expect(
      await query(
        server,
        sql`SELECT action, actor_id, outcome, entity_type, patient_id FROM audit_event WHERE reason = ${purpose}`,
      ),
    ).toEqual([
      {
        action: 'ExportAuditEvents',
        actor_id: admin.id,
        outcome: 'DONE',
        entity_type: 'audit_log',
        patient_id: patientId,
      },
    ]);
  });

  test('is for administrators who say why', async () => {
    for (const purpose of ['', '   ', 'a\nb', 'x'.repeat(201)])
      expect(await reasonOf(exported({ purpose }))).toBe('FIELD_INVALID');
    const patient = await person(server, 'PATIENT');
    expect(await reasonOf(exported({}, patient))).toBe('ROLE_REQUIRED');
    expect(
      await query(
        server,
        sql`SELECT outcome FROM audit_event WHERE actor_id = ${patient.id} AND action = 'ExportAuditEvents'`,
      ),
    ).toEqual([{ outcome: 'REFUSED' }]);
  });

  test('reads no faster than its client does, holds no connection meanwhile, and ends with it', async () => {
    const action = `Large${over.replace(/\W/, '')}`;
    await written(action, 24_000, 1_000); // 24 MB, which no buffer on the way takes
    const stop = new AbortController();
    const parts = clients[over]
      .exportAuditEvents({ purpose: 'review', action }, { ...admin, signal: stop.signal })
      [Symbol.asyncIterator]();
    expect((await parts.next()).value?.events.length).toBeGreaterThan(0);
    await quiet();
    const paused = statements;
    await eventually(() => poolLoad(server.orm).inUse === 0); // at times whoever follows listings has one
    let read = 0;
    while (read < 12_000) read += (await parts.next()).value?.events.length ?? 24_000;
    expect(statements).toBeGreaterThan(paused);
    await quiet();
    const halfway = statements;
    stop.abort();
    await parts.next().catch(() => {});
    await quiet();
    expect(statements - halfway).toBeLessThan(60); // of 100 and more that the rest would take
    await eventually(() =>
      server.logged.some((line) => line.includes('ExportAuditEvents') && line.includes('"code":"CANCELLED"')),
    );
  }, 60_000);

  test('ends when the session of its caller does', async () => {
    const action = `Large${over.replace(/\W/, '')}`;
    const leaving = await person(server, 'ADMINISTRATOR');
    const parts = clients[over].exportAuditEvents({ purpose: 'review', action }, leaving)[Symbol.asyncIterator]();
    await parts.next();
    await query(server, sql`UPDATE session SET revoked_at = now() WHERE id = ${leaving.sessionId}`);
    await sleep(2_100); // what was found of it before counts for two seconds
    const rest = async () => {
      while (!(await parts.next()).done);
    };
    expect(await reasonOf(rest())).toBe('SESSION_REVOKED');
  }, 30_000);
});

describe('VerifyAuditLog', () => {
  const verify = (ask: Parameters<Admin['verifyAuditLog']>[0] = {}) => clients.gRPC.verifyAuditLog(ask, admin);

  /** The chain from seal `from` on, call by call. */
  async function whole() {
    let [rows, calls, from] = [0n, 0, 0];
    for (;;) {
      const found = await verify({ firstSeal: from, maxSeals: 7 });
      rows += found.rows;
      calls += 1;
      if (found.nextSeal === 0) return { ...found, rows, calls };
      from = found.nextSeal;
    }
  }

  async function sealAll(): Promise<void> {
    const keys = await readSealKeys(auditKeysFile);
    const { signal } = new AbortController();
    await eventually(async () => {
      while (await inTransaction(server.orm, signal, (em) => sealRows(em, keys, 100)));
      return (await verify({ maxSeals: 1 })).unsealedRows === 0n;
    });
  }

  test('of a log that was never sealed says so', async () => {
    expect(await verify()).toMatchObject({
      firstSeal: 0,
      lastSeal: 0,
      rows: 0n,
      nextSeal: 0,
      headSeal: 0,
      headRoot: '',
      unsealedRows: 10_000n,
    });
    expect((await verify()).oldestUnsealedTime).toBeDefined();
  });

  test('goes through the whole chain in bounded calls, and tells how far it is sealed', async () => {
    const single = `INSERT INTO audit_event SELECT gen_random_uuid(), clock_timestamp(), NULL, NULL, NULL, 'Single', 'DONE', '', '', NULL,
      NULL, NULL, '', '', '', '{}', pg_current_xact_id(); COMMIT;`;
    await query(server, new Sql([`DO $$ BEGIN FOR i IN 1..2000 LOOP ${single} END LOOP; END $$`]));
    await sealAll();
    const found = await whole();
    const [{ n } = { n: 0 }] = await query<{ n: number }>(server, sql`SELECT count(*) AS n FROM audit_event`);
    expect([Number(found.rows), found.flaw]).toEqual([n, undefined]);
    expect(found.calls).toBeGreaterThan(2);
    expect([found.unsealedRows, found.oldestUnsealedTime, found.headRoot.length]).toEqual([0n, undefined, 64]);
    const now = timestampDate(found.sealedTime as NonNullable<typeof found.sealedTime>);
    expect(Math.abs(now.getTime() - Date.now())).toBeLessThan(120_000);
    await person(server, 'PATIENT');
    expect(await verify({ maxSeals: 1 })).toMatchObject({ unsealedRows: 1n, oldestUnsealedTime: expect.anything() });
    const most = await verify({ maxSeals: 1_000_000 });
    expect(most.lastSeal).toBeLessThanOrEqual(1_000);
    expect([0, most.lastSeal + 1]).toContain(most.nextSeal); // all, or as many as one call looks at
  }, 60_000);

  test('compares with the end that is remembered', async () => {
    const { headSeal, headRoot } = await verify({ maxSeals: 1 });
    expect((await verify({ maxSeals: 1, headSeal, headRoot: headRoot.toUpperCase() })).flaw).toBeUndefined();
    const other = await verify({ maxSeals: 1, headSeal, headRoot: '0'.repeat(64) });
    expect(other).toMatchObject({ rows: 0n, nextSeal: 0, flaw: { kind: AuditFlawKind.HEAD_GONE, seal: headSeal } });
    expect((await verify({ headSeal: headSeal + 1, headRoot })).flaw?.kind).toBe(AuditFlawKind.HEAD_GONE);
    for (const ask of [{ headSeal }, { headRoot }, { headSeal, headRoot: 'abc' }, { firstSeal: -1 }])
      expect((await refusal(verify(ask))).reason).toBe('FIELD_INVALID');
  });

  test('names the first seal that is not as it was made, and goes on behind it when asked', async () => {
    await query(server, sql`ALTER TABLE audit_event DISABLE TRIGGER USER`);
    const [row] = await query<{ id: string; number: number }>(
      server,
      sql`SELECT e.id, number FROM audit_seal s JOIN audit_event e ON e.xid >= xid_from AND e.xid < xid_end WHERE number > 1 ORDER BY e.xid LIMIT 1`,
    );
    const { number = 0, id = '' } = row ?? {};
    const table =
      (
        await query<{ name: string }>(
          server,
          sql`SELECT tableoid::regclass::text AS name FROM audit_event WHERE id = ${id}`,
        )
      )[0]?.name ?? '';
    await query(server, sql`ALTER TABLE ${sql.ref(table)} DISABLE TRIGGER USER`);
    await query(server, sql`UPDATE audit_event SET reason = 'changed' WHERE id = ${id}`);
    const found = await whole();
    expect(found).toMatchObject({
      flaw: { kind: AuditFlawKind.CHANGED_ROW, seal: number, eventIds: [id] },
      nextSeal: 0,
    });
    expect(JSON.stringify(found.flaw?.description)).not.toContain('changed row');
    expect((await verify({ firstSeal: number + 1, maxSeals: 1 })).flaw).toBeUndefined();
  }, 60_000);
});
