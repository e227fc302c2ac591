"""Does DreamBooth bring photographs nearer to what a painter would have painted? Asked of a painter that the base never saw.

    python benchmarks/small_base_truth.py --base runs/small-base/model --out runs/small-base-truth

The base is that of small_base.py. DreamBooth learns a LoRA from works of the third synthetic painter. Then other scenes, as
photographs, are restyled by img2img with and without it, all else being equal: prompt, noise and strength. Each result is
compared with the painter's own picture of the scene. For comparison: the photograph untouched; the painter's picture through
the autoencoder, beyond which no result can be expected; and the base alone after a painter that it knows, by his name.

Writes OUT/truth.csv, a row for every picture, OUT/ratios.csv, distances of one setup over those of another, geometric means
with t intervals over the scenes, and OUT/sheet.jpg, the first scenes. A LoRA that is in OUT already is not trained again.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from small_base import PAINTERS, SIZE, UNSEEN
from torch import Tensor

from workbench import encoders, figures, metrics, provenance
from workbench.corpora import Work
from workbench.diffusion import base as bases
from workbench.diffusion import dreambooth, lora, stylise
from workbench.diffusion.base import Base
from workbench.encoders import Encoder
from workbench.generative import scenes, trained
from workbench.generative.training import Plan, Training
from workbench.metrics.strokes import strokes_distance
from workbench.study.intervals import ratio_interval
from workbench.study.tables import write_table

KINDS = ("style", "content", "colour", "strokes")
TOKEN = "sks"
KNOWN = PAINTERS[0]
COMPARED = (
    (UNSEEN, "lora", "base"),
    (UNSEEN, "lora", "photograph"),
    (UNSEEN, "base", "photograph"),
    (KNOWN, "base", "photograph"),
)
"""(painter, setup, the one that it is compared with)."""
SHOWN = 6
"""Scenes in the sheet."""
TITLE = "Scenes after a painter that the base never saw"
Row = dict[str, str | float]


@dataclass(frozen=True)
class Case:
    """A scene that no network learnt from: as a photograph and as `painter` paints it, both (1, 3, H, W) in [0, 1]."""

    painter: str
    name: str
    genre: str
    content: Tensor
    truth: Tensor

    @property
    def prompt(self) -> str:
        return f"{TOKEN if self.painter == UNSEEN else self.painter} painting, {self.genre}"


def cases(painter: str, count: int, size: int = SIZE) -> list[Case]:
    """The first `count` held-out scenes."""
    pairs = scenes.pairs(painter, count, size=size, held_out=True, show=True)
    return [
        Case(painter, pair.scene.path.stem, scenes.genre(seed), pair.scene.load(), pair.painted.load())
        for seed, pair in enumerate(pairs, start=scenes.HELD_OUT)
    ]


def works(after: int, count: int, size: int = SIZE, painter: str = UNSEEN) -> list[Work]:
    """`count` works of `painter`, of scenes beyond the first `after` held-out ones, which are for testing."""
    pairs = scenes.pairs(painter, after + count, size=size, held_out=True, show=True)
    found = list(enumerate(pairs, start=scenes.HELD_OUT))[after:]
    return [replace(pair.painted, metadata={"artist": painter, "genre": scenes.genre(seed)}) for seed, pair in found]


def taught(folder: Path, learnt: Sequence[Work], out: Path, plan: Plan, encoder: Encoder, **options: object) -> Path:
    """The file of a LoRA of `learnt`, works of one style, on the base in `folder`; trained unless it is there."""
    if not out.is_file():
        given = dreambooth.Options(clusters=1, **options)  # type: ignore[arg-type]
        family = dreambooth.learning_from(learnt, folder, TOKEN, encoder, given, seed=plan.seed, show=True)
        training = Training(family, plan, show=True)
        resume = trained.checkpoint_path(out).exists()
        trained.train(training, out, resume=resume, report=lambda record: print(record, flush=True))
    return out


def painted(base: Base, case: Case, strengths: Sequence[float], *, steps: int, guidance: float, seed: int) -> Iterator[Tensor]:
    """`case` restyled by `base` as it now is, at each of the strengths."""
    words = base.words([case.prompt])
    for strength in strengths:
        yield stylise.restyled(base, case.content, words, strength=strength, steps=steps, guidance=guidance, seed=seed)


def measured(
    base: Base, file: Path, count: int, strengths: Sequence[float], judge: Encoder, out: Path, *, size: int = SIZE, **how: float
) -> list[Row]:
    """A row for every painter, scene, setup and strength (0 where there is none). OUT/sheet.jpg shows the first scenes."""
    rows: list[Row] = []
    sheet: dict[str, dict[str, Tensor]] = {}
    for painter in (UNSEEN, KNOWN):
        for case in cases(painter, count, size):
            pictures = {("photograph", 0.0): case.content, ("autoencoder", 0.0): through(base, case.truth)}
            plain = painted(base, case, strengths, **how)  # type: ignore[arg-type]
            pictures |= {("base", strength): picture for strength, picture in zip(strengths, plain, strict=True)}
            if painter == UNSEEN:
                with lora.attached(base, [(file, 1.0)]):
                    adapted = list(painted(base, case, strengths, **how))  # type: ignore[arg-type]
                pictures |= {("lora", strength): picture for strength, picture in zip(strengths, adapted, strict=True)}
                if len(sheet) < SHOWN:
                    sheet[case.name] = {"truth": case.truth} | {f"{s} {k:g}" if k else s: x for (s, k), x in pictures.items()}
            for (setup, strength), picture in pictures.items():
                found = {**metrics.distances(picture, case.truth, judge), "strokes": strokes_distance(picture, case.truth)}
                rows.append({"painter": painter, "scene": case.name, "setup": setup, "strength": strength, **found})
            write_table(out / "truth.csv", rows)
            print(painter, case.name, case.genre, flush=True)
    labels = next(iter(sheet.values()))
    made = provenance.provenance(
        {"strengths": list(strengths), **how}, None, {}, {"base": base.identity, "lora": provenance.sha256(file)}
    )
    shown = figures.grid([list(pictures.values()) for pictures in sheet.values()], column_labels=list(labels), title=TITLE)
    figures.save(shown, out / "sheet", {"command": "small_base_truth", **made}, dpi=120, suffixes=(".jpg",))
    return rows


def through(base: Base, picture: Tensor) -> Tensor:
    """`picture` as the autoencoder gives it back."""
    high, wide = picture.shape[-2:]
    mean, _ = base.encode(bases.padded(picture, base.factor))
    return base.decode(mean)[..., :high, :wide].to(picture)


def ratios(rows: Sequence[Row]) -> list[dict[str, object]]:
    """For each of COMPARED and each strength: distances to the truth of the one over those of the other, and in how many scenes
    it is nearer."""
    cells = {(row["painter"], row["setup"], row["strength"], row["scene"]): row for row in rows}
    table: list[dict[str, object]] = []
    for painter, setup, other in COMPARED:
        for strength in sorted({row["strength"] for row in rows if (row["painter"], row["setup"]) == (painter, setup)}):
            beside = 0.0 if other == "photograph" else strength
            scenes_of = [row["scene"] for row in rows if (row["painter"], row["setup"]) == (painter, "photograph")]
            for kind in KINDS:
                mine, its = (
                    [float(cells[painter, name, s, scene][kind]) for scene in scenes_of]
                    for name, s in ((setup, strength), (other, beside))
                )
                interval = ratio_interval(mine, its)
                nearer = sum(a < b for a, b in zip(mine, its, strict=True))
                where = {"painter": painter, "setup": setup, "over": other, "strength": strength, "measure": kind}
                table.append({**where, **asdict(interval), "nearer": nearer, "cells": len(mine)})
                print(f"{painter} {setup}/{other} {strength:.2f} {kind:8} {interval}, nearer in {nearer} of {len(mine)}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=Path("runs/small-base/model"))
    parser.add_argument("--out", type=Path, default=Path("runs/small-base-truth"))
    parser.add_argument("--works", type=int, default=40, help="that the LoRA learns from; a tenth of them is held out")
    parser.add_argument("--scenes", type=int, default=24, help="that are restyled")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--steps", type=int, default=1000, help="of the training")
    parser.add_argument("--rate", type=float, default=10.0, help="factor of its learning rate")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--judge", default="vgg19", help="measures style and content")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(steps=args.steps, rate=args.rate, seed=args.seed)
    shape = {"rank": args.rank, "alpha": float(args.rank), "batch": 4}
    learnt = works(args.scenes, args.works)
    file = taught(args.base, learnt, args.out / f"{UNSEEN}.safetensors", plan, encoders.load("embedded"), **shape)
    judge = encoders.load(args.judge, precision="float32")
    how = {"steps": 30, "guidance": args.guidance, "seed": args.seed}
    rows = measured(bases.load(args.base), file, args.scenes, args.strengths, judge, args.out, **how)
    write_table(args.out / "ratios.csv", ratios(rows))


if __name__ == "__main__":
    main()
