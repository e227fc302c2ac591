"""Progress that suits where it is shown: a bar on a terminal or in Jupyter, a plain line now and then elsewhere, or nothing."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from tqdm import tqdm

from workbench.names import plain

EVERY_SECONDS = 10.0
"""Seconds between two plain lines, at least."""
REFRESH_SECONDS = 0.1
"""Seconds between two states of a bar in a notebook, at least."""
DRAW_SECONDS = 2.0
"""Seconds between two pictures there, at least."""
PATIENCE = 3.0
"""Seconds within which a second signal says no more than the first."""
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a process to end: Ctrl-C, kill, and a terminal that is closed."""
T = TypeVar("T")
_here = threading.local()


_working: dict[threading.Thread, threading.Event] = {}
"""The threads within `stoppable`, besides the main one."""


@atexit.register
def _end_work() -> None:
    """Stop these threads, and wait for them: an interpreter that ends amid torch's work aborts."""
    for thread, stop in list(_working.items()):
        stop.set()
        thread.join()


class Stopped(Exception):
    """Work was stopped by `stoppable`. What was finished before is kept wherever it is kept."""


@contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """Within the block, in this thread, every `track` and every `check` raises Stopped once `stop` is set."""
    before = getattr(_here, "stop", None)
    _here.stop = stop
    here = threading.current_thread()
    if here is not threading.main_thread():
        _working[here] = stop
    try:
        yield
    finally:
        _here.stop = before
        if before is None:
            _working.pop(here, None)


@contextmanager
def watched(watcher: Callable[[str, int, int], None]) -> Iterator[None]:
    """Within the block, in this thread, every `track` calls `watcher(label, items made, total)` after each item."""
    before = getattr(_here, "watcher", None)
    _here.watcher = watcher
    try:
        yield
    finally:
        _here.watcher = before


def check() -> None:
    """Raise Stopped if this thread works within `stoppable` and its event is set: for what takes long inside of an item."""
    stop = getattr(_here, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def _stopping(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    for count, item in enumerate(items, start=1):
        yield item
        if (watcher := getattr(_here, "watcher", None)) is not None:
            watcher(label, count, total)
        check()  # before the next item is made, which is what takes time


def interactive() -> bool:
    """Whether this is a kernel with a front end, and not papermill, nbconvert or a script.

    `workbench run` and papermill execute a notebook with nobody at the keyboard; so does a kernel that does not allow input.
    """
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
    return bool(parent.get("content", {}).get("allow_stdin", False))


def _in_notebook(items: Iterable[T], total: int, label: str, picture: Callable[[T], bytes] | None) -> Iterator[T]:
    """Yield `items` with one line of text below the cell, a bar with the time left, which is empty in the end.

    So is the place of the `picture` of the latest item, a JPEG.

    It is no widget: one that is closed is missing, with an error in its place, when the page is loaded again.
    """
    from IPython.display import display

    began = last = time.monotonic()
    drawn = began
    line = display({"text/plain": ""}, raw=True, display_id=True)
    small = display({"text/plain": ""}, raw=True, display_id=True) if picture is not None else None
    try:
        for count, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - last > REFRESH_SECONDS:
                last = time.monotonic()
                meter = tqdm.format_meter(count, total, last - began, prefix=label, ncols=80)
                line.update({"text/plain": meter}, raw=True)
            if picture is not None and small is not None and time.monotonic() - drawn > DRAW_SECONDS:
                drawn = time.monotonic()
                small.update({"image/jpeg": picture(item), "text/plain": label}, raw=True)
    finally:
        line.update({"text/plain": ""}, raw=True)
        if small is not None:
            small.update({"text/plain": ""}, raw=True)


def track(
    items: Iterable[T], *, total: int, label: str, show: bool, picture: Callable[[T], bytes] | None = None
) -> Iterator[T]:
    """Yield `items`, showing how far along they are when `show` is true: on stderr, or as a bar below a cell in Jupyter.

    There the `picture` of an item, a small JPEG, is shown as well, now and then. See `stoppable` and `watched`.
    """
    label = plain(label)
    items = _stopping(items, total, label)
    if not show:
        yield from items
        return
    if interactive():
        yield from _in_notebook(items, total, label, picture)
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
    """Yield a list that the first of `SIGNALS` puts its number into.

    A second one, of an impatient hand or of a shell that sends several, changes nothing for `PATIENCE` seconds; after that it
    raises KeyboardInterrupt. Signals reach the main thread alone: in any other the list stays empty, see `stoppable`.
    """
    asked: list[int] = []
    first = 0.0

    def ask(number: int, frame: object) -> None:
        nonlocal first
        _let_go(number)
        if not asked:
            first = time.monotonic()
            asked.append(number)
            _tell(f"\nstopping after this step; Ctrl-C again, in {PATIENCE:.0f} seconds or later, stops at once\n")
        elif time.monotonic() - first >= PATIENCE:
            raise KeyboardInterrupt

    with _handling(ask):
        yield asked


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Within the block `SIGNALS` do no more than put their numbers into the list that is yielded."""
    held: list[int] = []

    def hold(number: int, frame: object) -> None:
        _let_go(number)
        held.append(number)

    with _handling(hold):
        yield held


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block each of `SIGNALS` raises KeyboardInterrupt, as Ctrl-C does unless something else is said."""
    with _handling(interrupt):
        yield


def interrupt(number: int, frame: object) -> None:
    """The handler that raises KeyboardInterrupt."""
    _let_go(number)
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    """`handler` for all `SIGNALS` that are not ignored, in the main thread; in others nothing changes."""
    here = threading.current_thread() is threading.main_thread()
    watched = [number for number in SIGNALS if here and signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, handler) for number in watched}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _let_go(number: int) -> None:
    """Write no more to a terminal that has been closed: each line would be an error, before the picture is written."""
    if number != getattr(signal, "SIGHUP", None):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.isatty(descriptor):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _tell(text: str) -> None:
    with suppress(OSError):
        os.write(2, text.encode())  # not print: a signal may come while another line is being printed
