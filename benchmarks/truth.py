"""Which way to paint comes closest to what the painter would have painted? Asked of the synthetic painters, who tell.

    python benchmarks/truth.py --out runs/truth
    python benchmarks/truth.py --out runs/truth --setups setups.json --baseline blend --scenes 20

Every sample photograph, and every scene that no network learns from, after every sample painter by every setup (see
setups.py), each result compared with the painter's own picture of the same. Writes OUT/truth.csv, a row for every result and
for every untouched picture; prints, for each setup, its distances over those of the baseline, for photographs and for scenes:
geometric means with t intervals over the cells, and in how many it is nearer (OUT/ratios.csv). Cells share painters and
pictures: the intervals are about these. What is painted is not painted again.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import setups
import torch
from setups import Selections, Setup
from torch import Tensor

from workbench import images, inputs, metrics, samples
from workbench.cli.compare import TARGETS
from workbench.encoders import Encoder
from workbench.generative import scenes
from workbench.metrics.strokes import strokes_distance
from workbench.study.intervals import ratio_interval
from workbench.study.tables import write_table

KINDS = ("style", "content", "colour", "strokes")
UNTOUCHED = "photograph"
Row = dict[str, str | float]


@dataclass(frozen=True)
class Case:
    """A picture, a painter's own answer, both (1, 3, H, W) in [0, 1], and its regions (1, len(REGIONS), h, w).

    kind: "photograph" or "scene".
    """

    kind: str
    name: str
    content: Tensor
    truth: Tensor
    regions: Tensor


def cases(painter: str, photographs: list[str], count: int, size: int) -> Iterator[Case]:
    """`photographs` and `count` scenes that no network learns from, with the answers of `painter` at long side `size` px."""
    for name in photographs:
        annotated, truth = samples.annotated(name), inputs.truth(name, painter, size)
        assert truth is not None  # painter and photograph are samples
        regions = torch.from_numpy(np.stack([annotated.region(region) for region in samples.REGIONS]))[None]
        yield Case("photograph", name, inputs.content(name), truth, regions)
    for pair in scenes.pairs(painter, count, size=size, held_out=True, show=True) if count else ():
        yield Case("scene", pair.scene.path.stem, pair.scene.load(), pair.painted.load(), pair.regions()[None])


def measured(
    ways: list[Setup], judge: Encoder, common: dict, out: Path, painters: list[str], photographs: list[str], count: int = 0
) -> list[Row]:
    """A row for every painter, picture and setup, and one for every untouched picture; OUT/truth.csv grows by cells.

    `count`: of scenes.
    """
    rows: list[Row] = []
    for painter in painters:
        corpus = inputs.corpus(painter)
        for case in cases(painter, photographs, count, common["size"]):
            chosen = Selections(corpus, case.content, case.regions)
            pictures = {UNTOUCHED: images.resize(case.content, common["size"])}
            for way in ways:
                pictures[way.name], _ = setups.paint(way, chosen, common, out / "pictures", f"{case.name}-{painter}")
            for name, picture in pictures.items():
                found = {**metrics.distances(picture, case.truth, judge), "strokes": strokes_distance(picture, case.truth)}
                rows.append({"painter": painter, "kind": case.kind, "photograph": case.name, "setup": name, **found})
                print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()), flush=True)
            write_table(out / "truth.csv", rows)
    return rows


def ratios(rows: list[Row], baseline: str) -> dict[str, dict[str, tuple]]:
    """setup -> kind -> (interval of its distance over the baseline's, cells in which it is nearer, cells)."""
    cells = {(row["setup"], row["painter"], row["photograph"]): row for row in rows}
    names = [name for name in dict.fromkeys(row["setup"] for row in rows) if name != baseline]
    found: dict[str, dict[str, tuple]] = {}
    for name in names:
        pairs = [(row, cells[baseline, *key[1:]]) for key, row in cells.items() if key[0] == name]
        found[name] = {}
        for kind in KINDS:
            mine, its = ([float(row[kind]) for row in side] for side in zip(*pairs, strict=True))
            nearer = sum(a < b for a, b in zip(mine, its, strict=True))
            found[name][kind] = ratio_interval(mine, its) if len(pairs) >= 3 else None, nearer, len(pairs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/truth"))
    parser.add_argument("--setups", type=Path, help="JSON file of setups; without it, every target with --encoder")
    parser.add_argument("--baseline", default="", help="the setup that others are compared with (default: the first)")
    parser.add_argument("--encoder", default="embedded", help="drives the transfers where there is no file of setups")
    parser.add_argument("--judge", default="vgg19", help="measures style and content")
    parser.add_argument("--painters", nargs="+", default=list(samples.PAINTERS), choices=list(samples.PAINTERS))
    parser.add_argument("--photographs", nargs="*", default=list(samples.PHOTOGRAPHS), choices=list(samples.PHOTOGRAPHS))
    parser.add_argument("--scenes", type=int, default=0, help="procedural scenes that no network learns from")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--alpha", type=float, default=0.1)
    args = parser.parse_args()
    entries = [{"name": words.replace("/", "-"), "target": words, "encoder": args.encoder} for words in TARGETS]
    ways = setups.read(args.setups) if args.setups else setups.parsed(entries)
    baseline = args.baseline or ways[0].name
    if baseline not in (way.name for way in ways) or UNTOUCHED in (way.name for way in ways):
        parser.error(f"--baseline is one of the setups ({', '.join(way.name for way in ways)}); none is called {UNTOUCHED}")
    common = {"size": args.size, "steps": args.steps, "alpha": args.alpha, "plateau": 0}
    for way in ways:
        for painter in args.painters:
            way.made_with(common, painter)  # before hours are spent
    judge = setups.loaded(args.judge, precision="float32")
    rows, table = measured(ways, judge, common, args.out, args.painters, args.photographs, args.scenes), []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        found = ratios([row for row in rows if row["kind"] == kind], baseline)
        print(f"\n{kind}s: distance to the truth over that of {baseline}: below 1 is nearer")
        print(f"{'setup':18}" + "".join(f"{measure:>32}" for measure in KINDS))
        for name, kinds in found.items():
            cells = (f"{interval or '-'}, {nearer} of {count}" for interval, nearer, count in kinds.values())
            print(f"{name:18}" + "".join(f"{cell:>32}" for cell in cells))
            for measure, (interval, nearer, count) in kinds.items():
                ends = asdict(interval) if interval else {}
                table.append({"kind": kind, "setup": name, "measure": measure, "nearer": nearer, "cells": count, **ends})
    write_table(args.out / "ratios.csv", table)


if __name__ == "__main__":
    main()
