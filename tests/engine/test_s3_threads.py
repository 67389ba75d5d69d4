"""The threads of a run, where the data is in an S3-compatible store."""

from threading import Thread

import pytest
from botocore.loaders import JSONFileLoader

from object_store import at
from tom_auto.s3_storage import S3Storage


def test_only_the_first_thread_reads_botos_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would keep 10 MiB of them."""
    storage = S3Storage(**at('http://127.0.0.1:1')['default']['OPTIONS'])
    load, read, connections = JSONFileLoader.load_file, [], []

    def noted(self: JSONFileLoader, path: str) -> object:
        read.append(path)
        return load(self, path)

    monkeypatch.setattr(JSONFileLoader, 'load_file', noted)
    for _ in range(3):
        thread = Thread(target=lambda: connections.append(storage.connection))
        thread.start()
        thread.join()
        read.append('a thread has ended')
    assert len(set(map(id, connections))) == 3, 'a session is not for several threads'
    assert read[-3:] == ['a thread has ended'] * 3
