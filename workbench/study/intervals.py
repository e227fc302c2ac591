"""Statistics of a crossed study: intervals, paired differences, and how small a difference it could have seen.

Measurements of one method are an array, float, (contents, seeds) or (contents, seeds, artists), any unit, NaN where a cell
has no value. Every content counts alike, however many of its cells have a value: the mean is that over contents of the means
within them, and interval, test and smallest effect are about that mean.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy  # stats and optimize are loaded when they are first used, which takes a second
from numpy.typing import ArrayLike

from workbench.errors import require

LEAST_LEVELS = 4
"""Contents below which a study gives no interval: a spread of three numbers is hardly known."""
FLIPS = 2**16
"""Flips of signs in a test: all of them up to 16 contents, that many random ones beyond."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """An estimate, `mean`, between the ends of its interval, in the unit of what was measured; NaN where there is none."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True)
class Difference(Interval):
    """How much larger the first of two methods is than the second over the cells that both have.

    p: two-sided, in (0, 1]; p_holm: the same after Holm's correction for the family of comparisons.
    smallest: what difference, in the unit of the mean, the design finds with the power asked for; inf if none whatever.
    n: contents that have a cell in both.
    """

    p: float
    p_holm: float
    smallest: float
    n: int

    def __str__(self) -> str:
        tests = f"p {self.p:.2g}, Holm {self.p_holm:.2g}"
        return f"{super().__str__()}, {tests}, smallest visible {self.smallest:.3g}, n {self.n}"


@dataclass(frozen=True)
class Proportion(Interval):
    """The share `count` / `total`, in [0, 1]."""

    count: int
    total: int


