"""Still lifes: bowls, bottles, fruit and flowers on a table with a cloth, lit from the upper left."""

import numpy as np
import scipy  # interpolate is loaded when it is first used, which takes half a second

from workbench.samples.flow import noise
from workbench.samples.forms import (
    LIGHT,
    Stage,
    ball,
    lambert,
    ramp,
    rgb,
    vary,
)
from workbench.samples.scene import Picture

FRUITS = {
    "apple": ("#5a1a14", "#b3342a", "#d8622f", "#f0c27a"),
    "lemon": ("#6e5514", "#c79c22", "#ecd047", "#fbf0a4"),
    "orange": ("#6b2c0e", "#cf6a1c", "#f0953a", "#fbd092"),
    "pear": ("#4b4a18", "#8d8a32", "#c9c058", "#efe8a2"),
    "plum": ("#1c1226", "#43284f", "#6f4a78", "#b4a0c0"),
    "peach": ("#6e2a20", "#c9664a", "#eba173", "#f8dcb0"),
}
WARES = ("#7d8f8a", "#b9a888", "#8a4a32", "#e0dccf", "#4d6377", "#6f7a4a")
Outline = tuple[list[float], list[float]]
"""A thing of revolution: heights from 0 (its foot) to 1, and half its width there, in heights."""
BOTTLE: Outline = ([0, 0.03, 0.55, 0.66, 0.74, 0.95, 0.96, 1], [0.125, 0.135, 0.135, 0.09, 0.048, 0.043, 0.055, 0.052])
JUG: Outline = ([0, 0.05, 0.35, 0.6, 0.78, 0.9, 1], [0.19, 0.22, 0.33, 0.28, 0.17, 0.17, 0.22])
VASE: Outline = ([0, 0.06, 0.45, 0.75, 0.9, 1], [0.24, 0.28, 0.42, 0.34, 0.24, 0.30])
BLOOMS = ("#e8b23a", "#d95a3c", "#efe6da", "#c65a86", "#7a63b0", "#f0d65a")


def still_life(rng: np.random.Generator, motif: str, aspect: float, size: int) -> Picture:
    """A still life of `motif`: fruit, bottle, flowers, sunflowers, jug or kitchen."""
    stage = Stage(rng, aspect, size, "background", rgb("#808080"))
    edge = {"flowers": 0.70, "sunflowers": 0.72}.get(motif, 0.50) + rng.uniform(-0.04, 0.04)
    room(stage, edge)
    x = stage.aspect
    if motif in ("flowers", "sunflowers"):
        vase(stage, x * rng.uniform(0.44, 0.56), edge + 0.17, motif)
        scatter_fruit(stage, int(rng.integers(0, 4)), edge + 0.12, 0.93)
    elif motif == "fruit":
        cloth(stage, edge)
        bowl(stage, x * rng.uniform(0.4, 0.6), edge + 0.26, 0.27)
        scatter_fruit(stage, 4, edge + 0.27, 0.92)
    elif motif == "bottle":
        turned(stage, x * rng.uniform(0.22, 0.36), edge + 0.22, 0.60, BOTTLE, vary(rng, "#2c4634", 4, 5), 0.9)
        glass(stage, x * rng.uniform(0.60, 0.72), edge + 0.20)
        scatter_fruit(stage, 5, edge + 0.22, 0.92)
    elif motif == "jug":
        cloth(stage, edge)
        ware = vary(rng, str(rng.choice(WARES)), 5, 5)
        turned(stage, x * rng.uniform(0.28, 0.38), edge + 0.24, 0.50, JUG, ware, 0.5)
        bowl(stage, x * 0.68, edge + 0.27, 0.19)
        scatter_fruit(stage, 3, edge + 0.30, 0.92)
    else:
        turned(stage, x * 0.22, edge + 0.20, 0.42, JUG, vary(rng, "#a8673c", 5, 5), 0.6)
        turned(stage, x * 0.80, edge + 0.18, 0.52, BOTTLE, vary(rng, "#49331f", 4, 4), 0.8)
        loaf(stage, x * 0.52, edge + 0.24, 0.20)
        scatter_fruit(stage, 4, edge + 0.30, 0.92)
    return stage.picture()


