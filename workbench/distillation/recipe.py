"""What a distillation is made of: the student's shape, the data held out, and the training."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from workbench.corpus import Corpus, Work
from workbench.errors import UsageError, require

SHIPPED = Path(__file__).with_name("recipe.json")  # the recipe of the weights in the package


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a student, apart from the pictures and the machine. Read from and written to JSON."""

    widths: dict[str, int]
    """Layer -> channels, in order of depth; a layer starts as the teacher's layer of the same name."""
    components: dict[str, int]
    """Tapped layer -> principal directions of the teacher's features that are told there."""
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
    learning_rate: float = 1e-3
    """Of AdamW at its highest; it rises over the first 5 % of the steps and then falls as a cosine."""
    gram_weight: float = 1.0
    """Weight of the relative Gram error beside the relative feature error."""
    seed: int = 0

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """The recipe in a JSON file. UsageError for a file that is none, or has a field that does not exist."""
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read as a recipe: {error}") from error
        known = {field.name for field in fields(cls)}
        require(isinstance(given, dict), f"{path}: a recipe is a JSON object")
        unknown = sorted(set(given) - known)
        require(not unknown, f"{path}: a recipe has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        try:
            return cls(**given)
        except TypeError as error:
            raise UsageError(f"{path}: {error}") from error

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()

    def split(self, corpora: Sequence[Corpus]) -> tuple[list[Work], list[Work]]:
        """(works to learn from, works held out). A work that occurs in a held-out part is not learnt from anywhere."""
        held: list[Work] = []
        for corpus in corpora:
            if corpus.root.resolve().name in self.held_out:
                works = sorted(corpus, key=lambda work: work.sha256)
                held += works[: self.held_out[corpus.root.resolve().name]]
        hashes = {work.sha256 for work in held}
        return [work for corpus in corpora for work in corpus if work.sha256 not in hashes], held
