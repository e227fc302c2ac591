"""The embedding of a corpus: the descriptors of its works, and the space they span. Cached by content hash."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from workbench import images, progress, storage
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, WorkbenchError, require
from workbench.retrieval import reading
from workbench.retrieval.descriptors import KINDS, Kind, describe_each

FOUND = 6  # works that are asked whether they agree
ASKED = 500  # works, at most, that say how well an artist's works match each other
VERSION = 1


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
    missing, at_once = reading.by_shape(missing, size, encoder.device)
    with closing(reading.read(missing, size, encoder.device)) as pictures:
        each = zip(missing, pictures, strict=True)
        tracked = progress.track(each, total=len(missing), label=f"embedding ({kind})", show=show)
        for batch in reading.batches(tracked, at_once):
            described = describe_each(torch.cat([picture for _, picture in batch]), encoder, kind)
            for (work, _), row in zip(batch, described, strict=True):
                with storage.atomic(folder / f"{work.sha256}.npy") as temporary:
                    np.save(temporary, row, allow_pickle=False)
                rows[work.sha256] = row
    return Embeddings(kind, encoder.name, tuple(work.name for work in works), np.stack([rows[work.sha256] for work in works]))


def _known(path: Path) -> np.ndarray | None:
    """The cached row at `path`; None where there is none, or a damaged one, which is removed."""
    if not path.exists():
        return None
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        path.unlink(missing_ok=True)
        return None
