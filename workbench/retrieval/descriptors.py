"""Descriptors of a picture: of what it shows (content), and of how it is painted (style, gram)."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from workbench import statistics
from workbench.encoders import Encoder

Kind = Literal["content", "style", "gram"]
KINDS: tuple[Kind, ...] = ("content", "style", "gram")
SKETCH = 32
"""Rows and columns of the sketch of a Gram matrix, whose upper triangle has 528 numbers."""


def describe(image: Tensor, encoder: Encoder, kind: Kind) -> np.ndarray:
    """The raw descriptor of one image (1, 3, H, W) in [0, 1], at the size it has: (D,) float32. See `describe_each`."""
    return describe_each(image, encoder, kind)[0]


def describe_each(pictures: Tensor, encoder: Encoder, kind: Kind) -> np.ndarray:
    """The raw descriptors of images (N, 3, H, W) in [0, 1]: (N, D) float32.

    content: the encoder's image embedding, scaled to length one.
    style:   channel means and standard deviations of every style layer, each layer's block scaled to length one.
    gram:    a sketch R^T G R of every style layer's Gram matrix, R (C, 32) Gaussian with a fixed seed, upper triangle,
             each layer's block scaled to length one. Inner products of sketches estimate those of the Gram matrices.
    """
    with torch.no_grad():
        if kind == "content":
            blocks = [encoder.embed(pictures)]
        else:
            features = encoder.features(pictures, encoder.style_layers).values()
            statistic = statistics.style_vector if kind == "style" else _sketches
            blocks = [statistic(f) for f in features]
        rows = [torch.cat([block / block.norm().clamp_min(1e-12) for block in row]) for row in zip(*blocks, strict=True)]
    return torch.stack(rows).cpu().numpy()


def _sketches(features: Tensor) -> Tensor:
    return torch.stack([_sketch(gram) for gram in statistics.gram(features)])


def _sketch(gram: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(len(gram))
    project = torch.randn(len(gram), SKETCH, generator=generator).to(gram) / SKETCH**0.5
    row, column = torch.triu_indices(SKETCH, SKETCH, device=gram.device)
    # An off-diagonal entry occurs twice in the symmetric matrix: sqrt(2) keeps the inner product that of whole matrices.
    weight = torch.where(row == column, 1.0, 2**0.5)
    return (project.T @ gram @ project)[row, column] * weight
