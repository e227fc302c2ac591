"""Measures of results: distances, structure kept, leaks, and how typical a result is among an artist's unseen works."""

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
