"""`workbench distil`: train a small encoder on the features of VGG-19, and measure how well it replaces it."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    LOAD,
    add_command,
    check_out,
    count,
    given,
    open_corpus,
)
from workbench.errors import require
from workbench.paths import written

if TYPE_CHECKING:
    from workbench.corpora import Corpus, Work
    from workbench.distillation.evaluation import Driven, Pair
    from workbench.distillation.recipe import Recipe
    from workbench.encoders import Encoder
    from workbench.encoders.embedded import DistilledEncoder
    from workbench.figures import Figure

SETTINGS = "workbench.transfer:Settings"
REPORT_EVERY = 250
"""Steps between two lines of a training."""
SHOWN = 3
"""Pairs in the figure."""
DPI = 130
"""Pixels per inch of the figure: its pictures are small, and many."""


def declare(commands: Any) -> None:
    parser = add_command(commands, "distil", _distil, "train a small encoder on the features of VGG-19, or --evaluate one")
    parser.add_argument("--data", nargs="+", metavar="DIR", required=True, help="folders of paintings and of photographs")
    parser.add_argument("--out", metavar="FILE", type=written, help="weights to write, or to judge instead of the package's")
    parser.add_argument("--teacher", choices=["vgg19"], default="vgg19", help="whose features are learnt (default: vgg19)")
    parser.add_argument("--recipe", metavar="FILE", type=written, help="JSON (default: what made the weights in the package)")
    parser.option("--device", LOAD, "where torch computes: auto, cpu, cuda, mps")
    training = parser.add_argument_group("training")
    training.add_argument("--steps", type=count, help="of every stage, instead of the recipe's")
    training.add_argument("--seed", type=int, help="instead of the recipe's")
    judging = parser.add_argument_group("evaluation")
    judging.add_argument("--evaluate", action="store_true", help="compare with VGG-19 and with random weights; trains nothing")
    judging.add_argument("--sizes", nargs="+", type=count, default=[256, 512], metavar="PX", help="(default: 256 512)")
    judging.add_argument("--pairs", type=count, default=6, help="of a held-out photograph and a held-out painting (default: 6)")
    judging.add_argument("--evaluations", type=count, default=100, help="of the objective at full size (default: 100)")
    judging.add_argument("--figure", metavar="FILE", type=written, help="draw the results side by side: .png and .pdf, or .jpg")


def _distil(args: argparse.Namespace) -> None:
    from workbench.distillation.recipe import SHIPPED, read_stages

    require(args.evaluate or args.out is not None, "--out is missing: say where the weights are to go")
    require(args.evaluate or args.figure is None, "--figure needs --evaluate")
    for out, suffixes in ((None if args.evaluate else args.out, (".safetensors",)), (args.figure, _suffixes(args.figure))):
        if out:
            check_out(out, *suffixes)
    changes = {name: getattr(args, name) for name in ("steps", "seed") if getattr(args, name) is not None}
    stages = [dataclasses.replace(stage, **changes) for stage in read_stages(args.recipe or SHIPPED)]
    corpora = [open_corpus(folder, args.out, args.figure) for folder in args.data]
    if args.evaluate:
        _evaluate(args, stages[-1], corpora)
    else:
        _train(args, stages, corpora)


def _train(args: argparse.Namespace, stages: list["Recipe"], corpora: list["Corpus"]) -> None:
    from workbench import encoders
    from workbench.distillation.recipe import write_stages
    from workbench.generative.data import identity_of

    works, held_out = stages[-1].split(corpora)
    print(f"{len(works)} pictures to learn from, {len(held_out)} held out", flush=True)
    teacher = encoders.load(args.teacher, pooling="average", precision="bfloat16", **given(args, LOAD))
    outs = [args.out.with_suffix(f".stage{number}.safetensors") for number in range(1, len(stages))] + [args.out]
    made = {"teacher": teacher.weights_sha256, "data": identity_of(works)}
    begin = None
    for number, (recipe, out) in enumerate(zip(stages, outs, strict=True), 1):
        header = {"recipe": write_stages(stages[:number]), **made}
        if out == args.out or not _finished(out, header):
            print(f"stage {number} of {len(stages)}: {recipe.steps} steps", flush=True)
            _train_stage(args, recipe, begin, teacher, works, held_out, out, header)
        begin = encoders.load(f"embedded:{out}", precision="float32", **given(args, LOAD))
    for out in outs[:-1]:
        out.unlink()


def _finished(out: Path, header: dict[str, str]) -> bool:
    """Whether `out` holds a network with this header. UsageError if it holds another."""
    from workbench import storage

    if not out.exists():
        return False
    found, _ = storage.read_checkpoint(out)
    same = all(found.get(name) == value for name, value in header.items())
    require(same, f"{out} is of another distillation (its recipe, teacher or data differ): delete it")
    print(f"going on from {out}", flush=True)
    return True


def _train_stage(
    args: argparse.Namespace,
    recipe: "Recipe",
    begin: "DistilledEncoder | None",
    teacher: "Encoder",
    works: list["Work"],
    held_out: list["Work"],
    out: Path,
    header: dict[str, str],
) -> None:
    from workbench import encoders, figures
    from workbench import provenance as pv
    from workbench.distillation.training import Distillation

    distillation = Distillation(recipe, teacher, works, held_out, begin=begin, report_every=REPORT_EVERY, show=True)
    checkpoint = out.with_suffix(".checkpoint.safetensors")
    if checkpoint.exists():
        distillation.resume(checkpoint)
        print(f"going on from step {distillation.step}, found in {checkpoint}", flush=True)
    layers = tuple(recipe.components)
    print(f"  step    loss  relative error of features and Gram matrices at {', '.join(layers)}")
    try:
        for record in distillation:
            distillation.checkpoint(checkpoint)
            _report(record, layers)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"interrupted; the same command goes on from {checkpoint}") from stop
    if out == args.out:
        distillation.fit_embedding(encoders.load(args.teacher, precision="bfloat16", **given(args, LOAD)))
    print(out, distillation.network.save(out, header))
    if out == args.out:
        curve = figures.curves(
            _series(distillation.history, layers), x_label="step", y_label="relative Gram error, held-out crops"
        )
        inputs = {"data": header["data"]}
        provenance = pv.provenance(dataclasses.asdict(recipe), recipe.seed, inputs, {"vgg19": header["teacher"]})
        print(*figures.save(curve, out.with_suffix(""), {"command": "distil", **provenance}), sep="\n")
    checkpoint.unlink(missing_ok=True)


def _suffixes(figure: Path | None) -> tuple[str, ...]:
    return (".jpg",) if figure and figure.suffix.lower() == ".jpg" else (".png", ".pdf")


def _report(record: dict[str, float], layers: tuple[str, ...]) -> None:
    loss = f"{record['loss']:7.4f}" if "loss" in record else "      -"
    known = [layer for layer in layers if f"{layer} Gram" in record]
    errors = "  ".join(f"{record[f'{layer} features']:.3f}/{record[f'{layer} Gram']:.3f}" for layer in known)
    print(f"{record['step']:6}  {loss}  {errors}", flush=True)


def _series(history: list[dict[str, float]], layers: tuple[str, ...]) -> dict[str, Any]:
    measured = [record for record in history if f"{layers[0]} Gram" in record]
    if not measured:
        known = [record for record in history if "loss" in record]
        return {"training loss": ([record["step"] for record in known], [record["loss"] for record in known])}
    steps = [record["step"] for record in measured]
    return {layer: (steps, [record[f"{layer} Gram"] for record in measured]) for layer in layers}


def _evaluate(args: argparse.Namespace, recipe: "Recipe", corpora: list["Corpus"]) -> None:
    from workbench import encoders
    from workbench.distillation import evaluation
    from workbench.transfer import Settings

    options = {"precision": "float32", **given(args, LOAD)}
    name = f"embedded:{args.out}" if args.out else "embedded"
    students = {"ours": encoders.load(name, **options), "random": encoders.load("random", **options)}
    judge = encoders.load("vgg19", pooling="average", **options)
    contents, artists = _held_out(recipe, corpora)
    chosen = evaluation.pairs(contents, artists, args.pairs)
    _print_costs({"vgg19": judge, **students}, args.sizes)
    # A folder held out in part holds photographs.
    paintings = [corpus for corpus in corpora if recipe.held_out.get(corpus.root.resolve().name) is None]
    reference = encoders.load("vgg19", **options)
    _print_retrieval({"vgg19": reference, **students}, reference, paintings)
    driver = encoders.load("vgg19", pooling="average", **(options | {"precision": "bfloat16"}))
    print("Transfers judged by vgg19: relative Gram distances, content weight set so that the content distance matches")
    alphas = dict.fromkeys(students, Settings().alpha)  # the search at a size begins where the one before it ended
    for size in sorted(args.sizes):
        settings = Settings(method="gram", size=size, steps=args.evaluations)
        driven = {"vgg19": evaluation.drive(chosen, driver, judge, settings, show=True)}
        for label, encoder in students.items():
            near = dataclasses.replace(settings, alpha=alphas[label])
            driven[label] = evaluation.drive_matched(chosen, encoder, judge, near, driven["vgg19"].content, show=True)
            alphas[label] = driven[label].alpha
        for label, result in driven.items():
            layers = "  ".join(f"{layer} {value:.3f}" for layer, value in result.gram.items())
            print(f"  {size:4} px  {label:7} mean {result.mean:.3f}  {layers}", end="")
            print(f"  content {result.content:.3f} at alpha {result.alpha:.3g}")
        over, under = (driven["ours"].mean / driven[label].mean for label in ("vgg19", "random"))
        print(f"  {size:4} px  ours has {over:.2f} times the distance of vgg19, and {under:.0%} of that of random", flush=True)
    if args.figure:
        _save(args, chosen, driven, {"vgg19": judge, **students})


def _print_costs(compared: dict[str, "Encoder"], sizes: list[int]) -> None:
    from workbench.distillation import evaluation

    print("An evaluation of content and Gram loss, with its gradient")
    for size in sizes:
        found = evaluation.costs(compared, size)
        for label, cost in found.items():
            fewer, faster = found["vgg19"].operations / cost.operations, found["vgg19"].seconds / cost.seconds
            print(f"  {size:4} px  {label:7} {cost.operations / 1e9:8.2f} GFLOP ({fewer:4.1f} times fewer)", end="")
            print(f"  {cost.seconds:7.4f} s ({faster:4.1f} times faster)", flush=True)


def _print_retrieval(compared: dict[str, "Encoder"], reference: "Encoder", paintings: list["Corpus"]) -> None:
    from workbench.distillation import evaluation

    print("As content embedding: what is nearest among all paintings")
    for label, encoder in compared.items():
        found = evaluation.retrieval(paintings, encoder, reference, show=True)
        print(f"  {label:7} top-5 agreement with vgg19 {found.agreement:6.1%}", end="")
        print(f", genre precision@5 {found.precision:6.1%} (chance {found.chance:.1%})", flush=True)


def _held_out(recipe: "Recipe", corpora: list["Corpus"]) -> tuple[list["Work"], list[list["Work"]]]:
    """(photographs, one list of paintings for every artist) kept out of training; a folder held out in part is photographs."""
    contents: list[Work] = []
    artists: list[list[Work]] = []
    for corpus in corpora:
        name = corpus.root.resolve().name
        _, held = recipe.split([corpus])
        if held and recipe.held_out[name] is None:
            artists.append(held)
        else:
            contents += held
    folders = ", ".join(recipe.held_out)
    require(bool(contents and artists), f"--data lacks what is kept out of training: give it the folders {folders}")
    return contents, artists


def _save(args: argparse.Namespace, chosen: list["Pair"], driven: dict[str, "Driven"], compared: dict[str, "Encoder"]) -> None:
    from workbench import figures
    from workbench import provenance as pv

    inputs = {}
    for i, pair in enumerate(chosen[:SHOWN]):
        inputs |= {f"content {i + 1}": pair.content.sha256, f"painting {i + 1}": pair.style.sha256}
    parameters = {"sizes": args.sizes, "pairs": args.pairs, "evaluations": args.evaluations}
    made = pv.provenance(parameters, 0, inputs, {pv.shared(e.name): e.weights_sha256 for e in compared.values()})
    figure = _side_by_side(chosen[:SHOWN], driven)
    provenance = {"command": "distil", **made}
    suffixes = _suffixes(args.figure)
    print(*figures.save(figure, args.figure.with_suffix(""), provenance, dpi=DPI, suffixes=suffixes), sep="\n")


def _side_by_side(chosen: list["Pair"], driven: dict[str, "Driven"]) -> "Figure":
    """A row for every pair: photograph, painting, and what each encoder made of them."""
    from workbench import figures, images

    titles = {"vgg19": "VGG-19", "ours": "Ours (embedded)", "random": "Random weights"}
    panels = []
    for i, pair in enumerate(chosen):
        painting = f"{pair.style.artist}, {pair.style.title}"
        panels.append(figures.Panel("Content", images.to_pil(pair.content.load(512)), note=pair.content.title))
        panels.append(figures.Panel("Painting", images.to_pil(pair.style.load(512)), note=painting))
        panels += [figures.Panel(title, images.to_pil(driven[label].pictures[i])) for label, title in titles.items()]
    return figures.side_by_side(panels, columns=5)
