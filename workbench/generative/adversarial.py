"""What families with a discriminator have in common: the least-squares game, and how far results are from an artist's works."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from workbench import statistics
from workbench.encoders import Encoder
from workbench.transfer.losses import relative_squares

CONTENT_LAYER = "relu4_2"
"""Where the content of a result is compared with that of its picture."""
AT_ONCE = 8
"""Pictures that the encoder sees at once outside of a training step."""


def real(scores: Sequence[Tensor]) -> Tensor:
    """E[(D - 1)^2], the mean over the scales: what D loses on works, and a generator on its results (Mao et al. 2017)."""
    return torch.stack([(score - 1).square().mean() for score in scores]).mean()


def fake(scores: Sequence[Tensor]) -> Tensor:
    """E[D^2], the mean over the scales: what D loses on results."""
    return torch.stack([score.square().mean() for score in scores]).mean()


def difference(x: Tensor, y: Tensor) -> Tensor:
    """The mean absolute difference of pictures in [0, 1], counted as the papers do, whose pictures are in [-1, 1]."""
    return 2 * (x - y).abs().mean()


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within the block gradients pass through `networks`, but none are computed for their weights, which halves their cost."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


def pooled_grams(pictures: Tensor, encoder: Encoder) -> dict[str, Tensor]:
    """The Gram matrices over all positions of all `pictures` (N, 3, H, W) in [0, 1]: style layer -> (C, C)."""
    each: dict[str, list[Tensor]] = {layer: [] for layer in encoder.style_layers}
    for part in pictures.split(AT_ONCE):
        for layer, features in encoder.features(part, encoder.style_layers).items():
            each[layer].append(statistics.gram(features))
    return {layer: torch.cat(grams).mean(dim=0) for layer, grams in each.items()}


def style_distance(grams: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """||G - G*||^2 / ||G*||^2, the mean over the layers, for layer -> (C, C)."""
    return float(torch.stack([relative_squares(grams[layer][None], wanted[layer][None]) for layer in wanted]).mean())


def content_distance(results: Tensor, pictures: Tensor, encoder: Encoder) -> float:
    """||F - F*||^2 / ||F*||^2 at CONTENT_LAYER, the mean over the pictures, (N, 3, H, W) in [0, 1] both."""
    each = [
        relative_squares(*(encoder.features(x, (CONTENT_LAYER,))[CONTENT_LAYER] for x in two))
        for two in zip(results.split(AT_ONCE), pictures.split(AT_ONCE), strict=True)
    ]
    return float(torch.cat(each).mean())
