"""The figure of the project: one content, several targets, and the paintings that each of them used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from workbench.errors import require
from workbench.figures.canvas import (
    BODY,
    FAINT,
    HEAD,
    INK,
    MARGIN,
    MUTED,
    PAGE,
    SMALL,
    Canvas,
    Figure,
    as_picture,
    line_height,
    set_items,
    shorten,
    styled,
    wrap,
)

SHOWN = 6
"""Thumbnails under a panel, at most."""
NAMED = 2
"""Thumbnails that are named, unless they are as good as any other: see `_named`."""
GUTTER = 0.16
"""Inches between panels."""
GAP, LABEL = 0.07, 0.22
"""Inches between thumbnails, and under each for its bar and its percentage."""


@dataclass(frozen=True)
class Panel:
    """One result and what it was made from.

    title: name of the method. image: the picture (see `as_picture`). works: (thumbnail, caption, weight in [0, 1]) of
    every painting used, heaviest first. lines: distances as text, items set apart by " · ". note: one short remark.
    """

    title: str
    image: Any
    works: Sequence[tuple[Any, str, float]] = ()
    lines: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class _Text:
    """The text of one panel, broken into lines for the width it has."""

    title: list[str]
    lines: list[str]
    note: list[str]
    more: list[str]
    captions: list[list[str]]


@dataclass(frozen=True)
class _Row:
    """What the panels of one row share: the height of each of their parts, in inches, with the space above it."""

    title: float
    picture: float
    lines: float
    note: float
    strip: float
    captions: float

    @property
    def height(self) -> float:
        return self.title + self.picture + self.lines + self.note + self.strip + self.captions


@styled
def side_by_side(panels: Sequence[Panel], *, title: str = "", columns: int | None = None) -> Figure:
    """Large pictures in equal boxes, each with its method above it, and its numbers and paintings below.

    Up to SHOWN paintings are drawn with a bar as long as their weight (a full track is 100 %), and the heaviest are
    named. `columns` (1 to 8) defaults to one row for up to seven upright pictures or four wide ones, else to rows of
    equal length. Text stays legible on a page of 900 px and across two columns of print. Raises UsageError without
    panels, and for works that do not come heaviest first or weigh less than 0 or more than 1.
    """
    panels = list(panels)
    require(bool(panels), "side_by_side: give at least one panel")
    require(columns is None or 1 <= columns <= 8, f"columns must be from 1 to 8, got {columns}")
    for panel in panels:
        weights = [weight for _, _, weight in panel.works]
        require(all(0 <= weight <= 1 + 1e-6 for weight in weights), f"panel {panel.title!r}: weights must lie in [0, 1]")
        require(weights == sorted(weights, reverse=True), f"panel {panel.title!r}: give its works heaviest first")
    pictures = [as_picture(panel.image, f"panel {panel.title!r}") for panel in panels]
    tallness = float(np.clip(np.median([picture.height / picture.width for picture in pictures]), 0.4, 1.8))
    columns = min(columns or _columns(len(panels), tallness), len(panels))
    width = min((PAGE - 2 * MARGIN - (columns - 1) * GUTTER) / columns, 2.4 if tallness > 0.95 else 3.15)
    canvas = Canvas(2 * MARGIN + columns * (width + GUTTER) - GUTTER)
    texts = _typeset(panels, width)
    y = canvas.title(title)
    for first in range(0, len(panels), columns):
        chosen = range(first, min(first + columns, len(panels)))
        row = _measure([texts[k] for k in chosen], any(panels[k].works for k in chosen), width, tallness)
        for k in chosen:
            place = (MARGIN + (k - first) * (width + GUTTER), y, width)
            _draw(canvas, place, row, pictures[k], texts[k], panels[k].works[:SHOWN])
        y += row.height + 0.22
    return canvas.close(y - 0.22 + MARGIN)


def _columns(count: int, tallness: float) -> int:
    rows = -(-count // (7 if tallness > 0.95 else 4))
    return -(-count // rows)


def _typeset(panels: Sequence[Panel], width: float) -> list[_Text]:
    """Distances are set for all panels together, because a reader compares them."""
    lines = iter(set_items([line for panel in panels for line in panel.lines], width, BODY))
    texts = []
    for panel in panels:
        rest = panel.works[SHOWN:]
        share = _percent(sum(weight for _, _, weight in rest))
        texts.append(
            _Text(
                title=wrap(panel.title, width, HEAD, 3, bold=True),
                lines=[part for _ in panel.lines for part in next(lines)],
                note=wrap(panel.note, width, BODY, 4),
                more=wrap(f"+ {len(rest)} more · {share}", width, SMALL, 1) if rest else [],
                captions=[wrap(caption, width, BODY, 3 if len(panel.works) == 1 else 2) for caption in _named(panel)],
            )
        )
    return texts


def _named(panel: Panel) -> list[str]:
    """Captions of the heaviest works; of many works, only of those whose weight is well above the even share."""
    count = len(panel.works)
    return [caption for _, caption, weight in panel.works[:NAMED] if count <= SHOWN or weight >= 1.5 / count]


def _measure(texts: Sequence[_Text], strip: bool, width: float, tallness: float) -> _Row:
    body = line_height(BODY)
    titles, lines, notes = (
        max(len(part) for part in parts)
        for parts in ([text.title for text in texts], [text.lines for text in texts], [text.note for text in texts])
    )
    captions = max(
        len(text.more) * line_height(SMALL) + sum(len(caption) * body + 0.03 for caption in text.captions) for text in texts
    )
    per_row = 3 if width < 2.2 else 6
    cell = (width - (per_row - 1) * GAP) / per_row + LABEL
    return _Row(
        title=titles * line_height(HEAD) + 0.03,
        picture=width * tallness,
        lines=lines * body + (0.07 if lines else 0),
        note=notes * body + (0.04 if notes else 0),
        strip=max(SHOWN // per_row * cell, 0.82) + 0.08 if strip else 0.0,
        captions=captions + (0.03 if captions else 0),
    )


def _draw(
    canvas: Canvas,
    place: tuple[float, float, float],
    row: _Row,
    picture: Image.Image,
    text: _Text,
    works: Sequence[tuple[Any, str, float]],
) -> None:
    """Draw one panel at `place` (x, y, width)."""
    x, y, width = place
    y += row.title
    canvas.write(text.title, x, y - 0.03 - len(text.title) * line_height(HEAD), size=HEAD, bold=True)
    canvas.picture(picture, (x, y, width, row.picture), anchor=(0, 0.5))
    y += row.picture
    canvas.write(text.lines, x, y + 0.07)
    y += row.lines
    canvas.write(text.note, x, y + 0.04, color=MUTED)
    y += row.note
    if works:
        _strip(canvas, works, (x, y + 0.08, width, row.strip - 0.08))
    y = canvas.write(text.more, x, y + row.strip + 0.03, size=SMALL, color=MUTED)
    for caption in text.captions:
        y = canvas.write(caption, x, y + 0.03)


def _strip(canvas: Canvas, works: Sequence[tuple[Any, str, float]], box: tuple[float, float, float, float]) -> None:
    """Thumbnails of one size, as large as the box allows, each over a track that its weight fills."""
    x, y, width, height = box
    columns = max(range(1, len(works) + 1), key=lambda c: (min(_cell(c, len(works), width, height)), -c))
    cell_width, cell_height = _cell(columns, len(works), width, height)
    thumbnails = [as_picture(thumbnail, caption) for thumbnail, caption, _ in works]
    if len(works) == 1:  # its track is as wide as it is
        cell_width = min(cell_width, cell_height * thumbnails[0].width / thumbnails[0].height)
    for k, (thumbnail, (_, _, weight)) in enumerate(zip(thumbnails, works, strict=True)):
        left = x + k % columns * (cell_width + GAP)
        top = y + k // columns * (cell_height + LABEL)
        canvas.picture(thumbnail, (left, top, cell_width, cell_height), anchor=(0, 1))
        bar = top + cell_height + 0.03
        canvas.block((left, bar, cell_width, 0.03), FAINT)
        canvas.block((left, bar, cell_width * min(weight, 1.0), 0.03), INK)
        percent = shorten(_percent(weight), cell_width, SMALL)
        canvas.write([percent], left, bar + 0.025, size=SMALL, color=MUTED)


def _cell(columns: int, count: int, width: float, height: float) -> tuple[float, float]:
    """Width and height of a thumbnail when `count` of them stand in `columns`."""
    rows = -(-count // columns)
    return (width - (columns - 1) * GAP) / columns, height / rows - LABEL


def _percent(weight: float) -> str:
    percent = 100 * weight
    if percent >= 9.95 or percent == 0:
        return f"{percent:.0f}%"
    return f"{percent:.1f}%" if percent >= 0.05 else "<0.1%"
