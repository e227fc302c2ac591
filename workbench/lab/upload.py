"""A picture from the machine of the browser: chosen or dropped on the page, and kept as a file where the kernel works."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench import images, storage
from workbench.errors import WorkbenchError
from workbench.lab import page
from workbench.names import plain, shortened

FOLDER = Path("uploads")
"""Where pictures are kept, from the current folder of the kernel."""
MOST = 1 << 28
"""Bytes of a file, at most."""


class Upload(anywidget.AnyWidget):
    """A button that a picture may also be dropped on; `taken(name, content)` gets it when all its parts are here."""

    _esm = page.script("upload")

    hint = traitlets.Unicode().tag(sync=True)  # not tooltip, with which a page refuses an anywidget
    most = traitlets.Int(MOST).tag(sync=True)

    def __init__(self, taken: Callable[[str, bytes], None], hint: str = ""):
        self._taken = taken
        self._parts: list[bytes] = []
        super().__init__(hint=hint)
        self.on_msg(lambda _, content, buffers: self.receive(content, buffers))

    def receive(self, message: dict[str, Any], buffers: list[Any]) -> None:
        """Handle a message from the page, {"name": of the file, "part": from 0, "of": parts}, with the bytes of the part."""
        name, part, of = message.get("name"), message.get("part"), message.get("of")
        if part == 0:
            self._parts = []
        if not isinstance(name, str) or part != len(self._parts) or len(buffers) != 1:
            return  # a part of another file, or of none
        self._parts.append(bytes(buffers[0]))
        if sum(map(len, self._parts)) > MOST:
            self._parts = []
        elif len(self._parts) == of:
            content, self._parts = b"".join(self._parts), []
            self._taken(name, content)


def keep(name: str, content: bytes) -> Path:
    """Write a picture into FOLDER under the name that it came with, or one beside it, and return its path.

    What is there already stays, and is not written again. WorkbenchError for what is no picture.
    """
    given = Path(plain(name).replace("\\", "/").rpartition("/")[2].lstrip(".") or "picture")
    stem, suffix = shortened(given.stem), shortened(given.suffix, 10)
    path, count = FOLDER / f"{stem}{suffix}", 1
    while path.exists() and not (path.is_file() and path.read_bytes() == content):
        count += 1
        path = FOLDER / f"{stem}-{count}{suffix}"
    if not path.exists():
        with storage.atomic(path) as temporary:
            temporary.write_bytes(content)
        try:
            images.load(path, 32)
        except WorkbenchError:
            path.unlink()
            raise
    return path
