"""Motif leak: patches of a result that were copied from a source painting."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import images
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.metrics.judging import MIN_GROUPS, family
from workbench.statistics import patches
from workbench.targets import StyleTarget

LAYER = 3
"""Index among the style layers: relu4_1, whose cells are 8 px wide."""
SCALES = (1, 2)
"""Cells averaged into one, along each side, before patches of 3x3 cells are taken: patches of 24 and 48 px, without the
receptive field of a cell."""
EVERY = 2
"""Cells from one patch to the next at the finest scale; at a coarser one, divided by the scale."""
DIMENSIONS = 256
"""Dimensions that patches are projected to: cosines keep to about .03, and ninety paintings to 50 MB."""
CHANCE = 0.95
"""Quantile of the statistic on unseen paintings that a patch must exceed."""
SOURCE_WEIGHT = 0.9
"""Share of a target's weight that its sources have together: the heaviest works that reach it."""


@dataclass(frozen=True)
class Leak:
    """rate: the share of patches that leaked, in [0, 1]; unseen works of the artist have .05 on average, before patches that
    the content has are left out.

    p: how often an unseen work has as high a rate, in (0, 1]; heat: (h, w) float32, by how much (cosine) each place exceeds
    the threshold where it leaked, else 0, on a grid over the picture; sources: how many paintings were taken for sources.
    """

    rate: float
    p: float
    heat: np.ndarray = field(repr=False)
    sources: int


class Leaks:
    """The patches of all works of an artist, and which of them a picture took over.

    For a patch p of the picture, sources S and the artist's other works B of that subject,

        L(p) = max_{q in S} cos(p, q) - max_{q in B} cos(p, q),

    patches being features of one layer, 3x3 cells, about the mean of their own picture: so that it counts which motif stands
    out, not which palette all have. p leaked when L(p) exceeds the 95th percentile of the same statistic on paintings of that
    subject which no method saw, and the content's own patch does not.
    """

    def __init__(self, encoder: Encoder, works: Sequence[Work], unseen: Sequence[Work], size: int):
        """`works`: all of the artist's, those `unseen` by any method among them; their long side is scaled to `size` px."""
        self.encoder = encoder
        self.size = size
        self.works = tuple(works)
        self._groups = np.array([work.group for work in self.works])
        self._unseen = np.isin([work.sha256 for work in self.works], [work.sha256 for work in unseen])
        self._patches = [patch_grids(work.load(size), encoder) for work in self.works]

    @cached_property
    def _of_unseen(self) -> list[dict[int, Tensor]]:
        """At every scale, for every unseen work (by place), how near its patches come to those of every work: (P, works)."""
        return [
            {place: self._nearest(self._patches[place][scale], scale).flatten(0, 1) for place in np.flatnonzero(self._unseen)}
            for scale in range(len(SCALES))
        ]

    def _nearest(self, grid: Tensor, scale: int) -> Tensor:
        """The best cosine of every patch of `grid` (h, w, D) among those of each work: (h, w, works)."""
        return torch.stack([(grid @ found[scale].flatten(0, 1).T).amax(dim=2) for found in self._patches], dim=2)

    def measure(self, picture: Tensor, content: Tensor, target: StyleTarget, genre: str) -> Leak:
        """What `picture` (1, 3, H, W), made from `content`, has of the paintings that weigh most in `target`.

        The sources are the heaviest works that hold nine tenths of the target's weight. The artist's works of `genre`'s family
        are what they are compared with, or all his works where there are too few. UsageError when none is left.
        """
        wanted = {work.sha256 for work in sources_of(target)}
        sources = np.array([work.sha256 in wanted for work in self.works])
        require(sources.sum() == len(wanted), f"{target.name}: a source is no work of this artist, so nothing can leak from it")
        subject = np.array([work.genre in family(genre) for work in self.works]) & ~sources
        if len(set(self._groups[subject])) < MIN_GROUPS:
            subject = ~sources
        unseen = np.flatnonzero(subject & self._unseen)
        require(len(set(self._groups[subject])) > 1 and len(unseen) > 0, "no unseen work is left to compare a leak with")
        like = images.fit(*picture.shape[-2:], self.size)
        theirs, its = (patch_grids(images.resize(image, like), self.encoder) for image in (picture, content))
        rates, heats, usual = [], [], []
        for scale in range(len(SCALES)):
            null = [
                _statistic(self._of_unseen[scale][place], sources, subject & (self._groups != self._groups[place]))
                for place in unseen
            ]
            threshold = torch.cat(null).quantile(CHANCE)
            before = _statistic(self._nearest(its[scale], scale), sources, subject)
            excess = _statistic(self._nearest(theirs[scale], scale), sources, subject) - threshold
            leaked = (excess > 0) & (before <= threshold)
            rates.append(float(leaked.float().mean()))
            usual.append([float((found > threshold).float().mean()) for found in null])
            heats.append(torch.where(leaked, excess, 0.0))
        rate, real = float(np.mean(rates)), np.mean(usual, axis=0)
        return Leak(rate, rank_p(rate, real), largest(heats).numpy(), int(sources.sum()))


def sources_of(target: StyleTarget) -> tuple[Work, ...]:
    """The heaviest works of `target` that hold nine tenths of its weight: what a picture may have copied from."""
    return target.works[: np.searchsorted(np.cumsum(target.weights), SOURCE_WEIGHT - 1e-9) + 1]


def patch_grids(picture: Tensor, encoder: Encoder) -> list[Tensor]:
    """At every scale, the patches of `picture` (1, 3, H, W), about their mean and of length one: (h, w, 256), on the CPU."""
    layer = encoder.style_layers[LAYER]
    with torch.no_grad():
        features = encoder.features(picture.to(encoder.device), (layer,))[layer].cpu()
        found = []
        for scale in SCALES:
            cells = F.avg_pool2d(features, scale) if min(features.shape[-2:]) >= 3 * scale else features
            step = max(1, EVERY // scale)
            height, width = cells.shape[-2:]
            grid = (patches(cells) @ _projection(9 * cells.shape[1])).view(height, width, -1)[::step, ::step]
            found.append(F.normalize(grid - grid.mean(dim=(0, 1)), dim=2))
    return found


def largest(heats: Sequence[Tensor]) -> Tensor:
    """The largest of maps of several scales, (h, w) each, at every place of the first and finest one."""
    size = tuple(heats[0].shape)
    return torch.stack([F.interpolate(heat[None, None], size=size, mode="nearest")[0, 0] for heat in heats]).amax(dim=0)


def rank_p(value: float, null: np.ndarray) -> float:
    """The one-sided p-value, in (0, 1], of `value` among the values (n,) of what the null hypothesis is true of."""
    return float((1 + (null >= value).sum()) / (len(null) + 1))


def _statistic(nearest: Tensor, sources: np.ndarray, others: np.ndarray) -> Tensor:
    """L(p) from how near patches come to every work (..., works): the best among `sources` less the best among `others`."""
    return nearest[..., torch.from_numpy(sources)].amax(dim=-1) - nearest[..., torch.from_numpy(others)].amax(dim=-1)


def _projection(dimensions: int) -> Tensor:
    """A Gaussian random projection (dimensions, 256), always the same: it keeps cosines (Johnson & Lindenstrauss 1984)."""
    generator = torch.Generator().manual_seed(dimensions)
    return torch.randn(dimensions, DIMENSIONS, generator=generator) / DIMENSIONS**0.5
