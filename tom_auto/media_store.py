"""A `STORAGES` for the settings: the data in a bucket of an S3-compatible store.

Needs django-storages and boto3, which a TOM with Celery has.
"""

FIRST_ANSWER = 10  # seconds for a connection; a silence in the middle may take longer
SILENCE = 60


def storages_in(bucket: str, store: str, access_key: str, secret_key: str) -> dict:
    """The setting, with the data in `bucket` of the store at the address `store`; empty: Amazon's own.

    The keys may be empty where the machine has a role instead.
    """
    from botocore.config import Config  # here: without a bucket it need not be installed

    options = {
        'bucket_name': bucket,
        'endpoint_url': store or None,
        'access_key': access_key or None,
        'secret_key': secret_key or None,
        'querystring_auth': True,  # the data is not public: each address is signed, and lapses
        # Other stores do not know the checksums that Amazon's has had since 2025.
        'client_config': Config(
            connect_timeout=FIRST_ANSWER,
            read_timeout=SILENCE,
            request_checksum_calculation='when_required',
            response_checksum_validation='when_required',
        ),
    }
    return {
        'default': {'BACKEND': 'tom_auto.s3_storage.S3Storage', 'OPTIONS': options},
        'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.StaticFilesStorage'},
    }
