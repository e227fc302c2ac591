"""Building scenes: soft masks, shaded forms, and a stage on which they are laid from back to front."""

from collections.abc import Sequence
from copy import copy

import numpy as np
from scipy import ndimage

from workbench.images.cielab import rgb_from_lab
from workbench.samples.flow import noise
from workbench.samples.paint import lab_from_table
from workbench.samples.scene import REGIONS, Picture

LIGHT = np.array([-0.55, -0.50, 0.67], np.float32)  # towards the light: from the upper left, in front


def rgb(code: str) -> np.ndarray:
    """The sRGB colour (3,) float32 of "#rrggbb"."""
    return np.array([int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)], np.float32)


def vary(rng: np.random.Generator, colour: str | np.ndarray, lightness: float = 4, hue: float = 5) -> np.ndarray:
    """A colour near `colour`: Lab moved by normal deviates of `lightness` in L and `hue` in a and b."""
    base = rgb(colour) if isinstance(colour, str) else colour
    return rgb_from_lab(lab_from_table(base[None]) + rng.normal(0, [lightness, hue, hue], (1, 3)).astype(np.float32))[0]


def ramp(value: np.ndarray, *colours: str | np.ndarray) -> np.ndarray:
    """Colours (..., 3) along a row of colours, for `value` in [0, 1]."""
    tubes = np.stack([rgb(c) if isinstance(c, str) else c for c in colours])
    nodes, fine = np.linspace(0, 1, len(tubes)), np.linspace(0, 1, 256)
    table = np.stack([np.interp(fine, nodes, tubes[:, k]) for k in range(3)], axis=-1).astype(np.float32)
    return table[(np.clip(value, 0, 1) * 255).astype(np.uint8)]


