"""The one reader of many pictures, in bounded memory: by threads, by processes beside a GPU."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
AHEAD = 4  # pictures that are read before they are needed, by each reader
FEW, MANY = 4, 500  # pictures that are worth the start of threads, and of processes
THREADS, WORKERS = 8, 16  # at most beside a GPU: more threads than that wait for each other
BATCH = 8  # pictures of one shape that a GPU looks at together
GROUP, GROUP_PIXELS = 16, 20_000_000  # what is read at once: pictures, and pixels of the size asked for (240 MB)
GROUP_FOR_GPU = 64, 5_000_000  # likewise, decoded for a GPU, which are up to sixteen times as large, in bytes (240 MB)
LARGE_SIZE = 1500  # px, above which the gaps that kept pages leave would cost more than they save
REDUCED = 4  # times the size asked for that a picture for a GPU has at most


def by_shape(works: Sequence[Work], size: int, device: torch.device) -> tuple[list[Work], int]:
    """The order in which pictures of long side `size` are looked at on `device`, and at most how many at once.

    On CUDA those of one shape together, because a network asked for one small picture waits for the host. A CPU would gain
    less than a tenth by it, and the last bits of a descriptor would depend on what else is in the corpus.
    """
    if device.type != "cuda":
        return list(works), 1
    return sorted(works, key=lambda work: images.fit(work.height, work.width, size)), BATCH


def batches(pictures: Iterable[tuple[Work, Tensor]], limit: int) -> Iterator[list[tuple[Work, Tensor]]]:
    """`pictures`, each with its work, in their order: as many at once as follow each other in one shape, at most `limit`.

    Where reading fails or is stopped, what was read before comes first.
    """
    batch: list[tuple[Work, Tensor]] = []
    try:
        for work, picture in pictures:
            if batch and batch[0][1].shape != picture.shape:
                full, batch = batch, []
                yield full
            batch.append((work, picture))
            if len(batch) == limit:
                full, batch = batch, []
                yield full
    except GeneratorExit:  # nobody asks for more
        raise
    except BaseException:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def read(works: Sequence[Work], size: int, device: torch.device) -> Iterator[Tensor]:
    """The pictures of `works`, long side `size`, on `device`: (1, 3, H, W) in [0, 1].

    On a CPU they are read a group at a time, by all cores (see `read_by_groups`). For CUDA they are decoded likewise, many of
    them ahead by worker processes (not elsewhere than on Linux), copied as bytes from pinned memory, and made as large as
    asked for by the GPU: what a CPU finds, but for the last bits. Beside another GPU a thread reads ahead.
    """
    with memory.pages_kept() if size <= LARGE_SIZE else nullcontext():
        if device.type == "cuda":
            # Elsewhere processes start by running a script anew, which not every script bears.
            by_workers = len(works) >= MANY and sys.platform == "linux"
            with closing(decode_by_workers(works, size) if by_workers else decode_by_groups(works, size)) as decoded:
                for levels, sides in decoded:
                    copied = levels.pin_memory().to(device, non_blocking=True)
                    yield images.resize(images.from_levels(copied) if copied.dtype == torch.uint8 else copied, sides)
        elif device.type == "cpu":
            yield from read_by_groups(works, size)
        else:
            for picture in read_ahead(works, size):
                yield picture.to(device)


def read_by_groups(works: Sequence[Work], size: int) -> Iterator[Tensor]:
    """The pictures of `works`, long side `size`: (1, 3, H, W) in [0, 1]. A group is read by a thread for every core.

    Nothing is read while the caller has a picture: whoever reads ahead takes the time of the cores that a network needs,
    and more by getting in its way. Groups are large because a network's threads go on spinning for a while. Whoever may
    leave before the last picture should close it, so that threads and pictures go as well.
    """
    if len(works) < FEW:
        yield from (work.load(size) for work in works)
        return
    yield from _by_groups(_groups(works, size, GROUP, GROUP_PIXELS), lambda work: work.load(size), min(_cores(), GROUP))


def decode_by_groups(works: Sequence[Work], size: int) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """`_decoded` of every work likewise: who gives work to a GPU meanwhile would wait for Python's lock."""
    groups, threads = _groups(works, size, *GROUP_FOR_GPU), max(1, min(_cores(), THREADS, len(works)))
    yield from _by_groups(groups, lambda work: _decoded(work, size), threads)


