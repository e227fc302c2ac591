"""Landscapes: sky, hills, fields, water, trees and houses, in daylight from the upper left."""

import numpy as np

from workbench.samples.flow import noise
from workbench.samples.forms import (
    Stage,
    clumps,
    lambert,
    ramp,
    rgb,
    vary,
)
from workbench.samples.scene import Picture

GREENS = ("#2a4222", "#4d6b2e", "#86993f", "#c0bd66")
WHEAT = ("#7a5a22", "#b98d35", "#ddb95a", "#f0dc94")
EARTH = ("#4a3526", "#7d5d3f", "#a98a62", "#d0b78c")


def landscape(rng: np.random.Generator, motif: str, aspect: float, size: int) -> Picture:
    """A landscape of `motif`: hills, wheat, river, lake, orchard, haystacks, village or coast."""
    horizon = {"lake": 0.46, "coast": 0.44, "hills": 0.60, "village": 0.56}.get(motif, 0.42) + rng.uniform(-0.05, 0.05)
    stage = Stage(rng, aspect, size, "sky", rgb("#a9c3df"))
    sky(stage, horizon)
    far_hills(stage, horizon, 3 if motif in ("hills", "village") else 2)
    {
        "hills": rolling, "wheat": wheat, "river": river, "lake": lake, "orchard": orchard,
        "haystacks": haystacks, "village": village, "coast": coast,
    }[motif](stage, horizon)  # fmt: skip
    return stage.picture()


def sky(stage: Stage, horizon: float) -> None:
    """A blue sky, paler and warmer to the horizon, with clouds lit from the upper left."""
    high = np.clip(stage.Y / max(horizon, 0.2), 0, 1)
    stage.lay(np.ones(stage.shape), ramp(high + 0.05 * stage.noise(0.4), "#5f8fc6", "#9dbfdf", "#e6e0cc"))
    billow = stage.noise(stage.rng.uniform(0.22, 0.5), 4) + 0.5 * noise(stage.rng, stage.shape, 30 / stage.aspect, 1)
    cover = np.clip((billow - stage.rng.uniform(0.1, 1.0)) * 1.1, 0, 1)
    lit = lambert(billow * 0.045, stage.pixel)
    stage.lay(cover * 0.9, ramp(lit * 1.25 - 0.2, "#8b93a8", "#cfcdd0", "#fff8ea"))
    glow = np.exp(-(((stage.X - stage.aspect * 0.2) / 0.5) ** 2) - ((stage.Y - horizon) / 0.16) ** 2)
    stage.lay(0.55 * glow, rgb("#f6deb0"))


def below(stage: Stage, line: np.ndarray, blur: float = 1.2) -> np.ndarray:
    """The mask of what lies below a ridge line (W,)."""
    return stage.soft(stage.Y - line[None, :], blur)


def far_hills(stage: Stage, horizon: float, count: int) -> None:
    """Blue hills one behind another, paler with distance."""
    for k in range(count):
        near = (k + 1) / count
        line = stage.ridge(horizon - 0.10 * (1 - near) - 0.03, 0.035 + 0.02 * (1 - near), 0.55)
        body = stage.noise(0.09, 3)
        light = lambert(body * 0.02 + 0.4 * np.abs(stage.noise(0.3, 2)) * 0.1, stage.pixel)
        tone = ramp(light, "#40566b", "#7389a0", "#a7b5bd") * (1 - 0.35 * near) + 0.35 * near * ramp(light, *GREENS)
        stage.lay(below(stage, line), tone * 0.8 + 0.2 * (1 - near) * rgb("#c9d4de"), "land")
    meadow(stage, horizon)


def meadow(stage: Stage, horizon: float) -> None:
    """A green plain from the horizon down, lit in patches."""
    mask = below(stage, stage.ridge(horizon, 0.006, 0.5))
    depth = np.clip((stage.Y - horizon) / (1 - horizon), 0.02, 1)
    patches = noise(stage.rng, stage.shape, 26, 2) * 0.08 + stage.noise(0.25, 2) * 0.12
    stage.lay(mask, ramp(0.45 + patches + 0.15 * np.sin(9 * np.log(depth)), *GREENS), "land")


