"""What a style target is: works with weights, and, region by region, pieces of works."""

import sys
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from workbench.corpora import Work
from workbench.errors import require
from workbench.retrieval.familiarity import Fit
from workbench.retrieval.regions import Piece

Combination = Literal["mean", "barycentre", "softmin", "patches"]
FORMER_WORDS = {"pooled": "mean", "apart": "softmin", "bag": "patches"}  # understood for one release


@dataclass(frozen=True)
class Guide:
    """A region of the content, and the painted pieces that its style comes from.

    mask: (1, 1, h, w) float32 in [0, 1] on a grid over the content; pieces and weights: the heaviest first, summing to one;
    share: of the content; similarity: cosine of the best piece; usual: median cosine of all pieces, what one drawn at
    random has; familiarity: see regions.RegionIndex; matched: whether the pieces were found by what the region shows. Where
    they were not, because the artist never painted such a thing, they are the whole paintings of the content's style cluster,
    and their barycentre counts. name: "face" or "person" where the region is one, else "".
    """

    mask: Tensor = field(repr=False, compare=False)
    pieces: tuple[Piece, ...] = field(repr=False)
    weights: tuple[float, ...] = field(repr=False)
    share: float
    similarity: float
    usual: float
    familiarity: float
    matched: bool
    name: str = ""

    @property
    def where(self) -> str:
        """The region's name, if it has one, and how large it is."""
        return f"{self.name}{', ' if self.name else ''}{self.share:.0%} of the picture"

    @property
    def line(self) -> str:
        """What was matched, and how well, for a reader."""
        if not self.matched:
            return f"{self.where}: never painted (best cosine {self.similarity:.2f}); from the style cluster"
        how = f"cosine {self.similarity:.2f}, {self.usual:.2f} at random"
        how += f", as good as {self.familiarity:.0%} of the artist's own matches"
        return f"{self.where}: {self.pieces[0].work.title} ({how})"


@dataclass(frozen=True)
class StyleTarget:
    """Works with weights that sum to one, the heaviest first. `note` says how they were chosen.

    `combine` says how the works are combined: "mean", the moments of the mixture of all their positions (mean Gram matrix);
    "barycentre", a typical painting (see statistics.barycentre); "softmin", not at all, and the transfer comes near to any of
    them (see losses.SoftMinGramLoss); "patches", the set of their patches, of which each place takes the nearest (see
    losses.CentredPatchLoss). With `guides` each region of the content has pieces of paintings of its own; `works` and
    `weights` then say what the whole picture takes from each painting. `fit` is how well the works fit the content, None where
    they were not chosen by what it shows.
    """

    name: str
    works: tuple[Work, ...]
    weights: tuple[float, ...]
    note: str = field(default="", compare=False)
    combine: Combination = "mean"
    guides: tuple[Guide, ...] = field(default=(), repr=False)
    fit: Fit | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "combine", combination(self.combine))

    @property
    def familiarity(self) -> float | None:
        """That of `fit`, in (0, 1]: near 0 where the artist never painted such a thing."""
        return self.fit and self.fit.familiarity

    @property
    def misfit(self) -> str:
        """In words, that no work fits the content; "" where one does, or nothing is known of it."""
        return self.fit.words if self.fit and self.fit.shortfall else ""

    @property
    def label(self) -> str:
        """Its name, and how its works are combined where that is not by their mean: "blend", "blend-barycentre"."""
        return self.name if self.combine == "mean" else f"{self.name}-{self.combine}"

    def combined(self, combine: Combination) -> "StyleTarget":
        """The same works and weights, combined otherwise. UsageError for an unknown way."""
        return replace(self, combine=combine)

    def with_people_joined(self) -> "StyleTarget":
        """The same with face and person as one region of the content.

        The Gram matrices of a few faces hold eyes and mouths, which a transfer puts on cheeks; those of persons do not.
        """
        named = [guide for guide in self.guides if guide.name and guide.matched]
        if len(named) < 2:
            return self
        share = sum(guide.share for guide in named)
        parts = [
            (piece, weight * guide.share / share)
            for guide in named
            for piece, weight in zip(guide.pieces, guide.weights, strict=True)
        ]
        parts.sort(key=lambda part: -part[1])
        joined = replace(
            max(named, key=lambda guide: guide.share),
            mask=torch.stack([guide.mask for guide in named]).sum(dim=0),
            pieces=tuple(piece for piece, _ in parts),
            weights=tuple(weight for _, weight in parts),
            share=share,
            name="person",
        )
        return replace(self, guides=(joined, *(guide for guide in self.guides if guide not in named)))

    @property
    def effective_number(self) -> float:
        """How many equally weighted works would be as concentrated: 1 / sum w_k^2."""
        return 1 / sum(w * w for w in self.weights)


def combination(word: str) -> Combination:
    """`word` as a way to combine works; a former word is understood, with a line on stderr. UsageError for any other."""
    if word in FORMER_WORDS:
        print(f"combine = {word!r} is now called {FORMER_WORDS[word]!r}", file=sys.stderr)
        word = FORMER_WORDS[word]
    ways = get_args(Combination)
    require(word in ways, f"combine = {word!r}: choose {', '.join(ways)}")
    return word
