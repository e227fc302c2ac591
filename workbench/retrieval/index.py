"""Nearest neighbours by cosine: the interface of all vector stores, and the exact reference implementation."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from workbench.errors import UsageError, require

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

    To add a store, implement these methods in a module of `stores` and add it to tests/test_stores.py, which holds the suite
    that every store must pass. Vectors arrive as they are, neither centred nor of length one. All conditions under which a
    method raises UsageError are in `points_of`, `query_of` and `check_k`.
    An approximate store may miss neighbours; every similarity that it returns must still be the cosine, to 1e-5.
    """

    about: str
    """What the vectors are, as text: set before the first upsert, and kept with the points. "" in a new index."""

    def begin(self, about: str, dimensions: int) -> None:
        """Make the index, of vectors of `dimensions` numbers that are `about`. Where there is one, its own `about` stays.

        Several processes may begin one index: all go on with the `about` of the first. Points have to be what it says.
        """
        ...

    def upsert(self, ids: Sequence[str], vectors: np.ndarray, metadata: Sequence[Mapping[str, Value]] | None = None) -> None:
        """Add the points, or replace those whose ids are present; the same call twice leaves the same index.

        Args:
            ids: n different texts, any Unicode. vectors: (n, D), stored as float32. metadata: one mapping per id, or none.

        Raises UsageError for another number of vectors or mappings than ids, an id that occurs twice, a vector that is zero
        or not finite, metadata of another type, and another D than that of the points present. The index then is as it was.
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

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """The vectors of these points as they were given, to 1e-6 of their lengths: (n, D) float32. Zero for an absent id.

        One whose largest component is beyond 2^16 or below 2^-16 is kept times a power of two.
        """
        ...

    def present(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are in the index."""
        ...

    def optimise(self) -> None:
        """Build the approximate index of a store that has one, or bring it up to date, where there are many points.

        Quick where it is up to date, so that whoever adds points may call it again after a crash.
        """
        ...

    def __len__(self) -> int:
        """The number of points."""
        ...


