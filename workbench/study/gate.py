"""Whether a judge can be trusted: an encoder that does not separate artists and genres cannot measure who painted what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.corpora import Work
from workbench.encoders import Encoder, draft_encoder
from workbench.errors import require
from workbench.metrics.judging import MIN_GROUPS, Judge, between, family, kind, peers
from workbench.metrics.log_odds import ArtistOdds
from workbench.metrics.typicality import raw_distances
from workbench.retrieval import embeddings
from workbench.retrieval.precision import precision_at_k
from workbench.study.intervals import Interval, interval

NEIGHBOURS = 5
"""Nearest works of each work, among which precision is counted."""


def shared_with(judge: Encoder, driver: Encoder, *, drafted: bool) -> str:
    """How `judge` is related to what made the pictures, in words for a title; empty where it is independent, as it should be.

    driver: the encoder of the transfers; drafted: whether its draft encoder, if there is one, took part.
    """
    if judge.weights_sha256 == driver.weights_sha256:
        return "which also drove the transfers"
    pupil = draft_encoder(driver)
    if pupil is not None and pupil.weights_sha256 == judge.weights_sha256:
        return "which also made the drafts" if drafted else "which learnt from the network that drove"
    pupil = draft_encoder(judge)
    if pupil is not None and pupil.weights_sha256 == driver.weights_sha256:
        return "from which the network that drove has learnt"
    return ""


@dataclass(frozen=True)
class Gate:
    """Whether an encoder separates artists and genres on these corpora, before its measures are used.

    artist, genre: precision among the five nearest works, those of one series aside, beside chance; genre is None where
    works have fewer than two. gaps: artist -> by how much, with a 95 % interval over series, his works are more alike than
    they are to those of others (cosine). separation: artist -> how often, with its interval, an unseen work of his is nearer
    to his others than a work of the same genre by somebody else is, in the judge's own distances; .5 is chance. odds: the same
    of log-odds, by probes trained on neither; empty for a judge without layers.
    """

    encoder: str
    artist: tuple[float, float]
    genre: tuple[float, float] | None
    gaps: dict[str, Interval]
    separation: dict[str, Interval]
    odds: dict[str, Interval]

    def passed(self, artist: str) -> bool:
        """Better than chance at artists and genres, gap and separation of `artist` above it with their whole intervals.

        What is used has to separate: log-odds, which the endpoints are read by, or distances, where there are no log-odds. The
        interval of log-odds alone is no test, as it takes the others' works and the training as given: of halves of Monet's
        landscapes it lay above .5 in 18 of 100, the gap above 0 in 2, and 1 in 150 passed.
        """
        genres = self.genre is None or self.genre[0] > self.genre[1]
        separation = self.odds.get(artist, self.separation[artist])
        return self.artist[0] > self.artist[1] and genres and self.gaps[artist].low > 0 and separation.low > 0.5

    def lines(self) -> list[str]:
        """What the gate found about the artists of a study, for a reader."""
        genres = "" if self.genre is None else f", genre {self.genre[0]:.0%} (chance {self.genre[1]:.0%})"
        found = [f"{self.encoder}: artist precision@{NEIGHBOURS} {self.artist[0]:.0%} (chance {self.artist[1]:.0%}){genres}"]
        for name, area in self.separation.items():
            separated = f"separated within genres {_spelled(area)}"
            separated += f", by log-odds {_spelled(self.odds[name])}" if name in self.odds else ""
            if np.isnan(area.mean):
                separated = f"fewer than {MIN_GROUPS} unseen works of any genre to be separated"
            verdict = "passed" if self.passed(name) else "NOT passed"
            found.append(f"{self.encoder}: {name}, same-artist gap {_spelled(self.gaps[name])}, {separated}: {verdict}")
        return found


def _spelled(interval: Interval) -> str:
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def gate(
    judges: Mapping[str, Judge], corpora: Mapping[str, Sequence[Work]], odds: Mapping[str, ArtistOdds] | None = None
) -> Gate:
    """Test the encoder of `judges`, artist -> his judge, all of one encoder, on `corpora`, artist -> works, two at least.

    `odds`: artist -> log-odds by that encoder, where it has them.

    The diagnostic that Frochte (2026, arXiv 2605.09030) requires before a cosine of styles is reported, with
    descriptors centred over all works. The gap of a work is its mean cosine to its artist's other works, outside of its
    series, less that to the works of others; each other artist counts the same, however many works he has. Intervals are
    Student's, over series and lone works.
    """
    require(len(corpora) > 1, "the gate needs the works of two artists at least")
    judge = next(iter(judges.values()))
    encoder = judge.encoder
    works = [work for found in corpora.values() for work in found]
    artists = np.array([name for name, found in corpora.items() for _ in found])
    groups = np.array([work.group for work in works])
    points = embeddings.embed(works, encoder, kind(encoder), size=judge.size, show=judge.show)
    genres = [family(work.genre)[0] if work.genre else "" for work in works]
    units = points.raw - points.raw.mean(axis=0)
    units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    cosines = units @ units.T
    gaps = {}
    for name in corpora:
        own = artists == name
        found = {}
        for i in np.flatnonzero(own):
            alike = own & (groups != groups[i])
            if alike.any():
                others = np.mean([cosines[i, artists == other].mean() for other in corpora if other != name])
                found.setdefault(groups[i], []).append(cosines[i, alike].mean() - others)
        require(bool(found), f"the gate needs two works of {name!r} that are not of one series")
        gaps[name] = interval([np.mean(values) for values in found.values()])
    return Gate(
        encoder.name,
        precision_at_k(points, list(artists), NEIGHBOURS, groups=list(groups)),
        precision_at_k(points, genres, NEIGHBOURS, groups=list(groups)) if len({g for g in genres if g}) > 1 else None,
        gaps,
        {
            name: _separation(own, [w for a, found in corpora.items() if a != name for w in found])
            for name, own in judges.items()
        },
        {
            name: _by_odds(own, {w.sha256 for a, w in zip(artists, works, strict=True) if a != name})
            for name, own in (odds or {}).items()
        },
    )


def _separation(judge: Judge, others: Sequence[Work]) -> Interval:
    """How often an unseen work is nearer than one of `others` of its genre, over genres, with a 95 % interval.

    The area under the ROC curve of `Typicality.raw`, for each unseen work on its own; NaN where there is nothing to compare.
    """
    found: dict[str, list[float]] = {}
    seen = set()
    for genre in dict.fromkeys(work.genre for work in judge.held_out):
        places, compared = judge.peers(genre)
        theirs = [work for work in others if work.genre in family(genre)]
        if compared != genre or family(genre) in seen or not theirs:
            continue
        seen.add(family(genre))
        strangers = between(judge.of(theirs), judge.points[places])
        shares = nearer(judge.between[np.ix_(places, places)], judge.groups[places], strangers)
        for place, share in zip(places, shares, strict=True):
            found.setdefault(judge.groups[place], []).append(float(share))
    return interval([np.mean(values) for values in found.values()])


def nearer(own: np.ndarray, groups: np.ndarray, strangers: np.ndarray) -> np.ndarray:
    """For each of n works, the share of m strangers that are farther from the works outside of its group than it is: (n,).

    own: (n, n), distances of the works; groups: (n,); strangers: (m, n). A tie is half. The work and the strangers face the
    same works: were strangers to face its own group as well, they would come nearer by that alone, and chance would lie below
    .5.
    """
    shares = []
    for place, group in enumerate(groups):
        rest = groups != group
        mine = raw_distances(own[place : place + 1, rest], groups[rest])
        theirs = raw_distances(strangers[:, rest], groups[rest])
        shares.append(np.mean(theirs > mine) + 0.5 * np.mean(theirs == mine))
    return np.array(shares)


def _by_odds(odds: ArtistOdds, painted: set[str]) -> Interval:
    """How often an unseen work has higher log-odds than one of its genre by others, `painted` (sha256) and no photograph.

    Each by a probe that was not trained on its group.
    """
    scores = odds.probe.held_out()
    own, rest = scores[: len(odds.works)], scores[len(odds.works) :]
    found: dict[str, list[float]] = {}
    for work, score in zip(odds.works, own, strict=True):
        _, compared = peers(odds.works, work.genre)
        theirs = rest[[other.sha256 in painted and other.genre in family(work.genre) for other in odds.others]]
        if compared == work.genre and len(theirs):
            share = float(np.mean(theirs < score) + 0.5 * np.mean(theirs == score))
            found.setdefault(work.group, []).append(share)
    return interval([np.mean(values) for values in found.values()])
