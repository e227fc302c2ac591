"""The main job: one content, several style targets, the same optimisation for each, and what came of them side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench import batch, figures, images, metrics
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.figures import Figure, Panel
from workbench.figures.panels import SHOWN
from workbench.metrics import StyleDistance
from workbench.statistics import Moments, spread
from workbench.targets import StyleTarget
from workbench.transfer import Method, Result, Settings, Transfer

TITLES = {
    "single": "Single",
    "nearest": "Nearest",
    "blend": "Blend",
    "cluster": "Cluster",
    "regions": "Regions",
    "whole": "Whole oeuvre",
}
COMBINED = {"pooled": "", "barycentre": ", barycentre", "apart": ", soft-min", "bag": ", patches"}
METHODS = {"gram": ", Gram matrices", "neighbours": ""}
THUMBNAIL = 200  # px
AT_ONCE, AT_ONCE_PIXELS = 8, 2_100_000  # transfers of a batch on CUDA: at most so many, and so many pixels of them
MATCHES = 4  # pieces shown for a region
VEIL = 0.75  # how far what lies outside a region fades


@dataclass(frozen=True)
class Outcome:
    """One transfer and its distances.

    content: to the content image. style: to the statistics it aimed at. oeuvre: to those of the whole corpus, the one
    yardstick that all outcomes share. See metrics for the definitions.
    """

    target: StyleTarget
    result: Result = field(repr=False)
    content: float
    style: StyleDistance
    oeuvre: StyleDistance

    @property
    def label(self) -> str:
        """The label of the target; before it the method, where that is not the one that goes without saying."""
        gram = self.result.settings.method == "gram" and self.target.combine == "pooled"
        return f"gram-{self.target.label}" if gram else self.target.label

    def record(self) -> dict[str, Any]:
        """What metrics.json holds of this outcome."""
        works = [
            {"file": work.name, "title": work.title, "weight": weight}
            for work, weight in zip(self.target.works, self.target.weights, strict=True)
        ]
        return {
            "content": self.content,
            "style": {"gram": self.style.gram, "w2": self.style.w2, "by_layer": self.style.by_layer},
            "oeuvre": {"gram": self.oeuvre.gram, "w2": self.oeuvre.w2},
            "method": self.result.settings.method,
            "effective_number": self.target.effective_number,
            "fit": self.target.fit and asdict(self.target.fit),
            "combine": self.target.combine,
            "regions": [guide.line for guide in self.target.guides],
            "note": self.target.note,
            "works": works,
            "losses": self.result.history[-1] if self.result.history else {},
            "seconds": round(self.result.seconds, 2),
            "complete": self.result.complete,
        }


def transfer_each(
    content: Tensor,
    chosen: Iterable[StyleTarget],
    oeuvre: Mapping[str, Moments],
    encoder: Encoder,
    settings: Settings | Sequence[Settings],
    *,
    show: bool,
    at_once: int | None = None,
) -> Iterator[Outcome]:
    """Transfer `content` (1, 3, H, W) to every target, and yield each result in turn, measured.

    `settings`: of all transfers, or one for each, of one size. `oeuvre`: moments of the whole corpus at that size.
    `at_once`: transfers that share a pass through the network, see `batch.run`; by default up to eight on CUDA, of 512 px or
    less, and fewer of larger pictures; one on a CPU, where a batch gains little and the first picture comes sooner.
    Ctrl-C raises KeyboardInterrupt after yielding the transfers it stopped, whose results say complete=False, so that no
    picture is lost.
    """
    if at_once is None:
        size = (settings if isinstance(settings, Settings) else settings[0]).size
        at_once = _fitting(*images.fit(*content.shape[-2:], size)) if encoder.device.type == "cuda" else 1
    require(at_once >= 1, f"at_once = {at_once}: choose at least 1")
    chosen = tuple(chosen)
    each = [settings] * len(chosen) if isinstance(settings, Settings) else settings
    transfers = (Transfer(content, target, encoder, one) for target, one in zip(chosen, each, strict=True))
    for running in _batches(transfers, at_once):
        results = batch.run(running, show=show) if len(running) > 1 else [running[0].run(show=show)]
        for transfer, result in zip(running, results, strict=True):
            yield Outcome(
                transfer.target,
                result,
                content=metrics.content_distance(result.image, content, encoder),
                style=metrics.style_distance(transfer.bare, transfer.aim(), encoder),
                oeuvre=metrics.style_distance(result.image, oeuvre, encoder),
            )
        if not all(result.complete for result in results):
            raise KeyboardInterrupt


def _fitting(height: int, width: int) -> int:
    """How many pictures of that many pixels a GPU makes at once."""
    return max(1, min(AT_ONCE, AT_ONCE_PIXELS // (height * width)))


def _batches(transfers: Iterable[Transfer], limit: int) -> Iterator[list[Transfer]]:
    """`transfers` in their order, as many at once as have the same stages, at most `limit`."""
    for _, alike in groupby(transfers, key=attrgetter("stages")):
        while running := list(islice(alike, limit)):
            yield running


def painted(
    content: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    settings: Settings,
    folder: Path | None,
    name: str,
    *,
    show: bool = False,
) -> Tensor:
    """The result of one transfer, (1, 3, H, W) in [0, 1], taken from `folder` if it is there and kept there if it is not.

    Files are named after `name`, the target, and all that decides the result. Ctrl-C raises KeyboardInterrupt, and what is
    unfinished is not kept.
    """
    transfer = Transfer(content, target, encoder, settings)
    path = folder and kept_at(transfer, folder, name)
    if path and path.exists():
        return images.load(path)
    result = transfer.run(show=show)
    if not result.complete:
        raise KeyboardInterrupt(
            f"interrupted in {name}, {target.label}" + (f"; what is finished lies in {folder}" if folder else "")
        )
    if not path:
        return result.image
    images.save(result.image, path)
    return images.load(path)  # what the next call will find


def kept_at(transfer: Transfer, folder: Path, name: str) -> Path:
    """Where `painted` keeps the result of `transfer`."""
    method, label = transfer.settings.method, transfer.target.label
    return folder / f"{name}_{method}_{label}_{transfer.fingerprint()[:16]}.png"


def content_panel(content: Tensor, oeuvre: Mapping[str, Moments], encoder: Encoder, size: int) -> Panel:
    """The content image as the first panel, with its own distance to the oeuvre."""
    picture = images.resize(content, size)
    distance = metrics.style_distance(picture, oeuvre, encoder)
    return Panel("Content", picture, lines=(f"oeuvre {distance.gram:.2g}",))


def title(target: StyleTarget, method: Method = "neighbours") -> str:
    """The name of a target in figures, and of the method."""
    how = COMBINED[target.combine] or METHODS[method]
    return TITLES.get(target.name, target.name.capitalize()) + how


def panel(outcome: Outcome) -> Panel:
    """An outcome as a panel of figures.comparison: the picture, its distances, and the paintings it used."""
    target = outcome.target
    works = [
        (images.to_pil(work.load(THUMBNAIL)) if rank < SHOWN else None, work.title, weight)
        for rank, (work, weight) in enumerate(zip(target.works, target.weights, strict=True))
    ]
    line = f"content {outcome.content:.2f} · style {outcome.style.gram:.2g} · oeuvre {outcome.oeuvre.gram:.2g}"
    return Panel(
        title(target, outcome.result.settings.method), outcome.result.image, works=works, lines=(line,), note=target.note
    )


def matches(content: Tensor, target: StyleTarget) -> Figure:
    """What was matched with what: a row for every region of the content, then the pieces that weigh most in its style.

    `content` (1, 3, H, W) in [0, 1]; `target` has guides. What lies outside a region or a piece is veiled.
    """
    rows, captions, labels = [], [], []
    for guide in target.guides:
        row = [veiled(images.resize(content, THUMBNAIL), guide.mask)]
        known = f"familiarity {guide.familiarity:.0%}" if guide.matched else "never painted"
        caption = [f"cosine {guide.similarity:.2f}, random {guide.usual:.2f}, {known}"]
        for piece, weight in list(zip(guide.pieces, guide.weights, strict=True))[:MATCHES]:
            row.append(veiled(piece.work.load(THUMBNAIL), piece.mask))
            caption.append(f"{weight:.0%} {piece.work.title}")
        missing = MATCHES + 1 - len(row)
        rows.append([*row, *[None] * missing])
        captions.append([*caption, *[""] * missing])
        labels.append(guide.where)
    columns = ["Region", "Pieces, the heaviest first", *[""] * (MATCHES - 1)]
    title = target.misfit[:1].upper() + target.misfit[1:]
    return figures.grid(rows, labels, columns, cell_captions=captions, title=title)


def veiled(picture: Tensor, mask: Tensor) -> Tensor:
    """`picture` (1, 3, H, W) with what lies outside of `mask` (1, 1, h, w) drawn towards light grey."""
    inside = spread(mask, *picture.shape[-2:])
    return picture * inside + (picture * (1 - VEIL) + 0.85 * VEIL) * (1 - inside)
