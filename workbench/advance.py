"""How transfers advance: one evaluation of one of them, of several by one pass through the network, or of a CUDA graph."""

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
WARM_UP = 3  # evaluations before a graph is captured: libraries choose their kernels and take their memory in these
TOLERANCE = 0.01  # relative difference of objectives above which a captured evaluation is not that which was captured


class Diverged(WorkbenchError):
    """The loss became infinite or not a number. `step` says when, `image` is the last good picture."""

    def __init__(self, step: int, image: Tensor):
        super().__init__(f"the loss stopped being finite at step {step}: lower beta, or use float32")
        self.step = step
        self.image = image


def advance(transfers: Sequence["Transfer"]) -> None:
    """One evaluation of every one of `transfers`, which are in the same stage, with the same network and sizes.

    Raises Diverged; no transfer has then moved.
    """
    evaluated = _evaluated(transfers)
    for transfer, (_, _, gradient, values) in zip(transfers, evaluated, strict=True):
        if not (torch.isfinite(values[-1]) & torch.isfinite(gradient).all()):
            raise Diverged(len(transfer.history) + 1, transfer.image)
    for transfer, found in zip(transfers, evaluated, strict=True):
        transfer.take(*found)


def _evaluated(transfers: Sequence["Transfer"]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For every transfer: (point (n,), its picture (1, 3, H, W), the gradient (n,), all losses and last their total).

    Where memory runs out, features are computed twice from then on.
    """
    try:
        return _evaluated_at_once(transfers)
    except torch.OutOfMemoryError:
        on_cuda = transfers[0].content.device.type == "cuda"
        if (on_cuda and torch.cuda.is_current_stream_capturing()) or not transfers[0].driver.economise():
            raise
    # Tried again only here, where the error no longer holds on to what filled the memory.
    print("the device ran out of memory: computing features twice instead of keeping them", file=sys.stderr)
    if on_cuda:
        torch.cuda.empty_cache()
    return _evaluated_at_once(transfers)


def _evaluated_at_once(transfers: Sequence["Transfer"]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    points = [transfer.optimiser.trial() for transfer in transfers]
    tracked = [point.detach().requires_grad_() for point in points]
    pictures = [transfer.seen(z) for transfer, z in zip(transfers, tracked, strict=True)]
    found = losses.together([transfer.objective for transfer in transfers], pictures)
    gradients = torch.autograd.grad([total for total, _ in found], tracked)
    values = [torch.stack([*parts.values(), total]).detach() for total, parts in found]
    return [(p, x.detach(), g, v) for p, x, g, v in zip(points, pictures, gradients, values, strict=True)]


class Strides:
    """Evaluations of one stage without a look at what they find; on CUDA captured in a graph, which is then replayed.

    Everything a step decides is decided on the device. After `run` the host reads the losses of all its evaluations at once.
    A graph is used only if its first replay comes to the objective that the same step had without one; else, and where
    capture fails, steps are made one by one, with a one-line notice.
    """

    def __init__(self, transfers: Sequence["Transfer"]):
        self.transfers = transfers
        self.made = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.refused = False
        self.pictures = [transfer.picture.clone() for transfer in transfers]
        self.rows: list[Tensor] = []  # of every transfer: its losses, their total, and whether all was finite
        if all(transfer.optimiser.started for transfer in transfers):
            self.rows = [
                picture.new_tensor([*t.history[-1].values(), 1]) for t, picture in zip(transfers, self.pictures, strict=True)
            ]

    def run(self, count: int) -> None:
        """Make `count` evaluations and put what they found on record, also where something stops them. Raises Diverged."""
        found: list[Tensor] = []
        try:
            for _ in range(count):
                self._step()
                found.append(torch.cat(self.rows))
        finally:
            self._record(found)

    def _record(self, found: Sequence[Tensor]) -> None:
        for transfer, picture in zip(self.transfers, self.pictures, strict=True):
            transfer.picture = picture.clone()
        lines = torch.stack(list(found)).tolist() if found else []  # the one time that the host waits
        for line in lines:
            for transfer, row in zip(self.transfers, self.rows, strict=True):
                *values, finite = line[: len(row)]
                line = line[len(row) :]
                if not finite:
                    raise Diverged(len(transfer.history) + 1, transfer.image)
                transfer.log(values)

    def _step(self) -> None:
        on_cuda = self.pictures[0].is_cuda
        if on_cuda and self.made == WARM_UP and not self.refused:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
        elif on_cuda and self.made < WARM_UP:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._evaluate()
            torch.cuda.current_stream().wait_stream(side)
        else:
            self._evaluate()
        self.made += 1

    def _evaluate(self) -> None:
        evaluated = _evaluated(self.transfers)
        rows = []
        for i, (transfer, (point, picture, gradient, values)) in enumerate(zip(self.transfers, evaluated, strict=True)):
            finite = torch.isfinite(values[-1]) & torch.isfinite(gradient).all()
            accepted = transfer.optimiser.tell(point, values[-1], gradient) & finite
            torch.where(accepted, picture, self.pictures[i], out=self.pictures[i])
            before = self.rows[i][:-1] if self.rows else values
            rows.append(torch.cat([torch.where(accepted, values, before), finite[None].to(values.dtype)]))
        if self.rows:
            for kept, row in zip(self.rows, rows, strict=True):
                kept.copy_(row)
        else:
            self.rows = rows

    def _capture(self) -> None:
        """Capture a step, replay it, and make sure that it does what a step does."""
        tensors = [*self.pictures, *self.rows]
        for transfer in self.transfers:
            tensors += [getattr(transfer.optimiser, name) for name in transfer.optimiser.kept]
        before = [tensor.clone() for tensor in tensors]
        reason = None
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._evaluate()
            graph.replay()
            replayed = [row.clone() for row in self.rows]
            _restore(tensors, before)
            self._evaluate()
            if not all(torch.allclose(a, b, rtol=TOLERANCE) for a, b in zip(replayed, self.rows, strict=True)):
                reason = "its result differs"
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
        _restore(tensors, before)
        self.graph, self.refused = (None, True) if reason else (graph, False)
        if reason:
            print(f"steps are not captured in a CUDA graph: {reason}", file=sys.stderr)


def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
