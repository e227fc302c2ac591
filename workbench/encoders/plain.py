"""What a convolutional encoder is made of, by torch's own operations. `cuda` has the same four, for NVIDIA's GPUs."""

import torch.nn.functional as F
from torch import Tensor, nn


def rectified(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """relu(convolution(x))."""
    return F.relu_(convolution(x))


def average_pool(x: Tensor) -> Tensor:
    """2x2 average pooling of (N, C, H, W), H and W at least 2."""
    return F.avg_pool2d(x, 2)


def tap(x: Tensor) -> tuple[Tensor, Tensor]:
    """(what the network goes on from, what a loss reads)."""
    return x, x


def head(linear: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """(what the network goes on from, the linear map of x that a loss reads)."""
    return x, linear(x)
