"""Qdrant: an index as a collection of a server, or of a folder, which the client itself then searches, exactly."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from workbench.retrieval.stores.base import Row, Store, package, uuids

EXACT = 4096
"""Points up to which a server is asked to compare all."""
EF = 200
"""Candidates of a search among more, at least."""


class Qdrant(Store):
    """A collection at a URL, with the key in QDRANT_API_KEY if it needs one, or in a folder.

    A folder is for one process at a time and for small corpora: it takes milliseconds to write a point.
    """

    batch = 500

    def connect(self) -> Any:
        client, self._models = package("qdrant_client", "qdrant"), package("qdrant_client.models", "qdrant")
        self._served = self.place.startswith(("http://", "https://"))
        if not self._served:
            return client.QdrantClient(path=self.place)
        key = os.environ.get("QDRANT_API_KEY")
        return client.QdrantClient(self.place, api_key=key, timeout=60, check_compatibility=False)

    def look(self) -> tuple[int, str] | None:
        if not self.client.collection_exists(self.name):
            return None
        config = self.client.get_collection(self.name).config
        return config.params.vectors.size, (config.metadata or {}).get("about", "")

    def create(self, dimensions: int) -> None:
        cosine = self._models.VectorParams(size=dimensions, distance=self._models.Distance.COSINE)
        self.client.create_collection(self.name, vectors_config=cosine, metadata={"about": self.about})
        if self._served:
            self.client.create_payload_index(self.name, "tags", self._models.PayloadSchemaType.KEYWORD)

    def count(self) -> int:
        return self.client.count(self.name).count

    def write(self, rows: Sequence[Row]) -> None:
        ids, vectors, texts, tags = zip(*rows, strict=True)
        lengths = np.linalg.norm(vectors, axis=1).tolist()  # which the store does not keep
        held = zip(ids, texts, tags, lengths, strict=True)
        payloads = [{"id": id, "metadata": text, "tags": some, "length": length} for id, text, some, length in held]
        batch = self._models.Batch(ids=uuids(ids), vectors=np.stack(vectors).tolist(), payloads=payloads)
        self.client.upsert(self.name, batch, wait=True)

    def remove(self, ids: list[str]) -> None:
        self.client.delete(self.name, self._models.PointIdsList(points=uuids(ids)), wait=True)

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        m = self._models
        only = m.Filter(must=[m.FieldCondition(key="tags", match=m.MatchAny(any=any_of)) for any_of in allowed])
        how = m.SearchParams(exact=self.count() <= EXACT, hnsw_ef=max(EF, k)) if self._served else None
        found = self.client.query_points(self.name, vector.tolist(), limit=k, query_filter=only, search_params=how)
        return [(point.payload["id"], point.score, point.payload["metadata"]) for point in found.points]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        for point in self.client.retrieve(self.name, uuids(ids), with_payload=["id", "length"], with_vectors=vectors):
            yield point.payload["id"], np.multiply(point.vector, point.payload["length"]) if vectors else None
