"""Hypercolumns: the features of one place at several depths, on one grid (Hariharan et al. 2015; Kolkin et al. 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.statistics import eigen

GRID = "relu3_1"
"""The layer whose positions are the places that are matched."""
CELL = 4
"""px. The side of a place."""
WEIGHTS = {"relu1_1": 0.5, "relu2_1": 1.0, "relu3_1": 2.0, "relu4_1": 1.0, "relu4_2": 1.0}
"""Weight of every layer in a hypercolumn. Deeper layers respond to objects, and would bring an artist's motifs."""
DIMENSIONS = 64
"""Dimensions to which hypercolumns are reduced for the search."""
SAMPLE = 20_000
"""Hypercolumns of paintings that the principal directions are computed from."""


def stride(layer: str) -> int:
    """Pixels between two positions of a layer called relu{block}_{convolution}."""
    return 2 ** (int(layer.removeprefix("relu").split("_")[0]) - 1)


def layers_of(encoder: Encoder) -> tuple[str, ...]:
    """The layers of `encoder` that hypercolumns are made of. UsageError where it lacks the one that gives the grid."""
    if GRID not in encoder.channels:
        raise UsageError(f"encoder {encoder.name} has no {GRID}, which the method neighbours needs: choose embedded or vgg19")
    return tuple(layer for layer in WEIGHTS if layer in encoder.channels)


def grid_of(features: Mapping[str, Tensor]) -> tuple[int, int]:
    """(rows, columns) of the places of a picture with these features."""
    rows, columns = features[GRID].shape[-2:]
    return rows, columns


def on_grid(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """layer -> (P, C) float32: the features (1, C, h, w) of every layer at the P places of the grid.

    Finer layers are averaged over a place, coarser ones interpolated. UsageError for a picture thinner than a place.
    """
    grid, found = grid_of(features), {}
    for layer, f in features.items():
        f = f.float()
        height, width = (stride(layer) * side for side in f.shape[-2:])
        require(
            min(height, width) >= CELL, f"a picture of {width}x{height} px has no place of {CELL} px: choose a larger --size"
        )
        if stride(layer) < CELL:  # by exact strides: where sides are no multiple of a place the last positions have none
            f = F.avg_pool2d(f, CELL // stride(layer))
        elif stride(layer) > CELL:
            f = F.interpolate(f, scale_factor=stride(layer) // CELL, mode="bilinear", align_corners=False)
            missing = [max(0, n - have) for n, have in zip(grid, f.shape[-2:], strict=True)]
            f = F.pad(f, (0, missing[1], 0, missing[0]), mode="replicate")
        f = f[..., : grid[0], : grid[1]]
        found[layer] = f[0].flatten(1).T
    return found


@dataclass(frozen=True, eq=False)
class Space:
    """The space in which hypercolumns are compared: every layer divided by its deviation, reduced to principal directions.

    means: layer -> (C,) of the paintings; scales: layer -> factor; directions: (D, d).
    """

    means: Mapping[str, Tensor]
    scales: Mapping[str, float]
    directions: Tensor

    @classmethod
    def spanned_by(cls, paintings: Sequence[Mapping[str, Tensor]]) -> "Space":
        """The space of the hypercolumns of `paintings`, layer -> (P, C) each."""
        found = {layer: torch.cat([painting[layer] for painting in paintings]) for layer in paintings[0]}
        means = {layer: rows.mean(dim=0) for layer, rows in found.items()}
        scales = {
            layer: WEIGHTS[layer] / max(float((rows - means[layer]).square().sum(dim=1).mean()), 1e-12) ** 0.5
            for layer, rows in found.items()
        }
        rows = _joined(found, means, scales)
        _, vectors = eigen(rows.T @ rows)
        return cls(means, scales, vectors[:, -DIMENSIONS:].flip(1).contiguous())

    def of_painting(self, found: Mapping[str, Tensor]) -> Tensor:
        """(P, d): the hypercolumns of a painting about the mean of all paintings."""
        return _joined(found, self.means, self.scales) @ self.directions

    def of_picture(self, found: Mapping[str, Tensor]) -> Tensor:
        """(P, d): the hypercolumns of a picture about its own mean.

        Content and style are centred apart (Kolkin et al. 2022, section 3.2): about one mean, a dark place would match all
        that is dark, whatever it shows.
        """
        means = {layer: b.mean(dim=0) for layer, b in found.items()}
        return _joined(found, means, self.scales) @ self.directions


def _joined(found: Mapping[str, Tensor], means: Mapping[str, Tensor], scales: Mapping[str, float]) -> Tensor:
    """(P, D): the layers of `found` less `means`, times `scales`, side by side."""
    return torch.cat([(b - means[layer]) * scales[layer] for layer, b in found.items()], dim=1)
