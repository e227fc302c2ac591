"""Chroma: an index as a collection of a server, `chroma run --path FOLDER`."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from workbench.retrieval.stores.base import Row, Store, package

EF = 400
"""Candidates of a search; where more points are asked for, as many."""


class Chroma(Store):
    """A collection. A batch is one request."""

    batch = 2000  # the server takes five thousand at most

    def connect(self) -> Any:
        chroma, url = package("chromadb", "chroma"), urlsplit(self.place)
        quiet = chroma.Settings(anonymized_telemetry=False)
        return chroma.HttpClient(host=url.hostname or "127.0.0.1", port=url.port or 8000, settings=quiet)

    def look(self) -> tuple[int, str] | None:
        for found in self.client.list_collections():
            if found.name == self.name:
                self._points = found
                return found.metadata["dimensions"], found.metadata["about"]
        return None

    def create(self, dimensions: int) -> None:
        about = {"about": self.about, "dimensions": dimensions}
        space = {"hnsw": {"space": "cosine", "ef_search": EF, "ef_construction": 200}}
        options = {"metadata": about, "configuration": space, "embedding_function": None}
        self._points = self.client.create_collection(self.name, **options)

    def count(self) -> int:
        return self._points.count()

    def write(self, rows: Sequence[Row]) -> None:
        ids, vectors, texts, tags = zip(*rows, strict=True)
        # A list may not be empty, and of a column that is left out the former value would stay.
        held = [{"metadata": text, "tags": tag or ["no tags"]} for text, tag in zip(texts, tags, strict=True)]
        self._points.upsert(ids=list(ids), embeddings=list(vectors), metadatas=held)

    def remove(self, ids: list[str]) -> None:
        self._points.delete(ids=ids)

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        any_of = [_joined("$or", [{"tags": {"$contains": tag}} for tag in tags]) for tags in allowed]
        filters = {"where": _joined("$and", any_of)} if any_of else {}
        found = self._points.query(query_embeddings=vector[None], n_results=k, include=["metadatas", "distances"], **filters)
        for id, distance, held in zip(found["ids"][0], found["distances"][0], found["metadatas"][0], strict=True):
            yield id, 1 - distance, held["metadata"]
        if len(found["ids"][0]) < k:
            yield from self._left_out(vector, found["ids"][0], filters)

    def _left_out(self, vector: np.ndarray, found: list[str], filters: dict[str, Any]) -> Iterable[tuple[str, float, str]]:
        """The points that pass the filters and are not among `found`, by definition.

        The graph of the server now and then has a point that no other point leads to, and no search finds it. Of
        collections of thirty points written in two overlapping batches, fewer than 1 in 100 had such a point, whether the
        server used one thread or several. An answer of k points from a larger collection may still miss one.
        """
        missing = set(self._points.get(include=[], **filters)["ids"]) - set(found)
        if not missing:
            return
        held = self._points.get(ids=sorted(missing), include=["embeddings", "metadatas"])
        for id, point, about in zip(held["ids"], held["embeddings"], held["metadatas"], strict=True):
            point = np.asarray(point, np.float64)
            yield id, float(point @ vector / (np.linalg.norm(point) * np.linalg.norm(vector))), about["metadata"]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        found = self._points.get(ids=ids, include=["embeddings"] if vectors else [])
        return zip(found["ids"], found["embeddings"] if vectors else found["ids"], strict=True)


def _joined(word: str, conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """The conditions joined by `word`, which takes two at least."""
    return conditions[0] if len(conditions) == 1 else {word: conditions}