def furrows(stage: Stage, horizon: float, tubes: tuple[str, ...], vanish: float, mask: np.ndarray) -> None:
    """Rows that run to a vanishing point on the horizon."""
    depth = np.clip((stage.Y - horizon + 0.03), 0.03, 1)
    across = (stage.X - vanish) / depth
    rows = np.sin(across * 16 + 0.6 * stage.noise(0.3, 2)) * np.clip(depth * 4, 0, 1)
    stage.lay(mask, ramp(0.5 + 0.28 * rows + 0.1 * stage.noise(0.05, 2), *tubes), "land")


def tree(stage: Stage, x: float, foot: float, height: float, kind: str) -> None:
    """A round tree, a poplar or a cypress standing at (x, foot)."""
    rng = stage.rng
    stage = stage.window(x - 0.6 * height, foot - 1.2 * height, x + 0.95 * height, foot + 0.1 * height)
    lobes = noise(rng, stage.shape, 0.10 / stage.pixel * (0.5 + height), 3)
    if kind == "round":
        middle, rx, ry = foot - height * 0.62, height * 0.42, height * 0.42
        trunk = stage.polygon([(x - height * 0.035, foot), (x - height * 0.02, foot - height * 0.5),
                               (x + height * 0.02, foot - height * 0.5), (x + height * 0.04, foot)])  # fmt: skip
        stage.lay(stage.soft(trunk), ramp((stage.X - x) / (height * 0.08) + 0.5, "#8a6b48", "#3d2a1e"), "foliage")
        outline = stage.ellipse(x, middle, rx, ry) + 0.32 * lobes
        tubes = [vary(rng, c, 3, 5) for c in ("#1c2c18", "#35502a", "#6c8539", "#b9b65c")]
    else:
        middle, ry = foot - height * 0.5, height * 0.52
        rx = height * (0.13 if kind == "cypress" else 0.10)
        sway = 0.25 * rx * np.sin((stage.Y - foot) * 9 / height + rng.uniform(0, 6))
        narrow = np.clip((stage.Y - (foot - height)) / height, 0.02, 1) ** 0.6
        outline = 1 - ((stage.X - x - sway) / (rx * narrow + 1e-3)) ** 2 - ((stage.Y - middle) / ry) ** 4 + 0.3 * lobes
        dark = ("#101c16", "#1f3322", "#3d5530", "#6f7d45")
        tubes = [vary(rng, c, 2, 3) for c in (dark if kind == "cypress" else ("#24381e", "#4a6630", "#8c9a48", "#cdbf68"))]
    cast = stage.ellipse(x + height * 0.35, foot, height * 0.5, height * 0.05)
    stage.shade(stage.soft(cast * 0.05, 4), 0.5)
    stage.lay(stage.soft(outline * rx * 0.5), ramp(clumps(stage, outline, 0.03 + 0.06 * height), *tubes), "foliage")


def house(stage: Stage, x: float, foot: float, width: float, tall: float) -> None:
    """A house seen at a corner: lit gable, shaded side, tiled roof, a window or two and a chimney."""
    rng = stage.rng
    stage = stage.window(x - 0.1 * width, foot - 1.3 * tall, x + 1.7 * width, foot + 0.2 * tall)
    wall = vary(rng, rng.choice(["#e4d6bb", "#d9c3a0", "#efe8d8", "#cfae8c"]), 3, 3)
    roof = vary(rng, rng.choice(["#a4553a", "#8a4a3c", "#7c6a5c", "#b5713f"]), 4, 4)
    top, split, peak = foot - tall * 0.55, x + width * 0.36, foot - tall
    gable = [(x, foot), (x, top), (x + width * 0.18, peak), (split, top), (split, foot)]
    side = [(split, foot), (split, top), (x + width, top), (x + width, foot)]
    tiles = [(x + width * 0.18, peak), (x + width * 0.86, peak), (x + width * 1.04, top + 0.01), (split - 0.004, top + 0.01)]
    stage.lay(stage.soft(stage.polygon(side)), wall * 0.62 + 0.06 * rgb("#5060a0"), "building")
    stage.lay(stage.soft(stage.polygon(gable)), wall * (1 - 0.12 * (stage.Y - peak)[..., None]), "building")
    stripes = 0.06 * np.sin((stage.Y - peak) / tall * 60)[..., None]
    stage.lay(stage.soft(stage.polygon(tiles)), roof * (0.92 + stripes), "building")
    for k in range(2):
        left = split + width * (0.1 + 0.28 * k)
        pane = stage.polygon([(left, top + tall * 0.14), (left + width * 0.1, top + tall * 0.14),
                              (left + width * 0.1, top + tall * 0.34), (left, top + tall * 0.34)])  # fmt: skip
        stage.lay(stage.soft(pane), rgb("#3a3f4c"), "building")
    chimney = x + width * rng.uniform(0.45, 0.7)
    stack = stage.polygon([(chimney, peak + 0.01), (chimney, peak - tall * 0.18),
                           (chimney + width * 0.07, peak - tall * 0.18), (chimney + width * 0.07, peak + 0.01)])  # fmt: skip
    stage.lay(stage.soft(stack), roof * 0.8, "building")
    stage.shade(stage.soft(stage.ellipse(x + width * 1.05, foot, width * 0.5, tall * 0.1) * 0.05, 4), 0.45)


