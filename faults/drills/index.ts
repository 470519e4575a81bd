import type { Drill } from '../drill.ts';
import { postgresRestart } from './postgres-restart.ts';

/** All of them, in the order in which they run. */
export const drills: readonly Drill[] = [postgresRestart];
