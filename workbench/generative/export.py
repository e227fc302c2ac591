"""A trained network as ONNX, for other programs and other hardware: the same picture within rounding, at any size."""

import importlib
import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from workbench import storage
from workbench.errors import UsageError, require
from workbench.generative import trained
from workbench.generative.trained import Trained

OPSET = 18
"""Of the operators: onnxruntime 1.14 and later has them."""
ROUNDING = 1e-4
"""How far an exported network may be from torch, in values of [0, 1]: a fortieth of a step of 8 bits."""
EXAMPLE = (2, 3, 37, 50)
"""Shape of the pictures that an export is traced with: no size in it is special."""


def onnx(network: Trained, path: Path) -> Path:
    """Write `network` to `path` as ONNX, atomically.

    Its first input is "picture" (N, 3, H, W), float32 in [0, 1], of any size; an artist network takes "code" (N, K) as
    well, see `artist.code_of`. Its output is "painted", float32, of the shape of the picture. Family, works and the
    SHA-256 of the network's own file are in its metadata. The picture is painted whole: `networks.in_tiles` stays behind.
    UsageError where the packages are missing, and for a family that cannot be exported.
    """
    try:
        import onnxscript  # noqa: F401 - the exporter of torch needs it, and says so at length
    except ImportError as error:
        raise UsageError('exporting needs onnx and onnxscript: pip install "artist-workbench[onnx]"') from error
    module, more = _parts(network)
    names = ["picture", *more]
    inputs = (torch.rand(EXAMPLE, generator=torch.Generator().manual_seed(0)), *more.values())
    sizes = ({0: "batch", 2: "height", 3: "width"}, *({0: "batch"} for _ in more))
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            # Skips add what has been halved and doubled to what has not: for sizes of any kind that is known when it runs.
            traced = torch.export.export(
                module,
                inputs,
                dynamic_shapes=tuple({axis: torch.export.Dim.DYNAMIC for axis in axes} for axes in sizes),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            program = torch.onnx.export(
                traced,
                dynamo=True,
                dynamic_shapes=sizes,
                input_names=names,
                output_names=["painted"],
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        chatter.setLevel(level)
    assert program is not None
    metadata = {
        "family": network.family,
        "sha256": network.sha256,
        "works": json.dumps(network.header.get("works", [])),
        "artist": str(network.header.get("artist", "")),
        "format": trained.FORMAT,
    }
    program.model.metadata_props.update(metadata)
    program.model.producer_name = "artist-workbench"
    with storage.atomic(path) as temporary:
        program.save(str(temporary))
    return path


def _parts(network: Trained) -> tuple[nn.Module, dict[str, Tensor]]:
    """(what is exported, an example of each further input), as the module of the family says in `exported`."""
    family = importlib.import_module(trained.BUILDERS[network.family])
    can = hasattr(family, "exported")
    require(can, f"a network of the family {network.family} is more than one pass of pictures: it cannot be exported")
    module, more = family.exported(network.network)
    return module.cpu().eval(), more
