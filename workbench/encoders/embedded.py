"""The encoder that needs no download: a narrow VGG-19, distilled from the wide one, whose weights lie in the package.

embedded.md, beside this file, says what it was trained on and what it is bad at.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from workbench.encoders.convolutional import ConvolutionalEncoder, Pooling, operations
from workbench.errors import WorkbenchError
from workbench.storage import atomic, check_weights, in_order

WEIGHTS = Path(__file__).with_name("embedded.safetensors")
WEIGHTS_SHA256 = "f6570d46ebb28c01000ae389596b7f0e69141e713acf1265e9554ff2f3fad17e"
EMBEDDING = 512
"""Dimensions of the image embedding: the channels of VGG-19 at relu5_1."""


class DistilledEncoder(ConvolutionalEncoder):
    """Few channels, each layer in the place of a layer of VGG-19, and linear heads that estimate the teacher's features.

    The features at a layer are the coordinates of VGG-19's features (average pooling) along their principal directions,
    as the network estimates them; unlike those of VGG-19 they may be negative. The directions are orthogonal and of one
    length, so that relative Gram distances between coordinates are those between the estimated features of VGG-19.

    The image embedding estimates that of VGG-19, the channel means at relu5_1 (max pooling), by a linear map from the
    channel means of some layers of this network.
    """

    heads: Any  # an nn.ModuleDict of nn.Conv2d
    embedding_weight: Tensor
    embedding_bias: Tensor

    def __init__(
        self,
        name: str,
        widths: Mapping[str, int],
        components: Mapping[str, int],
        embedding: Sequence[str],
        *,
        pooling: Pooling = "average",
        dtype: torch.dtype = torch.float32,
    ):
        """`widths`: layer -> channels inside the network; `components`: layer -> coordinates that its head gives;
        `embedding`: the layers whose channel means the image embedding is made from."""
        super().__init__(name, widths, pooling=pooling, dtype=dtype)
        self.widths = dict(widths)
        self.channels = {layer: components[layer] for layer in widths if layer in components}
        self.heads = nn.ModuleDict({layer: nn.Conv2d(widths[layer], components[layer], 1) for layer in self.channels})
        self.embedding = tuple(embedding)
        self.register_buffer("embedding_weight", torch.zeros(sum(widths[layer] for layer in embedding), EMBEDDING))
        self.register_buffer("embedding_bias", torch.zeros(EMBEDDING))

    def for_inference(self, device: torch.device) -> "DistilledEncoder":
        super().for_inference(device)
        self.heads.to(dtype=self.dtype, memory_format=torch.channels_last)
        return self

    def activations(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return self._read(image, self.check_layers(layers), lambda layer, x: operations(x).head(self.heads[layer], x))

    def means(self, image: Tensor, cells: int = 1) -> Tensor:
        """Channel means of the embedding's layers in a grid of cells x cells over the picture: (N, cells^2, channels)."""
        hidden = self.hidden(image, self.embedding)
        return torch.cat([cell_means(hidden[layer], cells) for layer in self.embedding], dim=2)

    def embed(self, image: Tensor) -> Tensor:
        return self.means(image)[:, 0] @ self.embedding_weight + self.embedding_bias

    def save(self, path: str | Path, metadata: Mapping[str, str]) -> str:
        """Write the weights in float16, with the network's shape and `metadata`, atomically. Returns the file's SHA-256."""
        tensors = {name: value.detach().cpu().half().contiguous() for name, value in self.state_dict().items()}
        shape = {"widths": self.widths, "components": self.channels, "embedding": self.embedding}
        header = {**{name: json.dumps(value) for name, value in shape.items()}, **metadata, "digest": digest(tensors)}
        with atomic(path) as temporary:
            temporary.write_bytes(in_order(save_tensors(tensors, metadata=header)))
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors on the CPU, by their names and values, whatever their order in a file."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)} ".encode())
        found.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def cell_means(features: Tensor, cells: int) -> Tensor:
    """The mean of features (N, C, h, w) in each cell of a grid of cells x cells over the picture: (N, cells^2, C), float32."""
    return F.adaptive_avg_pool2d(features.float(), cells).flatten(2).transpose(1, 2)


def load_embedded(*, pooling: Pooling, dtype: torch.dtype, device: torch.device) -> DistilledEncoder:
    """The network in the package. WorkbenchError if its file is not the one that was shipped."""
    encoder = load_distilled("embedded", WEIGHTS, pooling=pooling, dtype=dtype, device=device)
    if encoder.weights_sha256 != WEIGHTS_SHA256:
        found = encoder.weights_sha256[:8]
        raise WorkbenchError(f"{WEIGHTS} is damaged: its SHA-256 starts with {found}; reinstall the package")
    return encoder


def load_distilled(name: str, path: Path, *, pooling: Pooling, dtype: torch.dtype, device: torch.device) -> DistilledEncoder:
    """A network that `workbench distil` wrote to `path`."""
    try:
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        shape = [json.loads(header[part]) for part in ("widths", "components", "embedding")]
        check_weights(path, tensors)
        if "digest" in header and header["digest"] != digest(tensors):
            raise WorkbenchError(f"{path} is damaged: its weights are not those that were written")
        encoder = DistilledEncoder(name, *shape, pooling=pooling, dtype=dtype)
        encoder.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkbenchError(f"{path} cannot be read as a distilled encoder: {reason}") from error
    encoder.weights_sha256 = hashlib.sha256(content).hexdigest()
    return encoder.for_inference(device)
