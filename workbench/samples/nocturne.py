"""Nocturne: nights in long curved strokes."""

import numpy as np

from workbench.images.cielab import rgb_from_lab
from workbench.samples import flow
from workbench.samples.brush import Brush, Strokes
from workbench.samples.paint import Palette, lab
from workbench.samples.painter import Painter, Study, spots

_BLUES = ("#0a0f2c", "#182a66", "#2c55a8", "#5f93c8", "#b5cfd2")
_OCHRES = ("#2a160f", "#6e3a1e", "#b3702f", "#dda85a", "#f3dfa6")
_REDS = ("#240c12", "#6b1f22", "#b0402c", "#d9805a", "#f0c3a0")
_DARK_GREENS = ("#08140f", "#12332e", "#2c6247", "#7d9c55", "#d2d083")
_GREYS = ("#0a0d20", "#1e2748", "#44527a", "#8090a6", "#d5d8c4")
#: The rings of a star: radius as a share of the star's, colour, strokes.
RINGS = ((1.25, "#a9c08a", 9), (0.88, "#e3c64a", 9), (0.6, "#f6d84a", 8), (0.3, "#f9e06a", 6), (0.08, "#fdf3b0", 3))
#: What a sky is painted with, at its own lightness.
SKY_RAMP = Palette(("#0b1030", "#16235c", "#24449a", "#3f74c0", "#7fb0cf", "#cfe0cf"), low=0, high=100, keep=0.0)


def ring(x: float, y: float, radius: float, count: int, arc: float, rng: np.random.Generator) -> np.ndarray:
    """`count` paths (count, 9, 2) along a circle, each over `arc` radians."""
    start = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(-0.2, 0.2, count)
    angle = start[:, None] + np.linspace(0, arc, 9)
    wobble = radius * (1 + rng.normal(0, 0.06, (count, 1)))
    return np.stack([x + wobble * np.cos(angle), y + wobble * np.sin(angle)], axis=-1).astype(np.float32)


def even(paths: np.ndarray, lengths: np.ndarray, widths: np.ndarray, colours: np.ndarray) -> Strokes:
    """Strokes along given paths (n, k, 2), resampled to one step for all; colours (n, 3) Lab."""
    pieces = np.hypot(*np.diff(paths, axis=1).transpose(2, 0, 1))
    step = float(max(pieces.max(), 0.3))
    count = int(np.ceil(pieces.sum(1).max() / step)) + 2
    along = np.concatenate([np.zeros((len(paths), 1)), np.cumsum(pieces, axis=1)], axis=1)
    places = np.arange(count) * step
    line = [[np.interp(places, run, path[:, k]) for k in range(2)] for run, path in zip(along, paths, strict=True)]
    seconds = rgb_from_lab((colours + np.array([5, -3, 12])).astype(np.float32))
    return Strokes(np.array(line, np.float32).transpose(0, 2, 1), step, lengths.astype(np.float32),
                   widths.astype(np.float32), rgb_from_lab(colours), seconds)  # fmt: skip


