"""Which works, with which weights: from the one that is named to the whole oeuvre."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench import encoders, images
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.retrieval import clusters, descriptors, embeddings, familiarity, filling, regions
from workbench.retrieval.centred import CentredIndex
from workbench.retrieval.clusters import Clustering
from workbench.retrieval.embeddings import Embeddings
from workbench.retrieval.familiarity import UNFAMILIAR, Fit
from workbench.retrieval.index import Index, Where
from workbench.retrieval.pieces import Piece, RegionIndex
from workbench.retrieval.regions import Regions
from workbench.targets.target import Combination, Guide, StyleTarget, combination


@dataclass(frozen=True)
class TargetKind:
    """What a target needs.

    title: its name in figures. options: the fields of a request that it takes; `Selection` has a method with these arguments.
    retrieved: whether it is made of the works that fit the content. mixes: whether the works of several corpora can be mixed.
    """

    title: str
    options: tuple[str, ...] = ()
    retrieved: bool = False
    mixes: bool = False


TARGETS: Mapping[str, TargetKind] = {
    "single": TargetKind("Single", ("style",)),
    "nearest": TargetKind("Nearest", retrieved=True, mixes=True),
    "blend": TargetKind("Blend", ("tau",), retrieved=True, mixes=True),
    "cluster": TargetKind("Cluster", ("tau",), retrieved=True, mixes=True),
    "regions": TargetKind("Regions", ("tau", "mask"), retrieved=True),
    "whole": TargetKind("Whole oeuvre", mixes=True),
    "by-hand": TargetKind("By hand", ("weights",)),
}
"""Every target by name. The method of `Selection` that makes it has the same name, with _ for -."""
NAMES = tuple(name for name in TARGETS if name != "by-hand")
"""Targets that words such as "blend/barycentre" can name."""
TAU = 0.1
"""Default temperature, a difference of cosines. With lite0 a blend of van Gogh's works has an effective number of 5 to 12 where
the content fits."""
NEGLIGIBLE = 1e-3
"""Weight, relative to the heaviest, below which a work is left out of a target."""
RESEMBLANCE = 0.4
"""Cosine from which a region counts as painted by the artist, however familiar it is: where the works of an artist repeat
each other, nothing else is familiar."""
PINNED = 0.5
"""Share of the weight that pinned works have together."""
EXHAUSTIVE = 4096
"""Points up to which a search returns all of them, so that weights are exact at every temperature."""
LIMIT = 1024
"""Points that a search in a larger index returns. Weights of works beyond these are zero."""


def weighted(name: str, corpus: Corpus, weights: np.ndarray, note: str = "") -> StyleTarget:
    """A target over the works of `corpus` with `weights` (n,) >= 0; works under a thousandth of the heaviest are left out."""
    order, kept = _kept(np.asarray(weights, dtype=np.float64))
    works = tuple(corpus)
    return StyleTarget(name, tuple(works[i] for i in order), kept, note)


def _kept(weights: np.ndarray) -> tuple[list[int], tuple[float, ...]]:
    """The places of the weights that are not negligible, the heaviest first, and these weights, summing to one."""
    order = np.argsort(-weights, kind="stable")
    order = order[weights[order] >= NEGLIGIBLE * weights.max()]
    return order.tolist(), tuple((weights[order] / weights[order].sum()).tolist())


def check_words(words: str) -> tuple[str, Combination]:
    """(name, combination) of a target such as "blend" or "blend/barycentre". UsageError where there is none such."""
    name, _, combine = words.partition("/")
    require(name in NAMES, f"target {name!r}: choose {', '.join(NAMES)}")
    return name, combination(combine or "mean")


def check_tau(tau: float) -> float:
    """`tau` if it is a temperature: positive and finite. UsageError otherwise."""
    if not 0 < tau < float("inf"):
        raise UsageError(f"tau = {tau}: give a positive number; near 0 is the nearest painting, large is the whole oeuvre")
    return tau


def _reach(points: int) -> int:
    """How many of so many points a search returns."""
    return points if points <= EXHAUSTIVE else LIMIT


def softmax_weights(similarities: np.ndarray, tau: float) -> np.ndarray:
    """w_k = softmax_k(similarity_k / tau), (n,) summing to one; 0 where the similarity is -inf. UsageError unless tau > 0."""
    check_tau(tau)
    s = np.asarray(similarities, dtype=np.float64)
    with np.errstate(over="ignore"):  # at a tiny temperature all but the largest are -inf
        w = np.exp((s - s.max()) / tau)
    return w / w.sum()


def single(work: Work) -> StyleTarget:
    """All weight on one given painting: the method of Gatys et al."""
    return StyleTarget("single", (work,), (1.0,), "chosen by hand")


def nearest(corpus: Corpus, similarities: np.ndarray, *, fit: Fit | None = None) -> StyleTarget:
    """All weight on the painting most similar to the content, however little it fits: the note says how well."""
    best = int(np.argmax(similarities))
    note = _noted(f"cosine {similarities[best]:.2f}", fit)
    return StyleTarget("nearest", (tuple(corpus)[best],), (1.0,), note, fit=fit)


def blend(corpus: Corpus, similarities: np.ndarray, tau: float = TAU, *, fit: Fit | None = None) -> StyleTarget:
    """The paintings that fit the content, each by how well: w_k = softmax_k(cos / tau), evened out where nothing fits.

    `similarities` are cosines (n,), -inf for a work without weight. A softmax depends on differences alone: among works that
    all show something else, it would prefer one that is nearer by accident. So a share of the weight, s = fit.shortfall, is
    spread over all works evenly, w_k = (1 - s) softmax_k + s / n: the less the content fits, the nearer is the blend to the
    whole oeuvre.
    """
    short = fit.shortfall if fit else 0.0
    weights = (1 - short) * softmax_weights(similarities, tau) + short / len(similarities)
    target = weighted("blend", corpus, weights)
    evened = f"; {short:.0%} of the weight is spread evenly" if short else ""
    note = _noted(f"τ = {tau:g}, effective number {target.effective_number:.1f}", fit) + evened
    return replace(target, note=note, fit=fit)


def _noted(note: str, fit: Fit | None) -> str:
    """`note` with the words of `fit`, which come first where nothing fits."""
    if fit is None:
        return note
    return f"{fit.words}; {note}" if fit.doubtful else f"{note}; {fit.words}"


def cluster(
    corpus: Corpus,
    similarities: np.ndarray,
    clustering: Clustering,
    tau: float = TAU,
    *,
    fit: Fit | None = None,
) -> StyleTarget:
    """Equal weight on the members of the style cluster that the content falls into.

    A photograph has no place among styles of painting, so it is assigned by content: to the cluster whose members have the
    highest mean softmax weight.
    """
    weights = softmax_weights(similarities, tau)
    means = [weights[clustering.labels == label].mean() for label in range(clustering.k)]
    label = int(np.argmax(means))
    inside = clustering.labels == label
    note = _noted(f"cluster {label + 1} of {clustering.k}: {inside.sum()} paintings", fit)
    return replace(weighted("cluster", corpus, inside.astype(float), note), fit=fit)


def whole(corpus: Corpus) -> StyleTarget:
    """Equal weight on every painting of the corpus."""
    return weighted("whole", corpus, np.ones(len(corpus)), f"all {len(corpus)} paintings")


def mix(parts: Sequence[tuple[float, StyleTarget]]) -> StyleTarget:
    """Several artists, or several choices, in one target: every part's works by its share, which need not sum to one.

    A work that several parts hold counts by the sum. Works are combined as in the first part. UsageError for shares that
    are not above 0, for parts that are combined differently, and for targets of regions.
    """
    require(bool(parts), "nothing to mix")
    require(not any(target.guides for _, target in parts), "targets of regions cannot be mixed: mix whole paintings")
    for share, _ in parts:
        require(0 < share < float("inf"), f"a share of {share}: give a positive number")
    combine = parts[0][1].combine
    require(all(target.combine == combine for _, target in parts), "the targets to mix are combined in different ways")
    largest = max(share for share, _ in parts)
    parts = [(share / largest, target) for share, target in parts]  # whose sum is finite
    total = sum(share for share, _ in parts)
    weights: dict[Work, float] = {}
    for share, target in parts:
        for work, weight in zip(target.works, target.weights, strict=True):
            weights[work] = weights.get(work, 0.0) + share / total * weight
    works = sorted(weights, key=lambda work: -weights[work])
    note = " and ".join(f"{share / total:.0%} {target.name}" for share, target in parts)
    note += "".join(f"; {target.name}: {words}" for _, target in parts if (words := target.misfit))
    return StyleTarget("mix", tuple(works), tuple(weights[work] for work in works), note, combine)


def keeping(target: StyleTarget, works: Sequence[Work]) -> StyleTarget:
    """`target` with `works` kept in it: they share half of the weight evenly, the others have the rest in their proportions.

    UsageError for a target of regions, which are matched with paintings one by one.
    """
    require(not target.guides, "regions take no pinned works: pin works of whole paintings")
    weights = {work: (1 - PINNED) * weight for work, weight in zip(target.works, target.weights, strict=True)}
    for work in works:
        weights[work] = weights.get(work, 0.0) + PINNED / len(works)
    order = sorted(weights, key=lambda work: -weights[work])
    kept = replace(target, works=tuple(order), weights=tuple(weights[work] for work in order))
    note = re.sub(r"(?<=effective number )[\d.]+", f"{kept.effective_number:.1f}", target.note)
    return replace(kept, note=f"{note}; {PINNED:.0%} of the weight on {len(works)} pinned")


class Selection:
    """The works of a corpus, weighted for one content image. What a target needs is computed once, on first use.

    `retriever` encodes what pictures show (the content embedding), `encoders.retriever` unless another is given; `encoder`,
    which needs style layers, how they are painted. Weights come from what an index of the content embedding returns.
    """

    def __init__(
        self,
        corpus: Corpus,
        content: Tensor,
        encoder: Encoder,
        *,
        retriever: Encoder | None = None,
        index: Index | None = None,
        where: Where | None = None,
        show: bool = False,
    ):
        """Select from `corpus` for `content` (1, 3, H, W) in [0, 1].

        index: a store that keeps the embedding of these works and others, see `filling.fill`; without one it is made in memory.
        where: what holds for all of the works, see there. show: progress on stderr.
        """
        self.corpus = corpus
        self.content = content
        self.encoder = encoder
        self._retriever = retriever
        self._index = index
        self._where = where
        self.show = show

    @property
    def retriever(self) -> Encoder:
        """The encoder of what pictures show."""
        return self._retriever or encoders.retriever(self.encoder.device)

    @cached_property
    def space(self) -> Embeddings:
        """The content embedding of the works, in memory."""
        return embeddings.embed(self.corpus, self.retriever, "content", show=self.show)

    @cached_property
    def indexed(self) -> CentredIndex:
        """The works as points of the index, in the order of the corpus."""
        if self._index is None:
            return self.space.indexed()
        return filling.fill(self._index, [self.corpus], self.retriever, where=self._where, show=self.show)

    @cached_property
    def described(self) -> np.ndarray:
        """The content embedding of the content image, (D,)."""
        content = images.resize(self.content, self.retriever.embedding_size).to(self.retriever.device)
        return descriptors.describe(content, self.retriever, "content")

    @cached_property
    def similarities(self) -> np.ndarray:
        """Content cosine of the works to the content image, (n,) in [-1, 1], in the order of the corpus.

        -inf for works that the search did not return, in a corpus of more than EXHAUSTIVE. Where the content equals the mean of
        all works, all are 0.
        """
        matches = self.indexed.search(self.described, _reach(len(self.corpus)))
        found = np.full(len(self.corpus), -np.inf if matches else 0.0)
        for match in matches:
            found[self.indexed.rows[match.id]] = match.similarity
        return found

    @cached_property
    def fit(self) -> Fit:
        """How well the corpus fits the content; both ranks are 1 where nothing can be compared."""
        return familiarity.fit(self.indexed, [work.group for work in self.corpus], self.described)

    @property
    def measured(self) -> bool:
        """Whether similarities and fit are known, so that weights take milliseconds."""
        return {"similarities", "fit"} <= vars(self).keys()

    @property
    def familiarity(self) -> float:
        """That of `fit`, in (0, 1]: near 0 where the artist never painted such a thing."""
        return self.fit.familiarity

    @cached_property
    def clustering(self) -> Clustering:
        """Style clusters of the corpus."""
        return clusters.cluster(embeddings.embed(self.corpus, self.encoder, "style", show=self.show))

    def single(self, style: str) -> StyleTarget:
        """The work called `style`; UsageError with near names if there is none."""
        return single(self.corpus[style])

    def nearest(self) -> StyleTarget:
        """The work most similar to the content."""
        return nearest(self.corpus, self.similarities, fit=self.fit)

    def blend(self, tau: float = TAU) -> StyleTarget:
        """All works, each weighted by how well it fits; evened out where nothing fits."""
        return blend(self.corpus, self.similarities, tau, fit=self.fit)

    def cluster(self, tau: float = TAU) -> StyleTarget:
        """The style cluster that the content falls into."""
        return cluster(self.corpus, self.similarities, self.clustering, tau, fit=self.fit)

    def whole(self) -> StyleTarget:
        """The whole corpus, evenly."""
        return whole(self.corpus)

    @cached_property
    def region_index(self) -> RegionIndex:
        """The regions of all works, in an exact index."""
        return RegionIndex(self.corpus.works, self.encoder, show=self.show)

    def regions(self, tau: float = TAU, *, mask: str | Path | None = None) -> StyleTarget:
        """For each region of the content the painted regions that resemble it, w_k = softmax_k(cos / tau) over all of these.

        `mask`: an image whose flat colours mark the regions (see regions.from_mask). Without it the content is divided by what
        it shows, and faces come from faces, people from people, the rest from the rest, as far as the artist painted any.
        Regions that the artist never painted are joined, and take the barycentre of the style cluster that the content
        falls into.
        """
        check_tau(tau)
        divided = regions.from_mask(mask, self.content, self.encoder) if mask else regions.divide(self.content, self.encoder)
        masks = divided.masks()
        guides = [self._guide(divided, label, masks[label : label + 1], tau) for label in range(len(divided))]
        unmatched = [guide for guide in guides if not guide.matched]
        guides = [guide for guide in guides if guide.matched]
        if unmatched:  # one region, because whole paintings would be squeezed into corners otherwise
            fallback = self.cluster(tau)
            guides.append(
                Guide(
                    mask=torch.cat([guide.mask for guide in unmatched]).sum(dim=0, keepdim=True),
                    pieces=tuple(Piece(work) for work in fallback.works),
                    weights=fallback.weights,
                    share=sum(guide.share for guide in unmatched),
                    similarity=max(guide.similarity for guide in unmatched),
                    usual=float(np.median([guide.usual for guide in unmatched])),
                    familiarity=max(guide.familiarity for guide in unmatched),
                    matched=False,
                )
            )
        weights: dict[Work, float] = {}
        for guide in guides:
            for piece, weight in zip(guide.pieces, guide.weights, strict=True):
                weights[piece.work] = weights.get(piece.work, 0.0) + guide.share * weight
        works = sorted(weights, key=lambda work: -weights[work])
        total = sum(weights.values())
        note = _noted(f"{len(guides)} regions, each with pieces of its own; τ = {tau:g}", self.fit)
        shares = tuple(weights[work] / total for work in works)
        return StyleTarget("regions", tuple(works), shares, note, guides=tuple(guides), fit=self.fit)

    def _guide(self, divided: Regions, label: int, mask: Tensor, tau: float) -> Guide:
        """Region `label` of the content with the pieces that resemble it; it is matched if the artist painted such a region."""
        index, descriptor = self.region_index, divided.descriptors[label]
        name = divided.names[label] if divided.names else None
        found = index.search(descriptor, _reach(len(index.pieces)), name=name)
        similarity = found[0][1] if found else 0.0
        familiar = index.familiarity(similarity)
        painted = familiar >= UNFAMILIAR or similarity >= RESEMBLANCE or bool(name and name in index.names)
        order, weights = _kept(softmax_weights(np.array([cosine for _, cosine in found]), tau)) if found else ([], ())
        return Guide(
            mask=mask,
            pieces=tuple(found[i][0] for i in order),
            weights=weights,
            share=float(divided.shares[label]),
            similarity=similarity,
            usual=index.usual(descriptor, name=name),
            familiarity=familiar,
            matched=painted and bool(found),
            name=name or "",
        )

    def by_hand(self, weights: Mapping[str, float]) -> StyleTarget:
        """The works named, with `weights` in proportion; UsageError for an unknown work or a weight that is not above 0."""
        require(bool(weights), "no work is weighted")
        summed: dict[Work, float] = {}
        for name, weight in weights.items():
            require(0 < weight < float("inf"), f"weight {weight} of {name!r}: give a positive number")
            work = self.corpus.find(name)
            summed[work] = summed.get(work, 0.0) + weight / max(weights.values())  # so that the sum is finite
        total = sum(summed.values())
        works = tuple(sorted(summed, key=lambda work: -summed[work]))
        note = f"{len(works)} works weighted by hand"
        return StyleTarget("by-hand", works, tuple(summed[work] / total for work in works), note)

    def choose(self, words: str, *, single: str = "", tau: float = TAU) -> StyleTarget:
        """The target called `words`: one of NAMES, and after a slash how its works are combined, as in "blend/barycentre".

        `single` is the painting of the target "single". UsageError for a name or a combination that does not exist.
        """
        name, combine = check_words(words)
        return self.target(name, style=single, tau=tau).combined(combine)

    def target(self, name: str, **options: Any) -> StyleTarget:
        """The target called `name`, one of TARGETS, made with those of `options` that it takes."""
        require(name in TARGETS, f"target {name!r}: choose {', '.join(TARGETS)}")
        taken = {option: value for option, value in options.items() if option in TARGETS[name].options}
        return getattr(self, name.replace("-", "_"))(**taken)
