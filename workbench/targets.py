"""Style targets: which paintings, with which weights, where. Everything from one picture to a whole oeuvre is a StyleTarget."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench import clustering as clusters
from workbench import embeddings, encoders, images, progress, regions, statistics, storage
from workbench.clustering import Clustering
from workbench.colour import Recolouring
from workbench.corpus import Corpus, Work
from workbench.embeddings import Embeddings
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.losses import patches
from workbench.regions import Piece, RegionIndex
from workbench.statistics import Moments

NAMES = ("single", "nearest", "blend", "cluster", "regions", "whole")
Combination = Literal["pooled", "barycentre", "apart", "bag"]
TAU = 0.1  # of lite0's cosines: five to twelve works of van Gogh's where the content fits
NEGLIGIBLE = 1e-3
TOLERANCE = 1e-3  # of a barycentre: relative, far below what a transfer comes near to
CANDIDATES = 4  # patches drawn for every one that a bag keeps
SKETCHED = 64  # dimensions in which patches are clustered
NEVER = 0.05  # familiarity below which the artist is taken never to have painted such a thing; for a region,
ALIKE = 0.4  # unless the best piece has this cosine: an artist who repeats himself is no stranger to what differs a little
VERSION = 3


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
class Fit:
    """How well works fit a content, beside how well the artist's works fit each other. Two ranks, each in (0, 1].

    familiarity: of the content's best cosine among the best cosines of the artist's works to works of other series;
    agreement: of how much the works found agree, see Embeddings.match. A rank is the share of the artist's works that are
    matched no better, the content counted as one more of them: (1 + works no better) / (1 + works). So of pictures that the
    artist might have painted a share of NEVER at most ranks below NEVER; with fewer than twenty works none can.
    """

    familiarity: float
    agreement: float

    @property
    def shortfall(self) -> float:
        """From 0, where the works fit, to 1, by how far both ranks are below NEVER.

        Both, because photographs are far from works that are all alike, such as those of a synthetic painter: if what is found
        agrees, it was found by what it shows.
        """
        better = max(self.familiarity, self.agreement)
        return 1 - better / NEVER if better < NEVER else 0.0

    @property
    def words(self) -> str:
        """For a reader."""
        if not self.shortfall:
            agreed = f", agreement {self.agreement:.0%}" if self.familiarity < NEVER else ""
            return f"familiarity {self.familiarity:.0%}{agreed}"
        worse = math.floor(100 * (1 - self.familiarity))
        return f"nothing here fits: the best match is worse than {worse}% of the artist's own"


@dataclass(frozen=True)
class StyleTarget:
    """Works with weights that sum to one, the heaviest first. `note` says how they were chosen.

    `combine` says what the works become together: "pooled", the moments of the mixture of all their positions (mean Gram);
    "barycentre", a typical painting (see statistics.barycentre); "apart", each painting for itself, and the transfer is to
    come near to any (see losses.SoftMinGramLoss); "bag", their patches, of which each place takes the nearest (see
    losses.BagLoss). With `guides` each region of the content has pieces of paintings of its own; `works` and `weights` then
    say what the whole picture takes from each painting. `fit` is how well the works fit the content, None where they were not
    chosen by what it shows.
    """

    name: str
    works: tuple[Work, ...]
    weights: tuple[float, ...]
    note: str = field(default="", compare=False)
    combine: Combination = "pooled"
    guides: tuple[Guide, ...] = field(default=(), repr=False)
    fit: Fit | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_combine(self.combine)

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
        """Its name, and how its works are combined where that is not by pooling: "blend", "blend-barycentre"."""
        return self.name if self.combine == "pooled" else f"{self.name}-{self.combine}"

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

    def _features(
        self, encoder: Encoder, size: int, layers: Sequence[str], recolour: Recolouring | None = None
    ) -> Iterator[tuple[float, dict[str, Tensor]]]:
        where = encoder.device if recolour is None else torch.device("cpu")
        with torch.no_grad(), closing(embeddings.read(self.works, size, where)) as pictures:
            each = zip(self.weights, pictures, strict=True)
            for weight, painting in progress.track(each, total=len(self.works), label="", show=False):  # for stops alone
                if recolour is not None:
                    painting = recolour(painting)
                yield weight, encoder.features(painting.to(encoder.device), layers)

    def paintings(
        self,
        encoder: Encoder,
        size: int,
        layers: Sequence[str],
        *,
        recolour: Recolouring | None = None,
        show: bool = False,
    ) -> Iterator[tuple[float, dict[str, Moments]]]:
        """(weight, layer -> Moments) of every work for itself, its long side scaled to `size` px, one after the other."""
        tracked = progress.track(
            self._features(encoder, size, layers, recolour),
            total=len(self.works),
            label=f"statistics at {size} px",
            show=show and len(self.works) > 1,
        )
        for weight, features in tracked:
            yield weight, {layer: statistics.moments(f) for layer, f in features.items()}

    def moments(
        self,
        encoder: Encoder,
        size: int,
        layers: Sequence[str],
        *,
        recolour: Recolouring | None = None,
        show: bool = False,
    ) -> dict[str, Moments]:
        """Moments that stand for all works, each with its long side scaled to `size` px: layer -> Moments.

        Those of the barycentre where works are so combined, else pooled ones, for which the features of one painting are in
        memory at a time. Cached on disk under everything that decides them: works and weights, encoder, size, layers, colours.
        """
        layers = encoder.check_layers(layers)
        how = "barycentre" if self.combine == "barycentre" else "pooled"

        def make() -> dict[str, Moments]:
            paintings = self.paintings(encoder, size, layers, recolour=recolour, show=show)
            if how == "pooled":
                return statistics.pool(paintings)
            every = list(paintings)
            tracked = progress.track(layers, total=len(layers), label=f"barycentre at {size} px", show=show and len(every) > 1)
            parts = ((layer, [(weight, m[layer]) for weight, m in every]) for layer in tracked)
            return {layer: statistics.barycentre(part, tolerance=TOLERANCE) for layer, part in parts}

        recipe = [(work.sha256, weight) for work, weight in zip(self.works, self.weights, strict=True)]
        return _remembered([how, *recipe], encoder, size, layers, recolour, make)

    def guided_moments(
        self,
        encoder: Encoder,
        size: int,
        layers: Sequence[str],
        *,
        recolour: Recolouring | None = None,
        show: bool = False,
    ) -> list[dict[str, Moments]]:
        """The pooled moments of every guide's pieces, paintings scaled to `size` px: for each guide, layer -> Moments."""
        layers = encoder.check_layers(layers)
        wanted: dict[Work, dict[Piece, Tensor]] = {}  # every painting is seen once, whatever is taken from it
        for piece in (piece for guide in self.guides for piece in guide.pieces):
            wanted.setdefault(piece.work, {})[piece] = piece.mask.to(encoder.device)
        every = StyleTarget(self.name, tuple(wanted), (1 / len(wanted),) * len(wanted))
        found: dict[Piece, dict[str, Moments]] = {}

        def make(guide: Guide) -> dict[str, Moments]:
            if not found:
                features = zip(wanted, every._features(encoder, size, layers, recolour), strict=True)
                tracked = progress.track(features, total=len(wanted), label=f"pieces at {size} px", show=show)
                for work, (_, seen) in tracked:
                    for piece, mask in wanted[work].items():
                        found[piece] = {
                            layer: statistics.moments(f, statistics.spread(mask, *f.shape[-2:])) for layer, f in seen.items()
                        }
            parts = [(w, found[piece]) for piece, w in zip(guide.pieces, guide.weights, strict=True)]
            if guide.matched:
                return statistics.pool(parts)
            return {layer: statistics.barycentre([(w, m[layer]) for w, m in parts], tolerance=TOLERANCE) for layer in layers}

        every_guide = []
        for guide in self.guides:
            recipe = [
                (piece.work.sha256, hashlib.sha256(piece.mask.numpy().tobytes()).hexdigest(), weight)
                for piece, weight in zip(guide.pieces, guide.weights, strict=True)
            ]
            moments = _remembered(
                ["pieces", guide.matched, *recipe], encoder, size, layers, recolour, lambda guide=guide: make(guide)
            )
            every_guide.append(moments)
        return every_guide

    def style_vectors(
        self, encoder: Encoder, size: int, layers: Sequence[str], *, recolour: Recolouring | None = None
    ) -> list[tuple[float, dict[str, Tensor]]]:
        """(weight, layer -> style vector (2 C,)) of every work, for the embedding loss."""
        return [
            (weight, {layer: statistics.style_vector(f)[0] for layer, f in features.items()})
            for weight, features in self._features(encoder, size, layers, recolour)
        ]

    def bag(
        self,
        encoder: Encoder,
        size: int,
        layers: Sequence[str],
        *,
        limit: int = 2048,
        seed: int = 0,
        recolour: Recolouring | None = None,
    ) -> dict[str, Tensor]:
        """layer -> at most `limit` 3x3 patches (n, 9 C) that stand for all patches of the works.

        Four times as many are drawn at random, from each work in proportion to its weight, and of these the ones nearest to
        the centres of `limit` clusters are kept, so that a rare patch is not crowded out by many alike.
        """
        generator = torch.Generator().manual_seed(seed)
        bags: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        for weight, features in self._features(encoder, size, layers, recolour):
            for layer, f in features.items():
                found = patches(f)
                count = min(len(found), max(1, round(CANDIDATES * limit * weight)))
                bags[layer].append(found[torch.randperm(len(found), generator=generator)[:count].to(found.device)])
        return {layer: _thinned(torch.cat(parts), limit, seed) for layer, parts in bags.items()}


