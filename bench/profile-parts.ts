/** A CPU profile as V8 writes it, what is read of it. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  /** Ids of the nodes that were found on top of the stack, */
  readonly samples: readonly number[];
  /** and the microseconds before each. */
  readonly timeDeltas: readonly number[];
}

/** By part of a program: a number of something. */
export type Parts = Readonly<Record<string, number>>;

const IDLE = '(idle)';
const DRIVER = /^(pg|pg-.*|postgres-.*)$/;
const OWN = ['rpc', 'db', 'auth', 'availability', 'booking', 'audit'];

/** Each part's share of the time in which the process did something; they add up to 1. */
export function partsOf({ nodes, samples, timeDeltas }: CpuProfile): Parts {
  const part = new Map(nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const times = new Map<string, number>();
  for (const [i, id] of samples.entries()) {
    const name = part.get(id) ?? IDLE;
    times.set(name, (times.get(name) ?? 0) + (timeDeltas[i] ?? 0));
  }
  times.delete(IDLE);
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  return Object.fromEntries([...times].map(([name, time]) => [name, time / total]));
}

/** Of what a function is a part, told by its file. */
function partOf({ functionName, url }: CpuProfile['nodes'][number]['callFrame']): string {
  if (functionName === IDLE) return IDLE;
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (url === '') return 'native code, kernel';
  if (url.startsWith('node:')) return 'Node: HTTP/2, streams, timers';
  const library = /.*\/node_modules\/(@[^/]+\/[^/]+|[^/]+)/.exec(url)?.[1];
  if (library) return libraryOf(library);
  if (/\/bench\/[^/]+$/.test(url)) return 'bare handler';
  if (/\/gen\//.test(url)) return '@bufbuild';
  const folder = /\/src\/([^/]+)\//.exec(url)?.[1];
  return folder && OWN.includes(folder) ? `src/${folder}` : 'src, other';
}

function libraryOf(name: string): string {
  if (DRIVER.test(name)) return 'pg';
  const [scope] = name.split('/') as [string];
  return ['@bufbuild', '@mikro-orm', '@connectrpc'].includes(scope) ? scope : name;
}
