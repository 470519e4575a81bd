import { readdirSync, readFileSync } from 'node:fs';

/** What a process holds, as the system counts it; Linux only. */
export interface Vitals {
  /** Resident memory, in MB: now, and the most there ever was. */
  readonly rssMb: number;
  readonly peakMb: number;
  /** Milliseconds of a core that it has used. */
  readonly cpuMs: number;
  /** Open files, sockets and all. */
  readonly files: number;
}

/** Clock ticks of /proc in a second. */
const TICKS = 100;

/** Throws when there is no such process any more. */
export function vitalsOf(pid: number): Vitals {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const times = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, '').trim().split(' ');
  const mb = (name: string) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return {
    rssMb: mb('VmRSS'),
    peakMb: mb('VmHWM'),
    cpuMs: ((Number(times[11]) + Number(times[12])) * 1000) / TICKS,
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}
