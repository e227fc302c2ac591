"""Which works, with which weights: from the one that is named to the whole oeuvre."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench import encoders, images
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.retrieval import clusters, descriptors, embeddings, regions
from workbench.retrieval.clusters import Clustering
from workbench.retrieval.embeddings import Embeddings
from workbench.retrieval.familiarity import NEVER, Fit
from workbench.retrieval.regions import Piece, RegionIndex
from workbench.targets.target import Combination, Guide, StyleTarget, combination

NAMES = ("single", "nearest", "blend", "cluster", "regions", "whole")
TAU = 0.1  # of lite0's cosines: five to twelve works of van Gogh's where the content fits
NEGLIGIBLE = 1e-3
ALIKE = 0.4  # cosine from which a region counts as painted by the artist, however low its familiarity


def weighted(name: str, corpus: Corpus, weights: np.ndarray, note: str = "") -> StyleTarget:
    """A target over the works of `corpus` with `weights` (n,) >= 0; works under a thousandth of the heaviest are left out."""
    order, kept = _kept(np.asarray(weights, dtype=np.float64))
    works = tuple(corpus)
    return StyleTarget(name, tuple(works[i] for i in order), kept, note)


def _kept(weights: np.ndarray) -> tuple[list[int], tuple[float, ...]]:
    """The places of the weights that are not negligible, the heaviest first, and these weights, summing to one."""
    order = [int(i) for i in np.argsort(-weights, kind="stable") if weights[i] >= NEGLIGIBLE * weights.max()]
    return order, tuple((weights[order] / weights[order].sum()).tolist())


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


def softmax_weights(similarities: np.ndarray, tau: float) -> np.ndarray:
    """w_k = softmax_k(similarity_k / tau), (n,) summing to one; tau > 0. UsageError otherwise."""
    check_tau(tau)
    z = np.asarray(similarities, dtype=np.float64) / tau
    w = np.exp(z - z.max())
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
    """The paintings that fit the content, each by how well: w_k = softmax(cos / tau), evened out where nothing fits.

    A softmax sees only differences: among works that all show something else it would insist on the one that is by accident
    a little nearer. So a share of the weight, s = fit.shortfall, goes to all works alike, w_k = (1 - s) softmax_k + s / n: the
    less the content fits, the nearer is the blend to the whole oeuvre.
    """
    short = fit.shortfall if fit else 0.0
    weights = (1 - short) * softmax_weights(similarities, tau) + short / len(similarities)
    target = weighted("blend", corpus, weights)
    evened = f"; {short:.0%} of the weight is spread evenly" if short else ""
    note = _noted(f"τ = {tau:g}, effective number {target.effective_number:.1f}", fit) + evened
    return replace(target, note=note, fit=fit)


def _noted(note: str, fit: Fit | None) -> str:
    """`note`, and how well the works fit; that nothing fits is said first."""
    if fit is None:
        return note
    return f"{fit.words}; {note}" if fit.shortfall else f"{note}, {fit.words}"


def cluster(
    corpus: Corpus,
    similarities: np.ndarray,
    clustering: Clustering,
    tau: float = TAU,
    *,
    fit: Fit | None = None,
) -> StyleTarget:
    """Equal weight on the members of the style cluster that the content falls into.

    A photograph has no place of its own among styles of painting, so it falls into the cluster whose members resemble it
    most in content: the one with the highest mean softmax weight per member.
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
    total = sum(share for share, _ in parts)
    weights: dict[Work, float] = {}
    for share, target in parts:
        for work, weight in zip(target.works, target.weights, strict=True):
            weights[work] = weights.get(work, 0.0) + share / total * weight
    works = sorted(weights, key=lambda work: -weights[work])
    note = " and ".join(f"{share / total:.0%} {target.name}" for share, target in parts)
    note += "".join(f"; {target.name}: {words}" for _, target in parts if (words := target.misfit))
    return StyleTarget("mix", tuple(works), tuple(weights[work] for work in works), note, combine)


