"""Nearest neighbours by cosine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import UsageError
from workbench.retrieval.embeddings import Embeddings


@dataclass(frozen=True)
class Match:
    """A work found, and its cosine to the query, in [-1, 1]."""

    name: str
    similarity: float


class ExactIndex:
    """All works of a corpus, compared one by one with the query."""

    def __init__(self, embeddings: Embeddings):
        self.embeddings = embeddings

    def search(self, descriptor: np.ndarray, k: int = 5, *, exclude: Sequence[str] = ()) -> list[Match]:
        """The `k` works most similar to `descriptor` (D,), best first, ties by name. Fewer if there are not so many."""
        if k < 1:
            raise UsageError(f"k = {k}: ask for at least one neighbour")
        similarities = self.embeddings.similarities(descriptor)
        order = np.argsort(-similarities, kind="stable")
        found = (Match(self.embeddings.names[i], float(similarities[i])) for i in order)
        return [match for match in found if match.name not in set(exclude)][:k]
