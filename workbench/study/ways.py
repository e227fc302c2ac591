"""The methods of a study in words: those of a request, and what only a study asks for, such as works drawn at random."""

import re
from dataclasses import dataclass

from workbench import encoders
from workbench.errors import require
from workbench.methods import Request, registry
from workbench.methods.method import Method
from workbench.targets import Combination, combination
from workbench.transfer import Settings

RANDOM = "random"
"""One painting of the artist, drawn at random, which retrieval has to beat."""
RANDOM_BLEND = "random-blend"
"""The weights of a blend on works drawn at random: averaging without retrieval."""
WRONG = "wrong"
"""The same after another artist, which shows what is not specific to this one; alone it is a blend."""
_NEAREST = re.compile(r"nearest-([1-9]\d*)")


@dataclass(frozen=True)
class Way:
    """[wrong:][METHOD:]CHOICE[/COMBINE][@RETRIEVER], taken apart.

    CHOICE is a target, "random", "random-blend", or "nearest-N": the N works that fit best, evenly. METHOD may be the file of a
    trained network, in which {artist} and {seed} stand for those of a cell. RETRIEVER is an encoder other than that of the
    study.
    """

    wrong: bool
    method: str
    choice: str
    combine: str
    retriever: str

    @property
    def drawn(self) -> bool:
        """Whether works are drawn at random, so that there are several draws."""
        return self.choice in (RANDOM, RANDOM_BLEND)

    @property
    def number(self) -> int:
        """The N of "nearest-N", else 0."""
        found = _NEAREST.fullmatch(self.choice)
        return int(found.group(1)) if found else 0

    @property
    def target(self) -> str:
        """The target of a request that takes as many works."""
        return "single" if self.choice == RANDOM else "blend" if self.drawn or self.number else self.choice

    @property
    def words(self) -> str:
        """Those of a request that takes as many works."""
        method, combine = self.method and f"{self.method}:", self.combine and f"/{self.combine}"
        return f"{method}{self.target}{combine}"

    @property
    def combination(self) -> Combination:
        """How several works are combined."""
        return combination(self.combine or "mean")

    def settings(self, settings: Settings) -> Settings:
        """`settings` with the method that this way names, if it names one. UsageError for what does not go together."""
        return Request(settings=settings).asking(self.words).settings


def parse(words: str) -> Way:
    """The way called `words`; see `Way`. UsageError for a retriever that does not exist; `Way.settings` checks the rest."""
    rest = "blend" if words == WRONG else words.removeprefix(f"{WRONG}:")
    rest, _, retriever = rest.partition("@")
    method, _, choice = rest.rpartition(":")
    choice, _, combine = choice.partition("/")
    if retriever:
        encoders.known(retriever)
    return Way(rest != words.partition("@")[0], method, choice, combine, retriever)


def painter(way: Way, settings: Settings) -> Method:
    """The method that paints by `way`."""
    found: Method = registry.get(way.settings(settings).method)
    return found


def check(words: str, settings: Settings) -> None:
    """UsageError unless a study can paint by `words`, as far as is known without an artist."""
    way = parse(words)
    require(not (way.wrong and way.drawn), f"method {words!r}: what is drawn at random has no counterpart after another artist")
    if "{" not in way.method:
        way.settings(settings)
