"""Which recipe teaches the small base a painter? The three commands of a user, for each recipe.

    python benchmarks/lora_recipes.py -o runs/lora-recipes

umber, a sample painter that the base never saw, is learnt from 20 of his works; five are held out. A recipe changes one thing
of the usual one: the rank, captions with genre and year, or the number of works. Every checkpoint restyles two held-out scenes
of each genre and paints 16 pictures from the word alone; `evaluate lora` judges them against works by the two other painters.

Writes OUT/RECIPE/found/ with the figure of each recipe, and OUT/recipes.csv, a row for every checkpoint. A call goes on where
one was stopped.
"""

import argparse
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch

from workbench import cli, images
from workbench.generative import scenes
from workbench.study.tables import read_table, write_table

ARTIST, OTHERS = "umber", ("nocturne", "noonday")
USUAL = {
    "captions": "plain", "rank": 16, "alpha": 16, "held_out": 0.2,
    "size": 120, "batch": 4, "clusters": 1, "samples": "false",
}  # fmt: skip
RECIPES: dict[str, dict[str, object]] = {
    "usual": {},
    "rank-4": {"rank": 4, "alpha": 4},
    "captions": {"captions": "metadata"},
    "8-works": {"held_out": 0.68},
}
OF_EACH = 2
"""Scenes of a genre."""


def contents(folder: Path) -> list[str]:
    """Files of the first held-out scenes of each genre, 120 px."""
    seeds = sorted(range(scenes.HELD_OUT, scenes.HELD_OUT + 16), key=scenes.genre)
    paths = []
    for genre, those in groupby(seeds, key=scenes.genre):
        for k, seed in enumerate(list(those)[:OF_EACH], start=1):
            picture = torch.from_numpy(scenes.scene(seed, 120).image).permute(2, 0, 1)[None]
            paths.append(str(images.save(picture, folder / f"{genre}-{k}.png")))
    return paths


def run(*argv: object) -> None:
    """A command of the workbench."""
    print("workbench", *argv, flush=True)
    status = cli.main([str(word) for word in argv])
    if status:
        raise SystemExit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/lora-recipes"))
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--keep-every", type=int, default=200)
    args = parser.parse_args()
    given = contents(args.out / "contents")
    tables: list[pd.DataFrame] = []
    for name in args.recipes:
        loras = args.out / name / "loras"
        options = [word for item in (USUAL | RECIPES[name]).items() for word in ("-p", "{}={}".format(*item))]
        if not (loras / f"{ARTIST}.safetensors").exists():
            how = ["--rate", 10, "--steps", args.steps, "--keep-every", args.keep_every, "-o", loras / ARTIST]
            resume = ["--resume"] * (loras / f"{ARTIST}.checkpoint.safetensors").exists()
            run("train", "dreambooth", "--corpus", ARTIST, "--base", "small", *options, *how, *resume)
        out = args.out / name / "found"
        asked = ["--contents", *given, "--others", *OTHERS, "--size", 120, "--samples", 16]
        run("evaluate", "lora", loras, "--base", "small", "--corpus", ARTIST, *asked, "-o", out)
        found = read_table(out / "checkpoints.csv")
        found.insert(0, "recipe", name)
        tables.append(found)
        write_table(args.out / "recipes.csv", pd.concat(tables))


if __name__ == "__main__":
    main()
