"""Descriptors about their mean in an index, with search by descriptors that are centred likewise."""

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.errors import require
from workbench.retrieval.index import ExactIndex, Index, Match, Value, Where

BATCH = 8192
"""Points that are added to an index in one call."""


class CentredIndex:
    """The differences of descriptors from their mean, as the points of an `Index`.

    Without centring all images of a corpus are alike (cosines of .9 and more), and one temperature would not suit two encoders.
    In a corpus of two works the centred vectors are opposite, so their cosines to anything are x and -x. A descriptor that
    equals the mean has no direction and is no point of the index.
    """

    def __init__(
        self,
        ids: Sequence[str],
        descriptors: np.ndarray,
        centre: np.ndarray,
        metadata: Sequence[Mapping[str, Value]] | None = None,
        index: Index | None = None,
    ):
        """Add the points to `index`, an `ExactIndex` unless a store is given.

        Args:
            ids: n different texts. descriptors: (n, D) float32, kept as `descriptors`. centre: (D,), their mean.
            metadata: one mapping per id.

        `rows` is the place of each id among them. Raises UsageError for an id that occurs twice, and for a store that holds
        other points as well.
        """
        self.ids = tuple(ids)
        self.descriptors = descriptors
        self.centre = centre
        self.metadata = tuple(metadata) if metadata is not None else ({},) * len(self.ids)
        self.rows = {id: row for row, id in enumerate(self.ids)}
        self.index = ExactIndex() if index is None else index
        require(len(self.rows) == len(self.ids), "an id occurs twice among the points to index")
        count = 0
        for start in range(0, len(self.ids), BATCH):
            vectors = descriptors[start : start + BATCH] - centre
            inside = np.flatnonzero(vectors.any(axis=1))
            some = (inside + start).tolist()
            if some:
                self.index.upsert([self.ids[i] for i in some], vectors[inside], [self.metadata[i] for i in some])
            count += len(some)
        held = len(self.index)
        require(held == count, f"the index holds {held - count} points that are not of these {count}: give an empty one")

    def __len__(self) -> int:
        """The number of points in the index."""
        return len(self.index)

    def search(self, descriptor: np.ndarray, k: int = 5, where: Where | None = None) -> list[Match]:
        """The `k` points most similar to `descriptor` (D,), as `Index.search` returns them; none for the mean itself.

        Raises UsageError for k below 1 and a descriptor of another length.
        """
        query = np.asarray(descriptor, dtype=np.float32) - self.centre
        return self.index.search(query, k, where) if query.any() or k < 1 else []
