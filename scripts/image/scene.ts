import assert from 'node:assert/strict';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../../faults/postgres.ts';
import { startProxy, type TcpProxy } from '../../faults/proxy.ts';
import { freePort } from '../../test/support/free-port.ts';
import type { Ports } from '../../test/support/process-client.ts';
import { type Given, start } from './container.ts';

/** The image, and a PostgreSQL for it. */
export interface Scene {
  readonly image: string;
  /** Between the containers and PostgreSQL. */
  readonly proxy: TcpProxy;
  /** What makes a container serve on `ports`. */
  readonly given: Given;
  readonly ports: Ports;
}

/** The user of the image. */
const USER = 1000;

/** Runs `checks` with a new and empty PostgreSQL. */
export async function inScene(image: string, checks: (scene: Scene) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-image-'));
  const keys = await mkdtemp(join(tmpdir(), 'amrutam-image-keys-'));
  await chown(keys, USER, USER);
  const postgres = await startPostgres(folder, ['fsync=off']);
  const proxy = await startProxy(() => postgres.port);
  const ports = { grpcPort: await freePort(), httpPort: await freePort() };
  const env = {
    DATABASE_URL: Object.assign(new URL(postgres.url()), { port: `${proxy.port}` }).toString(),
    JWT_KEYS_FILE: '/keys/keys.json',
    HOST: '127.0.0.1',
    GRPC_PORT: `${ports.grpcPort}`,
    HTTP_PORT: `${ports.httpPort}`,
  };
  try {
    await checks({ image, proxy, ports, given: { env, folders: { '/keys': keys } } });
  } finally {
    proxy.close();
    await postgres.end();
    for (const used of [folder, keys]) await rm(used, { recursive: true });
  }
}

/** What a command of the image prints. Throws an Error unless it ends well. */
export async function printed(image: string, command: readonly string[], given?: Given): Promise<string> {
  const { code, output } = await start(image, command, given).ended;
  assert.equal(code, 0, `${command.join(' ')}: ${output}`);
  return output;
}
