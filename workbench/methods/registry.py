"""Methods by name. `methods/__init__.py` registers those of the package; `Request` looks names up."""

import difflib
from collections.abc import Callable
from typing import Any

from workbench.errors import UsageError

METHODS: dict[str, Any] = {}
"""name -> the `method.Method` of that name."""

OPENERS: list[Callable[[str], Any]] = []
"""Functions from a name to a method, or to None, for names of files."""


def register(method: Any) -> None:
    """Make `method` known under its name."""
    METHODS[method.name] = method


def get(name: str) -> Any:
    """The method called `name`. UsageError, with the nearest name, where there is none."""
    if name not in METHODS:
        for opener in OPENERS:
            if (found := opener(name)) is not None:
                return found
        near = difflib.get_close_matches(name, METHODS, n=1)
        instead = f"did you mean {near[0]}?" if near else f"choose {', '.join(METHODS)}, or the file of a trained network"
        raise UsageError(f"method {name!r}: {instead}")
    return METHODS[name]
