"""How often the nearest neighbours of a work show the same as it does."""

from collections.abc import Sequence

import numpy as np

from workbench.errors import require
from workbench.retrieval.embeddings import Embeddings


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
