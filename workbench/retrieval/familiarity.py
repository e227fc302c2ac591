"""Familiarity: how well the works of an artist match a content, as a rank among how well they match each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import require
from workbench.retrieval.centred import CentredIndex

UNFAMILIAR = 0.05
"""Familiarity, a rank in (0, 1], below which a content is taken for something that the artist never painted."""
HARDLY = 0.2
"""Rank below which works are said to fit hardly."""
GROUPS = 6
"""Works, each the nearest of its group, whose agreement is measured."""
SAMPLE = 500
"""Works at most whose own matches are computed."""
ROUNDING = 1e-6
"""A difference of cosines, or of percents, that means nothing."""
CANDIDATES = 1024
"""Works up to which all are candidates for a match."""
NEAREST = 128
"""Candidates among more works, unless they are of too few groups."""


@dataclass(frozen=True)
class Fit:
    """How well works fit a content, beside how well the artist's works fit each other. Two ranks, each in (0, 1].

    familiarity: of the content's best cosine among the best cosines of the artist's works to works of other series;
    agreement: of the mean cosine among the works found (see `match`). A rank is the share of the artist's works that are
    matched no better, the content counted as one more of them: (1 + works no better) / (1 + works). So of pictures that the
    artist might have painted a share of UNFAMILIAR at most ranks below UNFAMILIAR; with fewer than twenty works none can.
    """

    familiarity: float
    agreement: float

    @property
    def shortfall(self) -> float:
        """In [0, 1]: 0 where the works fit, else how far the higher of both ranks is below UNFAMILIAR, relative to it.

        Both count, because photographs are far from works that are all alike, such as those of a synthetic painter: where the
        works found agree with each other, the search was meaningful although their cosines are low.
        """
        better = max(self.familiarity, self.agreement)
        return 1 - better / UNFAMILIAR if better < UNFAMILIAR else 0.0

    @property
    def doubtful(self) -> bool:
        """Whether hardly anything fits: both ranks are below HARDLY."""
        return max(self.familiarity, self.agreement) < HARDLY

    @property
    def words(self) -> str:
        """A phrase for a note: whether the works fit, and how that compares with the artist's own matches.

        A doubt stands first: where a figure is narrow, the end of a note is cut.
        """
        match = f"the best match is worse than {math.floor(100 * (1 - self.familiarity) + ROUNDING)}% of the artist's own"
        if self.doubtful:
            return f"{'nothing' if self.shortfall else 'hardly anything'} here fits: {match}"
        if self.familiarity < HARDLY:
            return f"none is near: {match}, though the works found agree with each other"
        return f"it fits: {match}" if self.familiarity < 1 else "it fits: no match among the artist's own is better"


def fit(works: CentredIndex, groups: Sequence[str], descriptor: np.ndarray) -> Fit:
    """The `Fit` of works to a content with `descriptor` (D,); both ranks are 1 where no work can be compared with another.

    groups: one per work, such as `Work.group`; UsageError otherwise.
    """
    own = own_matches(works, groups)
    no_better = own <= np.array(match(works, groups, descriptor)) + ROUNDING
    ranks = (1 + no_better.sum(axis=0)) / (1 + len(own))
    return Fit(*map(float, ranks))


def match(works: CentredIndex, groups: Sequence[str], descriptor: np.ndarray) -> tuple[float, float]:
    """How well works match `descriptor` (D,): (the best cosine, the mean cosine among the works found), in [-1, 1].

    The works found are the six nearest, of each group the nearest alone. Where a content resembles what the artist painted,
    they show the same as each other; where it does not, one resembles it in this and one in that. The second number is
    meaningful for photographs as well, whose cosines to works that are all alike are low. It is 1 where there are no two
    groups, and both numbers are 0 where nothing is found.

    groups: one per work, such as `Work.group`; UsageError otherwise.
    """
    _check(works, groups)
    return _match(works, groups, descriptor - works.centre, _candidates(works, groups, descriptor))


def own_matches(works: CentredIndex, groups: Sequence[str]) -> np.ndarray:
    """`match` of the works themselves, each without the works of its own group: (m, 2), m at most 500.

    Works of one series do not count as matches for each other, because works of a series are nearly alike, whatever the artist
    painted. Cosines are about the mean of the works of other groups, because a content image has no part in the mean either:
    with its own weight in the mean a work of a small corpus would seem further from the others than it is. Of more than 500
    works 500 are matched, evenly spaced; works with fewer than two works of other groups are left out.
    """
    _check(works, groups)
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    found, n = [], len(groups)
    for row in np.unique(np.linspace(0, n - 1, SAMPLE).round().astype(int)).tolist():
        inside = members[groups[row]]
        if n - len(inside) >= 2:
            vectors = works.vectors(inside)
            own = vectors[inside.index(row)]
            further = (vectors.sum(axis=0, dtype=np.float64) / (n - len(inside))).astype(np.float32)
            candidates = _candidates(works, groups, own + works.centre, without=groups[row])
            found.append(_match(works, groups, own + further, candidates, further))
    return np.array(found).reshape(-1, 2)


def _candidates(works: CentredIndex, groups: Sequence[str], descriptor: np.ndarray, without: str | None = None) -> list[int]:
    """The rows of works near `descriptor` that are not of the group `without`, sorted; of six groups, where there are so many.

    The points of the index are centred by the mean of all works. In a corpus of more than CANDIDATES works the mean without one
    group differs little from it; in a smaller corpus all works are candidates, and nothing depends on it.
    """
    k = len(works) if len(works) <= CANDIDATES else NEAREST
    while True:
        rows = [works.rows[found.id] for found in works.search(descriptor, k)]
        rows = [row for row in rows if groups[row] != without]
        if k >= len(works) or len({groups[row] for row in rows}) >= GROUPS:
            return sorted(rows)
        k *= 4


def _match(
    works: CentredIndex, groups: Sequence[str], vector: np.ndarray, candidates: list[int], further: np.ndarray | float = 0.0
) -> tuple[float, float]:
    """`match` of a `vector` (D,) among the rows `candidates`, whose vectors lie `further` (D,) from another mean."""
    if not candidates:
        return 0.0, 0.0
    directions, query = _units(works.vectors(candidates) + further), _units(vector)
    similarities = directions @ query
    nearest: dict[str, int] = {}  # group -> position among the candidates
    for i in np.argsort(-similarities, kind="stable").tolist():
        nearest.setdefault(groups[candidates[i]], i)
        if len(nearest) == GROUPS:
            break
    found = directions[list(nearest.values())]
    pairs = (found @ found.T)[np.triu_indices(len(found), 1)]
    return float(similarities.max()), float(pairs.mean()) if len(pairs) else 1.0


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _check(works: CentredIndex, groups: Sequence[str]) -> None:
    require(len(groups) == len(works.ids), f"{len(works.ids)} works and {len(groups)} groups; give one each")
