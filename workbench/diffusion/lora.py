"""LoRA: W + (alpha / r) B A beside frozen weights (Hu et al. 2022), or with their norms learnt, too (DoRA, Liu et al. 2024).

Files of others go in as they are: those of diffusers, of sd-scripts ("kohya", whose alphas are tensors) and of ai-toolkit. Ours
have the layout of diffusers, alpha in the metadata that diffusers reads, and a header as every network of the workbench.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench import storage
from workbench.diffusion.base import Base, first_line, library, quiet, shapes
from workbench.errors import WorkbenchError, require
from workbench.paths import is_dir, is_file

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of the UNet that get a LoRA."""
TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Those of a text encoder."""
WEIGHTS = "pytorch_lora_weights.safetensors"
"""The file in a folder that diffusers' scripts write."""
UNREAD = (".lokr_", ".hada_", ".dora_scale")
"""Parts of names of tensors that are not LoRA: LoKr, LoHa; and DoRA of sd-scripts, whose norms diffusers would pass over."""
METADATA = "lora_adapter_metadata"
"""Where diffusers looks for alpha. Without it, it takes alpha for the rank, and says nothing."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """rank r; alpha; dora: whether the UNet's norms are learnt, too; text_encoder: whether text encoders get a LoRA as well."""

    rank: int = 8
    alpha: float = 8.0
    dora: bool = False
    text_encoder: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.rank <= 1024, f"rank = {self.rank}: choose between 1 and 1024")
        require(0 < self.alpha <= 4096, f"alpha = {self.alpha}: choose above 0, up to 4096")


class Adapter(nn.Module):
    """The matrices of a LoRA alone: its state is what is learnt, checkpointed and averaged. They are float32, and those of the
    networks, so that these change with them. Names are those of the file, with / for the dots, which torch does not allow."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], configuration: Mapping[str, object]):
        """`configuration`: the metadata that `METADATA` is to hold."""
        super().__init__()
        self.configuration = configuration
        for name, parameter in parameters.items():
            self.register_parameter(name.replace(".", "/"), parameter)


class Stored(nn.Module):
    """A LoRA that was read from a file and is part of no network; its state is that of an `Adapter`."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[str, Tensor] = {}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        self.tensors = dict(state_dict)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {name.replace(".", "/"): value for name, value in self.tensors.items()}


def build(architecture: Mapping[str, object]) -> Stored:
    """A LoRA without tensors; `architecture`: the fields of its `Shape`. See `trained.BUILDERS`."""
    Shape(**architecture)  # type: ignore[arg-type]  # which says what is wrong
    return Stored()


def learning(base: Base, shape: Shape, seed: int = 0) -> Adapter:
    """Attach an untrained LoRA to `base`: B is zero, so that it changes nothing yet. Its matrices are float32 and learn."""
    peft = library("peft")
    torch.manual_seed(seed)
    parameters: dict[str, nn.Parameter] = {}
    configuration: dict[str, object] = {}
    parts = {"unet": base.pipe.unet} | (base.text_encoders if shape.text_encoder else {})
    for part, network in parts.items():
        config = peft.LoraConfig(
            r=shape.rank,
            lora_alpha=shape.alpha,
            use_dora=shape.dora and part == "unet",  # transformers does not read norms back
            init_lora_weights="gaussian",
            target_modules=list(ATTENTION if part == "unet" else TEXT_ATTENTION),
        )
        if part == "unet":
            network.add_adapter(config)
        else:  # not by add_adapter, for which transformers wants a peft that is not published
            peft.inject_adapter_in_model(config, network)
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
                parameters[_in_file(part, name)] = parameter
        values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
        configuration |= {f"{part}.{key}": value for key, value in values.items() if _plain(value)}
    return Adapter(parameters, configuration)


def _in_file(part: str, name: str) -> str:
    """The name that files give a parameter of the adapter "default". Text encoders had a part "text_model", which older tools
    look for."""
    layer = name.replace(".lora_magnitude_vector.default.weight", ".lora_magnitude_vector").replace(".default.", ".")
    return f"{part}.{layer}" if part == "unet" or layer.startswith("text_model.") else f"{part}.text_model.{layer}"


