import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './run.ts';

/** What a container is given beside what every one has. */
export interface Given {
  readonly env?: Readonly<Record<string, string | null>>;
  /** Folders of this machine, by where the container has them. */
  readonly folders?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Another user than the image's, and what that one may do beyond others. */
  readonly user?: string;
  readonly capabilities?: readonly string[];
  /** Whether its file system can be written to. */
  readonly writable?: boolean;
}

/** How a container ended, and what it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
  /** Milliseconds that it lived. */
  readonly ms: number;
}

/** A container that runs. */
export interface Container {
  readonly name: string;
  output(): string;
  /** Resolves when it has written `words`. Throws an Error with its output when it ends without, or takes too long. */
  wrote(words: string): Promise<void>;
  /** Runs a command in it and answers how that ended. */
  exec(command: readonly string[]): Promise<Ended>;
  signal(name: 'TERM' | 'KILL'): void;
  readonly ended: Promise<Ended>;
}

/** As the image is meant to run: nothing is allowed that a process of any user may not. */
const CONFINED = ['--cap-drop', 'all', '--security-opt', 'no-new-privileges'];
/** The machine's own network; limits no higher than a container may have in a container; and no timers of systemd. */
const HERE = ['--network', 'host', '--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', '--no-healthcheck'];
/** Not crun, which can't start a container on a machine that is one itself. */
const RUNTIME = 'runc';
const WRITTEN_MS = 60_000;

/** Why podman can start no container of `image` here; undefined when it can. */
export function whyNoContainer(image: string): string | undefined {
  const args = [
    '--runtime',
    RUNTIME,
    'run',
    '--rm',
    '--pull',
    'never',
    ...CONFINED,
    ...HERE,
    image,
    'node',
    '--version',
  ];
  const { status, stderr } = spawnSync('podman', args, { encoding: 'utf8' });
  return status === 0 ? undefined : stderr.trim();
}

/** Names of containers that live. */
const living = new Set<string>();
process.on('exit', () => living.size && spawnSync('podman', ['rm', '--force', ...living]));

/** Starts `command` of an image, confined. */
export function start(image: string, command: readonly string[], given: Given = {}): Container {
  const name = `amrutam-check-${randomUUID()}`;
  const env = Object.entries(given.env ?? {}).flatMap(([key, value]) => ['--env', `${key}=${value ?? ''}`]);
  const folders = Object.entries(given.folders ?? {}).flatMap(([to, from]) => ['--volume', `${from}:${to}`]);
  const user = given.user ? ['--user', given.user] : [];
  const capabilities = (given.capabilities ?? []).flatMap((one) => ['--cap-add', one]);
  const readOnly = given.writable ? [] : ['--read-only'];
  const options = [
    '--rm',
    '--interactive',
    '--name',
    name,
    ...readOnly,
    ...CONFINED,
    ...user,
    ...capabilities,
    ...HERE,
    ...env,
    ...folders,
  ];
  const child = podman(['run', '--pull', 'never', ...options, image, ...command]);
  child.stdin?.end(given.input ?? '');
  const { output, ended } = listenTo(child);
  let over = false;
  living.add(name);
  void ended.then(() => {
    over = true;
    living.delete(name);
  });
  return {
    name,
    output,
    ended,
    async wrote(words) {
      for (const deadline = Date.now() + WRITTEN_MS; !output().includes(words); await sleep(50))
        if (over || Date.now() > deadline)
          throw new Error(`${JSON.stringify(words)} was not written, but:\n${output()}`);
    },
    exec: (inside) => listenTo(podman(['exec', name, ...inside])).ended,
    signal: (signal) => void run('podman', ['kill', '--signal', signal, name]),
  };
}

function podman(args: readonly string[]): ChildProcess {
  const child = spawn('podman', ['--runtime', RUNTIME, ...args]);
  child.stdin.on('error', () => {}); // it may end without having read
  return child;
}

function listenTo(child: ChildProcess): Pick<Container, 'output' | 'ended'> {
  const startedAt = performance.now();
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk;
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => resolve({ code, output: written, ms: performance.now() - startedAt }));
  });
  return { output: () => written, ended };
}
