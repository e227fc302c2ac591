"""k-means: style clusters of a corpus, with k chosen by silhouette and stability; coresets."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import UsageError
from workbench.retrieval.embeddings import Embeddings
from workbench.retrieval.serial import serial

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

MIN_STABILITY = 0.6
"""Median adjusted Rand index between clusterings of two subsamples that a k needs, at most 1."""
RESAMPLES = 10
"""Pairs of subsamples from which a stability is computed."""
SUBSAMPLE = 0.8
"""Part of the works, in (0, 1], in each subsample."""


@dataclass(frozen=True)
class Clustering:
    """k clusters over the works of `embeddings`.

    labels: (n,) int, 0 is the largest cluster. centres: (k, d) in the principal space. medoids: k names, the work nearest
    each centre. silhouette, stability: for every k tried, the mean silhouette in [-1, 1], and the median adjusted Rand index
    between clusterings of two overlapping 80 % subsamples. chosen_because: the reason for k, one line.
    """

    embeddings: Embeddings = field(repr=False)
    labels: np.ndarray = field(repr=False)
    centres: np.ndarray = field(repr=False)
    medoids: tuple[str, ...]
    silhouette: dict[int, float]
    stability: dict[int, float]
    chosen_because: str

    @property
    def k(self) -> int:
        """The number of clusters."""
        return len(self.centres)

    def members(self, label: int) -> tuple[str, ...]:
        """The works of cluster `label`, nearest the centre first."""
        inside = np.flatnonzero(self.labels == label)
        distance = np.linalg.norm(self.embeddings.points[inside] - self.centres[label], axis=1)
        return tuple(self.embeddings.names[i] for i in inside[np.argsort(distance, kind="stable")])

    def crosstab(self, categories: list[str]) -> tuple[list[str], np.ndarray, float]:
        """The contingency table of clusters and `categories`, one per work, such as its genre.

        Returns the category names, the counts (k, categories), and the normalised mutual information in [0, 1].
        """
        from sklearn.metrics import normalized_mutual_info_score

        names = sorted(set(categories))
        table = np.zeros((self.k, len(names)), dtype=int)
        for label, category in zip(self.labels, categories, strict=True):
            table[label, names.index(category)] += 1
        return names, table, float(normalized_mutual_info_score(categories, self.labels))


@serial
def cluster(embeddings: Embeddings, k: int | None = None, *, k_max: int = 8, seed: int = 0) -> Clustering:
    """k-means over the works' points in principal space.

    Args:
        k: the number of clusters; with None it is the one of 2 to min(k_max, n // 3) with the best silhouette among those
            whose stability is at least 0.6, or, where there is none, the most stable one (see `chosen_because`).
        seed: of k-means and of the subsamples, from 0 to 2**32 - 1.

    A corpus of fewer than six works is one cluster, because silhouettes of so few are not meaningful. Raises UsageError for a k
    that is below 1 or above the number of different works, and for a seed out of range.
    """
    points = embeddings.points
    n = len(points)
    distinct = len(np.unique(points.round(6), axis=0))
    if k is not None and not 1 <= k <= distinct:
        raise UsageError(f"k = {k}: choose between 1 and the number of different works, {distinct}")
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed = {seed}: choose between 0 and 2**32 - 1")
    from sklearn.metrics import silhouette_score

    silhouette: dict[int, float] = {}
    stability: dict[int, float] = {}
    for candidate in range(2, min(k_max, n // 3, distinct - 1) + 1):
        labels = _kmeans(points, candidate, seed).labels_
        silhouette[candidate] = float(silhouette_score(points, labels))
        stability[candidate] = _stability(points, candidate, seed)
    if k is not None:
        chosen, because = k, f"k = {k} as asked"
    elif not silhouette:
        chosen, because = 1, f"one cluster: {n} works are too few, or too alike, to divide"
    else:
        stable = [c for c in silhouette if stability[c] >= MIN_STABILITY]
        chosen = max(stable, key=silhouette.__getitem__) if stable else max(stability, key=stability.__getitem__)
        if stable:
            best = f"best silhouette ({silhouette[chosen]:.2f})"
            because = f"k = {chosen}: {best} among the k with stability of at least {MIN_STABILITY}"
        else:
            best = f"{stability[chosen]:.3f}, the best, is less than {MIN_STABILITY}"  # three digits: 0.598 is no 0.60
            because = f"k = {chosen}: the most stable, though no k is stable: {best}"
    fitted = _kmeans(points, chosen, seed)
    order = np.argsort(-np.bincount(fitted.labels_, minlength=chosen), kind="stable")
    labels = np.argsort(order)[fitted.labels_]
    centres = fitted.cluster_centers_[order]
    medoids = []
    for label, centre in enumerate(centres):
        inside = np.flatnonzero(labels == label)
        medoids.append(embeddings.names[inside[np.linalg.norm(points[inside] - centre, axis=1).argmin()]])
    return Clustering(embeddings, labels, centres, tuple(medoids), silhouette, stability, because)


@serial
def coreset(points: np.ndarray, size: int, *, seed: int = 0) -> np.ndarray:
    """At most `size` rows of `points` (n, d) that represent all: the row nearest to each of `size` k-means centres.

    Returns their indices, sorted, (m,) with m <= size, because two centres may share their nearest row.
    """
    if size >= len(points):
        return np.arange(len(points))
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(size, init="random", n_init=1, batch_size=4096, max_iter=8, random_state=seed, compute_labels=False)
    centres = fit.fit(points).cluster_centers_
    halves = (points**2).sum(axis=1) / 2
    nearest = [np.argmin(halves - block @ points.T, axis=1) for block in np.array_split(centres, max(1, size // 512))]
    return np.unique(np.concatenate(nearest))


def _kmeans(points: np.ndarray, k: int, seed: int, starts: int = 10) -> "KMeans":
    from sklearn.cluster import KMeans

    return KMeans(n_clusters=k, n_init=starts, random_state=seed).fit(points)


def _stability(points: np.ndarray, k: int, seed: int) -> float:
    """Median adjusted Rand index, on the works in both, of clusterings of two random subsamples (Ben-Hur et al. 2002)."""
    from sklearn.metrics import adjusted_rand_score

    generator = np.random.default_rng(seed)
    size = max(k + 1, round(SUBSAMPLE * len(points)))
    scores = []
    for _ in range(RESAMPLES):
        samples = [generator.choice(len(points), size, replace=False) for _ in range(2)]
        labels = [dict(zip(s, _kmeans(points[s], k, seed, starts=2).labels_, strict=True)) for s in samples]
        shared = sorted(set(samples[0]) & set(samples[1]))
        scores.append(adjusted_rand_score([labels[0][i] for i in shared], [labels[1][i] for i in shared]))
    return float(np.median(scores))
