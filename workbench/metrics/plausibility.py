"""Colour plausibility: whether a region of a result, such as its skin, has colours that the artist gives to such a thing."""

import csv
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench import images
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.images import colour
from workbench.metrics.judging import family
from workbench.metrics.typicality import Typicality, typicality
from workbench.retrieval import regions
from workbench.retrieval.pieces import Piece, RegionIndex

SIZE = 256
"""px. Long side of pictures whose colours are read."""
DIRECTIONS = 64
"""Directions in CIE Lab that colours are projected on."""
QUANTILES = 64
"""Quantiles that describe the colours along each direction."""
GRID = 48
"""Cells along the long side of a mask of marked regions."""
ALIKE = 0.4
"""Cosine from which a piece of a painting counts as showing the same as a region."""
LEAST = 3
"""Series or lone works that show such a thing, below which there is no measurement."""

Box = tuple[float, float, float, float]
Marks = Mapping[str, Mapping[str, list[Box]]]


def read_marks(path: str | Path) -> dict[str, dict[str, list[Box]]]:
    """Regions marked by hand: file name without its suffix -> kind, such as "skin" -> boxes (left, top, right, bottom).

    From a CSV with the columns file_name, kind, left, top, right, bottom, the last four as shares of the picture. What
    counts is the ellipse in each box. UsageError, naming file and line, for what is no such table.
    """
    found: dict[str, dict[str, list[Box]]] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                box = tuple(float(row[side]) for side in ("left", "top", "right", "bottom"))
                require(
                    0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1,
                    f"{path}, line {line}: left < right and top < bottom, all from 0 to 1",
                )
                found.setdefault(Path(row["file_name"]).stem, {}).setdefault(row["kind"], []).append(box)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} is no table of file_name, kind, left, top, right, bottom") from error
    return found


def ellipses(boxes: Iterable[Box], height: int, width: int) -> Tensor:
    """(1, 1, height, width) float32: 1 inside of the ellipse of any box, at the pixel that holds its centre at least."""
    row = (torch.arange(height) + 0.5) / height
    column = (torch.arange(width) + 0.5) / width
    inside = torch.zeros(height, width, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        y, x = ((row - (top + bottom) / 2) / (bottom - top) * 2)[:, None], (column - (left + right) / 2) / (right - left) * 2
        inside |= y**2 + x**2 <= 1
        inside[int((top + bottom) / 2 * height), int((left + right) / 2 * width)] = True
    return inside[None, None].float()


def palette(picture: Tensor, mask: Tensor) -> np.ndarray:
    """The colours of `picture` (1, 3, H, W) inside of `mask` (1, 1, h, w): (64 x 64,), such that the mean absolute difference
    of two palettes is twice the sliced 1-Wasserstein distance of their colours in CIE Lab (Rabin et al. 2011).

    Colours are projected on 64 directions, the same ones always, and described by 64 quantiles in each. Twice, because a
    shift of all colours by d Delta E moves them by d / 2 along the mean direction: so a distance is in units of Delta E.
    """
    picture = images.resize(picture, SIZE).cpu()
    inside = torch.nn.functional.interpolate(mask.cpu(), size=tuple(picture.shape[-2:]), mode="nearest")[0, 0] > 0.5
    require(bool(inside.any()), "a region has no pixel")
    colours = colour.lab(picture)[0][:, inside].double().numpy()
    projected = _directions() @ colours
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return 2 * np.quantile(projected, levels, axis=1).T.ravel()


def _directions() -> np.ndarray:
    """Directions spread evenly over the sphere (Fibonacci), (64, 3)."""
    i = np.arange(DIRECTIONS) + 0.5
    z, turn = 1 - 2 * i / DIRECTIONS, np.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)


class RegionColours:
    """The colours that an artist's unseen works give to what a region shows.

    Where works are marked with the region's kind, these marks count. Where none is, of every work of the genre the piece that
    most resembles the region (`pieces.RegionIndex`), if its cosine is .4 at least.
    """

    def __init__(self, held_out: Corpus, marks: Marks, encoder: Encoder, *, show: bool = False):
        """`encoder` describes what regions show; `marks` as `read_marks` gives them."""
        self.held_out = held_out
        self.marks = marks
        self.encoder = encoder
        self.show = show
        self._palettes: dict[tuple[str, bytes], np.ndarray] = {}

    @cached_property
    def _index(self) -> RegionIndex:
        return RegionIndex(self.held_out.works, self.encoder, show=self.show)

    def _same(self, content: Tensor, boxes: list[Box], kind: str, genre: str) -> list[tuple[Work, Tensor]]:
        """(work, mask) of the unseen works that show the same as the region `boxes` of `content`."""
        marked = [(work, self.marks.get(work.path.stem, {}).get(kind)) for work in self.held_out]
        if any(found for _, found in marked):
            return [(work, ellipses(found, *images.fit(work.height, work.width, GRID))) for work, found in marked if found]
        picture = images.resize(content, regions.SIZE).to(self.encoder.device)
        labels = 1 - ellipses(boxes, *images.fit(*picture.shape[-2:], GRID))[0, 0].long().numpy()
        described = regions.described(labels, picture, self.encoder)
        best: dict[str, Piece] = {}
        for piece, similarity in self._index.search(described.descriptors[0], len(self._index.pieces)):
            if similarity >= ALIKE and piece.work.genre in family(genre):
                best.setdefault(piece.work.name, piece)
        return [(work, best[work.name].mask) for work in self.held_out if work.name in best]

    def typicality(
        self, picture: Tensor, content: Tensor, boxes: list[Box], kind: str, genre: str
    ) -> tuple[Typicality, float] | None:
        """(how typical the colours of `picture` in `boxes` are of such things in unseen works, the usual distance).

        `picture` and what it was made from, `content`: (1, 3, H, W) in [0, 1]. The usual distance, in Delta E, is the median of
        what the works themselves have to each other. None where fewer than three works, or series, show such a thing.
        """
        same = self._same(content, boxes, kind, genre)
        groups = [work.group for work, _ in same]
        if len(set(groups)) < LEAST:
            return None
        palettes = np.stack([self._palette(work, mask) for work, mask in same])
        between = _distances(palettes, palettes)
        own = palette(picture, ellipses(boxes, *picture.shape[-2:]))
        found = typicality(_distances(own[None], palettes)[0], between, groups)
        return found, float(found.raw / found.distance)

    def _palette(self, work: Work, mask: Tensor) -> np.ndarray:
        key = (work.sha256, mask.numpy().tobytes())
        if key not in self._palettes:
            self._palettes[key] = palette(work.load(SIZE), mask)
        return self._palettes[key]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute differences of all rows of a (m, D) to those of b (n, D): (m, n)."""
    return np.abs(a[:, None] - b[None]).mean(axis=2)
