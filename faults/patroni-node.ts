import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { BARE_ENVIRONMENT } from '../src/db/embedded-process.ts';
import { freePort } from '../test/support/free-port.ts';
import { type Process, processesIn, signalAll } from './processes-in.ts';

/** Where everything of one node listens on 127.0.0.1. */
export interface NodePorts {
  readonly postgres: number;
  /** Patroni's REST API. */
  readonly patroni: number;
  readonly etcd: number;
  readonly etcdPeers: number;
}

/** A machine of its own, as far as processes go: a member of etcd, Patroni, and the PostgreSQL that it keeps. */
export interface PatroniNode {
  readonly name: string;
  readonly ports: NodePorts;
  /** Starts etcd, then Patroni; what it has on disk is kept. */
  start(): void;
  startEtcd(): void;
  /** kill -9 of every process at once; resolves when none is left. */
  kill(): Promise<void>;
  /** SIGSTOP for all that runs on the node, or only for those that `which` picks. */
  freeze(which?: (one: Process) => boolean): void;
  thaw(which?: (one: Process) => boolean): void;
  /** kill -9 of etcd alone; startEtcd brings it back. */
  killEtcd(): Promise<void>;
  /** Runs one statement at this node's own PostgreSQL, leader or not. */
  query(text: string, database?: string): Promise<Record<string, unknown>[]>;
  /** What Patroni has written. */
  log(): string;
}

/** What all nodes share. */
export interface PatroniSite {
  /** Holds the configuration, and a folder for each node. */
  readonly folder: string;
  readonly account: { readonly uid?: number; readonly gid?: number };
  /** Whose configuration it is: deploy/patroni of this root. */
  readonly root: string;
  /** PostgreSQL's server programs. */
  readonly programs: string;
  readonly password: string;
}

export async function freeNodePorts(): Promise<NodePorts> {
  return {
    postgres: await freePort(),
    patroni: await freePort(),
    etcd: await freePort(),
    etcdPeers: await freePort(),
  };
}

/** Milliseconds for the sockets of what was killed. */
const SOCKETS_MS = 5_000;

/** Prepares node `index` of those that listen at `all`; nothing is started yet. */
export async function patroniNode(site: PatroniSite, all: readonly NodePorts[], index: number): Promise<PatroniNode> {
  const name = nameOf(index);
  const ports = all[index] as NodePorts;
  const folder = join(site.folder, name);
  const { uid, gid } = site.account;
  await mkdir(folder, { mode: 0o700 });
  if (uid && gid) await chown(folder, uid, gid);
  const config = join(folder, 'patroni.yml'); // by its place the node's processes are told from others'
  await writeFile(config, withEtcdAt(await readFile(join(site.root, 'deploy', 'patroni', 'patroni.yml'), 'utf8'), all));
  const logFile = join(site.folder, `${name}.log`);
  const etcdFolder = join(folder, 'etcd');

  const launch = (command: readonly [string, ...string[]], env: Readonly<Record<string, string>>) => {
    const log = openSync(logFile, 'a');
    const child = spawn(command[0], command.slice(1), {
      ...site.account,
      cwd: folder,
      detached: true,
      env: { ...BARE_ENVIRONMENT, ...env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    child.on('error', () => {}); // what waits for it tells with the log
  };
  const startEtcd = () => launch(['etcd', '--data-dir', etcdFolder], etcdEnvironment(site, all, index));
  const gone = async (where: string) => {
    for (; processesIn(where).length > 0; await sleep(20)) signalAll(processesIn(where), 'SIGKILL');
  };

  return {
    name,
    ports,
    start() {
      startEtcd();
      launch(['patroni', config], patroniEnvironment(site, { ports, index, folder }));
    },
    startEtcd,
    async kill() {
      signalAll(processesIn(folder), 'SIGSTOP'); // nobody gets to say goodbye
      await gone(folder);
      // One that is being killed has no command line any more, and still its sockets.
      const deadline = performance.now() + SOCKETS_MS;
      for (const [what, port] of Object.entries(ports))
        for (; await listensAt(port); await sleep(50))
          if (performance.now() > deadline) throw new Error(`${what} of ${name} lives on`);
    },
    killEtcd: () => gone(etcdFolder),
    freeze: (which = () => true) => signalAll(processesIn(folder).filter(which), 'SIGSTOP'),
    thaw: (which = () => true) => signalAll(processesIn(folder).filter(which), 'SIGCONT'),
    query: (text, database) => asked(site.password, { port: ports.postgres, text, database }),
    log: () => readFileSync(logFile, 'utf8'),
  };
}

/** Runs one statement as the superuser. */
export async function asked(
  password: string,
  { port, text, database = 'postgres' }: { port: number; text: string; database?: string | undefined },
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port, user: 'postgres', password, database },
    connectionTimeoutMillis: 5_000,
  });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    client.end().catch(() => {});
    if (!client.connection.stream.destroyed) await Promise.race([once(client, 'end'), sleep(1_000)]);
  }
}