def mirror(stage: Stage, mask: np.ndarray, shore: float) -> None:
    """Water under a shore line: what stands above it upside down, broken by ripples, and the sky's colour."""
    rows, columns = stage.shape
    y = np.arange(rows)[:, None] / rows
    ripple = (noise(stage.rng, (rows, columns), 7, 2) * 0.006 + 0.004 * np.sin(y * 400)) * (0.3 + 3 * np.clip(y - shore, 0, 1))
    source = np.clip((2 * shore - y + 3 * ripple) * rows, 0, rows - 1).astype(int)
    column = np.clip(np.arange(columns)[None, :] + ripple * columns, 0, columns - 1).astype(int)
    deep = np.clip((stage.Y - shore) / (1.02 - shore), 0, 1)
    seen = stage.image[source, column] * 0.86
    water = seen * (0.85 - 0.35 * deep[..., None]) + (0.15 + 0.3 * deep[..., None]) * ramp(deep, "#aebfc9", "#41627d")
    glint = np.clip(noise(stage.rng, stage.shape, 5, 1) - 1.6, 0, 1) * (0.2 + deep)
    stage.lay(mask, water + 0.5 * glint[..., None], "water")


def trees_along(stage: Stage, count: int, low: float, high: float, tall: float, kinds: tuple[str, ...]) -> None:
    """Trees of varied height, farther ones first, with their feet between Y = low and high."""
    feet = np.sort(stage.rng.uniform(low, high, count))
    for foot in feet:
        scale = tall * (0.55 + 0.9 * (foot - low + 0.02) / (high - low + 0.04)) * stage.rng.uniform(0.75, 1.2)
        tree(stage, stage.rng.uniform(0.0, stage.aspect), foot, scale, str(stage.rng.choice(kinds)))


def rolling(stage: Stage, horizon: float) -> None:
    """Hill before hill with hedges, and one large dark tree near by."""
    for k in range(3):
        line = stage.ridge(horizon + 0.03 + 0.12 * k, 0.03, 0.6)
        body = stage.Y - line[None, :]
        light = 0.55 - 0.9 * body + 0.12 * stage.noise(0.08, 3) + 0.1 * np.sin(stage.X * 14 + body * 60)
        stage.lay(below(stage, line), ramp(light, *(GREENS if k != 1 else WHEAT)), "land")
        trees_along(stage, 5, horizon + 0.04 + 0.12 * k, horizon + 0.08 + 0.12 * k, 0.055 + 0.02 * k, ("round", "poplar"))
    left = stage.aspect * (0.16 if stage.rng.random() < 0.6 else 0.84)
    tree(stage, left, 1.02, stage.rng.uniform(0.72, 0.95), "cypress")


