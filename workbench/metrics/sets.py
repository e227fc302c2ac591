"""Sets of results against sets of real works: KID, MMD, Frechet distance, permutation tests, variety, density, coverage.

All take descriptors, (n, D) float64, of whatever encoder judges; none needs more pictures than a study has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist, pdist

from workbench.errors import require
from workbench.statistics import Moments, gaussian_w2

PERMUTATIONS = 2000
"""Relabellings of a permutation test."""
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
"""Width of the Gaussian kernel of CMMD, and the factor its value is multiplied by (Jayasumana et al. 2024)."""

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def polynomial(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(x.y / D + 1)^3, the kernel of KID (Binkowski et al. 2018, section 3): (m, D), (n, D) -> (m, n)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def gaussian(sigma: float) -> Kernel:
    """The kernel exp(-||x - y||^2 / (2 sigma^2)); sigma > 0, else UsageError."""
    require(sigma > 0, f"sigma = {sigma}: a Gaussian kernel needs a positive width")
    return lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2))


def median_width(points: np.ndarray) -> float:
    """The median distance between rows of `points` (n, D): the usual width of a Gaussian kernel (Gretton et al. 2012)."""
    return float(np.median(pdist(points)))


def mmd2(kernel: np.ndarray, first: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) of two sets, which may fall below zero.

    kernel: (n, n) between all things of both sets; first: (n,) bool, which are of the first. UsageError when a set has fewer
    than two things.
    """
    a, b = np.flatnonzero(first), np.flatnonzero(~first)
    require(min(len(a), len(b)) > 1, f"sets of {len(a)} and {len(b)}: a discrepancy needs two things in each")
    within = [(kernel[np.ix_(s, s)].sum() - kernel[s, s].sum()) / (len(s) * (len(s) - 1)) for s in (a, b)]
    return float(sum(within) - 2 * kernel[np.ix_(a, b)].mean())


@dataclass(frozen=True)
class Discrepancy:
    """A squared maximum mean discrepancy between two sets, and how often chance alone makes one as large."""

    value: float
    p: float


def discrepancy(
    a: np.ndarray, b: np.ndarray, kernel: Kernel = polynomial, *, strata: Sequence[str] = (), seed: int = 0
) -> Discrepancy:
    """The unbiased MMD^2 of `a` (m, D) and `b` (n, D), with the p-value of a permutation test that they are of one kind.

    With `polynomial` it is KID on all pictures at once. p = (1 + how many of 2000 relabellings are as large) / 2001.
    strata: what each row of a, then of b, shows (m + n,): things change sides only with things that show the same, so that it
    does not count against one set to show other subjects than the other. UsageError when a set has fewer than two rows.
    """
    both = np.concatenate([a, b])
    matrix = kernel(both, both)
    first = np.arange(len(both)) < len(a)
    value = mmd2(matrix, first)
    # All relabellings at once: with s = 1 in the first set, the sums within and between are quadratic forms of the matrix.
    within, other, across = _sums(matrix, _relabelled(first, strata, seed))
    m, n = len(a), len(b)
    drawn = within / (m * (m - 1)) + other / (n * (n - 1)) - 2 * across / (m * n)
    return Discrepancy(value, float((1 + (drawn >= value - 1e-12 * abs(value)).sum()) / (PERMUTATIONS + 1)))


def _relabelled(first: np.ndarray, strata: Sequence[str], seed: int) -> np.ndarray:
    """Random labels (PERMUTATIONS, n) float64, 1 in the first set, permuted within `strata`, or all where there are none."""
    generator = np.random.default_rng(seed)
    labels = np.tile(first, (PERMUTATIONS, 1))
    names = np.asarray(strata) if len(strata) else np.zeros(len(first), dtype=int)
    for name in np.unique(names):
        inside = np.flatnonzero(names == name)
        labels[:, inside] = generator.permuted(labels[:, inside], axis=1)
    return labels.astype(np.float64)


