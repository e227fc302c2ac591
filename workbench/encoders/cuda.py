"""The operations of `plain` on NVIDIA's GPUs: fused with what follows them, and with short gradients of Gram matrices.

A convolution, its bias and its ReLU are one operation of cuDNN; the bias is added before the result is rounded to bfloat16.
Only where no gradient of the weights is asked for. What is not a number comes out of a fused ReLU as 0.

A loss whose gradient is the features times a matrix, as that of Gram matrices is, may hand the matrix to the attribute `proxy`
of the features, zeros (N, C, C), and no gradient to the features: it is multiplied by a head's weights first, which are few.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workbench.encoders import plain

HUGE = 8_000_000
"""Numbers from which on the gradient of a ReLU is a step of its own in the graph, so that its input can be freed sooner."""
FEWEST_PLACES = 32
"""Places for every coordinate of a head from which on its Gram matrices have a proxy."""
WIDEST = torch.complex128
"""Widest number that a GPU copies at once."""


def offered(x: Tensor) -> bool:
    """Whether these operations serve for `x`: torch leaves its convolutions to cuDNN."""
    if x.device.type != "cuda" or torch.version.cuda is None or torch.is_autocast_enabled("cuda"):
        return False
    cudnn = torch.backends.cudnn.enabled and torch.backends.cudnn.is_available()
    return cudnn and x.numel() > 0 and x.dtype in (torch.float32, torch.bfloat16)


def _frozen(convolution: nn.Conv2d, x: Tensor) -> bool:
    """Whether no gradient of the weights is asked for, and they have the precision of `x`."""
    learnt = any(p.requires_grad for p in convolution.parameters()) or convolution.weight.is_inference()
    return x.dtype == convolution.weight.dtype and not learnt


def _with_gradient(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def rectified(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """relu(convolution(x))."""
    if not _frozen(convolution, x):
        return plain.rectified(convolution, x)
    if not _with_gradient(x):
        return _convolved(x, convolution)
    if convolution.out_channels * x.shape[0] * x.shape[2] * x.shape[3] < HUGE:
        return _Rectified.apply(x, convolution, True)
    return _Mask.apply(_Rectified.apply(x, convolution, False))


def _convolved(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    weight, bias = convolution.weight.detach(), convolution.bias
    return torch.cudnn_convolution_relu(x, weight, bias, [1, 1], _padding(convolution), [1, 1], 1)


def _padding(convolution: nn.Conv2d) -> list[int]:
    """(down, across) in places."""
    return list(map(int, convolution.padding))


class _Rectified(torch.autograd.Function):
    """relu(convolution(x)); the gradient of both if `whole`, else that of the convolution alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, convolution: nn.Conv2d, whole: bool) -> Tensor:
        ctx.convolution = convolution
        out = _convolved(x, convolution)
        if whole:
            ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        for out in ctx.saved_tensors:  # one, or none
            gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        return _input_gradient(ctx.convolution, gradient), None, None


class _Mask(torch.autograd.Function):
    """What a ReLU gave, unchanged; its gradient."""

    @staticmethod
    def forward(ctx: Any, out: Tensor) -> Tensor:
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, out, 0)


def _input_gradient(convolution: nn.Conv2d, gradient: Tensor) -> Tensor:
    return F.conv_transpose2d(gradient, convolution.weight.detach(), padding=_padding(convolution))


def average_pool(x: Tensor) -> Tensor:
    """2x2 average pooling of (N, C, H, W), H and W at least 2: several times as fast as torch's in channels_last."""
    return _AveragePool.apply(x)


class _AveragePool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape[-2:]
        height, width = x.shape[2] // 2, x.shape[3] // 2
        found = x.new_empty(len(x), height, width, x.shape[1])
        return torch.mean(_by_cells(x[..., : 2 * height, : 2 * width]), (2, 4), out=found).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _enlarged(gradient / 4, *ctx.shape)  # an odd last row or column was not pooled


def _enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Every place of (N, C, h, w) two by two times: (N, C, height, width), zeros where that is larger than 2 h by 2 w."""
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2))
    found = x.new_empty(len(x), x.shape[2] * 2, x.shape[3] * 2, x.shape[1]).permute(0, 3, 1, 2)
    cells, places = _by_cells(found), x.permute(0, 2, 3, 1).contiguous()[:, :, None, :, None]
    if places.shape[-1] * places.element_size() % WIDEST.itemsize == 0:  # the time is that of the numbers, however wide
        cells, places = cells.view(WIDEST), places.view(WIDEST)
    cells.copy_(places)
    return found[..., :height, :width]


def _by_cells(x: Tensor) -> Tensor:
    """(N, C, H, W) as cells of two by two places, (N, H / 2, 2, W / 2, 2, C), without a copy."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))


def tap(x: Tensor) -> tuple[Tensor, Tensor]:
    """(what the network goes on from, what a loss reads, with a `proxy`).

    One operation may go on from the first, which makes a gradient of its own, as convolutions and poolings do. That gradient is
    overwritten.
    """
    if not _with_gradient(x):
        return x, x
    x, features, proxy = _Tap.apply(x)
    features.proxy = proxy
    return x, features


class _Tap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        features = x.detach()
        ctx.save_for_backward(features)
        return x.view_as(x), features.view_as(features), x.new_zeros(len(x), x.shape[1], x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, further: Tensor | None, gradient: Tensor | None, matrix: Tensor | None) -> Tensor | None:
        found = further
        if gradient is not None:
            found = gradient.clone() if further is None else further.add_(gradient)
        if matrix is not None:
            (features,) = ctx.saved_tensors
            found = _product(features, matrix, found)
        return found


def head(linear: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """(what the network goes on from, the linear map of x that a loss reads, with a `proxy` where it pays). See `tap`."""
    if not (_with_gradient(x) and _frozen(linear, x)):
        return x, linear(x)
    x, coordinates, proxy = _Head.apply(x, linear)
    if proxy is not None:
        coordinates.proxy = proxy
    return x, coordinates


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.linear = linear
        coordinates = F.conv2d(x, linear.weight.detach(), linear.bias)
        channels = linear.out_channels
        if x.shape[2] * x.shape[3] < FEWEST_PLACES * channels:
            return x, coordinates, None
        ctx.save_for_backward(coordinates)
        return x, coordinates, coordinates.new_zeros(len(coordinates), channels, channels)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, further: Tensor | None, gradient: Tensor | None, matrix: Tensor | None
    ) -> tuple[Tensor | None, None]:
        found = further  # None where the network does not go on
        if gradient is not None:
            own = _input_gradient(ctx.linear, gradient)
            found = own if found is None else found.add_(own)
        if matrix is not None:
            (coordinates,) = ctx.saved_tensors
            found = _product(coordinates, matrix @ ctx.linear.weight.detach().flatten(1), found)
        return found, None


def _product(features: Tensor, matrix: Tensor, onto: Tensor | None) -> Tensor:
    """`features` (N, C, H, W) times `matrix` (N, C, D) at every place, and `onto` that, overwritten: (N, D, H, W)."""
    rows = _rows(features)
    both = torch.bmm(rows, matrix) if onto is None else _rows(onto).baddbmm_(rows, matrix)
    return both.unflatten(1, features.shape[2:]).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """Features (N, C, H, W) in channels_last as (N, H W, C), without a copy where they are dense."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)
