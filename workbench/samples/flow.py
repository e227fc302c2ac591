"""Where the hand goes: fields of orientation for strokes.

An orientation has no sign, so fields are kept as double angles (cos 2t, sin 2t), which can be added and blurred:
opposite directions agree and perpendicular ones cancel.
"""

import numpy as np
from scipy import ndimage

from workbench.samples.scene import resize_plane


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a (H, W) or (H, W, k) float field in its plane, cut off at 2.5 deviations.

    Where `sigma` is wide it is done on a smaller copy; the error is below what a stroke's colour can show.
    """
    if field.ndim == 3:
        return np.stack([blur(field[..., k], sigma) for k in range(field.shape[2])], axis=-1)
    if sigma < 4:
        return ndimage.gaussian_filter(field, sigma, truncate=2.5, output=np.float32)
    height, width = field.shape
    factor = int(sigma / 2)
    small = resize_plane(field, (max(2, width // factor), max(2, height // factor)))
    return resize_plane(ndimage.gaussian_filter(small, sigma / factor, truncate=2.5, mode="nearest"), (width, height))


def along_edges(lightness: np.ndarray, sigma: float) -> np.ndarray:
    """Orientation along the edges of `lightness` (H, W), as a double-angle field (H, W, 2) of length up to 1.

    The structure tensor J of the image smoothed by `sigma`; its minor axis runs along edges. The length is the
    coherence of J times trace J / (trace J + its mean), so that flat places say little.
    """
    gx = ndimage.gaussian_filter(lightness, sigma * 0.6, order=(0, 1), truncate=2.5, mode="nearest")
    gy = ndimage.gaussian_filter(lightness, sigma * 0.6, order=(1, 0), truncate=2.5, mode="nearest")
    xx, yy, xy = (blur(p, sigma) for p in (gx * gx, gy * gy, gx * gy))
    trace = xx + yy + 1e-9
    certain = trace / (trace + 0.5 * trace.mean())
    return np.stack([(yy - xx) / trace * certain, -2 * xy / trace * certain], axis=-1)


def along_outline(mask: np.ndarray, reach: float) -> np.ndarray:
    """Orientation along the outline of a soft mask (H, W), felt `reach` pixels deep; double angles (H, W, 2)."""
    height, width = mask.shape
    small = resize_plane(mask, (max(8, width // 4), max(8, height // 4)))
    gx = ndimage.gaussian_filter(small, reach / 4, order=(0, 1), truncate=2.5, mode="nearest")
    gy = ndimage.gaussian_filter(small, reach / 4, order=(1, 0), truncate=2.5, mode="nearest")
    size = gx * gx + gy * gy
    scale = 1 / (size + 0.02 * size.max() + 1e-12)
    return np.stack(
        [resize_plane((gy * gy - gx * gx) * scale, (width, height)), resize_plane(-2 * gx * gy * scale, (width, height))],
        axis=-1,
    )


def along_levels(stream: np.ndarray) -> np.ndarray:
    """Orientation along the level lines of a stream function (H, W), as unit double angles (H, W, 2)."""
    gy, gx = np.gradient(stream)
    size = gx * gx + gy * gy + 1e-12
    return np.stack([(gy * gy - gx * gx) / size, -2 * gx * gy / size], axis=-1)


def constant(shape: tuple[int, int], degrees: float) -> np.ndarray:
    """One orientation everywhere, `degrees` counter-clockwise from the horizontal; (H, W, 2)."""
    angle = -2 * np.deg2rad(degrees)  # rows grow downwards
    return np.broadcast_to(np.array([np.cos(angle), np.sin(angle)], np.float32), (*shape, 2))


def direction(field: np.ndarray, sigma: float) -> np.ndarray:
    """Unit vectors (H, W, 2) as (x, y) of a double-angle field blurred by `sigma` pixels; their sign is arbitrary."""
    angle = 0.5 * np.arctan2(blur(field[..., 1], sigma), blur(field[..., 0], sigma))
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3) -> np.ndarray:
    """Smooth noise (H, W) float32 with mean about 0 and deviation about 1; `cell` is the largest feature in pixels."""
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.5)
        rows, columns = int(height / step) + 4, int(width / step) + 4
        coarse = rng.standard_normal((rows, columns)).astype(np.float32)
        plane = resize_plane(coarse, (int(columns * step) + 1, int(rows * step) + 1))
        total += plane[:height, :width] / 2**octave
    return total / max(float(total.std()), 1e-6)
