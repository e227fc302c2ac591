"""Convolutions together with what follows them, on a CPU as one operation of oneDNN over weights laid out beforehand.

torch lays weights out anew at every call, and makes a pass of its own over all features for what follows. Where no gradient of
the weights is asked for, neither is needed; everywhere else these are torch's own convolutions. No bit differs but where said,
and where torch leaves very small pictures to something else. What is not a number comes out of a fused ReLU as 0.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

OFFERED = (
    torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
)


def by_onednn(x: Tensor) -> bool:
    """Whether torch leaves convolutions of `x` to oneDNN, in the precision that `x` has."""
    if not OFFERED or not torch.backends.mkldnn.enabled or torch.is_autocast_enabled("cpu"):
        return False
    if x.device.type != "cpu" or x.numel() == 0:
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and _half())


@cache
def _half() -> bool:
    """Whether oneDNN computes in bfloat16 on this processor."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def average_pool(x: Tensor) -> Tensor:
    """2x2 average pooling of (N, C, H, W), H and W at least 2; in a third of the time where oneDNN does it."""
    if not by_onednn(x):
        return F.avg_pool2d(x, 2)
    quarters = x.new_full((x.shape[1], 1, 2, 2), 0.25)
    return F.conv2d(x, quarters, stride=2, groups=x.shape[1])


class FusedConvolution(nn.Conv2d):
    """A convolution of stride 1 with a square kernel and zero padding."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, padding: int = 0):
        super().__init__(channels_in, channels_out, kernel, padding=padding)
        self._layouts: tuple[tuple[Any, ...], Tensor, Tensor, Tensor] | None = None

    @property
    def padding_back(self) -> int:
        """Of the convolution that takes a gradient from what this one gave to what it was given."""
        return self.kernel_size[0] - 1 - self.padding[0]

    def layouts(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """The weights for an input of this shape, and those of the way back; kept until the shape or the weights change.

        What is done to `weight.data` in place is not noticed, as torch does not notice it.
        """
        key = (shape, self.weight.dtype, self.weight.data_ptr(), self.weight._version)
        kept = self._layouts
        if kept is None or kept[0] != key:
            back = self.weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
            gradient = (shape[0], self.out_channels, *(side + self.padding[0] - self.padding_back for side in shape[2:]))
            laid_out = _laid_out(self.weight, self.padding[0], shape), _laid_out(back, self.padding_back, gradient)
            self._layouts = kept = key, self.weight.detach(), *laid_out  # the weights too: nothing else may get their address
        return kept[2:]

    def can_be_fused(self, x: Tensor) -> bool:
        """Whether torch would leave this to oneDNN as well, and no gradient of the weights is asked for."""
        learnt = self.weight.requires_grad or self.bias.requires_grad or self.weight.is_inference()
        return x.dtype == self.weight.dtype and not learnt and by_onednn(x)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_layouts": None}  # oneDNN's own memory cannot be copied


class RectifiedConvolution(FusedConvolution):
    """relu(convolution(x))."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.can_be_fused(x):
            return F.relu_(super().forward(x))
        if torch.is_grad_enabled() and x.requires_grad:
            return _Rectified.apply(x, self)
        return _convolve(x, self.weight, self.bias, self.padding[0], "relu")


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, convolution: FusedConvolution) -> Tensor:
        forth, ctx.back = convolution.layouts(x.shape)
        ctx.padding = convolution.padding_back
        out = _convolve(x, forth, convolution.bias, convolution.padding[0], "relu")
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        return _convolve(torch.ops.aten.threshold_backward(gradient, out, 0), ctx.back, None, ctx.padding), None


class Head(FusedConvolution):
    """A linear map of features at every place, beside a network that goes on from the same features."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 1)

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(x, what is told of it): who goes on from this x gets both gradients in one operation.

        They are added before they are rounded, not after.
        """
        if torch.is_grad_enabled() and x.requires_grad and self.can_be_fused(x):
            return _Beside.apply(x, self)
        return x, self(x)


class _Beside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Head) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        forth, ctx.back = head.layouts(x.shape)
        return x, _convolve(x, forth, head.bias, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, further: Tensor | None, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        if gradient is None:  # nobody asked for what was told
            return further, None
        if further is None:  # the network does not go on
            return _convolve(gradient, ctx.back, None, 0), None
        both = torch.ops.mkldnn._convolution_pointwise.binary(
            gradient, further, ctx.back, None, [0, 0], [1, 1], [1, 1], 1, "add", None, None, [], None
        )
        return both, None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, then: str = "none") -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, [padding] * 2, [1, 1], [1, 1], 1, then, [], "")


def _laid_out(weight: Tensor, padding: int, shape: tuple[int, ...]) -> Tensor:
    """`weight` as oneDNN likes it best for an input of this shape."""
    plain = weight.detach().to_mkldnn()
    return torch._C._nn.mkldnn_reorder_conv2d_weight(plain, [padding] * 2, [1, 1], [1, 1], 1, list(shape))
