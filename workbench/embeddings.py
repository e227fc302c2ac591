"""Embeddings of a corpus: what its works show (content) and how they are painted (style). Cached by content hash."""

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from workbench import images, progress, statistics, storage
from workbench.corpus import Corpus, Work
from workbench.encoders import Encoder
from workbench.encoders.allocator import keep_pages, release_pages
from workbench.errors import UsageError, WorkbenchError, require

T = TypeVar("T")
Kind = Literal["content", "style", "gram"]
KINDS: tuple[Kind, ...] = ("content", "style", "gram")
SKETCH = 32
AHEAD = 4  # pictures that are read before they are needed, by each reader
FEW, MANY = 4, 500  # pictures that are worth the start of threads, and of processes
THREADS, WORKERS = 8, 16  # at most beside a GPU: more threads than that wait for each other
BATCH = 8  # pictures of one shape that a GPU looks at together
GROUP, GROUP_PIXELS = 16, 20_000_000  # what is read at once: pictures, and pixels of the size asked for (240 MB)
GROUP_FOR_GPU = 64, 5_000_000  # likewise, decoded for a GPU, which are up to sixteen times as large, in bytes (240 MB)
REDUCED = 4  # times the size asked for that a picture for a GPU has at most
FOUND = 6  # works that are asked whether they agree
ASKED = 500  # works, at most, that say how well an artist's works match each other
VERSION = 1


def describe(image: Tensor, encoder: Encoder, kind: Kind) -> np.ndarray:
    """The raw descriptor of one image (1, 3, H, W) in [0, 1], at the size it has: (D,) float32. See `describe_each`."""
    return describe_each(image, encoder, kind)[0]


def describe_each(pictures: Tensor, encoder: Encoder, kind: Kind) -> np.ndarray:
    """The raw descriptors of images (N, 3, H, W) in [0, 1]: (N, D) float32.

    content: the encoder's image embedding, normalised to length one.
    style:   channel means and standard deviations of every style layer, each layer's block scaled to length one.
    gram:    a sketch R^T G R of every style layer's Gram matrix, R (C, 32) Gaussian with a fixed seed, upper triangle,
             each block scaled to length one. Inner products of sketches estimate those of the Gram matrices themselves.
    """
    with torch.no_grad():
        if kind == "content":
            blocks = [encoder.embed(pictures)]
        else:
            features = encoder.features(pictures, encoder.style_layers).values()
            tell = statistics.style_vector if kind == "style" else _sketches
            blocks = [tell(f) for f in features]
        rows = [torch.cat([block / block.norm().clamp_min(1e-12) for block in row]) for row in zip(*blocks, strict=True)]
    return torch.stack(rows).cpu().numpy()


def _sketches(features: Tensor) -> Tensor:
    return torch.stack([_sketch(gram) for gram in statistics.gram(features)])


