"""Hypercolumns: the features of one place at several depths, on one grid (Hariharan et al. 2015; Kolkin et al. 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.encoders import Encoder
from workbench.errors import UsageError

CELL = 4  # px: the side of a place, which is one position of relu3_1
WEIGHTS = {"relu1_1": 0.5, "relu2_1": 1.0, "relu3_1": 2.0, "relu4_1": 1.0, "relu4_2": 1.0}
"""Weight of every layer in a hypercolumn. Deeper layers tell objects and bring an artist's motifs, so there are none."""
DIMENSIONS = 64  # to which hypercolumns are reduced for the search
SAMPLE = 20_000  # hypercolumns that the principal directions are found from


def stride(layer: str) -> int:
    """Pixels between two positions of a layer called relu{block}_{convolution}."""
    return 2 ** (int(layer.removeprefix("relu").split("_")[0]) - 1)


def layers_of(encoder: Encoder) -> tuple[str, ...]:
    """The layers of `encoder` that hypercolumns are made of. UsageError where it lacks the one that gives the grid."""
    if f"relu{CELL.bit_length()}_1" not in encoder.channels:
        raise UsageError(f"encoder {encoder.name} has no relu3_1, which the method neighbours needs: choose embedded or vgg19")
    return tuple(layer for layer in WEIGHTS if layer in encoder.channels)


def grid_of(features: Mapping[str, Tensor]) -> tuple[int, int]:
    """(rows, columns) of the places of a picture with these features."""
    return tuple(features["relu3_1"].shape[-2:])


def blocks(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """layer -> (P, C) float32: the features (1, C, h, w) of every layer at the P places of the grid.

    Finer layers are averaged over a place, coarser ones interpolated.
    """
    grid, found = grid_of(features), {}
    for layer, f in features.items():
        f = f.float()
        if stride(layer) < CELL:
            f = F.adaptive_avg_pool2d(f, grid)
        elif stride(layer) > CELL:
            f = F.interpolate(f, grid, mode="bilinear", align_corners=False)
        found[layer] = f[0].flatten(1).T
    return found


@dataclass(frozen=True)
class Space:
    """The space in which hypercolumns are compared: every layer divided by its deviation, reduced to principal directions.

    means: layer -> (C,) of the paintings; scales: layer -> factor; directions: (D, d).
    """

    means: Mapping[str, Tensor]
    scales: Mapping[str, float]
    directions: Tensor

    @classmethod
    def spanned_by(cls, paintings: Sequence[Mapping[str, Tensor]], generator: torch.Generator) -> "Space":
        """The space of the hypercolumns of `paintings`, each from `blocks`."""
        means, scales = {}, {}
        for layer in paintings[0]:
            count = sum(len(p[layer]) for p in paintings)
            means[layer] = sum(p[layer].sum(dim=0) for p in paintings) / count
            square = sum((p[layer] - means[layer]).square().sum() for p in paintings) / count
            scales[layer] = WEIGHTS[layer] / max(float(square.sqrt()), 1e-6)
        identity = cls(means, scales, torch.empty(0))
        share = min(1.0, SAMPLE / sum(len(next(iter(p.values()))) for p in paintings))
        some = []
        for p in paintings:
            count = len(next(iter(p.values())))
            chosen = torch.randperm(count, generator=generator)[: max(1, round(share * count))]
            some.append(identity.centred({layer: b[chosen.to(b.device)] for layer, b in p.items()}, means))
        rows = torch.cat(some)
        _, vectors = torch.linalg.eigh(rows.T @ rows)
        return cls(means, scales, vectors[:, -DIMENSIONS:].flip(1).contiguous())

    def centred(self, found: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> Tensor:
        """(P, D): the layers of `found` less `means`, scaled and laid end to end."""
        return torch.cat([(b - means[layer]) * self.scales[layer] for layer, b in found.items()], dim=1)

    def of_painting(self, found: Mapping[str, Tensor]) -> Tensor:
        """(P, d): the hypercolumns of a painting about the mean of all paintings."""
        return self.centred(found, self.means) @ self.directions

    def of_picture(self, found: Mapping[str, Tensor]) -> Tensor:
        """(P, d): the hypercolumns of a picture about its own mean.

        Content and style are centred apart (Kolkin et al. 2022, section 3.2): about one mean, a dark place would find all
        that is dark, whatever it shows.
        """
        return self.centred(found, {layer: b.mean(dim=0) for layer, b in found.items()}) @ self.directions
