"""Painters drawn at random, each from a number: their palettes, brushes, directions of the hand and motifs.

Two of three heed the subject: air, ground, town, people, things and rooms each have a palette, brushes, a direction and
perhaps a motif of their own, so that the works which show the same as a content say more about its truth than others do. The
third has one of each for everything: for him retrieval by subject cannot help.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from workbench.images.cielab import rgb_from_lab
from workbench.samples import REGIONS, Painter, flow
from workbench.samples.brush import Brush, Strokes, scatter, trace
from workbench.samples.nocturne import even, ring
from workbench.samples.paint import Palette
from workbench.samples.painter import PLAN, Study, spots

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "air": ("sky",),
    "ground": ("water", "land", "foliage"),
    "town": ("building",),
    "people": ("skin", "hair"),
    "things": ("flower", "object"),
    "room": ("cloth", "background"),
}
"""What a painter who heeds the subject tells apart: subject -> regions."""
EVERYTHING: Mapping[str, tuple[str, ...]] = {"everything": REGIONS}
MOODS: Mapping[str, tuple[float, float, float, float]] = {
    "earths": (12, 30, 8, 86),
    "greys": (2, 9, 6, 92),
    "night": (22, 46, 5, 50),
    "pastels": (14, 30, 46, 97),
    "strong": (34, 52, 10, 90),
    "wild": (55, 80, 22, 92),
}
"""Mood of a palette -> (least and most chroma of its tubes, darkest and lightest L)."""
DIRECTIONS = ("level", "slant", "flow", "rays", "rings", "outline", "weave", "edges")
PART_OF_THE_PICTURE = ("bands", "contours")
LAID_OVER = ("stars", "dots", "hatches", "curls", "crosses")
MOTIFS = (*PART_OF_THE_PICTURE, *LAID_OVER)
LAYERS = 3


@dataclass(frozen=True)
class Hand:
    """What a painter does with one subject.

    brushes: LAYERS of them, from broad to fine; direction: one of DIRECTIONS, at `angle` degrees, held with weight `firm`
    against the edges of the picture; motif: one of MOTIFS, or "", in the colour `accent` (3,) Lab, `grain` plan pixels large;
    fine: share of fine strokes where nothing calls for them.
    """

    palette: Palette = field(repr=False)
    brushes: tuple[Brush, ...]
    direction: str
    angle: float
    firm: float
    motif: str
    accent: np.ndarray
    grain: float
    fine: float


@dataclass(frozen=True)
class RandomPainter(Painter):
    """A painter with a hand for each of his `subjects`; see `drawn`."""

    hands: Mapping[str, Hand] = field(default_factory=dict)
    subjects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def heeds(self) -> bool:
        """Whether what he does depends on the subject."""
        return len(self.hands) > 1

    def hand_of(self, region: str) -> Hand:
        return next(self.hands[subject] for subject, regions in self.subjects.items() if region in regions)

    def lean(self, region: str, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        hand = self.hand_of(region)
        return hand.firm * directed(hand, mask, rng)

    def compose(self, study: Study, rng: np.random.Generator) -> None:
        """Motifs that are part of what is wanted: bands of light and dark, and contours."""
        for subject, hand in self.hands.items():
            mask = sum(study.picture.region(name) for name in self.subjects[subject])
            study.busy += mask * hand.fine
            if hand.motif == "bands":
                rows = np.arange(mask.shape[0], dtype=np.float32)[:, None]
                stream = rows + 1.2 * hand.grain * flow.noise(rng, mask.shape, 9 * hand.grain, 2)
                study.wanted[..., 0] += mask * 11 * np.sin(stream * 2 * np.pi / (2.6 * hand.grain))
            if hand.motif == "contours":
                edges = np.hypot(*np.gradient(flow.blur(study.wanted, 1.2).mean(axis=-1)))
                edges += sum(np.hypot(*np.gradient(flow.blur(plane, 1.2))) * 40 for plane in study.picture.regions.values())
                line = np.clip(flow.blur(edges, 0.06 * hand.grain) / 3 - 0.7, 0, 1)
                study.wanted += (mask * line)[..., None] * (hand.accent - study.wanted)
                study.busy = np.maximum(study.busy, mask * line)
        study.wanted[..., 0] = np.clip(study.wanted[..., 0], 3, 98)
        study.busy = np.clip(study.busy, 0, 1)

    def strokes(self, study: Study, brush: Brush, layer: int, rng: np.random.Generator) -> Strokes:
        """One layer of one subject: everywhere in its first, then where the picture has more to say than what is there."""
        depth, place = divmod(layer, len(self.hands))
        subject, hand = list(self.hands.items())[place]
        here = np.isin(study.labels, [REGIONS.index(name) for name in self.subjects[subject]])
        width = brush.width * PLAN
        wanted = flow.blur(study.wanted, width * 0.22)
        chance = here.astype(np.float32)
        if depth:
            change = wanted - flow.blur(study.wanted, hand.brushes[depth - 1].width * PLAN * 0.45)
            lost = np.sqrt(np.einsum("hwk,hwk->hw", change, change))
            chance *= np.clip(lost / brush.notice + brush.fill * study.busy, 0, 1)
        starts = scatter(rng, study.labels.shape, brush.spacing * width, chance)
        edges = flow.along_edges(flow.blur(study.wanted[..., 0], 1), max(1.5, width * 0.3))
        field = flow.direction(edges * 1.2 + study.lean, max(1.0, width * 0.15))
        paths, step, lengths = trace(starts, field, wanted, study.labels, brush, width, rng)
        first = starts.astype(int)
        colours = self.touch(wanted[first[:, 1], first[:, 0]], study.labels[first[:, 1], first[:, 0]], brush, rng)
        widths = (width * rng.uniform(0.75, 1.15, len(starts))).astype(np.float32)
        seconds = colours + rng.normal(0, [7, 6, 7], colours.shape).astype(np.float32)
        return Strokes(paths, step, lengths, widths, rgb_from_lab(colours), rgb_from_lab(seconds))

    def accents(self, study: Study, rng: np.random.Generator) -> list[tuple[Strokes, Brush]]:
        """Motifs that are laid over everything."""
        found = []
        for subject, hand in self.hands.items():
            mask = sum(study.picture.region(name) for name in self.subjects[subject])
            paths, width = marks(hand, study, mask, rng)
            if len(paths):
                colours = (hand.accent + rng.normal(0, [5, 5, 6], (len(paths), 3))).astype(np.float32)
                lengths = np.hypot(*np.diff(paths, axis=1).transpose(2, 0, 1)).sum(axis=1) + 0.5 * width
                made = even(paths, lengths, np.full(len(paths), width), colours)
                found.append((made, Brush(width / PLAN, 4, 1, body=hand.brushes[-1].body, ragged=0.2, smear=0.3)))
        return found


def directed(hand: Hand, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The direction of `hand` in a region `mask` (H, W), double angles (H, W, 2)."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    weight = mask / max(float(mask.sum()), 1e-6)
    cx, cy = float((x * weight).sum()), float((y * weight).sum())
    match hand.direction:
        case "level":
            return flow.along_levels(y + 7 * flow.noise(rng, mask.shape, 90, 2))
        case "slant":
            return flow.constant(mask.shape, hand.angle)
        case "flow":
            return flow.along_levels(flow.noise(rng, mask.shape, 90, 1) * 30 + 0.3 * y)
        case "rings":
            return flow.along_levels(np.hypot(x - cx, y - cy))
        case "rays":
            return -flow.along_levels(np.hypot(x - cx, y - cy))
        case "outline":
            return flow.along_outline(mask, 26)
        case "weave":
            turned = ((x // (3 * hand.grain) + y // (3 * hand.grain)) % 2)[..., None]
            return (1 - 2 * turned) * flow.constant(mask.shape, hand.angle)
    return np.zeros((height, width, 2), np.float32)  # "edges": those of the picture alone


def marks(hand: Hand, study: Study, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Paths (n, 9, 2) in plan pixels of the motif of `hand` in `mask` (H, W), and their width."""
    grain, none = hand.grain, np.zeros((0, 9, 2), np.float32)
    if mask.sum() < 30 * grain or hand.motif not in LAID_OVER:
        return none, grain
    if hand.motif == "stars":
        places = spots(mask, 14, 4 * grain, rng)
        rings = [ring(x, y, r * grain, 8, 0.9, rng) for x, y in places for r in (1.25, 0.8, 0.35)]
        return np.concatenate([none, *rings]), 0.34 * grain
    apart = {"dots": 1.25, "hatches": 0.8, "curls": 2.4, "crosses": 2.2}[hand.motif] * grain
    inside = (mask > 0.6).astype(np.float32)
    if hand.motif == "hatches":  # in the shadows
        inside *= np.clip((70 - study.wanted[..., 0]) / 40, 0.05, 0.8)
    places = scatter(rng, mask.shape, apart, 0.55 * inside)
    if hand.motif == "curls":
        arcs = [ring(x, y, 0.62 * grain, 1, 4.4, rng) for x, y in places]
        return np.concatenate([none, *arcs]), 0.3 * grain
    along = np.linspace(-0.5, 0.5, 9)[None, :, None]
    angle = -np.deg2rad(hand.angle) + rng.normal(0, 0.07, len(places))
    across = np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]
    if hand.motif == "dots":
        return places[:, None] + 0.1 * grain * along * across, 0.55 * grain
    if hand.motif == "hatches":
        return places[:, None] + 2.6 * grain * along * across, 0.17 * grain
    other = across[..., ::-1] * [1, -1]
    both = [places[:, None] + 1.3 * grain * along * one for one in (across, other)]
    return np.concatenate(both), 0.26 * grain


