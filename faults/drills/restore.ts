import { refuseDamaged, reportOf, restoreFromDisk, restoreToLatest, restoreToMoment } from '../backup/rehearsal.ts';
import { onArchivedDatabase } from '../backup/scene.ts';
import type { Drill } from '../drill.ts';

/** Longer than what may be lost. */
const LIGHT_MS = 75_000;
const AFTER_MS = 3_000;

export const restore: Drill = {
  name: 'restore',
  story:
    'the database is destroyed three times under load and restored: to a moment, from its disk, and to the latest there is',
  breaks: [
    {
      file: 'deploy/pgbackrest/restore.sh',
      from: '[ -z "$moment" ] || options+=',
      to: 'true || options+=',
      means: 'a restore to a moment goes on to the latest',
    },
    {
      file: 'deploy/pgbackrest/after-restore.sql',
      from: 'revoked_at IS NULL AND :end_sessions',
      to: 'FALSE',
      means: 'sessions from before the restore live',
    },
    {
      file: 'src/availability/listing-feed.ts',
      from: 'if (asked !== server || !last',
      to: 'if (!last',
      means: 'what was read from another run of the server counts',
    },
    {
      file: 'deploy/pgbackrest/restore.sh',
      from: '! runs || die',
      to: 'true || die',
      means: 'a running database is not noticed',
    },
    {
      file: 'deploy/pgbackrest/restore.sh',
      from: 'if ((reached <= wanted)); then',
      to: 'if false; then',
      means: 'lost WAL is taken for the end of everything',
    },
    {
      file: 'deploy/pgbackrest/schedule.sh',
      from: ' && [[ $found == *"status: ok"* ]]',
      to: '',
      means: 'a verification counts as good when it exits with 0',
    },
    {
      file: 'deploy/pgbackrest/schedule.sh',
      from: '((at != before + 1))',
      to: 'false',
      means: 'a verification minds no lost WAL',
    },
    {
      file: 'deploy/pgbackrest/restore.sh',
      from: 'then cp -p "$wal" "$data/pg_wal/"; fi',
      to: 'then :; fi',
      means: 'what is left of the old database is not used',
    },
    {
      file: 'deploy/pgbackrest/schedule.sh',
      from: 'SELECT pg_reload_conf() FROM',
      to: 'SELECT FROM',
      means: 'archive_timeout sleeps for 5 minutes after a start',
    },
    {
      file: 'deploy/pgbackrest/archiving.conf',
      from: 'archive_timeout = 30s',
      to: 'archive_timeout = 0',
      means: 'WAL is archived when a segment is full',
    },
  ],
  run: (stage) =>
    onArchivedDatabase(stage, async (scene) => {
      const moment = await restoreToMoment(scene, { bookings: stage.bookings ?? 0, afterMs: AFTER_MS });
      if (!stage.bookings) await refuseDamaged(scene); // which is the same whatever the size
      const disk = await restoreFromDisk(scene);
      const latest = await restoreToLatest(scene, LIGHT_MS);
      return reportOf([moment, disk, latest]);
    }),
};
