"""The regions of all works, as points of an index: which piece of a painting shows the same as a region of a content."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from workbench import images, people, progress, storage
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.retrieval import reading, regions
from workbench.retrieval.centred import centred
from workbench.retrieval.regions import Regions

CANDIDATES = 32
"""Pieces that the first search for a match outside of a group returns at most."""
SAMPLE = 2048
"""Pieces at most from which the usual cosine, and the artist's own matches, are computed."""


@dataclass(frozen=True)
class Piece:
    """A region of a painting, or, without `regions`, the whole painting. label: which of its regions; -1 for the whole."""

    work: Work
    label: int = -1
    regions: Regions | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The work's name and the region's number, such as "nocturne.png#2"."""
        return f"{self.work.name}#{self.label}"

    @property
    def name(self) -> str:
        """The name of its region, "face" or "person", else ""."""
        return self.regions.names[self.label] if self.regions and self.regions.names else ""

    @property
    def mask(self) -> Tensor:
        """(1, 1, h, w) float32 on a grid over the painting: 1 inside, 0 outside."""
        return torch.ones(1, 1, 1, 1) if self.regions is None else self.regions.masks()[self.label : self.label + 1]


class RegionIndex:
    """All regions of all works, as points of an exact index: searched by what they show.

    Cosines are about the mean of all regions. A point's metadata are `name`, that of the region, "face", "person" or "";
    `work`, the name of the painting; and `group`, that of the work.
    """

    def __init__(self, works: Sequence[Work], encoder: Encoder, *, show: bool = False):
        """Divide every work, or take its regions from the cache. show: progress."""
        divided = divide_all(works, encoder, show=show)
        self.pieces = [Piece(work, label, r) for work, r in zip(works, divided, strict=True) for label in range(len(r))]
        self.names = frozenset(piece.name for piece in self.pieces)
        self.descriptors = np.concatenate([r.descriptors for r in divided])
        centre = self.descriptors.mean(axis=0) if len(works) > 1 else np.zeros_like(self.descriptors[0])
        metadata = [{"name": piece.name, "work": piece.work.name, "group": piece.work.group} for piece in self.pieces]
        self.points = centred([piece.id for piece in self.pieces], self.descriptors, centre, metadata)

    def search(self, descriptor: np.ndarray, k: int, *, name: str | None = None) -> list[tuple[Piece, float]]:
        """The `k` pieces most similar to a region with `descriptor` (D,), with their cosines in [-1, 1], best first.

        name: with "face", "person" or "" (neither) pieces of that name alone, if there are any: faces are compared with faces.
        """
        where = {"name": name} if name in self.names else None
        return [(self.pieces[self.points.rows[m.id]], m.similarity) for m in self.points.search(descriptor, k, where)]

    def usual(self, descriptor: np.ndarray, *, name: str | None = None) -> float:
        """The median cosine of `descriptor` (D,) to the pieces that `search` chooses from: that of a random piece.

        Of many pieces SAMPLE are taken, evenly spaced.
        """
        rows = [i for i, piece in enumerate(self.pieces) if name not in self.names or piece.name == name]
        some = self.descriptors[[rows[i] for i in _evenly(len(rows))]] - self.points.centre
        query = descriptor - self.points.centre
        lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(query)
        return float(np.median(some @ query / np.maximum(lengths, 1e-12)))

    @cached_property
    def own(self) -> np.ndarray:
        """The best cosine of every piece to the pieces of other works, sorted: how well the artist's works match each other.

        Works of one series do not count as others: they are nearly alike. Of many pieces SAMPLE are matched,
        evenly spaced. Empty for a single work or series.
        """
        best = [self._best_outside(i) for i in _evenly(len(self.pieces))]
        return np.sort([similarity for similarity in best if similarity is not None])

    def _best_outside(self, row: int) -> float | None:
        """The cosine of a piece to the best piece of another group; None where there is none."""
        group, k = self.pieces[row].work.group, CANDIDATES
        while True:
            matches = self.points.search(self.descriptors[row], k)
            best = next((match.similarity for match in matches if match.metadata["group"] != group), None)
            if best is not None or k >= len(self.points):
                return best
            k *= 8

    def familiarity(self, similarity: float) -> float:
        """The share of the artist's own regions whose best match elsewhere in the oeuvre is no better than `similarity`.

        It is uniform on 0..1 for a region that the artist might have painted, and near 0 for one that the artist never
        painted. 1 where there is no other work to compare with.
        """
        return float(np.searchsorted(self.own, similarity, side="right") / len(self.own)) if len(self.own) else 1.0


def divide_all(works: Sequence[Work], encoder: Encoder, *, show: bool = False) -> list[Regions]:
    """The regions of every work (see `regions.divide`), from the cache where they are known."""
    decides = f"{regions.VERSION}|{images.DECODER}|{people.WEIGHTS_SHA256}|{encoder.identity}"
    cache = storage.Cache(storage.cache_dir("regions", hashlib.sha256(decides.encode()).hexdigest()[:24]))
    known = {work.sha256: _cached(cache, work.sha256) for work in works}
    found = {sha256: divided for sha256, divided in known.items() if divided is not None}
    missing = list({work.sha256: work for work in works if work.sha256 not in found}.values())
    with closing(reading.read(missing, regions.SIZE, torch.device("cpu"))) as pictures:
        each = zip(missing, pictures, strict=True)
        for work, picture in progress.track(each, total=len(missing), label="regions", show=show):
            divided = regions.divide(picture, encoder)
            names = np.array([people.NAMES.index(name) for name in divided.names], dtype=np.uint8)
            cache.put(work.sha256, {"labels": divided.labels, "descriptors": divided.descriptors, "names": names})
            found[work.sha256] = divided
    return [found[work.sha256] for work in works]


def _cached(cache: storage.Cache, sha256: str) -> Regions | None:
    entry = cache.get(sha256, ["labels", "descriptors", "names"])
    if entry is None:
        return None
    return Regions(entry["labels"], entry["descriptors"], tuple(people.NAMES[name] for name in entry["names"]))


def _evenly(count: int) -> list[int]:
    """At most SAMPLE of the numbers from 0 to `count` - 1, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(int)).tolist()
