"""Style transfer by optimising pixels, coarse to fine (Gatys et al. 2016, 2017; Kolkin et al. 2022), for any StyleTarget.

Where a cheaper network imitates the encoder, it makes a draft first: all coarse scales, and some evaluations at full size.
The content weighs more at first: what style takes from it in a few steps, it gets back only in many.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from workbench import colour, images, losses, neighbours, people, progress, statistics, storage
from workbench.advance import STRIDE, Step, advance
from workbench.corpus import Work
from workbench.encoders import Encoder, imitation
from workbench.encoders.allocator import release_pages
from workbench.errors import UsageError, require
from workbench.hypercolumns import layers_of
from workbench.optimisers import LBFGS, Adam
from workbench.parametrisation import Pixels, Spectral
from workbench.statistics import Moments
from workbench.targets import StyleTarget, check_words

Method = Literal["neighbours", "gram"]
StyleLoss = Literal["gram", "w2", "patches", "embedding"]
Optimiser = Literal["lbfgs", "adam"]
Init = Literal["content", "noise"]
Draft = Literal["auto", "none"]
Colour = Literal["style", "content", "luminance"]
SMALLEST = 96  # px: sizes are halved for coarser scales as long as none is smaller than that
SMALLEST_MATCHED = 160  # likewise where neighbours are matched: in a smaller face eyes have no place of their own
COARSE = 0.15  # of the evaluations at full size: what a coarser scale takes
MATCHED = 0.4  # of the evaluations at full size: what every scale takes where neighbours are matched
DRAFT = 0.4  # likewise at full size, where a draft is made
HELD = 12.0  # times its weight that the content has at coarser scales
HOLD = 4.0  # likewise at full size, at first
FIRST = 0.2  # of the evaluations at full size: those in which it is held there
KEPT = 4.0  # times alpha that the content weighs beside neighbours, which are harder to leave than statistics
FIRST_MOVE = 0.005  # root mean square of the first trial, in the coordinates of Spectral
WINDOW = 20  # evaluations over which a plateau is judged
VERSION = 12  # raised whenever the same settings come to another picture
THUMBNAIL = 96  # px, long side of a painting of which only colours are wanted
LEAST_PAINTING = 32  # px: no painting is made smaller than that, however fine the brush


@dataclass(frozen=True)
class Stage:
    """A number of evaluations at one long side (px), by the encoder or by the network that imitates it.

    `hold`: times its weight that the content loss has in them.
    """

    size: int
    evaluations: int
    draft: bool
    hold: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to optimise L = alpha L_content + beta L_style + tv L_tv. Raises UsageError for values that make no sense."""

    method: Method = "neighbours"
    """"neighbours": each place of the content takes over the most similar place of the paintings (Kolkin et al. 2022, for many
    works). "gram": the statistics of the paintings as a whole are matched (Gatys et al. 2016)."""
    size: int = 512
    """Long side of the result, px."""
    steps: int = 100
    """Evaluations of the objective at full size; a coarser scale takes 0.15 times as many, a draft at full size 0.4 times.
    Where neighbours are matched every scale takes 0.4 times as many: the target stands still and is soon reached."""
    looseness: float = 2.0
    """neighbours: standard deviation, px, of the blur through which content and paintings are compared. At 0 texture counts,
    too, and smooth places stay smooth; 2 brings strokes; at 4 details dissolve in them."""
    palette: float = 1.0
    """neighbours: how far the content's colours move to those of the paintings before places are matched: from 0, where the
    palette is that of the most similar places, to 1, where it is that of the paintings as a whole."""
    alpha: float = 0.05
    """Weight of the content loss; beside neighbours it counts four times."""
    beta: float = 1.0
    """Weight of the style loss."""
    tv: float = 0.02
    """Weight of the total variation."""
    style_loss: StyleLoss = "gram"
    softness: float = 0.1
    """Temperature of the soft-min over paintings that are kept apart, in units of the Gram loss; 0 takes the nearest alone."""
    bag: int = 2048
    """Patches at most that stand for all paintings, where patches are compared."""
    brush: float = 1.0
    """Long side of the paintings over that of the picture: 0.5 makes strokes half as large in the picture, 2 twice. For
    neighbours times 1.25, and no painting is seen at more than 1.25 times its own size."""
    strength: float = 1.0
    """How far to go from the content's own style, its statistics or features (0), to that of the paintings (1)."""
    colour: Colour = "style"
    """"style": the paintings' colours. "content": the paintings take the content's colours first, by optimal transport.
    "luminance": only light and dark are transferred, and the content's colours laid over the result."""
    optimiser: Optimiser = "lbfgs"
    init: Init = "content"
    """What the coarsest scale starts from."""
    draft: Draft = "auto"
    """"auto": a cheaper network that imitates the encoder, where there is one (for "vgg19"), makes a draft: the coarser
    scales, and a first pass at full size. "none": the encoder makes all."""
    plateau: float = 1e-3
    """Stop at full size when the last 20 evaluations lowered the objective by less than this share; 0 never stops."""
    seed: int = 0
    """Of all that is drawn: noise, patches for style_loss="patches", and places of the paintings for neighbours."""

    def __post_init__(self) -> None:
        images.check_size(self.size)
        require(
            isinstance(self.steps, int) and 1 <= self.steps <= 100_000, f"steps = {self.steps}: choose between 1 and 100000"
        )
        for name in ("alpha", "beta", "tv", "softness"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"{name} = {value}: a weight is a finite number, not below zero")
        require(isinstance(self.bag, int) and 1 <= self.bag <= 10**6, f"bag = {self.bag}: choose between 1 and 1000000 patches")
        require(self.softness <= 1000, f"softness = {self.softness}: choose at most 1000, where it is long the mean")
        require(0.1 <= self.brush <= 8, f"brush = {self.brush}: choose between 0.1 (fine) and 8 (coarse)")
        require(0 <= self.looseness <= 8, f"looseness = {self.looseness}: choose between 0 and 8 px")
        require(
            0 <= self.palette <= 1,
            f"palette = {self.palette}: choose between 0 (the most similar places' colours) and 1 (the paintings')",
        )
        require(0 <= self.strength <= 1, f"strength = {self.strength}: choose between 0 (the content's own style) and 1")
        require(0 <= self.plateau < 1, f"plateau = {self.plateau}: a share is at least 0 and less than 1")
        require(isinstance(self.seed, int) and 0 <= self.seed < 2**32, f"seed = {self.seed}: choose between 0 and 2**32 - 1")
        require(self.alpha + self.beta > 0, "alpha and beta are both 0: there is nothing to optimise")
        words = {
            "method": Method,
            "style_loss": StyleLoss,
            "optimiser": Optimiser,
            "init": Init,
            "draft": Draft,
            "colour": Colour,
        }
        for name, choices in words.items():
            value = getattr(self, name)
            require(value in get_args(choices), f"{name} = {value!r}: choose {', '.join(get_args(choices))}")

    @property
    def scales(self) -> tuple[int, ...]:
        """Long sides from coarse to fine, each half of the next, none but the last below 96 px (160 px for neighbours)."""
        sizes = [self.size]
        smallest = SMALLEST_MATCHED if self.method == "neighbours" else SMALLEST
        while sizes[0] // 2 >= smallest:
            sizes.insert(0, sizes[0] // 2)
        return tuple(sizes)

    def painting_size(self, size: int) -> int:
        """Long side of the paintings, px, beside a picture of long side `size`."""
        return max(LEAST_PAINTING, round(size * self.brush)) if self.brush < 1 else round(size * self.brush)

    def stages(self, drafted: bool, holds: bool) -> tuple[Stage, ...]:
        """What a transfer consists of, in order; `drafted`: whether there is a network to make a draft with; `holds`: whether
        the content weighs more at first."""
        if self.method == "neighbours":
            return tuple(Stage(size, max(1, round(MATCHED * self.steps)), False, 1.0) for size in self.scales)
        coarse = max(1, round(COARSE * self.steps))
        before = [Stage(size, coarse, drafted, HELD if holds else 1.0) for size in self.scales[:-1]]
        full = max(1, round(DRAFT * self.steps)) if drafted else self.steps
        # The first evaluation of a stage moves nothing: fewer than two are none.
        first = round(FIRST * self.steps)
        held = first if holds and 2 <= first <= full - 2 else 0
        at_size = [Stage(self.size, n, drafted, hold) for n, hold in ((held, HOLD), (full - held, 1.0)) if n]
        return (*before, *at_size, *([Stage(self.size, self.steps, False, 1.0)] if drafted else []))


@dataclass(frozen=True)
class Iterate:
    """One evaluation: `step` of `steps`, at long side `size`; unweighted `losses` and "total", their sum by the true weights.

    The picture and the seconds are those of the last evaluation that was made, which is this one if `Transfer.stride` is 1.
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


class Transfer:
    """One transfer, which can be iterated, stopped, continued, written to disk and resumed.

        for iterate in Transfer(content, target, encoder, Settings(size=384)): ...

    Iterating goes on where the last iteration stopped. `image` is always the picture so far. On CUDA the host looks at every
    tenth evaluation (`stride`): ten are then told at once, with the picture and the time of the last, a plateau is seen only
    there, and who breaks off amid them hears no more of the rest. `stride = 1` is as on a CPU.
    """

    def __init__(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings | None = None):
        """`content` (1, 3, H, W) float32 in [0, 1], at any size.

        Raises UsageError where the settings do not go with the way in which the target's works are combined.
        """
        self.content = content.to(encoder.device)
        self.encoder = encoder
        self.settings = settings or Settings()
        check_combination(target.combine, self.settings, guided=bool(target.guides))
        self.target = target if self.settings.method == "neighbours" else target.with_people_joined()
        self._recolour = _recolouring(content, self.settings)
        self._faces = people.faces(self.content) if self.settings.method == "neighbours" else ()
        self._source = self._coloured()
        self.matches = self.settings.method == "neighbours"
        if self.matches:
            layers_of(encoder)  # which refuses an encoder that has not got them
        self.draft = imitation(encoder) if self.settings.draft == "auto" and not self.matches else None
        # Whether the content weighs more at first, and a finer scale gets its detail: where that was found to pay.
        gram = self.settings.style_loss == "gram" and target.combine != "bag" and not self.matches
        self.holds = gram and self.settings.optimiser == "lbfgs"
        self.stages = self.settings.stages(self.draft is not None, self.holds)
        self.starts = tuple(accumulate((stage.evaluations for stage in self.stages[:-1]), initial=0))  # evaluations before each
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.show = False  # whether statistics and steps report their progress on stderr
        self.picture = self._start()
        self._space: Spectral | Pixels | None = None
        self.optimiser: LBFGS | Adam | None = None
        self.objective: losses.Objective | None = None
        self.stride = STRIDE if self.content.device.type == "cuda" else 1
        self.recorded: Step | None = None  # of `advance`

    def _coloured(self) -> Tensor:
        """The content as the losses see it, at its own size."""
        settings = self.settings
        if settings.colour == "luminance":
            return colour.luminance(self.content)
        if settings.method == "neighbours" and settings.colour == "style" and settings.palette * settings.strength:
            works = zip(self.target.weights, map(_colours, self.target.works), strict=True)
            return colour.TowardsColoursOf(works, settings.palette * settings.strength)(self.content)
        return self.content

    @property
    def image(self) -> Tensor:
        """The picture so far, (1, 3, H, W) in [0, 1]."""
        return self._finished(self.picture)

    @property
    def bare(self) -> Tensor:
        """The picture so far as the losses see it: `image`, but in grey where only luminance is transferred."""
        return self.picture.clamp(0, 1)

    def aim(self) -> dict[str, Moments]:
        """The style moments that the last stage aims at, layer -> Moments; where paintings are kept apart, pooled ones."""
        settings = self.settings
        return aim(self.scaled(settings.size), self.target, self.encoder, settings, settings.size, recolour=self._recolour)

    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]:
        """(evaluations before it, its name) of every size and of the draft at each, as `figures.curves` marks them."""
        names = [f"{stage.size} px{', draft' if stage.draft else ''}" for stage in self.stages]
        return tuple(next(alike) for _, alike in groupby(zip(self.starts, names, strict=True), key=itemgetter(1)))

    @property
    def total_steps(self) -> int:
        """Evaluations over all stages, if no plateau ends them."""
        return sum(stage.evaluations for stage in self.stages)

    def __iter__(self) -> Iterator[Iterate]:
        try:
            while not self.finished:
                began, made = time.perf_counter(), len(self.history)
                self.ready()
                stage = self._stage
                try:
                    self._step()
                finally:
                    self.seconds += time.perf_counter() - began
                for step, found in enumerate(self.history[made:], start=made + 1):
                    yield Iterate(step, self.total_steps, stage.size, found, self.seconds, self.picture, self._finished)
        finally:
            self.recorded = None  # it holds on to the device's memory
        release_pages()

    def ready(self) -> None:
        """See to it that `objective` and `optimiser` are those of the next evaluation."""
        if self.objective is None or len(self.history) in self.starts:
            self._prepare()

    @property
    def to_come(self) -> int:
        """Evaluations up to the next look of the host: a multiple of `stride` within the stage, or the end of the stage."""
        made = len(self.history)
        start = max(start for start in self.starts if start <= made)
        end = next(end for end in (*self.starts[1:], self.total_steps) if end > made)
        return min(self.stride - (made - start) % self.stride, end - made)

    def _step(self) -> None:
        advance([self])

    @property
    def finished(self) -> bool:
        """Whether all evaluations are made, or a plateau is reached."""
        done, plateau = len(self.history), self.settings.plateau
        if done >= self.total_steps or not plateau or done - self.starts[-1] <= WINDOW:
            return done >= self.total_steps
        before, now = self.history[-1 - WINDOW]["total"], self.history[-1]["total"]
        return before - now < plateau * abs(before)

    @property
    def stage_number(self) -> int:
        """Of the stage that the next evaluation belongs to, in `stages`."""
        return sum(start <= len(self.history) for start in self.starts) - 1

    @property
    def _stage(self) -> Stage:
        """The stage that the next evaluation belongs to."""
        return self.stages[self.stage_number]

    @property
    def driver(self) -> Encoder:
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
        return self.result(complete)

    def result(self, complete: bool) -> Result:
        """What there is so far; `complete` says whether it is the end."""
        return Result(self.image, tuple(self.history), self.seconds, complete, self.settings, self.target, self.boundaries)

    def scaled(self, long_side: int) -> Tensor:
        """The content as the losses see it, with this long side."""
        return images.resize(self._source, images.fit(*self.content.shape[-2:], long_side))

    def _finished(self, picture: Tensor) -> Tensor:
        """`picture` as it is to be seen."""
        if self.settings.colour == "luminance":
            return colour.with_luminance(images.resize(self.content, tuple(picture.shape[-2:])), picture)
        return picture.clamp(0, 1)

    def _start(self) -> Tensor:
        content = self.scaled(self.stages[0].size)
        if self.settings.init == "content":
            return content
        height, width = content.shape[-2:]
        generator = torch.Generator().manual_seed(self.settings.seed)
        noise = torch.rand(1, 3, height, width, generator=generator).to(self.content.device)
        return colour.luminance(noise) if self.settings.colour == "luminance" else noise

    def _prepare(self) -> None:
        """The objective of this stage, and an optimiser at the picture so far (or the one that `resume` brought)."""
        number = self.stage_number
        stage, first = self.stages[number], len(self.history) in self.starts
        content = self.scaled(stage.size)
        if first:
            if self.picture.shape != content.shape:
                picture = self._enlarged(content)
                self._optimise(picture)
                self.picture = picture  # last: who was interrupted before begins the scale again
            elif self.optimiser is not None:
                self.optimiser.restart()
        if self.optimiser is None:
            self._optimise(self.picture)
        before = self.stages[max(0, number - 1)]
        if self.objective is None or (before.size, before.draft) != (stage.size, stage.draft):
            self.objective = objective(
                content,
                self.target,
                self.driver,
                self.settings,
                stage.size,
                faces=self._faces,
                recolour=self._recolour,
                show=self.show,
            )
        self.objective.hold({"content": stage.hold})

    def _enlarged(self, content: Tensor) -> Tensor:
        """The picture so far, as large as `content`, whose detail it gets where it began as a coarse copy of it."""
        shape = tuple(content.shape[-2:])
        picture = images.resize(self.picture.clamp(0, 1), shape)
        if self.settings.init != "content" or not (self.holds or self.matches):
            return picture
        coarse = self.scaled(max(self.picture.shape[-2:]))
        return (picture + content - images.resize(coarse, shape)).clamp(0, 1)

    def _optimise(self, picture: Tensor) -> None:
        """Coordinates and an optimiser for `picture`, which takes over what a coarser scale has taught of the curvature.

        Adam takes over the picture alone: with the mean squares of a coarser scale objectives ended 1.03 to 2.4 times as high.
        """
        where = (*picture.shape[-2:], picture.device)
        space: Spectral | Pixels
        optimiser: LBFGS | Adam
        if self.settings.optimiser == "lbfgs":
            space = Spectral(*where)
            learnt = space.taken_over(self.optimiser.learnt(), self._space) if self.optimiser is not None else None
            optimiser = LBFGS(space.point(picture), first_move=FIRST_MOVE, local_mean=space.local_mean, diagonal=learnt)
        else:
            space = Pixels(*where)
            optimiser = Adam(space.point(picture))
        self._space, self.optimiser = space, optimiser

    def seen(self, point: Tensor) -> Tensor:
        """The picture (1, 3, H, W) at `point` of the optimiser, as the losses see it."""
        picture = self._space.picture(point)
        # In colours the losses would be met where nobody sees it.
        return colour.luminance(picture) if self.settings.colour == "luminance" else picture

    def take(self, point: Tensor, picture: Tensor, gradient: Tensor, values: Tensor) -> None:
        """What was found at `point`: move there if the optimiser does. `values`: all losses, their total, what is descended."""
        if self.optimiser.tell(point, values[-1], gradient):
            self.picture = picture
            self.log(values[:-1].tolist())
        else:  # the trial was rejected: the picture, and so its losses, are those of the step before
            self.history.append(dict(self.history[-1]))
        self.optimiser.settle()

    def log(self, values: Sequence[float]) -> None:
        """Put the losses of one evaluation on record, their total being the last of `values`."""
        self.history.append(dict(zip((*self.objective.terms, "total"), values, strict=True)))

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the result: content, target, encoder, settings."""
        digest = hashlib.sha256(f"{VERSION}|{images.DECODER}".encode())
        digest.update(self.content.cpu().numpy().tobytes())
        works = [(work.sha256, weight) for work, weight in zip(self.target.works, self.target.weights, strict=True)]
        drivers = [encoder.identity for encoder in (self.encoder, self.draft) if encoder is not None]
        digest.update(json.dumps([asdict(self.settings), drivers, works, self.target.combine], sort_keys=True).encode())
        for guide in self.target.guides:
            pieces = [(piece.work.sha256, weight) for piece, weight in zip(guide.pieces, guide.weights, strict=True)]
            digest.update(json.dumps([guide.matched, pieces]).encode())
            for mask in (guide.mask, *(piece.mask for piece in guide.pieces)):
                digest.update(mask.numpy().tobytes())
        return digest.hexdigest()

    def checkpoint(self, path: str | os.PathLike) -> Path:
        """Write everything a continuation needs to `path` (safetensors), atomically."""
        tensors = {"picture": self.picture}
        if self.optimiser is not None:
            tensors |= {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
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
        self.picture = tensors.pop("picture").to(self.content.device)
        self.optimiser = self.objective = None
        if tensors:
            self._optimise(self.picture)
            self.optimiser.load({name.removeprefix("optimiser."): value for name, value in tensors.items()})
        return self


@lru_cache(maxsize=4096)
def _colours(work: Work) -> tuple[Tensor, Tensor]:
    """The colours of `work`; see colour.colours."""
    progress.check()
    return colour.colours(work.load(THUMBNAIL))


def objective(
    content: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    settings: Settings,
    size: int,
    *,
    faces: Sequence[people.Face] = (),
    recolour: colour.Recolouring | None = None,
    show: bool = False,
) -> losses.Objective:
    """The objective for `content` (1, 3, H, W) at long side `size`. `recolour` changes the paintings' colours.

    `faces`: those of the content, which neighbours leave more of.
    """
    with torch.no_grad():
        content_features = encoder.features(content, encoder.content_layers)
    return losses.Objective(
        encoder,
        {
            "content": (
                settings.alpha * (KEPT if settings.method == "neighbours" else 1.0),
                losses.ContentLoss(content_features),
            ),
            "style": (settings.beta, _style_loss(content, target, encoder, settings, size, faces, recolour, show)),
            "tv": (settings.tv, losses.TotalVariation()),
            "range": (1.0, losses.OutOfRange()),
        },
    )


def aim(
    content: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    settings: Settings,
    size: int,
    *,
    recolour: colour.Recolouring | None = None,
    show: bool = False,
) -> dict[str, Moments]:
    """The style moments to aim at, layer -> Moments: the target's, or where `strength` is below 1, mixed with the content's.

    Of a target with guides those that the whole picture has where every region has its own.
    """
    layers, paintings_at = encoder.style_layers, settings.painting_size(size)
    if target.guides:
        each = target.guided_moments(encoder, paintings_at, layers, recolour=recolour, show=show)
        found = statistics.pool((guide.share, moments) for guide, moments in zip(target.guides, each, strict=True))
    else:
        found = target.moments(encoder, paintings_at, layers, recolour=recolour, show=show)
    return _weakened([(1.0, found)], content, encoder, settings)[0][1]


def _weakened(
    paintings: list[tuple[float, dict[str, Moments]]], content: Tensor, encoder: Encoder, settings: Settings
) -> list[tuple[float, dict[str, Moments]]]:
    """`paintings`, each mixed with the moments of the content by `strength`."""
    strength = settings.strength
    if strength == 1:
        return paintings
    with torch.no_grad():
        own = {layer: statistics.moments(f) for layer, f in encoder.features(content, encoder.style_layers).items()}
    return [(weight, statistics.pool([(1 - strength, own), (strength, moments)])) for weight, moments in paintings]


def _weakened_regions(
    targets: list[dict[str, Moments]], masks: Tensor, content: Tensor, encoder: Encoder, settings: Settings
) -> list[dict[str, Moments]]:
    """`targets`, each mixed with the moments of its own region of the content by `strength`."""
    strength = settings.strength
    if strength == 1:
        return targets
    with torch.no_grad():
        features = encoder.features(content, encoder.style_layers)
        own = [
            {x: statistics.moments(f, statistics.spread(mask[None], *f.shape[-2:])) for x, f in features.items()}
            for mask in masks
        ]
    return [statistics.pool([(1 - strength, o), (strength, t)]) for o, t in zip(own, targets, strict=True)]


def _style_loss(
    content: Tensor,
    target: StyleTarget,
    encoder: Encoder,
    settings: Settings,
    size: int,
    faces: Sequence[people.Face],
    recolour: colour.Recolouring | None,
    show: bool,
) -> losses.Loss:
    layers, paintings_at = encoder.style_layers, settings.painting_size(size)
    if settings.method == "neighbours":
        return neighbours.loss(
            content,
            target,
            encoder,
            size=paintings_at,
            looseness=settings.looseness,
            strength=settings.strength,
            seed=settings.seed,
            faces=faces,
            recolour=recolour,
            show=show,
        )
    if settings.style_loss == "patches" or target.combine == "bag":
        bag = target.bag(encoder, paintings_at, layers[2:4], limit=settings.bag, seed=settings.seed, recolour=recolour)
        return losses.BagLoss(bag) if target.combine == "bag" else losses.PatchLoss(bag)
    if settings.style_loss == "embedding":
        return losses.EmbeddingLoss(target.style_vectors(encoder, paintings_at, layers, recolour=recolour))
    if target.guides:
        each = target.guided_moments(encoder, paintings_at, layers, recolour=recolour, show=show)
        masks = torch.cat([guide.mask for guide in target.guides]).to(content.device)
        return losses.GuidedGramLoss(masks, _weakened_regions(each, masks, content, encoder, settings))
    if target.combine == "apart":
        each = list(target.paintings(encoder, paintings_at, layers, recolour=recolour, show=show))
        return losses.SoftMinGramLoss(_weakened(each, content, encoder, settings), temperature=settings.softness)
    moments = aim(content, target, encoder, settings, size, recolour=recolour, show=show)
    return losses.GramLoss(moments) if settings.style_loss == "gram" else losses.W2Loss(moments)


def _recolouring(content: Tensor, settings: Settings) -> colour.Recolouring | None:
    """What is done to the paintings before their style is measured."""
    if settings.colour == "style":
        return None
    return colour.ColoursOf(content) if settings.colour == "content" else colour.LuminanceLike(content)


def asked(words: str, settings: Settings) -> tuple[str, Settings]:
    """(the words of a target, `settings` with the method) of words such as "blend", "gram:blend" or "blend/barycentre".

    A method may be named before a colon. Where none is, works that are combined in some way after a slash are a matter of
    their statistics and go with "gram"; the others go with the method of `settings`. UsageError for an unknown method.
    """
    method, _, target = words.rpartition(":")
    method = method or ("gram" if target.partition("/")[2] not in ("", "pooled") else settings.method)
    require(method in get_args(Method), f"{words!r}: the method before the colon is {' or '.join(get_args(Method))}")
    return target, replace(settings, method=method)


def check_asked(words: str, settings: Settings) -> str:
    """The name of the target in `words` (see `asked`). UsageError where words and settings do not go together."""
    target, settings = asked(words, settings)
    name, combine = check_words(target)
    check_combination(combine, settings, guided=name == "regions")
    return name


def check_combination(combine: str, settings: Settings, *, guided: bool = False) -> None:
    """UsageError where a method, a way to combine works, a way to compare styles and a strength do not go together."""
    if settings.method == "neighbours":
        require(
            combine == "pooled" and settings.style_loss == "gram",
            f"paintings combined as {combine!r} and style_loss = {settings.style_loss!r} go with the method gram: "
            "neighbours take places from the paintings, not statistics",
        )
        return
    goes = {"gram": ("pooled", "barycentre", "apart", "bag"), "w2": ("pooled", "barycentre")}
    ways = goes.get(settings.style_loss, ("pooled",))
    require(
        combine in ways,
        f"paintings combined as {combine!r} do not go with style_loss = {settings.style_loss!r}: "
        f"combine them as {' or '.join(ways)}",
    )
    simple = settings.style_loss == "gram" and combine == "pooled"
    require(simple or not guided, "a target of regions goes with style_loss gram and pooled pieces, not otherwise")
    moments = settings.style_loss in goes and combine != "bag"
    require(
        settings.strength == 1 or moments, f"strength = {settings.strength} goes with style_loss gram and w2, not with patches"
    )
