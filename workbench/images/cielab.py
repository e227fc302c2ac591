"""CIE L*a*b* (D65) from sRGB and back, for arrays (..., 3): IEC 61966-2-1, then CIE 15. The one definition of both."""

import numpy as np

RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    dtype=np.float32,
)
"""Linear sRGB to CIE XYZ, (3, 3)."""
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ.astype(np.float64)).astype(np.float32)
"""CIE XYZ to linear sRGB, (3, 3)."""
WHITE = np.array([0.95047, 1.0, 1.08883], dtype=np.float32)
"""XYZ of the white point D65."""


def linear_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1]; any shape."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def lab_from_linear(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB; (..., 3) float32. L is in [0, 100]."""
    xyz = linear @ RGB_TO_XYZ.T / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def lab_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB in [0, 1]; (..., 3) float32. L is in [0, 100]."""
    return lab_from_linear(linear_from_rgb(rgb))


def rgb_from_lab(lab: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] of CIE L*a*b*, clipped to the gamut; (..., 3) float32."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787) * WHITE
    linear = np.clip(xyz @ XYZ_TO_RGB.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)