def room(stage: Stage, edge: float) -> None:
    """A wall with the light falling off to the right, and a table in front of it."""
    rng = stage.rng
    wall = vary(rng, str(rng.choice(["#7f8f86", "#a89468", "#6a7a92", "#9a7a62", "#8c8a7a", "#b8a878"])), 5, 6)
    fall = 0.72 - 0.45 * stage.X / stage.aspect - 0.1 * stage.Y + 0.07 * stage.noise(0.3, 3)
    stage.lay(np.ones(stage.shape), ramp(fall, wall * 0.3, wall * 0.75, np.clip(wall * 1.2, 0, 1)))
    wood = vary(rng, str(rng.choice(["#8a5d38", "#6f4a30", "#a67c4e", "#7a6a52"])), 5, 4)
    grain = 0.08 * np.sin(stage.Y * 130 + 2 * noise(rng, stage.shape, 60, 2)) + 0.05 * stage.noise(0.05, 2)
    light = 0.62 - 0.3 * stage.X / stage.aspect + 0.25 * (stage.Y - edge) + grain
    below_edge = stage.soft(stage.Y - edge, 1.5)
    stage.lay(below_edge, ramp(light, wood * 0.3, wood * 0.9, np.clip(wood * 1.45, 0, 1)), "object")
    stage.shade(np.exp(-(((stage.Y - edge) / 0.02) ** 2)) * below_edge, 0.4)


def cloth(stage: Stage, edge: float) -> None:
    """A white or coloured cloth over part of the table, falling in folds."""
    rng = stage.rng
    base = vary(rng, str(rng.choice(["#e6e2d8", "#dcd6c4", "#8fa3b5", "#b85c48"])), 3, 4)
    lean = rng.uniform(-0.3, 0.3)
    folds = 0.05 * np.sin(16 * (stage.X + lean * stage.Y) + 2.2 * stage.noise(0.4, 2)) + 0.018 * np.abs(stage.noise(0.15, 2))
    light = lambert(folds * np.clip((stage.Y - edge) * 2.2, 0.15, 1), stage.pixel)
    left, right = stage.aspect * rng.uniform(-0.1, 0.2), stage.aspect * rng.uniform(0.78, 1.1)
    wave = 0.03 * np.sin(stage.Y * 14)
    inside = np.minimum(
        np.minimum(stage.X - left - wave - 0.2 * (stage.Y - edge), right + wave - stage.X), stage.Y - edge - 0.03
    )
    tubes = (base * 0.35 + 0.04 * rgb("#4060a0"), base * 0.72, base, np.clip(base * 1.12, 0, 1))
    stage.lay(stage.soft(inside, 2), ramp(light * 1.45 - 0.3, *tubes), "cloth")


def cast(stage: Stage, x: float, foot: float, wide: float, long: float) -> None:
    """The shadow that a thing throws to the right on the table."""
    stage.shade(stage.soft(stage.ellipse(x + long * 0.55, foot - 0.01, wide + long * 0.5, wide * 0.33, -0.06) * 0.06, 6), 0.7)
    stage.shade(stage.soft(stage.ellipse(x + 0.02, foot, wide * 1.02, wide * 0.2) * 0.04, 4), 0.5)


def fruit(stage: Stage, kind: str, x: float, y: float, radius: float, on_table: bool = True) -> None:
    """One fruit with its light, its reflected light and its dimple."""
    if on_table:
        cast(stage, x, y + radius * 0.85, radius, radius * 1.6)
    part = stage.window(x - 2.2 * radius, y - 2.6 * radius, x + 2.2 * radius, y + 1.6 * radius)
    tubes = [vary(stage.rng, c, 3, 5) for c in FRUITS[kind]]
    mask, light = ball(part, x, y, radius, 0.86 if kind == "lemon" else 0.95)
    if kind == "pear":
        top, shine = ball(part, x + 0.12 * radius, y - radius * 0.95, radius * 0.55, 1.3)
        part.lay(top, ramp(shine * 0.95 + 0.06, *tubes), "object")
    blush = 0.10 * noise(stage.rng, part.shape, 14, 2)
    part.lay(mask, ramp(light * 0.98 + 0.05 + blush * (light > 0.2), *tubes), "object")
    spark = np.exp(
        -(((part.X - x + 0.36 * radius) / (0.15 * radius)) ** 2) - ((part.Y - y + 0.40 * radius) / (0.12 * radius)) ** 2
    )
    part.lay(0.7 * spark, rgb("#fffdf2"))
    if kind in ("apple", "peach", "orange"):
        dimple = np.exp(
            -(((part.X - x - 0.1 * radius) / (0.25 * radius)) ** 2) - ((part.Y - y + 0.62 * radius) / (0.10 * radius)) ** 2
        )
        part.shade(dimple, 0.6)


def scatter_fruit(stage: Stage, count: int, low: float, high: float) -> None:
    """Fruit on the table, farther ones first and smaller."""
    kinds = stage.rng.choice(list(FRUITS), count)
    for kind, y in zip(kinds, np.sort(stage.rng.uniform(low, high, count)), strict=True):
        fruit(
            stage,
            str(kind),
            stage.aspect * stage.rng.uniform(0.1, 0.9),
            y - 0.03,
            0.048 + 0.035 * y * stage.rng.uniform(0.8, 1.3),
        )


