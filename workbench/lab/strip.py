"""Which paintings: the works behind a target as a strip of thumbnails with their weights; click to pin or to leave out."""

import html
import threading

import ipywidgets as widgets

from workbench.errors import WorkbenchError
from workbench.lab.exploration import Exploration
from workbench.lab.gallery import Action, Gallery, Item
from workbench.lab.log_slider import LogSlider
from workbench.lab.matches import RegionMatches
from workbench.lab.thumbnails import thumbnail
from workbench.targets import StyleTarget

SHOWN = 24
ACTIONS = (
    Action("pin", "pin", "{title}: all weight to it"),
    Action("out", "out", "{title}: leave it out"),
)


class WorksStrip(widgets.VBox):
    """The heaviest works of an exploration's target, and where its regions found theirs.

    It follows every change of the choice: in milliseconds, for a corpus that is measured; else it is measured in a thread.
    """

    def __init__(self, exploration: Exploration, shown: int = SHOWN, *, tau: bool = False):
        """`shown`: works at most; `tau`: whether a slider for τ stands above, which a panel has of its own."""
        self.exploration = exploration
        self.shown = shown
        self.target: StyleTarget | None = None
        self._waiting = False
        self._lock = threading.RLock()
        self.says = widgets.HTML()
        self.gallery = Gallery("Paintings of the target", self._thumbnail, self._act, actions=ACTIONS)
        self.matches = RegionMatches()
        self.back = widgets.Button(description="All works again", layout=widgets.Layout(width="auto"), disabled=True)
        self.back.on_click(lambda _: self.exploration.change(exclude=(), pinned=()))
        self.tau = LogSlider(
            "τ", -2, 1, 0.05, exploration.choice.tau, layout={"width": "420px", "display": "" if tau else "none"}
        )
        self.tau.observe(lambda change: self._move(change["new"]), "value")
        super().__init__([self.tau, widgets.HBox([self.says, self.back]), self.gallery, self.matches])
        exploration.listen(self._heard)
        exploration.follow(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the works that the present choice stands for, or why there are none."""
        with self._lock:  # the page's thread and that which measures come here
            self._refresh()

    def _refresh(self) -> None:
        self._waiting = False
        choice = self.exploration.choice
        self.back.disabled = not (choice.exclude or choice.pinned)
        try:
            target = self.exploration.target_soon()
        except WorkbenchError as error:
            self._say(f'<span role="alert">{html.escape(str(error))}</span>')
            self.target = None
            self.gallery.show([])
            self.matches.show(choice.content, None)
            return
        if target is None:
            self._waiting = True
            self._say("measuring paintings …")
            return
        self.target = target
        words = [f"{len(target.works)} works", *([f"{len(choice.exclude)} left out"] if choice.exclude else [])]
        words += [f"effective number {target.effective_number:.1f}"] if "effective number" not in target.note else []
        self._say(html.escape(", ".join([*words, target.note])))
        heaviest = list(zip(target.works, target.weights, strict=True))[: self.shown]
        self.gallery.show(Item(w.name, w.title, "", weight, w.name in choice.pinned) for w, weight in heaviest)
        self.matches.show(choice.content, target)

    def pin(self, name: str) -> None:
        """Give all the weight to the work of this file name, and those pinned already; let go of it if it is one of these."""
        pinned = self.exploration.choice.pinned
        self.exploration.change(pinned=tuple(n for n in pinned if n != name) if name in pinned else (*pinned, name))

    def leave_out(self, name: str) -> None:
        """Leave the work of this file name out of every target."""
        choice = self.exploration.choice
        self.exploration.change(exclude=(*choice.exclude, name), pinned=tuple(n for n in choice.pinned if n != name))

    def _act(self, name: str, action: str) -> None:
        if action == "pin":
            self.pin(name)
        else:
            self.leave_out(name)

    def _move(self, tau: float) -> None:
        if LogSlider.moved(tau, self.exploration.choice.tau):
            self.exploration.change(tau=tau)

    def _heard(self) -> None:
        with self._lock:
            if self._waiting and not self.exploration.measuring:
                self._refresh()

    def _say(self, text: str) -> None:
        if text != self.says.value:
            self.says.value = text

    def _thumbnail(self, name: str) -> bytes:
        works = self.target.works if self.target else ()
        return next((thumbnail(work) for work in works if work.name == name), b"")
