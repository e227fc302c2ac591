"""Answers to a plan: the file that the page gives a rater to send back, and whether it counts."""

import json
import math
import os
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from workbench.errors import WorkbenchError, require
from workbench.storage import read_text
from workbench.study.blind.plan import Plan, Version

FORMAT = 1
"""Version of the format of answers."""
RATER = re.compile(r"[0-9a-f]{8}")
"""The code of a rater, which the page draws."""


@dataclass(frozen=True)
class Answer:
    """side: "left", "right" or "tie"; seconds: that the rater took."""

    trial: str
    question: str
    side: str
    seconds: float


@dataclass(frozen=True)
class Ballot:
    """A rater's answers to one version of a plan.

    number: of the version, from 1; rater: a code that no name belongs to; answers: in the order given, at most one for a
    question about a trial; dark, light: whether the faint digits of the display check were read; source: where it was read.

    Raises UsageError for an answer that the plan has no room for.
    """

    plan: Plan = field(repr=False)
    number: int
    rater: str
    answers: tuple[Answer, ...]
    dark: bool = True
    light: bool = True
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        last = len(self.plan.versions)
        require(1 <= self.number <= last, f"version {self.number}: the plan has versions 1 to {last}")
        for answer in self.answers:
            require(answer.trial in self.version.by_id, f"version {self.number} has no trial {answer.trial!r}")
            require(answer.question in self.plan.questions, f"the plan has no question {answer.question!r}")
            require(answer.side in self.plan.sides, f"side {answer.side!r}: it can be {' or '.join(self.plan.sides)}")
            require(
                math.isfinite(answer.seconds) and answer.seconds >= 0, f"seconds {answer.seconds}: a number from 0 it is not"
            )
        twice = len(self.sides) < len(self.answers)
        require(not twice, "a question about a trial is answered twice")

    @property
    def version(self) -> Version:
        return self.plan.versions[self.number - 1]

    @property
    def planned(self) -> int:
        """How many questions the version asks."""
        return len(self.version.trials) * len(self.plan.questions)

    @cached_property
    def sides(self) -> dict[tuple[str, str], str]:
        """(trial, question) -> the answer."""
        return {(answer.trial, answer.question): answer.side for answer in self.answers}

    @cached_property
    def checks(self) -> tuple[bool, ...]:
        """Of every answer to a check, whether it is right."""
        known = ((self.version.by_id[trial].correct(question), side) for (trial, question), side in self.sides.items())
        return tuple(side == correct for correct, side in known if correct)

    @property
    def seconds(self) -> float:
        """The median of the time for an answer; NaN without any."""
        return statistics.median(answer.seconds for answer in self.answers) if self.answers else math.nan

    def fault(self) -> str:
        """Why the answers do not count by the rule of the plan; "" if they do."""
        rule, right = self.plan.rule, sum(self.checks)
        if not self.answers or len(self.answers) < rule.answered * self.planned:
            return f"{len(self.answers)} of {self.planned} questions answered, less than {rule.answered:.0%}"
        if right < rule.checks * len(self.checks):
            return f"{right} of {len(self.checks)} checks answered rightly, less than {rule.checks:.0%}"
        if self.seconds < rule.seconds:
            return f"{self.seconds:.2g} s for an answer (median), less than {rule.seconds:g} s"
        if rule.display and not (self.dark and self.light):
            return f"the {'light' if self.dark else 'dark'} digit of the display check was not read"
        return ""


def read(path: str | os.PathLike, plan: Plan) -> Ballot:
    """The answers in a file that the page made. Raises WorkbenchError when it is damaged, or answers another plan."""
    try:
        record = json.loads(read_text(path, "utf-8-sig"))
        stored, number, rater, display = record["plan"], record["version"], record["rater"], record["display"]
        answers = tuple(Answer(**answer) for answer in record["answers"])
        numbers = [number, *(answer.seconds for answer in answers)]
        texts = [rater, stored, *(word for answer in answers for word in (answer.trial, answer.question, answer.side))]
        sound = (
            record["format"] == FORMAT
            and type(number) is int
            and all(isinstance(text, str) for text in texts)
            and all(type(one) in (int, float) for one in numbers)
            and all(type(display[name]) is bool for name in ("dark", "light"))
            and RATER.fullmatch(rater) is not None
        )
    except OSError as error:
        raise WorkbenchError(f"cannot read the answers {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WorkbenchError(f"{path} is no file of answers, or is damaged: ask for it again") from error
    if not sound:
        raise WorkbenchError(f"{path} is no file of answers, or is damaged: ask for it again")
    if stored != plan.hash:
        raise WorkbenchError(f"{path} answers another plan ({stored[:12]}, not {plan.hash[:12]}): give the key it belongs to")
    try:
        return Ballot(plan, number, rater, answers, display["dark"], display["light"], str(path))
    except (WorkbenchError, OverflowError) as error:
        raise WorkbenchError(f"{path} is damaged: {error}") from error


def each_once(ballots: Iterable[Ballot]) -> list[Ballot]:
    """The ballots without those that a rater sent again, perhaps after more answers: the fullest of each counts.

    Raises WorkbenchError when two of one rater contradict each other.
    """
    found: dict[str, Ballot] = {}
    for ballot in ballots:
        other = found.get(ballot.rater, ballot)
        less, more = sorted((other, ballot), key=lambda one: len(one.answers))
        if (less.number, less.plan.hash) != (more.number, more.plan.hash) or not less.sides.items() <= more.sides.items():
            raise WorkbenchError(f"{other.source} and {ballot.source} are by one rater and differ: keep one of them")
        found[ballot.rater] = more
    return list(found.values())
