"""An artist's works: a folder of images, what metadata.csv says of them, and a report of what was left out and why."""

import csv
import difflib
import hashlib
import io
import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from workbench import images, progress
from workbench.errors import UsageError, WorkbenchError, require
from workbench.provenance import sha256
from workbench.storage import cache_dir, write_text

METADATA = "metadata.csv"
# What lies beside images in a corpus and is none: passed over, not counted. Anything else that is not an image is rejected.
_BESIDE = {
    ".csv",
    ".json",
    ".jsonl",
    ".parquet",
    ".txt",
    ".md",
    ".rst",
    ".html",
    ".xml",
    ".yaml",
    ".yml",
    ".ini",
    ".db",
    ".log",
}
_BESIDE_NAMES = {"license", "licence", "readme", "credits", "__macosx"}


@dataclass(frozen=True)
class Work:
    """One painting: a file that decodes, and what is known of it.

    name: path relative to the corpus's folder, with forward slashes, unique; sha256: of the file's bytes, hexadecimal;
    width, height: in pixels, upright; metadata: the row of metadata.csv without file_name, empty when there is none.
    """

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def title(self) -> str:
        """The title, or the file's name made readable."""
        words = " ".join(PurePosixPath(self.name).stem.replace("_", " ").replace("-", " ").split())
        return self.metadata.get("title") or words[:1].upper() + words[1:]

    @property
    def artist(self) -> str:
        return self.metadata.get("artist", "")

    @property
    def year(self) -> str:
        return self.metadata.get("year", "")

    @property
    def genre(self) -> str:
        return self.metadata.get("genre", "")

    @property
    def series(self) -> str:
        return self.metadata.get("series", "")

    @property
    def group(self) -> str:
        """What the work belongs together with: the works of its series, or, without one, itself alone."""
        return f"{self.artist}/{self.series}" if self.series else self.sha256

    def load(self, size: int | None = None) -> Tensor:
        """The painting as float32 (1, 3, H, W) in [0, 1], long side `size`; see images.load."""
        return images.load(self.path, size)


