"""One picture painted stroke by stroke: pixels first, by the same objective; then strokes planned over them, and optimised."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder
from workbench.errors import UsageError, WorkbenchError, require
from workbench.statistics import Moments
from workbench.strokes import bristles, files
from workbench.strokes.coordinates import StrokeCoordinates
from workbench.strokes.hand import Hand, of_target
from workbench.strokes.planning import plan
from workbench.strokes.stroke import Strokes
from workbench.targets import StyleTarget
from workbench.transfer import Diverged, Iterate, Result, Settings, Transfer, checkpoint
from workbench.transfer.loop import drive, iterated
from workbench.transfer.optimisers import Adam
from workbench.transfer.step import Descent

SHARE = 0.4
"""Evaluations of the strokes, as a share of `Settings.steps`."""
RATE = 1.0
"""Adam's, in the steps of `coordinates.STEPS`."""


@dataclass(frozen=True)
class Options:
    """What `Settings.options` may say to the method strokes."""

    strokes: int = 4000
    """How many, at most."""
    objective: Literal["neighbours", "gram"] = "neighbours"
    """What strokes are optimised under, and before them the pixels that they are planned on."""
    hand: Literal["works", "default"] = "works"
    """Whether width and length of strokes are those estimated on the works, or the same for every artist."""
    bristles: float = 1.0
    """How much bristles and relief show in the picture; 0 for flat strokes."""
    picture: int = 0
    """Long side, px, of the picture that is written; 0 for `Settings.size`."""

    def __post_init__(self) -> None:
        require(1 <= self.strokes <= 100_000, f"option strokes = {self.strokes}: choose between 1 and 100000")
        require(0 <= self.bristles <= 4, f"option bristles = {self.bristles}: choose between 0 (flat) and 4")
        if self.picture:
            images.check_size(self.picture)

    @property
    def words(self) -> tuple[str, ...]:
        """NAME=VALUE of those that differ from the defaults, as `Settings.options` has them."""
        pairs = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return tuple(f"{name}={value}" for name, value, default in pairs if value != default)

    def under(self, settings: Settings) -> Settings:
        """`settings` for the pixels that strokes are planned on."""
        return replace(settings, method=self.objective, options=())


