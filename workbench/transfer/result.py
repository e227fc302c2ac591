"""What comes of painting: one evaluation on the way, and the picture in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from workbench.targets import StyleTarget
from workbench.transfer.settings import Settings


@dataclass(frozen=True)
class Iterate:
    """One evaluation: `step` of `steps`, at long side `size`; unweighted `losses` and "total", their sum by the weights.

    The picture and the seconds are those of the last evaluation that the engine made before it was read: see `Engine`.
    """

    step: int
    steps: int
    size: int
    losses: dict[str, float]
    seconds: float
    _picture: Tensor = field(repr=False, compare=False)
    _finish: Callable[[Tensor], Tensor] = field(repr=False, compare=False)

    @property
    def image(self) -> Tensor:
        """The picture at this step, (1, 3, H, W) in [0, 1]; computed only when asked for."""
        return self._finish(self._picture)


@dataclass(frozen=True)
class Result:
    """The last picture (1, 3, H, W) in [0, 1], the losses of every step, seconds of work, and whether it ran to its end.

    boundaries: see `Transfer`.
    """

    image: Tensor = field(repr=False)
    history: tuple[dict[str, float], ...] = field(repr=False)
    seconds: float
    complete: bool
    settings: Settings
    target: StyleTarget = field(repr=False)
    boundaries: tuple[tuple[int, str], ...] = field(repr=False)
