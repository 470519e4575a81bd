import { resolve } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { damages } from '../faults/backup/damage.ts';
import { refuseDamaged, reportOf, restoreToMoment } from '../faults/backup/rehearsal.ts';
import { onArchivedDatabase } from '../faults/backup/scene.ts';
import { endProcesses } from './support/process-service.ts';

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
