"""The one training loop. A family says what its networks are and what a step loses; the rest is here."""

import contextlib
import hashlib
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from workbench import encoders, progress, storage
from workbench.errors import UsageError, WorkbenchError, require

WARM_UP = 0.02
"""Share of the training over which the learning rate rises."""
LAST_RATE = 0.01
"""Learning rate at the end, as a share of the highest."""
LARGEST_GRADIENT = 1.0
"""Norm to which the gradient of a network is cut."""
AVERAGED_OVER = 0.998
"""Decay of the moving average of the weights (EMA), which is what paints in the end."""
Losses = Iterator[tuple[str, Tensor]]


class Family(ABC):
    """A family of networks: what `Training` needs to know of it.

    name; players: the networks that learn, each group with an optimiser of its own, and "painter" among them, which is kept;
    rates: player -> highest learning rate; betas: those of Adam; identity: all that decides the training besides plan and
    seed, such as the pictures' hashes.
    """

    name: str
    players: Mapping[str, nn.Module]
    rates: Mapping[str, float]
    betas: tuple[float, float] = (0.9, 0.99)
    identity: str

    @property
    def painter(self) -> nn.Module:
        """The network that paints in the end."""
        return self.players["painter"]

    @abstractmethod
    def losses(self, draw: torch.Generator) -> Losses:
        """One step: (player, its loss), one after the other. Each is minimised before the next is asked for.

        All that is random is drawn from `draw`. Networks run in `precision`; encoders outside of it, as they have their own.
        """

    @abstractmethod
    def measure(self, painter: nn.Module) -> dict[str, float]:
        """How well `painter` does on what it never saw: name -> value, the smaller the better. Always on the same."""

    def samples(self, painter: nn.Module) -> Tensor | None:
        """What `painter` does, in rows of pictures (r, c, 3, H, W) in [0, 1]: content, result, ... None if it has none."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What the next steps depend on besides weights, such as an image pool."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027 - most have no state
        """Take over what `state` gave."""

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """What moves the parameters of a player. Its state is tensors and whole numbers."""
        return torch.optim.Adam(parameters, lr=0.0, betas=self.betas)

    def in_file(self, average: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What the file of the finished network holds, from the averaged weights: tensors, and metadata besides the header."""
        return {name: half(value) for name, value in average.items()}, {}

    @abstractmethod
    def header(self) -> dict[str, object]:
        """What the file of the finished network says: architecture, encoder, works; plain values."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast. The training ends with `steps` or after `minutes`, whichever comes first; one must be given.

    With `minutes` the learning rate follows the clock, so that the course of the training depends on the machine.
    """

    steps: int | None = None
    minutes: float | None = None
    rate: float = 1.0
    """Factor of the family's learning rates."""
    seed: int = 0
    report_every: int = 100
    """Steps between two measurements."""

    def __post_init__(self) -> None:
        require(self.steps is not None or self.minutes is not None, "say how long to train: steps or minutes")
        require(self.steps is None or self.steps >= 1, f"steps = {self.steps}: give a whole number above 0")
        require(self.minutes is None or 0 < self.minutes < math.inf, f"minutes = {self.minutes}: give a number above 0")
        require(0 < self.rate <= 100, f"rate = {self.rate}: give a number above 0 and up to 100")
        require(0 <= self.seed < 2**32, f"seed = {self.seed}: choose between 0 and 2**32 - 1")
        require(self.report_every >= 1, f"report_every = {self.report_every}: give a whole number above 0")


def at_least(options: object, **limits: float) -> None:
    """UsageError where a field of `options`, or a number in it, is below its limit, or not finite."""
    for name, least in limits.items():
        value = getattr(options, name)
        numbers = value if isinstance(value, tuple) else (value,)
        fits = all(math.isfinite(number) and number >= least for number in numbers)
        what = "numbers" if value is numbers else "a number"
        require(fits and bool(numbers), f"{name} = {value}: give {what} of {least} or more")


class Diverged(WorkbenchError):
    """A loss or a gradient stopped being finite."""


