"""Procedural scenes for those who have no photographs, and pairs of a scene and its painting by a synthetic painter.

Both are files in the cache, written one by one, each whole or absent: what was interrupted goes on, and nothing but one scene
is in memory.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from workbench import progress, samples
from workbench.corpora import Corpus, IngestReport, Work
from workbench.errors import require
from workbench.provenance import sha256
from workbench.samples import REGIONS, Picture
from workbench.samples.cities import cityscape
from workbench.samples.landscapes import landscape
from workbench.samples.portraits import SITTERS, portrait
from workbench.samples.still_lifes import still_life
from workbench.samples.works import fingerprint
from workbench.storage import atomic, cache_dir

ASPECT = 1.25
"""Long side by short side of every scene, so that they go into a batch whole."""
PAIR_SIZE = 240
"""px. Long side of the scenes that are painted."""
HELD_OUT = 1_000_000
"""Seed of the first scene that no network learns from; those that it may learn from count from 0."""
_GENRES = (
    ("landscape", landscape, ("hills", "wheat", "river", "lake", "orchard", "haystacks", "village", "coast")),
    ("portrait", portrait, tuple(SITTERS)),
    ("still-life", still_life, ("fruit", "bottle", "flowers", "sunflowers", "jug", "kitchen")),
    ("cityscape", cityscape, ("quay", "boulevard", "roofs", "bridge")),
)


@dataclass(frozen=True)
class Pair:
    """A scene and its painting, of one size. labels: a file with the index into REGIONS of every pixel."""

    scene: Work
    labels: Path
    painted: Work

    def regions(self) -> Tensor:
        """The regions of the scene, (len(REGIONS), H, W) float32: 1 where a pixel shows the region, else 0."""
        with Image.open(self.labels) as file:
            labels = torch.from_numpy(np.array(file))
        return torch.nn.functional.one_hot(labels.long(), len(REGIONS)).permute(2, 0, 1).float()


def scene(seed: int, size: int) -> Picture:
    """A landscape, portrait, still life or cityscape in some light, long side `size` px: the same for the same arguments."""
    rng = _chances(seed)
    _, make, motifs = _GENRES[rng.integers(len(_GENRES))]
    motif = str(rng.choice(motifs))
    upright = make is portrait or motif in ("flowers", "sunflowers")
    picture = make(rng, motif, 1 / ASPECT if upright else ASPECT, size)
    tint = np.array([1 + rng.uniform(-0.1, 0.1), 1, 1 + rng.uniform(-0.1, 0.1)], np.float32)
    return Picture(np.clip(picture.image * tint * rng.uniform(0.75, 1.1), 0, 1).astype(np.float32), picture.regions)


def genre(seed: int) -> str:
    """What the scene of `seed` is: "landscape", "portrait", "still-life" or "cityscape"."""
    name, _, _ = _GENRES[_chances(seed).integers(len(_GENRES))]
    return name


def _chances(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 27])


def photographs(count: int, *, size: int = 480, held_out: bool = False, show: bool = False) -> Corpus:
    """`count` scenes as photographs, and the three sample photographs; with `held_out` other scenes, and none of those.

    Raises WorkbenchError when the cache cannot be written.
    """
    require(count >= 1, f"{count} scenes: give a whole number above 0")
    works = []
    for seed in progress.track(_seeds(count, held_out), total=count, label="scenes", show=show):
        path = _folder(size) / f"scene-{seed:07}.png"
        works.append(_work(path, lambda seed=seed: _pixels(scene(seed, size)), "scene"))  # type: ignore[misc]
    if not held_out:
        for name in samples.PHOTOGRAPHS:
            works.append(_work(samples.photograph_path(name), lambda: None, "photograph"))
    return Corpus("scenes", _folder(size), tuple(works), IngestReport(seen=len(works), usable=len(works)))


def pairs(painter: str, count: int, *, size: int = PAIR_SIZE, held_out: bool = False, show: bool = False) -> tuple[Pair, ...]:
    """`count` scenes as `painter`, a synthetic one, paints them; with `held_out` others. About .6 s each, on the first call.

    Raises UsageError for an unknown painter, WorkbenchError when the cache cannot be written.
    """
    samples.works.known("painter", painter, samples.PAINTERS)
    require(count >= 1, f"{count} pairs: give a whole number above 0")
    made = []
    for seed in progress.track(_seeds(count, held_out), total=count, label=f"scenes by {painter}", show=show):
        names = [_folder(size) / f"{kind}-{seed:07}.png" for kind in ("scene", "labels", painter)]
        found = None if all(name.is_file() for name in names) else scene(seed, size)
        makers: list[Callable[[], Image.Image]] = [
            lambda found=found: _pixels(found),  # type: ignore[misc]
            lambda found=found: Image.fromarray(found.labels().astype(np.uint8)),  # type: ignore[misc]
            lambda found=found, seed=seed: samples.PAINTERS[painter].paint(found, seed=seed),  # type: ignore[misc]
        ]
        _write(names[1], makers[1])
        made.append(Pair(_work(names[0], makers[0], "scene"), names[1], _work(names[2], makers[2], painter)))
    return tuple(made)


def _seeds(count: int, held_out: bool) -> range:
    return range(HELD_OUT, HELD_OUT + count) if held_out else range(count)


@cache
def _source() -> str:
    """A hash of the code that draws and paints: it names the folder, so that nothing stale is used."""
    return hashlib.sha256(fingerprint().encode() + Path(__file__).read_bytes()).hexdigest()[:16]


def _folder(size: int) -> Path:
    return cache_dir("scenes", _source(), str(size))


def _pixels(picture: Picture) -> Image.Image:
    return Image.fromarray((picture.image * 255).round().astype(np.uint8))


def _write(path: Path, make: Callable[[], Image.Image | None]) -> None:
    if not path.is_file() and (image := make()) is not None:
        with atomic(path) as temporary:
            image.save(temporary)


def _work(path: Path, make: Callable[[], Image.Image | None], genre: str) -> Work:
    _write(path, make)
    with Image.open(path) as file:
        width, height = file.size
    return Work(path.name, path, sha256(path), width, height, {"genre": genre})