def _sums(matrix: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of `matrix` (n, n), its diagonal aside, within the first set, within the second, and across, for each labelling."""
    bare = matrix - np.diag(np.diag(matrix))
    product = labels @ bare
    within = (product * labels).sum(axis=1)
    across = product.sum(axis=1) - within
    return within, bare.sum() - within - 2 * across, across


def cmmd(a: np.ndarray, b: np.ndarray, *, strata: Sequence[str] = (), seed: int = 0) -> Discrepancy:
    """CMMD (Jayasumana et al. 2024): 1000 times the MMD^2 of CLIP embeddings of length one, Gaussian kernel of width 10."""
    found = discrepancy(a, b, gaussian(CMMD_SIGMA), strata=strata, seed=seed)
    return Discrepancy(CMMD_SCALE * found.value, found.p)


def frechet(a: np.ndarray, b: np.ndarray, components: int) -> float:
    """The Frechet distance between the Gaussians of two sets in the first `components` principal directions of `b`.

    Call it FID-PCA<components>, never FID: in 2048 dimensions a few hundred pictures decide nothing. Divided by the trace of
    b's covariance there, so that encoders compare: 0 is the same Gaussian. UsageError for more than a tenth of the smaller set.
    """
    least = min(len(a), len(b))
    require(1 <= components <= max(1, least // 10), f"{components} components of sets of {least}: take a tenth at most")
    mean = b.mean(axis=0)
    _, _, rows = np.linalg.svd(b - mean, full_matrices=False)
    (m_a, s_a), (m_b, s_b) = (
        (torch.from_numpy(x.mean(axis=0)), torch.from_numpy(np.atleast_2d(np.cov(x.T))))
        for x in ((a - mean) @ rows[:components].T, (b - mean) @ rows[:components].T)
    )
    return float(gaussian_w2(m_a, s_a, Moments(m_b, s_b + torch.outer(m_b, m_b))) / s_b.trace())


def variety(
    a: np.ndarray, b: np.ndarray, *, strata: Sequence[str] = (), two_sided: bool = False, seed: int = 0
) -> tuple[float, float]:
    """(ratio, p): mean distance between rows of `a` (m, D) over that between rows of `b` (n, D), and its p-value.

    Below 1 the results have lost variety, above 1 they are more scattered than works are. p: how often a relabelling (see
    `discrepancy`) leaves the first set as much less varied than the second; two-sided, twice the smaller tail, at most 1.
    UsageError when a set has fewer than two rows.
    """
    m, n = len(a), len(b)
    require(min(m, n) > 1, f"sets of {m} and {n}: variety needs two things in each")
    both = np.concatenate([a, b])
    first = np.arange(m + n) < m

    def less(labels: np.ndarray) -> np.ndarray:
        within, other, _ = _sums(distances, labels)
        return within / (m * (m - 1)) - other / (n * (n - 1))

    distances = cdist(both, both)
    value = less(first[None].astype(np.float64))[0]
    drawn = less(_relabelled(first, strata, seed))
    close = 1e-12 * abs(value)
    little, much = ((1 + tail.sum()) / (PERMUTATIONS + 1) for tail in (drawn <= value + close, drawn >= value - close))
    p = min(1.0, 2 * min(little, much)) if two_sided else little
    return float(pdist(a).mean() / pdist(b).mean()), float(p)


@dataclass(frozen=True)
class Neighbourhoods:
    """Density and coverage of a set of results among real works; `expected`: the coverage of results of the works' own kind.

    density, at least 0: how many balls around works a result lies in, over k; 1 on average for results of the same kind, more
    where results crowd around the most typical works. coverage, in [0, 1]: the share of works with a result in their ball.
    """

    density: float
    coverage: float
    expected: float


def neighbourhoods(a: np.ndarray, b: np.ndarray, k: int) -> Neighbourhoods:
    """Density and coverage of results `a` (m, D) among works `b` (n, D); the ball of a work ends at its k-th nearest other.

    Naeem et al. (2020), Reliable Fidelity and Diversity Metrics for Generative Models, section 3. A work is missed where, of m
    results and n - 1 other works, the k nearest are works, which gives the expectation. UsageError unless 1 <= k < n.
    """
    m, n = len(a), len(b)
    require(1 <= k < n, f"k = {k} neighbours among {n} works: choose at least 1, and fewer than there are works")
    require(m > 0, "there are no results to compare with works")
    radii = np.sort(cdist(b, b), axis=1)[:, k]  # the first is the work itself
    inside = cdist(a, b) <= radii
    first = np.arange(k)
    missed = float(np.prod((n - 1 - first) / (m + n - 1 - first)))
    return Neighbourhoods(float(inside.sum() / (k * m)), float(inside.any(axis=0).mean()), 1 - missed)
