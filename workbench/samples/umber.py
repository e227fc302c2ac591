"""Umber: one light in the dark, laid with a knife."""

import numpy as np

from workbench.samples import flow
from workbench.samples.brush import Brush
from workbench.samples.paint import Palette, lab
from workbench.samples.painter import Painter, Study

#: What heavy skies are painted with, at their own lightness.
STORM = Palette(("#15130f", "#33322f", "#6a675c", "#b3a384", "#e6d3a4"), low=0, high=100, keep=0.0)


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


UMBER = Umber(
    name="umber",
    ground="#2a1d14",
    palettes={
        "skin": Palette(("#1a0f0a", "#4a2818", "#8d5a36", "#cf9f70", "#f2ddb8"),
                        low=5, high=92, gamma=1.1, keep=0.2, chroma=0.8),
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
        Brush(0.0085, 3.5, 4.0, tolerance=8, body=1.2, bristle=3, taper=0.5, fill=0.3, notice=6, jitter=(1.5, 1, 1)),
    ),
    depth=0.085,
    fine={"skin": 0.18, "hair": 0.08},
)  # fmt: skip
