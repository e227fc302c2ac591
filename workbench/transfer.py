"""Style transfer by optimising the pixels, coarse to fine (Gatys et al. 2016 and 2017), for any StyleTarget.

Where a cheaper network imitates the encoder, it makes a draft first: all coarse scales, and some evaluations at full size.
"""

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from workbench import images, losses, progress, storage
from workbench.encoders import Encoder, imitation
from workbench.encoders.allocator import release_pages
from workbench.errors import UsageError, WorkbenchError, require
from workbench.optimisers import LBFGS, Adam
from workbench.parametrisation import Pixels, Spectral
from workbench.targets import StyleTarget

StyleLoss = Literal["gram", "w2", "patches", "embedding"]
Optimiser = Literal["lbfgs", "adam"]
Init = Literal["content", "noise"]
Draft = Literal["auto", "none"]
COARSEST = 256  # px: scales are halved until one is as small as that; a result that is smaller still is halved once
SMALLEST = 96  # px: no scale is smaller, unless the result is
SHARE = 0.3  # of the evaluations at full size that a coarser scale takes
DRAFT = 0.6  # likewise, where a draft is made: at every coarser scale and at full size
FIRST_MOVE = 0.005  # root mean square of the first trial, in the coordinates of Spectral
WINDOW = 20  # evaluations over which a plateau is judged


