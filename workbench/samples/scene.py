"""What a painter is given: an image, and which of its pixels show what."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

#: Everything a painter distinguishes. A painter has a palette, a brush and a direction of the hand for each.
REGIONS = (
    "sky", "water", "land", "foliage", "building", "skin", "hair", "cloth", "flower", "object", "background",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An image with its regions.

    image: (H, W, 3) float32, sRGB in [0, 1].
    regions: region name -> (H, W) float32 in [0, 1]; at each pixel they add up to 1. Absent regions are left out.
    """

    image: np.ndarray
    regions: Mapping[str, np.ndarray]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def region(self, name: str) -> np.ndarray:
        """The mask of a region, (H, W) float32; all zero when the picture has none of it."""
        mask = self.regions.get(name)
        return np.zeros(self.image.shape[:2], np.float32) if mask is None else mask

    def labels(self) -> np.ndarray:
        """The strongest region at each pixel, (H, W) int8, an index into REGIONS."""
        return np.stack([self.region(name) for name in REGIONS]).argmax(0).astype(np.int8)

    def resized(self, size: int) -> "Picture":
        """The same picture with a long side of `size` pixels."""
        width, height = self.size
        scale = size / max(width, height)
        target = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.stack([resize_plane(self.image[..., k], target) for k in range(3)], axis=-1)
        regions = {name: np.clip(resize_plane(mask, target), 0, 1) for name, mask in self.regions.items()}
        total = np.maximum(sum(regions.values()), 1e-6)
        return Picture(np.clip(image, 0, 1), {name: mask / total for name, mask in regions.items()})


def resize_plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A (H, W) float plane at `size` = (width, height), by bicubic interpolation with antialiasing."""
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
