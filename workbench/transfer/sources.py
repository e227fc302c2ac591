"""The places of paintings that a content may be matched with: windows of the works of a target, and their hypercolumns."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import images, progress
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.images.colour import Recolouring
from workbench.retrieval.pieces import Piece
from workbench.targets import StyleTarget
from workbench.transfer.hypercolumns import CELL, SAMPLE, Space, grid_of, stride
from workbench.transfer.matching import Lattice

POOL = 8
"""Places drawn from all paintings together, as a multiple of the places of the result."""
ENLARGEMENT = 1.25
"""Times its own size that a painting is scaled to at most: beyond it, strokes would be blurred."""
MARGIN = 2
"""Places along the edge of a window that are not matched: a scan's border, and features that padding has changed."""
PADDING = 16
"""px. A picture is continued by reflection this far while its features are computed, so that padding has no part in a match."""
SMALLEST_WINDOW = 12
"""Places. The smallest side of a window."""


@dataclass(frozen=True, eq=False)
class Window:
    """A part of a work that places are drawn from.

    picture: (1, 3, H, W); features: layer -> (C, h, w); allowed: (rows, columns) bool, the places that may be matched; region:
    the number of the region of the content that they may be matched with.
    """

    picture: Tensor
    features: Mapping[str, Tensor]
    allowed: Tensor
    region: int


class Sources:
    """The places of all windows, one after the other: N in all.

    columns: (N, d), their hypercolumns, of length one; region: (N,), the region of the content that each may be matched with,
    -1 for none; lattice: how they lie beside each other.
    """

    def __init__(self, windows: list[Window], columns_of: Callable[[Tensor], dict[str, Tensor]], generator: torch.Generator):
        """`columns_of`: a window's picture -> layer -> (P, C) of its P places. It is called twice: that bounds memory."""
        self.windows = windows
        self.lattice = Lattice([_grid(window) for window in windows], windows[0].allowed.device)
        self.region = torch.cat([torch.where(window.allowed, window.region, -1).flatten() for window in windows])
        share = min(1.0, SAMPLE / len(self.lattice))
        self.space = Space.spanned_by([_sampled(columns_of(window.picture), share, generator) for window in windows])
        columns = [self.space.of_painting(columns_of(window.picture)) for window in windows]
        self.columns = torch.cat([F.normalize(column, dim=1) for column in columns])

    def features(self, match: Tensor, grid: tuple[int, int], layer: str, sides: tuple[int, int]) -> Tensor:
        """Features (1, C, *sides) at `layer`, put together from those of the places matched: `match` (P,) over `grid`.

        Between the centres of four places their four copies are blended bilinearly: where matches continue each other the
        copies are the same, and elsewhere no seam is left.
        """
        scale = stride(layer) / CELL  # places between two positions of the layer
        maps = [window.features[layer] for window in self.windows]
        sizes = torch.tensor([f.shape[-2:] for f in maps], device=match.device)
        match = match.view(grid)
        total = torch.zeros(len(maps[0]), *sides, device=match.device)
        vertical, horizontal = (_nearest_two(side, scale, count, match.device) for side, count in zip(sides, grid, strict=True))
        for row, offset_row, weight_row in vertical:
            for column, offset_column, weight_column in horizontal:
                place = match[row][:, column]
                window = self.lattice.picture[place]
                down = _position(self.lattice.row[place], offset_row[:, None], scale).minimum(sizes[window, 0] - 1)
                across = _position(self.lattice.column[place], offset_column[None], scale).minimum(sizes[window, 1] - 1)
                weight = weight_row[:, None] * weight_column
                for number in window.unique().tolist():  # one by one: all of them in one tensor would take gigabytes
                    here = window == number
                    total[:, here] += weight[here] * maps[number][:, down[here], across[here]]
        return total[None]


def _grid(window: Window) -> tuple[int, int]:
    """(rows, columns) of its places."""
    rows, columns = window.allowed.shape
    return rows, columns


