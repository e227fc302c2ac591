"""Ways to paint by name: which paintings, and the method. figures/README.md has a picture by each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """`target` and `method` as words (see `methods.Request`); `says`: what comes of it, for a user."""

    target: str
    method: str
    says: str


PRESETS = {
    "hand": Preset("blend", "neighbours", "the artist's hand: strokes and colours of the paintings that fit, place by place"),
    "palette": Preset("blend", "gram", "the artist's palette: statistics of the paintings that fit (Gram matrices, averaged)"),
    "paper": Preset("single", "gram", "the paper: one painting's Gram matrices (Gatys et al. 2016)"),
}
DEFAULT = "hand"
