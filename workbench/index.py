"""Nearest neighbours by cosine, exactly, and how often they show the same as the query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.embeddings import Embeddings
from workbench.errors import UsageError, require


@dataclass(frozen=True)
class Match:
    """A work found, and its cosine to the query, in [-1, 1]."""

    name: str
    similarity: float


class ExactIndex:
    """All works of a corpus, compared one by one with the query."""

    def __init__(self, embeddings: Embeddings):
        self.embeddings = embeddings

    def search(self, descriptor: np.ndarray, k: int = 5, *, exclude: Sequence[str] = ()) -> list[Match]:
        """The `k` works most similar to `descriptor` (D,), best first, ties by name. Fewer if there are not so many."""
        if k < 1:
            raise UsageError(f"k = {k}: ask for at least one neighbour")
        similarities = self.embeddings.similarities(descriptor)
        order = np.argsort(-similarities, kind="stable")
        found = (Match(self.embeddings.names[i], float(similarities[i])) for i in order)
        return [match for match in found if match.name not in set(exclude)][:k]


def precision_at_k(
    embeddings: Embeddings, labels: Sequence[str], k: int, *, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Leave-one-out precision: every work asks for its `k` nearest others; the mean share of them with the work's label.

    Returns (precision, chance), both in [0, 1]; chance is what a random order would reach on average. See `precisions_at_k`,
    which takes and refuses the same. UsageError when no work is left to ask.
    """
    precisions, chances = precisions_at_k(embeddings, labels, k, groups=groups)
    asked = ~np.isnan(precisions)
    require(bool(asked.any()), "precision_at_k: no work with a label has another to compare with")
    return float(precisions[asked].mean()), float(chances[asked].mean())


def precisions_at_k(
    embeddings: Embeddings, labels: Sequence[str], k: int, *, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The precision of every work for itself, and its chance: two arrays (n,) in [0, 1], NaN for a work that asks nothing.

    labels: one per work; works with an empty label take no part. groups: one per work; works of one group, unless it is
    empty, are not found for each other, because that one haystack finds the next is no merit. A work that is left with
    fewer than k others takes all of them, and one that is left with none asks nothing.
    Raises UsageError for k below 1, and for labels or groups that do not match.
    """
    groups = groups or [""] * len(labels)
    counts = (len(embeddings.names), len(labels), len(groups))
    require(k >= 1, f"k = {k}: ask for at least one neighbour")
    require(len(set(counts)) == 1, "precision_at_k: {} works, {} labels, {} groups; give one each".format(*counts))
    labels, groups = np.asarray(labels, dtype=object), np.asarray(groups, dtype=object)
    precisions, chances = np.full((2, len(labels)), np.nan)
    for i in np.flatnonzero(labels != ""):
        eligible = (labels != "") & ((groups != groups[i]) | (groups == ""))
        eligible[i] = False
        if not eligible.any():
            continue
        similarities = np.where(eligible, embeddings.similarities(embeddings.raw[i]), -np.inf)
        nearest = np.argsort(-similarities, kind="stable")[: min(k, eligible.sum())]
        precisions[i] = np.mean(labels[nearest] == labels[i])
        chances[i] = np.mean(labels[eligible] == labels[i])
    return precisions, chances
