"""Regions of pictures: what belongs together in one, an index of the regions of all works, and which resemble each other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from workbench import images, people, progress, storage
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import WorkbenchError, require
from workbench.images import colour
from workbench.retrieval.reading import read_ahead
from workbench.statistics import spread

SIZE = 384  # px, of the pictures that are divided
PYRAMID = (1.0, 0.5)  # of SIZE: fine outlines, and what lies around
GRID = 48  # cells along the long side
MOST = 6  # regions of a picture
SMALLEST = 0.04  # of a picture: a smaller region is given to its neighbours
ALIKE = 0.9  # cosine of two regions' mean features, about the picture's mean, above which they are one
DIMENSIONS = 24
PLACE = 0.35  # weight of where a cell lies beside what it shows
TINT = 0.35  # likewise of its colour
FLAT = 1e-3  # deviation of a channel below which a picture has one colour
SAMPLE = 600  # cells that a silhouette is computed from
COLOURS = 12  # of a mask image, at most
BODY = 7  # px of a mask at SIZE: what is nowhere so wide is a soft edge or a slip of the brush
MANY = 1000  # colours of a mask, edges included, beyond which it is a photograph
DESCRIBED_BY = 2  # deepest style layers, whose means over a region describe it
VERSION = 2


@dataclass(frozen=True)
class Regions:
    """The regions of one picture.

    labels: (h, w) uint8 on a grid over the picture, 0 is the largest region; descriptors: (n, D) float32, what each
    region shows, not centred; names: "face" or "person" for a region that is one, else ""; none at all where nobody looked.
    """

    labels: np.ndarray = field(repr=False)
    descriptors: np.ndarray = field(repr=False)
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.descriptors)

    @cached_property
    def shares(self) -> np.ndarray:
        """The part of the picture that each region takes, (n,), summing to one."""
        return np.bincount(self.labels.ravel(), minlength=len(self)) / self.labels.size

    def masks(self) -> Tensor:
        """(n, 1, h, w) float32 on the grid: 1 inside a region, 0 outside; they sum to 1 everywhere."""
        labels = torch.from_numpy(self.labels.astype(np.int64))
        return F.one_hot(labels, len(self)).permute(2, 0, 1)[:, None].float()


def divide(picture: Tensor, encoder: Encoder) -> Regions:
    """Divide `picture` (1, 3, H, W) in [0, 1] into faces, people without them, and up to six regions that look alike inside.

    People are found as `people.parts` says. In the rest, k-means on the encoder's features over a pyramid, with some weight
    on place and colour; k is the number of regions with the best silhouette; regions that look alike are merged, and small
    ones given to their neighbours. A picture of one colour is one region.
    """
    picture = images.resize(picture, SIZE).to(encoder.device)
    height, width = images.fit(*picture.shape[-2:], GRID)
    if float(picture.flatten(2).std(dim=2, correction=0).max()) < FLAT:
        return described(np.zeros((height, width), dtype=np.int64), picture, encoder)
    named = people.parts(picture, height, width)
    rest = named == 0
    labels = np.zeros((height, width), dtype=np.int64)
    if rest.any():
        cells = _cells(picture, encoder, height, width)[rest.ravel()]
        cells -= cells.mean(axis=0)
        labels[rest] = _merged(_clustered(cells), cells)
    labels = _tidy(labels, named)
    names = tuple(people.NAMES[named[labels == label].max()] for label in range(labels.max() + 1))
    return replace(described(labels, picture, encoder), names=names)


def from_mask(path: str | Path, picture: Tensor, encoder: Encoder) -> Regions:
    """The regions that a mask image of flat colours marks on `picture` (1, 3, H, W): one for each colour.

    The mask is scaled to the picture, whatever its size; what is transparent counts as white. What is thinner
    than a fiftieth of its long side, as softened edges are, is given to its neighbours. Raises UsageError for more than 12
    colours beside those, and where a fifth of the mask is so thin, as in a photograph.
    """
    mask = images.to_pil(images.load(path))
    height, width = images.fit(*picture.shape[-2:], SIZE)
    small = mask.resize((width, height), resample=0)  # nearest: no colour that the mask does not have
    colours, labels = np.unique(np.asarray(small).reshape(-1, 3), axis=0, return_inverse=True)
    labels = labels.reshape(height, width)
    flat = np.array([_has_body(labels == k) for k in range(len(colours))]) if len(colours) <= MANY else np.zeros(0, dtype=bool)
    require(
        1 <= flat.sum() <= COLOURS and np.isin(labels, np.flatnonzero(flat)).mean() > 0.8,
        f"mask {path} has {len(colours)} colours: paint each region in one flat colour, {COLOURS} at most, "
        "and save it without loss, as PNG",
    )
    labels = _absorbed(labels, ~flat)
    return described(labels, images.resize(picture, SIZE).to(encoder.device), encoder)


@dataclass(frozen=True)
class Piece:
    """A region of a painting, or, without `regions`, all of it. label: which of its regions; -1 for all."""

    work: Work
    label: int = -1
    regions: Regions | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What its region is called, "face" or "person"; else ""."""
        return self.regions.names[self.label] if self.regions and self.regions.names else ""

    @property
    def mask(self) -> Tensor:
        """(1, 1, h, w) float32 on a grid over the painting: 1 inside, 0 outside."""
        return torch.ones(1, 1, 1, 1) if self.regions is None else self.regions.masks()[self.label : self.label + 1]