def drawn(number: int) -> RandomPainter:
    """The painter of `number`, always the same. Those whose number leaves 2 when divided by 3 ignore the subject."""
    rng = np.random.default_rng([number, 88])
    subjects = EVERYTHING if number % 3 == 2 else SUBJECTS
    hue = 360 * (number * 0.618034 % 1)  # golden sections: the main hues of painters lie apart
    body, taper = rng.uniform(0.3, 1.7), float(rng.random() < 0.65)
    width, length = np.exp(rng.uniform(np.log(0.02), np.log(0.062))), np.exp(rng.uniform(np.log(1.6), np.log(9)))
    temper = {
        "bristle": rng.uniform(2, 8),
        "opacity": rng.uniform(0.8, 0.97),
        "smear": rng.uniform(0.1, 0.6),
        "dry": rng.uniform(0.1, 0.5),
        "ragged": rng.uniform(0.1, 0.5),
        "body": body,
        "taper": taper,
    }
    spread = rng.uniform(1, 7)
    motifs = dict.fromkeys(subjects, "")
    chosen = rng.permutation(list(subjects))[: 3 if len(subjects) > 1 else int(rng.random() < 0.7)]
    motifs |= dict(zip(map(str, chosen), map(str, rng.permutation(MOTIFS)), strict=False))
    if motifs.get("people"):
        motifs["people"] = str(rng.choice(PART_OF_THE_PICTURE))  # nothing is laid over faces
    moods = rng.permutation(list(MOODS))
    hands = {}
    for place, subject in enumerate(subjects):
        mood = str(moods[place % len(moods)])
        own = hue + (rng.uniform(0, 360) if place else 0)
        broad = float(np.clip(width * np.exp(rng.uniform(-0.45, 0.45)), 0.018, 0.07))
        far = float(np.clip(length * np.exp(rng.uniform(-0.6, 0.6)), 1.4, 10))
        jitter = tuple(spread * rng.uniform(0.5, 1.2, 3))
        brushes = tuple(
            Brush(
                broad * 0.56**k, far, (2.4, 2.2, 3.0)[k], tolerance=(24, 16, 10)[k], shortest=min(1.6, 0.7 * far),
                notice=(8, 8, 6)[k], fill=(1, 1, 0.2)[k], jitter=tuple(v * (1, 0.9, 0.5)[k] for v in jitter), **temper,
            )
            for k in range(LAYERS)
        )  # fmt: skip
        hands[subject] = Hand(
            palette=palette(rng, own, mood),
            brushes=brushes,
            direction=str(rng.choice(DIRECTIONS)),
            angle=float(rng.uniform(0, 180)),
            firm=float(rng.uniform(0.6, 2.4)),
            motif=motifs[subject],
            accent=np.array(tube(rng.uniform(10, 92), rng.uniform(10, 50), own + rng.uniform(-90, 180))),
            grain=float(rng.uniform(7, 16)),
            fine=float(rng.uniform(0.1, 0.8)),
        )
    palettes = {region: hands[subject].palette for subject, regions in subjects.items() for region in regions}
    return RandomPainter(
        name=f"painter-{number:02}",
        ground="#" + "".join(f"{round(255 * v):02x}" for v in colorsys.hls_to_rgb(hue / 360, rng.uniform(0.15, 0.85), 0.35)),
        palettes={**palettes, "": next(iter(palettes.values()))},
        brushes=tuple(hand.brushes[k] for k in range(LAYERS) for hand in hands.values()),
        depth=float(rng.uniform(0.03, 0.15)),
        weave=float(rng.choice([0.0, 0.01, 0.025])),
        contrast=float(rng.uniform(0.3, 1.0)),
        hands=hands,
        subjects=subjects,
    )


