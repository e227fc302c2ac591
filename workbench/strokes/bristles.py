"""How strokes are shown: the traces of bristles, and the relief of the paint, lit from the top left; at any size.

Both follow the stroke: a bristle is one place across it, with a tone of its own, that runs along the whole of it.
"""

import torch
from torch import Tensor

from workbench.strokes.renderer import Arcs, Seen, centres, composed, coverage, mixed
from workbench.strokes.stroke import Strokes

BRISTLE = 1 / 450
"""Width of a bristle, as a share of the long side, but never below one pixel."""
TONE = 0.05
"""Deviation of lightness from bristle to bristle."""
DRY = 0.5
"""How much of what lies below shows between the bristles where a stroke ends."""
RELIEF = 0.09
"""How strongly slopes of the paint are lit."""
SHADE, LIGHT = -0.16, 0.2
"""Least and most that relief changes the light."""
SOFTNESS = 0.4
"""px, of the edges: finer than where gradients are wanted."""
LOADS = 4096
"""Bristles of the brush that strokes take theirs from."""


@torch.no_grad()
def painted(strokes: Strokes, shape: tuple[int, int], ground: Tensor, *, bristles: float = 1.0, seed: int = 0) -> Tensor:
    """The picture (1, 3, H, W) in [0, 1] of `strokes` on the colour `ground` (3,).

    `bristles`: how much they show; 0 leaves flat strokes.
    """
    return lit(laid(strokes, shape, canvas(shape, ground), bristles=bristles, seed=seed), bristles)


def canvas(shape: tuple[int, int], ground: Tensor) -> Tensor:
    """Planes (1, 4, H, W) without a stroke: colour and the height of the paint."""
    return torch.cat([ground, ground.new_zeros(1)]).view(1, 4, 1, 1).expand(1, 4, *shape)


@torch.no_grad()
def laid(
    strokes: Strokes, shape: tuple[int, int], below: Tensor, *, bristles: float = 1.0, seed: int = 0, first: int = 0
) -> Tensor:
    """The planes (1, 4, H, W), colour and height, of `strokes` over the planes `below`. `first`: the number of the first."""
    size = max(shape)
    arcs = Arcs.of(strokes, size)
    width = max(1.0, BRISTLE * size)
    generator = torch.Generator().manual_seed(seed)
    load = torch.randn(LOADS, generator=generator)
    load = ((load + load.roll(1)) / 2**0.5).to(arcs.table)  # neighbouring bristles are alike
    begin = (torch.arange(first, first + len(strokes), device=arcs.table.device) * 1103) % LOADS

    def paint(seen: Seen, under: Tensor) -> Tensor:
        own = arcs[seen.stroke]
        squares, along, side = own.offsets(*centres(seen.pixel[:, None], shape[1], own))
        across = (side * squares.sqrt() / own.radius).clamp(-1, 1)
        place = begin[seen.stroke.clamp_min(0)] + LOADS / 2 + across * own.radius / width
        left = place.floor()
        tone = torch.lerp(load[left.long() % LOADS], load[(left.long() + 1) % LOADS], place - left)
        # The paint gets less towards the end, and first between the bristles.
        spent = ((along - 0.2) / 0.8).clamp_min(0).square() * (0.4 - tone).clamp(0, 2)
        cover = coverage(squares, own.radius, SOFTNESS, seen) * (1 - bristles * DRY * spent).clamp(0, 1)
        colour = own.colour.clamp(0, 1) * (1 + bristles * TONE * tone)[..., None]
        height = 0.65 + 0.35 * across**4 + 0.22 * tone  # paint is pushed to the sides
        return mixed(cover, torch.cat([colour, height[..., None]], dim=-1), under)

    return composed(arcs, shape, below, paint, softness=SOFTNESS)


def lit(planes: Tensor, bristles: float = 1.0) -> Tensor:
    """The picture (1, 3, H, W) in [0, 1] of planes of colour and height."""
    colour, height = planes[:, :3], planes[:, 3]
    down, right = torch.gradient(height, dim=(1, 2)) if min(height.shape[1:]) > 1 else (height * 0, height * 0)
    # Slopes are those of a picture of 512 px: larger ones show the same paint, not a flatter one.
    steep = bristles * RELIEF * max(planes.shape[-2:]) / 512
    light = (steep * (down + right)).clamp(SHADE, LIGHT)
    return (colour * (1 + light[:, None])).clamp(0, 1)
