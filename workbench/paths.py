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
        plain = unquote(urlsplit(plain).path)
    try:
        return Path(plain).expanduser()
    except RuntimeError:  # a user who is not known here
        return Path(plain)


def where(text: str) -> str:
    """Where a relative path was looked for, to end a message with; empty for an absolute path, and for what is no path."""
    path = written(text)
    return "" if path.is_absolute() or (len(path.parts) < 2 and not path.suffix) else f"; looked for in {Path.cwd()}"
