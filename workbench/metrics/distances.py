"""What is measured about a result: distances between pictures, and between a picture and style statistics."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import images
from workbench.encoders import Encoder
from workbench.images import colour
from workbench.statistics import Moments, moments
from workbench.transfer.losses import ContentLoss, GramLoss, W2Loss


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


def distances(picture: Tensor, reference: Tensor, encoder: Encoder) -> dict[str, float]:
    """How far `picture` is from `reference`, such as a painter's own answer: style (Gram), content, colour (Delta E).

    Both (1, 3, H, W) in [0, 1]; see style_distance, content_distance and colour_distance.
    """
    return {
        "style": style_distance(picture, picture_moments(reference, encoder), encoder).gram,
        "content": content_distance(picture, reference, encoder),
        "colour": colour_distance(picture, reference),
    }


def colour_distance(picture: Tensor, reference: Tensor, *, cells: int = 24) -> float:
    """Mean colour difference (CIE 1976, Delta E) of what lies in the same place: both (1, 3, H, W), sRGB in [0, 1].

    Both are averaged over a grid of `cells` along the long side first, so that brush strokes do not count, only which
    colours are where. 2.3 is about a just noticeable difference; black and white are 100 apart.
    """
    height, width = images.fit(*picture.shape[-2:], cells)
    coarse = [F.adaptive_avg_pool2d(image.cpu(), (height, width)) for image in (picture, reference)]
    a, b = (colour.lab(image) for image in coarse)
    return float((a - b).square().sum(dim=1).sqrt().mean())