def _plain(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def in_file(adapter: Adapter, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of the file of `adapter` with the weights `state`, such as their average."""
    tensors = {name.replace("/", "."): value.float() for name, value in state.items()}
    return tensors, {METADATA: json.dumps(adapter.configuration, sort_keys=True)}


def find(path: str | Path) -> Path:
    """The file of the LoRA `path`, a file or a folder as diffusers' scripts write it. UsageError where there is none."""
    path = Path(path)
    found = path / WEIGHTS if is_dir(path) else path
    require(is_file(found), f"LoRA {path}: no such file" if not is_dir(path) else f"LoRA {path}: the folder has no {WEIGHTS}")
    safe = found.suffix == ".safetensors"
    require(safe, f"LoRA {found}: give a .safetensors file; what is pickled may run any code when it is read")
    return found


def header(path: str | Path) -> dict[str, Any]:
    """What the file of a LoRA says of itself, as `DreamBooth.header` wrote it; {} for those of others."""
    safetensors = library("safetensors")
    storage.opened(find(path))
    try:
        with safetensors.safe_open(str(find(path)), framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("header", "{}"))
            return found if isinstance(found, dict) else {}
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise WorkbenchError(f"LoRA {path} cannot be read: {first_line(error)}; fetch it again") from error


@contextlib.contextmanager
def attached(base: Base, loras: Sequence[tuple[str | Path, float]]) -> Iterator[None]:
    """Within the block `base` has the LoRA of these files, each with its weight; afterwards none.

    Raises WorkbenchError, in one line, for a file that cannot be read or does not fit; `base` is then as before.
    """
    try:
        names = [_attach(base, find(path), f"lora{k}") for k, (path, _) in enumerate(loras)]
        if names:
            with quiet():
                base.pipe.set_adapters(names, [weight for _, weight in loras])
            for network in _networks(base):
                network.requires_grad_(False)
        yield
    finally:
        with quiet():
            base.pipe.unload_lora_weights()


def _attach(base: Base, path: Path, name: str) -> str:
    held = _tensors(path)
    wanted = sum(_is_down(key) for key in held)
    other = next((key for key in held if any(part in key for part in UNREAD)), None)
    norms = next((key for key in held if key.startswith("text_encoder") and "magnitude" in key), None)
    unread = other or norms
    require(unread is None, f"LoRA {path} holds {unread}: only LoRA is read, and DoRA of the UNet as diffusers writes it")
    require(wanted > 0, f"{path} holds no LoRA: none of its tensors is one of its matrices")
    # Not by its content alone: alpha is in the file's metadata, and a dictionary of tensors has none.
    try:
        with quiet():
            base.pipe.load_lora_weights(str(path), adapter_name=name, local_files_only=True, use_safetensors=True)
    except Exception as error:  # torch, peft and diffusers have no common type for what does not fit
        raise WorkbenchError(f"LoRA {path} does not fit the base {base.name} ({base.title}): {_misfit(error)}") from error
    found = 0
    for network in _networks(base):
        for key, parameter in network.named_parameters():
            if f".{name}" in key:
                parameter.data = parameter.data.float()
                found += f".lora_A.{name}." in key
    missing = f"it has {wanted} layers, of which the base has {found}"
    require(found == wanted, f"LoRA {path} does not fit the base {base.name} ({base.title}): {missing}")
    return name


def _networks(base: Base) -> list[nn.Module]:
    return [base.pipe.unet, *base.text_encoders.values()]


def _tensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors in `path`."""
    safetensors = library("safetensors")
    try:
        return shapes(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WorkbenchError(f"LoRA {path} cannot be read: {first_line(error)}; fetch it again") from error


def _is_down(key: str) -> bool:
    """Whether `key` names a matrix A, in any of the layouts."""
    return any(part in key for part in (".lora_A.", ".lora_down.", ".lora.down.", ".lora_linear_layer.down."))


def _misfit(error: Exception) -> str:
    """The first of the layers that do not fit, of the many lines that torch gives."""
    lines = [line.strip() for line in str(error).splitlines() if "size mismatch" in line] or [first_line(error)]
    return lines[0].split(" from checkpoint")[0].rstrip(":.") if len(lines[0]) <= 300 else lines[0][:300] + "…"
