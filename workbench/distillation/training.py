"""The training of a student: a pool of crops with the teacher's features, one optimiser step after the other, resumable."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from workbench import progress, storage
from workbench.corpora import Work
from workbench.distillation.crops import Crops
from workbench.distillation.recipe import Recipe, write_stages
from workbench.distillation.teacher import BATCH, Teacher, fit_embedding, fit_heads, imitate
from workbench.encoders.convolutional import ConvolutionalEncoder
from workbench.encoders.embedded import DistilledEncoder
from workbench.errors import UsageError, WorkbenchError, require
from workbench.generative.data import from_bytes, identity_of, to_bytes
from workbench.statistics import gram, moments
from workbench.transfer.losses import ContentLoss, GramLoss
from workbench.transfer.objective import Objective
from workbench.transfer.optimisers import LBFGS

HELD_OUT_CROPS = 64
"""Crops of held-out works that errors are measured on."""
WARM_UP = 0.05
"""Share of the steps over which the learning rate rises."""
LAST_RATE = 0.01
"""Learning rate at the last step, as a share of the highest."""
FLOOR = 0.1
"""Share of a layer's mean energy below which the error of a flat crop is not divided by its own energy."""
TRAJECTORY = (8, 20, 45)
"""Evaluations after which the picture of a stylisation is taken into the pool."""
CONTENT_WEIGHTS = (0.01, 0.3)
"""Least and largest content weight alpha of these stylisations."""


