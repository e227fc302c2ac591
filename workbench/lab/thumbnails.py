"""Pictures as bytes for widgets."""

import io
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from workbench import images, provenance, samples
from workbench.corpora import Work
from workbench.errors import WorkbenchError

THUMBNAIL = 96
"""px. Long side of a thumbnail on the page."""
QUALITY = 85
"""Of a JPEG, 1 to 100."""
TRIED = 20
"""Files of a folder that are tried as its cover, at most."""
SITTER = "grace_hopper"
"""The sample photograph that the cover of a sample painter shows."""


def jpeg(picture: Tensor, quality: int = QUALITY) -> bytes:
    """`picture` (1, 3, H, W) in [0, 1] as JPEG."""
    buffer = io.BytesIO()
    images.to_pil(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@lru_cache(maxsize=2048)
def thumbnail(work: Work, size: int = 2 * THUMBNAIL) -> bytes:
    """A work as a small JPEG, long side `size` px: by default twice its width on the page, for screens with fine pixels."""
    return jpeg(work.load(size))


def cover(corpus: str, size: int) -> bytes:
    """A picture for a corpus: the first in the folder, or a portrait by the sample painter; b"" where there is none."""
    if corpus in samples.PAINTERS and not Path(corpus).is_dir():
        return _portrait(corpus, size)
    for path in sorted(path for path in Path(corpus).rglob("*") if path.is_file())[:TRIED]:
        with suppress(WorkbenchError):  # a table beside the pictures, or a broken one
            return _small(path, provenance.identity(path), size)
    return b""


@lru_cache(maxsize=16)
def _portrait(painter: str, size: int) -> bytes:
    return jpeg(images.to_tensor(samples.truth(painter, SITTER, size)))


@lru_cache(maxsize=128)
def _small(path: Path, identity: tuple[int, ...] | None, size: int) -> bytes:
    """The picture in a file that is known by its identity, see `provenance.identity`."""
    return jpeg(images.load(path, size))
