"""What is measured about a result: distances between pictures, and between a picture and style statistics."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder
from workbench.losses import ContentLoss, GramLoss, W2Loss
from workbench.statistics import Moments, moments


@dataclass(frozen=True)
class StyleDistance:
    """How far a picture's style is from a target's; 0 is the target itself.

    gram: mean over layers of ||G - G*||^2 / ||G*||^2; by_layer: the same, layer by layer;
    w2: mean over layers of the Gaussian W2 distance over tr(G*), which no transfer by Gram matrices has optimised.
    """

    gram: float
    w2: float
    by_layer: dict[str, float]


def content_distance(picture: Tensor, reference: Tensor, encoder: Encoder) -> float:
    """||F(x) - F(c)||^2 / ||F(c)||^2 at the encoder's content layer; pictures (1, 3, H, W) in [0, 1].

    `reference` is scaled to the size of `picture`. The distance is not symmetric.
    """
    with torch.no_grad():
        reference = images.resize(reference.to(encoder.device), tuple(picture.shape[-2:]))
        loss = ContentLoss(encoder.features(reference, encoder.content_layers))
        return float(loss(picture, encoder.features(picture.to(encoder.device), encoder.content_layers)))


def style_distance(picture: Tensor, target: Mapping[str, Moments], encoder: Encoder) -> StyleDistance:
    """The distance of `picture` (1, 3, H, W) in [0, 1] to the moments `target`, at the layers that `target` has."""
    with torch.no_grad():
        features = encoder.features(picture.to(encoder.device), tuple(target))
        by_layer = {layer: float(value) for layer, value in GramLoss(target).by_layer(features).items()}
        w2 = float(W2Loss(target)(picture, features))
    return StyleDistance(sum(by_layer.values()) / len(by_layer), w2, by_layer)


def picture_moments(picture: Tensor, encoder: Encoder) -> dict[str, Moments]:
    """Moments of one picture (1, 3, H, W) in [0, 1] at the encoder's style layers."""
    with torch.no_grad():
        features = encoder.features(picture.to(encoder.device), encoder.style_layers)
    return {layer: moments(f) for layer, f in features.items()}