class Stage:
    """A picture in the making. X runs over [0, aspect], Y over [0, 1] downwards; `pixel` is the height of a pixel."""

    def __init__(self, rng: np.random.Generator, aspect: float, size: int, region: str, colour: np.ndarray):
        width, height = (size, round(size / aspect)) if aspect >= 1 else (round(size * aspect), size)
        self.rng, self.aspect, self.pixel, self.shape = rng, width / height, 1 / height, (height, width)
        self.Y, self.X = (np.mgrid[:height, :width].astype(np.float32) + 0.5) / height
        self.image = np.ascontiguousarray(np.broadcast_to(colour, (height, width, 3)), dtype=np.float32)
        self.regions = {region: np.ones(self.shape, np.float32)}

    def window(self, left: float, top: float, right: float, bottom: float) -> "Stage":
        """The part of the stage between these X and Y, to work in at less cost; what is laid there is laid here."""
        rows, columns = self.shape
        x = np.clip(np.array([left, right]) / self.pixel, 0, columns).astype(int)
        y = np.clip(np.array([top, bottom]) / self.pixel, 0, rows).astype(int)
        x[0], y[0] = min(x[0], columns - 4), min(y[0], rows - 4)
        part = slice(y[0], max(y[1], y[0] + 4)), slice(x[0], max(x[1], x[0] + 4))
        for name in REGIONS:
            self.regions.setdefault(name, np.zeros(self.shape, np.float32))
        view = copy(self)
        view.X, view.Y, view.image = self.X[part], self.Y[part], self.image[part]
        view.regions = {name: plane[part] for name, plane in self.regions.items()}
        view.shape = view.X.shape
        return view

    def noise(self, cell: float, octaves: int = 3) -> np.ndarray:
        """Smooth noise with the largest features `cell` high, in units of the picture's height."""
        return noise(self.rng, self.shape, cell / self.pixel, octaves)

    def soft(self, inside: np.ndarray, blur: float = 1.0) -> np.ndarray:
        """A mask in [0, 1] of where `inside` (a distance in units of the height) is positive, `blur` pixels soft."""
        return np.clip(inside / (self.pixel * blur * 1.5) + 0.5, 0, 1)

    def ellipse(self, x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> np.ndarray:
        """1 - r^2 of an ellipse: positive inside, 1 at its centre. `turn` in radians."""
        c, s = np.cos(turn), np.sin(turn)
        dx, dy = self.X - x, self.Y - y
        return 1 - ((c * dx + s * dy) / rx) ** 2 - ((c * dy - s * dx) / ry) ** 2

    def polygon(self, points: Sequence[tuple[float, float]]) -> np.ndarray:
        """Signed distance to the sides of a convex polygon (either winding), positive inside."""
        corners = np.asarray(points, np.float32)
        sides = np.roll(corners, -1, axis=0) - corners
        middle = corners.mean(0)
        inside = np.full(self.shape, np.inf, np.float32)
        for corner, side in zip(corners, sides, strict=True):
            normal = np.array([-side[1], side[0]]) / (np.hypot(*side) + 1e-9)
            normal *= np.sign(normal @ (middle - corner) + 1e-12)
            inside = np.minimum(inside, normal[0] * (self.X - corner[0]) + normal[1] * (self.Y - corner[1]))
        return inside

    def ridge(self, level: float, swing: float, cell: float) -> np.ndarray:
        """A rolling line over the width: Y of the ridge at every column, (W,)."""
        line = noise(self.rng, (4, self.shape[1]), cell / self.pixel, 3)[0]
        return (level + swing * line).astype(np.float32)

    def lay(self, mask: np.ndarray, colour: np.ndarray, region: str | None = None) -> None:
        """Lay a colour ((3,) or (H, W, 3)) through a mask; with `region`, what is there becomes that region."""
        cover = np.clip(mask, 0, 1)
        self.image += cover[..., None] * (colour - self.image)
        if region is not None:
            for plane in self.regions.values():
                plane *= 1 - cover
            self.regions.setdefault(region, np.zeros(self.shape, np.float32))
            self.regions[region] += cover

    def shade(self, mask: np.ndarray, amount: float, tint: str = "#202038") -> None:
        """Darken through a mask towards a shadow colour."""
        self.lay(np.clip(mask, 0, 1) * amount, self.image * (0.25 + 0.75 * rgb(tint)))

    def picture(self) -> Picture:
        """The finished picture; regions that do not occur are left out."""
        seen = {name: plane for name, plane in self.regions.items() if plane.max() > 0.01}
        total = sum(seen.values())
        regions = {name: (plane / total).astype(np.float32) for name, plane in seen.items()}
        return Picture(np.clip(self.image, 0, 1).astype(np.float32), regions)


def lambert(height: np.ndarray, pixel: float, light: np.ndarray = LIGHT) -> np.ndarray:
    """Diffuse light in [0, 1] on a height field, heights in units of the picture's height."""
    gy, gx = np.gradient(height, pixel)
    return np.clip((light[2] - gx * light[0] - gy * light[1]) / np.sqrt(1 + gx * gx + gy * gy), 0, 1)


def ball(stage: Stage, x: float, y: float, radius: float, squash: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A sphere: its mask and the light on it in [0, 1]."""
    inside = stage.ellipse(x, y, radius, radius * squash)
    depth = np.sqrt(np.clip(inside, 1e-4, 1))
    light = (stage.X - x) / radius * LIGHT[0] + (stage.Y - y) / (radius * squash) * LIGHT[1]
    return stage.soft(inside * radius * 0.5), np.clip(light + depth * LIGHT[2], 0, 1)


def clumps(stage: Stage, outline: np.ndarray, cell: float) -> np.ndarray:
    """Light in [0, 1] on a leafy mass: clumps of leaves on the large form given by `outline` (positive inside)."""
    form = ndimage.gaussian_filter(np.clip(outline, 0, None), 2.5)
    form = form / max(float(form.max()), 1e-6)
    bumps = np.abs(stage.noise(cell, 3))
    large = lambert(np.sqrt(form) * cell * 2.2, stage.pixel)
    small = lambert(bumps * cell * 0.22, stage.pixel)
    return np.clip(0.15 + 0.5 * (large - 0.5) + 0.85 * (small - 0.25), 0, 1)
