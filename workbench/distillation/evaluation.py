"""How well an encoder replaces VGG-19: in transfers that VGG-19 judges, in operations and time, and for retrieval."""

import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from workbench import images, metrics, progress, storage, targets
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.retrieval import embeddings
from workbench.retrieval.precision import precision_at_k
from workbench.statistics import moments
from workbench.transfer import Settings, Transfer
from workbench.transfer.losses import ContentLoss, GramLoss
from workbench.transfer.objective import Objective

VERSION = 3
"""Of what is measured: it is raised whenever a judged transfer would come out differently."""
MATCHED = 0.03
"""Relative difference of content distances that counts as none."""
TRIALS = 8
"""Content weights that are tried to match a content distance, at most."""
FARTHEST = 1.0
"""Step beyond the content weights that were tried, in natural logarithms."""
TOP = 5
"""Nearest works by which two encoders are compared."""


@dataclass(frozen=True)
class Pair:
    """A photograph and the painting whose style it takes."""

    content: Work
    style: Work


@dataclass(frozen=True)
class Driven:
    """Distances, by the judge, of transfers that one encoder drove: means over pairs.

    alpha: the content weight; content: relative distance at relu4_2; gram: layer -> relative Gram distance; pictures: the
    results (1, 3, H, W) in [0, 1], pair by pair.
    """

    alpha: float
    content: float
    gram: dict[str, float]
    pictures: list[Tensor]

    @property
    def mean(self) -> float:
        """The mean over layers."""
        return sum(self.gram.values()) / len(self.gram)


