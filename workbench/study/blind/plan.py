"""The plan of a blind study: what one rater is asked, fixed before the first answer, and what they may see of it."""

import hashlib
import itertools
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from workbench.errors import WorkbenchError, require
from workbench.storage import write_text

QUESTION = "Which looks more like a painting by {artist}?"
"""The question of a trial, unless another is given."""
LEFT, RIGHT, TIE = "left", "right", "tie"
"""Answers to a trial."""
GAP = 10
"""Comparisons between a trial and its repeat, at least, in a plan of twice as many."""
FORMAT = 1
"""Version of the plan's file format."""


@dataclass(frozen=True, order=True)
class Item:
    """A picture: `content` after `artist` by `method`, with `seed`. picture: a path, or whatever else finds it."""

    method: str
    artist: str
    content: str
    seed: int
    picture: str


Pools = dict[tuple[str, str], list[tuple[Item, Item]]]  # two methods -> what can be asked about them


@dataclass(frozen=True, order=True)
class Check:
    """A trial whose answer is known, to see whether a rater attends: two pictures, of which `genuine` is right."""

    artist: str
    genuine: str
    decoy: str


@dataclass(frozen=True)
class Trial:
    """Two pictures side by side. repeats: id of the trial it asks again; correct: the side that is right, in a check."""

    id: str
    left: Item
    right: Item
    repeats: str | None = None
    correct: str | None = None

    @property
    def compares(self) -> bool:
        """Whether its answer counts for the methods: neither a repeat nor a check does."""
        return self.repeats is None and self.correct is None


@dataclass(frozen=True)
class Shown:
    """What a rater may see of a trial, the `number`-th of `total`: no method. left, right: keys for `Plan.picture`."""

    trial: str
    number: int
    total: int
    question: str
    artist: str
    left: str
    right: str


