"""Two small networks of MediaPipe: BlazeFace (Bazarevsky et al. 2019), which detects faces, and one that segments people.

Both come from TensorFlow, which pads for a stride of 2 on the right and at the bottom alone. Convolutions are registered in
the order in which they are applied, which is that of the original files.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """A convolution as TensorFlow pads it: out = ceil(in / stride)."""

    def __init__(self, inside: int, outside: int, kernel: int = 1, stride: int = 1, *, each: bool = False):
        """`each`: depthwise, one filter per channel."""
        super().__init__(inside, outside, kernel, stride, groups=inside if each else 1)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = (max(kernel - (side % stride or stride), 0) for side in (x.shape[3], x.shape[2]))
        edges = [edge for total in missing for edge in (total // 2, total - total // 2)]
        return super().forward(F.pad(x, edges))


class BlazeBlock(nn.Module):
    """A depthwise separable 3x3 convolution with a shortcut, whose missing channels are 0."""

    def __init__(self, inside: int, outside: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.across = Convolution(inside, inside, 3, stride, each=True)
        self.mix = Convolution(inside, outside)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.across(x))
        if self.stride > 1:
            x = F.max_pool2d(x, self.stride)
        return F.relu(y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))


class FaceNetwork(nn.Module):
    """BlazeFace for the back camera of a phone: pictures (N, 3, 256, 256) in [-1, 1] -> detections at 896 anchors.

    Returns (N, 896) logits and (N, 896, 8, 2) in pixels from the anchor's centre, x before y: the box's centre and its sides,
    then the right eye, the left eye, the tip of the nose, the mouth, the right and the left ear. Right is the person's.
    """

    SIZE = 256
    ANCHORS = ((16, 2), (8, 6))  # cells along a side, anchors at each
    NUMBERS = 16  # of an anchor

    def __init__(self) -> None:
        super().__init__()
        self.first = Convolution(3, 24, 5, 2)
        stages = ((24, 24, 1), (24, 24, 2), (24, 48, 2), (48, 96, 2))  # at 128, 64, 32 and 16 cells along a side
        self.blocks = nn.Sequential(
            *(
                block
                for inside, outside, stride in stages
                for block in (
                    *([BlazeBlock(inside, outside, stride)] if stride > 1 else []),
                    *(BlazeBlock(outside, outside) for _ in range(7)),
                )
            )
        )
        self.coarser = nn.Sequential(Convolution(96, 96, 3, 2, each=True), Convolution(96, 96), nn.ReLU())
        self.scores = nn.ModuleList(Convolution(96, count) for _, count in self.ANCHORS)
        self.places = nn.ModuleList(Convolution(96, count * self.NUMBERS) for _, count in self.ANCHORS)
        centres, mirrored, before = [], [], 0
        for cells, count in self.ANCHORS:
            places = torch.arange(before, before + cells * cells * count).view(cells, cells, count)
            mirrored.append(places.flip(1).flatten())
            before += places.numel()
            along = (torch.arange(cells) + 0.5) * (self.SIZE / cells)
            down, across = torch.meshgrid(along, along, indexing="ij")
            centres.append(torch.stack([across, down], dim=2).flatten(0, 1).repeat_interleave(count, dim=0))
        self.register_buffer("centres", torch.cat(centres), persistent=False)  # (896, 2), x before y
        self.register_buffer("mirrored", torch.cat(mirrored), persistent=False)  # (896,), the anchor in its place in a mirror

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.blocks(F.relu(self.first(picture)))
        both = (fine, self.coarser(fine))
        scores = [head(x).permute(0, 2, 3, 1).flatten(1) for head, x in zip(self.scores, both, strict=True)]
        places = [head(x).permute(0, 2, 3, 1).reshape(len(x), -1, 8, 2) for head, x in zip(self.places, both, strict=True)]
        return torch.cat(scores, dim=1), torch.cat(places, dim=1)


class Gate(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): a factor for each channel, from the means of all, (N, C, 1, 1) in [0, 1]."""

    def __init__(self, inside: int, between: int):
        super().__init__()
        self.fewer = Convolution(inside, between)
        self.all = Convolution(between, inside)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.all(F.relu(self.fewer(x.mean(dim=(2, 3), keepdim=True)))))


class Bottleneck(nn.Module):
    """The block of MobileNetV3 (Howard et al. 2019): widen, convolve depthwise, gate, narrow."""

    def __init__(self, inside: int, between: int, outside: int, kernel: int = 3, stride: int = 1, gate: int = 0):
        """`gate`: hidden channels of the gate; 0 for no gate. Blocks with 5x5 convolutions have hard swish, others ReLU."""
        super().__init__()
        self.act = F.hardswish if kernel == 5 else F.relu
        self.shortcut = stride == 1 and inside == outside
        self.widen = Convolution(inside, between)
        self.across = Convolution(between, between, kernel, stride, each=True)
        self.gate = Gate(between, gate) if gate else None
        self.narrow = Convolution(between, outside)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.across(self.act(self.widen(x))))
        y = self.narrow(y * self.gate(y) if self.gate else y)
        return x + y if self.shortcut else y


class Join(nn.Module):
    """A decoder stage at twice the resolution: the stage below, enlarged, plus the encoder's features of that size, gated."""

    def __init__(self, below: int, outside: int):
        super().__init__()
        self.narrow = Convolution(below, outside)
        self.gate = Gate(outside, outside)
        self.mix = Convolution(outside, outside)
        self.across = Convolution(outside, outside, 3, each=True)

    def forward(self, below: Tensor, features: Tensor) -> Tensor:
        below = self.narrow(F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False))
        x = F.relu(self.mix(features * self.gate(features + below) + below))
        return x + F.relu(self.across(x))


class PersonNetwork(nn.Module):
    """MediaPipe's selfie segmentation: pictures (N, 3, 256, 256) in [0, 1] -> logits of "person" (N, 1, 256, 256)."""

    SIZE = 256

    def __init__(self) -> None:
        super().__init__()
        self.first = Convolution(3, 16, 3, 2)
        self.quarter = Bottleneck(16, 16, 16, stride=2, gate=8)
        self.eighth = nn.Sequential(Bottleneck(16, 72, 24, stride=2), Bottleneck(24, 88, 24))
        self.sixteenth = nn.Sequential(
            Bottleneck(24, 96, 32, 5, 2, gate=24),
            *(Bottleneck(32, 128, 32, 5, gate=32) for _ in range(2)),
            *(Bottleneck(32, 96, 32, 5, gate=24) for _ in range(2)),
        )
        self.context = Convolution(32, 128)
        self.weights = Convolution(32, 128)
        self.joins = nn.ModuleList(Join(below, outside) for below, outside in ((128, 24), (24, 16), (16, 16)))
        self.last = nn.ConvTranspose2d(16, 1, 2, 2)

    def forward(self, picture: Tensor) -> Tensor:
        features = [F.hardswish(self.first(picture))]
        for stage in (self.quarter, self.eighth, self.sixteenth):
            features.append(stage(features[-1]))
        x = features.pop()
        x = F.relu(self.context(x)) * torch.sigmoid(self.weights(x.mean(dim=(2, 3), keepdim=True)))
        for join in self.joins:
            x = join(x, features.pop())
        return self.last(x)
