"""A run of a sweep: what it is made with, how far it is, and why it is made again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class SweptRun:
    """`varied` are those of its `values` that differ within the sweep.

    status: "waiting", "running", "complete" or "failed"; `error` is one line where it failed. why: the reason to make a run
    again, empty for one that is made for the first time, and for one that is kept (`is_kept`). seconds: what it took.
    """

    values: dict[str, Any]
    varied: dict[str, Any]
    status: str = "waiting"
    folder: Path | None = None
    error: str | None = None
    why: str = ""
    seconds: float | None = None
    is_kept: bool = False
    began: float = 0.0

    def keep(self, folder: Path, error: str | None, seconds: float | None) -> None:
        """Take the run in `folder` as it is."""
        self.end(folder, error, seconds)
        self.is_kept, self.why = True, ""

    def begin(self) -> None:
        self.status, self.began = "running", time.monotonic()

    def end(self, folder: Path, error: str | None, seconds: float | None) -> None:
        self.folder, self.error, self.seconds = folder, error, seconds
        self.status = "complete" if error is None else "failed"


def seconds_left(runs: Sequence[SweptRun]) -> float | None:
    """What the runs that are not made yet will take, each as long as the mean of the others; None where there is no other.

    As many go on at a time as do so now. Runs that this sweep made count, or else those that were kept.
    """
    took = [one for one in runs if one.seconds is not None and one.status == "complete"]
    took = [one for one in took if not one.is_kept] or took
    if not took:
        return None
    each = sum(one.seconds or 0.0 for one in took) / len(took)
    left = 0.0
    for one in runs:
        if one.status == "running":
            left += max(each - (time.monotonic() - one.began), 0.0)
        elif one.status == "waiting":
            left += each
    return left / max(sum(one.status == "running" for one in runs), 1)


def summary(runs: Sequence[SweptRun]) -> str:
    """ "2 of 4, 1 failed, about 3 min left"."""
    done = sum(one.folder is not None for one in runs)
    failed = sum(one.status == "failed" for one in runs)
    left = seconds_left(runs)
    parts = [f"{done} of {len(runs)}"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"about {duration(left)} left"] if left is not None and done < len(runs) else []
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time in its largest fitting unit: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
