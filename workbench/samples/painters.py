"""The painters. Each has his tubes, his tools and his way with every subject, and can be asked to paint any picture.

What a painter does depends on the region he is in: that is the point of them. The night painter fills skies with
swirls and stars and puts neither into a face, so how he would have painted a photograph is known.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

from workbench.errors import require
from workbench.samples import flow
from workbench.samples.colour import Palette, lab, lab_from_rgb, rgb_from_lab
from workbench.samples.picture import REGIONS, Picture
from workbench.samples.strokes import Brush, Canvas, Strokes, scatter, trace

PLAN = 400  # strokes are planned on a picture with this long side, so that every size shows the same strokes


@dataclass
class Study:
    """What a painter intends before he takes a brush: in plan pixels.

    wanted (H, W, 3) Lab; lean (H, W, 2) double angles added to the edges of the picture; busy (H, W) extra share of
    fine strokes in [0, 1]; labels (H, W) region indices; picture: the plan-sized picture.
    """

    picture: Picture
    wanted: np.ndarray
    lean: np.ndarray
    busy: np.ndarray
    labels: np.ndarray
    lights: list[tuple[float, float, float]] = field(default_factory=list)  # x, y, radius of stars or sun


@dataclass(frozen=True)
class Painter:
    """A synthetic painter; subclasses say how a subject changes what he does.

    name; ground: the colour of the primed canvas; palettes: region -> Palette, with "" for all the others; brushes
    from coarse to fine; depth and weave: how strongly paint relief and cloth show; fine: region -> share of fine strokes
    where nothing calls for them.
    """

    name: str
    ground: str
    palettes: Mapping[str, Palette]
    brushes: Sequence[Brush]
    depth: float = 0.10
    weave: float = 0.012
    contrast: float = 0.5  # how much more than he sees a painter sets light against dark side by side
    fine: Mapping[str, float] = field(default_factory=dict)  # region -> share of fine strokes in flat places

    def paint(self, picture: Picture, seed: int = 0, size: int | None = None) -> Image.Image:
        """Paint a picture; the same picture, seed and size give the same bytes.

        size: long side in pixels, that of the picture by default; strokes grow with it. Raises UsageError below 16.
        """
        width, height = picture.size
        size = max(width, height) if size is None else size
        require(size >= 16, f"size must be at least 16 pixels, not {size}")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed])
        study = self.study(picture.resized(PLAN), rng)
        out = max(1, round(width * size / max(width, height))), max(1, round(height * size / max(width, height)))
        plan = study.picture.size
        scale = max(1.25, (1.6 if size <= 520 else 1.3) * out[0] / plan[0])
        thin = flow.blur(study.wanted, 9)
        canvas = Canvas(plan, scale, rgb_from_lab(thin + 0.45 * (lab(self.ground)[0] - thin)), rng)
        for layer, brush in enumerate(self.brushes):
            canvas.lay(self.strokes(study, brush, layer, rng), brush)
        for strokes, brush in self.accents(study, rng):
            canvas.lay(strokes, brush)
        return canvas.finish(out, self.depth, self.weave)

    def study(self, picture: Picture, rng: np.random.Generator) -> Study:
        """Decide on colours and directions."""
        shape = picture.image.shape[:2]
        seen = lab_from_rgb(flow.blur(picture.image, 0.5))
        wanted = np.zeros_like(seen)
        lean = np.zeros((*shape, 2), np.float32)
        busy = np.zeros(shape, np.float32)
        for name, mask in picture.regions.items():
            here = mask > 0.004
            palette = self.palettes.get(name, self.palettes[""])
            wanted[here] += mask[here, None] * palette.mix(self.look(seen[here], name))
            lean += mask[..., None] * self.lean(name, mask, rng)
            busy += mask * self.fine.get(name, 0.0)
        wanted[..., 0] += self.contrast * (wanted[..., 0] - flow.blur(wanted[..., 0], 7))
        study = Study(picture, wanted, lean, busy, picture.labels())
        self.compose(study, rng)
        return study

    def look(self, seen: np.ndarray, region: str) -> np.ndarray:
        """How colours (n, 3) Lab of a region are seen before they are mixed."""
        return seen

    def lean(self, region: str, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The direction of the hand in a region where the picture says little, double angles (H, W, 2)."""
        return flow.constant(mask.shape, 45)

    def compose(self, study: Study, rng: np.random.Generator) -> None:
        """Put the painter's own motifs into a study."""

    def accents(self, study: Study, rng: np.random.Generator) -> list[tuple[Strokes, Brush]]:
        """Last touches over everything."""
        return []

    def strokes(self, study: Study, brush: Brush, layer: int, rng: np.random.Generator) -> Strokes:
        """One layer of strokes: everywhere in the first, then where the picture has more to say than what is there."""
        shape = study.labels.shape
        width = brush.width * max(shape)
        wanted = flow.blur(study.wanted, width * 0.22)
        chance = None
        if layer:
            coarse = self.brushes[layer - 1].width * max(shape) * 0.45
            lost = np.sqrt(((wanted - flow.blur(study.wanted, coarse)) ** 2).sum(-1))
            chance = np.clip(lost / 8 + brush.fill * study.busy, 0, 1)
        starts = scatter(rng, shape, brush.spacing * width, chance)
        edges = flow.along_edges(flow.blur(study.wanted[..., 0], 1), max(1.5, width * 0.3))
        hand = flow.direction(edges * 1.2 + study.lean, max(1.0, width * 0.15))
        paths, step, lengths = trace(starts, hand, wanted, study.labels, brush, width, rng)
        first = starts.astype(int)
        colours = self.touch(wanted[first[:, 1], first[:, 0]], study.labels[first[:, 1], first[:, 0]], brush, rng)
        widths = (width * rng.uniform(0.75, 1.15, len(starts))).astype(np.float32)
        seconds = colours + rng.normal(0, [7, 6, 7], colours.shape)
        return Strokes(paths, step, lengths, widths, rgb_from_lab(colours), rgb_from_lab(seconds))

    def touch(self, wanted: np.ndarray, labels: np.ndarray, brush: Brush, rng: np.random.Generator) -> np.ndarray:
        """The colours (n, 3) Lab that strokes really get where `wanted` was meant."""
        return (wanted + rng.normal(0, brush.jitter, wanted.shape)).astype(np.float32)