async function listensAt(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const there = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  return there;
}

const nameOf = (index: number) => `node-${index + 1}`;
const at = (port: number) => `127.0.0.1:${port}`;

/** Patroni's configuration with the members of etcd where they really are. */
function withEtcdAt(config: string, all: readonly NodePorts[]): string {
  const places = /^ {2}hosts: .*$/m;
  if (!places.test(config)) throw new Error('deploy/patroni/patroni.yml names no members of etcd');
  return config.replace(places, `  hosts: ${all.map(({ etcd }) => at(etcd)).join()}`);
}

function etcdEnvironment({ root }: PatroniSite, all: readonly NodePorts[], index: number): Record<string, string> {
  const settings = readFileSync(join(root, 'deploy', 'patroni', 'etcd.env'), 'utf8')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => line.split('=', 2) as [string, string]);
  const { etcd, etcdPeers } = all[index] as NodePorts;
  return {
    ...Object.fromEntries(settings),
    ETCD_NAME: nameOf(index),
    ETCD_LISTEN_CLIENT_URLS: `http://${at(etcd)}`,
    ETCD_ADVERTISE_CLIENT_URLS: `http://${at(etcd)}`,
    ETCD_LISTEN_PEER_URLS: `http://${at(etcdPeers)}`,
    ETCD_INITIAL_ADVERTISE_PEER_URLS: `http://${at(etcdPeers)}`,
    ETCD_INITIAL_CLUSTER: all.map((one, i) => `${nameOf(i)}=http://${at(one.etcdPeers)}`).join(),
    ETCD_INITIAL_CLUSTER_TOKEN: 'amrutam',
  };
}

function patroniEnvironment(
  { programs, password }: PatroniSite,
  { ports, index, folder }: { ports: NodePorts; index: number; folder: string },
): Record<string, string> {
  const { postgres, patroni } = ports;
  return {
    PATRONI_NAME: nameOf(index),
    PATRONI_RESTAPI_LISTEN: at(patroni),
    PATRONI_RESTAPI_CONNECT_ADDRESS: at(patroni),
    PATRONI_RESTAPI_USERNAME: 'patroni',
    PATRONI_RESTAPI_PASSWORD: password,
    PATRONI_POSTGRESQL_LISTEN: at(postgres),
    PATRONI_POSTGRESQL_CONNECT_ADDRESS: at(postgres),
    PATRONI_POSTGRESQL_DATA_DIR: join(folder, 'data'),
    PATRONI_POSTGRESQL_BIN_DIR: programs,
    PATRONI_POSTGRESQL_PGPASS: join(folder, 'pgpass'),
    PATRONI_SUPERUSER_USERNAME: 'postgres',
    PATRONI_SUPERUSER_PASSWORD: password,
    PATRONI_REPLICATION_USERNAME: 'replicator',
    PATRONI_REPLICATION_PASSWORD: password,
    PATRONI_REWIND_USERNAME: 'rewinder',
    PATRONI_REWIND_PASSWORD: password,
  };
}
