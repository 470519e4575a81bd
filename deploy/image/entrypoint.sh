#!/bin/sh
# amrutam NAME …: what `npm run NAME -- …` does, flags of node included, as this very process: signals reach node.
# Anything else is run as it stands.
set -eu
script=$(node -p 'require("/app/package.json").scripts[process.argv[1]] ?? ""' "${1:-start}")
[ -n "$script" ] || exec "$@"
[ $# = 0 ] || shift
# Words, not one word.
# shellcheck disable=SC2086
exec $script "$@"
