"""What networks learn from: pictures on disk in bounded memory, crops of them, procedural scenes, earlier results."""

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from workbench import images
from workbench.corpora import Work
from workbench.errors import require

MEMORY = 1_000_000_000
"""Bytes that decoded pictures may take. Beyond, those drawn longest ago are read again when they are drawn."""
FEW = 24
"""Photographs below which a training says that they are few."""
MOST_NAMED = 1000
"""Works that the file of a network names by their hashes."""
HELD_OUT = 0.1
"""Share of the photographs that a network never sees, and is measured on."""


class Pictures:
    """Works of any number, read when they are drawn, long side `size` px at most, kept as bytes within a budget of memory."""

    def __init__(self, works: Sequence[Work], size: int, *, memory: int = MEMORY):
        require(bool(works), "there are no pictures to learn from")
        self.works = tuple(works)
        self.size = size
        self._memory = memory
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.works)

    def picture(self, k: int) -> Tensor:
        """The k-th picture, (3, H, W) uint8."""
        if k in self._kept:
            self._kept.move_to_end(k)
            return self._kept[k]
        found = to_bytes(self.works[k].load(self.size))[0]
        self._kept[k] = found
        self._bytes += found.numel()
        while self._bytes > self._memory and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.numel()
        return found

    def crop(self, draw: torch.Generator, side: int, scales: tuple[float, float] = (0.6, 1.0)) -> Tensor:
        """A crop (3, side, side) in [0, 1] of a random picture, perhaps mirrored.

        The picture's long side is scaled to size * s, log s being uniform between those of `scales`; one whose short side
        would be below `side` is enlarged until it fits.
        """
        return self.crop_of(below(len(self), draw), draw, side, scales)

    def crop_of(self, k: int, draw: torch.Generator, side: int, scales: tuple[float, float] = (0.6, 1.0)) -> Tensor:
        """A crop like `crop` of the k-th picture."""
        picture = self.picture(k)
        height, width = picture.shape[-2:]
        low, high = scales
        scale = self.size / max(height, width) * low * (high / low) ** uniform(draw)
        box = min(max(round(side / scale), 4), height, width)
        top, left = below(height - box + 1, draw), below(width - box + 1, draw)
        crop = from_bytes(picture[None, :, top : top + box, left : left + box])
        if uniform(draw) < 0.5:
            crop = crop.flip(-1)
        return images.resize(crop, (side, side))[0]

    def crops(self, draw: torch.Generator, count: int, side: int, scales: tuple[float, float] = (0.6, 1.0)) -> Tensor:
        """`count` crops, (count, 3, side, side) in [0, 1]."""
        return torch.stack([self.crop(draw, side, scales) for _ in range(count)])


class ImagePool:
    """The last results of a generator, for its discriminator: half of the time an older one (Shrivastava et al. 2017)."""

    def __init__(self, size: int = 50):
        self.size = size
        self.kept: list[Tensor] = []

    def exchange(self, pictures: Tensor, draw: torch.Generator) -> Tensor:
        """`pictures` (N, C, H, W), some of them replaced by older ones, and remembered."""
        shown = []
        for picture in pictures.detach():
            if len(self.kept) < self.size:
                self.kept.append(picture.clone())
                shown.append(picture)
            elif uniform(draw) < 0.5:
                k = below(self.size, draw)
                shown.append(self.kept[k])
                self.kept[k] = picture.clone()
            else:
                shown.append(picture)
        return torch.stack(shown)


def split_photographs(photographs: Iterable[Work]) -> tuple[list[Work], list[Work]]:
    """(to learn from, held out): about a tenth is held out, at least one of two, decided by the hashes of the files alone."""
    order = sorted(photographs, key=lambda work: hashlib.sha256(work.sha256.encode()).hexdigest())
    require(len(order) > 1, "one photograph is not enough: one more is needed to measure on")
    held = max(1, round(HELD_OUT * len(order)))
    if len(order) - held < FEW:
        print(f"only {len(order) - held} photographs to learn from: the network may do poorly on others", file=sys.stderr)
    return order[held:], order[:held]


def split_works(works: Sequence[Work], share: float = HELD_OUT) -> tuple[list[Work], list[Work]]:
    """(to learn from, held out): about `share` of the series, a work without one being its own, decided by hashes alone.

    UsageError where there is nothing to hold out.
    """
    groups = sorted({work.group for work in works}, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    require(len(groups) > 1, "some works are held out, series by series: one work, or one series, is not enough")
    held = set(groups[: min(max(1, round(share * len(groups))), len(groups) - 1)])
    learn, out = ([work for work in works if (work.group in held) == side] for side in (False, True))
    return learn, out


def identity_of(works: Sequence[Work]) -> str:
    """SHA-256 of the works' hashes, in their order: another order draws other crops."""
    return hashlib.sha256("".join(work.sha256 for work in works).encode()).hexdigest()


def hashes(works: Sequence[Work]) -> list[str]:
    """The hashes of `works`, of a large corpus MOST_NAMED of them."""
    return sorted(work.sha256 for work in works)[:MOST_NAMED]


def to_bytes(image: Tensor) -> Tensor:
    """float [0, 1] to uint8, rounded and clamped."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def from_bytes(image: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]."""
    return image.float() / 255


def uniform(draw: torch.Generator) -> float:
    """A number in [0, 1)."""
    return float(torch.rand((), generator=draw))


def below(limit: int, draw: torch.Generator) -> int:
    """A whole number from 0 to limit - 1."""
    return int(torch.randint(limit, (), generator=draw))
