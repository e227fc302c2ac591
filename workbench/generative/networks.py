"""The networks of all families: one image-to-image generator, patch discriminators, and their parts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MARGIN = 32
"""px. How far a generator sees beyond the picture that it gives. Convolutions pad with zeros there, which would show as a frame
and as dark corners. Beyond a whole picture lie its border pixels, repeated; beyond a crop of one, what is there."""
EPSILON = 1e-5


class InstanceNorm(nn.Module):
    """Instance normalisation (Ulyanov et al. 2017), (N, C, H, W), each channel of each picture to mean 0 and variance 1.

    Learns nothing: scale and shift belong to `Film`. Within `fixed_statistics` it reuses the mean and deviation of the pass
    that was recorded, so that tiles of one picture are normalised alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mode = "own"
        self.recorded: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "own":
            # torch's kernel leaves channels_last, and the convolution after it would go back twice as slowly.
            y = F.instance_norm(x, eps=EPSILON)
            channels_last = x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
            return y.contiguous(memory_format=torch.channels_last) if channels_last else y
        if self.mode == "record":
            variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
            self.recorded = mean, (variance + EPSILON).rsqrt()
        assert self.recorded is not None
        mean, scale = self.recorded
        return ((x.float() - mean) * scale).to(x.dtype)


@contextmanager
def statistics_of(network: nn.Module, mode: str) -> Iterator[None]:
    """Within the block every InstanceNorm of `network` works in `mode`: "record" or "reuse"."""
    norms = [module for module in network.modules() if isinstance(module, InstanceNorm)]
    for norm in norms:
        norm.mode = mode
    try:
        yield
    finally:
        for norm in norms:
            norm.mode = "own"


class Film(nn.Module):
    """Instance normalisation with a scale and a shift for each channel, from a code where there is one (Perez et al. 2018).

    x (N, C, H, W), code (N, K) or None: y = (1 + gamma) norm(x) + beta; gamma and beta are learnt, or linear in the code.
    """

    def __init__(self, channels: int, code: int = 0):
        super().__init__()
        self.norm = InstanceNorm()
        self.scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.from_code = nn.Linear(code, 2 * channels) if code else None
        if self.from_code is not None:
            nn.init.normal_(self.from_code.weight, std=0.02)
            nn.init.zeros_(self.from_code.bias)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        y = self.norm(x)
        scale, shift = self.scale[None], self.shift[None]
        if self.from_code is not None:
            more, further = self.from_code(code).chunk(2, dim=1)
            scale, shift = scale + more, shift + further
        return torch.addcmul(shift[..., None, None].to(y.dtype), y, (1 + scale)[..., None, None].to(y.dtype))


class _Block(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, code: int = 0):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.film = Film(outputs, code)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        return F.relu(self.film(self.convolution(x), code))


class _Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, channels: int, code: int = 0):
        super().__init__()
        self.first = _Block(channels, channels, 3, code=code)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.film = Film(channels, code)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        return x + self.film(self.second(self.first(x, code)), code)


