"""Methods that are trained networks: named by a file, a network of the package, or their family."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from torch import Tensor

from workbench import progress, provenance
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.generative import families, trained
from workbench.generative.trained import Trained
from workbench.methods.method import Card, Method, OneShot
from workbench.targets import StyleTarget
from workbench.transfer import Settings


@dataclass(frozen=True)
class Kind:
    """What the networks of a family have in common.

    targets: those that such a network can be given; combine: how works may be combined; settings: what it heeds besides method
    and size; options: "module:class", the dataclass whose fields `Settings.options` gives. Its module, `trained.BUILDERS`, has
    `paint(trained, content, target, settings)`, and, where there are options, `files(settings)`, those that these name.
    """

    card: Card
    targets: tuple[str, ...] = ("whole",)
    combine: tuple[str, ...] = ("mean",)
    settings: tuple[str, ...] = ()
    options: str = ""


_ANY = ("single", "nearest", "blend", "cluster", "whole", "by-hand")
KINDS: Mapping[str, Kind] = {
    "artist": Kind(
        Card(
            "Artist network",
            "one pass of a network trained on any weights over an artist's works",
            "Johnson et al. (2016), Perceptual Losses; Dumoulin et al. (2017), conditional normalisation",
        ),
        targets=_ANY,
        combine=("mean", "barycentre"),
        settings=("strength",),
    ),
    "decoder": Kind(
        Card(
            "Any-target decoder",
            "features moved to the target's statistics (for several works, a typical one's) and decoded; no strokes",
            "Huang & Belongie (2017), AdaIN; Li et al. (2017), WCT; Lu et al. (2019), closed-form style transfer",
        ),
        targets=_ANY,
        combine=("mean", "barycentre"),
        settings=("strength",),
    ),
    "cyclegan": Kind(
        Card(
            "CycleGAN",
            "one pass of a network trained without pairs, with a second one that finds the way back",
            "Zhu et al. (2017), Unpaired Image-to-Image Translation",
        )
    ),
    "one-sided": Kind(
        Card(
            "Style-aware GAN",
            "one pass of a network trained without pairs, an encoder keeping the content",
            "Sanakoyeu et al. (2018), A Style-Aware Content Loss",
        )
    ),
    "pix2pix": Kind(
        Card(
            "pix2pix",
            "one pass of a network trained on pairs of a picture and its painting",
            "Isola et al. (2017), Image-to-Image Translation with Conditional Adversarial Networks",
        )
    ),
    "vae": Kind(
        Card(
            "VAE",
            "the content decoded from latent codes of an artist's patches: his colours and masses, blurred, no strokes",
            "Kingma & Welling (2014), Auto-Encoding Variational Bayes",
        ),
    ),
    "dreambooth": Kind(
        Card(
            "LoRA of an artist",
            "the content by Stable Diffusion, which has learnt the artist's word; its structure is kept",
            "Ruiz et al. (2023), DreamBooth; Hu et al. (2022), LoRA; Meng et al. (2022), SDEdit",
            needs="diffusers, transformers, peft: pip install 'artist-workbench[diffusion]'",
        ),
        targets=_ANY,
        settings=("strength", "seed", "options"),
        options="workbench.diffusion.stylise:Options",
    ),
}
"""Families by name."""
BY_FAMILY = ("artist", "decoder")
"""Families that are methods by their name alone: of them there are networks in the package."""
KNOWN = 0.5
"""Share of the weight in a target from which on a network knows its works."""


class TrainedMethod(Method):
    """A trained network as a method; without one, the network of the package that knows the works of the target."""

    has_steps = False

    def __init__(self, name: str, family: str, path: Path | None = None):
        kind = KINDS[family]
        self.name = name
        self.family = family
        self.path = path
        self.card = replace(kind.card, title=f"{kind.card.title} {path.stem}") if path else kind.card
        self.targets = kind.targets
        self.ignores = tuple(f.name for f in fields(Settings) if f.name not in ("method", "size", *kind.settings))

    def check(self, target: str, combine: str, settings: Settings) -> None:
        kind = KINDS[self.family]
        goes = target in kind.targets
        require(goes, f"the method {self.name} paints after target {' or '.join(kind.targets)}, not after {target}")
        known = combine in kind.combine
        require(known, f"the method {self.name} takes paintings combined as {' or '.join(kind.combine)}, not as {combine}")
        require(settings.colour == "style", f"colour = {settings.colour!r} does not go with the method {self.name}")
        if kind.options:
            module, _, options = kind.options.partition(":")
            found = getattr(importlib.import_module(module), options)
            found(**families.assigned(found, f"the method {self.name}", settings.options))

    def network(self, target: StyleTarget) -> Trained:
        """The network that paints after `target`. UsageError where the package has none for its works."""
        return trained.read(self.path) if self.path else shipped(self.family, target)

    def files(self, settings: Settings) -> list[Path]:
        named = importlib.import_module(trained.BUILDERS[self.family]).files(settings) if KINDS[self.family].options else []
        return [*([self.path] if self.path else []), *named]

    def knowing(self, target: StyleTarget) -> Trained | None:
        """The network that paints after `target`, if it knows its works."""
        if self.path is None:
            return knowing(self.family, target)
        found = trained.read(self.path)
        return found if known_share(found, target) >= KNOWN else None

    def doubt(self, target: StyleTarget) -> str:
        if self.path is None:
            return ""
        return "; ".join(filter(None, [trained.ambiguity(self.name), stranger(trained.read(self.path), target)]))

    def begin(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings) -> OneShot:
        self.check(target.name if target.name in _ANY else "blend", target.combine, settings)
        return _Pass(content, target, encoder, settings, self.network(target))


class _Pass(OneShot):
    def __init__(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings, network: Trained):
        self.module = importlib.import_module(trained.BUILDERS[network.family])
        files = self.module.files(settings) if KINDS[network.family].options else []
        given = {path.name: provenance.sha256(path) for path in files}
        super().__init__(content, target, encoder, settings, identity="|".join([network.sha256, *given.values()]))
        self.network = network
        self.networks = {network.name: network.sha256, **given}

    def paint(self, content: Tensor) -> Tensor:
        progress.check()
        return self.module.paint(self.network, content, self.target, self.settings)


def knowing(family: str, target: StyleTarget) -> Trained | None:
    """The network of the package, of this family, that knows most of the weight in `target`, and at least half of it.

    One whose header names no works paints after any.
    """
    read = [trained.read(path) for path in sorted(trained.SHIPPED.glob(f"*{trained.SUFFIX}"))]
    best = max((found for found in read if found.family == family), key=lambda n: known_share(n, target), default=None)
    return best if best is not None and known_share(best, target) >= KNOWN else None


def shipped(family: str, target: StyleTarget) -> Trained:
    """What `knowing` finds: see there. UsageError where it finds none."""
    best = knowing(family, target)
    if best is None:
        artist = target.works[0].artist
        whose = f"the works of {artist}" if artist else "these works"
        raise UsageError(
            f"no network of the package knows {whose}: train one with workbench train {family} "
            "--corpus DIR -o NAME, then give --method NAME"
        )
    return best


def known_share(network: Trained, target: StyleTarget) -> float:
    """The weight in `target` of works that `network` knows, by their bytes, or because their artist is its own, in [0, 1].

    Other reproductions of the same paintings, and synthetic works that another machine painted, have other bytes.
    """
    if "works" not in network.header:
        return 1.0
    known, artist = set(network.header["works"]), network.header.get("artist", "").casefold()
    share = 0.0
    for work, weight in zip(target.works, target.weights, strict=True):
        share += weight * (work.sha256 in known or (bool(artist) and work.artist.casefold() == artist))
    return share


def stranger(network: Trained, target: StyleTarget) -> str:
    """A warning where `network` learnt from other works than those of `target`; empty where it knows most of their weight."""
    share = known_share(network, target)
    if share >= KNOWN:
        return ""
    knows = f"only {share:.0%} of the weight of these paintings is" if share else "none of these paintings is"
    artist = network.header.get("artist") or "other works"
    return f"{knows} known to the network {network.name}: it paints as it learnt from {artist}"


def named(name: str) -> TrainedMethod | None:
    """The method of the trained network called `name`, a file or one of the package; None for any other name.

    The suffix of the file may be left out where there is one. Raises as `trained.find` and `trained.read`.
    """
    if not name.endswith(trained.SUFFIX) and not trained.exists(name):
        lone = name in KINDS
        require(
            not lone,
            f"no {name} network comes with the package: workbench train {name} --corpus DIR -o NAME, then --method NAME",
        )
        return None
    path = trained.find(name)
    return TrainedMethod(name, trained.read(path).family, path)
