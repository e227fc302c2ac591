"""Widgets where somebody can press a button, pictures in their place where a notebook runs by papermill."""

from collections.abc import Callable

from workbench.figures import Figure
from workbench.progress import interactive


def show(widget: Callable[[], object], picture: Callable[[], Figure]) -> object:
    """`widget()` where somebody can use it, else `picture()`: for the last expression of a cell."""
    return widget() if interactive() else picture()
