"""Paths as people write them: on a command line, in a notebook, in the panel, in a grid."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def written(text: str | os.PathLike) -> Path:
    """The path that a person wrote: what exists under just these letters; else without what a shell would have taken off.

    That is blanks around it, a pair of quotes, `file://` with its percent signs, and `~` for a home folder. Relative paths
    begin at the current folder, which `where` names in messages.
    """
    if not isinstance(text, str) or os.path.lexists(text):  # Path would raise for a NUL byte
        return Path(text)
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        plain = plain[1:-1]
    if plain.lower().startswith("file://"):
        plain = unquote(urlsplit(plain).path).replace("\0", "%00")  # which is the name of nothing
    try:
        return Path(plain).expanduser()
    except RuntimeError:  # a user who is not known here
        return Path(plain)


# pathlib raises for a name that is too long or has a NUL byte, which is the name of nothing.


def is_file(path: str | os.PathLike) -> bool:
    """Whether there is a file under that name."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: str | os.PathLike) -> bool:
    """Whether there is a folder under that name."""
    return os.path.isdir(path)  # noqa: PTH112


def exists(path: str | os.PathLike) -> bool:
    """Whether there is anything under that name."""
    return os.path.exists(path)  # noqa: PTH110


def where(text: str) -> str:
    """Where a relative path was looked for, to end a message with; empty for an absolute path, and for what is no path."""
    path = written(text)
    return "" if path.is_absolute() or (len(path.parts) < 2 and not path.suffix) else f"; looked for in {Path.cwd()}"
