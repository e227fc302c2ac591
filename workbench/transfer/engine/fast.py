"""The fast engine: several pictures by one pass through the network, on CUDA as a recorded graph, ten evaluations at a time.

It does what `loop.Plain` does, but for the last bits: convolutions over a batch and Gram matrices round otherwise.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from workbench import memory
from workbench.encoders.convolutional import LARGE
from workbench.transfer.engine.gram import gram
from workbench.transfer.engine.graph import record, side_by_side
from workbench.transfer.step import Descent, Evaluation

CUDA_STRIDE = 10
"""Evaluations on CUDA between two looks of the host at what they found."""


class Fast:
    """See `loop.Engine`. `stride` may be changed; 1 reads every evaluation."""

    gram = staticmethod(gram)

    def __init__(self, device: torch.device):
        self.stride = CUDA_STRIDE if device.type == "cuda" else 1
        self._recording: _Recording | None = None
        self._keeps_pages = False

    def advance(self, descents: Sequence[Descent], count: int, found: list[list[Tensor]]) -> None:
        """See `loop.Engine`. Where memory runs out, activations are computed twice from then on instead of being kept."""
        if not self._keeps_pages and descents[0].picture.device.type == "cpu" and not _large(descents):
            memory.keep_pages()
            self._keeps_pages = True
        recording = self._recording
        if recording is None or not recording.of(descents):
            recording = self._recording = _Recording(descents, warm=recording is not None and recording.warm)
        for _ in range(count):
            recording.launch()
            found.append([descent.row.clone() for descent in descents])

    def close(self) -> None:
        """Let go of a recording, and of the pages that were kept."""
        self._recording = None
        if self._keeps_pages:
            self._keeps_pages = False
            memory.return_pages()


class _Recording:
    """One evaluation of each of `descents`, and what launches it: as a graph where that is possible."""

    def __init__(self, descents: Sequence[Descent], *, warm: bool):
        """`warm`: whether steps of these kinds were made before, in an earlier stage."""
        self.descents = tuple(descents)
        self.warm = warm
        self._graph: Callable[[], None] | None = None
        self._begun = self._tried = False

    def of(self, descents: Sequence[Descent]) -> bool:
        """Whether it is that of these descents."""
        return len(descents) == len(self.descents) and all(a is b for a, b in zip(descents, self.descents, strict=True))

    def launch(self) -> None:
        """One evaluation.

        Operations are done one by one at first: the first evaluation of a stage differs from those that follow, and libraries
        set themselves up where sizes or operations are new.
        """
        started = all(descent.optimiser.started for descent in self.descents)
        if started and self._begun and self.warm and not self._tried:
            self._tried = True
            if _recordable(self.descents):
                self._graph = record(self._once, self.descents[0].picture.device)
        self._begun, self.warm = True, self.warm or started
        if started and self._graph is not None:
            self._graph()
        else:
            for descent, found in zip(self.descents, _evaluated(self.descents), strict=True):
                descent.take(found)
        for descent in self.descents:
            descent.optimiser.end_step()

    def _once(self) -> None:
        evaluated = evaluate_together(self.descents)
        tasks = [partial(descent.take, found) for descent, found in zip(self.descents, evaluated, strict=True)]
        side_by_side(tasks, self.descents[0].picture.device)


def _large(descents: Sequence[Descent]) -> bool:
    height, width = descents[0].picture.shape[-2:]
    return height * width > LARGE


def _recordable(descents: Sequence[Descent]) -> bool:
    """Whether a step is worth recording, and nothing in it makes the device wait for the host."""
    if descents[0].picture.device.type != "cuda" or _large(descents):
        return False
    parts: list[object] = [loss for descent in descents for _, loss in descent.objective.terms.values()]
    parts += [descent.parametrisation for descent in descents]
    return not any(getattr(part, "waits_for_host", False) for part in parts) and not any(descent.grey for descent in descents)


def _evaluated(descents: Sequence[Descent]) -> list[Evaluation]:
    """`evaluate_together`; where memory runs out, once more, with activations that are computed twice."""
    try:
        return evaluate_together(descents)
    except torch.OutOfMemoryError:
        if not descents[0].objective.encoder.save_memory():
            raise
    # Tried again only here, where the error no longer holds on to what filled the memory.
    print("the device ran out of memory: computing features twice instead of keeping them", file=sys.stderr)
    if descents[0].picture.device.type == "cuda":
        torch.cuda.empty_cache()
    return evaluate_together(descents)


def evaluate_together(descents: Sequence[Descent]) -> list[Evaluation]:
    """What the objective of each is at its next point, all pictures (1, 3, H, W) of one size, by one pass of one encoder."""
    if len(descents) == 1:
        return [descents[0].evaluate()]
    points = [descent.optimiser.ask() for descent in descents]
    tracked = [point.detach().requires_grad_() for point in points]
    pictures = [descent.at(z) for descent, z in zip(descents, tracked, strict=True)]
    objectives = [descent.objective for descent in descents]
    layers = tuple({layer: None for objective in objectives for layer in objective.layers})
    features = objectives[0].encoder.activations(torch.cat(pictures), layers) if layers else {}
    each = {layer: _split(f) for layer, f in features.items()}
    found = [
        objective.of(picture, {layer: each[layer][i] for layer in objective.layers})
        for i, (objective, picture) in enumerate(zip(objectives, pictures, strict=True))
    ]
    gradients = torch.autograd.grad([total for total, _ in found], tracked)
    return [
        Evaluation(point, picture.detach(), gradient, descent.values(total, parts))
        for descent, point, picture, gradient, (total, parts) in zip(descents, points, pictures, gradients, found, strict=True)
    ]


def _split(features: Tensor) -> Sequence[Tensor]:
    """The features of each picture, with its part of their `proxy` (see encoders.cuda) where they have one."""
    # Split once: a slice for every picture would be added up on the way back over as many batches of zeros.
    each = features.split(1)
    proxies: Tensor | None = getattr(features, "proxy", None)
    if proxies is not None:
        for one, proxy in zip(each, proxies.split(1), strict=True):
            one.proxy = proxy  # type: ignore[attr-defined]
    return each
