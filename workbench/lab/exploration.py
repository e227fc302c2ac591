"""One content, one artist, one transfer at a time: the plain object behind the transfer panel, which works without it."""

from operator import attrgetter
from typing import Any

from workbench import methods
from workbench.errors import require
from workbench.lab import code
from workbench.lab.choice import Choice
from workbench.lab.preview import Preview
from workbench.lab.runner import Runner
from workbench.lab.session import Session
from workbench.methods import Library


def _of(path: str) -> Any:
    """A property that stands for a member of a part: "session.change"."""
    return property(attrgetter(path), doc=f"See `{path}`.")


class Exploration:
    """Choose, run, stop, resume. The choice may be changed at any time; a change takes effect with the next run.

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
    running, resumable, error, kept = _of("runner.running"), _of("runner.resumable"), _of("runner.error"), _of("runner.kept")
    picture, losses, boundaries = _of("runner.picture"), _of("runner.losses"), _of("runner.boundaries")
    total_steps, done, seconds_left = _of("runner.total_steps"), _of("runner.done"), _of("runner.seconds_left")
    stop, wait = _of("runner.stop"), _of("runner.wait")

    def start(self) -> None:
        """Begin a new run of the present choice. Raises UsageError while one is at work."""
        self.preview.stop()
        self.runner.start(self.choice)

    def resume(self) -> None:
        """Go on with the run that was stopped. Raises UsageError where there is none."""
        self.preview.stop()
        self.runner.resume()

    def paint_properly(self) -> None:
        """Begin a run of the present choice from the picture of the network that previews it, at full size."""
        require(bool(self.choice.preview), "there is no preview to start from")
        require(not self.running, "a transfer is running: stop it first")
        method = methods.get(self.choice.request.method)
        require(method.has_steps, f"the method {method.name} paints at once: choose another to go on from there")
        self.change(init=self.choice.preview)
        self.start()

    def code(self) -> str:
        """A notebook cell that repeats the picture of the present choice."""
        return code.code(self.choice)

    def command(self) -> str:
        """The papermill command that paints the present choice in notebook 05. Raises UsageError where it cannot."""
        return code.command(self.choice)
