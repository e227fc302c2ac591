"""Do artist-level targets come nearer to the truth, and does the study rank methods as the truth does? Asked of many painters.

    python benchmarks/painters.py --out runs/painters
    python benchmarks/painters.py --out runs/painters --painters 4 --first 1 --contents 4

Painters are drawn at random (random_painters.py); a third of them ignore the subject. Each paints works of his own scenes,
some for the methods to see and some for the judge alone, and the truth: his own picture of the contents, scenes that all
painters share. The methods of the study paint the contents, "as photographs", after his works, with several content weights.
Every picture is measured as in the study, and by its distance to the truth: style and content by --critic, colour, strokes.

Writes OUT/painter-NN.csv, a row for every picture, content by content; in the end OUT/painters.csv, the same of all painters,
OUT/ratios.csv and OUT/agreement.csv, which it prints. What is there, or in painters/painter-NN.csv.gz beside this file, is
neither painted nor measured again. The levels of all intervals are painters; contents are averaged within.
"""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import random_painters
from PIL import Image
from random_painters import RandomPainter
from setups import loaded
from torch import Tensor

from workbench import images
from workbench.corpora import Corpus, Work, ingest
from workbench.encoders import Encoder
from workbench.encoders.remembering import Remembering
from workbench.errors import WorkbenchError
from workbench.generative import scenes
from workbench.images import colour
from workbench.metrics.distances import distances
from workbench.metrics.strokes import strokes_distance
from workbench.samples.works import fingerprint
from workbench.study import Artist, Cell, Content, Measures, Study, pack_table, read_table, summary, write_table
from workbench.study.design import ALPHAS
from workbench.study.intervals import Interval, interval, known_mean
from workbench.study.measures import CONTENT, Row
from workbench.study.validation import TRUTH, correlations
from workbench.transfer import Settings

METHODS = (
    "single",
    "random",
    "random-blend",
    "nearest",
    "blend",
    "cluster",
    "regions",
    "whole",
    "neighbours:nearest-6",
    "wrong:blend",
    "colours:blend",
)
BASELINES = ("random", "single", "random-blend")
KINDS = ("style", "content", "colour", "strokes")
MEASURES = ("odds", "depth", "leak", "detail", "self_similarity")
GENRES = ("landscape", "portrait", "still-life", "cityscape")
SEEN, UNSEEN = "seen", "unseen"
"""What the files of works begin with: those for the methods, and those for the judge."""
MEASURED = Path(__file__).parent / "painters"
"""Folder of painter-NN.csv.gz, what was measured on other machines."""
SCENE = 300
"""px. Long side of scenes, works and truths as they are painted."""
OWN, SHOT = 2_000_000, 1_500_000
"""Seeds of the first scene of the first painter's works, and of the photographs that the judge's probe knows."""


@dataclass(frozen=True)
class Painted(Artist):
    """An artist who has painted apart what the methods may see and what only the judge may."""

    def split(self, seed: int) -> tuple[Corpus, Corpus]:
        held = [work for work in self.corpus if work.name.startswith(UNSEEN)]
        seen = [work for work in self.corpus if work not in held]
        return self.corpus.exclude(held), self.corpus.exclude(seen)


class After(Study):
    """A study of its first artist; the second is there for what is painted after the wrong one."""

    def __iter__(self) -> Iterator[Cell]:
        first = next(iter(self.artists))
        return (cell for cell in super().__iter__() if cell.artist == first)


@dataclass
class AgainstTruth(Measures):
    """The measures of a study, and the distance of every picture to the truth, "true_" and one of KINDS.

    truths: content -> the painter's own picture, (1, 3, H, W); critic: measures the distances of style and content.
    """

    truths: Mapping[str, Tensor] = field(default_factory=dict)
    critic: Encoder | None = None

    def measured(self, cell: Cell, method: str, picture: Tensor) -> Row:
        truth = self.truths[cell.content]
        found = {**distances(picture, truth, self.critic), "strokes": strokes_distance(picture, truth)}
        return super().measured(cell, method, picture) | {f"true_{kind}": value for kind, value in found.items()}

    def _key(self, cell: Cell, method: str, picture: str, sources: Sequence[Work]) -> str:
        digest = hashlib.sha256(super()._key(cell, method, picture, sources).encode() + self.critic.identity.encode())
        digest.update(self.truths[cell.content].numpy().tobytes())
        return digest.hexdigest()[:16]