@dataclass(frozen=True)
class Stage:
    """A number of evaluations at one long side (px), by the encoder or by the network that imitates it."""

    size: int
    evaluations: int
    draft: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to optimise L = alpha L_content + beta L_style + tv L_tv. Raises UsageError for values that make no sense."""

    size: int = 384
    """Long side of the result, px."""
    steps: int = 100
    """Evaluations of the objective at full size; coarser scales take 0.3 times as many each, stages of a draft 0.6 times."""
    alpha: float = 0.05
    """Weight of the content loss."""
    beta: float = 1.0
    """Weight of the style loss."""
    tv: float = 0.02
    """Weight of the total variation."""
    style_loss: StyleLoss = "gram"
    optimiser: Optimiser = "lbfgs"
    init: Init = "content"
    """What the coarsest scale starts from."""
    draft: Draft = "auto"
    """"auto": a cheaper network that imitates the encoder, where there is one (for "vgg19"), makes a draft: the coarser
    scales, and a first pass at full size. "none": the encoder makes all."""
    plateau: float = 1e-3
    """Stop at full size when the last 20 evaluations lowered the objective by less than this share; 0 never stops."""
    seed: int = 0
    """Of the noise, and of the patches drawn for style_loss="patches"."""

    def __post_init__(self) -> None:
        images.check_size(self.size)
        require(
            isinstance(self.steps, int) and 1 <= self.steps <= 100_000, f"steps = {self.steps}: choose between 1 and 100000"
        )
        for name in ("alpha", "beta", "tv"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"{name} = {value}: a weight is a finite number, not below zero")
        require(0 <= self.plateau < 1, f"plateau = {self.plateau}: a share is at least 0 and less than 1")
        require(isinstance(self.seed, int) and 0 <= self.seed < 2**32, f"seed = {self.seed}: choose between 0 and 2**32 - 1")
        require(self.alpha + self.beta > 0, "alpha and beta are both 0: there is nothing to optimise")
        for name, choices in (("style_loss", StyleLoss), ("optimiser", Optimiser), ("init", Init), ("draft", Draft)):
            value = getattr(self, name)
            require(value in get_args(choices), f"{name} = {value!r}: choose {', '.join(get_args(choices))}")

    @property
    def scales(self) -> tuple[int, ...]:
        """Long sides from coarse to fine: halved at least once, and on to at most 256 px, but never below 96."""
        sizes = [self.size]
        while (len(sizes) == 1 or sizes[0] > COARSEST) and sizes[0] // 2 >= SMALLEST:
            sizes.insert(0, sizes[0] // 2)
        return tuple(sizes)

    def stages(self, drafted: bool) -> tuple[Stage, ...]:
        """What a transfer consists of, in order; `drafted`: whether there is a network to make a draft with."""
        before = max(1, round((DRAFT if drafted else SHARE) * self.steps))
        sizes = self.scales if drafted else self.scales[:-1]
        return (*(Stage(size, before, drafted) for size in sizes), Stage(self.size, self.steps, False))


@dataclass(frozen=True)
class Iterate:
    """One evaluation: `step` of `steps`, at long side `size`; unweighted `losses` and their weighted sum "total"."""

    step: int
    steps: int
    size: int
    losses: dict[str, float]
    seconds: float
    _picture: Tensor = field(repr=False, compare=False)

    @property
    def image(self) -> Tensor:
        """The picture at this step, (1, 3, H, W) in [0, 1]; computed only when asked for."""
        return self._picture.clamp(0, 1)


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


class Diverged(WorkbenchError):
    """The loss became infinite or not a number. `step` says when, `image` is the last good picture."""

    def __init__(self, step: int, image: Tensor):
        super().__init__(f"the loss stopped being finite at step {step}: lower beta, or use float32")
        self.step = step
        self.image = image


class Transfer:
    """One transfer, which can be iterated, stopped, continued, written to disk and resumed.

        for iterate in Transfer(content, target, encoder, Settings(size=384)): ...

    Iterating goes on where the last iteration stopped. `image` is always the picture so far.
    """

    def __init__(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings | None = None):
        """`content` (1, 3, H, W) float32 in [0, 1], at any size."""
        self.content = content.to(encoder.device)
        self.target = target
        self.encoder = encoder
        self.settings = settings or Settings()
        self.draft = imitation(encoder) if self.settings.draft == "auto" else None
        self.stages = self.settings.stages(self.draft is not None)
        self.starts = tuple(accumulate((stage.evaluations for stage in self.stages[:-1]), initial=0))  # evaluations before each
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.show = False  # whether statistics and steps report their progress on stderr
        self._picture = self._start()
        self._space: Spectral | Pixels | None = None
        self._optimiser: LBFGS | Adam | None = None
        self._objective: losses.Objective | None = None

    @property
    def image(self) -> Tensor:
        """The picture so far, (1, 3, H, W) in [0, 1]."""
        return self._picture.clamp(0, 1)

    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]:
        """(evaluations before it, its name) of every stage, as `figures.curves` marks them."""
        names = (f"{stage.size} px{', draft' if stage.draft else ''}" for stage in self.stages)
        return tuple(zip(self.starts, names, strict=True))

    @property
    def total_steps(self) -> int:
        """Evaluations over all stages, if no plateau ends them."""
        return self.starts[-1] + self.settings.steps

    def __iter__(self) -> Iterator[Iterate]:
        while not self.finished:
            began = time.perf_counter()
            if self._objective is None or len(self.history) in self.starts:
                self._prepare()
            stage = self._stage
            self._step()
            self.seconds += time.perf_counter() - began
            yield Iterate(len(self.history), self.total_steps, stage.size, self.history[-1], self.seconds, self._picture)
        release_pages()

    @property
    def finished(self) -> bool:
        """Whether all evaluations are made, or a plateau is reached."""
        done, plateau = len(self.history), self.settings.plateau
        if done >= self.total_steps or not plateau or done - self.starts[-1] <= WINDOW:
            return done >= self.total_steps
        before, now = self.history[-1 - WINDOW]["total"], self.history[-1]["total"]
        return before - now < plateau * abs(before)

    @property
    def _stage(self) -> Stage:
        """The stage that the next evaluation belongs to."""
        return self.stages[sum(start <= len(self.history) for start in self.starts) - 1]

    @property
    def _driver(self) -> Encoder:
        """The network that the next evaluation asks."""
        return self.draft if self.draft is not None and self._stage.draft else self.encoder

    def run(self, *, show: bool = False) -> Result:
        """Iterate to the end. Ctrl-C stops and keeps the picture: the result then says complete=False."""
        remaining = self.total_steps - len(self.history)
        self.show = show
        complete = True
        try:
            for _ in progress.track(self, total=remaining, label=f"transfer ({self.target.name})", show=show):
                pass
        except KeyboardInterrupt:
            complete = False
        return Result(self.image, tuple(self.history), self.seconds, complete, self.settings, self.target, self.boundaries)

    def _size(self, long_side: int) -> tuple[int, int]:
        return images.fit(*self.content.shape[-2:], long_side)

    def _start(self) -> Tensor:
        height, width = self._size(self.stages[0].size)
        if self.settings.init == "content":
            return images.resize(self.content, (height, width))
        generator = torch.Generator().manual_seed(self.settings.seed)
        return torch.rand(1, 3, height, width, generator=generator).to(self.content.device)

    def _prepare(self) -> None:
        """The objective of this stage, and an optimiser at the picture so far (or the one that `resume` brought)."""
        size = self._stage.size
        shape = self._size(size)
        if len(self.history) in self.starts:
            if tuple(self._picture.shape[-2:]) != shape:
                self._picture = images.resize(self._picture.clamp(0, 1), shape)
                self._optimiser = None
            elif self._optimiser is not None:
                self._optimiser.restart()
        if self._optimiser is None:
            self._optimise(self._picture)
        content = images.resize(self.content, shape)
        self._objective = objective(content, self.target, self._driver, self.settings, size, show=self.show)

    def _optimise(self, picture: Tensor) -> None:
        """Coordinates and an optimiser for `picture`."""
        where = (*picture.shape[-2:], picture.device)
        if self.settings.optimiser == "lbfgs":
            self._space = Spectral(*where)
            self._optimiser = LBFGS(self._space.point(picture), first_move=FIRST_MOVE)
        else:
            self._space = Pixels(*where)
            self._optimiser = Adam(self._space.point(picture))

    def _step(self) -> None:
        found: list[Tensor] = []  # the picture, and all its losses in one tensor

        def evaluate(point: Tensor) -> tuple[Tensor, Tensor]:
            z = point.detach().requires_grad_()
            x = self._space.picture(z)
            total, parts = self._objective(x)
            (gradient,) = torch.autograd.grad(total, z)
            if not (torch.isfinite(total) & torch.isfinite(gradient).all()):
                raise Diverged(len(self.history) + 1, self.image)
            found.extend((x.detach(), torch.stack([*parts.values(), total]).detach()))
            return total.detach(), gradient

        accepted = None
        try:
            accepted = self._optimiser.step(evaluate)
        except torch.OutOfMemoryError:
            if not self._driver.economise():
                raise
        if accepted is None:  # tried again only here, where the error no longer holds on to what filled the memory
            print("the device ran out of memory: computing features twice instead of keeping them", file=sys.stderr)
            found.clear()
            if self.content.device.type == "cuda":
                torch.cuda.empty_cache()
            accepted = self._optimiser.step(evaluate)
        if accepted:
            self._picture, values = found
            self.history.append(dict(zip((*self._objective.terms, "total"), values.tolist(), strict=True)))
        else:  # the trial was rejected: the picture, and so its losses, are those of the step before
            self.history.append(dict(self.history[-1]))

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the result: content, target, encoder, settings."""
        digest = hashlib.sha256(self.content.cpu().numpy().tobytes())
        works = [(work.sha256, weight) for work, weight in zip(self.target.works, self.target.weights, strict=True)]
        drivers = [encoder.identity for encoder in (self.encoder, self.draft) if encoder is not None]
        digest.update(json.dumps([asdict(self.settings), drivers, works], sort_keys=True).encode())
        return digest.hexdigest()

    def checkpoint(self, path: str | os.PathLike) -> Path:
        """Write everything a continuation needs to `path` (safetensors), atomically."""
        tensors = {"picture": self._picture}
        if self._optimiser is not None:
            tensors |= {f"optimiser.{name}": value for name, value in self._optimiser.state().items()}
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        record = {"fingerprint": self.fingerprint(), "history": json.dumps(self.history), "seconds": repr(self.seconds)}
        with storage.atomic(path) as temporary:
            save_file(tensors, temporary, metadata=record)
        return Path(path)

    def resume(self, path: str | os.PathLike) -> "Transfer":
        """Take over the state of `checkpoint`; what follows has the same bytes as an unbroken run. Returns self.

        Raises UsageError when the checkpoint belongs to another content, target, encoder or settings.
        """
        record, tensors = storage.read_checkpoint(path)
        if record.get("fingerprint") != self.fingerprint():
            raise UsageError(f"{path} is the checkpoint of another transfer: content, target, encoder or settings differ")
        self.history = json.loads(record["history"])
        self.seconds = float(record["seconds"])
        self._picture = tensors.pop("picture").to(self.content.device)
        self._optimiser = self._objective = None
        if tensors:
            self._optimise(self._picture)
            self._optimiser.load({name.removeprefix("optimiser."): value for name, value in tensors.items()})
        return self


def objective(
    content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings, size: int, *, show: bool = False
) -> losses.Objective:
    """The objective for `content` (1, 3, H, W) at one scale, paintings at long side `size`; `show` reports progress."""
    layers = encoder.style_layers
    with torch.no_grad():
        content_features = encoder.features(content, encoder.content_layers)
    style: losses.Loss
    if settings.style_loss == "gram":
        style = losses.GramLoss(target.moments(encoder, size, layers, show=show and len(target.works) > 1))
    elif settings.style_loss == "w2":
        style = losses.W2Loss(target.moments(encoder, size, layers, show=show and len(target.works) > 1))
    elif settings.style_loss == "patches":
        style = losses.PatchLoss(target.bag(encoder, size, layers[2:4], seed=settings.seed))
    else:
        style = losses.EmbeddingLoss(target.style_vectors(encoder, size, layers))
    return losses.Objective(
        encoder,
        {
            "content": (settings.alpha, losses.ContentLoss(content_features)),
            "style": (settings.beta, style),
            "tv": (settings.tv, losses.TotalVariation()),
            "range": (1.0, losses.OutOfRange()),
        },
    )
