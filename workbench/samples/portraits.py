"""Portraits: head and shoulders, modelled as a height field so that light falls on a face as it does."""

import numpy as np
from scipy import ndimage

from workbench.samples.flow import noise
from workbench.samples.forms import Stage, lambert, ramp, rgb, vary
from workbench.samples.scene import Picture

SKINS = (
    ("#4a241a", "#96573c", "#cf9069", "#f0c7a0"),
    ("#5a2c20", "#a8674a", "#dda47e", "#f8dcc0"),
    ("#341a12", "#6f4128", "#a06a45", "#cf9f74"),
    ("#27150f", "#573322", "#84553a", "#b98a66"),
)
HAIRS = ("#2a1c16", "#15120f", "#4a3020", "#7d5430", "#b58a4e", "#6e3a20")
GREYS = ("#8f8a84", "#6f6a66", "#a8a29a")
COATS = ("#27344f", "#4c2a26", "#2f3f2c", "#55503f", "#6c2f2b", "#22242c", "#7d6a45", "#3f5a6b")
WALLS = ("#5d6f6b", "#7b6a55", "#4d5a70", "#8a7f63", "#5f4a42", "#6f7f57")
FACE_LIGHT = np.array([-0.62, -0.42, 0.60], np.float32)
#: Hair, hat and beard of the sitters a painter can ask for.
SITTERS = {
    "old man with a beard": ("short", "none", "full"),
    "man in a straw hat": ("short", "straw", "short"),
    "man in a dark hat": ("short", "felt", "none"),
    "young man": ("curly", "none", "none"),
    "woman with her hair up": ("bun", "none", "none"),
    "woman with long hair": ("long", "none", "none"),
    "woman in a headscarf": ("long", "scarf", "none"),
    "sailor": ("short", "cap", "full"),
    "woman in a bonnet": ("bun", "straw", "none"),
}


class Head:
    """Where a head is and how it is turned: coordinates p (across) and q (down) in units of half the face's height."""

    def __init__(self, stage: Stage):
        rng = stage.rng
        self.scale = rng.uniform(0.20, 0.24)
        self.x = stage.aspect * (0.5 + rng.uniform(-0.06, 0.06))
        self.y = 0.41 + rng.uniform(-0.03, 0.03)
        self.yaw = rng.choice([-1, 1]) * rng.uniform(0.15, 0.75)
        tilt = rng.uniform(-0.09, 0.09)
        dx, dy = (stage.X - self.x) / self.scale, (stage.Y - self.y) / self.scale
        self.p, self.q = np.cos(tilt) * dx + np.sin(tilt) * dy, np.cos(tilt) * dy - np.sin(tilt) * dx
        self.width = rng.uniform(0.70, 0.78)
        self.middle = self.yaw * 0.34 * np.sqrt(np.clip(1 - (0.8 * self.q) ** 2, 0.1, 1))  # the line of the nose

    def narrow(self) -> np.ndarray:
        """Half the width of the face at every height."""
        jaw = np.clip(self.q, 0, 1)
        return self.width * (1 - 0.20 * jaw - 0.16 * jaw**3)

    def outline(self) -> np.ndarray:
        """Positive inside the face."""
        return 1 - np.abs(self.p / self.narrow()) ** 2.2 - np.abs(self.q) ** 2.3

    def at(self, side: float, apart: float) -> np.ndarray:
        """p of a feature `apart` from the middle on a side (-1, 1), foreshortened on the side turned away."""
        return self.middle + side * apart * (1 - 0.30 * side * self.yaw)


def portrait(rng: np.random.Generator, sitter: str, aspect: float, size: int) -> Picture:
    """Head and shoulders of one of SITTERS, lit from the upper left."""
    hair, hat, beard = SITTERS[sitter]
    stage = Stage(rng, aspect, size, "background", rgb("#808080"))
    wall = vary(rng, str(rng.choice(WALLS)), 5, 6)
    light = 0.55 - 0.35 * (stage.X / stage.aspect - 0.4) - 0.25 * stage.Y + 0.08 * stage.noise(0.3, 3)
    stage.lay(np.ones(stage.shape), ramp(light, wall * 0.35, wall * 0.8, wall * 1.25))
    head = Head(stage)
    complexion = int(rng.choice(len(SKINS), p=[0.4, 0.35, 0.15, 0.1]))
    skin = SKINS[complexion]
    hairs = GREYS if sitter in ("old man with a beard", "sailor") else HAIRS if complexion < 2 else HAIRS[:2]
    tone = vary(rng, str(rng.choice(hairs)), 4, 3)
    hair_behind(stage, head, hair, tone)
    shoulders(stage, head, skin, beard == "none")
    ears(stage, head, skin)
    face(stage, head, skin)
    eyes(stage, head, tone)
    mouth(stage, head)
    if beard != "none":
        whiskers(stage, head, beard, tone)
    hair_front(stage, head, hair, tone)
    if hat != "none":
        headgear(stage, head, hat)
    return stage.picture()


