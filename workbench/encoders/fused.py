"""Convolutions together with what follows them: one operation of oneDNN on a CPU, over weights laid out beforehand, and of
cuDNN on NVIDIA's GPUs.

On a CPU torch lays weights out anew at every call, and everywhere it makes passes of its own over all features for what
follows. Where no gradient of the weights is asked for, neither is needed; everywhere else these are torch's own convolutions.
On a CPU no bit differs but where said, and where torch leaves very small pictures to something else; on a GPU a bias is added
before what was found is rounded to bfloat16. What is not a number comes out of a fused ReLU as 0.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import product
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
FEW = 8  # channels of an input: below, its gradient in bfloat16 is found at two by two places at once
MANY = 32  # places for every channel that is told: from there on, gradients of Gram matrices take the short way
LARGE = 400_000  # numbers, from which on oneDNN pools more quickly than torch
WIDEST = torch.complex128  # of what a GPU copies number by number
HUGE = 8_000_000  # numbers, from which on memory counts more than a step of autograd


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


def by_cudnn(x: Tensor) -> bool:
    """Whether torch leaves convolutions of `x` to cuDNN, and what follows them can be left to it too."""
    if x.device.type != "cuda" or torch.version.cuda is None or torch.is_autocast_enabled("cuda"):
        return False
    offered = torch.backends.cudnn.enabled and torch.backends.cudnn.is_available()
    return offered and x.numel() > 0 and x.dtype in (torch.float32, torch.bfloat16)


def average_pool(x: Tensor) -> Tensor:
    """2x2 average pooling of (N, C, H, W), H and W at least 2, without a gradient; by what is fastest."""
    if x.device.type == "cuda":  # several times as fast as torch's pooling of features that lie side by side
        height, width = x.shape[2] // 2, x.shape[3] // 2
        found = x.new_empty(len(x), height, width, x.shape[1])
        return torch.mean(_by_cells(x[..., : 2 * height, : 2 * width]), (2, 4), out=found).permute(0, 3, 1, 2)
    if x.numel() < LARGE or not by_onednn(x):
        return F.avg_pool2d(x, 2)
    return _convolve(x, _quarters(x.shape, x.dtype), None, [0, 0], [2, 2], x.shape[1])


def enlarge(x: Tensor, height: int, width: int) -> Tensor:
    """Every place of (N, C, h, w) two by two times: (N, C, height, width), zeros where that is larger than 2 h by 2 w.

    `height` is 2 h or one more, `width` 2 w or one more.
    """
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2))
    if x.device.type == "cuda":
        found = x.new_empty(len(x), x.shape[2] * 2, x.shape[3] * 2, x.shape[1]).permute(0, 3, 1, 2)
        cells, places = _by_cells(found), x.permute(0, 2, 3, 1).contiguous()[:, :, None, :, None]
        if places.shape[-1] * places.element_size() % WIDEST.itemsize == 0:  # the time is that of the numbers, however large
            cells, places = cells.view(WIDEST), places.view(WIDEST)
        cells.copy_(places)
    else:
        found = F.interpolate(x, scale_factor=2, mode="nearest")
    return found[..., :height, :width]


def _by_cells(x: Tensor) -> Tensor:
    """(N, C, H, W) as cells of two by two places, (N, H / 2, 2, W / 2, 2, C), without a copy."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))


