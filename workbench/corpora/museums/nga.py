"""National Gallery of Art, Washington: its Open Data tables (https://github.com/NationalGalleryOfArt/opendata), and IIIF."""

import csv
from collections.abc import Container, Iterator
from dataclasses import dataclass

from workbench.corpora.museums.source import CC0, LeftOut, MuseumWork, Source, same_artist, year
from workbench.corpora.museums.web import Web


@dataclass(frozen=True)
class NGA(Source):
    """Two tables of the whole collection instead of a search: objects, and their published images."""

    name: str = "nga"
    title: str = "National Gallery of Art, Washington"
    origins: tuple[str, ...] = ("https://raw.githubusercontent.com", "https://api.nga.gov")
    data: str = "https://raw.githubusercontent.com/NationalGalleryOfArt/opendata/main/data"

    def works(self, artist: str, web: Web, settled: Container[str]) -> Iterator[MuseumWork | LeftOut]:
        rows = {row["objectid"]: row for row in self._table(web, "objects") if same_artist(artist, row["attribution"])}
        views: dict[str, dict[str, str]] = {}
        for view in self._table(web, "published_images"):
            if view["depictstmsobjectid"] in rows and view["viewtype"] == "primary":
                views.setdefault(view["depictstmsobjectid"], view)
        yield from (self._read(row, views.get(key), artist) for key, row in rows.items())

    def _table(self, web: Web, name: str) -> Iterator[dict[str, str]]:
        path = web.table(f"{self.data}/{name}.csv", f"nga-{name}.csv")
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)

    def _read(self, row: dict[str, str], view: dict[str, str] | None, artist: str) -> MuseumWork | LeftOut:
        """The licence: images whose openaccess is 1 are CC0."""
        if view is None:
            return LeftOut(row["objectid"], "no image")
        if view["openaccess"] != "1":
            return LeftOut(row["objectid"], "licence: the image is not open access")
        return MuseumWork(
            source_id=row["objectid"],
            artist=artist,
            title=row["title"],
            kind=row["classification"],
            **CC0,
            source_url=f"https://www.nga.gov/collection/art-object-page.{row['objectid']}.html",
            image_url=f"{view['iiifurl']}/full/!1024,1024/0/default.jpg",
            year=year(row["beginyear"]),
            series=row["series"] or "",
        )