def wheat(stage: Stage, horizon: float) -> None:
    """A field of wheat in rows, a path through it, trees and a house behind."""
    trees_along(stage, 7, horizon - 0.005, horizon + 0.02, 0.09, ("round", "poplar"))
    house(stage, stage.aspect * stage.rng.uniform(0.5, 0.8), horizon + 0.035, 0.16, 0.11)
    mask = below(stage, stage.ridge(horizon + 0.035, 0.005, 0.6))
    vanish = stage.aspect * stage.rng.uniform(0.3, 0.7)
    furrows(stage, horizon, WHEAT, vanish, mask)
    depth = np.clip(stage.Y - horizon, 0, 1)
    path = 0.16 * depth + 0.004 - np.abs(stage.X - vanish - 0.25 * depth * np.sin(5 * depth + stage.rng.uniform(0, 6)))
    stage.lay(stage.soft(path, 2) * mask, ramp(0.6 + 0.15 * stage.noise(0.06), *EARTH), "land")


def river(stage: Stage, horizon: float) -> None:
    """A river that winds from the horizon to the front, with trees on its banks."""
    trees_along(stage, 9, horizon, horizon + 0.06, 0.12, ("round", "poplar"))
    depth = np.clip((stage.Y - horizon - 0.03) / (1 - horizon), 0, 1)
    middle = stage.aspect * (0.5 + 0.22 * np.sin(4.5 * depth**0.7 + stage.rng.uniform(0, 6)))
    mask = stage.soft(0.02 + 0.36 * depth**1.3 - np.abs(stage.X - middle)) * (depth > 0)
    mirror(stage, mask, horizon + 0.03)
    trees_along(stage, 3, 0.78, 0.98, 0.36, ("round",))


def lake(stage: Stage, horizon: float) -> None:
    """A lake with its far shore mirrored."""
    shore = horizon + 0.05
    trees_along(stage, 10, horizon, shore, 0.13, ("round", "poplar", "cypress"))
    if stage.rng.random() < 0.7:
        house(stage, stage.aspect * stage.rng.uniform(0.3, 0.6), shore, 0.17, 0.13)
    mirror(stage, stage.soft(stage.Y - shore), shore)
    bank = stage.ridge(0.93, 0.02, 0.4)
    stage.lay(below(stage, bank), ramp(0.4 + 0.2 * stage.noise(0.05), *GREENS), "land")


def orchard(stage: Stage, horizon: float) -> None:
    """Rows of fruit trees, some in blossom, in grass."""
    furrows(stage, horizon, GREENS, stage.aspect * 0.5, below(stage, stage.ridge(horizon, 0.004, 0.6)))
    blossom = np.clip(noise(stage.rng, stage.shape, 4, 1) - 0.7, 0, 1)
    for foot in (horizon + 0.05, horizon + 0.16, horizon + 0.36):
        tall = 0.10 + (foot - horizon) * 0.85
        for x in np.arange(-0.1, stage.aspect + 0.1, tall * 1.05):
            tree(stage, x + stage.rng.normal(0, 0.03), foot + stage.rng.normal(0, 0.01), tall, "round")
            bloom = stage.ellipse(x, foot - tall * 0.62, tall * 0.42, tall * 0.4)
            stage.lay(blossom * (bloom > 0), rgb("#f4dcd8"))


def haystacks(stage: Stage, horizon: float) -> None:
    """Stacks of hay on stubble, with long shadows."""
    trees_along(stage, 8, horizon, horizon + 0.02, 0.10, ("round", "poplar"))
    ground_mask = below(stage, stage.ridge(horizon + 0.02, 0.004, 0.6))
    stage.lay(ground_mask, ramp(0.5 + 0.12 * stage.noise(0.05, 2) + 0.3 * (stage.Y - 0.7), *WHEAT), "land")
    for foot in np.sort(stage.rng.uniform(horizon + 0.14, 0.93, stage.rng.integers(1, 4))):
        size = 0.11 + 0.36 * (foot - horizon)
        x = stage.aspect * stage.rng.uniform(0.15, 0.75)
        shadow = stage.ellipse(x + size * 1.1, foot - size * 0.03, size * 1.3, size * 0.16, -0.05)
        stage.shade(stage.soft(shadow * size * 0.5, 3), 0.75)
        up = (foot - stage.Y) / size
        half = size * np.interp(up, [-0.1, 0.0, 0.42, 0.5, 0.9, 1.15], [0.60, 0.62, 0.72, 0.78, 0.34, -0.02]).astype(np.float32)
        side = np.clip((stage.X - x) / np.maximum(half, 1e-3), -1, 1)
        mask = stage.soft(np.minimum(half - np.abs(stage.X - x), 0.08 * size * np.sqrt(1 - side**2) + foot - stage.Y))
        thatch = stage.soft((up - 0.46 + 0.07 * side**2) * size, 3)
        straw = 0.07 * stage.noise(0.03, 2) - 0.25 * np.exp(-(((up - 0.42) / 0.05) ** 2))  # the shadow under the eaves
        light = 0.42 - 0.42 * side + straw + 0.25 * thatch
        stage.lay(mask, ramp(light, "#33241a", "#80582e", "#c69a48", "#f8e8b4"), "object")


