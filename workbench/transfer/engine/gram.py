"""Gram matrices for an objective that is descended, several times as fast as `statistics.gram`.

On a CPU the products of every 512 positions of bfloat16 features (256 where there are fewer than 32,768, 128 where there are
fewer than 1,024) are rounded to bfloat16 before they are summed in float32. That changes a matrix by about .002 over the square
root of the number of such blocks, for VGG-19 a quarter or less of what its bfloat16 convolutions change. The gradient is found
in the precision of the features, which it has in any case. What is measured without a gradient is not rounded.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from workbench import statistics

BLOCKS = {512: 64, 256: 4, 128: 4}
"""Positions of a block -> number of such blocks from which on it is used; the first that fits."""


def gram(features: Tensor) -> Tensor:
    """Gram matrices (N, C, C) of `features` (N, C, H, W), see `statistics.gram`."""
    half = features.dtype == torch.bfloat16 and features.device.type in ("cpu", "cuda")
    if not (half and features.requires_grad and torch.is_grad_enabled()):
        return statistics.gram(features)
    return _Gram.apply(features, getattr(features, "proxy", None))


class _Gram(torch.autograd.Function):
    """The product, and a gradient that is one product, for its matrix is symmetric."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, proxy: Tensor | None) -> Tensor:
        if proxy is None:
            ctx.save_for_backward(features)
        ctx.dtype, ctx.positions = features.dtype, features.shape[2] * features.shape[3]
        rows = features.flatten(2).mT
        if features.is_cuda:  # exact products of half precision, summed in float32
            return torch.bmm(rows.mT, rows, out_dtype=torch.float32) / ctx.positions
        return _by_blocks(rows) / ctx.positions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:
        both = ((slope + slope.mT) / ctx.positions).to(ctx.dtype)
        if not ctx.saved_tensors:  # the proxy gets it, see encoders.cuda
            return None, both
        (features,) = ctx.saved_tensors
        return (features.flatten(2).mT @ both).mT.unflatten(2, features.shape[2:]), None


def _by_blocks(rows: Tensor) -> Tensor:
    """rows^T rows of (N, P, C) in bfloat16, block by block: (N, C, C) in float32."""
    positions = rows.shape[1]
    block = next((block for block, count in BLOCKS.items() if positions >= count * block), 0)
    whole = positions // block * block if block else 0
    total = rows.new_zeros(len(rows), rows.shape[2], rows.shape[2], dtype=torch.float32)
    if whole:
        blocks = rows[:, :whole].unflatten(1, (-1, block))
        total = (blocks.mT @ blocks).sum(1, dtype=torch.float32)
    rest = rows[:, whole:].float()
    return torch.baddbmm(total, rest.mT, rest)
