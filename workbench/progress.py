"""Progress that suits where it is shown: a bar on a terminal, a plain line now and then elsewhere, nothing when not asked."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

EVERY_SECONDS = 10.0
T = TypeVar("T")
_here = threading.local()


class Stopped(Exception):
    """Work was asked to stop, by `stoppable`. What was finished before is kept wherever it is kept."""


@contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """Within the block, in this thread, every `track` raises Stopped once `stop` is set, before its next item is made."""
    before = getattr(_here, "stop", None)
    _here.stop = stop
    try:
        yield
    finally:
        _here.stop = before


def _stopping(items: Iterable[T]) -> Iterator[T]:
    stop = getattr(_here, "stop", None)
    for item in items:
        yield item
        if stop is not None and stop.is_set():  # before the next item is made, which is what takes time
            raise Stopped


def track(items: Iterable[T], *, total: int, label: str, show: bool) -> Iterator[T]:
    """Yield `items`, showing on stderr how far along they are when `show` is true. See `stoppable`."""
    items = _stopping(items)
    if not show:
        yield from items
        return
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, leave=False)
        return
    last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= EVERY_SECONDS or count == total:
            last = time.monotonic()
            print(f"{label}: {count}/{total}", file=sys.stderr, flush=True)