class RegionIndex:
    """All regions of all works, to be searched by what they show."""

    def __init__(self, works: Sequence[Work], encoder: Encoder, *, show: bool = False):
        """Divide every work, or take its regions from the cache; `show` reports progress."""
        divided = _divide_all(tuple(works), encoder, show)
        self.pieces = [Piece(work, label, r) for work, r in zip(works, divided, strict=True) for label in range(len(r))]
        self.names = np.array([piece.name for piece in self.pieces])
        self.raw = np.concatenate([r.descriptors for r in divided])
        self.centre = self.raw.mean(axis=0) if len(works) > 1 else np.zeros_like(self.raw[0])
        groups = [work.group for work in works]
        self.owner = np.array([group for group, r in zip(groups, divided, strict=True) for _ in range(len(r))])

    def similarities(self, descriptors: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
        """Cosine of `descriptors` (m, D) to every piece, about the mean of all pieces: (m, pieces) in [-1, 1].

        With `names` (m,), -inf where a piece is called otherwise, if any is called so: faces are compared with faces alone.
        """
        ours, theirs = (x - self.centre for x in (self.raw, descriptors))
        lengths = np.linalg.norm(theirs, axis=1)[:, None] * np.linalg.norm(ours, axis=1)
        found = (theirs @ ours.T) / np.maximum(lengths, 1e-12)
        for row, name in zip(found, names, strict=bool(names)):
            if name in self.names:
                row[self.names != name] = -np.inf
        return found

    @cached_property
    def own(self) -> np.ndarray:
        """For every piece, the best cosine among the pieces of other works: how well the artist matches himself, sorted.

        Works of one series do not count as others, for one haystack matches the next. Empty for a single work or series.
        """
        similar = self.similarities(self.raw)
        similar[self.owner[:, None] == self.owner] = -np.inf
        best = similar.max(axis=1)
        return np.sort(best[np.isfinite(best)])

    def familiarity(self, similarity: float) -> float:
        """The share of the artist's own regions whose best match elsewhere in the oeuvre is no better than `similarity`.

        A region that he might have painted is uniform on 0..1; near 0 he never painted such a thing. 1 where there is no
        other work to compare with.
        """
        return float(np.searchsorted(self.own, similarity, side="right") / len(self.own)) if len(self.own) else 1.0


def _divide_all(works: tuple[Work, ...], encoder: Encoder, show: bool) -> list[Regions]:
    key = hashlib.sha256(f"{VERSION}|{images.DECODER}|{people.WEIGHTS_SHA256}|{encoder.identity}".encode()).hexdigest()[:24]
    folder = storage.cache_dir("regions", key)
    found = {work.sha256: _known(folder / f"{work.sha256}.npz") for work in works}
    missing = list({work.sha256: work for work in works if found[work.sha256] is None}.values())
    pictures = zip(missing, read_ahead(missing, SIZE), strict=True)
    for work, picture in progress.track(pictures, total=len(missing), label="regions", show=show):
        regions = divide(picture, encoder)
        with storage.atomic(folder / f"{work.sha256}.npz") as temporary:
            names = np.array(regions.names, dtype=str)
            np.savez(temporary, labels=regions.labels, descriptors=regions.descriptors, names=names)
        found[work.sha256] = regions
    return [found[work.sha256] for work in works]


def _known(path: Path) -> Regions | None:
    """The cached regions at `path`; None where there are none, or damaged ones, which are removed."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return Regions(file["labels"], file["descriptors"], tuple(file["names"].tolist()))
    except (ValueError, EOFError, KeyError, BadZipFile):
        path.unlink(missing_ok=True)
        return None
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror or error}") from error


def _cells(picture: Tensor, encoder: Encoder, height: int, width: int) -> np.ndarray:
    """What every cell of the grid shows: (cells, D) float32, the features' principal directions, place and colour."""
    blocks = []
    with torch.no_grad():
        for scale in PYRAMID:
            small = images.resize(picture, max(round(scale * SIZE), 16))
            for f in encoder.features(small, encoder.style_layers[-DESCRIBED_BY - 1 :]).values():
                f = F.normalize(f - f.mean(dim=(2, 3), keepdim=True), dim=1)
                blocks.append(F.interpolate(f, (height, width), mode="bilinear", align_corners=False)[0].flatten(1).T)
    rows = torch.cat(blocks, dim=1).float().cpu()
    rows = rows - rows.mean(dim=0)
    _, values, directions = torch.linalg.svd(rows, full_matrices=False)
    keep = min(DIMENSIONS, int((values > 1e-4 * values[0].clamp_min(1e-12)).sum()))
    shown = rows @ directions[: max(keep, 1)].T
    unit = float(shown.square().sum(dim=1).mean().sqrt()) or 1.0
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    tint = colour.lab(F.adaptive_avg_pool2d(picture.cpu(), (height, width)))[0].flatten(1).T
    tint = (tint - tint.mean(dim=0)) / 40  # Lab units that count as much as a whole side of the picture
    place = torch.stack([down.flatten(), across.flatten()], dim=1)
    return torch.cat([shown / unit, TINT * tint, PLACE * place], dim=1).numpy().astype(np.float32)


@threadpool_limits.wrap(limits=1)  # a thousand points keep one thread busy, and sums come in one order
def _clustered(cells: np.ndarray) -> np.ndarray:
    """k-means labels of the cells, (cells,), k between 2 and MOST by silhouette."""
    sample = np.random.default_rng(0).permutation(len(cells))[:SAMPLE]
    best, found = -1.0, np.zeros(len(cells), dtype=np.int64)
    for k in range(2, min(MOST, len(cells) - 1) + 1):
        labels = KMeans(k, n_init=3, random_state=0).fit(cells).labels_
        if len(np.unique(labels[sample])) < 2:
            continue
        score = silhouette_score(cells[sample], labels[sample])
        if score > best:
            best, found = score, labels
    return found.astype(np.int64)


def _merged(labels: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Labels with the pairs of regions merged whose mean cells point the same way."""
    while labels.max() > 0:
        means = np.stack([cells[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
        units = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        cosines = np.triu(units @ units.T, 1)
        first, second = np.unravel_index(cosines.argmax(), cosines.shape)
        if cosines[first, second] <= ALIKE:
            break
        labels = np.where(labels == second, first, labels)
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    return labels


def _tidy(labels: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Labels (h, w) with frayed borders smoothed, and without small regions; what is `named` above 0 is a region as it is.

    Small regions are given to others without a name; where there is none large enough, all of them are one.
    """
    rest = named == 0
    for _ in range(2):
        votes = np.stack([ndimage.uniform_filter((rest & (labels == k)).astype(float), 3) for k in range(labels.max() + 1)])
        labels = votes.argmax(axis=0)
    small = np.bincount(labels[rest], minlength=1) / labels.size < SMALLEST
    outside = np.where(rest, labels, len(small))
    labels = np.zeros_like(labels) if small.all() else _absorbed(outside, np.append(small, True))
    labels = np.where(rest, labels, labels.max() + named)
    return _absorbed(labels, np.array([rest.mean() < SMALLEST]))


def _has_body(inside: np.ndarray) -> bool:
    """Whether a region (h, w) is anywhere wider than a soft edge, or spans the whole of a picture that is not."""
    side = min(BODY, *inside.shape)
    return bool(ndimage.binary_erosion(inside, np.ones((side, side)), border_value=1).any())


def _absorbed(labels: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Labels (h, w) with the regions `which` (n,) given to their neighbours, the others numbered from the largest on."""
    small = np.isin(labels, np.flatnonzero(which))
    if small.any() and not small.all():
        row, column = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
        labels = labels[row, column]
    names, labels = np.unique(labels, return_inverse=True)
    order = np.argsort(-np.bincount(labels.ravel(), minlength=len(names)), kind="stable")
    return np.argsort(order)[labels.ravel()].reshape(small.shape)


def described(labels: np.ndarray, picture: Tensor, encoder: Encoder) -> Regions:
    """Regions with their descriptors: means of the deepest style features over each, every layer's block of length one."""
    count = int(labels.max()) + 1
    masks = Regions(labels, np.zeros((count, 1))).masks().to(encoder.device)
    blocks = []
    with torch.no_grad():
        for f in encoder.features(picture, encoder.style_layers[-DESCRIBED_BY:]).values():
            weights = spread(masks, *f.shape[-2:])
            mean = (f * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp_min(1e-12)
            blocks.append(F.normalize(mean, dim=1))
    return Regions(labels.astype(np.uint8), torch.cat(blocks, dim=1).cpu().numpy().astype(np.float32))
