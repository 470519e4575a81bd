#!/usr/bin/env bash
# For /docker-entrypoint-initdb.d/ of the postgres image: the service's own user, who owns its database and nothing else.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -v password="$(<"${SECRETS:-/run/secrets/postgres}/amrutam-password")" --no-psqlrc --dbname postgres <<'SQL'
CREATE ROLE amrutam LOGIN PASSWORD :'password';
CREATE DATABASE amrutam OWNER amrutam;
REVOKE CONNECT ON DATABASE postgres, amrutam FROM PUBLIC;
SQL
