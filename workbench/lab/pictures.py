"""Pictures as bytes for widgets."""

import io
from functools import lru_cache

from torch import Tensor

from workbench import images
from workbench.corpus import Work
from workbench.figures import Figure

THUMBNAIL = 96  # px, long side
QUALITY = 85


def jpeg(picture: Tensor, quality: int = QUALITY) -> bytes:
    """`picture` (1, 3, H, W) in [0, 1] as JPEG."""
    buffer = io.BytesIO()
    images.to_pil(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@lru_cache(maxsize=2048)
def thumbnail(work: Work, size: int = THUMBNAIL) -> bytes:
    """A work as a small JPEG."""
    return jpeg(work.load(size))


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    return figure._repr_png_()[0]
