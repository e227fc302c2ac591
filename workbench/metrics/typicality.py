"""How typical one work is of an artist: its distance to the nearest real works, as a percentile of what real works score.

For single works alone. A mean of several descriptors lies nearer to every work than the works lie to each other, whatever was
averaged: means of twenty photographs, with no painting in them, come nearer to van Gogh than any of his works does. What was
made from several works is compared by `log_odds`, whose score of a mean is the mean of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import require

NEIGHBOURS = 3
"""Groups of real works, the nearest ones, over which a distance is averaged."""


@dataclass(frozen=True)
class Typicality:
    """How typical a picture is among real works.

    raw: mean distance to its nearest real works; distance: the same in units of the median of what real works score, so
    that 1 is typical.
    percentile: the share of real works that are at least as far from the others, in [0, 1]; 0: farther than any real one, 1:
    nearer than any. A real unseen work is uniform on 0..1, so both ends count against a result.
    p: two-sided, how often a real work would lie as far out on either side, in (0, 1].
    works: how many real ones there are.
    """

    raw: float
    distance: float
    percentile: float
    p: float
    works: int


def typicality(to_real: np.ndarray, between: np.ndarray, groups: Sequence[str], *, k: int = NEIGHBOURS) -> Typicality:
    """How typical a picture is whose distances to n real works are `to_real` (n,) >= 0.

    between: (n, n), the distances of real works to each other; groups: what belongs together, such as a series, (n,).
    For every real work j, both it and the picture are measured against the works outside of j's group: the mean of the
    distances to the `k` nearest groups, of each its nearest work. As both face the same works, no painting is at an
    advantage because the next in its series is there, and a real work from no known group is exchangeable with j: the
    jackknife of Barber et al. (2021, Ann. Statist. 49, "Predictive inference with the jackknife+"), eq. (5).

    UsageError when there are fewer than two groups.
    """
    to_real, between = np.asarray(to_real, dtype=np.float64), np.asarray(between, dtype=np.float64)
    names, label = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    require(len(names) > 1, f"{len(names)} group of real works: there is nothing to compare a real work with; hold out more")
    nearest = np.minimum.reduceat  # over works of one group, which lie together once sorted
    order = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[order], np.arange(len(names)))
    picture = nearest(to_real[order], starts)
    real = nearest(between[:, order], starts, axis=1)
    own = np.empty(len(to_real))
    its = np.empty(len(to_real))
    for j, group in enumerate(label):
        others = np.arange(len(names)) != group
        own[j] = np.sort(real[j, others])[:k].mean()
        its[j] = np.sort(picture[others])[:k].mean()
    farther, nearer = (own >= its), (own <= its)
    count = len(own)
    tails = (1 + farther.sum()) / (count + 1), (1 + nearer.sum()) / (count + 1)
    typical = max(float(np.median(own)), 1e-12)
    raw = float(its.mean())
    return Typicality(raw, raw / typical, float(farther.mean()), min(1.0, 2 * min(tails)), count)


def raw_distances(to_real: np.ndarray, groups: Sequence[str], *, k: int = NEIGHBOURS) -> np.ndarray:
    """`Typicality.raw` of m pictures whose distances to n real works are `to_real` (m, n): (m,), all at once.

    UsageError when there are fewer than two groups.
    """
    names, label, counts = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True, return_counts=True)
    require(len(names) > 1, f"{len(names)} group of real works: there is nothing to compare a real work with; hold out more")
    order = np.argsort(label, kind="stable")
    nearest = np.minimum.reduceat(np.asarray(to_real)[:, order], np.searchsorted(label[order], np.arange(len(names))), axis=1)
    without = [np.sort(np.delete(nearest, group, axis=1), axis=1)[:, :k].mean(axis=1) for group in range(len(names))]
    return np.average(without, axis=0, weights=counts)


def typicality_of_real(between: np.ndarray, groups: Sequence[str], *, k: int = NEIGHBOURS) -> list[Typicality]:
    """How typical each real work is among those outside of its group: what a perfect result would score.

    See `typicality`. UsageError when there are fewer than three groups.
    """
    between, groups = np.asarray(between), np.asarray(groups, dtype=object).astype(str)
    found = []
    for j, group in enumerate(groups):
        others = groups != group
        found.append(typicality(between[j, others], between[np.ix_(others, others)], groups[others], k=k))
    return found
