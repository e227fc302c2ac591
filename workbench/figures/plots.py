"""Numbers as pictures: where works lie, how losses fall, what content costs in style, how weights spread, Gram matrices."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from workbench.errors import require
from workbench.figures.canvas import (
    BODY,
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
    shorten,
    styled,
    text_width,
    wrap,
)

CHANNELS = 64
"""Channels of a Gram matrix that are drawn."""
NAMED = 6
"""Works with a colour of their own in `weights_plot`."""
LARGEST = 0.8
"""Inches. Side of a thumbnail in `corpus_map`, at most."""
LABEL_WIDTH = 2.1
"""Inches for names beside a plot."""
POOLED = "#c9c9c9"
"""Colour of all works without a colour of their own."""
MARKERS = {"o": 1.0, "s": 0.9, "^": 1.1, "D": 0.85, "v": 1.1, "P": 1.15, "X": 1.15, "<": 1.1, "*": 1.5, ">": 1.1}
"""Shapes of points in `tradeoff`, with factors for an even look. Ten for seven colours: a pair comes back after 70 series."""
MARKER = 0.12
"""Inches. Side of the box that a point takes in `tradeoff`."""
Box = tuple[float, float, float, float]


@styled
def corpus_map(
    points: Any,
    images: Sequence[Any],
    labels: Sequence[Hashable],
    *,
    names: Mapping[Hashable, str] | None = None,
    colors: Mapping[Hashable, str] | None = None,
    title: str = "",
    legend_title: str = "",
) -> Figure:
    """Each work as its thumbnail at its point (n, 2), framed in the colour of its label.

    Thumbnails are as large as the median distance between neighbours lets them be, and never moved. `names` gives
    labels the text that the legend shows, `colors` all of them colours; without it, beyond seven labels, the most frequent keep
    a colour and the rest share grey.
    Raises UsageError without works, for points that are not finite, or when the counts differ.
    """
    places = np.asarray(points, dtype=float)
    require(places.ndim == 2 and places.shape[1:] == (2,), f"corpus_map: points must be (n, 2), got {places.shape}")
    require(len(places) > 0, "corpus_map: give at least one work")
    require(bool(np.isfinite(places).all()), "corpus_map: points must be finite")
    counts = (len(places), len(images), len(labels))
    require(len(set(counts)) == 1, "corpus_map: {} points, {} images, {} labels; give one each".format(*counts))
    if colors is None:
        colors, legend = label_colors(labels, names or {})
    else:
        named = names or {}
        legend = [(colors[x], f"{named.get(x, x)} ({count})") for x, count in sorted(Counter(labels).items())]
    low, span = places.min(axis=0), np.ptp(places, axis=0)
    inner = PAGE - 2 * MARGIN - LARGEST
    scale = inner / max(span[0], span[1] / 0.8, 1e-12)  # one scale for both axes: distances can be compared
    side = _thumbnail_side(places * scale)
    canvas = Canvas(max(span[0] * scale + side + 2 * MARGIN, 6.5))
    y = canvas.title(title)
    y = _legend(canvas, legend, legend_title, y) + 0.1
    x0, y0 = (canvas.width - span[0] * scale) / 2, y + side / 2
    for place, image, label in zip(places, images, labels, strict=True):
        x, down = x0 + (place[0] - low[0]) * scale, y0 + (low[1] + span[1] - place[1]) * scale
        box = canvas.picture(as_picture(image), (x - side / 2, down - side / 2, side, side))
        canvas.frame(box, colors[label], 1.6)
    return canvas.close(y + span[1] * scale + side + MARGIN)


def _thumbnail_side(places: np.ndarray) -> float:
    if len(places) == 1:
        return LARGEST
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.clip(1.3 * np.median(distances.min(axis=1)), 0.35, LARGEST))


def label_colors(
    labels: Sequence[Hashable], names: Mapping[Hashable, str]
) -> tuple[dict[Hashable, str], list[tuple[str, str]]]:
    """The colour of each label, and the legend in the order of the labels: (colour, text)."""
    counts = Counter(labels)
    try:
        order = sorted(counts)
    except TypeError:
        order = sorted(counts, key=str)
    kept = sorted(order, key=lambda label: -counts[label])[: len(PALETTE)]
    colored = [label for label in order if label in kept]
    colors = dict.fromkeys(order, OTHER) | dict(zip(colored, PALETTE, strict=False))
    legend = [(colors[label], f"{names.get(label, label)} ({counts[label]})") for label in colored]
    if rest := [label for label in order if label not in kept]:
        legend.append((OTHER, f"{len(rest)} other{'s' * (len(rest) > 1)} ({sum(counts[label] for label in rest)})"))
    return colors, legend


def _legend(canvas: Canvas, entries: Sequence[tuple[str, str]], title: str, y: float) -> float:
    """Coloured squares with their texts in lines of the page's width; returns the y below."""
    x, right = MARGIN, canvas.width - MARGIN
    if title:
        text = shorten(title, 3.0, BODY)
        canvas.write([text], x, y, color=MUTED)
        x += text_width(text, BODY) + 0.2
    for color, text in entries:
        text = shorten(text, 2.6, BODY)
        width = 0.17 + text_width(text, BODY)
        if x + width > right:
            x, y = MARGIN, y + line_height(BODY)
        canvas.block((x, y + 0.03, 0.1, 0.1), color)
        canvas.write([text], x + 0.16, y)
        x += width + 0.18
    return y + line_height(BODY)


