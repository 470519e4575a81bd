import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../src/db/sql.ts';
import { forkFor, row } from '../../src/db/statement.ts';
import { type Acknowledged, type Bookers, lookBack } from '../bookers.ts';
import type { Report } from '../drill.ts';
import { watchHealth } from '../health-watch.ts';
import type { Ran } from './archived.ts';
import { type Damage, damages, flipped } from './damage.ts';
import { makeBookings } from './many-bookings.ts';
import type { Scene } from './scene.ts';
import { mustBeAsSealed, sealLog } from './sealed-log.ts';
import { sendWitness } from './witness.ts';

/** What a restore is to keep to. */
const AIMS = { lostMs: 60_000, backMs: 15 * 60_000 };
const READY_MS = 30_000;

/** Bookings that a caller was told of, and what the restore took. */
interface Restored {
  readonly acknowledged: number;
  /** Milliseconds from the disaster to the first booking after it. */
  readonly backMs: number;
  readonly notes: readonly string[];
}

/**
 * A backup under load, a moment, more load, and everything is gone: after the restore all that was acknowledged before the moment is
 * there and nothing that was begun after it, and the audit log is as it was sealed. `bookings` are there beforehand, a tenth of them only in WAL. Then another backup.
 */
export async function restoreToMoment(
  scene: Scene,
  { bookings, afterMs }: { readonly bookings: number; readonly afterMs: number },
): Promise<Restored> {
  const { stage, archived, clinic, services } = scene;
  const many = bookings ? await makeBookings(archived.url(clinic.database), bookings) : undefined;
  if (many) stage.say(`nine tenths of ${bookings} bookings are made`);
  const witness = await sendWitness(clinic, scene.clients);
  const crew = await scene.book({ patients: 16, pauseMs: many ? 500 : 60 });
  const backup = well(await archived.schedule('now'));
  stage.say(`${crew.acknowledged.length} booked; backup made and verified in ${seconds(backup.ms)}`);
  await many?.more();
  await witness.before();
  const head = await sealLog(clinic);
  const before = performance.now();
  const [now] = await archived.query('SELECT clock_timestamp()::text AS moment');
  const [moment, after] = [`${now?.moment}`, performance.now()];
  stage.say(`${crew.acknowledged.length} booked; the moment is ${moment}`);
  await witness.after();
  await Promise.race([sleep(afterMs), crew.failed]);
  await archived.archiveAll();
  refused(await archived.restore('--to', moment), /is running/);
  const lostAt = performance.now();
  await archived.kill({ andData: true });
  crew.abandon();
  stage.say(`${crew.acknowledged.length} booked; PostgreSQL is killed and its data deleted`);
  const restored = well(await archived.restore('--to', moment));
  const backMs = await serves(scene, lostAt);
  stage.say(`restored in ${seconds(restored.ms)}, booked ${seconds(backMs)} after the disaster`);
  const health = watchHealth(services);
  await health.readyAfter(performance.now(), READY_MS);
  await health.stop();
  await witness.look();
  await mustBeAsSealed(clinic, archived.url(clinic.database), head);
  const counted = await mustShowTheMoment(scene, crew.acknowledged, { before, after });
  well(await archived.schedule('now'));
  well(await archived.schedule('status'));
  const [size] = await archived.query(`SELECT pg_size_pretty(pg_database_size('${clinic.database}')) AS size`);
  return {
    acknowledged: counted.kept,
    backMs,
    notes: [
      `PostgreSQL ${archived.version}, ${size?.size}`,
      `backup and verification ${seconds(backup.ms)}, restore ${seconds(restored.ms)}`,
      `${counted.kept} acknowledged before the moment are there, none of ${counted.undone} begun after it; ${counted.between} between`,
    ],
  };
}

/** Little is booked, so that segments of WAL fill up slowly; then everything is gone, and as much as there is comes back. */
export async function restoreToLatest(scene: Scene, lightMs: number): Promise<Restored> {
  const { stage, archived, clinic } = scene;
  const crew = await scene.book({ patients: 2, pauseMs: 250 });
  await Promise.race([sleep(lightMs), crew.failed]);
  const lostAt = performance.now();
  await archived.kill({ andData: true });
  crew.abandon();
  const told = [...crew.acknowledged];
  const restored = well(await archived.restore('--to', 'latest'));
  const backMs = await serves(scene, lostAt);
  const there = await bookingsThere(scene, told);
  const lostMs = Math.max(0, ...told.filter(({ bookingId }) => !there.has(bookingId)).map(({ at }) => lostAt - at));
  stage.say(`${told.length - there.size} of ${told.length} lost: the last ${seconds(lostMs)}`);
  if (lostMs > AIMS.lostMs) throw new Error(`what was acknowledged ${seconds(lostMs)} before the disaster is lost`);
  await lookBack(
    clinic,
    told.filter(({ at }) => lostAt - at > lostMs),
  );
  const rpo = `RPO ${seconds(lostMs)} (aim 60 s)`;
  return { acknowledged: there.size, backMs, notes: [`latest: ${rpo}, restore ${seconds(restored.ms)}`] };
}

