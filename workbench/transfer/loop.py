"""The loop of style transfer by optimisation (Gatys et al. 2016, 2017; Kolkin et al. 2022):

while a transfer is not finished:
    prepare the objective and the optimiser of its stage
    ask, evaluate, tell
    yield
"""

import io
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from workbench import images, progress, statistics
from workbench.errors import WorkbenchError
from workbench.transfer.losses import Gram
from workbench.transfer.result import Iterate
from workbench.transfer.step import Descent

SHOWN = 160
"""px. Long side of the picture so far that a notebook shows, at most."""


class Diverged(WorkbenchError):
    """The loss became infinite or not a number. `step` says when, `image` is the last good picture."""

    def __init__(self, step: int, image: Tensor):
        super().__init__(f"the loss stopped being finite at step {step}: lower beta, or use float32")
        self.step = step
        self.image = image


class Optimised(Protocol):
    """What the loop needs of a transfer. `seconds`: of work, so far."""

    history: list[dict[str, float]]
    seconds: float

    @property
    def finished(self) -> bool: ...

    def prepare(self) -> Descent:
        """The picture at the stage that the next evaluation belongs to, with its objective and optimiser."""
        ...

    def evaluations_until(self, stride: int) -> int:
        """Evaluations up to the next multiple of `stride` within the stage, or to the end of the stage."""
        ...

    def record(self, descent: Descent, lines: Sequence[Sequence[float]]) -> Diverged | None:
        """Put what was found on record, a `Descent.row` in each line, and take over the picture of `descent`.

        Returns Diverged where something was not finite.
        """
        ...


class Engine(Protocol):
    """Makes evaluations. `stride`: how many it makes before the host reads what was found; `gram`: see `losses.GramLoss`."""

    stride: int

    @property
    def gram(self) -> Gram: ...

    def advance(self, descents: Sequence[Descent], count: int, found: list[list[Tensor]]) -> None:
        """`count` evaluations of every descent. After each, the `Descent.row` of each is appended to `found` as a list."""

    def close(self) -> None:
        """Let go of the device's memory."""


class Plain:
    """The reference engine: one evaluation at a time, one picture at a time."""

    stride = 1
    gram = staticmethod(statistics.gram)

    def advance(self, descents: Sequence[Descent], count: int, found: list[list[Tensor]]) -> None:
        for _ in range(count):
            for descent in descents:
                descent.take(descent.evaluate())
                descent.optimiser.end_step()
            found.append([descent.row.clone() for descent in descents])

    def close(self) -> None:
        pass


def drive(transfers: Sequence[Optimised], engine: Engine) -> Iterator[None]:
    """Make the evaluations of `transfers`, which keep step, until all are finished; yields after each.

    Raises Diverged. Where something else stops an evaluation, what was found before it is kept.
    """
    try:
        while going := [transfer for transfer in transfers if not transfer.finished]:
            began, made = time.perf_counter(), len(going[0].history)
            try:
                _advance(going, [transfer.prepare() for transfer in going], engine)
            finally:
                for transfer in going:
                    transfer.seconds += (time.perf_counter() - began) / len(going)
            yield from [None] * (len(going[0].history) - made)
    finally:
        engine.close()


class Stepwise(Protocol):
    """A run that is iterated, such as a transfer; `show`: whether its progress is, on stderr."""

    show: bool

    @property
    def history(self) -> list[dict[str, float]]: ...

    @property
    def total_steps(self) -> int: ...

    def __iter__(self) -> Iterator[Iterate]: ...


def iterated(run: Stepwise, label: str) -> bool:
    """Iterate `run` to its end, or until Ctrl-C, which keeps what there is: whether it came to the end."""
    try:
        left = run.total_steps - len(run.history)
        for _ in progress.track(run, total=left, label=label, show=run.show, picture=_small):
            pass
    except KeyboardInterrupt:
        return False
    return True


def _small(iterate: Iterate) -> bytes:
    """The picture so far as a small JPEG."""
    image = iterate.image
    stream = io.BytesIO()
    images.to_pil(images.resize(image, min(SHOWN, max(image.shape[-2:])))).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _advance(transfers: Sequence[Optimised], descents: Sequence[Descent], engine: Engine) -> None:
    """Run until the host next reads the losses, and record them. Raises Diverged, or what stopped the run."""
    found: list[list[Tensor]] = []
    stopped: BaseException | None = None
    try:
        engine.advance(descents, transfers[0].evaluations_until(engine.stride), found)
    except BaseException as error:
        stopped = error
    diverged: Diverged | None = None
    for i, (transfer, descent) in enumerate(zip(transfers, descents, strict=True)):
        rows = torch.stack([each[i] for each in found]) if found else descent.row.new_empty(0)
        try:
            lines = rows.tolist()  # on a GPU the host waits here, and here Ctrl-C arrives
        except KeyboardInterrupt as error:
            lines, stopped = rows.tolist(), error
        diverged = transfer.record(descent, lines) or diverged
    if stopped is not None:
        raise stopped
    if diverged is not None:
        raise diverged
