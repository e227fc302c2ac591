"""Pinecone: an index of its cloud, or of Pinecone Local."""

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from workbench.errors import require
from workbench.retrieval.stores.base import Row, Store, package, uuids

MOST, COUNTED, SECONDS = 4000, 10_000, 60
"""Points of one search, at most, with metadata and without; and seconds until it sees what was written."""


class Pinecone(Store):
    """An index at CLOUD/REGION, or at the URL of Pinecone Local. Searches see a batch late, for which writing waits."""

    batch = 50  # a request may have 2 MB

    def connect(self) -> Any:
        client, self._local = package("pinecone", "pinecone"), self.place.startswith("http://")
        self._called = self.name.replace("_", "-")
        fits = (self._local or self.place.count("/") == 1) and self.name.islower()
        require(fits, f"index pinecone:{self.place}#{self.name}: write pinecone:CLOUD/REGION#NAME in small letters")
        key = os.environ.get("PINECONE_API_KEY") or ("local" if self._local else None)
        return client.Pinecone(api_key=key, host=self.place if self._local else None)

    def look(self) -> tuple[int, str] | None:
        if not self.client.has_index(self._called):
            return None
        host = self.client.describe_index(self._called).host
        self._points = self.client.index(host=host.replace("https://", "http://") if self._local else host)
        self._any = [1.0] * self._points.describe_index_stats().dimension  # a vector where one must be given
        about = self._points.fetch(ids=["about"], namespace="about").vectors.get("about")
        return len(self._any), str(about.metadata["about"]) if about else ""

    def create(self, dimensions: int) -> None:
        cloud, region = ("aws", "us-east-1") if self._local else self.place.split("/")
        self.client.create_index(self._called, {"serverless": {"cloud": cloud, "region": region}}, dimensions, "cosine")
        self.look()
        self._upsert([("about", self._any, {"about": self.about})], "about")

    def count(self) -> int:  # by a search: statistics come later still
        found = self._points.query(top_k=COUNTED, vector=self._any).matches
        return len(found) if len(found) < COUNTED else self._points.describe_index_stats().total_vector_count - 1

    def write(self, rows: Sequence[Row]) -> None:
        ids, vectors, texts, tags = zip(*rows, strict=True)
        columns = zip(ids, texts, [some or ["no tags"] for some in tags], np.linalg.norm(vectors, axis=1).tolist(), strict=True)
        held = (dict(zip(("id", "metadata", "tags", "length"), values, strict=True)) for values in columns)
        self._upsert(list(zip(uuids(ids), np.stack(vectors).tolist(), held, strict=True)))

    def remove(self, ids: list[str]) -> None:
        self._points.delete(ids=uuids(ids))
        self._wait(lambda found: not found.matches, filter={"id": {"$in": ids}})

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        only = {"filter": {"$and": [{"tags": {"$in": any_of}} for any_of in allowed]}} if allowed else {}
        found = self._points.query(top_k=min(k, MOST), vector=vector.tolist(), include_metadata=True, **only).matches
        return [(point.metadata["id"], point.score, point.metadata["metadata"]) for point in found]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        for point in self._points.fetch(ids=uuids(ids)).vectors.values():
            scale = point.metadata["length"] / np.linalg.norm(point.values)  # whatever length the store keeps
            yield point.metadata["id"], np.multiply(point.values, scale) if vectors else None

    def _upsert(self, points: list[Any], namespace: str = "") -> None:
        said = self._points.upsert(vectors=points, namespace=namespace).response_info
        if said and (position := said.lsn_committed) is not None:
            self._wait(lambda found: found.response_info.is_reconciled(position), namespace=namespace)

    def _wait(self, sees: Any, **options: Any) -> None:
        for _ in range(5 * SECONDS):
            if sees(self._points.query(top_k=1, vector=self._any, **options)):
                return
            time.sleep(0.2)
        raise TimeoutError(f"what was written is not found after {SECONDS} s")