def strands(stage: Stage, head: Head, tone: np.ndarray) -> np.ndarray:
    """Colours of hair: locks that run away from the crown, lit from the upper left."""
    around = np.arctan2(head.q + 0.5, head.p)
    far = np.hypot(head.p, head.q + 0.5)
    locks = np.sin(around * 22 + 2.5 * noise(stage.rng, stage.shape, 30, 3) + 3 * far)
    light = 0.45 - 0.22 * head.p - 0.22 * (head.q + 0.3) + 0.14 * locks
    return ramp(light, tone * 0.25, tone * 0.8, np.clip(tone * 1.5 + 0.05, 0, 1), np.clip(tone * 1.9 + 0.15, 0, 1))


def hair_behind(stage: Stage, head: Head, style: str, tone: np.ndarray) -> None:
    """What hair is seen behind the face."""
    p, q = head.p, head.q
    mass = 1 - (p / 0.92) ** 2 - ((q + 0.22) / 0.98) ** 2
    if style == "long":
        fall = np.minimum(0.98 + 0.08 * np.sin(q * 5) - np.abs(p), 1.55 - q)
        mass = np.where(q > -0.2, np.maximum(mass, fall), mass)
    elif style == "curly":
        mass = 1 - (p / 1.02) ** 2 - ((q + 0.3) / 0.95) ** 2 + 0.10 * noise(stage.rng, stage.shape, 18, 2)
    elif style == "bun":
        knot = 1 - ((p + 0.5 * np.sign(head.yaw)) / 0.38) ** 2 - ((q + 1.0) / 0.34) ** 2
        mass = np.maximum(np.where(q > 0.35, -1, mass), knot)
    else:
        mass = np.where(q > 0.25, -1, mass)
    stage.lay(stage.soft(mass * head.scale * 0.5, 2), strands(stage, head, tone), "hair")


def ears(stage: Stage, head: Head, skin: tuple[str, ...]) -> None:
    """The ear on the side turned to us, and a little of the other."""
    for side in (-1, 1):
        x = side * head.width * (1.0 if side * head.yaw < 0 else 0.90)
        ear = 1 - ((head.p - x) / 0.15) ** 2 - ((head.q - 0.05) / 0.26) ** 2
        light = (0.62 if side < 0 else 0.38) - 0.3 * np.abs(head.p - x) / 0.15
        stage.lay(stage.soft(ear * head.scale * 0.1), ramp(light, *skin), "skin")


