from time import monotonic

import pytest

import forked

pytestmark = pytest.mark.django_db(transaction=True)


def test_t(stage):
    stage.observe()
    stage.world.remember()
    for _ in range(6):
        t = monotonic()
        stage.world.restore()
        t1 = monotonic()
        assert stage.run() == 0
        print('restore', t1 - t, 'run', monotonic() - t1)

    def prof():
        import atexit
        import cProfile

        p = cProfile.Profile()
        p.enable()
        import os
        import pstats

        old = os._exit

        def ex(code):
            p.disable()
            pstats.Stats(p, stream=open('/tmp/prof.txt', 'w')).sort_stats('cumtime').print_stats(60)
            old(code)

        os._exit = ex

    stage.world.restore()
    stage.run(first=prof)
