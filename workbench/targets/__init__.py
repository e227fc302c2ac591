"""Style targets: which paintings, with which weights, where. From one picture to a whole oeuvre all are a StyleTarget."""

from workbench.targets.aggregation import bag_of_patches, guided_moments, moments, paintings, style_vectors
from workbench.targets.selection import (
    NAMES,
    TARGETS,
    TAU,
    Selection,
    blend,
    check_tau,
    check_words,
    cluster,
    keeping,
    mix,
    nearest,
    single,
    softmax_weights,
    weighted,
    whole,
)
from workbench.targets.target import Combination, Guide, StyleTarget, combination

__all__ = [
    "NAMES",
    "TARGETS",
    "TAU",
    "Combination",
    "Guide",
    "Selection",
    "StyleTarget",
    "bag_of_patches",
    "blend",
    "check_tau",
    "check_words",
    "cluster",
    "combination",
    "guided_moments",
    "keeping",
    "mix",
    "moments",
    "nearest",
    "paintings",
    "single",
    "softmax_weights",
    "style_vectors",
    "weighted",
    "whole",
]
