"""Regions of a picture: faces, persons, and parts that look alike inside; or the regions that a mask image marks."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import Tensor

from workbench import images, people
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.images import colour
from workbench.retrieval.serial import serial
from workbench.statistics import resample_masks

SIZE = 384
"""Long side in px at which pictures are divided."""
SCALES = (1.0, 0.5)
"""Fractions of SIZE at which features are computed: the first gives fine outlines, the second what surrounds a place."""
GRID = 48
"""Cells along the long side of the grid on which regions are drawn."""
MAX_REGIONS = 6
"""Regions, besides faces and persons, into which a picture is divided at most."""
SHAPE = 0.05
"""By how much the proportion of a mask's sides may differ from the picture's, in natural logarithms."""
MIN_SHARE = 0.04
"""Part of the picture, in [0, 1], that a region takes at least; a smaller one is given to its neighbours."""
MERGE_COSINE = 0.9
"""Cosine of two regions' mean cells, about the picture's mean, above which the regions are merged."""
COMPONENTS = 24
"""Principal components of the features that a cell keeps at most."""
PLACE_WEIGHT = 0.35
"""Weight of a cell's place, from -1 to 1 along each side, relative to features of unit root mean square."""
COLOUR_WEIGHT = 0.35
"""Weight of a cell's colour, in units of LAB_UNIT, relative to features of unit root mean square."""
LAB_UNIT = 40
"""Difference in CIE Lab that counts as much as half a side of the picture."""
FLAT_DEVIATION = 1e-3
"""Standard deviation of every channel, values being in [0, 1], below which a picture has one colour."""
SILHOUETTE_CELLS = 600
"""Cells from which a silhouette is computed at most."""
MAX_MASK_COLOURS = 12
"""Colours of a mask image, each a region, at most."""
MIN_MASK_WIDTH = 7
"""Width in px, at SIZE, that a region of a mask has somewhere; anything thinner is a soft edge or a slip of the brush."""
PHOTOGRAPH_COLOURS = 1000
"""Colours of a mask image, those of soft edges included, above which it is taken for a photograph and refused."""
DESCRIPTOR_LAYERS = 2
"""Deepest style layers whose means over a region are its descriptor."""
VERSION = 3
"""Part of cache keys: raised whenever the same picture comes to other regions or descriptors."""


