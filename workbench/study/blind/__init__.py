"""A blind study of pairs: who looks more like the artist? Its plan, the raters' answers, and what follows from them."""

from workbench.study.blind.analysis import (
    Estimate,
    Outcome,
    Reliability,
    Share,
    Strengths,
    outcomes,
    reliability,
    strengths,
    wilson,
    win_rates,
)
from workbench.study.blind.ballot import Answer, Ballot
from workbench.study.blind.plan import (
    GAP,
    LEFT,
    QUESTION,
    RIGHT,
    TIE,
    Check,
    Item,
    Plan,
    Shown,
    Trial,
    plan,
)

__all__ = [
    "GAP",
    "LEFT",
    "QUESTION",
    "RIGHT",
    "TIE",
    "Answer",
    "Ballot",
    "Check",
    "Estimate",
    "Item",
    "Outcome",
    "Plan",
    "Reliability",
    "Share",
    "Shown",
    "Strengths",
    "Trial",
    "outcomes",
    "plan",
    "reliability",
    "strengths",
    "wilson",
    "win_rates",
]
