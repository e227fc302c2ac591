"""Things side by side, such as checkpoints of one training: a column for each, with its values above its pictures."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from workbench import images
from workbench.corpora import Work
from workbench.errors import require
from workbench.figures.canvas import (
    BODY,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    OTHER,
    PAGE,
    PALETTE,
    SMALL,
    Canvas,
    Figure,
    as_picture,
    line_height,
    styled,
    text_width,
    wrap,
)
from workbench.figures.results import THUMBNAIL

if TYPE_CHECKING:
    from workbench.study.choosing import Evaluation

GAP = 0.08
"""Inches between pictures."""
PLOT = 0.34
"""Inches. Height of the line of a value."""
MOST = 12
"""Columns that a page has room for."""
SPAN = 0.02
"""Least height of the line of a value, as a share of the largest."""
SAMPLES = 4
"""Pictures from the word alone that are shown of every checkpoint."""


@styled
def columns(
    labels: Sequence[str],
    values: Mapping[str, Sequence[float]],
    rows: Sequence[Sequence[Any]],
    row_labels: Sequence[str],
    *,
    marked: int | None = None,
    limits: Mapping[str, float] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """A column for each of `labels`; for each of `values` (n,) a small plot across them, and below the pictures in `rows`.

    The column `marked` is framed, and `note` says why, below the title. limits: name of a value -> a level that is drawn dashed
    and named. A value that is NaN leaves a gap; a picture may be None. UsageError without columns, for more than MOST, or when
    anything has another number of them.
    """
    count = len(labels)
    require(1 <= count <= MOST, f"columns: {count} columns; give 1 to {MOST}")
    every = [*values.items(), *zip(row_labels, rows, strict=False)]
    require(len(rows) == len(row_labels), f"columns: {len(row_labels)} labels for {len(rows)} rows")
    for name, row in every:
        require(len(row) == count, f"columns: {name!r} has {len(row)} cells where there are {count} columns")
    require(marked is None or 0 <= marked < count, f"columns: there is no column {marked} to mark")
    limits = limits or {}
    pictures = [
        [None if image is None else as_picture(image, name) for image in row]
        for name, row in zip(row_labels, rows, strict=True)
    ]
    shapes = [picture.height / picture.width for row in pictures for picture in row if picture]
    gutter = min(max(text_width(name, BODY) for name, _ in every), 1.5)
    left = MARGIN + gutter + 0.12
    width = min((PAGE - left - MARGIN + GAP) / count - GAP, 1.6)
    canvas = Canvas(max(left + count * (width + GAP) - GAP + MARGIN, 5.0))
    y = canvas.title(title)
    y = canvas.write(wrap(note, canvas.width - 2 * MARGIN, BODY, 6), MARGIN, y) + (0.12 if note else 0.0)
    top = y
    heads = [wrap(label, width, BODY, 3, bold=True) for label in labels]
    y += max(len(head) for head in heads) * line_height(BODY) + 0.04
    for k, head in enumerate(heads):
        color = PALETTE[1] if k == marked else INK
        place = y - 0.04 - len(head) * line_height(BODY)
        canvas.write(head, left + k * (width + GAP) + width / 2, place, bold=True, align="center", color=color)
    plots = []
    for name, found in values.items():
        label = wrap(name, gutter, BODY, 2)
        label += wrap(f"dashed: {limits[name]:.3g}", gutter, SMALL, 1) if name in limits else []
        canvas.write(label, MARGIN, y + max(0.0, (PLOT + 0.14 - len(label) * line_height(BODY)) / 2))
        for k, value in enumerate(found):
            if np.isfinite(value):
                x = left + k * (width + GAP) + width / 2
                canvas.write([f"{value:.3g}"], x, y + PLOT, size=SMALL, color=MUTED, align="center")
        plots.append((name, np.asarray(found, dtype=float), y))
        y += PLOT + 0.2
    for label, row in zip(row_labels, pictures, strict=True):
        own = [picture.height / picture.width for picture in row if picture] or shapes or [1.0]
        height = width * float(np.clip(np.median(own), 0.4, 1.8))
        lines = wrap(label, gutter, BODY, 4)
        canvas.write(lines, MARGIN, y + (height - len(lines) * line_height(BODY)) / 2)
        for k, picture in enumerate(row):
            if picture:
                canvas.picture(picture, (left + k * (width + GAP), y, width, height))
        y += height + GAP
    if marked is not None:
        canvas.frame((left + marked * (width + GAP) - 0.03, top - 0.03, width + 0.06, y - top - GAP + 0.06), PALETTE[1], 1.5)
    figure = canvas.close(y - GAP + 0.06 + MARGIN)
    for name, found, place in plots:
        _line(canvas, found, limits.get(name), (left, place, count * (width + GAP) - GAP, PLOT), marked)
    return figure


def _line(
    canvas: Canvas, found: np.ndarray, limit: float | None, box: tuple[float, float, float, float], marked: int | None
) -> None:
    """Values (n,) at the middles of the columns, joined, in `box`."""
    axes = canvas.axes(*box)
    axes.plot(np.arange(len(found)), found, "-o", color=PALETTE[0], linewidth=1.0, markersize=3.2)
    if marked is not None:
        axes.plot([marked], found[[marked]], "o", color=PALETTE[1], markersize=5)
    if limit is not None:
        axes.axhline(limit, color=OTHER, linewidth=0.8, linestyle=(0, (4, 3)))
    known = [*found[np.isfinite(found)], *([limit] if limit is not None else [])] or [0.0]
    low, high = min(known), max(known)
    # What differs by less than the numbers beside it can show is level.
    half = max(0.7 * (high - low), SPAN * max(abs(low), abs(high))) or 0.5
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=((low + high) / 2 - half, (low + high) / 2 + half), xticks=[], yticks=[])
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=FAINT)


def checkpoints(evaluation: "Evaluation", contents: Mapping[str, Tensor], held_out: Sequence[Work]) -> Figure:
    """An evaluation: the base alone and checkpoints across, measures and the same pictures of each down.

    contents: name -> photograph; with them and `held_out` works, and what the measures say of these, the first column begins.
    Where there are more checkpoints than MOST columns, some are left out, evenly, but not the recommended one.
    """
    from workbench.study.choosing import COLLAPSED, MEASURES

    choice = evaluation.recommendation
    kept = _evenly([row.label for row in evaluation.rows], MOST - 2, choice.label)
    rows = [evaluation.alone, *(row for row in evaluation.rows if row.label in kept)]
    of_works = {"odds": evaluation.reference, "place": 0.5, "coverage": evaluation.expected_coverage, "variety": 1.0}
    values = {
        name: [of_works.get(measure, float("nan")), *(getattr(row, measure) for row in rows)]
        for measure, name in MEASURES.items()
    }
    painted = [evaluation.painted[row.label] for row in rows]
    pictures = [
        [contents[name], *(images.load(each.restyled[name, seed]) for each in painted)] for name, seed in painted[0].restyled
    ]
    labels = [f"{name}, seed {seed}".replace("_", " ") for name, seed in painted[0].restyled]
    for k in range(min(SAMPLES, len(painted[0].samples))):
        work = held_out[k].load(THUMBNAIL) if k < len(held_out) else None
        pictures.append([work, *(images.load(each.samples[k]) for each in painted)])
        labels.append(f"from the word, seed {k}")
    marked = next((k + 1 for k, row in enumerate(rows) if row.label == choice.label), None)
    limits = {MEASURES["leak"]: evaluation.most_leak, MEASURES["variety"]: COLLAPSED}
    heads = ["photos, held-out works", *_headings([row.label for row in rows])]
    title = f"Recommended: {choice.label}" if choice.label else "None of the checkpoints is recommended"
    note = choice.reason[:1].upper() + choice.reason[1:]
    return columns(heads, values, pictures, labels, marked=marked, limits=limits, title=title, note=note)


def _headings(labels: Sequence[str]) -> list[str]:
    """Headings of narrow columns: "step 400" for "artist-step000400"; other labels, and numbers that two have, as they are."""
    short = [re.sub(r"^.*[-_]?(?:step|checkpoint)[-_]?0*(?=\d)", "step ", label) for label in labels]
    return [brief if short.count(brief) == 1 else label for brief, label in zip(short, labels, strict=True)]


def _evenly(labels: Sequence[str], count: int, wanted: str) -> set[str]:
    """`count` of `labels` at most, evenly spread, `wanted` among them if it is one."""
    if len(labels) <= count:
        return set(labels)
    chosen = {labels[round(k)] for k in np.linspace(0, len(labels) - 1, count - 1)}
    return chosen | ({wanted} if wanted in labels else set())
