#!/bin/sh
# Runs a part of the library's tests with the oldest packages that the pyproject.toml of a generated
# TOM allows, and with the newest. The locks are somewhere in between.
set -eu
cd "$(dirname "$0")/.."

uv=$PWD/.work/tools/bin/uv
list='{{cookiecutter.project_slug}}/pyproject.toml'
part='tests/unit/test_every_module.py tests/unit/test_updatedata.py tests/unit/test_hooks.py
    tests/unit/test_schedule_line.py tests/unit/test_clockwork.py tests/unit/test_http.py'
export UV_NO_PROGRESS=1 UV_COMPILE_BYTECODE=0

for resolution in lowest-direct highest; do
    home=.work/$resolution
    mkdir -p "$home"
    echo "Packages: $resolution"
    # Jinja in it is a name that no package has.
    sed 's/{{[^}]*}}/tom/g' "$list" >"$home/pyproject.toml"
    "$uv" pip compile --quiet --resolution "$resolution" --python "$(cat .work/python)" \
        --no-annotate -o "$home/requirements.txt" "$home/pyproject.toml" tests/requirements.in
    "$(cat .work/python)" -m venv --clear --without-pip "$home/python"
    "$uv" pip sync --quiet --python "$home/python/bin/python" "$home/requirements.txt"
    # shellcheck disable=SC2086  # several files
    HOME=$PWD/.work/home TMPDIR=$PWD/.work/tmp "$home/python/bin/python" -m pytest -c tests/library.ini \
        -p no:cacheprovider -p no:faulthandler -q $part
done