def village(stage: Stage, horizon: float) -> None:
    """A village with a church between hills."""
    line = stage.ridge(horizon + 0.02, 0.025, 0.7)
    light = 0.5 + 0.12 * stage.noise(0.1, 3) + 0.12 * np.sin(stage.X * 18 + stage.Y * 30)
    stage.lay(below(stage, line), ramp(light, *GREENS), "land")
    trees_along(stage, 6, horizon + 0.03, horizon + 0.06, 0.09, ("round", "poplar"))
    middle = stage.aspect * stage.rng.uniform(0.4, 0.6)
    for foot in np.sort(stage.rng.uniform(horizon + 0.08, horizon + 0.24, 10)):
        scale = 0.10 + 0.35 * (foot - horizon)
        house(stage, middle + stage.rng.normal(0, 0.3) - scale / 2, foot, scale, scale * 0.85)
    tower_x, foot = middle, horizon + 0.15
    shaft = stage.polygon([(tower_x, foot), (tower_x, foot - 0.17), (tower_x + 0.045, foot - 0.17), (tower_x + 0.045, foot)])
    spire = stage.polygon([(tower_x - 0.006, foot - 0.165), (tower_x + 0.022, foot - 0.34), (tower_x + 0.051, foot - 0.165)])
    stage.lay(stage.soft(shaft), ramp((stage.X - tower_x) / 0.045, "#d9cbb0", "#8d8378"), "building")
    stage.lay(stage.soft(spire), ramp((stage.X - tower_x) / 0.045, "#77808c", "#3f4652"), "building")
    trees_along(stage, 5, horizon + 0.2, 0.98, 0.2, ("round", "cypress"))


def coast(stage: Stage, horizon: float) -> None:
    """The sea with breaking waves, a cliff and sand."""
    deep = np.clip((stage.Y - horizon) / (1 - horizon), 0, 1)
    waves = np.sin(60 * np.sqrt(deep + 0.02) + 1.2 * noise(stage.rng, stage.shape, 40, 3))
    stage.lay(stage.soft(stage.Y - horizon), ramp(0.55 - 0.35 * deep + 0.13 * waves, "#1f4a5e", "#4f8a98", "#a9c9c6"), "water")
    foam = np.clip(waves - 0.75, 0, 1) * 4 * np.clip(stage.noise(0.1, 3), 0, 1) * deep
    stage.lay(foam, rgb("#f2f1ea"))
    edge = stage.aspect * stage.rng.uniform(0.3, 0.5) - 0.35 * (stage.Y - horizon) + 0.035 * stage.noise(0.1, 3)
    top = stage.ridge(horizon - stage.rng.uniform(0.1, 0.2), 0.02, 0.3)
    cliff = np.minimum(edge - stage.X, stage.Y - top[None, :]) - np.clip(stage.Y - horizon - 0.12, 0, 1) * 1.5
    light = lambert(np.abs(stage.noise(0.12, 3)) * 0.05, stage.pixel)
    stage.lay(stage.soft(cliff), ramp(light, *EARTH), "land")
    grass = stage.soft(cliff) * stage.soft(top[None, :] + 0.03 + 0.01 * stage.noise(0.05) - stage.Y)
    stage.lay(grass, ramp(light, *GREENS), "land")
    sand = stage.Y - 0.86 - 0.12 * (stage.X / stage.aspect - 0.3) + 0.015 * np.sin(stage.X * 8)
    stage.lay(stage.soft(sand, 3), ramp(0.7 + 0.08 * stage.noise(0.06), *EARTH), "land")
