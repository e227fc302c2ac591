"""The differentiable renderer: strokes laid one over another, each pixel computed from the few that it sees.

After Kotovenko et al. (CVPR 2021, "Rethinking Style Transfer: From Pixels to Parameterized Brushstrokes"), where a pixel sees
its K nearest strokes, mixed by their distances. Here strokes have an order and cover what lies below, as paint does and as
SVG has it, so a pixel sees the last K of those that reach it. With d the distance of a pixel from a curve and r half its width,

    a_k = OPACITY sigmoid((r^2 - d^2) / (2 r softness)),
    C = sum_k a_k c_k prod_{j over k} (1 - a_j) + ground prod_k (1 - a_k).

(r^2 - d^2) / 2r is r - d at the edge, and smooth where d = 0. `by_definition` does the same with every stroke at every pixel.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from workbench import progress
from workbench.strokes.stroke import Strokes

OPACITY = 0.97
"""Share of what lies below that a stroke covers."""
SOFTNESS = 0.5
"""px. Over this much of the distance from its edge a stroke goes from mostly there to mostly not there."""
NEAREST = 8
"""Strokes that a pixel sees at most."""
REACH = 6.0
"""A stroke is not seen where its coverage is below sigmoid(-REACH), a quarter of a per cent."""
TILE = 8
"""px. Strokes are looked for in squares of this side."""
BLOCK = 250_000
"""Pairs of a pixel and a stroke near it that are compared at a time. It bounds memory and changes nothing."""
KEPT = 12_000_000
"""Pairs of a pixel and a stroke that it sees whose arithmetic is kept for the gradient; above it, it is done twice."""
NEWTON, SEARCH = 6, 2
"""Steps to the nearest point of a curve: of strokes that a pixel sees, and while these are looked for."""
FLATTEST = 1e-3
"""px. Half chords and half widths count as this much at least."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What p pixels see: `pixel` (p,), their numbers, row by row; `stroke` (p, K), the last laid first, -1 for none."""

    pixel: Tensor
    stroke: Tensor


@dataclass(frozen=True, eq=False)
class Arcs:
    """n strokes in px, each in a frame of its own: along its chord, from the middle (x, y) of it.

    There the curve is (h u, s (1 - u^2)), u in [-1, 1]. table: (n, 10), x, y, h, cosine and sine of the chord's direction, s,
    half the width r, and the colour.
    """

    table: Tensor

    @classmethod
    def of(cls, strokes: Strokes, size: int) -> "Arcs":
        """`strokes` in a picture of long side `size` px."""
        half = strokes.chord * (size / 2)
        h = half.square().sum(dim=1, keepdim=True).clamp_min(FLATTEST**2).sqrt()
        s, r = 2 * h * strokes.bend[:, None], (strokes.width[:, None] * (size / 2)).clamp_min(FLATTEST)
        return cls(torch.cat([strokes.place * size, h, half / h, s, r, strokes.colour], dim=1))

    def __getitem__(self, which: Tensor) -> "Arcs":
        """Those of the numbers `which`, of any shape; -1 gives any."""
        return Arcs(self.table[which.clamp_min(0)])

    @property
    def radius(self) -> Tensor:
        return self.table[..., 6]

    @property
    def colour(self) -> Tensor:
        return self.table[..., 7:]

    def offsets(self, x: Tensor, y: Tensor, steps: int = NEWTON) -> tuple[Tensor, Tensor, Tensor]:
        """(squared distance from the curve, u of its nearest point, on which side: positive as bends are) of places in px.

        The nearest point is found without a gradient: as the distance is least there, moving it changes nothing in first order.
        """
        across, down = x - self.table[..., 0], y - self.table[..., 1]
        h, cos, sin, s = (self.table[..., k] for k in range(2, 6))
        along, aside = across * cos + down * sin, down * cos - across * sin
        with torch.no_grad():
            u = _nearest(along, aside, h, s, steps)
        du, dv = along - h * u, aside - s * (1 - u * u)
        return du.square() + dv.square(), u, torch.sign(dv.detach())


def _nearest(along: Tensor, aside: Tensor, h: Tensor, s: Tensor, steps: int) -> Tensor:
    """u in [-1, 1] of the point of (h u, s (1 - u^2)) nearest to (along, aside), by Newton's method from the point beside."""
    u = (along / h).clamp(-1, 1)
    hh, ss = h * h, s * s
    for _ in range(steps):
        beside = 2 * s * (aside - s * (1 - u * u))
        slope = beside * u - h * (along - h * u)
        gauss = hh + 4 * ss * u * u
        u = (u - slope / torch.maximum(gauss + beside, gauss / 4)).clamp(-1, 1)
    return u


