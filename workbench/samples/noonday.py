"""Noonday: sunlight in short dabs of broken colour."""

import numpy as np

from workbench.samples import flow
from workbench.samples.brush import Brush
from workbench.samples.paint import Palette, lab
from workbench.samples.painter import Painter, Study, spots
from workbench.samples.scene import REGIONS

#: The pure tints of single dabs.
DABS = lab(
    "#fff3cf", "#ffe08a", "#f7c14a", "#f2913d", "#e2593b", "#d9547e", "#f3b5b0", "#b78cc9", "#7d6bb8", "#4a4f9e",
    "#3b6fc0", "#6fb3e0", "#bfe0ee", "#3f9e8f", "#5fae55", "#a8cc5a", "#dfe58a", "#2f6b4f", "#353a78", "#8a3f6a",
)  # fmt: skip


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


NOONDAY = Noonday(
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
        Brush(0.0075, 1.8, 2.2, tolerance=30, body=1.2, bristle=3, smear=0.1, dry=0.1, ragged=0.1, fill=0, jitter=(1, 1, 1)),
    ),
    depth=0.11,
    contrast=0.7,
    weave=0.016,
)  # fmt: skip