/** PostgreSQL is killed, and its disk is still there: not one acknowledged booking is lost, also when only the second try succeeds. */
export async function restoreFromDisk(scene: Scene): Promise<Restored> {
  const { archived, clinic } = scene;
  const crew = await scene.book({ patients: 8, pauseMs: 60 });
  await Promise.race([sleep(1_500), crew.failed]);
  const lostAt = performance.now();
  await archived.kill();
  crew.abandon();
  refused(await archived.restore('--to', 'latest'), /isn't empty: say --move-aside/);
  const undo = await flipped.do(archived);
  const failed = refused(await archived.restore('--to', 'latest', '--move-aside'), flipped.told);
  await undo();
  const [, again = ''] = /To try again: (.+)/.exec(failed.output) ?? [];
  well(await archived.restore('--to', 'latest', ...again.split(' ')));
  const backMs = await serves(scene, lostAt);
  const { acknowledged } = await lookBack(clinic, crew.acknowledged);
  return {
    acknowledged,
    backMs,
    notes: [`${acknowledged} acknowledged and none lost where the old disk could be read`],
  };
}

/** Each damage makes a restore and a verification fail, and say so; without it both succeed. */
export async function refuseDamaged({ stage, archived }: Scene, chosen: readonly Damage[] = damages): Promise<void> {
  for (let segments = 0; segments < 3; segments++) await archived.archiveAll();
  const copy = archived.aside('copy');
  const restoreCopy = async () => {
    const ran = await archived.restore('--copy', copy, '--to', 'latest');
    await rm(copy, { recursive: true });
    return ran;
  };
  well(await restoreCopy());
  for (const damage of chosen) {
    const undo = await damage.do(archived);
    const told = refused(await restoreCopy(), damage.told);
    stage.say(`${damage.means}: ${told.output.trim().split('\n').at(-1)}`);
    refused(await archived.schedule('verify'), /the repository is damaged/);
    refused(await archived.schedule('status'), /the repository is damaged/);
    await undo();
  }
  well(await archived.schedule('verify'));
}

/** The report of all of it, beside the aims. */
export function reportOf(restored: readonly Restored[]): Report {
  const backMs = Math.max(...restored.map((one) => one.backMs));
  if (backMs > AIMS.backMs) throw new Error(`booked only ${seconds(backMs)} after a disaster`);
  return {
    acknowledged: restored.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    lost: 0,
    doubled: 0,
    recoveryMs: backMs,
    notes: [`RTO ${seconds(backMs)} (aim 15 min)`, ...restored.flatMap(({ notes }) => notes)],
  };
}

/** Starts PostgreSQL; instances find it by themselves. Milliseconds from `since` to the first booking. */
async function serves({ archived, book }: Scene, since: number): Promise<number> {
  await archived.start();
  well(await archived.schedule('wake'));
  const crew: Bookers = await book({ patients: 4, pauseMs: 60 });
  const backMs = await crew.servedAfter(since, AIMS.backMs);
  await sleep(1_000);
  await crew.stop();
  return backMs;
}

async function mustShowTheMoment(
  scene: Scene,
  told: readonly Acknowledged[],
  { before, after }: { readonly before: number; readonly after: number },
) {
  const kept = told.filter(({ at }) => at < before);
  const undone = told.filter(({ begunAt }) => begunAt > after);
  if (kept.length === 0 || undone.length === 0) throw new Error('too little was booked around the moment');
  await lookBack(scene.clinic, kept);
  const there = await bookingsThere(scene, undone);
  if (there.size) throw new Error(`${there.size} bookings of after the moment are there`);
  const marked = await row<{ lines: number }>(
    forkFor(scene.clinic.orm),
    sql`SELECT count(*) AS lines FROM audit_event WHERE action = 'Restore'`,
  );
  if (marked?.lines !== 1) throw new Error(`${marked?.lines} lines of audit tell of the restore`);
  return { kept: kept.length, undone: undone.length, between: told.length - kept.length - undone.length };
}

async function bookingsThere({ clinic }: Scene, told: readonly Acknowledged[]): Promise<ReadonlySet<string>> {
  const ids = told.map(({ bookingId }) => bookingId);
  const found = await row<{ ids: string[] | null }>(
    forkFor(clinic.orm),
    sql`SELECT array_agg(id::text) AS ids FROM booking WHERE id = ANY(${ids}::uuid[])`,
  );
  return new Set(found?.ids ?? []);
}

function well(ran: Ran): Ran {
  if (ran.code !== 0) throw new Error(`a script failed with ${ran.code}:\n${ran.output}`);
  return ran;
}

function refused(ran: Ran, words: RegExp): Ran {
  if (ran.code !== 0 && words.test(ran.output)) return ran;
  throw new Error(`a script ended with ${ran.code} and did not say ${words}: ${ran.output}`);
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
