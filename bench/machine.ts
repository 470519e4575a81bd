import { arch, cpus, platform, totalmem } from 'node:os';
import { once } from './bench-database.ts';

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly os: string;
  readonly node: string;
  readonly postgres: string;
  /** Of PostgreSQL: those that decide how fast it is. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Asks the system, and the server at `url`. */
export async function describeMachine(url: string): Promise<Machine> {
  const settings = await once<{ name: string; value: string }>(
    url,
    `SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync',
      'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'wal_level', 'full_page_writes') ORDER BY name`,
  );
  const [version] = await once<{ server_version: string }>(url, 'SHOW server_version');
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    os: `${platform()} ${arch()}`,
    node: process.version,
    postgres: version?.server_version ?? 'unknown',
    settings: Object.fromEntries(settings.map(({ name, value }) => [name, value])),
  };
}
