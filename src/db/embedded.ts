import { access, constants, mkdir, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { accountFor } from './embedded-account.ts';
import { embeddedBinaries } from './embedded-binaries.ts';
import { createCluster } from './embedded-cluster.ts';
import { keepSecret, readSecret, secretIn } from './embedded-secret.ts';
import { connected, serve, urlOf } from './embedded-server.ts';

/** A PostgreSQL server of our own, on a free port of 127.0.0.1. */
export interface Embedded {
  /** Connection string of its database `amrutam`, password included: not for logs. */
  readonly url: string;
  /** True when this start made the cluster. */
  readonly fresh: boolean;
  /** Resolves when the server has ended, for whatever reason; never rejects. */
  readonly exited: Promise<void>;
  /** Shuts it down, ending open connections; resolves when it is gone, after about 25 s at most. May be called again. */
  stop(): Promise<void>;
}

/** See `startEmbedded`. */
export interface EmbeddedOptions {
  /** DATA_DIR, made when missing; the cluster lies in its subfolder `postgres`, the password in `postgres.json`. */
  readonly dataDir: string;
  /** Gets each line of the server's log. Neither statements nor their values are in it. */
  readonly onLog?: (line: string) => void;
  /** More settings, such as `fsync=off`; they win over ours. */
  readonly flags?: readonly string[];
}

/**
 * Starts PostgreSQL 18 from node_modules and resolves when it accepts connections; a crash before is recovered from,
 * within 60 s. It ends with this process, even at kill -9, but not at a Ctrl-C that we handle.
 * Where the server of a killed process is still shutting down, waits for it, 15 s at most.
 * Throws an Error that names the folder and the reason: in use (with the pid), not writable, disk full, closed to the
 * user PostgreSQL runs as, no package for this platform, or the last lines of the server's log.
 */
export async function startEmbedded({ dataDir, onLog, flags }: EmbeddedOptions): Promise<Embedded> {
  try {
    const { initdb, postgres } = await embeddedBinaries();
    const folder = await usableFolder(dataDir);
    const cluster = join(folder, 'postgres');
    const account = await accountFor({ initdb, folder, cluster });
    const { password } = await secretIn(folder);
    const fresh = await createCluster({ folder, initdb, account, password });
    const { server, port } = await serve({ cluster, postgres, account, password, onLog, flags });
    const exited = server.exited.then(() => {});
    const stop = () => {
      server.end();
      return exited;
    };
    await keepSecret({ password, port, owner: process.pid }, folder, account).catch((error) =>
      stop().then(() => Promise.reject(error)),
    );
    return { url: urlOf(password, port), fresh, exited, stop };
  } catch (cause) {
    throw new Error(`the embedded database in ${resolve(dataDir)}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Connection string of the server that another process of ours runs in `dataDir` now; undefined when there is none that
 * answers within 2 s. For commands beside a running service. Throws an Error when its password can't be read.
 */
export async function runningEmbedded(dataDir: string): Promise<string | undefined> {
  const secret = await readSecret(dataDir);
  if (!secret?.port) return undefined;
  const url = urlOf(secret.password, secret.port);
  // SCRAM makes the server prove that it knows the password, too: a stranger that has the port now doesn't pass.
  return connected(url, 2_000, async () => url).catch(() => undefined);
}

async function usableFolder(dataDir: string): Promise<string> {
  try {
    await mkdir(dataDir, { recursive: true });
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    return await realpath(dataDir);
  } catch (cause) {
    throw new Error(`DATA_DIR must be a folder this user can write to: ${(cause as Error).message}`, { cause });
  }
}
