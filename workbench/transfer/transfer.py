"""One transfer: what is optimised at which stage, how far it is, and its state on disk. `loop` makes its evaluations.

Where a cheaper network resembles the encoder, it makes a draft first: all coarse scales, and some evaluations at full size.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder, draft_encoder
from workbench.errors import WorkbenchError, require
from workbench.images import colour
from workbench.statistics import Moments
from workbench.targets import StyleTarget
from workbench.transfer import checkpoint
from workbench.transfer.engine.fast import Fast
from workbench.transfer.hypercolumns import layers_of
from workbench.transfer.loop import Diverged, Engine, Plain, drive, iterated
from workbench.transfer.objective import Objective
from workbench.transfer.optimisers import LBFGS, Adam
from workbench.transfer.parametrisation import Pixels, Spectral
from workbench.transfer.problem import Problem
from workbench.transfer.result import Iterate, Result
from workbench.transfer.schedule import stages
from workbench.transfer.settings import INITS, STYLE_LOSSES, Settings
from workbench.transfer.step import Descent

FIRST_MOVE = 0.005
"""Root mean square of the first trial of L-BFGS, in the coordinates of Spectral."""
PLATEAU_WINDOW = 20
"""Evaluations over which a plateau is judged."""
ROUND_OFF = 1e-9
"""An objective below this is round-off of float32: what it gains there is nothing."""


class Transfer:
    """One transfer, which can be iterated, stopped, continued, written to disk and resumed.

        for iterate in Transfer(content, target, encoder, Settings(size=384)): ...

    Iterating goes on where the last iteration stopped. `image` is always the picture so far. `engine`: "fast", or "plain",
    which does the same without anything that exists for speed. On CUDA the fast engine makes ten evaluations before the host
    reads them: they are then yielded one after the other, with the picture of the last.
    """

    def __init__(
        self,
        content: Tensor,
        target: StyleTarget,
        encoder: Encoder,
        settings: Settings | None = None,
        *,
        start: Tensor | None = None,
        engine: Literal["fast", "plain"] = "fast",
    ):
        """`content` (1, 3, H, W) float32 in [0, 1], at any size.

        `start`, like `content`: a picture to start from at full size, where `settings.init` is neither "content" nor "noise".
        Raises UsageError where the settings do not go with the way in which the target's works are combined.
        """
        self.content = content.to(encoder.device)
        self.encoder = encoder
        self.settings = settings or Settings()
        given = start is not None
        init = self.settings.init
        require(given == (init not in INITS), f"init = {init!r}: choose {', '.join(INITS)}, or a method that paints at once")
        self.start = start
        self.problem = Problem(self.content, target, self.settings)
        self.target = self.problem.target
        by_neighbours = self.problem.by_neighbours
        if by_neighbours:
            layers_of(encoder)  # refuses an encoder that lacks them
        self.draft = draft_encoder(encoder) if self.settings.draft == "auto" and not by_neighbours else None
        # The content weighs more at first, and a finer scale gets its detail, where that was found to pay.
        fitting = STYLE_LOSSES[self.settings.style_loss].content_first and target.combine != "patches"
        content_first = fitting and not by_neighbours and self.settings.optimiser == "lbfgs"
        self.adds_detail = (content_first or by_neighbours) and self.settings.init == "content"
        self.stages = stages(self.settings, drafted=self.draft is not None, content_first=content_first, started=given)
        self.starts = tuple(accumulate((stage.evaluations for stage in self.stages[:-1]), initial=0))  # evaluations before each
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.networks: dict[str, str] = {}  # name -> SHA-256 of those that painted `start`
        self.show = False  # whether statistics and steps report their progress on stderr
        self.picture = self._first()
        self.parametrisation: Spectral | Pixels | None = None
        self.optimiser: LBFGS | Adam | None = None
        self.objective: Objective | None = None
        self.descent: Descent | None = None
        require(engine in ("fast", "plain"), f"engine = {engine!r}: choose fast or plain")
        self.engine: Engine = Plain() if engine == "plain" else Fast(self.content.device)

    @property
    def image(self) -> Tensor:
        """The picture so far, (1, 3, H, W) in [0, 1]."""
        return self.problem.finished(self.picture)

    @property
    def optimised(self) -> Tensor:
        """The picture so far as the losses see it, in [0, 1]: `image`, but in grey where only luminance is transferred."""
        return self.picture.clamp(0, 1)

    def style_moments(self) -> dict[str, Moments]:
        """The style moments that the last stage aims at, layer -> Moments: see `Problem.moments`."""
        return self.problem.moments(self.encoder)

    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]:
        """(evaluations before it, its name) of every size and of the draft at each, as `figures.curves` marks them."""
        named = zip(self.starts, [stage.name for stage in self.stages], strict=True)
        return tuple(next(alike) for _, alike in groupby(named, key=lambda both: both[1]))

    @property
    def total_steps(self) -> int:
        """Evaluations over all stages, if no plateau ends them."""
        return sum(stage.evaluations for stage in self.stages)

    @property
    def finished(self) -> bool:
        """Whether all evaluations are made, or a plateau is reached."""
        done, plateau = len(self.history), self.settings.plateau
        if done >= self.total_steps or not plateau or done - self.starts[-1] <= PLATEAU_WINDOW:
            return done >= self.total_steps
        before, now = self.history[-1 - PLATEAU_WINDOW]["total"], self.history[-1]["total"]
        return before - now < plateau * max(abs(before), ROUND_OFF)

    @property
    def stage_number(self) -> int:
        """Of the stage that the next evaluation belongs to, in `stages`."""
        return sum(start <= len(self.history) for start in self.starts) - 1

    def evaluations_until(self, stride: int) -> int:
        """Evaluations up to the next multiple of `stride` within the stage, or to the end of the stage."""
        made, number = len(self.history), self.stage_number
        end = (*self.starts[1:], self.total_steps)[number]
        return min(stride - (made - self.starts[number]) % stride, end - made)

    def __iter__(self) -> Iterator[Iterate]:
        step = len(self.history)
        for _ in drive([self], self.engine):
            step += 1
            size = self.stages[sum(start < step for start in self.starts) - 1].size
            yield Iterate(
                step, self.total_steps, size, self.history[step - 1], self.seconds, self.picture, self.problem.finished
            )

    def run(self, *, show: bool = False) -> Result:
        """Iterate to the end. Ctrl-C stops and keeps the picture: the result then says complete=False."""
        self.show = show
        return self.result(iterated(self, f"transfer ({self.target.name})") or self.finished)

    def result(self, complete: bool) -> Result:
        """What there is so far; `complete` says whether it is the end."""
        return Result(self.image, tuple(self.history), self.seconds, complete, self.settings, self.target, self.boundaries)

    def record(self, descent: Descent, lines: Sequence[Sequence[float]]) -> Diverged | None:
        """Put what the engine found on record, a `Descent.row` in each line, and take over the picture of `descent`.

        Returns Diverged where something was not finite; the picture is then the last good one.
        """
        self.picture = descent.picture.clone()
        for *values, _, finite in lines:
            if not finite:
                return Diverged(len(self.history) + 1, self.image)
            self.history.append(dict(zip((*descent.objective.terms, "total"), values, strict=True)))
        return None

    def prepare(self) -> Descent:
        """Make the objective and the optimiser of the stage that the next evaluation belongs to, unless they are there."""
        first = len(self.history) in self.starts
        if self.descent is not None and not first:
            return self.descent
        number = self.stage_number
        stage = self.stages[number]
        content = self.problem.content_at(stage.size)
        if first:
            if self.picture.shape != content.shape:
                picture = self._enlarged(content)
                self._new_optimiser(picture)
                self.picture = picture  # assigned last, so that an interrupt before it restarts this scale
            elif self.optimiser is not None:
                self.optimiser.restart()
        space, optimiser = self.parametrisation, self.optimiser
        if space is None or optimiser is None:
            space, optimiser = self._new_optimiser(self.picture)
        before = self.stages[max(0, number - 1)]
        if self.objective is None or (before.size, before.draft) != (stage.size, stage.draft):
            encoder = self.draft if self.draft is not None and stage.draft else self.encoder
            self.objective = self.problem.objective(stage.size, encoder, gram=self.engine.gram, show=self.show)
        self.objective.scale({"content": stage.content_factor})
        known = self.descent
        if known is None or known.objective is not self.objective or known.optimiser is not optimiser:
            known = self.descent = Descent(
                self.objective,
                space,
                optimiser,
                self.picture,
                grey=self.problem.grey,
                losses=self.history[-1] if self.history else None,
            )
        return known

    def _first(self) -> Tensor:
        content = self.problem.content_at(self.stages[0].size)
        if self.start is not None:
            start = images.resize(self.start.to(content), tuple(content.shape[-2:])).clamp(0, 1)
            return colour.luminance(start) if self.problem.grey else start
        if self.settings.init == "content":
            return content
        height, width = content.shape[-2:]
        generator = torch.Generator().manual_seed(self.settings.seed)
        noise = torch.rand(1, 3, height, width, generator=generator).to(self.content.device)
        return colour.luminance(noise) if self.problem.grey else noise

    def _enlarged(self, content: Tensor) -> Tensor:
        """The picture so far, as large as `content`, whose detail it gets where it began as a coarse copy of it."""
        shape = tuple(content.shape[-2:])
        picture = images.resize(self.picture.clamp(0, 1), shape)
        if not self.adds_detail:
            return picture
        coarse = self.problem.content_at(max(self.picture.shape[-2:]))
        return (picture + content - images.resize(coarse, shape)).clamp(0, 1)

    def _new_optimiser(self, picture: Tensor) -> tuple[Spectral | Pixels, LBFGS | Adam]:
        """New coordinates and a new optimiser for `picture`, which takes over the curvature found at a coarser scale.

        Adam takes over the picture alone: with the mean squares of a coarser scale objectives ended 1.03 to 2.4 times as high.
        """
        height, width = picture.shape[-2:]
        if self.settings.optimiser == "adam":
            pixels = Pixels(height, width, picture.device)
            self.parametrisation, self.optimiser = pixels, Adam(pixels.point(picture))
            return self.parametrisation, self.optimiser
        space = Spectral(height, width, picture.device)
        coarse, known = self.parametrisation, self.optimiser
        diagonal = None
        if isinstance(coarse, Spectral) and isinstance(known, LBFGS):
            diagonal = space.resampled(known.fitted_diagonal(), coarse)
        optimiser = LBFGS(space.point(picture), first_move=FIRST_MOVE, local_mean=space.local_mean, diagonal=diagonal)
        self.parametrisation, self.optimiser = space, optimiser
        return space, optimiser

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the result: content, target, encoder, settings, and the picture it started from."""
        encoders = [encoder for encoder in (self.encoder, self.draft) if encoder is not None]
        identity = self._start_sha256() + ("grey" if self.problem.is_colourless else "")
        return checkpoint.fingerprint(self.content, self.target, encoders, self.settings, identity)

    def _start_sha256(self) -> str:
        return "" if self.start is None else hashlib.sha256(self.start.cpu().contiguous().numpy().tobytes()).hexdigest()

    def checkpoint(self, path: str | os.PathLike) -> Path:
        """Write everything a continuation needs to `path` (safetensors), atomically."""
        optimiser = {} if self.optimiser is None else self.optimiser.state()
        saved = checkpoint.Saved(self.history, self.seconds, self.picture, optimiser)
        return checkpoint.write(path, saved, self.fingerprint(), self.settings)

    def resume(self, path: str | os.PathLike) -> "Transfer":
        """Take over the state of `checkpoint`; what follows has the same bytes as an unbroken run. Returns self.

        Raises UsageError when the checkpoint belongs to another content, target, encoder or settings, or another version.
        """
        saved = checkpoint.read(path, self.fingerprint(), self.settings)
        self.history, self.seconds = saved.history, saved.seconds
        self.picture = saved.picture.to(self.content.device)
        self.parametrisation = self.optimiser = self.objective = self.descent = None
        if saved.optimiser:
            _, optimiser = self._new_optimiser(self.picture)
            try:
                optimiser.load(saved.optimiser)
            except (KeyError, RuntimeError) as error:
                raise WorkbenchError(f"{path} is damaged: the optimiser's state lacks {error}; begin again") from error
        return self
