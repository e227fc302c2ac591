"""Strokes: which way the edges of a picture run, how orderly, and how fine they are, by its lightness alone."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from torch import Tensor

from workbench import images
from workbench.errors import require
from workbench.images import colour

SCALES = (1.0, 2.0, 4.0)
"""px. Standard deviations of the derivatives of a structure tensor, which is averaged over twice as much."""
WAVELENGTHS = (4.0, 8.0, 16.0, 32.0)
"""px. Centres of the octave bands."""
DIRECTIONS = 12
"""Bins of a histogram of direction, of 15 degrees each."""
COHERENCES = 5
"""Bins of a histogram of coherence, from 0 to 1."""
CELLS = 6
"""Cells along the long side of a picture."""
DARK = 1e-10
"""Mean square of a difference of lightness, in [0, 1], below which a place counts as flat."""


@dataclass(frozen=True)
class Strokes:
    """Histograms of c cells of a picture; each sums to one, or to zero where the cell is flat.

    direction: (c, scales, 12), along which edges and strokes run, bins about 0, 15, ... 165 degrees, 0 being horizontal and 90
    vertical, anticlockwise; coherence: (c, scales, 5), from 0 (no direction) to 1 (parallel); bands: (c, 4), the shares of
    energy about the wavelengths 4, 8, 16 and 32 px; contrast: (c,), the root of each cell's energy in units of the mean cell's.
    """

    direction: np.ndarray = field(repr=False)
    coherence: np.ndarray = field(repr=False)
    bands: np.ndarray = field(repr=False)
    contrast: np.ndarray = field(repr=False)


def strokes(picture: Tensor, *, cells: int = CELLS) -> Strokes:
    """The strokes of `picture` (1, 3, H, W) in [0, 1], in a grid of `cells` along the long side; 1 is the whole picture.

    With the structure tensor J = g_{2s} * (grad L)(grad L)^T of lightness L (CIE L* / 100, smoothed by s), energy E = tr J,
    coherence k = |l_1 - l_2| / (l_1 + l_2) of its eigenvalues, and theta the direction across its main gradient, each place
    adds √E k to the bin of theta and √E (1 - k) evenly to all bins, so that what has no direction has a flat histogram. Bands
    are differences of Gaussians, an octave apart, each scaled to pass its own wavelength unchanged.
    The amount of contrast does not count, only how it is made up. UsageError for fewer than one cell.
    """
    require(cells >= 1, f"{cells} cells: choose at least 1")
    light = colour.lab(picture.cpu().double().float())[0, 0].numpy().astype(np.float64) / 100
    where = _labels(*light.shape, cells)
    count = int(where.max()) + 1
    directions, coherences = zip(*(_oriented(light, scale, where, count) for scale in SCALES), strict=True)
    bands = np.stack([_sums(_band(light, length) ** 2, where, count) for length in WAVELENGTHS], axis=1)
    contrast = np.sqrt(bands.sum(axis=1))
    return Strokes(
        np.stack(directions, axis=1),
        np.stack(coherences, axis=1),
        _shares(bands, DARK * len(light.flat) / count),
        contrast / max(float(contrast.mean()), 1e-15),
    )


def strokes_distance(picture: Tensor, reference: Tensor, *, cells: int = CELLS) -> float:
    """How differently two pictures are made of strokes, in [0, 1]; 0 for the same. Both (1, 3, H, W) in [0, 1].

    The mean of the total-variation distances between their histograms of direction, coherence (each the mean over scales) and
    bands, averaged over cells in proportion to the contrast that the two have there. A cell flat in one of them alone is at
    distance 1. `reference` is scaled to the size of `picture`, for strokes are measured in px. Symmetric at equal sizes.
    """
    reference = images.resize(reference.cpu(), tuple(picture.shape[-2:]))
    a, b = strokes(picture, cells=cells), strokes(reference, cells=cells)
    apart = [
        variation(a.direction, b.direction).mean(axis=1),
        variation(a.coherence, b.coherence).mean(axis=1),
        variation(a.bands, b.bands),
    ]
    weight = a.contrast + b.contrast
    return float((np.mean(apart, axis=0) * weight).sum() / weight.sum()) if weight.sum() > 0 else 0.0


def variation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Total-variation distance, in [0, 1], of histograms along the last axis; what one lacks of the sum one counts as a bin."""
    return 0.5 * (np.abs(a - b).sum(axis=-1) + np.abs(a.sum(axis=-1) - b.sum(axis=-1)))


def _oriented(light: np.ndarray, scale: float, where: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Histograms (cells, 12) of direction and (cells, 5) of coherence at one scale."""
    down, right = (ndimage.gaussian_filter(light, scale, order=order, mode="reflect") for order in ((1, 0), (0, 1)))
    xx, yy, xy = (ndimage.gaussian_filter(product, 2 * scale) for product in (right * right, down * down, right * down))
    energy = xx + yy
    apart = np.hypot(xx - yy, 2 * xy)
    coherence = np.divide(apart, energy, out=np.zeros_like(energy), where=energy > DARK).clip(0, 1)
    weight = np.sqrt(energy)  # not energy itself, of which contours would have nearly all, and strokes nothing
    across = 0.5 * np.arctan2(-2 * xy, xx - yy)  # of the gradient; minus, because rows count downwards
    bins = ((across / np.pi + 0.5) % 1) * DIRECTIONS
    direction = _binned(bins, weight * coherence, where, count, DIRECTIONS, round_trip=True)
    direction += _sums(weight * (1 - coherence), where, count)[:, None] / DIRECTIONS
    order = _binned(coherence * (COHERENCES - 1), weight, where, count, COHERENCES, round_trip=False)
    least = np.sqrt(DARK) * light.size / count
    return _shares(direction, least), _shares(order, least)


def _binned(place: np.ndarray, weight: np.ndarray, where: np.ndarray, count: int, bins: int, *, round_trip: bool) -> np.ndarray:
    """Histograms (cells, bins) of `weight`, shared between the two bins that `place` lies between."""
    low = np.floor(place).astype(int)
    part = place - low
    high = (low + 1) % bins if round_trip else np.minimum(low + 1, bins - 1)
    low = low % bins if round_trip else low
    return sum(
        np.bincount((where * bins + at).ravel(), (weight * share).ravel(), count * bins).reshape(count, bins)
        for at, share in ((low, 1 - part), (high, part))
    )


def _band(light: np.ndarray, wavelength: float) -> np.ndarray:
    """A difference of Gaussians of sigma and 2 sigma, which passes `wavelength` best and unchanged."""
    sigma = wavelength * np.sqrt(np.log(4) / 6) / np.pi
    passed = 4 ** (-1 / 3) - 4 ** (-4 / 3)
    return (ndimage.gaussian_filter(light, sigma) - ndimage.gaussian_filter(light, 2 * sigma)) / passed


def _labels(height: int, width: int, cells: int) -> np.ndarray:
    """The number of the cell that every pixel lies in, (h, w)."""
    rows, columns = images.fit(height, width, cells)
    return (np.arange(height) * rows // height)[:, None] * columns + (np.arange(width) * columns // width)


def _sums(values: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(where.ravel(), values.ravel(), count)


def _shares(histograms: np.ndarray, least: float) -> np.ndarray:
    """Histograms (cells, bins) that sum to one, or to zero where they hold less than `least`."""
    total = histograms.sum(axis=1, keepdims=True)
    return np.divide(histograms, total, out=np.zeros_like(histograms), where=total > least)
