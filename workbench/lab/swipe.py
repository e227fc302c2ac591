"""Two to six results side by side: a slider between two of them, and one zoom for all."""

from collections.abc import Mapping

import anywidget
import traitlets
from torch import Tensor

from workbench import images
from workbench.errors import require
from workbench.lab import page
from workbench.lab.thumbnails import jpeg

MOST = 6
"""Pictures that are compared, at most."""
LARGEST = 1600
"""px. Long side of a picture that is sent to the page, at most."""


class Compare(anywidget.AnyWidget):
    """Pictures, name -> (1, 3, H, W) in [0, 1], all scaled to the first. `left` and `right`: the two beside the slider;
    `position`: the share of the left one that is visible, 0 to 1.
    """

    _esm = page.script("swipe")

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    ratio = traitlets.Float().tag(sync=True)
    left = traitlets.Int(0).tag(sync=True)
    right = traitlets.Int(1).tag(sync=True)
    position = traitlets.Float(0.5).tag(sync=True)

    def __init__(self, pictures: Mapping[str, Tensor]):
        """UsageError for fewer than two pictures or more than six."""
        require(2 <= len(pictures) <= MOST, f"{len(pictures)} pictures: compare two to {MOST}")
        first = next(iter(pictures.values()))
        size = images.fit(*first.shape[-2:], min(LARGEST, max(first.shape[-2:])))
        super().__init__(
            names=list(pictures),
            pictures=[jpeg(images.resize(picture, size), quality=92) for picture in pictures.values()],
            ratio=size[1] / size[0],
        )
