"""What a trained network makes of the present choice, at once: a picture to look at while weights and tau are moved."""

import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, replace

from torch import Tensor

from workbench import images, methods, progress
from workbench.errors import WorkbenchError
from workbench.lab.choice import Choice
from workbench.lab.session import Session
from workbench.methods import Request
from workbench.methods.trained import TrainedMethod
from workbench.targets import StyleTarget
from workbench.transfer import INITS, Settings

LARGEST = 384
"""px. Long side of a preview, at most: twice as large takes four times as long."""


@dataclass(frozen=True)
class Previewed:
    """A preview. name: of the network; picture: (1, 3, H, W) in [0, 1]; seconds: from the change of the choice to it.

    Where the choice is a barycentre, the picture is after the mean: see `Preview`.
    """

    choice: Choice
    name: str
    picture: Tensor = field(repr=False)
    seconds: float

    @property
    def line(self) -> str:
        """What it is, in a line."""
        combine = self.choice.request.combine
        instead = "" if combine == "mean" else f"after the mean, not the {combine}, "
        return f"preview by the network {self.name}, {instead}{self.seconds:.1f} s"


@dataclass(frozen=True)
class _Job:
    choice: Choice
    request: Request
    target: StyleTarget
    name: str
    asked: float
    key: Hashable


class Preview:
    """Paints the present choice by `Choice.preview`, in a thread, and the latest choice alone: changes never queue up.

    In place of a barycentre, which takes some 20 s of 91 works whenever a weight changes, it shows the mean.
    shown: the latest preview, None where no network knows the works, or the method that previews does not go with the choice;
    error: one line on what went wrong, or "". Nothing happens before the first `refresh`.
    """

    def __init__(self, session: Session, busy: Callable[[], bool] = lambda: False):
        """`busy()`: whether something more important is at work, which a preview would slow down."""
        self.session = session
        self.shown: Previewed | None = None
        self.error = ""
        self._busy = busy
        self._wanted: _Job | None = None
        self._key: Hashable = None  # of what is shown, or under way
        self._painted: Hashable = None  # key of what is shown
        self._waiting = False  # for the session to measure the works
        self._opened: tuple[Hashable, Tensor] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._turn = 0  # of the latest `refresh` or `stop`: an earlier one that is still at work has no say
        self._lock = threading.RLock()

    def refresh(self) -> None:
        """Paint the present choice soon, unless it is shown already. Takes milliseconds; then the listeners are called."""
        asked = time.monotonic()
        with self._lock:
            self._turn += 1
            turn = self._turn
            self._waiting = True  # from before the works are asked for: they may be measured at any moment
            if self._busy():
                return
        job = self._job(asked)  # without the lock: `stop` does not wait for the works of a target
        with self._lock:
            if turn != self._turn:
                return
            self._waiting = job is None
            failed, self.error = self.error, job if isinstance(job, str) else ""
            if not isinstance(job, _Job):
                self._wanted, self._key, self.shown = None, None, None
                return
            if job.key == self._key:  # which is not tried again, should it have failed
                self.error = failed
                return
            self._key, self._wanted = job.key, job
            self._stop.clear()
            if self._thread is None:  # no daemon: an interpreter that ends amid torch's work aborts, and a pass is short
                self._thread = threading.Thread(target=self._work, name="preview")
                self._thread.start()

    def refresh_if_measured(self) -> None:
        """`refresh`, if it has waited for the works to be measured, or for more important work, and that is done."""
        if self._waiting and not self.session.measuring and not self._busy():
            self.refresh()

    def stop(self) -> None:
        """Leave off: there is more important work. The first preview after a corpus measures its works, which takes seconds."""
        with self._lock:
            self._turn += 1
            self._wanted, self._key = None, None
            self._stop.set()

    @property
    def late(self) -> bool:
        """Whether what is shown is of a former choice, and that of the present one under way."""
        return self._painted != self._key

    @property
    def working(self) -> bool:
        """Whether a preview is being painted."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the latest choice is painted, `timeout` seconds at most. Returns whether it is."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return not self.working

    def _job(self, asked: float) -> _Job | str | None:
        """What is to be painted; None until the works are measured; one line on why there is nothing, "" if that is clear."""
        choice = self.session.choice
        if not choice.preview:
            return ""
        request = choice.request
        try:
            method = methods.get(choice.preview)
            size = min(request.settings.size, LARGEST)
            settings = replace(request.settings, method=choice.preview, size=size, init=INITS[0])
            method.check(request.target, request.combine, settings)
            target = self.session.target_soon()
        except WorkbenchError:  # the choice does not go with the network, or has no target, as the strip says
            return ""
        if target is None:
            return None
        target = target.combined("mean")
        try:
            name = _painter(method, target)
        except WorkbenchError as error:
            return f"no preview: {error}"
        if name is None:
            return ""
        request = replace(request, settings=settings)
        key = self.session.library.state(request)
        heeded = tuple(getattr(settings, f.name) for f in fields(Settings) if f.name not in method.ignores)
        return _Job(choice, request, target, name, asked, (key, heeded))

    def _work(self) -> None:
        while True:
            with self._lock:
                job, self._wanted = self._wanted, None
                if job is None:
                    self._thread = None
                    return
            shown, error = None, ""
            try:
                with progress.stoppable(self._stop):
                    shown = self._paint(job)
            except progress.Stopped:
                continue
            except WorkbenchError as failure:
                error = f"no preview: {failure}"
            except Exception as failure:  # a thread has no caller to raise it to
                error = f"no preview: {type(failure).__name__}: {failure}"
                traceback.print_exc()
            with self._lock:
                if self._key is None:
                    continue  # there is no preview any more
                self.shown, self.error, self._painted = shown, error, job.key
            self.session.notify()

    def _paint(self, job: _Job) -> Previewed:
        request = job.request
        encoder = self.session.library.encoder(request.encoder)
        run = methods.get(request.method).begin(self._content(request), job.target, encoder, request.settings)
        for _ in run:
            pass
        return Previewed(job.choice, job.name, run.image, time.monotonic() - job.asked)

    def _content(self, request: Request) -> Tensor:
        """The content at the size of the preview: a photograph takes as long to read as to paint."""
        library, size = self.session.library, request.settings.size
        source = library.sources(request).get("content")
        key = request.content, size, source
        if self._opened is None or self._opened[0] != key:
            found = library.content(request.content, size, sha256=source.sha256 if source else None)
            self._opened = key, images.resize(found, size)
        return self._opened[1]


def _painter(method: methods.Method, target: StyleTarget) -> str | None:
    """What paints by `method` after `target`, by name; None where it is a network that does not know the works."""
    if not isinstance(method, TrainedMethod):
        return method.name
    found = method.knowing(target)
    return None if found is None else found.name
