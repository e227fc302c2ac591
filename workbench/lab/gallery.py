"""Thumbnails with buttons: the works of a target, the samples of a picker, the results that were kept."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import anywidget
import traitlets

from workbench.lab import page

CHOOSE = "choose"
"""The action of pressing a thumbnail itself."""


@dataclass(frozen=True)
class Item:
    """key: identifies it in pictures and actions; weight: drawn as a bar, 0 to 1, or None; marked: pinned, or chosen."""

    key: str
    title: str
    note: str = ""
    weight: float | None = None
    marked: bool = False


@dataclass(frozen=True)
class Action:
    """A button under every thumbnail: its text, and a tooltip in which {title} stands for the title of the item."""

    name: str
    text: str
    tooltip: str


class Gallery(anywidget.AnyWidget):
    """A row of thumbnails; pressing one, or a button under it, calls `acted(key, action)`, and dragging a weight `weighed`.

    Pictures are no part of the widget's state: the page requests those that it lacks, once for each key. So
    a slider that moves weights sends numbers alone, and a reloaded page shows everything again.
    """

    _esm = page.script("gallery")

    label = traitlets.Unicode().tag(sync=True)
    items = traitlets.List(traitlets.Dict()).tag(sync=True)
    actions = traitlets.List(traitlets.Dict()).tag(sync=True)
    choosable = traitlets.Bool().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    lines = traitlets.Int().tag(sync=True)
    wrap = traitlets.Bool().tag(sync=True)
    weighable = traitlets.Bool().tag(sync=True)
    dimmed = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        label: str,
        picture: Callable[[str], bytes],
        acted: Callable[[str, str], None],
        *,
        weighed: Callable[[str, float], None] | None = None,
        actions: Sequence[Action] = (),
        choosable: bool = False,
        height: int = 92,
        lines: int = 2,
        wrap: bool = False,
    ):
        """`label`: the name for a screen reader; `picture(key)`: a thumbnail as JPEG, b"" where there is none;
        `weighed(key, weight)`: given it, weights are sliders, 0 to 1; `height`: of the thumbnails, px; `lines`: of a title, at
        most; `choosable`: whether pressing a thumbnail is the action "choose"; `wrap`: in rows instead of one row that scrolls.
        """
        self._picture = picture
        self._acted = acted
        self._weighed = weighed
        buttons = [asdict(action) for action in actions]
        weighable = weighed is not None
        state = {"height": height, "lines": lines, "wrap": wrap, "weighable": weighable}
        super().__init__(label=label, actions=buttons, choosable=choosable, **state)
        self.on_msg(lambda _, content, __: self.receive(content))

    def show(self, items: Iterable[Item]) -> None:
        """Show `items`, in this order."""
        found = [asdict(item) for item in items]
        if found != self.items:
            self.items = found

    def receive(self, message: dict[str, Any]) -> None:
        """Handle a message from the page: {"want": [key, ...]}, {"key": key, "action": name}, or {"key": key, "weight": w}.

        Unknown keys are ignored, and so is whatever is done to dimmed items, which are those of a former choice.
        """
        known = {item["key"] for item in self.items}
        for key in message.get("want", []):
            if key in known:
                self.send({"picture": key}, buffers=[self._read(key)])
        if self.dimmed:
            return
        key, action = message.get("key"), message.get("action")
        names = {found["name"] for found in self.actions} | ({CHOOSE} if self.choosable else set())
        if key in known and action in names:
            self._acted(key, action)
        weight = message.get("weight")
        if key in known and isinstance(weight, (int, float)) and 0 <= weight <= 1 and self._weighed is not None:
            self._weighed(key, float(weight))

    def _read(self, key: str) -> bytes:
        try:
            return self._picture(key)
        except Exception:  # one missing file must not hide the other thumbnails
            return b""
