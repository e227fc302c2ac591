"""What do other indexes and settings of LanceDB buy? Recall against latency, for a search among all and within one artist.

    python benchmarks/lancedb_settings.py --points 100000

Points and queries are those of stores.py. Each kind of index is built over one table, and searched with more and more parts of
it (nprobes) and candidates that are compared exactly for each work asked for (refine; 0: approximate distances stand). "none"
looks at every point that meets the filter. "call" asks a table of ten points, which is what a search costs before it searches.
Prints lines of JSON and writes benchmarks/lancedb_settings.json, in which rows of other indexes and sizes stay.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lancedb import index as kinds
from stores import ARTISTS, K, artist, fill, machine, nearest, points

from workbench import storage
from workbench.retrieval.index import wanted
from workbench.retrieval.stores import lance, open_index

OUT = Path(__file__).with_name("lancedb_settings.json")
INDEXES = {
    "IVF_SQ": kinds.IvfSq(distance_type="cosine"),
    "IVF_RQ": kinds.IvfRq(distance_type="cosine"),
    "IVF_PQ": kinds.IvfPq(distance_type="cosine"),
    "IVF_HNSW_SQ": kinds.HnswSq(distance_type="cosine"),
}
SETTINGS = [(4, 1), (4, 4), (8, 1), (8, 4), (16, 0), (16, 1), (16, 4), (32, 4), (64, 4)]
"""(nprobes, refine)."""


def searched(table: Any, queries: np.ndarray, truth: np.ndarray, only: str, probes: int, refine: int) -> dict[str, float]:
    """Recall and milliseconds of a search; probes 0 looks at all."""

    def ask(query: np.ndarray) -> set[str]:
        asked = table.search(query).distance_type("cosine").limit(K).select(["id", "metadata", "_distance"])
        asked = asked.nprobes(probes) if probes else asked.bypass_vector_index()
        asked = asked.refine_factor(refine) if refine else asked
        asked = asked.where(only, prefilter=True) if only else asked
        return {row["id"] for row in asked.to_list()}

    ask(queries[0])
    hits, seconds = [], []
    for query, right in zip(queries, truth, strict=True):
        start = time.perf_counter()
        found = ask(query)
        seconds.append(time.perf_counter() - start)
        hits.append(len(found & {f"w{i}" for i in right}) / K)
    times = dict(zip(("10 % ms", "median ms", "95 % ms"), np.quantile(seconds, (0.1, 0.5, 0.95)) * 1000, strict=True))
    return {"recall": round(float(np.mean(hits)), 4)} | {name: round(time, 2) for name, time in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--queries", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--indexes", nargs="+", choices=INDEXES, default=list(INDEXES))
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    args = parser.parse_args()
    vectors, queries = points(args.points), points(200, seed=2)[: args.queries]
    truths = nearest(vectors, queries, np.arange(args.points)), nearest(vectors, queries, np.arange(0, args.points, ARTISTS))
    (tags,) = wanted({"artist": artist(0)})
    filters = "", f"array_has_any(tags, {tags})"
    found = json.loads(args.out.read_text()) if args.out.exists() else {"machine": machine(), "points": {}}
    former = found["points"].get(str(args.points), [])
    rows = found["points"][str(args.points)] = [row for row in former if row["index"] not in (*args.indexes, "none", "call")]
    with tempfile.TemporaryDirectory() as folder:
        lance.APPROXIMATE = args.points + 1  # the store builds none
        store = open_index(f"lancedb:{folder}")
        print(f"filled in {fill(store, vectors, 10_000):.0f} s", flush=True)
        table = store._table
        table.create_index("tags", config=kinds.LabelList())
        few = open_index(f"lancedb:{folder}/few")
        fill(few, vectors[:K], 10_000)
        for name in [*args.indexes, "none", "call"]:
            took = 0.0
            if name in INDEXES:
                start = time.perf_counter()
                table.create_index("vector", config=INDEXES[name], replace=True)
                took = time.perf_counter() - start
            for probes, refine in SETTINGS if name in INDEXES else [(0, 0)]:
                row = {"index": name, "built s": round(took, 1), "probes": probes, "refine": refine}
                for what, truth, only in zip(("all", "by artist"), truths, filters, strict=True):
                    row[what] = searched(few._table if name == "call" else table, queries, truth, only, probes, refine)
                    if name == "call":
                        del row[what]["recall"]  # ten points are not those that are looked for
                rows.append(row | {"load": round(os.getloadavg()[0], 1)})
                print(json.dumps(rows[-1]), flush=True)
                storage.write_text(args.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
