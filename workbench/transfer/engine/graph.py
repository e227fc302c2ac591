"""A step over tensors that stay where they are, recorded once as a CUDA graph and then launched as one."""

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache

import torch

_ONE_AT_A_TIME = threading.Lock()


def record(step: Callable[[], None], device: torch.device) -> Callable[[], None] | None:
    """What launches all that `step` does on CUDA `device`, or None, with a line on stderr, where it cannot be recorded.

    `step` was run before, decides nothing by what is in a tensor, and changes tensors in place: every launch reads and writes
    those of the recording. Recording computes nothing.
    """
    try:
        with _ONE_AT_A_TIME:
            return _recorded(step, device)
    except RuntimeError as error:  # also where memory runs out, of which a recording takes its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"the steps of this transfer are launched one operation at a time, not as a graph: {reason}", file=sys.stderr)
        return None


def _recorded(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    graph, stream, pool = torch.cuda.CUDAGraph(), _stream(device), torch.cuda.graph_pool_handle()
    torch.cuda.synchronize(device)
    if torch.cuda.mem_get_info(device)[0] < torch.cuda.memory_reserved(device):
        torch.cuda.empty_cache()  # what was kept for steps one by one cannot serve a recording
    with torch.cuda.device(device), torch.cuda.stream(stream), _nothing_collected():
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        randomness = generator.clone_state()
        # Other threads, such as those of a page, may allocate meanwhile.
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            step()
            graph.capture_end()
        except BaseException:
            _give_up(graph, pool)
            generator.graphsafe_set_state(randomness)  # or random numbers would be refused from now on
            raise
    torch.cuda.current_stream(device).wait_stream(stream)
    return graph.replay


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """An older recording that is found to be garbage meanwhile would make the new one void."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _give_up(graph: torch.cuda.CUDAGraph, pool: tuple[int, int]) -> None:
    """End a recording that failed, and let its memory go: torch does that only where a recording ends well."""
    with suppress(RuntimeError):
        graph.capture_end()
        return
    for end in (torch._C._cuda_endAllocateToPool, torch._C._cuda_releasePool):
        with suppress(RuntimeError):
            end(torch.cuda.current_device(), pool)


def side_by_side(tasks: Sequence[Callable[[], None]], device: torch.device) -> None:
    """Do `tasks`, which have nothing to do with each other, on CUDA in branches of a recording that run side by side.

    What they read must be kept until they are done.
    """
    if device.type != "cuda" or len(tasks) == 1:
        for task in tasks:
            task()
        return
    trunk = torch.cuda.current_stream(device)
    streams = [_stream(device, 1 + i) for i in range(len(tasks))]
    for stream, task in zip(streams, tasks, strict=True):
        stream.wait_stream(trunk)
        with torch.cuda.stream(stream):
            task()
    for stream in streams:
        trunk.wait_stream(stream)


@cache
def _stream(device: torch.device, branch: int = 0) -> torch.cuda.Stream:
    """The stream to record on, or a branch of it: one for all recordings, because libraries keep memory for every stream."""
    return torch.cuda.Stream(device)
