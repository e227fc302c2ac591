"""Cleveland Museum of Art: the Open Access API, https://openaccess-api.clevelandart.org."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from workbench.corpora.museums.source import CC0, LeftOut, MuseumWork, Source, same_artist, year
from workbench.corpora.museums.web import Web


@dataclass(frozen=True)
class Cleveland(Source):
    name: str = "cleveland"
    title: str = "The Cleveland Museum of Art"
    origins: tuple[str, ...] = ("https://openaccess-api.clevelandart.org", "https://openaccess-cdn.clevelandart.org")
    api: str = "https://openaccess-api.clevelandart.org/api/artworks"

    def works(self, artist: str, web: Web, settled: Container[str]) -> Iterator[MuseumWork | LeftOut]:
        seen, total = 0, 1
        while seen < total:
            page = web.json(self.api, {"artists": artist, "has_image": 1, "limit": 100, "skip": seen})
            yield from (self._read(record, artist) for record in page["data"])
            seen += len(page["data"])
            total = page["info"]["total"] if page["data"] else 0

    def _read(self, record: dict[str, Any], artist: str) -> MuseumWork | LeftOut:
        """The licence is the work's share_license_status: CC0, or Copyrighted."""
        key = str(record["id"])
        creators = [creator.get("description") or "" for creator in record.get("creators") or []]
        image = ((record.get("images") or {}).get("web") or {}).get("url")
        if not any(same_artist(artist, creator) for creator in creators):
            return LeftOut(key, f"by {'; '.join(creators) or 'nobody named'}")
        if record.get("share_license_status") != "CC0":
            return LeftOut(key, f"licence {record.get('share_license_status')!r}")
        if not image:
            return LeftOut(key, "no image")
        return MuseumWork(
            source_id=key,
            artist=artist,
            title=record.get("title") or "",
            kind=record.get("type") or "",
            **CC0,
            source_url=record.get("url") or "",
            image_url=image,
            year=year(record.get("creation_date_earliest")),
        )
