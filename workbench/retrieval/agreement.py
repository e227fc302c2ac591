"""How well an embedding agrees with labels, such as artists or genres: among nearest neighbours, and in clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workbench.corpora import Corpus, Work
from workbench.errors import require
from workbench.images import colour
from workbench.retrieval import clusters
from workbench.retrieval.embeddings import Embeddings
from workbench.retrieval.precision import precision_at_k

NEIGHBOURS = 5


@dataclass(frozen=True)
class Agreement:
    """Labels in an embedding.

    precision, chance: leave-one-out precision at 5, and that of a random order. information: normalised mutual information
    of the labels and as many k-means clusters, in [0, 1]; it grows by chance with their number. adjusted: the same less what
    chance gives, 0 for clusters that know nothing of the labels. works, labels: how many of them.
    """

    precision: float
    chance: float
    information: float
    adjusted: float
    works: int
    labels: int


def agreement(
    embeddings: Embeddings, labels: Sequence[str], *, groups: Sequence[str] | None = None, seed: int = 0
) -> Agreement:
    """How well `embeddings` agree with `labels`, one per work; works with an empty label are left out.

    groups: works of one group are no neighbours of each other, see `precision_at_k`. seed: of k-means. Raises UsageError for
    another number of labels than works, and for fewer than two different ones.
    """
    counts = len(embeddings.names), len(labels)
    require(len(set(counts)) == 1, "agreement: {} works, {} labels; give one each".format(*counts))
    kept = [i for i, label in enumerate(labels) if label]
    known = [labels[i] for i in kept]
    distinct = len(set(known))
    require(distinct > 1, f"agreement: {distinct} different labels; give two at least")
    names = tuple(embeddings.names[i] for i in kept)
    part = Embeddings(embeddings.kind, embeddings.encoder, names, embeddings.raw[kept])
    precision, chance = precision_at_k(part, known, NEIGHBOURS, groups=[groups[i] for i in kept] if groups else None)
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    found = clusters.cluster(part, distinct, k_max=1, seed=seed).labels  # k_max = 1: no other k is tried
    scores = (score(known, found) for score in (normalized_mutual_info_score, adjusted_mutual_info_score))
    information, adjusted = map(float, scores)
    return Agreement(precision, chance, information, adjusted, len(kept), distinct)


def colours(corpus: Corpus | Sequence[Work], *, size: int = 128) -> Embeddings:
    """Means and standard deviations of L*, a* and b*, in units of 100: (n, 6). The embedding that others have to beat."""
    works = tuple(corpus)
    pixels = [colour.lab(work.load(size))[0].flatten(1) / 100 for work in works]
    raw = torch.stack([torch.cat([each.mean(dim=1), each.std(dim=1, correction=0)]) for each in pixels])
    return Embeddings("style", "colours", tuple(work.name for work in works), raw.numpy().astype(np.float32))