class Training:
    """The training of one family.

        training = Training(family, Plan(steps=2000))
        for record in training: ...

    Iterating trains to the end and yields a record after every `report_every` steps: step, seconds, the mean of each loss, and
    what the family measures of the averaged painter. `checkpoint` and `resume` carry it over a stop: with `steps` it then goes
    on as if there had been none, to the last bit on the same CPU.

    step: how many are made; seconds: of work so far, by the clock; whole: whether none is half made, so that a checkpoint makes
    sense; moved: whether weights have moved in a step that is half made.
    """

    def __init__(
        self,
        family: Family,
        plan: Plan,
        *,
        begin: Mapping[str, Tensor] | None = None,
        show: bool = False,
        accelerator: Any = None,
    ):
        """`begin`: the weights of a painter to begin from, in place of random ones; UsageError where they do not fit.
        `show`: the steps up to the next record, on stderr.

        `accelerator`: an accelerate.Accelerator, in each of several processes that train one network, the encoder of `family`
        being on its device. Every process draws pictures of its own, and gradients are their mean. After a stop all but the
        first draw afresh, so that they go on, but not to the same bits.
        """
        self.family = family
        self.plan = plan
        self.accelerator = accelerator
        self.process = accelerator.process_index if accelerator else 0
        self.show = show
        self.begun_from = _begin(family.painter, begin) if begin else ""
        self.step = 0
        self.seconds = 0.0
        self._cpu = -time.process_time()
        self.whole, self.moved = True, False
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, tuple[float, int]] = {}  # player -> (its losses since the last record, how many)
        self.after_step: Callable[[], None] = lambda: None
        """Called after every step, and after its record."""
        self.draw = torch.Generator().manual_seed(plan.seed + self.process)
        self.optimisers = {
            name: family.optimiser([p for p in player.parameters() if p.requires_grad])
            for name, player in family.players.items()
        }
        self.average = {name: value.detach().clone() for name, value in family.painter.state_dict().items()}

    @property
    def done(self) -> float:
        """The share of the training that is behind, in [0, 1]."""
        by_steps = self.step / self.plan.steps if self.plan.steps else 0.0
        by_time = self.seconds / (60 * self.plan.minutes) if self.plan.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    @property
    def cpu_seconds(self) -> float:
        """CPU time of this process since the training was made, and before its last stop."""
        return self._cpu + time.process_time()

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None before the first step."""
        return self.seconds * (1 - self.done) / self.done if self.done else None

    def __iter__(self) -> Iterator[dict[str, float]]:
        if not self.history:
            yield self._report()
        while self.done < 1 or not self.step:  # a measurement alone may take the time that was given
            every = self.plan.report_every
            left = min(every - self.step % every, (self.plan.steps or self.step + every) - self.step)
            label = f"{self.family.name}, step {self.step + left}"
            for _ in progress.track(self._steps(left), total=left, label=label, show=self.show):
                pass
            yield self.history[-1]

    def _steps(self, count: int) -> Iterator[None]:
        """`count` steps, or fewer where the time is over; after the last of them, the record."""
        for k in range(1, count + 1):
            self._step()
            last = k == count or self.done >= 1
            if last:
                self._report()
            self.after_step()
            yield
            if last:
                return

    def _report(self) -> dict[str, float]:
        began = time.perf_counter()
        record = {"step": self.step, "seconds": self.seconds}
        record |= {f"loss {name}": total / count for name, (total, count) in self._sums.items()}
        with self.averaged(), torch.no_grad():
            record |= self.family.measure(self.family.painter)
        self._sums = {}
        self.history.append(record)
        self.spend(time.perf_counter() - began)
        return record

    def _step(self) -> None:
        began = time.perf_counter()
        rate = self._rate()
        self.whole, self.moved = False, False
        for name, loss in self.family.losses(self.draw):
            value = float(self._mean(loss.detach()))
            optimiser, player = self.optimisers[name], self.family.players[name]
            for group in optimiser.param_groups:
                group["lr"] = rate * self.family.rates[name]
            player.zero_grad(set_to_none=True)
            if math.isfinite(value):
                loss.backward()
                self._share_gradients(player)
            norm = float(nn.utils.clip_grad_norm_(player.parameters(), LARGEST_GRADIENT)) if math.isfinite(value) else math.nan
            if not math.isfinite(norm):
                advice = "lower --rate, or change the options of the family"
                raise Diverged(f"the loss of {name} stopped being finite at step {self.step + 1}: {advice}")
            optimiser.step()
            self.moved = True
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, count + 1
        self.step += 1
        self._average()
        self.whole = True
        self.spend(time.perf_counter() - began)

    def spend(self, seconds: float) -> None:
        """Add to `seconds` of work what all processes took in the mean: by that clock they end together."""
        self.seconds += float(self._mean(torch.tensor(seconds, dtype=torch.float64))) if self.accelerator else seconds

    def wait(self) -> None:
        """Until every process has come here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

    def _mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over all processes."""
        if self.accelerator is None:
            return value
        return self.accelerator.reduce(value.to(self.accelerator.device).contiguous(), reduction="mean")

    def _share_gradients(self, player: nn.Module) -> None:
        if self.accelerator is not None:
            for parameter in player.parameters():
                if parameter.grad is not None:
                    parameter.grad.copy_(self._mean(parameter.grad))

    @torch.no_grad()
    def _average(self) -> None:
        """a := d a + (1 - d) w, with d smaller in the first steps, so that the first weights are forgotten."""
        decay = min(AVERAGED_OVER, (1 + self.step) / (10 + self.step))
        for name, value in self.family.painter.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)  # a count has no mean

    def _rate(self) -> float:
        done = self.done
        if done < WARM_UP:
            return self.plan.rate * max(done / WARM_UP, LAST_RATE)
        along = (done - WARM_UP) / (1 - WARM_UP)
        return self.plan.rate * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * along)) / 2)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the painter has the averaged weights."""
        painter = self.family.painter
        own = {name: value.detach().clone() for name, value in painter.state_dict().items()}
        try:
            painter.load_state_dict(self.average)
            yield
        finally:
            painter.load_state_dict(own)

    @property
    def recipe(self) -> str:
        """SHA-256 of all that decides the training: the family's pictures and architecture, and the plan."""
        plan = {name: value for name, value in asdict(self.plan).items() if name != "minutes"}
        decides = [self.family.name, self.family.identity, plan, *([self.begun_from] if self.begun_from else [])]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def checkpoint(self, path: str | Path) -> Path:
        """Write all that the rest of the training depends on, atomically. The file before it becomes NAME.previous."""
        path = Path(path)
        tensors = {"draw": self.draw.get_state()} | {f"average.{name}": value for name, value in self.average.items()}
        for name, player in self.family.players.items():
            tensors |= {f"player.{name}.{key}": value for key, value in player.state_dict().items()}
            for i, state in self.optimisers[name].state_dict()["state"].items():
                tensors |= {f"optimiser.{name}.{i}.{key}": torch.as_tensor(value) for key, value in state.items()}
        tensors |= {f"family.{name}": value for name, value in self.family.state().items()}
        state = {"step": self.step, "seconds": self.seconds, "history": self.history, "sums": self._sums}
        state |= {"cpu_seconds": self.cpu_seconds, "given": self._given}
        with storage.atomic(path) as temporary:
            held = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
            save_file(held, temporary, metadata={"recipe": self.recipe, "state": json.dumps(state)})
            if path.exists():
                path.replace(previous(path))
        return path

    def resume(self, path: str | Path) -> Path:
        """Take over what `checkpoint` wrote; where `path` is damaged or gone, what it wrote before. Returns the file read.

        UsageError when it belongs to another training, WorkbenchError when none can be read.
        """
        path = Path(path)
        try:
            record, tensors = storage.read_checkpoint(path)
        except WorkbenchError:
            if not previous(path).exists():
                raise
            path = previous(path)
            record, tensors = storage.read_checkpoint(path)
        if record.get("recipe") != self.recipe:
            raise UsageError(f"{path} is the state of another training, which {self._differs(record)}")
        try:
            self._restore(record, tensors)
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"{path} does not fit this training: {str(error).splitlines()[0]}") from error
        return path

    @property
    def _given(self) -> dict[str, Any]:
        """The plan, and the family's options if its header has them: what a recipe is made of, besides pictures and encoder."""
        options = self.family.header().get("options")
        return json.loads(json.dumps({**asdict(self.plan), **(options if isinstance(options, Mapping) else {})}))

    def _differs(self, record: Mapping[str, str]) -> str:
        """How the training of a checkpoint with this record differs, and what to do."""
        was, now = json.loads(record.get("state", "{}")).get("given", {}), self._given
        differing = [name for name in now if name != "minutes" and name in was and was[name] != now[name]]
        has = ", ".join(f"{name} = {was[name]} and not {now[name]}" for name in differing)
        return f"has {has or 'other pictures, weights to begin from, or encoder'}: give the same, or another name for -o"

    def _restore(self, record: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        for name, player in self.family.players.items():
            player.load_state_dict(part(f"player.{name}."))
            optimiser = self.optimisers[name]
            state = optimiser.state_dict()
            parameters = optimiser.param_groups[0]["params"]
            for key, value in part(f"optimiser.{name}.").items():
                i, field = key.split(".")
                # In the layout of the parameter, as the optimiser itself makes it: another one may round otherwise.
                like = parameters[int(i)]
                moment = value.shape == like.shape and value.dtype == like.dtype
                held = torch.empty_like(like).copy_(value) if moment else value if value.is_floating_point() else _count(value)
                state["state"].setdefault(int(i), {})[field] = held
            optimiser.load_state_dict(state)
        for name, value in part("average.").items():
            self.average[name].copy_(value)
        self.family.restore(part("family."))
        self.draw.set_state(tensors["draw"])
        found = json.loads(record["state"])
        self._cpu += found.get("cpu_seconds", 0.0)
        if self.process:
            self.draw.manual_seed(self.plan.seed + self.process + 1_000_003 * (1 + found["step"]))
        self.step, self.seconds, self.history = found["step"], found["seconds"], found["history"]
        self._sums = {name: (total, count) for name, (total, count) in found.get("sums", {}).items()}
        self.whole = True


def half(value: Tensor) -> Tensor:
    """`value` in float16, unless it is no fraction, or has numbers that float16 cannot hold."""
    found = value.half() if value.is_floating_point() else value
    return found if bool(found.isfinite().all()) else value


def _count(value: Tensor) -> Tensor | int:
    """A whole number as such, which 8-bit optimisers count their steps in; other integers as they are."""
    return int(value) if value.ndim == 0 else value


def _begin(painter: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Give `painter` these weights. Returns their SHA-256."""
    try:
        painter.load_state_dict(weights)
    except RuntimeError as error:
        differs = " ".join(" ".join(str(error).splitlines()[1:]).split())
        raise UsageError(
            "the network to begin from has another architecture, as with another encoder, other widths or blocks, or, of an "
            f"artist network, fewer than 25 works on either side: {differs[:200]}"
        ) from error
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def accelerator() -> Any:
    """An accelerate.Accelerator where this is one of several processes, as torchrun or accelerate start them; else None.

    Raises WorkbenchError where the package accelerate is missing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    try:
        from accelerate import Accelerator  # an extra, and slow to import
    except ImportError as error:
        raise WorkbenchError("several processes need accelerate: pip install 'artist-workbench[accelerate]'") from error
    return Accelerator(cpu=not torch.cuda.is_available())


def previous(path: Path) -> Path:
    """Where the checkpoint before the one in `path` lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def precision(device: torch.device) -> contextlib.AbstractContextManager:
    """The mixed precision in which networks run: bfloat16 for convolutions, where the device has it in hardware."""
    supported = encoders.has_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16) if supported else contextlib.nullcontext()
