"""What `check` and `doctor` say of facilities, jobs, and other users of the machine."""

from io import StringIO

import pytest
from django.core.management import call_command

from tom_auto.checks import check_facilities, check_jobs
from tom_auto.doctor.checks import hooks
from tom_auto.doctor.finding import FAILED, OK, WARNING
from tom_auto.doctor.privacy import privacy


def test_a_facility_that_is_not_there(settings):
    settings.TOM_AUTO = {'WANTED_FRAMES': {'LCO': ['*'], 'LCOO': ['*']}}
    [warning] = check_facilities()
    assert "'LCOO'" in warning.msg
    assert 'LCO,' in warning.hint
    err = StringIO()
    call_command('check', stderr=err)
    assert 'tom_auto.W003' in err.getvalue()


@pytest.mark.parametrize(
    ('path', 'mistake'),
    [
        (f'{__name__}.note_frmes', 'note_frmes'),
        ('no_such_app.hooks.note', "No module named 'no_such_app'"),
        ('without_a_dot', 'without_a_dot'),
        (f'{__package__}.broken_hooks.note', 'the hooks end here'),
        (f'{__name__}.check_facilities', None),
        (None, None),
    ],
)
def test_a_hook_that_cannot_be_imported(settings, path, mistake):
    settings.HOOKS = settings.HOOKS | {'frames_arrived': path}
    err = StringIO()
    call_command('check', stderr=err)
    found = list(hooks())
    if mistake is None:
        assert 'HOOKS' not in err.getvalue()
        assert [state for state, *_ in found] == [OK]
        return
    assert f"HOOKS['frames_arrived']: {path!r}" in err.getvalue()
    assert mistake in err.getvalue() and 'tom_auto.W007' in err.getvalue()
    [(state, words, fix)] = found
    assert state == FAILED
    assert mistake in words and 'HOOKS' in fix


@pytest.mark.parametrize(
    ('command', 'mistake'),
    [
        ('["updatedata", "--wrokers", "2"]', '--wrokers'),
        ('["updatedata", "--workers", "two"]', 'two'),
        ('["no_such_command"]', "no command 'no_such_command'"),
        ('["updatedata", "--workers", "2"]', None),
        ('["clearsessions"]', None),
    ],
)
def test_the_command_of_a_job(hourly, command, mistake):
    hourly.write_text(f'environment = "virtualenv"\n[mine]\nwhen = "daily"\ncommand = {command}\n')
    found = [warning.msg for warning in check_jobs()]
    if mistake is None:
        assert found == []
    else:
        [text] = found
        assert '[mine]' in text
        assert mistake in text


def test_what_others_can_look_into(hourly, media):
    project = hourly.parent
    (project / '.env').touch(0o644)
    (project / 'db.sqlite3').touch(0o640)
    (project / 'logs').chmod(0o700)
    media.chmod(0o750)  # a group may have the data: a web server that sends it
    project.chmod(0o755)
    [(state, found, fix)] = privacy()
    assert state == WARNING
    assert fix == f'chmod go-rwx {project / ".env"} {project / "db.sqlite3"}'
    media.chmod(0o755)
    assert str(media) in next(privacy())[1]
    project.chmod(0o700)  # nobody gets past this
    assert next(privacy())[0] == OK


@pytest.mark.parametrize('is_linked', [True, False])
def test_the_data_may_lie_outside_of_the_project(hourly, media, settings, tmp_path, is_linked):
    settings.BASE_DIR = project = tmp_path / 'project'
    project.mkdir(mode=0o700)
    if is_linked:
        settings.MEDIA_ROOT = project / 'data'
        settings.MEDIA_ROOT.symlink_to(media)
    (project / 'schedule.toml').write_text(hourly.read_text())
    media.chmod(0o750)
    assert next(privacy())[0] == OK
    media.chmod(0o755)
    [(state, _, fix)] = privacy()
    assert (state, fix) == (WARNING, f'chmod go-rwx {settings.MEDIA_ROOT}')
