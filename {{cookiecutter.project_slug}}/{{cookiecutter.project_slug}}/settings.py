"""Settings of this TOM.

Secrets, and what differs from machine to machine, come from the environment or from `.env` beside
manage.py (`.env.example` explains each line). Everything else is here. You may add any setting of
tomtoolkit: https://tom-toolkit.readthedocs.io/en/stable/common/customsettings.html
If there is a `local_settings.py` beside manage.py, it is read last and wins. It can also change one
entry of a dictionary that is set here:

    from {{ cookiecutter.project_slug }}.settings import TOM_AUTO
    TOM_AUTO['WORKERS'] = 2
"""

import os
import sys
from pathlib import Path

from tom_common.default_settings import *  # noqa: F403
from tom_common.default_settings import (
    TOMTOOLKIT_AUTHENTICATION_BACKENDS,
    TOMTOOLKIT_INSTALLED_APPS,
    TOMTOOLKIT_MIDDLEWARE,
)

from tom_auto import environment
from tom_auto.log_config import logging_for
from tom_auto.media_store import storages_in
from tom_auto.sentry import report_errors_to

BASE_DIR = Path(__file__).resolve().parent.parent
# What the TOM writes is for its owner alone: other users of the machine must not read the database,
# the logs or the data. To share the data with a group, change FILE_UPLOAD_PERMISSIONS below.
os.umask(0o077)
environment.load_environment(BASE_DIR)

# --- This TOM ------------------------------------------------------------------------------

{% set name = '%r' | format(cookiecutter.project_name) -%}
TOM_NAME = {{ name }}{% if name | length > 40 or ("'" in name and '"' in name) %}  # fmt: skip{% endif %}

# The type of target that the forms offer first: SIDEREAL or NON_SIDEREAL.
TARGET_TYPE = '{{ cookiecutter.target_type }}'

# Hints on the pages for people who customise the TOM (tom_setup asks for this setting).
HINTS_ENABLED = False
HINT_LEVEL = 20

# --- Automation: `manage.py updatedata` ----------------------------------------------------

# Options of the automation. tom_auto/conf.py lists them with their defaults and meanings;
# `manage.py check` finds mistakes. For example: 'WORKERS': 4
TOM_AUTO = {
    # This address gets the state of a job by POST when it changes.
    'ALERT_WEBHOOK_URL': environment.text('ALERT_WEBHOOK_URL'),
    # This address gets what came in by POST, after each run that brought frames, of all targets.
    'ARRIVALS_WEBHOOK_URL': environment.text('ARRIVALS_WEBHOOK_URL'),
    # A dead-man's switch: it raises the alarm when scheduled runs stop calling this address.
    'PING_URL': environment.text('PING_URL'),
    # Where a web server in front, such as nginx, has the data files for itself, and sends them.
    'DATA_BY_PROXY': environment.text('DATA_BY_PROXY'),
    # What does the work of many machines: 'none', or 'celery'.
    'TASK_ENGINE': environment.text('TASK_ENGINE', 'none'),
}
# Where the messages for workers are. Any setting of Celery may be here, with CELERY_ before its name.
CELERY_BROKER_URL = environment.text('CELERY_BROKER_URL')

# These people get mail when a job begins to fail, is overdue, or works again.
ADMINS = [(address, address) for address in environment.words('ADMINS')]

EMAIL_HOST = environment.text('EMAIL_HOST', 'localhost')
EMAIL_PORT = environment.number('EMAIL_PORT', 25)
EMAIL_HOST_USER = environment.text('EMAIL_HOST_USER')
EMAIL_HOST_PASSWORD = environment.text('EMAIL_HOST_PASSWORD')
EMAIL_USE_TLS = environment.flag('EMAIL_USE_TLS', default=False)
EMAIL_TIMEOUT = 20  # seconds: a mail server that hangs must not hang the TOM
SERVER_EMAIL = environment.text('SERVER_EMAIL', 'tom@localhost')
DEFAULT_FROM_EMAIL = SERVER_EMAIL
EMAIL_SUBJECT_PREFIX = environment.text('EMAIL_SUBJECT_PREFIX', f'[{TOM_NAME}]') + ' '
# Sentry, or a service like it, gets the errors of the TOM; empty: nobody does.
report_errors_to(environment.text('SENTRY_DSN'))

# --- Security ------------------------------------------------------------------------------

SECRET_KEY = environment.required('SECRET_KEY')
# To change the key: move the old one here, restart, run `manage.py rotate_encryption_key`
# (it re-encrypts what is stored), then empty the list.
SECRET_KEY_FALLBACKS = []

DEBUG = environment.flag('DEBUG', default=False)
ALLOWED_HOSTS = environment.words('ALLOWED_HOSTS')
CSRF_TRUSTED_ORIGINS = [
    # Django writes "any subdomain" as .example.org among hosts and *.example.org among origins.
    f'https://{"*" if host.startswith(".") else ""}{host}'
    for host in ALLOWED_HOSTS
    if host != '*'
]

