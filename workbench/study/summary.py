"""From the tidy table of a study to what can be said of it: methods at one content distance, means, registered contrasts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench.metrics.log_odds import depth
from workbench.study.intervals import Interval, compared, content_means, interval, known_mean
from workbench.study.measures import CONTENT, OTHER, REAL
from workbench.study.registration import LEVEL, POWER, Contrast, Registration

CONTROLS = (REAL, OTHER)
"""Methods whose rows are single works, with which no content is paired."""
CELL = ["artist", "content", "seed"]
"""Columns that say which pictures are compared with each other."""
COMMON, OWN, MISSED = "common", "its own", "not reached"
"""Content distances of a row: that of all methods, that of a method without a content weight, none."""
FIXED = ("seed", "level", "draw", "alpha", "key", "registration", "depth")
"""Columns that are no measurements, or follow from one."""


def levelled(results: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """`results` with one row for every cell and draw, at the content distance of its content and seed: column `at`.

    Every measure is read between the content weights, linearly in the logarithm of the content distance. That distance is the
    middle of the range that all methods `by` reach, all by default, or the median of their distances where there is no such
    range. What is not reached is NaN, not extrapolated; a method without a content weight keeps its own distance.
    """
    if "content_distance" not in results:
        return results.assign(at=OWN)
    single = results["method"].isin((*CONTROLS, CONTENT))
    numbers = [name for name in results.select_dtypes("number") if name not in FIXED]
    rows = results[single].assign(at=OWN).to_dict("records")
    for _, cell in results[~single].groupby(CELL, sort=False):
        curves = [curve for _, curve in cell.groupby(["method", "draw"], sort=False)]
        deciding = [_logs(curve) for curve in curves if len(curve) > 1 and (not by or curve["method"].iloc[0] in by)]
        middle = _middle(deciding)
        for curve in curves:
            row = curve.iloc[0].to_dict()
            if len(curve) == 1:
                rows.append(row | {"at": OWN})
                continue
            x = _logs(curve)
            order, reached = np.argsort(x), x.min() <= middle <= x.max()
            found = {name: np.interp(middle, x[order], curve[name].to_numpy(float)[order]) for name in numbers}
            found["content_distance"] = np.exp(middle)
            found = found if reached else dict.fromkeys(numbers, np.nan)
            rows.append(row | found | {"at": COMMON if reached else MISSED, "alpha": np.nan, "key": ""})
    table = pd.DataFrame(rows)
    if "place" in table:
        table["depth"] = depth(table["place"])
    return table


def _logs(curve: pd.DataFrame) -> np.ndarray:
    return np.log(np.maximum(curve["content_distance"].to_numpy(float), 1e-6))


def _middle(curves: Sequence[np.ndarray]) -> float:
    """The middle of the range that all `curves` of log distances reach, or the median of all their points; NaN of none."""
    if not curves:
        return float("nan")
    low, high = max(curve.min() for curve in curves), min(curve.max() for curve in curves)
    return float((low + high) / 2 if low <= high else np.median(np.concatenate(curves)))


def arrays(results: pd.DataFrame, measure: str, artist: str) -> dict[str, np.ndarray]:
    """`measure` of an artist's results, the mean over draws: method -> (contents, seeds) float, NaN where it has no value."""
    own = results[(results["artist"] == artist) & ~results["method"].isin(CONTROLS)]
    own = own.reindex(columns=["method", "content", "seed", measure])
    contents, seeds = own["content"].unique(), own["seed"].unique()
    return {
        str(method): part.groupby(["content", "seed"], sort=False)[measure]
        .mean()
        .unstack()
        .reindex(contents, columns=seeds)
        .to_numpy(float)
        for method, part in own.groupby("method", sort=False)
    }


def means(results: pd.DataFrame, measure: str, artist: str) -> dict[str, Interval]:
    """method -> mean of `measure` over contents, with its `intervals.interval`; a method without any value is left out.

    Controls that are single works count each work once, by its mean over splits; works are then the levels.
    """
    found = arrays(results, measure, artist)
    for control in CONTROLS:
        own = results[(results["artist"] == artist) & (results["method"] == control)].reindex(columns=["content", measure])
        works = own.groupby("content", sort=False)[measure].mean().to_numpy(float)[:, None]
        if len(works) > 1:
            found[control] = works
    return {method: interval(values) for method, values in found.items() if not np.isnan(values).all()}


def contrasts(
    results: pd.DataFrame,
    registration: Registration,
    passed: dict[str, bool],
    others: Sequence[tuple[pd.DataFrame, dict[str, bool]]] = (),
) -> pd.DataFrame:
    """The registered contrasts, a row each, all in one family for Holm's correction, from `levelled` results of the first
    judge.

    passed: artist -> whether the judge passed the gate for him; others: the same of the judges that are not tested. `judges`
    counts those of them that passed, and `agree` those whose mean difference has the same sign. A contrast without a value has
    no p and keeps its place in the family, whose size was registered.
    """
    pairs = {one: _pair(results, one) for one in registration.contrasts}
    differences = compared(pairs, confidence=1 - LEVEL, power=POWER, family=len(registration.contrasts)) if pairs else {}
    rows = []
    for one, d in differences.items():
        row = {"artist": one.artist, "judge": results["judge"].iloc[0], "endpoint": one.endpoint}
        row |= {"first": one.first, "second": one.second, "less": d.mean, "low": d.low, "high": d.high, "p": d.p}
        row |= {"p_holm": d.p_holm, "visible": d.smallest, "contents": d.n, "left_out": len(pairs[one][0]) - d.n}
        further = [np.subtract(*_pair(found, one)) for found, trusted in others if trusted[one.artist]]
        agree = sum(known_mean(content_means(less), 0) * d.mean > 0 for less in further)
        row |= {"judges": len(further), "agree": int(agree)}
        rows.append(row | {"judge_passed": passed[one.artist], "registration": registration.sha256})
    return pd.DataFrame(rows)


def _pair(results: pd.DataFrame, one: Contrast) -> tuple[np.ndarray, np.ndarray]:
    """The endpoint of both methods of a contrast, (contents, seeds) each."""
    found = arrays(results, one.endpoint, one.artist)
    return found[one.first], found[one.second]


def table(results: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """A row for every artist, measure and method: mean, interval and contents with a value. No tests: see `contrasts`."""
    rows = []
    for artist in results["artist"].unique():
        for measure in measures:
            counts = {m: int((~np.isnan(v).all(axis=1)).sum()) for m, v in arrays(results, measure, artist).items()}
            for method, found in means(results, measure, artist).items():
                row = {"artist": artist, "judge": results["judge"].iloc[0], "measure": measure, "method": method}
                row |= {"mean": found.mean, "low": found.low, "high": found.high, "contents": counts.get(method, np.nan)}
                rows.append(row | {"registration": _one(results)})
    return pd.DataFrame(rows)


def _one(results: pd.DataFrame) -> str:
    return str(results["registration"].iloc[0]) if "registration" in results else ""
