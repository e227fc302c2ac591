"""A crossed trial: contents by artists by setups, each picture judged by four measures that averaging does not please.

    python benchmarks/trial.py --contents a.jpg b.jpg --corpora corpora/* --artists vincent-van-gogh --setups setups.json

For setups see setups.py. Writes OUT/trial.csv, a row for every picture and every untouched content: `value`, log-odds of the
artist, and `place`, among his works of the content's genre (metrics.log_odds; trained on --corpora and --photographs); `rate`
of leaks, `expected` and `excess` (metrics.margin_leak); `away`, the distance to the content; `face`, how much of faces is
kept, where that can be measured. Prints their means over cells with t intervals. Pictures are kept in OUT/pictures and not
painted again; OUT/by_name has them under plain names. --curves draws log-odds and leaks against the distance to the content, a
line for the setups of one "curve": the weights of one family.

All works that a network learnt from count as its sources, whatever its target, and no probe is trained on sources: log-odds can
be taken of networks that learnt from a part of the artist's works.
"""

import argparse
from pathlib import Path

import numpy as np
import setups
from setups import Selections, Setup
from torch import Tensor

from workbench import figures, images, inputs, metrics
from workbench.corpora import Work, ingest
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.metrics.faces import faces_kept
from workbench.metrics.log_odds import ArtistOdds
from workbench.metrics.margin_leak import MarginLeaks
from workbench.study.intervals import t_interval
from workbench.study.tables import write_table

ODDS, LEAK = ("value", "place", "low", "median", "high"), ("rate", "expected", "excess")
MEASURES = ("value", "place", "rate", "excess", "away", "face")
UNTOUCHED = "content"
NAN = float("nan")
Row, Works = dict[str, str | float], tuple[Work, ...]
Content = tuple[Tensor, str, Works]


def contents_of(names: list[str]) -> dict[str, Content]:
    """stem -> (picture, genre, the picture as a work of its folder, if it is one); metadata.csv beside it says the genre."""
    found = {}
    for name in names:
        path = inputs.content_path(name)
        beside = ingest(path.parent) if Path(name).is_file() else ()
        works = tuple(work for work in beside if work.path == path.parent.resolve() / path.name)
        require(path.stem not in found, f"two contents are called {path.stem}")
        found[path.stem] = images.load(path), works[0].genre if works else "", works
    return found


def face_kept(content: Tensor, picture: Tensor) -> float:
    """The detector's confidence in the faces kept over that in the content's; NaN where the content has no face."""
    found = faces_kept(picture, content)
    return NAN if found is None else float(found.score)


def judged(picture: Tensor, sources: Works, of: Content, odds: ArtistOdds, leaks: MarginLeaks, judge: Encoder) -> Row:
    """The measures of one picture; one that cannot be taken is NaN. The content is not trained on, where it is a work."""
    content, genre, known = of
    row: Row = dict.fromkeys((*ODDS, *LEAK), NAN)
    try:
        found = odds.of(picture, sources=[*sources, *known], genre=genre)
        row |= {name: getattr(found, name) for name in ODDS}
    except UsageError as error:  # nearly all his works are sources
        print(f"no log-odds: {error}")
    if sources:
        taken = leaks.measure(picture, sources, content=content)
        row |= {name: getattr(taken, name) for name in LEAK}
    return {**row, "away": metrics.content_distance(picture, content, judge), "face": face_kept(content, picture)}


def measured(args: argparse.Namespace, ways: list[Setup], common: dict) -> list[Row]:
    """A row for every artist, content and setup, and for every untouched content; OUT/trial.csv grows by cells."""
    corpora = {corpus.name: corpus for corpus in map(inputs.corpus, args.corpora)}
    require(set(args.artists) <= set(corpora), f"--artists are names of --corpora: {', '.join(corpora)}")
    strangers = [work for name in args.photographs for work in inputs.corpus(name)]
    contents, judge, rows = contents_of(args.contents), setups.loaded(args.judge, precision="float32"), []
    for artist in args.artists:
        corpus = corpora[artist]
        others = [work for other in corpora.values() if other is not corpus for work in other] + strangers
        odds = ArtistOdds(judge, corpus.works, others, size=args.judge_size, show=True)
        print(f"{artist}: log-odds tell his works from others with an area under the ROC curve of {odds.probe.auc:.3f}")
        leaks = MarginLeaks(judge, corpus.works, args.judge_size)
        for name, of in contents.items():
            chosen = Selections(corpus, of[0])
            pictures: dict[str, tuple[Tensor, Works]] = {UNTOUCHED: (images.resize(of[0], args.size), ())}
            for way in ways:
                picture, target = setups.paint(way, chosen, common, args.out / "pictures", f"{name}_{artist}")
                pictures[way.name] = picture, setups.sources(way, target, corpus)
            curves = {UNTOUCHED: UNTOUCHED, **{way.name: way.curve for way in ways}}
            for setup, (picture, sources) in pictures.items():
                path = images.save(picture, args.out / "by_name" / artist / name / f"{setup}.png")
                found = judged(picture, sources, of, odds, leaks, judge)
                files = {"file": path.relative_to(args.out).as_posix(), "sources": "|".join(work.name for work in sources)}
                rows.append({"artist": artist, "content": name, "genre": of[1], "curve": curves[setup], "setup": setup})
                rows[-1] |= {**found, **files}
                print(artist, name, setup, *(f"{key} {found[key]:.3g}" for key in MEASURES), flush=True)
            write_table(args.out / "trial.csv", rows)
    return rows


