"""Are the measures themselves to be believed? Asked where the true painting is known, of the synthetic painters."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from workbench import images
from workbench.metrics.distances import distances
from workbench.study.design import Cell
from workbench.study.intervals import Interval, bootstrap
from workbench.study.measures import Measures, Row
from workbench.study.summary import value_of

TRUTH = "truth"
BLUR = 8  # px over which the blurred failure averages
ERRORS = ("style", "content", "colour")  # kinds of distance to the truth


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


def validated(measures: Measures, rows: Sequence[Row], truths: Mapping[tuple[str, str], Tensor]) -> list[Row]:
    """The rows of all results whose truth is known, and of the truth and its planted failures, with their true errors.

    truths: (artist, content) -> the painter's own picture, (1, 3, H, W) at the study's size. The errors `true_style`,
    `true_content` and `true_colour` are distances to the truth (`metrics.distances`), by the judge.
    """
    found = []
    for (artist, content), truth in truths.items():
        motif = (
            measures.study.artists[artist].corpus.find(measures.study.artists[artist].single).load(measures.study.settings.size)
        )
        for seed in measures.study.seeds:
            cell = Cell(artist, content, "single", seed)
            pictures = {TRUTH: truth, **planted(truth, motif)}
            for method, picture in pictures.items():
                found.append(measures.row(cell, method, picture) | _errors(picture, truth, measures))
            for row in rows:
                if (row["artist"], row["content"], row["seed"]) == (artist, content, seed) and row[
                    "method"
                ] in measures.study.methods:
                    picture = measures.study.picture(Cell(artist, content, str(row["method"]), seed))
                    found.append(row | _errors(picture, truth, measures))
    return found


def _errors(picture: Tensor, truth: Tensor, measures: Measures) -> Row:
    return {f"true_{kind}": value for kind, value in distances(picture, truth, measures.judge).items()}


def correlations(rows: Sequence[Row], names: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Interval]]:
    """measure -> error -> Spearman's rank correlation of the two over the results of `methods` for one content.

    The mean over artists and contents, with a bootstrap interval over them. 1: the measure puts the results in the order of
    their true errors; 0: it knows nothing of them. A measure that is the same for all results has no correlation.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["method"] in methods:
            groups.setdefault((str(row["artist"]), str(row["content"])), []).append(row)
    found: dict[str, dict[str, Interval]] = {}
    for name in names:
        values = [np.array([value_of(row, name) for row in group]) for group in groups.values()]
        for kind in ERRORS:
            errors = [np.array([float(row[f"true_{kind}"]) for row in group]) for group in groups.values()]
            each = [_spearman(value, error) for value, error in zip(values, errors, strict=True)]
            if not np.isnan(each).all():
                found.setdefault(name, {})[kind] = bootstrap(np.array(each)[:, None])
    return found


def _spearman(values: np.ndarray, errors: np.ndarray) -> float:
    known = ~np.isnan(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return float("nan")
    return float(spearmanr(values[known], errors[known]).statistic)
