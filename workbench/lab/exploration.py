"""One content, one artist, one transfer at a time: the plain object behind the transfer panel, which works without it."""

from dataclasses import asdict
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

from workbench import images, inputs, methods, provenance
from workbench.errors import require
from workbench.figures.files import PNG_KEY
from workbench.lab import code
from workbench.lab.choice import Choice, short
from workbench.lab.preview import Preview
from workbench.lab.runner import Kept, Runner
from workbench.lab.session import Session
from workbench.methods import Library


def _of(path: str) -> Any:
    """A property that stands for a member of a part: "session.change"."""
    return property(attrgetter(path), doc=f"See `{path}`.")


class Exploration:
    """Choose, run, stop, resume. The choice may be changed at any time; a change takes effect with the next run.

    The choice is the one state: `shown`, `at_work` and `resumable` tell of the runs of the present choice alone, and to look at
    another result is to `open` its choice.
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
        return self.runner.choice is not None and self.runner.choice.key == self.choice.key

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
        key = self.choice.key
        return None if self.at_work else next((kept for kept in reversed(self.kept) if kept.choice.key == key), None)

    def open(self, kept: Kept) -> None:
        """Look at a result: its choice becomes the present one."""
        self.choose(kept.choice)

    def start(self) -> None:
        """Begin a new run of the present choice. Raises UsageError while one is at work."""
        self.preview.stop()
        self.runner.start(self.choice)

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
        WorkbenchError where it cannot be written.
        """
        request = kept.choice.request
        encoder = self.session.library.encoder(request.encoder)
        source = {"content": inputs.content_path(request.content)}
        record = provenance.provenance(
            asdict(request), request.settings.seed, source, {provenance.shared(encoder.name): encoder.weights_sha256}
        )
        works = zip(kept.target.works, kept.target.weights, strict=True)
        record["works"] = [{"file": work.name, "sha256": work.sha256, "weight": weight} for work, weight in works]
        record |= {"command": "lab", "steps_done": len(kept.losses), "finished": kept.complete}
        path, metadata = Path(path or self.free_path(kept)), {PNG_KEY: provenance.text(record)}
        if kept.writer is not None and path.suffix.lower() in methods.get(request.method).suffixes:
            return kept.writer(path, metadata=metadata)
        return images.save(kept.picture, path, metadata=metadata)

    @staticmethod
    def free_path(kept: Kept, suffix: str = ".png") -> Path:
        """A file in the current folder that does not exist yet, named after a result."""
        stem = f"{short(kept.choice.content)} after {short(kept.choice.corpus)}, {kept.target.label}"
        return next(path for k in count(1) if not (path := Path(f"{stem}{f' {k}' if k > 1 else ''}{suffix}")).exists())

    def code(self) -> str:
        """A notebook cell that repeats the picture of the present choice."""
        return code.code(self.choice)

    def command(self) -> str:
        """The papermill command that paints the present choice in notebook 05. Raises UsageError where it cannot."""
        return code.command(self.choice)
