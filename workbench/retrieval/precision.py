"""Precision at k of retrieval: the share of a work's nearest neighbours that have its label."""

from collections.abc import Sequence

import numpy as np

from workbench.errors import require
from workbench.retrieval.embeddings import Embeddings


def precision_at_k(
    embeddings: Embeddings, labels: Sequence[str], k: int, *, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Leave-one-out precision: the mean, over works, of the share of their `k` nearest others that have the same label.

    Returns (precision, chance), both in [0, 1]; chance is the mean precision of a random order. Arguments and errors as of
    `precisions_at_k`; and UsageError where no work has another to compare with.
    """
    precisions, chances = precisions_at_k(embeddings, labels, k, groups=groups)
    known = ~np.isnan(precisions)
    require(bool(known.any()), "precision_at_k: no work with a label has another to compare with")
    return float(precisions[known].mean()), float(chances[known].mean())


def precisions_at_k(
    embeddings: Embeddings, labels: Sequence[str], k: int, *, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The precision of every work, and its chance: two arrays (n,) in [0, 1], NaN for a work without others.

    Args:
        labels: one per work; works with an empty label are left out.
        groups: one per work; works of one group, unless it is empty, are no neighbours of each other, because works of a
            series are nearly alike. A work with fewer than k others takes all of them.

    Cosines are dense, `Embeddings.similarities`. Raises UsageError for k below 1, and for another number of labels or groups
    than works.
    """
    groups = groups or [""] * len(labels)
    counts = (len(embeddings.names), len(labels), len(groups))
    require(k >= 1, f"k = {k}: give a number of neighbours of at least 1")
    require(len(set(counts)) == 1, "precision_at_k: {} works, {} labels, {} groups; give one each".format(*counts))
    label_of, group_of = np.asarray(labels, dtype=object), np.asarray(groups, dtype=object)
    precisions, chances = np.full((2, len(labels)), np.nan)
    for i in np.flatnonzero(label_of != ""):
        eligible = (label_of != "") & ((group_of != group_of[i]) | (group_of == ""))
        eligible[i] = False
        if not eligible.any():
            continue
        similarities = np.where(eligible, embeddings.similarities(embeddings.raw[i]), -np.inf)
        nearest = np.argsort(-similarities, kind="stable")[: min(k, eligible.sum())]
        precisions[i] = np.mean(label_of[nearest] == label_of[i])
        chances[i] = np.mean(label_of[eligible] == label_of[i])
    return precisions, chances
