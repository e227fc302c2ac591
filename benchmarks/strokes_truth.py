"""How well are an artist's strokes estimated on his works? Asked of the synthetic painters, who know what they laid.

    python benchmarks/strokes_truth.py --out runs/strokes_truth
    python benchmarks/strokes_truth.py --out runs/strokes_truth --works 24 --brushes 1 2

Every painter paints scenes that no network learns from, with his own brushes and with broader ones. `strokes.hand` estimates
width, length, bend and spread of direction on each picture; OUT/strokes_truth.csv has a row for every picture, with the truth
and the estimate, and OUT/ratios.csv the estimate over the truth for every painter and all of them: geometric means with t
intervals over pictures, and the correlation of the logarithms over pictures. A picture that lies in OUT is not painted again.
"""

import argparse
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from workbench import images, samples, storage
from workbench.generative import scenes
from workbench.strokes import hand
from workbench.strokes.hand import Hand
from workbench.study.intervals import ratio_interval
from workbench.study.tables import write_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from painted_truth import painted

KINDS = tuple(f.name for f in fields(Hand))
SIZE = 400
"""px. Long side of the pictures."""
Row = dict[str, str | float]


def work(painter: str, seed: int, brush: float, folder: Path) -> Row:
    """A row: what `painter` laid on the scene `seed`, with brushes `brush` times as broad as his, and what is estimated."""
    picture = folder / f"{painter}-{seed}-{brush:g}.png"
    truth = picture.with_suffix(".json")
    if not (picture.is_file() and truth.is_file()):
        made, laid = painted(painter, scenes.scene(seed, SIZE), scale=brush, size=SIZE)
        images.save(made, picture)
        storage.write_text(truth, json.dumps(asdict(laid)))
    laid = Hand(**json.loads(storage.read_text(truth)))
    found = hand.of_picture(images.load(picture))
    values = {f"{name} {kind}": getattr(one, kind) for kind in KINDS for name, one in (("true", laid), ("found", found))}
    return {"painter": painter, "scene": seed, "brush": brush, **values}


def ratios(rows: list[Row]) -> list[Row]:
    """For each brush, painter (and "all") and statistic: the estimate over the truth, and how they go together."""
    table: list[Row] = []
    for brush in dict.fromkeys(row["brush"] for row in rows):
        for painter in (*dict.fromkeys(row["painter"] for row in rows), "all"):
            mine = [row for row in rows if row["brush"] == brush and painter in (row["painter"], "all")]
            for kind in KINDS:
                found, true = (np.array([float(row[f"{name} {kind}"]) for row in mine]) for name in ("found", "true"))
                interval = ratio_interval(found, true)
                together = float(np.corrcoef(np.log(found), np.log(true))[0, 1])
                ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
                table.append({"brush": brush, "painter": painter, "statistic": kind, "n": len(mine), **ends, "r": together})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/strokes_truth"))
    parser.add_argument("--works", type=int, default=12, help="pictures of every painter with every brush, at least 3")
    parser.add_argument("--brushes", type=float, nargs="+", default=[1.0], help="how many times as broad as his own")
    args = parser.parse_args()
    rows: list[Row] = []
    for brush in args.brushes:
        for painter in samples.PAINTERS:
            for seed in range(scenes.HELD_OUT, scenes.HELD_OUT + args.works):
                rows.append(work(painter, seed, brush, args.out / "pictures"))
                print(*(f"{v:.4f}" if isinstance(v, float) else v for v in rows[-1].values()), flush=True)
            write_table(args.out / "strokes_truth.csv", rows)
    table = ratios(rows)
    for row in table:
        print("{brush:g} {painter:9} {statistic:7} {mean:.2f} ({low:.2f} to {high:.2f}), r {r:.2f}, n {n}".format(**row))
    write_table(args.out / "ratios.csv", table)


if __name__ == "__main__":
    main()
