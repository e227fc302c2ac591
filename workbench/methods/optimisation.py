"""The methods that optimise a picture: by matching places of paintings, and by matching their statistics."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from workbench.encoders import Encoder
from workbench.errors import require
from workbench.methods import registry
from workbench.methods.method import Card, Method
from workbench.targets import StyleTarget
from workbench.transfer import INITS, Settings, Transfer, check_combination


class Optimisation(Method):
    """See `transfer`."""

    def __init__(self, name: str, card: Card, ignores: tuple[str, ...]):
        self.name = name
        self.card = card
        self.ignores = ignores

    def check(self, target: str, combine: str, settings: Settings) -> None:
        check_combination(combine, settings, guided=target == "regions")
        if settings.init not in INITS:
            first, painted = _first(settings)
            first.check(target, combine, painted)

    def files(self, settings: Settings) -> list[Path]:
        if settings.init in INITS:
            return []
        first, painted = _first(settings)
        return first.files(painted)

    def begin(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings) -> Transfer:
        if settings.init in INITS:
            return Transfer(content, target, encoder, settings)
        first, painted = _first(settings)
        run = first.begin(content, target, encoder, painted)
        for _ in run:  # of one step; `run.run()` would take Ctrl-C for the end of it
            pass
        started = Transfer(content, target, encoder, settings, start=run.image)
        started.networks = dict(getattr(run, "networks", {}))
        return started


def _first(settings: Settings) -> tuple[Method, Settings]:
    """The method that paints what an optimisation starts from, and its settings. UsageError unless it paints at once."""
    method = registry.get(settings.init)
    require(not method.has_steps, f"init = {settings.init!r}: choose {', '.join(INITS)}, or a method that paints at once")
    return method, replace(settings, method=settings.init, init=INITS[0])


NEIGHBOURS = Optimisation(
    "neighbours",
    Card(
        "Neighbours",
        "each place of the content takes over the most similar place of the works",
        "Kolkin et al. (2022), Neural Neighbor Style Transfer, for many works",
    ),
    ignores=("style_loss", "softness", "bag", "draft", "options"),
)
GRAM = Optimisation(
    "gram",
    Card("Gram matrices", "statistics of whole works are matched", "Gatys et al. (2016), Image Style Transfer Using CNNs"),
    ignores=("looseness", "palette", "options"),
)
