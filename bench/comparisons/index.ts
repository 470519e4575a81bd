import type { Comparison } from '../comparison.ts';
import { bookingVsBare } from './booking-vs-bare.ts';
import { bookingVsPgbench } from './booking-vs-pgbench.ts';

/** All of them, in the order in which they run. */
export const comparisons: readonly Comparison[] = [bookingVsPgbench, bookingVsBare];
