"""What a synthetic painter really laid: widths and lengths of strokes by the area of each that can still be seen."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw

from workbench import images, samples
from workbench.samples import brush


def painted(name, picture, *, scale=1.0, size=400, seed=0):
    """(the painting (1, 3, H, W), width, length) by the painter `name`, whose brushes are `scale` times as broad.

    Width and length are geometric means over what is seen, as shares of the long side.
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
    top = Image.new("I", plan, -1)
    draw, widths, lengths = ImageDraw.Draw(top), [], []
    for strokes, _ in laid:
        for path, length, width in zip(strokes.paths, strokes.lengths, strokes.widths, strict=True):
            kept = path[: max(2, round(float(length) / strokes.step) + 1)]
            draw.line(
                [tuple(map(float, point)) for point in kept], fill=len(widths), width=max(1, round(float(width))), joint="curve"
            )
            widths.append(float(width))
            lengths.append(float(length))
    area = np.bincount(np.array(top)[np.array(top) >= 0].ravel(), minlength=len(widths))
    mean = [float(np.exp(np.average(np.log(values), weights=area))) / max(plan) for values in (widths, lengths)]
    return images.to_tensor(image), *mean


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