@lru_cache(maxsize=32)
def _quarters(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return _laid_out(torch.full((shape[1], 1, 2, 2), 0.25, dtype=dtype, device="cpu"), [0, 0], [2, 2], shape, shape[1])


class FusedConvolution(nn.Conv2d):
    """A convolution of stride 1 with a square kernel and zero padding."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, padding: int = 0):
        super().__init__(channels_in, channels_out, kernel, padding=padding)
        self._layouts: tuple[tuple[Any, ...], Layouts] | None = None

    def layouts(self, shape: torch.Size) -> "Layouts | Cudnn":
        """The weights for an input of this shape; kept until the shape or the weights change.

        What is done to `weight.data` in place is not noticed, as torch does not notice it.
        """
        if self.weight.is_cuda:
            return Cudnn(self.weight.detach(), self.padding[0])
        key = (shape, self.weight.dtype, self.weight.data_ptr(), self.weight._version)
        kept = self._layouts
        if kept is None or kept[0] != key:
            self._layouts = kept = key, Layouts(self.weight.detach(), self.padding[0], shape)
        return kept[1]

    def can_be_fused(self, x: Tensor) -> bool:
        """Whether torch would leave this to oneDNN or cuDNN as well, and no gradient of the weights is asked for."""
        learnt = self.weight.requires_grad or self.bias.requires_grad or self.weight.is_inference()
        return x.dtype == self.weight.dtype and not learnt and (by_onednn(x) or by_cudnn(x))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_layouts": None}  # oneDNN's own memory cannot be copied


class Layouts:
    """The weights (out, in, k, k) of a convolution, laid out for an input of one shape, and for the way back."""

    def __init__(self, weight: Tensor, padding: int, shape: torch.Size):
        self.weight = weight  # as long as it is held, nothing else gets its address
        self.padding = [padding] * 2
        self.shape = shape
        self._there = _laid_out(weight, self.padding, [1, 1], shape)
        self._back = self._laid_out_back()

    def convolve(self, x: Tensor, bias: Tensor, then: str = "none") -> Tensor:
        """The convolution of `x`, and what is to come `then`: "relu", or nothing."""
        return _convolve(x, self._there, bias, self.padding, [1, 1], then=then)

    def back(self, gradient: Tensor, onto: Tensor | None = None) -> Tensor:
        """From the gradient of what the convolution gave to that of its input, and `onto` that, added before it is rounded."""
        weight, padding, stride = self._back
        if onto is not None:  # of heads alone, whose stride is 1
            return torch.ops.mkldnn._convolution_pointwise.binary(
                gradient, onto, weight, None, padding, stride, [1, 1], 1, "add", None, None, [], None
            )
        found = _convolve(gradient, weight, None, padding, stride)
        if stride != [1, 1]:
            apart = found.unflatten(1, (self.shape[1], *stride)).permute(0, 1, 4, 2, 5, 3)
            found = apart.flatten(4, 5).flatten(2, 3)[..., -self.shape[2] :, -self.shape[3] :]
        return found

    def _laid_out_back(self) -> tuple[Tensor, list[int], list[int]]:
        """(weights, padding, stride) of the convolution that is the way back."""
        weight, kernel = self.weight.flip(2, 3).transpose(0, 1), self.weight.shape[2]
        padding, stride = [kernel - 1 - side for side in self.padding], [1, 1]
        given = [side + 2 * along - kernel + 1 for side, along in zip(self.shape[2:], self.padding, strict=True)]
        if len(weight) < FEW and kernel > 1 and weight.dtype == torch.bfloat16:
            # Few channels fill little of a vector: two by two places are found at once, as so many channels more. Where their
            # number is odd, they begin a place before the first. In float32 other last bits would come of it, and no gain.
            each = weight.new_zeros(len(weight), 2, 2, weight.shape[1], kernel + 1, kernel + 1)
            for down, across in product(range(2), repeat=2):
                each[:, down, across, :, down : down + kernel, across : across + kernel] = weight
            weight, stride = each.flatten(0, 2), [2, 2]
            padding = [along + side % 2 for along, side in zip(padding, self.shape[2:], strict=True)]
        return _laid_out(weight, padding, stride, (self.shape[0], weight.shape[1], *given)), padding, stride


class Cudnn:
    """What `Layouts` does, by cuDNN, which needs no weights laid out beforehand."""

    def __init__(self, weight: Tensor, padding: int):
        self.weight = weight
        self.padding = [padding] * 2

    def convolve(self, x: Tensor, bias: Tensor, then: str = "none") -> Tensor:
        """See `Layouts.convolve`."""
        if then == "relu":
            return torch.cudnn_convolution_relu(x, self.weight, bias, [1, 1], self.padding, [1, 1], 1)
        return F.conv2d(x, self.weight, bias, padding=self.padding)

    def back(self, gradient: Tensor, onto: Tensor | None = None) -> Tensor:
        """See `Layouts.back`; `onto` is overwritten."""
        found = F.conv_transpose2d(gradient, self.weight, padding=self.padding)
        return found if onto is None else onto.add_(found)


class RectifiedConvolution(FusedConvolution):
    """relu(convolution(x))."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.can_be_fused(x):
            return F.relu_(super().forward(x))
        if torch.is_grad_enabled() and x.requires_grad:
            if self.out_channels * x.shape[0] * x.shape[2] * x.shape[3] < HUGE:
                return _Rectified.apply(x, self, True)
            return _Mask.apply(_Rectified.apply(x, self, False))
        # Once is not worth a layout: in a corpus, no picture is as large as the one before.
        if x.is_cuda:
            return self.layouts(x.shape).convolve(x, self.bias, "relu")
        return _convolve(x, self.weight, self.bias, list(self.padding), [1, 1], then="relu")


class _Rectified(torch.autograd.Function):
    """relu(convolution(x)); the way back through the ReLU too if it is `whole`, else through the convolution alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, convolution: FusedConvolution, whole: bool) -> Tensor:
        ctx.layouts = convolution.layouts(x.shape)
        out = ctx.layouts.convolve(x, convolution.bias, "relu")
        if whole:
            ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        for out in ctx.saved_tensors:  # one, or none
            gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        return ctx.layouts.back(gradient), None, None


class _Mask(torch.autograd.Function):
    """What a ReLU gave, as it is; the way back through the ReLU. After a step of its own, what came in is let go."""

    @staticmethod
    def forward(ctx: Any, out: Tensor) -> Tensor:
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, out, 0)


class Head(FusedConvolution):
    """A linear map of features at every place, beside a network that goes on from the same features."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 1)

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(x, what is told of it): who goes on from this x gets the gradients of both, added before they are rounded.

        One operation may go on from it, which makes a gradient of its own, as convolutions and poolings do: it is overwritten.
        `told` may have an attribute `proxy` then, zeros (N, C, C) for its C channels. A loss whose gradient is what was told
        times a matrix, as that of Gram matrices is, may hand that matrix to the proxy and none to `told`: it is multiplied by
        the head's weights first, and what was told by both at once. A gradient of `told` itself then lacks that part.
        """
        if not (torch.is_grad_enabled() and x.requires_grad and self.can_be_fused(x)):
            return x, self(x)
        x, told, proxy = _Beside.apply(x, self)
        if proxy is not None:
            told.proxy = proxy
        return x, told


class _Beside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Head) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.layouts = head.layouts(x.shape)
        told = ctx.layouts.convolve(x, head.bias)
        channels = head.out_channels
        if x.shape[2] * x.shape[3] < MANY * channels:
            return x, told, None
        ctx.save_for_backward(told)
        return x, told, told.new_zeros(len(told), channels, channels)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, further: Tensor | None, gradient: Tensor | None, matrix: Tensor | None
    ) -> tuple[Tensor | None, None]:
        found = further  # None where the network does not go on
        if gradient is not None:
            found = ctx.layouts.back(gradient, found)
        if matrix is not None:
            (told,) = ctx.saved_tensors
            found = _product(told, matrix @ ctx.layouts.weight.flatten(1), found)
        return found, None


def tapped(x: Tensor) -> tuple[Tensor, Tensor]:
    """(x, x), on NVIDIA's GPUs the second with a `proxy`, as `Head.beside` has it: who goes on from the first does as there."""
    if not (x.is_cuda and torch.is_grad_enabled() and x.requires_grad):
        return x, x
    x, told, proxy = _Tapped.apply(x)
    told.proxy = proxy
    return x, told


class _Tapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        told = x.detach()
        ctx.save_for_backward(told)
        return x.view_as(x), told.view_as(told), x.new_zeros(len(x), x.shape[1], x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, further: Tensor | None, gradient: Tensor | None, matrix: Tensor | None) -> Tensor | None:
        found = further
        if gradient is not None:
            found = gradient.clone() if further is None else further.add_(gradient)
        if matrix is not None:
            (told,) = ctx.saved_tensors
            found = _product(told, matrix, found)
        return found


def _product(told: Tensor, matrix: Tensor, onto: Tensor | None) -> Tensor:
    """`told` (N, C, H, W) times `matrix` (N, C, D) at every place, and `onto` that, which is overwritten: (N, D, H, W)."""
    rows = _rows(told)
    both = torch.bmm(rows, matrix) if onto is None else _rows(onto).baddbmm_(rows, matrix)
    return both.unflatten(1, told.shape[2:]).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """Features (N, C, H, W) in channels_last as (N, H W, C), without a copy where they are dense."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int], groups: int = 1, then: str = "none"
) -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, [1, 1], groups, then, [], "")


def _laid_out(weight: Tensor, padding: list[int], stride: list[int], shape: Sequence[int], groups: int = 1) -> Tensor:
    """`weight` as oneDNN likes it best for an input of this shape."""
    return torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), padding, stride, [1, 1], groups, list(shape))
