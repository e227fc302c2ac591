"""What the engine is worth on this machine: `workbench bench`; python benchmarks/bench.py --help tells more options.

It measures the CPU, or a GPU (--device cuda, which adds the comparison of notebook 05). Steps that are compared take turns, so
that all share the load of the machine, and their times are medians with quartiles; whole transfers run one after the other.
Every part is written to OUT/bench.json when it is done (what the plain loop comes to, to OUT/reference.json), and a run that
was stopped goes on behind the last one.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference import SCALE, PlainVGG, descend, objective, plain_lbfgs

import workbench
from workbench import (
    encoders,
    figures,
    images,
    statistics,
    storage,
    targets,
)
from workbench import provenance as pv
from workbench.corpora import Corpus, Work, ingest
from workbench.encoders import ConvolutionalEncoder
from workbench.retrieval import descriptors, embeddings, reading
from workbench.study.comparison import paint_each
from workbench.transfer import Settings, Transfer, losses
from workbench.transfer.engine.graph import record
from workbench.transfer.objective import Objective
from workbench.transfer.schedule import Stage

ALPHA = 0.05
LEVELS = (1.5, 1.1, 1.02)  # times the objective that the reference ends with
REPEATS = 9
STEP_SIZES = (128, 192, 256, 384, 512, 768, 1024)  # px
CORPUS_SIZES = (1, 3, 10, 30, 100)  # works
BLOCK = 3  # evaluations of the reference between two transfers, for each length of its history
MEASURED_EVERY = {"vgg19": 3, "embedded": 1}  # evaluations between two pictures that are judged, which costs time
CPU = torch.device("cpu")


def now(device: torch.device) -> float:
    """Seconds on a clock, when all that `device` was given to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turns(
    tasks: Mapping[str, Callable[[], Any]],
    repeats: int = REPEATS,
    device: torch.device = CPU,
    counts: Mapping[str, int] | None = None,
) -> dict[str, dict[str, float]]:
    """Seconds of every task, which take turns; the first round warms up and does not count.

    `counts`: name -> how many times over a task does what is measured, 1 where nothing is said.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn, (name, task) in product(range(repeats + 1), tasks.items()):
        began = now(device)
        task()
        if turn:
            seconds[name].append((now(device) - began) / (counts or {}).get(name, 1))
    return {
        name: dict(zip(("low", "median", "high"), np.percentile(s, [25, 50, 75]), strict=True)) for name, s in seconds.items()
    }


def style_and_content(content: torch.Tensor, work: Work, encoder: ConvolutionalEncoder, size: int) -> Objective:
    """The engine's objective with the terms that the reference has: content and Gram matrices."""
    with torch.no_grad():
        kept = encoder.features(content, encoder.content_layers)
        painting = encoder.features(work.load(size).to(encoder.device), encoder.style_layers)
    style = losses.GramLoss({layer: statistics.moments(f) for layer, f in painting.items()})
    return Objective(encoder, {"content": (ALPHA, losses.ContentLoss(kept)), "style": (1.0, style)})


def plain(encoder: ConvolutionalEncoder) -> PlainVGG:
    return PlainVGG(encoder.convolutions, encoder.mean, encoder.std)


class Steps:
    """A transfer that never ends; a call makes `count` of its evaluations, those between two looks of the host."""

    def __init__(self, transfer: Transfer):
        self.transfer = transfer
        self.count = transfer.engine.stride
        self._iterates = iter(transfer)

    def __call__(self) -> None:
        for _ in range(self.count):
            next(self._iterates)


