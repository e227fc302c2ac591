"""Gabor energies and colours: fixed filters, no network, so that what judges by them is no kin of what paints.

The moduli of complex filters at four octaves and eight directions are the first order of a scattering transform before its
averaging (Bruna & Mallat 2013, "Invariant Scattering Convolution Networks", section 2); as features of texture they are those
of Jain & Farrokhnia (1991, "Unsupervised texture segmentation using Gabor filters").
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.encoders.base import Encoder, frozen
from workbench.images import colour

OCTAVES = ("octave1", "octave2", "octave3", "octave4")
"""Layers: wavelengths of 4, 8, 16 and 32 px, on grids of 1, 2, 4 and 8 px."""
DIRECTIONS = 8
"""Directions of the waves, 22.5 degrees apart."""
WAVELENGTH, WIDTH, RADIUS = 4.0, 2.0, 6
"""Cells. Of the waves, of the Gaussian they stand in (standard deviation: an octave of bandwidth), and of a filter."""
RECIPE = 1
"""Raised whenever a picture comes to other features."""


class GaborEncoder(Encoder):
    """At every octave the moduli of Morlet wavelets on lightness, one channel for each direction, and L*, a*, b* themselves.

    L*, a* and b* are divided by 100. Chroma is not filtered: the deviations of its channels at four octaves say how it varies.
    """

    name = "gabor"
    style_layers = OCTAVES
    content_layers = (OCTAVES[2],)
    paints = False
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.channels = dict.fromkeys(OCTAVES, DIRECTIONS + 3)
        wavelets = _wavelets()
        self.filters = nn.Parameter(wavelets, requires_grad=False)
        self.weights_sha256 = hashlib.sha256(f"{RECIPE}".encode() + wavelets.numpy().tobytes()).hexdigest()

    def activations(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        wanted = set(self.check_layers(layers))
        x = colour.lab(image).to(self.device) / 100
        found = {}
        for layer in OCTAVES:
            if layer in wanted:
                around = F.pad(x[:, :1], (RADIUS,) * 4, mode="replicate")
                real, imaginary = F.conv2d(around, self.filters).chunk(2, dim=1)
                found[layer] = torch.cat([torch.hypot(real, imaginary), x], dim=1)
            x = F.avg_pool2d(x, 2, ceil_mode=True) if min(x.shape[-2:]) > 1 else x
        return found

    def embed(self, image: Tensor) -> Tensor:
        """Channel means of every octave: (N, 44)."""
        return torch.cat([x.mean(dim=(2, 3)) for x in self.features(image, OCTAVES).values()], dim=1)


def _wavelets() -> Tensor:
    """The real parts of all Morlet wavelets, then the imaginary ones: (2 DIRECTIONS, 1, 13, 13), each without a mean.

    A wave of the wavelength and direction of a filter, of amplitude A, has the modulus A / 2.
    """
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1].astype(np.float64)
    window = np.exp(-(x**2 + y**2) / (2 * WIDTH**2))
    found = []
    for turn in range(DIRECTIONS):
        angle = np.pi * turn / DIRECTIONS
        wave = np.exp(2j * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / WAVELENGTH)
        found.append(window * (wave - (window * wave).sum() / window.sum()) / window.sum())
    every = np.stack(found)
    return torch.from_numpy(np.concatenate([every.real, every.imag])[:, None]).float()


def load_gabor(*, device: torch.device) -> GaborEncoder:
    """The filters, the same on every machine."""
    return frozen(GaborEncoder()).to(device)
