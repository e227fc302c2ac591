"""Pictures as files, written whole or not at all, with text that says where they come from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin
from torch import Tensor

from workbench.errors import UsageError, require
from workbench.images.tensors import to_pil
from workbench.storage import atomic

_SAVED_AS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},  # 4:4:4: subsampled chroma would blur what is measured
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def save(image: Tensor | Image.Image, path: str | os.PathLike, *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write `image` (as `to_pil` takes it, or an "RGB" image) atomically; equal images and metadata give equal bytes.

    The suffix chooses the format: .png, .jpg or .jpeg (quality 95, 4:4:4), .webp (lossless), .tif or .tiff (deflate).
    `metadata` goes into PNG text chunks; in the other formats it is one JSON object in the EXIF ImageDescription.
    Returns the path. Raises UsageError for an unknown suffix or metadata the format cannot hold, WorkbenchError when
    the file cannot be written.
    """
    path = Path(path)
    kind = _SAVED_AS.get(path.suffix.lower(), "")
    require(bool(kind), f"cannot save {path}: unknown suffix {path.suffix!r}; use one of {', '.join(_SAVED_AS)}")
    if isinstance(image, Image.Image):
        require(image.mode == "RGB", f"cannot save {path}: the image has mode {image.mode}, not RGB")
        image = image.copy()
        image.info = {}  # Pillow would write the profile and the EXIF block that the image came with
    else:
        image = to_pil(image)
    options = {**_SAVE_OPTIONS[kind], **_metadata(kind, metadata or {}, path)}
    with atomic(path) as temporary:
        image.save(temporary, format=kind, **options)
    return path


def _metadata(kind: str, metadata: Mapping[str, str], path: Path) -> dict:
    """`metadata` as arguments of Pillow's save."""
    for key, value in metadata.items():
        require(isinstance(key, str) and isinstance(value, str), f"metadata of {path}: {key!r} is not text to text")
        require(
            1 <= len(key) <= 79 and key.isascii() and key.isprintable(),
            f"metadata of {path}: key {key!r}; use 1 to 79 printable ASCII characters",  # PNG 1.2, 4.2.3
        )
    if not metadata:
        return {}
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            chunks.add_text(key, value)
        return {"pnginfo": chunks}
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = json.dumps(dict(metadata))
    block = exif.tobytes()
    if kind == "JPEG" and len(block) > 65533:  # one APP1 segment
        raise UsageError(f"metadata of {path}: {len(block)} bytes do not fit into a JPEG; save as .png")
    return {"exif": block}