# With DEBUG off the TOM expects https: logins and tokens must not cross a network unencrypted.
# HTTPS=false is for a machine that nobody else can reach.
HTTPS = environment.flag('HTTPS', default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 3600 if HTTPS else 0
# These two checks want HSTS for all hosts of the domain, which a TOM should not decide.
SILENCED_SYSTEM_CHECKS = ['security.W005', 'security.W021']
if environment.flag('BEHIND_PROXY', default=False):
    # Only if a proxy sets this header itself: otherwise visitors could forge it.
    SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')
    # The visitor's address is the last one in X-Forwarded-For, which the proxy adds. Without this,
    # all visitors would have the proxy's, and a few bad logins would lock everybody out.
    ALLAUTH_TRUSTED_PROXY_COUNT = 1
# Django's error pages and mails to ADMINS show no secrets.
DEFAULT_EXCEPTION_REPORTER = 'tom_auto.error_reports.RedactingReporter'

AUTHENTICATION_BACKENDS = [*TOMTOOLKIT_AUTHENTICATION_BACKENDS]
AUTH_PASSWORD_VALIDATORS = [
    {'NAME': f'django.contrib.auth.password_validation.{validator}'}
    for validator in (
        'UserAttributeSimilarityValidator',
        'MinimumLengthValidator',
        'CommonPasswordValidator',
        'NumericPasswordValidator',
    )
]
LOGIN_URL = '/accounts/login/'
LOGIN_REDIRECT_URL = '/'
LOGOUT_REDIRECT_URL = '/'

# READ_ONLY: anyone may look. LOCKED: only users who have logged in, except for OPEN_URLS.
AUTH_STRATEGY = 'READ_ONLY'
# These check the login, a token or a signature themselves; with LOCKED they require one.
OPEN_URLS = [
    '/automation/status.json', '/automation/metrics', '/automation/arrivals.json',
    '/automation/arrivals.atom', '/automation/arrivals/*/file/', '/automation/unsubscribe/*',
]  # fmt: skip

# True: people who may see a target may see its observations and data. False: permissions are given
# for each of them separately.
TARGET_PERMISSIONS_ONLY = True
# Who sees a new target: PRIVATE, PUBLIC or OPEN.
TARGET_DEFAULT_PERMISSION = 'PRIVATE'

# --- Django --------------------------------------------------------------------------------

# 'app' before 'tom_auto': if two apps have a command of the same name, the first app wins.
INSTALLED_APPS = [*TOMTOOLKIT_INSTALLED_APPS, 'app', 'tom_auto']
SITE_ID = 1
MIDDLEWARE = [
    'tom_auto.middleware.HealthMiddleware',  # first: a probe has no https, name or login
    *TOMTOOLKIT_MIDDLEWARE,
    'tom_auto.middleware.ObservatoryDownMiddleware',
    'tom_auto.middleware.BackgroundUpdateMiddleware',
    'tom_auto.middleware.WatchMiddleware',
]
ROOT_URLCONF = '{{ cookiecutter.project_slug }}.urls'
WSGI_APPLICATION = '{{ cookiecutter.project_slug }}.wsgi.application'
TEMPLATES = [
    {
        'BACKEND': 'django.template.backends.django.DjangoTemplates',
        # A template in templates/ replaces the one of the same name in any app.
        'DIRS': [BASE_DIR / 'templates'],
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

database = environment.database(default=f'sqlite:///{BASE_DIR / "db.sqlite3"}')
if database['ENGINE'] == 'django.db.backends.sqlite3':
    options = {
        # Readers never wait for the writer, and a second writer waits instead of failing.
        'init_command': 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;',
        'transaction_mode': 'IMMEDIATE',
        'timeout': 30,  # seconds
    }
else:
    database['CONN_HEALTH_CHECKS'] = True
    options = {
        # A server that went away without a word is noticed within a minute.
        'connect_timeout': 10,
        'tcp_user_timeout': 60_000,
        'keepalives_idle': 30,
        'keepalives_interval': 10,
        'keepalives_count': 3,
    }
# What DATABASE_URL asks for wins, such as sslmode=verify-full.
DATABASES = {'default': database | {'OPTIONS': options | database.get('OPTIONS', {})}}
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'

LANGUAGE_CODE = 'en-us'
TIME_ZONE = 'UTC'
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = ['tom_base.formats']

STATIC_URL = '/static/'
STATIC_ROOT = BASE_DIR / '_static'
STATICFILES_DIRS = [BASE_DIR / 'static']
if STATIC_ROOT.is_dir():
    # After `collectstatic` the TOM serves these files itself. The place is right after the
    # middleware that handles https.
    MIDDLEWARE.insert(2, 'whitenoise.middleware.WhiteNoiseMiddleware')
# The TOM's own copies: no page waits for another server, or tells it who looks at what.
BOOTSTRAP5 = {
    'css_url': {'url': f'{STATIC_URL}vendor/bootstrap.min.css'},
    'javascript_url': {'url': f'{STATIC_URL}vendor/bootstrap.bundle.min.js'},
}
MEDIA_URL = '/data/'
MEDIA_ROOT = BASE_DIR / 'data'
# A bucket in an S3-compatible store takes the place of the folder, where many machines do the work.
if BUCKET := environment.text('MEDIA_BUCKET'):
    store = map(environment.text, ('MEDIA_STORE', 'MEDIA_ACCESS_KEY', 'MEDIA_SECRET_KEY'))
    STORAGES = storages_in(BUCKET, *store)
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

# In the TOM's own directory: other users of the machine could read and write a shared one such as
# /tmp.
CACHES = {
    'default': {
        'BACKEND': 'django.core.cache.backends.filebased.FileBasedCache',
        'LOCATION': BASE_DIR / '.cache',
    }
}
TASKS = {'default': {'BACKEND': 'django_tasks.backends.immediate.ImmediateBackend'}}

LOGGING = logging_for(BASE_DIR / 'logs')

REST_FRAMEWORK = {
    'DEFAULT_AUTHENTICATION_CLASSES': [
        'tom_common.accounts.api_auth.TomTokenAuthentication',
        'rest_framework.authentication.SessionAuthentication',
        'rest_framework.authentication.BasicAuthentication',
    ],
    'DEFAULT_PERMISSION_CLASSES': [],
    'TEST_REQUEST_DEFAULT_FORMAT': 'json',
    'DEFAULT_PAGINATION_CLASS': 'rest_framework.pagination.LimitOffsetPagination',
    'PAGE_SIZE': 100,
}

# --- Observatories -------------------------------------------------------------------------

# Facilities of an installed app (its `observation_facilities()`) need no line here.
TOM_FACILITY_CLASSES = [
    'tom_observations.facilities.lco_redirect.LCORedirectFacility',
    'tom_observations.facilities.lco.LCOFacility',
    'tom_observations.facilities.soar.SOARFacility',
    'tom_observations.facilities.blanco.BLANCOFacility',
    'tom_observations.facilities.gemini.GEMFacility',
]

FACILITIES = {
    name: {
        'portal_url': environment.address(f'{name}_PORTAL_URL', 'https://observe.lco.global'),
        'archive_url': environment.address(f'{name}_ARCHIVE_URL', 'https://archive-api.lco.global'),
        'api_key': environment.text(f'{name}_API_KEY'),
    }
    for name in ('LCO', 'SOAR', 'BLANCO')
}
FACILITIES['GEM'] = {
    'portal_url': {
        'GS': environment.address('GEM_PORTAL_URL_GS', 'https://139.229.34.15:8443'),
        'GN': environment.address('GEM_PORTAL_URL_GN', 'https://128.171.88.221:8443'),
    },
    'api_key': {
        'GS': environment.text('GEM_API_KEY_GS'),
        'GN': environment.text('GEM_API_KEY_GN'),
    },
    'user_email': environment.text('GEM_USER_EMAIL'),
    # Your programs and their observations: {'GS-2026B-T-101': {'1': 'Std: Imaging'}}
    'programs': {},
}

# --- Targets and data ----------------------------------------------------------------------

# TARGET_MODEL_CLASS = 'app.models.YourTarget'  # to give targets more fields
EXTRA_FIELDS = []
MATCH_MANAGERS = {}
GENERAL_SEARCH_FUNCTIONS = {}
SELECTION_EXTRA_FIELDS = []
TARGET_LIST_COLUMNS = ['name', 'type', 'observations', 'saved_data']

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

# Functions that are called when something happens. Yours may be in app/hooks.py, as `frames_arrived`.
HOOKS = {
    'target_post_save': 'tom_common.hooks.target_post_save',
    'observation_change_state': 'tom_common.hooks.observation_change_state',
    'data_product_post_upload': 'tom_dataproducts.hooks.data_product_post_upload',
    'data_product_post_save': 'tom_dataproducts.hooks.data_product_post_save',
    'multiple_data_products_post_save': 'tom_dataproducts.hooks.multiple_data_products_post_save',
}

# Loading a plotly theme takes a sixth of the start-up time and memory. The hourly command draws
# nothing, so it skips it.
PLOTLY_THEME = 'none' if sys.argv[1:2] == ['updatedata'] else 'plotly_white'
SHOW_PAGINATION_INFO = True

try:
    from local_settings import *  # noqa: F403
except ModuleNotFoundError as error:
    if error.name != 'local_settings':  # an import that fails inside it must not be ignored
        raise
