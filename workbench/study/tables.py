"""Tidy tables of a study as CSV files: a row for every result, numbers to six digits."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from workbench import storage
from workbench.names import as_it_was, inert

TEXT = ("artist", "content", "genre", "method", "measure", "judge", "driver", "compared_with", "registration", "key")
"""Columns of text. An empty cell is an empty text there, and NaN in all other columns."""


def write_table(path: Path, table: pd.DataFrame | Sequence[Mapping[str, object]]) -> Path:
    """Write `table`, or its rows, as CSV, atomically; a cell without a value stays empty. Returns the path."""
    text = pd.DataFrame(table).map(inert).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return storage.write_text(path, text)


def pack_table(path: Path, rows: pd.DataFrame | Sequence[Mapping[str, object]]) -> None:
    """Add `rows` to the compressed table `path` (.csv.gz), the last of each key, sorted: the same rows are the same bytes."""
    both = [*([read_table(path)] if path.exists() else []), pd.DataFrame(rows)]
    table = pd.concat(both).drop_duplicates("key", keep="last")
    order = [name for name in ("artist", "seed", "content", "method", "draw", "level") if name in table]
    with storage.atomic(path) as temporary, storage.temporary_folder() as folder:
        plain = write_table(folder / "plain.csv", table.sort_values(order, kind="stable"))
        temporary.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))


def read_table(path: Path) -> pd.DataFrame:
    """The table that `write_table` wrote, or a compressed one (.csv.gz): text columns as str, the others as numbers."""
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""], encoding="utf-8")
    text = [name for name in TEXT if name in table]
    return table.fillna(dict.fromkeys(text, "")).map(as_it_was)
