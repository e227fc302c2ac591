"""What size buys: students of several sizes, trained alike and shortly, each judged as `workbench distil --evaluate` judges.

    python benchmarks/frontier.py --data corpora/* photos/ --out runs/frontier

Every student is the shipped one with all its widths multiplied by a factor, trained from the teacher alone. A student that is
done is not trained again, and one that was interrupted goes on. Writes OUT/frontier.json and OUT/frontier.png and .pdf.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from workbench import encoders, figures, storage
from workbench import provenance as pv
from workbench.cli.distil import _held_out
from workbench.corpora import Corpus, ingest
from workbench.distillation import evaluation
from workbench.distillation.recipe import SHIPPED, Recipe, read_stages, write_stages
from workbench.distillation.training import Distillation
from workbench.encoders.embedded import WEIGHTS
from workbench.encoders.vgg import WIDTHS
from workbench.generative.data import identity_of
from workbench.transfer import Settings

SIZE = 256  # px
EVALUATIONS = 100  # of the objective at full size
REPORT_EVERY = 250  # steps


def scaled(recipe: Recipe, factor: float, steps: int) -> Recipe:
    """`recipe` with `factor` times its widths, in eights, and a training of `steps` steps from the teacher alone.

    A layer starts as channels of the teacher's layer of its name and cannot have more of them.
    """
    widths = {layer: min(WIDTHS[layer], max(8, 8 * round(factor * width / 8))) for layer, width in recipe.widths.items()}
    return dataclasses.replace(recipe, widths=widths, steps=steps, frozen=[])


def train(recipe: Recipe, out: Path, corpora: list[Corpus]) -> None:
    """Write the student of `recipe` to `out`, unless it is there."""
    works, held_out = recipe.split(corpora)
    teacher = encoders.load("vgg19", pooling="average", precision="bfloat16")
    made = {"recipe": write_stages([recipe]), "teacher": teacher.weights_sha256, "data": identity_of(works)}
    if out.exists() and made.items() <= storage.read_checkpoint(out)[0].items():
        return
    distillation = Distillation(recipe, teacher, works, held_out, report_every=REPORT_EVERY, show=True)
    checkpoint = out.with_suffix(".checkpoint.safetensors")
    if checkpoint.exists():
        distillation.resume(checkpoint)
    for record in distillation:
        distillation.checkpoint(checkpoint)
        errors = {name: round(value, 3) for name, value in record.items() if name.endswith("Gram") or name in ("step", "loss")}
        print(out.stem, errors, flush=True)
    distillation.network.save(out, made)
    checkpoint.unlink(missing_ok=True)


def judge(students: dict[str, Path], corpora: list[Corpus], recipe: Recipe, count: int) -> dict[str, dict[str, Any]]:
    """name -> operations, speed, bytes and judged distances of every student, at SIZE px, beside VGG-19."""
    chosen = evaluation.pairs(*_held_out(recipe, corpora), count)
    networks = {name: encoders.load(f"embedded:{path}", precision="float32") for name, path in students.items()}
    reference = encoders.load("vgg19", pooling="average", precision="float32")
    cost = evaluation.costs({"vgg19": reference, **networks}, SIZE)
    settings = Settings(method="gram", size=SIZE, steps=EVALUATIONS)
    driver = encoders.load("vgg19", pooling="average", precision="bfloat16")
    bar = evaluation.drive(chosen, driver, reference, settings, show=True)
    table = {}
    for name, network in networks.items():
        driven = evaluation.drive_matched(chosen, network, reference, settings, bar.content, show=True)
        table[name] = {
            "widths": network.widths,
            "bytes": students[name].stat().st_size,
            "fewer operations": cost["vgg19"].operations / cost[name].operations,
            "times faster": cost["vgg19"].seconds / cost[name].seconds,
            "gram": driven.gram,
            "content": driven.content,
            "alpha": driven.alpha,
            "distance over vgg19": driven.mean / bar.mean,
        }
        print(name, json.dumps({k: v for k, v in table[name].items() if k != "widths"}), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--factors", nargs="+", type=float, default=[1.0, 1.4, 0.7])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=6)
    args = parser.parse_args()
    corpora = [ingest(folder) for folder in args.data]
    shipped = read_stages(SHIPPED)[-1]
    args.out.mkdir(parents=True, exist_ok=True)
    students = {"shipped": WEIGHTS}
    for factor in args.factors:
        name = f"{factor:g} times as wide"
        out = args.out / f"student_{factor:g}.safetensors"
        train(scaled(shipped, factor, args.steps), out, corpora)
        students[name] = out
    table = judge(students, corpora, shipped, args.pairs)
    storage.write_text(args.out / "frontier.json", json.dumps(table, indent=2) + "\n")
    trained = sorted((row for name, row in table.items() if name != "shipped"), key=lambda row: row["fewer operations"])
    lines = {f"{args.steps} steps": trained, "shipped": [table["shipped"]]}
    figure = figures.curves(
        {
            name: ([row["fewer operations"] for row in rows], [row["distance over vgg19"] for row in rows])
            for name, rows in lines.items()
        },
        x_label="times fewer operations than VGG-19",
        y_label="Gram distance to the painting, judged by VGG-19: times that of VGG-19's own transfers",
    )
    inputs = {"teacher": encoders.load("vgg19").weights_sha256}
    provenance = pv.provenance({"factors": args.factors, "steps": args.steps, "pairs": args.pairs}, shipped.seed, {}, inputs)
    print(*figures.save(figure, args.out / "frontier", {"command": "frontier", **provenance}), sep="\n")


if __name__ == "__main__":
    main()
