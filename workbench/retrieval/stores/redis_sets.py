"""Redis 8: an index as a vector set, in the memory of a server, which keeps it on disk as far as it is set up to."""

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from workbench.retrieval.stores.base import Row, Store, package

EXACT = 4096
"""Points up to which all are compared."""
EF = 400
"""Candidates of a search among more, at least."""


class RedisSets(Store):
    """A vector set, and under NAME:about what it holds. A batch is one transaction. The password may be in REDIS_PASSWORD."""

    batch = 500

    def connect(self) -> Any:
        options = {"password": os.environ.get("REDIS_PASSWORD"), "socket_connect_timeout": 10, "socket_timeout": 600}
        client = package("redis", "redis").Redis.from_url(self.place, **options)
        client.ping()
        return client

    def look(self) -> tuple[int, str] | None:
        if not self.client.exists(self.name):
            return None
        return self.client.execute_command("VDIM", self.name), (self.client.get(f"{self.name}:about") or b"").decode()

    def create(self, dimensions: int) -> None:
        self.client.set(f"{self.name}:about", self.about, nx=True)  # the set itself begins with its first point
        self.about = self.client.get(f"{self.name}:about").decode()

    def count(self) -> int:
        return self.client.execute_command("VCARD", self.name)

    def write(self, rows: Sequence[Row]) -> None:
        pipeline = self.client.pipeline()
        for id, vector, text, tags in rows:
            held = json.dumps({"tags": tags, "metadata": text})
            pipeline.execute_command("VADD", self.name, "FP32", vector.tobytes(), id, "NOQUANT", "SETATTR", held)
        pipeline.execute()

    def remove(self, ids: list[str]) -> None:
        self._each("VREM", ids)
        if not self.client.exists(self.name):
            self.client.delete(f"{self.name}:about")

    def nearest(self, vector: np.ndarray, k: int, allowed: list[list[str]]) -> Iterable[tuple[str, float, str]]:
        if not (count := self.count()):
            return
        options = ["COUNT", k, "WITHSCORES", "WITHATTRIBS", *(["TRUTH"] if count <= EXACT else ["EF", max(EF, k)])]
        if allowed:
            some = ("(" + " or ".join(f'"{tag}" in .tags' for tag in any_of) + ")" for any_of in allowed)
            options += ["FILTER", " and ".join(some)]
        found = self.client.execute_command("VSIM", self.name, "FP32", vector.tobytes(), *options)
        for id, (score, held) in found.items():  # a score is (1 + cosine) / 2
            yield id.decode(), 2 * score - 1, json.loads(held)["metadata"]

    def fetch(self, ids: list[str], vectors: bool) -> Iterable[tuple[str, Any]]:
        if not vectors:
            return [(id, None) for id, there in zip(ids, self._each("VISMEMBER", ids), strict=True) if there]
        held = zip(ids, self._each("VEMB", ids, "RAW"), strict=True)  # vectors of length one, and their lengths
        return [(id, np.frombuffer(raw[1], dtype=np.float32) * float(raw[2])) for id, raw in held if raw is not None]

    def _each(self, command: str, ids: list[str], *options: str) -> list[Any]:
        pipeline = self.client.pipeline(transaction=False)
        for id in ids:
            pipeline.execute_command(command, self.name, id, *options)
        return pipeline.execute()
