"""One content, one artist, one transfer at a time: the plain object behind the transfer panel, which works without it."""

from collections.abc import Hashable
from dataclasses import asdict
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

from workbench import images, methods, provenance
from workbench.errors import require
from workbench.figures.files import PNG_KEY
from workbench.lab import code
from workbench.lab.choice import Choice, short
from workbench.lab.preview import Preview
from workbench.lab.runner import Kept, Runner
from workbench.lab.session import Session
from workbench.methods import Library
from workbench.names import shortened


def _of(path: str) -> Any:
    """A property that stands for a member of a part: "session.change"."""
    return property(attrgetter(path), doc=f"See `{path}`.")


class Exploration:
    """Choose, run, stop, resume. The choice may be changed at any time; a change takes effect with the next run.

    The choice is the one state: `shown`, `at_work` and `resumable` tell of the runs of the present choice alone, and to look at
    another result is to `open` its choice. Where a file that it names was replaced, a run that read the former one is a run of
    another choice.
    session: the choice, see `session.Session`; runner: the runs, see `runner.Runner`. Their members are members of this, too.
    preview: what a trained network makes of the choice at once, see `preview.Preview`.
    Listeners are called when there is something new to show, from the thread of the run; followers when the choice changes.
    """

    def __init__(self, choice: Choice | None = None, *, library: Library | None = None):
        """`library` opens contents, corpora and encoders; by default a new one."""
        library = library or Library()
        self.session = Session(choice or Choice(), library)
        self.runner = Runner(library, self.session.notify)
        self.preview = Preview(self.session, lambda: self.runner.running)
        self._opened: tuple[int, Choice] | None = None  # a result that is looked at although its files are others now

    choice, change, choose = _of("session.choice"), _of("session.change"), _of("session.choose")
    listen, follow = _of("session.listen"), _of("session.follow")
    corpus, known_corpus, genres = _of("session.corpus"), _of("session.known_corpus"), _of("session.genres")
    target, target_soon = _of("session.target"), _of("session.target_soon")
    measuring = _of("session.measuring")
    running, kept = _of("runner.running"), _of("runner.kept")
    picture, losses, boundaries = _of("runner.picture"), _of("runner.losses"), _of("runner.boundaries")
    total_steps, done, seconds_left = _of("runner.total_steps"), _of("runner.done"), _of("runner.seconds_left")
    stop, wait = _of("runner.stop"), _of("runner.wait")

    @property
    def current(self) -> bool:
        """Whether the last run was one of the present choice."""
        runner = self.runner
        return runner.choice is not None and self._is_present(runner.number, runner.choice, runner.state)

    def _is_present(self, number: int, choice: Choice, state: Hashable) -> bool:
        """Whether the run of that number, of `choice`, is one of the present choice; `state`: as of `Kept`, None if unknown."""
        if self._opened is not None and self._opened[1] is self.choice:
            return number == self._opened[0]
        return choice.key == self.choice.key and state in (None, self.session.library.state(self.choice.request))

    @property
    def at_work(self) -> bool:
        """Whether the present choice is being painted."""
        return self.current and self.running

    @property
    def resumable(self) -> bool:
        """Whether a stopped run of the present choice can go on."""
        return self.current and self.runner.resumable

    @property
    def error(self) -> str:
        """One line on what ended the last run, where it was one of the present choice; else ""."""
        return self.runner.error if self.current else ""

    @property
    def shown(self) -> Kept | None:
        """The latest run of the present choice, as it is now; None where it has no picture yet."""
        if self.current and (present := self.runner.present) is not None:
            return present
        if self.at_work:
            return None
        return next((k for k in reversed(self.kept) if self._is_present(k.number, k.choice, k.state)), None)

    def open(self, kept: Kept | None = None) -> None:
        """Look at a result, or at the last run: its choice becomes the present one."""
        self._opened = None
        if kept is not None:
            library, request = self.session.library, kept.choice.request
            library.look_again(request.corpora)
            if kept.state != library.state(request):
                self._opened = kept.number, kept.choice
            self.choose(kept.choice)
        elif self.runner.choice is not None:
            self.choose(self.runner.choice)

    def start(self) -> None:
        """Begin a new run of the present choice. Raises UsageError while one is at work."""
        self.preview.stop()
        self.runner.start(self.choice)
        self._opened = None

    def resume(self) -> None:
        """Go on with the run of the present choice that was stopped. Raises UsageError where there is none."""
        require(not self.running, "a transfer is running: stop it first")
        require(self.resumable, "there is no stopped transfer of the present choice to go on with: open its result first")
        self.preview.stop()
        self.runner.resume()

    def paint_properly(self) -> None:
        """Begin a run of the present choice from the picture of the network that previews it, at full size."""
        require(bool(self.choice.preview), "there is no preview to start from")
        require(not self.running, "a transfer is running: stop it first")
        method = methods.get(self.choice.request.method)
        require(method.takes_start, f"the method {method.name} does not go on from another picture: choose another method")
        self.change(init=self.choice.preview)
        self.start()

    def save(self, kept: Kept, path: str | Path = "") -> Path:
        """Write a result with all that decided it inside; by default as `free_path(kept)`.

        It is a picture, or what else the suffix of `path` says among those that the method writes. Returns the path. Raises
        WorkbenchError where it cannot be written, and UsageError where it would lie in a corpus that it was made from.
        """
        request = kept.choice.request
        path = Path(path or self.free_path(kept))
        self.check_path(kept, path)
        record = provenance.provenance(asdict(request), request.settings.seed, kept.sources, kept.weights)
        works = zip(kept.target.works, kept.target.weights, strict=True)
        record["works"] = [{"file": work.name, "sha256": work.sha256, "weight": weight} for work, weight in works]
        record |= {"command": "lab", "steps_done": len(kept.losses), "finished": kept.complete}
        metadata = {PNG_KEY: provenance.text(record)}
        if kept.writer is not None and path.suffix.lower() in methods.get(request.method).suffixes:
            return kept.writer(path, metadata=metadata)
        return images.save(kept.picture, path, metadata=metadata)

    def check_path(self, kept: Kept, path: Path) -> None:
        """UsageError where a file at `path` would lie in a corpus that the result was made from."""
        for name in kept.choice.request.corpora:
            self.session.library.corpus(name).check_outside(path)

    @staticmethod
    def free_path(kept: Kept, suffix: str = ".png") -> Path:
        """A file in the current folder that does not exist yet, named after a result."""
        stem = shortened(f"{short(kept.choice.content)} after {short(kept.choice.corpus)}, {kept.target.label}")
        return next(path for k in count(1) if not (path := Path(f"{stem}{f' {k}' if k > 1 else ''}{suffix}")).exists())

    def code(self) -> str:
        """A notebook cell that repeats the picture of the present choice."""
        return code.code(self.choice)

    def command(self) -> str:
        """The papermill command that paints the present choice in notebook 05. Raises UsageError where it cannot."""
        return code.command(self.choice)