def pairs(contents: Sequence[Work], artists: Sequence[Sequence[Work]], count: int) -> list[Pair]:
    """`count` pairs, artists in turn, works in the order of their hashes, so that none is chosen by hand."""
    contents = sorted(contents, key=lambda work: work.sha256)
    artists = [sorted(works, key=lambda work: work.sha256) for works in artists]
    chosen = []
    for i in range(count):
        works = artists[i % len(artists)]
        chosen.append(Pair(contents[i % len(contents)], works[i // len(artists) % len(works)]))
    return chosen


def judged(pair: Pair, encoder: Encoder, judge: Encoder, settings: Settings) -> tuple[dict[str, float], Tensor]:
    """({"content": distance, layer: relative Gram distance}, picture) of one transfer; from the cache where it is known."""
    settings = replace(settings, plateau=0, draft="none")  # the same budget for all, and each network drives alone
    transfer = Transfer(pair.content.load(), targets.single(pair.style), encoder, settings)
    key = hashlib.sha256(f"{VERSION}|{images.DECODER}|{judge.identity}|{transfer.fingerprint()}".encode()).hexdigest()
    numbers, picture = (storage.cache_dir("judged") / f"{key[:32]}{suffix}" for suffix in (".json", ".png"))
    if not numbers.exists():
        result = transfer.run()
        if not result.complete:  # the interrupt that ended it goes on: half a transfer is no result
            raise KeyboardInterrupt
        image = result.image
        size = settings.size
        with torch.no_grad():
            target = {k: moments(f) for k, f in judge.features(pair.style.load(size), judge.style_layers).items()}
        found = metrics.style_distance(image, target, judge).by_layer
        found = {"content": metrics.content_distance(image, pair.content.load(), judge), **found}
        images.save(image, picture)
        storage.write_text(numbers, json.dumps(found))  # last: an entry that is whole has both
    return json.loads(numbers.read_text(encoding="utf-8")), images.load(picture)


def drive(chosen: Sequence[Pair], encoder: Encoder, judge: Encoder, settings: Settings, *, show: bool = False) -> Driven:
    """Transfer all pairs with `encoder`, measured by `judge`."""
    label = f"{encoder.name} at {settings.size} px, alpha {settings.alpha:.4g}"
    tracked = progress.track(chosen, total=len(chosen), label=label, show=show)
    results = [judged(pair, encoder, judge, settings) for pair in tracked]
    mean = {name: statistics.fmean(numbers[name] for numbers, _ in results) for name in results[0][0]}
    return Driven(settings.alpha, mean.pop("content"), mean, [picture for _, picture in results])


def drive_matched(
    chosen: Sequence[Pair], encoder: Encoder, judge: Encoder, settings: Settings, content: float, *, show: bool = False
) -> Driven:
    """`drive` with the content weight whose mean content distance is `content`, as near as a few trials come to it.

    The distance falls as the weight rises. Trials on both sides of `content` are interpolated in logarithms; while all are
    on one side, the next goes beyond them.
    """
    trials: list[tuple[float, float, Driven]] = []  # logarithms of the weight and of distance / content
    where = math.log(settings.alpha)
    while True:
        driven = drive(chosen, encoder, judge, replace(settings, alpha=math.exp(where)), show=show)
        trials.append((where, math.log(driven.content / content), driven))
        best = min(trials, key=lambda trial: abs(trial[1]))[2]
        if abs(best.content - content) <= MATCHED * content or len(trials) == TRIALS:
            return best
        far = [trial[:2] for trial in trials if trial[1] > 0]
        near = [trial[:2] for trial in trials if trial[1] <= 0]
        if far and near:
            (low, above), (high, below) = max(far), min(near)
            # Interpolation creeps up from one side where the curve is bent; the middle then cuts the bracket down.
            creeps = (trials[-1][1] > 0) == (trials[-2][1] > 0)
            where = (low + high) / 2 if creeps else low + (high - low) * above / (above - below)
        else:
            where = max(far)[0] + FARTHEST if far else min(near)[0] - FARTHEST


@dataclass(frozen=True)
class Cost:
    """One evaluation of the objective and its gradient: floating-point operations, and seconds on this machine."""

    operations: int
    seconds: float


def costs(encoders: Mapping[str, Encoder], size: int, *, repeats: int = 9) -> dict[str, Cost]:
    """The cost of content plus Gram loss at `size` x `size` px, name by name, measured in turns so that all share the load."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, size, size, generator=generator)
    evaluations = {name: _evaluation(encoder, picture) for name, encoder in encoders.items()}
    operations = {}
    for name, evaluate in evaluations.items():
        with FlopCounterMode(display=False) as counter:
            evaluate()
        operations[name] = counter.get_total_flops()
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for _, (name, evaluate) in product(range(repeats), evaluations.items()):
        began = time.perf_counter()
        evaluate()
        seconds[name].append(time.perf_counter() - began)
    return {name: Cost(operations[name], statistics.median(seconds[name])) for name in encoders}


def _evaluation(encoder: Encoder, picture: Tensor) -> Callable[[], Tensor]:
    picture = picture.to(encoder.device)
    with torch.no_grad():
        kept = encoder.features(picture, encoder.content_layers)
        target = {layer: moments(f) for layer, f in encoder.features(picture.flip(1), encoder.style_layers).items()}
    objective = Objective(encoder, {"content": (0.05, ContentLoss(kept)), "style": (1.0, GramLoss(target))})

    def evaluate() -> Tensor:
        x = picture.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(x)[0], x)
        return gradient.sum().cpu()  # which waits for a GPU

    return evaluate


@dataclass(frozen=True)
class Retrieval:
    """An encoder as content embedding, over all works at once.

    agreement: mean share of a work's five nearest that are also among the reference's five; precision, chance: genre
    precision at five, and what a random order has.
    """

    agreement: float
    precision: float
    chance: float


def retrieval(corpora: Sequence[Corpus], encoder: Encoder, reference: Encoder, *, show: bool = False) -> Retrieval:
    """Compare `encoder` with `reference`: the nearest others of every painting of `corpora`."""
    works = list({work.sha256: work for corpus in corpora for work in corpus}.values())
    spaces = [embeddings.embed(works, e, "content", show=show) for e in (encoder, reference)]
    nearest = [_nearest(space) for space in spaces]
    shared = [len(set(a) & set(b)) / len(b) for a, b in zip(*nearest, strict=True)]
    genres = [work.genre for work in works]
    series = [f"{work.artist}/{work.series}" if work.series else "" for work in works]
    precision, chance = precision_at_k(spaces[0], genres, TOP, groups=series)
    return Retrieval(statistics.fmean(shared), precision, chance)


def _nearest(space: embeddings.Embeddings) -> list[list[int]]:
    rows = []
    for i, descriptor in enumerate(space.raw):
        similarities = space.similarities(descriptor)
        similarities[i] = -np.inf
        rows.append(np.argsort(-similarities, kind="stable")[:TOP].tolist())
    return rows