def seeds(each: int, first: int) -> dict[str, list[int]]:
    """genre -> the seeds of `each` scenes of it, counted from `first`."""
    found: dict[str, list[int]] = {genre: [] for genre in GENRES}
    seed = first
    while any(len(some) < each for some in found.values()):
        some = found.get(scenes.genre(seed), [])
        some += [seed] if len(some) < each else []
        seed += 1
    return found


def source() -> str:
    """A hash of the code that draws scenes and paints them: it names the folder of what is painted, so that none is stale."""
    digest = hashlib.sha256(fingerprint().encode())
    for file in (scenes.__file__, random_painters.__file__):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:12]


def picture(seed: int, painter: RandomPainter | None, chance: int = 1) -> Image.Image:
    """The scene of `seed` as `painter` paints it, with that chance of his hand; without a painter as a photograph."""
    scene = scenes.scene(seed, SCENE)
    if painter is None:
        return Image.fromarray((scene.image * 255).round().astype(np.uint8))
    return painter.paint(scene, seed=chance)


def corpus(folder: Path, plan: Mapping[str, Mapping[str, Sequence[int]]], painter: RandomPainter | None) -> Corpus:
    """Pictures of the scenes in `plan`, (how their names begin -> genre -> seeds), in `folder`: what is there stays."""
    rows = []
    for begin, genres in plan.items():
        for genre, seed in ((genre, seed) for genre, found in genres.items() for seed in found):
            rows.append({"file_name": f"{begin}-{genre}-{seed}.png", "artist": folder.name, "genre": genre})
            if not (folder / rows[-1]["file_name"]).is_file():
                images.save(picture(seed, painter, seed), folder / rows[-1]["file_name"])
    write_table(folder / "metadata.csv", rows)
    return ingest(folder)


def artist_of(number: int, folder: Path, seen: int, unseen: int) -> Painted:
    """The painter of `number` with as many works of each genre in his folder below `folder`: see `Painted`.

    The single painting is the landscape whose colours (Lab) are spread widest.
    """
    painter = random_painters.drawn(number)
    own = seeds(seen + unseen, OWN + 10_000 * number)
    plan = {SEEN: {g: found[:seen] for g, found in own.items()}, UNSEEN: {g: found[seen:] for g, found in own.items()}}
    works = corpus(folder / painter.name, plan, painter)
    landscapes = [work for work in works if work.name.startswith(f"{SEEN}-{GENRES[0]}")]
    return Painted(works, max(landscapes, key=lambda work: float(colour.lab(work.load(96)).std(dim=(2, 3)).sum())).name)


