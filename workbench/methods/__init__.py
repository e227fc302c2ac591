"""Requests and the methods that paint them: optimisation, colour transfer, and whatever is registered."""

from workbench.generative.trained import names_in_package
from workbench.methods import registry, trained
from workbench.methods.colour_transfer import ColourTransfer
from workbench.methods.library import Library
from workbench.methods.method import Card, Method, OneShot, Run, weights
from workbench.methods.optimisation import GRAM, NEIGHBOURS
from workbench.methods.registry import METHODS, get, register
from workbench.methods.request import RETRIEVED, Request, parse
from workbench.methods.strokes import BrushStrokes

for _method in (NEIGHBOURS, GRAM, BrushStrokes(), ColourTransfer()):
    registry.register(_method)
for _family in trained.BY_FAMILY:
    registry.register(trained.TrainedMethod(_family, _family))
registry.OPENERS.append(registry.Opener(trained.named, names_in_package))

__all__ = [
    "METHODS",
    "RETRIEVED",
    "Card",
    "Library",
    "Method",
    "OneShot",
    "Request",
    "Run",
    "get",
    "parse",
    "register",
    "weights",
]
