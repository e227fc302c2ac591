"""How a picture is painted: the numbers and words that decide it, and which of them go together."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from workbench import images
from workbench.errors import require

StyleLoss = Literal["gram", "w2", "patches", "embedding"]
Optimiser = Literal["lbfgs", "adam"]
INITS = ("content", "noise")
"""Words of `Settings.init` that need no method."""
Draft = Literal["auto", "none"]
Colour = Literal["style", "content", "luminance"]
SMALLEST_SCALE = 96
"""px. The size is halved for coarser scales as long as no scale is smaller than this."""
SMALLEST_SCALE_OF_NEIGHBOURS = 160
"""px. The same for neighbours: in a smaller picture the eyes of a face share one place with what surrounds them."""
SMALLEST_PAINTING = 32
"""px. No painting is scaled to less than this, however fine the brush."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to optimise L = alpha L_content + beta L_style + tv L_tv. Raises UsageError for values that make no sense."""

    method: str = "neighbours"
    """A method by name, see `methods`. "neighbours": each place of the content takes over the most similar place of the
    paintings (Kolkin et al. 2022, for many works). "gram": statistics of whole paintings are matched (Gatys et al. 2016)."""
    size: int = 512
    """Long side of the result, px."""
    steps: int = 100
    """Evaluations of the objective at full size; a coarser scale takes 0.15 times as many, a draft at full size 0.4 times.
    With neighbours every scale takes 0.4 times as many, because their target is a fixed feature map."""
    looseness: float = 2.0
    """neighbours: standard deviation, px, of the blur through which content and paintings are compared. At 0 texture counts,
    too, and smooth places stay smooth; 2 brings strokes; at 4 details dissolve in them."""
    palette: float = 1.0
    """neighbours: how far the content's colours move to those of the paintings before places are matched: from 0, where the
    palette is that of the most similar places, to 1, where it is that of the paintings as a whole."""
    alpha: float = 0.05
    """Weight of the content loss; with neighbours it counts four times."""
    beta: float = 1.0
    """Weight of the style loss."""
    tv: float = 0.02
    """Weight of the total variation."""
    style_loss: StyleLoss = "gram"
    """How styles are compared: Gram matrices, Gaussian W2, nearest patches, or style vectors; see losses."""
    softness: float = 0.1
    """Temperature of the soft minimum over paintings, in units of the Gram loss; 0 takes the nearest alone."""
    bag: int = 2048
    """Patches that stand for all paintings, at most, where patches are compared."""
    brush: float = 1.0
    """Long side of the paintings over that of the picture: 0.5 makes strokes half as large in the picture, 2 twice. For
    neighbours times 1.25, and no painting is enlarged to more than 1.25 times its own size."""
    strength: float = 1.0
    """How far to go from the content's own style, its statistics or features (0), to that of the paintings (1)."""
    colour: Colour = "style"
    """"style": the paintings' colours. "content": the paintings take the content's colours first, by optimal transport.
    "luminance": only light and dark are transferred, and the content's colours laid over the result."""
    optimiser: Optimiser = "lbfgs"
    """"lbfgs" in decorrelated colours and frequencies, or "adam" in pixels."""
    init: str = "content"
    """What the coarsest scale starts from: the content, or "noise". Or a method that paints at once, by name, such as "artist"
    or the file of a network: its picture is gone on with at full size, because coarse scales would forget it."""
    draft: Draft = "auto"
    """"auto": a cheaper network that imitates the encoder, where there is one (for "vgg19"), makes a draft: the coarser
    scales, and a first pass at full size. "none": the encoder makes all."""
    plateau: float = 1e-3
    """Stop at full size when the last 20 evaluations lowered the objective by less than this share; 0 never stops."""
    seed: int = 0
    """Random seed: of noise, of patches for style_loss="patches", and of places of the paintings for neighbours."""
    options: tuple[str, ...] = ()
    """NAME=VALUE, for methods that have options of their own: see `diffusion.stylise.Options`."""

    def __post_init__(self) -> None:
        listed = isinstance(self.options, Iterable) and not isinstance(self.options, str)
        require(listed, f"options = {self.options!r}: give a list of NAME=VALUE")
        object.__setattr__(self, "options", tuple(self.options))
        for field in fields(self):
            value = getattr(self, field.name)
            require(field.type not in (int, float) or is_number(value), f"{field.name} = {value!r}: give a number")
        images.check_size(self.size)
        require(
            isinstance(self.steps, int) and 1 <= self.steps <= 100_000, f"steps = {self.steps}: choose between 1 and 100000"
        )
        for name in ("alpha", "beta", "tv", "softness"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"{name} = {value}: a weight is a finite number, not below zero")
        require(isinstance(self.bag, int) and 1 <= self.bag <= 10**6, f"bag = {self.bag}: choose between 1 and 1000000 patches")
        require(self.softness <= 1000, f"softness = {self.softness}: choose at most 1000, where it is long the mean")
        require(0.1 <= self.brush <= 8, f"brush = {self.brush}: choose between 0.1 (fine) and 8 (coarse)")
        require(0 <= self.looseness <= 8, f"looseness = {self.looseness}: choose between 0 and 8 px")
        require(
            0 <= self.palette <= 1,
            f"palette = {self.palette}: choose between 0 (the most similar places' colours) and 1 (the paintings')",
        )
        require(0 <= self.strength <= 1, f"strength = {self.strength}: choose between 0 (the content's own style) and 1")
        require(0 <= self.plateau < 1, f"plateau = {self.plateau}: a share is at least 0 and less than 1")
        require(isinstance(self.seed, int) and 0 <= self.seed < 2**32, f"seed = {self.seed}: choose between 0 and 2**32 - 1")
        require(self.alpha + self.beta > 0, "alpha and beta are both 0: there is nothing to optimise")
        words = {
            "style_loss": StyleLoss,
            "optimiser": Optimiser,
            "draft": Draft,
            "colour": Colour,
        }
        for name, choices in words.items():
            value = getattr(self, name)
            require(value in get_args(choices), f"{name} = {value!r}: choose {', '.join(get_args(choices))}")

    @property
    def scales(self) -> tuple[int, ...]:
        """Long sides from coarse to fine, each half of the next, none but the last below 96 px (160 px for neighbours)."""
        sizes = [self.size]
        smallest = SMALLEST_SCALE_OF_NEIGHBOURS if self.method == "neighbours" else SMALLEST_SCALE
        while sizes[0] // 2 >= smallest:
            sizes.insert(0, sizes[0] // 2)
        return tuple(sizes)

    def painting_size(self, size: int) -> int:
        """Long side of the paintings, px, beside a picture of long side `size`."""
        return max(SMALLEST_PAINTING, round(size * self.brush)) if self.brush < 1 else round(size * self.brush)


def is_number(value: object) -> bool:
    """Whether `value` is an int or a float, and no int that no float can hold."""
    return isinstance(value, float) or (type(value) is int and value.bit_length() < 1000)


@dataclass(frozen=True)
class Rules:
    """What goes with a style loss.

    combine: the ways to combine works; weakens: whether `Settings.strength` may be below 1; content_first: whether the content
    weighs more at first, which was found to pay.
    """

    combine: tuple[str, ...] = ("mean",)
    weakens: bool = False
    content_first: bool = False


STYLE_LOSSES: Mapping[str, Rules] = {
    "gram": Rules(("mean", "barycentre", "softmin", "patches"), weakens=True, content_first=True),
    "w2": Rules(("mean", "barycentre"), weakens=True),
    "patches": Rules(),
    "embedding": Rules(),
}
"""Every word of StyleLoss. With combine "patches" the loss is losses.CentredPatchLoss, and no Gram matrix is computed."""


def check_combination(combine: str, settings: Settings, *, guided: bool = False) -> None:
    """UsageError where a method, a way to combine works, a style loss and a strength do not go together."""
    style_loss, strength = settings.style_loss, settings.strength
    if settings.method == "neighbours":
        require(
            combine == "mean" and style_loss == "gram",
            f"paintings combined as {combine!r} and style_loss = {style_loss!r} go with the method gram: "
            "neighbours take places from the paintings, not statistics",
        )
        return
    require(settings.method == "gram", f"method = {settings.method!r} is not one that optimises: choose neighbours or gram")
    rules = STYLE_LOSSES[style_loss]
    require(
        combine in rules.combine,
        f"paintings combined as {combine!r} do not go with style_loss = {style_loss!r}: "
        f"combine them as {' or '.join(rules.combine)}",
    )
    can_be_guided = style_loss == "gram" and combine == "mean"
    require(can_be_guided or not guided, "a target of regions goes with style_loss gram and combine mean, not otherwise")
    weakens = " and ".join(name for name, other in STYLE_LOSSES.items() if other.weakens)
    goes = strength == 1 or (rules.weakens and combine != "patches")
    require(goes, f"strength = {strength} goes with style_loss {weakens}, and not with paintings combined as patches")
