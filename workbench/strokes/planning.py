"""Strokes planned over a picture: from broad to fine, along its edges, short where it changes and long where it is calm.

After A. Hertzmann, "Painterly rendering with curved brush strokes of multiple sizes" (SIGGRAPH 1998): each layer is laid where
what lies there differs from the picture; a stroke takes the colour that it finds, runs along the edges, and ends where the
picture no longer has that colour.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from workbench import progress
from workbench.images import colour
from workbench.images.cielab import rgb_from_lab
from workbench.people import Face
from workbench.samples import flow
from workbench.samples.brush import scatter
from workbench.strokes.hand import Hand
from workbench.strokes.renderer import render
from workbench.strokes.stroke import Strokes, joined

LAYERS = (4.0, 2.0, 1.0, 0.5)
"""Widths of the layers, as multiples of the width of the hand."""
SHARES = (0.2, 0.4, 0.4)
"""Of the strokes that the first layer leaves, the shares of the others."""
EVERYWHERE = (0.5, 0.15, 0.0)
"""Chance of a stroke of these layers where nothing differs from the picture: paint lies everywhere, fine touches do not."""
FINEST = 2.0
"""px. No stroke that is planned is finer: an optimisation at this size would not see it."""
COVER = 2.0
"""How often the broadest strokes cover the picture."""
FIRST_SHARE = 0.25
"""Share of all strokes that the broadest may take: with few strokes, they become broader."""
SLENDER = 2.5
"""Lengths over widths are at least this, whatever was estimated: a dab has no direction."""
CALM = 1.6
"""Longest stroke, as a multiple of the length of the hand."""
SHORTEST = 0.3
"""The same of the shortest that a change of colour may leave."""
TOLERANCE = 10.0
"""A stroke ends where the picture differs by more than this from its colour, in Lab."""
NOTICED = 6.0
"""Difference, in Lab, between the picture and what is there, that calls for a stroke half of the time."""
FACES = 8.0
"""Times as much, and once more, a squared difference counts in a face: viewers notice every change of it."""
MOST_BENT = 0.4
"""Bends are at most this."""


def plan(picture: Tensor, hand: Hand, count: int, seed: int, faces: Sequence[Face] = ()) -> tuple[Strokes, Tensor]:
    """About `count` strokes, at most as many, that paint `picture` (1, 3, H, W) in [0, 1], and the colour (3,) of the ground.

    `hand`: how broad and long they are; `faces`: those of the picture, which take more strokes. The same picture and seed give
    the same strokes.
    """
    rng = np.random.default_rng(seed)
    height, width = picture.shape[-2:]
    size, device = max(height, width), picture.device
    picture = picture.detach().cpu().float()
    seen = _lab(picture)
    ground = picture.mean(dim=(2, 3))[0]
    attention = np.zeros((height, width))
    for face in faces:
        left, top, right, bottom = (round(side * at) for side, at in zip((width, height) * 2, face.box, strict=True))
        attention[top:bottom, left:right] = 1
    slender = max(SLENDER, hand.length / hand.width)
    area = height * width / size**2
    # As broad as it takes for the first layer to cover the picture.
    broadest = max(LAYERS[0] * hand.width, math.sqrt(COVER * area / (slender * max(1, FIRST_SHARE * count))))
    finest = max(LAYERS[-1] * hand.width, FINEST / size)
    widths = np.geomspace(max(broadest, finest), finest, len(LAYERS))
    first = max(1, min(round(COVER * area / (slender * widths[0] ** 2)), count))
    counts = [first, *(round(share * (count - first)) for share in SHARES)]
    parts: list[Strokes] = []
    shown = _lab(ground.view(1, 3, 1, 1).expand_as(picture))
    for w, n, everywhere in zip(widths, counts, (1.0, *EVERYWHERE), strict=True):
        progress.check()
        if n == 0:
            continue
        px = w * size
        wanted = flow.blur(seen, max(0.3, 0.2 * px))
        chance = None
        if parts:
            lost = np.square(wanted - shown).sum(axis=2) * (1 + FACES * attention)
            called = ndimage.gaussian_filter(lost / (lost + NOTICED**2), max(0.5, 0.3 * px))
            chance = everywhere + (1 - everywhere) * called
        parts.append(_layer(wanted, chance, px, px * slender, n, rng))
        if len(parts) < len(LAYERS):
            shown = _lab(render(joined(parts), (height, width), ground))
    return joined(parts).to(device), ground.to(device)


def _lab(picture: Tensor) -> np.ndarray:
    """(H, W, 3) Lab of a picture (1, 3, H, W)."""
    return colour.lab(picture)[0].permute(1, 2, 0).numpy()


def _layer(
    wanted: np.ndarray, chance: np.ndarray | None, width: float, length: float, count: int, rng: np.random.Generator
) -> Strokes:
    """At most `count` strokes of this width and length, px, over `wanted` (H, W, 3) Lab, in random order.

    `chance`: (H, W), that of a stroke at each place; None is 1 everywhere.
    """
    height, columns = wanted.shape[:2]
    expected = count if chance is None else count / max(float(chance.mean()), 1e-3)
    starts = scatter(rng, (height, columns), math.sqrt(height * columns / expected), chance)[:count]
    if not len(starts):
        starts = np.array([[columns / 2, height / 2]], np.float32)
    edges = flow.along_edges(np.ascontiguousarray(wanted[..., 0], np.float32), max(1.0, 0.4 * width))
    field = flow.direction(edges + 0.02 * flow.constant((height, columns), 45), max(0.7, 0.5 * width))
    long = rng.random(len(starts)) < 0.3
    half = 0.5 * length * rng.uniform(0.7, 1.0, len(starts)) * np.where(long, CALM, 1.0)
    tail, head = (_end(starts, field, wanted, half, sign, max(1.0, width / 3), SHORTEST * length / 2) for sign in (-1, 1))
    chord = head - tail
    chord[np.hypot(chord[:, 0], chord[:, 1]) < 1e-3] = (1e-3, 0)
    far = np.hypot(chord[:, 0], chord[:, 1])
    place = (tail + head) / 2
    normal = np.stack([-chord[:, 1], chord[:, 0]], axis=1) / far[:, None]
    # The curve goes through the start, which lies at u of its chord.
    from_middle = starts - place
    u = 2 * np.einsum("nk,nk->n", from_middle, chord) / far**2
    beside = np.einsum("nk,nk->n", from_middle, normal)
    bend = np.clip(np.where(np.abs(u) < 0.8, beside / np.maximum(1 - u * u, 0.3), 0) / far, -MOST_BENT, MOST_BENT)
    v = np.linspace(-0.7, 0.7, 5)[:, None]
    along = place[:, None] + 0.5 * v * chord[:, None] + (1 - v * v) * (bend * far)[:, None, None] * normal[:, None]
    own = _at(wanted, along.reshape(-1, 2)).reshape(len(starts), -1, 3).mean(axis=1)
    broad = width * rng.uniform(0.75, 1.2, len(starts))
    size = max(height, columns)
    found = (place / size, chord / size, bend, broad / size, rgb_from_lab(own.astype(np.float32)))
    return Strokes(*(torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in found))


def _end(
    starts: np.ndarray, field: np.ndarray, wanted: np.ndarray, far: np.ndarray, sign: int, step: float, shortest: float
) -> np.ndarray:
    """Where strokes end that run from `starts` (n, 2) along `field` (H, W, 2), or against it: (n, 2), px.

    They end after `far` (n,) px, and where `wanted` differs from their start by more than TOLERANCE, but not before `shortest`.
    """
    here, own = starts.astype(np.float64), _at(wanted, starts)
    heading = sign * _at(field, starts)
    alive = np.ones(len(starts), bool)
    for k in range(1, math.ceil(far.max() / step) + 1):
        ahead = here + step * heading
        off = np.linalg.norm(_at(wanted, ahead) - own, axis=1) > TOLERANCE
        alive &= (k * step <= far) & ~(off & (k * step > shortest))
        here[alive] = ahead[alive]
        turn = _at(field, here)
        turn = turn * np.where(np.einsum("nk,nk->n", turn, heading) < 0, -1, 1)[:, None]
        heading = 0.5 * heading + 0.5 * turn
        heading /= np.linalg.norm(heading, axis=1, keepdims=True) + 1e-9
    return here


def _at(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n, c) of `field` (H, W, c) at the pixels of `places` (n, 2), x and y; beyond the border, those on it."""
    x, y = (np.clip(places[:, k].astype(int), 0, field.shape[1 - k] - 1) for k in (0, 1))
    return field[y, x]
