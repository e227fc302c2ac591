"""A request for a picture, in plain values, validated once. Command line, notebooks, lab, studies and sweeps build it.

In words a request is TARGET, METHOD:TARGET or TARGET/COMBINE: "blend", "gram:single", "blend/barycentre".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workbench import encoders, samples
from workbench.errors import UsageError, require
from workbench.methods import registry
from workbench.paths import is_file
from workbench.retrieval import stores
from workbench.targets import TARGETS, TAU, Combination, check_tau, check_words, combination
from workbench.transfer.settings import Settings, is_number

EMPTY: Mapping[str, Any] = {"style": "", "tau": None, "mask": "", "weights": ()}
"""Fields that only some targets take -> what they are when they are not given."""
ONLY_WITH = {option: tuple(name for name, kind in TARGETS.items() if option in kind.options) for option in EMPTY}
"""These fields -> the targets they go with."""
RETRIEVED = tuple(name for name, kind in TARGETS.items() if kind.retrieved)
"""Targets that look for the works that fit the content."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A content, the paintings, a method and its settings. Hashable; UsageError for what does not go together.

    Attributes:
        content: an image file, or a sample photograph.
        corpora: folders of paintings, or sample painters; several are mixed, by `shares` or evenly.
        where: "COLUMN=VALUE" of metadata.csv that works must meet, "year=1888..1890" for a range.
        exclude: works left out, by file or title.
        pinned: works kept whatever the target, by file or title: they share half of the weight, see targets.keeping.
        target: one of TARGETS.
        combine: how statistics of several works are combined: "mean", "barycentre", "softmin" or "patches".
        style: the one painting of the target single, by file or title.
        tau: temperature of the weights; None is targets.TAU.
        weights: (work, weight) of the target by-hand.
        mask: an image that marks the regions of the content by flat colours.
        encoder: compares how pictures are painted; retriever: compares what they show; see encoders.load.
        index: where the embedding of the works is kept, such as "lancedb:FOLDER"; see retrieval.stores. "exact" is in memory.
        settings: size, seed, method and all other numbers.
    """

    content: str = "grace_hopper"
    corpora: tuple[str, ...] = ("nocturne",)
    shares: tuple[float, ...] = ()
    where: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    target: str = "blend"
    combine: Combination = "mean"
    style: str = ""
    tau: float | None = None
    weights: tuple[tuple[str, float], ...] = ()
    mask: str = ""
    encoder: str = "embedded"
    retriever: str = encoders.RETRIEVER
    index: str = "exact"
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        for name in ("content", "target", "combine", "style", "mask", "encoder", "retriever", "index"):
            value = getattr(self, name)
            require(isinstance(value, str), f"{name} = {value!r}: give a text")
        for name in ("corpora", "shares", "where", "exclude", "pinned"):
            value = getattr(self, name)
            require(isinstance(value, Iterable) and not isinstance(value, str), f"{name} = {value!r}: give a list of them")
            object.__setattr__(self, name, tuple(value))
            kind = is_number if name == "shares" else lambda item: isinstance(item, str)
            require(
                all(map(kind, getattr(self, name))), f"{name} = {value!r}: give {'numbers' if name == 'shares' else 'texts'}"
            )
        weights = self.weights.items() if isinstance(self.weights, Mapping) else self.weights
        try:
            object.__setattr__(self, "weights", tuple((str(work), float(weight)) for work, weight in weights))
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"weights = {self.weights!r}: give works, and a number for each") from error
        require(self.tau is None or is_number(self.tau), f"tau = {self.tau!r}: give a number")
        for work, weight in self.weights:
            require(0 < weight < float("inf"), f"weights: {weight} of {work!r}; give a positive number")
        require(self.target in TARGETS, f"target {self.target!r}: choose {', '.join(TARGETS)}")
        object.__setattr__(self, "combine", combination(self.combine))
        for name, targets in ONLY_WITH.items():
            goes = self.target in targets or getattr(self, name) == EMPTY[name]
            require(goes, f"{name} goes with target {' or '.join(targets)}, not with {self.target}")
        if self.tau is not None:
            check_tau(self.tau)
        count = len(self.corpora)
        require(not self.shares or len(self.shares) == count > 1, f"shares: give one for each of several corpora, not {count}")
        require(all(0 < share < float("inf") for share in self.shares), "shares: give positive numbers")
        require(count < 2 or TARGETS[self.target].mixes, f"target {self.target} takes one corpus")
        require(count > 0 or self.target == "single", f"target {self.target} needs a corpus: a folder, or a sample painter")
        require(count > 0 or not self.where, "where needs a corpus: it says which of its works to use")
        require(count > 0 or not self.exclude, "exclude needs a corpus: it says which of its works to leave out")
        require(not self.pinned or count == 1, "pinned works need one corpus that they belong to")
        whole = self.target not in ("regions", "by-hand")
        require(not self.pinned or whole, f"target {self.target} takes no pinned works: choose another target, or pin none")
        for text in self.where:
            require("=" in text, f"where {text!r}: write COLUMN=VALUE")
        lone = self.target == "single" and count == 0 and bool(self.style)
        require(not lone or is_file(self.style), f"style {self.style}: no such file; give a corpus to name one of its works")
        weighted = self.target != "by-hand" or bool(self.weights)
        require(weighted, "target by-hand needs weights: works, and a number for each")
        stores.parse(self.index)
        registry.get(self.method).check(self.target, self.combine, self.settings)

    @property
    def missing(self) -> str:
        """What is still to be given before a picture can be painted, as a message; "" if nothing is.

        Only the target single may be chosen before its painting is: of a sample painter there is a default.
        """
        if self.target != "single" or self.style or (self.corpora and self.corpora[0] in samples.PAINTERS):
            return ""
        return "target single needs style: " + (
            "a work of the corpus, by file or title" if self.corpora else "an image file; or give a corpus"
        )

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.settings.method

    @property
    def temperature(self) -> float:
        """`tau`, or its default."""
        return TAU if self.tau is None else self.tau

    @property
    def options(self) -> dict[str, Any]:
        """The fields that the target takes and that are given, and the temperature where it takes one."""
        given = {name: getattr(self, name) for name in TARGETS[self.target].options}
        given = {name: value for name, value in given.items() if value != EMPTY[name]}
        return given | ({"tau": self.temperature} if "tau" in TARGETS[self.target].options else {})

    @property
    def words(self) -> str:
        """Target and method in short: "blend", "gram:single", "blend/barycentre"."""
        combined = "" if self.combine == "mean" else f"/{self.combine}"
        implied = self.method == ("gram" if combined else Settings().method)
        return ("" if implied else f"{self.method}:") + self.target + combined

    def asking(self, words: str, *, style: str = "", mask: str = "") -> "Request":
        """The same request for what `words` name instead (see `parse`), with what goes with their target.

        `style`: the one painting, if they name single; `mask` for regions. Fields that the other target
        would ignore are cleared.
        """
        target, combine, settings = parse(words, self.settings)
        also = {"style": style, "mask": mask}
        given: dict[str, Any] = {name: also.get(name) or getattr(self, name) for name in ONLY_WITH}
        kept = {name: value if target in ONLY_WITH[name] else EMPTY[name] for name, value in given.items()}
        return replace(self, target=target, combine=combine, settings=settings, **kept)


def parse(words: str, settings: Settings) -> tuple[str, Combination, Settings]:
    """(target, combine, `settings` with the method) of words such as "blend", "gram:blend" or "blend/barycentre".

    A method may be named before a colon. Where none is, a way to combine works after a slash concerns their statistics and goes
    with "gram"; without one the method is that of `settings`. UsageError for what does not exist.
    """
    method, _, rest = words.rpartition(":")
    if method:
        registry.get(method)
    target, combine = check_words(rest)
    method = method or ("gram" if combine != "mean" else settings.method)
    return target, combine, replace(settings, method=registry.get(method).name)
