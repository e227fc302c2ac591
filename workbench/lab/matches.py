"""The regions of the content with their matches: outlines, and the best piece of each region set into it."""

import html

import ipywidgets as widgets
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

from workbench import figures, images, inputs
from workbench.figures.canvas import PALETTE
from workbench.lab.picture import Picture
from workbench.lab.thumbnails import jpeg
from workbench.targets import StyleTarget

LARGEST = 720
"""px. Long side of the drawn content."""
INSET = 0.2
"""Long side of a piece as a share of that of the content."""
LINE = 3
"""px. Width of an outline."""
FRAME = 4
"""px. Width of the frame around a piece."""


def drawn_over(content: Tensor, target: StyleTarget) -> Tensor:
    """`content` (1, 3, H, W) in [0, 1] with its regions outlined and numbered, and in each the piece that weighs most.

    `target` has guides. The piece lies in the place of the region that is farthest from its border. (1, 3, h, w), 720 px long.
    """
    picture = images.resize(content, LARGEST)
    height, width = picture.shape[-2:]
    canvas = images.to_pil(picture)
    pixels = np.array(canvas)
    depths = []
    for k, guide in enumerate(target.guides):
        mask = Image.fromarray((guide.mask[0, 0].numpy() > 0.5).astype(np.uint8) * 255).resize((width, height), Image.BILINEAR)
        inside = np.asarray(mask) > 127
        edge = inside & ~ndimage.binary_erosion(inside, iterations=LINE)
        pixels[edge] = _rgb(k)
        depths.append(ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1])
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=18)
    for k, (guide, depth) in enumerate(zip(target.guides, depths, strict=True)):
        piece = images.to_pil(figures.dimmed(guide.pieces[0].work.load(round(INSET * LARGEST)), guide.pieces[0].mask))
        down, across = np.unravel_index(depth.argmax(), depth.shape)
        left = int(np.clip(across - piece.width // 2, FRAME, width - piece.width - FRAME))
        top = int(np.clip(down - piece.height // 2, FRAME, height - piece.height - FRAME))
        box = (left - FRAME, top - FRAME, left + piece.width + FRAME - 1, top + piece.height + FRAME - 1)
        draw.rectangle(box, fill=_rgb(k))
        canvas.paste(piece, (left, top))
        draw.rectangle((left - FRAME, top - FRAME, left + 22, top + 22), fill=_rgb(k))
        draw.text((left + 9, top + 9), str(k + 1), fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black")
    return images.to_tensor(canvas)


class RegionMatches(widgets.VBox):
    """`drawn_over`, and a list of the regions with their matches; hidden for a target without regions."""

    def __init__(self) -> None:
        self.picture = Picture(width=LARGEST // 2, layout=widgets.Layout(flex="0 0 auto", width=f"{LARGEST // 2 + 12}px"))
        self.words = widgets.HTML()
        self._shown: tuple[str, StyleTarget] | None = None
        hidden = widgets.Layout(display="none")
        super().__init__([widgets.HBox([self.picture, self.words])], layout=hidden)

    def show(self, content: str, target: StyleTarget | None) -> None:
        """Show the regions of `target` on the content of that name, if it has any."""
        if target is None or not target.guides:
            self.layout.display, self._shown = "none", None
            return
        if self._shown is None or self._shown[0] != content or self._shown[1] is not target:
            self._shown = (content, target)
            lines = [f"{k}: {guide.line}" for k, guide in enumerate(target.guides, start=1)]
            with self.picture.hold_sync():
                self.picture.alt = "The content with its regions. " + ". ".join(lines)
                self.picture.data = jpeg(drawn_over(inputs.content(content), target))
            rows = (
                f'<li><span style="color:rgb{_rgb(k)}" aria-hidden="true">&#9632;</span> {html.escape(guide.line)}</li>'
                for k, guide in enumerate(target.guides)
            )
            self.words.value = f'<ol style="line-height:1.4;max-width:420px">{"".join(rows)}</ol>'
        self.layout.display = ""


def _rgb(k: int) -> tuple[int, int, int]:
    """The colour of region k."""
    colour = PALETTE[k % len(PALETTE)].lstrip("#")
    return tuple(int(colour[i : i + 2], 16) for i in (0, 2, 4))
