"""Colour as a painter handles it: tubes of paint, and the mixing of a seen colour from the tubes at hand."""

from collections.abc import Sequence

import numpy as np

from workbench.images.cielab import lab_from_linear, linear_from_rgb

LEVELS = 4096
"""Levels of sRGB for which linear light is tabulated: reading a table is several times faster than the power."""
_TO_LINEAR = linear_from_rgb(np.linspace(0, 1, LEVELS, dtype=np.float32))


def lab_from_table(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB, clipped to [0, 1] and rounded to `LEVELS`; (..., 3) float32."""
    return lab_from_linear(_TO_LINEAR[(np.clip(rgb, 0, 1) * (LEVELS - 1) + 0.5).astype(np.int32)])


def lab(*hexes: str) -> np.ndarray:
    """The Lab colours of "#rrggbb" strings, (n, 3) float32."""
    rgb = [[int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)] for code in hexes]
    return lab_from_table(np.array(rgb, dtype=np.float32))


class Palette:
    """Ramps of paint, each from its dark to its light, among which a seen colour is interpolated.

    A ramp is a row of tubes of one hue ("#rrggbb", dark to light). A seen colour of lightness L is compared with every
    ramp at the lightness `low` + (`high` - `low`) (L / 100)^gamma; the answer is the mean of the ramps there, weighted
    by exp(-d^2 / 2 `width`^2) of the distance d of their a, b from the seen a, b (times `chroma`). `keep` is the
    share of the seen a, b that goes straight into the answer.
    """

    def __init__(
        self,
        *ramps: Sequence[str],
        low: float = 8,
        high: float = 92,
        gamma: float = 1.0,
        chroma: float = 1.0,
        width: float = 16,
        keep: float = 0.2,
    ):
        self.low, self.high, self.gamma = low, high, gamma
        self.chroma, self.width, self.keep = chroma, width, keep
        levels = np.linspace(0, 100, 51)
        self.table = np.stack([_ramp_table(lab(*ramp), levels) for ramp in ramps])  # (ramps, 51, 2): a, b at L

    def mix(self, seen: np.ndarray) -> np.ndarray:
        """The painter's answer in Lab to colours seen in Lab; (n, 3) -> (n, 3) float32."""
        light = self.low + (self.high - self.low) * (np.clip(seen[:, 0], 0, 100) / 100) ** self.gamma
        level = np.clip(light / 2, 0, 50)
        wanted = seen[:, 1:] * self.chroma
        here = self.table[:, (level + 0.5).astype(np.int32)]  # (ramps, n, 2)
        distance = (here[..., 0] - wanted[:, 0]) ** 2 + (here[..., 1] - wanted[:, 1]) ** 2
        weight = np.exp((distance.min(0) - distance) / (2 * self.width**2))
        mixed = np.einsum("rn,rnk->nk", weight, here) / weight.sum(0)[:, None]
        ab = (1 - self.keep) * mixed + self.keep * wanted
        return np.concatenate([light[:, None], ab], axis=1).astype(np.float32)


def _ramp_table(tubes: np.ndarray, levels: np.ndarray) -> np.ndarray:
    order = np.argsort(tubes[:, 0])
    tubes = tubes[order]
    # Beyond its ends a ramp goes to black or white, so chroma fades there.
    nodes = np.concatenate([[-1], tubes[:, 0], [101]])
    ab = np.concatenate([tubes[:1, 1:] * 0.3, tubes[:, 1:], tubes[-1:, 1:] * 0.3])
    return np.stack([np.interp(levels, nodes, ab[:, k]) for k in range(2)], axis=-1).astype(np.float32)