def engine_steps(encoder: ConvolutionalEncoder, picture: torch.Tensor, style: Work, size: int) -> Steps:
    """A transfer of `picture` that is all at full size."""
    settings = Settings(method="gram", size=size, alpha=ALPHA, tv=0.0, plateau=0, draft="none")
    transfer = Transfer(picture, targets.single(style), encoder, settings)
    transfer.stages, transfer.starts = (Stage(size, 10**6, False, 1.0),), (0,)
    transfer.picture = transfer.problem.content_at(size)
    steps = Steps(transfer)
    steps()  # the first evaluation of a stage is another
    # Steps get longer until the history is full. Rows without a pair have no effect, whatever is in them.
    transfer.optimiser.steps = transfer.optimiser.history
    for rows in (transfer.optimiser.s, transfer.optimiser.y):
        rows.fill_(1.0)
    return steps


def evaluations(size: int, content: Work, style: Work, driving: Mapping[str, ConvolutionalEncoder]) -> dict[str, Any]:
    """Seconds of one step of a transfer at `size` x `size` px, for the reference and for every encoder in the engine.

    A step is one evaluation, its gradient, what the optimiser makes of it, and what is kept of it. The engine's L-BFGS passes
    over a full history of 20; the reference's is still short here, which is in its favour. Beside a step stands the
    peak: the bare convolutions of the same network forward to relu5_1 and back to the pixels, in the same precision.
    """
    device = driving["vgg19 float32"].device
    picture, painting = (images.resize(work.load(size), (size, size)).to(device) for work in (content, style))
    start = picture.clone().requires_grad_()
    classic = objective(plain(driving["vgg19 float32"]), picture, painting, ALPHA)

    def convolutions(encoder: ConvolutionalEncoder) -> None:
        x = picture.clone().requires_grad_()
        last = encoder.activations(x, ["relu5_1"])["relu5_1"]
        torch.autograd.grad(last, x, torch.ones_like(last))

    def repeated(once: Callable[[], None], times: int) -> None:
        for _ in range(times):
            once()

    tasks: dict[str, Callable[[], Any]] = {"reference": reference_step(start, classic, plain_lbfgs(start))}
    counts = {}
    for name, encoder in driving.items():
        steps = engine_steps(encoder, picture, style, size)
        bare, once = f"{name}, convolutions", partial(convolutions, encoder)
        if device.type == "cuda":  # a peak does not wait for the host, as the engine's steps do not
            once()
            once = record(once, device) or once
        tasks[name], tasks[bare] = steps, partial(repeated, once, steps.count)
        counts[name] = counts[bare] = steps.count
    found: dict[str, Any] = in_turns(tasks, device=device, counts=counts)
    for name in driving:
        found[name]["share of peak"] = found[f"{name}, convolutions"]["median"] / found[name]["median"]
        found[name]["times faster"] = found["reference"]["median"] / found[name]["median"]
    return found


def descents(size: int, content: Work, style: Work, driving: Mapping[str, ConvolutionalEncoder], count: int) -> dict[str, Any]:
    """network -> the objective at each of `count` evaluations of the plain loop, the same whatever else the machine does.

    "reference" is VGG-19 by the plain recipe, "embedded" the same loop over the embedded encoder's own features in float32.
    """
    device = driving["vgg19 float32"].device
    source = content.load(size).to(device)
    judges = {
        "reference": objective(plain(driving["vgg19 float32"]), source, style.load(size).to(device), ALPHA),
        "embedded": own_objective(content, style, size, driving),
    }
    return {name: list(islice(descend(judge, source), count)) for name, judge in judges.items()}


