"""A picture as brush strokes: rendered with gradients, planned over a picture, optimised, and written as files."""

from workbench.strokes.stroke import Strokes

__all__ = ["Strokes"]
