"""The one reader of many pictures, in bounded memory: by threads on a CPU, by threads or processes beside a GPU."""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from workbench import images, memory, progress
from workbench.corpora import Work
from workbench.errors import WorkbenchError

T = TypeVar("T")
Decoded = tuple[Tensor, tuple[int, int]]

BATCH = 8
"""Pictures of one shape, at most, that a GPU encodes together."""
MIN_FOR_THREADS, MIN_FOR_PROCESSES = 4, 500
"""Pictures from which on it is worth the time to start threads, and processes."""
MAX_THREADS, MAX_PROCESSES = 8, 16
"""Threads, and processes, at most that decode for a GPU; more of them wait for each other."""
PREFETCH = 4
"""Pictures that each process decodes before they are needed."""
GROUP, GROUP_PIXELS = 16, 20_000_000
"""Pictures, and their pixels at the size asked for, that are read together at most: 240 MB."""
GPU_GROUP, GPU_GROUP_PIXELS = 64, 5_000_000
"""The same for a GPU. What is decoded has up to sixteen times as many pixels, of three bytes: 240 MB."""
MAX_REDUCTION = 4
"""Long side, in multiples of the size asked for, above which a picture for a GPU is scaled on the CPU already."""
LARGE_SIZE = 1500
"""Size in px above which freed memory is returned: see memory.keep_pages."""


def read(works: Sequence[Work], size: int, device: torch.device) -> Generator[Tensor, None, None]:
    """The pictures of `works`, long side `size`, on `device`, in order: float32 (1, 3, H, W) in [0, 1].

    They are read a group at a time, by a thread for every core, and nothing is read while the caller uses a picture: reading
    ahead would take the time of cores that a network needs. For CUDA they are decoded by threads, or, if they are many and the
    system is Linux, ahead by worker processes; they are copied as bytes from pinned memory and scaled by the GPU, which gives
    what a CPU gives but for the last bits. A caller that may leave before the last picture should close the iterator, which
    ends threads and processes. Raises WorkbenchError for a file that cannot be read, after the pictures before it.
    """
    with memory.pages_kept() if size <= LARGE_SIZE else nullcontext():
        if device.type == "cuda":
            with closing(decoded(works, size)) as every:
                for levels, sides in every:
                    copied = levels.pin_memory().to(device, non_blocking=True)
                    yield images.resize(images.from_levels(copied) if copied.dtype == torch.uint8 else copied, sides)
        else:
            with closing(loaded(works, size)) as pictures:
                for picture in pictures:
                    yield picture.to(device)


def by_shape(works: Sequence[Work], size: int, device: torch.device) -> tuple[list[Work], int]:
    """The order in which pictures of long side `size` are best read for `device`, and how many are encoded together at most.

    On CUDA pictures of one shape follow each other, because a single small picture leaves a GPU waiting for the host. A CPU
    would gain less than a tenth, and the last bits of a descriptor would depend on which other works are in the corpus.
    """
    if device.type != "cuda":
        return list(works), 1
    return sorted(works, key=lambda work: images.fit(work.height, work.width, size)), BATCH


def batches(pictures: Iterable[tuple[Work, Tensor]], limit: int) -> Iterator[list[tuple[Work, Tensor]]]:
    """`pictures`, each with its work, in order: in lists of at most `limit` that follow each other in one shape.

    Where reading fails or is interrupted, the pictures read before are yielded first, and the exception is raised then.
    """
    batch: list[tuple[Work, Tensor]] = []
    try:
        for work, picture in pictures:
            if batch and batch[0][1].shape != picture.shape:
                yield batch
                batch = []
            batch.append((work, picture))
            if len(batch) == limit:
                yield batch
                batch = []
    except GeneratorExit:  # the iterator was closed
        raise
    except BaseException:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def loaded(works: Sequence[Work], size: int) -> Generator[Tensor, None, None]:
    """The pictures of `works`, long side `size`: (1, 3, H, W) in [0, 1] on the CPU, by threads where there are several."""
    if len(works) < MIN_FOR_THREADS:
        yield from (work.load(size) for work in works)
    else:
        threads = min(_cores(), GROUP)
        yield from _by_threads(_groups(works, size, GROUP, GROUP_PIXELS), lambda work: work.load(size), threads)