def _sketch(gram: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(len(gram))
    project = torch.randn(len(gram), SKETCH, generator=generator).to(gram) / SKETCH**0.5
    row, column = torch.triu_indices(SKETCH, SKETCH, device=gram.device)
    # Off-diagonal entries stand for two of the symmetric matrix: sqrt(2) keeps the inner product that of the matrices.
    weight = torch.where(row == column, 1.0, 2**0.5)
    return (project.T @ gram @ project)[row, column] * weight


@dataclass(frozen=True)
class Embeddings:
    """The descriptors of a corpus, and the space they span.

    kind: "content", "style" or "gram"; names: the works, in order; raw: (n, D) float32 from `describe`.
    """

    kind: Kind
    encoder: str
    names: tuple[str, ...]
    raw: np.ndarray = field(repr=False)

    @cached_property
    def centre(self) -> np.ndarray:
        """The corpus mean (D,), or zero for a corpus of one work, which would otherwise be its own centre."""
        return self.raw.mean(axis=0) if len(self.raw) > 1 else np.zeros_like(self.raw[0])

    @cached_property
    def axes(self) -> np.ndarray:
        """Principal directions (D, d) of the centred descriptors that hold 95 % of their variance, at most 32."""
        _, values, rows = np.linalg.svd(self.raw - self.centre, full_matrices=False)
        energy = np.cumsum(values**2) / max(float((values**2).sum()), 1e-30)
        keep = min(int(np.searchsorted(energy, 0.95)) + 1, 32, len(rows))
        # The sign of a singular vector is arbitrary: fix it, so that maps and clusters repeat everywhere.
        signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
        return (rows * signs[:, None])[:keep].T

    def project(self, descriptors: np.ndarray) -> np.ndarray:
        """Descriptors (m, D) as points of the corpus's principal space (m, d)."""
        return (descriptors - self.centre) @ self.axes

    @cached_property
    def points(self) -> np.ndarray:
        """The works in principal space (n, d): what clustering and maps use."""
        return self.project(self.raw)

    def similarities(self, descriptor: np.ndarray) -> np.ndarray:
        """Cosine between `descriptor` (D,) and every work after subtracting the corpus mean: (n,) in [-1, 1].

        Without centring all images of a corpus are alike (cosines of .9 and more) and one tau would not suit two encoders.
        In a corpus of two works the centred vectors are opposite, so their cosines to anything are x and -x.
        """
        centred = self.raw - self.centre
        query = descriptor - self.centre
        norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(query)
        return (centred @ query) / np.maximum(norms, 1e-12)

    def match(self, descriptor: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
        """How well `descriptor` (D,) is matched: (its best cosine to a work, the mean cosine among what it finds).

        What it finds is the six works nearest to it, of each group the nearest alone. Where a content shows what the artist
        painted they show the same as each other; where it does not, one resembles it in this and one in that. The second
        number holds for photographs after works that are all alike, to which no photograph has a high cosine. It is 1 where
        there are no two groups. groups: one per work, such as `Work.group`; UsageError otherwise.
        """
        require(len(groups) == len(self.raw), f"match: {len(self.raw)} works and {len(groups)} groups; give one each")
        similarities = self.similarities(descriptor)
        nearest: dict[str, int] = {}
        for i in np.argsort(-similarities, kind="stable"):
            nearest.setdefault(groups[i], int(i))
            if len(nearest) == FOUND:
                break
        found = self.raw[list(nearest.values())] - self.centre
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        pairs = (found @ found.T)[np.triu_indices(len(found), 1)]
        return float(similarities.max()), float(pairs.mean()) if len(pairs) else 1.0

    def own_matches(self, groups: Sequence[str]) -> np.ndarray:
        """`match` of the works themselves, each among the works of other groups: (m, 2).

        Works of one series are no match for each other, for one haystack finds the next whatever the artist painted. The
        cosines are about the mean of the works of other groups, for a content image has no part in the mean either:
        with its own weight in it a work of a small corpus would look lonelier than it is. Of more than five hundred works
        five hundred are asked; those with fewer than two works of other groups are not.
        """
        groups = np.asarray(groups, dtype=object)
        found = []
        for i in np.unique(np.linspace(0, len(groups) - 1, ASKED).round().astype(int)):
            others = groups != groups[i]
            if others.sum() >= 2:
                rest = Embeddings(self.kind, self.encoder, (), self.raw[others])
                found.append(rest.match(self.raw[i], groups[others]))
        return np.array(found).reshape(-1, 2)


def embed(
    corpus: Corpus | Sequence[Work], encoder: Encoder, kind: Kind, *, size: int | None = None, show: bool = False
) -> Embeddings:
    """Embed every work, from the cache where it is known, resuming where an earlier call stopped.

    Args:
        corpus: the works, each loaded with its long side scaled to `size` px.
        encoder: any encoder for "content"; one with style layers for "style" and "gram".
        size: by default the one that suits the encoder, `encoder.embedding_size`.
        show: progress on stderr.
    """
    if kind not in KINDS:
        raise UsageError(f"embedding {kind!r}: choose {', '.join(KINDS)}")
    works = tuple(corpus)
    if not works:
        raise WorkbenchError("no works to embed")
    size = size or encoder.embedding_size
    key = hashlib.sha256(f"{VERSION}|{images.DECODER}|{encoder.identity}|{kind}|{size}".encode()).hexdigest()[:24]
    folder = storage.cache_dir("embeddings", key)
    rows = {work.sha256: _known(folder / f"{work.sha256}.npy") for work in works}
    missing = list({work.sha256: work for work in works if rows[work.sha256] is None}.values())
    missing, at_once = by_shape(missing, size, encoder.device)
    with closing(read(missing, size, encoder.device)) as pictures:
        each = zip(missing, pictures, strict=True)
        tracked = progress.track(each, total=len(missing), label=f"embedding ({kind})", show=show)
        for batch in batches(tracked, at_once):
            described = describe_each(torch.cat([picture for _, picture in batch]), encoder, kind)
            for (work, _), row in zip(batch, described, strict=True):
                with storage.atomic(folder / f"{work.sha256}.npy") as temporary:
                    np.save(temporary, row, allow_pickle=False)
                rows[work.sha256] = row
    if missing:
        release_pages()
    return Embeddings(kind, encoder.name, tuple(work.name for work in works), np.stack([rows[work.sha256] for work in works]))


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


def _known(path: Path) -> np.ndarray | None:
    """The cached row at `path`; None where there is none, or a damaged one, which is removed."""
    if not path.exists():
        return None
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        path.unlink(missing_ok=True)
        return None


def read(works: Sequence[Work], size: int, device: torch.device) -> Iterator[Tensor]:
    """The pictures of `works`, long side `size`, on `device`: (1, 3, H, W) in [0, 1].

    On a CPU they are read a group at a time, by all cores (see `read_by_groups`). For CUDA they are decoded likewise, many of
    them ahead by worker processes (not elsewhere than on Linux), copied as bytes from pinned memory, and made as large as
    asked for by the GPU: what a CPU finds, but for the last bits. Beside another GPU a thread reads ahead.
    """
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
    keep_pages(True)
    try:
        yield from _by_groups(groups, lambda work: _decoded(work, size), threads)
    finally:
        keep_pages(False)


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
