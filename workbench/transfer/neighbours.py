"""Style by neighbours: every place of the content takes over the most similar place of an artist's works.

Kolkin et al. (2022, "Neural Neighbor Style Transfer") match the hypercolumns of one painting. Here they come from any
StyleTarget: places are drawn from its works in shares by their weights, and regions restrict them. What is matched is one
place of CELL px, blurred; what is taken over are the features of every layer at their own resolution there, so that the texture
of paint comes along. See `matching` for how matches are found.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from workbench import images, progress
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.images.colour import Recolouring
from workbench.people import Face
from workbench.retrieval.regions import Piece
from workbench.statistics import spread
from workbench.targets import StyleTarget
from workbench.transfer.hypercolumns import (
    CELL,
    SAMPLE,
    Space,
    blocks,
    grid_of,
    layers_of,
    stride,
)
from workbench.transfer.losses import NeighbourLoss
from workbench.transfer.matching import Lattice, Matcher

PICTURES = 8  # the paintings' places together, in pictures of the size of the result
BOLD = 1.25  # times as large as the picture are paintings seen, so that the strokes show
ENLARGED = 1.25  # times its own size that a painting is seen at most: further, strokes would be blurs
EDGE = 2  # places along the edge of a painting that are not matched: a scan's rim, and what padding made of features
AROUND = 16  # px by which a picture is continued while its features are found, so that padding has no part in a match
FACES = 0.4  # share of the content's own features that is kept in a face 30 places wide: people see the least change of one
WIDE = 30  # places; where a face is n times as wide the share is 1 / sqrt(n) times as large: eyes then have places enough
MOST = 0.8  # share kept at most, in the smallest faces
FULL, FADES = 0.8, 1.2  # half sides of a face's box: within the first the whole share is kept, beyond the second nothing
RIMS = {2: 4, 4: 2, 8: 3}  # stride of a layer: positions along the border that are not compared; padding has a part in them
LEAST = 12  # places: the least side of a window


@dataclass(frozen=True, eq=False)
class Part:
    """What is drawn from one work: a window, (1, 3, H, W); its features, layer -> (C, h, w); the places that may be matched,
    (rows, columns) bool; and the region of the content for which they are."""

    window: Tensor
    features: Mapping[str, Tensor]
    allowed: Tensor
    region: int


class Sources:
    """The places of all works that may be matched."""

    def __init__(self, parts: list[Part], compared: Callable[[Tensor], dict[str, Tensor]], generator: torch.Generator):
        """`compared`: what is compared of a window's P places, layer -> (P, C); asked for twice, so that little is kept."""
        self.parts = parts
        self.lattice = Lattice([(part.allowed.shape[0], part.allowed.shape[1]) for part in parts], parts[0].allowed.device)
        self.region = torch.cat([torch.where(part.allowed, part.region, -1).flatten() for part in parts])

        share = min(1.0, SAMPLE / len(self.lattice))
        self.space = Space.spanned_by([_sampled(compared(part.window), share, generator) for part in parts])
        self.columns = torch.cat([F.normalize(self.space.of_painting(compared(part.window)), dim=1) for part in parts])

    def taken(self, match: Tensor, grid: tuple[int, int], layer: str, sides: tuple[int, int]) -> Tensor:
        """Features (1, C, *sides) at `layer` of the places matched: `match` (P,) over `grid`.

        Between the centres of four places their four copies are blended bilinearly: where matches continue each other the
        copies are the same, and elsewhere no seam is left.
        """
        scale = stride(layer) / CELL  # places between two positions of the layer
        maps = [part.features[layer] for part in self.parts]
        sizes = torch.tensor([f.shape[-2:] for f in maps], device=match.device)
        match = match.view(grid)
        total = torch.zeros(len(maps[0]), *sides, device=match.device)
        vertical, horizontal = (_between(side, scale, count, match.device) for side, count in zip(sides, grid, strict=True))
        for row, offset_row, weight_row in vertical:
            for column, offset_column, weight_column in horizontal:
                place = match[row][:, column]
                work = self.lattice.picture[place]
                down = _position(self.lattice.row[place], offset_row[:, None], scale).minimum(sizes[work, 0] - 1)
                across = _position(self.lattice.column[place], offset_column[None], scale).minimum(sizes[work, 1] - 1)
                weight = weight_row[:, None] * weight_column
                for number in work.unique().tolist():  # work by work: all of them in one tensor would take gigabytes
                    here = work == number
                    total[:, here] += weight[here] * maps[number][:, down[here], across[here]]
        return total[None]


