#!/bin/sh
# Makes a TOM with the default answers in .work/demo and lets it download data from the simulated
# observatory. Run by `make demo`, which makes the two environments first.
#
# Everything stays in .work: the crontab is not touched, and the home directory is .work/home.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/.work
tom=$work/demo/my_tom
printed=$work/demo/cookiecutter.txt

bold='' plain=''
if [ -t 1 ]; then
    bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

step() {
    printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
}

# A proxy, a DATABASE_URL or a token of the caller must not reach the demo: the commands get only
# these variables.
clean() {
    env -i PATH="$PATH" HOME="$work/home" TMPDIR="$work/tmp" TERM="${TERM:-dumb}" \
        LANG="${LANG:-C.UTF-8}" "$@"
}

manage() {
    printf '$ python manage.py %s\n' "$*"
    (cd "$tom" && clean .venv/bin/python manage.py "$@")
}

rm -rf "$work/demo"
mkdir -p "$work/demo" "$work/home" "$work/tmp"

step 'Generate a TOM with the default answers'
printf '$ cookiecutter --no-input tom-auto\n'
clean "$work/tools/bin/cookiecutter" --no-input --output-dir "$work/demo" . >"$printed" 2>&1 || {
    cat "$printed"
    exit 1
}
echo 'It is in .work/demo/my_tom. The output of Cookiecutter, which says how to continue by hand,'
echo 'is in .work/demo/cookiecutter.txt. For the demo, the packages are installed already.'
# The packages are those of .work/tom, installed from the project's own lock file.
ln -s ../../tom "$tom/.venv"

step 'Make the database'
manage migrate --verbosity 0
echo 'All migrations are applied.'

step 'Download data from the simulated observatory'
manage demo

step 'The line that cron would run (it is not installed)'
manage schedule show

step 'Look at the TOM'
printf '    %s\n' 'cd .work/demo/my_tom' '.venv/bin/python manage.py createsuperuser' \
    '.venv/bin/python manage.py runserver'
