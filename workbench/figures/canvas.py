"""A page measured in inches from its top left corner, text that is measured before it is set, and one look for all."""

import functools
import io
import sys
import threading
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.font_manager as font_manager
import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image

from workbench.errors import UsageError, require
from workbench.images import to_pil

INK, MUTED, FAINT, OTHER = "#1a1a1a", "#5f5f5f", "#dcdcdc", "#9a9a9a"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#1a1a1a")
"""Colours of categories: Okabe & Ito, without yellow."""

TITLE, HEAD, BODY, SMALL = 13.0, 10.0, 8.0, 7.5
"""pt. Sizes of text."""
JPEG_QUALITY = 90
"""Quality of JPEG files, 1 to 95."""
PNG = {"compress_level": 4}
"""Options of PNG files: a third less time than the usual level 6, and two per cent more bytes."""
LEADING = 1.3
"""em. Distance between lines of text."""
DESCENT = 0.25
"""em. How far letters reach below their line."""
PAGE = 10.0
"""Inches. Width of a page: BODY is then 10 px on 900 px, and 5.6 pt across two columns."""
MARGIN = 0.12
"""Inches, on every side of a page."""
STORED_DPI = 300
"""Pixels per inch that pictures are stored with, at most; print needs no more."""

FONT = "DejaVu Sans"
"""The font of all text: matplotlib ships it."""
WIDER = (
    *("Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "MS Gothic"),
    *("WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "Malgun Gothic", "Noto Sans", "Arial Unicode MS", "Unifont"),
)
"""Fonts that may have letters which FONT lacks, as those of Japanese titles; those that are installed are used for these."""
warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)  # `_tell_of_boxes` says it once

_rc_lock = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """Draw under workbench.mplstyle and nothing else: a user's own matplotlibrc does not change a figure.

    rcParams belong to the whole process, so figures of several threads take turns here.
    """
    with (
        _rc_lock,
        resources.as_file(resources.files("workbench") / "workbench.mplstyle") as sheet,
        matplotlib.style.context(sheet, after_reset=True),
    ):
        matplotlib.rcParams["font.sans-serif"] = list(fonts())
        yield


@functools.cache
def fonts() -> tuple[str, ...]:
    """The fonts of a figure: FONT, and what is installed of WIDER."""
    installed = set(font_manager.get_font_names())
    return FONT, *(name for name in WIDER if name in installed)


@functools.cache
def _letters() -> frozenset[int]:
    """What these fonts can write."""
    files = (font_manager.findfont(name, fallback_to_default=False) for name in fonts())
    return frozenset(code for file in files for code in font_manager.get_font(file).get_charmap())


@functools.cache
def _tell_of_boxes() -> None:
    print("warning: some letters of a figure are boxes, for no font here has them: install Noto Sans CJK, say", file=sys.stderr)


def styled(function: Callable) -> Callable:
    """Run `function` under `style()`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with style():
            return function(*args, **kwargs)

    return run


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that shows itself as the last expression of a notebook cell, without pyplot."""

    def shown(self) -> bytes:
        """At twice the pixels it is shown at, for sharp text on dense screens: PNG, or JPEG where it holds pictures.

        As PNG the paintings of one notebook would take ten megabytes.
        """
        buffer = io.BytesIO()
        with style():
            if self._holds_pictures:
                self.savefig(buffer, format="jpg", dpi=200, pil_kwargs={"quality": JPEG_QUALITY, "subsampling": 0})
            else:
                self.savefig(buffer, format="png", dpi=200, metadata={"Software": None}, pil_kwargs=PNG)
        return buffer.getvalue()

    @property
    def _holds_pictures(self) -> bool:
        return any(axes.images for axes in self.axes)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        return None if self._holds_pictures else self._for_notebook()

    def _repr_jpeg_(self) -> tuple[bytes, dict[str, int]] | None:
        return self._for_notebook() if self._holds_pictures else None

    def _for_notebook(self) -> tuple[bytes, dict[str, int]]:
        return self.shown(), {"width": round(100 * self.get_figwidth())}


def as_picture(image: Any, name: str = "image") -> Image.Image:
    """An RGB picture from a PIL image, a tensor (1, 3, H, W) or (3, H, W) in [0, 1], or an array (H, W[, 3]).

    Arrays are uint8 in 0..255 or floating point in [0, 1]; values outside are clipped. Transparency goes on white.
    Raises UsageError, naming `name`, for anything else.
    """
    if isinstance(image, Image.Image):
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        return image.convert("RGB")
    if isinstance(image, torch.Tensor):
        return to_pil(image)
    if not isinstance(image, np.ndarray):
        raise UsageError(f"{name}: give a PIL image, a tensor or an array, not {type(image).__name__}")
    array = image
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    require(
        array.ndim == 3 and array.shape[2] == 3 and array.size > 0,
        f"{name}: an array is (H, W) or (H, W, 3) and not empty, this is {array.shape}",
    )
    if array.dtype != np.uint8:
        require(bool(np.isfinite(array).all()), f"{name}: has values that are not finite")
        array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


@functools.lru_cache(maxsize=8192)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Inches that `text` takes at `size` points, with 3 % to spare for the hinting of screen fonts."""
    width, _, _ = _measured(text, size, bold)
    return 1.03 * width / 72


@functools.lru_cache(maxsize=8192)
def fitting_size(text: str, size: float, bold: bool = False) -> float:
    """`size` in points, or less where a letter of `text` is so high that it would touch the line above, as a bold Ǘ is."""
    _, height, descent = _measured(text, size, bold)
    return size * min(1.0, (LEADING - DESCENT) * size / max(height - descent, 1e-9))


def _measured(text: str, size: float, bold: bool) -> tuple[float, float, float]:
    """Width, height and descent of `text`, in points."""
    font = FontProperties(family=list(fonts()), size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)


def line_height(size: float) -> float:
    """Inches from one line of text to the next."""
    return LEADING * size / 72


def shorten(text: str, width: float, size: float, bold: bool = False) -> str:
    """`text`, cut with an ellipsis where it would be wider than `width` inches."""
    if text_width(text, size, bold) <= width:
        return text
    cuts = range(len(text))
    fitting = bisect_right(cuts, width, key=lambda cut: text_width(text[:cut].rstrip() + "…", size, bold))
    return text[: max(fitting - 1, 0)].rstrip(" ,;:·–-(") + "…"


def wrap(text: str, width: float, size: float, lines: int, bold: bool = False) -> list[str]:
    """Break `text` into at most `lines` lines of `width` inches; the last ends in an ellipsis when text is left over.

    A word wider than a line is broken, after a hyphen or colon if it has one. White space of any kind counts as one space.
    """
    words, broken = str(text).split(), []
    while words:
        if len(broken) == lines - 1:
            return [*broken, shorten(" ".join(words), width, size, bold)]
        line = words.pop(0)
        if text_width(line, size, bold) > width:
            fitting = bisect_right(range(len(line)), width, key=lambda cut: text_width(line[:cut], size, bold))
            hyphen = max(line.rfind(mark, 0, fitting - 1) for mark in "-–/_:") + 1
            cut = hyphen or max(fitting - 1, 1)
            line, rest = line[:cut], line[cut:]
            words[:0] = [rest] if rest else []
        else:
            while words and text_width(f"{line} {words[0]}", size, bold) <= width:
                line = f"{line} {words.pop(0)}"
        broken.append(line)
    return broken


def set_items(texts: Sequence[str], width: float, size: float) -> list[list[str]]:
    """Lines for texts whose items are set apart by " · ": each text on one line if all fit, else each item on its own.

    Texts that stand side by side are set together, so that the same numbers stay on the same lines.
    """
    if all(text_width(text, size) <= width for text in texts):
        return [[text] for text in texts]
    return [[line for item in text.split(" · ") for line in wrap(item, width, size, 2)] for text in texts]


class Canvas:
    """One page: pictures, text and bars at places in inches, x to the right and y down from the top left corner.

    The height may be left open while drawing; `close(height)` sets it. What is drawn later lies on top.
    """

    def __init__(self, width: float):
        self.width = width
        self.figure = Figure(figsize=(width, 1.0))
        self.page = self.figure.add_axes((0, 0, 1, 1), label="page")
        self.page.set_axis_off()
        self.page.set_autoscale_on(False)

    def close(self, height: float) -> Figure:
        """Fix the height of the page, in inches."""
        self.figure.set_size_inches(self.width, height)
        self.page.set(xlim=(0, self.width), ylim=(height, 0))
        return self.figure

    def axes(self, x: float, y: float, width: float, height: float, **options: Any) -> Axes:
        """Axes whose data area is this box. The page must have been closed."""
        page_width, page_height = self.figure.get_size_inches()
        box = (x / page_width, 1 - (y + height) / page_height, width / page_width, height / page_height)
        return self.figure.add_axes(box, **options)

    def write(
        self,
        lines: Sequence[str],
        x: float,
        y: float,
        *,
        size: float = BODY,
        color: str = INK,
        bold: bool = False,
        align: str = "left",
    ) -> float:
        """Set `lines` with the top of the first at y, and return the y below the last."""
        for line in lines:
            if not _letters().issuperset(map(ord, "".join(line.split()))):
                _tell_of_boxes()
            looks = {"size": fitting_size(line, size, bold), "color": color, "weight": "bold" if bold else "normal"}
            self.page.text(x, y + 0.98 * size / 72, line, ha=align, va="baseline", zorder=1, **looks)
            y += line_height(size)
        return y

    def title(self, text: str) -> float:
        """Set the title of the page over its whole width, and return the y where the rest may begin."""
        lines = wrap(text, self.width - 2 * MARGIN, TITLE, 3)
        return self.write(lines, MARGIN, MARGIN, size=TITLE) + (0.1 if lines else 0.0)

    def picture(
        self, image: Image.Image, box: tuple[float, float, float, float], *, anchor: tuple[float, float] = (0.5, 0.5)
    ) -> tuple[float, float, float, float]:
        """Place `image`, whole and undistorted, in the box (x, y, width, height); `anchor` shares out the room left.

        Returns the box that the picture itself takes.
        """
        x, y, width, height = box
        scale = min(width / image.width, height / image.height)
        placed_width, placed_height = scale * image.width, scale * image.height
        x, y = x + anchor[0] * (width - placed_width), y + anchor[1] * (height - placed_height)
        pixels = (max(1, round(placed_width * STORED_DPI)), max(1, round(placed_height * STORED_DPI)))
        if pixels[0] < image.width:
            image = image.resize(pixels, Image.Resampling.LANCZOS)
        extent = (x, x + placed_width, y + placed_height, y)
        self.page.imshow(np.asarray(image), extent=extent, aspect="auto", zorder=1)
        return x, y, placed_width, placed_height

    def block(self, box: tuple[float, float, float, float], color: str) -> None:
        """A filled rectangle (x, y, width, height)."""
        self.page.add_patch(Rectangle(box[:2], box[2], box[3], facecolor=color, edgecolor="none", zorder=1))

    def frame(self, box: tuple[float, float, float, float], color: str, points: float = 1.5) -> None:
        """A line around the outside of the box (x, y, width, height)."""
        out = points / 2 / 72
        x, y, width, height = box
        self.page.add_patch(
            Rectangle(
                (x - out, y - out),
                width + 2 * out,
                height + 2 * out,
                fill=False,
                edgecolor=color,
                linewidth=points,
                joinstyle="miter",
                zorder=1,
            )
        )
