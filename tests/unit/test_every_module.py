"""Every module of the library can be imported, with no warning of its own: on every Python (`make pythons`)."""

import importlib
import warnings

import pytest

from .test_house import MODULES, module

#: These need packages that a TOM may do without.
OPTIONAL = {'boto3', 'celery', 'sentry_sdk'}


@pytest.mark.parametrize('name', map(module, MODULES))
def test_a_module_can_be_imported(name):
    with warnings.catch_warnings():
        warnings.filterwarnings('error', module='tom_auto')
        try:
            importlib.import_module(f'tom_auto.{name}')
        except ModuleNotFoundError as error:
            assert error.name in OPTIONAL
