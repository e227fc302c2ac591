"""From museums to a folder: works are found, downloaded, checked and described; what is settled is remembered."""

import csv
import fcntl
import json
import os
import re
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from workbench import images, progress
from workbench.corpora import likeness
from workbench.corpora.metadata import METADATA, csv_text, read_table
from workbench.corpora.museums.source import LeftOut, MuseumWork, Source
from workbench.corpora.museums.web import PICTURE, HostRefused, NotFetched, Web, check_contact
from workbench.errors import WorkbenchError, require
from workbench.provenance import sha256
from workbench.storage import write_text

MANIFEST, CREDITS = ".fetch.jsonl", "CREDITS.md"
SMALLEST = 256
"""Pixels of the long side. What is smaller is a thumbnail."""
COLUMNS = (
    *("file_name", "artist", "title", "year", "genre", "series", "kind", "source", "source_id", "source_url"),
    *("licence", "licence_url", "attribution", "image_url", "sha256", "width", "height"),
)
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}
# What reading a page or table comes to that is not as it is documented to be.
_UNDOCUMENTED = (LookupError, TypeError, ValueError, AttributeError, EOFError, OSError, csv.Error, zlib.error)


@dataclass
class Fetched:
    """What became of the works that were looked at."""

    found: Counter[str] = field(default_factory=Counter)  # source -> open-access works of the artist and kind
    new: Counter[str] = field(default_factory=Counter)  # source -> pictures that came and stayed
    present: int = 0  # pictures in the folder now
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, reason) -> works
    duplicates: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # works that may come when they are asked for again
    stopped: dict[str, str] = field(default_factory=dict)  # source -> why it was read no further

    def lines(self) -> list[str]:
        """The report for a reader."""
        found, new = (", ".join(f"{name} {n}" for name, n in count.items()) or "none" for count in (self.found, self.new))
        return [
            f"open-access works found: {found}; new pictures: {new}; pictures in the folder: {self.present}",
            *(f"{name}: {count} left out: {reason}" for (name, reason), count in self.left_out.most_common()),
            *self.duplicates,
            *(f"not fetched, to be tried again: {work}" for work in self.failed),
            *(f"{name}: stopped: {reason}" for name, reason in self.stopped.items()),
        ]


def fetch(
    artist: str,
    sources: Sequence[Source],
    folder: str | Path,
    *,
    contact: str,
    limit: int = 100,
    kind: str = "painting",
    dry_run: bool = False,
    show: bool = False,
) -> Fetched:
    """Fetch open-access works by `artist` until `folder` holds `limit` pictures, one from each source in turn.

    `contact`: an e-mail or web address that the museums are told; `kind`: the museums' word for a kind of work, or "any";
    `dry_run`: count the works, up to `limit` in each source, and fetch none. A call with the same folder goes on where the last
    one ended, however it ended. A picture that was removed from the folder is not fetched again, and a row of metadata.csv
    stays as it was edited. Raises UsageError for a wrong argument, and WorkbenchError where the folder cannot be written.
    A museum that cannot be read is in the report.
    """
    require(bool(artist.strip()), "artist is empty: give a name, as museums write it")
    require(limit >= 1, f"limit is {limit}; give at least 1")
    check_contact(contact)
    artist = artist.strip()
    report, into = Fetched(), _Folder(Path(folder), f"{artist}|{kind}", dry_run)
    with ExitStack() as stack:
        webs = {source: stack.enter_context(closing(Web(contact, source.origins, source.pause))) for source in sources}
        offers = _offers(artist, kind, webs, into, report, limit if dry_run else sys.maxsize)
        if dry_run:
            for _ in progress.track(offers, total=limit * len(webs), label="finding", show=show):
                pass
        else:
            stack.enter_context(into.lock)
            stack.callback(into.describe)
            wanted = limit - len(into.pictures)
            arrivals = _arrivals(offers, webs, into, report, limit) if wanted > 0 else ()
            for _ in progress.track(arrivals, total=wanted, label="fetching", show=show):
                pass
    report.present = len(into.pictures)
    return report


def _offers(
    artist: str, kind: str, webs: dict[Source, Web], into: "_Folder", report: Fetched, most: int
) -> Iterator[tuple[Source, MuseumWork]]:
    """Open-access works of the kind, from each source in turn, at most `most` from each, until it is stopped."""
    searches = {source: source.works(artist, web, into.settled(source)) for source, web in webs.items()}
    while searches:
        for source, search in list(searches.items()):
            name = source.name
            try:
                work = None if name in report.stopped or report.found[name] >= most else next(search, None)
            except (HostRefused, NotFetched) as error:
                report.stopped[name], work = str(error), None
            except _UNDOCUMENTED as error:
                report.stopped[name], work = f"its answer is not as documented ({type(error).__name__}: {error})", None
            if work is None:
                del searches[source]
            elif isinstance(work, LeftOut):
                into.leave(source, work.source_id, work.reason, report)
            elif kind != "any" and kind.casefold() not in work.kind.casefold():
                into.leave(source, work.source_id, f"of kind {work.kind!r}", report)
            else:
                report.found[name] += 1
                yield source, work


