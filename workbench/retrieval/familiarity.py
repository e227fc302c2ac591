"""How well the works of an artist fit a content, beside how well they fit each other."""

import math
from dataclasses import dataclass

NEVER = 0.05  # familiarity below which the artist is taken never to have painted such a thing


@dataclass(frozen=True)
class Fit:
    """How well works fit a content, beside how well the artist's works fit each other. Two ranks, each in (0, 1].

    familiarity: of the content's best cosine among the best cosines of the artist's works to works of other series;
    agreement: of how much the works found agree, see Embeddings.match. A rank is the share of the artist's works that are
    matched no better, the content counted as one more of them: (1 + works no better) / (1 + works). So of pictures that the
    artist might have painted a share of NEVER at most ranks below NEVER; with fewer than twenty works none can.
    """

    familiarity: float
    agreement: float

    @property
    def shortfall(self) -> float:
        """From 0, where the works fit, to 1, by how far both ranks are below NEVER.

        Both, because photographs are far from works that are all alike, such as those of a synthetic painter: if what is found
        agrees, it was found by what it shows.
        """
        better = max(self.familiarity, self.agreement)
        return 1 - better / NEVER if better < NEVER else 0.0

    @property
    def words(self) -> str:
        """For a reader."""
        if not self.shortfall:
            agreed = f", agreement {self.agreement:.0%}" if self.familiarity < NEVER else ""
            return f"familiarity {self.familiarity:.0%}{agreed}"
        worse = math.floor(100 * (1 - self.familiarity))
        return f"nothing here fits: the best match is worse than {worse}% of the artist's own"
