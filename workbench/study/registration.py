"""What a study fixes before anything is painted: its design, endpoints, contrasts, exclusions and power, in one JSON file."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from workbench import encoders, inputs, storage
from workbench.corpora import Corpus, Work, ingest
from workbench.errors import UsageError, WorkbenchError, require
from workbench.metrics.judging import MIN_GROUPS
from workbench.study.design import ALPHAS, DRAWS, HELD_OUT, Artist, Content, Study
from workbench.study.intervals import least_p, smallest_effect
from workbench.study.ways import RANDOM, RANDOM_BLEND
from workbench.transfer import Settings

FORMAT = 1
"""Of the file: raised whenever the same file would be read as another study."""
LEVEL, POWER = 0.05, 0.8
"""Level of the one family of tests, and the chance to find what is called visible."""
ENDPOINTS: Mapping[str, str] = {
    "depth": "2 min(place, 1 - place), where place is the share of the artist's unseen works of the content's genre whose "
    "log-odds are lower, by linear probes trained neither on these nor on anything that a method saw",
    "leak": "share of places where one source stands out by a margin, less that of works which copied nothing",
}
"""Columns of the table of results that are tested, and what they are."""
PAIRS = (("blend", RANDOM), ("blend", RANDOM_BLEND))
"""Methods that are compared where nothing else is asked for: with a random painting, and with averaging without retrieval."""
EXCLUSIONS = (
    "Contents are photographs: a file that is among the works of an artist is refused.",
    f"A content of whose genre fewer than {MIN_GROUPS} series or lone works of the artist are unseen has no depth.",
    "Of every content and seed, the content distance at which methods are compared is the middle, on a log scale, of the range "
    "that all methods of the contrasts reach with the content weights; where there is no such range, the median of theirs.",
    "The content distance is measured by the network that drives the transfers, for every judge.",
    "What a method does not reach is left out, and nothing is extrapolated.",
    "Draws and seeds are averaged; contents are the levels of intervals and tests.",
    "A judge that does not pass the gate for an artist decides no contrast of his; the table says so.",
    "Only the first judge is tested. All contrasts are one family for Holm's correction; everything else is exploration.",
    "What the test finds is claimed only where the other judges that passed the gate find differences of the same sign.",
    "The rule of the gate was fixed after it had been seen what the judges make of the artists' own works, and before any "
    "result of this study was painted.",
)
"""Rules that are fixed, word by word."""
_APART = ("pictures", "out", "marks", "registration", "measured")


@dataclass(frozen=True, kw_only=True)
class Design:
    """A study in plain values, as notebook 06 takes them.

    contents: photographs, files or samples; genres: of each, or () for what metadata.csv beside it says. corpora: folders of
    paintings, or sample painters; singles: the single painting of each; only: genre that each is studied in, "" for all.
    others: further corpora, as controls; photographs: folder of what nobody painted. methods: see `ways.Way`. contrasts:
    "FIRST - SECOND", () for PAIRS; confirmed: artists whose contrasts are tested, () for all, the rest being exploration.
    spread: "ENDPOINT=SD", what a pilot found for the differences of contents. For the rest see `Study`.
    """

    contents: Sequence[str]
    corpora: Sequence[str]
    methods: Sequence[str]
    genres: Sequence[str] = ()
    singles: Sequence[str] = ()
    only: Sequence[str] = ()
    others: Sequence[str] = ()
    photographs: str = ""
    contrasts: Sequence[str] = ()
    confirmed: Sequence[str] = ()
    spread: Sequence[str] = ()
    seeds: Sequence[int] = (0, 1)
    alphas: Sequence[float] = ALPHAS
    draws: int = DRAWS
    encoder: str = "embedded"
    retriever: str = encoders.RETRIEVER
    judges: Sequence[str] = ("random",)
    method: str = "gram"
    draft: Literal["auto", "none"] = "auto"
    size: int = 256
    steps: int = 50
    precision: encoders.Precision = "auto"

    @classmethod
    def read(cls, path: Path) -> "Design":
        """The design in a JSON file, such as the settings of notebook 06. UsageError for what is none."""
        try:
            given = storage.parse_json(storage.read_text(path))
            return cls(**{name: value for name, value in given.items() if name not in _APART})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{path} is no design of a study: {error}") from error

    @cached_property
    def artists(self) -> list[Artist]:
        """The artists, each with the works of the genres that he is studied in."""
        for name in ("singles", "only"):
            given = len(getattr(self, name))
            require(given in (0, len(self.corpora)), f"{name}: give one for each of {len(self.corpora)} corpora, not {given}")
        singles = self.singles or [inputs.striking_work(name) for name in self.corpora]
        only = [(genre,) if genre else () for genre in self.only] or [()] * len(self.corpora)
        return [Artist(inputs.corpus(name), one, genres) for name, one, genres in zip(self.corpora, singles, only, strict=True)]

    @cached_property
    def painted(self) -> dict[str, Sequence[Work]]:
        """artist -> works, of the corpora and of the others."""
        every = [*(artist.corpus for artist in self.artists), *map(inputs.corpus, self.others)]
        found = {corpus.name: corpus.works for corpus in every}
        require(len(found) == len(every), "two corpora have one name: rename a folder")
        return found

    @cached_property
    def shot(self) -> Sequence[Work]:
        """The photographs."""
        return inputs.corpus(self.photographs).works if self.photographs else ()

    @cached_property
    def shown(self) -> list[Content]:
        """The contents. UsageError for one that is a painting, by these artists or others."""
        require(len(self.genres) in (0, len(self.contents)), "genres: give one for each content, or none")
        paintings = {work.sha256: name for name, works in self.painted.items() for work in works}
        found = []
        for name, genre in zip(self.contents, self.genres or [""] * len(self.contents), strict=True):
            path = inputs.content_path(name)
            digest = inputs.source(name).sha256
            by = paintings.get(digest)
            require(by is None, f"content {name} is a painting by {by}: contents are photographs")
            found.append(Content(path.stem, genre or _genre_beside(path), inputs.content(name, sha256=digest), digest))
        return found

    def study(self, folder: Path | None = None, *, show: bool = False) -> Study:
        """The study, whose pictures are kept in `folder`. UsageError for what does not go together."""
        driver = encoders.load(self.encoder, precision=self.precision)
        settings = Settings(method=self.method, size=self.size, steps=self.steps, draft=self.draft, plateau=0)
        retriever = encoders.load(self.retriever, device=str(driver.device))
        return Study(
            self.shown,
            self.artists,
            self.methods,
            driver,
            settings,
            seeds=self.seeds,
            alphas=self.alphas,
            draws=self.draws,
            folder=folder,
            retriever=retriever,
            show=show,
        )


def _genre_beside(path: Path) -> str:
    """The genre of a photograph, as metadata.csv in its folder says; "" if nothing does."""
    if not (path.parent / "metadata.csv").is_file():
        return ""
    return next((work.genre for work in ingest(path.parent) if work.path.name == path.name), "")


@dataclass(frozen=True)
class Contrast:
    """The `endpoint` of the method `first`, less that of `second`, after one artist."""

    artist: str
    endpoint: str
    first: str
    second: str


@dataclass(frozen=True)
class Registration:
    """What was fixed; `sha256` of its file stands in every table of the study."""

    design: Mapping[str, Any]
    contrasts: tuple[Contrast, ...]
    power: Mapping[str, Any]
    endpoints: Mapping[str, str] = field(default_factory=lambda: dict(ENDPOINTS))
    exclusions: tuple[str, ...] = EXCLUSIONS

    @property
    def text(self) -> str:
        """The file: the same study always gives the same bytes."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the file. WorkbenchError where there is another registration: what was fixed is not replaced."""
        if path.is_file() and path.read_bytes() != self.text.encode():
            raise WorkbenchError(f"{path} holds another registration, which is not replaced: choose another name, or delete it")
        storage.write_text(path, self.text)

    @classmethod
    def load(cls, path: Path) -> "Registration":
        """The registration in a file. WorkbenchError for any other file, and for one that was changed by hand."""
        try:
            content = path.read_bytes()
            given = json.loads(content)
            require(given.pop("format") == FORMAT, f"{path} is of another format")
            given["contrasts"] = tuple(Contrast(**one) for one in given["contrasts"])
            found = cls(**{**given, "exclusions": tuple(given["exclusions"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise WorkbenchError(f"{path} is no registration of a study: {error}") from error
        if found.text.encode() != content:
            raise WorkbenchError(f"{path} is not as workbench study register wrote it")
        return found

    def check(self, study: Study, design: Design) -> None:
        """UsageError, naming the first difference, unless `study` is the one that was registered."""
        now = json.loads(json.dumps(described(study, design)))
        for name in sorted(now.keys() | self.design.keys()):
            if now.get(name) != self.design.get(name):
                raise UsageError(f"{name} differs from the registration {self.sha256[:12]}: what was registered is not changed")
        if tuple(self.contrasts) != contrasts_of(study, design):
            raise UsageError(f"contrasts differ from the registration {self.sha256[:12]}: what was registered is not changed")
        if self.exclusions != EXCLUSIONS or dict(self.endpoints) != ENDPOINTS:
            raise WorkbenchError(
                "the registration was made by another version of the study, with other endpoints or exclusions"
            )

    @property
    def compared(self) -> tuple[str, ...]:
        """The methods of the contrasts, which decide at which content distance all are compared."""
        return tuple(dict.fromkeys(name for one in self.contrasts for name in (one.first, one.second)))


def register(study: Study, design: Design) -> Registration:
    """What `study`, made of `design`, fixes. UsageError for contrasts that it cannot answer."""
    contrasts = contrasts_of(study, design)
    level = LEVEL / max(len(contrasts), 1)
    visible = {}
    for artist in dict.fromkeys(one.artist for one in contrasts):
        n = len(study.contents_of(artist))
        # A test by flips of signs gives no p below 2 / 2^n: with fewer contents the family cannot be tested at its level.
        effect = smallest_effect(1, n, alpha=level, power=POWER) if n > 1 and least_p(n) <= level else None
        visible[artist] = {"contents": n, "standard_deviations": None if effect is None else float(f"{effect:.4g}")}
        for endpoint, spread in _spreads(design.spread).items():
            visible[artist][endpoint] = None if effect is None else float(f"{effect * spread:.4g}")
    power = {"level": LEVEL, "power": POWER, "tests": len(contrasts), "visible": visible}
    return Registration(json.loads(json.dumps(described(study, design))), contrasts, power)


def contrasts_of(study: Study, design: Design) -> tuple[Contrast, ...]:
    """Every endpoint and pair of methods for every confirmed artist. UsageError for methods that are not there."""
    pairs = [_pair(words) for words in design.contrasts]
    pairs = pairs or [pair for pair in PAIRS if set(pair) <= set(study.methods)]
    for name in {name for pair in pairs for name in pair}:
        require(name in study.methods, f"contrast with {name!r}, which is no method of the study: {', '.join(study.methods)}")
    artists = list(design.confirmed) or list(study.artists)
    for artist in artists:
        require(artist in study.artists, f"confirmed artist {artist!r}: choose {', '.join(study.artists)}")
    return tuple(Contrast(artist, endpoint, *pair) for artist in artists for endpoint in ENDPOINTS for pair in pairs)


def _pair(words: str) -> tuple[str, str]:
    first, _, second = (part.strip() for part in words.partition(" - "))
    require(bool(first and second) and first != second, f"contrast {words!r}: write FIRST - SECOND, two methods")
    return first, second


def _spreads(given: Iterable[str]) -> dict[str, float]:
    found = {}
    for words in given:
        name, _, value = words.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = -1.0
        require(name in ENDPOINTS and found[name] > 0, f"spread {words!r}: write ENDPOINT=SD, of {' or '.join(ENDPOINTS)}")
    return found


def described(study: Study, design: Design) -> dict[str, Any]:
    """Everything that decides what a study paints and how it is judged, without the folders of this machine."""
    return {
        "artists": {
            name: {
                "single": artist.single,
                "genres": list(artist.genres),
                "works": len(artist.corpus),
                "sha256": _of(artist.corpus),
            }
            for name, artist in study.artists.items()
        },
        "contents": {name: {"genre": one.genre, "sha256": one.sha256} for name, one in study.contents.items()},
        "others": {name: _of(works) for name, works in design.painted.items() if name not in study.artists},
        "photographs": _of(design.shot),
        "methods": list(study.methods),
        "seeds": list(study.seeds),
        "held_out": HELD_OUT,
        "alphas": list(study.alphas),
        "draws": study.draws,
        "encoder": {"name": study.encoder.name, "precision": study.encoder.precision, "sha256": study.encoder.weights_sha256},
        "retriever": {"name": study.retriever.name, "sha256": study.retriever.weights_sha256},
        "judges": list(design.judges),
        "settings": {
            f.name: getattr(study.settings, f.name) for f in fields(study.settings) if f.name not in ("alpha", "seed")
        },
    }


def _of(works: Corpus | Sequence[Work]) -> str:
    """SHA-256 of what is known of works: their files, genres and series."""
    lines = sorted(f"{work.sha256}\0{work.genre}\0{work.series}\n" for work in works)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
