"""The plan of a blind study: what raters are asked and whose answers count, fixed before the first answer."""

import hashlib
import itertools
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from workbench.errors import WorkbenchError, require
from workbench.storage import read_text, write_text

ARTIST, CONTENT = "artist", "content"
"""Keys of the two questions: which picture is more like the artist, and which keeps more of the content."""
QUESTIONS = {
    ARTIST: "Which of the two looks more like a work by this artist?",
    CONTENT: "Which of the two keeps more of what the photograph shows?",
}
"""The questions of every pair, unless others are given."""
LEFT, RIGHT, TIE = "left", "right", "tie"
"""Answers to a question."""
GAP = 10
"""Comparisons between a trial and its repeat, at least, in a plan of twice as many."""
FORMAT = 2
"""Version of the plan's file format."""


@dataclass(frozen=True, order=True)
class Item:
    """A picture: `content` after `artist` by `method`, with `seed`. picture: the path of its file."""

    method: str
    artist: str
    content: str
    seed: int
    picture: str


Pools = dict[tuple[str, str], list[tuple[Item, Item]]]  # two methods -> what can be asked about them


@dataclass(frozen=True, order=True)
class Check:
    """A pair whose answers are known, to see whether a rater attends: a work by the artist, and the content itself.

    The work is more like the artist, and the content keeps more of the content: a rater who always answers alike is wrong
    on one of the two. genuine, decoy: paths of the work and of the content's picture.
    """

    artist: str
    content: str
    genuine: str
    decoy: str


@dataclass(frozen=True)
class Trial:
    """Two pictures side by side. repeats: id of the trial it asks again; genuine: the side of the artist's work, in a check."""

    id: str
    left: Item
    right: Item
    repeats: str | None = None
    genuine: str | None = None

    @property
    def compares(self) -> bool:
        """Whether its answers count for the methods: neither a repeat nor a check does."""
        return self.repeats is None and self.genuine is None

    def correct(self, question: str) -> str | None:
        """The right answer in a check, else None."""
        return self.genuine if question == ARTIST or self.genuine is None else SWAPPED[self.genuine]


SWAPPED = {LEFT: RIGHT, RIGHT: LEFT, TIE: TIE}
"""Answer -> the same with sides swapped."""


@dataclass(frozen=True)
class Version:
    """What one rater is asked: every one of `questions` (keys, in the order asked) about every one of `trials`, in order."""

    questions: tuple[str, ...]
    trials: tuple[Trial, ...]

    @cached_property
    def by_id(self) -> dict[str, Trial]:
        return {trial.id: trial for trial in self.trials}


@dataclass(frozen=True)
class Rule:
    """Whose answers count. It is part of the plan, so nobody is left out because of what they answered about the methods.

    checks: the least share of right answers to checks; answered: the least share of questions answered; seconds: the least
    median of the time for an answer; display: whether the faint digits of the display check must have been read.
    """

    checks: float = 0.8
    answered: float = 0.5
    seconds: float = 0.5
    display: bool = True

    def __post_init__(self) -> None:
        for name in ("checks", "answered"):
            require(0 <= getattr(self, name) <= 1, f"{name}={getattr(self, name)}: give a share from 0 to 1")
        require(math.isfinite(self.seconds) and self.seconds >= 0, f"seconds={self.seconds}: give a number from 0")

    def __str__(self) -> str:
        display = ", and who read both digits of the display check" if self.display else ""
        return (
            f"who answered at least {self.answered:.0%} of the questions, {self.checks:.0%} of the checks rightly, "
            f"in {self.seconds:g} s or more (median){display}"
        )


