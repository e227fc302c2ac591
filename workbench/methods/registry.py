"""Methods by name. `methods/__init__.py` registers those of the package; `Request` looks names up."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from workbench.errors import UsageError

METHODS: dict[str, Any] = {}
"""name -> the `method.Method` of that name."""

OPENERS: list["Opener"] = []
"""What opens names that are not in `METHODS`, such as those of files."""


@dataclass(frozen=True)
class Opener:
    """open: from a name to a method, or to None; names: those that it opens without a path, which are suggested."""

    open: Callable[[str], Any]
    names: Callable[[], Iterable[str]]


def register(method: Any) -> None:
    """Make `method` known under its name."""
    METHODS[method.name] = method


def get(name: str) -> Any:
    """The method called `name`. UsageError, with the nearest name, where there is none."""
    if name not in METHODS:
        for opener in OPENERS:
            if (found := opener.open(name)) is not None:
                return found
        known = dict.fromkeys([*METHODS, *(each for opener in OPENERS for each in opener.names())])
        near = difflib.get_close_matches(name, known, n=1)
        instead = f"did you mean {near[0]}?" if near else f"choose {', '.join(known)}, or the file of a trained network"
        raise UsageError(f"method {name!r}: {instead}")
    return METHODS[name]
