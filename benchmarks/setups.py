"""What the programs that compare share: setups, each a way to paint a picture, read from a JSON file.

A setup is {"name": "blend", "target": "blend", "encoder": "vgg19", "settings": {"alpha": 0.1}}; there may be "retriever" (an
encoder, for what pictures show), "tau", "single" (corpus -> painting, for the target single; sample painters have one),
"layers" (whose Gram matrices are matched) and "weights" (of layers in the hypercolumns that neighbours are matched by).
`settings` are fields of `workbench.transfer.Settings`. A trained network is their "method", a file; {painter} in its name
stands for the name of the corpus. "regions": true tells a pix2pix network what is where, "title" is a name for figures, and
"minutes" are those of a training that left no record beside its network. "vary": {"alpha": [0.01, 0.05]} makes a setup of each
value, of one curve.
"""

import copy
import hashlib
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest import mock

from torch import Tensor

from workbench import encoders, inputs, methods, statistics, targets
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.generative import pix2pix, trained
from workbench.generative.trained import Trained
from workbench.methods import OneShot
from workbench.methods.kept import cached_picture
from workbench.methods.trained import KINDS, TrainedMethod
from workbench.metrics.leak import sources_of
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
    regions: bool = False
    title: str = ""
    minutes: float | None = None
    curve: str = ""

    def driver(self) -> Encoder:
        """The encoder that drives, with `layers` as its style layers if there are any."""
        encoder = loaded(self.encoder)
        if self.layers:
            encoder = copy.copy(encoder)
            encoder.style_layers = tuple(self.layers)
        return encoder

    def made_with(self, common: dict, painter: str = "") -> Settings:
        """The `common` settings, with those of the setup in their place; {painter} is `painter`, the name of a corpus.

        UsageError for a field that does not exist, a network that is not there, and a target that it does not take.
        """
        settings = {**common, **self.settings}
        if "method" in settings:
            settings["method"] = settings["method"].replace("{painter}", painter)
        try:
            target, combine, made = methods.parse(self.target, Settings(**settings))
            method = methods.get(made.method)
            method.check(target, combine, made)
        except (TypeError, UsageError) as error:
            raise UsageError(f"setup {self.name!r}: {error}") from error
        told = isinstance(method, TrainedMethod) and method.family == "pix2pix"
        require(told or not self.regions, f"setup {self.name!r}: only a pix2pix network can be told the regions")
        return made


def read(path: Path) -> list[Setup]:
    """The setups in a JSON file, a list. UsageError where one is not as it should be."""
    return parsed(json.loads(path.read_text(encoding="utf-8")))


def parsed(entries: Iterable[dict]) -> list[Setup]:
    try:
        setups = [Setup(**one) for entry in entries for one in varied(entry)]
    except (TypeError, ValueError) as error:
        raise UsageError(f"a setup is not as it should be: {error}") from error
    names = [setup.name for setup in setups]
    require(bool(names) and len(set(names)) == len(names), f"setups need names that differ: {', '.join(names) or 'none given'}")
    require(all(name and name == Path(name).name for name in names), "the name of a setup is a plain file name")
    for setup in setups:
        methods.parse(setup.target, Settings())
    return setups


def varied(entry: dict) -> list[dict]:
    """The entry itself, or one for each value that it varies, named after the value (a network after its place in the list)."""
    if "vary" not in entry:
        return [{"curve": entry["name"], **entry}] if "name" in entry else [entry]
    entry = dict(entry)
    ((what, values),) = entry.pop("vary").items()
    name, settings = entry.pop("name"), entry.pop("settings", {})
    each = [(f"{name}-{k if isinstance(value, str) else value}", value) for k, value in enumerate(values, 1)]
    return [{**entry, "name": one, "curve": name, "settings": {**settings, what: value}} for one, value in each]


class Selections:
    """The selections of one content among one corpus, one for each pair of encoders, kept for the setups that share it."""

    def __init__(self, corpus: Corpus, content: Tensor, regions: Tensor | None = None):
        """`regions` (1, len(REGIONS), H, W) in [0, 1]: what is where in the content, where that is known."""
        self.corpus = corpus
        self.content = content
        self.regions = regions
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


def network(setup: Setup, painter: str) -> Path | None:
    """The file of the trained network that paints by `setup` after the corpus `painter`; None for other methods."""
    method = methods.get(setup.made_with({}, painter).method)
    return method.path if isinstance(method, TrainedMethod) else None


def sources(setup: Setup, target: targets.StyleTarget, corpus: Corpus) -> tuple[Work, ...]:
    """The works of `corpus` that a picture may owe something to: those of its target, and all that a network learnt from.

    A network that paints the same after any target owes nothing to the works of one.
    """
    method = methods.get(setup.made_with({}, corpus.name).method)
    path = method.path if isinstance(method, TrainedMethod) else None
    learnt = set(trained.read(path).header.get("works", ())) if path else set()
    given = () if path and method.targets == KINDS["one-sided"].targets else sources_of(target)
    return (*given, *(work for work in corpus if work.sha256 in learnt and work not in given))


class Told(OneShot):
    """A pass of a pix2pix network that is told what is where."""

    def __init__(self, run: OneShot, network: Trained, regions: Tensor):
        identity = network.sha256 + hashlib.sha256(regions.numpy().tobytes()).hexdigest()
        super().__init__(run.content, run.target, run.encoder, run.settings, identity=identity)
        self.network = network
        self.regions = regions

    def paint(self, content: Tensor) -> Tensor:
        regions = statistics.resample_masks(self.regions, *content.shape[-2:])
        return pix2pix.paint(self.network, content, self.target, self.settings, regions=regions)


def paint(setup: Setup, chosen: Selections, common: dict, folder: Path, name: str) -> tuple[Tensor, targets.StyleTarget]:
    """(the picture, (1, 3, H, W) in [0, 1], its target); the picture is kept in `folder` and not painted again."""
    target = chosen.target(setup)
    weighted = mock.patch.dict(hypercolumns.WEIGHTS, setup.weights, clear=True) if setup.weights else nullcontext()
    settings = setup.made_with(common, chosen.corpus.name)
    with weighted:
        method = methods.get(settings.method)
        run = method.begin(chosen.content, target, setup.driver(), settings)
        if setup.regions:
            require(chosen.regions is not None, f"setup {setup.name!r}: nobody knows the regions of this content")
            run = Told(run, method.network(target), chosen.regions)
        picture = cached_picture(run, folder / setup.name, name)
    return picture, target
