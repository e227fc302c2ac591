"""Progress that suits where it is shown: a bar on a terminal, a plain line now and then elsewhere, or nothing."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

EVERY_SECONDS = 10.0
"""Seconds between two plain lines, at least."""
T = TypeVar("T")
_here = threading.local()


class Stopped(Exception):
    """Work was stopped by `stoppable`. What was finished before is kept wherever it is kept."""


@contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """Within the block, in this thread, every `track` and every `check` raises Stopped once `stop` is set."""
    before = getattr(_here, "stop", None)
    _here.stop = stop
    try:
        yield
    finally:
        _here.stop = before


def check() -> None:
    """Raise Stopped if this thread works within `stoppable` and its event is set: for what takes long inside of an item."""
    stop = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def _stopping(items: Iterable[T]) -> Iterator[T]:
    for item in items:
        yield item
        check()  # before the next item is made, which is what takes time


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


@contextmanager
def stop_between_steps() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C, or SIGTERM, puts its number into. The second time it raises KeyboardInterrupt.

    Signals reach the main thread alone: in any other the list stays empty, see `stoppable`.
    """
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        # Not print: a signal may come while another line is being printed.
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    here = threading.current_thread() is threading.main_thread()
    watched = [number for number in (signal.SIGINT, signal.SIGTERM) if here and signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in watched}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
