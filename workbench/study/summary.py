"""From the tidy table of a study to what can be said of it: means with intervals, and paired differences with tests."""

from collections.abc import Sequence

import numpy as np

from workbench.study.intervals import Difference, Interval, bootstrap, compared, content_means, known_mean
from workbench.study.measures import CONTENT, OTHER, REAL, Row

CONTROLS = (REAL, OTHER)  # whose rows are single works, which no content is paired with
SINGLE = "single"


def extremity(row: Row) -> float:
    """|2 percentile - 1|: 0 in the middle of the artist's own unseen works, 1 beyond all of them, nearer or farther.

    A real unseen work has 1/2 on average.
    """
    return abs(2 * float(row["percentile"]) - 1)


def value_of(row: Row, measure: str) -> float:
    """`measure` of a row, "extremity" among them; NaN where it has none."""
    return extremity(row) if measure == "extremity" else float(row.get(measure, np.nan))


def arrays(rows: Sequence[Row], measure: str, artist: str) -> dict[str, np.ndarray]:
    """`measure` of an artist's results: method -> (contents, seeds) float, NaN where it has no value; all in one order."""
    mine = [row for row in rows if row["artist"] == artist and row["method"] not in CONTROLS]
    contents, seeds, methods = (list(dict.fromkeys(row[name] for row in mine)) for name in ("content", "seed", "method"))
    found = {method: np.full((len(contents), len(seeds)), np.nan) for method in methods}
    for row in mine:
        found[row["method"]][contents.index(row["content"]), seeds.index(row["seed"])] = value_of(row, measure)
    return found


def means(rows: Sequence[Row], measure: str, artist: str) -> dict[str, Interval]:
    """method -> mean of `measure` over contents, with the interval of `intervals.bootstrap`; without any value, it is out."""
    found = {
        method: bootstrap(values) for method, values in arrays(rows, measure, artist).items() if not np.isnan(values).all()
    }
    for control in CONTROLS:
        values = [value_of(row, measure) for row in rows if row["artist"] == artist and row["method"] == control]
        if len(values) > 1 and not np.isnan(values).all():
            found[control] = bootstrap(np.array(values)[:, None])
    return found


def against(rows: Sequence[Row], measure: str, artist: str, reference: str = SINGLE) -> dict[str, Difference]:
    """method -> `measure` less that of `reference`, over the same contents and seeds: one family for Holm's correction.

    The untouched content is no method and takes no part.
    """
    found = arrays(rows, measure, artist)
    pairs = {
        method: (values, found[reference])
        for method, values in found.items()
        if method not in (reference, CONTENT) and not np.isnan(values - found[reference]).all()
    }
    return compared(pairs) if pairs else {}


def overall(rows: Sequence[Row], measure: str, artist: str) -> dict[str, float]:
    """method -> mean of `measure`, every content counting alike."""
    return {m: float(known_mean(content_means(v))) for m, v in arrays(rows, measure, artist).items() if not np.isnan(v).all()}


def table(rows: Sequence[Row], measures: Sequence[str], reference: str = SINGLE) -> list[Row]:
    """A row for every artist, measure and method: its mean and interval, and its difference from `reference` with tests."""
    found: list[Row] = []
    for artist in dict.fromkeys(row["artist"] for row in rows):
        for measure in measures:
            differences = against(rows, measure, artist, reference)
            for method, interval in means(rows, measure, artist).items():
                row: Row = {"artist": artist, "judge": str(rows[0]["judge"]), "measure": measure, "method": method}
                row |= {"mean": interval.mean, "low": interval.low, "high": interval.high}
                if method in differences:
                    d = differences[method]
                    row |= {"difference": d.mean, "difference_low": d.low, "difference_high": d.high}
                    row |= {"p": d.p, "p_holm": d.p_holm, "smallest_visible": d.smallest, "contents": d.n}
                found.append(row)
    return found
