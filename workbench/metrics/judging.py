"""The judge: an encoder that measures results, beside the one that drove them, in the units of one artist."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from workbench import images
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.metrics import structure
from workbench.metrics.typicality import Typicality, typicality, typicality_of_real
from workbench.retrieval import descriptors, embeddings

FAMILIES = (
    ("portrait", "self-portrait", "figure"),
    ("landscape", "seascape"),
    ("cityscape",),
    ("still-life",),
)
"""Genres that count as one."""
MIN_GROUPS = 4
"""Groups of works of a genre, below which a picture of it is compared with none: other genres would tell subjects apart."""
EVERY_GENRE, NO_PEERS = "all genres", ""
"""What a picture is compared with whose genre is not known, and one of whose genre there are too few works."""
FLAT = 1e-6
"""Standard deviation over the bank, in the unit of a descriptor, below which a dimension is left out."""


def family(genre: str) -> tuple[str, ...]:
    """The genres that count as one with `genre`: a self-portrait is a portrait."""
    return next((genres for genres in FAMILIES if genre in genres), (genre,))


def peers(works: Sequence[Work], genre: str) -> tuple[np.ndarray, str]:
    """(which of `works` a picture of `genre` is compared with, (n,) bool; `genre`, EVERY_GENRE or NO_PEERS).

    Those of its family of genres; none, where these have fewer than four groups; all, for a picture without a genre.
    """
    if not genre:
        return np.ones(len(works), dtype=bool), EVERY_GENRE
    inside = np.array([work.genre in family(genre) for work in works], dtype=bool)
    if len({work.group for work, alike in zip(works, inside, strict=True) if alike}) >= MIN_GROUPS:
        return inside, genre
    return np.zeros(len(works), dtype=bool), NO_PEERS


def kind(encoder: Encoder) -> embeddings.Kind:
    """The embedding that `encoder` judges by."""
    return "style" if encoder.style_layers else "content"


class Judge:
    """Distances of style by one encoder, in the units of one artist.

    A picture is described by the means and standard deviations of the style layers' channels (`descriptors.describe`, kind
    "style"), or, by an encoder such as CLIP that has none, by its image embedding ("content"); each dimension is standardised
    over the works of the bank. Distances are root mean squares over dimensions.
    """

    def __init__(self, encoder: Encoder, bank: Corpus, held_out: Corpus, size: int, *, show: bool = False):
        """`bank` and `held_out`: the works that methods may see, and those that they may not; `size`: of all pictures, px."""
        self.encoder = encoder
        self.size = size
        self.show = show
        self.held_out = held_out
        seen = self._raw(bank.works)
        self.mean = seen.mean(axis=0)
        deviation = seen.std(axis=0)
        self.varying = deviation > FLAT
        self.deviation = np.where(self.varying, deviation, 1.0)
        self.points = self.of(held_out.works)
        self.groups = np.array([work.group for work in held_out])
        self.between = between(self.points, self.points)
        self._details = np.array([structure.detail(work.load(size)) for work in held_out])

    def _raw(self, works: Sequence[Work]) -> np.ndarray:
        return embeddings.embed(works, self.encoder, kind(self.encoder), size=self.size, show=self.show).raw.astype(np.float64)

    def _standardised(self, raw: np.ndarray) -> np.ndarray:
        return ((raw - self.mean) / self.deviation)[..., self.varying]

    def of(self, works: Sequence[Work]) -> np.ndarray:
        """Points of `works`, (n, D)."""
        return self._standardised(self._raw(works))

    def describe(self, picture: Tensor) -> np.ndarray:
        """The point (D,) of a picture (1, 3, H, W) in [0, 1], which is scaled to the judge's size."""
        picture = images.resize(picture, self.size).to(self.encoder.device)
        return self._standardised(descriptors.describe(picture, self.encoder, kind(self.encoder)).astype(np.float64))

    def unit(self, points: np.ndarray) -> np.ndarray:
        """The embeddings of length one behind `points` (n, D): what CMMD is computed from."""
        raw = np.tile(self.mean, (len(points), 1))
        raw[:, self.varying] += points * self.deviation[self.varying]
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    def peers(self, genre: str) -> tuple[np.ndarray, str]:
        """(places of the held-out works that a picture of `genre` is compared with, what these are; see `peers`)."""
        inside, compared = peers(self.held_out.works, genre)
        return np.flatnonzero(inside), compared

    def typicality(self, point: np.ndarray, genre: str) -> Typicality | None:
        """How typical a picture of `genre` at `point` (D,) is among the held-out works of that genre; None without peers.

        For a single work alone, or what was made after one. A mean of descriptors lies nearer to every work than the works lie
        to each other, whatever was averaged, so that an average of anything would seem typical: use `log_odds` for these.
        """
        places, _ = self.peers(genre)
        if not len(places):
            return None
        to_real = between(point[None], self.points[places])[0]
        return typicality(to_real, self.between[np.ix_(places, places)], self.groups[places])

    def detail(self, picture: Tensor, genre: str) -> float:
        """log2 of the detail of a picture of `genre` over the median of what unseen works have: -1 is half as much.

        NaN without peers.
        """
        places, _ = self.peers(genre)
        if not len(places):
            return float("nan")
        mine = structure.detail(images.resize(picture, self.size))
        return float(np.log2(max(mine, FLAT) / max(float(np.median(self._details[places])), FLAT)))

    def typicality_of_real(self, genre: str) -> list[Typicality]:
        """How typical each held-out work of `genre` is among the others; nothing without peers."""
        places, _ = self.peers(genre)
        if not len(places):
            return []
        return typicality_of_real(self.between[np.ix_(places, places)], self.groups[places])


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square difference over dimensions of every row of a (m, D) and b (n, D): (m, n)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0) / a.shape[1])
