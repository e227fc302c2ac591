"""Thumbnails that can be pressed: the works of a target, what a picker offers, results that were kept."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import anywidget
import traitlets

from workbench.lab import page

CHOOSE = "choose"  # the action of pressing a thumbnail itself


@dataclass(frozen=True)
class Item:
    """key: by which pictures and actions know it; weight: drawn as a bar, 0 to 1, or None; marked: pinned, or chosen."""

    key: str
    title: str
    note: str = ""
    weight: float | None = None
    marked: bool = False


@dataclass(frozen=True)
class Action:
    """A button under every thumbnail: its text, and what it does as a tooltip, in which {title} stands for the item's."""

    name: str
    text: str
    tooltip: str


class Gallery(anywidget.AnyWidget):
    """A row of thumbnails; pressing one, or a button under it, calls `acted(key, action)`.

    Pictures are no part of the widget's state: the page asks for those that it does not have, once for each key, so that a
    slider that moves weights sends numbers alone, and a reloaded page finds everything again.
    """

    _esm = page.script("gallery")

    label = traitlets.Unicode().tag(sync=True)
    items = traitlets.List(traitlets.Dict()).tag(sync=True)
    actions = traitlets.List(traitlets.Dict()).tag(sync=True)
    choosable = traitlets.Bool().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    wrap = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        label: str,
        picture: Callable[[str], bytes],
        acted: Callable[[str, str], None],
        *,
        actions: Sequence[Action] = (),
        choosable: bool = False,
        height: int = 92,
        wrap: bool = False,
    ):
        """`label`: what this is, for a screen reader; `picture(key)`: a thumbnail as JPEG, b"" where there is none;
        `height`: of the thumbnails, px; `choosable`: whether pressing a thumbnail is the action "choose"; `wrap`: in rows
        instead of one row that scrolls.
        """
        self._picture = picture
        self._acted = acted
        buttons = [asdict(action) for action in actions]
        super().__init__(label=label, actions=buttons, choosable=choosable, height=height, wrap=wrap)
        self.on_msg(lambda _, content, __: self.receive(content))

    def show(self, items: Iterable[Item]) -> None:
        """Show `items`, in this order."""
        found = [asdict(item) for item in items]
        if found != self.items:
            self.items = found

    def receive(self, message: dict[str, Any]) -> None:
        """A message from the page: {"want": [key, ...]}, or {"key": key, "action": name}; what is not on show is ignored."""
        known = {item["key"] for item in self.items}
        for key in message.get("want", []):
            if key in known:
                self.send({"picture": key}, buffers=[self._read(key)])
        key, action = message.get("key"), message.get("action")
        names = {found["name"] for found in self.actions} | ({CHOOSE} if self.choosable else set())
        if key in known and action in names:
            self._acted(key, action)

    def _read(self, key: str) -> bytes:
        try:
            return self._picture(key)
        except Exception:  # a file that is gone must not take the other thumbnails along
            return b""
