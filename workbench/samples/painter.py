"""What painters have in common: a study of the picture, then layers of strokes from broad to fine.

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
from workbench.images.cielab import rgb_from_lab
from workbench.samples import flow
from workbench.samples.brush import Brush, Canvas, Strokes, scatter, trace
from workbench.samples.paint import Palette, lab, lab_from_table
from workbench.samples.scene import Picture

PLAN = 400
"""px. Long side of the picture that strokes are planned on, so that every size shows the same strokes."""


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
        # The canvas has chances of its own, whose number depends on the size; the strokes must not.
        canvas = Canvas(plan, scale, rgb_from_lab(thin + 0.45 * (lab(self.ground)[0] - thin)), rng.spawn(1)[0])
        for layer, brush in enumerate(self.brushes):
            canvas.lay(self.strokes(study, brush, layer, rng), brush)
        for strokes, brush in self.accents(study, rng):
            canvas.lay(strokes, brush)
        return canvas.finish(out, self.depth, self.weave)

    def study(self, picture: Picture, rng: np.random.Generator) -> Study:
        """Decide on colours and directions."""
        shape = picture.image.shape[:2]
        seen = lab_from_table(flow.blur(picture.image, 0.5))
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
        """The direction of the hand in a region where the picture has little structure, double angles (H, W, 2)."""
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
            change = wanted - flow.blur(study.wanted, coarse)
            lost = np.sqrt(np.einsum("hwk,hwk->hw", change, change))
            chance = np.clip(lost / brush.notice + brush.fill * study.busy, 0, 1)
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