@dataclass(frozen=True)
class Plan:
    """All that one rater is asked, in order. Made by `plan`."""

    question: str
    rater: str
    seed: int
    ties: bool  # whether "tie" is an answer
    trials: tuple[Trial, ...]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan, 64 hexadecimal digits. Every answer carries it."""
        return hashlib.sha256(json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True).encode()).hexdigest()

    @cached_property
    def by_id(self) -> dict[str, Trial]:
        return {trial.id: trial for trial in self.trials}

    @property
    def sides(self) -> tuple[str, ...]:
        """The answers that may be given."""
        return (LEFT, RIGHT, TIE) if self.ties else (LEFT, RIGHT)

    def shown(self, trial: str) -> Shown:
        """What the rater sees of the trial with this id."""
        artist, number = self.by_id[trial].left.artist, 1 + list(self.by_id).index(trial)
        question = self.question.replace("{artist}", artist)
        return Shown(trial, number, len(self.trials), question, artist, f"{trial}-{LEFT}", f"{trial}-{RIGHT}")

    def picture(self, key: str) -> str:
        """The picture behind a key of `shown`, as the item gave it. A path may tell the method: show the pixels alone."""
        trial, _, side = key.partition("-")
        require(trial in self.by_id and side in (LEFT, RIGHT), f"the plan has no picture with the key {key!r}")
        return getattr(self.by_id[trial], side).picture

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
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            stored, trials = content.pop("hash"), content.pop("trials")
            if content.pop("format") != FORMAT:
                raise WorkbenchError(f"{path} was written by another version of the workbench: make the plan again")
            read = (Trial(**{**trial, LEFT: Item(**trial[LEFT]), RIGHT: Item(**trial[RIGHT])}) for trial in trials)
            plan = cls(**content, trials=tuple(read))
        except OSError as error:
            raise WorkbenchError(f"cannot read the plan {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkbenchError(f"{path} is not the plan of a blind study: give a file that Plan.save wrote") from error
        if plan.hash != stored:
            raise WorkbenchError(f"{path} was changed after it was saved: restore it, or make the plan again")
        return plan


def plan(
    items: Iterable[Item],
    *,
    rater: str,
    question: str = QUESTION,
    seed: int = 0,
    trials: int | None = None,
    repeats: float = 0.15,
    ties: bool = False,
    checks: Iterable[Check] = (),
) -> Plan:
    """What `rater` is asked about `items`: pairs of methods, each on one artist, content and seed. The same for the same input.

    When not all fits, pairs of methods are asked about equally often (the counts differ by one, unless a pair runs out), and
    contents, then artists, about evenly within them. Of two methods each is on the left half the time, give or take
    one, at random.

    Args:
        rater: a name; with `seed` it decides all that is random.
        question: put before every trial; "{artist}" becomes the artist's name.
        trials: how many the rater sees at most, repeats and checks included; None is all.
        repeats: the share in [0, 0.5] of the comparisons that are asked again with sides swapped, in the second half and
            after GAP other comparisons or more (in a short plan, half of them).
        ties: whether "tie" may be answered; it counts as half a win for both.
        checks: all of them are asked once, anywhere.

    Raises UsageError for what cannot be asked, an item given twice, and a question that names a method.
    """
    items = sorted(replace(item, seed=int(item.seed), picture=os.fspath(item.picture)) for item in items)
    checks = sorted(Check(check.artist, os.fspath(check.genuine), os.fspath(check.decoy)) for check in checks)
    require(bool(rater.strip()) and bool(question.strip()), "a blind study needs a rater's name and a question")
    require(0 <= repeats <= 0.5, f"repeats={repeats}: give a share from 0 to 0.5")
    pools = _pools(items)
    for artist, method in itertools.product({one.artist for one in (*items, *checks)}, {item.method for item in items}):
        read = question.replace("{artist}", artist)
        named = re.search(rf"(?<!\w){re.escape(method)}(?!\w)", read, re.IGNORECASE)
        require(not named, f"the question {read!r} names the method {method!r}: reword it or rename the method")
    room = math.inf if trials is None else trials - len(checks)
    everything = sum(map(len, pools.values()))
    count = next((n for n in range(everything, 0, -1) if n + round(repeats * n) <= room), 0)
    require(count > 0, f"trials={trials} leaves no room for a comparison beside {len(checks)} checks")

    rng = np.random.default_rng(list(hashlib.sha256(f"{seed}/{rater}".encode()).digest()))
    asked = []
    for chosen in _chosen(pools, count, rng).values():
        asked += [_trial(two, flip, rng) for two, flip in zip(chosen, _flips(len(chosen), rng), strict=True)]
    asked = [asked[i] for i in rng.permutation(count)]
    placed: list[tuple[float, Trial]] = list(enumerate(asked))
    gap = min(GAP, count // 2)
    for i in rng.choice((count + 1) // 2, round(repeats * count), replace=False):
        first = asked[i]
        again = Trial(rng.bytes(6).hex(), first.right, first.left, repeats=first.id)
        placed.append((rng.uniform(max(count / 2, i + gap), count), again))
    for check, flip in zip(checks, _flips(len(checks), rng), strict=True):
        two = tuple(Item("", check.artist, "", 0, picture) for picture in (check.genuine, check.decoy))
        placed.append((rng.uniform(-1, count), replace(_trial(two, flip, rng), correct=RIGHT if flip else LEFT)))
    order = sorted(placed, key=lambda place: place[0])
    return Plan(question, rater, seed, ties, tuple(trial for _, trial in order))


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
        cell[item.method] = item
    pools: Pools = defaultdict(list)
    for first, second in (two for cell in cells.values() for two in itertools.combinations(cell.values(), 2)):
        pools[first.method, second.method].append((first, second))
    require(bool(pools), "nothing to compare: give items by two methods for the same artist, content and seed")
    groups = apart(sorted({item.method for item in items}), pools)
    require(not groups, f"no items compare {groups}: give both for the same artist, content and seed")
    return dict(sorted(pools.items()))


def _chosen(pools: Pools, count: int, rng: np.random.Generator) -> Pools:
    """`count` of what can be asked: pairs of methods in turn, and what was used least of each."""
    if count == sum(map(len, pools.values())):
        return pools
    left = {pair: [pool[i] for i in rng.permutation(len(pool))] for pair, pool in pools.items()}
    chosen: Pools = {pair: [] for pair in pools}
    used: Counter = Counter()

    def traits(two: tuple[Item, Item]) -> list[tuple]:
        one, pair = two[0], (two[0].method, two[1].method)
        alone = [("content", one.content), ("artist", one.artist), ("seed", one.seed)]
        return [(*pair, *trait) for trait in alone[:2]] + alone  # the pair's own balance counts first

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
