"""Which choice of paintings comes closest to what the painter would have painted? Asked of the synthetic painters, who tell.

    python benchmarks/truth.py --out runs/truth

Every sample photograph after every sample painter by every target, each result compared with the painter's own picture of the
photograph. Writes OUT/truth.csv, a row for every result, and OUT/truth.json; prints the means, and how much nearer than
the single painting each target is, with intervals over painters and photographs. What is painted is not painted again.
"""

import argparse
import csv
import io
import json
from itertools import product
from pathlib import Path

import numpy as np

from workbench import comparison, encoders, images, inputs, metrics, samples, storage, targets
from workbench.cli.compare import TARGETS
from workbench.transfer import Settings, check_combination

KINDS = ("style", "content", "colour")
RESAMPLES = 10_000


def measured(args: argparse.Namespace) -> list[dict[str, str | float]]:
    """A row for every painter, photograph and target, and one for every untouched photograph."""
    encoder = encoders.load(args.encoder)
    judge = encoders.load(args.judge, precision="float32")
    settings = Settings(size=args.size, steps=args.steps, alpha=args.alpha, plateau=0)
    rows = []
    for painter, photograph in product(samples.PAINTERS, samples.PHOTOGRAPHS):
        content = inputs.content(photograph)
        truth = inputs.truth(photograph, painter, args.size)
        selection = targets.Selection(inputs.corpus(painter), content, encoder)
        pictures = {"photograph": images.resize(content, args.size)}
        for words in args.targets:
            target = selection.choose(words, single=inputs.striking_work(painter))
            name = f"{photograph}-{painter}"
            pictures[words] = comparison.painted(content, target, encoder, settings, args.out / "pictures", name)
        for words, picture in pictures.items():
            found = metrics.distances(picture, truth, judge)
            rows.append({"painter": painter, "photograph": photograph, "target": words, **found})
            print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()), flush=True)
    return rows


def table(rows: list[dict[str, str | float]]) -> dict[str, dict[str, dict[str, float]]]:
    """target -> kind -> mean, and how much of the distance of "single" is gained, with a 95 % interval.

    The gain is the mean over pairs of 1 - distance / distance of single. Painters and photographs are drawn with
    replacement, each for itself (a two-way bootstrap): three of each make wide intervals, and they are what there is.
    """
    painters, photographs = (sorted({row[name] for row in rows}) for name in ("painter", "photograph"))
    names = list(dict.fromkeys(row["target"] for row in rows))
    cube = {name: np.zeros((len(painters), len(photographs), len(KINDS))) for name in names}
    for row in rows:
        place = painters.index(row["painter"]), photographs.index(row["photograph"])
        cube[row["target"]][place] = [row[kind] for kind in KINDS]
    generator = np.random.default_rng(0)
    drawn = [generator.integers(0, n, (RESAMPLES, n)) for n in (len(painters), len(photographs))]
    found = {}
    for name in names:
        gain = 1 - cube[name] / cube["single"]
        resampled = gain[drawn[0][:, :, None], drawn[1][:, None, :]].mean(axis=(1, 2))
        low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
        found[name] = {
            kind: {
                "mean": float(cube[name][..., k].mean()),
                "gain": float(gain[..., k].mean()),
                "low": float(low[k]),
                "high": float(high[k]),
            }
            for k, kind in enumerate(KINDS)
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/truth"))
    parser.add_argument("--encoder", default="embedded", help="drives the transfers")
    parser.add_argument("--judge", default="embedded", help="measures style and content")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--alpha", type=float, default=0.1)
    args = parser.parse_args()
    for words in args.targets:
        name, combine = targets.check_words(words)
        check_combination(combine, Settings(), guided=name == "regions")
    if "single" not in args.targets:
        parser.error("--targets: single is what the others are compared with")
    rows = measured(args)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    storage.write_text(args.out / "truth.csv", text.getvalue())
    found = table(rows)
    parameters = {name: getattr(args, name) for name in ("encoder", "judge", "size", "steps", "alpha")}
    parameters["retriever"] = encoders.retriever(encoders.choose_device()).identity
    storage.write_text(args.out / "truth.json", json.dumps({"parameters": parameters, "table": found}, indent=1) + "\n")
    print(f"{'target':18}" + "".join(f"{kind:>10}{'gain over single':>28}" for kind in KINDS))
    for name, kinds in found.items():
        cells = (f"{k['mean']:10.3f}{k['gain']:>10.0%} ({k['low']:>5.0%} to {k['high']:>4.0%})" for k in kinds.values())
        print(f"{name:18}" + "".join(f"{cell:38}" for cell in cells))


if __name__ == "__main__":
    main()
