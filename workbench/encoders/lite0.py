"""The encoder for retrieval by subject: EfficientNet-Lite0, trained on ImageNet, converted, its weights in the package.

lite0.md, beside this file, says where the weights come from, how well they retrieve and what they are bad at.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from workbench.encoders.base import Encoder, frozen
from workbench.encoders.convolutional import IMAGENET_MEAN, IMAGENET_STD
from workbench.errors import WorkbenchError

WEIGHTS = Path(__file__).with_name("lite0.safetensors")
WEIGHTS_SHA256 = "ef26ab213c9186828cdb40a072f202c233545128311ed97b9e41369cd9ca1f16"
SIZE = 320
"""px. Long side of the pictures; the network was trained on squares of 224 px."""
STEM = 32
"""Channels after the first convolution."""
# (blocks, side of the kernel, stride of the first block, expansion, channels) of every stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConvolution(nn.Conv2d):
    """A convolution padded with zeros as TensorFlow does: ceil(side / stride) cells, the odd pixel at the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        return super().forward(F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2)))


class Block(nn.Module):
    """An inverted residual: widen, convolve every channel for itself, narrow; the input is added where shapes allow it."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = width * expansion
        self.expand = SameConvolution(width, inner, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(inner, inner, kernel, stride, groups=inner)
        self.project = SameConvolution(inner, out, 1)
        self.adds = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(inner)))
        return x + out if self.adds else out


class Lite0(Encoder):
    """EfficientNet-Lite0 without its classifier, batch normalisation folded into the convolutions. It has no style layers.

    Computes in float32 whatever the other encoders compute in: it is small, and rounded weights lose enough.
    """

    embedding_size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.name = "lite0"
        self.channels = {}
        self.stem = SameConvolution(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        width = STEM
        for count, kernel, stride, expansion, out in STAGES:
            widths = [width] + [out] * (count - 1)
            blocks = [Block(w, out, kernel, stride if i == 0 else 1, expansion) for i, w in enumerate(widths)]
            self.stages.append(nn.Sequential(*blocks))
            width = out
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def stage_means(self, image: Tensor) -> list[Tensor]:
        """Channel means of the images (N, 3, H, W) in [0, 1] after every stage: (N, C) each, float32, the deepest last."""
        x = F.relu6(self.stem((image - self.mean) / self.std))
        means = []
        for stage in self.stages:
            x = stage(x)
            means.append(x.mean(dim=(2, 3)))
        return means

    def embed(self, image: Tensor) -> Tensor:
        """Channel means after the last two stages, either part of length one: (N, 512)."""
        return torch.cat([F.normalize(mean, dim=1) for mean in self.stage_means(image)[-2:]], dim=1)


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 levels, scales (O,)) of a convolution's weight (O, I, h, w), by output channel: weight is about level x scale."""
    scale = weight.abs().amax(dim=(1, 2, 3)).clamp_min(1e-12) / 127
    return (weight / scale.view(-1, 1, 1, 1)).round().to(torch.int8), scale


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary in float32 from one whose weights are `rounded`, each scale beside its weight."""
    state = {}
    for name, value in tensors.items():
        if name.endswith(".weight"):
            value = value.float() * tensors[name.removesuffix("weight") + "scale"].view(-1, 1, 1, 1)
        if not name.endswith(".scale"):
            state[name] = value
    return state


def load_lite0(*, device: torch.device) -> Lite0:
    """The network in the package. WorkbenchError if its file is missing, or is not the one that was shipped."""
    encoder = Lite0()
    try:
        content = WEIGHTS.read_bytes()
    except OSError as error:
        raise WorkbenchError(f"{WEIGHTS} cannot be read: {error.strerror or error}; reinstall the package") from error
    encoder.weights_sha256 = hashlib.sha256(content).hexdigest()
    if encoder.weights_sha256 != WEIGHTS_SHA256:
        found = encoder.weights_sha256[:8]
        raise WorkbenchError(f"{WEIGHTS} is damaged: its SHA-256 starts with {found}; reinstall the package")
    encoder.load_state_dict(restored(load(content)))
    return frozen(encoder).to(device)
