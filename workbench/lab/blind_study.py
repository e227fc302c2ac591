"""The blind study as a widget: one question, two pictures, the arrow keys. No method's name reaches the page."""

from typing import Any

import anywidget
import traitlets

from workbench import images
from workbench.errors import WorkbenchError
from workbench.lab import page
from workbench.lab.thumbnails import jpeg
from workbench.study.blind import Ballot, Shown

SHOWN = 720
"""px. Long side of a picture that is sent to the page, at most."""


class BlindStudy(anywidget.AnyWidget):
    """A view on a `Ballot`, `ballot`, which saves every answer at once: the study goes on after a reload or a restart.

    The page receives the question, the pixels of two pictures and the number of the pair: no path, no method, no identity of
    the trial.
    """

    _esm = page.script("blind_study")

    question = traitlets.Unicode().tag(sync=True)
    left = traitlets.Bytes().tag(sync=True)
    right = traitlets.Bytes().tag(sync=True)
    number = traitlets.Int().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    ties = traitlets.Bool().tag(sync=True)
    undoable = traitlets.Bool().tag(sync=True)
    finished = traitlets.Bool().tag(sync=True)
    revision = traitlets.Int().tag(sync=True)

    def __init__(self, ballot: Ballot):
        self.ballot = ballot
        self.error = ""
        self._shown: Shown | None = None
        super().__init__(total=len(ballot.plan.trials), ties=ballot.plan.ties)
        self.on_msg(lambda _, content, __: self.receive(content))
        self._show()

    def receive(self, message: dict[str, Any]) -> None:
        """Handle a message from the page: {"number": 3, "side": "left", "seconds": 2.5}, or {"undo": true}.

        An answer to an earlier pair is ignored: two quick key presses send one.
        """
        try:
            if message.get("undo"):
                if len(self.ballot):
                    self.ballot.undo()
            elif self._shown is not None and message.get("number") == self._shown.number:
                self.ballot.answer(self._shown.trial, str(message.get("side")), float(message.get("seconds", 0)))
            self.error = ""
        except (WorkbenchError, TypeError, ValueError) as error:
            self.error = str(error)
        self._show()

    def _show(self) -> None:
        self._shown = self.ballot.next()
        state: dict[str, Any] = {"finished": self._shown is None, "undoable": len(self.ballot) > 0}
        if self._shown is None:
            state |= {"left": b"", "right": b"", "number": self.total}
        else:
            plan = self.ballot.plan
            pictures = {"left": b"", "right": b""}
            try:
                pictures = {side: _pixels(plan.picture(getattr(self._shown, side))) for side in pictures}
            except Exception:  # its message would name the file, and the file may name the method
                self.error = "A picture of this pair cannot be read: contact the maker of the study."
            state |= {"question": self._shown.question, "number": self._shown.number, **pictures}
        if self.error:
            state["question"] = self.error
        with self.hold_sync():  # one change for the page
            for name, value in state.items():
                setattr(self, name, value)
            self.revision += 1


def _pixels(path: str) -> bytes:
    """The picture at `path` encoded anew, without the metadata of its file."""
    picture = images.load(path)
    return jpeg(images.resize(picture, SHOWN) if max(picture.shape[-2:]) > SHOWN else picture, quality=92)
