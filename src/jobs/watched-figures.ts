import type { MikroORM } from '@mikro-orm/postgresql';
import { seldom } from '../db/seldom.ts';
import type { Job } from './job.ts';
import { type JobFigures, jobFigures } from './job-figures.ts';
import { JOBS } from './jobs.ts';

/** The figures of these jobs, asked of the database at most every five seconds, however often they are asked for here; none without an answer in time. */
export function watchedFigures(
  orm: MikroORM,
  jobs: () => readonly Pick<Job, 'name'>[] = () => JOBS,
): () => Promise<readonly JobFigures[]> {
  return seldom<readonly JobFigures[]>((signal) => jobFigures(orm, signal, jobs()), []);
}
