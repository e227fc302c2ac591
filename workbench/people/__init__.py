"""People and their faces in a picture, found by two small networks whose weights are in the package.

people.md, beside this file, has the networks' origin, their accuracy on paintings, and their failures.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from workbench import images
from workbench.errors import WorkbenchError
from workbench.people.networks import FaceNetwork, PersonNetwork
from workbench.statistics import resample_masks

WEIGHTS = Path(__file__).with_name("people.safetensors")
WEIGHTS_SHA256 = "d6ea1e5ecb43229bd580f3d1283753eda670310924621a77220e7ac0f1d3234c"
NAMES = ("", "person", "face")
"""Names of what a cell may show, by the number that `parts` gives it; 0 is neither."""
FACE_SCORE = 0.6
"""Score in [0, 1] above which a detection is a face. At the network's own threshold of .5 many flowers are faces."""
PERSON_PROBABILITY = 0.5
"""Probability above which a place shows a person."""
SAME_FACE_OVERLAP = 0.3
"""Intersection over union of two boxes, in [0, 1], above which they are detections of one face."""
MIN_PERSON_SHARE = 0.05
"""Part of a picture, in [0, 1], that all people together take at least; smaller ones are mostly errors."""
MIN_FACE_SHARE = 0.005
"""Part of a picture, in [0, 1], that all faces together take at least; smaller ones are too little to match."""
FOREHEAD_HEIGHT = 0.2
"""Height of the forehead above a face's box, in heights of the box: a box begins at the brows."""


@dataclass(frozen=True)
class Face:
    """A face, in fractions of the picture's width and height, beyond 0..1 where the face goes beyond the picture.

    box: (left, top, right, bottom), from the brows to the chin. points: (x, y) of the right eye, the left eye, the tip of the
    nose, the mouth, the right and the left ear; right is the person's right. score: in [0, 1].
    """

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    score: float

    def overlap(self, other: "Face") -> float:
        """Intersection over union of both boxes, in [0, 1]."""
        return _overlap(np.array(self.box), np.array([other.box]))[0]


def faces(picture: Tensor, threshold: float = FACE_SCORE) -> list[Face]:
    """The faces in `picture` (1, 3, H, W) in [0, 1] whose score is above `threshold`, the highest first.

    Raises WorkbenchError if the file of the weights is not the one shipped, as `person` and `parts` do.
    """
    square, scale, shift = framed(picture)
    logits, places = _both_ways(square)
    scores = torch.sigmoid(logits)
    kept = (scores > threshold) & (places[:, 1] > 0).all(dim=1)
    points = places[kept] + _network("face").centres[kept, None]
    sides = places[kept, 1:2]
    points = torch.cat([points[:, :1] - sides / 2, points[:, :1] + sides / 2, points[:, 2:]], dim=1)
    points = ((points / FaceNetwork.SIZE - shift) / scale).double().numpy()
    return list(_separate(points, scores[kept].double().numpy()))


def person(picture: Tensor) -> Tensor:
    """The probability that each place of `picture` (1, 3, H, W) in [0, 1] shows a person: (1, 1, 256, 256) over all of it."""
    with torch.no_grad():
        return torch.sigmoid(_network("person")(squeezed(picture)))