def own_objective(
    content: Work, style: Work, size: int, driving: Mapping[str, ConvolutionalEncoder]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The reference's terms in the features of the embedded encoder, in float32."""
    encoder = driving["embedded float32"]
    whole = style_and_content(content.load(size).to(encoder.device), style, encoder, size)
    return lambda picture: whole(picture)[0]


@dataclass
class ReferenceTime:
    """Seconds of the reference: of setting up, and of an evaluation with a short and with a full history of L-BFGS."""

    setting_up: list[float] = field(default_factory=list)
    short: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)

    def measure(self, prepare: Callable[[], Callable[[torch.Tensor], torch.Tensor]], content: torch.Tensor) -> None:
        device = content.device
        began = now(device)
        loss = prepare()
        self.setting_up.append(now(device) - began)
        picture = content.clone().requires_grad_()
        optimiser = plain_lbfgs(picture)
        step = reference_step(picture, loss, optimiser)
        for _ in range(3):  # the first two evaluations make a pair
            step()
        state, size = optimiser.state[picture], optimiser.param_groups[0]["history_size"]
        for seconds in (self.short, self.full):
            for _ in range(BLOCK):
                began = now(device)
                step()
                seconds.append(now(device) - began)
            for name in ("old_dirs", "old_stps"):  # copies of a pair take the time of any other
                state[name] += [state[name][-1].clone() for _ in range(size - len(state[name]))]
            state["ro"] += [state["ro"][-1]] * (size - len(state["ro"]))

    def timeline(self, count: int) -> list[float]:
        """Seconds at the end of each of `count` evaluations: medians, between which it grows as the history does."""
        setting_up, short, full = (float(np.median(seconds)) for seconds in (self.setting_up, self.short, self.full))
        filled = np.minimum(np.arange(count), 100) / 100
        return (setting_up + np.cumsum(short + (full - short) * filled)).tolist()


def reference_step(
    picture: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor], optimiser: torch.optim.Optimizer
) -> Callable[[], None]:
    """One evaluation of the reference, its gradient, and what L-BFGS makes of it."""

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = SCALE * loss(picture)
        value.backward()
        return value

    return lambda: optimiser.step(closure)


def curves(
    size: int,
    content: Work,
    style: Work,
    driving: Mapping[str, ConvolutionalEncoder],
    known: Mapping[str, Sequence[float]],
    names: Sequence[str],
    steps: int,
) -> dict[str, Any]:
    """One pair: the reference, and a transfer by each of the encoders called `names`.

    "curves": name -> [[seconds, objective], ...]; "last": name -> the objective that a plain loop ends with, from `known` (see
    `descents`). For VGG-19 the objective is the reference's own, in float32, at full size. The embedded encoder is judged by
    the same terms in its own features, in float32 as well. Setting up counts, looking at the objective does not. The seconds
    of the reference are medians (see `ReferenceTime`) over evaluations that take turns with the transfers, so that both meet
    the same load.
    """
    device = driving["vgg19 float32"].device
    source = content.load(size).to(device)
    prepare = partial(objective, plain(driving["vgg19 float32"]), source, style.load(size).to(device), ALPHA)
    judges = {"vgg19": prepare(), "embedded": own_objective(content, style, size, driving)}
    last = {name: known["embedded" if name.startswith("embedded") else "reference"][-1] for name in ("reference", *names)}
    reached: dict[str, list] = {}
    settings = Settings(method="gram", size=size, steps=steps, alpha=ALPHA, tv=0.0, plateau=0)
    taken = ReferenceTime()
    taken.measure(prepare, source)
    for name in names:
        transfer = Transfer(content.load(), targets.single(style), driving[name], settings)
        network = name.split()[0]
        kept = []
        for iterate in transfer:
            looked = iterate.step == len(transfer.history)  # of a stride only the last evaluation has its picture and its time
            due = iterate.step % MEASURED_EVERY[network] == 0 or iterate.step == iterate.steps
            if looked and (transfer.engine.stride > 1 or due):
                kept.append((iterate.seconds, iterate.image))
        # Judged at the end: between two evaluations the judge would fill the caches with features of its own.
        with torch.no_grad():
            reached[name] = [
                [seconds, float(judges[network](images.resize(picture, tuple(source.shape[-2:]))))] for seconds, picture in kept
            ]
        taken.measure(prepare, source)
    reference = list(map(list, zip(taken.timeline(len(known["reference"])), known["reference"], strict=True)))
    spread = {
        f"{history} history": dict(zip(("low", "median", "high"), np.percentile(seconds, [25, 50, 75]), strict=True))
        for history, seconds in (("short", taken.short), ("full", taken.full))
    }
    return {"curves": {"reference": reference, **reached}, "last": last, "seconds of an evaluation": spread}


