"""A research workbench for transferring an artist's overall style rather than the style of one picture."""

from importlib.metadata import version

__version__ = version("artist-workbench")
