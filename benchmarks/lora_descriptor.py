"""Do LoRA of one painter lie together? Asked of synthetic painters, on the small base.

    python benchmarks/lora_descriptor.py -o runs/lora-descriptor

Each painter has several LoRA. The k-th LoRA of every painter learns from the k-th set of scenes, and every training has its own
seed: LoRA of one painter share neither works nor first weights. The k-th LoRA of two painters share the scenes, which is a
control: a descriptor of what is painted would put these together. Beside it stands the style embedding of the same works.

Writes OUT/pairs.csv, a row for every two LoRA. Prints for either descriptor how many have their nearest neighbour by the same
painter, and the share of all regroupings of the LoRA that are as tight (an exact permutation test). What was trained is in OUT,
and is not trained again.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from small_base_truth import taught, works

from workbench import encoders
from workbench.diffusion import base as bases
from workbench.diffusion import descriptor
from workbench.generative.training import Plan
from workbench.retrieval import embeddings
from workbench.samples import PAINTERS
from workbench.study.tables import write_table


def groupings(members: tuple[int, ...], size: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to divide `members` into groups of `size`."""
    if not members:
        yield ()
        return
    for rest in combinations(members[1:], size - 1):
        left = tuple(k for k in members[1:] if k not in rest)
        for others in groupings(left, size):
            yield ((members[0], *rest), *others)


def within(distances: np.ndarray, groups: Sequence[Sequence[int]]) -> float:
    """The mean distance of two in one group."""
    return float(np.mean([distances[a, b] for group in groups for a, b in combinations(group, 2)]))


def judged(distances: np.ndarray, count: int) -> tuple[int, float]:
    """How many have their nearest neighbour in their own group of `count`, and p: the share of groupings that are as tight."""
    own = np.arange(len(distances)) // count
    nearest = np.where(np.eye(len(distances), dtype=bool), np.inf, distances).argmin(axis=1)
    every = [within(distances, groups) for groups in groupings(tuple(range(len(distances))), count)]
    found = within(distances, [np.flatnonzero(own == k).tolist() for k in range(own[-1] + 1)])
    return int((own[nearest] == own).sum()), float(np.mean([other <= found + 1e-12 for other in every]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/lora-descriptor"))
    parser.add_argument("--base", default=bases.SMALL)
    parser.add_argument("--sets", type=int, default=3, help="LoRA of each painter")
    parser.add_argument("--works", type=int, default=16, help="that each learns from")
    parser.add_argument("--steps", type=int, default=500, help="of each training")
    args = parser.parse_args()
    encoder = encoders.load("embedded")
    options = {"rank": 16, "alpha": 16.0, "batch": 4, "captions": "plain", "prior": 0.0, "held_out": 0.0, "samples": False}
    files, styles, names = [], [], []
    for painter in PAINTERS:
        for k in range(args.sets):
            learnt = works(k * args.works, args.works, painter=painter)
            plan = Plan(steps=args.steps, rate=10.0, seed=len(files))
            names.append((painter, k))
            files.append(taught(args.base, learnt, args.out / f"{painter}-{k}.safetensors", plan, encoder, **options))
            styles.append(embeddings.embed(learnt, encoder, "style").raw.mean(axis=0))
    model = bases.load(args.base)
    by_lora = descriptor.distances([descriptor.update(model, file) for file in files])
    by_style = np.linalg.norm(np.stack(styles)[:, None] - np.stack(styles), axis=-1)
    rows = [
        {
            "a": "{}-{}".format(*names[a]),
            "b": "{}-{}".format(*names[b]),
            "same_painter": names[a][0] == names[b][0],
            "same_scenes": names[a][1] == names[b][1],
            "lora": by_lora[a, b],
            "style": by_style[a, b],
        }
        for a, b in combinations(range(len(names)), 2)
    ]
    write_table(args.out / "pairs.csv", rows)
    for what, distances in (("lora", by_lora), ("style", by_style)):
        count, p = judged(distances, args.sets)
        kinds = {kind: np.mean([row[what] for row in rows if row[kind]]) for kind in ("same_painter", "same_scenes")}
        rest = np.mean([row[what] for row in rows if not (row["same_painter"] or row["same_scenes"])])
        print(
            f"{what}: same painter {kinds['same_painter']:.3f}, same scenes {kinds['same_scenes']:.3f}, neither {rest:.3f}; "
            f"nearest by the same painter {count} of {len(names)}, p = {p:.4f}"
        )


if __name__ == "__main__":
    main()
