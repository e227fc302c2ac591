"""Figures for papers and notebooks: comparisons, sheets, maps and plots, with their provenance inside the file.

Every function returns a `Figure` that shows itself as the last expression of a notebook cell (elsewhere in a cell:
`display(figure)`), needs no display and no pyplot, and is written by `save` as PNG and PDF.
"""

from workbench.figures.canvas import Figure
from workbench.figures.columns import checkpoints, columns
from workbench.figures.evidence import fidelity, intervals, leak_maps, percentiles
from workbench.figures.files import read_provenance, save
from workbench.figures.page_width import differences, places, tradeoffs
from workbench.figures.panels import Panel, side_by_side
from workbench.figures.plots import corpus_map, curves, gram_matrices, tradeoff, weights_plot
from workbench.figures.results import THUMBNAIL, content_panel, dimmed, region_matches, result_panel, target_title
from workbench.figures.sheets import cluster_sheets, contact_sheet, crosstab, grid

__all__ = [
    "THUMBNAIL",
    "Figure",
    "Panel",
    "checkpoints",
    "cluster_sheets",
    "columns",
    "contact_sheet",
    "content_panel",
    "corpus_map",
    "crosstab",
    "curves",
    "differences",
    "dimmed",
    "fidelity",
    "gram_matrices",
    "grid",
    "intervals",
    "leak_maps",
    "percentiles",
    "places",
    "read_provenance",
    "region_matches",
    "result_panel",
    "save",
    "side_by_side",
    "target_title",
    "tradeoff",
    "tradeoffs",
    "weights_plot",
]
