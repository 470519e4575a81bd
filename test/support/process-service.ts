import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Longest start, with a new embedded database on a busy machine. */
const START_MS = 45_000;

type Environment = Readonly<Record<string, string>>;

/** How a process ended, and what it wrote. */
export interface Ended {
  /** Null after a signal. */
  readonly code: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** The service as a process of its own. */
export interface Service {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly metricsPort: number;
  readonly pid: number;
  /** What it has written so far, on both of its outputs. */
  output(): string;
  /** Resolves when it has written `words`. Throws an Error with its output when it ends without, or takes too long. */
  wrote(words: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it is gone. */
  readonly ended: Promise<Ended>;
}

const started = new Set<ChildProcess>();

/** Kills the processes that this test file has left. */
export function endProcesses(): void {
  for (const child of started) child.kill('SIGKILL');
}

/**
 * Starts src/main.ts of `root` on free ports, and resolves when it serves. Throws an Error with its output when it ends
 * before.
 */
export async function startService(env: Environment, root = ROOT): Promise<Service> {
  const child = launch('src/main.ts', [], { env, root });
  const { output, wrote, ended } = listenTo(child);
  await wrote('"msg":"serving"');
  const line = output()
    .split('\n')
    .find((one) => one.includes('"msg":"serving"')) as string;
  const { grpcPort, httpPort, metricsPort } = JSON.parse(line) as Pick<
    Service,
    'grpcPort' | 'httpPort' | 'metricsPort'
  >;
  const pid = child.pid as number;
  return { grpcPort, httpPort, metricsPort, pid, output, wrote, ended, kill: (signal) => void child.kill(signal) };
}

/** Runs src/main.ts until it gives up. One that serves after all is killed, so that its code is null. */
export async function failToStart(env: Environment): Promise<Ended> {
  const child = launch('src/main.ts', [], { env });
  const { wrote, ended } = listenTo(child);
  await wrote('"msg":"serving"').catch(() => {});
  child.kill('SIGKILL');
  return ended;
}

/** Runs a file of src/commands of `root` to its end. */
export async function runCommand(
  name: string,
  {
    args = [],
    env = {},
    input = '',
    root = ROOT,
  }: { args?: readonly string[]; env?: Environment; input?: string; root?: string } = {},
): Promise<Ended> {
  const child = launch(`src/commands/${name}.ts`, args, { env, root });
  child.stdin?.end(input);
  return listenTo(child).ended;
}

/** Nothing of our own environment but the path: what the tests were started with must not decide. */
function launch(
  file: string,
  args: readonly string[],
  { env, root = ROOT }: { env: Environment; root?: string },
): ChildProcess {
  const ports = { HOST: '127.0.0.1', GRPC_PORT: '0', HTTP_PORT: '0', METRICS_PORT: '0' };
  const base = { PATH: process.env.PATH ?? '', ...ports, DRAIN_DELAY: '0' };
  const limits = { RATE_LIMITS: 'off' }; // tests and drills come from one address; those about the limits set them on
  const child = spawn(process.execPath, [file, ...args], { cwd: root, env: { ...base, ...limits, ...env } });
  child.stdin.on('error', () => {}); // it may end without having read
  started.add(child);
  child.once('exit', () => started.delete(child));
  return child;
}

function listenTo(child: ChildProcess): Pick<Service, 'output' | 'wrote' | 'ended'> {
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk;
    });
  }
  let over = false;
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      over = true;
      resolve({ code, output: written });
    });
  });
  const wrote = async (words: string) => {
    for (const deadline = Date.now() + START_MS; !written.includes(words); ) {
      if (over || Date.now() > deadline) throw new Error(`${JSON.stringify(words)} was not written, but:\n${written}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return { output: () => written, wrote, ended };
}
