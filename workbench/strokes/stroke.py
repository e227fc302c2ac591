"""What a stroke is: an arc of a parabola, that is a symmetric quadratic Bezier curve, with a width and a colour."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Strokes:
    """n strokes in the order in which they are laid. Lengths and places are shares of the long side of the picture.

    place: (n, 2), x and y of the middle of the chord, from the top left; chord: (n, 2), from end to end; bend: (n,), how far
    the middle of the curve lies beside the chord, over the chord's length, positive to the right of its direction; width: (n,);
    colour: (n, 3) sRGB in [0, 1].

    The chord turned a quarter, q = (-chord_y, chord_x), points to the side of a positive bend. The curve is

        B(t) = place + (t - 1/2) chord + 4 t (1 - t) bend q,    t in [0, 1],

    the quadratic Bezier curve with the control points `controls`. Kotovenko et al. (2021) have the same curve without the
    symmetry.
    """

    place: Tensor
    chord: Tensor
    bend: Tensor
    width: Tensor
    colour: Tensor

    def __len__(self) -> int:
        return len(self.width)

    def __getitem__(self, which: slice | Tensor) -> "Strokes":
        """Some of them, in the order of `which`."""
        return Strokes(*(getattr(self, f.name)[which] for f in fields(self)))

    def to(self, device: torch.device) -> "Strokes":
        """The same on another device."""
        return Strokes(*(getattr(self, f.name).to(device) for f in fields(self)))

    @property
    def aside(self) -> Tensor:
        """(n, 2): from the middle of the chord to the middle of the curve."""
        return self.bend[:, None] * torch.stack([-self.chord[:, 1], self.chord[:, 0]], dim=1)

    @property
    def controls(self) -> Tensor:
        """(n, 3, 2): the control points of the quadratic Bezier curves."""
        half = self.chord / 2
        return torch.stack([self.place - half, self.place + 2 * self.aside, self.place + half], dim=1)

    @property
    def length(self) -> Tensor:
        """(n,): along the curve. With s = 4 |bend| it is chord / 2 (sqrt(1 + s^2) + asinh(s) / s)."""
        s = (4 * self.bend.abs()).clamp_min(1e-4)
        return self.chord.norm(dim=1) / 2 * ((1 + s * s).sqrt() + s.asinh() / s)

    @property
    def angle(self) -> Tensor:
        """(n,): direction of the chord in degrees, in [0, 180), anticlockwise; 0 is horizontal."""
        return torch.rad2deg(torch.atan2(-self.chord[:, 1], self.chord[:, 0])) % 180


def joined(parts: Sequence[Strokes]) -> Strokes:
    """The strokes of all `parts`, one part over the other."""
    return Strokes(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Strokes)))
