"""The baseline without any style: the content in the colours of the works, by optimal transport between Gaussians."""

from dataclasses import fields

from torch import Tensor

from workbench.encoders import Encoder
from workbench.errors import require
from workbench.images import colour
from workbench.methods.method import Card, Method, OneShot
from workbench.targets import StyleTarget
from workbench.transfer import Settings
from workbench.transfer.problem import colours_of


class ColourTransfer(Method):
    """The effect of the palette alone: every other method should do better."""

    name = "colours"
    has_steps = False
    ignores = tuple(f.name for f in fields(Settings) if f.name not in ("method", "size", "strength", "colour"))
    card = Card(
        "colours alone",
        "the content in the colours of the works; no stroke is painted",
        "Pitie & Kokaram (2007), The linear Monge-Kantorovitch colour mapping",
    )

    def check(self, target: str, combine: str, settings: Settings) -> None:
        require(combine == "mean", f"paintings combined as {combine!r} go with the method gram, not with {self.name}")
        require(settings.colour == "style", f"colour = {settings.colour!r} leaves the method {self.name} nothing to do")

    def begin(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings) -> OneShot:
        self.check(target.name, target.combine, settings)
        return _Recoloured(content, target, encoder, settings)


class _Recoloured(OneShot):
    def paint(self, content: Tensor) -> Tensor:
        return colour.TowardsColoursOf(colours_of(self.target), self.settings.strength)(content)