@dataclass(frozen=True)
class IngestReport:
    """What became of every file of a folder: seen = usable + len(rejected) + len(duplicates).

    Hidden files and what commonly lies beside images (metadata.csv, .json, .txt, .md, ...) are not seen. A duplicate has
    the very bytes of another file and is left out of the works, so that no painting counts twice; of several equal
    files the one that metadata.csv names stays, else the first by name. Files are named relative to the folder.
    """

    seen: int
    usable: int
    rejected: tuple[tuple[str, str], ...] = ()  # (file, reason)
    converted: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (file, notes of images.read); these are usable
    duplicates: tuple[tuple[str, str], ...] = ()  # (file, the equal file that stays)
    rows_without_file: tuple[str, ...] = ()
    files_without_row: tuple[str, ...] = ()  # usable files; empty when the folder has no metadata.csv at all
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report for a reader: one line of counts, then one line for everything worth a look."""
        counts = (
            f"{self.seen} files seen: {self.usable} usable, {len(self.rejected)} rejected, {len(self.duplicates)} duplicates"
        )
        return [
            counts,
            *(f"rejected {name}: {reason}" for name, reason in self.rejected),
            *(f"duplicate {name}: the same bytes as {first}" for name, first in self.duplicates),
            *(f"converted {name}: {'; '.join(notes)}" for name, notes in self.converted),
            *(f"no such file, though {METADATA} has a row for it: {name}" for name in self.rows_without_file),
            *(f"no row in {METADATA}: {name}" for name in self.files_without_row),
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True)
class Corpus:
    """Works sorted by name, and the report of how they came in. Parts of a corpus are corpora with the same report."""

    name: str
    root: Path
    works: tuple[Work, ...]
    report: IngestReport = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path, *, progress: bool = False) -> "Corpus":
        """Decode every image below `folder` once and read its metadata.csv (Hugging Face imagefolder layout).

        metadata.csv, UTF-8, has a column file_name with paths relative to it; further ones may lie in folders below.
        Raises WorkbenchError when the folder or its metadata cannot be read, or when no image is usable.
        """
        return _ingest(Path(folder), progress)

    def __len__(self) -> int:
        return len(self.works)

    def __iter__(self) -> Iterator[Work]:
        return iter(self.works)

    def __getitem__(self, key: int | str) -> Work:
        """The work at an index, or the one that `find` finds."""
        if isinstance(key, str):
            return self.find(key)
        require(isinstance(key, int), f"a corpus is indexed by a name or a whole number, not by {key!r}")
        size = len(self)
        require(-size <= key < size, f"index {key} is outside corpus {self.name!r} of {size} works")
        return self.works[key]

    @property
    def columns(self) -> tuple[str, ...]:
        """The metadata columns that any work has, in the order of the file."""
        return tuple(dict.fromkeys(column for work in self.works for column in work.metadata))

    def find(self, name: str) -> Work:
        """The work with this name; or else this file stem; or else this title, whatever its case.

        Raises UsageError, with the nearest names, when there is none, and with all candidates when there are several.
        """
        found = self.named(name)
        if len(found) > 1:
            raise UsageError(f"{name!r} names {len(found)} works of {self.name!r}: {_listed(w.name for w in found)}")
        if found:
            return found[0]
        forms = (form for work in self.works for form in (work.name, PurePosixPath(work.name).stem, work.title))
        known = {form.casefold(): form for form in forms}
        near = [repr(known[form]) for form in difflib.get_close_matches(name.casefold(), known, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {_listed((w.name for w in self.works), 4)}"
        raise UsageError(f"no work {name!r} in corpus {self.name!r}; {hint}")

    def named(self, name: str) -> tuple[Work, ...]:
        """All works that `name` may mean: by their name; or else by their file stem; or else by their title."""
        keys: tuple[Callable[[Work], str], ...] = (
            lambda work: work.name,
            lambda work: PurePosixPath(work.name).stem,
            lambda work: work.title.casefold(),
        )
        for key, wanted in zip(keys, (name, name, name.casefold()), strict=True):
            found = tuple(work for work in self.works if _normal(key(work)) == _normal(wanted))
            if found:
                return found
        return ()

    def select(self, /, **criteria: object) -> "Corpus":
        """The works whose metadata meet all criteria: a column equals a value, or one of a list of values.

        `corpus.select(genre=["portrait", "self-portrait"])`. Raises UsageError for an unknown column, for a value that
        no work has, naming those that exist, and when no work meets all criteria.
        """
        works = self.works
        for column, wanted in criteria.items():
            self._check_column(column)
            values = [str(value) for value in _as_list(wanted)]
            known = {work.metadata.get(column, "") for work in self.works}
            missing = [value for value in values if value not in known]
            if missing or not values:
                what = f"no work with {column} {missing[0]!r}" if missing else f"no value given for {column}"
                raise UsageError(f"{what} in corpus {self.name!r}; {column} may be {_listed(sorted(known))}")
            works = tuple(work for work in works if work.metadata.get(column, "") in values)
        require(bool(works), f"no work of corpus {self.name!r} meets all of {', '.join(criteria)} at once")
        return replace(self, works=works)

    def _check_column(self, column: str) -> None:
        known = _listed(self.columns) or "none"
        require(column in self.columns, f"corpus {self.name!r} has no metadata column {column!r}; it has {known}")

    def between(self, column: str, low: float, high: float) -> "Corpus":
        """The works whose `column`, such as year, begins with a number from `low` to `high`, both included.

        "1889", "1889-90" and "c. 1889" are all 1889; a work without a number is left out. Raises UsageError for an unknown
        column, and when nothing is left.
        """
        self._check_column(column)
        numbers = {work.name: re.search(r"\d+(\.\d+)?", work.metadata.get(column, "")) for work in self.works}
        works = tuple(work for work in self.works if (found := numbers[work.name]) and low <= float(found[0]) <= high)
        if not works:
            known = sorted(float(found[0]) for found in numbers.values() if found)
            span = f"it goes from {known[0]:g} to {known[-1]:g}" if known else "no work has a number there"
            raise UsageError(f"no work of corpus {self.name!r} has {column} from {low:g} to {high:g}; {span}")
        return replace(self, works=works)

    def exclude(self, names: str | Work | Iterable[str | Work]) -> "Corpus":
        """The corpus without the works named, each as `find` takes it. Raises UsageError when nothing would be left."""
        out = {work.name if isinstance(work, Work) else self.find(work).name for work in _as_list(names)}
        works = tuple(work for work in self.works if work.name not in out)
        require(bool(works), f"excluding {len(out)} works leaves nothing of corpus {self.name!r}")
        return replace(self, works=works)

    def split(self, held_out: float = 0.2, seed: int = 0) -> tuple["Corpus", "Corpus"]:
        """(bank, held out): about the fraction `held_out` of the works is held out, series by series.

        The works of a series stay together, for to know one haystack is to know the others; a work without a series is
        its own group. Groups are drawn in the order of seed, and kept when they bring the count nearer to the one asked for.
        Deterministic. Raises UsageError when `held_out` is not between 0 and 1 or all works are one series.
        """
        number = isinstance(held_out, int | float) and not isinstance(held_out, bool)
        require(number and 0 < held_out < 1, f"held_out is {held_out!r}; give a fraction between 0 and 1")
        groups: dict[tuple[str, str], list[Work]] = {}
        for work in self.works:
            groups.setdefault(("series", work.series) if work.series else ("work", work.name), []).append(work)
        require(len(groups) > 1, f"cannot split corpus {self.name!r}: its works are one series, or it has only one")
        require(isinstance(seed, int), f"seed is {seed!r}; give a whole number")
        order = sorted(groups)
        random.Random(seed).shuffle(order)
        wanted = min(max(round(held_out * len(self)), 1), len(self) - 1)
        held: set[str] = set()
        for group in order:
            larger = len(held) + len(groups[group])
            if larger < len(self) and abs(larger - wanted) < abs(len(held) - wanted):
                held.update(work.name for work in groups[group])
        if not held:  # every series is more than twice as large as what is wanted
            smallest = min(order, key=lambda group: len(groups[group]))
            held.update(work.name for work in groups[smallest])
        inside = tuple(work for work in self.works if work.name in held)
        return self.exclude(inside), replace(self, works=inside)


def _normal(text: str) -> str:
    """Text as it compares: file systems and spreadsheets compose accents differently (Unicode NFD and NFC)."""
    return unicodedata.normalize("NFC", text)


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _listed(values: Iterable[str], limit: int = 12) -> str:
    """'a', 'b' and 3 more."""
    every = [repr(value) for value in values]
    return ", ".join(every[:limit]) + (f" and {len(every) - limit} more" if len(every) > limit else "")


# Ingest


def _ingest(folder: Path, show: bool) -> Corpus:
    try:
        root = folder.resolve(strict=True)
        files, tables = _walk(root)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link that leads to itself, before Python 3.13
        raise WorkbenchError(f"cannot open corpus {folder}: {getattr(error, 'strerror', None) or error}") from error
    rows, warnings = _read_tables(root, tables)
    named = {_normal(name): row for name, row in rows.items()}
    files.sort(key=lambda name: (_normal(name) not in named, name))  # so that of equal files the one with a row stays
    verdicts, rejected, duplicates = _sift(root, files, show)
    if not verdicts:
        raise WorkbenchError(f"no usable image in {folder}: {_why_empty(len(files), rejected)}")
    works = []
    for name, verdict in sorted(verdicts.items()):
        row = named.get(_normal(name), {})
        if row.get("sha256") and row["sha256"].lower() != verdict.sha256:
            warnings.append(f"{name} is not the file that {METADATA} describes: its sha256 differs")
        works.append(Work(name, root / name, verdict.sha256, verdict.width, verdict.height, row))
    present = {_normal(name) for name in files}
    report = IngestReport(
        seen=len(files),
        usable=len(works),
        rejected=tuple(sorted(rejected)),
        converted=tuple((name, verdict.notes) for name, verdict in sorted(verdicts.items()) if verdict.notes),
        duplicates=tuple(sorted(duplicates)),
        rows_without_file=tuple(sorted(name for name in rows if _normal(name) not in present)),
        files_without_row=tuple(work.name for work in works if tables and _normal(work.name) not in named),
        warnings=tuple(warnings),
    )
    return Corpus(root.name, root, tuple(works), report)


class _Verdict(NamedTuple):
    """A file that decodes."""

    sha256: str
    width: int
    height: int
    notes: tuple[str, ...]


def _sift(root: Path, files: list[str], show: bool) -> tuple[dict[str, _Verdict], list[tuple[str, str]], list[tuple[str, str]]]:
    """(usable, rejected, duplicates) of `files`, taken in their order.

    That a file decodes is remembered by its hash, so a folder is decoded once. The memory is named by all that the verdict
    depends on besides: the code, Pillow, and the limit on pixels. Rejections are not remembered: they are tried again.
    """
    key = f"{root}|{images.DECODER}|{Image.MAX_IMAGE_PIXELS}"
    memory = cache_dir("ingest") / f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:32]}.json"
    known = _remembered(memory)
    usable: dict[str, _Verdict] = {}
    stays: dict[str, str] = {}  # sha256 -> the usable file that has it
    rejected, duplicates = [], []
    for name in progress.track(files, total=len(files), label=f"reading {root.name}", show=show):
        path = root / name
        try:
            digest = sha256(path) if path.is_file() else ""
            if digest in stays:
                duplicates.append((name, stays[digest]))
                continue
            if digest in known:
                width, height, notes = known[digest]
            else:
                decoded = images.read(path)
                (width, height), notes = decoded.image.size, decoded.notes
        except WorkbenchError as error:
            rejected.append((name, str(error).removeprefix(str(images.unreadable(path, "")))))
            continue
        stays[digest] = name
        usable[name] = _Verdict(digest, width, height, tuple(notes))
    found = {verdict.sha256: verdict[1:] for verdict in usable.values()}
    if found.keys() != known.keys():
        write_text(memory, json.dumps(found))
    return usable, rejected, duplicates


def _remembered(memory: Path) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    """SHA-256 -> width, height and notes. What cannot be read is as good as absent: the files are decoded again."""
    try:
        entries = json.loads(memory.read_text(encoding="utf-8")).items()
        return {digest: (int(width), int(height), tuple(map(str, notes))) for digest, (width, height, notes) in entries}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _why_empty(seen: int, rejected: list[tuple[str, str]]) -> str:
    if not seen:
        return "the folder holds no files that could be images"
    name, reason = min(rejected)
    return f"{len(rejected)} of {seen} files rejected, the first ({name}) because: {reason}"


def _walk(root: Path) -> tuple[list[str], list[Path]]:
    """(names of the files that may be images, metadata tables) below `root`. Linked folders are followed, each folder once."""
    files: list[str] = []
    tables: list[Path] = []
    visited: set[Path] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        real = folder.resolve()
        if real in visited:  # a link to a folder that is read already, perhaps to its own parent
            continue
        visited.add(real)
        for entry in sorted(folder.iterdir(), reverse=True):
            if entry.name.startswith(".") or entry.name.lower() in _BESIDE_NAMES:
                continue
            if entry.is_dir():
                # Links wait until the real folders are through, so that files go by their real place.
                folders.insert(0 if entry.is_symlink() else len(folders), entry)
            elif entry.name == METADATA:
                tables.append(entry)
            elif entry.suffix.lower() not in _BESIDE:
                files.append(entry.relative_to(root).as_posix())
    return files, sorted(tables)


def _read_tables(root: Path, tables: list[Path]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Rows by file name relative to `root`, without the file_name column; and warnings about rows that are not used."""
    rows: dict[str, dict[str, str]] = {}
    warnings: list[str] = []
    for table in tables:
        for line, row in _read_table(table):
            where = f"{table.relative_to(root).as_posix()}, line {line}"
            inside = PurePosixPath(row.pop("file_name"))
            if inside.is_absolute() or ".." in inside.parts or not inside.parts:
                warnings.append(f"{where}: file_name {str(inside)!r} is not a path inside the folder; row ignored")
                continue
            name = (table.parent.relative_to(root) / inside).as_posix()
            if name in rows:
                warnings.append(f"{where}: a second row for {name}; the first is used")
                continue
            if None in row:
                warnings.append(f"{where}: more fields than columns; the surplus is ignored")
                del row[None]
            rows[name] = row
    return rows, warnings


def _read_table(table: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a metadata.csv, blanks around values removed, absent fields empty."""
    try:
        text = table.read_text(encoding="utf-8-sig")  # Excel puts a byte order mark before UTF-8
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"{table} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise WorkbenchError(f"cannot read {table}: {error.strerror}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", strict=True)
    try:
        columns = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise WorkbenchError(f"{table}, line {reader.reader.line_num}: {error}") from error
    if "file_name" not in columns:
        raise WorkbenchError(f"{table} has no column file_name; it has {_listed(columns) or 'no columns'}")
    if len(set(columns)) < len(columns):
        raise WorkbenchError(f"{table} names a column twice: {_listed(columns)}")
    return [(line, {key: value if key is None else value.strip() for key, value in row.items()}) for line, row in rows]
