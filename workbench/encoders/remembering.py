"""An encoder that remembers the last pictures: measures that read one picture one after the other cost one pass."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor

from workbench.encoders.base import Encoder

PICTURES = 6
"""Pictures whose features are kept: some 30 MB each of 256 px by VGG-19."""


class Remembering(Encoder):
    """`encoder`, which keeps the features of the last pictures at all layers that were ever asked of it.

    What it gives is what `encoder` gives. Batches, and pictures that a gradient goes through, are not kept.
    """

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        for name in ("name", "weights_sha256", "channels", "style_layers", "content_layers", "paints", "embedding_size"):
            setattr(self, name, getattr(encoder, name))
        self._asked: dict[str, None] = {}
        self._kept: OrderedDict[str, dict[str, Tensor]] = OrderedDict()

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def precision(self) -> str:
        return self.encoder.precision

    @property
    def identity(self) -> str:
        return self.encoder.identity

    def embed(self, image: Tensor) -> Tensor:
        return self.encoder.embed(image)

    def activations(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        layers = self.check_layers(layers)
        if len(image) > 1 or (torch.is_grad_enabled() and image.requires_grad):
            return self.encoder.activations(image, layers)
        self._asked |= dict.fromkeys(layers)
        key = f"{tuple(image.shape)}{hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest()}"
        found = self._kept.pop(key, {})
        if not set(layers) <= set(found):
            with torch.no_grad():
                found = self.encoder.activations(image, tuple(self._asked))
        self._kept[key] = found
        while len(self._kept) > PICTURES:
            self._kept.popitem(last=False)
        return {layer: found[layer] for layer in layers}
