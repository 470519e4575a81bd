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

const CONFIG = join(import.meta.dirname, '..', 'deploy', 'haproxy.cfg');
const START_MS = 10_000;

/** Whether `haproxy` is installed. */
export function hasBalancer(): boolean {
  return spawnSync('haproxy', ['-v']).status === 0;
}

/** Starts it on free ports in front of `instances`; resolves when it has found all of them ready. Throws with its output. */
export async function startBalancer(instances: readonly Ports[]): Promise<Balancer> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-balancer-'));
  const file = join(folder, 'haproxy.cfg');
  const front = { grpcPort: await freePort(), httpPort: await freePort() };
  await writeFile(file, withPorts(await readFile(CONFIG, 'utf8'), front, instances));
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

/** The configuration with other ports, and a server line for each instance. Throws when it has no place for one. */
function withPorts(config: string, front: Ports, instances: readonly Ports[]): string {
  const replace = (text: string, from: RegExp, to: string) => {
    if (!from.test(text)) throw new Error(`${CONFIG} has nothing like ${from}`);
    return text.replace(from, to);
  };
  const servers = (line: (name: string, instance: Ports) => string) =>
    instances.map((one, i) => `    server ${line(`api-${i + 1}`, one)}\n`).join('');
  const steps: readonly (readonly [RegExp, string])[] = [
    [/bind :50051/, `bind 127.0.0.1:${front.grpcPort}`],
    [/bind :8080/, `bind 127.0.0.1:${front.httpPort}`],
    [
      /(?: +server .* track .*\n)+/,
      servers((name, one) => `${name} 127.0.0.1:${one.grpcPort} track http_instances/${name}`),
    ],
    [/(?: +server .* check\n)+/, servers((name, one) => `${name} 127.0.0.1:${one.httpPort} check`)],
  ];
  return steps.reduce((text, [from, to]) => replace(text, from, to), config);
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
