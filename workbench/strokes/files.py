"""Strokes as files: a picture at any size, SVG, a film of the picture being painted, and a table."""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image
from torch import Tensor
from torch.nn import functional

from workbench import images, progress, storage
from workbench.errors import UsageError
from workbench.strokes import bristles
from workbench.strokes.renderer import OPACITY
from workbench.strokes.stroke import Strokes

FRAMES = 64
"""Of a film, besides the last one."""
FRAME_MS, LAST_MS = 80, 3000
"""How long a frame is shown, and the last."""
FILM_SIZE = {".gif": 480, ".mp4": 1080}
"""px. Long side of a film, at most."""
FRAMES_A_SECOND = 25
"""Of an MP4; a frame of the painting is shown for as many as FRAME_MS takes."""
BT709 = 1
"""The number of ITU-R BT.709, the colours of films, in H.264; of its range of levels, too."""
SUFFIXES = (".svg", ".gif", ".mp4", ".csv", ".parquet")
"""Of the files that hold more than a picture."""


def check(path: Path) -> None:
    """UsageError where a file of that kind cannot be written here."""
    library, extra, other = {".parquet": ("pyarrow", "parquet", ".csv"), ".mp4": ("av", "film", ".gif")}.get(
        path.suffix.lower(), ("", "", "")
    )
    if library and find_spec(library) is None:
        raise UsageError(f"{path}: install artist-workbench[{extra}], or write {other}")


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

    `size`: long side, px, of a picture; of a film at most FILM_SIZE. `bristle`: see `bristles.painted`; SVG has none.
    """
    suffix = path.suffix.lower()
    check(path)
    if suffix == ".svg":
        return storage.write_text(path, svg(strokes, shape, ground, metadata=metadata))
    if suffix in (".csv", ".parquet"):
        found = table(strokes, shape)
        if suffix == ".csv":
            return storage.write_text(path, found.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        with storage.atomic(path) as temporary:
            found.to_parquet(temporary, index=False)
        return path
    if suffix in FILM_SIZE:
        frames = painting(strokes, images.fit(*shape, min(size, FILM_SIZE[suffix])), ground, bristle=bristle, seed=seed)
        return mp4(frames, path, metadata=metadata) if suffix == ".mp4" else gif(frames, path)
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


def gif(pictures: Iterable[Tensor], path: Path) -> Path:
    """Write `pictures` (1, 3, H, W) in [0, 1] as an animated GIF, atomically, in the colours of the last one."""
    frames = [images.to_pil(picture) for picture in pictures]
    palette = frames[-1].quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    shown = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    with storage.atomic(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=shown, loop=0)
    return path


def mp4(pictures: Iterable[Tensor], path: Path, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write `pictures` (1, 3, H, W) in [0, 1] as H.264 in an MP4, atomically; `metadata` stand in its comment, as JSON.

    Sides are even there: an odd one is repeated at the edge, by one pixel.
    """
    import av

    clock, stream = count(), None
    with storage.atomic(path) as temporary, av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
        container.metadata["comment"] = json.dumps(dict(metadata or {}))
        for picture, milliseconds in _timed(pictures):
            even = functional.pad(picture, (0, picture.shape[3] % 2, 0, picture.shape[2] % 2), mode="replicate")
            if stream is None:
                stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options={"crf": "18"})
                stream.height, stream.width, stream.pix_fmt = *even.shape[2:], "yuv420p"
                # Said in the file, as players guess by the size of a film what is not said.
                for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
                    setattr(stream.codec_context, tag, BT709)
            frame = av.VideoFrame.from_image(images.to_pil(even)).reformat(format="yuv420p", dst_colorspace="ITU709")
            for frame.pts in islice(clock, round(FRAMES_A_SECOND * milliseconds / 1000)):
                container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return path


def _timed(pictures: Iterable[Tensor]) -> Iterator[tuple[Tensor, int]]:
    """Each picture, and for how many milliseconds it is shown."""
    every = iter(pictures)
    shown = next(every)
    for coming in every:
        yield shown, FRAME_MS
        shown = coming
    yield shown, LAST_MS


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
