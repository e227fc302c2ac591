"""How often is the right checkpoint recommended? Asked of pictures whose quality is known by construction.

    python benchmarks/hit_rate.py --seeds 40 -o benchmarks/hit_rate.csv

No model is trained: the rule is tried on what its measures see. A synthetic painter stands for the artist, rendered scenes for
photographs, so that what he would have painted is known. For every seed there are other works, photographs and samples, and:

    untrained    photographs untouched, samples that are photographs
    half         photographs halfway to the painter's pictures of them, samples likewise
    good         the painter's own pictures of the photographs, and further paintings as samples
    overfitted   the painter's pictures of the photographs, but a share of the samples are seen works, with noise
    collapsed    the painter's pictures of the photographs, and one further painting for all samples

The right answer among all five is good; among untrained, overfitted and collapsed it is that none is. Validation losses are
unknown at this level, so that ties are broken by log-odds. Writes a row for every seed and case.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from workbench import encoders, samples
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.generative import scenes
from workbench.generative.scenes import Pair
from workbench.study.choosing import Row, Yardstick, recommend
from workbench.study.tables import write_table

ALONE, GOOD = "untrained", "good"
COPIED = (1.0, 0.5, 0.25)
"""Shares of the samples of "overfitted" that are seen works."""
NOISE = 0.03
"""Deviation of the noise on a copy."""
Pictures = tuple[list[tuple[Tensor, Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Construction:
    """The works of a painter, those of others, and label -> (pairs of picture and photograph, samples)."""

    seen: tuple[Work, ...]
    held_out: tuple[Work, ...]
    others: tuple[Work, ...]
    checkpoints: dict[str, Pictures]


def construct(
    mine: Sequence[Pair],
    others: Sequence[Work],
    seed: int,
    *,
    works: int,
    held_out: int,
    photographs: int,
    free: int,
    shift: int = 0,
) -> Construction:
    """The construction of `seed` from paintings `mine` of one painter: works + photographs + free of them are drawn.

    shift: by how many px copies are moved down and to the right.
    """
    draw = np.random.default_rng(seed)
    drawn = [mine[k] for k in draw.permutation(len(mine))[: works + photographs + free]]
    his, shown, further = drawn[:works], drawn[works : works + photographs], drawn[works + photographs :]
    contents, painted = [pair.scene.load() for pair in shown], [pair.painted.load() for pair in shown]
    own, plain = [pair.painted.load() for pair in further], [pair.scene.load() for pair in further]
    seen = tuple(pair.painted for pair in his[held_out:])
    noise = torch.Generator().manual_seed(seed)
    taken = [seen[k].load().roll((shift, shift), dims=(2, 3)) for k in draw.choice(len(seen), free, replace=len(seen) < free)]
    copies = [_noisy(picture, noise) for picture in taken]
    made: dict[str, Pictures] = {
        "untrained": (list(zip(contents, contents, strict=True)), plain),
        "half": (
            [((picture + content) / 2, content) for picture, content in zip(painted, contents, strict=True)],
            [(one + other) / 2 for one, other in zip(own, plain, strict=True)],
        ),
        GOOD: (list(zip(painted, contents, strict=True)), own),
        "collapsed": (list(zip(painted, contents, strict=True)), [_noisy(own[0], noise) for _ in own]),
    }
    for share in COPIED:
        count = max(1, round(share * free))
        made[f"overfitted {share:g}"] = (list(zip(painted, contents, strict=True)), [*copies[:count], *own[count:]])
    return Construction(seen, tuple(pair.painted for pair in his[:held_out]), tuple(others), made)


def _noisy(picture: Tensor, noise: torch.Generator) -> Tensor:
    return (picture + NOISE * torch.randn(picture.shape, generator=noise)).clamp(0, 1)


def measured(found: Construction, encoder: Encoder, size: int) -> tuple[dict[str, Row], float, float]:
    """(label -> row, the most leak that is allowed, the log-odds of held-out works)."""
    yardstick = Yardstick(encoder, found.seen, found.held_out, found.others, size=size)
    rows = {label: yardstick.measure(label, *pictures) for label, pictures in found.checkpoints.items()}
    restyled, free = found.checkpoints[GOOD]
    return rows, yardstick.most_leak(len(restyled) + len(free)), yardstick.reference


def cases(rows: dict[str, Row], most_leak: float, reference: float) -> list[dict[str, object]]:
    """A line for each share of copies and each set of checkpoints: what is recommended, and whether it is right."""
    table: list[dict[str, object]] = []
    for share in COPIED:
        bad = ["untrained", f"overfitted {share:g}", "collapsed"]
        for name, labels, right in (("all", [*bad, "half", GOOD], GOOD), ("none good", bad, "")):
            found = recommend([rows[label] for label in labels], rows[ALONE], most_leak, reference).label
            table.append({"case": name, "copied": share, "recommended": found or "none", "right": found == right})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--painters", nargs="+", default=["nocturne", "umber"])
    parser.add_argument("--works", type=int, default=24, help="of the painter; a quarter is held out")
    parser.add_argument("--photographs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--pool", type=int, default=90, help="paintings that all these are drawn from")
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--shift", type=int, default=0, help="px by which copies are moved")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/hit_rate.csv"))
    args = parser.parse_args()
    encoder = encoders.load(args.encoder, precision="float32")
    lines: list[dict[str, object]] = []
    for painter in args.painters:
        mine = scenes.pairs(painter, args.pool, size=args.size, show=True)
        strangers = [name for name in samples.PAINTERS if name != painter]
        pairs = [pair for name in strangers for pair in scenes.pairs(name, 20, size=args.size, held_out=True, show=True)]
        others = [*(pair.painted for pair in pairs), *(pair.scene for pair in pairs[:20])]
        for seed in range(args.seeds):
            how = {"works": args.works, "held_out": args.works // 4, "photographs": args.photographs, "free": args.samples}
            how |= {"shift": args.shift}
            rows, most, reference = measured(construct(mine, others, seed, **how), encoder, args.size)
            leaks = {f"leak {name}": row.leak for name, row in rows.items()} | {"most": most}
            lines += [{"painter": painter, "seed": seed, **line} for line in cases(rows, most, reference)]
            print(painter, seed, *(f"{name} {value:.3f}" for name, value in leaks.items()), flush=True)
            write_table(args.out, lines)
    for case in ("all", "none good"):
        for share in COPIED:
            right = [bool(line["right"]) for line in lines if (line["case"], line["copied"]) == (case, share)]
            found = binomtest(sum(right), len(right)).proportion_ci(method="wilson")
            print(f"{case:10} copies {share:4}: right in {sum(right)} of {len(right)} ({found.low:.2f} to {found.high:.2f})")


if __name__ == "__main__":
    main()
