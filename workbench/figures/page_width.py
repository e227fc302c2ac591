"""Figures of a report, at the width of its text: a panel beside the other for artists or endpoints, with one list of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.errors import require
from workbench.figures.canvas import BODY, FAINT, INK, MUTED, OTHER, PALETTE, Figure, shorten, styled, text_width
from workbench.figures.evidence import Ends

WIDTH = 6.6
"""Inches. Width of the text of a page of A4."""
ROW = 0.21
"""Inches from one row to the next."""
NAMES = 3.0
"""Inches. Width of the names of rows, at most."""
DASHES = ("-", "--", ":", "-.")


@styled
def differences(panels: Mapping[str, Mapping[str, Ends]]) -> Figure:
    """endpoint -> row -> (mean, low, high) of a difference, the interval left out where it is NaN; a dashed line at 0.

    UsageError without a row.
    """
    figure, axes, names = _rows(panels)
    for axis, rows in zip(axes, panels.values(), strict=True):
        axis.axvline(0, color=OTHER, linewidth=0.8, linestyle=(0, (4, 3)))
        for name, (mean, low, high) in rows.items():
            row = names.index(name)
            if np.isfinite(low) and np.isfinite(high):
                axis.plot([low, high], [row, row], color=PALETTE[0], linewidth=1.4)
            axis.plot([mean], [row], "o", color=PALETTE[0], markersize=4)
        axis.margins(x=0.08)
        axis.grid(axis="x")
        axis.set_xlabel("difference", color=MUTED)
    return figure


@styled
def places(panels: Mapping[str, Mapping[str, Sequence[float]]], *, controls: int = 0) -> Figure:
    """artist -> row -> places in [0, 1] of single results, a dot each, a tick at their mean; the first `controls` rows in grey.

    The outer quarters are shaded. UsageError without a row.
    """
    figure, axes, names = _rows(panels)
    for axis, rows in zip(axes, panels.values(), strict=True):
        for low, high in ((-0.03, 0.25), (0.75, 1.03)):
            axis.axvspan(low, high, color=FAINT, alpha=0.5, linewidth=0)
        for name, found in rows.items():
            row, found = names.index(name), np.sort(np.asarray(found, dtype=float))
            lift = 0.26 * (2 * (np.arange(len(found)) * 0.618034 % 1) - 1)  # spread evenly, and the same every time
            color = OTHER if row < controls else PALETTE[0]
            axis.plot(found, row + lift, "o", color=color, markersize=2, alpha=0.5, markeredgewidth=0)
            if len(found):
                axis.plot([found.mean()] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=1.4)
        if 0 < controls < len(names):
            axis.axhline(controls - 0.5, color=OTHER, linewidth=0.6)
        axis.set(xlim=(-0.03, 1.03), xticks=[0, 0.25, 0.5, 0.75, 1])
        axis.set_xlabel("place: misses the artist (0) to overshoots (1)", color=MUTED)
    return figure


@styled
def tradeoffs(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> Figure:
    """artist -> method -> (content distances, log-odds), a line each, with one legend below. UsageError without a line."""
    names = _names(panels)
    figure, axes = _figure(list(panels), 1.8, 0.5, below=0.45 + 0.2 * -(-len(names) // 4), gap=0.55)
    for axis, lines in zip(axes, panels.values(), strict=True):
        for name, (x, y) in lines.items():
            k = names.index(name)
            color, dash = PALETTE[k % len(PALETTE)], DASHES[k // len(PALETTE) % len(DASHES)]
            axis.plot(x, y, dash, color=color, marker="o", markersize=2.5, label=name)
        axis.grid(axis="y")
        axis.set_xlabel("content distance", color=MUTED)
    axes[0].set_ylabel("log-odds of the artist", color=MUTED)
    handles = {line.get_label(): line for axis in axes for line in axis.lines}
    figure.legend([handles[n] for n in names], names, loc="lower center", ncols=min(4, len(names)), frameon=False, fontsize=7.5)
    return figure


def _names(panels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    require(bool(names), "a figure of the report needs at least one row")
    return names


def _rows(panels: Mapping[str, Mapping[str, Any]]) -> tuple[Figure, list[Any], list[str]]:
    """A figure with a panel for each of `panels`, the names of all rows to the left of the first."""
    names = _names(panels)
    labels = [shorten(name, NAMES, BODY) for name in names]
    left = max(text_width(label, BODY) for label in labels) + 0.15
    figure, axes = _figure(list(panels), ROW * len(names), left, below=0.5, gap=0.2)
    for k, axis in enumerate(axes):
        axis.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=labels if k == 0 else [])
        axis.tick_params(axis="y", length=0, labelsize=BODY)
        axis.spines["left"].set_visible(False)
    return figure, axes, names


def _figure(titles: Sequence[str], height: float, left: float, *, below: float, gap: float) -> tuple[Figure, list[Any]]:
    """A figure of WIDTH with panels side by side, all measures in inches."""
    above = 0.25
    whole = above + height + below
    figure = Figure(figsize=(WIDTH, whole))
    width = (WIDTH - left - 0.1 - gap * (len(titles) - 1)) / len(titles)
    axes = []
    for k, title in enumerate(titles):
        x = left + k * (width + gap)
        axes.append(figure.add_axes((x / WIDTH, below / whole, width / WIDTH, height / whole)))
        axes[-1].set_title(shorten(title, width, BODY, bold=True), loc="left", fontsize=BODY, fontweight="bold", pad=4)
    return figure, axes
