"""When two pictures are the same: by their pixels, or by the look of two reproductions of one painting."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 16
NEAR = 60
"""Of 256 bits, those that two reproductions of one painting may differ in.

Measured on 492 works of 17 painters: two different works differ in 77 bits or more; a work and itself, smaller, compressed
more, lighter, or cropped by 2 % at each edge, in 59 or fewer; cropped by 4 %, in 93 or fewer, so that about half are missed.
"""

LEAST = 80
"""Long side, px, below which a look says too little: a cell then has fewer than five pixels across."""


def pixels(image: Image.Image) -> str:
    """The SHA-256 of an image's size and pixels, hexadecimal."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def look(image: Image.Image) -> int:
    """The difference hash (N. Krawetz, "Kind of Like That", 2013) on a grid of 16 x 16: 256 bits.

    A bit says whether the grey of a cell is darker than that of its right neighbour. A plain picture has no bits: see `alike`.
    """
    grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX))
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")


def read(text: str) -> int:
    """The look that is written in hexadecimal; ValueError for a text that is none."""
    return int.from_bytes(bytes.fromhex(text.rjust(SIDE * SIDE // 4, "0")[: SIDE * SIDE // 4]), "big")


def distance(first: int, second: int) -> int:
    """In how many bits two looks differ."""
    return (first ^ second).bit_count()


def alike(looks: Sequence[int]) -> list[tuple[int, int, int]]:
    """(i, j, distance), i < j, of all that look alike, within NEAR bits of each other.

    Of a look with fewer than NEAR bits, or all but so many, such as that of a plain picture, no more is known than that it is
    plain: it is like no other. O(n^2).
    """
    words = np.frombuffer(b"".join(look.to_bytes(SIDE * SIDE // 8, "big") for look in looks), np.uint64)
    words = words.reshape(-1, SIDE * SIDE // 64)
    set_bits = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    telling = (set_bits >= NEAR) & (set_bits <= SIDE * SIDE - NEAR)
    found = []
    for i in np.flatnonzero(telling):
        apart = np.bitwise_count(words[i] ^ words[i + 1 :]).sum(axis=1, dtype=np.int64)
        found += [(int(i), int(i + 1 + j), int(apart[j])) for j in np.flatnonzero((apart <= NEAR) & telling[i + 1 :])]
    return found