class Nocturne(Painter):
    """A painter of nights: long curved strokes, ultramarine and cobalt, yellow lights.

    Skies swirl and carry stars; water lies in horizontal strokes with cold gleams; foliage flames upwards; people
    are painted in warm ochres along the forms of the face against a deep ground, without a swirl or a star.
    """

    def look(self, seen: np.ndarray, region: str) -> np.ndarray:
        if region not in ("sky", "water", "land"):
            return seen
        # By night only what differs from the rest of the sky or the fields counts, not how bright the day was.
        level = seen.copy()
        gain = 1.3 if region == "land" else 1.1
        level[:, 0] = np.clip(50 + gain * (seen[:, 0] - np.median(seen[:, 0])), 5, 95)
        return level

    def lean(self, region: str, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if region in ("skin", "hair", "cloth", "flower", "object"):
            return 0.4 * flow.along_outline(mask, 22) + 0.2 * flow.constant(mask.shape, 75)
        if region == "background":
            return 0.7 * flow.along_outline(mask, 30) + 0.3 * flow.constant(mask.shape, 60)
        if region == "foliage":
            sway = 82 + 16 * flow.noise(rng, mask.shape, 60, 1)
            angle = -2 * np.deg2rad(sway)
            return 1.3 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        if region == "building":
            return 0.3 * flow.constant(mask.shape, 88)
        roll = flow.noise(rng, mask.shape, 90, 2) * 14 if region == "land" else 0
        return 0.9 * flow.along_levels(np.arange(mask.shape[0], dtype=np.float32)[:, None] + 0.6 * roll + np.zeros(mask.shape))

    def compose(self, study: Study, rng: np.random.Generator) -> None:
        """Swirls, bands and stars into the sky, and nowhere else; lamps behind some windows."""
        self.lamps(study, rng)
        sky = study.picture.region("sky")
        extent = np.sqrt(sky.sum())
        if extent < 40:
            return
        height, width = sky.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        stream = y + 0.12 * extent * flow.noise(rng, sky.shape, 0.55 * extent, 2)
        arms = np.zeros_like(stream)
        swirls = spots(sky, 3, 0.42 * extent, rng)
        for k, (cx, cy) in enumerate(swirls):
            reach = extent * rng.uniform(0.14, 0.19) * (1.25 if k == 0 else 0.9)
            hump = np.exp(-(((x - cx) / 1.25) ** 2 + (y - cy) ** 2) / reach**2)
            stream += (1 - 2 * (k % 2)) * 3.2 * reach * hump
            arms += 2 * np.arctan2(y - cy, (x - cx) / 1.25) * np.clip(2.5 * hump, 0, 1)  # turns rings into a spiral
        stars = spots(sky, int(rng.integers(7, 13)), 0.16 * extent, rng)
        for k, (cx, cy) in enumerate(stars):
            radius = extent * (0.062 if k == 0 else 0.017 + 0.022 * rng.random() ** 2)
            stream += 5.0 * radius * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (1.6 * radius) ** 2)
            study.lights.append((float(cx), float(cy), float(radius)))
        bands = np.sin(stream * (2 * np.pi / (0.115 * extent)) + arms + 0.9 * flow.noise(rng, sky.shape, 40, 2))
        drift = flow.noise(rng, sky.shape, 0.4 * extent, 2)
        light = study.wanted[..., 0] + (7 + 3 * drift) * bands + 5 * drift + 9 * np.clip(y / height - 0.15, 0, 1)
        light = np.clip(light, 12, 68)
        night = np.concatenate([light[..., None], SKY_RAMP.mix(np.dstack([light, 0 * light, 0 * light]).reshape(-1, 3))
                                .reshape(height, width, 3)[..., 1:]], axis=-1)  # fmt: skip
        for cx, cy, radius in study.lights:
            glow = np.exp(-((np.hypot(x - cx, y - cy) / (1.3 * radius + 0.018 * extent)) ** 2))[..., None]
            night += glow * (lab("#b9c98c")[0] - night) * 0.75
        study.wanted += sky[..., None] * (night - study.wanted)
        study.lean += sky[..., None] * (2.6 * flow.along_levels(flow.blur(stream, 1.0)) - study.lean)
        study.busy = np.maximum(study.busy, 0.55 * sky)

    def lamps(self, study: Study, rng: np.random.Generator) -> None:
        """Orange lamplight in some of the dark openings of buildings."""
        walls = study.picture.region("building")
        if walls.max() < 0.5:
            return
        level = study.wanted[..., 0]
        opening = np.clip((flow.blur(level, 4) - level - 5) / 5, 0, 1)
        opening *= np.clip(flow.noise(rng, walls.shape, 16, 1) - 0.3, 0, 1)
        study.wanted += (walls * np.clip(1.4 * opening, 0, 1))[..., None] * (lab("#d98a32")[0] - study.wanted)

    def accents(self, study: Study, rng: np.random.Generator) -> list[tuple[Strokes, Brush]]:
        """Thick rings of yellow round every star, and a core of nearly white."""
        parts = []
        for x, y, radius in study.lights:
            for share, tube, count in RINGS:
                r = max(share * radius, 0.8)
                paths = ring(x, y, r, count, 1.0, rng)
                colours = (lab(tube) + rng.normal(0, [3, 3, 6], (count, 3))).astype(np.float32)
                parts.append(
                    (paths, np.full(count, max(0.9 * r, 0.35 * radius)), np.full(count, max(1.6, 0.34 * radius)), colours)
                )
        if not parts:
            return []
        paths, lengths, widths, colours = (np.concatenate(column) for column in zip(*parts, strict=True))
        height, width = study.labels.shape
        spot = paths[:, ::4].clip(0, [width - 1, height - 1]).astype(int)
        clear = (study.picture.region("sky")[spot[..., 1], spot[..., 0]] > 0.6).all(1)  # hills and trees stand before stars
        paths, lengths, widths, colours = paths[clear], lengths[clear], widths[clear], colours[clear]
        return [(even(paths, lengths, widths, colours), Brush(0.009, 4, 1, body=1.8, ragged=0.3, smear=0.5))]