def sooner(pair: Mapping[str, Any], name: str, level: float) -> float | None:
    """How many times sooner `name` is at `level` times its last objective than the reference at as many times its own."""
    seconds = []
    for who in ("reference", name):
        reached = (s for s, value in pair["curves"][who] if value <= level * pair["last"][who])
        seconds.append(next(reached, None))
    return None if None in seconds else seconds[0] / seconds[1]


def peak_memory(size: int, precision: str, content: Work, style: Work, device: torch.device) -> float:
    """Gigabytes that a process of its own holds at most during a few evaluations of VGG-19 at `size` px, on a GPU there."""
    code = (
        "import re, resource, sys, torch\n"
        "from pathlib import Path\n"
        "from workbench import encoders, images, targets\n"
        "from workbench.corpora import Work\n"
        "from workbench.provenance import sha256\n"
        "from workbench.transfer import Settings, Transfer\n"
        "content, style, size, precision, device = sys.argv[1:]\n"
        "encoder = encoders.load('vgg19', device=device, precision=precision, pooling='average')\n"
        "target = targets.single(Work('style', Path(style), sha256(Path(style)), 1, 1))\n"
        "Transfer(images.load(content, int(size)), target, encoder, Settings(method='gram', size=int(size), steps=3)).run()\n"
        "if device != 'cpu':\n"
        "    print(torch.cuda.max_memory_reserved(device) // 1024)\n"
        "    sys.exit()\n"
        # ru_maxrss counts what the parent held at the fork
        "status = Path('/proc/self/status')\n"
        "found = re.search(r'VmHWM:\\s*(\\d+) kB', status.read_text() if status.exists() else '')\n"
        "print(found[1] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", code, str(content.path), str(style.path), str(size), precision, str(device)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "WORKBENCH_CACHE": cache}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    bytes_only = sys.platform == "darwin" and device.type == "cpu"
    return int(done.stdout.split()[-1]) * (1 if bytes_only else 1024) / 1e9


def embedding_rates(works: Sequence[Work], encoder: ConvolutionalEncoder) -> dict[str, float]:
    """Images a second: a corpus from its files, nothing being cached, and the encoder alone on pictures in memory."""
    works, at_once = reading.by_shape(works, encoder.embedding_size, encoder.device)
    pictures = [work.load(encoder.embedding_size).to(encoder.device) for work in works]

    def look(pictures: Iterable[torch.Tensor]) -> None:
        for batch in reading.batches(zip(works, pictures, strict=True), at_once):
            descriptors.describe_each(torch.cat([picture for _, picture in batch]), encoder, "content")

    def alone() -> None:
        look(pictures)

    def from_files() -> None:
        look(reading.read(works, encoder.embedding_size, encoder.device))

    seconds = in_turns({"alone": alone, "from files": from_files}, 3, encoder.device)
    return {name: len(works) / spread["median"] for name, spread in seconds.items()}


def searches(dimensions: int = 512) -> dict[str, dict[str, float]]:
    """Seconds of one search for the nearest among 10^4, 10^5 and 10^6 vectors."""
    found = {}
    for count in (10**4, 10**5, 10**6):
        raw = np.random.default_rng(0).standard_normal((count, dimensions), dtype=np.float32)
        space = embeddings.Embeddings("content", "bench", tuple(map(str, range(count))), raw)
        found[f"{count:,} vectors"] = in_turns({"search": partial(space.similarities, raw[0] + 0.1)}, 3)["search"]
    return found


