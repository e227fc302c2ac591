"""What the controls of ipywidgets lack on the page: names of the handles of sliders, and arrows that a dark theme shows."""

import anywidget

from workbench.lab import page


class Controls(anywidget.AnyWidget):
    """Invisible. It mends the controls of the box that it stands in, and those of the boxes within it."""

    _esm = page.script("controls")

    def __init__(self):
        super().__init__(layout={"display": "none"})
