import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../test/support/free-port.ts';

/** HAProxy as deploy/patroni/haproxy.cfg sets it up: connections to `port` reach the leader, whoever that is, to `replicaPort` the others. */
export interface LeaderBalancer {
  readonly port: number;
  readonly replicaPort: number;
  /** What it has written: nodes that came and went, and its complaints. */
  output(): string;
  close(): Promise<void>;
}

/** A node, by its PostgreSQL and by its Patroni, on 127.0.0.1. */
export interface Member {
  readonly postgres: number;
  readonly patroni: number;
}

/** Starts it on a free port in front of `members`, with the configuration of `root`; its own copy lies in `folder`. */
export async function startLeaderBalancer(
  root: string,
  folder: string,
  members: readonly Member[],
): Promise<LeaderBalancer> {
  const config = await readFile(join(root, 'deploy', 'patroni', 'haproxy.cfg'), 'utf8');
  const [port, replicaPort] = [await freePort(), await freePort()];
  const servers = members.map((one, i) => {
    return `    server node-${i + 1} 127.0.0.1:${one.postgres} check port ${one.patroni}\n`;
  });
  const file = join(folder, 'haproxy.cfg');
  const placed = config
    .replace('bind :5432', `bind 127.0.0.1:${port}`)
    .replace('bind :5433', `bind 127.0.0.1:${replicaPort}`)
    .replace(/(?: +server .* check port \d+\n)+/g, servers.join(''));
  if (!placed.includes(`:${port}`) || !placed.includes(`:${replicaPort}`) || !placed.includes(servers.join('')))
    throw new Error('deploy/patroni/haproxy.cfg has no place for the ports or the nodes');
  await writeFile(file, placed);
  const child = spawn('haproxy', ['-db', '-f', file]);
  const output = outputOf(child);
  return {
    port,
    replicaPort,
    output,
    async close() {
      if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    },
  };
}

function outputOf(child: ChildProcess): () => string {
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk;
    });
  }
  child.on('error', (error) => {
    written += error.message;
  });
  return () => written;
}
