"""L-BFGS and Adam over one flat vector, one evaluation a step, with a state that can be written to disk.

torch's own L-BFGS stops at absolute gradients of 1e-7 and drops curvature pairs below 1e-10: with dimensionless losses
over a hundred thousand pixels every gradient is that small. Here both tests are relative. It also asks the device for two
numbers per pair on record; here nothing leaves a GPU: what is found decides by `where`, and only the number of steps made
decides on the host. On a CPU, where a look costs nothing, the host decides more, and fewer copies are made.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""point (n,) -> (loss, a scalar tensor; gradient (n,))"""

SHORTEST = 2**-8  # of a direction, below which the curvature on record is given up
ARMIJO = 1e-4
STRETCH = 2.0  # times the mean of s y / y D y: how directions are scaled that no pair on record covers; found by measuring
REFIT = 15  # evaluations between two looks at how moves and turns are spread over the coordinates
MEMORY = 0.95  # of a pair's weight in these is left after the next one
BLOCK = 2**16  # coordinates at a time, where a whole matrix would have to be copied
PARTS = 24  # at most, into which vectors are divided for products that all cores take part in
PROMPT = ("cpu",)  # devices at whose results the host can look for nothing, and choose what to do by them
EXTREME = 16.0  # times the geometric mean: no coordinate is thought to be more or less curved than that


def wide(point: Tensor) -> torch.dtype:
    """The precision of the few numbers that steer a descent over `point`: float64 where the device has it."""
    return torch.float32 if point.device.type == "mps" else torch.float64


