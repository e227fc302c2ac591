"""Art Institute of Chicago: the public API, https://api.artic.edu/docs, and its IIIF image server."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from workbench.corpora.museums.source import CC0, LeftOut, MuseumWork, Source, genre, same_artist, year
from workbench.corpora.museums.web import Web

_FIELDS = "id,title,artist_title,artist_display,date_start,artwork_type_title,subject_titles,is_public_domain,image_id"
_PAGES = 100  # the API gives no more than 10 000 results of a search


@dataclass(frozen=True)
class Artic(Source):
    """Asked once a second at most, on one connection, as its documentation wants."""

    name: str = "artic"
    title: str = "Art Institute of Chicago"
    origins: tuple[str, ...] = ("https://api.artic.edu", "https://www.artic.edu")
    api: str = "https://api.artic.edu/api/v1/artworks/search"

    def works(self, artist: str, web: Web, settled: Container[str]) -> Iterator[MuseumWork | LeftOut]:
        query: dict[str, str | int] = {"q": artist, "query[term][is_public_domain]": "true", "fields": _FIELDS, "limit": 100}
        for number in range(1, _PAGES + 1):
            page = web.json(self.api, {**query, "page": number})
            yield from (self._read(record, artist, page["config"]["iiif_url"]) for record in page["data"])
            if number >= page["pagination"]["total_pages"]:
                return

    def _read(self, record: dict[str, Any], artist: str, images: str) -> MuseumWork | LeftOut:
        """The licence: works of which is_public_domain is true are CC0. The display name tells a copy after the artist."""
        key = str(record["id"])
        names = [record.get("artist_title") or "", *(record.get("artist_display") or "").split("\n")[:1]]
        if not all(same_artist(artist, name) for name in names):
            return LeftOut(key, f"by {names[-1] or 'nobody named'}")
        if record.get("is_public_domain") is not True:
            return LeftOut(key, "licence: not in the public domain")
        if not record.get("image_id"):
            return LeftOut(key, "no image")
        return MuseumWork(
            source_id=key,
            artist=artist,
            title=record.get("title") or "",
            kind=record.get("artwork_type_title") or "",
            **CC0,
            source_url=f"https://www.artic.edu/artworks/{key}",
            image_url=f"{images}/{record['image_id']}/full/843,/0/default.jpg",
            year=year(record.get("date_start")),
            genre=genre(record.get("subject_titles") or ()),
        )
