"""Several transfers at once: several contents, or several targets of one content, by one pass through the network."""

import time
from collections.abc import Iterator, Sequence

from workbench import progress
from workbench.advance import Strides, advance
from workbench.encoders.allocator import release_pages
from workbench.errors import require
from workbench.transfer import Result, Transfer


def run(transfers: Sequence[Transfer], *, show: bool = False) -> list[Result]:
    """Run `transfers` to their ends, in step, and return their results in order; Ctrl-C stops all, with complete=False.

    They need one encoder, equal sizes and equal numbers of steps; targets, contents and weights may differ. A transfer that
    reaches its plateau is over, the others go on. Convolutions over a batch may round otherwise than over one picture: the
    results are those of single transfers but for what such differences grow to. `seconds` is shared out among them.

    Raises UsageError for transfers that cannot keep step.
    """
    require(bool(transfers), "no transfers to run")
    first = transfers[0]
    for transfer in transfers[1:]:
        same = transfer.encoder.identity == first.encoder.identity and transfer.stages == first.stages
        shapes = [tuple(t.scaled(t.settings.size).shape) for t in (transfer, first)]
        require(
            same and shapes[0] == shapes[1] and len(transfer.history) == len(first.history),
            "transfers of one batch need the same encoder, the same steps, pictures of one size, and a common start",
        )
    for transfer in transfers:
        transfer.show = show
    complete = True
    try:
        total = first.total_steps - len(first.history)
        for _ in progress.track(_steps(transfers), total=total, label=f"{len(transfers)} transfers", show=show):
            pass
    except KeyboardInterrupt:
        complete = False
    return [transfer.result(complete) for transfer in transfers]


def _steps(transfers: Sequence[Transfer]) -> Iterator[None]:
    """Step all that are not finished, again and again."""
    strides: Strides | None = None
    while going := [transfer for transfer in transfers if not transfer.finished]:
        began, made = time.perf_counter(), len(going[0].history)
        fresh = [transfer.ready() for transfer in going]
        if going[0].stride == 1:
            advance(going)
        else:
            if strides is None or any(fresh) or strides.transfers != going:
                strides = Strides(going)
            strides.run(min(going[0].stride, going[0].left))
        for transfer in going:
            transfer.seconds += (time.perf_counter() - began) / len(going)
        yield from [None] * (len(going[0].history) - made)
    release_pages()
