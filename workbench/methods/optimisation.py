"""The methods that optimise a picture: by matching places of paintings, and by matching their statistics."""

from torch import Tensor

from workbench.encoders import Encoder
from workbench.methods.method import Card, Method
from workbench.targets import StyleTarget
from workbench.transfer import Settings, Transfer, check_combination


class Optimisation(Method):
    """See `transfer`."""

    def __init__(self, name: str, card: Card, ignores: tuple[str, ...]):
        self.name = name
        self.card = card
        self.ignores = ignores

    def check(self, target: str, combine: str, settings: Settings) -> None:
        check_combination(combine, settings, guided=target == "regions")

    def begin(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings) -> Transfer:
        return Transfer(content, target, encoder, settings)


NEIGHBOURS = Optimisation(
    "neighbours",
    Card(
        "Neighbours",
        "each place of the content takes over the most similar place of the works",
        "Kolkin et al. (2022), Neural Neighbor Style Transfer, for many works",
    ),
    ignores=("style_loss", "softness", "bag", "draft"),
)
GRAM = Optimisation(
    "gram",
    Card("Gram matrices", "statistics of whole works are matched", "Gatys et al. (2016), Image Style Transfer Using CNNs"),
    ignores=("looseness", "palette"),
)
