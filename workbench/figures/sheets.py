"""Pictures and counts in rows and columns: contact sheets, clusters, sweeps, cross tables."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

from workbench.errors import require
from workbench.figures.canvas import (
    BODY,
    HEAD,
    INK,
    MARGIN,
    MUTED,
    PAGE,
    SMALL,
    TITLE,
    Canvas,
    Figure,
    as_picture,
    line_height,
    set_items,
    styled,
    text_width,
    wrap,
)

GAP = 0.14
"""Inches between cells."""
TALLEST = 1.4 * PAGE
"""Inches. Height of a grid, if its cells can be that small: a page of A4 is 1.41 times as high as wide."""
NARROWEST = 0.9
"""Inches. Width of a cell, at least: no caption is legible below less."""
CAPTION_LINES = 3
"""Lines of a caption, at most."""


@styled
def contact_sheet(
    images: Sequence[Any], captions: Sequence[str] = (), *, title: str = "", columns: int | None = None
) -> Figure:
    """All `images` in equal cells, in reading order, each over its caption.

    `captions` is empty or has one text per image. Raises UsageError without images or when the counts differ.
    """
    require(len(images) > 0, "contact_sheet: give at least one image")
    columns, width = _cells(len(images), columns)
    canvas = Canvas(2 * MARGIN + columns * (width + GAP) - GAP)
    y = _sheet(canvas, images, captions, canvas.title(title), columns, width)
    return canvas.close(y - GAP + MARGIN)


@styled
def cluster_sheets(
    groups: Sequence[tuple[str, Sequence[Any], Sequence[str]]],
    *,
    title: str = "",
    columns: int | None = None,
    limit: int | None = None,
) -> Figure:
    """One block per cluster (label, images, captions): its label and size, its medoid first and framed.

    `limit` draws no more than that many works of each cluster; the heading says how many there are. Raises UsageError
    without groups, for a group without images, or when captions and images differ in number.
    """
    groups = list(groups)
    require(bool(groups), "cluster_sheets: give at least one cluster")
    require(limit is None or limit >= 1, f"limit must be at least 1, got {limit}")
    for label, images, captions in groups:
        require(len(images) > 0, f"cluster {label!r} has no images")
        require(len(captions) in (0, len(images)), f"cluster {label!r}: {len(captions)} captions, {len(images)} images")
    columns, width = _cells(min(max(len(images) for _, images, _ in groups), limit or 10**9), columns or 8)
    canvas = Canvas(2 * MARGIN + columns * (width + GAP) - GAP)
    y = canvas.title(title)
    for label, images, captions in groups:
        shown = len(images) if limit is None else min(limit, len(images))
        size = f"{len(images)} works" if len(images) > 1 else "1 work"
        if shown < len(images):
            size += f", {shown} shown"
        page = canvas.width - 2 * MARGIN
        heading = wrap(str(label), page, HEAD, 2, bold=True)
        y = canvas.write(heading, MARGIN, y, size=HEAD, bold=True)
        y = canvas.write(wrap(size, page, BODY, 1), MARGIN, y, color=MUTED) + 0.06
        y = _sheet(canvas, images[:shown], captions[:shown], y, columns, width, framed=1) + 0.14
    return canvas.close(y - 0.14 - GAP + MARGIN)


def _cells(count: int, columns: int | None) -> tuple[int, float]:
    """Columns and width of a cell, in inches: the page is filled unless a few works would become posters."""
    require(columns is None or 1 <= columns <= 12, f"columns must be from 1 to 12, got {columns}")
    columns = min(columns or (6 if count > 8 else 4), count)
    return columns, min((PAGE - 2 * MARGIN + GAP) / columns - GAP, 2.4)


def _sheet(
    canvas: Canvas,
    images: Sequence[Any],
    captions: Sequence[str],
    y: float,
    columns: int,
    width: float,
    framed: int = 0,
) -> float:
    """Draw cells from y downwards, the first `framed` with a frame, and return the y below the last row and its gap."""
    require(len(captions) in (0, len(images)), f"{len(captions)} captions for {len(images)} images; give one each")
    pictures = [as_picture(image, f"image {k + 1}") for k, image in enumerate(images)]
    size = BODY if width > 1.3 else SMALL
    texts = [wrap(caption, width, size, CAPTION_LINES) for caption in captions] or [[]] * len(pictures)
    for first in range(0, len(pictures), columns):
        row = range(first, min(first + columns, len(pictures)))
        height = max(min(width * pictures[k].height / pictures[k].width, 1.25 * width) for k in row)
        for k in row:
            x = MARGIN + (k - first) * (width + GAP)
            placed = canvas.picture(pictures[k], (x, y, width, height), anchor=(0, 1))
            if k < framed:
                canvas.frame(placed, INK, 2.0)
            canvas.write(texts[k], x, y + height + 0.05, size=size)
        lines = max(len(texts[k]) for k in row)
        y += height + (lines * line_height(size) + 0.05 if lines else 0.0) + GAP
    return y


@styled
def grid(
    rows: Sequence[Sequence[Any]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    cell_captions: Sequence[Sequence[str]] | None = None,
    title: str = "",
) -> Figure:
    """A sweep: pictures in rows and columns of equal cells, with the labels on the left and on top.

    A cell may be None (a run that is missing) and stays empty. Cells are as large as fits a page of A4.

    Raises UsageError without pictures, or when labels or captions do not match the pictures.
    """
    columns = _check_grid(rows, row_labels, column_labels, cell_captions)
    pictures = [
        [None if image is None else as_picture(image, f"row {i + 1}, column {j + 1}") for j, image in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    shapes = [picture.height / picture.width for row in pictures for picture in row if picture]
    require(bool(shapes), "grid: every cell is empty; give at least one picture")
    tallness = float(np.clip(np.median(shapes), 0.4, 1.8))
    gutter = min(max((text_width(str(label), BODY, True) for label in row_labels), default=0.0), 1.1)
    left = MARGIN + gutter + (0.1 if gutter else 0.0)
    gap = 0.08
    texts = list(cell_captions or [()] * len(rows))
    width = min((PAGE - left - MARGIN + gap) / columns - gap, 2.4)
    while width > NARROWEST and _height(width, tallness, column_labels, texts) > TALLEST:
        width *= 0.97
    canvas = Canvas(left + columns * (width + gap) - gap + MARGIN)
    y = canvas.title(title)

    heads, depth = _heads(column_labels, width)
    for j, head in enumerate(heads):
        top = y + depth - len(head) * line_height(BODY)
        canvas.write(head, left + j * (width + gap) + width / 2, top, bold=True, align="center")
    y += depth + (0.03 if depth else 0.0)
    for i, row in enumerate(pictures):
        captions = set_items(texts[i], width, SMALL)
        height = width * tallness
        if row_labels:
            label = wrap(row_labels[i], gutter, BODY, 5, bold=True)
            canvas.write(label, MARGIN, y + (height - len(label) * line_height(BODY)) / 2, bold=True)
        for j, picture in enumerate(row):
            if picture:
                canvas.picture(picture, (left + j * (width + gap), y, width, height))
        for j, caption in enumerate(captions):
            x = left + j * (width + gap) + width / 2
            canvas.write(caption, x, y + height + 0.02, size=SMALL, color=MUTED, align="center")
        depth = max((len(caption) for caption in captions), default=0) * line_height(SMALL)
        y += height + (depth + 0.04 if depth else 0.0) + gap
    return canvas.close(y - gap + MARGIN)


def _heads(labels: Sequence[str], width: float) -> tuple[list[list[str]], float]:
    """The lines over each column of a grid, and the height of the tallest, in inches."""
    heads = [wrap(label, width, BODY, 3, bold=True) for label in labels]
    return heads, max((len(head) for head in heads), default=0) * line_height(BODY)


def _height(width: float, tallness: float, labels: Sequence[str], captions: Sequence[Sequence[str]]) -> float:
    """Inches that a grid with cells of this width takes, with a title of one line."""
    height = 2 * MARGIN + line_height(TITLE) + 0.1 + _heads(labels, width)[1]
    for row in captions:
        lines = max(map(len, set_items(row, width, SMALL)), default=0)
        height += width * tallness + (lines * line_height(SMALL) + 0.04 if lines else 0.0) + 0.08
    return height


def _check_grid(
    rows: Sequence[Sequence[Any]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    cell_captions: Sequence[Sequence[str]] | None,
) -> int:
    """The number of columns, once everything is known to match."""
    require(len(rows) > 0 and len(rows[0]) > 0, "grid: give at least one row with one picture")
    columns = len(rows[0])
    require(all(len(row) == columns for row in rows), "grid: rows differ in length; put None where a picture is missing")
    require(len(row_labels) in (0, len(rows)), f"grid: {len(row_labels)} row labels for {len(rows)} rows")
    require(len(column_labels) in (0, columns), f"grid: {len(column_labels)} column labels for {columns} columns")
    if cell_captions is not None:
        shape = [len(row) for row in cell_captions]
        require(shape == [columns] * len(rows), f"grid: cell_captions must be {len(rows)} rows of {columns}")
    return columns


@styled
def crosstab(table: Any, row_labels: Sequence[str], column_labels: Sequence[str], *, title: str = "") -> Figure:
    """Counts (R, C), whole numbers from 0, with their sums; a cell is the darker, the larger its share of its row.

    Raises UsageError for an empty table, negative or broken counts, or labels that do not match.
    """
    counts = np.asarray(table)
    require(counts.ndim == 2 and counts.size > 0, f"crosstab: the table must be two-dimensional, got {counts.shape}")
    shape = (len(row_labels), len(column_labels))
    require(shape == counts.shape, f"crosstab: {shape[0]} by {shape[1]} labels for a table of {counts.shape}")
    require(bool((counts >= 0).all() and (counts == np.round(counts)).all()), "crosstab: counts are whole numbers from 0")
    gutter = min(max(text_width(str(label), BODY) for label in row_labels), 2.0)
    left, total = MARGIN + gutter + 0.1, 0.6
    width = min((PAGE - left - MARGIN - total) / shape[1], 0.85)
    canvas = Canvas(max(left + shape[1] * width + total + MARGIN, 3.0))
    y = canvas.title(title)

    heads = [wrap(label, width - 0.06, SMALL, 3) for label in column_labels]
    depth = max(len(head) for head in heads) * line_height(SMALL)
    for j, head in enumerate([*heads, ["all"]]):
        middle = left + (j + 0.5) * width if j < shape[1] else left + shape[1] * width + total / 2
        color = INK if j < shape[1] else MUTED
        canvas.write(head, middle, y + depth - len(head) * line_height(SMALL), size=SMALL, color=color, align="center")
    y += depth + 0.05
    labels = [wrap(label, gutter, BODY, 2) for label in row_labels]
    height = max(0.3, max(len(label) for label in labels) * line_height(BODY) + 0.06)
    middle = (height - line_height(BODY)) / 2
    shades = matplotlib.colormaps["Blues"]
    for i, label in enumerate(labels):
        canvas.write(label, MARGIN, y + (height - len(label) * line_height(BODY)) / 2)
        for j in range(shape[1]):
            share = counts[i, j] / max(counts[i].sum(), 1)
            box = (left + j * width + 0.01, y + 0.01, width - 0.02, height - 0.02)
            canvas.block(box, matplotlib.colors.to_hex(shades(0.03 + 0.82 * share)))
            color = "white" if share > 0.7 else INK if counts[i, j] else MUTED
            canvas.write([f"{counts[i, j]:.0f}"], left + (j + 0.5) * width, y + middle, color=color, align="center")
        x = left + shape[1] * width + total / 2
        canvas.write([f"{counts[i].sum():.0f}"], x, y + middle, color=MUTED, align="center")
        y += height
    canvas.write(["all"], MARGIN, y + middle, color=MUTED)
    for j, count in enumerate([*counts.sum(axis=0), counts.sum()]):
        x = left + (j + 0.5) * width if j < shape[1] else left + shape[1] * width + total / 2
        canvas.write([f"{count:.0f}"], x, y + middle, color=MUTED, align="center")
    note = wrap("shade: share of the row", canvas.width - left - MARGIN, SMALL, 1)
    y = canvas.write(note, left, y + height + 0.04, size=SMALL, color=MUTED)
    return canvas.close(y + MARGIN)
