"""Widgets for JupyterLab, and the plain objects that they show, which work without them."""

from workbench.lab.atlas import Atlas
from workbench.lab.choice import Choice
from workbench.lab.corpus_map import CorpusMap
from workbench.lab.exploration import Exploration
from workbench.lab.headless import interactive, show
from workbench.lab.panel import TransferPanel, snapshot
from workbench.lab.runs_browser import RunsBrowser
from workbench.lab.strip import WorksStrip
from workbench.lab.swipe import Compare

__all__ = [
    "Atlas",
    "Choice",
    "Compare",
    "CorpusMap",
    "Exploration",
    "RunsBrowser",
    "TransferPanel",
    "WorksStrip",
    "interactive",
    "show",
    "snapshot",
]
