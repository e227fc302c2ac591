"""Strokes as files: a picture at any size, SVG, a film of the picture being painted, and a table."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image
from torch import Tensor

from workbench import images, progress, storage
from workbench.errors import UsageError, require
from workbench.strokes import bristles
from workbench.strokes.renderer import OPACITY
from workbench.strokes.stroke import Strokes

FRAMES = 64
"""Of a film, besides the last one."""
FRAME_MS, LAST_MS = 80, 3000
"""How long a frame is shown, and the last."""
FILM_SIZE = 480
"""px. Long side of a film, at most."""
SUFFIXES = (".svg", ".gif", ".csv", ".parquet")
"""Of the files that hold more than a picture."""


def check(path: Path) -> None:
    """UsageError where a file of that kind cannot be written here."""
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401 - whether it is there
        except ImportError as error:
            raise UsageError(f"{path}: install artist-workbench[parquet], or write .csv") from error


def write(
    strokes: Strokes,
    shape: tuple[int, int],
    ground: Tensor,
    path: Path,
    *,
    size: int,
    bristle: float = 1.0,
    seed: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write `strokes`, optimised at `shape` (H, W) px on the colour `ground` (3,), as the suffix of `path` says, atomically.

    `size`: long side, px, of a picture; a film has at most FILM_SIZE. `bristle`: see `bristles.painted`; SVG has none.
    """
    suffix = path.suffix.lower()
    require(suffix != ".mp4", f"{path}: films are written as .gif")
    if suffix == ".svg":
        return storage.write_text(path, svg(strokes, shape, ground, metadata=metadata))
    if suffix in (".csv", ".parquet"):
        check(path)
        found = table(strokes, shape)
        if suffix == ".csv":
            return storage.write_text(path, found.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        with storage.atomic(path) as temporary:
            found.to_parquet(temporary, index=False)
        return path
    if suffix == ".gif":
        return film(strokes, images.fit(*shape, min(size, FILM_SIZE)), ground, path, bristle=bristle, seed=seed)
    picture = bristles.painted(strokes, images.fit(*shape, size), ground, bristles=bristle, seed=seed)
    return images.save(picture, path, metadata=metadata)


def svg(strokes: Strokes, shape: tuple[int, int], ground: Tensor, *, metadata: Mapping[str, str] | None = None) -> str:
    """An SVG 1.1 document of a path for every stroke, in painting order, on a canvas of (H, W) units."""
    height, width = shape
    sides = f'width="{width}" height="{height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" {sides} viewBox="0 0 {width} {height}">']
    if metadata:
        lines.append(f"<metadata>{escape(json.dumps(dict(metadata)))}</metadata>")
    lines.append(f'<rect {sides} fill="{_hexadecimal(ground[None])[0]}"/>')
    lines.append(f'<g fill="none" stroke-linecap="round" stroke-opacity="{OPACITY}">')
    points = (strokes.controls * max(shape)).flatten(1).tolist()
    widths = (strokes.width * max(shape)).tolist()
    for (x0, y0, x1, y1, x2, y2), stroke_width, colour in zip(points, widths, _hexadecimal(strokes.colour), strict=True):
        curve = f"M{x0:.2f} {y0:.2f}Q{x1:.2f} {y1:.2f} {x2:.2f} {y2:.2f}"
        lines.append(f'<path d="{curve}" stroke="{colour}" stroke-width="{stroke_width:.2f}"/>')
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _hexadecimal(colours: Tensor) -> list[str]:
    """#rrggbb for colours (n, 3) in [0, 1]."""
    levels = (colours.detach().cpu().clamp(0, 1) * 255).round().int().tolist()
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in levels]


def table(strokes: Strokes, shape: tuple[int, int]):
    """A row for every stroke, in painting order: lengths in px of a picture of (H, W), angle in degrees, colours in [0, 1].

    x0 ... y2: the control points of its quadratic Bezier curve.
    """
    import pandas as pd

    size = max(shape)
    points = (strokes.controls * size).flatten(1)
    columns = dict(zip(("x0", "y0", "x1", "y1", "x2", "y2"), points.T, strict=True))
    columns |= {"width": strokes.width * size, "length": strokes.length * size, "angle": strokes.angle, "bend": strokes.bend}
    columns |= dict(zip(("red", "green", "blue"), strokes.colour.clamp(0, 1).T, strict=True))
    values = {name: column.detach().cpu().numpy() for name, column in columns.items()}
    return pd.DataFrame({"order": range(len(strokes)), **values})


def film(strokes: Strokes, shape: tuple[int, int], ground: Tensor, path: Path, *, bristle: float = 1.0, seed: int = 0) -> Path:
    """Write the picture being painted as an animated GIF, atomically."""
    frames = [images.to_pil(frame) for frame in painting(strokes, shape, ground, bristle=bristle, seed=seed)]
    palette = frames[-1].quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    shown = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    with storage.atomic(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=shown, loop=0)
    return path


def painting(
    strokes: Strokes, shape: tuple[int, int], ground: Tensor, *, bristle: float = 1.0, seed: int = 0
) -> Iterator[Tensor]:
    """Pictures (1, 3, H, W) on the way from the bare canvas to all strokes: few strokes at a time at first, then more."""
    planes = bristles.canvas(shape, ground)
    yield bristles.lit(planes, bristle)
    frames = min(FRAMES, len(strokes))
    ends = [round(len(strokes) * ((k + 1) / frames) ** 1.7) for k in range(frames)]
    begin = 0
    for end in ends:
        progress.check()
        if end > begin:
            planes = bristles.laid(strokes[begin:end], shape, planes, bristles=bristle, seed=seed, first=begin)
            begin = end
            yield bristles.lit(planes, bristle)
