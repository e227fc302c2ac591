"""The table of a sweep while it goes on: drawn in place on a terminal and in a notebook, a line for each run elsewhere."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from workbench.runs.browsing import spelled
from workbench.runs.swept import SweptRun, duration, summary

ROWS = 16
"""Rows that are shown: the run that goes on, those before it and those after it."""


class Table:
    """Shows `runs` within a `with` block; where it is not shown nothing is printed."""

    def __init__(self, name: str, runs: Sequence[SweptRun], is_shown: bool):
        self.name, self.runs = name, runs
        self._cells: dict[int, str] = {}  # id of a run -> how far it is
        self._is_shown = is_shown
        self._live: Any = None  # rich's, on a terminal
        self._display: Any = None  # IPython's, in a notebook

    def __enter__(self) -> "Table":
        if self._is_shown and _in_notebook():
            from IPython.display import display

            self._display = display(self.drawn(), display_id=True)
        elif self._is_shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(
                get_renderable=self.drawn, console=console, refresh_per_second=1, redirect_stdout=sys.stdout.isatty()
            )
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._refresh()
        if self._live is not None:
            self._live.stop()

    def cell(self, run: SweptRun) -> Callable[[int, int], None]:
        """What is to be told the cells of `run` as they begin: see `execution.run`."""

        def began(count: int, total: int) -> None:
            self._cells[id(run)] = f"cell {count} of {total}"
            self._refresh()

        return began

    def show(self) -> None:
        """Show that a run has ended."""
        self._refresh()
        if self._is_shown and self._live is None and self._display is None:
            print(f"{self.name}: {summary(self.runs)}", file=sys.stderr, flush=True)

    def _refresh(self) -> None:
        if self._display is not None:
            self._display.update(self.drawn())
        if self._live is not None:
            self._live.refresh()

    def drawn(self) -> Any:
        """The table as it is now, one of rich's: a terminal and a notebook show it alike."""
        from rich import box
        from rich.table import Table as Rich
        from rich.text import Text

        shown, more = self._window()
        table = Rich(title=f"{self.name}: {summary(self.runs)}", title_justify="left", box=box.SIMPLE, caption=more)
        for name in [*self.runs[0].varied, "", ""]:
            table.add_column(name, overflow="fold")
        for run in shown:
            colour = {"failed": "red", "complete": "green", "running": "bold"}.get(run.status, "dim")
            values = [Text(spelled(value)) for value in run.varied.values()]
            table.add_row(*values, Text(self._state(run), colour), Text(run.error or (run.why and f"made again: {run.why}")))
        return table

    def _window(self) -> tuple[list[SweptRun], str | None]:
        """The runs that are shown, and how many there are besides."""
        ended = [i for i, run in enumerate(self.runs) if run.status != "waiting" and not run.is_kept]
        start = min(max(max(ended, default=0) - ROWS // 2, 0), max(len(self.runs) - ROWS, 0))
        shown = list(self.runs[start : start + ROWS])
        return shown, f"{len(self.runs) - len(shown)} more" if len(shown) < len(self.runs) else None

    def _state(self, run: SweptRun) -> str:
        if run.status == "running":
            return self._cells.get(id(run), "starting")
        took = f" in {duration(run.seconds)}" if run.seconds is not None and not run.is_kept else ""
        return f"{run.status}{', kept' if run.is_kept else took}"


def _in_notebook() -> bool:
    """Whether this process is a kernel, whose front end shows what it displays."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")
