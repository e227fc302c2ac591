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
from workbench.provenance import sha256
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

    Each is decided by its number. UsageError where the folder holds pairs of other works or photographs, or by another encoder,
    or a file in the place of a picture that is none of a pair, before anything is painted into it.

    Half are blends at a random temperature for the photograph, a quarter single works, a quarter 2 to 8 works with random
    weights.
    """
    described = _described(folder)
    ours = [_pair(path, photographs, works, encoder) is not None for path in described]
    require(
        all(ours),
        f"{folder} holds pairs of other works or photographs, or by another encoder, {ours.count(False)} of {len(ours)}: "
        "name another folder",
    )
    for path in (picture_path(folder, number) for number in range(count)):
        foreign = path.with_suffix(".json") not in described and path.exists()
        require(not foreign, f"{path} exists already, and is none of a pair: name another folder, or delete it")
    retriever = encoders.retriever(encoder.device)
    corpus = Corpus("works", Path(), tuple(works), IngestReport(seen=len(works), usable=len(works)))
    for number in progress.track(range(count), total=count, label="pairs", show=show):
        path = picture_path(folder, number)
        if path.with_suffix(".json") in described and path.is_file():
            continue
        draw = torch.Generator().manual_seed(number)
        photograph = photographs[data.below(len(photographs), draw)]
        content = photograph.load(768)
        target = _target(corpus, content, encoder, retriever, draw)
        settings = Settings(size=size, brush=BRUSH, seed=data.below(2**31, draw))
        result = Transfer(content, target, encoder, settings).run()
        if not result.complete:
            raise KeyboardInterrupt(f"interrupted; {number} pairs lie in {folder}")
        weights = {work.sha256: weight for work, weight in zip(target.works, target.weights, strict=True)}
        says = {"photograph": photograph.sha256, "weights": weights, "target": target.name, "size": size, "brush": BRUSH}
        says |= {"encoder": encoder.weights_sha256}
        # Before the picture, so that after a stop between the two it is known whose the picture's place is.
        storage.write_text(path.with_suffix(".json"), json.dumps(says, indent=1) + "\n")
        images.save(result.image, path)
    return read(folder, photographs, works, encoder)[:count]


def picture_path(folder: Path, number: int) -> Path:
    """Where the picture of a pair lies; its description lies beside it."""
    return folder / f"{number:05d}.png"


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


def read(folder: Path, photographs: Sequence[Work], works: Sequence[Work], encoder: Encoder) -> list[Pair]:
    """The pairs in `folder` of one of `photographs`, of paintings among `works`, and painted by `encoder`.

    Pairs that do not say by which encoder count as well. WorkbenchError for a pair without its picture.
    """
    pairs = [_pair(path, photographs, works, encoder) for path in _described(folder)]
    found = [pair for pair in pairs if pair is not None]
    for pair in found:
        require(pair.picture.is_file(), f"{pair.picture} is missing: delete {pair.picture.with_suffix('.json').name} as well")
    return found


def identity_of(pairs: Sequence[Pair]) -> list[tuple]:
    """What is learnt from `pairs`: of each the picture's bytes, the photograph, and the weights of the works."""
    return [(sha256(pair.picture), pair.photograph.sha256, sorted(pair.weights.items())) for pair in pairs]


def _described(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _pair(path: Path, photographs: Sequence[Work], works: Sequence[Work], encoder: Encoder) -> Pair | None:
    """The pair that `path` describes, unless it is of other photographs or works, or by another encoder."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        photograph, by = str(described["photograph"]), described.get("encoder", encoder.weights_sha256)
        weights = {str(name): float(weight) for name, weight in described["weights"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkbenchError(f"{path} does not describe a pair: {error}") from error
    known, painted = {work.sha256: work for work in photographs}, {work.sha256 for work in works}
    ours = photograph in known and painted.issuperset(weights) and by == encoder.weights_sha256
    return Pair(known[photograph], path.with_suffix(".png"), weights) if ours else None


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
