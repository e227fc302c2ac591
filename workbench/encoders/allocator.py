"""How the C library hands out memory: a fifth of an evaluation on a CPU goes into it unless it is told to keep what it has."""

import ctypes
import sys
from functools import cache

# mallopt's parameters, from malloc.h of glibc.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4


@cache
def keep_pages() -> bool:
    """Let freed memory be used again instead of being returned to the kernel; whether the C library could be told.

    By default glibc maps every large block afresh and unmaps it when it is freed. Feature maps are tens of megabytes, made
    and dropped at every layer, and the kernel clears each of their pages each time. Now what was freed stays with the process
    until `release_pages`. Elsewhere than on Linux with glibc nothing happens.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it, such as musl
        return False
    settings = ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 * 2**20))
    return all([mallopt(ctypes.c_int(parameter), ctypes.c_int(value)) == 1 for parameter, value in settings])


def release_pages() -> None:
    """Give back what is free: a notebook's kernel need not hold the peak of a transfer until it ends."""
    if keep_pages.cache_info().currsize and keep_pages():
        ctypes.CDLL(None).malloc_trim(0)
