"""One picture on the page, with words for those who cannot see it: ipywidgets' own Image has no alternative text."""

from pathlib import Path

import anywidget
import traitlets


class Picture(anywidget.AnyWidget):
    """data: JPEG or PNG, b"" for nothing; alt: what it shows, in words; width: at most so wide, px."""

    _esm = Path(__file__).with_name("picture.js")

    data = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(420).tag(sync=True)
