"""One evaluation of one picture: ask the optimiser for a point, evaluate the objective there, tell the optimiser.

Every decision (whether the point moves, whether all is finite) is made in tensors that keep their place in memory. So nothing
waits for a GPU, and the operations of a step can be recorded as a CUDA graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.images import colour
from workbench.transfer.objective import Objective
from workbench.transfer.optimisers import Optimiser
from workbench.transfer.parametrisation import Parametrisation


@dataclass(frozen=True)
class Evaluation:
    """What was found at `point` (n,): the picture (1, 3, H, W), the gradient (n,), and values (terms + 2,).

    values: the unweighted loss of every term, their total by the weights, and what is minimised.
    """

    point: Tensor
    picture: Tensor
    gradient: Tensor
    values: Tensor


class Descent:
    """A picture that is being optimised: objective, coordinates, optimiser, and what was found so far.

    picture: (1, 3, H, W), the last one that was accepted. row: (terms + 3,), its `Evaluation.values`, then 1 while
    everything is finite, else 0.
    """

    def __init__(
        self,
        objective: Objective,
        parametrisation: Parametrisation,
        optimiser: Optimiser,
        picture: Tensor,
        *,
        grey: bool = False,
        losses: Mapping[str, float] | None = None,
    ):
        """`grey`: whether the losses see the luminance alone; `losses`: those of `picture`, where they are known."""
        self.objective = objective
        self.parametrisation = parametrisation
        self.optimiser = optimiser
        self.grey = grey
        self.picture = picture.clone()
        self.row = picture.new_zeros(len(objective.terms) + 3)
        if losses is not None:
            self.row.copy_(self.row.new_tensor([*losses.values(), losses["total"], 1]))
        self.row[-1] = 1

    def at(self, point: Tensor) -> Tensor:
        """The picture (1, 3, H, W) at `point`, as the losses see it."""
        picture = self.parametrisation.picture(point)
        return colour.luminance(picture) if self.grey else picture

    def evaluate(self) -> Evaluation:
        """What the objective is at the next point."""
        point = self.optimiser.ask()
        tracked = point.detach().requires_grad_()
        picture = self.at(tracked)
        total, parts = self.objective(picture)
        (gradient,) = torch.autograd.grad(total, tracked)
        return Evaluation(point, picture.detach(), gradient, self.values(total, parts))

    def values(self, total: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """`Evaluation.values` of an objective's answer."""
        return torch.stack([*parts.values(), self.objective.total(parts), total]).detach()

    def take(self, found: Evaluation) -> None:
        """Tell the optimiser, and keep the picture if the point moved there and everything is finite."""
        finite = torch.isfinite(found.values[-1] + found.gradient @ found.gradient) & (self.row[-1] > 0)
        moved = self.optimiser.tell(found.point, found.values[-1], found.gradient) & finite
        self.picture.copy_(torch.where(moved, found.picture, self.picture))
        values = torch.where(moved, found.values, self.row[:-1])
        self.row.copy_(torch.cat([values, finite[None].to(values.dtype)]))
