"""Which place of the paintings is most like a place of the picture: exact search, then matches that continue each other.

A brush stroke is larger than a place. If each place found its match alone, strokes would be cut into a woven pattern; so a
place also tries what its neighbours found, moved by as much (Ashikhmin 2001; Barnes et al. 2009, "PatchMatch"), compares
three by three places, and is rewarded for going on where its neighbours are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench import progress

SEARCHED = 50_000
"""Places drawn for the exact search, at most. What lies between them is found by moving a match."""
CANDIDATES = 16
"""Candidates of the exact search for every place."""
TIE = 0.05
"""Cosine by which a candidate may fall short of the best and still be drawn, so that a whole sky does not take one match."""
ROUNDS = 3
"""Rounds in which matches move to those of their neighbours."""
COHERENCE = 0.2
"""Bonus, a cosine, of a match that all four neighbours continue."""
CROWDING = 0.1
"""Penalty, a cosine times log(1 + n), of a match whose surroundings are used n times as often as their share."""
SURROUNDINGS = 8
"""Places. The side of the surroundings whose use is counted."""
OUTSIDE = 0.3
"""Penalty, a cosine, of a neighbour beyond the painting's edge."""
BLOCK = 256
"""Places searched for at once; bounds memory."""
FORBIDDEN = -9.0
"""Score of a match that is not allowed, far below any cosine."""


