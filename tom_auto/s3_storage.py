"""The S3 storage of django-storages, for many threads: they share what boto reads of its models."""

from functools import cache

import boto3
import botocore.session
from botocore.loaders import Loader, create_loader
from storages.backends import s3


class S3Storage(s3.S3Storage):
    """Each thread's connection has a session of its own, as boto asks; all sessions have one loader.

    With a loader of its own, each uses 10 MiB more memory and 0.1 s more CPU time. The first to connect reads
    the models: in a run that is the main thread, which looks at the storage before it starts others. There
    is no lock for threads that connect first together, as a process forked meanwhile would wait for it.
    """

    def _create_session(self) -> boto3.Session:
        session = botocore.session.Session(profile=self.session_profile)
        loader = shared_loader(session.get_config_variable('data_path'))
        session.register_component('data_loader', loader)
        keys = (self.access_key, self.secret_key, self.security_token)
        made = boto3.Session(*([] if self.session_profile else keys), botocore_session=session)
        loader.search_paths[:] = dict.fromkeys(loader.search_paths)  # boto3 adds its own each time
        return made


@cache
def shared_loader(search_path: str | None) -> Loader:
    return create_loader(search_path)
