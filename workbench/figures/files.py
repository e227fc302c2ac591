"""Figures as files that say where they come from: the same figure and provenance give the same bytes."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
from PIL import Image, UnidentifiedImageError

from workbench.errors import UsageError, WorkbenchError
from workbench.figures.canvas import JPEG_QUALITY, PNG, style
from workbench.provenance import text as canonical
from workbench.storage import atomic

PNG_KEY = "workbench"
"""Name of the text chunk of a PNG that holds the provenance."""
PDF_KEY = "Keywords"
"""Entry of a PDF's document information that holds it; standard names only are allowed (ISO 32000-1, 14.3.3)."""


def save(
    figure: matplotlib.figure.Figure,
    stem: str | Path,
    provenance: dict[str, Any] | None = None,
    *,
    dpi: int = 200,
    suffixes: Sequence[str] = (".png", ".pdf"),
) -> list[Path]:
    """Write `figure` to `stem`.png and `stem`.pdf, each whole or not at all, and return the two paths.

    `provenance` (anything that JSON can hold) is stored in the files as one line of JSON with sorted keys;
    `read_provenance` reads it back. `dpi` sets the pixels of the PNG and of the pictures inside the PDF; its text and
    lines stay vectors. `suffixes` may ask for one of them only, or for ".jpg", a fifth as large where there are many pictures.
    Raises UsageError when `provenance` is not JSON, WorkbenchError when a file cannot be written.
    """
    try:
        record = None if provenance is None else canonical(provenance)
    except (TypeError, ValueError) as error:
        raise UsageError(f"provenance cannot be stored as JSON ({error}); give text, numbers, lists and dicts") from error
    formats = (
        (".png", {"Software": None, PNG_KEY: record}),
        (".pdf", {"Creator": None, "Producer": None, "CreationDate": None, PDF_KEY: record}),
    )
    paths = []
    for suffix, metadata in formats:
        if suffix not in suffixes:
            continue
        path = Path(f"{stem}{suffix}")
        kept = {key: value for key, value in metadata.items() if value is not None or key not in (PNG_KEY, PDF_KEY)}
        options = {"pil_kwargs": PNG} if suffix == ".png" else {}
        paths.append(_write(figure, path, dpi=dpi, metadata=kept, **options))
    if ".jpg" in suffixes:
        options = {"quality": JPEG_QUALITY, "subsampling": 0, **({"comment": record.encode()} if record else {})}
        paths.append(_write(figure, Path(f"{stem}.jpg"), dpi=dpi, pil_kwargs=options))
    return paths


def _write(figure: matplotlib.figure.Figure, path: Path, **options: Any) -> Path:
    """Write `figure` in the format of `path`, atomically.

    By way of memory: matplotlib's PDF, met by a full disk, raises an AttributeError in place of the OSError.
    """
    drawn = io.BytesIO()
    with style():
        figure.savefig(drawn, format=path.suffix[1:], **options)
    with atomic(path) as temporary:
        temporary.write_bytes(drawn.getbuffer())
    return path


def read_provenance(path: str | Path) -> dict[str, Any]:
    """The provenance that `save` put into a PNG, PDF or JPEG. Raises WorkbenchError when there is none."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from error
    text = _pdf_record(content) if content.startswith(b"%PDF-") else _png_record(path)
    try:
        record = json.loads(text or "")
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise WorkbenchError(f"{path} carries no provenance; give a PNG or PDF that the workbench wrote")
    return record


def _png_record(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            return image.info.get(PNG_KEY, image.info.get("comment"))
    except (UnidentifiedImageError, OSError) as error:
        raise WorkbenchError(f"{path} is neither a PNG nor a PDF, and no JPEG") from error


def _pdf_record(content: bytes) -> str | None:
    """The string under PDF_KEY in the dictionary that the trailer names as /Info.

    matplotlib writes that dictionary uncompressed, its ASCII strings in parentheses with a backslash before each
    parenthesis, backslash and line end (ISO 32000-1, 7.3.4.2).
    """
    trailer = content[content.rfind(b"trailer") :]
    reference = re.search(rb"/Info\s+(\d+)\s+(\d+)\s+R", trailer)
    if not reference:
        return None
    start = re.search(rb"(?:^|[\r\n])%s\s+%s\s+obj\b" % reference.groups(), content)
    if not start:
        return None
    value = re.compile(rb"/%s\s*\(((?:\\.|[^\\()])*)\)" % PDF_KEY.encode(), re.DOTALL)
    found = value.search(content, start.end())
    return re.sub(rb"\\(.)", rb"\1", found[1], flags=re.DOTALL).decode("latin-1") if found else None
