"""From the tidy table of a study to what can be said of it: means with intervals, and paired differences with tests."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import kstest

from workbench.study.intervals import Difference, Interval, bootstrap, compared
from workbench.study.measures import CONTENT, OTHER, REAL, Row

CONTROLS = (REAL, OTHER)  # whose rows are single works, which no content is paired with
REFERENCES = ("single", "random")  # the method of Gatys et al., and what retrieval has to beat


def value_of(row: Row, measure: str) -> float:
    """`measure` of a row; NaN where it has none."""
    return float(row.get(measure, np.nan))


def arrays(rows: Sequence[Row], measure: str, artist: str) -> dict[str, np.ndarray]:
    """`measure` of an artist's results: method -> (contents, seeds) float, NaN where it has no value; all in one order."""
    mine = [row for row in rows if row["artist"] == artist and row["method"] not in CONTROLS]
    contents, seeds, methods = (list(dict.fromkeys(row[name] for row in mine)) for name in ("content", "seed", "method"))
    found = {method: np.full((len(contents), len(seeds)), np.nan) for method in methods}
    for row in mine:
        found[row["method"]][contents.index(row["content"]), seeds.index(row["seed"])] = value_of(row, measure)
    return found


def means(rows: Sequence[Row], measure: str, artist: str) -> dict[str, Interval]:
    """method -> mean of `measure` over contents, with the interval of `intervals.bootstrap`; without any value, it is out.

    Controls that are single works count each work once, by its mean over splits; works are drawn for the interval.
    """
    found = {
        method: bootstrap(values) for method, values in arrays(rows, measure, artist).items() if not np.isnan(values).all()
    }
    for control in CONTROLS:
        works: dict[str, list[float]] = {}
        for row in rows:
            if (row["artist"], row["method"]) == (artist, control):
                works.setdefault(str(row["content"]), []).append(value_of(row, measure))
        values = np.array([np.nanmean(v) if not np.isnan(v).all() else np.nan for v in works.values()])
        if len(values) > 1 and not np.isnan(values).all():
            found[control] = bootstrap(values[:, None])
    return found


def against(rows: Sequence[Row], measure: str, artist: str, reference: str = REFERENCES[0]) -> dict[str, Difference]:
    """method -> `measure` less that of `reference`, over the same contents and seeds: one family for Holm's correction.

    The untouched content is no method and takes no part. Empty where the study has no such reference.
    """
    found = arrays(rows, measure, artist)
    pairs = {
        method: (values, found[reference])
        for method, values in found.items()
        if reference in found and method not in (reference, CONTENT) and not np.isnan(values - found[reference]).all()
    }
    return compared(pairs) if pairs else {}


def uniform_p(rows: Sequence[Row], artist: str) -> dict[str, float]:
    """method -> p-value of the Kolmogorov-Smirnov test that its percentiles are those of real works: uniform on 0..1.

    One test for each seed, whose smallest p counts times the number of seeds (Bonferroni); contents are taken as independent.
    NaN below two contents. A method that always lands in the middle is not like real works either, and no mean shows it.
    """
    found = {}
    for method, values in arrays(rows, "percentile", artist).items():
        seeds = [column[~np.isnan(column)] for column in values.T]
        p = [float(kstest(column, "uniform").pvalue) for column in seeds if len(column) > 1]
        found[method] = min(1.0, min(p) * len(p)) if p else float("nan")
    return found


def table(rows: Sequence[Row], measures: Sequence[str], references: Sequence[str] = REFERENCES) -> list[Row]:
    """A row for every artist, measure and method: its mean and interval, and its difference from every reference with tests."""
    found: list[Row] = []
    for artist in dict.fromkeys(str(row["artist"]) for row in rows):
        even = uniform_p(rows, artist)
        for measure in measures:
            intervals = means(rows, measure, artist)
            differences = {r: against(rows, measure, artist, r) for r in references if r in intervals}
            for method, interval in intervals.items():
                row: Row = {"artist": artist, "judge": str(rows[0]["judge"]), "measure": measure, "method": method}
                row |= {"mean": interval.mean, "low": interval.low, "high": interval.high}
                if measure == "percentile" and method in even:
                    row["uniform_p"] = even[method]
                for reference, of in differences.items():
                    if d := of.get(method):
                        row |= {f"less_{reference}": d.mean, f"less_{reference}_low": d.low, f"less_{reference}_high": d.high}
                        row |= {f"less_{reference}_p_holm": d.p_holm, f"less_{reference}_visible": d.smallest}
                found.append(row)
    return found
