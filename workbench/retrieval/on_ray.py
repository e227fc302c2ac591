"""Shards of a corpus made by the machines of a Ray cluster (extra [cluster]): the same files as `workers.here` leaves.

All machines must have this package and see the corpus and the shards under the same paths. A machine whose weights, versions
or precision would give other vectors says so, and makes none.
"""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load, save

from workbench import images, tasks
from workbench.errors import WorkbenchError
from workbench.retrieval import embeddings
from workbench.retrieval.shards import Shard, describe
from workbench.retrieval.workers import Job

CORES = 0.5
"""Cores that an encoder on a CPU is counted as: if it were one, as many encoders as cores would leave none for decoding."""


def make_each(job: Job, shards: Sequence[Shard], workers: int | None, address: str = "") -> Iterator[str]:
    """Make every shard by Ray Data; yield, as they are done, why one could not be made, or "".

    Pictures are decoded by tasks, a shard at a time, and streamed to `workers` actors that hold the encoder, by default one for
    each core, or GPU, of the cluster. Where the actors are slower, the tasks wait: of 256 pictures of 320 px some 240 MB are
    held for each task and actor. `address`: of a cluster; "" starts one on this machine, and ends it.

    Raises UsageError where ray is not installed, WorkbenchError where the cluster does not answer, or a process of it dies.
    """
    with tasks.cluster(address) as ray:
        ray.data.DataContext.get_current().enable_progress_bars = False
        gpus = int(job.device == "cuda")
        every = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1))
        pool = ray.data.ActorPoolStrategy(size=min(workers or max(every, 1), len(shards)))
        wanted = embeddings.key(job.opened(), job.kind, job.size)
        rows = ray.data.from_items([{"shard": _absolute(shard)} for shard in shards], override_num_blocks=len(shards))
        decoded = rows.map(_decode, fn_kwargs={"size": job.size, "decoder": images.DECODER})
        resources = {"num_gpus": 1} if gpus else {"num_cpus": CORES}
        made = decoded.map_batches(_Encoding, fn_constructor_args=(job, wanted), batch_size=1, compute=pool, **resources)
        for row in made.iter_rows():
            yield row["problem"]


def _absolute(shard: Shard) -> Shard:
    """The shard with paths that hold in another working directory."""
    return replace(shard, works=tuple(replace(work, path=work.path.absolute()) for work in shard.works))


def _decode(row: dict[str, Any], size: int, decoder: str) -> dict[str, Any]:
    """Add the pictures of a shard, which differ in shape, as the bytes of a safetensors file; or what is wrong."""
    if decoder != images.DECODER:
        return row | {"pictures": b"", "problem": f"{platform.node()} decodes pictures by another version"}
    try:
        pictures = {f"{i:06}": work.load(size).numpy() for i, work in enumerate(row["shard"].works)}
    except WorkbenchError as error:
        return row | {"pictures": b"", "problem": str(error)}
    return row | {"pictures": save(pictures), "problem": ""}


class _Encoding:
    """A process of the cluster that holds the encoder."""

    def __init__(self, job: Job, wanted: str):
        torch.set_num_threads(1)
        self.job, self.encoder = job, job.opened()
        same = embeddings.key(self.encoder, job.kind, job.size) == wanted
        self.differs = "" if same else f"{platform.node()} has other weights, another version or precision of {job.encoder}"

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        problem = str(batch["problem"][0]) or self.differs
        if not problem:
            pictures = load(bytes(batch["pictures"][0]))
            each = (torch.from_numpy(pictures[name]) for name in sorted(pictures))
            batch["shard"][0].write(self.job.folder, describe(each, self.encoder, self.job.kind))
        return {"problem": np.array([problem])}
