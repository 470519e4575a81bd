import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** Where the configuration lies that is delivered. */
export const DEPLOY = resolve('deploy/prometheus');

/** Whether a Prometheus can be started here. */
export const hasPrometheus = ['prometheus', 'promtool'].every((name) => spawnSync(name, ['--version']).status === 0);
if (!hasPrometheus)
  process.stderr.write('NOT TESTED: what needs Prometheus, because prometheus and promtool are not on the PATH.\n');

const START_MS = 20_000;

/** One series of an answer, and its value now. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A real Prometheus with our rules, which scrapes every second. */
export interface Prometheus {
  /** What `expression` gives now. Throws an Error with what Prometheus says against it. */
  query(expression: string): Promise<Sample[]>;
  /** What its API answers under `path`. */
  get<T>(path: string): Promise<T>;
  stop(): Promise<void>;
}

/** What a Prometheus asks: instances, the scheduler of backups where there is one, and what it tells of alerts. */
export interface PrometheusOptions {
  readonly backup?: string;
  readonly alertmanager?: string;
  /** Its alerts come as soon as what they are about has been so for a second. */
  readonly hasty?: boolean;
}

/** Starts the delivered configuration, but for where everybody is and how often they are asked; resolves when it has asked each. */
export async function startPrometheus(
  targets: readonly string[],
  { backup, alertmanager, hasty }: PrometheusOptions = {},
): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-prometheus-'));
  await cp(DEPLOY, folder, { recursive: true });
  const delivered = await readFile(join(DEPLOY, 'prometheus.yml'), 'utf8');
  const asked = backup ? [...targets, backup] : targets;
  const found = `static_configs:\n      - targets: [${targets.map((target) => `'${target}'`).join(', ')}]\n`;
  const listed = (target: string | undefined) => (target ? `['${target}']` : '[]');
  const config = delivered
    .replaceAll(': 15s', ': 1s')
    .replace(/dns_sd_configs:\n(?: {6}.*\n)+/, found)
    .replace("['backup:9854']", listed(backup))
    .replace("['alertmanager:9093']", listed(alertmanager));
  if (!config.includes(found) || /'(backup|alertmanager):/.test(config))
    throw new Error(`prometheus.yml is not as it was:\n${delivered}`);
  await writeFile(join(folder, 'prometheus.yml'), config);
  if (hasty) {
    const alerts = await readFile(join(DEPLOY, 'alerts.yml'), 'utf8');
    await writeFile(join(folder, 'alerts.yml'), alerts.replaceAll(/for: \d+m$/gm, 'for: 1s'));
  }
  const port = await freePort();
  const args = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`];
  // It forgets what it tells before it has found the Alertmanager, and tells it again after a minute.
  if (hasty) args.push('--rules.alert.resend-delay=1s');
  const child = spawn('prometheus', [...args, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  const base = `http://127.0.0.1:${port}`;
  await until(
    () => fetch(`${base}/-/ready`).then(({ ok }) => ok),
    child,
    () => said,
  );
  const get = async <T>(path: string) => {
    const answer = (await (await fetch(`${base}/api/v1/${path}`)).json()) as { error?: string; data: T };
    if (answer.error) throw new Error(`${path}: ${answer.error}`);
    return answer.data;
  };
  const query = async (expression: string) => {
    type Found = { result: { metric: Record<string, string>; value: [number, string] }[] };
    const { result } = await get<Found>(`query?query=${encodeURIComponent(expression)}`);
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  };
  await until(
    async () => (await query('up')).length === asked.length,
    child,
    () => said,
  );
  return {
    get,
    query,
    async stop() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function until(what: () => Promise<boolean>, child: ChildProcess, said: () => string): Promise<void> {
  for (const deadline = Date.now() + START_MS; !(await what().catch(() => false)); await sleep(50))
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`Prometheus did not start:\n${said()}`);
}
