#!/usr/bin/env bash
# Backups of the stanza amrutam. Runs as the user who owns the data directory, beside it and the server's socket.
#
#   schedule.sh          for ever: a full backup each day at BACKUP_AT (UTC, 02:15 by default), then everything in the repository is
#                        read and its checksums compared. One that is due is made up for at once: the first, one that was missed, and
#                        one after a restore. After a failure again in 10 minutes.
#   schedule.sh now      one backup and its verification
#   schedule.sh verify   the verification alone
#   schedule.sh wake     what the first does every 20 s: see wake() below. Where nothing runs it, once after each start of the server
#   schedule.sh status   for a health check: exits with 1, and says why, when the newest backup is older than 26 hours, the last one or its
#                        verification failed, or WAL can't be archived
#   schedule.sh figures  the same for Prometheus; the first answers with it at BACKUP_METRICS, such as 0.0.0.0:9854
set -euo pipefail

export PGBACKREST_STANZA=${PGBACKREST_STANZA:-amrutam}
at=${BACKUP_AT:-02:15}
failure=${BACKUP_FAILURE_FILE:-/tmp/amrutam-backup-failure}
day=86400
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

say() { echo "$(date -u +%FT%TZ) backup: $*"; }

failed() {
  say "FAILED: $*" >&2
  echo "$(date -u +%FT%TZ) $*" >"$failure"
  return 1
}

# Of the newest backup: when it began, seconds since 1970, and the timeline of its WAL; "0 -" while there is none.
newest() {
  local info
  info=$(pgbackrest info --output=json) || return 1
  { grep -oE '"archive":\{"start":"[0-9A-F]{8}|"timestamp":\{"start":[0-9]+' <<<"$info" || true; } | tail -2 |
    awk -F'[":]+' '/archive/ { line = $5 } /timestamp/ { start = $5 } END { print start + 0, line ? line : "-" }'
}

# The timeline of the newest WAL in the archive: another than the newest backup's after a restore.
archived() {
  pgbackrest info --output=json | { grep -oE '"max":"[0-9A-F]{8}' || echo '"max":"-'; } | tail -1 | cut -d'"' -f4
}

due() {
  local start line last
  read -r start line < <(newest) || return 0 # trying says what is wrong
  last=$(date -u -d "$at" +%s)
  ((last <= $(date +%s))) || last=$((last - day))
  ((start < last)) || [ "$line" != "$(archived)" ]
}

# Names of WAL that the archive lacks between others of the same timeline: pgBackRest's verification doesn't mind.
gaps() {
  local name line at before_line='' before=0
  while read -r name; do
    line=${name%%/*}${name:(-24):8} at=$((16#${name:(-16):8} * 256 + 16#${name:(-8)}))
    if [ "$line" = "$before_line" ] && ((at != before + 1)); then echo "WAL is lost before ${name##*/}"; fi
    before_line=$line before=$at
  done < <(pgbackrest repo-ls "archive/$PGBACKREST_STANZA" --recurse | { grep -oE '^[0-9-]+/.*/[0-9A-F]{24}-' || true; } | sed 's/-$//' | sort)
}

# pgBackRest exits with 0 whatever it has found.
verify() {
  local found lost
  found=$(pgbackrest verify --output=text --verbose) && [[ $found == *"status: ok"* ]] && lost=$(gaps) && [ -z "$lost" ] || {
    printf '%s\n' "$found" "${lost:-}" >&2
    failed "the repository is damaged, or can't be read: see above. Backups and WAL named there can't be trusted"
  }
}

backup() {
  say "a full backup begins"
  pgbackrest stanza-create || failed "the repository can't be prepared" || return 1
  pgbackrest backup --type=full || failed "no backup was made" || return 1
  say "it is made; reading everything in the repository"
  verify || return 1
  rm -f "$failure"
  say "good: $(pgbackrest info | grep -E 'full backup:' | tail -1 | xargs)"
}

ask() { psql -XAtq -h "${PGBACKREST_PG1_SOCKET_PATH:-/var/run/postgresql}" -p "${PGBACKREST_PG1_PORT:-5432}" -d postgres -c "$1"; }

# From PostgreSQL 15 on, a checkpointer that was there before the server was open sleeps until the first checkpoint, 5 minutes, and sees to
# archive_timeout only then. A reload wakes it.
wake() {
  ask "SELECT pg_reload_conf() FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND backend_start > now() - interval '1 minute'" >/dev/null
}

status() {
  local start line last_archive
  [ ! -e "$failure" ] || { cat "$failure"; return 1; }
  read -r start line < <(newest) || { echo "the repository can't be read"; return 1; }
  (($(date +%s) - start < day + 7200)) || { echo "the newest backup is older than 26 hours, or there is none"; return 1; }
  last_archive=$(ask "SELECT last_failed_wal || ' failed at ' || last_failed_time FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')") ||
    { echo "PostgreSQL doesn't answer"; return 1; }
  [ -z "$last_archive" ] || { echo "WAL can't be archived: $last_archive"; return 1; }
  echo "good"
}

figures() {
  local start line failed=0
  [ ! -e "$failure" ] || failed=1
  if read -r start line < <(newest); then
    echo '# HELP backup_newest_timestamp_seconds When the newest backup began, in seconds since 1970; 0: there is none.'
    echo '# TYPE backup_newest_timestamp_seconds gauge'
    echo "backup_newest_timestamp_seconds $start"
  else
    failed=1
  fi
  echo '# HELP backup_failed 1 while the last backup or its verification failed, or the repository cannot be read.'
  echo '# TYPE backup_failed gauge'
  echo "backup_failed $failed"
}

forever() {
  while :; do
    wake 2>/dev/null || true
    sleep 20
  done &
  local beside=($!)
  if [ -n "${BACKUP_METRICS:-}" ]; then
    "$here/metrics.pl" "$BACKUP_METRICS" "$here/schedule.sh" figures &
    beside+=($!)
  fi
  trap 'kill "${beside[@]}" || true; exit 0' TERM INT
  say "each day at $at UTC"
  while :; do
    local pause=60
    if due; then backup || pause=600; fi
    sleep "$pause" &
    wait $! || true
  done
}

case ${1:-} in
  '') forever ;;
  now) backup ;;
  verify) verify && say "everything in the repository can be read" ;;
  wake) wake ;;
  status) status ;;
  figures) figures ;;
  *)
    echo "schedule.sh [now|verify|wake|status|figures]" >&2
    exit 2
    ;;
esac
