"""A disk that is full, for what is written within a block."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def disk(size: int = 1000) -> Iterator[None]:
    """Within the block no file grows beyond `size` bytes: the system refuses what comes after, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # Python ignores the signal that comes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