class Painting:
    """See `methods.Run`. However soon it is stopped, its picture is made of strokes: those so far."""

    def __init__(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings, options: Options):
        """`content` (1, 3, H, W) in [0, 1]; `settings.method` is replaced by `options.objective`."""
        self.settings = settings
        self.options = options
        self.encoder = encoder
        self.pixels = Transfer(content, target, encoder, options.under(settings))
        self.target = self.pixels.target
        self.laying: Laying | None = None
        self.show = False
        self._draft: tuple[int, Laying] | None = None
        self._shown: tuple[int, Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the picture, px."""
        height, width = self.pixels.content.shape[-2:]
        return images.fit(height, width, self.settings.size)

    @property
    def history(self) -> list[dict[str, float]]:
        return self.pixels.history + (self.laying.history if self.laying else [])

    @property
    def seconds(self) -> float:
        return self.pixels.seconds + (self.laying.seconds if self.laying else 0.0)

    @property
    def total_steps(self) -> int:
        """Evaluations for pixels, if no plateau ends them, and for strokes."""
        return self.pixels.total_steps + self.steps

    @property
    def steps(self) -> int:
        """Evaluations for strokes."""
        return max(1, round(SHARE * self.settings.steps))

    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]:
        """See `Transfer.boundaries`."""
        return (*self.pixels.boundaries, (len(self.pixels.history), f"{self.settings.size} px, strokes"))

    @property
    def finished(self) -> bool:
        return self.laying is not None and self.laying.finished

    @property
    def optimised(self) -> Tensor:
        """The picture as the losses see it: strokes without bristles."""
        if self.laying is None:
            return self.image
        return self.laying.picture.clamp(0, 1)

    @property
    def ground(self) -> Tensor:
        """The colour (3,) of the canvas."""
        return self._laid().coordinates.ground

    @property
    def strokes(self) -> Strokes:
        """The strokes so far; before the first evaluation of them, those planned on the pixels so far."""
        return self._laid().strokes

    @property
    def image(self) -> Tensor:
        """The strokes so far with their bristles, (1, 3, H, W) in [0, 1]."""
        laid, made = self._laid(), len(self.history)
        if self._shown is None or self._shown[0] != made:
            shown, seed = self.options.bristles, self.settings.seed
            self._shown = (made, bristles.painted(laid.strokes, self.shape, self.ground, bristles=shown, seed=seed))
        return self._shown[1]

    def _laid(self) -> "Laying":
        if self.laying is not None:
            return self.laying
        made = len(self.pixels.history)
        if self._draft is None or self._draft[0] != made:
            self._draft = (made, self._planned())
        return self._draft[1]

    def _planned(self) -> "Laying":
        """Strokes over the pixels so far."""
        options, settings = self.options, self.settings
        hand = of_target(self.target, show=self.show) if options.hand == "works" else Hand()
        hand = replace(hand, width=settings.brush * hand.width, length=settings.brush * hand.length)
        picture = images.resize(self.pixels.image, self.shape)
        return Laying(self, *plan(picture, hand, options.strokes, settings.seed, self.pixels.problem.faces))

    def __iter__(self) -> Iterator[Iterate]:
        self.pixels.show = self.show
        if self.laying is None:
            for iterate in self.pixels:
                yield replace(iterate, steps=self.total_steps)
            self.laying = self._laid()
        size = self.settings.size
        for _ in drive([self.laying], self.pixels.engine):
            yield Iterate(
                len(self.history),
                self.total_steps,
                size,
                self.laying.history[-1],
                self.seconds,
                self.laying.picture,
                lambda picture: picture.clamp(0, 1),
            )

    def run(self, *, show: bool = False) -> Result:
        """Iterate to the end. Ctrl-C stops and keeps the picture: the result then says complete=False."""
        self.show = show
        return self.result(iterated(self, f"strokes ({self.target.name})") or self.finished)

    def result(self, complete: bool) -> Result:
        """What there is so far; `complete` says whether it is the end."""
        return Result(self.image, tuple(self.history), self.seconds, complete, self.settings, self.target, self.boundaries)

    @property
    def draft(self) -> Encoder | None:
        """The network that the pixels are drafted with, if any."""
        return self.pixels.draft

    @property
    def writer(self) -> Callable[..., Path]:
        """`files.write` of what there is now, whatever comes later: it takes a path, and metadata."""
        size, shown = self.options.picture or self.settings.size, self.options.bristles
        strokes, seed = self.strokes, self.settings.seed
        return partial(files.write, strokes, self.shape, self.ground, size=size, bristle=shown, seed=seed)

    def write(self, path: Path, metadata: dict[str, str]) -> Path:
        """Write what there is so far as the suffix of `path` says: see `files.write`."""
        return self.writer(path, metadata=metadata)

    def style_moments(self) -> dict[str, Moments]:
        """See `Transfer.style_moments`."""
        return self.pixels.style_moments()

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the result."""
        identity = hashlib.sha256(repr(self.options).encode()).hexdigest()
        return checkpoint.fingerprint(self.pixels.content, self.target, [self.encoder], self.settings, identity)

    def checkpoint(self, path: str | os.PathLike) -> Path:
        """Write everything a continuation needs to `path` (safetensors), atomically."""
        if self.laying is None:
            return self.pixels.checkpoint(path)
        laying = self.laying
        planned = {f"planned.{name}": value for name, value in vars(laying.coordinates.planned).items()}
        state = {**laying.optimiser.state(), **planned, "ground": laying.coordinates.ground, "good": laying.point}
        state["pixels"] = torch.tensor(len(self.pixels.history))
        saved = checkpoint.Saved(self.history, self.seconds, self.pixels.picture, state)
        return checkpoint.write(path, saved, self.fingerprint(), self.settings)

    def resume(self, path: str | os.PathLike) -> "Painting":
        """Take over the state of `checkpoint`; what follows has the same bytes as an unbroken run. Returns self.

        One that was written before the first stroke is that of a transfer by the objective's method. Raises as
        `Transfer.resume`.
        """
        try:
            saved = checkpoint.read(path, self.fingerprint(), self.settings)
        except UsageError:
            self.pixels.resume(path)
            return self
        state = dict(saved.optimiser)
        try:
            made, good, ground = (state.pop(name) for name in ("pixels", "good", "ground"))
            planned = Strokes(*(state.pop(f"planned.{f.name}") for f in fields(Strokes)))
            device = self.pixels.content.device
            laying = Laying(self, planned.to(device), ground.to(device))
            laying.optimiser.load(state)
        except (KeyError, RuntimeError) as error:
            raise WorkbenchError(f"{path} is damaged: the state of the strokes lacks {error}; begin again") from error
        laying.point = good.to(device)
        self.pixels.history, laying.history = saved.history[: int(made)], saved.history[int(made) :]
        self.pixels.seconds, self.pixels.picture = saved.seconds, saved.picture.to(device)
        self.laying = laying
        return self


class Laying:
    """The strokes of a painting while they are optimised. See `loop.Optimised`."""

    def __init__(self, painting: Painting, planned: Strokes, ground: Tensor):
        self.painting = painting
        self.coordinates = StrokeCoordinates(planned, painting.shape, ground)
        self.point = self.coordinates.start
        self.optimiser = Adam(self.point, rate=RATE)
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.descent: Descent | None = None

    @property
    def strokes(self) -> Strokes:
        """The strokes so far."""
        return self.coordinates.strokes(self.point)

    @property
    def picture(self) -> Tensor:
        """The picture so far, (1, 3, H, W), as the losses see it."""
        if self.descent is None:
            with torch.no_grad():
                return self.coordinates.picture(self.point)
        return self.descent.picture

    @property
    def finished(self) -> bool:
        return len(self.history) >= self.painting.steps

    def evaluations_until(self, stride: int) -> int:
        made = len(self.history)
        return min(stride - made % stride, self.painting.steps - made)

    def prepare(self) -> Descent:
        if self.descent is None:
            pixels, size = self.painting.pixels, self.painting.settings.size
            objective = pixels.objective
            if objective is None:
                objective = pixels.problem.objective(size, pixels.encoder, gram=pixels.engine.gram, show=pixels.show)
            objective.scale({})
            self.descent = Descent(objective, self.coordinates, self.optimiser, self.picture)
        return self.descent

    def record(self, descent: Descent, lines: Sequence[Sequence[float]]) -> Diverged | None:
        for *values, _, finite in lines:
            if not finite:
                return Diverged(len(self.painting.history) + 1, self.painting.image)
            self.history.append(dict(zip((*descent.objective.terms, "total"), values, strict=True)))
        self.point = self.optimiser.point.clone()
        return None