def lines(rows: list[Row]) -> list[str]:
    """A line for every setup: means with t intervals over cells, without an interval where there are fewer than three."""
    found = [f"{'setup':18}" + "".join(f"{name:>32}" for name in MEASURES)]
    for setup in dict.fromkeys(row["setup"] for row in rows):
        cells = []
        for name in MEASURES:
            values = [row[name] for row in rows if row["setup"] == setup and row[name] == row[name]]  # but NaN
            cells.append(t_interval(values) if len(values) >= 3 else f"{np.mean(values):.3g}" if values else "-")
        found.append(f"{setup:18}" + "".join(f"{cell!s:>32}" for cell in cells))
    return found


def sheets(rows: list[Row], out: Path, sheet: Path) -> list[Path]:
    """A contact sheet for every artist, contents down and setups across."""
    made: list[Path] = []
    files = {(row["artist"], row["content"], row["setup"]): out / str(row["file"]) for row in rows}
    artists, contents, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("artist", "content", "setup"))
    for artist in artists:
        pictures = [[images.load(files[artist, content, setup]) for setup in names] for content in contents]
        figure = figures.grid(pictures, [str(content).replace("_", " ") for content in contents], names, title=str(artist))
        made += figures.save(figure, sheet.with_name(f"{sheet.stem}_{artist}"), dpi=150, suffixes=(".jpg",))
    return made


def curves(rows: list[Row], stem: Path) -> list[Path]:
    """Means over cells in which both could be taken: STEM_value and STEM_excess, against `away`, a point for every setup."""
    made: list[Path] = []
    for measure, label in (("value", "log-odds of the artist"), ("excess", "leaks beyond those expected")):
        lines: dict[str, list[np.ndarray]] = {}
        for curve, setup in dict.fromkeys((row["curve"], row["setup"]) for row in rows):
            pairs = [(row["away"], row[measure]) for row in rows if row["setup"] == setup and row[measure] == row[measure]]
            if pairs:
                lines.setdefault(curve, []).append(np.mean(pairs, axis=0))
        series = {curve: tuple(np.transpose(sorted(line, key=lambda point: point[0]))) for curve, line in lines.items()}
        figure = figures.curves(series, x_label="distance to the content", y_label=label, log=False)
        made += figures.save(figure, stem.with_name(f"{stem.name}_{measure}"), dpi=150)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contents", nargs="+", required=True, help="image files, or sample photographs")
    parser.add_argument("--corpora", nargs="+", required=True, help="folders of all artists, or sample painters")
    parser.add_argument("--artists", nargs="+", required=True, help="of these, by folder name, who is imitated")
    parser.add_argument("--photographs", nargs="*", default=[], help="folders of photographs, which he did not paint either")
    parser.add_argument("--setups", type=Path, required=True, help="JSON file of setups")
    parser.add_argument("--out", type=Path, default=Path("runs/trial"))
    parser.add_argument("--sheet", type=Path, metavar="OUT.jpg", help="a contact sheet for every artist, OUT_ARTIST.jpg")
    parser.add_argument(
        "--curves", type=Path, metavar="STEM", help="log-odds and leaks against content, STEM_value.png and so on"
    )
    parser.add_argument("--judge", default="vgg19")
    parser.add_argument("--judge-size", type=int, default=256, help="long side of pictures and works as they are judged, px")
    parser.add_argument("--size", type=int, default=384)
    args = parser.parse_args()
    ways, common = setups.read(args.setups), {"size": args.size}
    for way in ways:
        require(way.name != UNTOUCHED, f"no setup is called {UNTOUCHED}")
        for artist in args.artists:
            way.made_with(common, artist)  # before hours are spent
    rows = measured(args, ways, common)
    print("", *lines(rows), *(sheets(rows, args.out, args.sheet) if args.sheet else ()), sep="\n")
    print(*(curves(rows, args.curves) if args.curves else ()), sep="\n")


if __name__ == "__main__":
    main()
