"""What a distillation is made of: the student's shape, the data held out, and the training; in stages, if need be."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from workbench.corpora import Corpus, Work
from workbench.errors import UsageError, require
from workbench.storage import parse_json, read_text

Optimiser = Literal["adamw", "muon"]
SHIPPED = Path(__file__).with_name("recipe.json")
"""File of the recipe of the weights in the package."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a stage of training, apart from the pictures, the machine and the network it begins from."""

    widths: dict[str, int]
    """Layer -> channels, in order of depth; a layer starts as the teacher's layer of the same name, or, in a later stage and
    where it is no wider than before, as what the stage before made of it."""
    components: dict[str, int]
    """Tapped layer -> principal directions of the teacher's features that are predicted there."""
    embedding: list[str]
    """Layers of the student whose channel means the image embedding is made from."""
    held_out: dict[str, int | None]
    """Folder name -> works kept out of training, the first by hash; null is all of them."""
    crop: int = 192
    """Side of a crop, px."""
    batch: int = 8
    """Crops a step."""
    steps: int = 1000
    pool: int = 384
    """Crops at hand with the teacher's answers, of which every step draws a batch."""
    fresh: int = 2
    """Crops of the pool that every step replaces."""
    visited: float = 0.3
    """Share of the pool that stylisations by the student itself take up: the pictures its own optimisation passes through."""
    visit_every: int = 50
    """Steps between two such stylisations."""
    start: int = 96
    """Crops from which the principal directions and the student's first weights are computed."""
    optimiser: Optimiser = "muon"
    """Muon orthogonalises the moves of weights; biases are AdamW's in any case."""
    learning_rate: float = 5e-4
    """At its highest; it rises over the first 5 % of the steps and then falls as a cosine."""
    gram_weight: float = 1.0
    """Weight of the relative Gram error beside the relative feature error."""
    layer_weights: dict[str, float] = field(default_factory=dict)
    """Tapped layer -> weight of its errors; 1 where nothing is said."""
    frozen: list[str] = field(default_factory=list)
    """Layers, from the first on, that stay as they are in the network that the training begins from, up to a factor."""
    seed: int = 0

    def split(self, corpora: Sequence[Corpus]) -> tuple[list[Work], list[Work]]:
        """(works to learn from, works held out). A work that occurs in a held-out part is not learnt from anywhere."""
        held: list[Work] = []
        for corpus in corpora:
            if corpus.root.resolve().name in self.held_out:
                works = sorted(corpus, key=lambda work: work.sha256)
                held += works[: self.held_out[corpus.root.resolve().name]]
        hashes = {work.sha256 for work in held}
        return [work for corpus in corpora for work in corpus if work.sha256 not in hashes], held


def read_stages(path: str | Path) -> list[Recipe]:
    """The recipes in a JSON file, in order; each stage begins from the network that the one before it made.

    UsageError for a file that is no list of recipes, or where one has a field that does not exist.
    """
    try:
        stages = parse_json(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}") from error
    listed = isinstance(stages, list) and stages and all(isinstance(stage, dict) for stage in stages)
    require(bool(listed), f"{path}: a recipe is a JSON list of objects, one for every stage of the training")
    known = {entry.name for entry in fields(Recipe)}
    unknown = sorted({name for stage in stages for name in stage} - known)
    require(not unknown, f"{path}: a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    try:
        recipes = [Recipe(**stage) for stage in stages]
    except TypeError as error:
        raise UsageError(f"{path}: {error}") from error
    for recipe in recipes:
        known = get_args(Optimiser)
        require(recipe.optimiser in known, f"{path}: optimiser {recipe.optimiser!r}: choose {' or '.join(known)}")
    same = all(recipe.held_out == recipes[0].held_out for recipe in recipes)
    require(same, f"{path}: all stages of a training hold out the same works")
    return recipes


def write_stages(stages: Sequence[Recipe]) -> str:
    """JSON from which `read_stages` makes equal recipes; equal recipes give equal texts."""
    return json.dumps([asdict(stage) for stage in stages], indent=2) + "\n"