def render(
    strokes: Strokes,
    shape: tuple[int, int],
    ground: Tensor,
    *,
    nearest: int = NEAREST,
    softness: float = SOFTNESS,
    block: int = BLOCK,
) -> Tensor:
    """The picture (1, 3, H, W) of `strokes` on `ground`, (3,) or (1, 3, H, W), with gradients to both.

    Args:
        shape: (H, W). Strokes are scaled to its long side.
        nearest: K, the number of strokes that a pixel sees at most.
        softness: px, of the edges.
        block: see BLOCK.
    """
    arcs = Arcs.of(strokes, max(shape))

    def colours(seen: Seen, below: Tensor) -> Tensor:
        own = arcs[seen.stroke]
        squares, _, _ = own.offsets(*centres(seen.pixel[:, None], shape[1], own))
        return mixed(coverage(squares, own.radius, softness, seen), own.colour, below)

    return composed(arcs, shape, ground, colours, nearest=nearest, softness=softness, block=block)


def coverage(squares: Tensor, radius: Tensor, softness: float, seen: Seen) -> Tensor:
    """a_k, (p, K): see above. `squares`: of distances from the curves."""
    edge = (radius.square() - squares) / (2 * softness * radius)
    return OPACITY * torch.sigmoid(edge) * (seen.stroke >= 0)


def mixed(cover: Tensor, colours: Tensor, below: Tensor) -> Tensor:
    """(p, c): `colours` (p, K, c), the last laid first, of which each covers `cover` (p, K), over `below` (p, c)."""
    through = torch.cumprod(1 - cover, dim=1)
    weights = cover * torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], dim=1)
    return (weights[..., None] * colours).sum(dim=1) + through[:, -1:] * below


def composed(
    arcs: Arcs,
    shape: tuple[int, int],
    ground: Tensor,
    colours: Callable[[Seen, Tensor], Tensor],
    *,
    nearest: int = NEAREST,
    softness: float = SOFTNESS,
    block: int = BLOCK,
) -> Tensor:
    """The planes (1, c, H, W) that `colours` makes, block by block, of what pixels see and of the ground below them, (p, c)."""
    pixels, planes = shape[0] * shape[1], ground.shape[0] if ground.ndim == 1 else ground.shape[1]
    below = ground.expand(pixels, planes) if ground.ndim == 1 else ground[0].flatten(1).T
    tracked = torch.is_grad_enabled() and (arcs.table.requires_grad or ground.requires_grad)
    twice = tracked and pixels * nearest > KEPT
    found, order = [], []
    for seen in visible(arcs, shape, nearest=nearest, softness=softness, block=block):
        order.append(seen.pixel)
        under = below[seen.pixel]
        if not len(arcs.table):
            found.append(under)
        else:
            found.append(checkpoint(colours, seen, under, use_reentrant=False) if twice else colours(seen, under))
    where = torch.cat(order)
    back = torch.empty_like(where)
    back[where] = torch.arange(pixels, device=where.device)
    return torch.cat(found)[back].T.reshape(1, planes, *shape)


