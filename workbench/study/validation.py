"""Whether the measures can be believed: against the true painting, which is known of the synthetic painters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy  # stats is loaded when it is first used, which takes a second
import torch.nn.functional as F
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder
from workbench.metrics.distances import distances
from workbench.study.design import Cell
from workbench.study.intervals import Interval, interval
from workbench.study.measures import Measures, Row

TRUTH = "truth"
"""Name, among methods, of the painter's own picture."""
BLUR = 8
"""px over which the blurred failure averages."""
ERRORS = ("style", "content", "colour")
"""Kinds of distance to the truth."""
CELL = ["artist", "content", "seed"]
"""Columns that say which pictures are measured on the same content, against the same works."""


def planted(truth: Tensor, motif: Tensor) -> dict[str, Tensor]:
    """Failures made from the true painting, (1, 3, H, W) in [0, 1]: name -> picture.

    pasted: a piece out of the middle of `motif`, another painting, in its upper left; recoloured: red, green and blue change
    places; blurred: no brush is left.
    """
    height, width = truth.shape[-2:]
    side = min(height, width) // 3
    like = images.resize(motif, max(height, width))
    top, left = (max(0, (n - side) // 2) for n in like.shape[-2:])
    pasted = truth.clone()
    piece = like[..., top : top + side, left : left + side]
    pasted[..., side // 4 : side // 4 + piece.shape[-2], side // 4 : side // 4 + piece.shape[-1]] = piece
    small = F.avg_pool2d(truth, BLUR, ceil_mode=True, count_include_pad=False)
    return {"pasted": pasted, "recoloured": truth[:, [1, 2, 0]], "blurred": images.resize(small, (height, width))}


def validated(
    measures: Measures, results: pd.DataFrame, truths: Mapping[tuple[str, str], Tensor], encoder: Encoder
) -> pd.DataFrame:
    """The rows of `results` whose truth is known, with the middle content weight, of the truth, and of its planted failures.

    truths: (artist, content) -> the painter's own picture, (1, 3, H, W) at the study's size. The errors `true_style`,
    `true_content` and `true_colour` are distances to the truth (`metrics.distances`), by `encoder`, which should be another
    than the judge, or the two share their blind spots.
    """
    study = measures.study
    found: list[Row] = []
    for (artist, content), truth in truths.items():
        single = study.artists[artist]
        motif = single.corpus.find(single.single).load(study.settings.size)
        for seed in study.seeds:
            cell = Cell(artist, content, "single", seed)
            for method, picture in {TRUTH: truth, **planted(truth, motif)}.items():
                found.append(measures.row(cell, method, picture) | _errors(picture, truth, encoder))
            same = (results[CELL] == [artist, content, seed]).all(axis=1)
            for row in results[same & results["method"].isin(study.methods)].to_dict("records"):
                made = replace(cell, method=row["method"], level=int(row["level"]), draw=int(row["draw"]))
                if made == study.middle(made):
                    found.append(row | _errors(study.picture(made), truth, encoder))
    return pd.DataFrame(found).assign(registration=measures.registration)


def _errors(picture: Tensor, truth: Tensor, encoder: Encoder) -> Row:
    return {f"true_{kind}": value for kind, value in distances(picture, truth, encoder).items()}


def correlations(
    table: pd.DataFrame, names: Sequence[str], methods: Sequence[str], errors: Sequence[str] = ERRORS
) -> dict[str, dict[str, Interval]]:
    """measure -> error -> Spearman's rank correlation of the two over the results of `methods` for one content.

    `table`: from `validated`, with a column "true_" of each of `errors`. The mean over artists, contents and splits, with an
    interval over contents. 1: the measure puts the results in the order of their true errors; 0: it is independent of them.
    Larger counts as worse, but of `odds` and `depth`; of `detail` the size counts. A measure that is the same for all results
    has no correlation.
    """
    cells = table[table["method"].isin(methods)].groupby(CELL, sort=False)
    found: dict[str, dict[str, Interval]] = {}
    for name in names:
        for kind in errors:
            each = {cell: _spearman(_badness(own, name), own[f"true_{kind}"].to_numpy(float)) for cell, own in cells}
            values = pd.Series(each).rename_axis(CELL).groupby("content", sort=False).mean().to_numpy(float)
            if not np.isnan(values).all():
                found.setdefault(name, {})[kind] = interval(values)
    return found


def rank_of_truth(table: pd.DataFrame, name: str) -> float:
    """How often the truth scores no worse by measure `name` than another picture of the same content, in [0, 1].

    `table`: from `validated`. Worse is larger, of `odds` and `depth` smaller, and of `detail` larger in size; 1: the truth is
    always best. NaN where it has no value.
    """
    scores = table[CELL].assign(score=_badness(table, name))
    truth = table["method"] == TRUTH
    pairs = scores[truth].merge(scores[~truth], on=CELL, suffixes=("", "_other")).dropna()
    return float((pairs["score"] <= pairs["score_other"]).mean())


def _badness(table: pd.DataFrame, name: str) -> np.ndarray:
    """Measure `name` of every row, (n,), larger being worse; NaN where it has none."""
    values = table.reindex(columns=[name])[name].to_numpy(float)
    return np.abs(values) if name == "detail" else -values if name in ("odds", "depth") else values


def _spearman(values: np.ndarray, errors: np.ndarray) -> float:
    known = ~np.isnan(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return float("nan")
    return float(scipy.stats.spearmanr(values[known], errors[known]).statistic)