def decoded(works: Sequence[Work], size: int) -> Generator[Decoded, None, None]:
    """`_decode` of every work: by processes where there are many and the system is Linux, else by threads.

    Elsewhere processes start by running the caller's script anew, which not every script is written for.
    """
    if len(works) >= MIN_FOR_PROCESSES and sys.platform == "linux":
        yield from decoded_by_processes(works, size)
    else:
        yield from decoded_by_threads(works, size)


def decoded_by_threads(works: Sequence[Work], size: int) -> Generator[Decoded, None, None]:
    """`_decode` of every work, a group at a time: threads that decode ahead would compete with the caller for Python's lock."""
    threads = max(1, min(_cores(), MAX_THREADS, len(works)))
    yield from _by_threads(_groups(works, size, GPU_GROUP, GPU_GROUP_PIXELS), lambda work: _decode(work, size), threads)


def decoded_by_processes(works: Sequence[Work], size: int) -> Generator[Decoded, None, None]:
    """`_decode` of every work ahead, by a process for every core but one."""
    loader = DataLoader(
        _Pictures(works, size),
        batch_size=None,
        num_workers=max(1, min(MAX_PROCESSES, _cores() - 1, len(works))),
        prefetch_factor=PREFETCH,
        collate_fn=_unchanged,  # type: ignore[arg-type]  # torch takes it to be given a list
        generator=torch.Generator(),  # of its own: otherwise the caller's random state would change
    )
    for answer in loader:
        if isinstance(answer, WorkbenchError):
            raise answer
        levels, sides = answer
        yield torch.from_numpy(levels), sides


def _decode(work: Work, size: int) -> Decoded:
    """(levels (H, W, 3) uint8, sides to scale to), or the scaled picture in place of levels that are much larger."""
    levels, sides = images.decode(work.path, size, work.sha256)
    if max(levels.shape[:2]) <= MAX_REDUCTION * size:
        return levels, sides
    return images.resize(images.from_levels(levels), sides), sides


def _groups(works: Sequence[Work], size: int, limit: int, max_pixels: int) -> Iterator[list[Work]]:
    """`works` in order, in groups of at most `limit` works and `max_pixels` pixels at `size`, but of one work at least."""
    group: list[Work] = []
    pixels = 0
    for work in works:
        height, width = images.fit(work.height, work.width, size)
        if group and (len(group) == limit or pixels + height * width > max_pixels):
            yield group
            group, pixels = [], 0
        group.append(work)
        pixels += height * width
    if group:
        yield group


def _by_threads(groups: Iterable[Sequence[Work]], task: Callable[[Work], T], threads: int) -> Generator[T, None, None]:
    """`task` of every work, in order; all tasks of a group end before the first result of it is yielded."""
    pool = ThreadPoolExecutor(threads, initializer=_without_openmp)
    try:
        for group in groups:
            results = deque(pool.submit(task, work) for work in group)
            for result in results:
                wait([result])
                progress.check()
            while results:
                yield results.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _without_openmp() -> None:
    """Limit OpenMP to one thread within this thread, which is one of as many as there are cores."""
    torch.get_num_threads()  # torch sets the number itself the first time that it is read in a thread
    threadpool_limits(1, user_api="openmp")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Answer = tuple[np.ndarray, tuple[int, int]] | WorkbenchError


def _unchanged(answer: Answer) -> Answer:
    """`answer`: arrays come through a pipe. Tensors would come through shared memory, of which containers have little."""
    return answer


class _Pictures(Dataset):
    """`_decode` of every work, as arrays, or the WorkbenchError that it raised: torch would wrap what a process raises."""

    def __init__(self, works: Sequence[Work], size: int):
        self.works = works
        self.size = size

    def __len__(self) -> int:
        return len(self.works)

    def __getitem__(self, index: int) -> Answer:
        try:
            levels, sides = _decode(self.works[index], self.size)
            return levels.numpy(), sides
        except WorkbenchError as error:
            return error
        except Exception as error:  # some exceptions cannot be pickled
            return WorkbenchError(f"{self.works[index].path}: {type(error).__name__}: {error}")
