"""Pictures as tensors (1, 3, H, W) in [0, 1]: loading, sizes, and back to 8 bits."""

import os

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from workbench.errors import WorkbenchError, require
from workbench.images.decoding import read
from workbench.images.sizes import LARGEST, check_size, fit

OVERSAMPLED = 2
"""Factor of the requested size at which a picture is decoded, if its format can reduce while decoding."""
LARGE = 2**24
"""Pixels above which a decoded picture is reduced before it becomes a tensor, which takes twelve bytes for each."""


def load(path: str | os.PathLike, size: int | None = None, *, enough: int | None = None, sha256: str | None = None) -> Tensor:
    """Read the file at `path` as float32 (1, 3, H, W) in [0, 1].

    With `size`, the long side becomes exactly `size` pixels, smaller or larger than the file's, and the aspect is kept.
    With `enough`, px, a picture of more than that may come reduced, its long side no smaller than `enough`: memory then follows
    what is asked for, not the file. `sha256`: see `read`.
    Raises WorkbenchError as `read` does, UsageError as `check_size` does.
    """
    if size is not None:
        levels, sides = decode(path, size, sha256)
        return resize(from_levels(levels), sides)
    found = read(path, enough=enough, sha256=sha256).image
    return to_tensor(_reduce(found, enough) if enough else found)


def decode(path: str | os.PathLike, size: int, sha256: str | None = None) -> tuple[Tensor, tuple[int, int]]:
    """What `load` does first: (levels (h, w, 3), uint8, of the picture or a reduced one; its sides (H, W) at long side `size`).

    `resize(from_levels(levels), sides)` is what comes next, on any device. Raises as `load` does.
    """
    check_size(size)
    found = read(path, enough=OVERSAMPLED * size, sha256=sha256)
    return _levels(_reduce(found.image, OVERSAMPLED * size)), fit(*found.full, size)


def _reduce(image: Image.Image, enough: int) -> Image.Image:
    """A large `image` by a whole factor, the mean of its pixels, its long side at least `enough`; any other as it is."""
    factor = max(image.size) // enough
    return image.reduce(factor) if factor > 1 and image.width * image.height > LARGE else image


def resize(image: Tensor, size: int | tuple[int, ...]) -> Tensor:
    """Resize (N, 3, H, W) in [0, 1] to a long side of `size`, or to exactly (h, w), in [0, 1].

    Bicubic with antialiasing (the kernel widens when shrinking), clamped because bicubic overshoots at edges.
    An image that has the size already is returned as it is.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    require(
        len(sides) == 2 and all(isinstance(side, int) and 1 <= side <= LARGEST for side in sides),
        f"size is {size!r}; give a long side, or a height and a width, from 1 to {LARGEST}",
    )
    height, width = image.shape[-2:]
    target = fit(height, width, size) if isinstance(size, int) else sides
    if target == (height, width):
        return image
    return functional.interpolate(image, target, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def to_tensor(image: Image.Image) -> Tensor:
    """An "RGB" image as float32 (1, 3, H, W) in [0, 1]: level / 255."""
    require(image.mode == "RGB", f"image has mode {image.mode}, not RGB; read its file with images.read")
    return from_levels(_levels(image))


def _levels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))  # a copy: the array of a PIL image is read-only


def from_levels(levels: Tensor) -> Tensor:
    """Levels (h, w, 3), uint8, as float32 (1, 3, h, w) in [0, 1]: level / 255."""
    return levels.permute(2, 0, 1).contiguous().unsqueeze(0).float().div_(255)  # put in order as bytes, a quarter of the size


def to_pil(image: Tensor) -> Image.Image:
    """(1, 3, H, W) or (3, H, W) as an 8-bit "RGB" image: clamped to [0, 1] and rounded to the nearest level.

    Raises WorkbenchError when a value is not finite, which a clamp would hide.
    """
    pixels = image.detach()
    pixels = pixels[0] if pixels.ndim == 4 and pixels.shape[0] == 1 else pixels
    require(
        pixels.ndim == 3 and pixels.shape[0] == 3,
        f"image has shape {tuple(image.shape)}; give (1, 3, H, W) or (3, H, W)",
    )
    pixels = pixels.cpu().float()
    bad = (~pixels.isfinite()).sum().item()
    if bad:
        raise WorkbenchError(f"{bad} of the image's {pixels.numel()} values are not finite")
    levels = pixels.clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
