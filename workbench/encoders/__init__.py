"""Visual encoders under one protocol, by name: `ENCODERS`."""

import difflib
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal, get_args

import torch

from workbench.encoders.base import Encoder
from workbench.encoders.clip import load_clip
from workbench.encoders.convolutional import CONTENT_LAYERS, STYLE_LAYERS, ConvolutionalEncoder, Pooling
from workbench.encoders.embedded import load_distilled, load_embedded
from workbench.encoders.gabor import load_gabor
from workbench.encoders.lite0 import load_lite0
from workbench.encoders.random import load_random
from workbench.encoders.vae import load_vae
from workbench.encoders.vgg import load_vgg19
from workbench.errors import UsageError
from workbench.paths import written

__all__ = [
    "CONTENT_LAYERS",
    "ENCODERS",
    "PAINTING",
    "RETRIEVER",
    "STYLE_LAYERS",
    "ConvolutionalEncoder",
    "Encoder",
    "choose_device",
    "draft_encoder",
    "has_bfloat16",
    "known",
    "load",
    "retriever",
]

Precision = Literal["auto", "float32", "bfloat16"]
PAINTING = ("embedded", "vgg19", "random", "embedded:FILE")
"""Encoders that a picture can be painted with."""
ENCODERS = (*PAINTING, "lite0", "gabor", "clip:MODEL/PRETRAINED", "vae:FILE")
"""All encoders, see `load`. Each of them can compare pictures: as retriever, and for searches and clusters."""
RETRIEVER = "lite0"
"""The default encoder for retrieval, which compares pictures by what they show."""


def choose_device(device: str = "auto") -> torch.device:
    """The torch device for `device`; "auto" is cuda, then mps, then cpu. UsageError if it does not exist here."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        if torch.device(device).type not in ("cuda", "mps", "cpu"):
            raise UsageError(f"device {device}: use auto, cuda, mps or cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device} is not available here: use auto, or cpu") from error
    return torch.device(device)


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities() if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def load(
    name: str = "embedded", *, device: str = "auto", precision: Precision = "auto", pooling: Pooling | None = None
) -> Encoder:
    """The encoder called `name`, frozen, on `device`.

    Args:
        name: "embedded" (distilled from VGG-19, in the package), "vgg19" (the reference), "random" (never trained, an
            untrained baseline), "embedded:FILE" (your own, from `workbench distil`), one for retrieval and clusters: "vae:FILE"
            (your own, from `workbench train vae`), or one that can only compare: "lite0" (EfficientNet-Lite0, in the
            package), "gabor" (fixed filters and colours) or "clip:MODEL/PRETRAINED". See `ENCODERS`.
        device: "auto", or a torch device.
        precision: of the convolutions; "auto" is bfloat16 where the processor has it, which is about twice as fast, and
            float32 elsewhere. lite0, gabor, VAEs and CLIP ignore it. On NVIDIA's GPUs torch computes convolutions in float32
            by TF32 unless torch.backends.cudnn.allow_tf32 is false.
        pooling: "max" or "average", which Gatys et al. (2016) prefer for synthesis; None is what suits the network: max
            for vgg19, as it was trained and as retrieval needs it, average for the others. lite0, gabor, VAEs and CLIP
            ignore it.

    Raises:
        UsageError: unknown name, precision, pooling or device.
        WorkbenchError: weights are missing or damaged; the message names the ways to get them. No encoder ever stands in
            for another.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"precision {precision!r}: choose {', '.join(get_args(Precision))}")
    if pooling not in (None, "max", "average"):
        raise UsageError(f"pooling {pooling!r}: choose max or average")
    where = choose_device(device)
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(where) else "float32"
    known(name)
    if name.startswith("clip:"):
        return load_clip(name, device=where)
    if name == "lite0":
        return load_lite0(device=where)
    if name == "gabor":
        return load_gabor(device=where)
    if name.startswith("vae:"):
        return load_vae(name, written(name.removeprefix("vae:")), device=where)
    loaders: dict[str, tuple[Callable[..., Encoder], Pooling]]
    loaders = {"embedded": (load_embedded, "average"), "vgg19": (load_vgg19, "max"), "random": (load_random, "average")}
    if name.startswith("embedded:"):
        loaders[name] = (partial(load_distilled, name, written(name.removeprefix("embedded:"))), "average")
    loader, suited = loaders[name]
    return loader(pooling=pooling or suited, dtype=getattr(torch, precision), device=where)


def known(name: str, *, paints: bool = False) -> str:
    """`name`, if `load` takes a name of that form; `paints`: and if a picture can be painted with such an encoder.

    UsageError otherwise, with the nearest name. Whether there are weights turns out when they are loaded.
    """
    forms = PAINTING if paints else ENCODERS
    if _is_one_of(name, forms):
        return name
    if _is_one_of(name, ENCODERS):
        raise UsageError(f"encoder {name!r} only compares pictures, as a retriever: to paint with, choose {_listed(PAINTING)}")
    near = difflib.get_close_matches(name, forms, n=1)
    raise UsageError(f"unknown encoder {name!r}: " + (f"did you mean {near[0]}?" if near else f"choose {_listed(forms)}"))


def _is_one_of(name: str, forms: Sequence[str]) -> bool:
    """Whether `name` has one of the `forms`, where what follows a colon stands for anything."""
    return any(name.startswith(f"{form.partition(':')[0]}:") if ":" in form else name == form for form in forms)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def retriever(device: torch.device) -> Encoder:
    """The default encoder for retrieval on `device`, loaded once."""
    return _retriever(str(device))


@cache
def _retriever(device: str) -> Encoder:
    return load(RETRIEVER, device=device)


def draft_encoder(encoder: Encoder) -> Encoder | None:
    """A cheaper network whose features resemble those of `encoder`, on its device and in its precision; None if there is none.

    All callers share one, which computes activations twice if `encoder` does.
    """
    if encoder.name != "vgg19":
        return None
    found = _draft_encoder(str(encoder.device), encoder.precision)
    found.recompute = encoder.recompute
    return found


@cache
def _draft_encoder(device: str, precision: Precision) -> Encoder:
    return load("embedded", device=device, precision=precision)
