"""The values of a transfer as the controls of a panel show them."""

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

from workbench import encoders, methods
from workbench.errors import require
from workbench.methods import RETRIEVED, Request, parse
from workbench.methods.library import target_key
from workbench.methods.strokes import BrushStrokes
from workbench.paths import is_file, written
from workbench.strokes.painting import Options
from workbench.targets import TARGETS, TAU
from workbench.transfer import INITS, Settings


@dataclass(frozen=True, kw_only=True)
class Choice:
    """All that decides a picture, in the words of the panel. Raises UsageError where `request` does."""

    content: str = "grace_hopper"
    """An image file, or a sample photograph."""
    corpus: str = "nocturne"
    """A folder of paintings, or a sample painter."""
    genre: str = ""
    """Works of this genre alone; empty takes all."""
    target: str = "blend"
    """Which paintings, in the words of `methods.parse`: "blend", "gram:single", "blend/barycentre"."""
    single: str = ""
    """The one painting of the target "single"; empty takes the sample painter's most striking one."""
    tau: float = TAU
    """Temperature of the weights; kept for later where the target has none."""
    exclude: tuple[str, ...] = ()
    """Works left out, by file name."""
    pinned: tuple[str, ...] = ()
    """Works kept whatever the target: they share half of the weight, and keep their weights while others are set by hand."""
    weights: tuple[tuple[str, float], ...] = ()
    """Works with weights by hand, by file name, in place of those of the target and of the pins."""
    encoder: str = "embedded"
    """The encoder that a picture is painted with."""
    retriever: str = encoders.RETRIEVER
    """The encoder by which works fit the content."""
    preview: str = "artist"
    """The method that shows the picture at once, by name: a trained network, or its file; empty for none."""
    settings: Settings = field(default_factory=lambda: Settings(size=384))

    def __post_init__(self) -> None:
        target, combine, _ = parse(self.target, self.settings)
        method = self.target.rpartition(":")[0]
        words = (f"{method}:" if method else "") + target + ("" if combine == "mean" else f"/{combine}")
        object.__setattr__(self, "target", words)  # a former word for a combination becomes the present one
        if self.preview:
            require(not methods.get(self.preview).has_steps, f"preview {self.preview!r}: choose a method that paints at once")
        _ = self.request

    @property
    def names_method(self) -> bool:
        """Whether the words of the target decide the method, and `settings.method` does not."""
        return ":" in self.target or "/" in self.target

    @cached_property
    def request(self) -> Request:
        """The request that these values make. Raises UsageError for values that do not go together."""
        target, combine, settings = parse(self.target, self.settings)
        target = "by-hand" if self.weights else target
        return Request(
            content=self.content,
            corpora=(self.corpus,),
            where=(f"genre={self.genre}",) if self.genre else (),
            exclude=self.exclude,
            pinned=() if self.weights else self.pinned,
            target=target,
            combine=combine,
            style=self.single if target == "single" else "",
            tau=self.tau if "tau" in TARGETS[target].options else None,
            weights=self.weights,
            encoder=self.encoder,
            retriever=self.retriever if target in RETRIEVED else encoders.RETRIEVER,
            settings=settings,
        )

    @cached_property
    def key(self) -> Hashable:
        """All that decides the picture: choices that differ in nothing else have the same one."""
        request = self.request
        ignored = methods.get(request.method).ignores
        return target_key(request), *(getattr(request.settings, f.name) for f in fields(Settings) if f.name not in ignored)

    @property
    def stroke_options(self) -> Options | None:
        """The options of the method strokes; None where another method paints."""
        request = self.request
        method = methods.get(request.method)
        return method.options(request.settings) if isinstance(method, BrushStrokes) else None

    @property
    def label(self) -> str:
        """The choice in short, for the caption of a picture: the content, the artist, and how the one is painted."""
        request = self.request
        combined = request.combine != "mean"
        target = f"{request.target}-{request.combine}" if combined else request.target
        pins = f", {len(request.pinned)} pinned" if request.pinned else ""
        method = "" if combined or request.method == Settings().method else f", {Path(request.method).stem}"
        method = f", {strokes.strokes} strokes" if (strokes := self.stroke_options) else method
        tau = "" if request.tau is None else f", τ {request.tau:.3g}"
        init = request.settings.init
        start = "" if init in INITS or "init" in methods.get(request.method).ignores else f", from {Path(init).stem}"
        how = f"{target}{pins}{method}{tau}, {request.settings.size} px{start}"
        return f"{short(self.content)} after {short(self.corpus)}: {how}"


def short(name: str) -> str:
    """The name of a file or a folder without its path, as in a caption."""
    path = written(name)
    return path.stem if is_file(path) else path.name
