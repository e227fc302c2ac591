"""Linear artist log-odds: a picture's place among an artist's works, by a probe that gains nothing from averaging."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from workbench import images
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.metrics.judging import peers
from workbench.retrieval import descriptors, embeddings

if TYPE_CHECKING:  # scikit-learn is loaded where it is used: that takes a second
    from sklearn.linear_model import LogisticRegression

LAYERS = 4
"""Style layers that are used, relu1_1 to relu4_1: relu5_1 depends more on what is shown."""
SIZE = 256
"""px. Long side of all pictures."""
FOLDS = 5
"""Folds of the cross-validation."""
PENALTY = 0.01
"""Inverse strength of the L2 penalty (scikit-learn's C), for standardised dimensions."""
FLOOR = 1e-3
"""Least standard deviation of a channel, in the unit of its descriptor: below it the logarithm would measure noise."""
FLAT = 1e-6
"""Standard deviation over all works below which a dimension is left out."""


@dataclass(frozen=True)
class LogOdds:
    """How likely a picture is to be the artist's.

    value: log-odds (nats) that the artist painted it, at equal prior odds; any real number. place: the share in [0, 1] of the
    artist's works that score less, each by a probe that was trained neither on that work's group nor on the picture's sources:
    0 is a miss, .5 typical, 1 a caricature. low, median, high: log-odds of these works, quantiles .1, .5 and .9.
    works: how many these are; compared: of which genre, or "all genres" for a picture without one. Where there are too few
    works of the genre, compared is "" and all but the value NaN.
    """

    value: float
    place: float
    low: float
    median: float
    high: float
    works: int
    compared: str

    @property
    def depth(self) -> float:
        """See `depth`."""
        return float(depth(self.place))


def depth(place: ArrayLike) -> np.ndarray:
    """2 min(place, 1 - place), in [0, 1]: how deep a place lies in a range, from both sides. 0 at either end, 1 at the median.

    Twice Tukey's depth in one dimension (1975, "Mathematics and the Picturing of Data"). Works that are new to the range have
    .5 on average; what misses it and what overshoots it have 0 alike.
    """
    place = np.asarray(place, dtype=float)
    return 2 * np.minimum(place, 1 - place)


class Probe:
    """Logistic regression of "his" (n,) bool on points (n, D), with whole groups left out at will.

    score(x) = w . z(x) + b, where z standardises over all n points; w and b minimise |w|^2 / 2 + PENALTY * sum of log losses,
    both classes weighing the same. The score is linear: that of a mean of points is the mean of their scores.
    """

    def __init__(self, points: np.ndarray, his: np.ndarray, groups: Sequence[str], *, folds: int = FOLDS, seed: int = 0):
        """`groups`: what belongs together, such as a series, (n,). UsageError with fewer than `folds` of either class."""
        self.his = np.asarray(his, dtype=bool)
        self.groups = np.asarray(groups, dtype=object).astype(str)
        self.folds = folds
        self.seed = seed
        points = np.asarray(points, dtype=np.float64)
        self._centre = points.mean(axis=0)
        spread = points.std(axis=0)
        self._scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > FLAT)
        standardised = (points - self._centre) * self._scale
        # The weights lie in the span of the points: a fit in its coordinates is the same, and faster where D > n.
        _, values, self._axes = np.linalg.svd(standardised, full_matrices=False)
        self._axes = self._axes[values > 1e-9 * max(values[0], 1e-12)]
        self._points = standardised @ self._axes.T
        self._fits: dict[bytes, list[tuple[np.ndarray, LogisticRegression]]] = {}
        self.probes()

    def probes(self, without: Sequence[str] = ()) -> "list[tuple[np.ndarray, LogisticRegression]]":
        """(held out (n,) bool, a probe trained without these) for every fold; no probe is trained on the groups `without`.

        The first is trained on all other works, and holds out `without` alone. Every point of another group is held out by
        just one of the rest. UsageError when too few groups are left.
        """
        from sklearn.model_selection import StratifiedGroupKFold

        left_out = np.isin(self.groups, list(without))
        key = left_out.tobytes()
        if key not in self._fits:
            inside = np.flatnonzero(~left_out)
            for kind in (True, False):
                left = len(set(self.groups[inside[self.his[inside] == kind]]))
                whose = "by the artist" if kind else "by others"
                require(left >= self.folds, f"{left} groups of works {whose} are left to train on; {self.folds} are needed")
            split = StratifiedGroupKFold(self.folds, shuffle=True, random_state=self.seed)
            held = [left_out]
            for _, test in split.split(inside, self.his[inside], self.groups[inside]):
                out = np.zeros(len(self.his), dtype=bool)
                out[inside[test]] = True
                held.append(out)
            self._fits[key] = [(out, self._fitted(~out & ~left_out)) for out in held]
        return self._fits[key]

    def _fitted(self, rows: np.ndarray) -> "LogisticRegression":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=2000, tol=1e-6)
        return model.fit(self._points[rows], self.his[rows])

    def _coordinates(self, points: np.ndarray) -> np.ndarray:
        return ((np.asarray(points, dtype=np.float64) - self._centre) * self._scale) @ self._axes.T

    def scored(self, model: "LogisticRegression", points: np.ndarray) -> np.ndarray:
        """Log-odds of new points (m, D) by one of `probes`: (m,)."""
        return model.decision_function(self._coordinates(points))

    def scores(self, points: np.ndarray, without: Sequence[str] = ()) -> np.ndarray:
        """Log-odds of new points (m, D): (m,)."""
        return self.scored(self.probes(without)[0][1], points)

    def held_out(self, without: Sequence[str] = ()) -> np.ndarray:
        """Log-odds of all points of the probe, (n,), each by a probe that was not trained on its group."""
        found = np.empty(len(self.his))
        for out, model in self.probes(without):
            if out.any():
                found[out] = model.decision_function(self._points[out])
        return found

    def place(self, point: np.ndarray, among: np.ndarray, without: Sequence[str] = ()) -> float:
        """The share of the points `among` (n,) bool that score less than a new point (D,), in [0, 1]; a tie is half.

        A point and the new one are compared by the same probe, which was trained on neither: the "CV+" of Barber et al.
        (2021, Ann. Statist. 49, "Predictive inference with the jackknife+"). A new work of his is about uniform on 0..1.
        """
        lower = 0.0
        for out, model in self.probes(without):
            rows = out & among
            if rows.any():
                mine = self.scored(model, point[None])[0]
                theirs = model.decision_function(self._points[rows])
                lower += float((theirs < mine).sum() + 0.5 * (theirs == mine).sum())
        return lower / int(among.sum())

    @property
    def auc(self) -> float:
        """How often a held-out work of his scores more than one that is not his, in [0, 1]; .5 is chance."""
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(self.his, self.held_out()))


