#!/usr/bin/env bash
# For /docker-entrypoint-initdb.d/ of the postgres image: the service's own user, who owns its database and nothing else.
set -euo pipefail
file="${SECRETS:-/run/secrets/postgres}/amrutam-password"
[ -s "$file" ] || { echo "$file is missing or empty" >&2 && exit 1; }
# psql reads it by itself: lists of processes show what programs are started with.
psql -v ON_ERROR_STOP=1 -v file="$file" --no-psqlrc --dbname postgres <<'SQL'
\set password `cat :'file'`
CREATE ROLE amrutam LOGIN PASSWORD :'password';
CREATE DATABASE amrutam OWNER amrutam;
REVOKE CONNECT ON DATABASE postgres, amrutam FROM PUBLIC;
\connect amrutam
CREATE EXTENSION pg_stat_statements;
SQL
