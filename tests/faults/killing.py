"""A command in a process of its own, killed amid its work, and started again."""

import itertools
import os
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from workbench import cli, storage
from workbench.runs import record


def command(
    argv: list[str], folder: Path, kill_after: float | None = None, kill_at: int | None = None, clock: float = 0
) -> tuple[int | None, float]:
    """(exit status, None where it was killed; seconds) of `workbench` with `argv` in `folder`, its output in .log there.

    `kill_after`: seconds after which it gets SIGKILL; `kill_at`: it gets it at its file event of this number, from 0: even ones
    are just before a finished file takes its place, odd ones just after. `clock`: seconds by which its clock is off.
    """
    began = time.monotonic()
    child = started(argv, folder, kill_at, clock)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return ended(child), time.monotonic() - began


def ended(child: int) -> int | None:
    """Wait for a process: its exit status, None where it was killed."""
    _, found = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(found) else os.WEXITSTATUS(found)


def _dies_at(number: int) -> None:
    """Kill this process at its file event `number`."""
    replace, events = Path.replace, itertools.count()

    def event() -> None:
        if next(events) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def replaces(self: Path, target: Path) -> Path:
        event()
        found = replace(self, target)
        event()
        return found

    Path.replace = replaces  # type: ignore[method-assign, assignment]


def _sets_clock(seconds: float) -> None:
    """Set the clock of this process by so many seconds."""
    now, now_ns = time.time, time.time_ns

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(seconds=seconds)

    time.time, time.time_ns = lambda: now() + seconds, lambda: now_ns() + int(seconds * 1e9)
    record.datetime = Clock  # type: ignore[misc]


def started(argv: list[str], folder: Path, kill_at: int | None = None, clock: float = 0) -> int:
    """The number of a process that runs `workbench` with `argv`: see `command`. It is a fork: torch is loaded already."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.chdir(folder)
            log = os.open(".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if kill_at is not None:
                _dies_at(kill_at)
            if clock:
                _sets_clock(clock)
            storage._sweep.cache_clear()  # a process that has just begun has swept nothing
            status = cli.main(argv)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return child


def left_behind(folder: Path) -> list[str]:
    """Temporary files below `folder`."""
    return sorted(path.name for path in folder.rglob(".*") if storage._TEMPORARY.fullmatch(path.name))
