"""What all stores have in common: checks, batches, and one line for whatever a client raises."""

import importlib
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from workbench.errors import WorkbenchError
from workbench.names import without_passwords
from workbench.retrieval.index import Match, Value, Where, best, check_k, points_of, query_of, tags, wanted

Row = tuple[str, np.ndarray, str, list[str]]
"""A point as it is written: id, vector (D,), metadata as JSON, and its tags."""


class Store(ABC):
    """An `Index` that outlives the process. A subclass says in the terms of one client what is abstract here.

    place, name: where the index is, and its name there. client: what `connect` returns. The index is made by the first upsert;
    the other methods are called only where there is one, with one batch at a time.
    """

    batch = 8192
    """Points that are written or fetched in one request."""

    def __init__(self, place: str, name: str):
        """Connect. WorkbenchError where the client's package is missing, or the store does not answer."""
        self.place, self.name, self.about = place, name, ""
        self._size: int | None = None
        with self._answering():
            self.client = self.connect()
            self._size, self.about = self.look() or (None, "")

    @abstractmethod
    def connect(self) -> Any: ...

    @abstractmethod
    def look(self) -> tuple[int, str] | None:
        """(D, about) of the index where there is one."""

    @abstractmethod
    def create(self, dimensions: int) -> None:
        """Make the index, with `about`. What another process or program keeps under the name is left as it is."""

    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    def remove(self, ids: list[str]) -> None: ...

    @abstractmethod
    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        """(id, cosine, metadata as JSON) of the k nearest; `allowed` as `index.wanted` gives it."""

    @abstractmethod
    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        """(id, vector) of those of `ids` that are there; anything in place of the vector unless `vectors` are asked for."""

    def build(self) -> None:
        """Build or renew an approximate index. Most stores do so by themselves, and nothing is left to do."""
        return

    @property
    def dimensions(self) -> int | None:
        """D, None as long as there is no index; another process may make it at any time."""
        if self._size is None and (found := self.look()):
            self._size, self.about = found
        return self._size

    def __len__(self) -> int:
        with self._answering():
            return self.count() if self.dimensions else 0

    def begin(self, about: str, dimensions: int) -> None:
        """See `Index.begin`."""
        with self._answering():
            if self.dimensions:
                return
            self.about = about
            try:
                self.create(dimensions)
            except Exception:  # each client has its own for an index that another process has made meanwhile
                if not self.look():
                    raise
            self._size, self.about = self.look() or (None, self.about)

    def upsert(self, ids: Sequence[str], vectors: np.ndarray, metadata: Sequence[Mapping[str, Value]] | None = None) -> None:
        """See `Index.upsert`."""
        with self._answering():
            vectors, metadata = points_of(ids, vectors, metadata, self.dimensions)
            rows = [(id, v, json.dumps(dict(m)), tags(m)) for id, v, m in zip(ids, vectors, metadata, strict=True)]
            if rows and not self.dimensions:
                about = self.about
                self.begin(about, vectors.shape[1])
                if self.about != about:
                    raise WorkbenchError(f"index {self.place}: another process has begun it meanwhile; try again")
            for start in range(0, len(rows), self.batch):
                self.write(rows[start : start + self.batch])

    def delete(self, ids: Iterable[str]) -> None:
        """See `Index.delete`."""
        with self._answering():
            for part in self._batches(list(ids)):
                self.remove(part)

    def search(self, vector: np.ndarray, k: int, where: Where | None = None) -> list[Match]:
        """See `Index.search`."""
        check_k(k)
        with self._answering():
            vector = query_of(vector, self.dimensions)
            if not self.dimensions:
                return []
            found = self.nearest(vector, k, wanted(where or {}))
            return best((Match(id, float(cosine), json.loads(text)) for id, cosine, text in found), k)

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """See `Index.vectors`."""
        with self._answering():
            found = np.zeros((len(ids), self.dimensions or 0), dtype=np.float32)
            places = {id: i for i, id in enumerate(ids)}
            for part in self._batches(list(ids)):
                for id, vector in self.fetch(part, True):
                    found[places[id]] = vector
            return found

    def present(self, ids: Sequence[str]) -> set[str]:
        """See `Index.present`."""
        with self._answering():
            return {id for part in self._batches(list(ids)) for id, _ in self.fetch(part, False)}

    def optimise(self) -> None:
        """See `Index.optimise`."""
        with self._answering():
            if self.dimensions:
                self.build()

    def _batches(self, ids: list[str]) -> Iterator[list[str]]:
        for start in range(0, len(ids) if self.dimensions else 0, self.batch):
            yield ids[start : start + self.batch]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever the client raises as one line: each has exceptions of its own, and a server may go away at any time."""
        try:
            yield
        except WorkbenchError:
            raise
        except Exception as error:
            says = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise WorkbenchError(without_passwords(f"index {self.place}: {says}")) from error


def package(name: str, extra: str) -> Any:
    """The module `name` of a client; WorkbenchError with the extra that brings it where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        what = f"the package {error.name} is not installed"
        raise WorkbenchError(f"index {extra}: {what}; pip install 'artist-workbench[{extra}]'") from error


def uuids(ids: Iterable[str]) -> list[str]:
    """Ids as stores take them that know no others."""
    return [str(uuid.uuid5(uuid.NAMESPACE_URL, id)) for id in ids]
