"""The objective L = sum of weight * loss, over a single forward pass through the encoder."""

from collections.abc import Mapping

import torch
from torch import Tensor

from workbench.encoders import Encoder
from workbench.transfer.losses import Loss


class Objective:
    """The weighted sum of losses for one picture."""

    def __init__(self, encoder: Encoder, terms: Mapping[str, tuple[float, Loss]]):
        """`terms`: name -> (weight, loss). Terms of weight 0 are left out."""
        self.encoder = encoder
        self.terms = {name: term for name, term in terms.items() if term[0] != 0}
        self.layers = tuple({layer: None for _, loss in self.terms.values() for layer in loss.layers})
        self._factors: dict[str, float] = {}
        self._weights: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def scale(self, factors: Mapping[str, float]) -> None:
        """From now on the term `name` counts `factors[name]` times its weight in what is minimised; the others once."""
        self._factors = dict(factors)
        for weights, _ in self._weights.values():
            weights.copy_(self._as_tensors(weights)[0])  # in place: a recorded CUDA graph reads this memory

    def __call__(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted sum, name -> unweighted loss) for `image` (1, 3, H, W); see `scale`."""
        return self.of(image, self.encoder.activations(image, self.layers) if self.layers else {})

    def of(self, image: Tensor, features: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same where the features of `image` at `layers` are known: layer -> (1, C, h, w)."""
        parts = {name: loss(image, features) for name, (_, loss) in self.terms.items()}
        values, scaled, _ = self._weighted(parts)
        return (values * scaled).sum(), parts

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The sum of unweighted losses, name -> scalar, by the weights themselves, without the factors of `scale`."""
        values, _, weights = self._weighted(parts)
        return (values * weights).sum()

    def _as_tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The weights times their factors, and the weights: (terms,) each, in the precision of `like` and on its device."""
        weights = [weight for weight, _ in self.terms.values()]
        scaled = [self._factors.get(name, 1.0) * weight for name, weight in zip(self.terms, weights, strict=True)]
        return like.new_tensor(scaled), like.new_tensor(weights)

    def _weighted(self, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The losses (terms,) of `parts`, and `_as_tensors` like them, which are kept."""
        values = torch.stack([parts[name] for name in self.terms])
        kind = values.dtype, values.device
        if kind not in self._weights:
            with torch.inference_mode(False):  # or a later call could not have a gradient
                self._weights[kind] = self._as_tensors(values.detach())
        return values, *self._weights[kind]
