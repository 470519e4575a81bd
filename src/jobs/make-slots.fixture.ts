import { createOrm } from '../db/orm.ts';
import { JOBS } from './jobs.ts';
import { perform } from './perform.ts';

// An instance that makes slots once: node make-slots.fixture.ts URL.

const [url = ''] = process.argv.slice(2);
const orm = createOrm({ url, pool: 2, poolWaitMs: 2_000, applicationName: 'amrutam make-slots' }, []);
const job = JOBS.find(({ name }) => name === 'make-slots');
if (job) await perform(job, { orm, holder: 'to be killed', leaseMs: 30_000, signal: new AbortController().signal });
