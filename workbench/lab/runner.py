"""One run at a time, in a thread: started, stopped, continued; the results are kept."""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from workbench import methods, progress
from workbench.errors import WorkbenchError, require
from workbench.lab.choice import Choice
from workbench.methods import RETRIEVED, Library, Run
from workbench.provenance import Source
from workbench.targets import StyleTarget

NOTIFY_EVERY = 0.2
"""Seconds between two notifications of a running transfer."""
PACE_STEPS = 20
"""Steps, the last ones, whose pace the remaining time is estimated from."""


@dataclass(frozen=True)
class Kept:
    """A run as it is at some moment, with its choice.

    number: of the run, from 1; picture: (1, 3, H, W) in [0, 1]; losses: of every step so far; boundaries: (steps before it,
    name) of every stage; total_steps: from its start to its end; complete: whether it has come to its end; state: see
    `Library.state`, as it was when the run began; sources: what was read, see `Library.sources`; weights: see
    `methods.weights`; writer: writes it as one of the files that its method has besides pictures (`Method.suffixes`), None
    where there are none.
    """

    number: int
    choice: Choice
    target: StyleTarget = field(repr=False)
    picture: Tensor = field(repr=False)
    losses: tuple[dict[str, float], ...] = field(repr=False)
    boundaries: tuple[tuple[int, str], ...] = field(repr=False)
    total_steps: int
    seconds: float
    complete: bool
    state: Hashable = field(default=None, repr=False)
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    weights: Mapping[str, str] = field(default_factory=dict, repr=False)
    writer: Callable[..., Path] | None = field(default=None, repr=False)

    @property
    def done(self) -> float:
        """The share of the steps that are made, 0 to 1."""
        return len(self.losses) / self.total_steps

    @property
    def label(self) -> str:
        """Its number and its choice in short, and where it was stopped."""
        return f"{self.number}: {self.choice.label}" + ("" if self.complete else f", stopped after {len(self.losses)}")


class Runner:
    """Runs the method of a choice in a thread; a stop takes effect within a step.

    kept: the results, the latest last, a run that was stopped and has gone on once; error: one line on what ended the last run,
    or ""; choice: that of the last run, None before the first; state: see `Kept`, None until the files are read; number: how
    many runs were started.
    """

    def __init__(self, library: Library, notify: Callable[[], None]):
        """`notify()` is called from the thread: five times a second at most while a run works, and after it has ended."""
        self.library = library
        self.kept: list[Kept] = []
        self.error = ""
        self.choice: Choice | None = None
        self.state: Hashable = None
        self.number = 0
        self._notify = notify
        self._sources: dict[str, Source] = {}
        self._weights: dict[str, str] = {}
        self._run: Run | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ended: deque[float] = deque(maxlen=PACE_STEPS)  # times at which the last steps ended, seconds

    @property
    def running(self) -> bool:
        """Whether a run is at work."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    @property
    def resumable(self) -> bool:
        """Whether a stopped run can go on."""
        run = self._run
        return not self.running and run is not None and not run.finished

    @property
    def present(self) -> Kept | None:
        """The last run as it is now; None before its first step."""
        run, choice = self._run, self.choice
        if run is None or choice is None or not run.history:
            return None
        steps = tuple(run.boundaries), run.total_steps, run.seconds, run.finished
        read = self.state, self._sources, self._weights
        return Kept(self.number, choice, run.target, run.image, tuple(run.history), *steps, *read, getattr(run, "writer", None))

    @property
    def picture(self) -> Tensor | None:
        """The picture so far, (1, 3, H, W) in [0, 1]; None before the first step."""
        present = self.present
        return None if present is None else present.picture

    @property
    def losses(self) -> list[dict[str, float]]:
        """The losses of every step so far."""
        run = self._run
        return [] if run is None else list(run.history)

    @property
    def boundaries(self) -> tuple[tuple[int, str], ...]:
        """(steps before it, name) of every stage; empty for a method without stages."""
        run = self._run
        return () if run is None else tuple(run.boundaries)

    @property
    def total_steps(self) -> int:
        """Steps of the present run from its start to its end."""
        run = self._run
        return 0 if run is None else run.total_steps

    @property
    def done(self) -> float:
        """The share of the steps that are made, 0 to 1."""
        run = self._run
        return 0.0 if run is None else len(run.history) / run.total_steps

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the remaining time; None where nothing is known."""
        run = self._run
        return None if run is None else seconds_left(run, tuple(self._ended))

    def start(self, choice: Choice) -> None:
        """Begin a new run. Raises UsageError while one is at work."""
        require(not self.running, "a transfer is running: stop it first")
        self._run, self.choice, self.state = None, choice, None
        self.number += 1
        self._begin()

    def resume(self) -> None:
        """Go on with the run that was stopped. Raises UsageError where there is none."""
        require(self.resumable, "there is no stopped transfer to go on with")
        self._begin()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the run within a step, keeping its picture; waits `timeout` seconds at most. Returns whether it has ended."""
        self._stop.set()
        return self.wait(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, `timeout` seconds at most. Returns whether it has ended."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return not self.running

    def _begin(self) -> None:
        self._stop.clear()
        self.error = ""
        self._thread = threading.Thread(target=self._work, name="transfer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            with progress.stoppable(self._stop):
                self._paint()
        except progress.Stopped:
            pass  # the picture so far is kept below
        except WorkbenchError as error:
            self.error = str(error)
        except Exception as error:  # a thread has no caller to raise it to
            self.error = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        finally:
            try:
                self._keep()
            finally:
                self._thread = None
                self._notify()

    def _paint(self) -> None:
        if self._run is None:
            assert self.choice is not None  # set by `start`
            request, library = self.choice.request, self.library
            library.look_again(request.corpora)
            for name in request.corpora:
                library.corpus(name)
            self._sources, self.state = library.sources(request), library.state(request)
            target, encoder = library.target(request), library.encoder(request.encoder)
            read = self._sources.get("content")  # and is refused where it was replaced while the works were measured
            content = library.content(request.content, request.settings.size, sha256=read.sha256 if read else None)
            run = methods.get(request.method).begin(content, target, encoder, request.settings)
            retriever = library.encoder(request.retriever) if request.target in RETRIEVED else None
            self._weights = methods.weights(run, retriever)
            self._run = run
        notified = 0.0
        self._ended.clear()
        for _ in self._run:
            now = time.monotonic()
            self._ended.append(now)
            if now - notified >= NOTIFY_EVERY:
                self._notify()
                notified = time.monotonic()
            progress.check()

    def _keep(self) -> None:
        if (present := self.present) is not None:
            self.kept = [*(kept for kept in self.kept if kept.number != present.number), present]  # it may have stopped earlier


def seconds_left(run: Run, ended: Sequence[float]) -> float | None:
    """Seconds that the remaining steps of `run` take at the pace of the steps that ended at the times `ended`, seconds.

    Where the run has stages, a step takes time in proportion to the pixels of its stage; otherwise all steps are alike. None
    for fewer than two times, and for a finished run.
    """
    if run.finished or len(ended) < 2:
        return None
    stages = getattr(run, "stages", ())
    costs = [stage.size**2 for stage in stages for _ in range(stage.evaluations)] or [1] * run.total_steps
    made = len(run.history)
    pace = (ended[-1] - ended[0]) / (len(ended) - 1)
    return pace * sum(costs[made:]) / costs[made - 1]
