"""Style targets: which paintings, with which weights. Everything from one picture to a whole oeuvre is a StyleTarget."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench import clustering as clusters
from workbench import embeddings, images, progress, statistics, storage
from workbench.clustering import Clustering
from workbench.corpus import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError
from workbench.losses import patches
from workbench.statistics import Moments

NAMES = ("single", "nearest", "blend", "cluster", "whole")
TAU = 0.08
NEGLIGIBLE = 1e-3
VERSION = 2


@dataclass(frozen=True)
class StyleTarget:
    """Works with weights that sum to one, the heaviest first. `note` says how they were chosen."""

    name: str
    works: tuple[Work, ...]
    weights: tuple[float, ...]
    note: str = field(default="", compare=False)

    @property
    def effective_number(self) -> float:
        """How many equally weighted works would be as concentrated: 1 / sum w_k^2."""
        return 1 / sum(w * w for w in self.weights)

    def _features(self, encoder: Encoder, size: int, layers: Sequence[str]) -> Iterator[tuple[float, dict[str, Tensor]]]:
        with torch.no_grad():
            for weight, work in zip(self.weights, self.works, strict=True):
                yield weight, encoder.features(work.load(size).to(encoder.device), layers)

    def moments(self, encoder: Encoder, size: int, layers: Sequence[str], *, show: bool = False) -> dict[str, Moments]:
        """Pooled moments of the works, each with its long side scaled to `size` px. One painting is in memory at a time.

        Cached on disk under everything that decides them: works and weights, encoder, size and layers.
        """
        layers = encoder.check_layers(layers)
        recipe = [(work.sha256, weight) for work, weight in zip(self.works, self.weights, strict=True)]
        key = hashlib.sha256(json.dumps([VERSION, images.DECODER, encoder.identity, size, layers, recipe]).encode()).hexdigest()
        path = storage.cache_dir("moments") / f"{key}.safetensors"
        if path.exists():
            try:
                stored = load_file(path, device=str(encoder.device))
                return {layer: Moments(stored[f"{layer}.mean"], stored[f"{layer}.second"]) for layer in layers}
            except (SafetensorError, OSError, KeyError):
                path.unlink(missing_ok=True)  # a damaged entry is made again
        pooled = statistics.pool(
            (weight, {layer: statistics.moments(f) for layer, f in features.items()})
            for weight, features in progress.track(
                self._features(encoder, size, layers), total=len(self.works), label=f"statistics at {size} px", show=show
            )
        )
        tensors = {f"{layer}.mean": m.mean.cpu() for layer, m in pooled.items()}
        tensors |= {f"{layer}.second": m.second.cpu() for layer, m in pooled.items()}
        with storage.atomic(path) as temporary:
            save_file(tensors, temporary)
        return pooled

    def style_vectors(self, encoder: Encoder, size: int, layers: Sequence[str]) -> list[tuple[float, dict[str, Tensor]]]:
        """(weight, layer -> style vector (2 C,)) of every work, for the embedding loss."""
        return [
            (weight, {layer: statistics.style_vector(f)[0] for layer, f in features.items()})
            for weight, features in self._features(encoder, size, layers)
        ]

    def bag(self, encoder: Encoder, size: int, layers: Sequence[str], *, limit: int = 4096, seed: int = 0) -> dict[str, Tensor]:
        """layer -> at most about `limit` 3x3 patches (n, 9 C), drawn at random from each work in proportion to its weight."""
        generator = torch.Generator().manual_seed(seed)
        bags: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        for weight, features in self._features(encoder, size, layers):
            for layer, f in features.items():
                found = patches(f)
                count = min(len(found), max(1, round(limit * weight)))
                bags[layer].append(found[torch.randperm(len(found), generator=generator)[:count].to(found.device)])
        return {layer: torch.cat(parts) for layer, parts in bags.items()}


def weighted(name: str, corpus: Corpus, weights: np.ndarray, note: str = "") -> StyleTarget:
    """A target over the works of `corpus` with `weights` (n,) >= 0; works under a thousandth of the heaviest are left out."""
    weights = np.asarray(weights, dtype=np.float64)
    order = [i for i in np.argsort(-weights, kind="stable") if weights[i] >= NEGLIGIBLE * weights.max()]
    kept = weights[order] / weights[order].sum()
    works = tuple(corpus)
    return StyleTarget(name, tuple(works[i] for i in order), tuple(kept.tolist()), note)


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


def nearest(corpus: Corpus, similarities: np.ndarray) -> StyleTarget:
    """All weight on the painting most similar to the content."""
    best = int(np.argmax(similarities))
    return StyleTarget("nearest", (tuple(corpus)[best],), (1.0,), f"cosine {similarities[best]:.2f}")


def blend(corpus: Corpus, similarities: np.ndarray, tau: float = TAU) -> StyleTarget:
    """The paintings that fit the content, each by how well: w_k = softmax(cos / tau)."""
    target = weighted("blend", corpus, softmax_weights(similarities, tau))
    note = f"τ = {tau:g}, effective number {target.effective_number:.1f}"
    return StyleTarget(target.name, target.works, target.weights, note)


def cluster(corpus: Corpus, similarities: np.ndarray, clustering: Clustering, tau: float = TAU) -> StyleTarget:
    """Equal weight on the members of the style cluster that the content falls into.

    A photograph has no place of its own among styles of painting, so it falls into the cluster whose members resemble it
    most in content: the one with the highest mean blend weight per member.
    """
    weights = softmax_weights(similarities, tau)
    means = [weights[clustering.labels == label].mean() for label in range(clustering.k)]
    label = int(np.argmax(means))
    inside = clustering.labels == label
    return weighted(
        "cluster",
        corpus,
        inside.astype(float),
        f"cluster {label + 1} of {clustering.k}: {inside.sum()} paintings",
    )


def whole(corpus: Corpus) -> StyleTarget:
    """Equal weight on every painting of the corpus."""
    return weighted("whole", corpus, np.ones(len(corpus)), f"all {len(corpus)} paintings")


class Selection:
    """The works of a corpus, weighted for one content image. What a target needs is computed once, when first asked for.

    `retriever` says what pictures show (the content embedding); `encoder`, which needs style layers, how they are painted.
    """

    def __init__(
        self, corpus: Corpus, content: Tensor, encoder: Encoder, *, retriever: Encoder | None = None, show: bool = False
    ):
        """`content` (1, 3, H, W) in [0, 1]; `show` reports progress on stderr."""
        self.corpus = corpus
        self.content = content
        self.encoder = encoder
        self.retriever = retriever or encoder
        self.show = show

    @cached_property
    def similarities(self) -> np.ndarray:
        """Content cosine of every work to the content image, (n,) in [-1, 1], in the order of the corpus."""
        space = embeddings.embed(self.corpus, self.retriever, "content", show=self.show)
        content = images.resize(self.content, embeddings.SIZE).to(self.retriever.device)
        return space.similarities(embeddings.describe(content, self.retriever, "content"))

    @cached_property
    def clustering(self) -> Clustering:
        """Style clusters of the corpus."""
        return clusters.cluster(embeddings.embed(self.corpus, self.encoder, "style", show=self.show))

    def single(self, name: str) -> StyleTarget:
        """The work called `name`; UsageError with near names if there is none."""
        return single(self.corpus[name])

    def nearest(self) -> StyleTarget:
        """The work most similar to the content."""
        return nearest(self.corpus, self.similarities)

    def blend(self, tau: float = TAU) -> StyleTarget:
        """All works, each weighted by how well it fits."""
        return blend(self.corpus, self.similarities, tau)

    def cluster(self, tau: float = TAU) -> StyleTarget:
        """The style cluster that the content falls into."""
        return cluster(self.corpus, self.similarities, self.clustering, tau)

    def whole(self) -> StyleTarget:
        """The whole corpus, evenly."""
        return whole(self.corpus)
