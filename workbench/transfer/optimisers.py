"""L-BFGS and Adam over one flat vector, one evaluation a step, with a state that can be written to disk.

Both are asked where to evaluate and told what was found there. torch's own L-BFGS stops at absolute gradients of 1e-7 and drops
curvature pairs below 1e-10: with dimensionless losses over a hundred thousand pixels every gradient is that small. Here both
tests are relative. It also asks the device for two numbers per pair; here every decision is made by `torch.where`, so nothing
waits for a GPU and a step can be recorded as a CUDA graph.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""point (n,) -> (loss, a scalar tensor; gradient (n,))"""

SHORTEST = 2**-8
"""Length of a step, as a share of the direction, below which the pairs on record are given up for the steepest descent."""
ARMIJO = 1e-4
"""The constant c1 of the Armijo condition (Nocedal & Wright 2006, eq. 3.4)."""
GAMMA_FACTOR = 2.0
"""Factor of gamma, the scale of the initial inverse Hessian, over the mean of s.y / y.Dy. Found by measuring."""
REFIT_EVERY = 15
"""Evaluations between two fits of the diagonal D."""
DECAY = 0.95
"""Share of a pair's weight in the fit of D that is left after the next pair."""
BLOCK = 2**16
"""Coordinates multiplied at a time where a whole matrix would have to be copied."""
EXTREME = 16.0
"""Largest entry of D over its geometric mean; its inverse is the smallest."""


def wide(point: Tensor) -> torch.dtype:
    """The precision of the few numbers that steer a descent over `point`: float64 where the device has it."""
    return torch.float32 if point.device.type == "mps" else torch.float64