def _sampled(columns: dict[str, Tensor], share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """A random `share` of the places, one at least."""
    places = len(next(iter(columns.values())))
    chosen = torch.randperm(places, generator=generator)[: max(1, round(share * places))]
    return {layer: rows[chosen.to(rows.device)] for layer, rows in columns.items()}


def _nearest_two(side: int, scale: float, count: int, device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
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
    """The position in a layer of a painting that is `offset` places from the centre of `place`."""
    # Every half is rounded up: to the nearest even number, a deep layer would repeat and skip positions in turn.
    return ((place + offset + 0.5) / scale).floor().long().clamp_min(0)


def continued_features(encoder: Encoder, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
    """The features of `picture` (1, 3, H, W) at `layers`, as if it went on beyond its border by reflection."""
    if min(picture.shape[-2:]) < 2 * CELL:
        return encoder.activations(picture, layers)  # whose pooling pads what is smaller than a position
    mode = "reflect" if min(picture.shape[-2:]) > PADDING else "replicate"
    features = encoder.activations(F.pad(picture, (PADDING,) * 4, mode=mode), layers)
    cut = {layer: PADDING // stride(layer) for layer in features}
    return {
        layer: f[..., cut[layer] : f.shape[-2] - cut[layer], cut[layer] : f.shape[-1] - cut[layer]]
        for layer, f in features.items()
    }


def draw_windows(
    target: StyleTarget,
    encoder: Encoder,
    layers: tuple[str, ...],
    size: int,
    places: int,
    generator: torch.Generator,
    recolour: Recolouring | None = None,
    *,
    show: bool = False,
) -> list[Window]:
    """A window of every work, as large as its share of POOL times `places`, or all of it; for each guide its own.

    `size`: long side of the paintings, px. Windows have at least SMALLEST_WINDOW x SMALLEST_WINDOW places: of works whose
    shares are smaller, so many are drawn that all of them together have their share.
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
    shares = [weight * POOL * places for _, _, weight in wanted]
    by_work: dict[Work, list[tuple[int, Piece, float]]] = {}  # each work is read once, whatever is drawn from it
    for k, (number, piece, _) in enumerate(wanted):
        if k in heaviest or draws[k] < shares[k] / SMALLEST_WINDOW**2:
            by_work.setdefault(piece.work, []).append((number, piece, shares[k]))
    windows: list[Window] = []
    tracked = progress.track(
        by_work.items(), total=len(by_work), label=f"paintings at {size} px", show=show and len(by_work) > 1
    )
    for work, drawn in tracked:
        largest = max(images.SMALLEST, round(ENLARGEMENT * max(work.width, work.height)))
        painting = work.load(min(size, largest, images.LARGEST))
        if recolour is not None:
            painting = recolour(painting)
        for number, piece, share in drawn:
            picture, mask = _cut(painting, piece.mask, share, generator)
            picture = picture.to(encoder.device)
            features = continued_features(encoder, picture, layers)
            allowed = _allowed(mask, grid_of(features)).to(encoder.device)
            windows.append(Window(picture, {layer: f[0] for layer, f in features.items()}, allowed, number))
    return windows


def _cut(painting: Tensor, mask: Tensor, places: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """About so many places of `painting` (1, 3, H, W) around one in `mask`, in the box that holds it; and the mask there.

    Windows are at least SMALLEST_WINDOW places wide and high where the painting is: a small piece comes with its surroundings.
    """
    inside = _over(mask, tuple(painting.shape[-2:]))
    rows, columns = inside[0, 0].nonzero(as_tuple=True)
    drawn = int(torch.randint(len(rows), (1,), generator=generator))
    box = [(int(n.min()), int(n.max()) + 1) for n in (rows, columns)]
    share = min(1.0, math.sqrt(places * CELL**2 / ((box[0][1] - box[0][0]) * (box[1][1] - box[1][0]))))
    view: list = [...]
    centres = int(rows[drawn]), int(columns[drawn])
    for (first, last), centre, whole in zip(box, centres, painting.shape[-2:], strict=True):
        side = min(whole, max(SMALLEST_WINDOW * CELL, round(share * (last - first))))
        start = min(max(centre - side // 2, first), last - side)  # within the box, where it is large enough
        start = min(max(start, 0), whole - side)
        view.append(slice(start, start + side))
    return painting[tuple(view)], inside[tuple(view)]


def _over(mask: Tensor, sides: tuple[int, ...]) -> Tensor:
    """`mask` (1, 1, h, w) over a picture of `sides`: none of it is lost where the picture is coarser."""
    finer = mask.shape[-2] > sides[0] or mask.shape[-1] > sides[1]
    return F.adaptive_max_pool2d(mask, sides) if finer else F.interpolate(mask, sides, mode="nearest")


def _allowed(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """(rows, columns) bool: the places inside the mask and away from the window's edge, where the window is large enough."""
    allowed = _over(mask, grid)[0, 0] > 0
    inner = torch.zeros_like(allowed)
    down, across = (MARGIN if n > 4 * MARGIN else 0 for n in grid)
    inner[down : grid[0] - down, across : grid[1] - across] = True
    return allowed & inner if bool((allowed & inner).any()) else allowed
