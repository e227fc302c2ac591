"""Curves of the losses while a transfer runs, drawn by the page in the colours of its theme."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import anywidget
import traitlets

SHOWN = ("total", "style", "content")


class LossCurves(anywidget.AnyWidget):
    """series: name -> a value for every evaluation; boundaries: [evaluations before it, name] of every stage begun;
    total: evaluations in all, the end of the axis. Fewer than two evaluations draw nothing.
    """

    _esm = Path(__file__).with_name("loss_curves.js")

    series = traitlets.Dict().tag(sync=True)
    boundaries = traitlets.List().tag(sync=True)
    total = traitlets.Int().tag(sync=True)

    def draw(self, losses: Sequence[Mapping[str, float]], boundaries: Sequence[tuple[int, str]], total: int) -> None:
        """Draw the `losses` of every evaluation so far; see `transfer.Transfer` for the rest."""
        names = [name for name in SHOWN if losses and name in losses[0]]
        with self.hold_sync():
            self.total = total
            self.boundaries = [[start, name] for start, name in boundaries if start < max(len(losses), 1)]
            self.series = {name: [float(f"{step[name]:.4g}") for step in losses] for name in names}
