"""The threads of a run, where the data is in an S3-compatible store."""

from threading import Barrier, Thread

from object_store import at
from tom_auto.s3_storage import S3Storage, shared_loader

THREADS = 6


def test_all_threads_share_what_boto_has_read_of_its_models() -> None:
    """Each would keep 10 MiB of them. A run looks at the storage before it starts its threads."""
    storage = S3Storage(**at('http://127.0.0.1:1')['default']['OPTIONS'])
    together, connections = Barrier(THREADS), [storage.connection]

    def connect() -> None:
        together.wait(timeout=30)
        connections.append(storage.connection)

    threads = [Thread(target=connect) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, connections))) == 1 + THREADS, 'a session is not for several threads'
    models = [one.meta.client.meta.service_model._service_description for one in connections]
    assert len(set(map(id, models))) == 1
    paths = shared_loader(None).search_paths
    assert len(set(paths)) == len(paths), 'each session adds its own'
