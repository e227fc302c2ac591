"""The coordinates in which strokes are optimised: how far each of their numbers has moved, in steps that suit it."""

from dataclasses import fields

import torch
from torch import Tensor

from workbench.strokes.renderer import render
from workbench.strokes.stroke import Strokes

STEPS = {"place": 0.06, "chord": 0.06, "bend": 0.01, "width": 0.02, "colour": 0.012}
"""What a coordinate of one stands for. Place and chord: in widths of the stroke; width: of its logarithm."""
WIDEST = 2.0
"""A stroke grows to this many times its first width at most, and shrinks to no less than its inverse."""
MOST_BENT = 0.5
"""Bends are at most this."""


class StrokeCoordinates:
    """z -> the picture of the strokes at z; at z = 0 they are those that were planned. See `transfer.parametrisation`."""

    waits_for_host = True

    def __init__(self, planned: Strokes, shape: tuple[int, int], ground: Tensor):
        """`planned` on the colour `ground` (3,), seen at (H, W)."""
        self.planned = planned
        self.shape = shape
        self.ground = ground
        self.sizes = [getattr(planned, f.name)[0].numel() for f in fields(Strokes)]

    @property
    def start(self) -> Tensor:
        """z of the planned strokes, (9 n,)."""
        return torch.zeros(len(self.planned) * sum(self.sizes), device=self.ground.device)

    def strokes(self, point: Tensor) -> Strokes:
        """The strokes at z (9 n,). A colour that leaves [0, 1] stays at its edge, and its gradient is that without the edge."""
        was, n = self.planned, len(self.planned)
        place, chord, bend, width, colour = point.view(n, -1).split(self.sizes, dim=1)
        own = was.width[:, None]
        grown = was.width.log() + STEPS["width"] * width[:, 0]
        colour = was.colour + STEPS["colour"] * colour
        widest = torch.tensor(WIDEST).log().to(point)
        return Strokes(
            was.place + STEPS["place"] * own * place,
            was.chord + STEPS["chord"] * own * chord,
            (was.bend + STEPS["bend"] * bend[:, 0]).clamp(-MOST_BENT, MOST_BENT),
            torch.minimum(torch.maximum(grown, was.width.log() - widest), was.width.log() + widest).exp(),
            colour + (colour.clamp(0, 1) - colour).detach(),
        )

    def picture(self, point: Tensor) -> Tensor:
        """(1, 3, H, W) for z."""
        return render(self.strokes(point), self.shape, self.ground)
