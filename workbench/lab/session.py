"""The present choice, and the paintings that it stands for."""

import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields, replace
from typing import Any

from workbench import progress
from workbench.corpora import Corpus
from workbench.errors import UsageError, WorkbenchError, require
from workbench.lab.choice import Choice
from workbench.methods import Library, parse
from workbench.methods.strokes import BrushStrokes
from workbench.targets import StyleTarget
from workbench.transfer import INITS, Settings

SLOW = ("cluster", "regions")
"""Targets that take more than the weights of measured works."""
TELL_EVERY = 0.5
"""Seconds between two notifications of works being measured, at least."""


class Session:
    """A choice that may be changed at any time, and the views on it."""

    def __init__(self, choice: Choice, library: Library):
        self.choice = choice
        self.library = library
        self._listeners: list[Callable[[], None]] = []
        self._followers: list[Callable[[], None]] = []
        self._measuring: threading.Thread | None = None
        self.measured = ""
        """How far a thread of `target_soon` is, in words."""
        self._failure: tuple[Hashable, str] | None = None
        """Key of the target that could not be found, and the reason."""

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener()` after `notify`, in the thread that called it."""
        self._listeners.append(listener)

    def follow(self, follower: Callable[[], None]) -> None:
        """Call `follower()` after every change of the choice, in the thread that made it."""
        self._followers.append(follower)

    def notify(self) -> None:
        """Call all listeners: there is something new to show."""
        _call(self._listeners)

    def choose(self, choice: Choice) -> None:
        """Make `choice` the present one. A corpus that is chosen again is looked at again: its files may have been replaced."""
        if choice.corpus != self.choice.corpus:
            self.library.look_again([choice.corpus])
        self.choice = choice
        _call(self._followers)

    def change(self, **changes: Any) -> Choice:
        """Change fields of the choice and of its settings by name; returns the new choice.

        `strokes`, an option of the method of that name, is the number of strokes. Another method clears the options.
        Another corpus clears the genre, the single painting, and the works left out, pinned or weighted; another genre clears
        pins and weights, a target or τ the weights, and the target regions the pins, which it does not take.
        Where a method that paints the start (`Settings.init`) does not go with the change, the content is the start again.
        Raises UsageError for an unknown name and for values that do not go together; the choice then stays as it was.
        """
        own = {f.name for f in fields(Choice)} - {"settings"}
        numbers = {f.name for f in fields(Settings)}
        for name in changes:
            known = own | numbers | {"strokes"}
            require(name in known, f"there is no {name!r} to choose: {', '.join(sorted(known))}")
        if changes.get("method", self.choice.settings.method) != self.choice.settings.method:
            changes = {"options": (), **changes}
        settings = replace(self.choice.settings, **{name: value for name, value in changes.items() if name in numbers})
        if "strokes" in changes:
            method = parse(changes.get("target", self.choice.target), settings)[2].method
            require(method == BrushStrokes.name, f"strokes goes with the method strokes, not with {method}")
            options = BrushStrokes().options(settings)
            settings = replace(settings, options=replace(options, strokes=changes["strokes"]).words)
        mine = {name: value for name, value in changes.items() if name in own}
        if mine.get("corpus", self.choice.corpus) != self.choice.corpus:
            mine = {"exclude": (), "pinned": (), "weights": (), "genre": "", "single": "", **mine}
        elif mine.get("genre", self.choice.genre) != self.choice.genre:
            mine = {"pinned": (), "weights": (), **mine}
        elif {"target", "tau"} & mine.keys():
            mine = {"weights": (), **mine}
        if "regions" in mine.get("target", ""):
            mine = {"pinned": (), **mine}
        try:
            choice = replace(self.choice, settings=settings, **mine)
        except UsageError:
            if "init" in changes or settings.init in INITS:
                raise
            choice = replace(self.choice, settings=replace(settings, init=INITS[0]), **mine)
        self.choose(choice)
        return choice

    def corpus(self, choice: Choice | None = None) -> Corpus:
        """All works of the corpus of `choice`, or of the present one."""
        return self.library.corpus((choice or self.choice).corpus)

    def known_corpus(self) -> Corpus | None:
        """The chosen corpus if it is open: opening a large folder, or painting a sample corpus, takes seconds."""
        return self.library.known_corpus(self.choice.corpus)

    def genres(self) -> list[str]:
        """The genres of the chosen corpus, sorted."""
        return sorted({work.genre for work in self.corpus() if work.genre})

    def target(self, choice: Choice | None = None) -> StyleTarget:
        """The works, and their weights, of `choice`, or of the present one. Measures the works where necessary."""
        return self.library.target((choice or self.choice).request)

    def target_soon(self) -> StyleTarget | None:
        """The target of the present choice where that takes milliseconds; else None.

        After None the target is found in a thread, and then the listeners are called. Raises WorkbenchError, as `target` does,
        where that has failed; it is tried again after the choice of another target.
        """
        request = self.choice.request
        if self._failure is not None and self._failure[0] == self.library.target_key(request):
            raise WorkbenchError(self._failure[1])
        require(not request.missing or self.known_corpus() is None, request.missing)
        quick = self.library.knows_selections(request) and request.target not in SLOW
        if quick or self.library.knows_target(request):
            return self.library.target(request)
        if not self.measuring:
            self._measuring = threading.Thread(target=self._measure, args=(self.choice,), name="measuring", daemon=True)
            self._measuring.start()
        return None

    @property
    def measuring(self) -> bool:
        """Whether a thread of `target_soon` is at work."""
        thread = self._measuring
        return thread is not None and thread.is_alive()

    def _measure(self, choice: Choice) -> None:
        self._failure = None
        told = time.monotonic()

        def tell(label: str, count: int, total: int) -> None:
            nonlocal told
            self.measured = f"{label}, {count} of {total}"
            if time.monotonic() - told >= TELL_EVERY:
                told = time.monotonic()
                self.notify()

        try:
            with progress.stoppable(threading.Event()), progress.watched(tell):
                self.corpus(choice) if choice.request.missing else self.target(choice)
        except progress.Stopped:  # the interpreter ends
            pass
        except WorkbenchError as error:
            self._failure = (self.library.target_key(choice.request), str(error))
        except Exception as error:  # a thread has no caller to raise it to
            self._failure = (self.library.target_key(choice.request), f"{type(error).__name__}: {error}")
            traceback.print_exc()
        finally:
            self._measuring, self.measured = None, ""
            self.notify()


def _call(views: Iterable[Callable[[], None]]) -> None:
    for view in views:
        try:
            view()
        except Exception:  # a view that fails must not stop the run, nor the other views
            traceback.print_exc()
