"""A command in a process of its own, killed amid its work, and started again."""

import os
import signal
import sys
import time
from pathlib import Path

from workbench import cli, storage


def command(argv: list[str], folder: Path, kill_after: float | None = None) -> tuple[int | None, float]:
    """(exit status, None where it was killed; seconds) of `workbench` with `argv` in `folder`, its output in .log there.

    The process is a fork: torch is loaded already. `kill_after`: seconds after which it gets SIGKILL.
    """
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.chdir(folder)
            log = os.open(".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            storage._sweep.cache_clear()  # a process that has just begun has swept nothing
            status = cli.main(argv)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, ended = os.waitpid(child, 0)
    return (None if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)), time.monotonic() - began


def left_behind(folder: Path) -> list[str]:
    """Temporary files below `folder`."""
    return sorted(path.name for path in folder.rglob(".*") if storage._TEMPORARY.fullmatch(path.name))
