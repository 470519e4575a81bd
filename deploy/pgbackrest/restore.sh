#!/usr/bin/env bash
# Brings the database back as it was at a moment. Runbook: docs/restore.md.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'TEXT'
restore.sh --to 'YYYY-MM-DD HH:MM:SS+00' | --to latest
  --move-aside       where the data directory isn't empty: rename it first. What it had not archived yet is then restored too
  --overwrite        where the data directory isn't empty: replace what is in it (needs no room, and there is no way back)
  --wal-from DIR     an old data directory: what it had not archived yet is restored too
  --copy DIR         restore into DIR instead, to look at or to rehearse: the database may be running, and nothing of the copy is archived
  --set LABEL        from this backup (pgbackrest info lists them); otherwise from the newest before the moment
  --timeline N       along this timeline; otherwise along the one that was in use at the moment
  --keep-sessions    don't end everybody's session; those that were ended after the moment then live again
  --despite-loss     with --to latest, where WAL is missing or damaged: keep what lies before
When it exits with 0, the database is in the data directory, at the moment, whole and stopped: start it as always.
TEXT
}

say() { echo "restore: $*"; }
die() {
  echo "restore: NOT RESTORED: $*" >&2
  [ -z "$moved" ] || echo "restore: what was there before is in $moved. To try again: --overwrite --wal-from $moved" >&2
  exit 1
}

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
[ "$(id -u)" != 0 ] || exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$here/restore.sh" "$@"

to= replace= copy= set= timeline= wal_from= moved= end_sessions=true despite=
while (($#)); do
  case $1 in
    --to | --copy | --set | --timeline | --wal-from)
      [ -n "${2:-}" ] || { usage >&2; exit 2; }
      name=${1#--}
      printf -v "${name/-/_}" %s "$2"
      shift
      ;;
    --move-aside | --overwrite) replace=${1#--} ;;
    --keep-sessions) end_sessions=false ;;
    --despite-loss) despite=yes ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ -n "$to" ] || { usage >&2; exit 2; }

