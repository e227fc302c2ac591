"""What a method is: it paints what a request asks for. Optimisation is one family; networks and diffusion are others."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from workbench import images, progress, provenance, targets
from workbench.encoders import Encoder
from workbench.errors import UsageError, WorkbenchError
from workbench.methods.library import Library
from workbench.methods.request import Request
from workbench.statistics import Moments
from workbench.targets import StyleTarget
from workbench.transfer import Iterate, Result, Settings, checkpoint


@dataclass(frozen=True)
class Card:
    """What a method is, for a reader. source: the publication; licence: of what it ships; needs: what must be installed."""

    title: str
    summary: str
    source: str
    licence: str = "MIT"
    needs: str = ""


class Run(Protocol):
    """One picture that is being painted: iterated, stopped, continued. See `transfer.Transfer` and `OneShot`.

    It may have `networks`, name -> SHA-256 of the networks that had a part besides encoders, and of the files of options, and
    `draft`, a second encoder: see `weights`.
    """

    target: StyleTarget
    encoder: Encoder
    settings: Settings
    show: bool

    @property
    def history(self) -> list[dict[str, float]]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def image(self) -> Tensor: ...
    @property
    def optimised(self) -> Tensor: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]: ...
    def __iter__(self) -> Iterator[Iterate]: ...
    def run(self, *, show: bool = False) -> Result: ...
    def result(self, complete: bool) -> Result: ...
    def style_moments(self) -> dict[str, Moments]: ...
    def fingerprint(self) -> str: ...
    def checkpoint(self, path: str | os.PathLike) -> Path: ...
    def resume(self, path: str | os.PathLike) -> Any: ...


class Method(ABC):
    """A way to paint.

    name: as `--method` and `Request.method` take it; card: what it is; has_steps: whether a run can be stopped on its way and
    written to disk; ignores: the fields of Settings that make no difference to it; targets: those that it takes, empty for
    all of them; suffixes: of the files besides pictures that its runs write, by a method `write(path, metadata)`, or later by
    what their property `writer` gave, `writer(path, metadata=metadata)`.
    """

    name: str
    card: Card
    has_steps = True
    ignores: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    @property
    def takes_start(self) -> bool:
        """Whether it can start from the picture of another method, `Settings.init`."""
        return self.has_steps and "init" not in self.ignores

    def check(self, target: str, combine: str, settings: Settings) -> None:  # noqa: B027 - most accept everything
        """UsageError where a target, a way to combine works and the settings do not go with this method."""

    def check_file(self, path: Path) -> None:  # noqa: B027 - most need nothing besides
        """UsageError where something is missing to write a file of this one of `suffixes`."""

    def files(self, settings: Settings) -> list[Path]:
        """Files and folders that decide the picture and are no part of a request: of networks, and those that options name."""
        return []

    def doubt(self, target: StyleTarget) -> str:
        """A warning where this method does not paint after `target`; empty where it does."""
        return ""

    def doubts(self, target: StyleTarget, settings: Settings, content: Path) -> list[str]:
        """What makes a picture less than it could be: paintings that are too small, a content that is transparent, `doubt`."""
        enlarged = target.enlarged(settings.painting_size(settings.size))
        return [text for text in (enlarged, images.see_through(content), self.doubt(target)) if text]

    @abstractmethod
    def begin(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings) -> Run:
        """A run that has made no step yet: for `content` (1, 3, H, W) in [0, 1], after the works of `target`."""

    def stylise(self, request: Request, library: Library | None = None, *, show: bool = False) -> Result:
        """The picture that `request` asks for. Ctrl-C stops and keeps the picture: the result then says complete=False."""
        library = library or Library(show=show)
        content = library.content(request.content, request.settings.size)
        return self.begin(content, library.target(request), library.encoder(request.encoder), request.settings).run(show=show)


def weights(run: Run, *others: Encoder | None) -> dict[str, str]:
    """Name -> SHA-256 of all networks that had a part in `run`, and of `others`, as provenance holds them."""
    used = [encoder for encoder in (run.encoder, getattr(run, "draft", None), *others) if encoder is not None]
    return {str(provenance.shared(each.name)): each.weights_sha256 for each in used} | dict(getattr(run, "networks", {}))


class OneShot(ABC):
    """A run of one step, for methods that compute a picture at once: subclasses say how in `paint`."""

    networks: Mapping[str, str] = {}

    def __init__(self, content: Tensor, target: StyleTarget, encoder: Encoder, settings: Settings, *, identity: str = ""):
        """`identity`: all that decides the result besides content, target, encoder and settings, such as a hash of weights."""
        self.content = content.to(encoder.device)
        self.target = target
        self.encoder = encoder
        self.settings = settings
        self.identity = identity
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.show = False
        self.image = images.resize(self.content, settings.size)

    @abstractmethod
    def paint(self, content: Tensor) -> Tensor:
        """The picture for `content` (1, 3, H, W) in [0, 1] at the size of the result: the same shape, in [0, 1]."""

    total_steps = 1
    boundaries: tuple[tuple[int, str], ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the picture is painted."""
        return bool(self.history)

    @property
    def optimised(self) -> Tensor:
        """The picture as measures of style see it."""
        return self.image

    def __iter__(self) -> Iterator[Iterate]:
        if self.finished:
            return
        began = time.perf_counter()
        content = self.image
        with torch.no_grad():
            image = self.paint(content)
        name = self.settings.method
        if image.shape != content.shape or not bool(image.isfinite().all()):
            shapes = f"{tuple(image.shape)} for {tuple(content.shape)}"
            raise WorkbenchError(f"method {name} gave no picture: values that are not finite, or another shape ({shapes})")
        self.image = image.clamp(0, 1)
        self.seconds += time.perf_counter() - began
        self.history.append({"total": 0.0})
        yield Iterate(1, 1, self.settings.size, self.history[0], self.seconds, self.image, lambda picture: picture)

    def run(self, *, show: bool = False) -> Result:
        """Paint the picture."""
        self.show = show
        complete = True
        try:
            for _ in progress.track(self, total=1, label=f"{self.settings.method} ({self.target.name})", show=show):
                pass
        except KeyboardInterrupt:
            complete = False
        return self.result(complete)

    def result(self, complete: bool) -> Result:
        """What there is so far; `complete` says whether it is the end."""
        return Result(self.image, tuple(self.history), self.seconds, complete, self.settings, self.target, ())

    def style_moments(self) -> dict[str, Moments]:
        """The moments of the target, layer -> Moments: what a distance to the style is measured to."""
        return targets.moments(self.target, self.encoder, self.settings.size, self.encoder.style_layers)

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the result."""
        return checkpoint.fingerprint(self.content, self.target, [self.encoder], self.settings, self.identity)

    def checkpoint(self, path: str | os.PathLike) -> Path:
        """UsageError: there is nothing between the start and the end."""
        raise UsageError(f"the method {self.settings.method} paints in one step: there is no state to write to {path}")

    def resume(self, path: str | os.PathLike) -> "OneShot":
        """UsageError likewise."""
        raise UsageError(f"the method {self.settings.method} paints in one step: there is nothing to go on with in {path}")
