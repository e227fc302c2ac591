"""Buttons that start something, behind all that the sliders of the page say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from workbench.lab import page


@dataclass(frozen=True)
class Button:
    """name: what a press reports; text: on it; tooltip; primary: whether it is the one to press next."""

    name: str
    text: str
    tooltip: str = ""
    primary: bool = False


class Buttons(anywidget.AnyWidget):
    """A row of buttons. A press sets `sliders` to the values that the page shows, and then calls `pressed(name)`.

    While the kernel is at work, JupyterLab holds the latest value of a slider back, and a press of ipywidgets' own button
    overtakes it. enabled: names of the buttons that can be pressed.
    """

    _esm = page.script("buttons")

    buttons = traitlets.List(traitlets.Dict()).tag(sync=True)
    enabled = traitlets.List(traitlets.Unicode()).tag(sync=True)
    models = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        buttons: Sequence[Button],
        pressed: Callable[[str], None],
        sliders: Mapping[str, widgets.Widget] | None = None,
        enabled: Sequence[str] = (),
    ):
        self._pressed = pressed
        self._sliders = dict(sliders or {})
        models = {name: slider.model_id for name, slider in self._sliders.items()}
        super().__init__(buttons=[asdict(button) for button in buttons], enabled=list(enabled), models=models)
        self.on_msg(lambda _, content, __: self.receive(content))

    def receive(self, message: dict[str, Any]) -> None:
        """Handle a message from the page: {"press": name, "values": {slider: value}}. A disabled button does nothing."""
        values = message.get("values", {})
        for name, slider in self._sliders.items():
            if isinstance(value := values.get(name), (int, float)):
                slider.value = value
        if message.get("press") in self.enabled:  # which the values may have changed
            self._pressed(message["press"])

    def press(self, name: str) -> None:
        """Press a button, with the sliders as they are."""
        self.receive({"press": name})