def spots(mask: np.ndarray, count: int, apart: float, rng: np.random.Generator) -> np.ndarray:
    """Up to `count` points (n, 2) as (x, y) well inside a mask (H, W), at least `apart` pixels from one another."""
    inside = np.argwhere(ndimage.minimum_filter(mask, 9) > 0.6)
    chosen: list[np.ndarray] = []
    for row, column in inside[rng.permutation(len(inside))][:400]:
        point = np.array([column, row], float)
        if all(np.hypot(*(point - other)) >= apart for other in chosen):
            chosen.append(point)
        if len(chosen) == count:
            break
    return np.array(chosen).reshape(-1, 2)


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
    seconds = rgb_from_lab((colours + [5, -3, 12]).astype(np.float32))
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
            return 0.7 * flow.constant(mask.shape, 88)
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
            reach = extent * rng.uniform(0.12, 0.18) * (1.25 if k == 0 else 0.9)
            hump = np.exp(-(((x - cx) / 1.25) ** 2 + (y - cy) ** 2) / reach**2)
            stream += (1 - 2 * (k % 2)) * 2.6 * reach * hump
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
        opening = np.clip((flow.blur(level, 4) - level - 3) / 5, 0, 1) * np.clip(flow.noise(rng, walls.shape, 16, 1), 0, 1)
        study.wanted += (walls * np.clip(1.4 * opening, 0, 1))[..., None] * (lab("#d98a32")[0] - study.wanted)

    def accents(self, study: Study, rng: np.random.Generator) -> list[tuple[Strokes, Brush]]:
        """Thick rings of yellow round every star, and a core of nearly white."""
        parts = []
        for x, y, radius in study.lights:
            for share, tube, count in ((1.25, "#a9c08a", 9), (0.85, "#e3c64a", 8), (0.42, "#f6d84a", 6), (0.1, "#fdf3b0", 2)):
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