config=${PGBACKREST_CONFIG:-/etc/pgbackrest/pgbackrest.conf}
setting() { { sed -n "s/^$1=//p" "$config" 2>/dev/null || true; } | head -1; }
export PGBACKREST_STANZA=${PGBACKREST_STANZA:-amrutam}
export PGBACKREST_LOG_LEVEL_FILE=off
serving=${PGBACKREST_PG1_PATH:-$(setting pg1-path)}
data=${copy:+$(realpath -m "$copy")}
data=${data:-$serving}
[ -n "$data" ] || die "no data directory: $config has no pg1-path, and PGBACKREST_PG1_PATH isn't set"
export PGBACKREST_PG1_PATH=$data
work=$(mktemp -d)
chmod 700 "$work"
server=
cleanup() {
  if [ -n "$server" ] && kill -INT "$server" 2>/dev/null; then wait "$server" || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

# --- The moment, the backup to begin from, and the timeline to follow.

command -v pgbackrest >/dev/null || die "pgbackrest isn't installed"
moment= epoch=
if [ "$to" != latest ]; then
  [[ $to =~ (Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)$ ]] || die "'$to' doesn't say in which time zone: '2026-11-25 14:03:00+00'"
  epoch=$(date -u -d "$to" +%s 2>/dev/null) || die "'$to' is no time: '2026-11-25 14:03:00+00'"
  moment=$(date -u -d "$to" '+%F %T.%6N+00')
  ((epoch < $(date +%s))) || die "'$to' lies in the future"
fi

info=$(pgbackrest info --output=json) || die "the repository can't be read: see above"
[[ $info == *'"label":'* ]] || die "there is no backup in the repository: $(pgbackrest info | tr -s '\n ' ' ')"
# Lines of "timeline label complete": when that was, in seconds since 1970. The oldest first.
backups=$(grep -oE '"archive":\{"start":"[0-9A-F]{8}|"label":"[^"]+"|"stop":[0-9]+' <<<"$info" | sed -E 's/.*[:"]([^":]+)"?$/\1/' | paste -d' ' - - -)
labels=$(cut -d' ' -f2 <<<"$backups" | xargs)
chosen=$(awk -v set="$set" -v epoch="$epoch" '(set == "" || $2 == set) && (epoch == "" || $3 < epoch)' <<<"$backups" | tail -1)
if [ -z "$chosen" ]; then
  [ -z "$set" ] || die "no backup $set was complete at $to: there are $labels"
  read -r _ _ first <<<"$backups"
  die "no backup was complete at $to; the earliest moment is $(date -u -d "@$((first + 1))" '+%F %T+00')"
fi
read -r line label complete <<<"$chosen"
ago=$((${epoch:-$(date +%s)} - complete))

archive_id=$(grep -oE '"id":"[0-9]+-[0-9]+"' <<<"$info" | tail -1 | cut -d'"' -f4)
archive=$(pgbackrest repo-ls "archive/$PGBACKREST_STANZA/$archive_id" --recurse --output=json) || die "the archive can't be read: see above"
# A timeline begins to be used when its history is archived.
histories=$(grep -oE '"[0-9A-F]{8}\.history":\{[^}]*\}' <<<"$archive" | sed -E 's/"([0-9A-F]{8}).*"time":([0-9]+).*/\1 \2/' | sort || true)
if [ -z "$timeline" ]; then
  timeline=$(awk -v line="$line" -v epoch="$epoch" 'NF && (epoch == "" || $2 <= epoch) { line = $1 } END { print line }' <<<"$histories")
  timeline=$((16#$timeline))
fi
last_wal=
if [ "$to" = latest ]; then
  last_wal=$(grep -oE "/$(printf %08X "$timeline")[0-9A-F]{16}-" <<<"$archive" | sort | tail -1 | tr -d '/-' || true)
fi

# --- The data directory: nothing in it is lost unasked.

runs() {
  [ -z "$(find /proc -maxdepth 2 -name cwd -lname "$(realpath -m "$data")" 2>/dev/null)" ] || return 0
  [ -z "$copy" ] || return 1
  local code=0
  pg_isready -q -t 3 -h "${PGBACKREST_PG1_SOCKET_PATH:-$(setting pg1-socket-path)}" -p "${PGBACKREST_PG1_PORT:-5432}" || code=$?
  ((code <= 1))
}
! runs || die "PostgreSQL is running on $data. Stop it first; to look at an earlier state beside it: --copy DIR"

if [ -n "$(ls -A "$data" 2>/dev/null || true)" ]; then
  [ -z "$copy" ] || die "$data isn't empty"
  case $replace in
    move-aside)
      aside=$data.until-$(date -u +%Y%m%dT%H%M%SZ)
      mv "$data" "$aside" || die "$data can't be renamed, as when a volume is mounted there: move what is in it elsewhere, or say --overwrite"
      moved=$aside
      wal_from=${wal_from:-$moved}
      say "what was in $data is in $moved now"
      ;;
    overwrite) rm -f "$data/postmaster.pid" ;;
    *) die "$data isn't empty: say --move-aside to keep what is in it, or --overwrite" ;;
  esac
fi
mkdir -p -m 700 "$data"

# --- Files, then everything that happened since.

started=$SECONDS
say "to ${moment:-the latest moment there is}, into $data"
say "from backup $label, complete at $(date -u -d "@$complete" '+%F %T+00'), $((ago / 3600)) h $((ago % 3600 / 60)) min before, along timeline $timeline"
options=(--set="$label" --target-timeline="$timeline")
[ -z "$moment" ] || options+=(--type=time "--target=$moment" --target-action=promote)
[ "$replace" != overwrite ] || options+=(--delta)
[ -z "$copy" ] || options+=(--archive-mode=off)
say "1/3 bringing the backup back"
pgbackrest restore "${options[@]}" || die "the backup can't be brought back: see above. With an older one: --set, one of $labels"

bin=$(dirname "$(readlink -f "$(command -v pg_ctl || echo "/usr/lib/postgresql/$(<"$data/PG_VERSION")/bin/pg_ctl")")")
[ -x "$bin/postgres" ] || die "PostgreSQL $(<"$data/PG_VERSION") isn't installed here"

# What the old database had not archived yet. Files that it only kept for later use are told apart by PostgreSQL itself.
identity() { "$bin/pg_controldata" "$1" 2>/dev/null | grep 'system identifier' || echo "none"; }
if [ -n "$wal_from" ] && [ "$(identity "$wal_from")" != "$(identity "$data")" ]; then
  say "$wal_from can't be read, or is another database: nothing is taken from it"
