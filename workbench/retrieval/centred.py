"""Works as points about their mean, in an index, searched by descriptors that are centred likewise."""

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.errors import require
from workbench.retrieval.index import ExactIndex, Index, Match, Value, Where

K = 5
"""Works that a search returns unless told otherwise."""


class CentredIndex:
    """Points of an `Index`, whose vectors are the differences of descriptors from a mean.

    Without centring all images of a corpus are alike (cosines of .9 and more), and one temperature would not suit two encoders.
    In a corpus of two works the centred vectors are opposite, so their cosines to anything are x and -x. A descriptor that
    equals the mean has no direction and is no point of the index. Other points of the index are never found.
    """

    def __init__(self, ids: Sequence[str], index: Index, centre: np.ndarray, where: Where | None = None):
        """The points `ids` of `index`, which are n different texts, about `centre` (D,).

        where: what holds for all of them, and so spares a large index the search through others. `rows` is the place of each id
        among them. Raises UsageError for an id that occurs twice.
        """
        self.ids = tuple(ids)
        self.index = index
        self.centre = centre
        self.where = dict(where or {})
        self.rows = {id: row for row, id in enumerate(self.ids)}
        require(len(self.rows) == len(self.ids), "an id occurs twice among the points to index")

    def __len__(self) -> int:
        """The number of works, those at the mean included."""
        return len(self.ids)

    def search(self, descriptor: np.ndarray, k: int = K, where: Where | None = None) -> list[Match]:
        """The `k` points most similar to `descriptor` (D,), as `Index.search` returns them; none for the mean itself.

        Raises UsageError for k below 1 and a descriptor of another length.
        """
        query = np.asarray(descriptor, dtype=np.float32) - self.centre
        if not query.any() and k >= 1:
            return []
        asked = k
        while True:
            found = self.index.search(query, asked, {**self.where, **(where or {})})
            own = [match for match in found if match.id in self.rows]
            if len(own) >= k or len(found) < asked:
                return own[:k]
            asked *= 4

    def vectors(self, rows: Sequence[int]) -> np.ndarray:
        """The differences of works from the mean, by their places: (m, D)."""
        found = self.index.vectors([self.ids[row] for row in rows])
        return found if found.shape[1] else np.zeros((len(rows), len(self.centre)), dtype=np.float32)


def centred(
    ids: Sequence[str], descriptors: np.ndarray, centre: np.ndarray, metadata: Sequence[Mapping[str, Value]] | None = None
) -> CentredIndex:
    """Descriptors (n, D) in memory, about `centre` (D,), as points of an exact index. metadata: one mapping per id."""
    points = CentredIndex(ids, ExactIndex(), centre)
    vectors = descriptors - centre
    inside = np.flatnonzero(vectors.any(axis=1)).tolist()
    if inside:
        known = None if metadata is None else [metadata[i] for i in inside]
        points.index.upsert([points.ids[i] for i in inside], vectors[inside], known)
    return points
