"""The method that paints in brush strokes."""

from pathlib import Path

from torch import Tensor

from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative.families import assigned
from workbench.methods.method import Card, Method
from workbench.strokes import files
from workbench.strokes.painting import Options, Painting
from workbench.targets import StyleTarget
from workbench.transfer import Settings, check_combination


class BrushStrokes(Method):
    """See `workbench.strokes`."""

    name = "strokes"
    ignores = ("init", "optimiser")
    suffixes = files.SUFFIXES
    card = Card(
        "Brush strokes",
        "the content in strokes of the artist's breadth and length, optimised under the objective of neighbours or gram",
        "Kotovenko et al. (2021), Rethinking Style Transfer: From Pixels to Parameterized Brushstrokes",
    )

    def check(self, target: str, combine: str, settings: Settings) -> None:
        options = self.options(settings)
        require(settings.colour != "luminance", "colour = 'luminance' does not go with the method strokes: paint has a colour")
        check_combination(combine, options.under(settings), guided=target == "regions")

    def begin(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings) -> Painting:
        return Painting(content, target, encoder, settings, self.options(settings))

    def check_file(self, path: Path) -> None:
        files.check(path)

    def options(self, settings: Settings) -> Options:
        """Those that `settings` give. UsageError for bad ones."""
        return Options(**assigned(Options, "the method strokes", settings.options))
