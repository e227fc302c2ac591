"""Strokes beside neighbours at 1024 px: every content after every artist, the whole and a detail at 100 %.

    python benchmarks/strokes_pages.py --contents portrait=a.jpg landscape=b.jpg --corpora corpora/* --pictures DIR -o OUT.jpg

Paints by `workbench transfer` what is not in --pictures yet: strokes optimised at 512 px and drawn at 1024 px, neighbours at
1024 px. The provenance of the figure holds that of every picture, and of its paintings the heaviest.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from torch import Tensor

from workbench import figures, images, inputs, people

SIZE, DETAIL, HEAVIEST = 1024, 260, 6
METHODS = {
    "strokes": ("--size", str(SIZE // 2), "--options", "strokes=6000", f"picture={SIZE}"),
    "neighbours": ("--size", str(SIZE)),
}


def painted(content: str, corpus: str, method: str, path: Path) -> Path:
    """The picture at `path`, painted if it is not there."""
    if not path.exists():
        command = [sys.executable, "-m", "workbench", "transfer", content, "--corpus", corpus, "--method", method]
        subprocess.run([*command, *METHODS[method], "-o", str(path)], check=True)
    return path


def detail(picture: Tensor, centre: tuple[float, float]) -> Tensor:
    """A square of DETAIL px around `centre`, (x, y) in shares of the picture, as far as it fits."""
    height, width = picture.shape[-2:]
    y, x = (int(min(max(c * n - DETAIL / 2, 0), n - DETAIL)) for c, n in ((centre[1], height), (centre[0], width)))
    return picture[..., y : y + DETAIL, x : x + DETAIL]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contents", nargs="+", required=True, metavar="NAME=FILE")
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.pictures.mkdir(parents=True, exist_ok=True)
    rows, labels, made = [], [], {}
    for words in args.contents:
        name, _, content = words.partition("=")
        shown = images.resize(inputs.content(content, SIZE), SIZE)
        faces = people.faces(shown)
        left, top, right, bottom = max(faces, key=lambda face: face.score).box if faces else (0, 0, 1, 1)
        across = [shown]
        for corpus in args.corpora:
            for method in METHODS:
                path = painted(content, corpus, method, args.pictures / f"{name}-{Path(corpus).name}-{method}.png")
                across.append(images.load(path))
                record = figures.read_provenance(path)
                record["works"] = record["works"][:HEAVIEST]  # a comment in a JPEG holds 64 kB
                made[path.stem] = record
        rows += [across, [detail(picture, ((left + right) / 2, (top + bottom) / 2)) for picture in across]]
        labels += [name, "at 100 %"]
    columns = ["content", *(f"{Path(corpus).name}: {method}" for corpus in args.corpora for method in METHODS)]
    figure = figures.grid(rows, labels, columns, title="Brush strokes beside neighbours")
    left, right, *_ = figure.axes[0].images[-1].get_extent()  # inches
    figures.save(figure, args.out.with_suffix(""), {"pictures": made}, dpi=DETAIL / (right - left), suffixes=(args.out.suffix,))


if __name__ == "__main__":
    main()
