"""Where a run may write: not over files of somebody else, and not among the pictures that it reads."""

import mimetypes
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError, require
from workbench.paths import exists, written
from workbench.runs import record

WRITTEN = ("out", "pictures", "answers", "index")
"""Parameters that name what notebooks write; folders and pictures under any other name are read."""


def check_free(folder: Path, *names: str) -> None:
    """UsageError where `folder` has one of the files `names`, which a run writes, and is no folder of an earlier run."""
    try:
        earlier = record.read(folder)
    except WorkbenchError:
        earlier = {}
    taken = [name for name in names if os.path.lexists(folder / name)]
    ours = isinstance(earlier.get("notebook"), str) and isinstance(earlier.get("parameters"), dict)
    refusal = (
        f"cannot write the run into {folder}: its {', '.join(taken)} would be replaced, and is not of a run of the workbench"
    )
    require(ours or not taken, f"{refusal}; choose another folder")


def check_apart(folder: Path, parameters: Mapping[str, Any], *, chosen: bool = False) -> None:
    """UsageError where a run in `folder` would write among the pictures that its `parameters` name, or over them.

    `chosen`: `folder` is that of the run itself, which may hold files already, and not one that gets a new folder for the run.
    """
    for name, value in parameters.items():
        for text in texts(value) if name not in WRITTEN else ():
            path = written(text)
            among = _within(folder, path)
            refusal = f"cannot write the run into {folder}: it would become part of {name} {text}"
            if not among and chosen and _within(path, folder):
                among, refusal = True, f"cannot write the run into {folder}: {name} {text} lies in it, and is read"
            require(not (among and _has_pictures(path)), f"{refusal}; choose another folder for the run")


def texts(value: object) -> Iterator[str]:
    """The texts in the value of a parameter, however deep in lists and dicts, that could name a file."""
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in texts(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in texts(item))


def _within(inner: Path, outer: Path) -> bool:
    """Whether `inner` is `outer` or lies below it, as they are written or where links lead."""
    try:
        ways = (inner.absolute(), outer.absolute()), (inner.resolve(), outer.resolve())
    except (OSError, ValueError, RuntimeError):  # a text that is no name
        return False
    return any(one == top or top in one.parents for one, top in ways)


def _has_pictures(path: Path) -> bool:
    """Whether `path` is a picture, or a folder with one in it or below."""
    if not exists(path):
        return False
    files = (name for _, _, names in os.walk(path) for name in names) if path.is_dir() else [path.name]
    return any((mimetypes.guess_type(name)[0] or "").startswith("image/") for name in files)
