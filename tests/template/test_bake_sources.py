"""Wherever the template comes from, a bake holds the same files, with tom_auto a plain directory."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from baking import Bake, bake, clean_environment, commit, git, repository, without_id
from running import manage

FORMER = 'TOM_FORMER = True\n'


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template in a git repository, whose tag v0 has a file in the library that main lacks."""
    place = repository(tmp_path_factory.mktemp('source') / 'tom-auto')
    former = place / 'tom_auto' / 'former.py'
    former.write_text(FORMER)
    commit(place, 'Former')
    git(place, 'tag', 'v0')
    former.unlink()
    commit(place, 'Without former.py')
    return place


@pytest.fixture(scope='module')
def archive(source: Path) -> Path:
    """The template as GitHub packs it: in a zip archive, with one directory at the top."""
    file = source.parent / 'main.zip'
    git(source, 'archive', '--format=zip', '--prefix=tom-auto-main/', f'--output={file}', 'main')
    return file


def content(project: Path) -> dict[str, bytes]:
    """Each file of a project and what it holds; no link and no byte code is among them."""
    found = {}
    for path in sorted(project.rglob('*')):
        name = path.relative_to(project)
        if name.parts[0] in ('.git', '.cruft.json'):
            continue
        assert not path.is_symlink(), f'{name} is a link'
        assert path.name != '__pycache__', f'{name} is byte code'
        if path.is_file():
            found[str(name)] = without_id(str(name), path.read_bytes())
    return found


@pytest.fixture(scope='module')
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a bake from the local path holds, which has been used and so has byte code."""
    cache = source / 'tom_auto' / 'sync' / '__pycache__'
    cache.mkdir()
    (cache / 'due.cpython-312.pyc').write_bytes(b'stale')
    made = content(baked(tmp_path_factory.mktemp('expected'), source))
    assert made['tom_auto/__init__.py'] == (source / 'tom_auto' / '__init__.py').read_bytes()
    assert 'tom_auto/migrations/0001_initial.py' in made
    return made


def baked(into: Path, template: str | Path, *flags: str, env: dict | None = None) -> Path:
    """The project that Cookiecutter made of `template`, without a complaint."""
    made: Bake = bake(into, *flags, template=template, env=env)
    assert made.status == 0, made.printed
    return made.project


def test_from_a_git_address_and_from_a_tag(source: Path, expected: dict, tmp_path: Path) -> None:
    address = f'git+{source.as_uri()}'
    assert content(baked(tmp_path / 'main', address)) == expected
    tagged = content(baked(tmp_path / 'tag', address, '--checkout', 'v0'))
    assert tagged == expected | {'tom_auto/former.py': FORMER.encode()}


def test_from_a_zip_archive(archive: Path, expected: dict, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        [link] = [name for name in packed.namelist() if name.endswith('project_slug}}/tom_auto')]
        assert packed.read(link) == b'../tom_auto', 'the link is a small file in there'
    assert content(baked(tmp_path, archive)) == expected


def test_from_an_unpacked_zip_archive_that_is_named_by_a_relative_path(
    archive: Path, expected: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = baked(tmp_path / 'out', 'tom-auto-main', env={'PWD': str(tmp_path)})  # as a shell does
    assert content(made) == expected


def test_over_a_former_bake_the_library_is_replaced_as_a_whole(
    source: Path, archive: Path, expected: dict, tmp_path: Path
) -> None:
    project = baked(tmp_path, source)
    (project / 'app' / 'mine.py').write_text('# mine\n')
    for template in (source, archive):
        cache = project / 'tom_auto' / '__pycache__'
        cache.mkdir()
        (cache / 'conf.cpython-312.pyc').write_bytes(b'stale')
        (project / 'tom_auto' / 'mine.py').write_text('# nothing of yours belongs here\n')
        (project / 'tom_auto' / 'conf.py').write_text('# edited\n')
        again = baked(tmp_path, template, '--overwrite-if-exists')
        assert content(again) == expected | {'app/mine.py': b'# mine\n'}


def test_without_the_hook_manage_py_says_what_is_missing(
    archive: Path, expected: dict, tmp_path: Path, tom_python: Path
) -> None:
    made = bake(tmp_path, '--accept-hooks', 'no', template=archive)
    assert made.status == 0, made.printed
    done = manage(made.project, 'check')
    assert done.returncode == 1
    assert str(made.project / 'tom_auto') in done.stdout
    assert 'Traceback' not in done.stdout
    library = {name for name in expected if name.startswith('tom_auto/')}
    assert {name for name in expected if not (made.project / name).exists()} == library


def cruft(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run cruft in the directory `project`."""
    return subprocess.run(
        [sys.executable, '-m', 'cruft', *arguments],
        cwd=project,
        env=clean_environment(project.parent),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )


def test_under_cruft_and_after_an_update_of_the_library(
    source: Path, expected: dict, tmp_path: Path
) -> None:
    made = cruft(tmp_path, 'create', source.as_uri(), '--no-input', '--output-dir', str(tmp_path))
    project = tmp_path / 'my_tom'
    assert made.returncode == 0, made.stdout
    assert content(project) == expected
    git(project, 'init', '-q')
    commit(project, 'Mine')
    assert cruft(project, 'check').returncode == 0

    newer = Path(source, 'tom_auto')
    git(source, 'switch', '-q', '-c', 'newer')
    (newer / 'new.py').write_text('NEW = 1\n')
    (newer / 'alerts.py').write_text((newer / 'alerts.py').read_text() + '\n# Newer.\n')
    (newer / 'demo.py').unlink()
    commit(source, 'Newer')
    try:
        assert cruft(project, 'check', '--checkout', 'newer').returncode == 1
        updated = cruft(project, 'update', '--skip-apply-ask', '--checkout', 'newer')
        assert updated.returncode == 0, updated.stdout
        changed = content(project)
    finally:
        git(source, 'switch', '-q', 'main')
    assert changed['tom_auto/alerts.py'].endswith(b'\n# Newer.\n')
    assert changed.keys() ^ expected.keys() == {'tom_auto/new.py', 'tom_auto/demo.py'}