@styled
def curves(
    series: Mapping[str, Any],
    *,
    x_label: str = "iteration",
    y_label: str = "loss",
    log: bool = True,
    boundaries: Sequence[float | tuple[float, str]] = (),
    title: str = "",
) -> Figure:
    """Lines with their names at their right ends. A series is a sequence of y from x = 0, or a tuple (x, y).

    `boundaries` are places on x, or (place, label), where a scale begins: faint lines. On a logarithmic axis values that
    are not positive leave a gap. Raises UsageError without a series or when one has nothing to draw.
    """
    require(bool(series), "curves: give at least one series")
    lines = {name: _xy(name, values, log) for name, values in series.items()}
    all_x, all_y = (np.concatenate([line[axis] for line in lines.values()]) for axis in (0, 1))
    labels = {name: shorten(name, LABEL_WIDTH, BODY) for name in lines}
    beside = max(text_width(label, BODY) for label in labels.values())
    left, width = MARGIN + 0.62, 5.2
    height = max(2.7, len(lines) * line_height(BODY))
    canvas = Canvas(left + width + 0.15 + max(beside, 0.2) + MARGIN)
    y = canvas.title(title)
    y = canvas.write(wrap(y_label, width, BODY, 2), MARGIN, y, color=MUTED) + 0.06
    top = y + (line_height(SMALL) if boundaries else 0.0)
    figure = canvas.close(top + height + 0.45 + MARGIN)
    axes = canvas.axes(left, top, width, height)
    axes.set(xlim=_limits(all_x, False, 0.01), ylim=_limits(all_y, log, 0.05), yscale="log" if log else "linear")
    _ticks(axes.yaxis, all_y, log)
    _ticks(axes.xaxis, all_x, False)
    axes.grid(axis="y")
    axes.set_xlabel(shorten(x_label, width, BODY))
    _boundaries(canvas, axes, boundaries, y, left + width)

    ends = []
    for k, (name, (x, values)) in enumerate(lines.items()):
        color, dash = PALETTE[k % len(PALETTE)], ("-", "--", ":", "-.")[k // len(PALETTE) % 4]
        axes.plot(x, values, dash, color=color, marker="o" if len(x) == 1 else None, markersize=4, label=name)
        ends.append((_page(canvas, axes, x[-1], values[np.isfinite(values)][-1])[1], name, color))
    ends.sort(key=lambda end: end[0])
    middles = _spread([end[0] for end in ends], line_height(BODY), top, top + height)
    for middle, (_, name, color) in zip(middles, ends, strict=True):
        canvas.write([labels[name]], left + width + 0.1, middle - line_height(BODY) / 2, color=color)
    return figure


def _xy(name: str, values: Any, log: bool) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(values, tuple) and len(values) == 2 and all(np.ndim(part) == 1 for part in values):
        x, y = (np.asarray(part, dtype=float) for part in values)
    else:
        y = np.asarray(values, dtype=float)
        x = np.arange(len(y) if y.ndim else 0, dtype=float)
    require(y.ndim == 1 and x.shape == y.shape, f"curves: {name!r} must be one sequence, or x and y of one length")
    y = np.where(np.isfinite(y) & ((y > 0) | (not log)), y, np.nan)
    kind = "positive, finite" if log else "finite"
    require(bool(np.isfinite(y).any() and np.isfinite(x).all()), f"curves: {name!r} has no {kind} value to draw")
    return x, y


def _limits(values: np.ndarray, log: bool, margin: float) -> tuple[float, float]:
    """Both ends of an axis, with a margin as a fraction of the range."""
    values = np.log10(values[np.isfinite(values)]) if log else values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = margin * (high - low) or 0.1 * (1.0 if log else abs(high) or 1.0)
    return (10 ** (low - room), 10 ** (high + room)) if log else (low - room, high + room)


def _ticks(axis: Any, values: np.ndarray, log: bool) -> None:
    """Plain numbers: 0.001 rather than a power, and enough of them when a logarithmic axis spans little."""
    if log:
        decades = np.log10(np.nanmax(values) / np.nanmin(values))
        many = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=many, numticks=12) if decades > 0.7 else MaxNLocator(5))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=bool((values == np.round(values)).all())))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def _page(canvas: Canvas, axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Inches on the page of a place in `axes`."""
    across, up = axes.transData.transform((x, y)) / canvas.figure.dpi
    return float(across), float(canvas.figure.get_figheight() - up)


def _boundaries(canvas: Canvas, axes: Axes, boundaries: Sequence[float | tuple[float, str]], y: float, right: float) -> None:
    pairs = sorted((pair if isinstance(pair, tuple) else (pair, "") for pair in boundaries), key=lambda pair: pair[0])
    low, high = axes.get_xlim()
    pairs = [(float(place), str(text)) for place, text in pairs if low <= place <= high]
    edges = [_page(canvas, axes, place, axes.get_ylim()[0])[0] for place, _ in pairs]
    for (place, text), edge, following in zip(pairs, edges, [*edges, right][1:], strict=True):
        axes.axvline(place, color="#cfcfcf", linewidth=0.8, zorder=0.5)
        room = following - edge - 0.05
        if room > 0.15:
            canvas.write([shorten(text, room, SMALL)], edge, y - 0.02, size=SMALL, color=MUTED)


def _spread(middles: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted `middles`, moved as little as needed to lie `gap` apart between low and high."""
    placed: list[float] = []
    for middle in middles:
        placed.append(max(middle, placed[-1] + gap if placed else low + gap / 2))
    limit = high - gap / 2
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], limit)
        limit = placed[k] - gap
    return placed