def _scaled(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, D), times a power of two where their largest component is beyond 2^16 or below 2^-16.

    Cosines do not change by it, and no norm overflows or vanishes.
    """
    _, exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True))
    return np.ldexp(vectors, np.where(np.abs(exponents) > 16, -exponents, 0))


class ExactIndex:
    """An `Index` in memory that computes the cosine of every point to the query: O(n D) for each search."""

    def __init__(self) -> None:
        self.about = ""
        self._rows: dict[str, int] = {}
        self._metadata: list[dict[str, Value]] = []
        self._tags: list[frozenset[str]] = []
        self._vectors = np.zeros((0, 0), dtype=np.float32)  # its length is a capacity: rows beyond len(self) are unused
        self._norms = np.zeros(0, dtype=np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self, about: str, dimensions: int) -> None:
        """See `Index.begin`."""
        self.about = self.about or about

    def upsert(self, ids: Sequence[str], vectors: np.ndarray, metadata: Sequence[Mapping[str, Value]] | None = None) -> None:
        """See `Index.upsert`."""
        vectors, metadata = points_of(ids, vectors, metadata, self._vectors.shape[1] if len(self) else None)
        if not len(self):
            self._vectors = np.empty((0, vectors.shape[1]), dtype=np.float32)
        rows = [self._rows.setdefault(id, len(self._rows)) for id in ids]
        if len(self) > len(self._vectors):
            capacity = max(len(self), 2 * len(self._vectors))  # at least doubled: the cost of many small batches stays linear
            self._vectors, self._norms = _grown(self._vectors, capacity), _grown(self._norms, capacity)
        self._metadata.extend({} for _ in range(len(self) - len(self._metadata)))
        self._tags.extend(frozenset() for _ in range(len(self) - len(self._tags)))
        self._vectors[rows] = vectors
        self._norms[rows] = np.linalg.norm(vectors, axis=1)
        for row, columns in zip(rows, metadata, strict=True):
            self._metadata[row], self._tags[row] = dict(columns), frozenset(tags(columns))

    def delete(self, ids: Iterable[str]) -> None:
        """See `Index.delete`."""
        gone = set(ids)
        kept = [(id, row) for id, row in self._rows.items() if id not in gone]
        rows = [row for _, row in kept]
        self._rows = {id: row for row, (id, _) in enumerate(kept)}
        self._vectors, self._norms = self._vectors[rows], self._norms[rows]
        self._metadata, self._tags = [self._metadata[row] for row in rows], [self._tags[row] for row in rows]

    def search(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[Match]:
        """See `Index.search`."""
        check_k(k)
        vector = query_of(vector, self._vectors.shape[1] if len(self) else None)
        n = len(self)
        norms = self._norms[:n] * np.linalg.norm(vector)
        similarities = (self._vectors[:n] @ vector) / np.maximum(norms, 1e-12) if n else np.zeros(0, dtype=np.float32)
        candidates = np.arange(n)
        if where:
            allowed = [frozenset(some) for some in wanted(where)]
            candidates = np.flatnonzero([all(own & some for some in allowed) for own in self._tags])
        if len(candidates) > k:  # all that are no worse than the k-th, ties included
            worst = np.partition(similarities[candidates], -k)[-k]
            candidates = candidates[similarities[candidates] >= worst]
        ids = list(self._rows)
        return best((Match(ids[row], float(similarities[row]), self._metadata[row]) for row in candidates.tolist()), k)

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """See `Index.vectors`."""
        found = np.zeros((len(ids), self._vectors.shape[1]), dtype=np.float32)
        inside = [i for i, id in enumerate(ids) if id in self._rows]
        found[inside] = self._vectors[[self._rows[ids[i]] for i in inside]]
        return found

    def present(self, ids: Sequence[str]) -> set[str]:
        """See `Index.present`."""
        return self._rows.keys() & set(ids)

    def optimise(self) -> None:
        """Nothing: an exact search has no index to build."""


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
    for columns in metadata:
        require(isinstance(columns, Mapping), f"metadata {columns!r}: give a mapping of columns to values")
        for column, value in columns.items():
            require(isinstance(value, Value), f"metadata {column} = {value!r}: give text, a number, or true or false")
    usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    if not usable.all():
        raise UsageError(f"the vector of {ids[int(np.argmin(usable))]!r} is zero or not finite: it has no direction")
    return _scaled(vectors), metadata


def query_of(vector: np.ndarray, dimensions: int | None) -> np.ndarray:
    """`vector` (D,) as float32; UsageError where `Index.search` refuses it. dimensions: D of the points, None without any."""
    vector = np.asarray(vector, dtype=np.float32)
    require(vector.ndim == 1, f"a query of shape {vector.shape}: give one vector, (D,)")
    _check_dimensions(len(vector), dimensions)
    require(bool(np.isfinite(vector).all() and vector.any()), "the query is zero or not finite: it has no direction")
    return _scaled(vector[None])[0]


def _check_dimensions(given: int, dimensions: int | None) -> None:
    wanted = f"a vector of {given} numbers in an index of {dimensions}: use the encoder that the index was made with"
    require(dimensions is None or given == dimensions, wanted)


def where_of(texts: Iterable[str]) -> dict[str, list[str]]:
    """Texts "COLUMN=VALUE" as a filter: any of the values of a column. "year=1888..1890" stands for the whole numbers in it.

    Raises UsageError for a text without "=".
    """
    allowed: dict[str, list[str]] = {}
    for text in texts:
        column, equals, value = text.partition("=")
        require(bool(equals), f"where {text!r}: write COLUMN=VALUE")
        span = re.fullmatch(r"(\d{1,4})\.\.(\d{1,4})", value)
        allowed.setdefault(column, []).extend(map(str, range(int(span[1]), int(span[2]) + 1)) if span else [value])
    return allowed


def best(matches: Iterable[Match], k: int) -> list[Match]:
    """The `k` matches with the highest cosines, best first, equal ones by id."""
    return sorted(matches, key=lambda match: (-match.similarity, match.id))[:k]


def tags(columns: Mapping[str, Value]) -> list[str]:
    """A tag for every column with its value, 16 hexadecimal digits: what every store filters by.

    So a store needs no types, columns or quotes of its own, and a column that is missing equals nothing. 1 and 1.0 are one
    value; true, 1 and "1" are three.
    """
    return [_tag(column, value) for column, value in columns.items()]


def wanted(where: Where) -> list[list[str]]:
    """The tags of which a point must have one of each list. A column with no values at all has a tag that no point has."""
    allowed = {key: (value,) if isinstance(value, Value) else tuple(value) for key, value in where.items()}
    return [[_tag(column, value) for value in values] or ["none"] for column, values in allowed.items()]


def _tag(column: str, value: Value) -> str:
    plain = int(value) if isinstance(value, float) and value.is_integer() else value
    return hashlib.sha256(json.dumps([column, plain]).encode()).hexdigest()[:16]
