"""VGG-19 (Simonyan & Zisserman 2015) up to relu5_1: the reference encoder."""

import hashlib
import os
from pathlib import Path
from pickle import UnpicklingError  # raised by torch.load for files it refuses to unpickle

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workbench.encoders.convolutional import ConvolutionalEncoder, Pooling
from workbench.errors import WorkbenchError
from workbench.storage import check_weights

BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,))
WIDTHS = {f"relu{b}_{c}": width for b, block in enumerate(BLOCKS, start=1) for c, width in enumerate(block, start=1)}
# Index of each convolution in torchvision's `vgg19().features`, where ReLU and pooling count as modules too.
INDICES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
SAFETENSORS = "vgg19_features.safetensors"
TORCHVISION = "vgg19-dcbb9e9d.pth"
LOUDEST = 300
"""Largest weight of a layer over the root mean square of all, at most: 50 in an undamaged file; changed bytes are far off."""


def load_vgg19(*, pooling: Pooling, dtype: torch.dtype, device: torch.device) -> ConvolutionalEncoder:
    """VGG-19 with the weights found on this machine, or downloaded when WORKBENCH_DOWNLOAD=1."""
    path = find_weights()
    encoder = ConvolutionalEncoder("vgg19", WIDTHS, pooling=pooling, dtype=dtype)
    state = read_weights(path)
    for index, (layer, convolution) in zip(INDICES, encoder.convolutions.items(), strict=True):
        for part, parameter in convolution.named_parameters():
            value = state.get(f"features.{index}.{part}", state.get(f"{index}.{part}"))
            if value is None or value.shape != parameter.shape:
                raise WorkbenchError(f"{path} does not hold VGG-19: {index}.{part} ({layer}) is missing or of another shape")
            check_weights(path, {f"{index}.{part}": value})
            if value.float().abs().max() > LOUDEST * value.float().square().mean().sqrt():
                raise WorkbenchError(f"{path} is damaged: {index}.{part} ({layer}) has values far above all others")
            with torch.no_grad():
                parameter.copy_(value)
    encoder.weights_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return encoder.for_inference(device)


def find_weights() -> Path:
    """The weight file: in $WORKBENCH_WEIGHTS, in torch's own cache, or freshly downloaded there if that was allowed."""
    folder = os.environ.get("WORKBENCH_WEIGHTS")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION
    candidates = [Path(folder) / SAFETENSORS, Path(folder) / TORCHVISION] if folder else []
    for candidate in [*candidates, cached]:
        if candidate.is_file():
            return candidate
    if os.environ.get("WORKBENCH_DOWNLOAD") == "1":
        from torchvision.models import VGG19_Weights

        try:
            VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise WorkbenchError(f"VGG-19 could not be downloaded: {error}") from error
        return cached
    raise WorkbenchError(
        f"encoder vgg19 has no weights here{f' ({folder} holds none)' if folder else ''}: "
        f"set WORKBENCH_DOWNLOAD=1 to let torchvision download them once (550 MB), "
        f"or set WORKBENCH_WEIGHTS to a folder with {SAFETENSORS}, or with torchvision's {TORCHVISION}"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in `path`, without running any code from it. A torchvision file must match the hash in its name."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if not digest.startswith(path.stem.rpartition("-")[2]):
            raise WorkbenchError(f"{path} is damaged: its SHA-256 starts with {digest[:8]}; delete it and fetch it again")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise WorkbenchError(f"{path} cannot be read as weights: {error}") from error
