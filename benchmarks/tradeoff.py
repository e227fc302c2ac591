"""How much of the style does a method give for how much of the content? A weight does not mean the same to all: so curves.

    python benchmarks/tradeoff.py --contents a.jpg b.jpg --corpus vincent-van-gogh/ --setups tradeoff.json --out runs/tradeoff

Every content by every setup (see setups.py); setups of one "curve" are its points. VGG-19 with average pooling, which drives
none of the families, measures `away`, the distance to the content, `style`, that to the Gram matrices of the blend for the
content, whatever a setup was given, and `oeuvre`, that to those of the whole corpus. Writes OUT/tradeoff.csv, a row for every
picture; OUT/points.csv, means over contents with t intervals, and for every setup its style distance over that of the
baseline's curve at the same content distance (--baseline); OUT/tradeoff.png and .pdf. What is painted is not painted again.

A distance to mean statistics rewards what averages, and networks of one artist were not given the blend: trial.py has the
log-odds of the artist, and leaks, of the same setups.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import setups
from setups import Selections, Setup
from torch import Tensor

from workbench import figures, images, inputs, metrics, targets
from workbench import provenance as pv
from workbench.corpora import Corpus
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.study.intervals import ratio_interval, t_interval
from workbench.study.tables import write_table
from workbench.targets import StyleTarget

MEASURES = ("away", "style", "oeuvre")
UNTOUCHED = "content"
Row = dict[str, str | float]


@dataclass(frozen=True)
class Painted:
    """A picture (1, 3, H, W) in [0, 1], what was measured of it, its target, and the setup; None for the untouched content."""

    picture: Tensor
    row: Row
    target: StyleTarget | None
    way: Setup | None


def load_judge(name: str) -> Encoder:
    """The encoder `name` with average pooling, as Gatys et al. (2016) have VGG-19."""
    return setups.loaded(name, precision="float32", pooling="average")


def painted(
    ways: list[Setup], contents: Mapping[str, Tensor], corpus: Corpus, judge: Encoder, common: dict, out: Path
) -> Iterator[Painted]:
    """Every content, untouched and by every setup, and how far `judge` finds it from the content and from the style."""
    size, layers = common["size"], judge.style_layers
    for name, content in contents.items():
        chosen = Selections(corpus, content)
        kinds = {"style": chosen.target(Setup("blend")), "oeuvre": chosen.target(Setup("whole", target="whole"))}
        wanted = {kind: targets.moments(target, judge, size, layers, show=True) for kind, target in kinds.items()}
        made: list[tuple[Tensor, StyleTarget | None, Setup | None]] = [(images.resize(content, size), None, None)]
        made += [(*setups.paint(way, chosen, common, out / "pictures", f"{name}_{corpus.name}"), way) for way in ways]
        for picture, target, way in made:
            row: Row = {"artist": corpus.name, "content": name, "curve": way.curve if way else UNTOUCHED}
            row |= {"setup": way.name if way else UNTOUCHED, "away": metrics.content_distance(picture, content, judge)}
            row |= {kind: metrics.style_distance(picture, moments, judge).gram for kind, moments in wanted.items()}
            print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), flush=True)
            yield Painted(picture, row, target, way)


def at_equal_content(rows: list[Row], baseline: str, kind: str = "style") -> dict[str, tuple[list[float], list[float]]]:
    """setup -> (its distances, those of the curve `baseline` as far from the content), over contents.

    Between the points of the baseline the logarithm of the distance is linear in `away`. Contents that a setup takes farther
    away than any point of the baseline, or less far, are left out.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    for content in dict.fromkeys(row["content"] for row in rows):
        mine = [row for row in rows if row["content"] == content]
        line = sorted((float(row["away"]), np.log(float(row[kind]))) for row in mine if row["curve"] == baseline)
        for row in mine:
            if row["curve"] not in (baseline, UNTOUCHED) and line[0][0] <= float(row["away"]) <= line[-1][0]:
                own, others = found.setdefault(str(row["setup"]), ([], []))
                own.append(float(row[kind]))
                others.append(float(np.exp(np.interp(float(row["away"]), *zip(*line, strict=True)))))
    return found


