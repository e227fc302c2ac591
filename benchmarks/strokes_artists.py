"""How broad and long are the strokes of several artists, and of one in different years?

    python benchmarks/strokes_artists.py --corpora corpora/* --out runs/strokes_artists --figure figures/strokes_by_artist
    ... --periods vincent-van-gogh=1886,1888,1889 claude-monet=1880,1890,1900

OUT/strokes_artists.csv has a row for every work, as `strokes.hand` estimates it: width and length as shares of the long side,
its width in pixels, and both once more on the work at SMALL px, because what a reproduction does not resolve looks broader.
OUT/summary.csv and the figure have geometric means with t intervals over series and lone works, of artists and periods with at
least FEWEST of them. Works that are in the table already are not measured again.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import figures, images, inputs, progress
from workbench import provenance as pv
from workbench.corpora import Work
from workbench.strokes import hand
from workbench.study.intervals import Interval, t_interval
from workbench.study.tables import read_table, write_table

SMALL = 400
"""px. Long side of the control."""
FEWEST = 6
"""Series or lone works of an artist or period."""
RESOLVED = 4.0
"""px. Estimated width below which a reproduction may show less than there is: strokes narrower than 3 px cannot be found."""
Row = dict[str, str | float]


def measured(work: Work, artist: str) -> Row:
    """A row of the table."""
    size = min(hand.LARGEST, max(work.width, work.height, images.SMALLEST))
    found, small = (hand.of_picture(work.load(min(size, limit))) for limit in (hand.LARGEST, SMALL))
    known: Row = {"artist": artist, "file": work.name, "sha256": work.sha256, "group": work.group}
    known["year"] = work.metadata.get("year", "")
    widths = {"width": found.width, "length": found.length, "width_px": found.width * size}
    return {**known, **widths, "small_width": small.width, "small_length": small.length}


def groups(table: pd.DataFrame, periods: dict[str, list[int]]) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, rows) of every artist, by the length of strokes, and of the periods that begin in the years given."""
    typical = np.log(table["length"]).groupby(table["artist"]).mean()
    for artist in typical.sort_values().index:
        rows = table[table["artist"] == artist]
        yield str(artist), rows
        years, begins = pd.to_numeric(rows["year"], errors="coerce"), periods.get(str(artist), [])
        if begins:
            yield f"{artist}, before {begins[0]}", rows[years < begins[0]]
            for begin, end in pairwise(begins):
                name = f"{begin} to {end - 1}" if end - 1 > begin else f"{begin}"
                yield f"{artist}, {name}", rows[(years >= begin) & (years < end)]
            yield f"{artist}, from {begins[-1]}", rows[years >= begins[-1]]


def mean(rows: pd.DataFrame, kind: str) -> Interval:
    """The geometric mean of `kind` over series and lone works, per cent, with its t interval."""
    logs = np.log(100 * rows[kind].astype(float)).groupby(rows["group"]).mean()
    found = t_interval(logs.to_numpy())
    return Interval(*(float(np.exp(value)) for value in (found.mean, found.low, found.high)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--periods", nargs="+", default=[], metavar="ARTIST=YEAR,YEAR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args(arguments)
    path = args.out / "strokes_artists.csv"
    known = {row["sha256"]: row for row in read_table(path).to_dict("records")} if path.exists() else {}
    works = [(work, corpus.name) for corpus in map(inputs.corpus, args.corpora) for work in corpus]
    for work, artist in progress.track(works, total=len(works), label="strokes", show=True):
        if work.sha256 not in known:
            known[work.sha256] = measured(work, artist)
            write_table(path, list(known.values()))
    table = read_table(path)
    table = table[table["sha256"].isin([work.sha256 for work, _ in works])]
    periods = {name: [int(year) for year in years.split(",")] for name, _, years in (p.partition("=") for p in args.periods)}
    summary, lengths, notes = [], {}, {}
    for name, rows in groups(table, periods):
        if rows["group"].nunique() < FEWEST:
            continue
        row: Row = {"name": name, "groups": rows["group"].nunique()}
        for kind in ("width", "length", "small_width", "small_length"):
            found = mean(rows, kind)
            row |= {kind: found.mean, f"{kind}_low": found.low, f"{kind}_high": found.high}
        row["unresolved"] = float((rows["width_px"] < RESOLVED).mean())
        summary.append(row)
        lengths[name] = row["length"], row["length_low"], row["length_high"]
        unresolved = f"; {row['unresolved']:.0%} of works too coarse for the width" if row["unresolved"] else ""
        notes[name] = f"{row['groups']} series or works, width {row['width']:.2f} %{unresolved}"
    write_table(args.out / "summary.csv", summary)
    print(pd.DataFrame(summary).round(3).to_string(index=False))
    if args.figure:
        label = "length of strokes, % of the long side: geometric means, 95 % t intervals over series and lone works"
        figure = figures.intervals(lengths, title="Strokes by artist and period", x_label=label, marks=notes)
        corpora = {Path(name).name: inputs.corpus(name).root for name in args.corpora}
        record = pv.provenance({"periods": args.periods}, 0, corpora, {})
        figures.save(figure, args.figure, {"benchmark": Path(__file__).stem, **record}, suffixes=(".png",))


if __name__ == "__main__":
    main()
