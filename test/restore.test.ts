import { readFile, rename } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from '@jest/globals';
import { damages } from '../faults/backup/damage.ts';
import { refuseDamaged, reportOf, restoreToMoment } from '../faults/backup/rehearsal.ts';
import { onArchivedDatabase } from '../faults/backup/scene.ts';
import { endProcesses } from './support/process-service.ts';
import { hasPrometheus, startPrometheus } from './support/prometheus.ts';

// The whole of it is the drill: npm run drill:restore.

const ROOT = resolve(import.meta.dirname, '..');

afterAll(endProcesses);

test('a destroyed database comes back as it was at a moment, and a backup that lacks WAL is refused', async () => {
  const lost = damages.filter(({ means }) => means === 'archived WAL is lost');
  const report = await onArchivedDatabase({ say: () => {}, root: ROOT }, async (scene) => {
    const moment = await restoreToMoment(scene, { bookings: 0, afterMs: 500 });
    await refuseDamaged(scene, lost);
    return reportOf([moment]);
  });
  if (report.notRun)
    process.stderr.write(`NOT TESTED: backup and restore, because this machine lacks ${report.notRun}.\n`);
  else expect(report.acknowledged).toBeGreaterThan(0);
}, 180_000);

(hasPrometheus ? test : test.skip)(
  'Prometheus sees backups and archiving while all is well, tells when the repository is gone, and is content when it is back',
  async () => {
    const { panels } = JSON.parse(await readFile('deploy/grafana/dashboards/amrutam.json', 'utf8')) as Dashboard;
    const report = await onArchivedDatabase({ say: () => {}, root: ROOT }, async ({ archived, services }) => {
      const targets = services.map(({ metricsPort }) => `127.0.0.1:${metricsPort}`);
      const prometheus = await startPrometheus(targets, { backup: await archived.runScheduler() });
      const value = async (expression: string) => (await prometheus.query(expression))[0]?.value;
      const alerts = async () =>
        (await prometheus.query('ALERTS{alertname=~"WalNotArchived|Backup.*"}'))
          .map(({ labels }) => labels.alertname)
          .sort();
      try {
        // The first backup is due at once.
        await until(
          async () => ((await value('max(backup_newest_timestamp_seconds)')) ?? 0) > Date.now() / 1000 - 3_600,
        );
        await archived.archiveAll();
        await until(
          async () => (await alerts()).length === 0 && (await value('max(wal_unarchived_bytes)')) !== undefined,
        );
        expect(await value('max(backup_failed)')).toBe(0);
        for (const { expr } of panels.flatMap(({ targets = [] }) => targets))
          if (/\b(backup|wal)_/.test(expr)) expect([expr, await value(expr)]).toEqual([expr, expect.any(Number)]);
        await rename(archived.repository, `${archived.repository} elsewhere`);
        const written = archived.archiveAll();
        await until(async () => (await alerts()).join() === 'BackupTooOld,WalNotArchived');
        await rename(`${archived.repository} elsewhere`, archived.repository);
        await written; // not one file is lost
        await until(async () => (await alerts()).length === 0);
        return reportOf([]);
      } finally {
        await prometheus.stop();
      }
    });
    if (report.notRun)
      process.stderr.write(`NOT TESTED: alerts of backups, because this machine lacks ${report.notRun}.\n`);
  },
  240_000,
);

interface Dashboard {
  readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[];
}

async function until(there: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; !(await there()); await sleep(200))
    if (Date.now() > end) throw new Error('it did not come to that');
}
