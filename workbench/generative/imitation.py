"""Pairs for a network that imitates `neighbours`: photographs, and what the optimisation made of them for random weights.

The pictures are made once and kept in a folder; a stop loses at most the one being painted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from workbench import encoders, images, progress, storage, targets
from workbench.corpora import Corpus, IngestReport, Work
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError, require
from workbench.generative import data
from workbench.targets import StyleTarget
from workbench.transfer import Settings, Transfer

SIZE = 320
"""px. Long side of the pictures: what takes ten seconds instead of half a minute."""
BRUSH = 1.6
"""Strokes in them are so much larger than in a picture of that size: as large as in one of 512 px, which the network is for."""
TAUS = (0.03, 0.3)
"""Least and largest temperature of a blend."""


@dataclass(frozen=True)
class Pair:
    """photograph: the work painted; picture: the file of the result; weights: SHA-256 of a painting -> its weight."""

    photograph: Work
    picture: Path
    weights: dict[str, float]


def make(
    works: Sequence[Work],
    photographs: Sequence[Work],
    folder: Path,
    count: int,
    encoder: Encoder,
    *,
    size: int = SIZE,
    show: bool = False,
) -> list[Pair]:
    """`count` pairs in `folder`, those that are missing painted at long side `size` px; some ten seconds each on a CPU.

    Each is decided by its number. UsageError where the folder holds pairs of other works or photographs.

    Half are blends at a random temperature for the photograph, a quarter single works, a quarter 2 to 8 works with random
    weights.
    """
    retriever = encoders.retriever(encoder.device)
    corpus = Corpus("works", Path(), tuple(works), IngestReport(seen=len(works), usable=len(works)))
    for number in progress.track(range(count), total=count, label="pairs", show=show):
        path = folder / f"{number:05d}.png"
        if path.with_suffix(".json").exists():
            continue
        draw = torch.Generator().manual_seed(number)
        photograph = photographs[data.below(len(photographs), draw)]
        content = photograph.load(768)
        target = _target(corpus, content, encoder, retriever, draw)
        settings = Settings(size=size, brush=BRUSH, seed=data.below(2**31, draw))
        result = Transfer(content, target, encoder, settings).run()
        if not result.complete:
            raise KeyboardInterrupt(f"interrupted; {number} pairs lie in {folder}")
        images.save(result.image, path)
        weights = {work.sha256: weight for work, weight in zip(target.works, target.weights, strict=True)}
        described = {"photograph": photograph.sha256, "weights": weights, "target": target.name, "size": size, "brush": BRUSH}
        storage.write_text(path.with_suffix(".json"), json.dumps(described, indent=1) + "\n")
    found = read(folder, photographs, works)
    ours = len(found) >= count
    require(ours, f"{folder} holds pairs of other works or photographs, {count - len(found)} of {count}: name another folder")
    return found[:count]


def _target(works: Corpus, content: Tensor, encoder: Encoder, retriever: Encoder, draw: torch.Generator) -> StyleTarget:
    kind = data.uniform(draw)
    if kind < 0.5:
        tau = TAUS[0] * (TAUS[1] / TAUS[0]) ** data.uniform(draw)
        return targets.Selection(works, content, encoder, retriever=retriever).blend(tau)
    some = 1 if kind < 0.75 else min(len(works), 2 + data.below(7, draw))
    chosen = torch.randperm(len(works), generator=draw)[:some].tolist()
    drawn = -torch.log(torch.rand(some, generator=draw).clamp_min(1e-12))
    shares = sorted((drawn / drawn.sum()).tolist(), reverse=True)
    return StyleTarget("random", tuple(tuple(works)[k] for k in chosen), tuple(shares))


def read(folder: Path, photographs: Sequence[Work], works: Sequence[Work]) -> list[Pair]:
    """The pairs in `folder` whose photograph is one of `photographs` and whose paintings are among `works`."""
    known, painted = {work.sha256: work for work in photographs}, {work.sha256 for work in works}
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            photograph, weights = described["photograph"], described["weights"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkbenchError(f"{path} does not describe a pair: {error}") from error
        if photograph in known and painted.issuperset(weights):
            found.append(Pair(known[photograph], path.with_suffix(".png"), weights))
    return found


class PairedCrops:
    """Crops at the same place of photographs and of what was painted from them."""

    def __init__(self, pairs: Sequence[Pair]):
        self.pairs = tuple(pairs)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def _load(self, k: int) -> tuple[Tensor, Tensor]:
        if k not in self._kept:
            painted = images.load(self.pairs[k].picture)
            content = images.resize(self.pairs[k].photograph.load(768), tuple(painted.shape[-2:]))
            self._kept[k] = data.to_bytes(content)[0], data.to_bytes(painted)[0]
        return self._kept[k]

    def crop(self, draw: torch.Generator, side: int) -> tuple[int, Tensor, Tensor]:
        """(number of the pair, crop of the photograph, crop of the picture), both (3, side, side) in [0, 1]."""
        k = data.below(len(self.pairs), draw)
        content, painted = self._load(k)
        height, width = content.shape[-2:]
        box = min(side, height, width)
        top, left = data.below(height - box + 1, draw), data.below(width - box + 1, draw)
        mirrored = data.uniform(draw) < 0.5
        both = []
        for picture in (content, painted):
            crop = data.from_bytes(picture[None, :, top : top + box, left : left + box])
            crop = images.resize(crop.flip(-1) if mirrored else crop, (side, side))
            both.append(crop[0])
        return k, both[0], both[1]
