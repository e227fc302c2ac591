"""The encoder that needs no download: for now a small network with random weights.

The weights are random, drawn once from a fixed seed, and were never trained. He, Wang and Hopcroft (2016, "A Powerful
Generative Model Using Random Weights for the Deep Image Representation") show that Gram matrices of such features still
carry texture and palette; what they lack is any notion of what is painted. Use vgg19 for results that are to be shown.
"""

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.encoders.convolutional import ConvolutionalEncoder, Pooling

BLOCKS = ((16, 16), (32, 32), (64, 64), (96, 96), (128,))
SEED = 20160527
LAYOUT = 4


class RandomEncoder(ConvolutionalEncoder):
    """A random network whose image embedding keeps a coarse layout, since its deep channels know no subjects."""

    def embed(self, image: Tensor) -> Tensor:
        """Channel means of relu3_1 in each cell of a 4x4 grid over the picture: (N, 16 C)."""
        features = self.features(image, ["relu3_1"])["relu3_1"]
        return F.adaptive_avg_pool2d(features, LAYOUT).flatten(1)


def load_embedded(*, pooling: Pooling, dtype: torch.dtype, device: torch.device) -> ConvolutionalEncoder:
    """The random network, the same on every machine."""
    encoder = RandomEncoder("embedded", BLOCKS, pooling=pooling, dtype=dtype)
    generator = torch.Generator().manual_seed(SEED)
    digest = hashlib.sha256()
    for convolution in encoder.convolutions.values():
        fan_in = convolution.in_channels * 9
        with torch.no_grad():
            # He et al. (2015): this scale keeps the variance of ReLU features from layer to layer.
            convolution.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            # Without a zero mean per filter every deep feature mostly repeats the local brightness.
            convolution.weight.sub_(convolution.weight.mean(dim=(1, 2, 3), keepdim=True))
            convolution.bias.zero_()
        digest.update(convolution.weight.detach().numpy().tobytes())
    encoder.weights_sha256 = digest.hexdigest()
    return encoder.for_inference(device)
