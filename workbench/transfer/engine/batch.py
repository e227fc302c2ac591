"""Several transfers at once: several contents, or several targets of one content, by one pass through the network."""

from collections.abc import Sequence

from workbench import progress
from workbench.errors import require
from workbench.transfer.engine.fast import Fast
from workbench.transfer.loop import drive
from workbench.transfer.result import Result
from workbench.transfer.transfer import Transfer


def run(transfers: Sequence[Transfer], *, show: bool = False) -> list[Result]:
    """Run `transfers` to their ends, in step, and return their results in order; Ctrl-C stops all, with complete=False.

    They need one encoder, equal sizes and equal stages; targets, contents and weights may differ. A transfer that
    reaches its plateau is over, the others go on. Convolutions and gradients over a batch may round otherwise: the
    results are those of single transfers but for what such differences grow to. `seconds` is shared out among them.

    Raises UsageError for transfers that cannot keep step, and Diverged, which ends them all.
    """
    require(bool(transfers), "no transfers to run")
    going = [transfer for transfer in transfers if not transfer.finished]
    for transfer in going[1:]:
        require(
            _pace(transfer) == _pace(going[0]),
            "transfers of one batch need the same encoder, the same stages (steps, sizes, and whether the content weighs "
            "more at first), pictures of one size, and a common start",
        )
    for transfer in transfers:
        transfer.show = show
    complete = True
    try:
        total = going[0].total_steps - len(going[0].history) if going else 0
        steps = drive(transfers, Fast(transfers[0].content.device))
        for _ in progress.track(steps, total=total, label=f"{len(transfers)} transfers", show=show):
            pass
    except KeyboardInterrupt:
        complete = False
    return [transfer.result(complete or transfer.finished) for transfer in transfers]


def _pace(transfer: Transfer) -> tuple:
    """What transfers need to have in common to keep step."""
    shapes = [tuple(transfer.problem.content_at(stage.size).shape) for stage in transfer.stages]
    encoder = transfer.encoder
    return encoder.identity, encoder.device, transfer.stages, shapes, len(transfer.history)
