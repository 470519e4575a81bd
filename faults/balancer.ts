import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../test/support/free-port.ts';

/** Where a server listens on 127.0.0.1. */
export interface Ports {
  readonly grpcPort: number;
  readonly httpPort: number;
}

/** HAProxy as deploy/haproxy.cfg sets it up. */
export interface Balancer extends Ports {
  /** What it has written: instances that came and went, and its complaints. */
  output(): string;
  close(): Promise<void>;
}

/** Instances that have a name of their own in the DNS, and the same ports, each on another address. */
export interface NamedInstances extends Ports {
  /** Port of 127.0.0.1 on which a name server knows them as `api`. */
  readonly nameServer: number;
}

const ROOT = join(import.meta.dirname, '..');
const START_MS = 10_000;

/** Whether `haproxy` is installed. */
export function hasBalancer(): boolean {
  return spawnSync('haproxy', ['-v']).status === 0;
}

/**
 * Starts it on free ports in front of `instances`, a list or those behind a name; resolves when it has found one of them ready. It is
 * set up by deploy/haproxy.cfg in `root`. Throws with its output.
 */
export async function startBalancer(instances: readonly Ports[] | NamedInstances, root = ROOT): Promise<Balancer> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-balancer-'));
  const file = join(folder, 'haproxy.cfg');
  const front = { grpcPort: await freePort(), httpPort: await freePort() };
  const config = await readFile(join(root, 'deploy', 'haproxy.cfg'), 'utf8');
  await writeFile(
    file,
    rewritten(config, [...bound(front), ...('nameServer' in instances ? named(instances) : listed(instances))]),
  );
  const child = spawn('haproxy', ['-db', '-f', file]);
  const output = outputOf(child);
  const close = async () => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(child, front, output);
    return { ...front, output, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What a text becomes. */
type Step = readonly [from: RegExp, to: string];

/** Throws when the configuration has no place for a step. */
function rewritten(config: string, steps: readonly Step[]): string {
  return steps.reduce((text, [from, to]) => {
    if (!from.test(text)) throw new Error(`deploy/haproxy.cfg has nothing like ${from}`);
    return text.replace(from, to);
  }, config);
}

function bound({ grpcPort, httpPort }: Ports): Step[] {
  return [
    [/bind :50051/, `bind 127.0.0.1:${grpcPort}`],
    [/bind :8080/, `bind 127.0.0.1:${httpPort}`],
  ];
}

/** As written where no name stands for all: a line `server` for each, of which those for gRPC track the others. */
function listed(instances: readonly Ports[]): Step[] {
  const servers = (line: (name: string, instance: Ports) => string) =>
    instances.map((one, i) => `    server ${line(`api-${i + 1}`, one)}\n`).join('');
  const grpc = servers((name, { grpcPort }) => `${name} 127.0.0.1:${grpcPort} track http_instances/${name}`);
  return [
    [/ +http-check connect .*\n(?: +http-check .*\n)* +server-template .*\n/, grpc],
    [/ +server-template api- 16 api:8080 .*\n/, servers((name, { httpPort }) => `${name} 127.0.0.1:${httpPort} check`)],
  ];
}

function named({ nameServer, grpcPort, httpPort }: NamedInstances): Step[] {
  return [
    [/parse-resolv-conf/, `nameserver test 127.0.0.1:${nameServer}`],
    [/connect port 8080/, `connect port ${httpPort}`],
    [/ api:50051 /, ` api:${grpcPort} `],
    [/ api:8080 /, ` api:${httpPort} `],
  ];
}

async function ready(child: ChildProcess, { httpPort }: Ports, output: () => string): Promise<void> {
  for (const deadline = Date.now() + START_MS; ; await sleep(50)) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`haproxy did not start:\n${output()}`);
    const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => undefined);
    await answer?.text();
    if (answer?.ok) return;
  }
}

function outputOf(child: ChildProcess): () => string {
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk;
    });
  }
  child.on('error', () => {});
  return () => written;
}
