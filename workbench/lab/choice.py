"""The values of a transfer as the controls of a panel show them."""

from dataclasses import dataclass, field
from functools import cached_property

from workbench import encoders, methods
from workbench.errors import require
from workbench.methods import Request, parse
from workbench.targets import TARGETS, TAU
from workbench.transfer import Settings


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
    """Works that share all the weight evenly, whatever the target; none leaves the target as it is."""
    weights: tuple[tuple[str, float], ...] = ()
    """Works with weights by hand, by file name, in place of those of the target; they go before pinned works."""
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
        weights = self.weights or tuple((name, 1.0) for name in self.pinned)
        target = "by-hand" if weights else target
        return Request(
            content=self.content,
            corpora=(self.corpus,),
            where=(f"genre={self.genre}",) if self.genre else (),
            exclude=self.exclude,
            target=target,
            combine=combine,
            style=self.single if target == "single" else "",
            tau=self.tau if "tau" in TARGETS[target].options else None,
            weights=weights,
            encoder=self.encoder,
            retriever=self.retriever,
            settings=settings,
        )