class Distillation:
    """The training of one student.

        distillation = Distillation(recipe, teacher, works, held_out)
        for record in distillation: ...

    Iterating trains on to the recipe's last step and yields what was measured; `checkpoint` and `resume` carry it over a
    stop, after which it goes on as if there had been none, to the last bit on the same CPU.
    """

    def __init__(
        self,
        recipe: Recipe,
        encoder: ConvolutionalEncoder,
        works: Sequence[Work],
        held_out: Sequence[Work],
        *,
        begin: DistilledEncoder | None = None,
        report_every: int = 100,
        show: bool = False,
    ):
        """`begin`: a trained network to begin from instead of from the teacher alone. UsageError if it has other layers, if
        a frozen layer has another width in it, or if there is none and the recipe freezes layers."""
        widths = begin.widths if begin else {}
        fits = begin is None or list(widths) == list(recipe.widths)
        fits = fits and all(widths.get(layer) == recipe.widths[layer] for layer in recipe.frozen)
        require(fits, "the recipe needs a trained network with its layers, the frozen ones of its widths, to begin from")
        self.recipe = recipe
        self.device = encoder.device
        self.begin = begin
        self.report_every = report_every
        self.show = show
        self.data = identity_of(works)
        self.crops = Crops(works, recipe.crop, show=show)
        self.encoder = encoder
        self.network = DistilledEncoder("student", recipe.widths, recipe.components, recipe.embedding)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.pool = torch.zeros(recipe.pool, 3, recipe.crop, recipe.crop, dtype=torch.uint8)
        self.answers: dict[str, Tensor] = {}
        self.turn = [0, 0]  # the next of the pool to be replaced: among visited pictures, among crops
        self.teacher: Teacher | None = None
        held = Crops(held_out, recipe.crop, show=show)
        self.held_out = torch.stack([held.plain(self.generator) for _ in range(HELD_OUT_CROPS)]) if held_out else None

    @property
    def begun(self) -> str:
        """SHA-256 of the weights it began from; empty when it began from the teacher alone."""
        return self.begin.weights_sha256 if self.begin else ""

    @property
    def visited(self) -> int:
        """How many places at the front of the pool are for visited pictures."""
        return round(self.recipe.visited * self.recipe.pool)

    def _begin(self) -> None:
        """The principal directions, the first weights, and a pool of crops."""
        recipe = self.recipe
        first = from_bytes(torch.stack([self.crops.plain(self.generator) for _ in range(recipe.start)])).to(self.device)
        self._say("principal directions of the teacher's features")
        self.teacher = Teacher.fit(self.encoder, recipe.components, first)
        self._say("first weights")
        self.network.to(self.device)
        imitate(self.network, self.teacher, first, begin=self.begin, seed=recipe.seed)
        fit_heads(self.network, self.teacher, first, seed=recipe.seed)
        self._lay_out()
        for place in range(recipe.pool):
            self.pool[place] = self.crops.draw(self.generator)

    def _lay_out(self) -> None:
        self.network.to(self.device, memory_format=torch.channels_last)
        for layer in self.recipe.frozen:
            self.network.convolutions[layer].requires_grad_(False)
            if layer in self.network.heads:
                self.network.heads[layer].requires_grad_(False)
        self.learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        rate, others = self.recipe.learning_rate, self.learning
        self.optimisers: list[torch.optim.Optimizer] = []
        self.matrices: list[tuple[Tensor, Tensor]] = []  # (a convolution's weights, the same memory seen as a matrix)
        if self.recipe.optimiser == "muon":
            self.matrices = [(weight, as_matrix(weight.detach())) for weight in others if weight.ndim == 4]
            others = [parameter for parameter in others if parameter.ndim != 4]
            matrices = [matrix for _, matrix in self.matrices]
            self.optimisers.append(torch.optim.Muon(matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        self.optimisers.append(torch.optim.AdamW(others, lr=rate, weight_decay=1e-4))

    def _label(self, places: Sequence[int]) -> None:
        """The teacher's features of these places of the pool.

        One by one on a CPU, where the last bit depends on the batch, and a resumed training has other batches.
        """
        for some in torch.tensor(places).split(1 if self.device.type == "cpu" else BATCH):
            coordinates = self.teacher.coordinates(from_bytes(self.pool[some]).to(self.device))
            for layer, answer in coordinates.items():
                if layer not in self.answers:
                    shape = (len(self.pool), *answer.shape[1:])
                    self.answers[layer] = torch.zeros(shape, dtype=torch.float16, device=self.device)
                self.answers[layer][some] = answer.to(torch.float16)

    def __iter__(self) -> Iterator[dict[str, float]]:
        if self.teacher is None:
            self._begin()
        if not self.answers:
            everything = range(len(self.pool))
            for place in progress.track(everything[::BATCH], total=len(everything[::BATCH]), label="pool", show=self.show):
                self._label(everything[place : place + BATCH])
        if not self.history:
            self.history.append(self.measure())
            yield self.history[-1]
        running: list[float] = []
        while self.step < self.recipe.steps:
            running.append(self._step())
            if self.step % self.report_every == 0 or self.step == self.recipe.steps:
                self.history.append({**self.measure(), "loss": sum(running) / len(running)})
                running = []
                yield self.history[-1]

    def _step(self) -> float:
        recipe = self.recipe
        if self.visited and self.step % recipe.visit_every == 0 and self.step:
            self._visit()
        self._refresh()
        batch = torch.randperm(len(self.pool), generator=self.generator)[: recipe.batch]
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = recipe.learning_rate * self._schedule()
        loss = self.loss(from_bytes(self.pool[batch]).to(self.device), {k: v[batch].float() for k, v in self.answers.items()})
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        for weight, matrix in self.matrices:
            matrix.grad = as_matrix(weight.grad.contiguous(memory_format=torch.channels_last))
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        if not math.isfinite(float(loss.detach())):
            raise WorkbenchError(f"the loss stopped being finite at step {self.step}: lower the learning rate")
        return float(loss.detach())

    def _schedule(self) -> float:
        done = self.step / self.recipe.steps
        if done < WARM_UP:
            return max(done / WARM_UP, LAST_RATE)
        return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2

    def _refresh(self) -> None:
        """Replace the oldest crops of the pool."""
        span = len(self.pool) - self.visited
        places = [self.visited + (self.turn[1] + i) % span for i in range(self.recipe.fresh)]
        self.turn[1] = (self.turn[1] + self.recipe.fresh) % span
        for place in places:
            self.pool[place] = self.crops.draw(self.generator)
        self._label(places)

    def _visit(self) -> None:
        """Stylise a crop by the student, and put pictures of its trajectory in the place of the oldest visited ones."""
        content, style = (from_bytes(self.crops.plain(self.generator))[None].to(self.device) for _ in range(2))
        least, most = CONTENT_WEIGHTS
        alpha = least * (most / least) ** float(torch.rand((), generator=self.generator))
        noise = float(torch.rand((), generator=self.generator)) < 0.2
        start = torch.rand(content.shape, generator=self.generator).to(self.device) if noise else content
        places = []
        for picture in trajectory(self.network, content, style, start, alpha):
            place = self.turn[0]
            self.turn[0] = (self.turn[0] + 1) % self.visited
            self.pool[place] = to_bytes(picture[0]).cpu()
            places.append(place)
        self._label(places)

    def loss(self, pictures: Tensor, answers: Mapping[str, Tensor]) -> Tensor:
        """Weighted mean over layers of the relative feature error plus the relative Gram error (roots of relative squares)."""
        answers = {layer: answer for layer, answer in answers.items() if layer not in self.recipe.frozen}
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self.network.features(pictures, tuple(answers))
        total, weights = pictures.new_zeros(()), 0.0
        for layer, answer in answers.items():
            feature, second = relative_errors(output[layer].float(), answer)
            weight = self.recipe.layer_weights.get(layer, 1.0)
            error = (feature.mean() + 1e-8).sqrt() + self.recipe.gram_weight * (second.mean() + 1e-8).sqrt()
            total, weights = total + weight * error, weights + weight
        return total / weights

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """step; and for every layer, on the held-out crops, the relative error of features and of Gram matrices."""
        record: dict[str, float] = {"step": self.step}
        if self.held_out is None:
            return record
        parts: dict[str, list[Tensor]] = {}
        for batch in self.held_out.split(BATCH):
            pictures = from_bytes(batch).to(self.device)
            output, answers = self.network.features(pictures, tuple(self.network.heads)), self.teacher.coordinates(pictures)
            for layer, answer in answers.items():
                feature, second = relative_errors(output[layer], answer)
                parts.setdefault(f"{layer} features", []).append(feature)
                parts.setdefault(f"{layer} Gram", []).append(second)
        return record | {name: float(torch.cat(values).mean()) ** 0.5 for name, values in parts.items()}

    def fit_embedding(self, encoder: ConvolutionalEncoder) -> None:
        """Fit the image embedding of `encoder`, last of all, on all pictures that the network was trained on."""
        self._say("image embedding")
        fit_embedding(self.network, encoder, (from_bytes(picture[None]).to(self.device) for picture in self.crops.pictures))

    def checkpoint(self, path: str | Path) -> Path:
        """Write all that the rest of the training depends on, atomically, as safetensors."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for k, optimiser in enumerate(self.optimisers):
            for i, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{k}.{i}.{name}": value for name, value in state.items()}
        tensors |= {f"basis.{layer}": basis for layer, basis in self.teacher.bases.items()}
        tensors |= {"pool": self.pool, "generator": self.generator.get_state()}
        record = {
            "recipe": write_stages([self.recipe]),
            "teacher": self.encoder.identity,
            "data": self.data,
            "begin": self.begun,
            "state": json.dumps({"step": self.step, "turn": self.turn, "history": self.history}),
        }
        with storage.atomic(path) as temporary:
            save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, metadata=record)
        return Path(path)

    def resume(self, path: str | Path) -> None:
        """Take over what `checkpoint` wrote. UsageError when it belongs to another recipe, teacher or set of pictures."""
        record, tensors = storage.read_checkpoint(path)
        expected = {
            "recipe": write_stages([self.recipe]),
            "teacher": self.encoder.identity,
            "data": self.data,
            "begin": self.begun,
        }
        if different := [name for name, value in expected.items() if record.get(name) != value]:
            raise UsageError(f"{path} is the checkpoint of another distillation ({', '.join(different)} differ): delete it")
        bases = {layer: tensors[f"basis.{layer}"].to(self.device) for layer in self.recipe.components}
        self.teacher = Teacher(self.encoder, bases)
        self.network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        self._lay_out()
        for k, optimiser in enumerate(self.optimisers):
            state = optimiser.state_dict()
            for name, value in tensors.items():
                if name.startswith(f"optimiser.{k}."):
                    _, _, i, part = name.split(".")
                    state["state"].setdefault(int(i), {})[part] = value
            optimiser.load_state_dict(state)
        self.pool = tensors["pool"]
        self.generator.set_state(tensors["generator"])
        found = json.loads(record["state"])
        self.step, self.turn, self.history = found["step"], found["turn"], found["history"]

    def _say(self, text: str) -> None:
        for _ in progress.track([None], total=1, label=text, show=self.show):
            pass


def as_matrix(weight: Tensor) -> Tensor:
    """The weights of a convolution (out, in, h, w), in channels_last, as a matrix (out, h w in) in the same memory."""
    return weight.permute(0, 2, 3, 1).view(len(weight), -1)


def relative_errors(output: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """(||z - z*||^2 / ||z*||^2, ||G - G*||^2 / ||G*||^2) of every picture, both (N,); output, answer (N, k, h, w).

    The mean square of a coordinate is 1; pictures with less than a tenth of that are measured against a tenth.
    """
    components, positions = answer.shape[1], answer.shape[2] * answer.shape[3]
    feature = (output - answer).square().sum(dim=(1, 2, 3))
    feature = feature / answer.square().sum(dim=(1, 2, 3)).clamp_min(FLOOR * components * positions)
    target = gram(answer)
    # A picture as dim as the floor has a Gram matrix whose square is at most that of the floor's energy.
    floor = (FLOOR * components) ** 2
    second = (gram(output) - target).square().sum(dim=(1, 2)) / target.square().sum(dim=(1, 2)).clamp_min(floor)
    return feature, second


def trajectory(encoder: DistilledEncoder, content: Tensor, style: Tensor, start: Tensor, alpha: float) -> Iterator[Tensor]:
    """The pictures that a transfer passes through: one picture's Gram matrices, L-BFGS, all (1, 3, H, W) in [0, 1]."""
    layers = tuple(layer for layer in encoder.style_layers if layer in encoder.heads)
    with torch.no_grad():
        kept = encoder.features(content, encoder.content_layers)
        target = {layer: moments(f) for layer, f in encoder.features(style, layers).items()}
    objective = Objective(encoder, {"content": (alpha, ContentLoss(kept)), "style": (1.0, GramLoss(target))})
    optimiser = LBFGS(start.flatten())

    def evaluate(point: Tensor) -> tuple[Tensor, Tensor]:
        x = point.view(content.shape).detach().requires_grad_()
        total, _ = objective(x)
        return total.detach(), torch.autograd.grad(total, x)[0].flatten()

    for count in range(1, TRAJECTORY[-1] + 1):
        optimiser.step(evaluate)
        if count in TRAJECTORY:
            yield optimiser.point.view(content.shape).clamp(0, 1)
