"""How memory is handed out and taken back, where the usual way costs time.

A tenth to a fifth of an evaluation on a CPU goes into the C library unless it keeps its pages. A sixth of loading torch and
this package goes into looking for garbage among modules that stay, unless Python looks less often.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# mallopt's parameters, from malloc.h of glibc, and its defaults.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
DEFAULTS = {MMAP_MAX: 65536, TRIM_THRESHOLD: 128 * 2**10, TOP_PAD: 128 * 2**10}
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20}

SELDOM = (20_000, 20, 20)
"""Thresholds of `gc` for processes of our own: what a command loads is no garbage, and cycles are rare in what it does."""

_lock = threading.Lock()
_users = 0  # of the process, as the allocator is


def keep_pages() -> None:
    """Let freed memory be used again instead of being returned to the kernel, until `return_pages` is called as often.

    By default glibc maps every large block afresh and unmaps it when it is freed. Feature maps are tens of megabytes, made
    and dropped at every layer, and the kernel clears each of their pages each time. Blocks that are kept leave gaps, which
    for very large pictures cost gigabytes. Elsewhere than on Linux with glibc nothing happens.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _set(KEEPING)


def return_pages() -> None:
    """Undo one `keep_pages`. The last one gives back what is free: a kernel need not hold the peak of a transfer."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            _set(DEFAULTS)
            if (library := _glibc()) is not None:
                library.malloc_trim(0)


@contextmanager
def pages_kept() -> Iterator[None]:
    """`keep_pages` within the block."""
    keep_pages()
    try:
        yield
    finally:
        return_pages()


def _set(parameters: dict[int, int]) -> None:
    if (library := _glibc()) is not None:
        for parameter, value in parameters.items():
            library.mallopt(ctypes.c_int(parameter), ctypes.c_int(value))


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
