"""Results as panels of figures: the picture, its distances, and the paintings it used."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from workbench import images, methods, metrics
from workbench.encoders import Encoder
from workbench.figures.canvas import Figure
from workbench.figures.panels import SHOWN, Panel
from workbench.figures.sheets import grid
from workbench.statistics import Moments, resample_masks
from workbench.targets import TARGETS, StyleTarget
from workbench.transfer import Settings

if TYPE_CHECKING:
    from workbench.study.comparison import Outcome

COMBINED = {"mean": "", "barycentre": ", barycentre", "softmin": ", soft-min", "patches": ", patches"}
THUMBNAIL = 200
"""px. Long side of a painting below a panel."""
PIECES = 4
"""Pieces shown for a region."""
FADE = 0.75
"""How far what lies outside a region is drawn towards light grey."""


def content_panel(content: Tensor, oeuvre: Mapping[str, Moments], encoder: Encoder, size: int) -> Panel:
    """The content image as the first panel, with its own distance to the oeuvre."""
    picture = images.resize(content, size)
    distance = metrics.style_distance(picture, oeuvre, encoder)
    return Panel("Content", picture, lines=(f"oeuvre {distance.gram:.2g}",))


def target_title(target: StyleTarget, method: str = "neighbours") -> str:
    """The name of a target in figures, and of the method where it is not the default one."""
    how = COMBINED[target.combine]
    if not how and method != Settings.method:
        how = f", {methods.get(method).card.title}"
    return (TARGETS[target.name].title if target.name in TARGETS else target.name.capitalize()) + how


def result_panel(outcome: "Outcome") -> Panel:
    """An outcome as a panel of figures.side_by_side: the picture, its distances, and the paintings it used."""
    target = outcome.target
    works = [
        (images.to_pil(work.load(THUMBNAIL)) if rank < SHOWN else None, work.title, weight)
        for rank, (work, weight) in enumerate(zip(target.works, target.weights, strict=True))
    ]
    line = f"content {outcome.content:.2f} · style {outcome.style.gram:.2g} · oeuvre {outcome.oeuvre.gram:.2g}"
    return Panel(
        target_title(target, outcome.result.settings.method), outcome.result.image, works=works, lines=(line,), note=target.note
    )


def region_matches(content: Tensor, target: StyleTarget) -> Figure:
    """What was matched with what: a row for every region of the content, then the pieces that weigh most in its style.

    `content` (1, 3, H, W) in [0, 1]; `target` has guides. What lies outside a region or a piece is dimmed.
    """
    rows, captions, labels = [], [], []
    for guide in target.guides:
        row = [dimmed(images.resize(content, THUMBNAIL), guide.mask)]
        known = f"familiarity {guide.familiarity:.0%}" if guide.matched else "never painted"
        caption = [f"cosine {guide.similarity:.2f}, random {guide.usual:.2f}, {known}"]
        for piece, weight in list(zip(guide.pieces, guide.weights, strict=True))[:PIECES]:
            row.append(dimmed(piece.work.load(THUMBNAIL), piece.mask))
            caption.append(f"{weight:.0%} {piece.work.title}")
        missing = PIECES + 1 - len(row)
        rows.append([*row, *[None] * missing])
        captions.append([*caption, *[""] * missing])
        labels.append(guide.where)
    columns = ["Region", "Pieces, the heaviest first", *[""] * (PIECES - 1)]
    title = target.misfit[:1].upper() + target.misfit[1:]
    return grid(rows, labels, columns, cell_captions=captions, title=title)


def dimmed(picture: Tensor, mask: Tensor) -> Tensor:
    """`picture` (1, 3, H, W) with what lies outside of `mask` (1, 1, h, w) drawn towards light grey."""
    inside = resample_masks(mask, *picture.shape[-2:])
    return picture * inside + (picture * (1 - FADE) + 0.85 * FADE) * (1 - inside)
