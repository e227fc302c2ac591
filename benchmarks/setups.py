"""What `truth.py` and `trial.py` share: setups, each a way to paint a picture, read from a JSON file.

A setup is {"name": "blend", "target": "blend", "encoder": "vgg19", "settings": {"alpha": 0.1}}; there may be "retriever" (an
encoder, for what pictures show), "tau", "single" (corpus -> painting, for the target single; sample painters have one),
"layers" (whose Gram matrices are matched) and "weights" (of layers in the hypercolumns that neighbours are matched by).
`settings` are fields of `workbench.transfer.Settings`.
"""

import copy
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest import mock

from torch import Tensor

from workbench import encoders, inputs, methods, targets
from workbench.corpora import Corpus
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.methods.kept import cached_picture
from workbench.transfer import Settings, hypercolumns

loaded = cache(encoders.load)


@dataclass(frozen=True)
class Setup:
    """A name, the words of a target, the encoder that drives, and settings as a dictionary; see the module."""

    name: str
    target: str = "blend"
    encoder: str = "embedded"
    settings: dict = field(default_factory=dict, hash=False)
    retriever: str = ""
    tau: float = targets.TAU
    single: dict = field(default_factory=dict, hash=False)
    layers: tuple[str, ...] = ()
    weights: dict = field(default_factory=dict, hash=False)

    def driver(self) -> Encoder:
        """The encoder that drives, with `layers` as its style layers if there are any."""
        encoder = loaded(self.encoder)
        if self.layers:
            encoder = copy.copy(encoder)
            encoder.style_layers = tuple(self.layers)
        return encoder

    def made_with(self, common: dict) -> Settings:
        """The `common` settings, with those of the setup in their place. UsageError for a field that does not exist."""
        try:
            return methods.parse(self.target, Settings(**{**common, **self.settings}))[2]
        except TypeError as error:
            raise UsageError(f"setup {self.name!r}: {error}") from error


def read(path: Path) -> list[Setup]:
    """The setups in a JSON file, a list. UsageError where one is not as it should be."""
    return parsed(json.loads(path.read_text(encoding="utf-8")))


def parsed(entries: Iterable[dict]) -> list[Setup]:
    try:
        setups = [Setup(**entry) for entry in entries]
    except TypeError as error:
        raise UsageError(f"a setup is not as it should be: {error}") from error
    names = [setup.name for setup in setups]
    require(bool(names) and len(set(names)) == len(names), f"setups need names that differ: {', '.join(names) or 'none given'}")
    require(all(name and name == Path(name).name for name in names), "the name of a setup is a plain file name")
    for setup in setups:
        methods.parse(setup.target, Settings())
    return setups


class Selections:
    """The selections of one content among one corpus, one for each pair of encoders, kept for the setups that share it."""

    def __init__(self, corpus: Corpus, content: Tensor):
        self.corpus = corpus
        self.content = content
        self._known: dict[tuple[str, str], targets.Selection] = {}

    def target(self, setup: Setup) -> targets.StyleTarget:
        """The works that `setup` chooses."""
        key = setup.encoder, setup.retriever
        if key not in self._known:
            retriever = loaded(setup.retriever) if setup.retriever else None
            self._known[key] = targets.Selection(self.corpus, self.content, loaded(setup.encoder), retriever=retriever)
        name, combine, _ = methods.parse(setup.target, Settings())
        style = setup.single.get(self.corpus.name, "")
        if name == "single" and not style:
            style = inputs.striking_work(self.corpus.name)
        return self._known[key].target(name, style=style, tau=setup.tau).combined(combine)


def paint(setup: Setup, chosen: Selections, common: dict, folder: Path, name: str) -> tuple[Tensor, targets.StyleTarget]:
    """(the picture, (1, 3, H, W) in [0, 1], its target); the picture is kept in `folder` and not painted again."""
    target = chosen.target(setup)
    weighted = mock.patch.dict(hypercolumns.WEIGHTS, setup.weights, clear=True) if setup.weights else nullcontext()
    settings = setup.made_with(common)
    with weighted:
        run = methods.get(settings.method).begin(chosen.content, target, setup.driver(), settings)
        picture = cached_picture(run, folder / setup.name, name)
    return picture, target
