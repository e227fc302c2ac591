"""The embedding of a corpus: the descriptors of its works, and the space they span. Cached by the hashes of files."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from workbench import images, progress, storage
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, WorkbenchError
from workbench.retrieval import reading
from workbench.retrieval.centred import CentredIndex, centred
from workbench.retrieval.descriptors import KINDS, Kind, describe_each
from workbench.retrieval.index import Value

MAX_AXES = 32
"""Principal directions that are kept at most, a number of dimensions."""
VARIANCE = 0.95
"""The part of the variance, in [0, 1], that the principal directions hold where MAX_AXES allow it."""
VERSION = 2
"""Part of the cache key: raised whenever the same file comes to another descriptor, or entries to another format."""


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
        """Principal directions (D, d) of the centred descriptors: the fewest that hold 95 % of the variance, 32 at most."""
        _, values, rows = np.linalg.svd(self.raw - self.centre, full_matrices=False)
        energy = np.cumsum(values**2) / max(float((values**2).sum()), 1e-30)
        keep = min(int(np.searchsorted(energy, VARIANCE)) + 1, MAX_AXES, len(rows))
        # The sign of a singular vector is arbitrary. It is fixed here, so that maps and clusters are the same on every machine.
        signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
        return (rows * signs[:, None])[:keep].T

    def project(self, descriptors: np.ndarray) -> np.ndarray:
        """Descriptors (m, D) as points of the corpus's principal space (m, d)."""
        return (descriptors - self.centre) @ self.axes

    @cached_property
    def points(self) -> np.ndarray:
        """The works in principal space (n, d), for clustering and maps."""
        return self.project(self.raw)

    def similarities(self, descriptor: np.ndarray) -> np.ndarray:
        """Cosine between `descriptor` (D,) and every work about the corpus mean: (n,) in [-1, 1], in O(n D).

        `indexed().search` returns the highest of them. See `centred.CentredIndex` for why the mean is subtracted.
        """
        centred = self.raw - self.centre
        query = descriptor - self.centre
        norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(query)
        return (centred @ query) / np.maximum(norms, 1e-12)

    def indexed(self, metadata: Sequence[Mapping[str, Value]] | None = None) -> CentredIndex:
        """The works as points of an exact index, named by `names`, about the corpus mean.

        Its cosines are those of `similarities`. metadata: one mapping per work.
        """
        return centred(self.names, self.raw, self.centre, metadata)


def key(encoder: Encoder, kind: Kind, size: int) -> str:
    """24 hexadecimal digits that stand for everything that a descriptor depends on besides the file."""
    return hashlib.sha256(f"{VERSION}|{images.DECODER}|{encoder.identity}|{kind}|{size}".encode()).hexdigest()[:24]


def embed(
    corpus: Corpus | Sequence[Work], encoder: Encoder, kind: Kind, *, size: int | None = None, show: bool = False
) -> Embeddings:
    """The descriptors of all works: from the cache where they are known, else computed and cached one by one.

    Args:
        corpus: the works, each loaded with its long side scaled to `size` px.
        encoder: any encoder for "content"; one with style layers for "style" and "gram".
        size: by default `encoder.embedding_size`.
        show: progress on stderr.

    Raises UsageError for another kind, WorkbenchError without works and for a file that cannot be read; an interrupted call
    is resumed by the next.
    """
    if kind not in KINDS:
        raise UsageError(f"embedding {kind!r}: choose {', '.join(KINDS)}")
    works = tuple(corpus)
    if not works:
        raise WorkbenchError("no works to embed")
    size = size or encoder.embedding_size
    cache = storage.Cache(storage.cache_dir("embeddings", key(encoder, kind, size)))
    cached = {work.sha256: cache.get(work.sha256, ["descriptor"]) for work in works}
    rows = {sha256: entry["descriptor"] for sha256, entry in cached.items() if entry is not None}
    missing = list({work.sha256: work for work in works if work.sha256 not in rows}.values())
    missing, at_once = reading.by_shape(missing, size, encoder.device)
    with closing(reading.read(missing, size, encoder.device)) as pictures:
        each = zip(missing, pictures, strict=True)
        tracked = progress.track(each, total=len(missing), label=f"embedding ({kind})", show=show)
        for batch in reading.batches(tracked, at_once):
            described = describe_each(torch.cat([picture for _, picture in batch]), encoder, kind)
            for (work, _), row in zip(batch, described, strict=True):
                cache.put(work.sha256, {"descriptor": row})
                rows[work.sha256] = row
    return Embeddings(kind, encoder.name, tuple(work.name for work in works), np.stack([rows[work.sha256] for work in works]))
