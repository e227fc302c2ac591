"""Weaviate: an index as a collection of a server."""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from workbench.retrieval.stores.base import Row, Store, package, uuids

MOST, EF = 10_000, 400
"""Points that one search returns at most, and its candidates at least."""


class Weaviate(Store):
    """A collection of one's own server, http://, gRPC on port 50051, or of the cloud, https://. The key: WEAVIATE_API_KEY."""

    batch = 500

    def connect(self) -> Any:
        client, url = package("weaviate", "weaviate"), urlsplit(self.place)
        self._classes = package("weaviate.classes", "weaviate")
        self._called = f"Workbench_{self.name}"  # a name begins with a capital
        options = {"auth_credentials": os.environ.get("WEAVIATE_API_KEY"), "skip_init_checks": True}  # one asks a registry
        if url.scheme == "https":
            return client.connect_to_weaviate_cloud(self.place, **options)
        return client.connect_to_local(url.hostname or "127.0.0.1", url.port or 8080, **options)

    def look(self) -> tuple[int, str] | None:
        if not self.client.collections.exists(self._called):
            return None
        self._points = self.client.collections.use(self._called)
        said = json.loads(self._points.config.get(simple=True).description)
        return said["dimensions"], said["about"]

    def create(self, dimensions: int) -> None:
        c, types, no = self._classes.config, self._classes.config.DataType, {"index_filterable": False}
        graph = {"distance_metric": c.VectorDistances.COSINE, "ef_construction": 200, "dynamic_ef_min": EF}
        columns = [c.Property(name=name, data_type=types.TEXT, index_searchable=False, **no) for name in ("key", "metadata")]
        columns.append(c.Property(name="length", data_type=types.NUMBER, **no))
        words = {"tokenization": c.Tokenization.FIELD, "index_searchable": False}
        columns.append(c.Property(name="tags", data_type=types.TEXT_ARRAY, **words))
        index = c.Configure.Vectors.self_provided(vector_index_config=c.Configure.VectorIndex.hnsw(**graph))
        about = json.dumps({"dimensions": dimensions, "about": self.about})
        create = self.client.collections.create
        self._points = create(self._called, description=about, vector_config=index, properties=columns)

    def count(self) -> int:
        return self._points.aggregate.over_all(total_count=True).total_count

    def write(self, rows: Sequence[Row]) -> None:
        objects = []
        for id, vector, text, tags in rows:
            held = {"key": id, "metadata": text, "tags": tags, "length": float(np.linalg.norm(vector))}
            objects.append(self._classes.data.DataObject(held, *uuids([id]), vector.tolist()))
        if failed := self._points.data.insert_many(objects).errors:
            raise RuntimeError(next(iter(failed.values())).message)

    def remove(self, ids: list[str]) -> None:
        self._points.data.delete_many(self._among(ids))

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        q, options = self._classes.query, {"return_properties": ["key", "metadata"], "limit": min(k, MOST)}
        if allowed:
            options["filters"] = q.Filter.all_of([q.Filter.by_property("tags").contains_any(any_of) for any_of in allowed])
        distances = q.MetadataQuery(distance=True)
        found = self._points.query.near_vector(vector.tolist(), return_metadata=distances, **options).objects
        return [(point.properties["key"], 1 - point.metadata.distance, point.properties["metadata"]) for point in found]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        options = {"return_properties": ["key", "length"], "include_vector": vectors}
        for point in self._points.query.fetch_objects(filters=self._among(ids), limit=len(ids), **options).objects:
            vector = np.array(point.vector.get("default", []))
            yield point.properties["key"], vector / np.linalg.norm(vector) * point.properties["length"] if vectors else None

    def _among(self, ids: list[str]) -> Any:
        return self._classes.query.Filter.by_id().contains_any(uuids(ids))
