"""The families by name: each made from works, photographs and options in plain values."""

import dataclasses
import difflib
import importlib.util
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench import encoders, provenance
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.generative import artist, data, imitation, scenes
from workbench.generative.training import Family, Training

SCENES = 240
"""Procedural scenes that stand for photographs where none are given."""
TOKEN = "sks"
"""The artist's word where none is given: a rare one, as in DreamBooth."""
DRIVERS = tuple(name for name in encoders.PAINTING if ":" not in name)
"""Encoders that may drive a training: those that every machine finds by their name alone."""


@dataclass(frozen=True)
class Maker:
    """How a family is made. says: what it is, for the help; maker: a class or a function, "module:name".

    It is given what it asks for by the names of its parameters: works, photographs (to learn from), held_out (to measure on),
    pairs, corpora (their names), encoder, options (whose default is the dataclass of them), seed, show; and base (the name of a
    model to begin from), token (the artist's word), download (whether the network may be used).
    """

    says: str
    maker: str

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Name -> parameter."""
        return inspect.signature(self.found).parameters

    @property
    def found(self) -> Callable[..., Family]:
        """The maker itself."""
        module, _, name = self.maker.partition(":")
        return getattr(importlib.import_module(module), name)


FAMILIES: Mapping[str, Maker] = {
    "artist": Maker("one network for an artist, any weights over his works", "workbench.generative.artist:Artist"),
    "decoder": Maker("decoders of features, for any target", "workbench.generative.feature_space:Inversion"),
    "cyclegan": Maker("two networks, there and back, without pairs", "workbench.generative.translation:CycleGAN"),
    "one-sided": Maker("one network without pairs, style-aware", "workbench.generative.translation:OneSided"),
    "pix2pix": Maker(
        "from pairs: scenes as a sample painter paints them, or copies of paintings",
        "workbench.generative.pix2pix:learning_from",
    ),
    "vae": Maker("latent codes of the patches of works", "workbench.generative.vae:learning_from"),
    "dreambooth": Maker("a LoRA on Stable Diffusion, for an artist's word", "workbench.diffusion.dreambooth:learning_from"),
}
"""Families that can be trained."""


def family(
    name: str,
    works: Sequence[Work],
    photographs: Iterable[Work] | None = None,
    *,
    encoder: Encoder | str = "embedded",
    options: Mapping[str, object] | Sequence[str] = (),
    pairs_in: Path | None = None,
    imitate: int = 0,
    corpora: Sequence[str] = (),
    base: str = "",
    token: str = "",
    download: bool = False,
    seed: int = 0,
    show: bool = False,
) -> Family:
    """The family called `name`, untrained, to learn from `works` and `photographs`; see `training.Training`.

    `photographs`: about a tenth is held out; None stands for those of the samples and procedural scenes. `encoder`: what
    drives the training. `options`: fields of the family's options, or texts NAME=VALUE. `pairs_in`: a folder that
    `imitation.make` filled, for a family that learns from pairs; up to `imitate` pairs are made there first. `base`, `token`,
    `download`: see `dreambooth.learning_from`. `show`: progress, on stderr. UsageError for what is unknown, and for too few
    pictures.
    """
    maker = FAMILIES[known(name)]
    wants = maker.parameters
    offered = {"photographs": photographs, "pairs": pairs_in, "base": base or None, "token": token or None}
    for parameter, given in offered.items():
        require(given is None or parameter in wants, f"the family {name} takes no {parameter}")
    require(bool(base) or "base" not in wants, f"the family {name} needs a base model: a folder, or a name on the hub")
    chosen = options if isinstance(options, Mapping) else parsed(name, options)
    driver = encoders.load(encoder) if isinstance(encoder, str) else encoder
    require(driver.name in DRIVERS, f"encoder {driver.name} drives no training: choose {', '.join(DRIVERS)}")
    available: dict[str, Any] = {"works": works, "corpora": tuple(corpora), "encoder": driver, "seed": seed, "show": show}
    available |= {"base": base, "token": token or TOKEN, "download": download}
    available["options"] = _options_of(name)(**chosen)
    if "photographs" in wants or "held_out" in wants:
        learnt, held_out = data.split_photographs(_photographs(show) if photographs is None else photographs)
        available |= {"photographs": learnt, "held_out": held_out}
        if pairs_in is not None and imitate:
            available["pairs"] = imitation.make(artist.learnt_from(works), learnt, pairs_in, imitate, driver, show=show)
        elif pairs_in is not None:
            available["pairs"] = imitation.read(pairs_in, learnt, artist.learnt_from(works), driver)
            require(bool(available["pairs"]), f"{pairs_in} holds no pair of these works and photographs")
    return maker.found(**{parameter: value for parameter, value in available.items() if parameter in wants})


def _photographs(show: bool) -> Sequence[Work]:
    """What stands for photographs where none are given."""
    return tuple(scenes.photographs(SCENES, show=show))


def _options_of(name: str) -> Any:
    """The dataclass of the options of the family called `name`."""
    return type(FAMILIES[name].parameters["options"].default)


def known(name: str) -> str:
    """`name`, if a family is called so. UsageError, with the nearest name, otherwise."""
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    require(name in FAMILIES, f"family {name!r}: " + (f"did you mean {near[0]}?" if near else f"choose {', '.join(FAMILIES)}"))
    return name


def parsed(name: str, assignments: Iterable[str]) -> dict[str, Any]:
    """Options of the family `name` from texts NAME=VALUE; several numbers are written 16,32,56. UsageError for bad ones."""
    return assigned(_options_of(known(name)), f"the family {name}", assignments)


def assigned(kind: Any, whose: str, assignments: Iterable[str]) -> dict[str, Any]:
    """Fields of the dataclass `kind` from texts NAME=VALUE. UsageError for bad ones; `whose`: what has these options."""
    types, names = typing.get_type_hints(kind), [field.name for field in dataclasses.fields(kind)]
    found: dict[str, Any] = {}
    for text in assignments:
        option, equals, value = text.partition("=")
        require(bool(equals), f"option {text!r}: write NAME=VALUE")
        near = difflib.get_close_matches(option, names, n=1)
        instead = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
        require(option in names, f"{whose} has no option {option!r}: {instead}")
        require(option not in found, f"option {option} is given twice")
        several = typing.get_origin(types[option]) is tuple
        try:
            found[option] = TypeAdapter(types[option]).validate_python(value.split(",") if several else value)
        except ValidationError as error:
            raise UsageError(f"option {option} = {value!r}: {error.errors()[0]['msg']}") from error
    kind(**found)  # says what does not go together
    return found


def made(training: Training, encoder: Encoder, works: Sequence[Work], parameters: Mapping[str, object]) -> dict[str, Any]:
    """The provenance of a training, for `trained.train`: what it learns from, and what drives it."""
    inputs = {"works": data.identity_of(works), "training": training.recipe}
    described = {"family": training.family.name, "encoder": encoder.identity, "device": encoder.device.type, **parameters}
    weights = {str(provenance.shared(encoder.name)): encoder.weights_sha256}
    return {"command": "train", **provenance.provenance(described, training.plan.seed, inputs, weights)}