@styled
def tradeoff(
    points: Mapping[str, Any],
    *,
    x_label: str = "content distance",
    y_label: str = "style distance",
    title: str = "",
) -> Figure:
    """Content against style, as markers: a method is better than another where it is both lower and further left.

    points: name of a method -> its (content, style), (n, 2): one point, or one for each weight, joined in this order. Style
    is logarithmic. A name stands beside one of its points, where it covers nothing; if there is no such place, on the right.
    Raises UsageError without points, and for those that are not finite, or whose style is not positive.
    """
    require(bool(points), "tradeoff: give at least one method")
    series = {name: _pairs(name, values) for name, values in points.items()}
    every = np.concatenate(list(series.values()))
    left, width, height = MARGIN + 0.62, 7.6, max(4.4, len(series) * line_height(BODY))
    xlim, ylim = _limits(every[:, 0], False, 0.06), _limits(every[:, 1], True, 0.08)

    def in_plot(pairs: np.ndarray) -> np.ndarray:
        """Inches from the upper left corner of the plot, (n, 2)."""
        across = (pairs[:, 0] - xlim[0]) / (xlim[1] - xlim[0])
        up = np.log(pairs[:, 1] / ylim[0]) / np.log(ylim[1] / ylim[0])
        return np.stack([width * across, height * (1 - up)], axis=1)

    inches = {name: in_plot(pairs) for name, pairs in series.items()}
    labels = {name: shorten(name, LABEL_WIDTH, BODY) for name in series}
    places = _free_places(inches, labels, (0.0, 0.0, width, height))
    aside = sorted((name for name in series if name not in places), key=lambda name: inches[name][-1, 1])
    beside = max((0.3 + text_width(labels[name], BODY) for name in aside), default=0.0)
    canvas = Canvas(left + width + beside + MARGIN)
    y = canvas.title(title)
    better = "better: down and to the left ↙"
    canvas.write([better], left + width, y, color=MUTED, align="right")
    y_label = wrap(y_label, width - text_width(better, BODY), BODY, 2)
    top = canvas.write(y_label, MARGIN, y, color=MUTED) + 0.08
    figure = canvas.close(top + height + 0.45 + MARGIN)
    axes = canvas.axes(left, top, width, height)
    axes.set(xlim=xlim, ylim=ylim, yscale="log")
    _ticks(axes.yaxis, every[:, 1], True)
    _ticks(axes.xaxis, every[:, 0], False)
    axes.grid()
    axes.set_xlabel(shorten(x_label, width, BODY))
    canvas.page.set_zorder(axes.get_zorder() + 1)  # names stand in the plot

    column = _spread([inches[name][-1, 1] for name in aside], line_height(BODY), 0.0, height)
    places |= {name: (width + 0.3, at - line_height(BODY) / 2) for name, at in zip(aside, column, strict=True)}
    for k, (name, pairs) in enumerate(series.items()):
        color, (marker, factor) = PALETTE[k % len(PALETTE)], list(MARKERS.items())[k % len(MARKERS)]
        size = factor * (9.0 - 2.5 * k / len(series))  # later ones are smaller, and hide none
        looks = {"markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.6}
        axes.plot(*pairs.T, "-", color=color, marker=marker, linewidth=1.1, zorder=2 + k / len(series), label=name, **looks)
        x, down = places[name]
        _leader(canvas, inches[name], (x, down, text_width(labels[name], BODY)), (left, top), color)
        canvas.write([labels[name]], left + x, top + down, color=color)
    return figure


def _pairs(name: str, values: Any) -> np.ndarray:
    pairs = np.asarray(values, dtype=float)
    shaped = pairs.ndim == 2 and pairs.shape[1:] == (2,) and len(pairs) > 0
    require(shaped, f"tradeoff: {name!r} must be one (content, style) or more, got {pairs.shape}")
    require(
        bool(np.isfinite(pairs).all() and (pairs[:, 1] > 0).all()), f"tradeoff: {name!r}: give finite numbers, style above 0"
    )
    return pairs


def _free_places(series: Mapping[str, np.ndarray], labels: Mapping[str, str], plot: Box) -> dict[str, tuple[float, float]]:
    """Upper left corners, in inches, where labels stand near a point of their own and on nothing. Not all find such a place."""
    taken = [box for pairs in series.values() for box in _drawn_boxes(pairs)]
    places: dict[str, tuple[float, float]] = {}
    for name, pairs in series.items():
        size = text_width(labels[name], BODY), line_height(BODY)
        free = (box for box in _around(pairs, size) if _inside(box, plot) and not any(_touch(box, other) for other in taken))
        if box := next(free, None):
            taken.append(box)
            places[name] = box[:2]
    return places


def _drawn_boxes(pairs: np.ndarray) -> Iterator[Box]:
    """The boxes of the markers, and small ones along the lines between them."""
    for x, y in pairs:
        yield x - MARKER / 2, y - MARKER / 2, MARKER, MARKER
    for start, end in pairwise(pairs):
        for along in np.arange(0, 1, 0.05 / max(float(np.linalg.norm(end - start)), 0.05)):
            x, y = start + along * (end - start)
            yield x - 0.02, y - 0.02, 0.04, 0.04


def _around(pairs: np.ndarray, size: tuple[float, float]) -> Iterator[Box]:
    """Boxes of this size beside the points, the nearest first; on the right of the last point before all others."""
    sides = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
    for distance in (0.09, 0.2, 0.35, 0.55):
        for x, y in pairs[::-1]:
            for across, down in sides:
                middle = x + across * (distance + size[0] / 2), y + down * (distance + size[1] / 2)
                yield middle[0] - size[0] / 2, middle[1] - size[1] / 2, *size


def _inside(box: Box, outer: Box) -> bool:
    x, y, width, height = box
    return x >= outer[0] and y >= outer[1] and x + width <= outer[0] + outer[2] and y + height <= outer[1] + outer[3]


def _touch(one: Box, other: Box, gap: float = 0.02) -> bool:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return across > -gap and down > -gap


def _leader(
    canvas: Canvas, pairs: np.ndarray, label: tuple[float, float, float], corner: tuple[float, float], color: str
) -> None:
    """A thin line from a label (x, y, width) that stands off to the nearest of its points."""
    x, y, width = label
    nearest = np.stack([pairs[:, 0].clip(x, x + width), pairs[:, 1].clip(y, y + line_height(BODY))], axis=1)
    k = int(np.linalg.norm(nearest - pairs, axis=1).argmin())
    if np.linalg.norm(nearest[k] - pairs[k]) > 0.15:
        ends = np.stack([pairs[k], nearest[k]]) + np.array(corner)
        canvas.page.plot(*ends.T, color=color, linewidth=0.5, zorder=3, clip_on=False)


@styled
def weights_plot(taus: Sequence[float], weights: Any, names: Sequence[str], *, title: str = "") -> Figure:
    """How the weights over works spread with tau: shares stacked to 100 %, under the effective number 1 / sum w^2.

    taus: (T,) positive and finite; weights: (T, n), each row summing to 1; names: (n,). The NAMED works that weigh
    most over all taus have a colour, the rest are pooled in grey. Raises UsageError when any of this does not hold.
    """
    taus, shares = np.asarray(taus, dtype=float), np.asarray(weights, dtype=float)
    require(taus.ndim == 1 and len(taus) > 0, "weights_plot: give at least one tau")
    require(bool((np.isfinite(taus) & (taus > 0)).all()), "weights_plot: tau must be positive and finite")
    require(len(names) > 0, "weights_plot: give at least one work")
    require(
        shares.shape == (len(taus), len(names)),
        f"weights_plot: weights must be ({len(taus)}, {len(names)}), got {shares.shape}",
    )
    sums = shares.sum(axis=1)
    require(bool((shares >= 0).all() and np.allclose(sums, 1, atol=1e-3)), "weights_plot: each row must sum to 1")
    order = np.argsort(taus)
    taus, shares = taus[order], shares[order]
    if len(taus) == 1:
        taus, shares = taus * np.array([0.9, 1.1]), np.repeat(shares, 2, axis=0)
    ranked = np.argsort(-shares.sum(axis=0), kind="stable")
    layers = [shares[:, k] for k in ranked[:NAMED]]
    texts = [shorten(names[k], LABEL_WIDTH, BODY) for k in ranked[:NAMED]]
    colors = list(PALETTE[: len(layers)])
    if len(names) > NAMED:
        layers.append(shares[:, ranked[NAMED:]].sum(axis=1))
        rest = len(names) - NAMED
        texts.append(f"{rest} other works" if rest > 1 else "1 other work")
        colors.append(POOLED)

    left, width = MARGIN + 0.5, 5.0
    canvas = Canvas(left + width + 0.35 + max(text_width(text, BODY) for text in texts) + MARGIN)
    y = canvas.title(title)
    y = canvas.write(["effective number of works, 1 / Σ w²"], MARGIN, y, color=MUTED) + 0.06
    small, large = (y, 0.75), (y + 0.75 + 0.45, 2.6)
    figure = canvas.close(large[0] + large[1] + 0.45 + MARGIN)
    upper, lower = (canvas.axes(left, top, width, height) for top, height in (small, large))
    for axes in (upper, lower):
        axes.set(xscale="log", xlim=(taus[0], taus[-1]))
        _ticks(axes.xaxis, taus, True)
    upper.tick_params(labelbottom=False)
    effective = 1 / (shares**2).sum(axis=1)
    upper.plot(taus, effective, color=INK)
    upper.set(ylim=(0.9, 1.15 * max(len(names), 2)), yscale="log")
    upper.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
    upper.yaxis.set_minor_locator(NullLocator())
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    upper.grid(axis="y")
    canvas.write(["share of the weight"], MARGIN, large[0] - 0.06 - line_height(BODY), color=MUTED)
    lower.stackplot(taus, layers, colors=colors, edgecolor="white", linewidth=0.6)
    lower.set(ylim=(0, 1), xlabel="temperature τ")
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    y = large[0]
    for color, text in reversed(list(zip(colors, texts, strict=True))):
        canvas.block((left + width + 0.15, y + 0.03, 0.1, 0.1), color)
        y = canvas.write([text], left + width + 0.32, y) + 0.03
    return figure


@styled
def gram_matrices(grams: Mapping[str, Tensor | Sequence[Tensor]], titles: Sequence[str] = (), *, title: str = "") -> Figure:
    """Gram matrices as heat maps: a column per layer, a row per picture.

    grams: layer -> one matrix (C, C), or one per picture in the order of `titles`. The first CHANNELS channels are
    drawn. The matrices of a layer share one scale, symmetric about zero, that ends at the 99th percentile of the
    magnitudes: the few larger ones are saturated. Raises UsageError without layers or when numbers do not match.
    """
    require(bool(grams), "gram_matrices: give at least one layer")
    stacks = {layer: [values] if isinstance(values, Tensor) else list(values) for layer, values in grams.items()}
    count = len(next(iter(stacks.values())))
    require(count > 0 and len(titles) in (0, count), f"gram_matrices: {len(titles)} titles for {count} pictures")
    for layer, stack in stacks.items():
        require(len(stack) == count, f"gram_matrices: {layer} has {len(stack)} matrices where others have {count}")
        square = all(gram.ndim == 2 and gram.shape[0] == gram.shape[1] > 0 for gram in stack)
        require(square, f"gram_matrices: {layer} must be (C, C)")
        require(all(bool(gram.isfinite().all()) for gram in stack), f"gram_matrices: {layer} is not finite")
    gutter = min(max((text_width(text, BODY, True) for text in titles), default=0.0), 1.2)
    left, gap = MARGIN + gutter + (0.1 if gutter else 0.0), 0.14
    width = min((PAGE - left - MARGIN + gap) / len(stacks) - gap, 2.2)
    canvas = Canvas(left + len(stacks) * (width + gap) - gap + MARGIN)
    y = canvas.title(title)
    heads = {layer: [*wrap(layer, width, BODY, 2, bold=True)] for layer in stacks}
    depth = max(len(head) for head in heads.values())
    top = y + (depth + 1) * line_height(BODY) + 0.05
    figure = canvas.close(top + count * (width + 0.1) + 0.35 + MARGIN)
    for k, text in enumerate(titles):
        lines = wrap(text, gutter, BODY, 5, bold=True)
        middle = top + k * (width + 0.1) + width / 2
        canvas.write(lines, MARGIN, middle - len(lines) * line_height(BODY) / 2, bold=True)
    for j, (layer, stack) in enumerate(stacks.items()):
        x, channels = left + j * (width + gap), len(stack[0])
        below = canvas.write(heads[layer], x, y + (depth - len(heads[layer])) * line_height(BODY), bold=True)
        size = f"{channels} channels" if channels <= CHANNELS else f"first {CHANNELS} of {channels} channels"
        canvas.write(wrap(size, width, SMALL, 1), x, below, size=SMALL, color=MUTED)
        shown = [gram[:CHANNELS, :CHANNELS].detach().float().cpu() for gram in stack]
        limit = float(np.quantile(torch.stack(shown).abs().numpy(), 0.99)) or 1.0
        for k, gram in enumerate(shown):
            axes = canvas.axes(x, top + k * (width + 0.1), width, width)
            axes.imshow(gram.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
        _color_scale(canvas, limit, (x, top + count * (width + 0.1) + 0.02, width, 0.07))
    return figure


def _color_scale(canvas: Canvas, limit: float, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    ramp = matplotlib.colormaps["RdBu_r"](np.linspace(0, 1, 256))[None, :, :3]
    canvas.page.imshow(ramp, extent=(x, x + width, y + height, y), aspect="auto", zorder=1)
    for place, text, align in ((x, f"−{limit:.2g}", "left"), (x + width / 2, "0", "center")):
        canvas.write([text], place, y + height + 0.02, size=SMALL, color=MUTED, align=align)
    canvas.write([f"{limit:.2g}"], x + width, y + height + 0.02, size=SMALL, color=MUTED, align="right")
