"""The state of a transfer on disk: safetensors, written whole or not at all, and bound to all that decides the result."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from workbench import images, storage
from workbench.encoders import Encoder
from workbench.encoders.embedded import digest
from workbench.errors import UsageError, WorkbenchError
from workbench.targets import StyleTarget
from workbench.transfer.settings import Settings

VERSION = 13
"""Raised whenever the same settings come to another picture."""


@dataclass(frozen=True)
class Saved:
    """What a continuation needs: the losses of every evaluation, seconds of work, the picture and the optimiser's tensors."""

    history: list[dict[str, float]]
    seconds: float
    picture: Tensor
    optimiser: dict[str, Tensor]


def fingerprint(
    content: Tensor, target: StyleTarget, encoders: Sequence[Encoder], settings: Settings, identity: str = ""
) -> str:
    """SHA-256 of all that decides a result; `identity`: what does besides content, target, encoders and settings."""
    found = hashlib.sha256(f"{VERSION}|{images.DECODER}|{identity}".encode())
    found.update(content.cpu().numpy().tobytes())
    works = [(work.sha256, weight) for work, weight in zip(target.works, target.weights, strict=True)]
    identities = [encoder.identity for encoder in encoders]
    given = {name: value for name, value in asdict(settings).items() if name != "options" or value}
    found.update(json.dumps([given, identities, works, target.combine], sort_keys=True).encode())
    for guide in target.guides:
        pieces = [(piece.work.sha256, weight) for piece, weight in zip(guide.pieces, guide.weights, strict=True)]
        found.update(json.dumps([guide.matched, pieces]).encode())
        for mask in (guide.mask, *(piece.mask for piece in guide.pieces)):
            found.update(mask.numpy().tobytes())
    return found.hexdigest()


def write(path: str | os.PathLike, saved: Saved, fingerprint: str, settings: Settings) -> Path:
    """Write `saved` to `path`, atomically. `settings`: to say later which of them differ."""
    tensors = {"picture": saved.picture, **{f"optimiser.{name}": value for name, value in saved.optimiser.items()}}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    record = {
        "sha256": digest(tensors),
        "version": str(VERSION),
        "fingerprint": fingerprint,
        "history": json.dumps(saved.history),
        "seconds": repr(saved.seconds),
        "settings": json.dumps(asdict(settings)),
    }
    with storage.atomic(path) as temporary:
        save_file(tensors, temporary, metadata=record)
    return Path(path)


def read(path: str | os.PathLike, fingerprint: str, settings: Settings) -> Saved:
    """What `write` wrote. UsageError where it belongs to another transfer, or was written by another version."""
    record, tensors = storage.read_checkpoint(path)
    if record.get("version") != str(VERSION):
        raise UsageError(f"{path} was written by another version of the workbench: begin the transfer again without it")
    if record.get("fingerprint") != fingerprint:
        differ = _differing(record.get("settings", ""), settings) or "content, target, encoder or settings differ"
        raise UsageError(f"{path} is the checkpoint of another transfer: {differ}")
    if "sha256" in record and record["sha256"] != digest(tensors):
        raise WorkbenchError(f"{path} is damaged: its checksum differs; begin again without it")
    try:
        picture = tensors.pop("picture")
        optimiser = {name.removeprefix("optimiser."): value for name, value in tensors.items()}
        return Saved(json.loads(record["history"]), float(record["seconds"]), picture, optimiser)
    except (KeyError, ValueError) as error:
        raise WorkbenchError(f"{path} is damaged: {error} is missing or cannot be read; begin again without it") from error


def _differing(written: str, settings: Settings) -> str:
    """Which settings are not those that were `written`; "" where it is none of them, or where they cannot be read."""
    try:
        then, now = json.loads(written), json.loads(json.dumps(asdict(settings)))
        return ", ".join(f"{name} was {then[name]} and is {now[name]}" for name in now if then[name] != now[name])
    except (ValueError, KeyError, TypeError):
        return ""
