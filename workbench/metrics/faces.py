"""Whether the faces of a content picture are still faces in the result, and at the same place."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from workbench import people
from workbench.people import Face

SAME = 0.5
"""Overlap of two boxes (intersection over union) above which they show the same face."""
FAINT = 0.05
"""Score, in [0, 1], below which a detection in the result is ignored."""


@dataclass(frozen=True)
class FacesKept:
    """Means over the faces of the content, weighted by the area of their boxes, so that faces in the distance count less.

    kept: share that the detector finds again, in [0, 1]; score: its score there over that in the content, 0 where it finds
    none, above 1 where it is higher there; displacement: how far eyes, nose, mouth and ears moved, in widths of the
    face, of the faces that were kept, None where none was. faces: how many the content has.
    """

    kept: float
    score: float
    displacement: float | None
    faces: int


def faces_kept(picture: Tensor, content: Tensor) -> FacesKept | None:
    """What `picture` keeps of the faces in `content`, both (1, 3, H, W) in [0, 1] and of one aspect; None if it has none.

    The detector was trained on photographs: a face that a painter would paint, and a person would see, may be lost to it. Of
    the painted portraits that it was tried on it finds 97 %.
    """
    before, after = (people.faces(image, FAINT) for image in (content, picture))
    before = [face for face in before if face.score > people.FACE_SCORE]
    if not before:
        return None
    found = [max(after, key=face.overlap, default=None) for face in before]
    found = [other if other and face.overlap(other) > SAME else None for face, other in zip(before, found, strict=True)]
    sides = np.array(content.shape[:1:-1])  # W, H
    areas = np.array([_width(face) * (face.box[3] - face.box[1]) for face in before])
    kept = np.array([other is not None and other.score > people.FACE_SCORE for other in found])
    scores = [other.score / face.score if other else 0.0 for face, other in zip(before, found, strict=True)]
    moved = [_moved(face, other, sides) if other else 0.0 for face, other in zip(before, found, strict=True)]
    return FacesKept(
        kept=float(np.average(kept, weights=areas)),
        score=float(np.average(scores, weights=areas)),
        displacement=float(np.average(moved, weights=areas * kept)) if kept.any() else None,
        faces=len(before),
    )


def _width(face: Face) -> float:
    return face.box[2] - face.box[0]


def _moved(face: Face, other: Face, sides: np.ndarray) -> float:
    """Mean distance between the points of two faces in pictures of `sides` (W, H), in widths of the first."""
    apart = (np.array(face.points) - np.array(other.points)) * sides
    return float(np.linalg.norm(apart, axis=1).mean() / (_width(face) * sides[0]))
