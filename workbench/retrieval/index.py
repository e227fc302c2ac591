"""Nearest neighbours by cosine: the interface of all vector stores, and the exact reference implementation."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from workbench import storage
from workbench.errors import UsageError, WorkbenchError, require

Value = str | int | float | bool
Where = Mapping[str, Value | Sequence[Value]]


@dataclass(frozen=True)
class Match:
    """A point that a search returned: its id, its cosine to the query in [-1, 1], and its metadata."""

    id: str
    similarity: float
    metadata: Mapping[str, Value] = field(default_factory=dict)


class Index(Protocol):
    """A store of points: an id, a vector of D numbers, and metadata (column -> text, number or truth value).

    To add a store, implement these methods and add the class to STORES in tests/test_index.py, which holds the suite that every
    store must pass. Vectors arrive as they are, neither centred nor of length one; a store that has inner products alone must
    normalise them. All conditions under which a method raises UsageError are in `points_of`, `query_of` and `check_k`.
    An approximate store may miss neighbours; every similarity that it returns must still be the cosine, to 1e-5.
    """

    def upsert(self, ids: Sequence[str], vectors: np.ndarray, metadata: Sequence[Mapping[str, Value]] | None = None) -> None:
        """Add the points, or replace those whose ids are present; the same call twice leaves the same index.

        Args:
            ids: n different texts, any Unicode. vectors: (n, D), stored as float32. metadata: one mapping per id, or none.

        Raises UsageError for another number of vectors or mappings than ids, an id that occurs twice, a vector that is zero
        or not finite, and another D than that of the points present. The index then is as it was.
        """
        ...

    def delete(self, ids: Iterable[str]) -> None:
        """Remove the points with these ids; ids that are not present are ignored."""
        ...

    def search(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[Match]:
        """The k points with the highest cosine to `vector` (D,), best first, equal ones by id. Fewer where there are fewer.

        Args:
            where: column -> a value, or a sequence of values. A point qualifies if it has every column with (one of) the
                value(s). A point without the column does not qualify.

        Raises UsageError for k below 1, a `vector` that is zero or not finite, and another D than that of the points.
        """
        ...

    def __len__(self) -> int:
        """The number of points."""
        ...

    def save(self, path: str | Path) -> None:
        """Write the index to `path`, atomically. Raises WorkbenchError where that is impossible."""
        ...

    @classmethod
    def open(cls, path: str | Path) -> "Index":
        """The index that `save` wrote to `path`. Raises WorkbenchError, naming `path`, where there is none or it is damaged."""
        ...


def _scaled(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, D), times a power of two where their largest component is beyond 2^16 or below 2^-16.

    Cosines do not change by it, and no norm overflows or vanishes.
    """
    _, exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True))
    return np.ldexp(vectors, np.where(np.abs(exponents) > 16, -exponents, 0))