def _arrivals(
    offers: Iterator[tuple[Source, MuseumWork]], webs: dict[Source, Web], into: "_Folder", report: Fetched, limit: int
) -> Iterator[str]:
    """The names of the pictures that come to stay, until the folder holds `limit`."""
    for source, work in offers:
        if into.is_settled(source.name, work.source_id):
            continue
        try:
            name = into.take(source, work, webs[source], report)
        except HostRefused as error:
            report.stopped[source.name] = str(error)
        except NotFetched as error:
            report.failed.append(f"{source.name} {work.source_id}: {error}")
        else:
            if name:
                report.new[source.name] += 1
                yield name
            if len(into.pictures) >= limit:
                return


class _Folder:
    """The folder that is filled, and its manifest: a line of JSON for each work, written when the work is settled.

    That is when its picture has its place, or when it is left out; what one query leaves out another may want.
    metadata.csv and CREDITS.md are made from the manifest at the end, however it comes. Who fills the folder has `lock`.
    """

    def __init__(self, folder: Path, query: str, dry_run: bool):
        self.folder, self.query, self.dry_run = folder, query, dry_run
        manifest = folder / MANIFEST
        self._settled: dict[tuple[str, str], dict[str, Any]] = {}
        try:
            if not dry_run:
                folder.mkdir(parents=True, exist_ok=True)
            foreign = (
                not manifest.exists() and folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir())
            )
            require(not foreign, f"cannot fetch into {folder}: it holds what was not fetched; name a new folder")
            if not dry_run:
                self.lock = manifest.open("ab")
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for line in manifest.read_bytes().splitlines() if manifest.exists() else ():
                with suppress(ValueError, KeyError, TypeError):  # a line that was cut short
                    entry = json.loads(line)
                    self._settled[entry["source"], entry["source_id"]] = entry
        except BlockingIOError as error:
            raise WorkbenchError(f"cannot fetch into {folder}: another call is filling it") from error
        except OSError as error:
            raise WorkbenchError(f"cannot fetch into {folder}: {error.strerror or error}") from error
        kept = (entry for entry in self._settled.values() if entry["outcome"] == "kept")
        self.pictures = {entry["file_name"]: entry for entry in kept if (folder / entry["file_name"]).is_file()}
        self._rows()  # before anything is fetched

    def _rows(self) -> dict[str, dict[str, str]]:
        """The rows of metadata.csv as it is now, by file. WorkbenchError for a row that would not come back as it is."""
        table = self.folder / METADATA
        rows = read_table(table) if table.exists() else []
        for line, row in rows:
            if None in row:
                fault = f"line {line} has more fields than columns; put quotes around a text with commas"
                raise WorkbenchError(f"{table} stays as it is: {fault}, and give the same command again")
        return {row["file_name"]: row for _, row in rows}

    def settled(self, source: Source) -> set[str]:
        """The ids of a source's works that need not be asked for again."""
        return {key for name, key in self._settled if name == source.name and self.is_settled(name, key)}

    def is_settled(self, source: str, source_id: str) -> bool:
        entry = self._settled.get((source, source_id))
        return entry is not None and (entry["outcome"] != "left out" or entry["query"] == self.query)

    def leave(self, source: Source, source_id: str, reason: str, report: Fetched) -> None:
        """Settle a work that is left out. One whose picture is here, by another query, keeps it."""
        report.left_out[source.name, reason] += 1
        if not self.is_settled(source.name, source_id):
            self._note(source.name, source_id, outcome="left out", reason=reason)

    def take(self, source: Source, work: MuseumWork, web: Web, report: Fetched) -> str:
        """Download the picture of `work`, check it, and give it its place: its name, or "" where it is left out."""
        part = self.folder / f".{source.name}-{_plain(work.source_id)}.part"
        try:
            with part.open("wb") as file:
                web.read(work.image_url, file, PICTURE)
                file.flush()
                os.fsync(file.fileno())
            image, reason = _decoded(part)
            if image is not None:
                return self._place(source, work, part, image, report)
            self.leave(source, work.source_id, reason, report)
            return ""
        except OSError as error:
            raise WorkbenchError(f"cannot write {part}: {error.strerror or error}; the same command goes on") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _place(self, source: Source, work: MuseumWork, part: Path, image: Image.Image, report: Fetched) -> str:
        """Give a picture its place, unless it is here already. Of two that are alike the larger stays."""
        with Image.open(part) as opened:
            suffix = _SUFFIXES.get(opened.format or "", f".{opened.format}".lower())
        name = f"{source.name}-{_plain(work.source_id)}-{_plain(work.title)[:60]}".rstrip("-") + suffix
        pixels, look, size = likeness.pixels(image), likeness.look(image), image.width * image.height
        entry = asdict(work) | {"outcome": "kept", "file_name": name, "collection": source.title, "sha256": sha256(part)}
        entry |= {"width": image.width, "height": image.height, "pixels": pixels, "look": f"{look:064x}"}
        smaller = []
        for other in self.pictures.values():
            apart = likeness.distance(look, int(other["look"], 16))
            same = "the same pixels" if pixels == other["pixels"] else f"alike, {apart} of 256 bits differ; the larger stays"
            if pixels == other["pixels"] or (apart <= likeness.NEAR and size <= other["width"] * other["height"]):
                report.duplicates.append(f"{name} is left out for {other['file_name']}: {same}")
                self._note(source.name, work.source_id, outcome="duplicate", reason=f"of {other['file_name']}")
                return ""
            if apart <= likeness.NEAR:
                report.duplicates.append(f"{other['file_name']} is removed for {name}: {same}")
                smaller.append(other)
                edited = self._rows().get(other["file_name"], {})
                entry |= {column: edited[column] for column in ("genre", "series") if edited.get(column)}
        part.replace(self.folder / name)
        self.pictures[name] = self._note(source.name, **entry)
        for other in smaller:
            old = other["file_name"]
            self._note(other["source"], other["source_id"], outcome="duplicate", reason=f"of {name}", file_name=old)
            self.pictures.pop(old)
            (self.folder / old).unlink(missing_ok=True)
        return name

    def _note(self, source: str, source_id: str, **said: Any) -> dict[str, Any]:
        """Settle a work. The line begins with an end of line, for the last one may have been cut short."""
        entry = {"source": source, "source_id": source_id, "query": self.query} | said
        if not self.dry_run:
            try:
                with (self.folder / MANIFEST).open("a", encoding="utf-8") as file:
                    file.write("\n" + json.dumps(entry))
            except OSError as error:
                raise WorkbenchError(f"cannot write {self.folder / MANIFEST}: {error.strerror or error}") from error
            self._settled[source, source_id] = entry
        return entry

    def describe(self) -> None:
        """Write CREDITS.md and metadata.csv. A row that metadata.csv has by now stays as it is."""
        credits = (_credit(self.pictures[name]) for name in sorted(self.pictures))
        write_text(self.folder / CREDITS, "\n".join(["# Credits", "", *credits, ""]))
        edited = self._rows()  # somebody may have edited it meanwhile
        rows = {name: {column: str(entry.get(column, "")) for column in COLUMNS} for name, entry in self.pictures.items()}
        fetched = {entry.get("file_name") for entry in self._settled.values()}
        rows |= {name: row for name, row in edited.items() if name in rows or name not in fetched}
        columns = dict.fromkeys([*COLUMNS, *(column for row in rows.values() for column in row)])
        write_text(self.folder / METADATA, csv_text(columns, (rows[name] for name in sorted(rows))))


def _decoded(path: Path) -> tuple[Image.Image | None, str]:
    """The picture in a file, or why it is not taken."""
    try:
        image = images.read(path).image
    except WorkbenchError as error:
        return None, str(error).removeprefix(str(images.unreadable(path, "")))
    return (image, "") if max(image.size) >= SMALLEST else (None, f"smaller than {SMALLEST} px")


def _credit(entry: dict[str, Any]) -> str:
    """One work as a list item of Markdown: what it is, where it comes from, and under which licence."""
    work = ", ".join(filter(None, (entry["artist"], f"*{entry['title'] or 'untitled'}*", entry["year"])))
    licence = f"[{entry['licence']}]({entry['licence_url']})" if entry["licence_url"] else entry["licence"]
    by = f" Attribution: {entry['attribution']}." if entry["attribution"] else ""
    return f"- {entry['file_name']}: {work}. {entry['collection']}, <{entry['source_url']}>. {licence}.{by}"


def _plain(text: str) -> str:
    """A part of a file name: ASCII letters and digits, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9]+", plain.casefold()))
