"""Widgets where somebody can press a button, pictures in their place where a notebook runs by papermill."""

import sys
from collections.abc import Callable

from workbench.figures import Figure


def interactive() -> bool:
    """Whether this is a kernel with a front end, and not papermill, nbconvert or a script.

    `workbench run` and papermill execute a notebook with nobody at the keyboard; so does a kernel that does not allow input.
    """
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else {}
    return bool(parent.get("content", {}).get("allow_stdin", False))


def show(widget: Callable[[], object], picture: Callable[[], Figure]) -> object:
    """`widget()` where somebody can use it, else `picture()`: for the last expression of a cell."""
    return widget() if interactive() else picture()
