"""A step of one transfer, or of several by one pass through the network; and many steps without a look at what they find."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench import losses
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
        if not (torch.isfinite(values[-1]) & torch.isfinite(gradient @ gradient)):
            raise Diverged(len(transfer.history) + 1, transfer.image)
    for transfer, found in zip(transfers, evaluated, strict=True):
        transfer.take(*found)


def unwatched(transfers: Sequence["Transfer"], count: int) -> None:
    """`count` times `once`, without waiting for the device in between: whatever a step decides is decided there.
    (On CUDA the eigenvalues of W2Loss and the weights of luma may still make it wait.)

    What was found is put on record at the end, also where something stops the evaluations before. Raises Diverged, where
    `once` would have; the picture is then the last good one, but the optimiser cannot go on.
    """
    pictures = [transfer.picture for transfer in transfers]
    rows: list[Tensor | None] = [None] * len(transfers)  # what is told of each, and last whether all was finite
    for i, transfer in enumerate(transfers):
        if transfer.optimiser.started:
            before = transfer.history[-1]
            rows[i] = pictures[i].new_tensor([*before.values(), before["total"], 1])
    found: list[list[Tensor]] = []
    stopped = None
    try:
        for _ in range(count):
            for i, (transfer, step) in enumerate(zip(transfers, _evaluated(transfers), strict=True)):
                point, picture, gradient, values = step
                finite = torch.isfinite(values[-1]) & torch.isfinite(gradient @ gradient)
                accepted = transfer.optimiser.tell(point, values[-1], gradient) & finite
                pictures[i] = torch.where(accepted, picture, pictures[i])
                before = values if rows[i] is None else rows[i][:-1]
                rows[i] = torch.cat([torch.where(accepted, values, before), finite[None].to(values.dtype)])
            found.append(list(rows))
    except BaseException as error:
        stopped = error
    diverged = None
    for i, transfer in enumerate(transfers):
        transfer.picture = pictures[i]
        lines = torch.stack([rows[i] for rows in found]) if found else pictures[i].new_empty(0, 1)
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
