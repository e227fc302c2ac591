"""Cityscapes: a quay with its reflection, a boulevard in perspective, roofs under a dome, a bridge."""

import numpy as np

from workbench.samples.flow import noise
from workbench.samples.forms import Stage, ramp, rgb, vary
from workbench.samples.landscapes import below, mirror, sky, tree
from workbench.samples.scene import Picture

WALLS = ("#dcc9a6", "#c9a582", "#b98a6a", "#d8d2c2", "#a8a39a", "#cf9f78", "#bfae94")
ROOFS = ("#6a707c", "#8a4a3a", "#7a5a4a", "#565c68")


def cityscape(rng: np.random.Generator, motif: str, aspect: float, size: int) -> Picture:
    """A cityscape of `motif`: quay, boulevard, roofs or bridge."""
    stage = Stage(rng, aspect, size, "sky", rgb("#a9c3df"))
    sky(stage, 0.55)
    {"quay": quay, "boulevard": boulevard, "roofs": roofs, "bridge": bridge}[motif](stage)
    return stage.picture()


def facade(stage: Stage, x: float, foot: float, width: float, tall: float, floors: int, shaded: float = 0.0) -> None:
    """A house front with a roof and rows of windows."""
    rng = stage.rng
    part = stage.window(x - 0.02, foot - tall * 1.35, x + width + 0.02, foot + 0.02)
    wall = vary(rng, str(rng.choice(WALLS)), 5, 4) * (1 - shaded)
    roof = vary(rng, str(rng.choice(ROOFS)), 5, 4) * (1 - 0.5 * shaded)
    top, peak = foot - tall, foot - tall * rng.uniform(1.12, 1.3)
    inset = width * rng.uniform(0.05, 0.4)
    slope = [(x - 0.005, top), (x + inset, peak), (x + width - inset, peak), (x + width + 0.005, top)]
    part.lay(part.soft(part.polygon(slope)), ramp((part.X - x) / width, np.clip(roof * 1.25, 0, 1), roof * 0.7), "building")
    front = part.polygon([(x, foot), (x, top), (x + width, top), (x + width, foot)])
    stain = 0.5 - 0.25 * (part.X - x) / width + 0.06 * noise(rng, part.shape, 12, 2) + 0.2 * (foot - part.Y) / tall
    part.lay(part.soft(front), ramp(stain, wall * 0.6, wall, np.clip(wall * 1.15, 0, 1)), "building")
    columns = max(2, round(width / 0.042))
    across, up = (part.X - x) / width * columns % 1, (part.Y - top) / tall * floors % 1
    pane = (np.abs(across - 0.5) < 0.22) & (np.abs(up - 0.5) < 0.30) & (front > 0.004)
    part.lay(0.85 * part.soft(np.where(pane, 1.0, -1.0) * part.pixel), vary(rng, "#3b4350", 4, 3))
    edge = np.exp(-(((part.X - x - width) / 0.006) ** 2)) * (front > 0)
    part.shade(edge, 0.5)


def terrace(stage: Stage, foot: float, low: float, high: float) -> None:
    """A row of houses of varied height from side to side."""
    x = -0.03
    while x < stage.aspect:
        width = stage.rng.uniform(0.09, 0.17)
        tall = stage.rng.uniform(low, high)
        facade(stage, x, foot, width, tall, max(2, round(tall / 0.07)))
        x += width


def dome(stage: Stage, x: float, foot: float, scale: float) -> None:
    """A domed church with a lantern."""
    stone = vary(stage.rng, "#c4bba8", 4, 3)
    drum = stage.polygon([(x - 0.10 * scale, foot), (x - 0.10 * scale, foot - 0.20 * scale),
                          (x + 0.10 * scale, foot - 0.20 * scale), (x + 0.10 * scale, foot)])  # fmt: skip
    side = 0.6 - 4.5 * (stage.X - x) / scale
    ribs = 0.08 * np.sin((stage.X - x) / scale * 160)
    stage.lay(stage.soft(drum), ramp(side + ribs, stone * 0.45, stone, np.clip(stone * 1.2, 0, 1)), "building")
    cap = np.minimum(stage.ellipse(x, foot - 0.2 * scale, 0.115 * scale, 0.16 * scale), foot - 0.2 * scale - stage.Y)
    metal = vary(stage.rng, "#6d8a8c", 4, 5)
    stage.lay(stage.soft(cap * 0.1), ramp(side + ribs, metal * 0.4, metal, np.clip(metal * 1.35, 0, 1)), "building")
    lantern = stage.polygon(
        [(x - 0.018 * scale, foot - 0.34 * scale), (x, foot - 0.48 * scale), (x + 0.018 * scale, foot - 0.34 * scale)]
    )
    stage.lay(stage.soft(lantern), stone * 0.8, "building")


