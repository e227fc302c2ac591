"""L-BFGS and Adam over one flat vector, one evaluation a step, with a state that can be written to disk.

torch's own L-BFGS stops at absolute gradients of 1e-7 and drops curvature pairs below 1e-10: with dimensionless losses
over a hundred thousand pixels every gradient is that small. Here both tests are relative.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[float, Tensor]]
"""point (n,) -> (loss, gradient (n,))"""


class LBFGS:
    """Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.4) with backtracking to the Armijo condition.

    A step that does not lower the loss enough is not taken: the next step tries half of it. So the loss never rises, and
    every call costs exactly one evaluation.
    """

    def __init__(self, start: Tensor, *, history: int = 20, first_move: float = 0.02):
        """Start at `start` (n,); `first_move` is the root mean square change of the first trial."""
        self.point = start
        self.history = history
        self.first_move = first_move
        self.loss: float | None = None
        self.gradient = torch.zeros_like(start)
        self.direction = torch.zeros_like(start)
        self.length = 1.0
        self.moves = start.new_zeros((0, start.numel()))
        self.turns = start.new_zeros((0, start.numel()))

    def step(self, evaluate: Evaluate) -> bool:
        """Evaluate once and move there if that is an improvement; whether it was. The first call evaluates the start."""
        if self.loss is None:
            self.loss, self.gradient = evaluate(self.point)
            self._steepest()
            return True
        trial = torch.add(self.point, self.direction, alpha=self.length)
        loss, gradient = evaluate(trial)
        slope = float(self.gradient @ self.direction)
        if loss > self.loss + 1e-4 * self.length * slope:
            self.length /= 2
            if self.length < 2**-8:  # the curvature on record misleads here
                self._steepest()
            return False
        self._remember(trial - self.point, gradient - self.gradient)
        self.point, self.loss, self.gradient, self.length = trial, loss, gradient, 1.0
        if len(self.moves):
            self.direction = self._quasi_newton()
        if not len(self.moves) or float(self.gradient @ self.direction) >= 0:
            self._steepest()
        return True

    def _steepest(self) -> None:
        self.moves, self.turns = self.moves[:0], self.turns[:0]
        norm = float(self.gradient.norm())
        scale = self.first_move * self.gradient.numel() ** 0.5 / norm if norm > 0 else 0.0
        self.direction, self.length = self.gradient * -scale, 1.0

    def _remember(self, move: Tensor, turn: Tensor) -> None:
        if float(move @ turn) > 1e-8 * float(move.norm() * turn.norm()):
            self.moves = torch.cat([self.moves, move[None]])[-self.history :]
            self.turns = torch.cat([self.turns, turn[None]])[-self.history :]

    def _quasi_newton(self) -> Tensor:
        q = self.gradient.clone()
        rho = 1 / (self.moves * self.turns).sum(1)
        alpha = [torch.zeros(())] * len(self.moves)
        for i in reversed(range(len(self.moves))):
            alpha[i] = rho[i] * (self.moves[i] @ q)
            q -= alpha[i] * self.turns[i]
        q *= (self.moves[-1] @ self.turns[-1]) / self.turns[-1].square().sum()
        for i in range(len(self.moves)):
            q += (alpha[i] - rho[i] * (self.turns[i] @ q)) * self.moves[i]
        return -q

    def state(self) -> dict[str, Tensor]:
        """Everything a continuation needs, as tensors."""
        numbers = torch.tensor([self.length, float("nan") if self.loss is None else self.loss], dtype=torch.float64)
        tensors = {name: getattr(self, name) for name in ("point", "gradient", "direction", "moves", "turns")}
        return {**tensors, "numbers": numbers}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for name in ("point", "gradient", "direction", "moves", "turns"):
            setattr(self, name, state[name].to(self.point.device))
        self.length, loss = state["numbers"].tolist()
        self.loss = None if loss != loss else loss


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1). `loss` belongs to the point before the last move."""

    def __init__(self, start: Tensor, *, rate: float = 0.02, betas: tuple[float, float] = (0.9, 0.99)):
        self.point = start
        self.loss: float | None = None
        self.rate, self.betas = rate, betas
        self.first = torch.zeros_like(start)
        self.second = torch.zeros_like(start)
        self.count = 0

    def step(self, evaluate: Evaluate) -> bool:
        """Evaluate once and move. Always true: Adam takes every step."""
        self.loss, gradient = evaluate(self.point)
        self.count += 1
        b1, b2 = self.betas
        self.first = torch.lerp(gradient, self.first, b1)
        self.second = torch.lerp(gradient.square(), self.second, b2)
        scale = (self.second / (1 - b2**self.count)).sqrt_().add_(1e-12)
        self.point = self.point - self.rate / (1 - b1**self.count) * self.first / scale
        return True

    def state(self) -> dict[str, Tensor]:
        """Everything a continuation needs, as tensors."""
        return {"point": self.point, "first": self.first, "second": self.second, "count": torch.tensor(self.count)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for name in ("point", "first", "second"):
            setattr(self, name, state[name].to(self.point.device))
        self.count = int(state["count"])
