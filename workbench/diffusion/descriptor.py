"""The LoRA itself as a descriptor of an artist: artists are compared by what was learnt from them, not by pictures.

Liu et al. (2024), A LoRA is Worth a Thousand Pictures, describe a style by the matrices A and B of its LoRA. These are known up
to an invertible matrix alone, A to M A and B to B M^-1, and differ with the seed. The update dW = (alpha / r) B A does not, so
that here updates are compared: by the mean over layers of their cosines.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.diffusion import lora
from workbench.diffusion.base import Base, library
from workbench.errors import require

Update = Mapping[str, tuple[Tensor, Tensor]]
"""Name of a layer -> ((alpha / r) B (out, r), A (r, in)), float64 on the CPU. The norms of DoRA are no part of it."""


def update(base: Base, path: str | Path) -> Update:
    """What the LoRA in `path` adds to the layers of `base`. Raises as `lora.attached` does."""
    kind = library("peft.tuners.tuners_utils").BaseTunerLayer
    found = {}
    with lora.attached(base, [(path, 1.0)]), torch.no_grad():
        for part, network in {"unet": base.pipe.unet, **base.text_encoders}.items():
            for name, layer in network.named_modules():
                if isinstance(layer, kind) and layer.active_adapters:
                    adapter = layer.active_adapters[0]
                    up, down = (matrix[adapter].weight.double().cpu() for matrix in (layer.lora_B, layer.lora_A))
                    found[f"{part}.{name}"] = layer.scaling[adapter] * up.flatten(1), down.flatten(1).clone()
    return found


def inner(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """<B A, B' A'> = sum of (B^T B') * (A A'^T), without the products."""
    return float(((a[0].T @ b[0]) * (a[1] @ b[1].T)).sum())


def similarity(a: Update, b: Update) -> float:
    """The mean cosine of two updates over the layers that both have, in [-1, 1]. UsageError where there is none."""
    shared = [name for name in a if name in b]
    require(bool(shared), "the two LoRA have no layer in common")
    cosines = []
    for name in shared:
        length = (inner(a[name], a[name]) * inner(b[name], b[name])) ** 0.5
        cosines.append(inner(a[name], b[name]) / length if length > 0 else 0.0)
    return float(np.mean(cosines))


def distances(updates: Sequence[Update]) -> np.ndarray:
    """sqrt(2 - 2 s) between updates, with s their similarities: (n, n) float64; 0 is the same direction in every layer."""
    found = np.array([[similarity(a, b) for b in updates] for a in updates])
    return np.sqrt(np.clip(2 - 2 * found, 0, None))
