"""Where independent tasks run: in this process, in a pool of processes, or on a Ray cluster (extra [cluster]).

The contract is the same everywhere: `function(shared, item)` is called once for every item, in any order, in the folder of the
caller and with as many threads, so that the results are equal. Function, shared and items must be fit for pickle.
"""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import UsageError, WorkbenchError, require

PLACES = "here, ray or ray:ADDRESS"
"""What `on` may say."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "WORKBENCH_CACHE", "WORKBENCH_WEIGHTS", "WORKBENCH_DOWNLOAD")
"""Variables of the environment that a result, or its place, depends on: every task has the caller's."""


def each(
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Sequence[Any],
    *,
    workers: int | None = 1,
    on: str = "here",
    threads: int | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield (place, `function(shared, item)`) of every item, as they end.

    Args:
        shared: sent to every process once.
        workers: tasks at a time; one on "here" is this process. None on Ray is as many as it has cores.
        on: "here"; "ray", for a Ray that is started on this machine; or "ray:ADDRESS", for a cluster whose machines have this
            package and see all files under the same paths.
        threads: of torch in each process; by default as many as in this one.

    What a task raises is raised here, and the tasks that have not begun are dropped; in a pool those at work are interrupted.
    UsageError for another place, and where ray is not installed; WorkbenchError where a process is killed, and where the
    cluster does not answer.
    """
    _, address = place_of(on)
    if on == "here" and (workers or 1) == 1:
        yield from ((place, function(shared, item)) for place, item in enumerate(items))
        return
    if threads is None and "torch" in sys.modules:
        threads = sys.modules["torch"].get_num_threads()
    at = _Place(threads=threads)
    if on == "here":
        yield from _pooled(at, function, shared, items, workers or 1)
    else:
        yield from _spread(at, function, shared, items, workers, address)


def place_of(on: str) -> tuple[str, str]:
    """("here" or "ray", address of the cluster or ""); UsageError for other words."""
    place, _, address = on.partition(":")
    require(place in ("here", "ray") and (place == "ray" or on == place), f"on {on!r}: choose {PLACES}")
    return place, address


@dataclass(frozen=True)
class _Place:
    """What a process takes over from the caller before it begins."""

    threads: int | None
    folder: Path = field(default_factory=Path.cwd)
    variables: dict[str, str | None] = field(default_factory=lambda: {name: os.environ.get(name) for name in VARIABLES})

    def enter(self) -> None:
        os.chdir(self.folder)
        for name, value in self.variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)


@dataclass
class _Worker:
    """What a process of a pool knows: what it is to do, whether it is at it, and whether it was told to stop."""

    function: Callable[[Any, Any], Any]
    shared: Any
    is_at_work: bool = False
    is_stopped: bool = False

    def do(self, item: Any) -> Any:
        if self.is_stopped:
            raise KeyboardInterrupt
        self.is_at_work = True
        try:
            return self.function(self.shared, item)
        finally:
            self.is_at_work = False

    def stop(self, *_: Any) -> None:
        """On SIGINT: the task at hand is interrupted, once, and no other begins. A terminal and the caller may both send it."""
        first, self.is_stopped = not self.is_stopped, True
        if first and self.is_at_work:
            raise KeyboardInterrupt


_worker: _Worker  # of this process


def _begin(at: _Place, function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _worker
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    at.enter()
    _worker = _Worker(function, shared)
    signal.signal(signal.SIGINT, _worker.stop)


def _end_with(caller: Any) -> None:
    """End this process when `caller` has ended: one that is killed leaves its pool waiting for tasks for ever."""
    caller.join()
    os._exit(1)


def _in_the_pool(item: Any) -> Any:
    return _worker.do(item)


def _pooled(at: _Place, function: Any, shared: Any, items: Sequence[Any], workers: int) -> Iterator[tuple[int, Any]]:
    # Processes that are started anew: torch's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(min(workers, len(items)) or 1, spawn, _begin, (at, function, shared)) as pool:
        try:
            places = {pool.submit(_in_the_pool, item): place for place, item in enumerate(items)}
            for done in as_completed(places):
                yield places[done], done.result()
        except BrokenProcessPool as error:
            raise WorkbenchError(
                "a process was killed, perhaps for its memory: use fewer workers; what is made is kept"
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others and process.pid:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGINT)
            pool.shutdown(cancel_futures=True)
            raise


def _at(at: _Place, function: Any, shared: Any, item: Any) -> Any:
    at.enter()
    return function(shared, item)


def _spread(at: _Place, function: Any, shared: Any, items: Sequence[Any], workers: int | None, address: str) -> Any:
    with cluster(address) as ray:
        task, kept = ray.remote(max_retries=0)(_at), ray.put(shared)
        waiting = list(enumerate(items))
        begun: dict[Any, int] = {}
        while waiting or begun:
            while waiting and len(begun) < (workers or len(items)):
                place, item = waiting.pop(0)
                begun[task.remote(at, function, kept, item)] = place
            (done, *_), _ = ray.wait(list(begun))
            yield begun.pop(done), ray.get(done)


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """The module ray, connected to the cluster at `address`, or to one on this machine that ends with the block.

    UsageError where ray is not installed; WorkbenchError where the cluster does not answer, or a process of it dies.
    """
    ray = _ray()
    begun = not ray.is_initialized()
    try:
        if begun:
            _start(ray, address)
        yield ray
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, WorkbenchError):
            raise error.cause from error
        raise WorkbenchError(f"Ray: {_last_line(error)}; what is made is kept") from error
    except ray.exceptions.RayError as error:
        raise WorkbenchError(f"Ray: {_last_line(error)}; what is made is kept") from error
    finally:
        if begun:
            ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports how it is used unless told not to
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # progress and problems are reported here
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("ray is not installed: pip install 'artist-workbench[cluster]'") from error


def _start(ray: Any, address: str) -> None:
    """Connect to the cluster at `address`, or start one on this machine. WorkbenchError where that fails."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # where nothing answers, Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        local = {} if address else {"include_dashboard": False}
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **local)
    except Exception as error:  # Ray raises a bare Exception where it does not start in time
        where = f"at {address}" if address else "on this machine"
        raise WorkbenchError(f"Ray does not answer {where}: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
