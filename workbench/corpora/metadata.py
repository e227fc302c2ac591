"""Tables that say what pictures are: metadata.csv and metadata.jsonl, as Hugging Face's imagefolder layout has them."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workbench.corpora.works import METADATA, listed
from workbench.errors import WorkbenchError
from workbench.names import as_it_was, inert, inert_path, plain
from workbench.storage import parse_json, read_text

TABLES = (METADATA, "metadata.jsonl")
"""The names of tables. Where both lie in one folder, the first is read."""


def read_table(table: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a table in UTF-8: plain texts without blanks around them, what is absent empty.

    A row of metadata.csv with more fields than columns has the surplus under the key None, as csv puts it. Of
    metadata.jsonl the values that are lists or objects are left out. Whole numbers are written as such: a column of nothing
    but "1889.0" is one to which pandas gave a float because a value is missing. Raises WorkbenchError, naming the table, and
    the line where there is one, for what cannot be read, and without a column file_name.
    """
    try:
        text = read_text(table, "utf-8-sig")  # Excel puts a byte order mark before UTF-8
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"{table} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise WorkbenchError(f"cannot read {table}: {error.strerror}") from error
    rows = _read_lines(table, text) if table.suffix == ".jsonl" else _read_csv(table, text)
    return list(zip([line for line, _ in rows], whole_numbers([row for _, row in rows]), strict=True))


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> str:
    """The text of a metadata.csv with `columns`, file_name among them; what a row lacks is empty.

    No cell is a formula to a spreadsheet, and `read_table` gives the rows back as they are: see `names.inert`.
    """
    text, columns = io.StringIO(), list(columns)
    table = csv.writer(text, lineterminator="\n")
    table.writerow([inert(column) for column in columns])
    for row in rows:
        cells = {column: inert(row.get(column, "")) for column in columns} | {"file_name": inert_path(row["file_name"])}
        table.writerow([cells[column] for column in columns])
    return text.getvalue()


def whole_numbers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """`rows` with "1889" for "1889.0" in every column of which all values are such; file_name is none of them."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for column, value in row.items():
            if isinstance(value, str) and value and column != "file_name":  # csv's surplus is a list
                values.setdefault(column, set()).add(value)
    whole = {column for column, texts in values.items() if all(re.fullmatch(r"-?\d+\.0", text) for text in texts)}
    return [{key: value.removesuffix(".0") if key in whole else value for key, value in row.items()} for row in rows]


def flat(record: Mapping[str, object]) -> dict[str, str]:
    """A record as a row: each number, truth value or text as a text, None and NaN empty; lists and mappings are left out."""
    kept = {plain(str(key)): value for key, value in record.items() if not isinstance(value, (list, tuple, dict, bytes))}
    return {key: "" if value is None or value != value else plain(str(value)).strip() for key, value in kept.items()}


def _read_csv(table: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", strict=True)
    try:
        columns = [as_it_was(plain(column).strip()) for column in reader.fieldnames or []]
        reader.fieldnames = columns
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise WorkbenchError(f"{table}, line {reader.reader.line_num}: {error}") from error
    if "file_name" not in columns:
        raise WorkbenchError(f"{table} has no column file_name; it has {listed(columns) or 'no columns'}")
    if len(set(columns)) < len(columns):
        raise WorkbenchError(f"{table} names a column twice: {listed(columns)}")
    return [(line, {column: _cell(column, value) for column, value in row.items()}) for line, row in rows]


def _cell(column: str | None, value: Any) -> Any:
    """The text that a cell stands for; csv's surplus, under None, and the names of files stay what they are."""
    if column is None:
        return value
    return plain(value).strip() if column == "file_name" else as_it_was(plain(value).strip())


def _read_lines(table: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    rows = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = parse_json(content)
        except (ValueError, RecursionError) as error:  # the latter for thousands of brackets in one another
            raise WorkbenchError(f"{table}, line {line}: {error}") from error
        if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
            raise WorkbenchError(f"{table}, line {line}: not an object with a file_name")
        rows.append((line, flat(record)))
    return rows
