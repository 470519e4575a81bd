import { spawnSync } from 'node:child_process';
import { createOrm } from '../../src/db/orm.ts';
import { entities } from '../../src/entities.ts';
import { type Clients, clientsOf } from '../../test/support/process-client.ts';
import type { Service } from '../../test/support/process-service.ts';
import { hasRedis, startRedis } from '../../test/support/redis.ts';
import { type Bookers, startBookers } from '../bookers.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import { notRun, type Report, type Stage } from '../drill.ts';
import { serverPrograms } from '../replicated.ts';
import { type Archived, startArchived } from './archived.ts';

/** Two instances on a database whose WAL is archived. */
export interface Scene {
  readonly stage: Pick<Stage, 'say'>;
  readonly archived: Archived;
  /** Its `orm` waits for as long as a statement takes. */
  readonly clinic: Clinic;
  readonly services: readonly Service[];
  /** Of each instance, by gRPC and by JSON. */
  readonly clients: readonly Clients[];
  /** Starts patients who book until they are told to stop, or until the scene is left. */
  book(load: { readonly patients: number; readonly pauseMs: number }): Promise<Bookers>;
}

type Ground = Pick<Stage, 'say' | 'root'>;

/** Plays `act` where pgBackRest and PostgreSQL's server programs are installed; they share listings by Redis where that is. */
export async function onArchivedDatabase(stage: Ground, act: (scene: Scene) => Promise<Report>): Promise<Report> {
  const programs = serverPrograms();
  if (!programs) return notRun("PostgreSQL's server programs (apt-get install postgresql)");
  if (spawnSync('pgbackrest', ['version']).status !== 0) return notRun('pgbackrest (apt-get install pgbackrest)');
  const archived = await startArchived(programs, stage.root);
  const redis = hasRedis ? await startRedis() : undefined;
  try {
    return await inClinic(stage, archived, redis ? { REDIS_URL: redis.url } : {}, act);
  } finally {
    await archived.end();
    await redis?.kill();
  }
}

async function inClinic(
  stage: Ground,
  archived: Archived,
  env: Readonly<Record<string, string>>,
  act: (scene: Scene) => Promise<Report>,
): Promise<Report> {
  const opened = await openClinic({ root: stage.root, postgres: archived });
  const url = archived.url(opened.database);
  const orm = createOrm({ url, pool: 2, poolWaitMs: 10_000, applicationName: 'drill', patient: true }, entities);
  const clinic = { ...opened, orm };
  const crews: Bookers[] = [];
  try {
    const services = [await clinic.start(env), await clinic.start(env)];
    const clients = services.map(clientsOf).flatMap(({ grpc, json }) => [grpc, json]);
    const book = async ({ patients, pauseMs }: { readonly patients: number; readonly pauseMs: number }) => {
      const crew = await startBookers(clinic, { count: patients, clients, slotsEach: 450, pauseMs });
      crews.push(crew);
      return crew;
    };
    return await act({ stage, archived, clinic, services, clients, book });
  } finally {
    for (const crew of crews) crew.abandon();
    await orm.close();
    await clinic.close().catch(() => {}); // the database may be gone: then something has failed, and is being told
  }
}
