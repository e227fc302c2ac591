"""The judge: an encoder that measures results, beside the one that drove them, and the gate it passes before it may."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from workbench import embeddings, images
from workbench.corpus import Corpus, Work
from workbench.encoders import Encoder, imitation
from workbench.errors import require
from workbench.index import precision_at_k
from workbench.metrics import structure
from workbench.metrics.typicality import Standing, standing, standing_of_real

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


def group_of(work: Work) -> str:
    """What a work belongs together with: the works of its series, or, without one, itself alone."""
    return f"{work.artist}/{work.series}" if work.series else work.sha256


def kind(encoder: Encoder) -> embeddings.Kind:
    """The embedding that `encoder` judges by."""
    return "style" if encoder.style_layers else "content"


class Judge:
    """Style, as one encoder sees it, in the units of one artist.

    A picture is described by the means and standard deviations of the style layers' channels (`embeddings.describe`, kind
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
        self.groups = np.array([group_of(work) for work in held_out])
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
        return self._standardised(embeddings.describe(picture, self.encoder, kind(self.encoder)).astype(np.float64))

    def unit(self, points: np.ndarray) -> np.ndarray:
        """The embeddings of length one behind `points` (n, D): what CMMD is computed from."""
        raw = np.tile(self.mean, (len(points), 1))
        raw[:, self.alive] += points * self.deviation[self.alive]
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    def peers(self, genre: str) -> tuple[np.ndarray, str]:
        """(places of the held-out works that a picture of `genre` is compared with, what they are called).

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
    """What `judge` had a part in making, in words for a title; empty where it had none, as it should be.

    driver: makes the pictures; drafted: whether the network that imitates it, if there is one, makes drafts for it.
    """
    if judge.weights_sha256 == driver.weights_sha256:
        return "which also drove the transfers"
    made = imitation(driver) if drafted else None
    return "which also made the drafts" if made is not None and judge.weights_sha256 == made.weights_sha256 else ""


@dataclass(frozen=True)
class Gate:
    """Whether an encoder tells artists and genres apart on these corpora, before it is believed.

    artist, genre: precision among the five nearest works, those of one series aside, beside chance; gaps: artist -> by
    how much, with a 95 % interval over works, his works are more alike than they are to those of others (cosine).
    """

    encoder: str
    artist: tuple[float, float]
    genre: tuple[float, float]
    gaps: dict[str, tuple[float, float, float]]

    def passed(self, artist: str) -> bool:
        """Better than chance at artists and genres, and the gap of `artist` above zero with its whole interval."""
        return self.artist[0] > self.artist[1] and self.genre[0] > self.genre[1] and self.gaps[artist][1] > 0

    def lines(self, artists: Iterable[str]) -> list[str]:
        """What the gate found, for a reader of a study of `artists`."""
        found = [
            f"{self.encoder}: artist precision@{NEIGHBOURS} {self.artist[0]:.0%} (chance {self.artist[1]:.0%}), "
            f"genre {self.genre[0]:.0%} (chance {self.genre[1]:.0%})"
        ]
        for name in artists:
            gap, low, high = self.gaps[name]
            verdict = "passed" if self.passed(name) else "not passed"
            found.append(f"{self.encoder}: {name}, same-artist gap {gap:.2f} ({low:.2f} to {high:.2f}): {verdict}")
        return found


def gate(encoder: Encoder, corpora: Mapping[str, Sequence[Work]], size: int, *, seed: int = 0, show: bool = False) -> Gate:
    """Test `encoder` on `corpora`, artist -> works, at long side `size`; it needs two artists at least.

    The diagnostic that Frochte (2026, arXiv 2605.09030) asks for before a cosine of styles is reported, with
    descriptors centred over all works. The gap of a work is its mean cosine to its artist's other works, outside of its
    series, less that to the works of others; each other artist counts the same, however many works he has.
    """
    require(len(corpora) > 1, "the gate needs the works of two artists at least")
    works = [work for found in corpora.values() for work in found]
    artists = np.array([name for name, found in corpora.items() for _ in found])
    groups = [group_of(work) for work in works]
    points = embeddings.embed(works, encoder, kind(encoder), size=size, show=show)
    by_artist = precision_at_k(points, list(artists), NEIGHBOURS, groups=groups)
    by_genre = precision_at_k(
        points, [family(work.genre)[0] if work.genre else "" for work in works], NEIGHBOURS, groups=groups
    )
    units = points.raw - points.raw.mean(axis=0)
    units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    cosines, generator, gaps = units @ units.T, np.random.default_rng(seed), {}
    apart = np.array(groups)[:, None] != np.array(groups)
    for name in corpora:
        own = artists == name
        gap = []
        for i in np.flatnonzero(own):
            if not (own & apart[i]).any():
                continue
            others = np.mean([cosines[i, artists == other].mean() for other in corpora if other != name])
            gap.append(cosines[i, own & apart[i]].mean() - others)
        require(bool(gap), f"the gate needs two works of {name!r} that are not of one series")
        drawn = np.array(gap)[generator.integers(0, len(gap), (RESAMPLES, len(gap)))].mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        gaps[name] = (float(np.mean(gap)), float(low), float(high))
    return Gate(encoder.name, by_artist, by_genre, gaps)
