"""Motif leak by a margin: where a result is nearer to one of its sources than to anything else that the artist painted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from workbench import images
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.metrics.leak import CHANCE, SCALES, largest, patch_grids, rank_p

Standing = list[tuple[np.ndarray, np.ndarray]]
"""Of the patches of a picture at every scale: (the best group, its margin), both (h, w)."""


@dataclass(frozen=True)
class MarginLeak:
    """rate: the share of places, in [0, 1], where one source stands out by more than the threshold.

    expected: the mean of the same over the artist's works that are no sources, which copied nothing: near 0 for one source,
    .05 where all groups are sources; excess: rate - expected, about 0 by chance, and a little less where the content's own
    places do not count; p: how often such a work has as high a rate, in (0, 1]; heat: (h, w) float32, by how much (cosine)
    each place exceeds the threshold where it leaked, else 0; groups: of works that the sources belong to.
    """

    rate: float
    expected: float
    excess: float
    p: float
    heat: np.ndarray = field(repr=False)
    groups: int


class MarginLeaks:
    """How far patches of a picture are nearer to one group of works than to the second-best group.

    For a patch p and the best cosine m_g(p) to any patch of the works of group g (a series, or a lone work),

        M(p) = m_(1)(p) - m_(2)(p),

    the best group less the second best of all groups, sources or not. p leaked when M(p) exceeds a threshold and the best
    group holds a source. The threshold is that which the patches of the artist's own works exceed in 5 % of cases, each work
    compared with all groups but its own: it depends on the artist alone, not on how many sources a picture has. (The best
    source less the best other work would need a threshold that rises with the number of sources.)

    A motif that stands in two groups does not stand out, and what was copied turned by 90 degrees is not recognised.
    """

    def __init__(self, encoder: Encoder, works: Sequence[Work], size: int):
        """`works`: all of the artist's, of three groups at least; their long side is scaled to `size` px."""
        self.encoder = encoder
        self.size = size
        self.works = tuple(works)
        names, label = np.unique([work.group for work in self.works], return_inverse=True)
        require(len(names) >= 3, f"{len(names)} groups of works: a margin needs three at least")
        self._groups = len(names)
        self._group_of = {work.sha256: int(group) for work, group in zip(self.works, label, strict=True)}
        grids = [patch_grids(work.load(size), encoder) for work in self.works]
        self._patches, self._labels, self._own, self.thresholds = [], [], [], []
        self._rates: dict[frozenset[int], np.ndarray] = {}
        for scale in range(len(SCALES)):
            flat = [grid[scale].flatten(0, 1) for grid in grids]
            self._patches.append(torch.cat(flat))
            self._labels.append(torch.from_numpy(np.repeat(label, [len(patches) for patches in flat])))
            own = [self._margins(patches, scale, int(group)) for patches, group in zip(flat, label, strict=True)]
            self._own.append(own)
            self.thresholds.append(float(np.quantile(np.concatenate([margin for _, margin in own]), CHANCE)))

    def _margins(self, patches: Tensor, scale: int, without: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """(the best group, M) of every patch (P, 256), both (P,), the group `without` left out."""
        cosines = patches @ self._patches[scale].T
        best = torch.full((len(patches), self._groups), -2.0)
        best.scatter_reduce_(1, self._labels[scale].expand_as(cosines), cosines, "amax")
        if without >= 0:
            best[:, without] = -2.0
        top = best.topk(2, dim=1)
        return top.indices[:, 0].numpy(), (top.values[:, 0] - top.values[:, 1]).numpy()

    def standing(self, picture: Tensor, like: tuple[int, int] | None = None) -> Standing:
        """How the patches of `picture` (1, 3, H, W) in [0, 1], scaled to `like`, stand among the artist's works."""
        like = images.fit(*(like or picture.shape[-2:]), self.size)
        found = []
        for scale, grid in enumerate(patch_grids(images.resize(picture, like), self.encoder)):
            best, margin = self._margins(grid.flatten(0, 1), scale)
            found.append((best.reshape(grid.shape[:2]), margin.reshape(grid.shape[:2])))
        return found

    def measure(self, picture: Tensor, sources: Sequence[Work], *, content: Tensor | None = None) -> MarginLeak:
        """What `picture` (1, 3, H, W) in [0, 1] took from `sources`, works of the artist; see `leak.sources_of`.

        With its `content`, places where the content itself stands as near to a source do not count. UsageError for no source,
        or one that is no work of the artist.
        """
        like = tuple(picture.shape[-2:])
        return self.rated(self.standing(picture), sources, None if content is None else self.standing(content, like))

    def rated(self, picture: Standing, sources: Sequence[Work], content: Standing | None = None) -> MarginLeak:
        """`measure` of a picture and a content of one size whose patches are compared already: many sources cost one search."""
        groups = self._groups_of(sources)
        rates, heats = [], []
        for scale, threshold in enumerate(self.thresholds):
            excess = _leaked(picture[scale], groups, threshold)
            if content is not None:
                excess = np.where(_leaked(content[scale], groups, threshold) > 0, 0, excess)
            rates.append(float((excess > 0).mean()))
            heats.append(torch.from_numpy(excess.astype(np.float32)))
        real = self.of_works(sources)
        unrelated = np.array([self._group_of[work.sha256] not in groups for work in self.works])
        real = real[unrelated] if unrelated.any() else real  # of all groups, each work is compared with the others
        rate, expected = float(np.mean(rates)), float(real.mean())
        return MarginLeak(rate, expected, rate - expected, rank_p(rate, real), largest(heats).numpy(), len(groups))

    def of_works(self, sources: Sequence[Work]) -> np.ndarray:
        """The rate of every work of the artist, (works,), each compared with all groups but its own: none of them copied."""
        groups = frozenset(self._groups_of(sources))
        if groups not in self._rates:
            each = [
                [float((_leaked(found, groups, threshold) > 0).mean()) for found in own]
                for own, threshold in zip(self._own, self.thresholds, strict=True)
            ]
            self._rates[groups] = np.mean(each, axis=0)
        return self._rates[groups]

    def _groups_of(self, sources: Sequence[Work]) -> set[int]:
        groups = {self._group_of.get(work.sha256, -1) for work in sources}
        require(bool(groups), "no source is given, so nothing can leak from it")
        require(-1 not in groups, "a source is no work of this artist, so nothing can leak from it")
        return groups


def _leaked(found: tuple[np.ndarray, np.ndarray], groups: Collection[int], threshold: float) -> np.ndarray:
    """By how much the margin of each patch exceeds `threshold` where one of `groups` is the best, else 0."""
    best, margin = found
    return np.where(np.isin(best, list(groups)), margin - threshold, 0).clip(0)