class Lattice:
    """The places of several pictures, laid end to end: how to get from a place to the one beside it."""

    def __init__(self, grids: Sequence[tuple[int, int]], device: torch.device):
        """`grids`: (rows, columns) of every picture."""
        parts = []
        start = 0
        for number, (rows, columns) in enumerate(grids):
            n = torch.arange(rows * columns)
            same = torch.ones_like(n)
            parts.append(torch.stack([number * same, n // columns, n % columns, rows * same, columns * same, start * same]))
            start += rows * columns
        self.picture, self.row, self.column, self.rows, self.columns, self.start = torch.cat(parts, dim=1).to(device)

    def __len__(self) -> int:
        return len(self.row)

    def moved(self, places: Tensor, down: int | Tensor, across: int | Tensor) -> tuple[Tensor, Tensor]:
        """(places moved, held back at the picture's edge; whether they stay inside), both of the shape of `places`."""
        row, column = self.row[places] + down, self.column[places] + across
        rows, columns = self.rows[places], self.columns[places]
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        row, column = row.clamp_min(0).minimum(rows - 1), column.clamp_min(0).minimum(columns - 1)
        return self.start[places] + row * columns + column, inside


def nearest(query: Tensor, columns: Tensor, k: int, *, block: int = BLOCK) -> Tensor:
    """Indices (P, k) of the rows of `columns` (N, d) with the greatest cosine to each row of `query` (P, d); at most N of them.

    All rows have length one. `block` rows are searched for at a time; it bounds memory and does not change the result.
    """
    k = min(k, len(columns))
    found = []
    for rows in query.split(block):
        progress.check()  # for large pictures the search takes seconds, and a stop should not
        found.append((rows @ columns.T).topk(k, dim=1).indices)
    return torch.cat(found)


class Matcher:
    """Finds, for every place of a picture, its place among the paintings."""

    def __init__(
        self, query: Tensor, grid: tuple[int, int], query_region: Tensor, columns: Tensor, lattice: Lattice, region: Tensor
    ):
        """`query` (P, d), `columns` (N, d): of length one. `query_region` (P,), `region` (N,): a place is matched only within
        its own region; -1 among the paintings is not to be matched at all."""
        self.query, self.columns, self.lattice = query, columns, lattice
        self.query_region, self.region = query_region, region
        self.own = Lattice([grid], query.device)
        self.places = torch.arange(len(query), device=query.device)
        where = torch.stack([lattice.picture, lattice.row // SURROUNDINGS, lattice.column // SURROUNDINGS], dim=1)
        self.surroundings = torch.unique(where, dim=0, return_inverse=True)[1]
        offsets = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
        self.patch = [(down, across, query[self.own.moved(self.places, down, across)[0]]) for down, across in offsets]

    def likeness(self, match: Tensor) -> Tensor:
        """(P,): mean cosine of three by three places about each place and its `match` (P,), less OUTSIDE for each that lies
        beyond the painting's edge; far below -1 where the match is not allowed."""
        total = torch.zeros(len(match), device=match.device)
        for down, across, query in self.patch:
            place, inside = self.lattice.moved(match, down, across)
            total += (query * self.columns[place]).sum(dim=1).float() - OUTSIDE * (~inside).float()
        return torch.where(self.region[match] == self.query_region, total / len(self.patch), FORBIDDEN)

    def agreement(self, match: Tensor, field: Tensor) -> Tensor:
        """(P,): the share of the four neighbours whose matches, by `field` (P,), go on in `match` (P,)."""
        total = torch.zeros(len(match), device=match.device)
        for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            beside, there = self.own.moved(self.places, down, across)
            continued, inside = self.lattice.moved(field[beside], -down, -across)
            total += ((continued == match) & inside & there).float()
        return total / 4

    def independent(self, generator: torch.Generator) -> Tensor:
        """(P,): one of the nearest among at most SEARCHED places drawn from each region, about as like as the best of them."""
        found = torch.zeros(len(self.query), min(CANDIDATES, len(self.region)), dtype=torch.long, device=self.query.device)
        for region in self.query_region.unique().tolist():
            allowed = (self.region == region).nonzero().flatten()
            drawn = allowed[torch.randperm(len(allowed), generator=generator)[:SEARCHED].to(allowed.device)]
            asking = self.query_region == region
            candidates = drawn[nearest(self.query[asking], self.columns[drawn], CANDIDATES)]
            again = torch.arange(found.shape[1], device=found.device) % candidates.shape[1]  # in a region of few places
            found[asking] = candidates[:, again]
        scores = torch.stack([self.likeness(candidate) for candidate in found.T])
        lot = torch.rand(scores.shape, generator=generator).to(scores.device)
        chosen = torch.where(scores >= scores.amax(dim=0) - TIE, lot, -1).argmax(dim=0)
        return found.gather(1, chosen[:, None])[:, 0]

    def coherent(self, match: Tensor, generator: torch.Generator) -> Tensor:
        """(P,): `match` (P,) improved by what neighbours found and by places nearby, likeness and coherence together.

        All places move at once, and scores are brought up to date once a round.
        """
        for n in range(ROUNDS):
            cost = self.crowding(match)
            score = self._worth(match, match, cost)
            for step in (1, 2, 4)[: ROUNDS - n]:
                for down, across in ((-step, 0), (step, 0), (0, -step), (0, step)):
                    beside, _ = self.own.moved(self.places, down, across)
                    match, score = self._better(match, score, cost, *self.lattice.moved(match[beside], -down, -across))
            for reach in (2, 4):
                down, across = torch.randint(-reach, reach + 1, (2, len(match)), generator=generator).to(match.device)
                match, score = self._better(match, score, cost, *self.lattice.moved(match, down, across))
        return match

    def crowding(self, match: Tensor) -> Tensor:
        """(N,): what a match to each place costs because its surroundings are used by `match` (P,) more than their share.

        Without it a few places are repeated all over a sky, as a pattern.
        """
        used = torch.bincount(self.surroundings[match], minlength=int(self.surroundings.max()) + 1).float()
        size = torch.bincount(self.surroundings).float()
        share = used / size.clamp_min(1) * (len(self.region) / len(match))
        return CROWDING * torch.log1p(share)[self.surroundings]

    def _worth(self, match: Tensor, field: Tensor, cost: Tensor) -> Tensor:
        return self.likeness(match) + COHERENCE * self.agreement(match, field) - cost[match]

    def _better(self, match: Tensor, score: Tensor, cost: Tensor, candidate: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        progress.check()
        worth = torch.where(inside, self._worth(candidate, match, cost), FORBIDDEN)
        better = worth > score
        return torch.where(better, candidate, match), torch.where(better, worth, score)
