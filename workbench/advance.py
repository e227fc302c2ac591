"""A step of one transfer, or of several by one pass through the network; and many steps without a look at what they find."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench import losses
from workbench.capture import apart, record
from workbench.encoders.convolutional import LARGE
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.transfer import Transfer

STRIDE = 10  # evaluations on CUDA between two looks of the host at what they found


class Diverged(WorkbenchError):
    """The loss became infinite or not a number. `step` says when, `image` is the last good picture."""

    def __init__(self, step: int, image: Tensor):
        super().__init__(f"the loss stopped being finite at step {step}: lower beta, or use float32")
        self.step = step
        self.image = image


def advance(transfers: Sequence["Transfer"]) -> None:
    """One evaluation of every one of `transfers`, or as many as there are up to the host's next look (`Transfer.stride`).

    They are in the same stage, with the same network and sizes. Raises Diverged.
    """
    if transfers[0].stride == 1:
        once(transfers)
    else:
        unwatched(transfers, transfers[0].to_come)


def once(transfers: Sequence["Transfer"]) -> None:
    """One evaluation of each. Raises Diverged; no transfer has then moved."""
    evaluated = _evaluated(transfers)
    for transfer, (_, _, gradient, values) in zip(transfers, evaluated, strict=True):
        if not torch.isfinite(values[-1] + gradient @ gradient):
            raise Diverged(len(transfer.history) + 1, transfer.image)
    for transfer, found in zip(transfers, evaluated, strict=True):
        transfer.take(*found)


class Step:
    """One evaluation of each of `transfers` over tensors that stay where they are: a GPU can have it recorded.

    pictures: the picture so far of each, (1, 3, H, W); rows: its losses, their total, what is descended, and 1 as long as
    all that was found is finite.
    """

    def __init__(self, transfers: Sequence["Transfer"], *, warm: bool = False):
        """`warm`: whether steps of these kinds were made before, in an earlier stage."""
        self.transfers = tuple(transfers)
        self.objects = [(transfer.objective, transfer.optimiser) for transfer in transfers]
        self.pictures = [torch.empty_like(transfer.picture) for transfer in transfers]
        self.rows = [transfer.picture.new_zeros(len(transfer.objective.terms) + 3) for transfer in transfers]
        self._left: list[Tensor | None] = [None] * len(transfers)
        self._launch: Callable[[], None] | None = None
        self.warm = warm
        self._begun = self._asked = False

    def of(self, transfers: Sequence["Transfer"]) -> bool:
        """Whether it is that of these transfers as they are now."""
        return len(transfers) == len(self.transfers) and all(
            one is other and one.objective is objective and one.optimiser is optimiser
            for one, other, (objective, optimiser) in zip(transfers, self.transfers, self.objects, strict=True)
        )

    def begin(self) -> None:
        """Take over where the transfers are, unless that is where `end` left them."""
        for i, (transfer, picture, row) in enumerate(zip(self.transfers, self.pictures, self.rows, strict=True)):
            if transfer.picture is self._left[i]:
                continue
            picture.copy_(transfer.picture)
            if transfer.history:
                before = transfer.history[-1]
                row.copy_(row.new_tensor([*before.values(), before["total"], 1]))
            row[-1:].fill_(1)

    def end(self) -> None:
        """Hand the pictures over."""
        for i, (transfer, picture) in enumerate(zip(self.transfers, self.pictures, strict=True)):
            transfer.picture = self._left[i] = picture.clone()

    def once(self) -> None:
        """The evaluations, and nothing that decides on the host."""
        evaluated = _evaluated_at_once(self.transfers)
        apart([partial(self._take, i, *found) for i, found in enumerate(evaluated)], self.pictures[0].device)

    def _take(self, i: int, point: Tensor, seen: Tensor, gradient: Tensor, values: Tensor) -> None:
        """See to what was found for the transfer number `i`."""
        picture, row = self.pictures[i], self.rows[i]
        finite = torch.isfinite(values[-1] + gradient @ gradient) & (row[-1] > 0)
        moved = self.transfers[i].optimiser.tell(point, values[-1], gradient) & finite
        picture.copy_(torch.where(moved, seen, picture))
        row.copy_(torch.cat([torch.where(moved, values, row[:-1]), finite[None].to(row.dtype)]))

    def launch(self) -> None:
        """One evaluation; as a graph where that is possible, once the operations have been done one by one.

        The first evaluation of a stage differs from those that follow, and libraries set themselves up where sizes or
        operations are new.
        """
        started = all(transfer.optimiser.started for transfer in self.transfers)
        if started and self._begun and self.warm and not self._asked:
            self._asked = True
            if recordable(self.transfers):
                self._launch = record(self.once, self.pictures[0].device)
        self._begun, self.warm = True, self.warm or started
        if started and self._launch is not None:
            self._launch()
        else:
            for i, found in enumerate(_evaluated(self.transfers)):
                self._take(i, *found)
        for transfer in self.transfers:
            transfer.optimiser.settle()


def recordable(transfers: Sequence["Transfer"]) -> bool:
    """Whether a step is worth recording, and nothing in it makes the device wait for the host."""
    first = transfers[0]
    if first.content.device.type != "cuda" or first.picture.shape[-2] * first.picture.shape[-1] > LARGE:
        return False
    waits = (isinstance(loss, losses.W2Loss) for transfer in transfers for _, loss in transfer.objective.terms.values())
    return not any(waits) and all(transfer.settings.colour != "luminance" for transfer in transfers)


def unwatched(transfers: Sequence["Transfer"], count: int) -> None:
    """`count` times `once`, without waiting for the device in between: whatever a step decides is decided there.
    (On CUDA the eigenvalues of W2Loss and the weights of luma may still make it wait.) There a step is recorded as a graph.

    What was found is put on record at the end, also where something stops the evaluations before. Raises Diverged, where
    `once` would have; the picture is then the last good one, but the optimiser cannot go on.
    """
    step = transfers[0].recorded
    if step is None or not step.of(transfers):
        step = transfers[0].recorded = Step(transfers, warm=step is not None and step.warm)
    step.begin()
    found: list[list[Tensor]] = []
    stopped = None
    try:
        for _ in range(count):
            step.launch()
            found.append([row.clone() for row in step.rows])
    except BaseException as error:
        stopped = error
    diverged = None
    step.end()
    for i, transfer in enumerate(transfers):
        lines = torch.stack([rows[i] for rows in found]) if found else step.rows[i].new_empty(0, 2)
        try:
            read = lines.tolist()  # here the host waits, and here Ctrl-C finds it
        except KeyboardInterrupt as error:
            read, stopped = lines.tolist(), error
        for *values, _, finite in read:
            if not finite:
                diverged = diverged or Diverged(len(transfer.history) + 1, transfer.image)
                break
            transfer.log(values)
    if stopped or diverged:
        raise stopped or diverged


def _evaluated(transfers: Sequence["Transfer"]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For every transfer: (point (n,), its picture (1, 3, H, W), the gradient (n,), all losses, their total, and what
    is descended).

    Where memory runs out, features are computed twice from then on.
    """
    try:
        return _evaluated_at_once(transfers)
    except torch.OutOfMemoryError:
        if not transfers[0].driver.economise():
            raise
    # Tried again only here, where the error no longer holds on to what filled the memory.
    print("the device ran out of memory: computing features twice instead of keeping them", file=sys.stderr)
    if transfers[0].content.device.type == "cuda":
        torch.cuda.empty_cache()
    return _evaluated_at_once(transfers)


def _evaluated_at_once(transfers: Sequence["Transfer"]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    points = [transfer.optimiser.trial() for transfer in transfers]
    tracked = [point.detach().requires_grad_() for point in points]
    pictures = [transfer.seen(z) for transfer, z in zip(transfers, tracked, strict=True)]
    found = losses.together([transfer.objective for transfer in transfers], pictures)
    gradients = torch.autograd.grad([total for total, _ in found], tracked)
    values = [
        torch.stack([*parts.values(), transfer.objective.total(parts), total]).detach()
        for transfer, (total, parts) in zip(transfers, found, strict=True)
    ]
    return [(p, x.detach(), g, v) for p, x, g, v in zip(points, pictures, gradients, values, strict=True)]
