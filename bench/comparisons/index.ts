import type { Comparison } from '../comparison.ts';
import { bookingVsBare } from './booking-vs-bare.ts';
import { bookingVsPgbench } from './booking-vs-pgbench.ts';
import { generatorCeiling } from './generator-ceiling.ts';
import { growth } from './growth.ts';
import { hotSlot } from './hot-slot.ts';
import { listSlots } from './list-slots.ts';
import { publishYear } from './publish-year.ts';
import { searchDoctors } from './search-doctors.ts';
import { startAndMemory } from './start-and-memory.ts';
import { twoInstances } from './two-instances.ts';
import { twoProcesses } from './two-processes.ts';

/** All of them, in the order in which they run. */
export const comparisons: readonly Comparison[] = [
  bookingVsPgbench,
  bookingVsBare,
  listSlots,
  searchDoctors,
  hotSlot,
  growth,
  startAndMemory,
  publishYear,
  twoInstances,
  twoProcesses,
  generatorCeiling,
];
