"""What a synthetic painter really laid: the statistics of his hand, by the area of each stroke that can still be seen."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from PIL import Image, ImageDraw

from workbench import images, samples
from workbench.samples import brush
from workbench.strokes import hand
from workbench.strokes.hand import Hand


def painted(name, picture, *, scale=1.0, size=400, seed=0):
    """(the painting (1, 3, H, W), its true Hand) by the painter `name`, whose brushes are `scale` times as broad.

    Width and length are geometric means over what is seen. The bend is that of a stroke of this length with the median
    curvature. The spread is that of the directions of what is seen.
    """
    painter = samples.PAINTERS[name]
    painter = replace(painter, brushes=[replace(b, width=scale * b.width) for b in painter.brushes])
    laid = []
    lay = brush.Canvas.lay

    def recorded(canvas, strokes, tool):
        laid.append((strokes, tool))
        lay(canvas, strokes, tool)

    brush.Canvas.lay = recorded
    try:
        image = painter.paint(picture, seed=seed, size=size)
    finally:
        brush.Canvas.lay = lay
    plan = picture.resized(400).size
    top, turned = (Image.new("I", plan, -1) for _ in range(2))
    strokes_on, parts_on = ImageDraw.Draw(top), ImageDraw.Draw(turned)
    widths, lengths, bends, angles = [], [], [], []
    for strokes, _ in laid:
        for path, length, width in zip(strokes.paths, strokes.lengths, strokes.widths, strict=True):
            kept = path[: max(2, round(float(length) / strokes.step) + 1)]
            points, broad = [tuple(map(float, point)) for point in kept], max(1, round(float(width)))
            strokes_on.line(points, fill=len(widths), width=broad, joint="curve")
            for one, other in pairwise(points):
                parts_on.line([one, other], fill=len(angles), width=broad)
                angles.append(np.arctan2(other[1] - one[1], other[0] - one[0]))
            widths.append(float(width))
            lengths.append(float(length))
            bends.append(curvature(kept))
    seen = np.array(top)
    area = np.bincount(seen[seen >= 0].ravel(), minlength=len(widths))
    width, length = (float(np.exp(np.average(np.log(values), weights=area))) for values in (widths, lengths))
    order = np.argsort(bends)
    middle = order[np.searchsorted(np.cumsum(area[order]), area.sum() / 2)]
    directions = np.array(turned)
    spread = hand.spread(np.array([*angles, 0.0])[directions], (directions >= 0).astype(float), 2 * width)
    side = max(plan)
    return images.to_tensor(image), Hand(width / side, length / side, min(bends[middle] * length / 8, 0.5), spread)


def curvature(path):
    """That of the arc through both ends of a path (k, 2) and its middle, per px: 8 s / c^2 with the sagitta s and chord c."""
    chord = path[-1] - path[0]
    squared = float(chord @ chord)
    if squared < 1e-6:
        return 0.0
    aside = path[len(path) // 2] - (path[0] + path[-1]) / 2
    return 8 * abs(float(chord[0] * aside[1] - chord[1] * aside[0])) / squared**1.5


def dead_leaves(size, width, length, *, angle=0.6, seed=0):
    """A picture (1, 3, size, size) of straight strokes of one width and length, px, that cover one another at random."""
    from workbench.strokes.renderer import render
    from workbench.strokes.stroke import Strokes

    generator = torch.Generator().manual_seed(seed)
    count = round(4 * size * size / (width * length))
    place = torch.rand(count, 2, generator=generator) * 1.2 - 0.1
    turned = angle + 0.1 * torch.randn(count, generator=generator)
    chord = (length - width) / size * torch.stack([turned.cos(), turned.sin()], dim=1)
    grey = torch.rand(count, 1, generator=generator).expand(-1, 3)
    strokes = Strokes(place, chord, torch.zeros(count), torch.full((count,), width / size), grey)
    return render(strokes, (size, size), torch.full((3,), 0.5))
