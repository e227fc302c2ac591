"""Plain stacks of 3x3 convolutions, ReLU and 2x2 pooling: VGG-19, and narrow networks of the same structure."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from workbench import progress
from workbench.encoders import cuda, plain
from workbench.encoders.base import Encoder, frozen

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYERS = ("relu4_2",)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LARGE = 2_000_000
"""Pixels above which a block's activations are computed again for the gradient instead of being kept."""

Pooling = Literal["max", "average"]
Read = Callable[[str, Tensor], tuple[Tensor, Tensor]]
"""(layer, its hidden activations x) -> (x again, from which the network goes on; what is read of them)"""


class ConvolutionalEncoder(Encoder):
    """Blocks of convolutions, each block after the first preceded by pooling, read after every ReLU.

    Layers are named as in the literature: relu{block}_{convolution}; a block starts with its relu{block}_1. The first
    convolution pads by replication, because zero padding shows as a frame in optimised images; the others pad with zeros
    as they were trained. `pooling` is "max", or "average", which Gatys et al. (2016, section 2) prefer for synthesis.
    Convolutions run in `dtype` and in channels_last; features come out in float32.

    For pictures of more than two megapixels, or of any size where `recompute` is set, only what a block gives is kept for
    the gradient, and the block is computed once more on the way back: the same numbers, a third slower, in far less memory.
    """

    style_layers: tuple[str, ...] = STYLE_LAYERS
    content_layers: tuple[str, ...] = CONTENT_LAYERS
    dtype: torch.dtype
    mean: Tensor
    std: Tensor
    convolutions: Any  # an nn.ModuleDict of nn.Conv2d; torch says of its values only that they are modules

    def __init__(self, name: str, widths: Mapping[str, int], *, pooling: Pooling, dtype: torch.dtype):
        """`widths`: layer -> number of channels, in order of depth."""
        super().__init__()
        self.name = name
        self.pooling = pooling
        self.dtype = dtype
        self.recompute = False
        self.channels = dict(widths)
        self.convolutions = nn.ModuleDict()
        width = 3
        for layer, out in widths.items():
            self.convolutions[layer] = nn.Conv2d(width, out, 3, padding=0 if width == 3 else 1)
            width = out
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def for_inference(self, device: torch.device) -> "ConvolutionalEncoder":
        """Move to `device`, freeze, and lay the convolutions out in channels_last in the chosen precision."""
        frozen(self).to(device)
        self.convolutions.to(dtype=self.dtype, memory_format=torch.channels_last)
        return self

    @property
    def identity(self) -> str:
        rounding = ""
        if self.device.type == "cuda":  # to change whenever a GPU comes to round otherwise
            rounding = ":fused:tf32" if self.dtype == torch.float32 and torch.backends.cudnn.allow_tf32 else ":fused"
        return f"{super().identity}:{self.pooling}:{str(self.dtype).removeprefix('torch.')}{rounding}"

    def activations(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return self._read(image, self.check_layers(layers), lambda layer, x: operations(x).tap(x))

    def save_memory(self) -> bool:
        saved, self.recompute = not self.recompute, True
        return saved

    def hidden(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """What the convolutions called `layers` give for `image` after their ReLU, in the precision they compute in."""
        return self._read(image, layers, lambda layer, x: (x, x))

    def _read(self, image: Tensor, layers: Iterable[str], read: Read) -> dict[str, Tensor]:
        """What `read` makes of the hidden activations of `image` at `layers`, on the way through the network."""
        wanted = set(layers)
        if not wanted:
            return {}
        deepest = max(map(list(self.convolutions).index, wanted))
        blocks: list[list[str]] = []
        for layer in list(self.convolutions)[: deepest + 1]:
            if layer.endswith("_1"):
                blocks.append([])
            blocks[-1].append(layer)
        large = image.shape[-2] * image.shape[-1] > LARGE
        again = (self.recompute or large) and torch.is_grad_enabled()
        found: dict[str, Tensor] = {}
        x = image
        for block in blocks:
            pass_through = partial(self._block, block=block, wanted=wanted, read=read)
            x, of_block = (
                checkpoint(pass_through, x, use_reentrant=False, preserve_rng_state=False) if again else pass_through(x)
            )
            found |= of_block
        return found

    def _block(self, x: Tensor, block: list[str], wanted: set[str], read: Read) -> tuple[Tensor, dict[str, Tensor]]:
        """(what `block` gives, what is read of its layers); x is the image, or what the block before gave."""
        if block[0] == "relu1_1":
            x = ((x - self.mean) / self.std).to(self.convolutions["relu1_1"].weight.dtype)
            x = F.pad(x, (1, 1, 1, 1), mode="replicate").contiguous(memory_format=torch.channels_last)
        else:
            x = self._pool(x)
        found = {}
        for layer in block:
            progress.check()  # one evaluation of a large picture takes seconds, and a stop should not
            x = operations(x).rectified(self.convolutions[layer], x)
            if layer in wanted:
                x, found[layer] = read(layer, x)
        if x.requires_grad:
            x.register_hook(_check_on_the_way_back)
        return x, found

    def before_relu(self, image: Tensor, layer: str) -> tuple[Tensor, Tensor]:
        """What goes into the convolution called `layer` and what comes out of it before its ReLU: (N, C, h, w), float32."""
        convolution, inputs = self.convolutions[layer], []
        handle = convolution.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        try:
            self.hidden(image, [layer])
        finally:
            handle.remove()
        (x,) = inputs
        return x.float(), F.conv2d(x, convolution.weight, convolution.bias, padding=convolution.padding).float()

    def _pool(self, x: Tensor) -> Tensor:
        # ceil_mode lets an image smaller than the network's stride pass as a single cell instead of failing.
        if min(x.shape[-2:]) < 2:
            return (F.max_pool2d if self.pooling == "max" else F.avg_pool2d)(x, 2, ceil_mode=True)
        return F.max_pool2d(x, 2) if self.pooling == "max" else operations(x).average_pool(x)

    def embed(self, image: Tensor) -> Tensor:
        """Channel means at the deepest layer: (N, C). Cosine between them, once centred, is subject retrieval."""
        deepest = next(reversed(self.channels))
        return self.features(image, [deepest])[deepest].mean(dim=(2, 3))


def operations(x: Tensor) -> ModuleType:
    """The operations for `x`: those of `cuda` where they are offered, else the plain ones."""
    return cuda if cuda.offered(x) else plain


def _check_on_the_way_back(gradient: Tensor) -> None:
    """A stop that is asked for during the backward pass takes effect between two blocks."""
    progress.check()
