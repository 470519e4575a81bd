import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from '@jest/globals';
import { DEPLOY, hasPrometheus } from './support/prometheus.ts';

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
