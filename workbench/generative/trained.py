"""Trained networks on disk: trained into a file with checkpoints beside it, written, read, and found by name."""

import hashlib
import importlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import nn

from workbench import __version__, encoders, images, storage
from workbench.encoders import Encoder
from workbench.errors import UsageError, WorkbenchError, require
from workbench.generative.training import Diverged, Training

FORMAT = "2026-12"
"""Version of the file: raised whenever the same numbers would paint something else."""
SUFFIX = ".safetensors"
CHECKPOINT_EVERY = 60.0
"""Seconds between two checkpoints."""
SHIPPED = Path(__file__).parent / "models"
BUILDERS: Mapping[str, str] = {"artist": "workbench.generative.artist", "vae": "workbench.generative.vae"}
"""family -> the module whose `build` makes an untrained network from an architecture."""


@dataclass(frozen=True)
class Trained:
    """A network that was trained, and what its file says. family; header: see `Family.header`; sha256 of the file."""

    name: str
    path: Path
    family: str
    header: Mapping[str, Any]
    sha256: str
    network: nn.Module


def save(training: Training, path: Path) -> str:
    """Write the averaged painter in float16 with its header, atomically. Returns the file's SHA-256."""
    header = {
        "format": FORMAT,
        "family": training.family.name,
        "workbench": __version__,
        "torch": torch.__version__,
        **training.family.header(),
        "plan": asdict(training.plan),
        "steps": training.step,
        "minutes": round(training.seconds / 60, 1),
        "measures": training.history[-1] if training.history else {},
    }
    tensors = {name: _half(value).cpu().contiguous().clone() for name, value in training.average.items()}
    with storage.atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"header": json.dumps(header)})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


@lru_cache(maxsize=16)
def read(path: Path) -> Trained:
    """The network in `path`, in evaluation mode on the CPU. WorkbenchError, in one line, where it cannot be used."""
    try:
        content = path.read_bytes()
        tensors = load(content)
        header = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["header"])
        family, made = header["family"], header["format"]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkbenchError(f"{path} cannot be read as a trained network: {reason}") from error
    require(made == FORMAT, f"{path} was written by another version ({made}, not {FORMAT}): train it again")
    require(family in BUILDERS, f"{path} holds a network of the family {family!r}; known are {', '.join(BUILDERS)}")
    try:
        network = importlib.import_module(BUILDERS[family]).build(header["architecture"])
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WorkbenchError(f"{path} does not hold the architecture that its header names: train it again") from error
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return Trained(path.stem, path, family, header, hashlib.sha256(content).hexdigest(), network)


def find(name: str) -> Path:
    """The file called `name`: a path, or a network in the package by its stem. UsageError where there is none."""
    path = Path(name)
    if path.is_file():
        return path
    if (shipped := SHIPPED / (path.stem + SUFFIX)).is_file() and path.parent == Path():
        return shipped
    known = ", ".join(sorted(found.stem for found in SHIPPED.glob(f"*{SUFFIX}")))
    raise UsageError(f"no trained network {name}: no such file, and none in the package ({known or 'there is none'})")


def encoder_of(network: Trained, device: torch.device) -> Encoder:
    """The encoder that `network` was trained with. UsageError where the present one of that name has other weights."""
    name = network.header["encoder"]
    encoder = _encoder(name, device.type)
    same = encoder.weights_sha256 == network.header["encoder_sha256"]
    require(same, f"{network.path} was trained with other weights of the encoder {name}: train it again")
    return encoder


@lru_cache(maxsize=4)
def _encoder(name: str, device: str) -> Encoder:
    return encoders.load(name, device=device)


def train(training: Training, out: Path, *, report: Callable[[dict[str, float]], None] = lambda record: None) -> str:
    """Train to the end and write the network to `out`; returns its SHA-256.

    A checkpoint beside `out` is written every minute and on Ctrl-C, and an existing one is gone on from. Next to it, renewed at
    every report: OUT.json, the course of the training and its status, and OUT.png, samples of held-out pictures. A loss that
    stops being finite ends the training; the last good weights are kept as the checkpoint.
    """
    checkpoint = checkpoint_path(out)
    if checkpoint.exists() or checkpoint.with_name(f"{checkpoint.stem}.previous{SUFFIX}").exists():
        training.resume(checkpoint)
    status = "interrupted"
    written = time.monotonic()
    try:
        for record in _with_checkpoints(training, checkpoint, written):
            report(record)
            _describe(training, out, "running")
        digest = save(training, out)
        status = "complete"
    except Diverged as error:
        status = f"failed: {error}"
        raise Diverged(f"{error}; the weights before it are in {checkpoint}") from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"interrupted at step {training.step}; --resume goes on from {checkpoint}") from stop
    except BaseException as error:
        status = f"failed: {error}"
        raise
    finally:
        if status != "complete":
            training.checkpoint(checkpoint)
        _describe(training, out, status)
    for path in (checkpoint, checkpoint.with_name(f"{checkpoint.stem}.previous{SUFFIX}")):
        path.unlink(missing_ok=True)
    return digest


def _with_checkpoints(training: Training, checkpoint: Path, written: float) -> Iterator[dict[str, float]]:
    def keep() -> None:
        nonlocal written
        if time.monotonic() - written >= CHECKPOINT_EVERY:
            training.checkpoint(checkpoint)
            written = time.monotonic()

    training.after_step = keep
    yield from training


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a training into `out` lies."""
    return out.with_name(f"{out.stem}.checkpoint{SUFFIX}")


def _describe(training: Training, out: Path, status: str) -> None:
    record = {
        "status": status,
        "family": training.family.name,
        "plan": asdict(training.plan),
        "step": training.step,
        "seconds": round(training.seconds, 1),
        "header": training.family.header(),
        "history": training.history,
    }
    storage.write_text(out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    with training.averaged(), torch.no_grad():
        sheet = training.family.samples(training.family.painter)
    if sheet is not None:
        rows = torch.cat([torch.cat(list(row), dim=-1) for row in sheet], dim=-2)
        images.save(rows[None].cpu(), out.with_suffix(".png"))
