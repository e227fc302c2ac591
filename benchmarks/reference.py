"""The classic recipe, written plainly: one scale, float32, contiguous, torch's own L-BFGS. What the engine is measured against.

Gatys et al. (2016) as most implementations have it: VGG-19 to relu5_1 built from torch.nn, style by Gram matrices at five
layers, content at relu4_2, from the content image. The objective is the workbench's (dimensionless, no total variation), so
that both can be drawn over one axis.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"
SCALE = 1e6  # torch's L-BFGS stops at gradients of 1e-7 and forgets curvature below 1e-10: classic losses are this large
FIRST_MOVE = 0.01  # mean change of a pixel in the first step, as in a classic loss over levels of 0 to 255 it is about one


class PlainVGG(nn.Module):
    """The convolutions of VGG-19, each followed by ReLU, with average pooling between the blocks."""

    def __init__(self, convolutions: nn.ModuleDict, mean: Tensor, std: Tensor):
        """`convolutions`: layer -> Conv2d, in order, whose weights are copied."""
        super().__init__()
        self.mean, self.std = mean, std
        self.layers = nn.ModuleDict()
        for name, convolution in convolutions.items():
            plain = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3, padding=1)
            plain.weight.data = convolution.weight.data.float().contiguous()
            plain.bias.data = convolution.bias.data.float()
            if convolution.in_channels == 3:
                plain.padding_mode = "replicate"  # zeros would draw a frame
                plain._reversed_padding_repeated_twice = [1, 1, 1, 1]
            self.layers[name] = plain
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features, x = {}, (image - self.mean) / self.std
        for name, convolution in self.layers.items():
            if name.endswith("_1") and name != "relu1_1":
                x = nn.functional.avg_pool2d(x, 2)
            x = torch.relu(convolution(x))
            features[name] = x
        return features


def gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)[0]
    return flat @ flat.T / flat.shape[1]


def objective(network: PlainVGG, content: Tensor, style: Tensor, alpha: float) -> Callable[[Tensor], Tensor]:
    """picture -> alpha * relative content distance + mean relative Gram distance."""
    with torch.no_grad():
        kept = network(content)[CONTENT]
        grams = {layer: gram(features) for layer, features in network(style).items() if layer in STYLE}

    def loss(picture: Tensor) -> Tensor:
        features = network(picture)
        far = (features[CONTENT] - kept).pow(2).sum() / kept.pow(2).sum()
        parts = [(gram(features[layer]) - g).pow(2).sum() / g.pow(2).sum() for layer, g in grams.items()]
        return alpha * far + sum(parts) / len(parts)

    return loss


def descend(loss: Callable[[Tensor], Tensor], content: Tensor) -> Iterator[float]:
    """The objective at every evaluation from `content` on, the first being that of the content itself; without an end."""
    picture = content.clone().contiguous().requires_grad_()
    optimiser = plain_lbfgs(picture)
    optimiser.param_groups[0]["lr"] = FIRST_MOVE * picture.numel()  # torch makes the first step 1 / |g|_1 times as long

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = SCALE * loss(picture)
        value.backward()
        return value

    while True:
        value = float(optimiser.step(closure).detach()) / SCALE
        optimiser.param_groups[0]["lr"] = 1.0
        yield value


def plain_lbfgs(picture: Tensor) -> torch.optim.LBFGS:
    """torch's L-BFGS with a history of 100, one evaluation a step."""
    return torch.optim.LBFGS([picture], history_size=100, max_iter=1, max_eval=1, tolerance_grad=0, tolerance_change=0)