def tower(stage: Stage, x: float, foot: float, tall: float) -> None:
    """A square tower with a pointed roof."""
    stone = vary(stage.rng, "#b8a88e", 4, 4)
    wide = tall * 0.13
    shaft = stage.polygon([(x, foot), (x, foot - tall * 0.7), (x + wide, foot - tall * 0.7), (x + wide, foot)])
    stage.lay(stage.soft(shaft), ramp((stage.X - x) / wide, np.clip(stone * 1.15, 0, 1), stone * 0.9, stone * 0.5), "building")
    tip = stage.polygon([(x - 0.01, foot - tall * 0.69), (x + wide / 2, foot - tall), (x + wide + 0.01, foot - tall * 0.69)])
    stage.lay(stage.soft(tip), ramp((stage.X - x) / wide, "#7d8590", "#3d434e"), "building")


def people(stage: Stage, count: int, low: float, high: float, scale: float) -> None:
    """Small figures with their shadows."""
    for foot in np.sort(stage.rng.uniform(low, high, count)):
        x, tall = stage.rng.uniform(0.1, 0.9) * stage.aspect, scale * (foot - low + 0.10)
        part = stage.window(x - tall, foot - 1.3 * tall, x + 1.6 * tall, foot + 0.2 * tall)
        part.shade(part.soft(part.ellipse(x + 0.5 * tall, foot, 0.6 * tall, 0.07 * tall) * 0.03, 2), 0.5)
        coat = vary(stage.rng, str(stage.rng.choice(["#2c2f3c", "#5a3230", "#3d4a40", "#6a5a48", "#8a3a34"])), 4, 4)
        body = part.ellipse(x, foot - 0.42 * tall, 0.16 * tall, 0.45 * tall)
        part.lay(part.soft(body * 0.03), ramp(0.6 - (part.X - x) / (0.3 * tall), coat * 0.5, coat * 1.2), "cloth")
        part.lay(part.soft(part.ellipse(x, foot - 0.93 * tall, 0.09 * tall, 0.11 * tall) * 0.02), rgb("#c99a78"), "cloth")


def quay(stage: Stage) -> None:
    """Houses along the water, with boats."""
    shore = stage.rng.uniform(0.55, 0.62)
    tower(stage, stage.aspect * stage.rng.uniform(0.2, 0.7), shore, stage.rng.uniform(0.4, 0.5))
    terrace(stage, shore, 0.14, 0.27)
    stage.lay(stage.soft(stage.Y - shore), rgb("#8a8274"), "land")
    water = shore + 0.035
    mirror(stage, stage.soft(stage.Y - water), water)
    for _ in range(3):
        x, foot, long = stage.rng.uniform(0.1, 0.9) * stage.aspect, stage.rng.uniform(0.74, 0.93), stage.rng.uniform(0.08, 0.15)
        stage.shade(stage.soft(stage.ellipse(x, foot + 0.02, long, 0.025) * 0.03, 3), 0.6)
        hull = np.minimum(stage.ellipse(x, foot - 0.02, long, 0.04), stage.Y - foot + 0.02)
        stage.lay(stage.soft(hull * 0.04), ramp(0.5 - (stage.X - x) / long * 0.4, "#2c1d18", "#8a4a32"), "object")
        mast = np.minimum(0.004 - np.abs(stage.X - x), np.minimum(stage.Y - foot + 0.24, foot - 0.02 - stage.Y))
        stage.lay(stage.soft(mast), rgb("#4a3828"), "object")
        sail = stage.polygon([(x + 0.008, foot - 0.04), (x + 0.008, foot - 0.23), (x + long * 0.75, foot - 0.05)])
        if stage.rng.random() < 0.6:
            stage.lay(stage.soft(sail), ramp(0.8 - (stage.X - x) * 4, "#a89a80", "#efe6d0"), "object")


