"""A rater's answers to a plan, kept so that a crash or a power cut costs none that was confirmed."""

import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workbench.errors import WorkbenchError, require
from workbench.study.blind.plan import Plan, Shown


@dataclass(frozen=True)
class Answer:
    """side: "left", "right" or "tie"; seconds: that the rater took; time: when, UTC, ISO 8601."""

    trial: str
    side: str
    seconds: float
    time: str


class Ballot:
    """A rater's answers to a plan, in a file of JSON lines: one line per answer, on the disk before `answer` returns.

    A trial is answered once; `undo` takes the last answer back, as a further line, so the file records all that happened. A
    last line that a crash cut short is no answer; the next line takes its place. Reading changes nothing.
    """

    def __init__(self, plan: Plan, path: str | os.PathLike):
        """`path` need not exist yet. Raises WorkbenchError when it cannot be read, is damaged, or belongs to another plan."""
        self.plan = plan
        self.path = Path(path)
        self._answers: dict[str, Answer] = {}
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise WorkbenchError(f"cannot read the answers {self.path}: {error.strerror}") from error
        *lines, tail = data.split(b"\n")
        self._size = len(data)  # of the file as it was last read or written
        self._whole = len(data) - len(tail)  # of it without a torn line
        self._lead = b""
        if tail.rstrip().endswith(b"}"):  # only the end of the line is missing
            lines, self._whole, self._lead, tail = [*lines, tail], len(data), b"\n", b""
        for number, line in enumerate(lines, start=1):
            self._replay(line, f"{self.path}, line {number}")
        head, tail = f'{{"plan": "{plan.hash}"'.encode(), tail.rstrip(b"\0")  # what a power cut left blank is nothing
        if not (tail.startswith(head) or head.startswith(tail)):  # somebody else's file is not to be cut
            raise WorkbenchError(f"{self.path} ends with what is no answer to this plan: give this plan's file, or a new one")

    def __len__(self) -> int:
        """How many trials are answered."""
        return len(self._answers)

    @property
    def answers(self) -> dict[str, Answer]:
        """Trial id -> its answer, in the order in which they were given."""
        return dict(self._answers)

    def next(self) -> Shown | None:
        """The first trial that is not answered, or None when all are."""
        return next((self.plan.shown(trial.id) for trial in self.plan.trials if trial.id not in self._answers), None)

    def answer(self, trial: str, side: str, seconds: float) -> None:
        """Record that `side` was chosen in the trial with this id, after so many seconds.

        Raises UsageError for what cannot be; WorkbenchError when the line cannot be written: the trial stays unanswered.
        """
        require(trial in self.plan.by_id, f"the plan has no trial {trial!r}")
        require(trial not in self._answers, f"trial {trial} is answered already: undo that first")
        require(side in self.plan.sides, f"side {side!r}: give {' or '.join(self.plan.sides)}")
        require(math.isfinite(seconds) and seconds >= 0, f"seconds={seconds}: give a number from 0")
        seconds = round(float(seconds), 3)
        time = self._append({"trial": trial, "side": side, "seconds": seconds})
        self._answers[trial] = Answer(trial, side, seconds, time)

    def undo(self) -> str:
        """Take the last answer back and return its trial's id. Raises UsageError when there is none."""
        require(bool(self._answers), "there is no answer to undo")
        last = next(reversed(self._answers))
        self._append({"undo": last})
        del self._answers[last]
        return last

    def _replay(self, line: bytes, where: str) -> None:
        try:
            record = json.loads(line)
            plan, undone = record.pop("plan"), record.get("undo")
            given = Answer(**record) if undone is None else None
            trial = given.trial if given else undone
            answered, known = trial in self._answers, trial in self.plan.by_id
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkbenchError(f"{where} is not an answer: restore the line or take it out") from error
        if plan != self.plan.hash:
            plans = f"{str(plan)[:12]}, not {self.plan.hash[:12]}"
            raise WorkbenchError(f"{where} answers another plan ({plans}): give the plan it belongs to, or a new file")
        if not (known and not answered and given.side in self.plan.sides if given else answered):
            what = "answers no open trial of the plan" if given else "takes back an answer that was not given"
            raise WorkbenchError(f"{where} {what}: restore the line or take it out")
        if given:
            self._answers[trial] = given
        else:
            del self._answers[trial]

    def _append(self, record: dict) -> str:
        """Write `record` as a line, with the time, which is returned."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = self._lead + json.dumps({"plan": self.plan.hash, **record, "time": time}).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            if (0 if new else self.path.stat().st_size) != self._size:
                raise WorkbenchError(f"{self.path} was changed by another session: open the ballot again")
            with self.path.open("ab") as file:
                file.truncate(self._whole)  # no torn line stays
                self._size = self._whole
                try:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):  # what was written of the line goes, or is torn
                        file.truncate(self._whole)
                    raise
            if new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise WorkbenchError(f"cannot write {self.path}: {error.strerror or error}; the answer is not kept") from error
        self._size = self._whole = self._whole + len(line)
        self._lead = b""
        return time


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk only when its folder is."""
    with suppress(OSError):  # not every file system can; the answers themselves are safe
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