class ExactIndex:
    """An `Index` in memory that computes the cosine of every point to the query: O(n D) for each search.

    Vectors are float32 (n, D). On disk it is one safetensors file: the vectors, and ids and metadata as JSON.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._metadata: list[dict[str, Value]] = []
        self._vectors = np.zeros((0, 0), dtype=np.float32)  # its length is a capacity: rows beyond len(self) are unused
        self._norms = np.zeros(0, dtype=np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def upsert(self, ids: Sequence[str], vectors: np.ndarray, metadata: Sequence[Mapping[str, Value]] | None = None) -> None:
        """See `Index.upsert`."""
        vectors, metadata = points_of(ids, vectors, metadata, self._vectors.shape[1] if len(self) else None)
        if not len(self):
            self._vectors = np.empty((0, vectors.shape[1]), dtype=np.float32)
        copied = [dict(columns) for columns in metadata]  # first: what is no mapping is refused before a point is added
        rows = [self._rows.setdefault(id, len(self._rows)) for id in ids]
        if len(self) > len(self._vectors):
            capacity = max(len(self), 2 * len(self._vectors))  # at least doubled: the cost of many small batches stays linear
            self._vectors, self._norms = _grown(self._vectors, capacity), _grown(self._norms, capacity)
        self._metadata.extend({} for _ in range(len(self) - len(self._metadata)))
        vectors = _scaled(vectors)
        self._vectors[rows] = vectors
        self._norms[rows] = np.linalg.norm(vectors, axis=1)
        for row, columns in zip(rows, copied, strict=True):
            self._metadata[row] = columns

    def delete(self, ids: Iterable[str]) -> None:
        """See `Index.delete`."""
        gone = set(ids)
        kept = [(id, row) for id, row in self._rows.items() if id not in gone]
        rows = [row for _, row in kept]
        self._rows = {id: row for row, (id, _) in enumerate(kept)}
        self._vectors, self._norms = self._vectors[rows], self._norms[rows]
        self._metadata = [self._metadata[row] for row in rows]

    def search(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[Match]:
        """See `Index.search`."""
        check_k(k)
        vector = _scaled(query_of(vector, self._vectors.shape[1] if len(self) else None)[None])[0]
        n = len(self)
        norms = self._norms[:n] * np.linalg.norm(vector)
        similarities = (self._vectors[:n] @ vector) / np.maximum(norms, 1e-12) if n else np.zeros(0, dtype=np.float32)
        if where:
            allowed = _wanted(where)
            qualifies = [
                all(key in columns and columns[key] in some for key, some in allowed.items()) for columns in self._metadata
            ]
            candidates = np.flatnonzero(qualifies)
        else:
            candidates = np.arange(n)
        if len(candidates) > k:  # all that are no worse than the k-th, ties included
            worst = np.partition(similarities[candidates], -k)[-k]
            candidates = candidates[similarities[candidates] >= worst]
        ids = list(self._rows)
        order = sorted((-float(similarities[row]), ids[row], row) for row in candidates.tolist())
        return [Match(id, -negative, self._metadata[row]) for negative, id, row in order[:k]]

    def save(self, path: str | Path) -> None:
        """See `Index.save`."""
        try:
            points = json.dumps({"ids": list(self._rows), "metadata": self._metadata})
        except TypeError as error:
            raise WorkbenchError(f"cannot write {path}: {error}; give text, numbers and true or false as metadata") from error
        content: np.ndarray = np.frombuffer(points.encode(), dtype=np.uint8)
        tensors: dict[str, np.ndarray] = {"vectors": self._vectors[: len(self)], "points": content}
        try:
            with storage.atomic(path) as temporary:
                save_file(tensors, temporary)
        except SafetensorError as error:
            raise WorkbenchError(f"cannot write {path}: {error}") from error

    @classmethod
    def open(cls, path: str | Path) -> "ExactIndex":
        """See `Index.open`."""
        try:
            tensors = load_file(path)
            points = json.loads(tensors["points"].tobytes())
            index = cls()
            if points["ids"]:
                index.upsert(points["ids"], tensors["vectors"], points["metadata"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, UsageError) as error:
            raise WorkbenchError(f"{path} cannot be opened as an index: {error}") from error
        return index


def _grown(array: np.ndarray, rows: int) -> np.ndarray:
    """`array` with `rows` rows, the new ones uninitialised."""
    grown = np.empty((rows, *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def check_k(k: int) -> None:
    """UsageError unless `k` is at least 1."""
    require(k >= 1, f"k = {k}: give a number of neighbours of at least 1")


def points_of(
    ids: Sequence[str],
    vectors: np.ndarray,
    metadata: Sequence[Mapping[str, Value]] | None,
    dimensions: int | None,
) -> tuple[np.ndarray, Sequence[Mapping[str, Value]]]:
    """(vectors (n, D) float32, n mappings) as `Index.upsert` takes them; UsageError where it refuses them.

    dimensions: D of the points present, None where there are none.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    metadata = [{}] * len(ids) if metadata is None else metadata
    shape = f"vectors of shape {vectors.shape} and {len(metadata)} mappings for {len(ids)} ids"
    require(vectors.ndim == 2 and len(vectors) == len(metadata) == len(ids), f"{shape}; give one of each per id")
    require(len(set(ids)) == len(ids), "an id occurs twice among the points to add")
    _check_dimensions(vectors.shape[1], dimensions)
    usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    if not usable.all():
        raise UsageError(f"the vector of {ids[int(np.argmin(usable))]!r} is zero or not finite: it has no direction")
    return vectors, metadata


def query_of(vector: np.ndarray, dimensions: int | None) -> np.ndarray:
    """`vector` (D,) as float32; UsageError where `Index.search` refuses it. dimensions: D of the points, None without any."""
    vector = np.asarray(vector, dtype=np.float32)
    require(vector.ndim == 1, f"a query of shape {vector.shape}: give one vector, (D,)")
    _check_dimensions(len(vector), dimensions)
    require(bool(np.isfinite(vector).all() and vector.any()), "the query is zero or not finite: it has no direction")
    return vector


def _check_dimensions(given: int, dimensions: int | None) -> None:
    wanted = f"a vector of {given} numbers in an index of {dimensions}: use the encoder that the index was made with"
    require(dimensions is None or given == dimensions, wanted)


def _wanted(where: Where) -> dict[str, tuple[Value, ...]]:
    return {key: (value,) if isinstance(value, Value) else tuple(value) for key, value in where.items()}