def boulevard(stage: Stage) -> None:
    """A street that runs to a vanishing point between two rows of houses, with trees and people."""
    vx, vy = stage.aspect * stage.rng.uniform(0.42, 0.58), 0.60
    stage.lay(
        stage.soft(stage.Y - vy),
        ramp(0.55 + 0.5 * (stage.Y - vy) + 0.06 * stage.noise(0.06), "#6f665c", "#a89c88", "#cfc3aa"),
        "land",
    )
    dome(stage, vx, vy + 0.01, 0.42)
    for side in (-1, 1):
        edge = vx if side < 0 else stage.aspect - vx
        depth = np.clip(side * (stage.X - vx) / edge, 0.02, None)
        lit = 0.0 if side > 0 else 0.45
        high = vy - depth * 0.62
        bays = np.log(depth) * 5.5
        number = np.floor(bays).astype(int)
        skyline = high + 0.06 * depth * np.sin(number * 12.9)
        wall = np.minimum(stage.Y - skyline, vy + depth * 0.22 - stage.Y)
        seed = stage.rng.uniform(0, 9)
        hue = (np.sin(number * 78.2 + seed) * 0.5 + 0.5) * 0.8
        tone = ramp(hue, "#bfa888", "#dccbaa", "#c99c78", "#cfcabc") * (1 - lit)
        floor, column = (stage.Y - skyline) / depth * 9 % 1, bays * 6 % 1
        window = (np.abs(floor - 0.55) < 0.28) & (np.abs(column - 0.5) < 0.22) & (depth > 0.12)
        tone = np.where(window[..., None], tone * 0.42, tone)
        tone = np.where(
            ((stage.Y - skyline) < 0.09 * depth)[..., None], ramp(hue, "#596070", "#7a6a60") * (1 - 0.5 * lit), tone
        )
        stage.lay(stage.soft(wall) * (depth > 0.06), tone * (0.92 + 0.05 * stage.noise(0.05)[..., None]), "building")
        for far in (0.20, 0.32, 0.52, 0.85):
            tree(stage, vx + side * edge * far * 0.72, vy + 0.21 * far, 0.42 * far, "round")
    people(stage, 11, vy + 0.06, 0.95, 0.30)


def roofs(stage: Stage) -> None:
    """Roofs one behind another, with towers, a dome and smoke."""
    dome(stage, stage.aspect * stage.rng.uniform(0.25, 0.75), 0.58, stage.rng.uniform(0.7, 0.95))
    tower(stage, stage.aspect * stage.rng.uniform(0.05, 0.9), 0.6, 0.36)
    for foot, low, high in ((0.62, 0.05, 0.11), (0.74, 0.09, 0.16), (0.90, 0.13, 0.2), (1.10, 0.18, 0.26)):
        haze = np.clip(0.8 - foot, 0, 1)
        stage.lay(below(stage, np.full(stage.shape[1], foot - low * 0.6)), rgb("#6a5f58"), "building")
        terrace(stage, foot, low, high)
        stage.lay(haze * stage.soft(stage.Y - 0.45, 30) * stage.regions["building"], rgb("#b9c0c8"))
        for _ in range(3):
            x, top = stage.rng.uniform(0, stage.aspect), foot - high * 1.15
            stack = stage.polygon([(x, foot - low), (x, top), (x + 0.018, top), (x + 0.018, foot - low)])
            stage.lay(stage.soft(stack), ramp((stage.X - x) / 0.018, "#a86a50", "#5a3a32"), "building")


def bridge(stage: Stage) -> None:
    """A stone bridge with arches over a river, the town behind."""
    shore = stage.rng.uniform(0.50, 0.56)
    dome(stage, stage.aspect * stage.rng.uniform(0.15, 0.85), shore, 0.55)
    terrace(stage, shore, 0.08, 0.17)
    mirror(stage, stage.soft(stage.Y - shore), shore)
    deck = shore - 0.02 - 0.10 * (1 - ((stage.X / stage.aspect - 0.5) / 0.55) ** 2)
    body = np.minimum(stage.Y - deck, shore + 0.10 - stage.Y)
    span = stage.aspect / 3.2
    for k in range(3):
        x = stage.aspect * 0.5 + (k - 1) * span
        body = np.minimum(body, -np.minimum(stage.ellipse(x, shore + 0.11, span * 0.41, 0.145) * 0.06, 0.5))
    stone = ramp(0.75 + 0.1 * stage.noise(0.04, 2) - 3.5 * (stage.Y - deck), "#4c443e", "#a08e74", "#e8dcbc")
    water = shore + 0.10
    stage.lay(stage.soft(body), stone, "building")
    for k in range(3):  # the dark under the arches
        under = stage.ellipse(stage.aspect * 0.5 + (k - 1) * span, shore + 0.11, span * 0.41, 0.145)
        rim = np.exp(-((under / 0.35) ** 2)) * (under > 0) * (1 - stage.soft(stage.Y - water))
        stage.shade(rim, 0.8)
    mirror(stage, stage.soft(stage.Y - water), water)
    bank = below(stage, stage.ridge(0.95, 0.015, 0.4))
    stage.lay(bank, ramp(0.5 + 0.1 * stage.noise(0.05), "#4a5030", "#8a8a50", "#b9ae7a"), "land")
    people(stage, 5, shore - 0.09, shore - 0.06, 0.3)
    tree(stage, stage.aspect * stage.rng.choice([0.1, 0.92]), 0.99, 0.5, "round")
