"""Pictures as bytes for widgets."""

import io
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from workbench import images, samples
from workbench.corpora import Work
from workbench.errors import WorkbenchError

THUMBNAIL = 96  # px, long side
QUALITY = 85
TRIED = 20  # files of a folder, in search of a cover
SITTER = "grace_hopper"


def jpeg(picture: Tensor, quality: int = QUALITY) -> bytes:
    """`picture` (1, 3, H, W) in [0, 1] as JPEG."""
    buffer = io.BytesIO()
    images.to_pil(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@lru_cache(maxsize=2048)
def thumbnail(work: Work, size: int = 2 * THUMBNAIL) -> bytes:
    """A work as a small JPEG, its long side `size` px: twice what is seen, for screens with finer pixels."""
    return jpeg(work.load(size))


@lru_cache(maxsize=128)
def cover(corpus: str, size: int) -> bytes:
    """What stands for a corpus: the first picture in the folder, or how a sample painter paints one sitter; else nothing."""
    if corpus in samples.PAINTERS and not Path(corpus).is_dir():
        return jpeg(images.to_tensor(samples.truth(corpus, SITTER, size)))
    for path in sorted(path for path in Path(corpus).rglob("*") if path.is_file())[:TRIED]:
        with suppress(WorkbenchError):  # a table beside the pictures, or a broken one
            return jpeg(images.load(path, size))
    return b""