def known_mean(values: ArrayLike, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """The mean along `axis` of what is not NaN; NaN where nothing is known.

    Averages artists away, of (contents, seeds, artists), if what is found is to be about these artists alone.
    """
    values = np.asarray(values, dtype=float)
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.divide(np.where(known, values, 0).sum(axis), count, out=np.full(count.shape, np.nan), where=count > 0)


def content_means(values: ArrayLike) -> np.ndarray:
    """The mean of each content over all its cells that are known: (contents, ...) -> (contents,)."""
    values = np.asarray(values, dtype=float)
    return known_mean(values, tuple(range(1, values.ndim)))


def interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """The mean of `values` (contents, ...) with Student's t interval over contents: `t_interval` of `content_means`.

    Its levels are the contents, however many cells each has. What all contents share, such as which works this study's seeds
    hold out, is not in it: the interval is about these seeds. With fewer than LEAST_LEVELS contents there is no interval
    (NaN), with no value no mean either.

    Raises UsageError as `t_interval` does.
    """
    means = content_means(_checked(values))
    _check(confidence)
    known = means[~np.isnan(means)]
    if len(known) < LEAST_LEVELS:
        return Interval(float(known.mean()) if len(known) else np.nan, np.nan, np.nan)
    return t_interval(known, confidence=confidence)


def t_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """The mean of `values`, (n,), such as differences of n pairs, with Student's t interval; NaN is left out.

    mean ± t s / √n, t being the (1 + confidence) / 2 quantile of Student's distribution with n - 1 degrees of freedom and s
    the standard deviation of the values (ddof 1). Right for few values, where percentiles of a bootstrap are too narrow (those
    for 95 % of three by three cells cover 76 %), if they are about normal and independent. Cells of a crossed design share
    their rows and columns: average over one of these first if the interval is to be about other rows or columns.

    Raises UsageError for fewer than three values, for an array of more than one axis, and for infinite values.
    """
    values = _checked(values)
    _check(confidence)
    require(values.ndim == 1, f"values of the shape {values.shape}: give a plain list, one number per pair")
    values = values[~np.isnan(values)]
    n = len(values)
    require(n >= 3, f"{n} values: a t interval needs three at least")
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


def ratio_interval(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """The geometric mean of first / second over n pairs, (n,) both and positive, with its t interval on the log scale.

    Pairs with a NaN are left out. Raises UsageError as `t_interval` does, and for numbers that are not above 0.
    """
    first, second = _checked(first), _checked(second)
    require(not ((first <= 0) | (second <= 0)).any(), "a ratio on the log scale needs numbers above 0")
    found = t_interval(_paired(np.log(first), np.log(second)), confidence=confidence)
    return Interval(*(float(np.exp(end)) for end in (found.mean, found.low, found.high)))


def sign_flip_p(differences: ArrayLike, *, seed: int = 0) -> float:
    """The two-sided p-value, in (0, 1], of the mean of `differences`, (contents, ...), by flipping the signs of contents.

    Fisher's randomisation test (1935, "The Design of Experiments", section 21): if methods do not differ, each content's
    difference, averaged over its cells, could as well have had the other sign. All 2^n flips are made up to 16 contents, so
    that p is exact and at least 2 / 2^n; beyond, 65536 random ones, of which the observed one is counted as one more. What
    is NaN is left out; p is 1 with one content and NaN with none.

    What all contents share, such as what the seeds of this study did, is not tested: p is about these seeds.
    """
    means = content_means(differences)
    means = means[~np.isnan(means)]
    if len(means) < 2:
        return 1.0 if len(means) else np.nan
    test = scipy.stats.permutation_test(
        (means,), np.mean, permutation_type="samples", vectorized=True, n_resamples=FLIPS, random_state=seed
    )
    return float(test.pvalue)


def least_p(n: int) -> float:
    """The smallest p-value that `sign_flip_p` can give for `n` contents: 2 / 2^n, and 2 / 65537 of random flips."""
    return 2 / min(2**n, FLIPS + 1)


def holm(p: ArrayLike, family: int = 0) -> np.ndarray:
    """The p-values `p`, (m,), of a family of tests, adjusted: (m,), in [0, 1], in the order given.

    To reject what is at most alpha keeps the chance of any false rejection below alpha, however the tests depend on one
    another (Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6). The
    i-th smallest of m becomes the largest of (m - j + 1) p_(j), j <= i, and no more than 1. NaN stays NaN and does not count,
    unless the `family` was fixed to be larger: m is then its size.
    """
    p = np.asarray(p, dtype=float)
    require(p.ndim == 1, f"p-values of the shape {p.shape}: give a plain list")
    require(not ((p < 0) | (p > 1)).any(), "a p-value lies outside 0 to 1")
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN is sorted last
    size = max(family, len(order))
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * (size - np.arange(len(order)))), 1)
    return adjusted


def t_power(effect: float, n: int, alpha: float = 0.05) -> float:
    """The chance, in [0, 1], that the two-sided paired t test of `n` pairs finds an effect at the level `alpha`.

    `effect` is the true mean difference divided by the standard deviation of the differences. Exact for normal differences:
    t is then noncentral with n - 1 degrees of freedom and the noncentrality effect √n (Cohen 1988, "Statistical Power
    Analysis for the Behavioral Sciences", chapter 2).
    """
    limit = scipy.stats.t.isf(alpha / 2, n - 1)
    # The lower tail by symmetry, as an upper one: where it vanishes, scipy's nct.cdf(-limit) is NaN.
    return float(sum(scipy.stats.nct.sf(limit, n - 1, side * effect * np.sqrt(n)) for side in (1, -1)))


