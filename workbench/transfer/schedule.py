"""Stages of a transfer, from coarse to fine: how many evaluations of the objective at which size."""

from dataclasses import dataclass

from workbench.transfer.settings import Settings

COARSE_SHARE = 0.15
"""Evaluations at each coarser scale, as a share of those at full size."""
NEIGHBOURS_SHARE = 0.4
"""The same for neighbours, at every scale."""
DRAFT_SHARE = 0.4
"""Evaluations of a draft at full size, as a share of those at full size."""
COARSE_CONTENT_FACTOR = 12.0
"""Factor of the content weight at coarser scales: structure that is lost there comes back only slowly."""
FIRST_CONTENT_FACTOR = 4.0
"""The same in the first evaluations at full size."""
FIRST_SHARE = 0.2
"""Those first evaluations, as a share of all at full size."""


@dataclass(frozen=True)
class Stage:
    """A number of evaluations at one long side (px), by the encoder or by the cheaper network that makes the draft.

    content_factor: times its weight that the content loss has in them.
    """

    size: int
    evaluations: int
    draft: bool
    content_factor: float

    @property
    def name(self) -> str:
        """For a reader: "512 px", "512 px, draft"."""
        return f"{self.size} px{', draft' if self.draft else ''}"


def stages(settings: Settings, *, drafted: bool, content_first: bool, started: bool = False) -> tuple[Stage, ...]:
    """What a transfer consists of, in order.

    `drafted`: whether a cheaper network makes a draft; `content_first`: whether the content weighs more at first; `started`:
    whether there is a picture to start from. The coarse scales, where it would be forgotten, are then left out.
    """
    scales = settings.scales[-1:] if started else settings.scales
    if settings.method == "neighbours":
        evaluations = max(1, round(NEIGHBOURS_SHARE * settings.steps))
        return tuple(Stage(size, evaluations, False, 1.0) for size in scales)
    factor = COARSE_CONTENT_FACTOR if content_first else 1.0
    coarse = [Stage(size, max(1, round(COARSE_SHARE * settings.steps)), drafted, factor) for size in scales[:-1]]
    full = max(1, round(DRAFT_SHARE * settings.steps)) if drafted else settings.steps
    # The first evaluation of a stage moves nothing, so a stage has at least two.
    first = round(FIRST_SHARE * settings.steps)
    first = first if content_first and 2 <= first <= full - 2 else 0
    fine = [Stage(settings.size, n, drafted, f) for n, f in ((first, FIRST_CONTENT_FACTOR), (full - first, 1.0)) if n]
    return (*coarse, *fine, *([Stage(settings.size, settings.steps, False, 1.0)] if drafted else []))