def steps_by_size(content: Work, style: Work, driving: Mapping[str, ConvolutionalEncoder]) -> dict[str, Any]:
    """encoder -> [[long side, px; seconds of one step], ...]."""
    found: dict[str, list] = {name: [] for name in driving}
    for size in STEP_SIZES:
        steps = {name: engine_steps(encoder, content.load(size), style, size) for name, encoder in driving.items()}
        counts = {name: those.count for name, those in steps.items()}
        device = next(iter(driving.values())).device
        for name, spread in in_turns(steps, 3, device, counts).items():
            found[name].append([size, spread["median"]])
    return found


def targets_by_corpus(works: Sequence[Work], driving: Mapping[str, ConvolutionalEncoder]) -> dict[str, Any]:
    """encoder -> [[works, seconds], ...]: the statistics of a target over so many paintings at 256 px, from their files."""
    found: dict[str, list] = {name: [] for name in driving}
    for (name, encoder), count in product(driving.items(), (1, *CORPUS_SIZES)):
        target = targets.StyleTarget("bench", tuple(works[:count]), (1 / count,) * count)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["WORKBENCH_CACHE"] = cache
            began = now(encoder.device)
            targets.moments(target, encoder, 256, encoder.style_layers)
            found[name].append([count, now(encoder.device) - began])
    return {name: points[1:] for name, points in found.items()}  # the first was for warming up


def comparison_seconds(size: int, content: Work, corpus: Corpus, encoder: ConvolutionalEncoder) -> dict[str, float]:
    """Seconds of the targets of notebook 05 as transfers, and of one of them, from statistics that are known.

    The second run of each counts: the first makes what a process needs only once.
    """
    source, settings = content.load().to(encoder.device), Settings(method="gram", size=size, steps=80, alpha=0.1, plateau=0)
    selection = targets.Selection(corpus, source, encoder)
    chosen = [
        selection.single(next(iter(corpus)).name),
        selection.nearest(),
        selection.blend(),
        selection.cluster(),
        selection.whole(),
    ]
    seconds = {}
    for name, some in (("one", chosen[:1]), ("all", chosen)):
        oeuvre = targets.moments(selection.whole(), encoder, size, encoder.style_layers)
        for _ in range(2):
            began = now(encoder.device)
            list(paint_each(source, some, oeuvre, encoder, settings, show=False))
            seconds[name] = now(encoder.device) - began
    return seconds


class Report:
    """Results by name, in a file that is written after every part; what is there already is not measured again."""

    def __init__(self, path: Path, record: dict[str, Any]):
        self.path = path
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if known and known["made"] != record:
            raise SystemExit(f"{path} is of other data, another machine or other code: delete it")
        self.parts: dict[str, Any] = known.get("parts", {})
        self.record = record

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        if name not in self.parts:
            self.parts[name] = measure()
            storage.write_text(self.path, json.dumps({"made": self.record, "parts": self.parts}, indent=1) + "\n")
            print(name, json.dumps(self.parts[name])[:600], flush=True)
        return self.parts[name]


