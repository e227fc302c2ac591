"""What is measured about every result of a study, and about the controls beside it: one row each, in a tidy table."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from workbench import progress
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.encoders.remembering import Remembering
from workbench.errors import WorkbenchError
from workbench.metrics import sets, structure
from workbench.metrics.distances import content_distance
from workbench.metrics.judging import NO_PEERS, Judge, family
from workbench.metrics.leak import CHANCE, EVERY, LAYER, SCALES
from workbench.metrics.log_odds import FOLDS, LAYERS, PENALTY, ArtistOdds, depth
from workbench.metrics.margin_leak import MarginLeak, MarginLeaks, Standing
from workbench.metrics.plausibility import Marks, RegionColours
from workbench.metrics.typicality import Typicality
from workbench.study.design import Cell, Study
from workbench.study.gate import Gate, gate, shared_with
from workbench.study.tables import read_table, write_table

VERSION = 4
"""Of what is measured: rows of another version are measured again."""
CONTENT, REAL, OTHER = "content", "real", "other artist"
"""Controls, beside the methods: the untouched content, unseen works of the artist, works of others."""
OTHERS_DRAWN = 24
"""Works of others, of one genre, that are measured."""
LEAST_PROBED = 3
"""Series or lone works of either class, below which no probe is trained."""
AVERAGED = (1, 5, 20)
"""How many works are averaged to show what a measure makes of averages."""
NEIGHBOURS = 5
"""k of density and coverage, at most; of few unseen works a quarter, so that their balls do not hold them all."""

Row = dict[str, Any]


@dataclass
class Measures:
    """The measures of a study by one judge.

    Closeness is measured by log-odds of the artist, in a three-way split: methods see the bank, and of the works that they do
    not see, those of four folds train a probe by which those of the fifth are the reference, each fold in its turn. Distance
    and percentile are for what comes from one painting alone, because averages of anything would score well (see `typicality`).

    The distance to the content is that of the network that drove, for every judge: it is what a content weight weighs, and
    pictures that are compared at one distance are then the same for all judges.

    judge: an encoder that should have no part in the pictures: `judged_by` names it where it has. others: artist -> works, as
    controls; photographs: what nobody painted, for the probe; marks: regions marked by hand. Works that are contents of the
    study are left out of the controls. registration: SHA-256 of what was registered, which stands in every table. Rows are kept
    in `file`, as CSV, and measured once; those of `earlier`, another such table, possibly compressed, are taken over. A row is
    known by what decides its picture, so that what is measured is not painted again.
    """

    study: Study
    judge: Encoder
    others: Mapping[str, Sequence[Work]] = field(default_factory=dict)
    photographs: Sequence[Work] = ()
    marks: Marks = field(default_factory=dict)
    registration: str = ""
    file: Path | None = None
    earlier: Path | None = None

    def __post_init__(self) -> None:
        self.judge = self.judge if isinstance(self.judge, Remembering) else Remembering(self.judge)
        self.others = {name: self._without_contents(works) for name, works in self.others.items()}
        self.photographs = self._without_contents(self.photographs)
        self._known = _rows(self.earlier)
        self._judges: dict[tuple[str, int], Judge] = {}
        self._odds: dict[tuple[str, int], ArtistOdds | None] = {}
        self._leaks: dict[str, MarginLeaks] = {}
        self._standings: dict[tuple[str, str], Standing] = {}
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
        odds = {name: found for name in artists if (found := self.odds_of(name, seed))}
        return gate({name: self.judge_of(name, seed) for name in artists}, {**self.others, **artists}, odds)

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

    def odds_of(self, artist: str, seed: int) -> ArtistOdds | None:
        """Log-odds by the works that no method sees; None for a judge without layers, and where there are too few works."""
        key = (artist, seed)
        if key not in self._odds:
            held_out = self.study.splits[key][1].works
            others = [work for name, works in self.others.items() if name != artist for work in works] + list(self.photographs)
            fewest = min(len({work.group for work in works}) for works in (held_out, others))
            layered = len(self.judge.style_layers) >= LAYERS
            size, folds = self.study.settings.size, min(FOLDS, fewest)
            enough = layered and fewest >= LEAST_PROBED
            self._odds[key] = ArtistOdds(self.judge, held_out, others, size=size, folds=folds) if enough else None
        return self._odds[key]

    def leak(self, cell: Cell, picture: Tensor) -> MarginLeak:
        """The motif leak of `picture` (1, 3, H, W), the result of `cell`. UsageError for a judge without layers."""
        found = self._leaks_of(cell.artist)
        return found.rated(found.standing(picture), self.study.sources(cell), self._standing_of_content(cell))

    def _leaks_of(self, artist: str) -> MarginLeaks:
        if artist not in self._leaks:
            works = self.study.artists[artist].corpus.works
            self._leaks[artist] = MarginLeaks(self.judge, works, self.study.settings.size)
        return self._leaks[artist]

    def _standing_of_content(self, cell: Cell) -> Standing:
        key = (cell.artist, cell.content)
        if key not in self._standings:
            self._standings[key] = self._leaks_of(cell.artist).standing(self.study.content_picture(cell))
        return self._standings[key]

    def results(self) -> pd.DataFrame:
        """A row for every result, and for the controls of every artist and seed; from `earlier` and `file` where they have it.

        The file is written after every content; Ctrl-C loses no more than one.
        """
        self._known |= _rows(self.file)
        rows: list[Row] = []
        begun: set[tuple[str, ...]] = set()
        content = ""
        for cell in progress.track(self.study, total=len(self.study), label="measuring", show=self.study.show):
            if cell.content != content and rows:
                self._write(rows)
            content = cell.content
            if (cell.artist, f"{cell.seed}") not in begun:
                begun.add((cell.artist, f"{cell.seed}"))
                rows.extend(self._controls(cell.artist, cell.seed))
            if (cell.artist, f"{cell.seed}", content) not in begun:
                begun.add((cell.artist, f"{cell.seed}", content))
                rows.append(self.row(cell, CONTENT, self.study.content_picture(cell)))
            rows.append(self.of_result(cell))
        self._write(rows, done=True)
        return pd.DataFrame(self._registered(rows))

    def _write(self, rows: list[Row], *, done: bool = False) -> None:
        """Write `rows`, and those of an earlier run that are not among them yet, unless all is `done`."""
        if self.file:
            made = {row["key"] for row in rows}
            earlier = [] if done else [row for key, row in self._known.items() if key not in made]
            write_table(self.file, self._registered([*rows, *earlier]))

    def _registered(self, rows: Sequence[Row]) -> list[Row]:
        return [row | {"registration": self.registration} for row in rows]

    def knows(self, cell: Cell) -> bool:
        """Whether the result of `cell` was measured before."""
        return self._key_of_result(cell) in self._known

    def of_result(self, cell: Cell) -> Row:
        """The row of the result of `cell`, which is painted unless it was measured before."""
        key = self._key_of_result(cell)
        return self._known.get(key) or self.measured(cell, cell.method, self.study.picture(cell)) | {"key": key}

    def _key_of_result(self, cell: Cell) -> str:
        return self._key(cell, cell.method, self.study.begin(cell).fingerprint(), self.study.sources(cell))

    def row(self, cell: Cell, method: str, picture: Tensor) -> Row:
        """What is measured about `picture` (1, 3, H, W), called `method`, beside the result of `cell`.

        Where `method` is not that of the cell, it is one picture by itself, such as the untouched content, or a painter's own.
        """
        digest = hashlib.sha256(picture.cpu().numpy().tobytes()).hexdigest()
        key = self._key(cell, method, digest, self._sources(cell, method))
        return self._known.get(key) or self.measured(cell, method, picture) | {"key": key}

    def _sources(self, cell: Cell, method: str) -> Sequence[Work]:
        return () if method == CONTENT else self.study.sources(cell)

    def measured(self, cell: Cell, method: str, picture: Tensor) -> Row:
        """`row`, measured anew."""
        result, sources = method == cell.method, self._sources(cell, method)
        content, judge = self.study.contents[cell.content], self.judge_of(cell.artist, cell.seed)
        row: Row = {
            **self._common(cell.artist, cell.seed, content.genre),
            "content": cell.content,
            "method": method,
            "alpha": self.study.settings_of(cell).alpha if result else float("nan"),
            "level": cell.level if result else 0,
            "draw": cell.draw if result else 0,
            "detail": judge.detail(picture, content.genre),
            "lpips": _lpips(picture, content.picture),
            "content_distance": content_distance(picture, content.picture, self.study.encoder),
        }
        alone = not result or len(self.study.target(cell).works) == len(sources) == 1
        if alone:
            row |= _numbers(judge.typicality(judge.describe(picture), content.genre))
        if odds := self.odds_of(cell.artist, cell.seed):
            found = odds.of(picture, genre=content.genre)
            row |= {"odds": found.value, "place": found.place, "depth": found.depth, "odds_median": found.median}
            row |= {"odds_low": found.low, "odds_high": found.high, "reference": found.works}
        if self.judge.style_layers:
            row |= self._layered(cell, picture, sources, alone=alone)
        return row

    def _common(self, artist: str, seed: int, genre: str) -> Row:
        compared = self.judge_of(artist, seed).peers(genre)[1]
        made = {"artist": artist, "genre": genre, "seed": seed, "compared_with": compared}
        return {**made, "judge": self.judge.name, "driver": self.study.encoder.name}

    def _key(self, cell: Cell, method: str, picture: str, sources: Sequence[Work]) -> str:
        """Of all that decides a row. `picture`: the fingerprint of the run that makes it, or the hash of its pixels."""
        content = self.study.contents[cell.content]
        digest = hashlib.sha256(f"{VERSION}|{cell}|{method}|{self.judge.identity}|{content.genre}|{_has_lpips()}".encode())
        digest.update(f"{self.study.encoder.identity}".encode())
        digest.update(repr((LAYER, SCALES, EVERY, CHANCE, LAYERS, PENALTY, FOLDS, self.study.settings_of(cell))).encode())
        for works in (*self.study.splits[cell.artist, cell.seed], self.study.artists[cell.artist].corpus):
            digest.update(repr([(work.sha256, work.genre, work.group) for work in works]).encode())
        for works in (*(found for name, found in self.others.items() if name != cell.artist), self.photographs, sources):
            digest.update(repr([(work.sha256, work.genre, work.group) for work in works]).encode())
        digest.update(repr(sorted((name, sorted(found.items())) for name, found in self.marks.items())).encode())
        digest.update(picture.encode() + content.picture.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _layered(self, cell: Cell, picture: Tensor, sources: Sequence[Work], *, alone: bool) -> Row:
        """What takes an encoder with layers: structure, leak, and the colours of regions."""
        content = self.study.contents[cell.content]
        row: Row = {
            "self_similarity": structure.self_similarity_distance(picture, content.picture, self.judge),
        }
        if structure.CFSD_LAYER in self.judge.channels:
            row["cfsd"] = structure.cfsd(picture, content.picture, self.judge)
        if sources:
            row |= self._leaked(cell, picture, sources)
        for kind, boxes in self.marks.get(content.name, {}).items():
            if found := self._colours_of(cell).typicality(picture, content.picture, boxes, kind, content.genre):
                own, usual = found
                row |= {f"{kind}_delta_e": own.raw, f"{kind}_excess": own.raw - usual}
                row |= {f"{kind}_percentile": own.percentile} if alone else {}
        return row

    def _leaked(self, cell: Cell, picture: Tensor, sources: Sequence[Work]) -> Row:
        """Leaks beyond those expected by chance, and the same of what cannot have copied: about 0, however many sources.

        `leak_content`: of the untouched content, from the same sources. `leak_unrelated`: of the result, from as many unseen
        series or lone works. The third control is the rows of the wrong artist, rated against this artist's sources.
        """
        leaks, before = self._leaks_of(cell.artist), self._standing_of_content(cell)
        standing = leaks.standing(picture)
        found = leaks.rated(standing, sources, before)
        unseen = self.study.splits[cell.artist, cell.seed][1].works
        groups = sorted({work.group for work in unseen})
        drawn = [groups[i] for i in np.random.default_rng(cell.seed).permutation(len(groups))[: found.groups]]
        unrelated = leaks.rated(standing, [work for work in unseen if work.group in drawn], before)
        return {
            "leak": found.excess,
            "leak_rate": found.rate,
            "leak_expected": found.expected,
            "leak_p": found.p,
            "leak_content": leaks.rated(before, sources).excess,
            "leak_unrelated": unrelated.excess,
            "sources": found.groups,
        }

    def _colours_of(self, cell: Cell) -> RegionColours:
        key = (cell.artist, cell.seed)
        if key not in self._colours:
            self._colours[key] = RegionColours(self.study.splits[key][1], self.marks, self.judge, show=self.study.show)
        return self._colours[key]

    def _controls(self, artist: str, seed: int) -> Iterator[Row]:
        """Unseen works of the artist, and works of others of the same genre, as if they were results.

        Once for each set of works that contents are compared with; a genre with too few of these has no controls. The place of
        a work is that of its log-odds among those of the others, each by a probe that was trained on neither.
        """
        judge, odds = self.judge_of(artist, seed), self.odds_of(artist, seed)
        genres = [self.study.contents[name].genre for name in self.study.contents_of(artist)]
        scores = {} if odds is None else _scores(odds)
        for places, genre in {tuple(judge.peers(genre)[0]): genre for genre in reversed(genres)}.items():
            common = self._common(artist, seed, genre)
            if common["compared_with"] == NO_PEERS:
                continue
            works = [judge.held_out.works[place] for place in places]
            for work, found in zip(works, judge.typicality_of_real(genre), strict=True):
                row = {**common, "content": work.name, "method": REAL, **_numbers(found)}
                row |= _placed(scores, work, [other for other in works if other.group != work.group])
                yield {**row, "detail": judge.detail(work.load(judge.size), genre), "key": ""}
            drawn = self._drawn(artist, genre, seed) if common["compared_with"] == genre else []
            for work, point in zip(drawn, judge.of(drawn) if drawn else (), strict=True):
                name = f"{work.artist or work.path.parent.name}/{work.name}"
                row = {**common, "content": name, "method": OTHER, **_numbers(judge.typicality(point, genre))}
                yield {**row, **_placed(scores, work, works), "key": ""}

    def _drawn(self, artist: str, genre: str, seed: int) -> list[Work]:
        """Works of other artists, of the family of `genre`, in turn from each."""
        by_artist = [
            [work for work in works if work.genre in family(genre)] for name, works in self.others.items() if name != artist
        ]
        generator = np.random.default_rng(seed)
        shuffled = [[found[i] for i in generator.permutation(len(found))] for found in by_artist]
        turns = [work for turn in range(OTHERS_DRAWN) for found in shuffled for work in found[turn : turn + 1]]
        return turns[:OTHERS_DRAWN]

    def averages(self) -> pd.DataFrame:
        """What log-odds make of averages without any transfer: a row for every artist, seed, kind of works, and how many.

        The points of so many works are averaged ten times, and scored by the probes that were trained on none of them. `odds`
        and `place`: means; a linear score of a mean is the mean of the scores, so that they stay the same. There is no
        percentile by distance here, because that of a mean of anything would be near 1.
        """
        rows: list[Row] = []
        for artist, seed in self.study.splits:
            if (odds := self.odds_of(artist, seed)) is None:
                continue
            bank = odds.points(self.study.splits[artist, seed][0].works)
            rest = odds.points(odds.others)
            photographs = {work.sha256 for work in self.photographs}
            shot = np.array([work.sha256 in photographs for work in odds.others])
            generator = np.random.default_rng(seed)
            found: dict[tuple[str, int], list[tuple[float, float]]] = {}
            for held, model in odds.probe.probes()[1:]:
                out = held[len(odds.works) :]
                kinds = {"his works": bank, "other artists": rest[out & ~shot], "photographs": rest[out & shot]}
                his = odds.probe.scored(model, odds.points(odds.works)[held[: len(odds.works)]])
                for kind, points in kinds.items():
                    for count in (count for count in AVERAGED if count <= len(points)):
                        means = [points[generator.permutation(len(points))[:count]].mean(axis=0) for _ in range(10)]
                        for score in odds.probe.scored(model, np.stack(means)):
                            found.setdefault((kind, count), []).append((float(score), float(np.mean(his < score))))
            common = {"artist": artist, "seed": seed, "judge": self.judge.name}
            for (kind, count), each in found.items():
                value, place = np.mean(each, axis=0)
                rows.append({**common, "averaged": kind, "count": count, "odds": float(value), "place": float(place)})
        return pd.DataFrame(self._registered(rows))

    def sets(self) -> pd.DataFrame:
        """A row for every artist, method and seed: its results as a set, against the works that no method saw.

        With the middle content weight and the first draw. Tests permute within genres, so that it is style that counts, and
        contents of a genre without an unseen work are left out. The control "real" is unseen works of the contents' genres, as
        many as there are, against the rest, series apart.
        """
        rows = []
        for artist, seed in self.study.splits:
            judge = self.judge_of(artist, seed)
            of_works = [family(work.genre)[0] for work in judge.held_out]
            contents = [self.study.contents[name] for name in self.study.contents_of(artist)]
            contents = [content for content in contents if family(content.genre)[0] in of_works]
            shows = [family(content.genre)[0] for content in contents]
            keep = np.isin(of_works, shows)
            unseen, of_unseen, groups = judge.points[keep], np.array(of_works)[keep], judge.groups[keep]
            found = {CONTENT: [judge.describe(content.picture) for content in contents]}
            for method in self.study.methods:
                cells = [self.study.middle(Cell(artist, content.name, method, seed)) for content in contents]
                found[method] = [judge.describe(self.study.picture(cell)) for cell in cells]
            for method, points in found.items():
                if len(points) > 1 and len(unseen) > 1:
                    rows.append(self._set_row(artist, seed, method, np.stack(points), shows, unseen, of_unseen))
            drawn, rest = _as_many(shows, of_unseen, groups, seed)
            if len(drawn) > 1 and len(rest) > 1:
                split = unseen[drawn], list(of_unseen[drawn]), unseen[rest], of_unseen[rest]
                rows.append(self._set_row(artist, seed, REAL, *split))
        return pd.DataFrame(self._registered(rows))

    def _set_row(
        self,
        artist: str,
        seed: int,
        method: str,
        points: np.ndarray,
        shows: Sequence[str],
        unseen: np.ndarray,
        of_unseen: np.ndarray,
    ) -> Row:
        strata, judge = [*shows, *of_unseen], self.judge_of(artist, seed)
        kid = sets.discrepancy(points, unseen, strata=strata)
        mmd = sets.discrepancy(points, unseen, sets.gaussian(sets.median_width(unseen)), strata=strata)
        components = max(1, min(len(points), len(unseen)) // 10)
        near = sets.neighbourhoods(points, unseen, max(1, min(NEIGHBOURS, len(unseen) // 4)))
        row: Row = {"artist": artist, "method": method, "seed": seed, "judge": self.judge.name}
        row |= {"driver": self.study.encoder.name, "results": len(points), "unseen": len(unseen)}
        row |= {"kid": kid.value, "kid_p": kid.p, "mmd": mmd.value, "mmd_p": mmd.p}
        row |= {"fid_components": components, "fid_pca": sets.frechet(points, unseen, components)}
        row["variety"], row["variety_p"] = sets.variety(points, unseen, strata=strata, two_sided=True)
        row |= {"density": near.density, "coverage": near.coverage, "coverage_expected": near.expected}
        if self.judge.name.startswith("clip:"):
            found = sets.cmmd(judge.unit(points), judge.unit(unseen), strata=strata)
            row |= {"cmmd": found.value, "cmmd_p": found.p}
        return row


def _scores(odds: ArtistOdds) -> dict[str, float]:
    """SHA-256 -> log-odds of every work of a probe, by one that was not trained on its group."""
    works = (*odds.works, *odds.others)
    return {work.sha256: float(score) for work, score in zip(works, odds.probe.held_out(), strict=True)}


def _placed(scores: Mapping[str, float], work: Work, among: Sequence[Work]) -> Row:
    """The log-odds of a real work, and its place among other works."""
    if work.sha256 not in scores or not among:
        return {}
    own, theirs = scores[work.sha256], np.array([scores[other.sha256] for other in among])
    place = float(np.mean(theirs < own) + 0.5 * np.mean(theirs == own))
    return {"odds": own, "place": place, "depth": float(depth(place))}


def _as_many(shows: Sequence[str], of_unseen: np.ndarray, groups: np.ndarray, seed: int) -> tuple[list[int], list[int]]:
    """(places of unseen works, one of another series for each of `shows`, as far as there are; places of what shares none)."""
    generator = np.random.default_rng(seed)
    drawn: list[int] = []
    for name in shows:
        free = [i for i in np.flatnonzero(of_unseen == name) if groups[i] not in groups[drawn]]
        if len(free) > 1:  # the last of a genre stays to be compared with
            drawn.append(int(generator.choice(free)))
    return drawn, [i for i in range(len(groups)) if groups[i] not in groups[drawn]]


def _rows(path: Path | None) -> dict[str, Row]:
    """key -> row of the table `path`; nothing without one."""
    rows = read_table(path).to_dict("records") if path and path.exists() else []
    return {row["key"]: row for row in rows if row["key"]}


def _numbers(found: Typicality | None) -> Row:
    return (
        {}
        if found is None
        else {"works": found.works, "distance": found.distance, "percentile": found.percentile, "p": found.p}
    )


def _has_lpips() -> bool:
    try:
        structure.check_lpips()
    except WorkbenchError:
        return False
    return True


def _lpips(picture: Tensor, content: Tensor) -> float:
    """LPIPS, or NaN where what it needs is not there."""
    return structure.lpips(picture, content) if _has_lpips() else float("nan")
