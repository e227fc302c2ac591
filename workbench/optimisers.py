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

    A step that does not lower the loss enough is not taken: the next step tries half of it, and after eight halvings the
    curvature on record is given up for the steepest descent. So the loss never rises, and every call costs exactly one
    evaluation.
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
        self.pairs: list[tuple[Tensor, Tensor]] = []  # (change of the point, change of the gradient), oldest first

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
            if self.length < 2**-8 and self.pairs:  # the curvature on record misleads here
                self._steepest()
            return False
        self._remember(trial - self.point, gradient - self.gradient)
        self.point, self.loss, self.gradient, self.length = trial, loss, gradient, 1.0
        if self.pairs:
            self.direction = self._quasi_newton()
        if not self.pairs or float(self.gradient @ self.direction) >= 0:
            self._steepest()
        return True

    def _steepest(self) -> None:
        self.pairs = []
        norm = float(self.gradient.norm())
        scale = self.first_move * self.gradient.numel() ** 0.5 / norm if norm > 0 else 0.0
        self.direction, self.length = self.gradient * -scale, 1.0

    def _remember(self, move: Tensor, turn: Tensor) -> None:
        curvature, tiny = float(move @ turn), 1e6 * torch.finfo(move.dtype).tiny
        # Curvature must be positive for a descent direction, and large enough to divide by.
        if curvature > max(1e-8 * float(move.norm() * turn.norm()), tiny) and float(turn @ turn) > tiny:
            self.pairs = [*self.pairs, (move, turn)][-self.history :]

    def _quasi_newton(self) -> Tensor:
        q = self.gradient.clone()
        weights = []
        for move, turn in reversed(self.pairs):
            rho = 1 / float(move @ turn)
            alpha = rho * float(move @ q)
            q.sub_(turn, alpha=alpha)
            weights.append((rho, alpha))
        move, turn = self.pairs[-1]
        q *= float(move @ turn) / float(turn @ turn)
        for (move, turn), (rho, alpha) in zip(self.pairs, reversed(weights), strict=True):
            q.add_(move, alpha=alpha - rho * float(turn @ q))
        return q.neg_()

    def state(self) -> dict[str, Tensor]:
        """Everything a continuation needs, as tensors."""
        numbers = torch.tensor([self.length, float("nan") if self.loss is None else self.loss], dtype=torch.float64)
        history = {f"{name}.{i}": pair[k] for i, pair in enumerate(self.pairs) for k, name in enumerate(("move", "turn"))}
        return {"point": self.point, "gradient": self.gradient, "direction": self.direction, "numbers": numbers, **history}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        state = {name: value.to(value.device if name == "numbers" else self.point.device) for name, value in state.items()}
        self.point, self.gradient, self.direction = state["point"], state["gradient"], state["direction"]
        self.pairs = [(state[f"move.{i}"], state[f"turn.{i}"]) for i in range(self.history) if f"move.{i}" in state]
        self.length, loss = state["numbers"].tolist()
        self.loss = None if loss != loss else loss


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1). `loss` belongs to `point`: a step first moves, then evaluates."""

    def __init__(self, start: Tensor, *, rate: float = 0.02, betas: tuple[float, float] = (0.9, 0.99)):
        """Start at `start` (n,); `rate` is the size of a first move."""
        self.point = start
        self.loss: float | None = None
        self.rate, self.betas = rate, betas
        self.gradient = torch.zeros_like(start)
        self.first = torch.zeros_like(start)
        self.second = torch.zeros_like(start)
        self.count = -1  # moves made; none before the start is evaluated

    def step(self, evaluate: Evaluate) -> bool:
        """Move by the last gradient and evaluate there; the first call evaluates the start. Always true: no step is refused."""
        point = self._moved() if self.count >= 0 else self.point
        self.loss, self.gradient = evaluate(point)
        self.point = point
        self.count = max(self.count, 0)
        return True

    def _moved(self) -> Tensor:
        self.count += 1
        b1, b2 = self.betas
        self.first = torch.lerp(self.gradient, self.first, b1)
        self.second = torch.lerp(self.gradient.square(), self.second, b2)
        scale = (self.second / (1 - b2**self.count)).sqrt_().add_(1e-12)
        return self.point - self.rate / (1 - b1**self.count) * self.first / scale

    def state(self) -> dict[str, Tensor]:
        """Everything a continuation needs, as tensors."""
        tensors = {name: getattr(self, name) for name in ("point", "gradient", "first", "second")}
        return {**tensors, "count": torch.tensor(self.count)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for name in ("point", "gradient", "first", "second"):
            setattr(self, name, state[name].to(self.point.device))
        self.count = int(state["count"])
