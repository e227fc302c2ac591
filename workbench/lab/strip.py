"""The works of a target as a strip of thumbnails with weights to drag; buttons pin a work or leave it out."""

import html
import threading

import ipywidgets as widgets

from workbench import samples
from workbench.errors import WorkbenchError
from workbench.lab.controls import Controls
from workbench.lab.exploration import Exploration
from workbench.lab.gallery import Action, Gallery, Item
from workbench.lab.log_slider import LogSlider
from workbench.lab.matches import RegionMatches
from workbench.lab.thumbnails import thumbnail
from workbench.names import plural
from workbench.targets import StyleTarget

LEAST = 1e-3
"""Share of a work whose weight is dragged to nothing: one without any would leave the strip."""
SHOWN = 24
"""Works in the strip, at most."""
OFFERED = 200
"""Works to choose a single one from, at most."""
EFFECTIVE = "How many paintings of equal weight would be as concentrated: 1 / sum of the squared weights"
ACTIONS = (
    Action("pin", "pin", "{title}: keep it with the others, at half of the weight; again lets it go"),
    Action("out", "out", "{title}: leave it out"),
)


class WorksStrip(widgets.VBox):
    """The heaviest works of an exploration's target, and the works that its regions were matched with.

    The strip follows every change of the choice. A corpus that is not measured yet is measured in a thread; meanwhile the
    former works are dimmed. For the target single it shows all works of the corpus, and pressing one chooses it.
    error: one line on why the present choice has no target, or "".
    """

    def __init__(self, exploration: Exploration, shown: int = SHOWN, *, tau: bool = False):
        """`shown`: works at most; `tau`: whether the strip has a slider for τ of its own, for use without a panel."""
        self.exploration = exploration
        self.session = exploration.session
        self.shown = shown
        self.target: StyleTarget | None = None
        self.error = ""
        self._waiting = False
        self._lock = threading.RLock()
        self.message = widgets.HTML()
        self.gallery = Gallery("Paintings of the target", self._thumbnail, self._act, weighed=self.weigh, actions=ACTIONS)
        self.offered = Gallery("Paintings to choose from", self._offered_thumbnail, self._choose, choosable=True)
        self.matches = RegionMatches()
        self.back = widgets.Button(description="All works again", layout=widgets.Layout(width="auto"), disabled=True)
        self.back.on_click(lambda _: self.session.change(exclude=(), pinned=(), weights=()))
        self.tau = LogSlider(
            "τ", -2, 1, 0.05, self.session.choice.tau, layout={"width": "420px", "display": "" if tau else "none"}
        )
        self.tau.observe(lambda change: self._move(change["new"]), "value")
        self.message.layout.max_width = "760px"
        line = widgets.HBox([self.message, self.back], layout={"flex_flow": "row wrap"})
        super().__init__([self.tau, line, self.gallery, self.offered, self.matches, Controls()])
        self.session.listen(self._refresh_if_measured)
        self.session.follow(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the works of the present choice, or the reason why there are none."""
        with self._lock:  # the page and the measuring thread may call at the same time
            self._refresh()

    def _refresh(self) -> None:
        self._waiting, self.error = False, ""
        choice = self.session.choice
        self.back.disabled = not (choice.exclude or choice.pinned or choice.weights)
        self._offer()
        try:
            target = self.session.target_soon()
        except WorkbenchError as error:
            self.error, self.target, self.gallery.dimmed = str(error), None, False
            choosing = bool(self.offered.items) and not choice.single
            alert = f'<span role="alert">{html.escape(self.error)}</span>'
            self._report("target single: press the painting that it is to be" if choosing else alert)
            self.gallery.show([])
            self.matches.show(choice.content, None)
            return
        self.gallery.dimmed = target is None
        if target is None:
            self._waiting = True
            self._report(html.escape(f"measuring paintings … {self.session.measured}"))
            self.matches.show(choice.content, None)
            return
        self.target = target
        count = len(target.works)
        some = f", the {self.shown} heaviest shown" if count > self.shown else ""
        left_out = [f"{len(choice.exclude)} left out"] if choice.exclude else []
        words = [f"{plural(count, 'work')}{some}", *left_out]
        words += [f"effective number {target.effective_number:.1f}"] if "effective number" not in target.note else []
        said = html.escape(", ".join([*words, target.note]))
        self._report(said.replace("effective number", f'<span title="{EFFECTIVE}">effective number</span>', 1))
        places = {item["key"]: place for place, item in enumerate(self.gallery.items)} if choice.weights else {}
        found = zip(target.works, target.weights, strict=True)  # the heaviest first
        heaviest = sorted(found, key=lambda one: places.get(one[0].name, len(places)))[: self.shown]  # none moves while dragged
        self.gallery.show(Item(w.name, w.title, "", weight, w.name in choice.pinned) for w, weight in heaviest)
        self.matches.show(choice.content, target)

    def _offer(self) -> None:
        """Show the works that the one painting can be chosen from, where the target is single and the corpus is open."""
        choice = self.session.choice
        single = choice.request.target == "single"
        self.gallery.layout.display = "none" if single and not choice.pinned else ""
        self.offered.layout.display = "" if single else "none"
        works = self.session.known_corpus() if single else None
        left = [work for work in works or () if choice.genre in ("", work.genre) and work.name not in choice.exclude]
        named = choice.single or (samples.a_single(choice.corpus) if works and choice.corpus in samples.PAINTERS else "")
        chosen = {work.name for work in works.named(named)} if works and named else set()
        self.offered.show(Item(work.name, work.title, marked=work.name in chosen) for work in left[:OFFERED])

    def _choose(self, name: str, _: str) -> None:
        self.session.change(single=name)

    def pin(self, name: str) -> None:
        """Pin the work of this file name, or unpin it: it is kept with the others, whatever the target."""
        pinned = self.session.choice.pinned
        self.session.change(pinned=tuple(n for n in pinned if n != name) if name in pinned else (*pinned, name))

    def weigh(self, name: str, share: float) -> None:
        """Give the work of this file name a share of the weight, 0 to 1.

        The others keep their proportions to each other, and pinned works their weights, as long as others can give way.
        """
        if self.target is None or len(self.target.works) < 2:
            return
        weights = {w.name: weight for w, weight in zip(self.target.works, self.target.weights, strict=True)}
        if name not in weights:
            return  # a work that has left the target meanwhile
        held = {name, *self.session.choice.pinned}
        free = sum(weight for other, weight in weights.items() if other not in held)
        if free < LEAST:
            held, free = {name}, 1 - weights[name]
        room = free + weights[name]
        share = min(max(share, LEAST), room - LEAST)
        others = {o: weight if o in held else weight * (room - share) / free for o, weight in weights.items() if o != name}
        self.session.change(weights=((name, share), *others.items()))

    def leave_out(self, name: str) -> None:
        """Leave the work of this file name out of every target."""
        choice = self.session.choice
        pinned = tuple(n for n in choice.pinned if n != name)
        weights = tuple((n, weight) for n, weight in choice.weights if n != name)
        self.session.change(exclude=(*choice.exclude, name), pinned=pinned, weights=weights)

    def _act(self, name: str, action: str) -> None:
        try:
            if action == "pin":
                self.pin(name)
            else:
                self.leave_out(name)
        except WorkbenchError as error:
            self._report(f'<span role="alert">{html.escape(str(error))}</span>')

    def _move(self, tau: float) -> None:
        if LogSlider.moved(tau, self.session.choice.tau):
            self.session.change(tau=LogSlider.rounded(tau))

    def _refresh_if_measured(self) -> None:
        with self._lock:
            if self._waiting and not self.session.measuring:
                self._refresh()
            elif self._waiting:
                self._report(html.escape(f"measuring paintings … {self.session.measured}"))

    def _report(self, text: str) -> None:
        if text != self.message.value:
            self.message.value = text

    def _offered_thumbnail(self, name: str) -> bytes:
        return next((thumbnail(work) for work in self.session.known_corpus() or () if work.name == name), b"")

    def _thumbnail(self, name: str) -> bytes:
        works = self.target.works if self.target else ()
        return next((thumbnail(work) for work in works if work.name == name), b"")
