"""The judge: an encoder that measures results, beside the one that drove them, and the gate it passes before it may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from workbench import images
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder, draft_encoder
from workbench.errors import require
from workbench.metrics import structure
from workbench.metrics.typicality import Standing, standing, standing_of_real
from workbench.retrieval import descriptors, embeddings
from workbench.retrieval.precision import precision_at_k

FAMILIES = (
    ("portrait", "self-portrait", "figure"),
    ("landscape", "seascape"),
    ("cityscape",),
    ("still-life",),
)
LEAST = 4  # held-out works of a genre, below which it is compared with all genres
NEIGHBOURS = 5  # works that a work asks for at the gate
RESAMPLES = 2000
FLAT = 1e-6  # deviation over the oeuvre below which a dimension says nothing


def family(genre: str) -> tuple[str, ...]:
    """The genres that count as one with `genre`: a self-portrait is a portrait."""
    return next((genres for genres in FAMILIES if genre in genres), (genre,))


def kind(encoder: Encoder) -> embeddings.Kind:
    """The embedding that `encoder` judges by."""
    return "style" if encoder.style_layers else "content"


class Judge:
    """Style, as one encoder sees it, in the units of one artist.

    A picture is described by the means and standard deviations of the style layers' channels (`descriptors.describe`, kind
    "style"), or, by an encoder such as CLIP that has none, by its image embedding ("content"); each dimension is standardised
    over the works of the bank. Distances are root mean squares over dimensions.
    """

    def __init__(self, encoder: Encoder, bank: Corpus, held_out: Corpus, size: int, *, show: bool = False):
        """`bank` and `held_out`: the works that methods may see, and those that they may not; `size`: of all pictures, px."""
        self.encoder = encoder
        self.size = size
        self.show = show
        self.held_out = held_out
        seen = self._raw(bank.works)
        self.mean = seen.mean(axis=0)
        deviation = seen.std(axis=0)
        self.alive = deviation > FLAT
        self.deviation = np.where(self.alive, deviation, 1.0)
        self.points = self.of(held_out.works)
        self.groups = np.array([work.group for work in held_out])
        self.between = _distances(self.points, self.points)
        self._details = np.array([structure.detail(work.load(size)) for work in held_out])

    def _raw(self, works: Sequence[Work]) -> np.ndarray:
        return embeddings.embed(works, self.encoder, kind(self.encoder), size=self.size, show=self.show).raw.astype(np.float64)

    def _standardised(self, raw: np.ndarray) -> np.ndarray:
        return ((raw - self.mean) / self.deviation)[..., self.alive]

    def of(self, works: Sequence[Work]) -> np.ndarray:
        """Points of `works`, (n, D)."""
        return self._standardised(self._raw(works))

    def describe(self, picture: Tensor) -> np.ndarray:
        """The point (D,) of a picture (1, 3, H, W) in [0, 1], which is scaled to the judge's size."""
        picture = images.resize(picture, self.size).to(self.encoder.device)
        return self._standardised(descriptors.describe(picture, self.encoder, kind(self.encoder)).astype(np.float64))

    def unit(self, points: np.ndarray) -> np.ndarray:
        """The embeddings of length one behind `points` (n, D): what CMMD is computed from."""
        raw = np.tile(self.mean, (len(points), 1))
        raw[:, self.alive] += points * self.deviation[self.alive]
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    def peers(self, genre: str) -> tuple[np.ndarray, str]:
        """(places of the held-out works that a picture of `genre` is compared with, `genre` or "all genres").

        Those of its family of genres, or all, where fewer than four groups of these are held out.
        """
        inside = np.array([work.genre in family(genre) for work in self.held_out])
        if len(set(self.groups[inside])) >= LEAST:
            return np.flatnonzero(inside), genre
        return np.arange(len(inside)), "all genres"

    def standing(self, point: np.ndarray, genre: str) -> Standing:
        """Where a picture of `genre` at `point` (D,) stands among the held-out works of that genre."""
        places, _ = self.peers(genre)
        to_real = _distances(point[None], self.points[places])[0]
        return standing(to_real, self.between[np.ix_(places, places)], self.groups[places])

    def detail(self, picture: Tensor, genre: str) -> float:
        """log2 of the detail of a picture of `genre` over the median of what unseen works have: -1 is half as much."""
        places, _ = self.peers(genre)
        mine = structure.detail(images.resize(picture, self.size))
        return float(np.log2(max(mine, FLAT) / max(float(np.median(self._details[places])), FLAT)))

    def standing_of_real(self, genre: str) -> list[Standing]:
        """Where the held-out works of `genre` stand among each other."""
        places, _ = self.peers(genre)
        return standing_of_real(self.between[np.ix_(places, places)], self.groups[places])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square difference over dimensions of every row of a (m, D) and b (n, D): (m, n)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0) / a.shape[1])