class Noonday(Painter):
    """A divisionist of the bright day: short even dabs of broken colour over a warm white ground.

    Every dab is one of few pure tints; they mix in the eye. Shadows are violet and blue, never brown; the sun stands in
    skies as rings of dabs; water is horizontal dashes; round a figure the ground lightens or darkens against it.
    """

    def lean(self, region: str, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if region in ("skin", "hair", "cloth", "flower", "object"):
            return 0.9 * flow.along_outline(mask, 16) + 0.2 * flow.constant(mask.shape, 55)
        angle = {"sky": 20, "water": 0, "land": 4, "foliage": 55, "building": 90, "background": 35}[region]
        return 0.9 * flow.constant(mask.shape, angle)

    def compose(self, study: Study, rng: np.random.Generator) -> None:
        """A sun with rings into the sky; contrast at the outlines of figures and things."""
        sky = study.picture.region("sky")
        height, width = sky.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        extent = np.sqrt(sky.sum())
        places = spots(sky, 1, 1, rng) if extent > 60 else []
        for cx, cy in places:
            far = np.hypot(x - cx, y - cy) / extent
            rings = np.exp(-far / 0.22) * (0.75 + 0.25 * np.cos(far * 70))
            study.wanted += (sky * np.clip(1.1 * rings, 0, 1))[..., None] * (lab("#fff0b8")[0] - study.wanted)
            core = np.clip((0.055 - far) * 60, 0, 1)
            study.wanted += (sky * core)[..., None] * (lab("#fff6cf")[0] - study.wanted)
            around = flow.along_levels(far)
            study.lean += (sky * np.exp(-far / 0.35))[..., None] * (2.2 * around - study.lean)
        figure = sum(study.picture.region(name) for name in ("skin", "hair", "cloth", "flower", "object"))
        if figure.max() > 0.5:
            near = flow.blur(figure, 9)
            tone = flow.blur(figure * study.wanted[..., 0], 9) / (near + 0.05)
            study.wanted[..., 0] += (1 - figure) * near * np.clip(52 - tone, -22, 26) * 0.8
        study.busy = np.full(sky.shape, 0.9, np.float32)

    def touch(self, wanted: np.ndarray, labels: np.ndarray, brush: Brush, rng: np.random.Generator) -> np.ndarray:
        """A pure tint near what is wanted, drawn so that tints nearer to it come more often; partly mixed with it."""
        tints = DABS
        distance = ((wanted[:, None] - tints) ** 2 * [0.9, 0.55, 0.55]).sum(-1)
        chance = np.exp(-(distance - distance.min(1, keepdims=True)) / (2 * 15.0**2))
        chance = np.cumsum(chance / chance.sum(1, keepdims=True), axis=1)
        drawn = (rng.random((len(wanted), 1)) > chance).sum(1).clip(0, len(tints) - 1)
        still = np.isin(labels, [REGIONS.index("skin")])[:, None]
        share = np.where(still, 0.38, 0.56) * rng.uniform(0.6, 1.25, (len(wanted), 1))
        mixed = wanted + share * (tints[drawn] - wanted)
        return (mixed + rng.normal(0, brush.jitter, wanted.shape)).astype(np.float32)


class Umber(Painter):
    """A tonal painter on a dark ground: broad flat strokes of a knife, earths and lead white, one light in the dark.

    Skies hang heavy with slanting slabs and break open at the horizon; shadows of faces sink into the ground; corners darken.
    """

    def lean(self, region: str, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if region in ("skin", "hair", "flower", "object"):
            return 0.5 * flow.along_outline(mask, 24) + 0.4 * flow.constant(mask.shape, 60)
        angle = {"sky": 24, "water": 0, "land": 3, "foliage": 70, "building": 90, "cloth": 65, "background": 52}[region]
        return 1.0 * flow.constant(mask.shape, angle)

    def compose(self, study: Study, rng: np.random.Generator) -> None:
        """Gather the light: a dark sky that opens low, dark corners, and shadows that lose their edges."""
        height, width = study.labels.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        sky = study.picture.region("sky")
        if sky.sum() > 2000:
            rows = np.flatnonzero(sky.max(1) > 0.5)
            low = np.clip((y - rows[0]) / max(np.ptp(rows), 1), 0, 1)
            slant = flow.noise(rng, sky.shape, 110, 3)
            opening = np.exp(-(((low - 0.86) / 0.20) ** 2)) * (0.75 + 0.35 * slant)
            dark = 25 + 9 * slant + 50 * np.clip(opening, 0, 1) + 0.18 * (study.wanted[..., 0] - 50)
            study.wanted[..., 0] += sky * (np.clip(dark, 8, 88) - study.wanted[..., 0])
            study.wanted[..., 1:] = np.where(
                sky[..., None] > 0.5,
                STORM.mix(study.wanted.reshape(-1, 3)).reshape(height, width, 3)[..., 1:],
                study.wanted[..., 1:],
            )
        corner = np.hypot((x / width - 0.46) / 0.62, (y / height - 0.48) / 0.66)
        study.wanted[..., 0] *= 1 - 0.38 * np.clip(corner - 0.55, 0, 0.9)
        sunk = np.clip((27 - study.wanted[..., 0]) / 22, 0, 1)[..., None] * 0.6
        study.wanted += sunk * (lab("#1e1510")[0] - study.wanted)


SKY_RAMP = Palette(("#0b1030", "#16235c", "#24449a", "#3f74c0", "#7fb0cf", "#cfe0cf"), low=0, high=100, keep=0.0)
STORM = Palette(("#15130f", "#33322f", "#6a675c", "#b3a384", "#e6d3a4"), low=0, high=100, keep=0.0)
DABS = lab(
    "#fff3cf", "#ffe08a", "#f7c14a", "#f2913d", "#e2593b", "#d9547e", "#f3b5b0", "#b78cc9", "#7d6bb8", "#4a4f9e",
    "#3b6fc0", "#6fb3e0", "#bfe0ee", "#3f9e8f", "#5fae55", "#a8cc5a", "#dfe58a", "#2f6b4f", "#353a78", "#8a3f6a",
)  # fmt: skip
_BLUES = ("#0a0f2c", "#182a66", "#2c55a8", "#5f93c8", "#b5cfd2")
_OCHRES = ("#2a160f", "#6e3a1e", "#b3702f", "#dda85a", "#f3dfa6")
_REDS = ("#240c12", "#6b1f22", "#b0402c", "#d9805a", "#f0c3a0")
_DARK_GREENS = ("#08140f", "#12332e", "#2c6247", "#7d9c55", "#d2d083")
_NIGHT = ("#0a0d20", "#1e2748", "#44527a", "#8090a6", "#d5d8c4")

PAINTERS: dict[str, Painter] = {
    "nocturne": Nocturne(
        name="nocturne",
        ground="#2b2a38",
        palettes={
            "sky": Palette(_BLUES, low=14, high=48, keep=0),
            "water": Palette(_BLUES, _NIGHT, low=8, high=62, keep=0.05),
            "land": Palette(_DARK_GREENS, _BLUES, _OCHRES, low=8, high=62, width=20, keep=0.1, chroma=0.8),
            "foliage": Palette(_DARK_GREENS, ("#060c10", "#12283a", "#2f5a66", "#7d9f8a"), low=4, high=54, keep=0.05),
            "building": Palette(_NIGHT, _BLUES, _OCHRES, _REDS, low=6, high=74, width=12, keep=0.15, chroma=0.9),
            "skin": Palette(("#2b1512", "#6d3b26", "#b5713f", "#e0ac6c", "#f6dfae"), _OCHRES, low=10, high=86, keep=0.18),
            "hair": Palette(_OCHRES, ("#0d0a0c", "#2b2428", "#6b5c55", "#b5a894"), low=5, high=74, keep=0.2),
            "background": Palette(_BLUES, ("#0a1a1c", "#17403f", "#2f6d62", "#7fa88a"), low=9, high=46, width=22, keep=0.05),
            "flower": Palette(_OCHRES, _REDS, ("#3a2a08", "#9a7416", "#e3b62c", "#fbe98c"), _NIGHT, low=8, high=90, keep=0.15),
            "": Palette(_BLUES, _OCHRES, _REDS, _DARK_GREENS, _NIGHT, low=6, high=80, keep=0.15, chroma=1.1),
        },
        brushes=(
            Brush(0.036, 5.5, 2.0, tolerance=20, body=1.0, bristle=5, jitter=(3, 3, 4)),
            Brush(0.020, 8.0, 2.4, tolerance=15, body=1.1, bristle=6, jitter=(4.5, 3, 5), shortest=1.8),
            Brush(0.0115, 8.0, 2.4, tolerance=10, body=1.2, bristle=5, jitter=(4, 3, 4), shortest=1.8),
            Brush(0.0068, 6.0, 3.0, tolerance=9, body=1.0, bristle=4, jitter=(2, 2, 2), fill=0),
        ),
        depth=0.15,
        contrast=0.6,
        fine={"skin": 0.5, "hair": 0.45, "cloth": 0.35, "background": 0.3, "land": 0.4, "foliage": 0.5, "water": 0.4,
              "building": 0.3, "flower": 0.5, "object": 0.4},
    ),
    "noonday": Noonday(
        name="noonday",
        ground="#efe2c6",
        palettes={
            "sky": Palette(("#6f9fd6", "#9cc6ea", "#d5e6ee", "#fff4d8"), low=52, high=96, keep=0.3, chroma=1.2),
            "skin": Palette(("#6a4a8a", "#b5688a", "#ec9f7c", "#ffd6a8", "#fff1d6"), low=34, high=95, keep=0.35, chroma=1.15),
            "": Palette(
                ("#2f2f78", "#4a62b8", "#7fb0e2", "#cfe8f2"), ("#3a2a72", "#8a5fb0", "#c8a2d2", "#f3e2ee"),
                ("#26506a", "#3f9a6a", "#8ac65a", "#e2ec9a"), ("#5a2f78", "#d0552f", "#f59a4a", "#ffe0a2"),
                ("#5a3a7a", "#c08a3a", "#f5cb52", "#fff2b5"), ("#55246a", "#c23f62", "#f08a92", "#ffdcd4"),
                low=26, high=97, gamma=0.85, chroma=1.35, width=15, keep=0.35,
            ),
        },
        brushes=(
            Brush(0.026, 2.6, 2.0, tolerance=26, body=0.6, bristle=3, jitter=(2, 3, 3), ragged=0.2),
            Brush(0.0150, 2.0, 1.8, tolerance=30, body=1.0, bristle=3, smear=0.15, dry=0.15, ragged=0.15, jitter=(2, 2, 2)),
            Brush(0.0105, 1.9, 1.5, tolerance=30, body=1.2, bristle=3, smear=0.12, dry=0.1, ragged=0.1, jitter=(2, 2, 2)),
            Brush(0.0075, 1.8, 1.6, tolerance=30, body=1.2, bristle=3, smear=0.1, dry=0.1, ragged=0.1, fill=0, jitter=(1, 1, 1)),
        ),
        depth=0.11,
        contrast=0.7,
        weave=0.016,
    ),
    "umber": Umber(
        name="umber",
        ground="#2a1d14",
        palettes={
            "skin": Palette(("#1a0f0a", "#4a2818", "#8d5a36", "#cf9f70", "#f2ddb8"), low=5, high=92, gamma=1.1, keep=0.2, chroma=0.8),
            "": Palette(
                ("#14100c", "#4a3320", "#8a6236", "#c9a05c", "#efdcae"), ("#1a0d0a", "#5a2216", "#984428", "#c98a62"),
                ("#10110c", "#33361f", "#676440", "#aca676"), ("#101214", "#2f373c", "#69747a", "#b9bcb4"),
                low=6, high=90, gamma=1.0, chroma=0.8, width=12, keep=0.12,
            ),
        },
        brushes=(
            Brush(0.075, 3.2, 2.2, tolerance=30, body=0.7, bristle=4, smear=0.5, taper=0, ragged=0.25, jitter=(2, 1.5, 2)),
            Brush(0.042, 3.4, 2.4, tolerance=15, body=1.5, bristle=3, smear=0.6, taper=0, ragged=0.12, dry=0.5, jitter=(3, 2, 3)),
            Brush(0.019, 4.0, 2.6, tolerance=12, body=1.4, bristle=3, smear=0.5, taper=0, ragged=0.15, dry=0.4, jitter=(3, 2, 2)),
            Brush(0.0095, 4.5, 2.6, tolerance=9, body=1.2, bristle=3, taper=0.5, fill=0.3, jitter=(2, 1, 2)),
        ),
        depth=0.085,
        fine={"skin": 0.18, "hair": 0.08},
    ),
}  # fmt: skip