class Optimiser:
    """What both have in common: `point`, its `loss`, and a state in tensors."""

    kept: tuple[str, ...]
    point: Tensor
    loss: Tensor
    started: bool

    def trial(self) -> Tensor:
        """Where to evaluate next, (n,): at first the point itself. Changes nothing, and is not to be changed."""
        raise NotImplementedError

    def tell(self, trial: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """What was found at the last `trial`, once for each; whether the point moved there, a scalar.

        `trial` may be kept: it is not to be changed afterwards. After the first since a start, all is decided on a GPU by the
        same operations: it can be recorded.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """What is done only once in many steps, by their number: to be called after every `tell`."""

    def step(self, evaluate: Evaluate) -> Tensor:
        """One evaluation; whether the point moved to a new place, a scalar. The first evaluates the start."""
        trial = self.trial()
        moved = self.tell(trial, *evaluate(trial))
        self.settle()
        return moved

    def restart(self) -> None:
        """Let the next step evaluate the point anew, the function having changed; what was learnt of its curvature stays."""
        self.started = False

    def state(self) -> dict[str, Tensor]:
        """Everything a continuation needs, as tensors."""
        return {name: getattr(self, name) for name in self.kept} | {"started": torch.tensor(self.started)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for name in self.kept:
            getattr(self, name).copy_(state[name])
        self.started = bool(state["started"])


class LBFGS(Optimiser):
    """Limited-memory BFGS in compact form (Nocedal & Wright 2006, eq. 7.24) with backtracking to the Armijo condition.

    A step that does not lower the loss enough is not taken: the next step tries half of it, and after eight halvings the
    curvature on record is given up for the steepest descent. So the loss never rises, and every call costs exactly one
    evaluation. Changes of the point (s) and of the gradient (y) are the rows of two matrices, so that a direction takes four
    passes over them, whatever the length of the history. Products with a turn are differences of products with gradients.

    Directions that no pair covers are scaled by twice the mean of s y / y D y over all pairs; the usual choice, that of
    the last pair alone (eq. 7.20), is noisier and takes a fifth more evaluations in style transfer. D is a diagonal that is
    learnt on the way, after Gilbert & Lemarechal (1989, "Some numerical experiments with variable-storage quasi-Newton
    algorithms"): where a Hessian is diagonal, its inverse is |s| / |y|. One pair says little of one coordinate, so both are
    taken over the neighbourhood of a coordinate and over the last twenty pairs or so.
    """

    kept = (
        *("point", "gradient", "direction", "moves", "turns", "products", "along", "loss", "length", "slope", "count"),
        *("newest", "diagonal", "moved", "turned"),
    )

    def __init__(
        self,
        start: Tensor,
        *,
        history: int = 20,
        first_move: float = 0.02,
        local_mean: Callable[[Tensor], Tensor] | None = None,
        diagonal: Tensor | None = None,
    ):
        """Start at `start` (n,).

        Args:
            first_move: root mean square change of the first trial.
            local_mean: values (n,) -> their means (n,) over the neighbourhood of every coordinate. Without it D stays as it is.
            diagonal: D at first (n,), above 0; None is one everywhere.
        """
        self.history = history
        self.first_move = first_move
        self.local_mean = local_mean
        self.started = False
        self.point = start.clone()
        self.gradient = torch.zeros_like(start)
        self.direction = torch.zeros_like(start)
        # One row more than pairs are kept: the newest is written before it is known whether it may stay.
        self.moves, self.turns = (start.new_zeros(history + 1, len(start)) for _ in range(2))
        self.diagonal = torch.ones_like(start) if diagonal is None else diagonal.clone()
        self.moved, self.turned = (torch.zeros_like(start) for _ in range(2))  # running means of s^2 / s y and y^2 / s y
        small = {"dtype": wide(start), "device": start.device}
        self.products = torch.zeros(2, history + 1, history + 1, **small)  # move_i . turn_j, i not newer, and turn_i . D turn_j
        self.along = torch.zeros(2, history + 1, **small)  # move_i . gradient and turn_i . D gradient
        self.loss = torch.zeros((), **small)
        self.length = torch.ones((), **small)
        self.slope = torch.zeros((), **small)  # gradient . direction
        self.count = torch.zeros((), dtype=torch.int64, device=start.device)  # pairs on record
        self.newest = torch.zeros((), dtype=torch.int64, device=start.device)  # row of the last pair
        self.steps = 0  # so far
        self._rows = torch.arange(history + 1, device=start.device)
        self._parts = max(parts for parts in range(1, PARTS + 1) if len(start) % parts == 0)

    def trial(self) -> Tensor:
        if not self.started:
            return self.point
        return torch.addcmul(self.point, self.length.to(self.point.dtype), self.direction)

    def tell(self, trial: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        if not self.started:
            self.loss.copy_(loss)
            self.gradient.copy_(gradient)
            self.length.fill_(1.0)
            yes = torch.ones_like(self.count, dtype=torch.bool)
            self._descend(self._look_along(), ~yes, yes)
            self.started = True
            return yes
        accepted = loss <= self.loss + ARMIJO * self.length * self.slope
        scaled = self._remember(trial, gradient, accepted)
        self.loss.copy_(torch.where(accepted, loss, self.loss))
        self.length.copy_(torch.where(accepted, 1.0, self.length / 2))
        misled = ~accepted & (self.length < SHORTEST) & (self.count > 0)
        self._descend(scaled, misled, accepted)
        return accepted

    def settle(self) -> None:
        """Look, once in a while, at how D should be. It counts from the next direction but one."""
        self.steps += 1
        if self.local_mean is not None and self.steps % REFIT == 0:
            self.diagonal.copy_(self.learnt())
            used = self._used
            parts = zip(self.turns[:used].split(BLOCK, dim=1), self.diagonal.split(BLOCK), strict=True)
            self.products[1, :used, :used] = sum((turns * d) @ turns.T for turns, d in parts)
            self._look_along()

    def learnt(self) -> Tensor:
        """What D should be by all that was seen so far, (n,), over its geometric mean; D itself where nothing was."""
        if self.local_mean is None:
            return self.diagonal
        # A little of the mean, so that coordinates in which nothing ever moves are as good as any.
        moved, turned = (self.local_mean(x) + 1e-6 * x.mean() for x in (self.moved, self.turned))
        seen = (moved > 0) & (turned > 0)
        logarithm = torch.where(seen, (moved / turned).log() / 2, 0.0)
        found = (logarithm - logarithm.mean()).exp().clamp(1 / EXTREME, EXTREME)
        return torch.where(seen, found, self.diagonal)

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.steps = int(state["steps"])

    @property
    def _prompt(self) -> bool:
        return self.point.device.type in PROMPT

    def _either(self, condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
        """`one` where the `condition`, a scalar, is true, else `other`; without a copy where the host can tell."""
        if self._prompt:
            return one if condition else other
        return torch.where(condition, one, other)

    def _become(self, name: str, value: Tensor) -> None:
        """Let the attribute `name` be `value`; in the same tensor as before where steps may be recorded."""
        if self._prompt:
            setattr(self, name, value)
        else:
            getattr(self, name).copy_(value)

    @property
    def _used(self) -> int:
        """Rows from the first on beyond which no pair can be yet."""
        rows = len(self._rows)
        return min(self.steps + 2, rows) if self._prompt else rows  # a step that is recorded cannot grow

    def _look_along(self) -> Tensor:
        """See to `along`: (moves @ gradient, turns @ D gradient). Returns D gradient."""
        used, scaled = self._used, self.diagonal * self.gradient
        found = torch.stack([self._onto(self.moves[:used], self.gradient), self._onto(self.turns[:used], scaled)])
        self.along.copy_(F.pad(found, (0, len(self._rows) - used)))
        return scaled

    def _onto(self, rows: Tensor, vector: Tensor) -> Tensor:
        """rows @ vector, part by part: a matrix of few rows, each of them long, is read by one core alone."""
        parts = rows.view(len(rows), self._parts, -1).permute(1, 2, 0)
        return torch.bmm(vector.view(self._parts, 1, -1), parts).sum(dim=0)[0]

    def _mixture(self, weights: Tensor, rows: Tensor) -> Tensor:
        """weights @ rows, part by part likewise."""
        parts = rows.view(len(rows), self._parts, -1).transpose(0, 1)
        return torch.bmm(weights.expand(self._parts, 1, -1), parts).flatten()

    def _remember(self, trial: Tensor, gradient: Tensor, accepted: Tensor) -> Tensor:
        """Go to `trial` and its `gradient` if it was `accepted`, and put the pair on record if it is sound.

        Returns D times the gradient at the point.
        """
        row = (self.newest + 1) % len(self._rows)
        # What was refused may hold infinities, which would outlive a weight of zero.
        trial, gradient = self._either(accepted, trial, self.point), self._either(accepted, gradient, self.gradient)
        move, turn = trial - self.point, gradient - self.gradient
        self.moves.index_copy_(0, row[None], move[None])
        self.turns.index_copy_(0, row[None], turn[None])
        bent = self.diagonal * turn
        own = torch.stack([move @ self.gradient, bent @ self.gradient]).to(self.loss.dtype)
        before = self.along.index_copy(1, row[None], own[:, None])
        self._become("point", trial)
        self.gradient.copy_(gradient)
        scaled = self._look_along()
        # Products with the newest turn, as differences: one pass over each matrix. No older turn is multiplied by a newer move.
        across = self.along - before
        found = torch.stack([move @ turn, bent @ turn, turn @ turn, move @ move]).to(self.loss.dtype)
        across = across.index_copy(1, row[None], found[:2, None])
        self.products.index_copy_(2, row[None], across[:, :, None])
        self.products[1].index_copy_(0, row[None], across[1:])
        # Curvature must be positive for a descent direction, and large enough to divide by.
        tiny = 1e6 * torch.finfo(move.dtype).tiny
        curvature, _, square, far = found.unbind()
        enough = (1e-8 * square.sqrt() * far.sqrt()).clamp_min(tiny)
        sound = accepted & (curvature > enough) & (square > tiny)
        self.newest.copy_(torch.where(sound, row, self.newest))
        self.count.copy_(torch.where(sound, (self.count + 1).clamp_max(self.history), self.count))
        if self.local_mean is not None:
            fading = torch.where(sound, MEMORY, 1.0).to(move.dtype)
            share = torch.where(sound, (1 - MEMORY) / curvature, 0.0).to(move.dtype)
            for mean, change in ((self.moved, move), (self.turned, turn)):
                mean.mul_(fading).addcmul_(change, share * change)
        return scaled

    def _descend(self, scaled: Tensor, steepest: Tensor, accepted: Tensor) -> None:
        """The next direction: steepest descent where asked, or where nothing is on record; else, if `accepted`, -H gradient.

        `scaled`: D gradient.
        """
        dtype = self.point.dtype
        energy = (scaled @ scaled).to(self.loss.dtype)
        scale = torch.where(energy > 0, self.first_move * (len(self.point) / energy).sqrt(), 0.0)  # 0 at a minimum
        coefficients, newton, slope = self._quasi_newton((self.gradient @ scaled).to(self.loss.dtype))
        usable = accepted & (self.count > 0) & (slope < 0)
        steepest = steepest | (accepted & ~usable)
        coefficients = torch.where(usable, coefficients, 0.0).to(dtype)
        own = torch.where(usable, newton, torch.where(steepest, -scale, 0.0)).to(dtype)
        used = self._used
        turns, moves = (self._mixture(coefficients[i, :used], rows[:used]) for i, rows in ((1, self.turns), (0, self.moves)))
        found = moves.addcmul_(scaled, own).addcmul_(self.diagonal, turns)
        self._become("direction", self._either(accepted | steepest, found, self.direction))
        self.slope.copy_((self.gradient @ self.direction).to(self.loss.dtype).clamp_max(0.0))
        self.count.copy_(torch.where(steepest, 0, self.count))
        self.length.copy_(torch.where(steepest, 1.0, self.length))

    def _quasi_newton(self, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(coefficients, own, slope): -H gradient = own D gradient + coefficients[0] @ moves + D (coefficients[1] @ turns).

        `square`: gradient . D gradient.
        """
        order = (self.newest + 1 + self._rows) % len(self._rows)  # oldest first
        kept = self._rows >= len(self._rows) - self.count
        across, squares = self.products.index_select(1, order).index_select(2, order) * (kept[:, None] & kept)
        p, q = self.along.index_select(1, order) * kept
        ratios = across.diagonal() / squares.diagonal().clamp_min(torch.finfo(squares.dtype).tiny)  # 0 where no pair is
        gamma = STRETCH * ratios.sum() / self.count.clamp_min(1)
        upper = across.triu() + torch.diag((~kept).to(self.loss.dtype))  # rows that hold no pair take no part
        u = torch.linalg.solve_triangular(upper, p[:, None], upper=True)[:, 0]
        w = across.diagonal() * u + gamma * (squares @ u - q)
        v = torch.linalg.solve_triangular(upper.T, w[:, None], upper=False)[:, 0]
        coefficients = torch.zeros_like(self.along).index_copy(1, order, torch.stack([-v, gamma * u]))
        slope = -(gamma * square + p @ v - gamma * (q @ u))
        return coefficients, -gamma, slope


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015, algorithm 1). `loss` belongs to `point`: a step first moves, then evaluates."""

    kept = ("point", "gradient", "first", "second", "loss", "count")

    def __init__(self, start: Tensor, *, rate: float = 0.02, betas: tuple[float, float] = (0.9, 0.99)):
        """Start at `start` (n,); `rate` is the size of a first move."""
        self.rate, self.betas = rate, betas
        self.started = False
        self.point = start.clone()
        self.gradient, self.first, self.second = (torch.zeros_like(start) for _ in range(3))
        self.loss, self.count = torch.zeros(2, dtype=wide(start), device=start.device)  # count: of the moves made

    def trial(self) -> Tensor:
        if not self.started:
            return self.point
        b1, b2 = self.betas
        first, second = self._moments()
        scale = (second / (1 - b2 ** (self.count + 1)).to(second.dtype)).sqrt_().add_(1e-12)
        rate = (self.rate / (1 - b1 ** (self.count + 1))).to(first.dtype)
        return self.point - rate * first / scale

    def tell(self, trial: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """No trial is refused: always true."""
        if self.started:
            first, second = self._moments()
            self.count.add_(1)
            self.first.copy_(first)
            self.second.copy_(second)
        self.point.copy_(trial)
        self.loss.copy_(loss)
        self.gradient.copy_(gradient)
        self.started = True
        return torch.ones_like(self.loss, dtype=torch.bool)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """The running means of the gradient and of its square, the last gradient included."""
        b1, b2 = self.betas
        return torch.lerp(self.gradient, self.first, b1), torch.lerp(self.gradient.square(), self.second, b2)