class Generator(nn.Module):
    """A picture to a picture: convolutions to a quarter of the size, residual blocks, and back (Johnson et al. 2016).

    With `skips`, what was seen at half and at full size is added on the way back, which keeps eyes and windows. With `code` > 0
    a vector of that many numbers decides the style: every normalisation takes scale and shift from it.
    """

    def __init__(
        self,
        *,
        inputs: int = 3,
        widths: Sequence[int] = (16, 32, 56),
        blocks: int = 4,
        code: int = 0,
        hidden: int = 64,
        skips: bool = False,
    ):
        """`inputs`: channels of what goes in; `widths`: channels at full, half and quarter size; `blocks`: residual ones."""
        super().__init__()
        self.architecture = {"inputs": inputs, "widths": list(widths), "blocks": blocks, "code": code, "hidden": hidden}
        self.architecture |= {"skips": skips}
        self.skips = skips
        full, half, quarter = widths
        inner = hidden if code else 0
        self.style = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()) if code else None
        self.down = nn.ModuleList(
            [
                _Block(inputs, full, 5, code=inner),
                _Block(full, half, 3, stride=2, code=inner),
                _Block(half, quarter, 3, stride=2, code=inner),
            ]
        )
        self.residual = nn.ModuleList([_Residual(quarter, inner) for _ in range(blocks)])
        self.up = nn.ModuleList([_Block(quarter, half, 3, code=inner), _Block(half, full, 3, code=inner)])
        self.out = nn.Conv2d(full, 3, 5, padding=2)

    def encode(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """What the first half makes of x (N, inputs, H, W) in [-1, 1]: (N, C, h, w) at a quarter of its size."""
        for block in self.down:
            x = block(x, code)
        return x

    def forward(self, picture: Tensor, code: Tensor | None = None) -> Tensor:
        """`picture` (N, inputs, H, W) in [0, 1] of any size, `code` (N, code): (N, 3, H, W) in [0, 1], float32."""
        height, width = picture.shape[-2:]
        return self.inside(pad(picture), code)[..., :height, :width]

    def inside(self, surrounded: Tensor, code: Tensor | None = None) -> Tensor:
        """What it makes of the inner part of `surrounded` (N, inputs, H + 2 MARGIN, W + 2 MARGIN): (N, 3, H, W).

        H and W are multiples of 4. A crop that is taken with its surroundings teaches a network nothing about borders.
        """
        x = (surrounded * 2 - 1).contiguous(memory_format=torch.channels_last)
        inner = None if self.style is None else self.style(code)
        seen = []
        for block in self.down:
            x = block(x, inner)
            seen.append(x)
        for block in self.residual:
            x = block(x, inner)
        for block, earlier in zip(self.up, seen[-2::-1], strict=True):
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest"), inner)
            x = x + earlier if self.skips else x
        return torch.sigmoid(self.out(x).float())[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def without_margin(surrounded: Tensor) -> Tensor:
    """The inner part of pictures (N, C, H + 2 MARGIN, W + 2 MARGIN): (N, C, H, W)."""
    return surrounded[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def pad(picture: Tensor, multiple: int = 4) -> Tensor:
    """`picture` (N, C, H, W) continued by MARGIN px on every side, and further to multiples of `multiple` on two."""
    height, width = picture.shape[-2:]
    below, right = (-(height + 2 * MARGIN)) % multiple, (-(width + 2 * MARGIN)) % multiple
    return F.pad(picture, (MARGIN, MARGIN + right, MARGIN, MARGIN + below), mode="replicate")


class Discriminator(nn.Module):
    """Patch discriminators (Isola et al. 2017) at several scales (Wang et al. 2018): one small network for each size.

    x (N, inputs, H, W) in [0, 1] -> a list of score maps (N, 1, h, w), one for each scale, for the least-squares loss.
    """

    def __init__(self, *, inputs: int = 3, width: int = 32, scales: int = 2):
        super().__init__()
        self.architecture = {"inputs": inputs, "width": width, "scales": scales}
        self.judges = nn.ModuleList([_patch_judge(inputs, width) for _ in range(scales)])

    def forward(self, x: Tensor) -> list[Tensor]:
        scores = []
        x = (x * 2 - 1).contiguous(memory_format=torch.channels_last)
        for k, judge in enumerate(self.judges):
            if k:
                x = F.avg_pool2d(x, 2)
            scores.append(judge(x).float())
        return scores


def _patch_judge(inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for k in (1, 2):
        layers += [nn.Conv2d(width * k, width * 2 * k, 4, 2, 1, bias=False), InstanceNorm(), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(width * 4, width * 4, 3, 1, 1, bias=False), InstanceNorm(), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width * 4, 1, 3, 1, 1))


def in_tiles(
    network: nn.Module,
    picture: Tensor,
    code: Tensor | None = None,
    *,
    tile: int = 1024,
    overlap: int = 128,
    placed: bool = False,
) -> Tensor:
    """network(picture, code), in tiles of at most `tile` px where the picture (1, C, H, W) is larger: memory is bounded.

    The statistics of every normalisation are taken once, from the picture at long side `tile`, and used for all tiles: those
    of each tile would show as seams. Tiles overlap by `overlap` px; a quarter of it is not used, in the middle they fade into
    each other. Both are multiples of 4, so that the network's grid is the same in every tile. `placed`: whether the network
    takes the place of a tile, (top, left), as a third argument.
    """
    height, width = picture.shape[-2:]
    if max(height, width) <= tile:
        return network(picture, code)
    sides = [max(1, round(side * tile / max(height, width))) for side in (height, width)]
    small = F.interpolate(picture, sides, mode="bilinear", antialias=True)
    with statistics_of(network, "record"):
        network(small, code)
    total = torch.zeros_like(picture[:, :3])
    with statistics_of(network, "reuse"):
        for top in range(0, max(height - overlap, 1), tile - overlap):
            for left in range(0, max(width - overlap, 1), tile - overlap):
                part = (..., slice(top, top + tile), slice(left, left + tile))
                shares = [
                    _share(begin, min(tile, length - begin), length, overlap).to(picture)
                    for begin, length in ((top, height), (left, width))
                ]
                place = ((top, left),) if placed else ()
                total[part] += network(picture[part], code, *place) * torch.outer(*shares)
    return total


def _share(begin: int, size: int, length: int, overlap: int) -> Tensor:
    """How much the places (size,) of a tile from `begin` on count along one side of the picture; 1 over all tiles."""
    place = torch.arange(size) + 0.5
    rising = (place - overlap / 4) / (overlap / 2) if begin else torch.ones(size)
    falling = (size - place - overlap / 4) / (overlap / 2) if begin + size < length else torch.ones(size)
    return torch.minimum(rising, falling).clamp(0, 1)


def parameters_of(network: nn.Module) -> int:
    """How many numbers `network` learns."""
    return sum(p.numel() for p in network.parameters())
