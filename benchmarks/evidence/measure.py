"""Paints and measures the results of the registered study, those of its contrasts first, and packs what is measured.

    python benchmarks/evidence/measure.py runs/evidence.json --workers 2

Content by content, in as many sittings as it takes: what is measured lies in results_JUDGE.csv.gz beside this file, which
notebook 06 takes as `measured`, so that another machine goes on from there. The registered contrasts are written to
contrasts.csv there as soon as their methods are measured on every content. Pictures are kept below --pictures until they are
measured by every judge; notebook 06 paints those that it shows. Ctrl-C loses the content at hand. OMP_NUM_THREADS is to be 1 in
every sitting: rows are known by fingerprints, which the last bits of a sum over paintings decide, too.
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from workbench import encoders, tasks
from workbench.study import Cell, Measures, Study, pack_table, summary, write_table
from workbench.study.measures import CONTENT, Row
from workbench.study.registration import Design, Registration

HERE = Path(__file__).parent

Unit = tuple[str, str, int, tuple[str, ...]]
"""Artist, content, seed and methods: what is painted and measured at a time."""


def cells_of(study: Study, unit: Unit) -> list[Cell]:
    """Every draw and content weight of a unit."""
    artist, content, seed, methods = unit
    return [cell for method in methods for cell in study.repeats(Cell(artist, content, method, seed))]


def measured(measures: Sequence[Measures], unit: Unit) -> list[list[Row]]:
    """The rows of a unit by every judge, the untouched content first."""
    artist, content, seed, _ = unit
    study = measures[0].study
    cells = cells_of(study, unit)
    first = Cell(artist, content, study.methods[0], seed)
    untouched = study.content_picture(first)
    rows = []
    for measure in measures:
        own = [measure.row(first, CONTENT, untouched), *map(measure.of_result, cells)]
        rows.append([row | {"registration": measure.registration} for row in own])
    return rows


def units(study: Study, methods: Iterable[str]) -> list[Unit]:
    """The units of `methods`, content by content."""
    return [
        (artist, content, seed, tuple(methods))
        for content in study.contents
        for artist, seed in study.splits
        if content in study.contents_of(artist)
    ]


def left(measures: Measures, methods: Iterable[str]) -> list[Unit]:
    """The units that `measures` has not measured yet."""
    study = measures.study
    return [unit for unit in units(study, methods) if not all(map(measures.knows, cells_of(study, unit)))]


def contrasts(measures: Sequence[Measures], registered: Registration) -> pd.DataFrame:
    """The registered contrasts, as notebook 06 has them, from measured results."""
    found = []
    for measure in measures:
        study = measure.study
        rows = [measure.of_result(cell) for unit in units(study, registered.compared) for cell in cells_of(study, unit)]
        table = pd.DataFrame([row | {"registration": registered.sha256} for row in rows])
        passed = {artist: measure.gate.passed(artist) for artist in study.artists}
        found.append((summary.levelled(table, registered.compared), passed))
    (first, passed), *others = found
    return summary.contrasts(first, registered, passed, others)


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
    todo = [unit for methods in groups for unit in left(measures[-1], methods)]
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

    measures = [replace(measure) for measure in measures]  # with what was packed meanwhile
    if not left(measures[-1], tested):
        write_table(arguments.out / "contrasts.csv", contrasts(measures, registered))


if __name__ == "__main__":
    main()
