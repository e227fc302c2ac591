"""An artist's own strokes, estimated on his works: how broad, long, bent and dense they are, and how much directions spread.

Two places of a painting under one stroke have one colour; the colours of two strokes are independent of each other. In the
dead leaves model (G. Matheron 1968; Lee, Mumford & Huang 2001, "Occlusion models for natural images") strokes of width w and
length l cover one another at random. Places at distance r across them lie under one visible stroke with probability
K / (2 - K), where K = (1 - r / w)+ is the share that a stroke has in common with itself moved by r. So the mean absolute
difference of lightness grows as 2 x / (1 + x), x = r / w, up to its plateau, and reaches half of it at r = w / 3; along the
strokes at l / 3. Directions are those of the structure tensor.

Measured (benchmarks/strokes_truth.py) on scenes by the three synthetic painters at 400 px, against what is seen of their
strokes: widths are 1.2, 1.07 and, of the broadest, 0.66 of the true ones, lengths 1.1 to 1.3. Strokes wider than about COARSE
come out too narrow, because they cannot be told from the subject: a wider blur where widths are large mends half of that, but
then takes in more of the subject, and makes the widths of another painter 1.4 times the true ones. Bends are too large, many
times for straight strokes, and so are spreads for dabs, because directions are never known exactly. What a reproduction does
not resolve cannot be estimated.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from scipy import ndimage
from torch import Tensor

from workbench import images, progress
from workbench.corpora import Work
from workbench.images import colour
from workbench.targets import StyleTarget

LARGEST = 1024
"""px. Long side at which a work is measured, at most; no work is enlarged."""
WORKS = 8
"""Works of a target that are measured, the heaviest."""
DERIVATIVE, NEIGHBOURHOOD = 0.8, 3.0
"""px. Deviations of the derivatives of the structure tensor, and of the mean that it is."""
COARSE = 0.02
"""Deviation, as a share of the long side, of the blur that is subtracted: what varies more slowly is the subject."""
PLACES = 20_000
"""Places of a work that are compared."""
COHERENT = 0.3
"""Least coherence of such a place."""
REACH_ACROSS, REACH_ALONG = 0.06, 0.12
"""Largest distances at which places are compared, as shares of the long side."""
DISTANCES = 24
"""How many distances, evenly in their logarithms, from one pixel."""


@dataclass(frozen=True)
class Hand:
    """Strokes in shares of the long side of a picture.

    width, length: of a stroke; bend: of a stroke of that length, as in `stroke.Strokes`, without its sign; spread: deviation of
    direction, degrees, among neighbouring places; density: strokes that are seen on a square of the long side, 1 / (w l).
    """

    width: float = 0.016
    length: float = 0.08
    bend: float = 0.05
    spread: float = 15.0

    @property
    def density(self) -> float:
        return 1 / (self.width * self.length)


def of_target(target: StyleTarget, *, show: bool = False) -> Hand:
    """The hand of the heaviest works of `target`: the mean of logarithms, by their weights."""
    chosen = list(zip(target.works, target.weights, strict=True))[:WORKS]
    tracked = progress.track(chosen, total=len(chosen), label="strokes of the works", show=show)
    return mean((of_work(work), weight) for work, weight in tracked)


@lru_cache(maxsize=4096)
def of_work(work: Work) -> Hand:
    """The hand of one work, at the resolution of its file."""
    return of_picture(work.load(min(LARGEST, max(work.width, work.height, images.SMALLEST))))


def mean(hands: Iterable[tuple[Hand, float]]) -> Hand:
    """The weighted geometric mean of (hand, weight)."""
    found = list(hands)
    weights = np.array([weight for _, weight in found])
    values = np.array([[max(getattr(hand, f.name), 1e-4) for f in fields(Hand)] for hand, _ in found])
    return Hand(*np.exp(weights @ np.log(values) / weights.sum()).tolist())


def of_picture(picture: Tensor, *, seed: int = 0) -> Hand:
    """The hand of a painting (1, 3, H, W) in [0, 1]; the default where nothing is seen of strokes, as in a flat picture."""
    light = colour.lab(picture.cpu().double().float())[0, 0].numpy().astype(np.float64) / 100
    size = max(light.shape)
    theta, coherence, energy = _directions(light)
    enough = (coherence > COHERENT) & (energy > 0.1 * np.median(energy)) & (energy > 1e-8)
    rows, columns = np.nonzero(enough)
    if len(rows) < 200 or min(light.shape) < 24:
        return Hand()
    chosen = np.random.default_rng(seed).choice(len(rows), min(PLACES, len(rows)), replace=False)
    rows, columns = rows[chosen], columns[chosen]
    angle = theta[rows, columns]
    along = np.stack([np.sin(angle), np.cos(angle)])  # rows, columns
    across = np.stack([np.cos(angle), -np.sin(angle)])
    paint = light - ndimage.gaussian_filter(light, COARSE * size)
    places = np.stack([rows, columns]).astype(np.float64)
    width = 3 * _half_way(paint, places, across, REACH_ACROSS * size)
    length = max(3 * _half_way(paint, places, along, REACH_ALONG * size), width)
    turning = np.median(_curvature(theta, coherence)[rows, columns])
    bend = min(float(turning) * length / 8, 0.5)
    return Hand(width / size, length / size, bend, spread(theta, coherence, 2 * width))


def _directions(light: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(direction along edges, radians from the horizontal, rows downwards; coherence in [0, 1]; energy) at every pixel."""
    down, right = (ndimage.gaussian_filter(light, DERIVATIVE, order=order) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (ndimage.gaussian_filter(p, NEIGHBOURHOOD) for p in (right * right, down * down, right * down))
    energy = xx + yy
    theta = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2  # across the gradient
    return theta, np.hypot(xx - yy, 2 * xy) / np.maximum(energy, 1e-12), energy


def _half_way(paint: np.ndarray, places: np.ndarray, direction: np.ndarray, reach: float) -> float:
    """The distance, px, at which the mean absolute difference between places reaches half of its plateau."""
    distances = np.geomspace(1, max(reach, 2), DISTANCES)
    found = []
    for distance in distances:
        one, other = (
            ndimage.map_coordinates(paint, places + sign * direction * distance / 2, order=1, mode="mirror") for sign in (-1, 1)
        )
        found.append(np.abs(one - other).mean())
    plateau = np.mean(sorted(found)[-DISTANCES // 4 :])
    above = int(np.argmax(np.array(found) >= plateau / 2))
    if above == 0:
        return float(distances[0] * min(1.0, plateau / 2 / max(found[0], 1e-12)))
    low, high = found[above - 1], found[above]
    part = (plateau / 2 - low) / max(high - low, 1e-12)
    return float(distances[above - 1] + part * (distances[above] - distances[above - 1]))


def _curvature(theta: np.ndarray, coherence: np.ndarray) -> np.ndarray:
    """Radians per px that the direction turns along itself, in absolute value."""
    x, y = (ndimage.gaussian_filter(coherence * f(2 * theta), NEIGHBOURHOOD) for f in (np.cos, np.sin))
    norm = np.maximum(x * x + y * y, 1e-12)
    gradients = [(x * np.gradient(y, axis=k) - y * np.gradient(x, axis=k)) / (2 * norm) for k in (0, 1)]
    return np.abs(np.sin(theta) * gradients[0] + np.cos(theta) * gradients[1])


def spread(theta: np.ndarray, coherence: np.ndarray, deviation: float) -> float:
    """Circular deviation of the direction `theta`, radians, within a Gaussian of this deviation, px; the mean, in degrees.

    `coherence`: in [0, 1], by which every place counts. Both (H, W).
    """
    x, y, weight = (
        ndimage.gaussian_filter(coherence * f, deviation) for f in (np.cos(2 * theta), np.sin(2 * theta), np.ones_like(theta))
    )
    aligned = np.clip(np.hypot(x, y) / np.maximum(weight, 1e-12), 1e-6, 1)
    return float(np.degrees(np.average(np.sqrt(-2 * np.log(aligned)) / 2, weights=weight)))
