#!/usr/bin/env bash
# For /docker-entrypoint-initdb.d/ of the postgres image: a new database archives its WAL from the start.
# Copied rather than mounted in place, so that the settings travel with the data directory, and come back with a restore.
set -euo pipefail
cp "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/archiving.conf" "$PGDATA/archiving.conf"
echo "include 'archiving.conf'" >>"$PGDATA/postgresql.conf"
