"""A blind study of pairs: which is more like the artist, and which keeps the content?

`plan` fixes what is asked and whose answers count; `page` makes of it one HTML file that raters open; `read` takes the answers
they send back; `reliability`, `win_rates` and `strengths` say what follows from them.
"""

from workbench.study.blind.analysis import (
    Comparison,
    Reliability,
    Strengths,
    comparisons,
    reliability,
    strengths,
    win_rates,
)
from workbench.study.blind.ballot import Answer, Ballot, each_once, read
from workbench.study.blind.page import page
from workbench.study.blind.pictures import Pictures, gather
from workbench.study.blind.plan import (
    ARTIST,
    CONTENT,
    GAP,
    LEFT,
    QUESTIONS,
    RIGHT,
    TIE,
    Check,
    Item,
    Plan,
    Rule,
    Trial,
    Version,
    plan,
)
from workbench.study.blind.power import Power, power

__all__ = [
    "ARTIST",
    "CONTENT",
    "GAP",
    "LEFT",
    "QUESTIONS",
    "RIGHT",
    "TIE",
    "Answer",
    "Ballot",
    "Check",
    "Comparison",
    "Item",
    "Pictures",
    "Plan",
    "Power",
    "Reliability",
    "Rule",
    "Strengths",
    "Trial",
    "Version",
    "comparisons",
    "each_once",
    "gather",
    "page",
    "plan",
    "power",
    "read",
    "reliability",
    "strengths",
    "win_rates",
]