def contents_of(count: int, folder: Path) -> dict[int, Content]:
    """seed -> content: `count` scenes that no network learns from, of every genre in turn."""
    each = seeds(-(-count // len(GENRES)), scenes.HELD_OUT)
    chosen = [(genre, seed) for turn in zip(*each.values(), strict=True) for genre, seed in zip(GENRES, turn, strict=True)]
    works = {work.name: work for work in corpus(folder / "contents", {"scene": each}, None)}
    found = {}
    for genre, seed in chosen[:count]:
        work = works[f"scene-{genre}-{seed}.png"]
        found[seed] = Content(f"{genre}-{seed}", genre, work.load(), work.sha256)
    return found


def truths(number: int, contents: Mapping[int, Content], folder: Path, size: int) -> dict[str, Tensor]:
    """content -> what the painter of `number` would have painted, (1, 3, H, W), long side `size` px, kept in `folder`."""
    painter, found = random_painters.drawn(number), {}
    for seed, content in contents.items():
        path = folder / "truths" / f"{painter.name}-{content.name}.png"
        if not path.is_file():
            images.save(picture(seed, painter), path)
        found[content.name] = images.load(path, size)
    return found


def measured(measures: AgainstTruth) -> pd.DataFrame:
    """A row for every result of the first artist, the untouched contents, the controls, and the truth itself."""
    artist = next(iter(measures.study.artists))
    table = measures.results()
    cells = [Cell(artist, content, "single", 0) for content in measures.study.contents]
    truths = pd.DataFrame([measures.row(cell, TRUTH, measures.truths[cell.content]) for cell in cells])
    return pd.concat([table, truths.assign(registration="")], ignore_index=True)


def ratios(table: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> list[Row]:
    """For every group of painters, method and kind: its distance to the truth over that of BASELINES.

    `table`: as `summary.levelled` gives it. Geometric means: over the contents of a painter that both methods reach, then over
    painters, with a t interval over these (none of fewer than four). nearer: painters for whom it is below 1.
    """
    rows: list[Row] = []
    found = {(kind, p): summary.arrays(table, f"true_{kind}", p) for kind in KINDS for p in table["artist"].unique()}
    methods = [method for method in (*METHODS, CONTENT) if (table["method"] == method).any()]
    for group, names in groups.items():
        for kind in KINDS:
            for base, method in ((b, m) for b in BASELINES for m in methods if b in methods and m != b):
                pairs = [(found[kind, p][method], found[kind, p][base]) for p in names]
                logs = np.array([known_mean(np.log(one / other), (0, 1)) for one, other in pairs], dtype=float)
                ends = {end: np.exp(value) for end, value in vars(interval(logs)).items()}
                row = {"group": group, "kind": kind, "baseline": base, "method": method, **ends}
                rows.append(row | {"nearer": int((logs < 0).sum()), "painters": int((~np.isnan(logs)).sum())})
    return rows


def agreement(table: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> list[Row]:
    """For every group of painters, measure and kind: Spearman's correlation over methods of the measure and the distance.

    over "means": of the means of each method over the contents that all methods reach; over "contents": of single contents,
    the mean over these. One number per painter; the mean of these, with a t interval over painters (none of fewer than four).
    1: the measure ranks methods as the truth does. Larger counts as worse, but of `odds` and `depth`.
    """
    methods = [method for method in METHODS if (table["method"] == method).any()]
    columns = [f"true_{kind}" for kind in KINDS]
    own = table[table["method"].isin(methods)]
    reached = own.dropna(subset=columns).groupby(["artist", "content"])["method"].nunique()
    everywhere = own.set_index(["artist", "content"]).loc[reached[reached == len(methods)].index].reset_index()
    everywhere[columns] = np.log(everywhere[columns])
    means = everywhere.groupby(["artist", "method"], sort=False)[[*MEASURES, *columns]].mean().reset_index()
    means = means.assign(content=means["artist"], seed=0)
    rows: list[Row] = []
    for group, names in groups.items():
        each = {
            over: [correlations(part, MEASURES, methods, KINDS) if len(part) else {} for part in parts]
            for over, parts in {
                "means": [means[means["artist"] == name] for name in names],
                "contents": [own[own["artist"] == name] for name in names],
            }.items()
        }
        for over, found in each.items():
            for measure, kind in ((m, k) for m in MEASURES for k in KINDS):
                values = np.array([one[measure][kind].mean if measure in one else np.nan for one in found])
                row = {"group": group, "measure": measure, "kind": kind, "over": over, **vars(interval(values))}
                rows.append(row | {"painters": int((~np.isnan(values)).sum())})
    return rows


def said(out: Path, table: pd.DataFrame) -> None:
    """Write OUT/painters.csv, and ratios.csv and agreement.csv, which follow from it; print these two."""
    write_table(out / "painters.csv", table)
    levelled = summary.levelled(read_table(out / "painters.csv"))
    heed = {name: random_painters.drawn(int(name.rpartition("-")[2])).heeds for name in table["artist"].unique()}
    groups = {
        "all": list(heed),
        "heed": [name for name, heeds in heed.items() if heeds],
        "ignore": [name for name, heeds in heed.items() if not heeds],
    }
    groups = {group: names for group, names in groups.items() if names}
    tables = {"ratios": ratios(levelled, groups), "agreement": agreement(levelled, groups)}
    for name, rows in tables.items():
        write_table(out / f"{name}.csv", rows)
        for row in (row for row in rows if row["painters"]):
            words = " ".join(value for value in row.values() if isinstance(value, str))
            numbers = ", ".join(f"{value} {key}" for key, value in row.items() if isinstance(value, int))
            print(f"{words:48} {Interval(row['mean'], row['low'], row['high'])}, {numbers}")


def critic_of(name: str) -> Encoder:
    """The encoder `name`; without one VGG-19, or random weights where its weights are not there."""
    try:
        return loaded(name or "vgg19", precision="float32")
    except WorkbenchError:
        if name:
            raise
        print("no weights of vgg19: random weights measure the distance to the truth")
        return loaded("random", precision="float32")


def run(args: argparse.Namespace) -> None:
    """Paint and measure what is missing, painter by painter, and say what came of it."""
    driver, judge = loaded(args.encoder), loaded(args.judge, precision="float32")
    critic = Remembering(critic_of(args.critic))
    settings = Settings(method="gram", size=args.size, steps=args.steps, plateau=0)
    folder = args.out / f"painted-{source()}"
    contents = contents_of(args.contents, folder)
    shot = corpus(folder / "photographs", {"scene": seeds(args.unseen, SHOT)}, None).works
    artists = [artist_of(number, folder, args.seen, args.unseen) for number in range(args.painters)]
    others = {artist.name: artist.split(0)[1].works for artist in artists}
    tables = []
    for number, artist in enumerate(artists[: args.first or None]):
        study = After(
            list(contents.values()),
            [artist, artists[(number + 1) % len(artists)]],
            args.methods,
            driver,
            settings,
            seeds=(0,),
            alphas=args.alphas,
            draws=args.draws,
            folder=args.out / "pictures",
        )
        if args.workers > 1:
            study.paint(workers=args.workers)
        known = truths(number, contents, folder, args.size)
        file, packed = args.out / f"{artist.name}.csv", args.measured / f"{artist.name}.csv.gz"
        measures = AgainstTruth(study, judge, others, shot, file=file, earlier=packed, truths=known, critic=critic)
        tables.append(measured(measures))
        if args.pack:
            pack_table(packed, tables[-1][tables[-1]["key"] != ""])
        print(f"{artist.name}: {len(tables[-1])} rows", flush=True)
    said(args.out, pd.concat(tables, ignore_index=True))


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/painters"))
    parser.add_argument("--measured", type=Path, default=MEASURED, help="folder of painter-NN.csv.gz, which are taken over")
    parser.add_argument("--pack", action="store_true", help="add to these what is measured, when a painter is done")
    parser.add_argument("--painters", type=int, default=20, help="at least 2; the judge's probe tells each from the others")
    parser.add_argument("--first", type=int, default=0, help="paint after so many of them only; 0 is all")
    parser.add_argument("--contents", type=int, default=20)
    parser.add_argument("--seen", type=int, default=8, help="works of each genre that the methods see")
    parser.add_argument("--unseen", type=int, default=5, help="works of each genre that only the judge sees")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--alphas", type=float, nargs="+", default=list(ALPHAS), help="content weights, ascending")
    parser.add_argument("--draws", type=int, default=1, help="of what is drawn at random")
    parser.add_argument("--encoder", default="embedded", help="drives the transfers")
    parser.add_argument("--judge", default="random", help="takes the measures of the study")
    parser.add_argument("--critic", default="", help="measures the distance to the truth (default: vgg19, else random)")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1, help="results that are painted at a time")
    args = parser.parse_args(words)
    if args.painters < 2:
        parser.error(f"{args.painters} painters: give at least 2")
    return args


if __name__ == "__main__":
    run(options())