def bowl(stage: Stage, x: float, foot: float, wide: float) -> None:
    """A bowl heaped with fruit."""
    rng = stage.rng
    ware = vary(rng, str(rng.choice(WARES)), 5, 5)
    cast(stage, x, foot, wide * 0.7, wide * 1.1)
    rim = foot - wide * 0.62
    stage.lay(
        stage.soft(stage.ellipse(x, rim, wide, wide * 0.2) * 0.1),
        ramp(0.5 + 0.8 * (stage.X - x), ware * 0.25, ware * 0.8),
        "object",
    )
    for row, (count, lift) in enumerate(((4, 0.02), (3, 0.13), (1, 0.24))):
        for k in range(count):
            at = x + wide * 0.42 * (k - (count - 1) / 2) + rng.normal(0, 0.012)
            fruit(stage, str(rng.choice(list(FRUITS))), at, rim - wide * lift * 1.5, wide * (0.27 - 0.015 * row), False)
    under = np.minimum(stage.ellipse(x, rim, wide, wide * 0.64), stage.Y - rim)
    across = (stage.X - x) / wide
    light = 0.62 - 0.62 * across - 0.9 * (stage.Y - rim) + 0.35 * np.exp(-(((across + 0.45) / 0.1) ** 2)) - 0.1 * across**4
    stripe = 0.2 * (np.abs(stage.Y - rim - wide * 0.16) < wide * 0.035)
    body = stage.soft(under * wide * 0.4) * (
        1 - stage.soft(stage.ellipse(x, rim - wide * 0.03, wide * 0.98, wide * 0.17) * 0.1)
    )
    stage.lay(body, ramp(light - stripe, ware * 0.22, ware * 0.8, np.clip(ware * 1.25, 0, 1), rgb("#f8f4e8")), "object")
    lip = stage.soft(0.012 - np.abs(stage.ellipse(x, rim, wide, wide * 0.2)) * 0.12)
    stage.lay(lip * stage.soft(stage.Y - rim), np.clip(ware * 1.3, 0, 1))


def turned(stage: Stage, x: float, foot: float, tall: float, outline: Outline, ware: np.ndarray, gloss: float) -> None:
    """A thing of revolution with the given outline: a lit side, a dark side, reflected light and a highlight."""
    profile = scipy.interpolate.PchipInterpolator(*outline)
    t = np.clip((foot - stage.Y) / tall, 0, 1)
    half = profile(t).astype(np.float32) * tall
    cast(stage, x, foot, float(profile(0.1)) * tall, tall * 0.5)
    across = np.clip((stage.X - x) / half, -1, 1)
    depth = np.sqrt(1 - across**2)
    slope = np.gradient(half, stage.pixel, axis=0)
    light = across * LIGHT[0] + depth * LIGHT[2] - slope * 0.25 * LIGHT[1]
    light = np.clip(light, 0.03, 1) + 0.16 * np.clip(across - 0.72, 0, 1) * 3
    round_foot = foot + 0.10 * half * depth - stage.Y
    inside = np.minimum(np.minimum(half - np.abs(stage.X - x), round_foot), stage.Y - (foot - tall))
    tubes = (ware * 0.18, ware * 0.6, ware, np.clip(ware * 1.5 + 0.05, 0, 1))
    stage.lay(stage.soft(inside), ramp(light + 0.03 * stage.noise(0.1), *tubes), "object")
    streak = np.exp(-(((across + 0.48) / 0.10) ** 2)) * (t > 0.12) * (t < 0.93) * gloss
    stage.lay(stage.soft(inside) * streak * 0.8, rgb("#f6f6ee"))
    mouth = stage.ellipse(x, foot - tall, float(profile(1.0)) * tall, float(profile(1.0)) * tall * 0.24)
    stage.lay(stage.soft(mouth * 0.03), ware * 0.25, "object")