def shoulders(stage: Stage, head: Head, skin: tuple[str, ...], open_neck: bool) -> None:
    """Neck, coat with lapels and folds, and a collar or scarf."""
    rng, p, q = stage.rng, head.p, head.q
    neck = 0.47 + 0.05 * (q - 1) ** 2 - np.abs(p - 0.05 * head.yaw)
    light = 0.5 - 0.75 * (p - 0.05 * head.yaw) - 0.42 * np.clip(1.45 - q, 0, 0.6)
    stage.lay(stage.soft(np.minimum(neck, q - 0.2) * head.scale), ramp(light, *skin), "skin")
    coat = vary(rng, str(rng.choice(COATS)), 5, 6)
    slope = 1.28 + 0.42 * np.clip(np.abs(p) - 0.35, 0, 3) ** 1.25
    inside = np.minimum(q - slope, 2.25 + 0.12 * q - np.abs(p + 0.2 * head.yaw))
    form = 0.55 * np.sqrt(np.clip(inside, 0, 2)) + 0.05 * np.sin(5 * p + 3 * q + stage.noise(0.25, 2))
    lit = lambert(ndimage.gaussian_filter(form, 2) * head.scale, stage.pixel)
    stage.lay(
        stage.soft(inside * head.scale),
        ramp(lit * 0.95 - 0.08, coat * 0.2, coat * 0.75, coat * 1.25, coat * 1.7 + 0.06),
        "cloth",
    )
    centre = p - 0.15 * head.yaw
    shirt = vary(rng, str(rng.choice(["#ece6d8", "#dcd3bb", "#b9c4cf", "#c9a46b"])), 3, 3)
    opening = np.minimum(0.52 - 0.46 * (q - 1.15) - np.abs(centre), q - 1.20 - 0.25 * (0.5 - np.abs(centre)))
    stage.lay(
        stage.soft(opening * head.scale),
        ramp(0.85 - 0.5 * centre - 0.3 * np.abs(centre), shirt * 0.5, shirt, shirt * 1.05),
        "cloth",
    )
    for side in (-1, 1):
        flap = np.minimum(0.10 - np.abs(centre - side * (0.50 - 0.42 * (q - 1.2))), np.minimum(q - 1.12, 2.3 - q))
        stage.lay(stage.soft(flap * head.scale), coat * (1.05 if side < 0 else 0.55), "cloth")
    if not open_neck or rng.random() < 0.4:
        knot = 1 - (centre / 0.30) ** 2 - ((q - 1.32) / 0.13) ** 2
        tie = vary(rng, str(rng.choice(["#7d2f2a", "#2c3c5a", "#b08a3c"])), 4, 6)
        stage.lay(stage.soft(knot * head.scale * 0.15), ramp(0.6 - centre, tie * 0.4, tie, tie * 1.4), "cloth")


def face(stage: Stage, head: Head, skin: tuple[str, ...]) -> None:
    """The face as a height field under light: skull, brow, sockets, nose, cheeks, lips and chin."""
    p, q = head.p, head.q

    def bump(x, y, wide, tall, high):
        return high * np.exp(-(((p - x) / wide) ** 2) - ((q - y) / tall) ** 2)

    middle = head.middle
    z = 0.85 * np.clip(head.outline(), 0.0, 1) ** 0.5
    for side in (-1, 1):
        eye = head.at(side, 0.31)
        z = z + bump(eye, -0.08, 0.17, 0.11, -0.13) + bump(eye, -0.24, 0.22, 0.07, 0.06)
        z = z + bump(head.at(side, 0.42), 0.20, 0.20, 0.16, 0.10) + bump(head.at(side, 0.42), 0.52, 0.16, 0.18, -0.05)
        z = z + bump(head.at(side, 0.11), 0.29, 0.07, 0.06, 0.08) + bump(eye, -0.075, 0.11, 0.07, 0.07)
    ridge = np.clip((q + 0.22) / 0.52, 0, 1)
    tip = 1 / (1 + np.exp((q - 0.335) * 38))
    z = z + (0.05 + 0.27 * ridge) * tip * (q > -0.4) * np.exp(
        -(((p - middle * (1 + 0.22 * ridge)) / (0.085 + 0.05 * ridge)) ** 2)
    )
    z = (
        z
        + bump(middle, 0.52, 0.22, 0.045, 0.055)
        + bump(middle, 0.63, 0.18, 0.05, 0.06)
        + bump(middle, 0.57, 0.24, 0.018, -0.04)
    )
    z = z + bump(middle, 0.72, 0.2, 0.04, -0.05) + bump(middle, 0.86, 0.2, 0.12, 0.09)
    light = lambert(ndimage.gaussian_filter(z, 1.2) * head.scale, stage.pixel, FACE_LIGHT)
    light = 0.10 + 0.88 * light + 0.03 * stage.noise(0.04, 2)
    colour = ramp(light, *skin)
    rosy = sum(bump(head.at(side, 0.42), 0.24, 0.2, 0.15, 0.5) for side in (-1, 1)) + bump(middle * 1.2, 0.28, 0.12, 0.1, 0.5)
    colour = colour + (0.16 * rosy)[..., None] * (colour * np.array([1.12, 0.72, 0.66]) - colour)
    stage.lay(stage.soft(head.outline() * head.scale * 0.5), colour, "skin")
    nostrils = sum(bump(head.at(side, 0.09) + 0.05 * head.yaw, 0.365, 0.05, 0.026, 1.0) for side in (-1, 1))
    stage.lay(np.clip(nostrils * 0.75, 0, 1), rgb(skin[0]) * 0.7)