def _decoded(work: Work, size: int) -> tuple[Tensor, tuple[int, int]]:
    """`images.decode`; where that is much larger than what is asked for, (the picture itself, its sides)."""
    levels, sides = images.decode(work.path, size)
    if max(levels.shape[:2]) <= REDUCED * size:
        return levels, sides
    return images.resize(images.from_levels(levels), sides), sides


def _by_groups(groups: Iterable[Sequence[Work]], task: Callable[[Work], T], threads: int) -> Iterator[T]:
    readers = ThreadPoolExecutor(threads, initializer=_alone)
    try:
        for group in groups:
            results = deque(readers.submit(task, work) for work in group)
            for result in results:
                wait([result])
                progress.check()
            while results:
                yield results.popleft().result()
    finally:
        readers.shutdown(cancel_futures=True)


def _alone() -> None:
    """Let this thread compute with no others beside it."""
    torch.get_num_threads()  # torch sets the number itself when a thread first asks
    threadpool_limits(1, user_api="openmp")


def _groups(works: Sequence[Work], size: int, most: int, pixels_at_most: int) -> Iterator[list[Work]]:
    """`works` in their order, in groups of at most `most` pictures that have so many pixels together at `size`, or of one."""
    group: list[Work] = []
    pixels = 0
    for work in works:
        height, width = images.fit(work.height, work.width, size)
        own = height * width
        if group and (len(group) == most or pixels + own > pixels_at_most):
            yield group
            group, pixels = [], 0
        group.append(work)
        pixels += own
    if group:
        yield group


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_ahead(works: Sequence[Work], size: int) -> Iterator[Tensor]:
    """The pictures of `works`, long side `size`, read by a thread while the one before is in use: (1, 3, H, W) in [0, 1]."""
    reader = ThreadPoolExecutor(max_workers=1)
    try:
        pending = deque(reader.submit(work.load, size) for work in works[:AHEAD])
        for work in [*works[AHEAD:], *[None] * len(pending)]:
            picture = pending.popleft().result()
            if work is not None:
                pending.append(reader.submit(work.load, size))
            yield picture
    finally:
        reader.shutdown(cancel_futures=True)


def decode_by_workers(works: Sequence[Work], size: int) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """The same ahead, by processes: one for every core but one, at most sixteen, `AHEAD` pictures each before they are needed.

    Raises WorkbenchError for a picture that cannot be read.
    """
    loader = DataLoader(
        _Pictures(works, size),
        batch_size=None,
        num_workers=max(1, min(WORKERS, _cores() - 1, len(works))),
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # or the caller's would be drawn from
    )
    for decoded in loader:
        if isinstance(decoded, WorkbenchError):
            raise decoded
        levels, sides = decoded
        yield torch.from_numpy(levels), sides


Answer = tuple[np.ndarray, tuple[int, int]] | WorkbenchError


def _as_it_is(answer: Answer) -> Answer:
    """As an array, which comes through a pipe: tensors come through shared memory, of which containers have little."""
    return answer


class _Pictures(Dataset):
    """The pictures of `works` decoded, or the errors that came of it: torch would wrap what a worker raises."""

    def __init__(self, works: Sequence[Work], size: int):
        self.works = works
        self.size = size

    def __len__(self) -> int:
        return len(self.works)

    def __getitem__(self, index: int) -> Answer:
        try:
            levels, sides = _decoded(self.works[index], self.size)
            return levels.numpy(), sides
        except WorkbenchError as error:
            return error
        except Exception as error:  # not all errors come through a pipe
            return WorkbenchError(f"{self.works[index].path}: {type(error).__name__}: {error}")
