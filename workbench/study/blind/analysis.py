"""What answers say: how far a rater can be trusted (`reliability`), and about the methods (`win_rates`, `strengths`)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy  # stats is loaded when it is first used, which takes a second
from scipy.special import expit

from workbench.errors import WorkbenchError, require
from workbench.study.blind.ballot import Ballot
from workbench.study.blind.plan import ARTIST, LEFT, RIGHT, SWAPPED, TIE, apart
from workbench.study.intervals import Interval, Proportion, proportion


@dataclass(frozen=True)
class Reliability:
    """How far a rater can be trusted; NaN where nothing is answered. Intervals of proportions are Wilson's.

    answered, planned: questions; consistent: the share of repeats answered as the first time, 0.5 for who clicks at random;
    left: the share of left among the answers to comparisons and repeats that were no ties; bias: the p-value of its exact
    two-sided binomial test against one half; seconds: the median of all answers; checks: the share of checks answered rightly.
    """

    rater: str
    answered: int
    planned: int
    ties: int
    consistent: Proportion
    left: Proportion
    bias: float
    seconds: float
    checks: Proportion


def reliability(ballots: Iterable[Ballot], *, level: float = 0.95) -> list[Reliability]:
    """One for every ballot, in their order. `level`: of the intervals."""
    return [_reliability(ballot, level) for ballot in ballots]


def _reliability(ballot: Ballot, level: float) -> Reliability:
    trials, sides = ballot.version.by_id, ballot.sides
    agree = [
        sides[first, question] == SWAPPED[side]
        for (trial, question), side in sides.items()
        if (first := trials[trial].repeats) and (first, question) in sides
    ]
    counts = Counter(side for (trial, _), side in sides.items() if not trials[trial].genuine)
    left, decided = counts[LEFT], counts[LEFT] + counts[RIGHT]
    return Reliability(
        rater=ballot.rater,
        answered=len(sides),
        planned=ballot.planned,
        ties=counts[TIE],
        consistent=proportion(sum(agree), len(agree), confidence=level),
        left=proportion(left, decided, confidence=level),
        bias=float(scipy.stats.binomtest(left, decided).pvalue) if decided else math.nan,
        seconds=ballot.seconds,
        checks=proportion(sum(ballot.checks), len(ballot.checks), confidence=level),
    )


@dataclass(frozen=True)
class Comparison:
    """One comparison: score is 1 when the picture by `first` was chosen, 0 when that by `second`, 0.5 for a tie."""

    rater: str
    artist: str
    content: str
    seed: int
    first: str
    second: str
    score: float


def comparisons(ballots: Iterable[Ballot], question: str = ARTIST) -> list[Comparison]:
    """The answers to `question` that count for the methods: of those who count by the plan's rule, no repeats, no checks.

    Every comparison of a rater counts once. Filter the list to look at one artist. Raises UsageError when ballots answer
    different plans or two are by one rater.
    """
    ballots = list(ballots)
    require(len({ballot.plan.hash for ballot in ballots}) <= 1, "the ballots answer different plans: analyse them apart")
    require(len({ballot.rater for ballot in ballots}) == len(ballots), "two ballots are by one rater: give the fuller one")
    score = {LEFT: 1.0, RIGHT: 0.0, TIE: 0.5}
    given = (
        (ballot.rater, ballot.version.by_id[trial], side)
        for ballot in ballots
        if not ballot.fault()
        for (trial, asked), side in ballot.sides.items()
        if asked == question
    )
    return [
        Comparison(rater, pair.left.artist, pair.left.content, pair.left.seed, pair.left.method, pair.right.method, score[side])
        for rater, pair, side in given
        if pair.compares
    ]


def win_rates(comparisons: Sequence[Comparison]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """(methods, rates, counts), methods by name: rates[i, j], (M, M), is the share of `counts[i, j]` comparisons that i won.

    A tie is half a win. Where there was no comparison the rate is nan.
    """
    methods, _, wins = _tally(comparisons)
    wins = wins.sum(0)
    counts = wins + wins.T
    return methods, np.divide(wins, counts, out=np.full_like(wins, math.nan), where=counts > 0), counts


@dataclass(frozen=True)
class Strengths:
    """Bradley-Terry strengths: P(i beats j) = 1 / (1 + exp(values[j] - values[i])).

    methods: strongest first; values: their log strengths, (M,), mean zero; covariances: (3, M, M), by contents, by raters,
    and by cells of both; margin: of an interval, in standard errors (nan with a single content).
    """

    methods: tuple[str, ...]
    values: np.ndarray
    covariances: np.ndarray = field(repr=False)
    margin: float

    def __getitem__(self, method: str) -> Interval:
        """The log strength of `method`, relative to the mean of all."""
        return self._estimate(method)

    def difference(self, first: str, second: str) -> Interval:
        """By how much the log strength of `first` exceeds that of `second`: the log odds that it wins against it."""
        return self._estimate(first, second)

    def probability(self, first: str, second: str) -> Interval:
        """The probability in [0, 1] that `first` is chosen over `second`."""
        odds = self.difference(first, second)
        return Interval(*(float(expit(value)) for value in (odds.mean, odds.low, odds.high)))

    def _estimate(self, *methods: str) -> Interval:
        """Of one method's strength, or of one less another's."""
        contrast = np.zeros(len(self.methods))
        for method, sign in zip(methods, (1, -1), strict=False):
            require(method in self.methods, f"no comparison has the method {method!r}: there are {', '.join(self.methods)}")
            contrast[self.methods.index(method)] += sign
        value = float(contrast @ self.values)
        contents, raters, both = contrast @ self.covariances @ contrast
        # The chance in single answers is in both of the first two and is to count once. No truth lies below either of them.
        half = self.margin * math.sqrt(max(contents + raters - both, contents, raters))
        return Interval(value, value - half, value + half)


def strengths(
    comparisons: Sequence[Comparison], *, level: float = 0.95, resamples: int = 1000, prior: float = 1.0, seed: int = 0
) -> Strengths:
    """How strong the methods are by the model of Bradley & Terry (1952, Biometrika 39), at maximum likelihood.

    Ties are half a win for both. So that who always wins stays finite, `prior` (M - 1) drawn comparisons are added, shared
    evenly by the pairs that were compared; `prior` > 0. For two methods and prior=1 that is half a win for each.

    Intervals are for other contents and other raters: contents, and raters, are resampled `resamples` times with all their
    answers, and the variances added, less that of resampling cells of both, which is in either. The margin is Student's t
    with one degree of freedom less than contents. With few raters who differ much the intervals are too short; with one
    they are for that rater only, and with a single content nan.

    Raises WorkbenchError without comparisons, and when no comparison connects some methods with the others.
    """
    require(0 < level < 1, f"level={level}: give a number between 0 and 1")
    require(prior > 0 and resamples > 1, f"prior={prior}, resamples={resamples}: give a prior above 0, at least 2 resamples")
    methods, cells, wins = _tally(comparisons)
    if not methods:
        raise WorkbenchError("no comparison is answered yet: there are no strengths")
    if groups := apart(methods, {(comparison.first, comparison.second) for comparison in comparisons}):
        raise WorkbenchError(f"no answer compares {groups}: ask for such pairs, or analyse them apart")

    total = wins.sum(0)
    linked = (total + total.T) > 0
    drawn = linked * (prior * (len(methods) - 1) / linked.sum())
    values = _fitted(total + drawn)
    raters, contents = zip(*cells, strict=True)
    rng = np.random.default_rng(seed)
    covariances = np.zeros((3, *total.shape))
    for k, unit in enumerate((contents, raters, cells)):
        place = {member: k for k, member in enumerate(sorted(set(unit)))}
        count = len(place)
        if count > 1:  # one alone does not vary
            times = rng.multinomial(count, [1 / count] * count, size=resamples)[:, [place[one] for one in unit]]
            draws = _fitted(np.tensordot(times, wins, 1) + drawn)
            # A bootstrap's variance falls short by this factor, which matters for few raters.
            covariances[k] = np.cov(draws.T) * (count / (count - 1))

    freedom = len(set(contents)) - 1
    margin = float(scipy.stats.t.ppf(0.5 + level / 2, freedom)) if freedom else math.nan
    order = np.argsort(-values, kind="stable")
    return Strengths(tuple(methods[i] for i in order), values[order], covariances[:, order][:, :, order], margin)


def _tally(comparisons: Sequence[Comparison]) -> tuple[tuple[str, ...], list[tuple[str, str]], np.ndarray]:
    """(methods, cells of rater and content, wins), both by name: wins[k, i, j] is how often i won against j in cell k."""
    methods = tuple(sorted({method for comparison in comparisons for method in (comparison.first, comparison.second)}))
    cells = sorted({(comparison.rater, comparison.content) for comparison in comparisons})
    row, place = {cell: k for k, cell in enumerate(cells)}, {method: i for i, method in enumerate(methods)}
    wins = np.zeros((len(cells), len(methods), len(methods)))
    for comparison in comparisons:
        k, first, second = row[comparison.rater, comparison.content], place[comparison.first], place[comparison.second]
        wins[k, first, second] += comparison.score
        wins[k, second, first] += 1 - comparison.score
    return methods, cells, wins


def _fitted(wins: np.ndarray) -> np.ndarray:
    """Log strengths (..., M), mean zero, at maximum likelihood of `wins` (..., M, M).

    By Newton's method, which needs far fewer steps than the minorisation of Hunter (2004, Ann. Statist. 32) where some
    method wins nearly always. Full steps need not converge: they are damped by log(1 + d) / d, d the largest change of a
    difference of strengths.
    """
    games = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(-1)
    values, unit = np.zeros(won.shape), np.eye(won.shape[-1])
    for _ in range(100):
        chance = expit(values[..., :, None] - values[..., None, :])
        slope = won - (games * chance).sum(-1)
        if np.abs(slope).max() < 1e-9 * max(1.0, games.max()):
            break
        weight = games * chance * (1 - chance)
        # The constant fixes the mean, which the likelihood leaves open.
        curvature = 1 / len(unit) - weight + unit * weight.sum(-1, keepdims=True)
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        change = np.maximum(np.ptp(step, axis=-1, keepdims=True), 1e-12)
        values = values + step * np.log1p(change) / change
    return values - values.mean(-1, keepdims=True)
