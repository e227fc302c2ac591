"""Style by neighbours: every place of the content takes over the most similar place of an artist's works.

Kolkin et al. (2022, "Neural Neighbor Style Transfer") match the hypercolumns of one painting. Here they come from any
StyleTarget: places are drawn from its works in shares by their weights, and regions restrict them. What is matched is one
place of CELL px; what is taken over are the features of every layer at their own resolution there, so that the texture of
paint comes along. See `matching` for how matches are found.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import progress
from workbench.colour import Recolouring
from workbench.encoders import Encoder
from workbench.hypercolumns import CELL, Space, blocks, grid_of, layers_of, stride
from workbench.losses import NeighbourLoss
from workbench.matching import Lattice, Matcher
from workbench.regions import Piece
from workbench.statistics import spread
from workbench.targets import StyleTarget

PICTURES = 8  # the paintings' places together, in pictures of the size of the result: a work of weight 1/8 is seen whole
BOLD = 1.25  # times as large as the picture are paintings seen, so that the strokes show
EDGE = 2  # places along the edge of a painting that are not matched: a scan's rim, and what padding made of features
AROUND = 16  # px by which a picture is continued while its features are found, so that padding has no part in a match
RIM = 8  # px along the border of the picture where features are not compared, but those of the first layer
LEAST = 12  # places: the least side of a window


@dataclass(frozen=True)
class Part:
    """What is drawn from one work: its features in a window, layer -> (C, h, w); the places that may be matched, (rows,
    columns) bool; and the region of the content for which they are."""

    features: Mapping[str, Tensor]
    allowed: Tensor
    region: int


class Sources:
    """The places of all works that may be matched."""

    def __init__(self, parts: list[Part], generator: torch.Generator):
        some = next(iter(parts[0].features.values()))
        self.parts = parts
        grids = [tuple(part.allowed.shape) for part in parts]
        self.lattice = Lattice(grids, some.device)
        regions = [torch.where(part.allowed, part.region, -1).flatten() for part in parts]
        self.region = torch.cat(regions).to(some.device)
        found = [blocks({layer: f[None] for layer, f in part.features.items()}) for part in parts]
        self.space = Space.spanned_by(found, generator)
        self.columns = torch.cat([F.normalize(self.space.of_painting(b), dim=1) for b in found])

    def taken(self, match: Tensor, grid: tuple[int, int], layer: str, sides: tuple[int, int]) -> Tensor:
        """Features (1, C, *sides) at `layer` of the places matched: `match` (P,) over `grid`.

        Between the centres of four places their four copies are blended bilinearly: where matches continue each other the
        copies are the same, and elsewhere no seam is left.
        """
        scale = stride(layer) / CELL  # places between two positions of the layer
        maps = [part.features[layer] for part in self.parts]
        rows = torch.cat([f.flatten(1).T for f in maps])  # (positions of all works, C)
        sizes = torch.tensor([f.shape[-2:] for f in maps], device=match.device)
        starts = torch.tensor([0, *(f[0].numel() for f in maps[:-1])], device=match.device).cumsum(0)
        match = match.view(grid)
        total = torch.zeros(*sides, rows.shape[1], device=match.device)
        vertical, horizontal = (_between(side, scale, count, match.device) for side, count in zip(sides, grid, strict=True))
        for row, offset_row, weight_row in vertical:
            for column, offset_column, weight_column in horizontal:
                place = match[row][:, column]
                work = self.lattice.picture[place]
                down = _position(self.lattice.row[place], offset_row[:, None], scale).minimum(sizes[work, 0] - 1)
                across = _position(self.lattice.column[place], offset_column[None], scale).minimum(sizes[work, 1] - 1)
                copied = rows[starts[work] + down * sizes[work, 1] + across]
                total += (weight_row[:, None] * weight_column)[..., None] * copied
        return total.permute(2, 0, 1)[None]


def _between(side: int, scale: float, count: int, device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The two places that positions 0..side-1 of a layer lie between: (place, offset from its centre in places, weight)."""
    centre = (torch.arange(side, device=device) + 0.5) * scale - 0.5
    first = centre.floor()
    share = centre - first
    both = [(first, 1 - share), (first + 1, share)]
    # A place beyond the edge is the one at the edge, whose copy goes on.
    return [
        (place.clamp(0, count - 1).long(), centre - place.clamp(0, count - 1), weight)
        for place, weight in both
        if bool((weight > 0).any())
    ]


def _position(place: Tensor, offset: Tensor, scale: float) -> Tensor:
    """Where in a layer of a painting lies what is `offset` places from the centre of `place`."""
    return ((place + offset + 0.5) / scale - 0.5).round().long().clamp_min(0)