def smallest_effect(spread: float, n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest mean difference that the two-sided paired t test finds with the chance `power`, in the unit of `spread`.

    Args:
        spread: the standard deviation of the differences, one per content, in any unit.
        n: contents.
        alpha: the level of the test; that of a family of m tests, divided by m, for the first step of Holm's procedure.

    NaN with fewer than two contents. Raises UsageError unless 0 < alpha < power < 1.
    """
    require(0 < alpha < power < 1, f"level {alpha} and power {power}: 0 < level < power < 1 is needed")
    if n < 2 or np.isnan(spread):
        return np.nan
    enough = 1.0
    while t_power(enough, n, alpha) < power:
        enough *= 2
    return float(spread * scipy.optimize.brentq(lambda effect: t_power(effect, n, alpha) - power, 0, enough))


def compared(
    pairs: Mapping[Key, tuple[ArrayLike, ArrayLike]],
    *,
    confidence: float = 0.95,
    power: float = 0.8,
    family: int = 0,
    seed: int = 0,
) -> dict[Key, Difference]:
    """A family of paired comparisons: key -> first minus second.

    Both arrays of a pair are (contents, ...), of the same shape, and cells correspond; one that is NaN in either is left out.
    The interval is that of `interval`, not adjusted for the family. p is that of `sign_flip_p` for the differences of
    contents, and p_holm corrects it for all pairs that have one, or for a `family` of so many tests, where these are more. The
    smallest effect is that of `smallest_effect` at the level 1 - confidence divided by the size of the family, rounded down to
    a p-value that flips of signs can give; inf if they cannot give one so small, which is so with 9 contents in families of
    more than 12 at 95 %. It takes the t test for the sign flips, which find a little less: simulated with 9 contents and
    normal differences, what they find with a power of 0.8 is larger by 2 % in families of up to three, 6 % of six and 15 % of
    twelve.

    Raises UsageError as `interval` does, for arrays of a pair that differ in shape, and unless 1 - confidence < power < 1.
    """
    _check(confidence)
    require(1 - confidence < power < 1, f"power {power}: give a number between {1 - confidence:.3g} and 1, such as 0.8")
    cells = {key: _paired(*pair) for key, pair in pairs.items()}
    p = np.array([sign_flip_p(values, seed=seed) for values in cells.values()])
    family = max(family, np.count_nonzero(~np.isnan(p)))
    results = {}
    for (key, values), raw, adjusted in zip(cells.items(), p, holm(p, family), strict=True):
        means = content_means(values)
        means = means[~np.isnan(means)]
        found = interval(values, confidence=confidence)
        smallest = _smallest_flipped(means, (1 - confidence) / max(family, 1), power)
        ends = found.mean, found.low, found.high
        results[key] = Difference(*ends, float(raw), float(adjusted), smallest, len(means))
    return results


def proportion(successes: int, trials: int, *, confidence: float = 0.95) -> Proportion:
    """The share `successes` / `trials`, in [0, 1], with its Wilson score interval; NaN of no trials.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
    Association 22. Trials are taken as independent: count contents, not cells. Raises UsageError for an impossible count.
    """
    require(0 <= successes <= trials, f"{successes} of {trials} is not a share")
    _check(confidence)
    if trials == 0:
        return Proportion(np.nan, np.nan, np.nan, 0, 0)
    ends = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Proportion(successes / trials, float(ends.low), float(ends.high), successes, trials)


def _check(confidence: float) -> None:
    require(0 < confidence < 1, f"confidence {confidence}: give a number between 0 and 1, such as 0.95")


def _checked(values: ArrayLike) -> np.ndarray:
    """`values` as floats with a first axis, none of them infinite."""
    values = np.asarray(values, dtype=float)
    require(values.ndim > 0, "a single number has no interval: give an array of contents by seeds")
    require(not np.isinf(values).any(), "a measurement is infinite: give numbers, and NaN where there is no value")
    return values


def _paired(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """first - second, NaN where either is."""
    first, second = _checked(first), _checked(second)
    require(first.shape == second.shape, f"measurements of the shapes {first.shape} and {second.shape} are not pairs")
    return first - second


def _smallest_flipped(differences: np.ndarray, alpha: float, power: float) -> float:
    """`smallest_effect` of `differences`, (n,), at the level that flips of their signs have: `alpha` or just below."""
    n = len(differences)
    if n < 2:
        return np.nan
    level = np.floor(alpha / least_p(n)) * least_p(n)
    return smallest_effect(float(differences.std(ddof=1)), n, alpha=level, power=power) if level else np.inf