def _remembered(
    recipe: list,
    encoder: Encoder,
    size: int,
    layers: Sequence[str],
    recolour: Recolouring | None,
    make: Callable[[], dict[str, Moments]],
) -> dict[str, Moments]:
    """What `make` returns, from the cache where it is known under all that decides it."""
    decided = [VERSION, images.DECODER, encoder.identity, size, layers, recipe, recolour.key if recolour else ""]
    key = hashlib.sha256(json.dumps(decided).encode()).hexdigest()
    path = storage.cache_dir("moments") / f"{key}.safetensors"
    if path.exists():
        try:
            stored = load_file(path, device=str(encoder.device))
            return {layer: Moments(stored[f"{layer}.mean"], stored[f"{layer}.second"]) for layer in layers}
        except (SafetensorError, OSError, KeyError):
            path.unlink(missing_ok=True)  # a damaged entry is made again
    found = make()
    tensors = {f"{layer}.mean": m.mean.cpu() for layer, m in found.items()}
    tensors |= {f"{layer}.second": m.second.cpu() for layer, m in found.items()}
    with storage.atomic(path) as temporary:
        save_file(tensors, temporary)
    return found


def _thinned(bag: Tensor, limit: int, seed: int) -> Tensor:
    """At most `limit` rows of `bag` (n, d), as `clustering.coreset` chooses them among directions about the mean."""
    if len(bag) <= limit:
        return bag
    generator = torch.Generator().manual_seed(seed)
    project = torch.randn(bag.shape[1], min(SKETCHED, bag.shape[1]), generator=generator).to(bag)
    directions = torch.nn.functional.normalize(bag - bag.mean(dim=0), dim=1) @ project
    chosen = clusters.coreset(directions.cpu().numpy(), limit, seed=seed)
    return bag[torch.from_numpy(chosen).to(bag.device)]


