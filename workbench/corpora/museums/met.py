"""The Metropolitan Museum of Art: its table of open-access works with links to images, else its Collection API.

The table, a part of https://huggingface.co/datasets/metmuseum/openaccess, takes one request for the whole collection. The
API, https://metmuseum.github.io, takes one for each object, and blocks who asks fast.
"""

import csv
import gzip
import io
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.corpora.museums.source import CC0, LeftOut, MuseumWork, Source, genre, same_artist, year
from workbench.corpora.museums.web import HostRefused, NotFetched, Web

_NEEDED = {"objectid", "ispublicdomain", "artistdisplayname", "title"}
_IMAGES = ("primaryimagesmall", "primaryimage")


@dataclass(frozen=True)
class Met(Source):
    name: str = "met"
    title: str = "The Metropolitan Museum of Art"
    origins: tuple[str, ...] = (
        "https://huggingface.co",
        "https://cdn-lfs.hf.co",
        "https://cdn-lfs-us-1.hf.co",
        "https://cas-bridge.xethub.hf.co",
        "https://collectionapi.metmuseum.org",
        "https://images.metmuseum.org",
    )
    table: str = "https://huggingface.co/datasets/metmuseum/openaccess/resolve/main/metadata_images.csv.gz"
    api: str = "https://collectionapi.metmuseum.org/public/collection/v1"

    def works(self, artist: str, web: Web, settled: Container[str]) -> Iterator[MuseumWork | LeftOut]:
        try:
            table = _rows(web.table(self.table, "met-metadata_images.csv.gz"))
            columns = set(next(table))
            if _NEEDED - columns or columns.isdisjoint(_IMAGES):
                raise NotFetched(f"{self.table} does not have the columns that it is documented to have")
            records: Iterator[dict[str, Any]] = (row for row in table if same_artist(artist, row["artistdisplayname"] or ""))
        except (NotFetched, HostRefused, OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            print(f"met: asking the API, work by work, because {error}", file=sys.stderr)
            records = self._ask(artist, web, settled)
        yield from (self._read(record, artist) for record in records)

    def _ask(self, artist: str, web: Web, settled: Container[str]) -> Iterator[dict[str, Any]]:
        found = web.json(f"{self.api}/search", {"artistOrCulture": "true", "hasImages": "true", "q": artist})
        for key in found["objectIDs"] or ():
            if str(key) not in settled:
                try:
                    yield _folded(web.json(f"{self.api}/objects/{key}", {}).items())
                except NotFetched as error:  # the search names objects that are gone
                    print(f"met: {error}", file=sys.stderr)

    def _read(self, record: Mapping[str, Any], artist: str) -> MuseumWork | LeftOut:
        """The licence: works of which Is Public Domain is true are CC0. The prefix is such as "Copy after"."""
        key, name = str(record["objectid"]), record.get("artistdisplayname") or ""
        image = next((record[column] for column in _IMAGES if record.get(column)), "")
        if not same_artist(artist, name):
            return LeftOut(key, f"by {name or 'nobody named'}")
        if prefix := (record.get("artistprefix") or "").strip():
            return LeftOut(key, f"by {prefix} {name}")
        if str(record.get("ispublicdomain")).casefold() != "true":
            return LeftOut(key, "licence: not in the public domain")
        if not image:
            return LeftOut(key, "no image")
        tags = record.get("tags") or ()
        return MuseumWork(
            source_id=key,
            artist=artist,
            title=record.get("title") or "",
            kind=record.get("classification") or record.get("objectname") or "",
            **CC0,
            source_url=record.get("linkresource") or record.get("objecturl") or "",
            image_url=image,
            year=year(record.get("objectbegindate")),
            genre=genre(tags.split("|") if isinstance(tags, str) else [tag.get("term") or "" for tag in tags]),
        )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The column names, each as a key, and then the rows of a table, compressed or not."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    with (
        gzip.open(path) if compressed else path.open("rb") as binary,
        io.TextIOWrapper(binary, "utf-8-sig", newline="") as text,
    ):
        reader = csv.DictReader(text)
        yield _folded((name, "") for name in reader.fieldnames or ())
        yield from (_folded(row.items()) for row in reader)


def _folded(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Keys as table and API share them: "Is Public Domain" and isPublicDomain are both ispublicdomain."""
    return {str(key).replace(" ", "").casefold(): value for key, value in items}
