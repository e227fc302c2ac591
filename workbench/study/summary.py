"""From the tidy table of a study to what can be said of it: means with intervals, and paired differences with tests."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import kstest

from workbench.study.intervals import Difference, Interval, bootstrap, compared
from workbench.study.measures import CONTENT, OTHER, REAL

CONTROLS = (REAL, OTHER)
"""Methods whose rows are single works, with which no content is paired."""
REFERENCES = ("single", "random")
"""The method of Gatys et al., and one painting drawn at random, which retrieval has to beat."""


def arrays(results: pd.DataFrame, measure: str, artist: str) -> dict[str, np.ndarray]:
    """`measure` of an artist's results: method -> (contents, seeds) float, NaN where it has no value; all in one order."""
    own = results[(results["artist"] == artist) & ~results["method"].isin(CONTROLS)]
    own = own.reindex(columns=["method", "content", "seed", measure])
    contents, seeds = own["content"].unique(), own["seed"].unique()
    return {
        str(method): part.pivot(index="content", columns="seed", values=measure)
        .reindex(contents, columns=seeds)
        .to_numpy(float)
        for method, part in own.groupby("method", sort=False)
    }


def means(results: pd.DataFrame, measure: str, artist: str) -> dict[str, Interval]:
    """method -> mean of `measure` over contents, with the interval of `intervals.bootstrap`; without any value, it is out.

    Controls that are single works count each work once, by its mean over splits; works are drawn for the interval.
    """
    found = arrays(results, measure, artist)
    for control in CONTROLS:
        own = results[(results["artist"] == artist) & (results["method"] == control)].reindex(columns=["content", measure])
        works = own.groupby("content", sort=False)[measure].mean().to_numpy(float)[:, None]
        if len(works) > 1:
            found[control] = works
    return {method: bootstrap(values) for method, values in found.items() if not np.isnan(values).all()}


def against(results: pd.DataFrame, measure: str, artist: str, reference: str = REFERENCES[0]) -> dict[str, Difference]:
    """method -> `measure` less that of `reference`, over the same contents and seeds: one family for Holm's correction.

    The untouched content is no method and takes no part. Empty where the study has no such reference.
    """
    found = arrays(results, measure, artist)
    pairs = {
        method: (values, found[reference])
        for method, values in found.items()
        if reference in found and method not in (reference, CONTENT) and not np.isnan(values - found[reference]).all()
    }
    return compared(pairs) if pairs else {}


def uniform_p(results: pd.DataFrame, artist: str) -> dict[str, float]:
    """method -> p-value of the Kolmogorov-Smirnov test that its percentiles are those of real works: uniform on 0..1.

    One test for each seed, whose smallest p counts times the number of seeds (Bonferroni); contents are taken as independent.
    NaN below two contents. A method that always lands in the middle is not like real works either, and no mean shows it.
    """
    found = {}
    for method, values in arrays(results, "percentile", artist).items():
        seeds = [column[~np.isnan(column)] for column in values.T]
        p = [float(kstest(column, "uniform").pvalue) for column in seeds if len(column) > 1]
        found[method] = min(1.0, min(p) * len(p)) if p else float("nan")
    return found


def table(results: pd.DataFrame, measures: Sequence[str], references: Sequence[str] = REFERENCES) -> pd.DataFrame:
    """A row for every artist, measure and method: its mean and interval, and its difference from every reference with tests."""
    rows = []
    for artist in results["artist"].unique():
        even = uniform_p(results, artist)
        for measure in measures:
            intervals = means(results, measure, artist)
            differences = {r: against(results, measure, artist, r) for r in references if r in intervals}
            for method, interval in intervals.items():
                row = {"artist": artist, "judge": results["judge"].iloc[0], "measure": measure, "method": method}
                row |= {"mean": interval.mean, "low": interval.low, "high": interval.high}
                if measure == "percentile" and method in even:
                    row["uniform_p"] = even[method]
                for reference, of in differences.items():
                    if d := of.get(method):
                        row |= {f"less_{reference}": d.mean, f"less_{reference}_low": d.low, f"less_{reference}_high": d.high}
                        row |= {f"less_{reference}_p_holm": d.p_holm, f"less_{reference}_visible": d.smallest}
                rows.append(row)
    return pd.DataFrame(rows)
