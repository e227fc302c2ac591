"""From a folder to a corpus: every image is decoded once, metadata.csv is read, and what is left out is reported."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from workbench import images, progress
from workbench.corpora import likeness
from workbench.corpora.metadata import TABLES, read_table
from workbench.corpora.parquet import unpack
from workbench.corpora.works import METADATA, Corpus, IngestReport, Work, normal
from workbench.errors import WorkbenchError
from workbench.names import plain
from workbench.provenance import identity, sha256
from workbench.storage import cache_dir, spare, write_text

# What lies beside images in a corpus and is none: passed over, not counted. Anything else that is not an image is rejected.
_BESIDE = {
    ".csv",
    ".json",
    ".jsonl",
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


def ingest(folder: str | Path, *, show: bool = False) -> Corpus:
    """The corpus in `folder`: every image below it is decoded once, and its metadata.csv is read.

    metadata.csv or metadata.jsonl (Hugging Face imagefolder layout), UTF-8, has a column file_name with paths relative to it,
    with separators of any system; further ones may lie in folders below. Images embedded in Parquet files (extra [parquet]) are
    works too, and one such file may stand for the folder: an image of data/train.parquet is called data/train/000000-NAME.
    `show` reports progress on stderr. Raises WorkbenchError when the folder or its metadata cannot be read, or when no image is
    usable.
    """
    folder = Path(folder)
    try:
        root = folder.resolve(strict=True)
        found, tables, parquets = _walk(root) if root.suffix != ".parquet" or root.is_dir() else ([], [], [root])
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link that leads to itself, before Python 3.13
        raise WorkbenchError(f"cannot open corpus {folder}: {getattr(error, 'strerror', None) or error}") from error
    rows, warnings = _read_tables(root, tables, set(found))
    files = {name: root / name for name in found}
    unread = _unpack_all(root, parquets, files, rows, show)
    warnings += unread
    named = {normal(name): row for name, row in rows.items()}
    # In an order by which of equal files the one with a row stays, else the one with the shortest name, which is no copy.
    files = dict(sorted(files.items(), key=lambda file: (normal(file[0]) not in named, len(file[0]), file[0])))
    verdicts, rejected, duplicates = _sift(root, files, show)
    alike = _alike(verdicts)
    if not verdicts:
        raise WorkbenchError(f"no usable image in {folder}: {_why_empty(len(files), rejected, unread)}")
    works = []
    for name, verdict in sorted(verdicts.items()):
        row = named.get(normal(name), {})
        if row.get("sha256") and row["sha256"].lower() != verdict.sha256:
            warnings.append(f"{name} is not the file that {METADATA} describes: its sha256 differs")
        works.append(Work(name, files[name], verdict.sha256, verdict.width, verdict.height, row))
    works = _keep_together(works, alike)
    present = {normal(name) for name in files}
    report = IngestReport(
        seen=len(files),
        usable=len(works),
        rejected=tuple(sorted(rejected)),
        converted=tuple((name, verdict.notes) for name, verdict in sorted(verdicts.items()) if verdict.notes),
        duplicates=tuple(sorted(duplicates)),
        copies=tuple(sorted(alike)),
        rows_without_file=tuple(sorted(name for name in rows if normal(name) not in present)),
        files_without_row=tuple(work.name for work in works if tables and normal(work.name) not in named),
        warnings=tuple(warnings),
    )
    return Corpus(plain(root.name), root, tuple(works), report)


def state(folder: Path) -> int:
    """A number that is another once a file that `ingest` reads there is added, taken away or replaced; none is read for it.

    It holds in this process alone. Raises WorkbenchError where the folder cannot be read.
    """
    try:
        files, tables, parquets = _walk(folder) if folder.is_dir() else ([], [], [folder])
    except (OSError, RuntimeError, ValueError) as error:
        raise WorkbenchError(f"cannot open corpus {folder}: {getattr(error, 'strerror', None) or error}") from error
    paths = [*(folder / name for name in sorted(files)), *tables, *parquets]
    return hash(tuple((str(path), identity(path)) for path in paths))


class _Verdict(NamedTuple):
    """A file that decodes."""

    sha256: str
    width: int
    height: int
    notes: tuple[str, ...]
    pixels: str
    looks: tuple[int, ...]


def _sift(
    root: Path, files: dict[str, Path], show: bool
) -> tuple[dict[str, _Verdict], list[tuple[str, str]], list[tuple[str, str]]]:
    """(usable, rejected, duplicates) of `files`, taken in their order.

    That a file decodes is remembered by its hash, so a folder is decoded once. The memory is named by all that the verdict
    depends on besides: the code, Pillow, the limit on pixels, and the crops. Rejections are not remembered: they are tried
    again.
    """
    key = f"{root}|{images.DECODER}|{Image.MAX_IMAGE_PIXELS}|{likeness.CROPS}"
    memory = cache_dir("ingest") / f"{hashlib.sha256(key.encode(errors='surrogateescape')).hexdigest()[:32]}.json"
    known = _remembered(memory)
    usable: dict[str, _Verdict] = {}
    stays: dict[str, str] = {}  # hash of a file, or of its pixels -> the usable file that has it
    equal: dict[str, _Verdict] = {}  # files of other bytes with the pixels of a usable one
    rejected, duplicates = [], []
    for name, path in progress.track(files.items(), total=len(files), label=f"reading {root.name}", show=show):
        if (shown := plain(name)) != name:
            rejected.append((shown, "its name is not UTF-8, or has control characters; rename it"))
            continue
        try:
            digest = sha256(path) if path.is_file() else ""
            if digest in stays:
                duplicates.append((name, stays[digest]))
                continue
            if digest in known:
                verdict = known[digest]
            else:
                decoded = images.read(path, enough=images.LARGEST, sha256=digest or None)
                (height, width), image = decoded.full, decoded.image
                verdict = _Verdict(digest, width, height, decoded.notes, likeness.pixels(image), likeness.looks(image))
        except WorkbenchError as error:
            rejected.append((name, str(error).removeprefix(str(images.unreadable(path, "")))))
            continue
        if verdict.pixels in stays:
            duplicates.append((name, stays[verdict.pixels]))
            equal[digest] = verdict
            continue
        stays[digest] = stays[verdict.pixels] = name
        usable[name] = verdict
    found = {
        v.sha256: (v.width, v.height, v.notes, v.pixels, [f"{look:x}" for look in v.looks])
        for v in (*usable.values(), *equal.values())
    }
    if found.keys() != known.keys():
        with spare(f"the list of what is in {root}"):
            write_text(memory, json.dumps(found))
    return usable, rejected, duplicates


def _remembered(memory: Path) -> dict[str, _Verdict]:
    """SHA-256 -> verdict. What cannot be read is as good as absent: the files are decoded again."""
    try:
        entries = json.loads(memory.read_text(encoding="utf-8")).items()
        return {
            digest: _Verdict(digest, int(width), int(height), tuple(map(str, notes)), str(pixels), likeness.read(looks))
            for digest, (width, height, notes, pixels, looks) in entries
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _alike(verdicts: dict[str, _Verdict]) -> list[tuple[str, str, int]]:
    """(file, file, bits that differ) of all files that look alike, the first by name first."""
    names = sorted(name for name, verdict in verdicts.items() if max(verdict.width, verdict.height) >= likeness.LEAST)
    return [(names[i], names[j], bits) for i, j, bits in likeness.alike([verdicts[name].looks for name in names])]


def _keep_together(works: list[Work], alike: list[tuple[str, str, int]]) -> list[Work]:
    """`works`, with probable copies, and whatever is in a series with one, marked as belonging together."""
    first = {work.name: work.name for work in works}  # a forest: each work points to another of its set, the first to itself

    def root(name: str) -> str:
        while first[name] != name:
            first[name] = name = first[first[name]]
        return name

    series: dict[str, str] = {}
    for work in works:
        if work.series:
            first[root(work.name)] = root(series.setdefault(work.group, work.name))
    for one, other, _ in alike:
        low, high = sorted((root(one), root(other)))
        first[high] = low
    sets = {root(one) for one, _, _ in alike}
    marks = {work.name: work.sha256 for work in works}
    return [replace(work, copies=marks[top]) if (top := root(work.name)) in sets else work for work in works]


def _why_empty(seen: int, rejected: list[tuple[str, str]], unread: list[str]) -> str:
    if not seen:
        return "; ".join(unread) or "the folder holds no files that could be images"
    name, reason = min(rejected)
    return f"{len(rejected)} of {seen} files rejected, the first ({name}) because: {reason}"


def _walk(root: Path) -> tuple[list[str], list[Path], list[Path]]:
    """(names of the files that may be images, metadata tables, Parquet files) below `root`.

    Linked folders are followed, each folder once.
    """
    files: list[str] = []
    tables: list[Path] = []
    parquets: list[Path] = []
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
            elif entry.name in TABLES:
                tables.append(entry)
            elif entry.suffix.lower() == ".parquet":
                parquets.append(entry)
            elif entry.suffix.lower() not in _BESIDE:
                files.append(entry.relative_to(root).as_posix())
    return files, sorted(tables), sorted(parquets)


def _unpack_all(
    root: Path, parquets: list[Path], files: dict[str, Path], rows: dict[str, dict[str, str]], show: bool
) -> list[str]:
    """Add the images and rows of Parquet files to `files` and `rows`. Returns why a file is not read, for each that is not."""
    unread = []
    for table in parquets:
        inside = table.relative_to(root if root.is_dir() else root.parent)
        try:
            pictures = unpack(table, show=show)
        except WorkbenchError as error:
            unread.append(str(error))
            continue
        if not pictures:
            unread.append(f"{inside.as_posix()} has no column of embedded images; it is not read")
        for path, row in pictures:
            name = (inside.with_suffix("") / path.name).as_posix()
            files[name], rows[name] = path, row
    return unread


def _read_tables(root: Path, tables: list[Path], files: set[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Rows by file name relative to `root`, without the file_name column; and warnings about rows that are not used."""
    rows: dict[str, dict[str, str]] = {}
    warnings: list[str] = []
    for table in tables:
        if table.name != METADATA and table.with_name(METADATA) in tables:
            warnings.append(f"{table.relative_to(root).as_posix()} is not read: {METADATA} lies beside it")
            continue
        for line, row in read_table(table):
            where = f"{table.relative_to(root).as_posix()}, line {line}"
            inside = PurePosixPath(row.pop("file_name"))
            if (table.parent.relative_to(root) / inside).as_posix() not in files:
                inside = PurePosixPath(str(inside).replace("\\", "/"))  # as Windows writes it
            if inside.is_absolute() or ".." in inside.parts or not inside.parts:
                warnings.append(f"{where}: file_name {str(inside)!r} is not a path inside the folder; row ignored")
                continue
            name = (table.parent.relative_to(root) / inside).as_posix()
            if name in rows:
                warnings.append(f"{where}: a second row for {name}; the first is used")
                continue
            if None in row:
                warnings.append(f"{where}: more fields than columns; the surplus is ignored")
                row.pop(None)  # type: ignore[call-overload]  # where csv puts it
            rows[name] = row
    return rows, warnings