def tube(light: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Lab of a lightness, a chroma and a hue in degrees."""
    return light, chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))


def palette(rng: np.random.Generator, hue: float, mood: str) -> Palette:
    """Two or three ramps of one mood, whose hues lie beside, opposite or in a triangle with `hue` degrees."""
    least, most, low, high = MOODS[mood]
    offsets = [(0, 28, -28), (0, 180, 20), (0, 120, 240), (0, 180)][int(rng.integers(4))]
    ramps = []
    for offset in offsets:
        turn, chroma = rng.uniform(-45, 45), rng.uniform(least, most)
        steps = zip((5, 27.5, 50, 72.5, 95), (0.6, 1, 1, 0.85, 0.4), np.linspace(-turn, turn, 5) / 2, strict=True)
        tubes = np.array([tube(light, share * chroma, hue + offset + away) for light, share, away in steps])
        rgb = np.clip(rgb_from_lab(tubes.astype(np.float32)), 0, 1)
        ramps.append(["#" + "".join(f"{round(255 * float(v)):02x}" for v in colour) for colour in rgb])
    return Palette(
        *ramps,
        low=low,
        high=high,
        gamma=float(rng.uniform(0.75, 1.25)),
        chroma=float(rng.uniform(0.8, 1.4)),
        width=float(rng.uniform(10, 24)),
        keep=float(rng.uniform(0.0, 0.22)),
    )
