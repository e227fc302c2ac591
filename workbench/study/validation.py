"""Are the measures themselves to be believed? Asked where the true painting is known, of the synthetic painters."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder
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


def validated(measures: Measures, rows: Sequence[Row], truths: Mapping[tuple[str, str], Tensor], eye: Encoder) -> list[Row]:
    """The rows of all results whose truth is known, and of the truth and its planted failures, with their true errors.

    truths: (artist, content) -> the painter's own picture, (1, 3, H, W) at the study's size. The errors `true_style`,
    `true_content` and `true_colour` are distances to the truth (`metrics.distances`), by `eye`, which should be another encoder
    than the judge, or the two share their blind spots.
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
                found.append(measures.row(cell, method, picture) | _errors(picture, truth, eye))
            for row in rows:
                if (row["artist"], row["content"], row["seed"]) == (artist, content, seed) and row[
                    "method"
                ] in measures.study.methods:
                    picture = measures.study.picture(Cell(artist, content, str(row["method"]), seed))
                    found.append(row | _errors(picture, truth, eye))
    return found


def _errors(picture: Tensor, truth: Tensor, eye: Encoder) -> Row:
    return {f"true_{kind}": value for kind, value in distances(picture, truth, eye).items()}


def correlations(rows: Sequence[Row], names: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Interval]]:
    """measure -> error -> Spearman's rank correlation of the two over the results of `methods` for one content.

    For each split by itself, whose units are its own; the mean over artists, contents and seeds, with a bootstrap interval
    over artists and contents. 1: the measure puts the results in the order of their true errors; 0: it knows nothing of them.
    Of `detail` the size counts. A measure that is the same for all results has no correlation.
    """
    kept = [row for row in rows if row["method"] in methods]
    pairs = list(dict.fromkeys((row["artist"], row["content"]) for row in kept))
    seeds = list(dict.fromkeys(row["seed"] for row in kept))
    found: dict[str, dict[str, Interval]] = {}
    for name, kind in itertools.product(names, ERRORS):
        each = np.full((len(pairs), len(seeds)), np.nan)
        for (i, pair), (j, seed) in itertools.product(enumerate(pairs), enumerate(seeds)):
            own = [row for row in kept if (row["artist"], row["content"], row["seed"]) == (*pair, seed)]
            values = np.array([value_of(row, name) for row in own])
            errors = np.array([float(row[f"true_{kind}"]) for row in own])
            each[i, j] = _spearman(np.abs(values) if name == "detail" else values, errors)
        if not np.isnan(each).all():
            found.setdefault(name, {})[kind] = bootstrap(each)
    return found


def rank_of_truth(rows: Sequence[Row], name: str) -> float:
    """How often the truth scores no worse by measure `name` than another picture of the same content, in [0, 1].

    Worse is larger, and of `detail` larger in size; 1: the truth is always best. NaN where it has no value.
    """
    wins = []
    for truth in (row for row in rows if row["method"] == TRUTH):
        where = (truth["artist"], truth["content"], truth["seed"])
        for row in rows:
            if (row["artist"], row["content"], row["seed"]) == where and row["method"] != TRUTH:
                a, b = (abs(value_of(r, name)) for r in (truth, row))
                if not np.isnan([a, b]).any():
                    wins.append(a <= b)
    return float(np.mean(wins)) if wins else float("nan")


def _spearman(values: np.ndarray, errors: np.ndarray) -> float:
    known = ~np.isnan(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return float("nan")
    return float(spearmanr(values[known], errors[known]).statistic)
