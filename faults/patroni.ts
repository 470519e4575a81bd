import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startLeaderBalancer } from './leader-balancer.ts';
import { asked, freeNodePorts, type PatroniNode, patroniNode } from './patroni-node.ts';
import type { Postgres } from './postgres.ts';
import { serverPrograms } from './replicated.ts';
import { accountIn } from './server-account.ts';

/** Three nodes as deploy/patroni sets them up. `url`, `port` and `query` are the balancer's: the leader's, whoever that is. */
export interface Patroni extends Pick<Postgres, 'url' | 'port' | 'query'> {
  readonly nodes: readonly PatroniNode[];
  /** The node that says that it leads. Throws when none does, or several. */
  leader(): Promise<PatroniNode>;
  /** Resolves with the milliseconds until another node than `old` leads. */
  ledByAnother(old: PatroniNode, withinMs: number): Promise<number>;
  /** Has the leader hand over to whom it replicates synchronously. */
  switchOver(): Promise<void>;
  /** Resolves with the milliseconds until one leads and both others stream from it, one chosen to be synchronous. */
  whole(withinMs: number): Promise<number>;
  /** Connection string of a database at whichever standby the balancer chooses. */
  replicaUrl(database: string): string;
  /** What the balancer has written. */
  balancerOutput(): string;
  end(): Promise<void>;
}

const START_MS = 90_000;
const ANSWER_MS = 2_000;

/** What is missing to start it; undefined when nothing is. */
export function lackingForPatroni(): string | undefined {
  if (!serverPrograms()) return "PostgreSQL's server programs (apt-get install postgresql-15)";
  const missing = ['etcd', 'patroni', 'haproxy'].filter((name) => spawnSync(name, ['--version']).error);
  if (missing.length === 0) return undefined;
  return `${missing.join(', ')} (apt-get install --no-install-recommends patroni python3-etcd etcd-server haproxy)`;
}

/** Makes the nodes and starts them, with the configuration of `root`; they end with this process. */
export async function startPatroni(root: string): Promise<Patroni> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-patroni-'));
  const letGo = endWithUs(folder);
  const account = await accountIn(folder);
  const password = randomBytes(12).toString('hex');
  const site = { folder, account, root, programs: serverPrograms() as string, password };
  const ports = [await freeNodePorts(), await freeNodePorts(), await freeNodePorts()];
  const nodes = await Promise.all(ports.map((_, i) => patroniNode(site, ports, i)));
  const balancer = await startLeaderBalancer(root, folder, ports);
  const query = (text: string, database?: string) => asked(password, { port: balancer.port, text, database });

  const leading = async (among: readonly PatroniNode[] = nodes) => {
    const answers = await Promise.all(among.map((node) => leads(node)));
    return among.filter((_, i) => answers[i]);
  };
  const leader = async () => {
    const [only, ...others] = await leading();
    if (!only || others.length) throw new Error(only ? 'several nodes lead' : 'no node leads');
    return only;
  };
  const isWhole = async () => {
    const from = await leader();
    const answer = await fetch(`http://127.0.0.1:${from.ports.patroni}/config`);
    const { synchronous_mode: synchronous } = (await answer.json()) as { synchronous_mode: boolean };
    const standbys = await from.query(
      "SELECT quote_ident(application_name) = current_setting('synchronous_standby_names') AS chosen FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'node-_'",
    );
    return standbys.length === nodes.length - 1 && (!synchronous || standbys.some(({ chosen }) => chosen));
  };
  const urlAt = (port: number, database: string) => `postgresql://postgres:${password}@127.0.0.1:${port}/${database}`;
  const cluster: Patroni = {
    nodes,
    url: (database = 'postgres') => urlAt(balancer.port, database),
    replicaUrl: (database) => urlAt(balancer.replicaPort, database),
    port: balancer.port,
    query,
    leader,
    ledByAnother(old, withinMs) {
      const others = nodes.filter((node) => node !== old);
      return until(withinMs, 'no other node leads', async () => (await leading(others)).length > 0);
    },
    async switchOver() {
      const from = await leader();
      const authorization = `Basic ${Buffer.from(`patroni:${password}`).toString('base64')}`;
      const answer = await fetch(`http://127.0.0.1:${from.ports.patroni}/switchover`, {
        method: 'POST',
        headers: { authorization },
        body: JSON.stringify({ leader: from.name }),
      });
      const told = await answer.text();
      if (!answer.ok) throw new Error(`the switchover was refused: ${told}`);
    },
    whole: (withinMs) => until(withinMs, 'the three nodes are not whole', isWhole),
    balancerOutput: balancer.output,
    async end() {
      await Promise.all(nodes.map((node) => node.kill()));
      await balancer.close();
      await letGo();
    },
  };
  try {
    for (const node of nodes) node.start();
    await cluster.whole(START_MS);
    await until(START_MS, 'the balancer finds no leader', () => query('SELECT 1').then(() => true));
    return cluster;
  } catch (error) {
    const logs = nodes.map((node) => `${node.name}:\n${node.log().split('\n').slice(-15).join('\n')}`);
    await cluster.end();
    throw new Error(`${(error as Error).message}\n${logs.join('\n')}\n${balancer.output()}`);
  }
}

/** Whether its Patroni says so. */
async function leads({ ports }: PatroniNode): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${ports.patroni}/primary`, {
    signal: AbortSignal.timeout(ANSWER_MS),
  }).catch(() => undefined);
  await answer?.text().catch(() => {});
  return answer?.ok === true;
}

/** Milliseconds until `done` answers yes. Throws after `withinMs`, with what `done` threw last. */
export async function until(withinMs: number, otherwise: string, done: () => Promise<boolean>): Promise<number> {
  const startedAt = performance.now();
  for (let why = ''; ; await sleep(100)) {
    const yes = await done().catch((error: Error) => {
      why = `: ${error.message}`;
      return false;
    });
    const ms = performance.now() - startedAt;
    if (yes) return ms;
    if (ms > withinMs) throw new Error(`${otherwise} after ${(ms / 1000).toFixed(0)} s${why}`);
  }
}

/**
 * Has a process that outlives us end everything in `folder`, and the folder, when we are gone or call what this answers.
 * Nodes are no children that a signal to us would reach, and PostgreSQL is not even Patroni's.
 */
function endWithUs(folder: string): () => Promise<void> {
  const script = `read -r folder; read -r nothing
for turn in 1 2; do for one in /proc/[0-9]*; do
  if tr '\\0' ' ' <"$one/cmdline" 2>/dev/null | grep -qF "$folder"; then kill -KILL "\${one#/proc/}" 2>/dev/null; fi
done; sleep 0.3; done; rm -rf "$folder"`;
  const guard = spawn('/bin/sh', ['-c', script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  guard.stdin.write(`${folder}\n`);
  const ended = new Promise<void>((resolve) => guard.once('exit', () => resolve()));
  return async () => {
    guard.stdin.end();
    await ended;
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
}