def weighted(name: str, corpus: Corpus, weights: np.ndarray, note: str = "") -> StyleTarget:
    """A target over the works of `corpus` with `weights` (n,) >= 0; works under a thousandth of the heaviest are left out."""
    order, kept = _kept(np.asarray(weights, dtype=np.float64))
    works = tuple(corpus)
    return StyleTarget(name, tuple(works[i] for i in order), kept, note)


def _kept(weights: np.ndarray) -> tuple[list[int], tuple[float, ...]]:
    """The places of the weights that are not negligible, the heaviest first, and these weights, summing to one."""
    order = [int(i) for i in np.argsort(-weights, kind="stable") if weights[i] >= NEGLIGIBLE * weights.max()]
    return order, tuple((weights[order] / weights[order].sum()).tolist())


def check_combine(combine: str) -> None:
    """UsageError when `combine` is no way to combine works."""
    ways = get_args(Combination)
    require(combine in ways, f"combine = {combine!r}: choose {', '.join(ways)}")


def check_words(words: str) -> tuple[str, Combination]:
    """(name, combination) of a target such as "blend" or "blend/barycentre". UsageError where there is none such."""
    name, _, combine = words.partition("/")
    require(name in NAMES, f"target {name!r}: choose {', '.join(NAMES)}")
    check_combine(combine or "pooled")
    return name, combine or "pooled"


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
        return embeddings.describe(content, self.retriever, "content")

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
