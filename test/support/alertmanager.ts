import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** The configuration that is delivered. */
export const ALERTMANAGER = 'deploy/alertmanager/alertmanager.yml';

/** Debian's package has a name of its own for it. */
const program = ['alertmanager', 'prometheus-alertmanager'].find((name) => spawnSync(name, ['--version']).status === 0);

/** Whether an Alertmanager, and what checks its configuration, can be started here. */
export const hasAlertmanager = program !== undefined && spawnSync('amtool', ['--version']).status === 0;
if (!hasAlertmanager)
  process.stderr.write('NOT TESTED: what needs Alertmanager, because alertmanager and amtool are not on the PATH.\n');

const START_MS = 20_000;

/** An alert as a receiver is told of it. */
export interface ToldAlert {
  readonly status: 'firing' | 'resolved';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The receiver, and what it was shown to know the sender. */
  readonly receiver: string;
  readonly authorization: string | undefined;
}

/** A real Alertmanager with our configuration, whose webhooks come to a receiver here. */
export interface Alertmanager {
  readonly address: string;
  /** What the receivers were told so far. */
  readonly told: readonly ToldAlert[];
  stop(): Promise<void>;
}

/** The delivered configuration with every way to tell somebody that stands in it as a comment. */
export async function withReceivers(): Promise<string> {
  return (await readFile(ALERTMANAGER, 'utf8')).replaceAll(/^ {4}# (?= *(?:- |[a-z_]+:))/gm, '    ');
}

/** Starts it, but that it waits for nothing before it tells, and tells whoever pays for pagers here. */
export async function startAlertmanager(token: string): Promise<Alertmanager> {
  const folder = await mkdtemp(join(tmpdir(), 'amrutam-alertmanager-'));
  const told: ToldAlert[] = [];
  const receiver = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const { alerts, receiver } = JSON.parse(text) as { alerts: ToldAlert[]; receiver: string };
      const { authorization } = request.headers;
      told.push(...alerts.map((alert) => ({ ...alert, receiver, authorization })));
      response.end();
    });
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const at = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  const config = (await withReceivers())
    .replaceAll(/https:\/\/(pager|tickets)\.example\.com/g, at)
    .replaceAll('/run/secrets/alertmanager', folder)
    .replaceAll(/^ {4}email_configs:\n(?: {6}.*\n)+/gm, '')
    .replaceAll(/group_(wait|interval): \w+/g, 'group_$1: 1s');
  await writeFile(join(folder, 'token'), `${token}\n`);
  await writeFile(join(folder, 'alertmanager.yml'), config);
  const port = await freePort();
  const child = spawn(
    program as string,
    [
      `--config.file=${folder}/alertmanager.yml`,
      `--storage.path=${folder}/data`,
      '--cluster.listen-address=',
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  const address = `127.0.0.1:${port}`;
  const ready = () => fetch(`http://${address}/-/ready`).then(({ ok }) => ok);
  for (const end = Date.now() + START_MS; !(await ready().catch(() => false)); await sleep(50))
    if (child.exitCode !== null || Date.now() > end) throw new Error(`Alertmanager did not start:\n${said}`);
  return {
    address,
    told,
    async stop() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      receiver.close();
      receiver.closeAllConnections();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
