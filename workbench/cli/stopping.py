"""Stopping a run from the terminal: the first signal ends it after the step, with a checkpoint; a later one at once."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import progress
from workbench.errors import WorkbenchError
from workbench.progress import interruptible, stop_between_steps

if TYPE_CHECKING:
    from workbench.methods import Run

CHECKPOINT_EVERY = 25
"""Steps between two checkpoints."""


def advance(run: "Run", checkpoint: Path | None) -> tuple[bool, WorkbenchError | None]:
    """Iterate to the end, or until Ctrl-C: (whether the end was reached, why the last checkpoint could not be written).

    A checkpoint that cannot be written, to a full disk, say, costs a warning: the next is tried, and the picture goes on.
    """
    steps = run.total_steps
    label = f"transfer ({run.target.name})"
    # A second signal interrupts within a step: the picture is good, but there is no state to write to the checkpoint. In a run
    # of one step there is nothing to wait for, and the first does.
    between = stop_between_steps() if steps > 1 else interruptible()
    unwritten: WorkbenchError | None = None

    def keep(path: Path) -> None:
        nonlocal unwritten
        try:
            run.checkpoint(path)
            unwritten = None
        except WorkbenchError as error:
            if unwritten is None:
                print(f"warning: {error}; the transfer goes on without it", file=sys.stderr, flush=True)
            unwritten = error

    with suppress(KeyboardInterrupt), between as asked:
        for iterate in progress.track(run, total=steps - len(run.history), label=label, show=True):
            stopping = bool(asked)  # read once: a signal that comes later waits for the next step and its checkpoint
            if checkpoint and not run.finished and (stopping or iterate.step % CHECKPOINT_EVERY == 0):
                keep(checkpoint)
            if stopping:
                break
        if checkpoint and run.finished:
            keep(checkpoint)
    return run.finished, unwritten
