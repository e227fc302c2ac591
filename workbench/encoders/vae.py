"""The encoder that a VAE leaves behind: a picture as the latent codes of its patches. `workbench train vae` writes the file.

The network's decoder, its losses and its training are in `generative/vae.py`, which takes `PatchEncoder` from here.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from workbench import images, statistics
from workbench.encoders.base import Encoder, frozen
from workbench.errors import WorkbenchError
from workbench.storage import check_weights

SIDE = 64
"""px. Side of a patch."""
STRIDE = 32
"""px between two patches of a picture: they overlap by half."""
SIZES = (64, 128, 256)
"""px. Long sides at which a picture is cut into patches; at the first it is one patch, squashed."""


class PatchEncoder(nn.Module):
    """q(z | x) of Kingma & Welling (2014): a patch to a normal distribution over codes, its covariance diagonal."""

    def __init__(self, *, widths: Sequence[int] = (24, 48, 96, 128), latent: int = 64):
        """`widths`: channels after each convolution, which halves the patch; `latent`: dimensions of the code."""
        super().__init__()
        self.architecture = {"widths": list(widths), "latent": latent}
        self.convolutions = nn.ModuleList([nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise((3, *widths))])
        cells = SIDE >> len(widths)
        self.head = nn.Linear(widths[-1] * cells**2, 2 * latent)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """`patches` (N, 3, 64, 64) in [0, 1]: the mean and the log variance of their codes, (N, latent) each, float32."""
        x = (patches * 2 - 1).contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
        mean, log_variance = self.head(x.flatten(1)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 8)


class VaeEncoder(Encoder):
    """Mean codes of a picture's patches, a layer for each size: "px64", the whole picture squashed, "px128" and "px256".

    For retrieval and clusters: the style descriptor, means and deviations of every layer, says what patches the picture is
    made of and how they vary. Patches larger than a stroke hold what is shown as well: this is no pure embedding of style.
    """

    paints = False
    """A picture optimised for its codes meets them by a pattern of coloured dots."""
    embedding_size = SIZES[-1]

    def __init__(self, name: str, patches: PatchEncoder):
        super().__init__()
        self.name = name
        self.patches = patches
        self.channels = {f"px{size}": patches.head.out_features // 2 for size in SIZES}
        self.style_layers = tuple(self.channels)
        self.content_layers = self.style_layers[-1:]

    def activations(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Codes of `image` (N, 3, H, W) at `layers`: (N, latent, h, w), a cell for each patch, whatever size the image has."""
        return {layer: self._codes(image, int(layer.removeprefix("px"))) for layer in self.check_layers(layers)}

    def _codes(self, image: Tensor, size: int) -> Tensor:
        scale = size / max(image.shape[-2:])
        sides = (SIDE, SIDE) if size == SIDE else tuple(whole_patches(round(side * scale)) for side in image.shape[-2:])
        cells = images.resize(image, sides).unfold(2, SIDE, STRIDE).unfold(3, SIDE, STRIDE)  # (N, 3, h, w, 64, 64)
        count, _, rows, columns = cells.shape[:4]
        codes = self.patches(cells.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))[0]
        return codes.view(count, rows, columns, -1).permute(0, 3, 1, 2)

    def embed(self, image: Tensor) -> Tensor:
        """Means and deviations of the codes over the patches of every layer: (N, 6 latent). Style as much as content."""
        codes = self.activations(image, self.style_layers)
        return torch.cat([statistics.style_vector(of) for of in codes.values()], dim=1)


def whole_patches(side: int) -> int:
    """The side nearest `side`, px, that patches cover to the last pixel."""
    return STRIDE * max(round(side / STRIDE), SIDE // STRIDE)


def load_vae(name: str, path: Path, *, device: torch.device) -> VaeEncoder:
    """The encoder half of the VAE in `path`. WorkbenchError, in one line, where the file holds none."""
    try:
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["header"])
        if header["family"] != "vae":
            raise ValueError(f"it holds a network of the family {header['family']!r}")
        patches = PatchEncoder(**header["architecture"]["encoder"])
        own = {key.removeprefix("encoder."): value.float() for key, value in tensors.items() if key.startswith("encoder.")}
        check_weights(path, own)
        patches.load_state_dict(own)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkbenchError(f"{path} cannot be read as a trained VAE: {reason}") from error
    encoder = VaeEncoder(name, patches)
    encoder.weights_sha256 = hashlib.sha256(content).hexdigest()
    return frozen(encoder).to(device)
