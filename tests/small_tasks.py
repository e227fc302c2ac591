"""Tasks for the tests of `workbench.tasks`, in a module that a new process imports at once."""

import os
import signal
import time
from pathlib import Path

import torch

from workbench import storage
from workbench.errors import WorkbenchError


def seen(shared, item):
    """What a task finds where it runs."""
    if item == shared.get("bad"):
        raise WorkbenchError(f"item {item} is bad")
    names = ("OMP_NUM_THREADS", "WORKBENCH_CACHE")
    return shared["of"] * item, str(Path.cwd()), torch.get_num_threads(), [os.environ.get(name) for name in names]


def wait(folder, item):
    """Say that it has begun, and in which process; after a minute, or when it is interrupted, that it has ended, and how."""
    storage.write_text(folder / f"{item} begun", f"{os.getpid()}")
    try:
        time.sleep(60)
        (folder / f"{item} complete").touch()
    except KeyboardInterrupt:
        (folder / f"{item} interrupted").touch()
        raise


def die(shared, item):
    os.kill(os.getpid(), signal.SIGKILL)
