"""A blind study of pairs: who looks more like the artist? Its plan, the raters' answers, and what follows from them."""

from workbench.study.blind.analysis import (
    Comparison,
    Reliability,
    Strengths,
    comparisons,
    reliability,
    strengths,
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
    "Comparison",
    "Item",
    "Plan",
    "Reliability",
    "Shown",
    "Strengths",
    "Trial",
    "comparisons",
    "plan",
    "reliability",
    "strengths",
    "win_rates",
]