@dataclass(frozen=True)
class Regions:
    """The regions of one picture.

    labels: (h, w) uint8 on a grid over the picture, 0 is the largest region; descriptors: (n, D) float32, what each region
    shows, not centred; names: "face" or "person" for a region that is one, else ""; empty where people were not searched for.
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
    """Divide `picture` (1, 3, H, W) in [0, 1] into faces, people without their faces, and up to six regions of the rest.

    People are found by `people.parts`. The rest is divided by k-means on the encoder's features at two scales, with some weight
    on place and colour, k having the best silhouette. Regions that look alike are merged, and small ones are given to their
    neighbours. A picture of one colour is one region.
    """
    picture = images.resize(picture, SIZE).to(encoder.device)
    height, width = images.fit(picture.shape[2], picture.shape[3], GRID)
    if float(picture.flatten(2).std(dim=2, correction=0).max()) < FLAT_DEVIATION:
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
    """The regions that a mask image of flat colours marks on `picture` (1, 3, H, W) in [0, 1]: one for each colour.

    The mask is scaled to the picture, whatever its size, if its sides are in the same proportion; transparent places are white.
    Parts thinner than a fiftieth of the
    long side, such as soft edges, are given to their neighbours. Raises UsageError for more than 12 other colours, for a single
    one, where a fifth of the mask is so thin, as in a photograph, and where the mask is of another shape than the picture.
    """
    mask = _mask(path)
    height, width = images.fit(picture.shape[2], picture.shape[3], SIZE)
    small = mask.resize((width, height), resample=0)  # nearest neighbour, which makes no new colours
    colours, labels = np.unique(np.asarray(small).reshape(-1, 3), axis=0, return_inverse=True)
    labels = labels.reshape(height, width)
    wide = (
        np.array([_is_wide(labels == k) for k in range(len(colours))])
        if len(colours) <= PHOTOGRAPH_COLOURS
        else np.zeros(0, dtype=bool)
    )
    require(
        1 <= wide.sum() <= MAX_MASK_COLOURS and np.isin(labels, np.flatnonzero(wide)).mean() > 0.8,
        f"mask {path} has {len(colours)} colours: paint each region in one flat colour, {MAX_MASK_COLOURS} at most, "
        "and save it without loss, as PNG",
    )
    wanted, given = picture.shape[3] / picture.shape[2], mask.width / mask.height
    turned = abs(math.log(wanted * given)) < SHAPE < abs(math.log(wanted))
    require(
        abs(math.log(given / wanted)) <= SHAPE,
        f"mask {path} is {mask.width} x {mask.height}, of another shape than the picture, {picture.shape[3]} x "
        f"{picture.shape[2]}{': is it turned by a right angle?' if turned else ''}",
    )
    require(
        wide.sum() > 1,
        f"mask {path} marks a single region: give each region a colour of its own, and opaque",
    )
    labels = _absorbed(labels, ~wide)
    return described(labels, images.resize(picture, SIZE).to(encoder.device), encoder)


def _mask(path: str | Path) -> Image.Image:
    """The mask in RGB; of one with 16 bits whose values are labels, such as 0, 1 and 2, each label is a grey of its own."""
    mask = images.to_pil(images.load(path))  # which refuses what is damaged
    with Image.open(path) as file:
        if not file.mode.startswith("I") or file.size != mask.size:
            return mask
        labels, places = np.unique(np.asarray(file), return_inverse=True)
    if not 1 < len(labels) <= MAX_MASK_COLOURS:
        return mask
    greys = np.linspace(0, 255, len(labels)).astype(np.uint8)
    return Image.fromarray(greys[places.reshape(mask.height, mask.width)]).convert("RGB")


def _cells(picture: Tensor, encoder: Encoder, height: int, width: int) -> np.ndarray:
    """For every cell of the grid the principal components of its features, its colour and its place: (cells, D) float32."""
    blocks = []
    with torch.no_grad():
        for scale in SCALES:
            small = images.resize(picture, max(round(scale * SIZE), 16))
            for f in encoder.features(small, encoder.style_layers[-DESCRIPTOR_LAYERS - 1 :]).values():
                f = F.normalize(f - f.mean(dim=(2, 3), keepdim=True), dim=1)
                blocks.append(F.interpolate(f, (height, width), mode="bilinear", align_corners=False)[0].flatten(1).T)
    rows = torch.cat(blocks, dim=1).float().cpu()
    rows = rows - rows.mean(dim=0)
    shown = rows @ _principal(rows)
    unit = float(shown.square().sum(dim=1).mean().sqrt()) or 1.0
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    lab = colour.lab(F.adaptive_avg_pool2d(picture.cpu(), (height, width)))[0].flatten(1).T
    lab = (lab - lab.mean(dim=0)) / LAB_UNIT
    place = torch.stack([down.flatten(), across.flatten()], dim=1)
    return torch.cat([shown / unit, COLOUR_WEIGHT * lab, PLACE_WEIGHT * place], dim=1).numpy().astype(np.float32)


def _principal(rows: Tensor) -> Tensor:
    """The principal directions of `rows` (n, D) float32 of mean zero, (D, k) float32, at most COMPONENTS.

    Directions with less than 1e-4 of the largest singular value are left out. ARPACK finds the few that are asked for in an
    eighth of the time of a whole decomposition.
    """
    from scipy.sparse.linalg import svds  # loaded where it is used, as scikit-learn is

    if not rows.any():
        return rows.new_zeros(rows.shape[1], 1)
    k = min(COMPONENTS, min(rows.shape) - 1)
    start = np.random.default_rng(0).standard_normal(min(rows.shape))
    _, values, directions = svds(rows.numpy(), k=k, v0=start)  # from the smallest on
    return torch.from_numpy(directions[values > 1e-4 * values[-1]][::-1].T.copy())


@serial
def _clustered(cells: np.ndarray) -> np.ndarray:
    """k-means labels of the cells, (cells,), k between 2 and MAX_REGIONS by silhouette."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    sample = np.random.default_rng(0).permutation(len(cells))[:SILHOUETTE_CELLS]
    best, found = -1.0, np.zeros(len(cells), dtype=np.int64)
    for k in range(2, min(MAX_REGIONS, len(cells) - 1) + 1):
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
        if cosines[first, second] <= MERGE_COSINE:
            break
        labels = np.where(labels == second, first, labels)
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    return labels


def _tidy(labels: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Labels (h, w) with smooth borders and without small regions; every number of `named` above 0 stays a region of its own.

    Small regions are given to other regions without a name; where none of these is large enough, all of them become one.
    """
    rest = named == 0
    for _ in range(2):
        votes = np.stack([ndimage.uniform_filter((rest & (labels == k)).astype(float), 3) for k in range(labels.max() + 1)])
        labels = votes.argmax(axis=0)
    small = np.bincount(labels[rest], minlength=1) / labels.size < MIN_SHARE
    outside = np.where(rest, labels, len(small))
    labels = np.zeros_like(labels) if small.all() else _absorbed(outside, np.append(small, True))
    labels = np.where(rest, labels, labels.max() + named)
    return _absorbed(labels, np.array([rest.mean() < MIN_SHARE]))


def _is_wide(inside: np.ndarray) -> bool:
    """Whether a region (h, w) bool is wider than a soft edge somewhere; in a narrower picture, whether it spans a side."""
    side = min(MIN_MASK_WIDTH, *inside.shape)
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
    """The regions `labels` (h, w) int of `picture` (1, 3, H, W) in [0, 1], with their descriptors.

    A descriptor holds the means of the deepest style layers over the region, each layer's block scaled to length one.
    """
    count = int(labels.max()) + 1
    masks = Regions(labels, np.zeros((count, 1))).masks().to(encoder.device)
    blocks = []
    with torch.no_grad():
        for f in encoder.features(picture, encoder.style_layers[-DESCRIPTOR_LAYERS:]).values():
            weights = resample_masks(masks, *f.shape[-2:])
            mean = (f * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp_min(1e-12)
            blocks.append(F.normalize(mean, dim=1))
    return Regions(labels.astype(np.uint8), torch.cat(blocks, dim=1).cpu().numpy().astype(np.float32))
