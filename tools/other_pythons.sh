#!/bin/sh
# Runs a part of the library's tests, which touches every module, on the Pythons from 3.11 to 3.13 that
# `make` has not chosen. One that is not here, and that uv cannot install, is skipped, and said so.
set -eu
cd "$(dirname "$0")/.."

chosen=$("$(cat .work/python)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
uv=$PWD/.work/tools/bin/uv
part='tests/unit/test_every_module.py tests/unit/test_hooks.py
    tests/unit/test_facility_process.py tests/unit/test_startup.py'
export UV_NO_PROGRESS=1 UV_PYTHON_INSTALL_DIR="$PWD/.work/pythons" UV_COMPILE_BYTECODE=0

# Prints a Python of version $1 that runs; nothing if there is none.
python_of() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c 'import venv' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    # uv cannot everywhere: then nothing is printed, and the caller says that this Python is skipped.
    if "$uv" python install --quiet "$1" 2>/dev/null; then
        "$uv" python find --managed-python "$1"
    fi
}

for version in 3.11 3.12 3.13; do
    [ "$version" != "$chosen" ] || continue
    python=$(python_of "$version")
    if [ -z "$python" ]; then
        echo "Python $version: skipped. It is not here, and uv cannot install it."
        continue
    fi
    home=.work/python-$version
    echo "Python $version: $python"
    "$python" -m venv --clear --without-pip "$home"
    "$uv" pip sync --quiet --require-hashes --python "$home/bin/python" \
        '{{cookiecutter.project_slug}}/requirements.txt' tests/requirements.txt
    # shellcheck disable=SC2086  # several files
    HOME=$PWD/.work/home TMPDIR=$PWD/.work/tmp "$home/bin/python" -m pytest -c tests/library.ini \
        -p no:cacheprovider -p no:faulthandler -n 0 -q $part
done
