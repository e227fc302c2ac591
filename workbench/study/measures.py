"""What is measured about every result of a study, and about the controls beside it: one row each, in a tidy table."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from torch import Tensor

from workbench import progress
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError
from workbench.metrics import sets, structure
from workbench.metrics.distances import content_distance
from workbench.metrics.judging import Judge, family
from workbench.metrics.leak import EVERY, LAYER, SCALES, Leak, Leaks
from workbench.metrics.plausibility import Marks, RegionColours
from workbench.metrics.typicality import Typicality
from workbench.study.design import WRONG, Cell, Study
from workbench.study.gate import Gate, gate, shared_with
from workbench.study.tables import read_table, write_table

VERSION = 1
"""Of what is measured: rows of another version are measured again."""
CONTENT, REAL, OTHER = "content", "real", "other artist"
"""Controls, beside the methods: the untouched content, unseen works of the artist, works of others."""
OTHERS_DRAWN = 24
"""Works of others, of one genre, that are measured."""

Row = dict[str, Any]


@dataclass
class Measures:
    """The measures of a study by one judge.

    judge: an encoder that should have no part in the pictures: `judged_by` names it where it has. others: artist -> works, as
    controls; marks: regions marked by hand. Works that are contents of the study are left out of the controls. Rows are kept
    in `file`, as CSV, and measured once.
    """

    study: Study
    judge: Encoder
    others: Mapping[str, Sequence[Work]] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)
    file: Path | None = None

    def __post_init__(self) -> None:
        self.others = {name: self._without_contents(works) for name, works in self.others.items()}
        self._known: dict[str, Row] = {}
        self._judges: dict[tuple[str, int], Judge] = {}
        self._leaks: dict[tuple[str, int], Leaks] = {}
        self._colours: dict[tuple[str, int], RegionColours] = {}

    def _without_contents(self, works: Sequence[Work]) -> list[Work]:
        """`works` without those that are contents of the study."""
        contents = {content.sha256 for content in self.study.contents.values()}
        return [work for work in works if work.sha256 not in contents]

    @cached_property
    def gate(self) -> Gate:
        """Whether the judge may judge, on the artists of the study, as its first seed splits them, and on `others`."""
        artists = {name: artist.corpus.works for name, artist in self.study.artists.items()}
        seed = self.study.seeds[0]
        return gate({name: self.judge_of(name, seed) for name in artists}, {**self.others, **artists})

    def judged_by(self, artist: str = "") -> str:
        """The judge's name, and what is to be known of it, for the title of every table and figure about `artist`."""
        shared = shared_with(self.judge, self.study.encoder, drafted=self.study.settings.draft == "auto")
        words = f"judged by {self.judge.name}" + (f", {shared}" if shared else "")
        return words + ("; it did not pass the gate" if artist and not self.gate.passed(artist) else "")

    def judge_of(self, artist: str, seed: int) -> Judge:
        """The judge in the units of an artist's bank."""
        key = (artist, seed)
        if key not in self._judges:
            self._judges[key] = Judge(self.judge, *self.study.splits[key], self.study.settings.size, show=self.study.show)
        return self._judges[key]

    def leak(self, cell: Cell, picture: Tensor) -> Leak:
        """The motif leak of `picture` (1, 3, H, W), the result of `cell`. UsageError for a judge without layers."""
        key = (cell.artist, cell.seed)
        if key not in self._leaks:
            corpus, held_out = self.study.artists[cell.artist].corpus, self.study.splits[key][1]
            self._leaks[key] = Leaks(self.judge, corpus.works, held_out.works, self.study.settings.size)
        content = self.study.contents[cell.content]
        return self._leaks[key].measure(picture, content.picture, self.study.target(cell), content.genre)

    def results(self) -> pd.DataFrame:
        """A row for every result, and for the controls of every artist and seed: those in `file` are taken from there.

        The file is written after every content; Ctrl-C loses no more than one.
        """
        if self.file and self.file.exists():
            self._known |= {row["key"]: row for row in read_table(self.file).to_dict("records") if row["key"]}
        rows: list[Row] = []
        begun: set[tuple[str, int]] = set()
        for cell in progress.track(self.study, total=len(self.study), label="measuring", show=self.study.show):
            if (cell.artist, cell.seed) not in begun:
                begun.add((cell.artist, cell.seed))
                rows.extend(self._controls(cell.artist, cell.seed))
            if cell.method == self.study.methods[0]:
                rows.append(self.row(cell, CONTENT, self.study.content_picture(cell)))
            rows.append(self.row(cell, cell.method, self.study.picture(cell)))
            if self.file and cell.method == self.study.methods[-1]:
                made = {row["key"] for row in rows}
                write_table(self.file, [*rows, *(row for key, row in self._known.items() if key not in made)])
        if self.file:
            write_table(self.file, rows)
        return pd.DataFrame(rows)

    def row(self, cell: Cell, method: str, picture: Tensor) -> Row:
        """What is measured about `picture` (1, 3, H, W), called `method`, beside the result of `cell`."""
        key = self._key(cell, method, picture)
        if key in self._known:
            return self._known[key]
        content, judge = self.study.contents[cell.content], self.judge_of(cell.artist, cell.seed)
        found = judge.typicality(judge.describe(picture), content.genre)
        row: Row = {
            **self._common(cell.artist, cell.seed, content.genre),
            "content": cell.content,
            "method": method,
            "alpha": self.study.settings_of(cell).alpha if method == cell.method else float("nan"),
            **_numbers(found),
            "detail": judge.detail(picture, content.genre),
            "lpips": _lpips(picture, content.picture),
        }
        if self.judge.style_layers:
            row |= self._layered(cell, method, picture)
        return {**row, "key": key}

    def _common(self, artist: str, seed: int, genre: str) -> Row:
        compared = self.judge_of(artist, seed).peers(genre)[1]
        made = {"artist": artist, "genre": genre, "seed": seed, "compared_with": compared}
        return {**made, "judge": self.judge.name, "driver": self.study.encoder.name}

    def _key(self, cell: Cell, method: str, picture: Tensor) -> str:
        """Of all that decides a row."""
        content = self.study.contents[cell.content]
        digest = hashlib.sha256(f"{VERSION}|{cell}|{method}|{self.judge.identity}|{content.genre}|{_has_lpips()}".encode())
        digest.update(repr((LAYER, SCALES, EVERY)).encode())
        for works in self.study.splits[cell.artist, cell.seed]:
            digest.update(repr([(work.sha256, work.genre, work.group) for work in works]).encode())
        digest.update(repr(sorted((name, sorted(found.items())) for name, found in self.marks.items())).encode())
        for image in (content.picture, picture):
            digest.update(image.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _layered(self, cell: Cell, method: str, picture: Tensor) -> Row:
        """What takes an encoder with layers: structure, leak, and the colours of regions."""
        content = self.study.contents[cell.content]
        row: Row = {
            "content_distance": content_distance(picture, content.picture, self.judge),
            "self_similarity": structure.self_similarity_distance(picture, content.picture, self.judge),
            "cfsd": structure.cfsd(picture, content.picture, self.judge),
        }
        if method not in (CONTENT, WRONG):
            leak = self.leak(cell, picture)
            row |= {"leak": leak.rate, "leak_p": leak.p, "sources": leak.sources}
        for kind, boxes in self.marks.get(content.name, {}).items():
            if found := self._colours_of(cell).typicality(picture, content.picture, boxes, kind, content.genre):
                own, usual = found
                row |= {f"{kind}_delta_e": own.raw, f"{kind}_excess": own.raw - usual, f"{kind}_percentile": own.percentile}
        return row

    def _colours_of(self, cell: Cell) -> RegionColours:
        key = (cell.artist, cell.seed)
        if key not in self._colours:
            self._colours[key] = RegionColours(self.study.splits[key][1], self.marks, self.judge, show=self.study.show)
        return self._colours[key]

    def _controls(self, artist: str, seed: int) -> Iterator[Row]:
        """Unseen works of the artist, and works of others of the same genre, as if they were results.

        Once for each set of works that contents are compared with. Where a content is compared with all genres, works of others
        are no control, because it is their genre that would tell them apart.
        """
        judge = self.judge_of(artist, seed)
        genres = [content.genre for content in self.study.contents.values()]
        for places, genre in {tuple(judge.peers(genre)[0]): genre for genre in reversed(genres)}.items():
            common = self._common(artist, seed, genre)
            for place, found in zip(places, judge.typicality_of_real(genre), strict=True):
                work = judge.held_out.works[place]
                detail = judge.detail(work.load(judge.size), genre)
                yield {**common, "content": work.name, "method": REAL, **_numbers(found), "detail": detail, "key": ""}
            drawn = self._drawn(artist, genre, seed) if common["compared_with"] == genre else []
            for work, point in zip(drawn, judge.of(drawn) if drawn else (), strict=True):
                name = f"{work.artist or work.path.parent.name}/{work.name}"
                yield {**common, "content": name, "method": OTHER, **_numbers(judge.typicality(point, genre)), "key": ""}

    def _drawn(self, artist: str, genre: str, seed: int) -> list[Work]:
        """Works of other artists, of the family of `genre`, in turn from each."""
        by_artist = [
            [work for work in works if work.genre in family(genre)] for name, works in self.others.items() if name != artist
        ]
        generator = np.random.default_rng(seed)
        shuffled = [[found[i] for i in generator.permutation(len(found))] for found in by_artist]
        turns = [work for turn in range(OTHERS_DRAWN) for found in shuffled for work in found[turn : turn + 1]]
        return turns[:OTHERS_DRAWN]

    def sets(self, photographs: Sequence[Work] = ()) -> pd.DataFrame:
        """A row for every artist, method and seed: its results as a set, against the works that no method saw.

        Tests permute within genres, so that it is style that counts, and contents of a genre without an unseen work are left
        out. A linear probe, for the deception rate, learns from half of `photographs`, series by series, from the works of the
        bank and from those of others; the other half is its floor; without photographs or others there is none. The control
        "real" is unseen works of the contents' genres, as many as there are, against the rest, series apart.
        """
        photographs = self._without_contents(photographs)
        rows = []
        for artist, seed in self.study.splits:
            judge = self.judge_of(artist, seed)
            of_works = [family(work.genre)[0] for work in judge.held_out]
            contents = [c for c in self.study.contents.values() if family(c.genre)[0] in of_works]
            shows = [family(content.genre)[0] for content in contents]
            keep = np.isin(of_works, shows)
            unseen, of_unseen, groups = judge.points[keep], np.array(of_works)[keep], judge.groups[keep]
            found = {CONTENT: [judge.describe(content.picture) for content in contents]}
            for method in self.study.methods:
                cells = [Cell(artist, content.name, method, seed) for content in contents]
                found[method] = [judge.describe(self.study.picture(cell)) for cell in cells]
            probed = self._probe(artist, seed, photographs)
            for method, points in found.items():
                if len(points) > 1:
                    rows.append(self._set_row(artist, seed, method, np.stack(points), shows, unseen, of_unseen, probed))
            drawn, rest = _as_many(shows, of_unseen, groups, seed)
            if len(drawn) > 1 and len(rest) > 1:
                split = unseen[drawn], list(of_unseen[drawn]), unseen[rest], of_unseen[rest]
                rows.append(self._set_row(artist, seed, REAL, *split, probed))
        return pd.DataFrame(rows)

    def _probe(self, artist: str, seed: int, photographs: Sequence[Work]) -> tuple[Pipeline, np.ndarray] | None:
        """A probe and the photographs it did not learn from, or None without photographs or others."""
        groups = sorted({work.group for work in photographs})
        others = {name: works for name, works in self.others.items() if name != artist and works}
        if len(groups) < 2 or not others:
            return None
        judge, bank = self.judge_of(artist, seed), self.study.splits[artist, seed][0]
        learnt = {groups[i] for i in np.random.default_rng(seed).permutation(len(groups))[::2]}
        seen = judge.of([work for work in photographs if work.group in learnt])
        works = {artist: judge.of(bank.works), **{name: judge.of(found) for name, found in others.items()}}
        return sets.probe(works, seen, seed=seed), judge.of([work for work in photographs if work.group not in learnt])

    def _set_row(
        self,
        artist: str,
        seed: int,
        method: str,
        points: np.ndarray,
        shows: Sequence[str],
        unseen: np.ndarray,
        of_unseen: np.ndarray,
        probed: tuple[Pipeline, np.ndarray] | None,
    ) -> Row:
        strata, judge = [*shows, *of_unseen], self.judge_of(artist, seed)
        kid = sets.discrepancy(points, unseen, strata=strata)
        mmd = sets.discrepancy(points, unseen, sets.gaussian(sets.median_width(unseen)), strata=strata)
        components = max(1, min(len(points), len(unseen)) // 10)
        row: Row = {
            "artist": artist,
            "method": method,
            "seed": seed,
            "judge": self.judge.name,
            "driver": self.study.encoder.name,
        }
        row |= {
            "results": len(points),
            "unseen": len(unseen),
            "kid": kid.value,
            "kid_p": kid.p,
            "mmd": mmd.value,
            "mmd_p": mmd.p,
        }
        row |= {"fid_components": components, "fid_pca": sets.frechet(points, unseen, components)}
        row["variety"], row["variety_p"] = sets.variety(points, unseen, strata=strata)
        if self.judge.name.startswith("clip:"):
            found = sets.cmmd(judge.unit(points), judge.unit(unseen), strata=strata)
            row |= {"cmmd": found.value, "cmmd_p": found.p}
        if probed is not None:
            rate = sets.deception(probed[0], artist, points, probed[1], unseen)
            row |= {"deception": rate.rate, "deception_low": rate.low, "deception_high": rate.high}
            row |= {"floor": rate.floor, "ceiling": rate.ceiling, "normalised": rate.normalised}
        return row


def _as_many(shows: Sequence[str], of_unseen: np.ndarray, groups: np.ndarray, seed: int) -> tuple[list[int], list[int]]:
    """(places of unseen works, one of another series for each of `shows`, as far as there are; places of what shares none)."""
    generator = np.random.default_rng(seed)
    drawn: list[int] = []
    for name in shows:
        free = [i for i in np.flatnonzero(of_unseen == name) if groups[i] not in groups[drawn]]
        if len(free) > 1:  # the last of a genre stays to be compared with
            drawn.append(int(generator.choice(free)))
    return drawn, [i for i in range(len(groups)) if groups[i] not in groups[drawn]]


def _numbers(found: Typicality) -> Row:
    return {"works": found.works, "distance": found.distance, "percentile": found.percentile, "p": found.p}


def _has_lpips() -> bool:
    try:
        structure.check_lpips()
    except WorkbenchError:
        return False
    return True


def _lpips(picture: Tensor, content: Tensor) -> float:
    """LPIPS, or NaN where what it needs is not there."""
    return structure.lpips(picture, content) if _has_lpips() else float("nan")
