"""Texts that a button puts on the clipboard, and shows."""

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from workbench.errors import WorkbenchError
from workbench.lab import page


class Copying(anywidget.AnyWidget):
    """A button for every text of `texts`, name -> function that makes it. A press makes, copies and shows the text.

    `text` is the last one. Where it could not be made, `text` is the reason, `sound` is false, and nothing is copied.
    """

    _esm = page.script("copying")

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    sound = traitlets.Bool(True).tag(sync=True)
    revision = traitlets.Int().tag(sync=True)

    def __init__(self, texts: Mapping[str, Callable[[], str]]):
        self._texts = dict(texts)
        super().__init__(names=list(texts))
        self.on_msg(lambda _, content, __: self.receive(content))

    def receive(self, message: dict[str, Any]) -> None:
        """Handle a message from the page: {"make": name}."""
        make = self._texts.get(str(message.get("make")))
        if make is None:
            return
        try:
            text, sound = make(), True
        except WorkbenchError as error:
            text, sound = str(error), False
        with self.hold_sync():
            self.text, self.sound = text, sound
            self.revision += 1
