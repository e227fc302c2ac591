"""Brush strokes: planned over a picture, traced along a field of orientation, laid on a canvas with body and bristles.

After A. Hertzmann, "Painterly rendering with curved brush strokes of multiple sizes" (SIGGRAPH 1998): a picture is
painted in layers from coarse to fine; a stroke starts on a jittered grid, takes the colour it finds there, runs along
the field and stops where the picture no longer has that colour. Here the brush is also a row of bristles, each with
its own tone and end, and paint has a height that catches light.

Planning happens in the coordinates of the picture; a canvas may be finer by any `scale`, so the same strokes can be
rendered at any size.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from workbench.samples.flow import noise
from workbench.samples.scene import resize_plane

_PATTERNS = 97  # different loads of the brush; a stroke picks one
_SAMPLE = 0.8  # distance between paint samples in canvas pixels: below 1/sqrt(2) nothing is missed, above it some ground shows
_CHUNK = 400_000  # samples laid at a time, to bound memory


@dataclass(frozen=True)
class Brush:
    """A tool and how it is used. Lengths are relative: `width` to the long side of the picture, the others to `width`."""

    width: float  # across the stroke
    length: float  # longest stroke
    cover: float  # how often the layer would cover the canvas if every stroke ran its full length
    shortest: float = 1.0  # strokes are at least this long, whatever they cross
    tolerance: float = 14.0  # a stroke stops where the picture differs by more than this in Lab
    opacity: float = 0.94
    bristle: float = 5.0  # deviation of lightness from bristle to bristle
    smear: float = 0.35  # share of a second, neighbouring colour on the brush
    dry: float = 0.35  # how much of what lies below shows through towards the end
    body: float = 1.0  # height of the paint
    notice: float = 8.0  # what broader strokes lost, in Lab, that surely calls for a stroke of this brush
    fill: float = 1.0  # share of the painter's fine strokes in flat places that this brush makes
    ragged: float = 0.5  # how unevenly the bristles end, in widths
    taper: float = 1.0  # 1: pointed round ends, 0: cut off square, as by a knife
    jitter: tuple[float, float, float] = (3.0, 3.0, 3.0)  # deviation of L, a, b from stroke to stroke

    @property
    def spacing(self) -> float:
        """Distance between starts of strokes, in widths."""
        return float(np.sqrt(self.length / self.cover))


@dataclass
class Strokes:
    """Paths and colours of n strokes in picture coordinates, in the order in which they are laid.

    paths (n, k, 2) as (x, y), with equal `step` between points; lengths (n,) in pixels along the path; widths (n,) in
    pixels; colours, seconds (n, 3) sRGB in [0, 1].
    """

    paths: np.ndarray
    step: float
    lengths: np.ndarray
    widths: np.ndarray
    colours: np.ndarray
    seconds: np.ndarray


def scatter(rng: np.random.Generator, shape: tuple[int, int], spacing: float, chance: np.ndarray | None) -> np.ndarray:
    """Starting points (n, 2) as (x, y) on a jittered grid in random order, kept with probability `chance` (H, W)."""
    height, width = shape
    rows, columns = max(1, round(height / spacing)), max(1, round(width / spacing))
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    points = (cells + rng.uniform(0.02, 0.98, cells.shape)) * [width / columns, height / rows]
    points = points[rng.permutation(len(points))].astype(np.float32)
    if chance is not None:
        luck = rng.random(len(points))
        points = points[luck < chance[points[:, 1].astype(int), points[:, 0].astype(int)]]
    return points


def trace(
    starts: np.ndarray,
    field: np.ndarray,
    wanted: np.ndarray,
    labels: np.ndarray,
    brush: Brush,
    width: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float, np.ndarray]:
    """Let all strokes run at once; returns paths (n, k, 2), step and lengths (n,).

    starts (n, 2); field (H, W, 2) unit vectors; wanted (H, W, 3) Lab; labels (H, W): a stroke does not leave its
    region; width in pixels.
    """
    height, columns = labels.shape
    step = max(1.2, width * 0.3)
    count = max(3, int(np.ceil(brush.length * width / step)) + 1)
    paths = np.empty((len(starts), count, 2), np.float32)
    here = starts.copy()
    heading = rng.choice([-1.0, 1.0], (len(starts), 1)) * field[here[:, 1].astype(int), here[:, 0].astype(int)]
    first = wanted[here[:, 1].astype(int), here[:, 0].astype(int)]
    home = labels[here[:, 1].astype(int), here[:, 0].astype(int)]
    lengths = np.full(len(starts), brush.length * width, np.float32) * rng.uniform(0.55, 1.0, len(starts))
    alive = np.ones(len(starts), bool)
    for k in range(count):
        paths[:, k] = here
        x = np.clip(here[:, 0], 0, columns - 1).astype(np.int32)
        y = np.clip(here[:, 1], 0, height - 1).astype(np.int32)
        seen = wanted[y, x]
        off = np.einsum("nk,nk->n", seen - first, seen - first) > brush.tolerance**2
        stop = alive & ((off & (k * step >= brush.shortest * width)) | (labels[y, x] != home))
        lengths[stop] = np.minimum(lengths[stop], max(k * step - 0.3 * width, 0.5 * width))
        alive &= ~stop
        turn = field[y, x]
        turn = turn * np.sign(np.einsum("nk,nk->n", turn, heading) + 1e-9)[:, None]
        heading = 0.45 * heading + 0.55 * turn
        heading /= np.hypot(heading[:, :1], heading[:, 1:]) + 1e-9
        here = here + step * heading
    return paths.astype(np.float32), step, lengths.astype(np.float32)


class Canvas:
    """A canvas of `scale` times the picture's pixels, with its colour (three planes of sRGB) and the height of the paint."""

    def __init__(self, size: tuple[int, int], scale: float, ground: np.ndarray, rng: np.random.Generator):
        """size: (width, height) of the picture; ground: (h, w, 3) sRGB, the primed and rubbed-in canvas at any size."""
        self.scale = scale
        self.width, self.height = round(size[0] * scale), round(size[1] * scale)
        shape = (self.height, self.width)
        rubbed = noise(rng, shape, 40 * scale, 2) * 0.025 + noise(rng, shape, 3 * scale, 1) * 0.012
        self.colour = [
            np.clip(resize_plane(ground[..., k], (self.width, self.height)) + rubbed, 0, 1).ravel() for k in range(3)
        ]
        self.relief = np.zeros(self.height * self.width, np.float32)
        self.top = np.zeros(self.height * self.width, np.int32)  # scratch: which sample came last at a pixel
        self.rng = rng

    def lay(self, strokes: Strokes, brush: Brush) -> None:
        """Lay strokes one over another, in order."""
        if not len(strokes.lengths):
            return
        widest = float(strokes.widths.max()) * self.scale
        across = max(3, int(np.ceil(widest / _SAMPLE)))
        pattern = self._load(across)
        samples = np.maximum(2, np.ceil(strokes.lengths * self.scale / _SAMPLE)).astype(np.int64)
        cuts = np.searchsorted(np.cumsum(samples) * across, np.arange(_CHUNK, samples.sum() * across + _CHUNK, _CHUNK))
        begin = 0
        for end in np.unique(np.minimum(cuts + 1, len(samples))):
            if end > begin:
                self._lay_some(strokes, slice(begin, end), samples[begin:end], across, pattern, brush)
            begin = end

    def _load(self, across: int) -> tuple[np.ndarray, np.ndarray]:
        """Tone and share of the second colour of every bristle of every load, both (_PATTERNS, across)."""
        tone = self.rng.standard_normal((_PATTERNS, across)).astype(np.float32)
        grain = max(0.5, 0.45 * self.scale / _SAMPLE)
        tone = ndimage.gaussian_filter1d(tone, grain, axis=1, mode="wrap")
        tone /= tone.std() + 1e-6
        share = ndimage.gaussian_filter1d(self.rng.standard_normal((_PATTERNS, across)), across / 5, axis=1, mode="wrap")
        share = np.clip(0.5 + 0.5 * share / (share.std() + 1e-6), 0, 1).astype(np.float32)
        return tone, share

    def _lay_some(self, strokes, part, samples, across, pattern, brush) -> None:
        """Find which sample of which stroke ends up on top of every pixel, then work out colour and height there only."""
        lengths, widths = strokes.lengths[part] * self.scale, strokes.widths[part] * self.scale
        which = np.repeat(np.arange(len(samples)), samples)
        first = np.repeat(np.cumsum(samples) - samples, samples)
        along = ((np.arange(len(which)) - first) * _SAMPLE).astype(np.float32)
        centre, normal = self._centre_line(strokes.paths[part], strokes.step * self.scale, which, along)

        load = self.rng.integers(0, _PATTERNS, len(samples))
        ends = np.minimum(along, lengths[which] - along)
        half = 0.5 * widths[which]
        if brush.taper > 0:
            inward = np.clip(ends / (half * brush.taper + 1e-6), 0, 1)
            half = half * np.sqrt(np.clip(1 - (1 - inward) ** 2, 0.06, 1))
        offset = np.linspace(-1, 1, across, dtype=np.float32)
        shift = half[:, None] * offset
        x = (centre[:, :1] + normal[:, :1] * shift).astype(np.int32)
        y = (centre[:, 1:] + normal[:, 1:] * shift).astype(np.int32)
        inside = (x.view(np.uint32) < self.width) & (y.view(np.uint32) < self.height)
        if brush.ragged > 0:
            bite = brush.ragged * np.abs(pattern[0])[load] * (0.5 * widths)[:, None]
            inside &= (lengths[which] - along)[:, None] >= bite[which]
        sample = np.flatnonzero(inside).astype(np.int32)
        pixel = (y * self.width + x).ravel()[sample]
        self.top[pixel] = -1
        np.maximum.at(self.top, pixel, sample)  # the later stroke; plain assignment promises no order
        on_top = self.top[pixel] == sample
        sample, pixel = sample[on_top], pixel[on_top]
        row, column = sample // across, sample % across
        stroke = which[row]
        progress = along[row] / np.maximum(lengths[stroke], 1)
        bristle = load[stroke] * across + column
        tone, share = (plane.ravel()[bristle] for plane in pattern)
        ridge = (0.65 + 0.35 * offset**4)[column]  # paint is pushed to the sides
        self._paint(pixel, stroke, strokes.colours[part], strokes.seconds[part], progress, tone, share, ridge, brush)

    def _centre_line(self, paths, step, which, along):
        smooth = paths.copy()
        for _ in range(2):
            smooth[:, 1:-1] = 0.25 * smooth[:, :-2] + 0.5 * smooth[:, 1:-1] + 0.25 * smooth[:, 2:]
        smooth *= self.scale
        place = np.clip(along / step, 0, paths.shape[1] - 1.001)
        knot = place.astype(np.int32)
        part = (place - knot)[:, None].astype(np.float32)
        centre = smooth[which, knot] * (1 - part) + smooth[which, knot + 1] * part
        tangent = np.gradient(smooth, axis=1)
        tangent = tangent[which, knot] * (1 - part) + tangent[which, knot + 1] * part
        tangent /= np.hypot(tangent[:, :1], tangent[:, 1:]) + 1e-6
        return centre, np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)

    def _paint(self, pixel, stroke, colours, seconds, progress, tone, share, ridge, brush) -> None:
        share *= brush.smear
        # Thin bristles are darker or lighter than the paint they carry by a few per cent of lightness.
        gain, lift = 1 + (brush.bristle / 120) * tone, (brush.bristle / 600) * tone
        cover = np.clip(brush.opacity - brush.dry * progress * progress * np.clip(0.5 - tone, 0, 2), 0, 1)
        for k in range(3):
            colour = (colours[:, k][stroke] + share * (seconds[:, k] - colours[:, k])[stroke]) * gain + lift
            below = self.colour[k][pixel]
            self.colour[k][pixel] = below + cover * (colour - below)
        self.relief[pixel] = 0.45 * self.relief[pixel] + cover * brush.body * (ridge + 0.22 * tone)

    def finish(self, size: tuple[int, int], depth: float, weave: float) -> Image.Image:
        """The painting at `size` = (width, height), lit from the top left.

        depth scales the relief of the paint, weave the contrast of the cloth below it.
        """
        shape = (self.height, self.width)
        relief = ndimage.gaussian_filter(self.relief.reshape(shape), 0.55 * self.scale / 2)
        gy, gx = np.gradient(relief)
        light = np.clip(depth * (gx + gy), -0.22, 0.30)
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32) * (2 * np.pi / (1.9 * self.scale))
        thin = np.exp(-relief)
        light += weave * (0.4 + thin) * (np.sin(x) * (0.5 + 0.5 * np.sin(y)) + np.sin(y) * (0.5 - 0.5 * np.sin(x)))
        colour = np.stack([plane.reshape(shape) * (1 + light) for plane in self.colour], axis=-1)
        image = Image.fromarray((np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8))
        return image.resize(size, Image.Resampling.BOX if self.scale == 2 else Image.Resampling.LANCZOS)
