"""PostgreSQL with pgvector: an index as a table of a database, beside whatever else a museum keeps there."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from workbench.retrieval.stores.base import Row, Store, package

APPROXIMATE, MAX_DIMENSIONS = 10_000, 2000
"""Points from which on a search is approximate, and numbers of a vector up to which pgvector can do so."""
EF = 200
"""Candidates of a search at least."""


class Postgres(Store):
    """A table. A batch is one transaction. The password may be given in PGPASSWORD instead of the address."""

    def connect(self) -> Any:
        vector = package("pgvector.psycopg", "postgresql")
        client = package("psycopg", "postgresql").connect(self.place, autocommit=True, connect_timeout=10)
        if not client.execute("select 1 from pg_extension where extname = 'vector'").fetchone():
            client.execute("create extension vector")
        vector.register_vector(client)
        return client

    def look(self) -> tuple[int, str] | None:
        query = "select atttypmod, obj_description(attrelid) from pg_attribute where attname = 'vector' and attrelid = "
        found = self.client.execute(query + "to_regclass(%s)", [f'"{self.name}"']).fetchone()
        return found and (found[0], found[1] or "")

    def create(self, dimensions: int) -> None:
        about = self.about.replace("'", "''")
        with self.client.transaction():
            self.client.execute(f'create table "{self.name}" {_columns(dimensions)}')
            self.client.execute(f"comment on table \"{self.name}\" is '{about}'")

    def count(self) -> int:
        return self.client.execute(f'select count(*) from "{self.name}"').fetchone()[0]

    def write(self, rows: Sequence[Row]) -> None:
        with self.client.transaction(), self.client.cursor() as cursor:
            cursor.execute(f"create temporary table batch {_columns(len(rows[0][1]))} on commit drop")
            with cursor.copy("copy batch from stdin with (format binary)") as copy:
                copy.set_types(["text", "vector", "text", "text[]"])
                for row in rows:
                    copy.write_row(row)
            new = "vector = excluded.vector, metadata = excluded.metadata, tags = excluded.tags"
            cursor.execute(f'insert into "{self.name}" select * from batch on conflict (id) do update set {new}')

    def remove(self, ids: list[str]) -> None:
        self.client.execute(f'delete from "{self.name}" where id = any(%s)', [ids])

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        filters = " and ".join(["true", *["tags && %s"] * len(allowed)])
        query = f'select id, 1 - (vector <=> %s), metadata from "{self.name}" where {filters} order by vector <=> %s limit %s'
        with self.client.transaction():  # beyond the thousand candidates that pgvector takes, it goes on in rounds
            self.client.execute(f"set local hnsw.ef_search = {min(max(EF, k), 1000)}")
            self.client.execute("set local hnsw.iterative_scan = strict_order")
            return self.client.execute(query, [vector, *allowed, vector, k]).fetchall()

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        query = f'select id, {"vector" if vectors else "0"} from "{self.name}" where id = any(%s)'
        return ((id, vector.to_numpy() if vectors else None) for id, vector in self.client.execute(query, [ids], binary=True))

    def build(self) -> None:
        built = self.client.execute("select to_regclass(%s)", [f'"{self.name}_tags"']).fetchone()[0]
        if not built and self.count() >= APPROXIMATE and (self.dimensions or 0) <= MAX_DIMENSIONS:
            self.client.execute("set maintenance_work_mem = '1GB'")  # a graph that does not fit is built many times as slowly
            for suffix, using in (("graph", "hnsw (vector vector_cosine_ops)"), ("tags", "gin (tags)")):
                self.client.execute(f'create index if not exists "{self.name}_{suffix}" on "{self.name}" using {using}')
            self.client.execute(f'analyze "{self.name}"')


def _columns(dimensions: int) -> str:
    return f"(id text primary key, vector vector({dimensions}), metadata text, tags text[])"
