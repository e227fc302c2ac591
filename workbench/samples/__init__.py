"""What ships without shipping an image: three photographs out of our dependencies, and painters that are programs.

A synthetic painter can paint any picture, so the right answer to "how would this artist have painted this
photograph?" is known: `truth`. The painters' works are made once and kept in the cache.
"""

from workbench.samples.painter import Painter
from workbench.samples.painters import PAINTERS
from workbench.samples.photographs import PHOTOGRAPHS, annotated, photograph, photograph_path
from workbench.samples.scene import REGIONS, Picture
from workbench.samples.works import a_single, corpus_path, truth

__all__ = [
    "PAINTERS",
    "PHOTOGRAPHS",
    "REGIONS",
    "Painter",
    "Picture",
    "a_single",
    "annotated",
    "corpus_path",
    "photograph",
    "photograph_path",
    "truth",
]
