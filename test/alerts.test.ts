import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ALERTMANAGER, hasAlertmanager, startAlertmanager, withReceivers } from './support/alertmanager.ts';
import { freePort } from './support/free-port.ts';
import { DEPLOY, hasPrometheus, startPrometheus } from './support/prometheus.ts';

const run = promisify(execFile);
const testIf = hasPrometheus ? test : test.skip;

interface Alert {
  readonly name: string;
  readonly runbook: string;
  readonly severity: string;
}

let alerts: Alert[];

beforeAll(async () => {
  const rules = await readFile(join(DEPLOY, 'alerts.yml'), 'utf8');
  alerts = rules
    .split('- alert: ')
    .slice(1)
    .map((text) => ({
      name: /^\w+/.exec(text)?.[0] ?? '',
      runbook: /runbook_url: (\S+)/.exec(text)?.[1] ?? '',
      severity: /severity: (\w+)/.exec(text)?.[1] ?? '',
    }));
});

const said = (args: readonly string[]) =>
  run('promtool', [...args]).then(
    ({ stdout }) => stdout,
    (error: { stdout: string; stderr: string }) => `${error.stdout}${error.stderr}`,
  );

testIf('each alert comes when it must, and not before', async () => {
  expect(await said(['test', 'rules', join(DEPLOY, 'alerts.test.yml')])).toMatch(/SUCCESS/);
});

testIf('the configuration is one that Prometheus takes', async () => {
  expect(await said(['check', 'config', join(DEPLOY, 'prometheus.yml')])).not.toMatch(/FAILED/);
});

test('no alert is without a test', async () => {
  const tests = await readFile(join(DEPLOY, 'alerts.test.yml'), 'utf8');
  expect(alerts.length).toBeGreaterThan(10);
  expect(alerts.filter(({ name }) => !new RegExp(`alertname: ${name}\\n.*\\n +exp_alerts:\\n`).test(tests))).toEqual(
    [],
  );
});

test('each alert says how urgent it is and names its page of the runbook, and no page is without an alert', async () => {
  expect(alerts.map(({ severity }) => severity).filter((word) => !/^(page|ticket)$/.test(word))).toEqual([]);
  for (const { name, runbook } of alerts) {
    const [title, , means] = (await readFile(runbook, 'utf8')).split('\n');
    expect(title).toBe(`# ${name}`);
    expect(means).toMatch(/\w/);
  }
  const pages = (await readdir('docs/runbook')).map((file) => `docs/runbook/${file}`);
  expect(alerts.map(({ runbook }) => runbook).sort()).toEqual(pages.sort());
});

test('a page says what it means, what to look at and what to do, and its links lead somewhere', async () => {
  for (const file of await readdir('docs/runbook')) {
    const text = await readFile(join('docs/runbook', file), 'utf8');
    expect(text.match(/^## .*/gm)).toEqual(['## Look at', '## Do']);
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s#]+)(?:#\S*)?\)/g)) await readFile(join('docs/runbook', link));
  }
});

(hasAlertmanager ? describe : describe.skip)('Alertmanager', () => {
  test('takes the configuration as it comes, and with everybody told who stands in it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'amrutam-amtool-'));
    const open = await withReceivers();
    expect(open.match(/^ {4}(webhook|email)_configs:/gm)).toHaveLength(4);
    await writeFile(join(folder, 'open.yml'), open);
    for (const file of [ALERTMANAGER, join(folder, 'open.yml')]) await run('amtool', ['check-config', file]);
    await rm(folder, { recursive: true });
  });

  test('sends a page to the pager and a ticket to the tickets', async () => {
    for (const { name, severity } of alerts) {
      const labels = [`alertname=${name}`, `severity=${severity}`];
      const { stdout } = await run('amtool', ['config', 'routes', 'test', `--config.file=${ALERTMANAGER}`, ...labels]);
      expect([name, stdout.trim()]).toEqual([name, severity]);
    }
  });

  testIf(
    'somebody is told that no instance is there, with a word that shows who tells, and that one is there again',
    async () => {
      const alertmanager = await startAlertmanager('a token of this test');
      const address = `127.0.0.1:${await freePort()}`;
      const prometheus = await startPrometheus([address], { alertmanager: alertmanager.address, hasty: true });
      const instance = createServer((_request, response) => response.end('ready 1\n'));
      try {
        const about = (wanted: string, status: string) =>
          alertmanager.told.find((one) => one.labels.alertname === wanted && one.status === status);
        await until(() => about('NoInstance', 'firing') !== undefined);
        expect(about('NoInstance', 'firing')).toMatchObject({
          receiver: 'page',
          authorization: 'Bearer a token of this test',
          annotations: { runbook_url: 'docs/runbook/no-instance.md' },
        });
        instance.listen(Number(address.split(':')[1]), '127.0.0.1');
        await until(() => about('NoInstance', 'resolved') !== undefined);
      } finally {
        instance.close();
        instance.closeAllConnections();
        await prometheus.stop();
        await alertmanager.stop();
      }
    },
    120_000,
  );
});

async function until(there: () => boolean): Promise<void> {
  for (const end = Date.now() + 100_000; !there(); await sleep(100))
    if (Date.now() > end) throw new Error('it did not come to that');
}
