"""Hooks that write down what they were called for; the file `habit` says what else they do."""

import os
import signal
from time import process_time, sleep

from django.conf import settings as conf
from django.db import connection
from tom_dataproducts.models import DataProduct


def hear(products: list[DataProduct]) -> None:
    """The hook: it writes down what it was called for, as its file says what else it does."""
    [product] = products
    with open(conf.HEARD, 'a') as file:  # noqa: PTH123
        file.write(f'{product.pk}\n')
    match (conf.HEARD.parent / 'habit').read_text().split():
        case ['fail', which] if int(which) == product.pk:
            raise RuntimeError('a mistake in the hook')
        case ['kill', which] if int(which) == product.pk:
            os.kill(os.getpid(), signal.SIGKILL)
        case ['sleep', seconds]:
            sleep(float(seconds))
        case ['query', seconds]:
            connection.cursor().execute('SELECT pg_sleep(%s)', [float(seconds)])
        case ['work', seconds]:
            end = process_time() + float(seconds)
            while process_time() < end:
                pass


def hear_all(products: list[DataProduct]) -> None:
    """The other hook."""
