"""A network with random weights that was never trained: the floor that any trained encoder has to rise above.

The filters are drawn from a fixed seed. He, Wang and Hopcroft (2016, "A Powerful Generative Model Using Random Weights for
the Deep Image Representation") and Ustyuzhaninov et al. (2016, "Texture Synthesis Using Shallow Convolutional Networks
with Random Filters") show that Gram matrices of such features still carry palette and fine texture. What they lack is any
notion of what is painted, and large strokes.
"""

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.encoders.convolutional import ConvolutionalEncoder, Pooling

# Wide and shallow: every further random layer makes the features of different filters more alike.
WIDTHS = {"relu1_1": 64, "relu2_1": 96, "relu3_1": 128, "relu4_1": 128, "relu4_2": 128, "relu5_1": 128}
SEED = 20160527
SHIFT = 0.5
RECIPE = 1
"""Raised whenever the steps after the draw change: _natural_noise, _standardise or embed."""
LAYOUT = 4


class RandomEncoder(ConvolutionalEncoder):
    """A random network. Content is kept at shallow layers, because its deep ones see no objects."""

    content_layers = ("relu2_1", "relu3_1")

    def embed(self, image: Tensor) -> Tensor:
        """Channel means of relu3_1 in each cell of a 4x4 grid over the picture: (N, 16 C).

        This network's only knowledge of a subject is which colours and textures lie where.
        """
        features = self.features(image, ["relu3_1"])["relu3_1"]
        return F.adaptive_avg_pool2d(features, LAYOUT).flatten(1)


def load_random(*, pooling: Pooling, dtype: torch.dtype, device: torch.device) -> ConvolutionalEncoder:
    """The random network, the same filters on every machine."""
    encoder = RandomEncoder("random", WIDTHS, pooling=pooling, dtype=dtype)
    generator = torch.Generator().manual_seed(SEED)
    digest = hashlib.sha256(f"{RECIPE} {SHIFT} {LAYOUT}".encode())
    for convolution in encoder.convolutions.values():
        with torch.no_grad():
            # He et al. (2015): this scale keeps the variance of ReLU features from layer to layer.
            convolution.weight.normal_(0, math.sqrt(2 / (convolution.in_channels * 9)), generator=generator)
            # Without a zero mean per filter every deep feature mostly repeats the local brightness.
            convolution.weight.sub_(convolution.weight.mean(dim=(1, 2, 3), keepdim=True))
        digest.update(convolution.weight.detach().numpy().tobytes())
    encoder.weights_sha256 = digest.hexdigest()  # of the draw: what follows from it may differ in the last bit by machine
    _standardise(encoder, _natural_noise(generator))
    return encoder.for_inference(device)


def _natural_noise(generator: torch.Generator, *, count: int = 8, side: int = 96) -> Tensor:
    """Noise with the 1/f amplitude and the correlated colours of natural images: (count, 3, side, side) in [0, 1]."""
    frequency = torch.fft.fftfreq(side)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    radius[0, 0] = 1 / side
    spectrum = torch.randn(count, 3, side, side, generator=generator, dtype=torch.cfloat) / radius
    planes = torch.fft.ifft2(spectrum).real
    planes = 0.2 * planes / planes.std(dim=(2, 3), keepdim=True)
    mixture = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [0.7, 0.4, 0.4]])
    return (0.5 + torch.einsum("ij,njhw->nihw", mixture, planes)).clamp(0, 1)


@torch.no_grad()
def _standardise(encoder: ConvolutionalEncoder, images: Tensor) -> None:
    """Give every channel unit variance on `images` and a mean of SHIFT before its ReLU, layer by layer.

    Otherwise a few loud channels make up most of a Gram matrix, and the others might as well not be there.
    """
    for layer, convolution in encoder.convolutions.items():
        convolution.bias.zero_()
        _, before = encoder.before_relu(images, layer)
        std, mean = torch.std_mean(before, dim=(0, 2, 3))
        std = std.clamp_min(1e-3)
        convolution.weight.div_(std.view(-1, 1, 1, 1))
        convolution.bias.copy_(SHIFT - mean / std)
