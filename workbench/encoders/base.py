"""What every encoder offers: features at named layers, and one vector per image."""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from workbench.errors import UsageError


class Encoder(nn.Module):
    """A frozen visual encoder.

    Attributes:
        name: as `encoders.load` takes it, such as "vgg19".
        weights_sha256: hexadecimal digest of the weights, for caches and provenance.
        channels: layer name -> number of channels, in order of depth; empty for an encoder without spatial features.
        style_layers, content_layers: the layers used for the style and the content loss unless said otherwise.
        paints: whether a picture can be painted with these layers; if not, they serve for comparisons.
        embedding_size: long side, px, of pictures that are embedded unless said otherwise.
        recompute: whether activations are computed again for the gradient instead of being kept.
    """

    name: str
    weights_sha256: str
    channels: dict[str, int]
    style_layers: tuple[str, ...] = ()
    content_layers: tuple[str, ...] = ()
    paints: bool = True
    embedding_size: int = 384
    recompute: bool = False

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where images are expected."""
        return next(self.parameters()).device

    @property
    def precision(self) -> str:
        """Of the weights, and so of what is computed with them: "float32" or "bfloat16"."""
        return str(next(self.parameters()).dtype).removeprefix("torch.")

    @property
    def identity(self) -> str:
        """Everything that decides what this encoder computes, as one string: the key of every cache."""
        return f"{self.name}:{self.weights_sha256}:{self.device.type}"

    def features(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of `image` (N, 3, H, W), float32 in [0, 1], at `layers`: layer -> (N, C, h, w), float32.

        Raises UsageError for a layer that the encoder does not have.
        """
        return {layer: x.float() for layer, x in self.activations(image, layers).items()}

    def activations(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """`features` in the precision and layout that the encoder computes in, without a copy."""
        raise UsageError(f"encoder {self.name} has no spatial features: use it for retrieval, and vgg19 for transfer")

    def embed(self, image: Tensor) -> Tensor:
        """What the images (N, 3, H, W) in [0, 1] show: (N, D) float32, not normalised. Differentiable."""
        raise UsageError(f"encoder {self.name} offers no image embedding")

    def save_memory(self) -> bool:
        """Compute in less memory and more time from now on; whether there was anything left to save."""
        return False

    def check_layers(self, layers: Iterable[str]) -> tuple[str, ...]:
        """`layers` as a tuple, or UsageError naming those that exist."""
        layers = tuple(layers)
        unknown = [layer for layer in layers if layer not in self.channels]
        if unknown:
            raise UsageError(f"encoder {self.name} has no layer {unknown[0]}: it has {', '.join(self.channels) or 'none'}")
        return layers


E = TypeVar("E", bound=Encoder)


def frozen(encoder: E) -> E:
    """`encoder` in evaluation mode, its weights out of reach of any gradient."""
    return encoder.eval().requires_grad_(False)
