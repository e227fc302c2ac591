"""LanceDB: an index in a folder, read by the process that asks."""

import zlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.retrieval.stores.base import Row, Store, package

APPROXIMATE = 10_000
"""Points from which on a search is approximate."""
PROBES, REFINE = 32, 4
"""Parts of the index that a search reads, and points that are compared exactly for each that is asked for."""


class Lance(Store):
    """A table. Every batch makes a version of it, so it is there as a whole or not at all."""

    def connect(self) -> Any:
        self._arrow = package("pyarrow", "lancedb")
        return package("lancedb", "lancedb").connect(self.place, read_consistency_interval=timedelta(0))

    @cached_property
    def _table(self) -> Any:
        return self.client.open_table(self.name)

    def look(self) -> tuple[int, str] | None:
        try:
            schema = self._table.schema
        except ValueError:  # there is no such table
            return None
        return schema.field("vector").type.list_size, (schema.metadata or {}).get(b"about", b"").decode()

    def create(self, dimensions: int) -> None:
        a = self._arrow
        columns = {"id": a.string(), "vector": a.list_(a.float32(), dimensions), "metadata": a.string()}
        schema = a.schema(columns | {"tags": a.list_(a.string()), "crc": a.uint32()}, metadata={"about": self.about})
        self.client.create_table(self.name, schema=schema, exist_ok=True)

    def count(self) -> int:
        return self._table.count_rows()

    def write(self, rows: Sequence[Row]) -> None:
        ids, vectors, texts, tags = zip(*rows, strict=True)
        listed = self._arrow.FixedSizeListArray.from_arrays(np.concatenate(vectors), len(vectors[0]))
        columns = {"id": ids, "vector": listed, "metadata": texts, "tags": tags}
        if self._checked:
            columns["crc"] = [_crc(*row) for row in zip(ids, vectors, texts, strict=True)]
        batch = self._arrow.table(columns, schema=self._table.schema)
        self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(batch)

    def remove(self, ids: list[str]) -> None:
        self._table.delete(_among(ids))

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        query = self._table.search(vector).distance_type("cosine").limit(k).nprobes(PROBES).refine_factor(REFINE)
        if allowed:
            query = query.where(" and ".join(f"array_has_any(tags, {any_of})" for any_of in allowed), prefilter=True)
        rows = self._sound(query.select([*self._selected, "_distance"]).to_arrow())
        distances = rows["_distance"].to_pylist()
        return [
            (i, 1 - d, text) for i, d, text in zip(rows["id"].to_pylist(), distances, rows["metadata"].to_pylist(), strict=True)
        ]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        query = self._table.search().where(_among(ids)).limit(len(ids))
        if not vectors:
            return ((id, None) for id in query.select(["id"]).to_arrow()["id"].to_pylist())
        rows = self._sound(query.select(self._selected).to_arrow())
        return zip(rows["id"].to_pylist(), _vectors(rows), strict=True)

    @cached_property
    def _checked(self) -> bool:
        """Whether rows have a checksum, as they have in tables of this version: a file of LanceDB has none."""
        return "crc" in self._table.schema.names

    @property
    def _selected(self) -> list[str]:
        return ["id", "metadata", *(["vector", "crc"] if self._checked else ["vector"])]

    def _sound(self, rows: Any) -> Any:
        """`rows` (an Arrow table), or WorkbenchError where one is not as it was written."""
        if self._checked:
            held = zip(
                rows["id"].to_pylist(), _vectors(rows), rows["metadata"].to_pylist(), rows["crc"].to_pylist(), strict=True
            )
            if any(_crc(id, vector, text) != crc for id, vector, text, crc in held):
                raise WorkbenchError(f"index {self.place}: the table {self.name} is damaged: delete it, and fill it again")
        return rows

    def build(self) -> None:
        if self.count() < APPROXIMATE:
            return
        kinds, built = package("lancedb.index", "lancedb"), {index.name for index in self._table.list_indices()}
        wanted = {"vector": kinds.IvfSq(distance_type="cosine"), "id": kinds.BTree(), "tags": kinds.LabelList()}
        for column in (column for column in wanted if f"{column}_idx" not in built):
            self._table.create_index(column, config=wanted[column])
        if self._table.index_stats("vector_idx").num_unindexed_rows:
            self._table.optimize()


def _vectors(rows: Any) -> np.ndarray:
    vectors: np.ndarray = rows["vector"].combine_chunks().flatten().to_numpy()
    return vectors.reshape(len(rows), rows.schema.field("vector").type.list_size)


def _crc(id: str, vector: np.ndarray, text: str) -> int:
    return zlib.crc32(vector.astype("<f4").tobytes(), zlib.crc32(f"{id}\0{text}".encode()))


def _among(ids: list[str]) -> str:
    return "id in ('" + "', '".join(id.replace("'", "''") for id in ids) + "')"