def _sampled(compared: dict[str, Tensor], share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """A random `share` of the places, one at least."""
    places = len(next(iter(compared.values())))
    chosen = torch.randperm(places, generator=generator)[: max(1, round(share * places))]
    return {layer: b[chosen.to(b.device)] for layer, b in compared.items()}


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
    # Halves are rounded up, every one: to the nearest even number, a deep layer would repeat and skip positions in turn.
    return ((place + offset + 0.5) / scale).floor().long().clamp_min(0)


def loss(
    content: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    *,
    size: int,
    looseness: float,
    strength: float,
    seed: int,
    faces: Sequence[Face] = (),
    recolour: Recolouring | None = None,
    show: bool = False,
) -> NeighbourLoss:
    """The distance to the features that the places of `content` find among the works of `target`.

    Args:
        content: (1, 3, H, W) in [0, 1].
        size: long side of the paintings beside the picture, px, before they are seen BOLD; none is seen more than ENLARGED.
        looseness: standard deviation, px, of the blur through which content and paintings are compared. Without it a smooth
            place would find a smooth one, and the paint would be lost.
        strength: how far to go from the content's own features (0) to those found (1).
        seed: of what is drawn.
        faces: those of the content, in which a share of its own features is kept.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = layers_of(encoder)
    with torch.no_grad():
        features = _continued(encoder, content, layers)
        grid = grid_of(features)
        # In small pictures rims are narrower: four positions at least are compared.
        rims = {layer: max(0, min(RIMS.get(stride(layer), 0), (min(f.shape[-2:]) - 4) // 2)) for layer, f in features.items()}
        if strength == 0:
            return NeighbourLoss({layer: f.float() for layer, f in features.items()}, rims)
        sources = Sources(
            draw(target, encoder, layers, round(BOLD * size), math.prod(grid), generator, recolour, show=show),
            lambda window: blocks(_continued(encoder, blurred(window, looseness), layers)),
            generator,
        )
        query = sources.space.of_picture(blocks(_continued(encoder, blurred(content, looseness), layers)))
        region = _regions(target, grid).to(query.device)
        matcher = Matcher(
            F.normalize(query, dim=1),
            grid,
            region,
            sources.columns,
            sources.lattice,
            sources.region,
        )
        match = matcher.coherent(matcher.best_alone(generator), generator)
        kept = 1 - strength * (1 - _kept_in_faces(faces, grid, query.device))
        found = {}
        for layer, f in features.items():
            taken = sources.taken(match, grid, layer, (f.shape[2], f.shape[3]))
            found[layer] = taken + spread(kept, *f.shape[-2:]) * (f.float() - taken)
    return NeighbourLoss(found, rims)


def blurred(picture: Tensor, deviation: float) -> Tensor:
    """`picture` (1, 3, H, W) under a Gaussian of this standard deviation, px."""
    if deviation == 0:
        return picture
    reach = min(math.ceil(3 * deviation), min(picture.shape[-2:]) - 1)  # reflection reaches no further
    return gaussian_blur(picture, 2 * reach + 1, deviation)


def _continued(encoder: Encoder, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
    """The features of `picture` at `layers`, as if it went on beyond its border by reflection."""
    if min(picture.shape[-2:]) < 2 * CELL:
        return encoder.activations(picture, layers)  # whose pooling pads what is smaller than a position
    mode = "reflect" if min(picture.shape[-2:]) > AROUND else "replicate"
    features = encoder.activations(F.pad(picture, (AROUND,) * 4, mode=mode), layers)
    cut = {layer: AROUND // stride(layer) for layer in features}
    return {
        layer: f[..., cut[layer] : f.shape[-2] - cut[layer], cut[layer] : f.shape[-1] - cut[layer]]
        for layer, f in features.items()
    }


def _kept_in_faces(faces: Sequence[Face], grid: tuple[int, int], device: torch.device) -> Tensor:
    """(1, 1, rows, columns): the share of the content's features kept: by the width of a face in its middle (see FACES),
    falling to 0 at the edge of its box and beyond."""
    kept = torch.zeros(1, 1, *grid)
    down, across = (((torch.arange(n) + 0.5) / n) for n in grid)
    for face in faces:
        left, top, right, bottom = face.box
        y, x = (2 * (down - top) / (bottom - top) - 1), (2 * (across - left) / (right - left) - 1)
        away = (y.square()[:, None] + x.square()[None]).sqrt()
        most = min(MOST, FACES * math.sqrt(WIDE / ((right - left) * grid[1])))
        kept = torch.maximum(kept, most * ((FADES - away) / (FADES - FULL)).clamp(0, 1)[None, None].float())
    return kept.to(device)


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
    """A window of every work, as large as its share of PICTURES times `places`, or all of it; for each guide its own.

    Windows have at least LEAST x LEAST places: of works whose shares are smaller, as many are drawn as make up for it.
    """
    wanted = [(0, Piece(work), weight) for work, weight in zip(target.works, target.weights, strict=True)]
    if target.guides:
        wanted = [
            (number, piece, guide.share * weight)
            for number, guide in enumerate(target.guides)
            for piece, weight in zip(guide.pieces, guide.weights, strict=True)
        ]
    draws = torch.rand(len(wanted), generator=generator).tolist()
    heaviest = {number: k for k, (number, _, _) in reversed(list(enumerate(wanted)))}.values()  # of each guide; always drawn
    shares = [weight * PICTURES * places for _, _, weight in wanted]
    by_work: dict[Work, list[tuple[int, Piece, float]]] = {}  # each is read once, whatever is taken from it
    for k, (number, piece, _) in enumerate(wanted):
        if k in heaviest or draws[k] < shares[k] / LEAST**2:
            by_work.setdefault(piece.work, []).append((number, piece, shares[k]))
    parts: list[Part] = []
    tracked = progress.track(
        by_work.items(), total=len(by_work), label=f"paintings at {size} px", show=show and len(by_work) > 1
    )
    for work, taken in tracked:
        largest = max(images.SMALLEST, round(ENLARGED * max(work.width, work.height)))
        painting = work.load(min(size, largest, images.LARGEST))
        if recolour is not None:
            painting = recolour(painting)
        for number, piece, share in taken:
            window, mask = _window(painting, piece.mask, share, generator)
            window = window.to(encoder.device)
            features = _continued(encoder, window, layers)
            allowed = _allowed(mask, grid_of(features)).to(encoder.device)
            parts.append(Part(window, {layer: f[0] for layer, f in features.items()}, allowed, number))
    return parts


def _window(painting: Tensor, mask: Tensor, places: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """About so many places of `painting` (1, 3, H, W) around one in `mask`, in the box that holds it; and the mask there.

    Windows are at least LEAST places wide and high where the painting is: a small piece is seen with what surrounds it.
    """
    inside = _laid_over(mask, tuple(painting.shape[-2:]))
    rows, columns = inside[0, 0].nonzero(as_tuple=True)
    drawn = int(torch.randint(len(rows), (1,), generator=generator))
    box = [(int(n.min()), int(n.max()) + 1) for n in (rows, columns)]
    share = min(1.0, math.sqrt(places * CELL**2 / ((box[0][1] - box[0][0]) * (box[1][1] - box[1][0]))))
    view: list[Any] = [...]
    centres = int(rows[drawn]), int(columns[drawn])
    for (first, last), centre, whole in zip(box, centres, painting.shape[-2:], strict=True):
        side = min(whole, max(LEAST * CELL, round(share * (last - first))))
        start = min(max(centre - side // 2, first), last - side)  # within the box, where it is large enough
        start = min(max(start, 0), whole - side)
        view.append(slice(start, start + side))
    return painting[tuple(view)], inside[tuple(view)]


def _laid_over(mask: Tensor, sides: tuple[int, ...]) -> Tensor:
    """`mask` (1, 1, h, w) over a picture of `sides`: none of it is lost where the picture is coarser."""
    finer = mask.shape[-2] > sides[0] or mask.shape[-1] > sides[1]
    return F.adaptive_max_pool2d(mask, sides) if finer else F.interpolate(mask, sides, mode="nearest")


def _allowed(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """(rows, columns) bool: the places inside the mask and away from the window's edge, where the window is large enough."""
    allowed = _laid_over(mask, grid)[0, 0] > 0
    inner = torch.zeros_like(allowed)
    down, across = (EDGE if n > 4 * EDGE else 0 for n in grid)
    inner[down : grid[0] - down, across : grid[1] - across] = True
    return allowed & inner if bool((allowed & inner).any()) else allowed
