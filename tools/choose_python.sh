#!/bin/sh
# Writes the path of the Python that `make` uses for everything into FILE.
#
#     tools/choose_python.sh FILE [PYTHON]
#
# Without PYTHON: the one already in FILE, as long as it runs; otherwise the newest suitable one.
# FILE is not touched if nothing changes, so that `make` rebuilds nothing.
set -eu

file=$1
wanted=${2:-}

# Prints the real path, because a name such as pyenv's may mean another Python tomorrow, or not run at
# all. Ends with 3 if Debian's python3-venv is missing.
probe='
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(2)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(3)
print(sys.executable)
'

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

if [ -z "$wanted" ] && [ -s "$file" ] && "$(cat "$file")" -c "$probe" >/dev/null 2>&1; then
    exit 0
fi

bare=''
found=''
for candidate in ${wanted:-python3.13 python3.12 python3.11 python3}; do
    status=0
    found=$("$candidate" -c "$probe" 2>/dev/null) || status=$?
    [ "$status" -ne 0 ] || break
    found=''
    [ "$status" -ne 3 ] || bare=$candidate
done

if [ -z "$found" ] && [ -n "$bare" ]; then
    fail "$bare cannot make virtual environments: its venv or ensurepip is missing." \
        'On Debian and Ubuntu: apt install python3-venv. Or name another: make PYTHON=/path/to/python'
elif [ -z "$found" ] && [ -n "$wanted" ]; then
    fail "PYTHON=$wanted does not run, or is not Python 3.11, 3.12 or 3.13."
elif [ -z "$found" ]; then
    fail 'No Python 3.11, 3.12 or 3.13 runs under the names python3.13, python3.12, python3.11, python3.' \
        'Install one, or name the one to use: make PYTHON=/path/to/python'
fi

mkdir -p "$(dirname "$file")"
[ "$(cat "$file" 2>/dev/null)" = "$found" ] || printf '%s\n' "$found" >"$file"
