"""Stopping a run from the terminal: the first signal ends it after the step, with a checkpoint; the second at once."""

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import progress
from workbench.progress import stop_between_steps

if TYPE_CHECKING:
    from workbench.methods import Run

CHECKPOINT_EVERY = 25
"""Steps between two checkpoints."""


def advance(run: "Run", checkpoint: Path | None) -> bool:
    """Iterate to the end, or until Ctrl-C; whether the end was reached."""
    steps = run.total_steps
    label = f"transfer ({run.target.name})"
    # A second signal interrupts within a step: the picture is good, but there is no state to write to the checkpoint. In a run
    # of one step there is nothing to wait for, and the first does.
    between = stop_between_steps() if steps > 1 else nullcontext(())
    with suppress(KeyboardInterrupt), between as asked:
        for iterate in progress.track(run, total=steps - len(run.history), label=label, show=True):
            stopping = bool(asked)  # read once: a signal that comes later waits for the next step and its checkpoint
            if checkpoint and not run.finished and (stopping or iterate.step % CHECKPOINT_EVERY == 0):
                run.checkpoint(checkpoint)
            if stopping:
                break
        if checkpoint and run.finished:
            run.checkpoint(checkpoint)
    return run.finished