def shared_with(judge: Encoder, driver: Encoder, *, drafted: bool) -> str:
    """How `judge` is kin to what made the pictures, in words for a title; empty where it is not, as it should be.

    driver: makes the pictures; drafted: whether the network that imitates it, if there is one, makes drafts for it.
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
    """Whether an encoder tells artists and genres apart on these corpora, before it is believed.

    artist, genre: precision among the five nearest works, those of one series aside, beside chance; genre is None where
    works have fewer than two. gaps: artist -> by how much, with a 95 % interval over series, his works are more alike than
    they are to those of others (cosine). separation: artist -> how often, with its interval, an unseen work of his stands
    nearer to his others than a work of the same genre by somebody else does, in the judge's own distances; .5 is chance.
    """

    encoder: str
    artist: tuple[float, float]
    genre: tuple[float, float] | None
    gaps: dict[str, tuple[float, float, float]]
    separation: dict[str, tuple[float, float, float]]

    def passed(self, artist: str) -> bool:
        """Better than chance at artists and genres, gap and separation of `artist` above it with their whole intervals."""
        genres = self.genre is None or self.genre[0] > self.genre[1]
        return self.artist[0] > self.artist[1] and genres and self.gaps[artist][1] > 0 and self.separation[artist][1] > 0.5

    def lines(self) -> list[str]:
        """What the gate found about the artists of a study, for a reader."""
        genres = "" if self.genre is None else f", genre {self.genre[0]:.0%} (chance {self.genre[1]:.0%})"
        found = [f"{self.encoder}: artist precision@{NEIGHBOURS} {self.artist[0]:.0%} (chance {self.artist[1]:.0%}){genres}"]
        for name, (auc, *ends) in self.separation.items():
            gap, low, high = self.gaps[name]
            apart = f"stands apart within genres {auc:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"
            if np.isnan(auc):
                apart = f"fewer than {LEAST} unseen works of any genre to stand apart with"
            verdict = "passed" if self.passed(name) else "NOT passed"
            found.append(f"{self.encoder}: {name}, same-artist gap {gap:.2f} ({low:.2f} to {high:.2f}), {apart}: {verdict}")
        return found


def gate(judges: Mapping[str, Judge], corpora: Mapping[str, Sequence[Work]], *, seed: int = 0) -> Gate:
    """Test the encoder of `judges`, artist -> his judge, all of one encoder, on `corpora`, artist -> works, two at least.

    The diagnostic that Frochte (2026, arXiv 2605.09030) asks for before a cosine of styles is reported, with
    descriptors centred over all works. The gap of a work is its mean cosine to its artist's other works, outside of its
    series, less that to the works of others; each other artist counts the same, however many works he has. Intervals are
    bootstrapped over series and lone works.
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
        gaps[name] = _interval([np.mean(values) for values in found.values()], seed)
    return Gate(
        encoder.name,
        precision_at_k(points, list(artists), NEIGHBOURS, groups=list(groups)),
        precision_at_k(points, genres, NEIGHBOURS, groups=list(groups)) if len({g for g in genres if g}) > 1 else None,
        gaps,
        {
            name: _separation(own, [w for a, found in corpora.items() if a != name for w in found], seed)
            for name, own in judges.items()
        },
    )


def _separation(judge: Judge, others: Sequence[Work], seed: int) -> tuple[float, float, float]:
    """How often an unseen work stands nearer than one of `others` of its genre, over genres, with a 95 % interval.

    The area under the ROC curve of `Standing.raw`, for each unseen work on its own; NaN where there is nothing to compare.
    """
    found: dict[str, list[float]] = {}
    seen = set()
    for genre in dict.fromkeys(work.genre for work in judge.held_out):
        places, compared = judge.peers(genre)
        theirs = [work for work in others if work.genre in family(genre)]
        if compared != genre or family(genre) in seen or not theirs:
            continue
        seen.add(family(genre))
        strangers = np.array([judge.standing(point, genre).raw for point in judge.of(theirs)])
        for place, own in zip(places, judge.standing_of_real(genre), strict=True):
            wins = np.mean(strangers > own.raw) + 0.5 * np.mean(strangers == own.raw)
            found.setdefault(judge.groups[place], []).append(float(wins))
    if not found:
        return float("nan"), float("nan"), float("nan")
    return _interval([np.mean(values) for values in found.values()], seed)


def _interval(values: Sequence[float], seed: int) -> tuple[float, float, float]:
    """(mean, low, high): a bootstrap over `values`, which are independent of each other."""
    values = np.asarray(values)
    drawn = values[np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
