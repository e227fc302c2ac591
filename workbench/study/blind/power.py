"""How likely a blind study is to find a difference, by simulation, before anybody is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from workbench.errors import require
from workbench.study.blind.analysis import Comparison, strengths
from workbench.study.intervals import Proportion, proportion

MOST = 10_000
"""Raters, contents and simulated studies, at most."""
BY_CONTENT, BY_RATER = 0.5, 0.4
"""Standard deviations, in log odds, of how much contents and raters differ in which of two methods they favour: assumptions,
for nobody has voted yet. 0.5 moves 60:40 to between 48:52 and 71:29 in two thirds of the contents."""


@dataclass(frozen=True)
class Power:
    """found: the share of simulated studies of so many raters and contents whose interval lies above even odds."""

    raters: int
    contents: int
    found: Proportion


def power(
    raters: Sequence[int],
    contents: Sequence[int],
    *,
    share: float = 0.6,
    by_content: float = BY_CONTENT,
    by_rater: float = BY_RATER,
    studies: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> list[Power]:
    """The power for every number of raters with every number of contents, by the analysis of `strengths`.

    Every rater compares two methods once on every content and chooses the first with the odds

        log odds = logit(share) + c + r,   c ~ N(0, by_content²) of the content,   r ~ N(0, by_rater²) of the rater.

    `studies`: simulated for each; 200 leave an error of three points or so. Raises UsageError for what cannot be.
    """
    require(0 < share < 1, f"share={share}: give a number between 0 and 1")
    require(by_content >= 0 and by_rater >= 0, f"by_content={by_content}, by_rater={by_rater}: give numbers from 0")
    numbers = min(raters, default=0), min(contents, default=0), studies
    require(min(numbers) > 0, "give at least one rater, one content and one study")
    require(min(contents) > 1, "a single content gives no interval: give at least 2")
    require(max(*raters, *contents, studies) <= MOST, f"raters, contents, studies: give {MOST} at most of each")
    found = []
    for r in raters:
        for c in contents:
            rng = np.random.default_rng([seed, r, c])
            count = sum(_finds(r, c, logit(share), by_content, by_rater, level, rng) for _ in range(studies))
            found.append(Power(r, c, proportion(count, studies)))
    return found


def _finds(
    raters: int, contents: int, odds: float, by_content: float, by_rater: float, level: float, rng: np.random.Generator
) -> bool:
    """Whether one simulated study finds that the first method is chosen more often."""
    felt = odds + rng.normal(0, by_content, contents) + rng.normal(0, by_rater, (raters, 1))
    chosen = rng.random(felt.shape) < expit(felt)
    answers = [
        Comparison(f"{r}", "", f"{c}", 0, "first", "second", float(one))
        for r, row in enumerate(chosen)
        for c, one in enumerate(row)
    ]
    return strengths(answers, level=level, resamples=200).difference("first", "second").low > 0
