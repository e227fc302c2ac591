"""One picture with an alternative text, which the Image of ipywidgets lacks."""

from pathlib import Path

import anywidget
import traitlets


class Picture(anywidget.AnyWidget):
    """data: JPEG or PNG, b"" for nothing; alt: the alternative text; width: px, at most."""

    _esm = Path(__file__).with_name("picture.js")

    data = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(420).tag(sync=True)
