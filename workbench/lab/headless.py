"""Whether anybody is there to press a button: a notebook that runs by papermill shows a picture in a widget's place."""

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
    """What `widget()` makes where somebody can use it, else what `picture()` makes: the last expression of a cell."""
    return widget() if interactive() else picture()
