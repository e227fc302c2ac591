"""Pictures that are kept in files so as not to be painted twice, and are known again by a checksum inside."""

import hashlib
from pathlib import Path

from PIL import Image
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.images.saving import save
from workbench.images.tensors import load, to_pil

CHECKSUM = "checksum"
"""Text chunk of a PNG file: see `_checksum`."""


def keep(picture: Tensor, path: Path, key: str) -> Tensor:
    """Write `picture`, (1, 3, H, W) in [0, 1], as the PNG file `path`; `key` stands for all that decides it.

    Returns what `kept` gives from now on: the picture at 8 bits.
    """
    save(picture, path, metadata={CHECKSUM: _checksum(to_pil(picture), key)})
    return load(path)


def kept(path: Path, key: str) -> Tensor | None:
    """The picture that `keep` wrote to `path` under `key`; None where there is none, a damaged one, or another's."""
    try:
        picture = load(path)
        with Image.open(path) as file:
            checksum = file.info.get(CHECKSUM)
    except (OSError, WorkbenchError):
        return None
    return picture if checksum == _checksum(to_pil(picture), key) else None


def _checksum(picture: Image.Image, key: str) -> str:
    """The SHA-256 of a key, the sides and the pixels."""
    return hashlib.sha256(f"{key}|{picture.size}|".encode() + picture.tobytes()).hexdigest()