def parts(picture: Tensor, height: int, width: int) -> np.ndarray:
    """What each cell of a grid over `picture` (1, 3, H, W) in [0, 1] shows: (height, width) uint8, an index of NAMES.

    A face is an ellipse about its box, reduced to the part inside of the person where that is more than half. Where no face is
    found, there is no person either: the person network alone finds people in vases and boats. People, or faces, that take
    too little of the picture are left out.
    """
    found = np.zeros((height, width), dtype=np.uint8)
    detected = faces(picture)
    if not detected:
        return found
    people = resample_masks(person(picture), height, width)[0, 0].numpy() > PERSON_PROBABILITY
    down, across = ((np.arange(n) + 0.5) / n for n in (height, width))
    inside = np.zeros_like(people)
    for face in detected:
        left, top, right, bottom = face.box
        top -= FOREHEAD_HEIGHT * (bottom - top)
        x, y = (2 * across - left - right) / (right - left), (2 * down - top - bottom) / (bottom - top)
        ellipse = x[None] ** 2 + y[:, None] ** 2 < 1
        within = ellipse & people
        inside |= within if within.sum() > ellipse.sum() / 2 else ellipse
    if inside.mean() < MIN_FACE_SHARE:
        inside[:] = False
    people &= ~inside
    if people.mean() >= MIN_PERSON_SHARE:
        found[people] = NAMES.index("person")
    found[inside] = NAMES.index("face")
    return found


def framed(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(the picture in the middle of a black square, the input of the face network; scale; shift).

    The place x, in [0, 1] over the picture, is at x * scale + shift of the square; both (2,), x before y.
    """
    size = FaceNetwork.SIZE
    small = images.resize(picture.cpu(), size)
    height, width = small.shape[-2:]
    left, top = (size - width) // 2, (size - height) // 2
    square = F.pad(2 * small - 1, (left, size - width - left, top, size - height - top), value=-1.0)
    return square, torch.tensor([width, height]) / size, torch.tensor([left, top]) / size


def squeezed(picture: Tensor) -> Tensor:
    """The picture scaled to a square, whatever its shape: the input of the person network."""
    return images.resize(picture.cpu(), (PersonNetwork.SIZE, PersonNetwork.SIZE))


def _both_ways(square: Tensor) -> tuple[Tensor, Tensor]:
    """Mean output of the face network for a square (1, 3, 256, 256) and its mirror image: (896,) and (896, 8, 2).

    A face is detected in both; a false detection often in one alone.
    """
    network = _network("face")
    with torch.no_grad():
        logits, places = network(torch.cat([square, square.flip(3)]))
    turned = network.mirrored
    other = places[1, turned][:, [0, 1, 3, 2, 4, 5, 7, 6]]  # the mirror exchanges left and right
    other[:, [0, 2, 3, 4, 5, 6, 7], 0] *= -1
    return (logits[0] + logits[1, turned]) / 2, (places[0] + other) / 2


def _separate(points: np.ndarray, scores: np.ndarray) -> Iterator[Face]:
    """Blended non-maximum suppression: detections that overlap become one face, the mean by score.

    points: (n, 8, 2), the box's corners first; scores: (n,).
    """
    left = np.argsort(-scores, kind="stable")
    boxes = points[:, :2].reshape(-1, 4)
    while len(left):
        alike = _overlap(boxes[left[0]], boxes[left]) > SAME_FACE_OVERLAP
        same, best = left[alike], left[0]
        mean = np.average(points[same], axis=0, weights=scores[same])
        yield Face(tuple(mean[:2].ravel().tolist()), tuple(map(tuple, mean[2:].tolist())), float(scores[best]))
        left = left[~alike]


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of `box` (4,) with each of `others` (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(min=0).prod(axis=1)
    return common / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common)


@cache
def _network(name: str) -> FaceNetwork | PersonNetwork:
    """The network with the weights in the package, on the CPU. WorkbenchError if their file is not the one shipped."""
    try:
        content = WEIGHTS.read_bytes()
        tensors = load(content)
    except (OSError, SafetensorError) as error:
        raise WorkbenchError(f"{WEIGHTS} cannot be read: {error}; reinstall the package") from error
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise WorkbenchError(f"{WEIGHTS} is damaged: its SHA-256 starts with {found[:8]}; reinstall the package")
    network = {"face": FaceNetwork, "person": PersonNetwork}[name]()
    mine = {key.removeprefix(f"{name}."): value.float() for key, value in tensors.items() if key.startswith(f"{name}.")}
    network.load_state_dict(mine)
    return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # a quarter faster than NCHW
