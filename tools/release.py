"""Makes a release: versions, changelog, locks, tests, a commit and a tag. Pushes nothing.

    make release VERSION=0.3.0                 all of it
    make release VERSION=0.3.0 ARGS=--dry-run  the plan and the changes to files; nothing is kept

Whatever goes wrong before the commit, every file is as it was.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r'(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)')
UNRELEASED = '## Unreleased\n'
#: The places of the version: a file, and what stands around it.
PLACES = {
    'tom_auto/__init__.py': r"(?<=^__version__ = ')[^']+(?=')",
    'cookiecutter.json': r'(?<="_version": ")[^"]+(?=")',
    'CITATION.cff': r'(?<=^version: )\S+',
}
LOCKS = (
    'requirements-dev.txt',
    'tests/requirements.txt',
    '{{cookiecutter.project_slug}}/requirements.txt',
    '{{cookiecutter.project_slug}}/requirements-dev.txt',
    "{{cookiecutter.project_slug}}/{% if cookiecutter.task_engine == 'celery' %}requirements-celery.txt{% endif %}",
)


class Refused(Exception):
    """The release cannot be made; the text says why, and what to do."""


def git(*arguments: str) -> str:
    """What a command of git prints. Raises Refused if it fails."""
    done = subprocess.run(
        ['git', *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise Refused(f'git {" ".join(arguments)}: {done.stderr.strip()}')
    return done.stdout.strip()


def insist_on(version: str) -> None:
    """Raise Refused unless `version` can be released from what is here."""
    if not VERSION.fullmatch(version):
        raise Refused(f'{version!r} is not a version such as 0.3.0.')
    if changed := git('status', '--porcelain'):
        raise Refused(f'These files are not committed. Commit them first:\n{changed}')
    if (branch := git('branch', '--show-current')) != 'main':
        raise Refused(f'This is the branch {branch or "(none)"}. Releases are made on main.')
    released = [tag[1:] for tag in git('tag', '--list', 'v*').split() if VERSION.fullmatch(tag[1:])]
    newest = max(released, key=numbers, default='')
    if newest and numbers(version) <= numbers(newest):
        raise Refused(f'{version} is not newer than {newest}, which has been released.')


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split('.')))


def changes(version: str, day: str) -> dict[Path, str]:
    """The new text of each file that has the version in it."""
    texts = {}
    for name, place in PLACES.items():
        file = ROOT / name
        text, count = re.subn(place, version, file.read_text(encoding='utf-8'), flags=re.MULTILINE)
        if count != 1:
            raise Refused(f'{name} has its version in {count} places, in place of one.')
        texts[file] = text
    cited = ROOT / 'CITATION.cff'
    texts[cited] = re.sub(r'(?<=^date-released: )\S+', day, texts[cited], flags=re.MULTILINE)
    changelog = ROOT / 'CHANGELOG.md'
    texts[changelog] = with_heading(changelog.read_text(encoding='utf-8'), version, day)
    return texts


def with_heading(text: str, version: str, day: str) -> str:
    """The changelog, where what was unreleased has the heading of `version`."""
    if text.count(UNRELEASED) != 1:
        raise Refused(f'CHANGELOG.md has no line {UNRELEASED.strip()!r}, or more than one.')
    news = text.partition(UNRELEASED)[2].partition('\n## ')[0]
    if not news.strip():
        raise Refused(
            'CHANGELOG.md says of nothing that it is unreleased. Write what is new first.'
        )
    return text.replace(UNRELEASED, f'{UNRELEASED}\n## {version} ({day})\n')


def notes(changelog: str, version: str) -> str:
    """What the changelog says of `version`."""
    return (
        changelog.partition(f'## {version} (')[2].partition('\n')[2].partition('\n## ')[0].strip()
    )


def make(*targets: str) -> None:
    """Run make. Raises Refused if it fails."""
    print(f'make {" ".join(targets)}', flush=True)
    if subprocess.run(['make', *targets], cwd=ROOT, check=False).returncode:
        raise Refused(f'make {" ".join(targets)} failed. Nothing was released.')


def release(version: str, dry_run: bool) -> None:
    """Make the release, or show what it would be."""
    insist_on(version)
    texts = changes(version, f'{datetime.now(UTC):%Y-%m-%d}')
    if dry_run:
        for file, text in texts.items():
            print_difference(file, text)
        print(f'Then: make lock, make lint test engine, a commit, and the tag v{version}.')
        return
    try:
        for file, text in texts.items():
            file.write_text(text, encoding='utf-8')
        make('lock')
        make('lint', 'test', 'engine')
        files = [*(str(file.relative_to(ROOT)) for file in texts), *LOCKS]
        git('add', '--', *files)
        git('commit', '--quiet', '--message', f'Release {version}')
    except BaseException:
        git('reset', '--quiet', '--hard', 'HEAD')  # the tree was clean
        raise
    said = notes(texts[ROOT / 'CHANGELOG.md'], version)
    git(
        'tag',
        '--annotate',
        f'v{version}',
        '--cleanup=verbatim',
        '--message',
        f'{version}\n\n{said}',
    )
    print(f'v{version} is made. To publish it: git push --follow-tags')


def print_difference(file: Path, text: str) -> None:
    name, before = str(file.relative_to(ROOT)), file.read_text(encoding='utf-8')
    lines = before.splitlines(keepends=True), text.splitlines(keepends=True)
    sys.stdout.writelines(difflib.unified_diff(*lines, name, name, n=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('version', help='such as 0.3.0')
    parser.add_argument('--dry-run', action='store_true', help='show it, and keep nothing')
    options = parser.parse_args()
    try:
        release(options.version, options.dry_run)
    except Refused as reason:
        print(f'Not released: {reason}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('Not released: interrupted. Every file is as it was.', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    os.umask(0o022)
    sys.exit(main())