def points(rows: list[Row], baseline: str) -> list[Row]:
    """A row for every setup: `n` contents, the mean of each measure, and its t interval where there are three contents.

    `ratio`: style distance over that of the curve `baseline` as far from the content, and `within`, in how many contents.
    """
    known, found = at_equal_content(rows, baseline), []
    for setup in dict.fromkeys(row["setup"] for row in rows):
        mine = [row for row in rows if row["setup"] == setup]
        line: Row = {"curve": mine[0]["curve"], "setup": setup, "n": len(mine)}
        for measure in MEASURES:
            values = [float(row[measure]) for row in mine]
            line[measure] = float(np.mean(values))
            line |= _ends(measure, asdict(t_interval(values)) if len(values) > 2 else {})
        own, others = known.get(str(setup), ([], []))
        line |= {"within": len(own), "ratio": float(np.exp(np.mean(np.log(own) - np.log(others)))) if own else float("nan")}
        line |= _ends("ratio", asdict(ratio_interval(own, others)) if len(own) > 2 else {})
        found.append(line)
    return found


def _ends(measure: str, interval: dict[str, float]) -> Row:
    return {f"{measure} {end}": interval.get(end, float("nan")) for end in ("low", "high")}


def drawn(found: list[Row], kind: str = "style") -> figures.Figure:
    """Style distance against content distance: the mean over contents of every setup, a line for every curve."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in found:
        lines.setdefault(str(row["curve"]), []).append((float(row["away"]), float(row[kind])))
    series = {name: tuple(zip(*sorted(line), strict=True)) for name, line in lines.items()}
    what = "blend's Gram matrices" if kind == "style" else "Gram matrices of the whole corpus"
    return figures.curves(series, x_label="distance to the content", y_label=f"distance to the {what}")


def made_of(args: argparse.Namespace, ways: list[Setup], corpus: Corpus, judge: Encoder) -> dict:
    """The provenance of a figure: setups, contents, corpus, the judge, and the trained networks."""
    networks = {path: pv.sha256(path) for way in ways if (path := setups.network(way, corpus.name))}
    parameters = {"size": args.size, "setups": [asdict(way) for way in ways], "judge": judge.identity}
    contents = {Path(name).stem: inputs.content_path(name) for name in args.contents}
    weights = {judge.name: judge.weights_sha256, **{path.stem: digest for path, digest in networks.items()}}
    return pv.provenance(parameters, 0, {**contents, "corpus": corpus.root}, weights)


def arguments(description: str, size: int) -> argparse.ArgumentParser:
    """What every program needs that paints some contents after one corpus by setups."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--contents", nargs="+", required=True, help="image files, or sample photographs")
    parser.add_argument("--corpus", required=True, help="a folder, or a sample painter")
    parser.add_argument("--setups", type=Path, required=True, help="JSON file of setups")
    parser.add_argument("--judge", default="vgg19", help="an encoder that drove none of the setups")
    parser.add_argument("--size", type=int, default=size, help="long side of the results, px")
    return parser


def opened(args: argparse.Namespace) -> tuple[list[Setup], dict[str, Tensor], Corpus]:
    """Setups that exist, contents by name, and the corpus. UsageError before hours are spent."""
    ways, corpus = setups.read(args.setups), inputs.corpus(args.corpus)
    for way in ways:
        require(way.name != UNTOUCHED, f"no setup is called {UNTOUCHED}")
        way.made_with({"size": args.size}, corpus.name)
    contents = {inputs.content_path(name).stem: inputs.content(name) for name in args.contents}
    require(len(contents) == len(args.contents), "two contents have the same name")
    return ways, contents, corpus


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], 320)
    parser.add_argument("--baseline", default="", help="the curve that others are compared with (default: the first)")
    parser.add_argument("--out", type=Path, default=Path("runs/tradeoff"))
    args = parser.parse_args()
    ways, contents, corpus = opened(args)
    baseline = args.baseline or ways[0].curve
    require(baseline in {way.curve for way in ways}, f"--baseline is one of {', '.join({way.curve: 0 for way in ways})}")
    judge, rows = load_judge(args.judge), []
    for one in painted(ways, contents, corpus, judge, {"size": args.size}, args.out):
        rows.append(one.row)
        write_table(args.out / "tradeoff.csv", rows)
    found = points(rows, baseline)
    write_table(args.out / "points.csv", found)
    for line in found:
        says = ", ".join(f"{name} {line[name]:.3g}" for name in MEASURES)
        if line["within"]:
            ends = f" ({line['ratio low']:.3g} to {line['ratio high']:.3g})" if line["within"] > 2 else ""
            says += (
                f"; style over {baseline} as far from the content {line['ratio']:.3g}{ends}, {line['within']} of {line['n']}"
            )
        print(f"{line['setup']:24} {says}")
    paths = figures.save(drawn(found), args.out / "tradeoff", made_of(args, ways, corpus, judge))
    print(*paths, sep="\n")


if __name__ == "__main__":
    main()
