"""One content painted after several targets or by several methods, and the distances of each result."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench import images, methods, metrics
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.methods import Run
from workbench.metrics import StyleDistance
from workbench.statistics import Moments
from workbench.targets import StyleTarget
from workbench.transfer import Result, Settings, Transfer
from workbench.transfer.engine import batch

AT_ONCE, AT_ONCE_PIXELS = 8, 2_100_000
"""Transfers of a batch on CUDA, at most, and their pixels together."""


@dataclass(frozen=True)
class Outcome:
    """One result and its distances.

    content: to the content image. style: to the statistics it aimed at. oeuvre: to those of the whole corpus, the measure
    that all outcomes share. See metrics for the definitions.
    """

    target: StyleTarget
    result: Result = field(repr=False)
    content: float
    style: StyleDistance
    oeuvre: StyleDistance

    @property
    def label(self) -> str:
        """The label of the target; before it the method, where it is not the default one and the target does not imply it."""
        method = self.result.settings.method
        implied = method == Settings().method or self.target.combine != "mean"
        return self.target.label if implied else f"{Path(method).stem}-{self.target.label}"  # a network is named by its file

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
            "enlarged": self.target.enlarged(self.result.settings.painting_size(self.result.settings.size)),
            "works": works,
            "losses": self.result.history[-1] if self.result.history else {},
            "seconds": round(self.result.seconds, 2),
            "complete": self.result.complete,
        }


def paint_each(
    content: Tensor,
    chosen: Iterable[StyleTarget],
    oeuvre: Mapping[str, Moments],
    encoder: Encoder,
    settings: Settings | Sequence[Settings],
    *,
    show: bool,
    at_once: int | None = None,
) -> Iterator[Outcome]:
    """Paint `content` (1, 3, H, W) after every target, by the method that its settings name; yield each result, measured.

    `settings`: of all results, or one for each, of one size. `oeuvre`: moments of the whole corpus at that size.
    `at_once`: transfers that share a pass through the network, see `batch.run`; by default up to eight on CUDA, of 512 px or
    less, and fewer of larger pictures; one on a CPU, where a batch gains little and the first picture comes sooner.
    Ctrl-C raises KeyboardInterrupt after yielding the transfers it stopped, whose results say complete=False, so that no
    picture is lost.
    """
    chosen = tuple(chosen)
    fits = isinstance(settings, Settings) or len(settings) == len(chosen) > 0
    require(fits, f"{len(chosen)} targets: give one settings for all, or one for each")
    if at_once is None:
        size = (settings if isinstance(settings, Settings) else settings[0]).size
        at_once = _fitting(*images.fit(*content.shape[-2:], size)) if encoder.device.type == "cuda" else 1
    require(at_once >= 1, f"at_once = {at_once}: choose at least 1")
    each = [settings] * len(chosen) if isinstance(settings, Settings) else settings
    begun = (methods.get(one.method).begin(content, target, encoder, one) for target, one in zip(chosen, each, strict=True))
    for running in _batches(begun, at_once):
        results = batch.run(running, show=show) if len(running) > 1 else [running[0].run(show=show)]
        for run, result in zip(running, results, strict=True):
            yield Outcome(
                run.target,
                result,
                content=metrics.content_distance(result.image, content, encoder),
                style=metrics.style_distance(run.optimised, run.style_moments(), encoder),
                oeuvre=metrics.style_distance(result.image, oeuvre, encoder),
            )
        if not all(result.complete for result in results):
            raise KeyboardInterrupt


def _fitting(height: int, width: int) -> int:
    """How many pictures of that many pixels a GPU makes at once."""
    return max(1, min(AT_ONCE, AT_ONCE_PIXELS // (height * width)))


def _batches(runs: Iterable[Run], limit: int) -> Iterator[list[Run]]:
    """`runs` in their order, as many transfers at once as have the same stages, at most `limit`."""
    for _, alike in groupby(runs, key=lambda run: run.stages if isinstance(run, Transfer) else id(run)):
        while running := list(islice(alike, limit)):
            yield running
