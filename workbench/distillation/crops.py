"""The pictures that a student learns from: random crops of paintings and photographs, and disturbed versions of them."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import images, progress
from workbench.corpora import Work
from workbench.generative.data import below, from_bytes, to_bytes, uniform

LONG_SIDE = 768
"""px. Long side of the pictures that crops are taken from."""
SCALES = (0.3, 1.25)
"""Least and largest scale of a crop, relative to its picture at LONG_SIDE."""
PERMUTATIONS = tuple(itertools.permutations(range(3)))
"""Orders of red, green and blue."""


class Crops:
    """A source of crops (3, side, side), uint8, each decided by the generator alone."""

    def __init__(self, works: Sequence[Work], side: int, *, show: bool = False):
        """All `works` are held in memory, long side at most 768 px."""
        self.side = side
        self.pictures: list[Tensor] = []
        for work in progress.track(works, total=len(works), label="reading pictures", show=show):
            picture = work.load(LONG_SIDE)
            least = min(picture.shape[-2:])
            if least < side:  # a very long picture: enlarge it until a crop fits
                picture = images.resize(picture, tuple(round(n * side / least) for n in picture.shape[-2:]))
            self.pictures.append(to_bytes(picture)[0])

    def plain(self, generator: torch.Generator) -> Tensor:
        """A crop at a random place and scale, perhaps mirrored; its colours are the picture's own."""
        picture = self.pictures[below(len(self.pictures), generator)]
        height, width = picture.shape[-2:]
        smallest, largest = SCALES
        scale = smallest * (largest / smallest) ** uniform(generator)
        box = max(16, min(round(self.side / scale), height, width))
        top, left = below(height - box + 1, generator), below(width - box + 1, generator)
        crop = from_bytes(picture[None, :, top : top + box, left : left + box])
        if uniform(generator) < 0.5:
            crop = crop.flip(-1)
        return to_bytes(images.resize(crop, (self.side, self.side)))[0]

    def draw(self, generator: torch.Generator) -> Tensor:
        """A plain crop, or, half of the time, one that no camera and no painter made."""
        crop = self.plain(generator)
        kind = uniform(generator)
        if kind < 0.5:
            return crop
        x = from_bytes(crop)
        if kind < 0.6:
            x = x[list(PERMUTATIONS[below(6, generator)])]
        elif kind < 0.75:  # contrast, brightness and a cast of colour
            gain = torch.empty(3, 1, 1).uniform_(0.6, 1.4, generator=generator)
            x = (x - 0.5) * gain + 0.5 + torch.empty(3, 1, 1).uniform_(-0.2, 0.2, generator=generator)
        elif kind < 0.85:  # two pictures through one another
            x = torch.lerp(x, from_bytes(self.plain(generator)), 0.2 + 0.6 * uniform(generator))
        elif kind < 0.95:  # what an optimiser leaves behind: noise, of one pixel or of several
            grain = 2 ** below(4, generator)
            noise = torch.randn(1, 3, self.side // grain, self.side // grain, generator=generator)
            noise = F.interpolate(noise, (self.side, self.side), mode="bilinear") * 0.3 * uniform(generator)
            x = x + noise[0]
        else:  # noise alone, as an optimisation from noise starts
            x = torch.rand(3, self.side, self.side, generator=generator)
        return to_bytes(x)
