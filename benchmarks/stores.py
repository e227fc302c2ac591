"""How fast and how right is each vector store? Recall, latency, size and time to fill, by number of points.

    python benchmarks/stores.py --points 10000 100000

Servers of Chroma, PostgreSQL and Redis are started from wheels (extra `stores`); Qdrant and Milvus lie in a folder. Prints a
table and writes benchmarks/stores.json, in which the rows of other stores and sizes stay.

Points are drawn, 512 numbers each as of lite0: 64 independent directions, of standard deviations 1, 1/√2, 1/√3, …, around one
of 200 motifs, which are spread likewise, and a little noise in all 512. Two hundred more, or the first of these, are queries.
"by artist" asks for the works of one artist in a hundred. Recall is the share of the ten nearest, by all cosines, among the ten
found. Latency is that of one query at a time, from one process. Size is on disk, of Redis in memory.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from workbench import storage
from workbench.retrieval.index import Index
from workbench.retrieval.stores import open_index

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from vector_servers import ELSEWHERE, NEEDS, Servers

OUT = Path(__file__).with_name("stores.json")
DIMENSIONS, LATENT, MOTIFS, ARTISTS = 512, 64, 200, 100
QUERIES, K, BATCH = 200, 10, 8192
FOLDERS = {"exact": "exact", "lancedb": "lancedb:{}/lancedb", "qdrant": "qdrant:{}/qdrant", "milvus": "milvus:{}/milvus.db"}


def points(count: int, seed: int = 0) -> np.ndarray:
    """(count, 512) float32, as the head of this file says; the motifs are the same for every seed."""
    fixed, drawn = np.random.default_rng(1), np.random.default_rng(seed)
    spread = 1 / np.sqrt(np.arange(1, LATENT + 1))
    motifs = fixed.standard_normal((MOTIFS, LATENT)) * spread
    directions, _ = np.linalg.qr(fixed.standard_normal((DIMENSIONS, LATENT)))
    found = np.empty((count, DIMENSIONS), dtype=np.float32)
    for start in range(0, count, BATCH):
        n = min(BATCH, count - start)
        latent = motifs[drawn.integers(0, MOTIFS, n)] + drawn.standard_normal((n, LATENT)) * spread
        found[start : start + n] = latent @ directions.T + 0.01 * drawn.standard_normal((n, DIMENSIONS))
    return found


def artist(i: int) -> str:
    return f"artist {i % ARTISTS}"


def fill(index: Index, vectors: np.ndarray, limit: float) -> float:
    """Seconds that it takes to add `vectors` in batches and to build what the store builds; TimeoutError above `limit`."""
    start = time.perf_counter()
    for first in range(0, len(vectors), BATCH):
        some = range(first, min(first + BATCH, len(vectors)))
        index.upsert(
            [f"w{i}" for i in some], vectors[some.start : some.stop], [{"artist": artist(i), "year": i % 400} for i in some]
        )
        if time.perf_counter() - start > limit:
            raise TimeoutError(f"{some.stop} of {len(vectors)} points in {limit:.0f} s")
    index.optimise()
    return time.perf_counter() - start


def asked(index: Index, queries: np.ndarray, truth: np.ndarray, where: dict[str, str] | None) -> dict[str, float]:
    """Recall and milliseconds of a search, `truth` being the places of the right answers (queries, k)."""
    index.search(queries[0], K, where)
    hits, seconds = [], []
    for query, right in zip(queries, truth, strict=True):
        start = time.perf_counter()
        found = index.search(query, K, where)
        seconds.append(time.perf_counter() - start)
        hits.append(len({match.id for match in found} & {f"w{i}" for i in right}) / len(right))
    median, late = np.quantile(seconds, (0.5, 0.95)) * 1000
    return {"recall": round(float(np.mean(hits)), 4), "median ms": round(float(median), 2), "95 % ms": round(float(late), 2)}


def nearest(vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The places of the K nearest among `rows`, by all cosines, a batch of rows at a time: (queries, K)."""
    best, places = np.full((len(queries), K), -np.inf, dtype=np.float32), np.zeros((len(queries), K), dtype=np.int64)
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        cosines = np.hstack([best, queries @ vectors[some].T / np.linalg.norm(vectors[some], axis=1)])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :K]
        best = np.take_along_axis(cosines, order, axis=1)
        places = np.take_along_axis(np.hstack([places, np.broadcast_to(some, (len(queries), len(some)))]), order, axis=1)
    return places


def megabytes(store: str, index: Any, folder: Path) -> float | None:
    """What the points take, without what a server takes that has none."""
    if store == "exact":
        return None
    if store == "postgresql":
        return index.client.execute("select pg_total_relation_size(%s)", [index.name]).fetchone()[0] / 1e6
    if store == "redis":
        return index.client.info("memory")["used_memory"] / 1e6
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measured(store: str, count: int, limit: float, asking: int) -> dict[str, Any]:
    vectors, queries = points(count), points(QUERIES, seed=2)[:asking]
    everything, one = np.arange(count), np.arange(0, count, ARTISTS)
    servers = Servers()
    try:
        place = FOLDERS[store].format(servers.folder) if store in FOLDERS else servers.place(store)
        index = open_index(place)
        row: dict[str, Any] = {"fill s": round(fill(index, vectors, limit), 1)}
        size = megabytes(store, index, servers.folder)
        row["MB"] = None if size is None else round(size, 1)
        row["queries"] = len(queries)
        row["all"] = asked(index, queries, nearest(vectors, queries, everything), None)
        row["by artist"] = asked(index, queries, nearest(vectors, queries, one), {"artist": artist(0)})
        return row
    except TimeoutError as error:
        return {"stopped": str(error)}
    finally:
        servers.stop()


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.processor() or platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points", type=int, nargs="+", default=[100_000], help="how many (default: 100000; 1000000 takes hours)"
    )
    parser.add_argument("--stores", nargs="+", choices=NEEDS, default=[store for store in NEEDS if store not in ELSEWHERE])
    parser.add_argument(
        "--limit", type=float, default=180, help="seconds after which filling a store is given up (default: 180)"
    )
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"how many (default: {QUERIES}, which is the most)")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = json.loads(args.out.read_text()) if args.out.exists() else {"k": K, "dimensions": DIMENSIONS, "points": {}}
    print(f"{'store':12}{'points':>9}{'fill s':>9}{'MB':>9}{'recall':>8}{'ms':>8}{'95 %':>8}   by artist: recall, ms, 95 %")
    for count in args.points:
        for store in args.stores:
            row = measured(store, count, args.limit, args.queries)
            row["load"] = round(os.getloadavg()[0], 1)  # what else the machine did
            row["versions"] = {name: importlib.metadata.version(name.replace("_", "-")) for name in NEEDS[store]}
            found["points"].setdefault(str(count), {})[store] = row
            found["machine"] = machine()
            storage.write_text(args.out, json.dumps(found, indent=1) + "\n")
            numbers = "  ".join(f"{key} {value}" for key, value in row.items() if key != "versions")
            print(f"{store:12}{count:9}  {numbers}", flush=True)


if __name__ == "__main__":
    main()
