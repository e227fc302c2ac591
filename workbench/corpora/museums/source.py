"""What a museum's record comes to: a work that may be fetched, or the reason why it is left out."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from workbench.corpora.museums.web import Web

CC0 = {"licence": "CC0 1.0", "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/"}
# Subjects as museums tag them, the most telling first; the genre is the same with a hyphen.
_GENRES = ("self-portrait", "portrait", "still life", "seascape", "cityscape", "landscape", "interior")


@dataclass(frozen=True)
class MuseumWork:
    """An open-access work: what its museum says of it. What the museum does not say is empty.

    source_id is unique in its source; kind, such as Painting, is the museum's word; source_url is the work's page; attribution
    is whom the licence asks to be named.
    """

    source_id: str
    artist: str
    title: str
    kind: str
    source_url: str
    image_url: str
    licence: str
    licence_url: str
    year: str = ""
    genre: str = ""
    series: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A record that is not to be fetched."""

    source_id: str
    reason: str


@dataclass(frozen=True)
class Source(ABC):
    """A museum's collection: where it is read, and how a record of it is understood.

    name: its short name; title: its full name; origins: scheme and host of every address that may be read; pause: seconds
    between two requests to one of them.
    """

    name: str
    title: str
    origins: tuple[str, ...]
    pause: float = 1.0

    @abstractmethod
    def works(self, artist: str, web: Web, settled: Container[str]) -> Iterator[MuseumWork | LeftOut]:
        """What the collection has by `artist`. Records whose id is in `settled` need not be asked for again."""


def same_artist(asked: str, given: str) -> bool:
    """Whether `given` is the artist `asked` for, whatever the case and the accents.

    "Vincent van Gogh (Dutch, 1853–1890)" is Vincent van Gogh, "Rembrandt (Rembrandt van Rijn)" either of both;
    "Workshop of Rembrandt van Rijn" is another.
    """
    names = [re.sub(r"\s*\([^()]*\)", "", given), *re.findall(r"\(([^()]*)\)", given)]
    return _folded(asked) in map(_folded, names)


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(sign for sign in plain if not unicodedata.combining(sign)).split())


def genre(subjects: Iterable[str]) -> str:
    """The genre that `subjects`, a museum's tags, name; empty when they name none."""
    words = " ".join(subjects).casefold()
    found = (subject.replace(" ", "-") for subject in _GENRES if re.search(rf"\b{subject}s?\b", words))
    return next(found, "")


def year(value: object) -> str:
    """A museum's earliest year as metadata.csv has it; empty for 0, which stands for unknown."""
    return str(value) if re.fullmatch(r"-?[1-9]\d*", str(value)) else ""
