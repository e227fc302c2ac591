"""Names that came from outside, such as titles and the names of files, on their way to a terminal, a page or a log; counts."""

import os
import re
from typing import TypeVar

T = TypeVar("T")

# Control characters, among them those that terminals obey; marks that turn the direction of writing; bytes that are not UTF-8.
_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

LONGEST = 200
"""Bytes of the name of a file, which leave room for a number and a suffix."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet computes."""


def plain(text: str) -> str:
    """`text` on one line, without anything that a terminal obeys: breaks become blanks, all else its number, as in \\x1b."""
    return _OBEYED.sub(_spelt, text)


def plural(count: int, noun: str) -> str:
    """ "1 work", "2 works"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def shortened(name: str, most: int = LONGEST) -> str:
    """As much of the beginning of `name` as has `most` bytes: file systems count bytes of names, and take 255 of them."""
    return os.fsencode(name)[:most].decode("utf-8", errors="ignore") if len(os.fsencode(name)) > most else name


def without_passwords(text: str) -> str:
    """`text` without the passwords and keys in the addresses of servers that it holds, such as "postgresql://me:secret@host"."""
    text = re.sub(r"(//[^/?#\s:@]*):[^/\s]+@", r"\1@", text)
    return re.sub(r"((?:password|api_?key|token|secret)=)[^&\s…]+", r"\1…", text, flags=re.IGNORECASE)


def inert(value: T) -> T | str:
    """`value` for a cell of a table: a spreadsheet would take a text that begins like a formula for one. See `as_it_was`."""
    return f"'{value}" if isinstance(value, str) and _computed(value) else value


def inert_path(name: str) -> str:
    """The same file by a relative path that is no formula to a spreadsheet, and needs no reader that knows of `inert`."""
    return f"./{name}" if name.startswith(FORMULAS) else name


def as_it_was(cell: T) -> T | str:
    """The value that `inert` made a cell of."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _computed(cell[1:]) else cell


def _computed(text: str) -> bool:
    """Whether `text` begins like a formula, be it behind the marks of `inert`. A number does not."""
    return text.lstrip("'").startswith(FORMULAS) and not re.fullmatch(r"[+-]?\d+(\.\d+)?", text)


def _spelt(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    if sign[0] in "\t\n\v\f\r\x85\u2028\u2029":
        return " "
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
