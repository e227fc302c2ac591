"""Which way to paint comes closest to what the painter would have painted? Asked of the synthetic painters, who tell.

    python benchmarks/truth.py --out runs/truth
    python benchmarks/truth.py --out runs/truth --setups setups.json --baseline blend

Every sample photograph after every sample painter by every setup (see setups.py), each result compared with the painter's own
picture of the photograph. Writes OUT/truth.csv, a row for every result and for every untouched photograph; prints, for each
setup, its distances over those of the baseline: geometric means with t intervals over the cells, and in how many it is nearer.
Cells share painters and photographs: the intervals are about these. What is painted is not painted again.
"""

import argparse
from itertools import product
from pathlib import Path

import setups
from setups import Selections, Setup

from workbench import images, inputs, metrics, samples
from workbench.cli.compare import TARGETS
from workbench.encoders import Encoder
from workbench.metrics.strokes import strokes_distance
from workbench.study.intervals import ratio_interval
from workbench.study.tables import write_table

KINDS = ("style", "content", "colour", "strokes")
UNTOUCHED = "photograph"
Row = dict[str, str | float]


def measured(
    ways: list[Setup], judge: Encoder, common: dict, out: Path, painters: list[str], photographs: list[str]
) -> list[Row]:
    """A row for every painter, photograph and setup, and one for every untouched photograph; OUT/truth.csv grows by cells."""
    rows: list[Row] = []
    for painter, photograph in product(painters, photographs):
        content = inputs.content(photograph)
        truth = inputs.truth(photograph, painter, common["size"])
        chosen = Selections(inputs.corpus(painter), content)
        pictures = {UNTOUCHED: images.resize(content, common["size"])}
        for way in ways:
            pictures[way.name], _ = setups.paint(way, chosen, common, out / "pictures", f"{photograph}-{painter}")
        for name, picture in pictures.items():
            found = {**metrics.distances(picture, truth, judge), "strokes": strokes_distance(picture, truth)}
            rows.append({"painter": painter, "photograph": photograph, "setup": name, **found})
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
    parser.add_argument("--photographs", nargs="+", default=list(samples.PHOTOGRAPHS), choices=list(samples.PHOTOGRAPHS))
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
        way.made_with(common)  # before hours are spent
    judge = setups.loaded(args.judge, precision="float32")
    found = ratios(measured(ways, judge, common, args.out, args.painters, args.photographs), baseline)
    print(f"\nDistance to the truth over that of {baseline}: below 1 is nearer")
    print(f"{'setup':18}" + "".join(f"{kind:>32}" for kind in KINDS))
    for name, kinds in found.items():
        cells = (f"{interval or '-'}, {nearer} of {count}" for interval, nearer, count in kinds.values())
        print(f"{name:18}" + "".join(f"{cell:>32}" for cell in cells))


if __name__ == "__main__":
    main()
