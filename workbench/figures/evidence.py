"""Figures of a study: percentiles among real works, means and differences with intervals, maps of leaks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from workbench.errors import require
from workbench.figures.canvas import (
    BODY,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    OTHER,
    PALETTE,
    SMALL,
    Canvas,
    Figure,
    as_picture,
    line_height,
    shorten,
    styled,
    text_width,
    wrap,
)
from workbench.figures.sheets import grid

ROW = 0.27
"""Inches from one method to the next."""
PLOT = 4.6
"""Inches. Width of the data area."""
Ends = tuple[float, float, float]  # mean, low, high
HEAT = 0.45
"""How far a picture fades towards white under its leaks, 0 to 1."""


@styled
def percentiles(values: Mapping[str, Sequence[float]], *, title: str = "", x_label: str = "", controls: int = 0) -> Figure:
    """A row for every method, a dot for every result, at its percentile in [0, 1] among real works, and a tick at the mean.

    The first `controls` rows are drawn in grey, above a rule. Real works are spread evenly from 0 to 1: the quarter on
    either end is shaded, for what gathers there is farther from the artist than his own works are, or too typical.
    UsageError without methods, and for values outside of 0..1.
    """
    require(bool(values), "percentiles: give at least one method")
    every = np.concatenate([np.asarray(v, dtype=float) for v in values.values()])
    require(bool(((every >= 0) & (every <= 1)).all()), "percentiles: percentiles lie in 0..1")

    def draw(axes: Any) -> None:
        axes.axvspan(-0.03, 0.25, color=FAINT, alpha=0.5, linewidth=0)
        axes.axvspan(0.75, 1.03, color=FAINT, alpha=0.5, linewidth=0)
        for row, (_, found) in enumerate(values.items()):
            found = np.sort(np.asarray(found, dtype=float))
            # Dots that coincide are stacked, as many of them do: percentiles among ten works have eleven values.
            rank = np.array([np.sum(np.isclose(found[:i], x, atol=0.012)) for i, x in enumerate(found)])
            lift = np.minimum(rank * 0.11, 0.66) - 0.3
            color = OTHER if row < controls else PALETTE[0]
            axes.plot(found, row - lift, "o", color=color, markersize=3.2, alpha=0.75, markeredgewidth=0)
            if len(found):
                axes.plot([found.mean()] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=1.6)
        if 0 < controls < len(values):
            axes.axhline(controls - 0.5, color=OTHER, linewidth=0.6)
        axes.set(xlim=(-0.03, 1.03))

    return _rows(list(values), draw, title, x_label or "percentile: farther than any real work (0) to nearer than any (1)")


@styled
def intervals(
    values: Mapping[str, Ends],
    *,
    title: str = "",
    x_label: str = "",
    at: Mapping[str, float] | None = None,
    marks: Mapping[str, str] | None = None,
) -> Figure:
    """A row for every method: mean and interval (mean, low, high), the interval left out where it is NaN.

    at: values that are marked by a dashed line over all rows, and their names; marks: method -> what is written to the right
    of its row, such as a p-value. UsageError without methods.
    """
    require(bool(values), "intervals: give at least one method")

    def draw(axes: Any) -> None:
        for value in (at or {}).values():
            axes.axvline(value, color=OTHER, linewidth=0.8, linestyle=(0, (4, 3)))
        for row, (mean, low, high) in enumerate(values.values()):
            if np.isfinite(low) and np.isfinite(high):
                axes.plot([low, high], [row, row], color=PALETTE[0], linewidth=1.6)
            axes.plot([mean], [row], "o", color=PALETTE[0], markersize=5)
        axes.margins(x=0.06)
        axes.grid(axis="x")

    names = ", ".join(f"{name} {value:.3g}" for name, value in (at or {}).items())
    return _rows(list(values), draw, title, x_label + (f"   (dashed: {names})" if names else ""), marks or {})


def _rows(names: Sequence[str], draw: Any, title: str, x_label: str, marks: Mapping[str, str] | None = None) -> Figure:
    """A plot with one named row for each of `names`, the first on top."""
    marks = marks or {}
    left = MARGIN + max(text_width(shorten(name, 2.4, BODY), BODY) for name in names) + 0.15
    right = max((text_width(text, SMALL) for text in marks.values()), default=0.0) + 0.15
    canvas = Canvas(left + PLOT + right + MARGIN)
    top = canvas.title(title) + 0.05
    height = ROW * len(names)
    for row, name in enumerate(names):
        y = top + ROW * (row + 0.5) - 0.5 * line_height(BODY)
        canvas.write([shorten(name, 2.4, BODY)], left - 0.12, y, align="right")
        if name in marks:
            canvas.write([marks[name]], left + PLOT + 0.1, y, size=SMALL, color=MUTED)
    lines = wrap(x_label, canvas.width - 2 * MARGIN, BODY, 3)
    below = top + height + 0.3
    canvas.write(lines, MARGIN, below, color=MUTED)
    figure = canvas.close(below + len(lines) * line_height(BODY) + MARGIN)
    axes = canvas.axes(left, top, PLOT, height)
    draw(axes)
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    return figure


@styled
def fidelity(points: Mapping[str, tuple[Ends, Ends]], *, title: str = "", x_label: str = "", y_label: str = "") -> Figure:
    """Methods as points, (mean, low, high) of x and of y, with the intervals as crosses and the names beside them.

    UsageError without methods.
    """
    require(bool(points), "fidelity: give at least one method")
    canvas = Canvas(6.5)
    top = canvas.title(title) + 0.05
    figure = canvas.close(top + 4.4 + 0.55)
    axes = canvas.axes(0.75, top, 5.5, 4.4)
    for i, (x, y) in enumerate(points.values()):
        color = PALETTE[i % len(PALETTE)]
        for ends, along in ((x, True), (y, False)):
            if np.isfinite(ends[1]) and np.isfinite(ends[2]):
                line = ([ends[1], ends[2]], [y[0]] * 2) if along else ([x[0]] * 2, [ends[1], ends[2]])
                axes.plot(*line, color=color, linewidth=0.9, alpha=0.55)
        axes.plot([x[0]], [y[0]], "o", color=color, markersize=5)
    axes.margins(0.08)
    axes.grid()
    axes.set(xlabel=x_label, ylabel=y_label)
    _label(axes, [(name, x[0], y[0], PALETTE[i % len(PALETTE)]) for i, (name, (x, y)) in enumerate(points.items())])
    return figure


def _label(axes: Any, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write names beside their points, each where it covers least of what is written already."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # from here on, places on the page are fixed
    inches = axes.figure.dpi_scale_trans.inverted()
    places = [72 * (axes.transData + inches).transform((x, y)) for _, x, y, _ in labels]
    frame = 72 * axes.get_window_extent().transformed(inches).extents
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    for (name, x, y, color), (px, py) in zip(labels, places, strict=True):
        width = 72 * text_width(name, BODY)
        offsets = [(dx, dy) for dy in (3, -BODY - 3, BODY + 3, -2 * BODY - 4) for dx in (6, -width - 6)]

        def cost(offset: tuple[float, float], px: float = px, py: float = py, width: float = width) -> float:
            left, low = px + offset[0], py + offset[1]
            right, high = left + width, low + BODY
            shared = ((min(right, b[2]) - max(left, b[0]), min(high, b[3]) - max(low, b[1])) for b in taken)
            outside = left < frame[0] or right > frame[2] or low < frame[1] or high > frame[3]
            return sum(max(0, w) * max(0, h) for w, h in shared) + 1e6 * outside + 0.05 * abs(offset[1])

        dx, dy = min(offsets, key=cost)
        taken.append((px + dx, py + dy, px + dx + width, py + dy + BODY))
        axes.annotate(name, (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=BODY, color=color, va="bottom")


def leak_maps(
    rows: Sequence[Sequence[tuple[Any, np.ndarray] | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    title: str = "",
) -> Figure:
    """Pictures in rows and columns, each (picture, heat (h, w) >= 0) faded to grey, with what leaked glowing over it.

    Heat is a cosine above the threshold (`metrics.margin_leak.MarginLeak`); from .15 on it is drawn in full. None leaves a cell
    empty.
    """
    cells = [[None if cell is None else _glowing(*cell) for cell in row] for row in rows]
    return grid(cells, row_labels, column_labels, cell_captions=captions, title=title)


def _glowing(picture: Any, heat: np.ndarray) -> Image.Image:
    image = as_picture(picture)
    grey = np.asarray(image.convert("L"), dtype=float)[..., None] / 255
    faded = (1 - HEAT) * (0.4 + 0.6 * grey) + HEAT * 0.9
    strength = np.clip(np.asarray(heat, dtype=np.float32) / 0.15, 0, 1)
    large = Image.fromarray(strength).resize(image.size, Image.Resampling.BILINEAR)
    strength = np.asarray(large)[..., None]
    color = matplotlib.colormaps["inferno"](0.35 + 0.45 * strength[..., 0])[..., :3]
    veil = 0.85 * (strength > 0.02) * (0.35 + 0.65 * strength)
    mixed = faded * (1 - veil) + color * veil
    return Image.fromarray((mixed.clip(0, 1) * 255).round().astype(np.uint8))