class Optimiser:
    """What both have in common: `point`, its `loss`, and a state in tensors."""

    kept: tuple[str, ...]
    point: Tensor
    loss: Tensor
    started: bool

    def ask(self) -> Tensor:
        """Where to evaluate next, (n,): at first the point itself. Changes nothing, and is not to be changed."""
        raise NotImplementedError

    def tell(self, trial: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """What was found at the point last asked for; whether the optimiser moved there, a scalar bool tensor.

        `trial` may be kept: it is not to be changed afterwards. After the first call since a start, every call does the same
        operations.
        """
        raise NotImplementedError

    def end_step(self) -> None:
        """What is done only once in many steps: to be called after every `tell`."""

    def step(self, evaluate: Evaluate) -> Tensor:
        """One evaluation; whether the point moved, a scalar bool tensor. The first evaluates the start."""
        trial = self.ask()
        moved = self.tell(trial, *evaluate(trial))
        self.end_step()
        return moved

    def restart(self) -> None:
        """Let the next step evaluate the point anew because the function has changed; the curvature on record stays."""
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
    pairs on record are given up for the steepest descent. So the loss never rises, and every call costs exactly one
    evaluation. Differences of points (s) and of gradients (y) are the rows of two matrices, so that a direction takes four
    passes over them, whatever the length of the history.

    Directions that no pair covers are scaled by twice the mean of s.y / y.Dy over all pairs; the usual choice, that of
    the last pair alone (eq. 7.20), is noisier and takes a fifth more evaluations in style transfer. D is a diagonal that is
    fitted on the way, after Gilbert & Lemarechal (1989, "Some numerical experiments with variable-storage quasi-Newton
    algorithms"): where a Hessian is diagonal, its inverse is |s| / |y|. One pair says little of one coordinate, so both are
    averaged over the neighbourhood of a coordinate and over about the last twenty pairs.
    """

    kept = (
        *("point", "gradient", "direction", "s", "y", "products", "along", "loss", "length", "slope", "count"),
        *("newest", "diagonal", "mean_s2", "mean_y2"),
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
        self.s, self.y = (start.new_zeros(history + 1, len(start)) for _ in range(2))
        self.diagonal = torch.ones_like(start) if diagonal is None else diagonal.clone()
        self.mean_s2, self.mean_y2 = (torch.zeros_like(start) for _ in range(2))  # running means of s^2 / s.y and y^2 / s.y
        small: dict[str, Any] = {"dtype": wide(start), "device": start.device}
        self.products = torch.zeros(2, history + 1, history + 1, **small)  # s_i . y_j, i not newer, and y_i . D y_j
        self.along = torch.zeros(2, history + 1, **small)  # s_i . gradient and y_i . D gradient
        self.loss = torch.zeros((), **small)
        self.length = torch.ones((), **small)
        self.slope = torch.zeros((), **small)  # gradient . direction
        self.count = torch.zeros((), dtype=torch.int64, device=start.device)  # pairs on record
        self.newest = torch.zeros((), dtype=torch.int64, device=start.device)  # row of the last pair
        self.steps = 0  # so far
        self._rows = torch.arange(history + 1, device=start.device)

    def ask(self) -> Tensor:
        if not self.started:
            return self.point
        return torch.addcmul(self.point, self.length.to(self.point.dtype), self.direction)

    def tell(self, trial: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        if not self.started:
            self.loss.copy_(loss)
            self.gradient.copy_(gradient)
            self.length.fill_(1.0)
            yes = torch.ones_like(self.count, dtype=torch.bool)
            self._choose_direction(self._multiply_gradient(), ~yes, yes)
            self.started = True
            return yes
        accepted = loss <= self.loss + ARMIJO * self.length * self.slope
        scaled = self._remember(trial, gradient, accepted)
        self.loss.copy_(torch.where(accepted, loss, self.loss))
        self.length.copy_(torch.where(accepted, 1.0, self.length / 2))
        misled = ~accepted & (self.length < SHORTEST) & (self.count > 0)
        self._choose_direction(scaled, misled, accepted)
        return accepted

    def end_step(self) -> None:
        """Fit D once in a while. It counts from the next direction but one."""
        self.steps += 1
        if self.local_mean is not None and self.steps % REFIT_EVERY == 0:
            self.diagonal.copy_(self.fitted_diagonal())
            parts = zip(self.y.split(BLOCK, dim=1), self.diagonal.split(BLOCK), strict=True)
            self.products[1] = sum((y * d) @ y.T for y, d in parts)
            self._multiply_gradient()

    def fitted_diagonal(self) -> Tensor:
        """What D should be by all pairs so far, (n,), over its geometric mean; D itself where no pair says anything."""
        if self.local_mean is None:
            return self.diagonal
        # A little of the mean, so that coordinates in which nothing ever moves are as good as any.
        s2, y2 = (self.local_mean(x) + 1e-6 * x.mean() for x in (self.mean_s2, self.mean_y2))
        known = (s2 > 0) & (y2 > 0)
        logarithm = torch.where(known, (s2 / y2).log() / 2, 0.0)
        found = (logarithm - logarithm.mean()).exp().clamp(1 / EXTREME, EXTREME)
        return torch.where(known, found, self.diagonal)

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        super().load(state)
        self.steps = int(state["steps"])

    def _multiply_gradient(self) -> Tensor:
        """Set `along` to (s . gradient, y . D gradient). Returns D gradient."""
        scaled = self.diagonal * self.gradient
        self.along.copy_(torch.stack([self.s @ self.gradient, self.y @ scaled]))
        return scaled

    def _remember(self, trial: Tensor, gradient: Tensor, accepted: Tensor) -> Tensor:
        """Go to `trial` and its `gradient` if it was `accepted`, and put the pair on record if it is sound.

        Returns D times the gradient at the point.
        """
        row = (self.newest + 1) % len(self._rows)
        # What was refused may hold infinities, which would outlive a weight of zero.
        trial, gradient = torch.where(accepted, trial, self.point), torch.where(accepted, gradient, self.gradient)
        s, y = trial - self.point, gradient - self.gradient
        self.s.index_copy_(0, row[None], s[None])
        self.y.index_copy_(0, row[None], y[None])
        dy = self.diagonal * y
        own = torch.stack([s @ self.gradient, dy @ self.gradient]).to(self.loss.dtype)
        before = self.along.index_copy(1, row[None], own[:, None])
        self.point.copy_(trial)
        self.gradient.copy_(gradient)
        scaled = self._multiply_gradient()
        # Products with the newest y, as differences: one pass over each matrix. No older y is multiplied by a newer s.
        across = self.along - before
        found = torch.stack([s @ y, dy @ y, y @ y, s @ s]).to(self.loss.dtype)
        across = across.index_copy(1, row[None], found[:2, None])
        self.products.index_copy_(2, row[None], across[:, :, None])
        self.products[1].index_copy_(0, row[None], across[1:])
        # Curvature must be positive for a descent direction, and large enough to divide by.
        tiny = 1e6 * torch.finfo(s.dtype).tiny
        curvature, _, y2, s2 = found.unbind()
        enough = (1e-8 * y2.sqrt() * s2.sqrt()).clamp_min(tiny)
        sound = accepted & (curvature > enough) & (y2 > tiny)
        self.newest.copy_(torch.where(sound, row, self.newest))
        self.count.copy_(torch.where(sound, (self.count + 1).clamp_max(self.history), self.count))
        if self.local_mean is not None:
            fading = torch.where(sound, DECAY, 1.0).to(s.dtype)
            share = torch.where(sound, (1 - DECAY) / curvature, 0.0).to(s.dtype)
            for mean, change in ((self.mean_s2, s), (self.mean_y2, y)):
                mean.mul_(fading).addcmul_(change, share * change)
        return scaled

    def _choose_direction(self, scaled: Tensor, steepest: Tensor, accepted: Tensor) -> None:
        """The next direction: steepest descent where asked, or where no pair is on record; else, if `accepted`, -H gradient.

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
        from_s, from_y = coefficients[0] @ self.s, coefficients[1] @ self.y
        found = from_s.addcmul_(scaled, own).addcmul_(self.diagonal, from_y)
        self.direction.copy_(torch.where(accepted | steepest, found, self.direction))
        self.slope.copy_((self.gradient @ self.direction).to(self.loss.dtype).clamp_max(0.0))
        self.count.copy_(torch.where(steepest, 0, self.count))
        self.length.copy_(torch.where(steepest, 1.0, self.length))

    def _quasi_newton(self, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(coefficients, own, slope): -H gradient = own D gradient + coefficients[0] @ s + D (coefficients[1] @ y).

        `square`: gradient . D gradient.
        """
        order = (self.newest + 1 + self._rows) % len(self._rows)  # oldest first
        kept = self._rows >= len(self._rows) - self.count
        across, squares = self.products.index_select(1, order).index_select(2, order) * (kept[:, None] & kept)
        p, q = self.along.index_select(1, order) * kept
        ratios = across.diagonal() / squares.diagonal().clamp_min(torch.finfo(squares.dtype).tiny)  # 0 where no pair is
        gamma = GAMMA_FACTOR * ratios.sum() / self.count.clamp_min(1)
        upper = across.triu() + torch.diag((~kept).to(self.loss.dtype))  # rows that hold no pair take no part
        u = torch.linalg.solve_triangular(upper, p[:, None], upper=True)[:, 0]
        w = across.diagonal() * u + gamma * (squares @ u - q)
        v = torch.linalg.solve_triangular(upper.T, w[:, None], upper=False)[:, 0]
        coefficients = torch.zeros_like(self.along).index_copy(1, order, torch.stack([-v, gamma * u]))
        slope = -(gamma * square + p @ v - gamma * (q @ u))
        return coefficients, -gamma, slope


class Adam(Optimiser):
    """torch's Adam (Kingma & Ba 2015), asked and told. `loss` belongs to `point`: a step first moves, then evaluates."""

    kept = ("point", "gradient", "loss", "following", "first", "second", "count")

    def __init__(self, start: Tensor, *, rate: float = 0.02, betas: tuple[float, float] = (0.9, 0.99)):
        """Start at `start` (n,); `rate` is the size of a first move."""
        self.started = False
        self.point = start.clone()
        self.gradient = torch.zeros_like(start)
        self.loss = torch.zeros((), dtype=wide(start), device=start.device)
        self.following = start.clone().requires_grad_()  # where to evaluate next
        self.adam = torch.optim.Adam([self.following], lr=rate, betas=betas, eps=1e-12, capturable=start.is_cuda)
        self._move()  # by a gradient of 0: torch makes its state at the first step, and that is to be copied into
        for name in ("first", "second", "count"):
            getattr(self, name).zero_()
        with torch.no_grad():
            self.following.copy_(start)

    @property
    def first(self) -> Tensor:
        """Running mean of the gradient, (n,)."""
        return self.adam.state[self.following]["exp_avg"]

    @property
    def second(self) -> Tensor:
        """Running mean of the squared gradient, (n,)."""
        return self.adam.state[self.following]["exp_avg_sq"]

    @property
    def count(self) -> Tensor:
        """Moves made, a scalar."""
        return self.adam.state[self.following]["step"]

    def ask(self) -> Tensor:
        return self.following.detach().clone() if self.started else self.point

    def tell(self, trial: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """No trial is refused: always true."""
        self.point.copy_(trial)
        self.loss.copy_(loss)
        self.gradient.copy_(gradient)
        self._move()
        self.started = True
        return torch.ones_like(self.loss, dtype=torch.bool)

    def restart(self) -> None:
        super().restart()
        with torch.no_grad():
            self.following.copy_(self.point)

    def load(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            super().load(state)

    def _move(self) -> None:
        self.following.grad = self.gradient
        self.adam.step()
