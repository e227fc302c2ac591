"""Patches of pictures, by which copies are found, and the works that a picture may have copied from."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.corpora import Work
from workbench.encoders import Encoder
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
"""Quantile of the statistic on the artist's own works that a patch must exceed."""
SOURCE_WEIGHT = 0.9
"""Share of a target's weight that its sources have together: the heaviest works that reach it."""


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


def _projection(dimensions: int) -> Tensor:
    """A Gaussian random projection (dimensions, 256), always the same: it keeps cosines (Johnson & Lindenstrauss 1984)."""
    generator = torch.Generator().manual_seed(dimensions)
    return torch.randn(dimensions, DIMENSIONS, generator=generator) / DIMENSIONS**0.5
