"""The embedding of a large corpus in shards: parts of some hundred works, each a file that any process may make.

The contract, the same for a process, a pool and a cluster (see `workers`): a shard is called by a hash of everything that its
vectors depend on; who makes it writes KEY.safetensors, and then KEY.json, which has the hash of that file. A shard counts as
made if both are there and agree, so that making one twice changes nothing, and a run that broke off goes on where it ended.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from workbench import provenance, storage
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError
from workbench.retrieval import embeddings
from workbench.retrieval.descriptors import Kind, describe_each

WORKS = 256
"""Works of a shard: a picture that cannot be read costs what the others of its shard took."""
MANIFEST = "manifest.json"
"""File name of the list of all shards; it is there once all are made."""
OPEN = 4
"""Shards whose vectors are in memory, at most."""


@dataclass(frozen=True)
class Shard:
    """Some works, and the key of their vectors."""

    key: str
    works: tuple[Work, ...] = field(repr=False)

    def is_made(self, folder: Path) -> bool:
        """Whether its files in `folder` are there and agree."""
        try:
            said = json.loads((folder / f"{self.key}.json").read_text(encoding="utf-8"))
            return said["sha256"] == provenance.sha256(folder / f"{self.key}.safetensors")
        except (OSError, ValueError, KeyError, TypeError, WorkbenchError):
            return False

    def write(self, folder: Path, rows: np.ndarray) -> None:
        """Keep `rows`, the descriptors (n, D) of the works."""
        storage.Cache(folder).put(self.key, {"descriptors": rows})
        said = {
            "sha256": provenance.sha256(folder / f"{self.key}.safetensors"),
            "works": [work.sha256 for work in self.works],
        }
        storage.write_text(folder / f"{self.key}.json", json.dumps(said))

    def rows(self, folder: Path) -> np.ndarray:
        """The descriptors of the works: (n, D) float32."""
        found = storage.Cache(folder).get(self.key, ["descriptors"])
        if found is None:
            raise WorkbenchError(f"{folder / self.key}.safetensors is damaged or gone: embed the corpus again")
        return found["descriptors"]


def divide(works: Sequence[Work], encoder: Encoder, kind: Kind, size: int, count: int = WORKS) -> list[Shard]:
    """Shards of `count` works, in order, each file once. Works that are added at the end leave full shards as they are."""
    once = list({work.sha256: work for work in works}.values())
    what = embeddings.key(encoder, kind, size)
    shards = []
    for start in range(0, len(once), count):
        part = tuple(once[start : start + count])
        text = "\n".join([what, *(work.sha256 for work in part)])
        shards.append(Shard(hashlib.sha256(text.encode()).hexdigest()[:32], part))
    return shards


def describe(pictures: Iterator[torch.Tensor], encoder: Encoder, kind: Kind) -> np.ndarray:
    """The descriptors (n, D) of `pictures`, each (1, 3, H, W), one after the other."""
    return np.concatenate([describe_each(picture.to(encoder.device), encoder, kind) for picture in pictures])


def write_manifest(folder: Path, shards: Sequence[Shard], encoder: Encoder, kind: Kind, size: int) -> Path:
    """List the shards of a corpus, once all are made."""
    listed = [{"key": shard.key, "works": len(shard.works)} for shard in shards]
    said = {"encoder": encoder.identity, "kind": kind, "size": size, "shards": listed}
    return storage.write_text(folder / MANIFEST, json.dumps(said, indent=1))


class Shards:
    """The descriptors of works from shards in `folder`, of which few are in memory: what `filling.fill` may read."""

    def __init__(self, folder: Path, shards: Sequence[Shard]):
        self.folder = folder
        self._places = {work.sha256: (shard, i) for shard in shards for i, work in enumerate(shard.works)}
        self._open: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, works: Sequence[Work]) -> np.ndarray:
        """The descriptors of `works`: (n, D) float32."""
        return np.stack([self._row(*self._places[work.sha256]) for work in works])

    def _row(self, shard: Shard, i: int) -> np.ndarray:
        if shard.key not in self._open:
            self._open[shard.key] = shard.rows(self.folder)
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        return self._open[shard.key][i]