def eyes(stage: Stage, head: Head, tone: np.ndarray) -> None:
    """Eyes with lids, irises, a light in each, and brows."""
    iris_colour = vary(stage.rng, str(stage.rng.choice(["#4a3524", "#4c6274", "#55603e"])), 3, 3)
    gaze = 0.05 * head.yaw
    p, q, unit = head.p, head.q, head.scale
    for side in (-1, 1):
        x = head.at(side, 0.31)
        wide = 0.135 * (1 - 0.22 * side * head.yaw)
        across = (p - x) / wide
        open_ = np.minimum(0.062 * (1 - across**2) - (-0.085 - q), 0.045 * (1 - across**2) - (q + 0.085))
        mask = stage.soft(open_ * unit)
        stage.lay(mask, ramp(0.75 - 0.3 * across * (1 if side > 0 else 0.6), "#6b5a52", "#cfc4b6", "#eee8dc"))
        iris = 1 - ((p - x - gaze) / 0.062) ** 2 - ((q + 0.092) / 0.064) ** 2
        stage.lay(mask * stage.soft(iris * unit * 0.05), iris_colour * (0.7 + 0.3 * np.clip(iris, 0, 1)[..., None]))
        pupil = 1 - ((p - x - gaze) / 0.028) ** 2 - ((q + 0.092) / 0.030) ** 2
        stage.lay(mask * stage.soft(pupil * unit * 0.05), rgb("#120d0b"))
        spark = 1 - ((p - x - gaze + 0.022) / 0.014) ** 2 - ((q + 0.115) / 0.014) ** 2
        stage.lay(mask * stage.soft(spark * unit * 0.03), rgb("#ffffff"))
        lid = np.exp(-(((q + 0.085 + 0.062 * (1 - across**2)) / 0.018) ** 2)) * (np.abs(across) < 1.1)
        stage.lay(0.85 * lid, rgb("#2a1712"))
        crease = np.exp(-(((q + 0.128 + 0.06 * (1 - across**2)) / 0.014) ** 2)) * (np.abs(across) < 1.0)
        stage.lay(0.35 * crease, rgb("#4a2a1e"))
        arch = q + 0.255 + 0.055 * (1 - (across / 1.35 - 0.15 * side) ** 2)
        brow = np.exp(-((arch / 0.032) ** 2)) * (np.abs(across - 0.1 * side) < 1.35)
        stage.lay(0.8 * brow, tone * 0.6)


def mouth(stage: Stage, head: Head) -> None:
    """Lips: the upper darker than the lower, a line between, the corners turned a little."""
    p, q, x = head.p, head.q, head.middle
    across = (p - x) / (0.235 * (1 - 0.12 * abs(head.yaw)))
    curve = 0.57 + stage.rng.uniform(-0.03, 0.02) * across**2
    upper = np.minimum(0.055 * (1 - across**2) * (1 - 0.25 * np.exp(-((across / 0.16) ** 2))) - (curve - q), curve - q + 0.004)
    lower = np.minimum(0.075 * (1 - across**2) - (q - curve), q - curve + 0.004)
    lip = vary(stage.rng, "#a4523f", 3, 3)
    stage.lay(0.75 * stage.soft(upper * head.scale), lip * 0.72)
    stage.lay(0.70 * stage.soft(lower * head.scale), lip * 1.18)
    line = np.exp(-(((q - curve) / 0.016) ** 2)) * (np.abs(across) < 1)
    stage.lay(0.8 * line, rgb("#4a1c16"))


def whiskers(stage: Stage, head: Head, kind: str, tone: np.ndarray) -> None:
    """A beard over jaw and chin with a moustache."""
    p, q, x = head.p, head.q, head.middle
    rough = 0.05 * noise(stage.rng, stage.shape, 9, 2)
    if kind == "full":
        jaw = np.minimum(head.narrow() * 1.08 - np.abs(p), 1.42 - 0.9 * np.abs(p - x * 0.5) ** 2 - q)
        mass = np.minimum(jaw, q - 0.30 - 0.28 * np.clip(1 - np.abs(p - x) / 0.55, 0, 1)) + rough
    else:
        jaw = np.minimum(head.narrow() * 1.0 - np.abs(p), 1.08 - 0.55 * p**2 - q)
        mass = np.minimum(jaw, q - 0.42 - 0.24 * np.clip(1 - np.abs(p - x) / 0.5, 0, 1)) + rough
    lips = 1 - ((p - x) / 0.17) ** 2 - ((q - 0.585) / 0.055) ** 2
    mass = np.minimum(mass, -lips * 0.1)
    moustache = np.minimum(0.30 - np.abs(p - x), 0.07 - np.abs(q - 0.475 - 0.30 * np.abs(p - x))) + 0.4 * rough
    colours = strands(stage, head, tone)
    stage.lay(0.94 * stage.soft(np.maximum(mass, moustache) * head.scale, 2.5), colours, "hair")


