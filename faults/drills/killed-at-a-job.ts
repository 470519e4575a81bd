import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../../test/support/process-service.ts';
import { type Clinic, openClinic } from '../clinic.ts';
import type { Drill, Stage } from '../drill.ts';

const INSTANCES = 3;
/** What there is to purge, a thousand at a time, each of which takes half a second. */
const BATCHES = 12;
/** Batches done before the injury. */
const BEGUN = 3;
/** The longest that a job may wait for another instance: a lease, a look for those that are over, and a look for jobs. */
const RECOVERY_MS = 50_000;
const WORK_MS = 60_000;

export const killedAtAJob: Drill = {
  name: 'killed-at-a-job',
  story: 'one job queued three times at three instances; then the instance at it is killed, and the next one frozen',
  breaks: [
    {
      file: 'src/jobs/free-abandoned.ts',
      from: "('force_unlock_workers')}(array_agg(DISTINCT locked_by))",
      to: "('force_unlock_workers')}(array_agg('nobody'::text))",
      means: 'a killed instance keeps its job',
    },
    {
      file: 'src/jobs/lease.ts',
      from: `(holder IS NULL OR \${isOver(leaseMs)}) FOR UPDATE SKIP LOCKED`,
      to: 'TRUE FOR UPDATE',
      means: 'who comes takes the job over, whoever is at it',
    },
  ],
  async run(stage) {
    const clinic = await openClinic(stage);
    try {
      await makeSlow(stage, clinic);
      const services = await Promise.all(Array.from({ length: INSTANCES }, () => clinic.start()));

      await fill(stage, clinic);
      for (let i = 0; i < INSTANCES; i++) await look(stage, clinic, `SELECT graphile_worker.add_job('purge-answers')`);
      await allDone(stage, clinic);
      await mustHaveTakenTurns(stage, clinic, 1);

      stage.say('the instance at the job is killed');
      await fill(stage, clinic);
      await queue(stage, clinic);
      const killed = await whoIsAtIt(stage, clinic, services);
      killed.kill('SIGKILL');
      const killedMs = await takenOver(stage, clinic);
      await allDone(stage, clinic);
      await mustHaveTakenTurns(stage, clinic, 2);

      stage.say('the instance at the job is frozen');
      await fill(stage, clinic);
      await queue(stage, clinic);
      const frozen = await whoIsAtIt(stage, clinic, services);
      frozen.kill('SIGSTOP');
      const frozenMs = await takenOver(stage, clinic);
      frozen.kill('SIGCONT');
      await allDone(stage, clinic);
      await mustHaveTakenTurns(stage, clinic, 2);
      return {
        acknowledged: 0,
        lost: 0,
        doubled: 0,
        recoveryMs: killedMs,
        notes: [
          `another instance went on ${seconds(killedMs)} after the kill, ${seconds(frozenMs)} after the frost, and no other did anything`,
        ],
      };
    } finally {
      await clinic.close();
    }
  },
};

const look = ({ postgres }: Stage, { database }: Clinic, text: string) => postgres.query(text, database);
const seconds = (ms: number) => `${(ms / 1000).toFixed(0)} s`;

/** Each batch takes its time, and is written down with who did it. */
async function makeSlow(stage: Stage, clinic: Clinic): Promise<void> {
  await look(stage, clinic, 'CREATE TABLE batch (at timestamptz DEFAULT clock_timestamp(), instance text)');
  await look(
    stage,
    clinic,
    `CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF EXISTS (SELECT FROM gone) THEN
         INSERT INTO batch (instance) VALUES (current_setting('application_name'));
         PERFORM pg_sleep(0.5);
       END IF;
       RETURN NULL;
     END $$`,
  );
  await look(
    stage,
    clinic,
    `CREATE TRIGGER note_batch AFTER DELETE ON idempotency REFERENCING OLD TABLE AS gone
     FOR EACH STATEMENT EXECUTE FUNCTION note_batch()`,
  );
}

async function fill(stage: Stage, clinic: Clinic): Promise<void> {
  await look(stage, clinic, 'TRUNCATE batch');
  await look(
    stage,
    clinic,
    `INSERT INTO idempotency SELECT gen_random_uuid(), 'BookSlot', gen_random_uuid(), '', 0, '', now() - interval '8 days'
     FROM generate_series(1, ${BATCHES * 1_000})`,
  );
}

const queue = (stage: Stage, clinic: Clinic) =>
  look(
    stage,
    clinic,
    `SELECT graphile_worker.add_job('purge-answers', job_key => 'purge-answers', queue_name => 'purge-answers')`,
  );

/** Who did something, in the order in which they did, each as often as they took turns. */
async function turns(stage: Stage, clinic: Clinic): Promise<unknown[]> {
  const batches = await look(stage, clinic, 'SELECT instance FROM batch ORDER BY at');
  return batches.map(({ instance }) => instance).filter((one, i, all) => one !== all[i - 1]);
}

async function mustHaveTakenTurns(stage: Stage, clinic: Clinic, wanted: number): Promise<void> {
  const taken = await turns(stage, clinic);
  if (taken.length !== wanted) throw new Error(`the job was done in ${taken.length} turns instead of ${wanted}`);
}

/** The instance that is in the middle of the job. */
async function whoIsAtIt(stage: Stage, clinic: Clinic, services: readonly Service[]): Promise<Service> {
  await until(WORK_MS, 'nobody has begun with the job', async () => {
    const [batches] = await look(stage, clinic, 'SELECT count(*)::int AS n FROM batch');
    return Number(batches?.n) >= BEGUN;
  });
  const [at] = await turns(stage, clinic);
  const found = services.find(({ pid }) => String(at).endsWith(`-${pid}`));
  if (!found) throw new Error(`none of the instances is ${at}`);
  return found;
}

/** Milliseconds until another instance does a batch. */
async function takenOver(stage: Stage, clinic: Clinic): Promise<number> {
  const startedAt = performance.now();
  await until(RECOVERY_MS, 'nobody has taken the job over', async () => (await turns(stage, clinic)).length > 1);
  return performance.now() - startedAt;
}

/** Resolves when nothing is left to purge and no job waits. */
function allDone(stage: Stage, clinic: Clinic): Promise<void> {
  return until(WORK_MS, 'the job was not done', async () => {
    const [left] = await look(
      stage,
      clinic,
      `SELECT (SELECT count(*) FROM idempotency)::int AS answers, (SELECT count(*) FROM graphile_worker.jobs)::int AS jobs`,
    );
    return left?.answers === 0 && left.jobs === 0;
  });
}

async function until(ms: number, otherwise: string, what: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + ms; !(await what()); await sleep(100))
    if (performance.now() > deadline) throw new Error(`${otherwise} within ${seconds(ms)}`);
}
