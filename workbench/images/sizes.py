"""Sizes of pictures: the long side says them, and the aspect is kept."""

from workbench.errors import require

SMALLEST, LARGEST = 16, 8192
"""px. The smallest and the largest long side that `check_size` accepts."""


def check_size(size: int) -> int:
    """`size`, a long side in pixels, when it is a whole number from 16 to 8192; UsageError otherwise."""
    whole = isinstance(size, int) and not isinstance(size, bool)
    good = whole and SMALLEST <= size <= LARGEST
    require(good, f"size is {size!r}; give a whole number of pixels from {SMALLEST} to {LARGEST}")
    return size


def fit(height: int, width: int, size: int) -> tuple[int, int]:
    """(h, w) whose long side is `size`, in the aspect of height : width, each side at least 1."""
    long = max(height, width)
    h, w = (max(1, (2 * side * size + long) // (2 * long)) for side in (height, width))  # round half up
    return h, w
