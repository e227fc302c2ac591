"""Pairs of pictures for judges who do not know which method made them, and what their answers say.

    python benchmarks/blind.py runs/trial --of neighbours --contents a.jpg b.jpg --corpora corpora/* --pairs 40 --out runs/blind
    python benchmarks/blind.py --out runs/blind --score answers.csv

The folder is that of trial.py. Each pair is one picture by the setup --of and one by another, of one content and artist: OUT/
pair_001.jpg, ..., the content above, six of the artist's works below, of the content's genre where there are enough, and none
that either picture was made from. Names of setups stand in OUT/key.json alone, which no judge is to see.

Answers are a CSV with the columns pair, question (artist: which looks more like the artist; content: which keeps more of the
content; hang: which would you rather hang) and winner (left, right or tie).
"""

import argparse
import csv
import json
import random
from collections import Counter
from pathlib import Path

from PIL import Image

from workbench import images, inputs, storage
from workbench.corpora import Corpus
from workbench.errors import WorkbenchError, require
from workbench.metrics.judging import family
from workbench.study.intervals import proportion

LEAST = 448  # px, long side of a picture
SMALL = 224  # of the content and of each work
REFERENCES, GAP = 6, 16
QUESTIONS, WINNERS = ("artist", "content", "hang"), ("left", "right", "tie")
Row = dict[str, str]  # of trial.csv, or of the answers


def fitted(picture: Image.Image, size: int) -> Image.Image:
    """`picture` with the long side `size`."""
    height, width = images.fit(picture.height, picture.width, size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def page(content: Image.Image, left: Image.Image, right: Image.Image, references: list[Image.Image]) -> Image.Image:
    """The content above, the two pictures side by side at equal size, `references` below, on light grey."""
    size = max(LEAST, *left.size, *right.size)
    rows = [[fitted(content, SMALL)], [fitted(left, size), fitted(right, size)]]
    rows += [[fitted(work, SMALL) for work in references[k : k + 3]] for k in range(0, len(references), 3)]
    widths = [sum(picture.width + GAP for picture in row) + GAP for row in rows]
    heights = [max(picture.height for picture in row) + GAP for row in rows]
    sheet = Image.new("RGB", (max(widths), sum(heights) + GAP), (232, 232, 232))
    y = GAP
    for row, width, height in zip(rows, widths, heights, strict=True):
        x = (sheet.width - width) // 2 + GAP
        for picture in row:
            sheet.paste(picture, (x, y + (height - GAP - picture.height) // 2))
            x += picture.width + GAP
        y += height
    return sheet


def drawn(rows: list[Row], of: str, pairs: int, seed: int) -> list[tuple[Row, Row]]:
    """`pairs` (left, right), each of a picture by `of` and one by another setup, opponents in turn, sides by chance."""
    generator = random.Random(seed)
    made = {(row["content"], row["artist"], row["setup"]): row for row in rows if row["setup"] != "content"}
    opponents = sorted({setup for *_, setup in made} - {of})
    require(any(setup == of for *_, setup in made), f"no picture by {of!r}; there are {', '.join(opponents)}")
    decks = []
    for opponent in opponents:
        cells = sorted(key[:2] for key in made if key[2] == opponent and (*key[:2], of) in made)
        generator.shuffle(cells)
        decks.append([(made[*cell, of], made[*cell, opponent]) for cell in cells])
    found = [deck[k] for k in range(max(map(len, decks), default=0)) for deck in decks if k < len(deck)][:pairs]
    require(len(found) == pairs, f"{pairs} pairs asked for; the folder has {len(found)}")
    generator.shuffle(found)
    return [pair if generator.random() < 0.5 else pair[::-1] for pair in found]


def references(corpus: Corpus, pair: tuple[Row, Row], generator: random.Random) -> list[Image.Image]:
    """Six works that neither picture was made from, of the content's genre first; others of his where there are too few."""
    used = {name for row in pair for name in row["sources"].split("|")}
    works = list(corpus)
    generator.shuffle(works)
    works.sort(key=lambda work: (work.name in used, work.genre not in family(pair[0]["genre"])))
    chosen = works[:REFERENCES]
    if any(work.name in used for work in chosen):
        print(f"{pair[0]['content']} after {corpus.name}: too few works that no picture was made from; the judges see sources")
    return [images.to_pil(work.load(SMALL)) for work in chosen]


def prepare(folder: Path, args: argparse.Namespace) -> None:
    """Write the pairs and the key."""
    require(not (args.out / "key.json").exists(), f"{args.out} has a key already: choose another --out")
    with (folder / "trial.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    contents = {inputs.content_path(name).stem: name for name in args.contents}
    corpora = {corpus.name: corpus for corpus in map(inputs.corpus, args.corpora)}
    generator, key = random.Random(args.seed + 1), []
    for number, pair in enumerate(drawn(rows, args.of, args.pairs, args.seed), start=1):
        content, artist = pair[0]["content"], pair[0]["artist"]
        require(content in contents and artist in corpora, f"--contents or --corpora lack {content} or {artist}")
        left, right = (images.to_pil(images.load(folder / row["file"])) for row in pair)
        shown = references(corpora[artist], pair, generator)
        sheet = page(images.to_pil(inputs.content(contents[content])), left, right, shown)
        with storage.atomic(args.out / f"pair_{number:03}.jpg") as temporary:
            sheet.save(temporary, "JPEG", quality=92)
        sides = dict(zip(("left", "right"), (row["setup"] for row in pair), strict=True))
        key.append({"pair": number, "content": content, "artist": artist, **sides})
    storage.write_text(args.out / "key.json", json.dumps({"of": args.of, "pairs": key}, indent=1) + "\n")


def score(key: dict, answers: list[Row]) -> dict[tuple[str, str], Counter]:
    """(question, opponent) -> how often the setup under test was won, tied and lost. WorkbenchError for an unknown answer."""
    pairs = {entry["pair"]: entry for entry in key["pairs"]}
    found: dict[tuple[str, str], Counter] = {}
    for line, row in enumerate(answers, start=2):
        pair, winner = pairs.get(int(row["pair"])), row["winner"].strip().lower()
        if pair is None or winner not in WINNERS or row["question"] not in QUESTIONS:
            raise WorkbenchError(f"answers, line {line}: there is no such pair, question or winner")
        opponent = pair["right"] if pair["left"] == key["of"] else pair["left"]
        outcome = "tied" if winner == "tie" else "won" if pair[winner] == key["of"] else "lost"
        found.setdefault((row["question"], opponent), Counter())[outcome] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of trial.py")
    parser.add_argument("--of", help="the setup under test")
    parser.add_argument("--contents", nargs="+", default=[], help="as given to trial.py")
    parser.add_argument("--corpora", nargs="+", default=[], help="as given to trial.py")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--score", type=Path, metavar="ANSWERS", help="count the answers in a CSV file")
    args = parser.parse_args()
    if args.score is None:
        if args.folder is None or args.of is None:
            parser.error("give the folder of trial.py and --of, or --score")
        return prepare(args.folder, args)
    key = json.loads((args.out / "key.json").read_text(encoding="utf-8"))
    with args.score.open(newline="", encoding="utf-8-sig") as file:
        counted = score(key, list(csv.DictReader(file)))
    for (question, opponent), counts in sorted(counted.items()):
        share = proportion(counts["won"], counts["won"] + counts["lost"])
        outcome = ", ".join(f"{name} {counts[name]}" for name in ("won", "tied", "lost"))
        print(f"{question:8} {key['of']} against {opponent:20} {outcome}; won of decided {share}")


if __name__ == "__main__":
    main()
