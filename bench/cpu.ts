import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks in a second, as Linux shows them in /proc on every platform. */
const TICKS = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Of the process, and of children that have ended. */
  readonly ticks: number;
}

/** CPU milliseconds that the processes have used so far, with all that descend from them. Undefined where there is no /proc. */
export function cpuOf(...roots: readonly (number | undefined)[]): number | undefined {
  const all = stats();
  if (!all) return undefined;
  const children = Map.groupBy(all, ({ parent }) => parent);
  const wanted = all.filter(({ pid }) => roots.includes(pid));
  for (const one of wanted) wanted.push(...(children.get(one.pid) ?? []));
  return (wanted.reduce((sum, { ticks }) => sum + ticks, 0) * 1000) / TICKS;
}

/** Resident memory of a process in bytes. Undefined where there is no /proc. */
export function residentOf(pid: number): number | undefined {
  const status = read(`/proc/${pid}/status`);
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status ?? '')?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

function stats(): Stat[] | undefined {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        const text = read(`/proc/${name}/stat`);
        // The name of the program, in parentheses, may hold anything.
        const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
        if (!fields) return [];
        const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
        return [{ pid: Number(name), parent: Number(fields[1]), ticks }];
      });
  } catch {
    return undefined;
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
