"""Trained networks on disk: trained into a file with checkpoints beside it, written, read, and found by name."""

import glob
import hashlib
import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from workbench import __version__, encoders, images, progress, provenance, storage
from workbench.encoders import Encoder
from workbench.encoders.embedded import digest
from workbench.errors import UsageError, WorkbenchError, require
from workbench.generative.training import Diverged, Training, previous
from workbench.paths import is_file

FORMAT = "2026-12"
"""Version of the file: raised whenever the same numbers would paint something else."""
SUFFIX = ".safetensors"
CHECKPOINT_EVERY = 60.0
"""Seconds between two checkpoints."""
SHIPPED = Path(__file__).parent / "models"
"""The networks of the package."""
PNG_KEY = "workbench"
"""Text chunk of the samples that holds the provenance, as in figures."""
BUILDERS: Mapping[str, str] = {
    "artist": "workbench.generative.artist",
    "decoder": "workbench.generative.feature_space",
    "cyclegan": "workbench.generative.translation",
    "one-sided": "workbench.generative.translation",
    "pix2pix": "workbench.generative.pix2pix",
    "vae": "workbench.generative.vae",
    "dreambooth": "workbench.diffusion.stylise",
}
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


def save(training: Training, path: Path, made: Mapping[str, Any] | None = None) -> str:
    """Write the averaged painter, see `Family.in_file`, with its header, atomically. Returns the file's SHA-256.

    `made`: its provenance. There is no time in the file, so that equal trainings give equal bytes.
    """
    last = training.history[-1] if training.history else {}
    header = {
        "format": FORMAT,
        "family": training.family.name,
        "workbench": __version__,
        "torch": torch.__version__,
        **training.family.header(),
        "plan": asdict(training.plan),
        "steps": training.step,
        "measures": {name: value for name, value in last.items() if name not in ("step", "seconds")},
        **({"provenance": dict(made)} if made else {}),
    }
    found, metadata = training.family.in_file(training.average)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}
    described = {"header": json.dumps(header), **metadata}
    described["digest"] = _digest(tensors, described)
    content = storage.in_order(save_tensors(tensors, metadata=described))
    with storage.atomic(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The SHA-256 of all that a file holds, but for its digest, in whatever order."""
    described = sorted((name, text) for name, text in metadata.items() if name != "digest")
    return hashlib.sha256(json.dumps([described, digest(tensors)]).encode()).hexdigest()


def read(path: Path) -> Trained:
    """The network in `path`, in evaluation mode on the CPU. WorkbenchError, in one line, where it cannot be used."""
    try:
        state = path.stat()
    except OSError as error:
        raise WorkbenchError(f"{path} cannot be read as a trained network: {error.strerror or error}") from error
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _read(path: Path, changed: int, size: int) -> Trained:
    try:
        content = path.read_bytes()
        tensors = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
        stopped = "state" in metadata and "draw" in tensors
        require(not stopped, f"{path} is the state of a training that was stopped: --resume takes it to its end")
        require("header" in metadata, f"{path} holds no trained network of the workbench: it has no header")
        intact = "digest" not in metadata or metadata["digest"] == _digest(tensors, metadata)
        require(intact, f"{path} is damaged: its weights or its header are not those that were written")
        header = json.loads(metadata["header"])
        family, made = header["family"], header["format"]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkbenchError(f"{path} cannot be read as a trained network: {reason}") from error
    require(made == FORMAT, f"{path} was written by another version ({made}, not {FORMAT}): train it again")
    require(family in BUILDERS, f"{path} holds a network of the family {family!r}; known are {', '.join(BUILDERS)}")
    try:
        network = importlib.import_module(BUILDERS[family]).build(header["architecture"])
        storage.check_weights(path, tensors)
        network.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WorkbenchError(f"{path} does not hold the architecture that its header names: train it again") from error
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return Trained(path.stem, path, family, header, hashlib.sha256(content).hexdigest(), network)


def out_path(name: str | Path) -> Path:
    """The file of the network called `name`, a path with its suffix or without."""
    path = Path(name)
    require(path.name not in ("", ".."), f"{str(name)!r} is no name of a network: give a file name")
    return path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)


def exists(name: str) -> bool:
    """Whether `find` has anything to say of `name`: a file, a network in the package, or a training that was stopped."""
    if Path(name).name in ("", ".."):
        return False
    path = out_path(name)
    return is_file(path) or (path.parent == Path() and is_file(SHIPPED / path.name)) or is_file(checkpoint_path(path))


def find(name: str) -> Path:
    """The file called `name`: a path, or a network in the package by its stem. UsageError where there is none."""
    path = out_path(name)
    if is_file(path):
        return path
    if is_file(shipped := SHIPPED / path.name) and path.parent == Path():
        return shipped
    begun = is_file(checkpoint_path(path))
    require(not begun, f"the training of {path} was stopped before its end: workbench train ... -o {name} --resume")
    known = ", ".join(names_in_package())
    raise UsageError(f"no trained network {name}: no such file, and none in the package ({known or 'there is none'})")


def ambiguity(name: str) -> str:
    """A warning where `find` takes a file and the package has another network of this name; empty elsewhere."""
    path = out_path(name)
    shipped = SHIPPED / path.name
    if path.suffix == Path(name).suffix or not (path.is_file() and shipped.is_file() and path.parent == Path()):
        return ""
    if provenance.sha256(path) == provenance.sha256(shipped):
        return ""
    return f"{name} is taken for the file {path}, not for the network of the package: write {path} if it is meant"


def names_in_package() -> list[str]:
    """The networks of the package, as `find` takes them."""
    return sorted(found.stem for found in SHIPPED.glob(f"*{SUFFIX}"))


def encoder_of(network: Trained, device: torch.device) -> Encoder:
    """The encoder that `network` was trained with. UsageError where the present one of that name has other weights."""
    missing = [key for key in ("encoder", "encoder_sha256") if key not in network.header]
    require(not missing, f"{network.path} is damaged: its header has no {' and no '.join(missing)}")
    name = network.header["encoder"]
    encoder = _encoder(name, device.type)
    same = encoder.weights_sha256 == network.header["encoder_sha256"]
    require(same, f"{network.path} was trained with other weights of the encoder {name}: train it again")
    return encoder


@lru_cache(maxsize=4)
def _encoder(name: str, device: str) -> Encoder:
    return encoders.load(name, device=device)


def train(
    training: Training,
    out: Path,
    *,
    resume: bool = False,
    keep_every: int | None = None,
    made: Mapping[str, Any] | None = None,
    report: Callable[[dict[str, float]], None] = lambda record: None,
) -> str:
    """Train to the end and write the network to `out`; returns its SHA-256.

    A checkpoint beside `out` is written every minute and on Ctrl-C, and `resume` goes on from it. Next to it, renewed at
    every report: OUT.json, the course of the training and its status, and OUT.png, samples of held-out pictures. `made`, the
    provenance, is in all of them. After every `keep_every` steps the network as it then is stays as OUT-step000500.safetensors.
    A loss that stops being finite ends the training; what was kept before it stays. See `check_free` for what is refused. Of
    several processes (see `Training`) the first alone writes.
    """
    with nullcontext() if training.process else _alone(out):
        _check_files(out, resume)
        if resume:
            training.resume(checkpoint_path(out))
        training.wait()  # until every process has looked, before the first writes
        if training.process:
            for _ in training:
                training.spend(0.0)
        else:
            if not resume:
                _clear(training, out)
            _Course(training, out, made or {}, report, kept=training.step if resume else None, keep_every=keep_every).run()
        training.wait()
    return hashlib.sha256(out.read_bytes()).hexdigest()


def check_free(out: Path, resume: bool) -> None:
    """UsageError where a training into `out` would write over another's files, or has none of its own to go on from."""
    with _alone(out) if _lock(out).exists() else nullcontext():  # a lock of its own would be written before all is checked
        _check_files(out, resume)


def _lock(out: Path) -> Path:
    return out.with_name(f".{out.stem}.lock")


def _alone(out: Path) -> AbstractContextManager:
    """A block in which this process alone may train into `out`; UsageError where another does."""
    return storage.alone(_lock(out), f"another process is training into {out}: use another name")


def _check_files(out: Path, resume: bool) -> None:
    checkpoint = checkpoint_path(out)
    begun = checkpoint.exists() or previous(checkpoint).exists()
    require(begun or not resume, f"--resume: there is no checkpoint {checkpoint}; leave --resume out to start afresh")
    if resume:
        return
    require(not begun, f"a training into {out} was stopped: go on with --resume, or delete {checkpoint}")
    for path in (out, *_beside(out), *steps_kept(out)):
        ours = path != out and _unfinished(out.with_suffix(".json"))
        require(ours or not path.exists(), f"{path} exists already: choose another name for -o, or delete it")


def _clear(training: Training, out: Path) -> None:
    """Remove what the same training left when it was stopped without a checkpoint: it begins anew.

    UsageError where networks of another training are left, which would be taken for this one's.
    """
    left = steps_kept(out)
    for path in left:
        same = recipe_of(_header(path)) == training.recipe
        require(same, f"{path} is of another training, which was stopped: delete it, or choose another name for -o")
    for path in (*left, *_beside(out)):
        path.unlink(missing_ok=True)


def _header(path: Path) -> Mapping[str, Any]:
    """What the file of a network says of itself; {} where that cannot be read."""
    try:
        found = json.loads(storage.read_checkpoint(path)[0].get("header", "{}"))
    except (WorkbenchError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def recipe_of(header: Mapping[str, Any]) -> str:
    """The `Training.recipe` of the network with this header, by its provenance; empty where there is none."""
    try:
        return str(header["provenance"]["inputs"]["training"]["sha256"])
    except (KeyError, TypeError):
        return ""


class _Course:
    """A training on its way, with what it leaves on disk."""

    def __init__(
        self,
        training: Training,
        out: Path,
        made: Mapping[str, Any],
        report: Callable[[dict[str, float]], None],
        kept: int | None,
        keep_every: int | None,
    ):
        """`kept`: the step at which the checkpoint on disk was written; None where there is none."""
        self.training = training
        self.out = out
        self.checkpoint = checkpoint_path(out)
        self.made = made
        self.report = report
        self.kept = kept
        self.keep_every = keep_every
        self.written = time.monotonic()

    def run(self) -> None:
        status = "interrupted"
        training = self.training
        try:
            with progress.stop_between_steps() as asked:
                training.after_step = lambda: self._after_step(bool(asked))
                for record in training:
                    began = time.perf_counter()
                    self._describe("running")
                    training.spend(time.perf_counter() - began)
                    self.report(record)
            save(training, self.out, self.made)
            status = "complete"
        except Diverged as error:
            status = f"failed: {error}"
            if training.step and not training.moved:
                self._keep()
            where = f"the weights of step {self.kept} are in {self.checkpoint}" if self.kept is not None else "nothing was kept"
            raise Diverged(f"{error}; {where}") from error
        except (KeyboardInterrupt, progress.Stopped) as stop:
            if training.whole and training.step:
                self._keep()
            goes_on = f"--resume goes on from step {self.kept}" if self.kept is not None else "nothing was kept"
            raise type(stop)(f"interrupted at step {training.step}; {goes_on}") from stop
        except BaseException as error:
            status = f"failed: {error}"
            if training.whole and training.step:
                with suppress(WorkbenchError):  # where the disk is full, say, that of a minute ago is still there
                    self._keep()
            raise
        finally:
            training.after_step = lambda: None
            self._describe(status)
        for path in (self.checkpoint, previous(self.checkpoint)):
            path.unlink(missing_ok=True)

    def _after_step(self, asked: bool) -> None:
        if self.keep_every and self.training.step % self.keep_every == 0:
            save(self.training, step_path(self.out, self.training.step), self.made)
        if asked:
            raise KeyboardInterrupt
        if time.monotonic() - self.written >= CHECKPOINT_EVERY:
            try:
                self._keep()
            except WorkbenchError as error:  # the one before is still there, and the disk may have room in a minute
                print(f"warning: {error}; the training goes on", file=sys.stderr, flush=True)
                self.written = time.monotonic()

    def _keep(self) -> None:
        self.training.checkpoint(self.checkpoint)
        self.kept, self.written = self.training.step, time.monotonic()

    def _describe(self, status: str) -> None:
        training = self.training
        record = {
            "status": status,
            "family": training.family.name,
            "plan": asdict(training.plan),
            "step": training.step,
            "seconds": round(training.seconds, 1),
            "cpu_seconds": round(training.cpu_seconds, 1),
            "header": training.family.header(),
            "history": [
                {name: value if math.isfinite(value) else None for name, value in row.items()} for row in training.history
            ],
            **({"provenance": self.made} if self.made else {}),
        }
        with training.averaged(), torch.no_grad():
            sheet = training.family.samples(training.family.painter)
        described, shown = _beside(self.out)
        storage.write_text(described, json.dumps(record, indent=1, allow_nan=False) + "\n")
        if sheet is not None:
            rows = torch.cat([torch.cat(list(row), dim=-1) for row in sheet], dim=-2)
            metadata = {PNG_KEY: provenance.text({**self.made, "steps": training.step})} if self.made else {}
            images.save(rows[None].cpu(), shown, metadata=metadata)


def step_path(out: Path, step: int) -> Path:
    """Where the network as it was after `step` steps of a training into `out` stays."""
    return out.with_name(f"{out.stem}-step{step:06}{SUFFIX}")


def steps_kept(out: Path) -> list[Path]:
    """The networks that trainings into `out` kept on their way, see `step_path`."""
    found = sorted(out.parent.glob(f"{glob.escape(out.stem)}-step*{SUFFIX}"))
    return [path for path in found if path.stem.removeprefix(f"{out.stem}-step").isdecimal()]


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoint of a training into `out` lies."""
    return out.with_name(f"{out.stem}.checkpoint{SUFFIX}")


def written(out: Path) -> tuple[Path, ...]:
    """All files that a training into `out` writes."""
    return (out, *_beside(out), checkpoint_path(out), previous(checkpoint_path(out)))


def _beside(out: Path) -> tuple[Path, Path]:
    """The record of the training, and its samples."""
    return out.with_suffix(".json"), out.with_suffix(".png")


def _unfinished(record: Path) -> bool:
    """Whether `record` describes a training that came to no end."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        return "plan" in found and found["status"] != "complete"
    except (OSError, ValueError, TypeError, KeyError):
        return False
