"""The baseline without any style: the content in the colours of the works, by optimal transport between Gaussians."""

from dataclasses import fields

from torch import Tensor

from workbench.encoders import Encoder
from workbench.errors import require
from workbench.images import colour
from workbench.methods.method import Card, Method, OneShot
from workbench.targets import StyleTarget
from workbench.transfer import Settings

THUMBNAIL = 96
"""px. Long side of a work of which only the colours are wanted."""


class ColourTransfer(Method):
    """What palette alone brings: every other method is to be better than this."""

    name = "colours"
    has_steps = False
    ignores = tuple(f.name for f in fields(Settings) if f.name not in ("method", "size", "strength", "colour"))
    card = Card(
        "Colours alone",
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
        works = [
            (w, colour.colours(work.load(THUMBNAIL))) for w, work in zip(self.target.weights, self.target.works, strict=True)
        ]
        return colour.TowardsColoursOf(works, self.settings.strength)(content)
