"""What is measured about results: distances, structure kept, and how a result stands among an artist's unseen works."""

from workbench.metrics.distances import (
    StyleDistance,
    colour_distance,
    content_distance,
    distances,
    picture_moments,
    style_distance,
)

__all__ = [
    "StyleDistance",
    "colour_distance",
    "content_distance",
    "distances",
    "picture_moments",
    "style_distance",
]