def glass(stage: Stage, x: float, foot: float) -> None:
    """A glass of red wine."""
    wide, tall = 0.075, 0.25
    cast(stage, x, foot, wide * 0.8, 0.14)
    cup = np.minimum(stage.ellipse(x, foot - tall * 0.66, wide, tall * 0.36), stage.Y - (foot - tall))
    across = (stage.X - x) / wide
    seen = stage.image * 0.75 + 0.16
    stage.lay(stage.soft(cup * 0.06), seen, "object")
    wine = np.minimum(cup, stage.Y - (foot - tall * 0.72))
    stage.lay(0.92 * stage.soft(wine * 0.06), ramp(0.45 - 0.5 * across, "#2a0810", "#7a1622", "#c84a3e"), "object")
    stem = np.minimum(0.008 - np.abs(stage.X - x), np.minimum(stage.Y - (foot - tall * 0.32), foot - stage.Y))
    stage.lay(0.8 * stage.soft(stem), rgb("#c9cfcf"), "object")
    stage.lay(0.6 * stage.soft(stage.ellipse(x, foot, wide * 0.75, wide * 0.2) * 0.03), rgb("#aeb6b4"), "object")
    stage.lay(0.85 * np.exp(-(((across + 0.55) / 0.1) ** 2)) * stage.soft(cup * 0.06), rgb("#fbfbf4"))


def loaf(stage: Stage, x: float, foot: float, wide: float) -> None:
    """A round loaf with cuts in its crust."""
    cast(stage, x, foot, wide * 0.9, wide)
    mask, light = ball(stage, x, foot - wide * 0.42, wide, 0.52)
    cuts = 0.22 * np.clip(np.sin((stage.X - x) * 48 + (stage.Y - foot) * 30) - 0.55, 0, 1)
    stage.lay(mask, ramp(light + cuts + 0.06 * stage.noise(0.03, 2), "#3a1f10", "#8a5426", "#c98d4a", "#f0d29a"), "object")


def flower(stage: Stage, x: float, y: float, radius: float, colour: np.ndarray, centre: str, petals: int) -> None:
    """A flower: petals round a centre, seen a little from the side."""
    rng = stage.rng
    part = stage.window(x - 1.4 * radius, y - 1.4 * radius, x + 1.4 * radius, y + 1.4 * radius)
    squash, turn = rng.uniform(0.62, 1.0), rng.uniform(0, 3)
    dx, dy = (part.X - x) / radius, (part.Y - y) / (radius * squash)
    far, around = np.hypot(dx, dy), np.arctan2(dy, dx) + turn
    edge = 0.78 + 0.20 * np.abs(np.cos(around * petals / 2)) + 0.05 * noise(rng, part.shape, 8, 1)
    light = 0.55 - 0.32 * dx - 0.25 * dy + 0.22 * np.cos(around * petals) * far - 0.2 * np.clip(0.5 - far, 0, 1)
    tubes = (colour * 0.35, colour * 0.85, np.clip(colour * 1.12, 0, 1), np.clip(colour * 1.2 + 0.14, 0, 1))
    part.lay(part.soft((edge - far) * radius), ramp(light, *tubes), "flower")
    core = 0.36 - far
    dark = rgb(centre)
    part.lay(
        part.soft(core * radius),
        ramp(0.5 - dx - dy + 0.2 * noise(rng, part.shape, 4, 1), dark * 0.4, dark, dark * 1.5),
        "flower",
    )


def vase(stage: Stage, x: float, foot: float, motif: str) -> None:
    """A vase of mixed flowers or of sunflowers, with leaves."""
    rng = stage.rng
    tall = 0.32
    ware = vary(rng, str(rng.choice(WARES)), 5, 6)
    middle = foot - tall - 0.20
    for _ in range(46):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.29)
        leaf = stage.ellipse(
            x + reach * np.cos(angle), middle + 0.8 * reach * np.sin(angle), 0.085, 0.03, angle + rng.normal(0, 0.4)
        )
        shade = 0.4 - 0.5 * np.cos(angle) + 0.2 * rng.standard_normal() + 0.15 * leaf
        stage.lay(stage.soft(leaf * 0.03), ramp(shade, "#16281a", "#345a32", "#7d9a4a"), "foliage")
    turned(stage, x, foot, tall, VASE, ware, 0.5)
    count = 9 if motif == "sunflowers" else 17
    kinds = [
        vary(rng, c, 3, 6) for c in (("#e3a722", "#efc23a", "#d98a1e") if motif == "sunflowers" else rng.choice(BLOOMS, 4))
    ]
    for k in range(count):
        angle, reach = k * 2.4 + rng.normal(0, 0.3), 0.25 * np.sqrt((k + 0.6) / count)
        size = rng.uniform(0.085, 0.115) if motif == "sunflowers" else rng.uniform(0.05, 0.08)
        centre = "#5a3418" if motif == "sunflowers" else "#c79a3a"
        flower(stage, x + 1.15 * reach * np.cos(angle), middle + 0.95 * reach * np.sin(angle), size,
               kinds[k % len(kinds)], centre, 14 if motif == "sunflowers" else int(rng.integers(5, 9)))  # fmt: skip
