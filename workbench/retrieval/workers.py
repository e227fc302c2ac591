"""Who makes the shards of a corpus: this process, a pool of processes, or a Ray cluster (see `on_ray`).

All leave the same files, see `shards`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench import encoders, progress, tasks
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError, require
from workbench.retrieval import reading
from workbench.retrieval.descriptors import KINDS, Kind
from workbench.retrieval.shards import WORKS, Shard, Shards, describe, divide, write_manifest


@dataclass(frozen=True)
class Job:
    """What every shard is made with: the encoder by its name, and where the files go."""

    folder: Path
    encoder: str
    kind: Kind
    size: int
    device: str = "auto"
    precision: encoders.Precision = "auto"

    def opened(self) -> Encoder:
        """The encoder, once per process."""
        return _encoder(self.encoder, self.device, self.precision)


@cache
def _encoder(name: str, device: str, precision: encoders.Precision) -> Encoder:
    return encoders.load(name, device=device, precision=precision)


def embed(
    corpus: Corpus | Sequence[Work],
    folder: str | Path,
    encoder: str = encoders.RETRIEVER,
    kind: Kind = "content",
    *,
    workers: int | None = None,
    on: str = "here",
    size: int | None = None,
    count: int = WORKS,
    device: str = "auto",
    precision: encoders.Precision = "auto",
    show: bool = False,
) -> Shards:
    """Embed a corpus in shards of `count` works below `folder`; what is made there and agrees is not made again.

    Args:
        encoder: by name, see `encoders.load`. size: long side of the pictures, by default `Encoder.embedding_size`.
        workers: processes; by default one for each core, and one on a GPU. One is this process.
        on: "here"; "ray", for a Ray that is started on this machine; or "ray:ADDRESS", for a cluster (extra [cluster]).
        show: progress on stderr.

    Raises UsageError for another kind or place, WorkbenchError without works and, once the other shards are made, for a file
    that cannot be read.
    """
    require(kind in KINDS, f"embedding {kind!r}: choose {', '.join(KINDS)}")
    place, address = tasks.place_of(on)
    works, folder = tuple(corpus), Path(folder).absolute()
    if not works:
        raise WorkbenchError("no works to embed")
    network = encoders.load(encoder, device=device, precision=precision)
    job = Job(folder, encoder, kind, size or network.embedding_size, network.device.type, precision)
    shards = divide(works, network, kind, job.size, count)
    missing = [shard for shard in shards if not shard.is_made(folder)]
    if missing:
        if place == "ray":
            from workbench.retrieval import on_ray

            made = on_ray.make_each(job, missing, workers, address)
        else:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            made = here(job, missing, min(workers or (1 if network.device.type == "cuda" else cores), len(missing)))
        problems = [told for told in progress.track(made, total=len(missing), label=f"shards of {count}", show=show) if told]
        if problems:
            raise WorkbenchError(problems[0] + (f"; and {len(problems) - 1} more" if len(problems) > 1 else ""))
    write_manifest(folder, shards, network, kind, job.size)
    return Shards(folder, shards)


def make(job: Job, shard: Shard) -> str:
    """Make a shard in this process. Returns why it cannot be made, or ""."""
    encoder = job.opened()
    try:
        with closing(reading.read(shard.works, job.size, encoder.device)) as pictures:
            shard.write(job.folder, describe(pictures, encoder, job.kind))
    except WorkbenchError as error:
        return str(error)
    return ""


def here(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[str]:
    """`make` of every shard, as they are done, by `workers` processes, each with one thread."""
    return (told for _, told in tasks.each(make, job, shards, workers=workers, threads=1))
