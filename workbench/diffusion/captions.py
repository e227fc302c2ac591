"""The words of works: a token for the artist or for each style cluster, the class noun, and what the metadata say."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.retrieval import clusters, embeddings

Style = Literal["metadata", "plain"]
FIELDS = ("genre", "title", "medium", "year")
"""Columns of the metadata that a caption names, in this order. What it names, the token need not stand for."""


def tokens(
    works: Sequence[Work], held_out: Sequence[Work], encoder: Encoder, token: str, count: int = 0, *, show: bool = False
) -> dict[str, str]:
    """The token of every work, sha256 -> token: `token` itself for one style cluster, else `token` 1, 2, ... of its cluster.

    Clusters are those of the style embedding of `works` alone, `count` of them or, for 0, as many as `clusters.cluster` finds;
    a held-out work belongs to the nearest.
    """
    require(token.isalnum() and token.isascii(), f"token {token!r}: give a word of letters and digits, such as sks")
    every = [*works, *held_out]
    if count == 1:
        return {work.sha256: token for work in every}
    embedded = embeddings.embed(works, encoder, "style", show=show)
    found = clusters.cluster(embedded, count or None)
    labels = list(found.labels)
    if held_out:
        points = embedded.project(embeddings.embed(held_out, encoder, "style", show=show).raw)
        labels += list(np.linalg.norm(points[:, None] - found.centres[None], axis=2).argmin(axis=1))
    names = [token] if found.k == 1 else [f"{token}{label + 1}" for label in range(found.k)]
    return {work.sha256: names[label] for work, label in zip(every, labels, strict=True)}


def caption(work: Work, token: str, noun: str, style: Style = "metadata") -> str:
    """The caption of `work`: "sks painting", or with "metadata" what is known of it, too: "sks painting, portrait, 1889"."""
    known = [work.metadata.get(column, "").strip() for column in FIELDS] if style == "metadata" else []
    return ", ".join([f"{token} {noun}", *filter(None, known)])


def weights(tokens_of: Mapping[str, str], works: Sequence[Work], shares: Sequence[float]) -> dict[str, float]:
    """The weight of every token for a target of `works` with `shares`: token -> weight, summing to one, the heaviest first.

    A work counts for the token of its cluster. The share of works that `tokens_of` (sha256 -> token) does not know is spread
    over all tokens by how many works they stand for.
    """
    names = list(tokens_of.values())
    found = dict.fromkeys(sorted(set(names)), 0.0)
    unknown = 0.0
    for work, share in zip(works, shares, strict=True):
        if work.sha256 in tokens_of:
            found[tokens_of[work.sha256]] += share
        else:
            unknown += share
    for name in found:
        found[name] += unknown * names.count(name) / len(names)
    total = sum(found.values())
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return {name: weight / total for name, weight in ordered if weight > 0}
