"""Wikimedia Commons: the files of the category "Paintings by ARTIST", by the MediaWiki Action API.

Files in categories below that one are not read.
"""

import html
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from workbench.corpora.museums.source import LeftOut, MuseumWork, Source
from workbench.corpora.museums.web import Web

WIDTH = 1280
"""Pixels. Commons serves thumbnails in some widths only, and originals are not to be taken in numbers."""
_OPEN = re.compile(r"public domain|cc0( 1\.0)?|cc by(-sa)? \d\.\d( [a-z]{2,3})?", re.IGNORECASE)
_PICTURES = ("image/jpeg", "image/png", "image/tiff", "image/webp")


@dataclass(frozen=True)
class Commons(Source):
    name: str = "commons"
    title: str = "Wikimedia Commons"
    origins: tuple[str, ...] = ("https://commons.wikimedia.org", "https://upload.wikimedia.org")
    api: str = "https://commons.wikimedia.org/w/api.php"

    def works(self, artist: str, web: Web, settled: Container[str]) -> Iterator[MuseumWork | LeftOut]:
        query: dict[str, str | int] = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "generator": "categorymembers",
            "gcmtitle": f"Category:Paintings by {artist}",
            "gcmtype": "file",
            "gcmlimit": 50,
            "prop": "imageinfo",
            "iiprop": "url|size|mime|extmetadata",
            "iiurlwidth": WIDTH,
        }
        following: dict[str, str] | None = {}
        while following is not None:
            page = web.json(self.api, {**query, **following})
            yield from (self._read(file, artist) for file in page.get("query", {}).get("pages", []) if file.get("imageinfo"))
            following = page.get("continue")

    def _read(self, file: dict[str, Any], artist: str) -> MuseumWork | LeftOut:
        """The licence is the file's LicenseShortName: public domain, CC0, CC BY or CC BY-SA."""
        key, info = str(file["pageid"]), file["imageinfo"][0]
        said = {name: _text(entry.get("value")) for name, entry in (info.get("extmetadata") or {}).items()}
        licence = said.get("LicenseShortName", "")
        if not _OPEN.fullmatch(licence):
            return LeftOut(key, f"licence {licence!r}")
        if info.get("mime") not in _PICTURES:
            return LeftOut(key, f"a file of type {info.get('mime')}")
        dated = re.search(r"\b1\d{3}\b", said.get("DateTimeOriginal", ""))
        return MuseumWork(
            source_id=key,
            artist=artist,
            title=said.get("ObjectName") or re.sub(r"^File:|\.\w+$", "", file["title"]),
            kind="Painting",
            licence=licence,
            licence_url=said.get("LicenseUrl", ""),
            source_url=info.get("descriptionurl") or "",
            image_url=info.get("thumburl") or info["url"],
            year=dated[0] if dated else "",
            attribution=said.get("Attribution") or said.get("Artist", ""),
        )


def _text(value: object) -> str:
    """What Commons gives as HTML, without its tags, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", str(value or ""))).split())