def loss(
    content: Tensor,
    picture: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    *,
    size: int,
    likeness: float,
    strength: float,
    seed: int,
    recolour: Recolouring | None = None,
    show: bool = False,
) -> NeighbourLoss:
    """The distance to the features that the places of `content` find among the works of `target`.

    Args:
        content, picture: (1, 3, H, W) in [0, 1], what is matched: `likeness` of the content and the rest of the picture so far.
        size: long side of the paintings beside the picture, px, before they are seen BOLD; none is enlarged beyond its own.
        strength: how far to go from the content's own features (0) to those found (1).
        seed: of what is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = layers_of(encoder)
    with torch.no_grad():
        features = _continued(encoder, content, layers)
        grid = grid_of(features)
        sources = Sources(
            draw(target, encoder, layers, round(BOLD * size), math.prod(grid), generator, recolour, show=show), generator
        )
        own = blocks(features)
        query = likeness * sources.space.of_picture(own)
        if likeness < 1:
            query += (1 - likeness) * sources.space.of_picture(blocks(_continued(encoder, picture, layers)))
        region = _regions(target, grid).to(query.device)
        # A region whose pieces are too small to have a place of their own takes what there is.
        region = torch.where(torch.isin(region, sources.region), region, sources.region.max())
        matcher = Matcher(
            F.normalize(query, dim=1),
            grid,
            region,
            sources.columns,
            sources.lattice,
            sources.region,
        )
        match = matcher.coherent(matcher.best_alone(generator), generator)
        found = {}
        for layer, f in features.items():
            taken = sources.taken(match, grid, layer, tuple(f.shape[-2:]))
            found[layer] = taken if strength == 1 else f.float() + strength * (taken - f.float())
    small = min(grid) * CELL <= 4 * RIM
    return NeighbourLoss(found, {layer: 0 if small or stride(layer) == 1 else RIM // stride(layer) for layer in found})


def _continued(encoder: Encoder, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
    """The features of `picture` at `layers`, as if it went on beyond its border by reflection."""
    mode = "reflect" if min(picture.shape[-2:]) > AROUND else "replicate"
    features = encoder.taps(F.pad(picture, (AROUND,) * 4, mode=mode), layers)
    cut = {layer: AROUND // stride(layer) for layer in features}
    return {
        layer: f[..., cut[layer] : f.shape[-2] - cut[layer], cut[layer] : f.shape[-1] - cut[layer]]
        for layer, f in features.items()
    }


def _regions(target: StyleTarget, grid: tuple[int, int]) -> Tensor:
    """(P,): the number of the guide that each place of the content belongs to; 0 without guides."""
    if not target.guides:
        return torch.zeros(math.prod(grid), dtype=torch.long)
    return torch.cat([spread(guide.mask, *grid) for guide in target.guides], dim=1)[0].argmax(dim=0).flatten()


def draw(
    target: StyleTarget,
    encoder: Encoder,
    layers: tuple[str, ...],
    size: int,
    places: int,
    generator: torch.Generator,
    recolour: Recolouring | None = None,
    *,
    show: bool = False,
) -> list[Part]:
    """A window of every work, as large as its share of PICTURES times `places`, or all of it; for each guide its own."""
    wanted = [(0, Piece(work), weight) for work, weight in zip(target.works, target.weights, strict=True)]
    if target.guides:
        wanted = [
            (number, piece, guide.share * weight)
            for number, guide in enumerate(target.guides)
            for piece, weight in zip(guide.pieces, guide.weights, strict=True)
        ]
    parts: list[Part] = []
    tracked = progress.track(wanted, total=len(wanted), label=f"paintings at {size} px", show=show and len(wanted) > 1)
    for region, piece, weight in tracked:
        painting = piece.work.load(min(size, max(piece.work.width, piece.work.height)))
        if recolour is not None:
            painting = recolour(painting)
        window, mask = _window(painting, piece.mask, weight * PICTURES * places, generator)
        features = {layer: f[0] for layer, f in encoder.taps(window.to(encoder.device), layers).items()}
        allowed = _allowed(mask, tuple(features["relu3_1"].shape[-2:]))
        if bool(allowed.any()):
            parts.append(Part(features, allowed.to(encoder.device), region))
    return parts


def _window(painting: Tensor, mask: Tensor, places: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """About so many places of `painting` (1, 3, H, W), somewhere in the box that holds `mask`; and the mask there."""
    height, width = painting.shape[-2:]
    inside = F.interpolate(mask, (height, width), mode="nearest")
    rows, columns = inside[0, 0].amax(dim=1).nonzero(), inside[0, 0].amax(dim=0).nonzero()
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    share = min(1.0, math.sqrt(places * CELL**2 / ((bottom - top) * (right - left))))
    sides = [min(n, max(LEAST * CELL, round(share * n))) for n in (bottom - top, right - left)]
    room = [bottom - top - sides[0], right - left - sides[1]]
    y, x = (int(torch.randint(0, n + 1, (1,), generator=generator)) for n in room)
    view = (..., slice(top + y, top + y + sides[0]), slice(left + x, left + x + sides[1]))
    return painting[view], inside[view]


def _allowed(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """(rows, columns) bool: the places inside the mask and away from the window's edge, where the window is large enough."""
    allowed = F.interpolate(mask, grid, mode="nearest")[0, 0] > 0.5
    inner = torch.zeros_like(allowed)
    down, across = (EDGE if n > 4 * EDGE else 0 for n in grid)
    inner[down : grid[0] - down, across : grid[1] - across] = True
    return allowed & inner if bool((allowed & inner).any()) else allowed