def digest(works: Sequence[Work], files: Iterable[Path] | None = None) -> str:
    """SHA-256 of `files`, by default all code that is measured and that measures, and of the pictures."""
    found = hashlib.sha256()
    for path in files or sorted([*Path(workbench.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("*.py")]):
        found.update(path.read_bytes())
    found.update("".join(work.sha256 for work in works).encode())
    return found.hexdigest()


def plain_code() -> list[Path]:
    """What decides the descents of the plain loop: the loop, reading pictures, and for the embedded encoder its features."""
    package = Path(workbench.__file__).parent
    parts = [package / "statistics.py", package / "transfer" / "losses.py", package / "transfer" / "objective.py"]
    rooms = [path for room in ("images", "corpora", "encoders") for path in sorted((package / room).glob("*.py"))]
    return [Path(__file__).with_name("reference.py"), *parts, *rooms]


def machine(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {"processor": torch.cuda.get_device_name(device), "torch": torch.__version__}
    name = platform.processor() or platform.machine()
    if hasattr(torch.cpu, "get_capabilities"):
        name = torch.cpu.get_capabilities().get("cpu_name", name)
    return {"processor": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def summary(parts: Mapping[str, Any]) -> str:
    """What was measured, for a reader."""
    lines = []
    for title, part in parts.items():
        if title.startswith("step"):
            lines.append(f"{title}: reference {part['reference']['median']:.3f} s")
            for name, row in part.items():
                if "share of peak" in row:
                    of_peak = f"{row['times faster']:5.1f} times faster, {row['share of peak']:4.0%} of the convolutions' peak"
                    lines.append(f"  {name:18} {row['median']:.3f} s ({row['low']:.3f} to {row['high']:.3f}), {of_peak}")
    for size in sorted({pair["size"] for title, pair in parts.items() if title.startswith("transfer")}):
        pairs = [pair for title, pair in parts.items() if title.startswith("transfer") and pair["size"] == size]
        lines.append(f"transfers at {size} px, {len(pairs)} pairs: times sooner than the reference at a level (median, range)")
        for name in (name for name in pairs[0]["curves"] if name != "reference"):
            told = []
            for level in LEVELS:
                found = sorted(ratio for pair in pairs if (ratio := sooner(pair, name, level)) is not None)
                span = f"{np.median(found):.1f} ({found[0]:.1f} to {found[-1]:.1f})" if found else "never"
                missed = f", {len(pairs) - len(found)} never" if found and len(found) < len(pairs) else ""
                told.append(f"{level}: {span}{missed}")
            whose = "" if name.startswith("vgg19") else "  (by its own objective)"
            lines.append(f"  {name:18} " + "   ".join(told) + whose)
    rest = {title: part for title, part in parts.items() if not title.startswith(("step", "transfer"))}
    lines += [f"{title}: {json.dumps(part)}" for title, part in rest.items()]
    return "\n".join(lines)


def draw(pair: Mapping[str, Any], heading: str) -> figures.Figure:
    """Objective against time, from four times the last objective on down."""
    series = {}
    for name, reached in pair["curves"].items():
        shown = [(seconds, value / pair["last"][name]) for seconds, value in reached if value < 4 * pair["last"][name]]
        series[name] = tuple(zip(*shown, strict=True))
    y_label = "objective, in units of what a plain loop of many evaluations ends with"
    return figures.curves(series, x_label="seconds", y_label=y_label, title=heading)


def title(content: Work, style: Work) -> str:
    return f"{content.sha256[:8]} after {style.sha256[:8]}"


def choose_pairs(photographs: Sequence[Work], folders: Sequence[Sequence[Work]], count: int) -> list[tuple[Work, Work]]:
    """Photographs by hash, each with the first painting by hash of every folder, such that any few of them are different."""
    photographs, *folders = (sorted(works, key=lambda work: work.sha256) for works in (photographs, *folders))
    turns = product(range(len(folders)), range(min(len(folders), len(photographs))))
    return [(photographs[i], folders[(i + turn) % len(folders)][0]) for turn, i in turns][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contents", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--styles", type=Path, nargs="+", required=True, help="folders of paintings")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--pairs", type=int, default=9, help="photographs and paintings by hash, every folder in turn")
    parser.add_argument("--evaluations", type=int, default=500, help="of the reference")
    parser.add_argument("--steps", type=int, default=Settings().steps, help="of the engine at full size")
    parser.add_argument("--memory", type=int, nargs="*", default=[512, 1024, 2048], help="sizes at which memory is measured")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, or cuda:N")
    parser.add_argument("--references", action="store_true", help="only make the references, which needs no quiet machine")
    args = parser.parse_args()
    photographs, *folders = (list(ingest(folder)) for folder in (args.contents, *args.styles))
    pairs = choose_pairs(photographs, folders, args.pairs)
    device = encoders.choose_device(args.device)
    load = partial(encoders.load, device=str(device), pooling="average")
    driving = {"vgg19 float32": load("vgg19", precision="float32"), "embedded float32": load("embedded", precision="float32")}
    if encoders.has_bfloat16(driving["vgg19 float32"].device):
        driving |= {f"{name} bfloat16": load(name, precision="bfloat16") for name in ("vgg19", "embedded")}
    parameters = {key: value for key, value in vars(args).items() if key in ("evaluations", "steps")} | {"alpha": ALPHA}
    shown = {"vgg19": driving["vgg19 float32"].weights_sha256, "embedded": driving["embedded float32"].weights_sha256}
    made = {"machine": machine(device), "parameters": parameters, "weights": shown}
    pictures = [*photographs, *(work for works in folders for work in works)]
    # What the plain loop comes to takes most of the time, and does not depend on how transfers are made: it is kept apart.
    plainly = {**made, "code and pictures": digest(pictures, plain_code())}
    plainly["parameters"] = {"evaluations": args.evaluations, "alpha": ALPHA}
    references = Report(args.out / "reference.json", plainly)
    known = {
        (size, *pair): references.part(
            f"{title(*pair)} at {size} px", partial(descents, size, *pair, driving, args.evaluations)
        )
        for size, pair in product(args.sizes, pairs)
    }
    if args.references:
        return
    report = Report(args.out / "bench.json", {**made, "code and pictures": digest(pictures)})
    for size in args.sizes:
        report.part(f"step at {size} px", partial(evaluations, size, *pairs[0], driving))
    for size in args.memory:
        for precision in dict.fromkeys(name.split()[1] for name in driving):
            measure = partial(peak_memory, size, precision, *pairs[0], device)
            report.part(f"peak memory at {size} px, {precision}, GB", measure)
    works = [work for works in folders for work in works]
    for name, encoder in driving.items():
        some = works if device.type == "cuda" else works[:48]
        report.part(f"images embedded a second, {name}", partial(embedding_rates, some, encoder))
    report.part("seconds of a search", searches)
    if device.type == "cuda":
        for size, (name, encoder) in product(args.sizes, driving.items()):
            measure = partial(comparison_seconds, size, pairs[0][0], ingest(args.styles[0]), encoder)
            report.part(f"seconds of the comparison of notebook 05 at {size} px, {name}", measure)
    costs = {
        "cost_by_size": ("long side, px", "seconds of one step", partial(steps_by_size, *pairs[0], driving)),
        "cost_by_corpus": ("paintings", "seconds for the statistics of a target", partial(targets_by_corpus, works, driving)),
    }
    for name, (_, _, measure) in costs.items():
        report.part(name, measure)
    half = any("bfloat16" in name for name in driving)  # then float32 transfers are shown of VGG-19 alone
    shown_of = [name for name in driving if not half or name != "embedded float32"]
    for pair, size in product(pairs, args.sizes):
        name = f"transfer at {size} px: {title(*pair)}"
        with tempfile.TemporaryDirectory() as cache:  # nothing that is timed comes from disk
            os.environ["WORKBENCH_CACHE"] = cache
            measure = partial(curves, size, *pair, driving, known[size, *pair], shown_of, args.steps)
            report.part(name, lambda size=size, measure=measure: {"size": size, **measure()})
    provenance = pv.provenance(parameters, 0, {"content": pair[0].sha256, "style": pair[1].sha256}, shown)
    drawn = {"bench": draw(report.parts[name], name)}
    for name, (x_label, y_label, _) in costs.items():
        series = {encoder: tuple(zip(*points, strict=True)) for encoder, points in report.parts[name].items()}
        drawn[name] = figures.curves(series, x_label=x_label, y_label=y_label)
    for name, figure in drawn.items():
        print(*figures.save(figure, args.out / name, {"command": "bench", **provenance}), sep="\n")
    print(summary(report.parts))


if __name__ == "__main__":
    main()
