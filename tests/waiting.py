"""Waiting for what can be seen to have happened, however long a busy machine takes over it."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 300  # seconds until a wait is given up; it comes to that only where something is broken
T = TypeVar("T")


def until(condition: Callable[[], T], process: subprocess.Popen | None = None) -> T:
    """Wait until `condition()` is true, and return what it gave; not longer than the `process` lives that is to see to it."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end and (process is None or process.poll() is None):
        time.sleep(0.01)
    if not (found := found or condition()) and process is not None:
        process.kill()
    assert found, process and process.communicate()
    return found
