"""How the C library hands out memory: a fifth of an evaluation on a CPU goes into it unless it is told to keep what it has."""

import ctypes
import sys
from functools import cache

# mallopt's parameters, from malloc.h of glibc, and its defaults.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
DEFAULTS = {MMAP_MAX: 65536, TRIM_THRESHOLD: 128 * 2**10, TOP_PAD: 128 * 2**10}
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20}

_kept = False  # a fact about the process, as the allocator is


def keep_pages(keep: bool) -> None:
    """Let freed memory be used again, from now on, instead of being returned to the kernel; or let it be returned again.

    By default glibc maps every large block afresh and unmaps it when it is freed. Feature maps are tens of megabytes, made
    and dropped at every layer, and the kernel clears each of their pages each time. Blocks that are kept leave gaps, which
    for very large pictures cost gigabytes. Elsewhere than on Linux with glibc nothing happens.
    """
    global _kept
    library = _glibc()
    if library is None or keep == _kept:
        return
    for parameter, value in (KEEPING if keep else DEFAULTS).items():
        library.mallopt(ctypes.c_int(parameter), ctypes.c_int(value))
    _kept = keep
    if not keep:
        library.malloc_trim(0)


def release_pages() -> None:
    """Give back what is free now: a notebook's kernel need not hold the peak of a transfer until it ends."""
    if _kept:
        _glibc().malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
