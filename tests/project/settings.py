"""A small TOM that has the library: what `tom_setup` makes, and no more."""

import os
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
from tom_common.default_settings import *  # noqa: F403
from tom_common.default_settings import (
    TOMTOOLKIT_AUTHENTICATION_BACKENDS,
    TOMTOOLKIT_INSTALLED_APPS,
    TOMTOOLKIT_MIDDLEWARE,
)

BASE_DIR = Path(__file__).resolve().parent
TOM_NAME = 'Test TOM'
SECRET_KEY = 'for-the-tests-alone-0123456789abcdefghijklmnopqrstuvwxyz'  # noqa: S105
DEBUG = False
ALLOWED_HOSTS = ['testserver', 'localhost', '127.0.0.1']
HTTPS = False

#: Apps with data services, as far as they are installed.
PLUGINS = ('tom_antares', 'tom_fink', 'tom_hermes', 'tom_jpl', 'tom_transients_fyi')
INSTALLED_APPS = [*TOMTOOLKIT_INSTALLED_APPS, *filter(find_spec, PLUGINS), 'tom_auto']
SITE_ID = 1
MIDDLEWARE = [
    'tom_auto.middleware.HealthMiddleware',  # first: a probe has no https, name or login
    *TOMTOOLKIT_MIDDLEWARE,
    'tom_auto.middleware.ObservatoryDownMiddleware',
    'tom_auto.middleware.BackgroundUpdateMiddleware',
    'tom_auto.middleware.WatchMiddleware',
]
ROOT_URLCONF = 'project.urls'
TEMPLATES = [
    {
        'BACKEND': 'django.template.backends.django.DjangoTemplates',
        'APP_DIRS': True,
        'OPTIONS': {
            'context_processors': [
                'django.template.context_processors.debug',
                'django.template.context_processors.request',
                'django.contrib.auth.context_processors.auth',
                'django.contrib.messages.context_processors.messages',
            ],
        },
    },
]
CRISPY_TEMPLATE_PACK = 'bootstrap5'

DATABASES = {'default': dj_database_url.parse(os.environ.get('DATABASE_URL', 'sqlite://:memory:'))}
if DATABASES['default']['ENGINE'] == 'django.db.backends.sqlite3':
    DATABASES['default']['OPTIONS'] = {
        'init_command': 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;',
        'transaction_mode': 'IMMEDIATE',
        'timeout': 30,
    } | DATABASES['default'].get('OPTIONS', {})
else:
    DATABASES['default']['CONN_HEALTH_CHECKS'] = True
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'

CELERY_BROKER_URL = os.environ.get('CELERY_BROKER_URL', '')

USE_TZ = True
TIME_ZONE = 'UTC'
STATIC_URL = '/static/'
MEDIA_URL = '/data/'
MEDIA_ROOT = BASE_DIR / 'data'
AUTH_PASSWORD_VALIDATORS = [
    {'NAME': 'django.contrib.auth.password_validation.MinimumLengthValidator'},
]
# Django's own hasher takes a quarter of a second for every user that a test makes.
PASSWORD_HASHERS = ['django.contrib.auth.hashers.MD5PasswordHasher']
AUTHENTICATION_BACKENDS = [*TOMTOOLKIT_AUTHENTICATION_BACKENDS]
LOGIN_URL = '/accounts/login/'
AUTH_STRATEGY = 'READ_ONLY'
OPEN_URLS = ['/automation/status.json', '/automation/metrics']
TARGET_PERMISSIONS_ONLY = True
DEFAULT_EXCEPTION_REPORTER = 'tom_auto.error_reports.RedactingReporter'
TASKS = {'default': {'BACKEND': 'django_tasks.backends.immediate.ImmediateBackend'}}
CACHES = {'default': {'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
REST_FRAMEWORK = {
    'DEFAULT_AUTHENTICATION_CLASSES': [
        'tom_common.accounts.api_auth.TomTokenAuthentication',
        'rest_framework.authentication.SessionAuthentication',
        'rest_framework.authentication.BasicAuthentication',
    ],
    'DEFAULT_PERMISSION_CLASSES': [],
}

TOM_FACILITY_CLASSES = [
    'tom_observations.facilities.lco_redirect.LCORedirectFacility',
    'tom_observations.facilities.lco.LCOFacility',
    'tom_observations.facilities.soar.SOARFacility',
    'tom_observations.facilities.blanco.BLANCOFacility',
    'tom_observations.facilities.gemini.GEMFacility',
]
FACILITIES = {
    name: {'portal_url': 'http://127.0.0.1:9', 'archive_url': 'http://127.0.0.1:9', 'api_key': ''}
    for name in ('LCO', 'SOAR', 'BLANCO')
} | {
    'GEM': {
        'portal_url': {'GS': 'http://127.0.0.1:9', 'GN': 'http://127.0.0.1:9'},
        'api_key': {'GS': '', 'GN': ''},
        'user_email': '',
        'programs': {},
    }
}

DATA_PRODUCT_TYPES = {
    'photometry': ('photometry', 'Photometry'),
    'fits_file': ('fits_file', 'FITS File'),
    'spectroscopy': ('spectroscopy', 'Spectroscopy'),
    'image_file': ('image_file', 'Image File'),
}
DATA_PROCESSORS = {
    'photometry': 'tom_dataproducts.processors.photometry_processor.PhotometryProcessor',
    'spectroscopy': 'tom_dataproducts.processors.spectroscopy_processor.SpectroscopyProcessor',
}
AUTO_THUMBNAILS = False
THUMBNAIL_MAX_SIZE = (0, 0)
THUMBNAIL_DEFAULT_SIZE = (200, 200)
HOOKS = {
    'target_post_save': 'tom_common.hooks.target_post_save',
    'observation_change_state': 'tom_common.hooks.observation_change_state',
    'data_product_post_upload': 'tom_dataproducts.hooks.data_product_post_upload',
    'data_product_post_save': 'tom_dataproducts.hooks.data_product_post_save',
    'multiple_data_products_post_save': 'tom_dataproducts.hooks.multiple_data_products_post_save',
}
PLOTLY_THEME = 'none'

LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {
        'dated': {
            '()': 'tom_auto.redact.RedactingFormatter',
            'format': '[{asctime}] {levelname} {name}: {message}',
            'style': '{',
        }
    },
    'handlers': {
        'console': {'class': 'logging.StreamHandler', 'formatter': 'dated', 'level': 'WARNING'},
        'file': {
            'class': 'logging.FileHandler',
            'formatter': 'dated',
            'filename': os.devnull,
        },
    },
    'root': {'handlers': ['console', 'file'], 'level': 'INFO'},
}

HERMES_CONFIGURATION = {'HERMES_API_TOKEN': 'k'}
EXTRA_FIELDS = []
MATCH_MANAGERS = {}
GENERAL_SEARCH_FUNCTIONS = {}
SELECTION_EXTRA_FIELDS = []
TARGET_LIST_COLUMNS = ['name', 'type', 'observations', 'saved_data']
