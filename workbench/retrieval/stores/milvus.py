"""Milvus: an index as a collection of a server, or of a file, by Milvus Lite."""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from workbench.errors import require
from workbench.retrieval.stores.base import Row, Store, package

MOST = 16_384
"""Points that one search returns at most."""
EF = 200
"""Candidates of a search at least."""


class Milvus(Store):
    """A collection at a URL, or in a file whose name ends in .db, for one process at a time. A token may be in MILVUS_TOKEN."""

    batch = 2000

    def connect(self) -> Any:
        place = self.place
        require(place.startswith(("http://", "https://")) or place.endswith(".db"), f"index milvus:{place}: a file ends in .db")
        self._types = package("pymilvus", "milvus").DataType
        return package("pymilvus", "milvus").MilvusClient(place, token=os.environ.get("MILVUS_TOKEN", ""))

    def look(self) -> tuple[int, str] | None:
        if not self.client.has_collection(self.name):
            return None
        self.client.load_collection(self.name)  # after a crash it is not
        found = self.client.describe_collection(self.name)
        vector = next(field for field in found["fields"] if field["name"] == "vector")
        return vector["params"]["dim"], found["properties"].get("about", "")

    def create(self, dimensions: int) -> None:
        schema, index = self.client.create_schema(), self.client.prepare_index_params()
        schema.add_field("id", self._types.VARCHAR, is_primary=True, max_length=65_535)
        schema.add_field("vector", self._types.FLOAT_VECTOR, dim=dimensions)
        schema.add_field("metadata", self._types.VARCHAR, max_length=65_535)
        schema.add_field("tags", self._types.ARRAY, element_type=self._types.VARCHAR, max_capacity=256, max_length=16)
        index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        self.client.create_collection(self.name, schema=schema, index_params=index, properties={"about": self.about})

    def count(self) -> int:
        return self.client.query(self.name, output_fields=["count(*)"])[0]["count(*)"]

    def write(self, rows: Sequence[Row]) -> None:
        self.client.upsert(self.name, [dict(zip(("id", "vector", "metadata", "tags"), row, strict=True)) for row in rows])

    def remove(self, ids: list[str]) -> None:
        self.client.delete(self.name, filter=_among(ids))

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        k = min(k, MOST)
        options = {
            "filter": " and ".join(f"array_contains_any(tags, {json.dumps(any_of)})" for any_of in allowed),
            "search_params": {"params": {"ef": max(EF, k)}},
            "consistency_level": "Strong",  # what was written before is found
        }
        (rows,) = self.client.search(self.name, [vector], limit=k, output_fields=["metadata"], **options)
        return [(row["id"], row["distance"], row["entity"]["metadata"]) for row in rows]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        rows = self.client.query(self.name, filter=_among(ids), output_fields=["id", *(["vector"] if vectors else [])])
        return [(row["id"], row.get("vector")) for row in rows]


def _among(ids: list[str]) -> str:
    """A filter for points by their ids, which the client itself would not quote."""
    return f"id in {json.dumps(ids, ensure_ascii=False)}"
