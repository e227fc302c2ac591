"""Texts that a button puts on the clipboard, and shows."""

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from workbench.errors import WorkbenchError
from workbench.lab import page


class Copying(anywidget.AnyWidget):
    """A button for every text of `texts`, name -> what makes it: made when it is asked for, copied by the page, and shown.

    `text` is the last one; where it cannot be made, it says why, and nothing is copied (`sound`).
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
        """A message from the page: {"make": name}."""
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
