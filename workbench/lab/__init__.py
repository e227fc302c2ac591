"""At home in JupyterLab: plain objects for exploring, and widgets that are views on them."""

from workbench.lab.blind import BlindStudy
from workbench.lab.compare import Compare
from workbench.lab.exploration import Choice, Exploration
from workbench.lab.headless import interactive, show
from workbench.lab.panel import TransferPanel, snapshot
from workbench.lab.strip import WorksStrip

__all__ = ["BlindStudy", "Choice", "Compare", "Exploration", "TransferPanel", "WorksStrip", "interactive", "show", "snapshot"]
