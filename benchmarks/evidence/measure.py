"""Paints and measures the results of the registered study, those of its contrasts first, and packs what is measured.

    python benchmarks/evidence/measure.py runs/evidence.json --workers 2

Content by content, in as many sittings as it takes: what is measured lies in results_JUDGE.csv.gz beside this file, which
notebook 06 takes as `measured`, so that another machine goes on from there. Pictures are kept below --pictures until they are
measured by every judge; notebook 06 paints those that it shows. Ctrl-C loses the content at hand.
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench import encoders, tasks
from workbench.study import Cell, Measures, pack_table
from workbench.study.measures import CONTENT, Row
from workbench.study.registration import Design, Registration

HERE = Path(__file__).parent

Unit = tuple[str, str, int, tuple[str, ...]]
"""Artist, content, seed and methods: what is painted and measured at a time."""


def measured(measures: Sequence[Measures], unit: Unit) -> list[list[Row]]:
    """The rows of a unit by every judge, the untouched content first."""
    artist, content, seed, methods = unit
    study = measures[0].study
    cells = [cell for method in methods for cell in study.repeats(Cell(artist, content, method, seed))]
    first = Cell(artist, content, study.methods[0], seed)
    untouched = study.content_picture(first)
    rows = []
    for measure in measures:
        own = [measure.row(first, CONTENT, untouched), *map(measure.of_result, cells)]
        rows.append([row | {"registration": measure.registration} for row in own])
    return rows


def units(measures: Measures, methods: Iterable[str]) -> list[Unit]:
    """The units that `measures` has not measured yet, content by content."""
    study, methods = measures.study, tuple(methods)
    found = []
    for content in study.contents:
        for artist, seed in study.splits:
            cells = [c for method in methods for c in study.repeats(Cell(artist, content, method, seed))]
            if content in study.contents_of(artist) and not all(map(measures.knows, cells)):
                found.append((artist, content, seed, methods))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("design", type=Path, help="as notebook 06 takes it, such as make runs/evidence.json writes")
    parser.add_argument("--registration", type=Path, default=HERE / "registration.json")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results_JUDGE.csv.gz")
    parser.add_argument("--pictures", type=Path, default=Path("runs/evidence_pictures"))
    parser.add_argument("--workers", type=int, default=1, help="contents at a time")
    parser.add_argument("--methods", nargs="*", help="those of the contrasts first, then all others, unless they are named")
    arguments = parser.parse_args()

    design = Design.read(arguments.design)
    study = design.study(arguments.pictures)
    registered = Registration.load(arguments.registration)
    registered.check(study, design)
    files = [arguments.out / f"results_{judge}.csv.gz" for judge in design.judges]
    measures = [
        Measures(
            study,
            encoders.load(name, precision="float32"),
            others=design.painted,
            photographs=design.shot,
            registration=registered.sha256,
            earlier=file,
        )
        for name, file in zip(design.judges, files, strict=True)
    ]
    tested = registered.compared
    groups = [arguments.methods] if arguments.methods else [tested, [m for m in study.methods if m not in tested]]
    todo = [unit for methods in groups for unit in units(measures[-1], methods)]
    print(f"{len(todo)} contents to paint and measure", flush=True)
    for measure in measures:  # what all contents of an artist share is computed once, and sent to every process
        for cell in (study.cells(artist, seed)[0] for artist, seed in study.splits):
            measure.row(cell, CONTENT, study.content_picture(cell))
    begun = time.monotonic()
    for count, (place, rows) in enumerate(tasks.each(measured, measures, todo, workers=arguments.workers), 1):
        for file, own in zip(files, rows, strict=True):
            pack_table(file, own)
        artist, content, _, methods = todo[place]
        each = (time.monotonic() - begun) / count
        print(f"{count} of {len(todo)}: {content} after {artist}, {len(methods)} methods, {each:.0f} s each", flush=True)


if __name__ == "__main__":
    main()
