"""What is measured about every result of a study, and about the controls beside it: one row each, in a tidy table."""

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from workbench import progress, storage
from workbench.corpus import Work
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError
from workbench.metrics import sets, structure
from workbench.metrics.distances import content_distance
from workbench.metrics.judging import Judge, family, shared_with
from workbench.metrics.leak import Leak, Leaks
from workbench.metrics.plausibility import Marks, RegionColours
from workbench.metrics.typicality import Standing
from workbench.study.design import WRONG, Cell, Study

VERSION = 1
CONTENT, REAL, OTHER = "content", "real", "other artist"  # controls: untouched, unseen works, works of others
OTHERS_DRAWN = 24  # works of others, of one genre, that are measured

Row = dict[str, str | float]


@dataclass
class Measures:
    """The measures of a study by one judge.

    judge: an encoder that should have no part in the pictures: `judged_by` says so where it has. others: artist -> works, as
    controls; marks: regions marked by eye. Rows are kept in `table` and measured once.
    """

    study: Study
    judge: Encoder
    others: Mapping[str, Sequence[Work]] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)
    table: Path | None = None

    def __post_init__(self) -> None:
        self._known: dict[str, Row] = {}
        self._judges: dict[tuple[str, int], Judge] = {}
        self._leaks: dict[tuple[str, int], Leaks] = {}
        self._colours: dict[tuple[str, int], RegionColours] = {}

    @property
    def judged_by(self) -> str:
        """The judge's name, and what it had a part in, for the title of every table and figure."""
        shared = shared_with(self.judge, self.study.encoder, drafted=self.study.settings.draft == "auto")
        return f"judged by {self.judge.name}" + (f", {shared}" if shared else "")

    def judge_of(self, artist: str, seed: int) -> Judge:
        """The judge in the units of an artist's bank."""
        key = (artist, seed)
        if key not in self._judges:
            self._judges[key] = Judge(self.judge, *self.study.splits[key], self.study.settings.size, show=self.study.show)
        return self._judges[key]

    def leaks_of(self, artist: str, seed: int) -> Leaks:
        """What finds pieces of an artist's works."""
        key = (artist, seed)
        if key not in self._leaks:
            corpus, held_out = self.study.artists[artist].corpus, self.study.splits[key][1]
            self._leaks[key] = Leaks(self.judge, corpus.works, held_out.works, self.study.settings.size)
        return self._leaks[key]

    def leak(self, cell: Cell, picture: Tensor) -> Leak:
        """The motif leak of `picture` (1, 3, H, W), the result of `cell`."""
        leaks = self.leaks_of(cell.artist, cell.seed)
        content = self.study.contents[cell.content]
        return leaks.measure(picture, content.picture, self.study.target(cell), content.genre)

    def rows(self) -> list[Row]:
        """A row for every result, and for the controls of every artist and seed: those in `table` are taken from there."""
        if self.table and self.table.exists():
            self._known = {str(row["key"]): row for row in read_table(self.table)}
        rows: list[Row] = []
        for cell in progress.track(self.study, total=len(self.study), label="measuring", show=self.study.show):
            if not any(row["artist"] == cell.artist and row["seed"] == cell.seed for row in rows):
                rows.extend(self._controls(cell.artist, cell.seed))
                self._write(rows)
            if cell.method == self.study.methods[0]:
                rows.append(self.row(cell, CONTENT, self.study.content_picture(cell)))
            rows.append(self.row(cell, cell.method, self.study.picture(cell)))
        self._write(rows)
        return rows

    def _write(self, rows: list[Row]) -> None:
        if self.table:
            write_table(self.table, rows)

    def _key(self, cell: Cell, picture: Tensor) -> str:
        """Of all that decides a row."""
        bank, held_out = self.study.splits[cell.artist, cell.seed]
        digest = hashlib.sha256(f"{VERSION}|{cell}|{self.judge.identity}|{self.study.contents[cell.content].genre}".encode())
        digest.update(repr([work.sha256 for work in (*bank, *held_out)]).encode())
        digest.update(repr(sorted((name, sorted(found.items())) for name, found in self.marks.items())).encode())
        digest.update(picture.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def row(self, cell: Cell, method: str, picture: Tensor) -> Row:
        """What is measured about `picture` (1, 3, H, W), called `method`, beside the result of `cell`."""
        key = self._key(Cell(cell.artist, cell.content, method, cell.seed), picture)
        if key in self._known:
            return self._known[key]
        content, judge = self.study.contents[cell.content], self.judge_of(cell.artist, cell.seed)
        found = judge.standing(judge.describe(picture), content.genre)
        row: Row = {
            "artist": cell.artist,
            "content": cell.content,
            "genre": content.genre,
            "method": method,
            "seed": cell.seed,
            "judge": self.judge.name,
            "alpha": self.study.settings_of(cell).alpha if method != CONTENT else float("nan"),
            "compared_with": judge.peers(content.genre)[1],
            "works": found.works,
            "distance": found.distance,
            "percentile": found.percentile,
            "p": found.p,
            "detail": judge.detail(picture, content.genre),
            "lpips": _lpips(picture, content.picture),
        }
        if self.judge.style_layers:
            row |= self._layered(cell, method, picture)
        return {**row, "key": key}

    def _layered(self, cell: Cell, method: str, picture: Tensor) -> Row:
        """What takes an encoder with layers: structure, leak, and the colours of regions."""
        content = self.study.contents[cell.content]
        row: Row = {
            "content_distance": content_distance(picture, content.picture, self.judge),
            "self_similarity": structure.self_similarity_distance(picture, content.picture, self.judge),
            "cfsd": structure.cfsd(picture, content.picture, self.judge),
            "leak": float("nan"),
            "sources": float("nan"),
        }
        if method not in (CONTENT, WRONG):
            leak = self.leak(cell, picture)
            row |= {"leak": leak.rate, "sources": leak.sources}
        for kind in self._kinds():
            boxes = self.marks.get(content.name, {}).get(kind, [])
            found = self._colours_of(cell).standing([picture], content.picture, boxes, kind, content.genre) if boxes else []
            for name, value in zip(("delta_e", "distance", "percentile"), _parts(found), strict=True):
                row[f"{kind}_{name}"] = value
        return row

    def sets(self, photographs: Sequence[Work] = ()) -> list[Row]:
        """A row for every artist, method and seed: its results as a set, against the works that no method saw.

        photographs: half of them, with the works of the bank and those of others, are what a linear probe learns from, for the
        deception rate, and the other half its floor; without them, or without others, there is none. The control "real" is a
        draw of as many unseen works as there are contents, against the rest.
        """
        rows = []
        for (artist, seed), (bank, _) in self.study.splits.items():
            judge = self.judge_of(artist, seed)
            found = {CONTENT: [], **{method: [] for method in self.study.methods}}
            for name, content in self.study.contents.items():
                found[CONTENT].append(judge.describe(content.picture))
                for method in self.study.methods:
                    found[method].append(judge.describe(self.study.picture(Cell(artist, name, method, seed))))
            order = np.random.default_rng(seed).permutation(len(judge.points))
            count = min(len(self.study.contents), len(judge.points) // 2)
            probe = None
            if photographs and self.others:
                seen = {name: judge.of(works) for name, works in self.others.items() if name != artist}
                pictures = judge.of(photographs)
                probe = sets.probe({artist: judge.of(bank.works), **seen}, pictures[::2], seed=seed)
            for method, points in {**found, REAL: list(judge.points[order[:count]])}.items():
                unseen = judge.points[order[count:]] if method == REAL else judge.points
                row: Row = {"artist": artist, "method": method, "seed": seed, "judge": self.judge.name, "results": len(points)}
                row |= _against(np.stack(points), unseen)
                if self.judge.name.startswith("clip:"):
                    found_cmmd = sets.cmmd(*(judge.unit(np.asarray(x)) for x in (points, unseen)), seed=seed)
                    row |= {"cmmd": found_cmmd.value, "cmmd_p": found_cmmd.p}
                if probe is not None:
                    rate = sets.deception(probe, artist, np.stack(points), pictures[1::2], unseen)
                    row |= {"deception": rate.rate, "deception_low": rate.low, "deception_high": rate.high}
                    row |= {"floor": rate.floor, "ceiling": rate.ceiling, "normalised": rate.normalised}
                rows.append(row)
        return rows

    def _kinds(self) -> list[str]:
        """Kinds of regions that some content is marked with."""
        return sorted({kind for name in self.study.contents for kind in self.marks.get(name, {})})

    def _colours_of(self, cell: Cell) -> RegionColours:
        key = (cell.artist, cell.seed)
        if key not in self._colours:
            self._colours[key] = RegionColours(self.study.splits[key][1], self.marks, self.judge, show=self.study.show)
        return self._colours[key]

    def _controls(self, artist: str, seed: int) -> Iterator[Row]:
        """For every genre of the contents: unseen works of the artist, and works of others, as if they were results."""
        judge = self.judge_of(artist, seed)
        for genre in dict.fromkeys(content.genre for content in self.study.contents.values()):
            places, compared = judge.peers(genre)
            common = {"artist": artist, "genre": genre, "seed": seed, "judge": self.judge.name, "compared_with": compared}
            for place, found in zip(places, judge.standing_of_real(genre), strict=True):
                work = judge.held_out.works[place]
                yield _control(common, REAL, work.name, found)
            drawn = self._drawn(artist, genre, seed)
            for work, point in zip(drawn, judge.of(drawn) if drawn else (), strict=True):
                yield _control(
                    common, OTHER, f"{work.artist or work.path.parent.name}/{work.name}", judge.standing(point, genre)
                )

    def _drawn(self, artist: str, genre: str, seed: int) -> list[Work]:
        """Works of other artists, of the family of `genre`, in turn from each."""
        by_artist = [
            [work for work in works if work.genre in family(genre)] for name, works in self.others.items() if name != artist
        ]
        generator = np.random.default_rng(seed)
        shuffled = [[found[i] for i in generator.permutation(len(found))] for found in by_artist]
        turns = [work for turn in range(OTHERS_DRAWN) for found in shuffled for work in found[turn : turn + 1]]
        return turns[:OTHERS_DRAWN]


def _against(points: np.ndarray, unseen: np.ndarray) -> Row:
    """Set-level measures of results `points` (m, D) against works `unseen` (n, D)."""
    if len(points) < 2:
        return {}
    kid = sets.discrepancy(points, unseen)
    mmd = sets.discrepancy(points, unseen, sets.gaussian(sets.median_width(unseen)))
    components = max(1, min(len(points), len(unseen)) // 10)
    row: Row = {"kid": kid.value, "kid_p": kid.p, "mmd": mmd.value, "mmd_p": mmd.p}
    row |= {"fid_components": components, "fid_pca": sets.frechet(points, unseen, components)}
    if len(unseen) >= len(points):
        row["variety"], row["variety_p"] = sets.variety(points, unseen)
    return row


def _control(common: Row, method: str, name: str, found: Standing) -> Row:
    standing = {"works": found.works, "distance": found.distance, "percentile": found.percentile, "p": found.p}
    return {**common, "content": name, "method": method, **standing, "key": ""}


def _parts(found: Sequence[Standing]) -> tuple[float, float, float]:
    """(raw, distance, percentile) of a standing, or NaN where there is none."""
    return (found[0].raw, found[0].distance, found[0].percentile) if found else (float("nan"),) * 3


def _lpips(picture: Tensor, content: Tensor) -> float:
    """LPIPS, or NaN where what it needs is not there."""
    try:
        return structure.lpips(picture, content)
    except WorkbenchError:
        return float("nan")


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write `rows` as CSV, atomically; numbers to six digits, and nothing where there is no number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    storage.write_text(path, text.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def read_table(path: Path) -> list[Row]:
    """The rows of a table that `write_table` wrote: numbers as float, seeds as int, NaN where there is none."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


TEXT = ("artist", "content", "genre", "method", "judge", "compared_with", "key")


def _value(name: str, text: str) -> str | float:
    if name in TEXT:
        return text
    if name == "seed":
        return int(text)
    return float(text) if text else float("nan")
