"""What a picture of a corpus costs, stage by stage, and what that comes to for very many of them.

Stages are measured in seconds of one core (CPU time, which does not count the time that other programs take), on real files,
with one thread: first with an empty cache, then again. Everything beyond that is multiplication, and says so.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench import encoders, storage
from workbench.corpora import ingest
from workbench.retrieval import embeddings, reading, shards

NUMBERS = (10**5, 10**6, 10**8)
GPU_RATE = 800.0
"""Pictures a second that an H100 encodes, once they are decoded: the lower end of what measured_cuda.json has for the
encoders of style, whose pictures are larger. Not measured for lite0."""
INDEX_BYTES, INDEX_SECONDS = 5190.0, 54e-5
"""Bytes of a point in LanceDB, and seconds to write it and build the index: stores.json, 100,000 points, a busy machine."""


@dataclass(frozen=True)
class Place:
    """Machines, each with `cores`, and with a GPU or none."""

    name: str
    machines: int
    cores: int
    has_gpu: bool


PLACES = (
    Place("laptop, 8 cores", 1, 8, False),
    Place("GPU machine, 16 cores", 1, 16, True),
    Place("cluster, 32 of these", 32, 16, True),
)


def measured(folders: list[Path], retriever: str) -> dict[str, Any]:
    """Seconds of one core for each picture and stage, on the pictures in `folders`."""
    torch.set_num_threads(1)
    encoder = encoders.load(retriever, device="cpu")
    found: dict[str, Any] = {"encoder": encoder.identity, "size": encoder.embedding_size}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["WORKBENCH_CACHE"] = cache
        corpora, cold = timed(lambda: [ingest(folder) for folder in folders])
        _, warm = timed(lambda: [ingest(folder) for folder in folders])
        works = [work for corpus in corpora for work in corpus]
        size = encoder.embedding_size
        encoder.embed(works[0].load(size))  # whatever is made at first use
        with closing(reading.read(works, size, encoder.device)) as pictures:
            read, reads = timed(lambda: list(pictures))
        rows, encodes = timed(lambda: shards.describe(iter(read), encoder, "content"))
        folder = Path(cache, "shards")
        parts = shards.divide(works, encoder, "content", size)
        places = {work.sha256: row for work, row in zip(works, rows, strict=True)}
        _, writes = timed(lambda: [part.write(folder, np.stack([places[w.sha256] for w in part.works])) for part in parts])
        _, skips = timed(lambda: [part.is_made(folder) for part in parts])
        _, first = timed(lambda: embeddings.embed(works, encoder, "content"))
        _, again = timed(lambda: embeddings.embed(works, encoder, "content"))
        seconds = {"ingest, first": cold, "ingest, again": warm, "read": reads, "encode": encodes, "write a shard": writes,
                   "skip a shard": skips, "embed through the cache, first": first, "again": again}  # fmt: skip
        sizes = [work.path.stat().st_size for work in works]
        found |= {"pictures": len(works), "file MB": sum(sizes) / len(works) / 1e6, "vector bytes": rows.shape[1] * 4,
                  "megapixels": sum(work.width * work.height for work in works) / len(works) / 1e6}  # fmt: skip
    return found | {"seconds of one core": {name: value / len(works) for name, value in seconds.items()}}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(what `work` returns, the CPU time that this process took for it)."""
    began = time.process_time()
    return work(), time.process_time() - began


def hours(found: dict[str, Any], number: int, place: Place) -> dict[str, float]:
    """Hours of each stage: all cores share what is read and encoded; a corpus is ingested by one process."""
    each: dict[str, float] = found["seconds of one core"]
    cores = place.machines * place.cores
    encode = number / (GPU_RATE * place.machines) if place.has_gpu else number * each["encode"] / cores
    spent = {"ingest": number * each["ingest, first"], "read": number * each["read"] / cores, "encode": encode,
             "fill the index": number * INDEX_SECONDS}  # fmt: skip
    return {name: seconds / 3600 for name, seconds in spent.items()}


def table(found: dict[str, Any]) -> str:
    lines = ["| pictures | where | ingest, h | read, h | encode, h | fill the index, h | files, GB | index, GB | longest |"]
    lines.append("|---" * 9 + "|")
    for number in NUMBERS:
        for place in PLACES:
            spent = hours(found, number, place)
            cells = [
                f"{number:,}",
                place.name,
                *(f"{value:.2g}" if value < 10 else f"{value:,.0f}" for value in spent.values()),
            ]
            cells += [f"{number * found['file MB'] / 1e3:,.0f}", f"{number * INDEX_BYTES / 1e9:,.1f}"]
            lines.append(f"| {' | '.join(cells)} | {max(spent, key=lambda name: spent[name])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of pictures, 64 or more in all")
    parser.add_argument("--encoder", default=encoders.RETRIEVER)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    found = measured(args.folders, args.encoder)
    storage.write_text(args.out, json.dumps(found, indent=1) + "\n")
    for name, value in found["seconds of one core"].items():
        print(f"{name:32} {value * 1000:8.2f} ms of one core a picture")
    print(table(found))


if __name__ == "__main__":
    main()
