"""The photographs that come with packages we depend on, and where in them sky, water, skin and the rest are.

The regions are drawn by hand as polygons and ellipses, coarse and softened, in pixels of the original; later shapes
cover earlier ones.
"""

import difflib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from workbench.errors import UsageError
from workbench.samples.scene import Picture

PHOTOGRAPHS: tuple[str, ...] = ("china", "flower", "grace_hopper")
_SOFT = 1.6  # blur of the outlines in pixels of the original

# (region, shape): a polygon as points x, y one after another, or an ellipse as ("ellipse", left, top, right, bottom).
_SHAPES: dict[str, tuple[tuple[str, tuple], ...]] = {
    "china": (
        ("sky", (0, 0, 640, 0, 640, 427, 0, 427)),
        ("land", (0, 212, 60, 206, 110, 214, 330, 207, 560, 204, 640, 206, 640, 236, 500, 232, 330, 238, 0, 290)),
        ("water", (0, 280, 70, 268, 110, 240, 340, 236, 430, 238, 500, 222, 560, 220, 570, 427, 0, 427)),
        ("land", (424, 238, 430, 228, 470, 226, 500, 232, 498, 240, 440, 242)),
        ("foliage", (0, 143, 14, 176, 40, 195, 74, 218, 76, 238, 52, 256, 22, 268, 0, 280)),
        ("foliage", (0, 288, 32, 318, 60, 345, 100, 338, 150, 330, 200, 350, 260, 385, 300, 427, 0, 427)),
        ("building", (196, 30, 214, 30, 217, 52, 238, 78, 268, 98, 321, 124, 316, 134, 297, 138, 296, 158, 329, 168,
                      329, 182, 320, 188, 320, 226, 328, 238, 352, 254, 350, 262, 341, 270, 344, 306, 349, 322, 372, 338,
                      352, 352, 330, 375, 322, 427, 290, 427, 284, 398, 210, 372, 80, 344, 62, 338, 80, 322, 80, 286,
                      62, 268, 66, 256, 97, 246, 97, 190, 84, 182, 88, 168, 122, 158, 122, 138, 97, 132, 94, 112, 148, 92,
                      180, 72, 194, 52)),
        ("foliage", (0, 350, 60, 350, 110, 333, 150, 330, 190, 350, 215, 386, 262, 388, 296, 427, 0, 427)),
        ("foliage", (320, 427, 326, 392, 350, 362, 392, 322, 430, 306, 480, 296, 522, 276, 560, 290, 580, 330, 640, 340,
                     640, 427)),
        ("foliage", (546, 222, 562, 204, 590, 152, 622, 137, 640, 148, 640, 427, 560, 427, 572, 330, 548, 262)),
    ),
    "flower": (
        ("background", (0, 0, 640, 0, 640, 427, 0, 427)),
        ("foliage", (0, 84, 60, 70, 140, 60, 132, 140, 96, 230, 40, 310, 0, 332)),
        ("foliage", (590, 392, 612, 392, 622, 427, 582, 427)),
        ("foliage", (238, 350, 300, 356, 292, 392, 300, 427, 240, 427)),
        ("flower", ("ellipse", 169, 85, 447, 360)),
        ("flower", (287, 427, 290, 402, 330, 384, 348, 374, 372, 380, 400, 382, 432, 382, 446, 420, 470, 427)),
    ),
    "grace_hopper": (
        ("background", (0, 0, 512, 0, 512, 600, 0, 600)),
        ("cloth", (0, 0, 231, 0, 233, 30, 184, 60, 150, 110, 150, 200, 168, 268, 198, 300, 196, 330, 60, 380, 0, 600)),
        ("hair", (154, 150, 190, 140, 340, 140, 372, 160, 374, 200, 362, 282, 340, 308, 320, 300, 200, 296, 184, 296,
                  164, 280, 152, 210)),
        ("skin", (204, 300, 322, 300, 330, 336, 300, 390, 250, 412, 214, 372)),
        ("skin", (182, 160, 200, 142, 262, 134, 330, 142, 352, 162, 360, 184, 376, 186, 374, 224, 352, 252, 346, 280,
                  326, 318, 290, 336, 252, 338, 216, 322, 194, 286, 186, 262, 162, 244, 153, 204, 160, 186, 178, 196)),
        ("cloth", (22, 600, 20, 440, 46, 398, 150, 350, 196, 330, 214, 370, 246, 412, 300, 392, 330, 318, 400, 358,
                   486, 392, 506, 420, 512, 440, 512, 600)),
        ("cloth", (148, 186, 148, 112, 174, 88, 176, 62, 200, 40, 262, 22, 320, 36, 348, 64, 354, 86, 370, 96, 372, 178,
                   350, 152, 310, 134, 262, 130, 210, 134, 170, 156)),
    ),
}  # fmt: skip


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """`name` if it is among `names`; otherwise UsageError that lists them, the nearest first of all."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(names)}")


def photograph_path(name: str) -> Path:
    """The file of a photograph, inside the installed scikit-learn or matplotlib. Raises UsageError for unknown names."""
    known("photograph", name, PHOTOGRAPHS)
    if name == "grace_hopper":
        return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    package = find_spec("sklearn")  # not imported: that takes two seconds
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "datasets" / "images" / f"{name}.jpg"


def photograph(name: str) -> Image.Image:
    """One of PHOTOGRAPHS, RGB: china and flower are 640 x 427, grace_hopper is 512 x 600."""
    with Image.open(photograph_path(name)) as image:
        return image.convert("RGB")


def annotated(name: str) -> Picture:
    """A photograph with its regions, ready to be painted."""
    image = photograph(name)
    masks: dict[str, np.ndarray] = {}
    for region, shape in _SHAPES[name]:
        drawn = Image.new("L", image.size)
        pen = ImageDraw.Draw(drawn)
        if shape[0] == "ellipse":
            pen.ellipse(shape[1:], fill=255)
        else:
            pen.polygon(shape, fill=255)
        inside = np.asarray(drawn.filter(ImageFilter.GaussianBlur(_SOFT)), np.float32) / 255
        if not masks:
            inside = np.ones_like(inside)
        for other in masks.values():
            other *= 1 - inside
        masks[region] = masks.get(region, 0) + inside
    return Picture(np.asarray(image, np.float32) / 255, masks)
