"""The families by name: what each is made of, from works, photographs and options in plain values."""

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench import encoders, provenance
from workbench.corpora import Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.generative import data, scenes, trained
from workbench.generative.training import Family, Training

SCENES = 240
"""Procedural scenes that stand for photographs where none are given."""
DRIVERS = ("embedded", "vgg19", "random")
"""Encoders that may drive a training: those that every machine finds by their name alone."""


@dataclass(frozen=True)
class Maker:
    """How a family is made. says: what it is, for the help; maker: its class, "module:name"; photographs: whether it takes any.

    The class is called as maker(works, photographs, held_out, encoder, options, seed=..., show=...), the two of photographs only
    where it takes any, and beside it in its module stands the dataclass `options`.
    """

    says: str
    maker: str
    options: str = "Options"
    photographs: bool = True

    def found(self) -> tuple[Any, Any]:
        """(the class of the family, that of its options)."""
        module, _, name = self.maker.partition(":")
        home = importlib.import_module(module)
        return getattr(home, name), getattr(home, self.options)


FAMILIES: Mapping[str, Maker] = {
    "artist": Maker("one network for an artist, any weights over his works", "workbench.generative.artist:Artist"),
}
"""Families that can be trained."""


def family(
    name: str,
    works: Sequence[Work],
    photographs: Iterable[Work] | None = None,
    *,
    encoder: Encoder | str = "embedded",
    options: Mapping[str, object] | Sequence[str] = (),
    seed: int = 0,
    show: bool = False,
) -> Family:
    """The family called `name`, untrained, to learn from `works` and `photographs`; see `training.Training`.

    `photographs`: about a tenth is held out; None stands for those of the samples and procedural scenes. `encoder`: what
    drives the training. `options`: fields of the family's options, or texts NAME=VALUE. `show`: progress, on stderr.
    UsageError for what does not exist, and for too few pictures.
    """
    maker = FAMILIES[known(name)]
    make, kind = maker.found()
    chosen = kind(**(options if isinstance(options, Mapping) else parsed(name, options)))
    require(photographs is None or maker.photographs, f"the family {name} takes no photographs")
    driver = encoders.load(encoder) if isinstance(encoder, str) else encoder
    require(driver.name in DRIVERS, f"encoder {driver.name} drives no training: choose {', '.join(DRIVERS)}")
    given: list[Any] = [works]
    if maker.photographs:
        given += data.split_photographs(scenes.photographs(SCENES, show=show) if photographs is None else photographs)
    return make(*given, driver, chosen, seed=seed, show=show)


def known(name: str) -> str:
    """`name`, if a family is called so. UsageError, with the nearest name, otherwise."""
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    require(name in FAMILIES, f"family {name!r}: " + (f"did you mean {near[0]}?" if near else f"choose {', '.join(FAMILIES)}"))
    return name


def parsed(name: str, assignments: Iterable[str]) -> dict[str, Any]:
    """Options of the family `name` from texts NAME=VALUE; several numbers are written 16,32,56. UsageError for bad ones."""
    _, kind = FAMILIES[known(name)].found()
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    found: dict[str, Any] = {}
    for text in assignments:
        option, equals, value = text.partition("=")
        require(bool(equals), f"option {text!r}: write NAME=VALUE")
        require(option in defaults, f"the family {name} has no option {option!r}: it has {', '.join(defaults)}")
        try:
            found[option] = _like(defaults[option], value)
        except ValueError as error:
            raise UsageError(f"option {option}: {value!r} is not of the kind of its default, {defaults[option]!r}") from error
    return found


def _like(default: Any, text: str) -> Any:
    """The value that `text` writes, of the type of `default`."""
    if isinstance(default, tuple):
        return tuple(_like(default[0], part) for part in text.split(","))
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    return type(default)(text)


def made(training: Training, encoder: Encoder, works: Sequence[Work], parameters: Mapping[str, object]) -> dict[str, Any]:
    """The provenance of a training, for `trained.train`: what it learns from, and what drives it."""
    inputs = {"works": data.identity_of(works), "training": training.recipe}
    described = {"family": training.family.name, "encoder": encoder.identity, "device": encoder.device.type, **parameters}
    weights = {provenance.shared(encoder.name): encoder.weights_sha256}
    return {"command": "train", **provenance.provenance(described, training.plan.seed, inputs, weights)}


__all__ = ["FAMILIES", "Maker", "family", "known", "made", "parsed", "trained"]
