"""Puts something in the place of what a class or a module has, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def in_the_place_of(one: type | ModuleType, name: str, other: object) -> Iterator[None]:
    """While this lasts, `other` is what `one` has by that name, be it its own or inherited."""
    its_own = vars(one).get(name)
    setattr(one, name, other)
    try:
        yield
    finally:
        if its_own is None:
            delattr(one, name)
        else:
            setattr(one, name, its_own)