elif [ -n "$wal_from" ]; then
  archived=$(grep -oE '/[0-9A-F]{24}-' <<<"$archive" | cut -c10-25 | sort | tail -1 || true)
  for wal in "$wal_from"/pg_wal/????????????????????????; do
    name=$(basename "$wal")
    if [[ $name =~ ^[0-9A-F]{24}$ && ${name:8} > $archived ]]; then cp -p "$wal" "$data/pg_wal/"; fi
  done
fi

say "2/3 replaying what happened since; nobody can connect meanwhile"
# pgBackRest exits with 1 for what isn't in the archive. Anything else must not be taken for the archive's end: above 125 PostgreSQL gives up.
fetch='pgbackrest archive-get %f "%p"; code=$?; [ $code -lt 2 ] || exit 200; exit $code'
[ -z "$despite" ] || fetch='pgbackrest archive-get %f "%p"'
echo "local all all trust" >"$work/pg_hba.conf"
# Archives nothing: until it is started for good, the repository knows nothing of this restore, and it can be tried again.
mode=$([ -n "$copy" ] && echo off || echo on)
"$bin/postgres" -D "$data" -p 5432 -c listen_addresses= -c unix_socket_directories="$work" -c hba_file="$work/pg_hba.conf" \
  -c ssl=off -c hot_standby=off -c archive_mode="$mode" -c archive_command=false -c restore_command="$fetch" \
  -c lc_messages=C -c log_min_messages=warning -c logging_collector=off -c log_destination=stderr -c log_startup_progress_interval=10s >"$work/log" 2>&1 &
server=$!
ask() { "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$work" -p 5432 -U "${PGUSER:-postgres}" "$@"; }
told=$SECONDS
until "$bin/pg_isready" -q -h "$work" -p 5432; do
  kill -0 "$server" 2>/dev/null || {
    tail -n 25 "$work/log" >&2
    server=
    if grep -q 'recovery ended before configured recovery target' "$work/log"; then
      die "the archive ends before $to, or WAL before that is missing. All that there is: --to latest"
    fi
    if grep -q 'is not a child of this server' "$work/log"; then
      die "timeline $timeline branched off before backup $label: --set with one from before that, or another --timeline"
    fi
    die "PostgreSQL gave up, see above: WAL is damaged, or the archive can't be reached"
  }
  if ((SECONDS - told >= 15)); then
    told=$SECONDS
    say "    $((SECONDS - started)) s: $(grep -E 'redo in progress|restored log file' "$work/log" | tail -1 | sed 's/.*LOG: *//')"
  fi
  sleep 0.2
done
last=$(sed -n 's/.*last completed transaction was at log time //p' "$work/log" | tail -1)

# PostgreSQL takes WAL that it can't find or read for the end of everything.
if [ -n "$last_wal" ]; then
  now=$(ask -d postgres -c "SELECT pg_walfile_name(pg_current_wal_lsn())")
  end=$(awk 'NF > 1 { at = $2 } END { print at }' "$data/pg_wal/${now:0:8}.history")
  reached=$(((16#${end%/*} << 32) + 16#${end#*/}))
  wanted=$(((16#${last_wal:8:8} << 32) + 16#${last_wal:16:8} * $(ask -d postgres -c "SELECT pg_size_bytes(current_setting('wal_segment_size'))")))
  if ((reached <= wanted)); then
    lost="WAL is missing or damaged at $end, and the archive goes on to $last_wal: everything after ${last:-the backup} is lost"
    [ -n "$despite" ] || die "$lost. From another backup: --set. To do without: --despite-loss"
    say "LOST: $lost"
  fi
fi

say "3/3 sessions: $([ $end_sessions = true ] && echo "everybody's are ended" || echo kept)"
words="to ${moment:-latest}, last change ${last:-that of the backup}, backup $label"
databases=$(ask -d postgres -c "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate")
while read -r database; do
  ask -d "$database" -v end_sessions="$end_sessions" -v words="$words" -f "$here/after-restore.sql" || die "in database $database: see above"
done <<<"$databases"
kill -INT "$server"
wait "$server" || die "PostgreSQL did not stop properly: $(tail -n 3 "$work/log")"
server=
say "done in $((SECONDS - started)) s. The last change in it: ${last:-none since the backup}"
[ -n "$copy" ] || say "start PostgreSQL, then: schedule.sh now (a backup of what is in use now), and docs/restore.md on what people must hear of"
