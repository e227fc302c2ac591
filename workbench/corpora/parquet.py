"""Parquet files with embedded images, as Hugging Face's datasets are stored: a column image of {bytes, path}, and others."""

import json
import re
from pathlib import Path, PureWindowsPath
from typing import Any

from workbench import progress
from workbench.corpora.metadata import flat, whole_numbers
from workbench.errors import WorkbenchError
from workbench.provenance import sha256
from workbench.storage import cache_dir, write_text

_BATCH = 64  # rows in memory at once


def unpack(table: Path, *, show: bool = False) -> list[tuple[Path, dict[str, str]]]:
    """(image file, row) of each row of `table`; empty where no column has embedded images.

    The images are written, byte for byte, into a folder of the cache that is named by the hash of `table`, once. Values are
    texts as metadata.csv has them; those of a ClassLabel are its names. Raises WorkbenchError where pyarrow is not
    installed or `table` cannot be read.
    """
    try:
        import pyarrow as pa  # here, because it is an extra
        import pyarrow.parquet as pq
    except ImportError as error:
        raise WorkbenchError(f"{table} needs pyarrow: pip install 'artist-workbench[parquet]'") from error
    folder = cache_dir("parquet", f"1-{sha256(table)}")  # raise the number whenever files or rows come out otherwise
    listing = folder / "rows.json"  # written last: all images are there
    if not listing.exists():
        rows: list[dict[str, str]] = []
        try:
            with pq.ParquetFile(table) as file:
                column = _image_column(file.schema_arrow, pa)
                if column is None:
                    return []
                names = _class_names(file.schema_arrow.metadata or {})
                count = file.metadata.num_rows
                records = (record for batch in file.iter_batches(_BATCH) for record in batch.to_pylist())
                for record in progress.track(records, total=count, label=f"unpacking {table.name}", show=show):
                    rows.append(_unpack_row(record, column, names, folder, len(rows)))
        except (pa.ArrowException, OSError) as error:
            raise WorkbenchError(f"cannot read {table}: {str(error).splitlines()[0]}") from error
        write_text(listing, json.dumps(whole_numbers(rows)))
    return [(folder / row.pop("file_name"), row) for row in json.loads(listing.read_text(encoding="utf-8"))]


def _image_column(schema: Any, pa: Any) -> str | None:
    """The column of structures with bytes and path; "image" if it is one of several."""
    found = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type.fields}
    ]
    return "image" if "image" in found else next(iter(found), None)


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Column -> the names of its classes, from the description that datasets leaves in the schema."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if "names" in feature}
    except (KeyError, ValueError, TypeError):
        return {}


def _unpack_row(record: dict[str, Any], column: str, names: dict[str, list[str]], folder: Path, number: int) -> dict[str, str]:
    """Write the image of a row, and return the row with its file_name. A row without bytes leaves an empty file."""
    image = record.pop(column) or {}
    given = PureWindowsPath(image.get("path") or "image").name  # understands separators of all systems
    name = f"{number:06d}-" + re.sub(r"[^\w.-]", "_", given)[-60:]
    (folder / name).write_bytes(image.get("bytes") or b"")
    for key, classes in names.items():
        if isinstance(record.get(key), int) and 0 <= record[key] < len(classes):
            record[key] = classes[record[key]]
    return flat(record) | {"file_name": name}
