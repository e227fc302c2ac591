"""Where in a picture people and their faces are: two small networks whose weights lie in the package.

people.md, beside this file, says where they come from, how often they are right in paintings, and where they fail.
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
from workbench.statistics import spread

WEIGHTS = Path(__file__).with_name("people.safetensors")
WEIGHTS_SHA256 = "d6ea1e5ecb43229bd580f3d1283753eda670310924621a77220e7ac0f1d3234c"
NAMES = ("", "person", "face")  # of regions, by their number in `parts`
SURE = 0.6  # score above which something is a face; the network's own .5 takes many a flower for one
LIKELY = 0.5  # probability above which a place shows a person
SAME = 0.3  # of boxes: the share of their union that both cover, above which they show one face
LEAST_PERSON = 0.05  # of a picture, all people together: below it they are mostly chance
LEAST_FACE = 0.005  # of a picture, all faces together: below it there is too little to match
FOREHEAD = 0.2  # of a box's height, by which the ellipse of a face goes above it


@dataclass(frozen=True)
class Face:
    """A face. box: (left, top, right, bottom), from the brows to the chin; points: the right eye, the left eye, the tip of
    the nose, the mouth, the right and the left ear, right being the person's, each (x, y). All in parts of the picture's width
    and height, and beyond 0..1 where the network takes the face to go on. score: in [0, 1].
    """

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    score: float

    def overlap(self, other: "Face") -> float:
        """The share of what either box covers that both cover, in [0, 1]."""
        return _overlap(np.array(self.box), np.array([other.box]))[0]


def faces(picture: Tensor, least: float = SURE) -> list[Face]:
    """The faces in `picture` (1, 3, H, W) in [0, 1] whose score is above `least`, the surest first."""
    square, scale, shift = framed(picture)
    logits, places = _both_ways(square)
    scores = torch.sigmoid(logits)
    sure = (scores > least) & (places[:, 1] > 0).all(dim=1)
    points = places[sure] + _network("face").centres[sure, None]
    sides = places[sure, 1:2]
    points = torch.cat([points[:, :1] - sides / 2, points[:, :1] + sides / 2, points[:, 2:]], dim=1)
    points = ((points / FaceNetwork.SIZE - shift) / scale).double().numpy()
    return list(_separate(points, scores[sure].double().numpy()))


def person(picture: Tensor) -> Tensor:
    """How likely each place of `picture` (1, 3, H, W) in [0, 1] shows a person: (1, 1, 256, 256) in [0, 1] over all of it."""
    with torch.no_grad():
        return torch.sigmoid(_network("person")(squeezed(picture)))


def parts(picture: Tensor, height: int, width: int) -> np.ndarray:
    """What each cell of a grid over `picture` (1, 3, H, W) shows: (height, width) uint8, places in NAMES.

    A face is an ellipse about its box, as far as it lies in the person, if it mostly does. Where no face is found, there is
    no person either: vases and boats look like people to the other network alone. People, or faces, that take too little
    of the picture are left out.
    """
    found = np.zeros((height, width), dtype=np.uint8)
    seen = faces(picture)
    if not seen:
        return found
    people = spread(person(picture), height, width)[0, 0].numpy() > LIKELY
    down, across = ((np.arange(n) + 0.5) / n for n in (height, width))
    inside = np.zeros_like(people)
    for face in seen:
        left, top, right, bottom = face.box
        top -= FOREHEAD * (bottom - top)
        x, y = (2 * across - left - right) / (right - left), (2 * down - top - bottom) / (bottom - top)
        ellipse = x[None] ** 2 + y[:, None] ** 2 < 1
        within = ellipse & people
        inside |= within if within.sum() > ellipse.sum() / 2 else ellipse
    if inside.mean() < LEAST_FACE:
        inside[:] = False
    people &= ~inside
    if people.mean() >= LEAST_PERSON:
        found[people] = NAMES.index("person")
    found[inside] = NAMES.index("face")
    return found


def framed(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(the picture in the middle of a black square, as the network for faces takes it; scale; shift).

    What lies at x of 0..1 in the picture lies at x * scale + shift of 0..1 in the square; both (2,), x before y.
    """
    size = FaceNetwork.SIZE
    small = images.resize(picture.cpu(), size)
    height, width = small.shape[-2:]
    left, top = (size - width) // 2, (size - height) // 2
    square = F.pad(2 * small - 1, (left, size - width - left, top, size - height - top), value=-1.0)
    return square, torch.tensor([width, height]) / size, torch.tensor([left, top]) / size


def squeezed(picture: Tensor) -> Tensor:
    """The picture as the network for people takes it: a square, whatever its shape was."""
    return images.resize(picture.cpu(), (PersonNetwork.SIZE, PersonNetwork.SIZE))


def _both_ways(square: Tensor) -> tuple[Tensor, Tensor]:
    """What the network says of a square (1, 3, 256, 256) and of its mirror image, the mean of both: (896,) and (896, 8, 2).

    A face is one in a mirror, too; what only looks like one often is not.
    """
    network = _network("face")
    with torch.no_grad():
        logits, places = network(torch.cat([square, square.flip(3)]))
    turned = network.mirrored
    other = places[1, turned][:, [0, 1, 3, 2, 4, 5, 7, 6]]  # the right eye is a left one there
    other[:, [0, 2, 3, 4, 5, 6, 7], 0] *= -1
    return (logits[0] + logits[1, turned]) / 2, (places[0] + other) / 2


def _separate(points: np.ndarray, scores: np.ndarray) -> Iterator[Face]:
    """One face for all anchors that see it, their mean by score: `points` (n, 8, 2), the box's corners first; `scores` (n,)."""
    left = np.argsort(-scores, kind="stable")
    boxes = points[:, :2].reshape(-1, 4)
    while len(left):
        alike = _overlap(boxes[left[0]], boxes[left]) > SAME
        seen, best = left[alike], left[0]
        mean = np.average(points[seen], axis=0, weights=scores[seen])
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
    return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # a quarter faster
