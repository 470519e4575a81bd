import { createOrm } from '../db/orm.ts';
import { createLog } from '../log.ts';
import { runJobs } from './run-jobs.ts';
import { QUICK, slowJob } from './slow-job.fixture.ts';

// An instance that only does the slow job: node instance.fixture.ts URL NAME. What nobody handles ends it.

const [url = '', instance = ''] = process.argv.slice(2);
const log = createLog('debug');
const orm = createOrm({ url, pool: 2, poolWaitMs: 2_000, applicationName: `amrutam ${instance}` }, []);
const stop = runJobs({ orm, url, instance, log, jobs: [slowJob(instance, 50)], pace: QUICK });
process.on('SIGTERM', async () => {
  await stop();
  await orm.close();
  log.info('stopped');
  process.exit(0);
});
setInterval(() => {}, 60_000); // as a listener would, keeps it alive
log.info('running');