@torch.no_grad()
def visible(arcs: Arcs, shape: tuple[int, int], *, nearest: int, softness: float, block: int) -> Iterator[Seen]:
    """What every pixel of (H, W) sees, block by block: the last `nearest` strokes of those that reach it."""
    tile, stroke = _near_tiles(arcs, shape, softness)
    columns = -(-shape[1] // TILE)
    counts = torch.bincount(tile, minlength=columns * -(-shape[0] // TILE))
    first = counts.cumsum(0) - counts
    crowded = counts.argsort(descending=True, stable=True)  # tiles that are alike fill a block best
    inside = torch.arange(TILE * TILE, device=tile.device)
    while len(crowded):
        progress.check()
        most = max(1, int(counts[crowded[0]]))
        some = max(1, block // (TILE * TILE * most))
        tiles, crowded = crowded[:some], crowded[some:]
        column = (tiles % columns * TILE)[:, None] + inside % TILE
        row = (tiles // columns * TILE)[:, None] + inside // TILE
        real = (column < shape[1]) & (row < shape[0])
        pixel = row * shape[1] + column  # (tiles, 64)
        place = torch.arange(most, device=tile.device)
        at = torch.where(place < counts[tiles][:, None], first[tiles][:, None] + place, len(stroke))
        near = torch.cat([stroke, stroke.new_full((1,), -1)])[at]  # (tiles, most)
        own = arcs[near[:, None]] if len(arcs.table) else None
        if own is None:
            yield Seen(pixel[real], pixel.new_full((int(real.sum()), 1), -1))
            continue
        squares, _, _ = own.offsets(*centres(pixel[..., None], shape[1], own), SEARCH)
        reached = (squares - own.radius.square() < 2 * REACH * softness * own.radius) & (near >= 0)[:, None]
        rank = torch.where(reached, place, most)[real]
        rank = rank.topk(min(nearest, most), dim=1, largest=False).values if most > nearest else rank
        ids = near[:, None].expand(-1, TILE * TILE, -1)[real]
        yield Seen(pixel[real], torch.where(rank < most, ids.gather(1, rank.clamp_max(most - 1)), -1))


def _near_tiles(arcs: Arcs, shape: tuple[int, int], softness: float) -> tuple[Tensor, Tensor]:
    """(tile, stroke) of every stroke that may reach a pixel of a tile: sorted by tile, the last laid first."""
    x, y, h, cos, sin, s, r = arcs.table.detach()[:, :7].T
    reach = (r.square() + 2 * REACH * softness * r).sqrt()
    rows, columns = (-(-side // TILE) for side in shape)

    def tiles(middle: Tensor, run: Tensor, bulge: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The first and the last tile along an axis, on which the curve is middle + run u + bulge (1 - u^2)."""
        turn = (run / (2 * bulge)).nan_to_num(0.0, 0.0, 0.0).clamp(-1, 1)
        ends = torch.stack([middle - run, middle + run, middle + run * turn + bulge * (1 - turn.square())])
        low, high = (ends.amin(dim=0) - reach) / TILE, (ends.amax(dim=0) + reach) / TILE
        return low.floor().long().clamp_min(0), high.floor().long().clamp_max(count - 1)

    left, right = tiles(x, h * cos, -s * sin, columns)
    top, bottom = tiles(y, h * sin, s * cos, rows)
    across, down = (right - left + 1).clamp_min(0), (bottom - top + 1).clamp_min(0)
    each = across * down
    stroke = torch.arange(len(x), device=x.device).repeat_interleave(each)
    number = torch.arange(len(stroke), device=x.device) - (each.cumsum(0) - each)[stroke]
    column, row = left[stroke] + number % across[stroke], top[stroke] + number // across[stroke]
    # Of the box around a slanting stroke most tiles are far from it.
    squares, _, _ = arcs[stroke].offsets((column + 0.5) * TILE, (row + 0.5) * TILE, SEARCH)
    near = squares < (reach[stroke] + TILE / 2**0.5).square()
    tile, stroke = (row * columns + column)[near], stroke[near]
    order = (tile * (len(x) + 1) - stroke).argsort()
    return tile[order], stroke[order]


def centres(pixel: Tensor, width: int, like: Arcs) -> tuple[Tensor, Tensor]:
    """x and y of the centres of pixels, px, by their numbers in a picture of `width`; in the precision of `like`."""
    return (pixel % width).to(like.table) + 0.5, (pixel // width).to(like.table) + 0.5


def by_definition(strokes: Strokes, shape: tuple[int, int], ground: Tensor, *, softness: float = SOFTNESS) -> Tensor:
    """`render` with all strokes at all pixels, one after another, and distances from points along the curves."""
    size = max(shape)
    y, x = torch.meshgrid(*(torch.arange(side).to(strokes.place) + 0.5 for side in shape), indexing="ij")
    picture = ground.reshape(-1, 3, 1, 1).expand(1, 3, *shape)
    t = torch.linspace(0, 1, 1601).to(strokes.place)[:, None]
    for controls, width, colour in zip(strokes.controls * size, strokes.width * size, strokes.colour, strict=True):
        curve = (1 - t).square() * controls[0] + 2 * t * (1 - t) * controls[1] + t.square() * controls[2]
        square = ((x[..., None] - curve[:, 0]).square() + (y[..., None] - curve[:, 1]).square()).amin(dim=-1)
        radius = (width / 2).clamp_min(FLATTEST)
        cover = OPACITY * torch.sigmoid((radius.square() - square) / (2 * softness * radius))
        picture = picture + cover * (colour[:, None, None] - picture)
    return picture
