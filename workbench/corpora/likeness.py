"""When two pictures are the same: by their pixels, or by the look of two reproductions of one painting."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 16
NEAR = 60
"""Of 256 bits, those that two reproductions of one painting may differ in.

Measured on 492 works of 17 painters: two different works differ in 77 bits or more; a work and itself, smaller, compressed
more, lighter, or cropped by 2 % at each edge, in 59 or fewer; cropped by 4 %, in 93 or fewer: more than half are missed.
"""

CROPS = (*((share,) * 4 for share in (0.035, 0.07, 0.105, 0.14)), *np.eye(4).dot(0.06).tolist())
"""Crops whose looks count, too: the share of the sides that is gone at the left, top, right and bottom edge.

Measured on the same works, which make 120,786 pairs: with these looks two different works differ in 73 bits or more, so that
none of them is taken for a copy. Found are copies cropped by 2 to 15 % at each edge (998 of 1000 or more), by up to 8 % at one
edge (all), and by up to 6 or 8 % as it comes, at each edge more or less (99 or 86 of 100); beyond that they are missed.
"""

LEAST = 80
"""Long side, px, below which a look says too little: a cell then has fewer than five pixels across."""


def pixels(image: Image.Image) -> str:
    """The SHA-256 of an image's size and pixels, hexadecimal."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def look(image: Image.Image, crop: Sequence[float] = (0, 0, 0, 0)) -> int:
    """The look of an image, or of what one of `CROPS` leaves of it.

    The difference hash (N. Krawetz, "Kind of Like That", 2013) on a grid of 16 x 16: 256 bits.

    A bit says whether the grey of a cell is darker than that of its right neighbour. A plain picture has no bits: see `alike`.
    """
    left, top, right, bottom = crop
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX, box))
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")


def looks(image: Image.Image) -> tuple[int, ...]:
    """The look of an image as it is, and those of its crops: see `CROPS`."""
    grey = image.convert("L")
    small = grey.reduce(max(1, max(grey.size) // 512))  # for speed; a cell has some 30 pixels across
    return (look(grey), *(look(small, crop) for crop in CROPS))


def read(texts: Sequence[str]) -> tuple[int, ...]:
    """The looks of an image that are written in hexadecimal; ValueError for texts that are none."""
    if len(texts) != 1 + len(CROPS):
        raise ValueError(f"{len(texts)} looks")
    digits = SIDE * SIDE // 4
    return tuple(int.from_bytes(bytes.fromhex(text.rjust(digits, "0")[:digits]), "big") for text in texts)


def distance(first: int, second: int) -> int:
    """In how many bits two looks differ."""
    return (first ^ second).bit_count()


def alike(looks: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """(i, j, distance), i < j, of all that look alike: one as it is and the other as it is, or as a crop, within NEAR bits.

    looks: of each, as `looks` has them. Of a look with fewer than NEAR bits, or all but so many, such as that of a plain
    picture, no more is known than that it is plain: it is like no other. O(n^2).
    """
    words = np.frombuffer(b"".join(look.to_bytes(SIDE * SIDE // 8, "big") for each in looks for look in each), np.uint64)
    words = words.reshape(len(looks), 1 + len(CROPS), SIDE * SIDE // 64).transpose(2, 1, 0).copy()  # (word, look, image)
    set_bits = _bits(words)
    telling = (set_bits >= NEAR) & (set_bits <= SIDE * SIDE - NEAR)
    found = []
    for i in np.flatnonzero(telling.any(axis=0)):
        others, tells = words[:, :, i + 1 :], telling[:, i + 1 :]
        crops_of_others, crops_of_this = _bits(words[:, :1, i, None] ^ others), _bits(words[:, :, i, None] ^ others[:, :1])
        crops_of_others[~(tells & telling[0, i])] = crops_of_this[~(tells[:1] & telling[:, i, None])] = SIDE * SIDE
        apart = np.minimum(crops_of_others.min(axis=0), crops_of_this.min(axis=0))
        found += [(int(i), int(i + 1 + j), int(apart[j])) for j in np.flatnonzero(apart <= NEAR)]
    return found


def _bits(words: np.ndarray) -> np.ndarray:
    """How many bits are set in looks, whose words are along the first axis."""
    return np.bitwise_count(words).sum(axis=0, dtype=np.uint16)
