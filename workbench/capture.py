"""A step over tensors that stay where they are, recorded once as a CUDA graph and then launched as one."""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
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
    graph, stream = torch.cuda.CUDAGraph(), _stream(device)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()  # what was kept for steps one by one cannot serve a recording
    with torch.cuda.device(device), torch.cuda.stream(stream):
        # Other threads, such as those of a page, may allocate meanwhile.
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            step()
        except BaseException:
            with suppress(RuntimeError):  # of a recording that is void already
                graph.capture_end()
            raise
        graph.capture_end()
    torch.cuda.current_stream(device).wait_stream(stream)
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream to record on: one for all recordings, because libraries keep memory for every stream that they have seen."""
    return torch.cuda.Stream(device)