@dataclass(frozen=True)
class Plan:
    """All that raters are shown and asked. Made by `plan`; its file is the key, which names the methods: no rater is to see it.

    questions: key -> what stands before a pair; contents: name -> the untouched picture; references: artist -> works that are
    shown beside every pair; versions: what one rater each is asked, who has one of them at random; files: path -> SHA-256 of
    what lies there.
    """

    questions: dict[str, str]
    seed: int
    ties: bool  # whether "tie" is an answer
    rule: Rule
    contents: dict[str, str]
    references: dict[str, tuple[str, ...]]
    versions: tuple[Version, ...]
    files: dict[str, str] = field(repr=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan, 64 hexadecimal digits. Every file of answers carries it."""
        return hashlib.sha256(json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True).encode()).hexdigest()

    @property
    def sides(self) -> tuple[str, ...]:
        """The answers that may be given."""
        return (LEFT, RIGHT, TIE) if self.ties else (LEFT, RIGHT)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods compared, by name."""
        trials = (trial for version in self.versions for trial in version.trials if trial.compares)
        return tuple(sorted({item.method for trial in trials for item in (trial.left, trial.right)}))

    def read(self, question: str, artist: str) -> str:
        """What the rater reads."""
        return self.questions[question].replace("{artist}", artist)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the plan as JSON, the same bytes for the same plan. Raises UsageError where another plan lies already."""
        path = Path(path)
        if path.exists():
            require(Plan.load(path) == self, f"{path} holds another plan, to which answers may belong: give another path")
        content = {"format": FORMAT, **asdict(self), "hash": self.hash}
        return write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Plan":
        """Read what `save` wrote. Raises WorkbenchError when the file is missing, no plan, or was changed since."""
        try:
            content = json.loads(read_text(path))
            stored = content.pop("hash")
            if content.pop("format") != FORMAT:
                raise WorkbenchError(f"{path} was written by another version of the workbench: make the plan again")
            content["rule"] = Rule(**content["rule"])
            content["references"] = {artist: tuple(works) for artist, works in content["references"].items()}
            content["versions"] = tuple(
                Version(tuple(version["questions"]), tuple(map(_trial_of, version["trials"])))
                for version in content["versions"]
            )
            plan = cls(**content)
        except OSError as error:
            raise WorkbenchError(f"cannot read the plan {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WorkbenchError(f"{path} is not the plan of a blind study: give the key that was written with it") from error
        if plan.hash != stored:
            raise WorkbenchError(f"{path} was changed after it was saved: restore it, or make the plan again")
        return plan


def _trial_of(record: Mapping) -> Trial:
    return Trial(**{**record, LEFT: Item(**record[LEFT]), RIGHT: Item(**record[RIGHT])})


def plan(
    items: Iterable[Item],
    *,
    contents: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    checks: Iterable[Check] = (),
    questions: Mapping[str, str] = QUESTIONS,
    rule: Rule | None = None,
    versions: int = 1,
    seed: int = 0,
    trials: int | None = None,
    repeats: float = 0.15,
    ties: bool = False,
    files: Mapping[str, str] | None = None,
) -> Plan:
    """What raters are asked about `items`: pairs of methods, each on one artist, content and seed. The same for the same input.

    When not all fits, pairs of methods are asked about equally often (the counts differ by one, unless a pair runs out), and
    contents, then artists, about evenly within them, in every version and over all of them. Of two methods each is on the
    left half the time, give or take one, at random. Odd versions ask the questions in the order given, even ones in reverse.

    Args:
        contents: name -> path of the untouched picture, for every content of an item.
        references: artist -> paths of the works that the raters are shown, which no method may have seen.
        checks: all of them are asked once in every version, anywhere.
        questions: ARTIST, CONTENT or both -> what is put before every pair; "{artist}" becomes the artist's name.
        rule: whose answers count; None is `Rule()`.
        versions: how many; with `seed` the number of each decides all that is random in it.
        trials: pairs that a rater sees at most, repeats and checks included; None is all.
        repeats: the share in [0, 0.5] of the comparisons that are asked again with sides swapped, in the second half and
            after GAP other comparisons or more (in a short plan, half of them).
        ties: whether "tie" may be answered; it counts as half a win for both.
        files: path -> SHA-256 of the files of all pictures, so that the plan's hash stands for what they show.

    Raises UsageError for what cannot be asked, an item given twice, and a question that names a method.
    """
    items = sorted(replace(item, seed=int(item.seed), picture=os.fspath(item.picture)) for item in items)
    checks = sorted(replace(check, genuine=os.fspath(check.genuine), decoy=os.fspath(check.decoy)) for check in checks)
    require(0 <= repeats <= 0.5, f"repeats={repeats}: give a share from 0 to 0.5")
    require(versions > 0, f"versions={versions}: give at least 1")
    pools = _pools(items)
    shown = sorted({(one.artist, one.content) for one in (*items, *checks)})
    for artist, content in shown:
        require(content in contents, f"there is no picture of the content {content!r}")
        require(bool(references.get(artist)), f"there is no work by {artist!r} to show beside the pairs")
    known = bool(questions) and set(questions) <= {ARTIST, CONTENT} and all(text.strip() for text in questions.values())
    require(known, f"a blind study asks about {ARTIST!r}, {CONTENT!r} or both, in words")
    for question, (artist, _) in itertools.product(questions.values(), shown):
        read = question.replace("{artist}", artist)
        named = names(read, (item.method for item in items))
        require(not named, f"the question {read!r} names the method {named!r}: reword it or rename the method")
    room = math.inf if trials is None else trials - len(checks)
    everything = sum(map(len, pools.values()))
    count = next((n for n in range(everything, 0, -1) if n + round(repeats * n) <= room), 0)
    require(count > 0, f"trials={trials} leaves no room for a comparison beside {len(checks)} checks")
    used: Counter = Counter()
    made = []
    for number in range(1, versions + 1):
        rng = np.random.default_rng(list(hashlib.sha256(f"{seed}/{number}".encode()).digest()))
        order = tuple(questions) if number % 2 else tuple(questions)[::-1]
        made.append(Version(order, _trials(_chosen(pools, count, used, rng), checks, repeats, rng)))
    return Plan(
        questions=dict(questions),
        seed=seed,
        ties=ties,
        rule=rule or Rule(),
        contents={content: os.fspath(contents[content]) for _, content in shown},
        references={artist: tuple(map(os.fspath, references[artist])) for artist, _ in shown},
        versions=tuple(made),
        files=dict(files or {}),
    )


def names(text: str, methods: Iterable[str]) -> str:
    """The first of `methods` that stands in `text` as a word, in whatever case if it is more than a letter, or ""."""
    words = ((method, re.IGNORECASE if len(method) > 1 else 0) for method in methods)
    return next((method for method, case in words if re.search(rf"(?<!\w){re.escape(method)}(?!\w)", text, case)), "")


def _trials(chosen: Pools, checks: Sequence[Check], repeats: float, rng: np.random.Generator) -> tuple[Trial, ...]:
    """What was chosen, some of it again, and the checks, in random order."""
    asked: list[Trial] = []
    for pairs in chosen.values():
        asked += [_trial(two, flip, rng) for two, flip in zip(pairs, _flips(len(pairs), rng), strict=True)]
    count = len(asked)
    asked = [asked[i] for i in rng.permutation(count)]
    placed: list[tuple[float, Trial]] = list(enumerate(asked))
    gap = min(GAP, count // 2)
    for i in rng.choice((count + 1) // 2, round(repeats * count), replace=False):
        first = asked[i]
        again = Trial(rng.bytes(6).hex(), first.right, first.left, repeats=first.id)
        placed.append((rng.uniform(max(count / 2, i + gap), count), again))
    for check, flip in zip(checks, _flips(len(checks), rng), strict=True):
        two = tuple(Item("", check.artist, check.content, 0, picture) for picture in (check.genuine, check.decoy))
        placed.append((rng.uniform(-1, count), replace(_trial(two, flip, rng), genuine=RIGHT if flip else LEFT)))
    return tuple(trial for _, trial in sorted(placed, key=lambda place: place[0]))


def apart(methods: Sequence[str], pairs: Iterable[tuple[str, str]]) -> str:
    """The groups of `methods` between which no pair leads, such as "a, b with c, d"; "" when all are connected."""
    linked = np.zeros((len(methods), len(methods)))
    for first, second in pairs:
        linked[methods.index(first), methods.index(second)] = 1
    count, label = connected_components(linked, directed=False)
    groups = [", ".join(itertools.compress(methods, label == k)) for k in range(count)]
    return " with ".join(groups) if count > 1 else ""


def _pools(items: Sequence[Item]) -> Pools:
    cells: dict[tuple, dict[str, Item]] = defaultdict(dict)
    for item in items:
        cell = cells[item.artist, item.content, item.seed]
        require(item.method not in cell, f"two items are {item.content} after {item.artist} by {item.method}, seed {item.seed}")
        same = next((method for method, other in cell.items() if other.picture == item.picture), None)
        require(same is None, f"{item.picture} is given for two methods, {same} and {item.method}")
        cell[item.method] = item
    pools: Pools = defaultdict(list)
    for first, second in (two for cell in cells.values() for two in itertools.combinations(cell.values(), 2)):
        pools[first.method, second.method].append((first, second))
    require(bool(pools), "nothing to compare: give items by two methods for the same artist, content and seed")
    groups = apart(sorted({item.method for item in items}), pools)
    require(not groups, f"no items compare {groups}: give both for the same artist, content and seed")
    return dict(sorted(pools.items()))


def _chosen(pools: Pools, count: int, used: Counter, rng: np.random.Generator) -> Pools:
    """`count` of what can be asked: pairs of methods in turn, and what was used least of each, which `used` counts."""
    if count == sum(map(len, pools.values())):
        return pools
    left = {pair: [pool[i] for i in rng.permutation(len(pool))] for pair, pool in pools.items()}
    chosen: Pools = {pair: [] for pair in pools}

    def traits(two: tuple[Item, Item]) -> list[tuple]:
        one, pair = two[0], (two[0].method, two[1].method)
        alone = [("content", one.content), ("artist", one.artist), ("seed", one.seed)]
        itself = (*pair, one.artist, one.content, one.seed)
        return [itself] + [(*pair, *trait) for trait in alone[:2]] + alone  # the pair's own balance counts first

    while True:
        for i in rng.permutation(len(pools)):
            pair = list(pools)[i]
            if left[pair]:
                two = min(left[pair], key=lambda two: [used[trait] for trait in traits(two)])
                left[pair].remove(two)
                chosen[pair].append(two)
                used.update(traits(two))
                count -= 1
            if not count:
                return chosen


def _flips(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` zeros and ones in random order, half of each give or take one."""
    return rng.permutation((np.arange(count) + rng.integers(2)) % 2)


def _trial(two: tuple[Item, ...], flip: int, rng: np.random.Generator) -> Trial:
    return Trial(rng.bytes(6).hex(), two[flip], two[1 - flip])