class Selection:
    """The works of a corpus, weighted for one content image. What a target needs is computed once, when first asked for.

    `retriever` says what pictures show (the content embedding), `encoders.retriever` unless another is given; `encoder`,
    which needs style layers, how they are painted.
    """

    def __init__(
        self, corpus: Corpus, content: Tensor, encoder: Encoder, *, retriever: Encoder | None = None, show: bool = False
    ):
        """`content` (1, 3, H, W) in [0, 1]; `show` reports progress on stderr."""
        self.corpus = corpus
        self.content = content
        self.encoder = encoder
        self._retriever = retriever
        self.show = show

    @property
    def retriever(self) -> Encoder:
        """The encoder that says what pictures show."""
        return self._retriever or encoders.retriever(self.encoder.device)

    @cached_property
    def space(self) -> Embeddings:
        """The works by what they show."""
        return embeddings.embed(self.corpus, self.retriever, "content", show=self.show)

    @cached_property
    def described(self) -> np.ndarray:
        """What the content image shows, as a descriptor (D,)."""
        content = images.resize(self.content, self.retriever.embedding_size).to(self.retriever.device)
        return descriptors.describe(content, self.retriever, "content")

    @cached_property
    def similarities(self) -> np.ndarray:
        """Content cosine of every work to the content image, (n,) in [-1, 1], in the order of the corpus."""
        return self.space.similarities(self.described)

    @cached_property
    def fit(self) -> Fit:
        """How well the corpus fits the content; both ranks are 1 where nothing can be compared."""
        groups = [work.group for work in self.corpus]
        own = self.space.own_matches(groups)
        ranks = (1 + (own <= self.space.match(self.described, groups)).sum(axis=0)) / (1 + len(own))
        return Fit(*map(float, ranks))

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

    def single(self, name: str) -> StyleTarget:
        """The work called `name`; UsageError with near names if there is none."""
        return single(self.corpus[name])

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
        """The regions of all works."""
        return RegionIndex(self.corpus.works, self.encoder, show=self.show)

    def regions(self, tau: float = TAU, *, mask: str | Path | None = None) -> StyleTarget:
        """For each region of the content the painted regions that resemble it, w_k = softmax(cos / tau) over all of them.

        `mask`: an image whose flat colours say what belongs together (see regions.from_mask); without it the content is
        divided by what it shows, and faces come from faces, people from people, the rest from the rest, as far as the artist
        painted any. Regions such as the artist never painted are taken together and get the barycentre of the
        style cluster that the content falls into.
        """
        check_tau(tau)
        divided = regions.from_mask(mask, self.content, self.encoder) if mask else regions.divide(self.content, self.encoder)
        names = divided.names or ("",) * len(divided)
        similarities = self.region_index.similarities(divided.descriptors, divided.names)
        usual = np.array([np.median(row[np.isfinite(row)]) for row in similarities])
        best = similarities.max(axis=1)
        familiar = np.array([self.region_index.familiarity(value) for value in best])
        matched = (familiar >= NEVER) | (best >= ALIKE)
        matched |= np.array([name != "" and name in self.region_index.names for name in names])
        masks, guides = divided.masks(), []
        for label in np.flatnonzero(matched):
            order, kept = _kept(softmax_weights(similarities[label], tau))
            guides.append(
                Guide(
                    masks[label : label + 1],
                    tuple(self.region_index.pieces[i] for i in order),
                    kept,
                    float(divided.shares[label]),
                    float(best[label]),
                    float(usual[label]),
                    float(familiar[label]),
                    True,
                    names[label],
                )
            )
        if not matched.all():  # all of it together, or whole paintings would be squeezed into corners
            strange, fallback = ~matched, self.cluster(tau)
            guides.append(
                Guide(
                    masks[torch.from_numpy(strange)].sum(dim=0, keepdim=True),
                    tuple(Piece(work) for work in fallback.works),
                    fallback.weights,
                    float(divided.shares[strange].sum()),
                    float(best[strange].max()),
                    float(np.median(usual[strange])),
                    float(familiar[strange].max()),
                    False,
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

    def by_hand(self, weights: Mapping[str, float]) -> StyleTarget:
        """The works named, with `weights` in proportion; UsageError for an unknown work or a weight that is not above 0."""
        require(bool(weights), "no work is weighted")
        summed: dict[Work, float] = {}
        for name, weight in weights.items():
            require(0 < weight < float("inf"), f"weight {weight} of {name!r}: give a positive number")
            work = self.corpus.find(name)
            summed[work] = summed.get(work, 0.0) + weight
        total = sum(summed.values())
        works = tuple(sorted(summed, key=lambda work: -summed[work]))
        note = f"{len(works)} works weighed by hand"
        return StyleTarget("by-hand", works, tuple(summed[work] / total for work in works), note)

    def choose(self, words: str, *, single: str = "", tau: float = TAU) -> StyleTarget:
        """The target that `words` name: one of NAMES, and after a slash how its works are combined, as in "blend/barycentre".

        `single` is the one painting of "single". UsageError for a name or a combination that does not exist.
        """
        name, combine = check_words(words)
        options = {"single": {"name": single}, **{word: {"tau": tau} for word in ("blend", "cluster", "regions")}}.get(name, {})
        return getattr(self, name)(**options).combined(combine)