NOCTURNE = Nocturne(
    name="nocturne",
    ground="#2b2a38",
    palettes={
        "sky": Palette(_BLUES, low=14, high=48, keep=0),
        "water": Palette(_BLUES, _GREYS, low=8, high=62, keep=0.05),
        "land": Palette(_DARK_GREENS, _BLUES, _OCHRES, low=8, high=62, width=20, keep=0.1, chroma=0.8),
        "foliage": Palette(_DARK_GREENS, ("#060c10", "#12283a", "#2f5a66", "#7d9f8a"), low=4, high=54, keep=0.05),
        "building": Palette(_GREYS, _BLUES, _OCHRES, _REDS, low=6, high=74, width=12, keep=0.15, chroma=0.9),
        "skin": Palette(("#2b1512", "#6d3b26", "#b5713f", "#e0ac6c", "#f6dfae"), _OCHRES, low=10, high=86, keep=0.18),
        "hair": Palette(_OCHRES, ("#0d0a0c", "#2b2428", "#6b5c55", "#b5a894"), low=5, high=74, keep=0.2),
        "background": Palette(_BLUES, ("#0a1a1c", "#17403f", "#2f6d62", "#7fa88a"), low=9, high=46, width=22, keep=0.05),
        "flower": Palette(_OCHRES, _REDS, ("#3a2a08", "#9a7416", "#e3b62c", "#fbe98c"), _GREYS, low=8, high=90, keep=0.15),
        "": Palette(_BLUES, _OCHRES, _REDS, _DARK_GREENS, _GREYS, low=6, high=80, keep=0.15, chroma=1.1),
    },
    brushes=(
        Brush(0.036, 5.5, 2.0, tolerance=20, body=1.0, bristle=5, jitter=(3, 3, 4)),
        Brush(0.020, 8.0, 2.4, tolerance=15, body=1.1, bristle=6, jitter=(4.5, 3, 5), shortest=1.8),
        Brush(0.0115, 8.0, 2.4, tolerance=10, body=1.2, bristle=5, jitter=(4, 3, 4), shortest=1.8),
        Brush(0.0064, 5.0, 4.5, tolerance=8, body=1.0, bristle=3, jitter=(1.5, 1, 1.5), notice=5, fill=0),
    ),
    depth=0.15,
    contrast=0.6,
    fine={"skin": 0.5, "hair": 0.45, "cloth": 0.35, "background": 0.3, "land": 0.4, "foliage": 0.5, "water": 0.4,
          "building": 0.3, "flower": 0.5, "object": 0.4},
)  # fmt: skip
