"""A step over tensors that stay where they are, recorded once as a CUDA graph and then launched as one."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import torch


def record(step: Callable[[], None], device: torch.device) -> Callable[[], None] | None:
    """What launches all that `step` does on CUDA `device`, or None, with a line on stderr, where it cannot be recorded.

    `step` was run before, decides nothing by what is in a tensor, and changes tensors in place: every launch reads and writes
    those of the recording. Recording computes nothing.
    """
    graph, stream = torch.cuda.CUDAGraph(), _stream(device)
    torch.cuda.synchronize(device)
    try:
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
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        print(f"the steps of this transfer are launched one operation at a time, not as a graph: {reason}", file=sys.stderr)
        return None
    torch.cuda.current_stream(device).wait_stream(stream)
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream to record on: one for all recordings, because libraries keep memory for every stream that they have seen."""
    return torch.cuda.Stream(device)