def hair_front(stage: Stage, head: Head, style: str, tone: np.ndarray) -> None:
    """The hair line over the forehead and down the temples."""
    p, q = head.p, head.q
    part = p - 0.3 * np.sign(head.yaw)
    line = -0.58 - 0.08 * np.cos(2.5 * part) + 0.75 * np.clip(np.abs(p) / head.width - 0.42, 0, 1) ** 1.6
    if style == "curly":
        line = line + 0.06 * noise(stage.rng, stage.shape, 12, 2)
    crown = 1 - (p / 0.86) ** 2 - ((q + 0.22) / 0.92) ** 2
    low = {"short": 0.05, "curly": 0.0, "bun": 0.15, "long": 0.9}[style]
    mass = np.minimum(np.minimum(crown * 0.5, line - q), low - q)
    stage.lay(stage.soft(mass * head.scale, 2), strands(stage, head, tone), "hair")


def headgear(stage: Stage, head: Head, kind: str) -> None:
    """A straw or felt hat, a cap or a headscarf, with its shadow on the forehead."""
    rng, p, q = stage.rng, head.p, head.q
    base = vary(rng, {"straw": "#c9a150", "felt": "#2d2a2b", "cap": "#27324a", "scarf": "#8c3b34"}[kind], 4, 5)
    tubes = (base * 0.3, base * 0.8, np.clip(base * 1.25, 0, 1), np.clip(base * 1.5 + 0.06, 0, 1))
    lean = 0.12 * head.yaw * p
    if kind == "scarf":
        ring = np.minimum(1 - (p / 0.98) ** 2 - ((q + 0.10) / 1.14) ** 2, 1.15 - q)
        hole = 1 - ((p - 0.08 * head.yaw) / 0.70) ** 2 - ((q - 0.12) / 0.82) ** 2
        mass = np.minimum(ring, -hole * 0.8)
        folds = 0.12 * np.sin(9 * np.arctan2(q, p) + 2 * stage.noise(0.2, 2))
        stage.lay(stage.soft(mass * head.scale * 0.5, 2), ramp(0.5 - 0.3 * p - 0.2 * q + folds, *tubes), "cloth")
        return
    brim_wide, brim_tall = {"straw": (1.5, 0.24), "felt": (1.32, 0.19), "cap": (0.80, 0.13)}[kind]
    level = q + 0.60 + lean
    shadow = np.exp(-(((level - brim_tall) / 0.20) ** 2)) * (np.abs(p) < head.width) * (q > -0.7)
    stage.shade(0.75 * shadow * stage.soft(head.outline() * head.scale), 0.8, "#3a2420")
    crown = np.minimum(1 - np.abs(p / (0.80 - 0.06 * (q + 1))) ** 3 - np.abs((q + 0.95 + lean) / 0.46) ** 3, -0.52 - q - lean)
    weave = 0.08 * np.sin(40 * (q + lean)) if kind == "straw" else 0.04 * stage.noise(0.05, 2)
    stage.lay(stage.soft(crown * head.scale * 0.4), ramp(0.62 - 0.42 * p + weave, *tubes), "cloth")
    band = np.minimum(0.09 - np.abs(level + 0.10), 0.80 - np.abs(p))
    stage.lay(stage.soft(band * head.scale), ramp(0.5 - 0.4 * p, base * 0.1, base * 0.32), "cloth")
    brim = 1 - (p / brim_wide) ** 2 - (level / brim_tall) ** 2
    rim = 0.55 - 0.25 * p - 0.45 * level / brim_tall + weave
    stage.lay(stage.soft(brim * head.scale * brim_tall), ramp(rim, *tubes), "cloth")
