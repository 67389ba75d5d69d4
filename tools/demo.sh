#!/bin/sh
# Makes a TOM with the default answers in .work/demo and lets it fetch data from the simulated
# observatory. Run by `make demo`, which has made the two environments.
#
# Everything stays in .work: the crontab is not touched, and the home directory is .work/home.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/.work
tom=$work/demo/my_tom
said=$work/demo/cookiecutter.txt

bold='' plain=''
if [ -t 1 ]; then
    bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

step() {
    printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
}

# A proxy, a DATABASE_URL or a token of yours must not reach a demonstration: the commands
# start with nothing of the caller's environment but these.
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
clean "$work/tools/bin/cookiecutter" --no-input --output-dir "$work/demo" . >"$said" 2>&1 || {
    cat "$said"
    exit 1
}
echo 'It is in .work/demo/my_tom. What Cookiecutter said, about how to go on by hand, is in'
echo '.work/demo/cookiecutter.txt; here the packages are installed already.'
# Its packages are those of .work/tom, installed from the project's own lock file.
ln -s ../../tom "$tom/.venv"

step 'Make its database'
manage migrate --verbosity 0
echo 'Every migration is applied.'

step 'Bring home data from the simulated observatory'
manage demo

step 'What cron would run (nothing is installed)'
manage schedule show

step 'The TOM is yours to look at'
printf '    %s\n' 'cd .work/demo/my_tom' '.venv/bin/python manage.py createsuperuser' \
    '.venv/bin/python manage.py runserver'
