"""What a style target is: works with weights, and, for each region of the content, pieces of works with weights."""

import sys
from dataclasses import dataclass, field, replace
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from workbench.corpora import Work
from workbench.errors import require
from workbench.retrieval.familiarity import Fit
from workbench.retrieval.pieces import Piece

Combination = Literal["mean", "barycentre", "softmin", "patches"]
FORMER_WORDS = {"pooled": "mean", "apart": "softmin", "bag": "patches"}
"""Former names of combinations, which are accepted with a line on stderr."""


@dataclass(frozen=True)
class Guide:
    """A region of the content, and the painted pieces that its style comes from: a guidance channel of Gatys et al. (2017).

    mask: (1, 1, h, w) float32 in [0, 1] on a grid over the content. pieces, weights: the heaviest first, weights sum to one.
    share: part of the content, in [0, 1]. similarity: cosine of the best piece. usual: median cosine of all pieces, that of a
    random one. familiarity: see pieces.RegionIndex. matched: whether the pieces resemble what the region shows. Where the
    artist never painted such a thing they are the whole paintings of the content's style cluster, and their barycentre is the
    style. name: "face" or "person" where the region is one, else "".

    Source: Gatys et al., "Controlling perceptual factors in neural style transfer", CVPR 2017, section 4.
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
        """The region's name, if it has one, and its share of the picture."""
        return f"{self.name}{', ' if self.name else ''}{self.share:.0%} of the picture"

    @property
    def line(self) -> str:
        """One line of a report: the painting that was matched, and how well."""
        if not self.matched:
            return f"{self.where}: never painted (best cosine {self.similarity:.2f}); from the style cluster"
        how = f"cosine {self.similarity:.2f}, {self.usual:.2f} at random"
        how += f", as good as {self.familiarity:.0%} of the artist's own matches"
        return f"{self.where}: {self.pieces[0].work.title} ({how})"


@dataclass(frozen=True)
class StyleTarget:
    """Works with weights that sum to one, the heaviest first, and a `note` on how they were chosen.

    combine: "mean", the moments of the mixture of all positions of all works (mean Gram matrix); "barycentre", the moments of a
    typical painting (see statistics.barycentre); "softmin", nothing is averaged, and the transfer approaches whichever work is
    nearest (see losses.SoftMinGramLoss); "patches", the union of their patches, of which each place takes the most similar (see
    losses.CentredPatchLoss). guides: where each region of the content has pieces of paintings of its own; `works` and `weights`
    are then the share of each painting in the whole picture. fit: how well the works fit the content, None where they were not
    chosen by what it shows. Raises UsageError for another `combine`.
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
        return None if self.fit is None else self.fit.familiarity

    @property
    def misfit(self) -> str:
        """A phrase that no work, or hardly any, fits the content; "" where one does, or where `fit` is None."""
        return self.fit.words if self.fit and self.fit.doubtful else ""

    @property
    def label(self) -> str:
        """The name, followed by `combine` unless that is the mean: "blend", "blend-barycentre"."""
        return self.name if self.combine == "mean" else f"{self.name}-{self.combine}"

    def combined(self, combine: Combination) -> "StyleTarget":
        """The same works and weights, combined by `combine`. UsageError for an unknown word."""
        return replace(self, combine=combine)

    def with_people_joined(self) -> "StyleTarget":
        """The target with face and person joined to one region of the content; itself where it has not both, matched.

        A Gram matrix of faces alone is largely that of eyes and mouths, which a transfer then paints on cheeks. That of persons
        is not.
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

    def enlarged(self, size: int) -> str:
        """A phrase that some works have fewer pixels than `size`, the long side at which they are looked at; "" where none has.

        What is enlarged is blurred: it shows no strokes of its size.
        """
        sides = [max(work.width, work.height) for work in self.works]
        fewer = [side for side in sides if side < size]
        if not fewer:
            return ""
        return (
            f"{len(fewer)} of {len(sides)} paintings have fewer pixels than asked, {size} px; the smallest has {min(fewer)} px"
        )

    @property
    def effective_number(self) -> float:
        """How many equally weighted works would be as concentrated: 1 / sum w_k^2."""
        return 1 / sum(w * w for w in self.weights)


def combination(word: str) -> Combination:
    """`word` as a combination; a former word is replaced, with a line on stderr. UsageError for any other."""
    if word in FORMER_WORDS:
        print(f"combine = {word!r} is now called {FORMER_WORDS[word]!r}", file=sys.stderr)
        word = FORMER_WORDS[word]
    known = get_args(Combination)
    require(word in known, f"combine = {word!r}: choose {', '.join(known)}")
    return cast(Combination, word)