class ArtistOdds:
    """Log-odds of pictures that one artist painted them, by the features of one encoder.

    A picture is described by means and log standard deviations of channels at relu1_1 to relu4_1 (`descriptors.describe`, kind
    "style", from the cache); the probe is trained on his works against those of others, and photographs.
    """

    def __init__(
        self,
        encoder: Encoder,
        works: Sequence[Work],
        others: Sequence[Work],
        *,
        size: int = SIZE,
        folds: int = FOLDS,
        show: bool = False,
    ):
        """`others`: paintings by other artists, and photographs. UsageError without style layers, or where works are few."""
        require(len(encoder.style_layers) >= LAYERS, f"encoder {encoder.name} has no style layers to probe")
        self.encoder = encoder
        self.size = size
        self.works = tuple(works)
        self.others = tuple(others)
        every = [*works, *others]
        raw = embeddings.embed(every, encoder, "style", size=size, show=show).raw
        his = np.arange(len(every)) < len(self.works)
        self.probe = Probe(self._vectors(raw), his, [work.group for work in every], folds=folds)

    def _vectors(self, raw: np.ndarray) -> np.ndarray:
        """Means and log standard deviations of the first layers, (n, D), of "style" descriptors (n, .)."""
        start, blocks = 0, []
        for layer in self.encoder.style_layers[:LAYERS]:
            width = self.encoder.channels[layer]
            mean, deviation = raw[:, start : start + width], raw[:, start + width : start + 2 * width]
            blocks += [mean, np.log(np.maximum(deviation, FLOOR))]
            start += 2 * width
        return np.concatenate(blocks, axis=1).astype(np.float64)

    def describe(self, picture: Tensor) -> np.ndarray:
        """The point (D,) of a picture (1, 3, H, W) in [0, 1], scaled to the probe's size."""
        picture = images.resize(picture, self.size).to(self.encoder.device)
        return self._vectors(descriptors.describe(picture, self.encoder, "style")[None])[0]

    def of(self, picture: Tensor, *, sources: Sequence[Work] = (), genre: str = "") -> LogOdds:
        """The log-odds of `picture` (1, 3, H, W) in [0, 1], and its place among his works of `genre`'s family.

        `sources`: works that it was made from, and its content where that is among the works; their groups are left out of
        training. Where he has fewer than four groups of that genre, there is no place. UsageError when the sources leave too
        few works to train on.
        """
        return self.at(self.describe(picture), sources=sources, genre=genre)

    def at(self, point: np.ndarray, *, sources: Sequence[Work] = (), genre: str = "") -> LogOdds:
        """`of` a picture at `point` (D,): see `describe` and `points`."""
        without = sorted({work.group for work in sources})
        value = float(self.probe.scores(point[None], without)[0])
        alike, compared = peers(self.works, genre)
        if not alike.any():
            return LogOdds(value, *[float("nan")] * 4, 0, compared)
        among = np.zeros(len(self.probe.his), dtype=bool)
        among[: len(self.works)] = alike
        low, median, high = np.quantile(self.probe.held_out(without)[among], (0.1, 0.5, 0.9))
        place = self.probe.place(point, among, without)
        return LogOdds(value, place, float(low), float(median), float(high), int(among.sum()), compared)

    def points(self, works: Sequence[Work]) -> np.ndarray:
        """The points of `works`, (n, D)."""
        return self._vectors(embeddings.embed(works, self.encoder, "style", size=self.size).raw)
