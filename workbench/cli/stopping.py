"""Stopping a run from the terminal: the first signal ends it after the step, with a checkpoint; the second at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.methods import Run

CHECKPOINT_EVERY = 25
"""Steps between two checkpoints."""


def advance(run: "Run", checkpoint: Path | None) -> bool:
    """Iterate to the end, or until Ctrl-C; whether the end was reached."""
    from workbench import progress

    steps = run.total_steps
    label = f"transfer ({run.target.name})"
    # A second signal interrupts within a step: the picture is good, but there is no state to write to the checkpoint.
    with suppress(KeyboardInterrupt), stop_between_steps() as asked:
        for iterate in progress.track(run, total=steps - len(run.history), label=label, show=True):
            stopping = bool(asked)  # read once: a signal that comes later waits for the next step and its checkpoint
            if checkpoint and not run.finished and (stopping or iterate.step % CHECKPOINT_EVERY == 0):
                run.checkpoint(checkpoint)
            if stopping:
                break
        if checkpoint and run.finished:
            run.checkpoint(checkpoint)
    return run.finished


@contextmanager
def stop_between_steps() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C, or SIGTERM, puts its number into. The second time it raises KeyboardInterrupt."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        # Not print: a signal may come while another line is being printed.
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    watched = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in watched}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
