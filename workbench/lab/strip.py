"""Which paintings: the works behind a target as a strip of thumbnails with their weights; click to pin or to leave out."""

import html

import ipywidgets as widgets

from workbench.corpus import Work
from workbench.errors import WorkbenchError
from workbench.lab.exploration import Exploration
from workbench.lab.pictures import thumbnail

SHOWN = 10


class WorksStrip(widgets.VBox):
    """The heaviest works of an exploration's target. `refresh()` after every change of the choice: milliseconds."""

    def __init__(self, exploration: Exploration, shown: int = SHOWN):
        self.exploration = exploration
        self.says = widgets.HTML()
        self.cells = [_Cell(self) for _ in range(shown)]
        self.back = widgets.Button(description="All works again", layout=widgets.Layout(width="auto"), disabled=True)
        self.back.on_click(lambda _: self._change(exclude=(), pinned=()))
        row = widgets.HBox(self.cells, layout=widgets.Layout(overflow="auto hidden"))
        super().__init__([widgets.HBox([self.says, self.back]), row])
        self.refresh()

    def refresh(self) -> None:
        """Show the works that the present choice stands for, or why there are none."""
        choice = self.exploration.choice
        self.back.disabled = not (choice.exclude or choice.pinned)
        try:
            target = self.exploration.target()
        except WorkbenchError as error:
            self.says.value = f'<span role="alert">{html.escape(str(error))}</span>'
            for cell in self.cells:
                cell.show(None, 0.0)
            return
        out = f", {len(choice.exclude)} left out" if choice.exclude else ""
        note = f"{len(target.works)} works, effective number {target.effective_number:.1f}{out}. {target.note}"
        self.says.value = html.escape(note)
        found = [*zip(target.works, target.weights, strict=True), *[(None, 0.0)] * len(self.cells)]
        for cell, (work, weight) in zip(self.cells, found, strict=False):
            cell.show(work, weight)

    def pin(self, work: Work) -> None:
        """Give all the weight to this work, and those pinned already; let go of it if it is one of these."""
        pinned = self.exploration.choice.pinned
        self._change(pinned=tuple(n for n in pinned if n != work.name) if work.name in pinned else (*pinned, work.name))

    def leave_out(self, work: Work) -> None:
        """Leave this work out of every target."""
        choice = self.exploration.choice
        self._change(exclude=(*choice.exclude, work.name), pinned=tuple(n for n in choice.pinned if n != work.name))

    def _change(self, **changes: tuple[str, ...]) -> None:
        self.exploration.change(**changes)
        self.refresh()


class _Cell(widgets.VBox):
    """One work of a strip."""

    def __init__(self, strip: WorksStrip):
        self.work: Work | None = None
        narrow = widgets.Layout(width="44px", padding="0")
        self.image = widgets.Image(format="jpeg", layout=widgets.Layout(width="92px", height="92px", object_fit="contain"))
        self.text = widgets.HTML(layout=widgets.Layout(width="92px"))
        self.pin = widgets.Button(description="pin", layout=narrow)
        self.out = widgets.Button(description="out", layout=narrow)
        self.pin.on_click(lambda _: self.work and strip.pin(self.work))
        self.out.on_click(lambda _: self.work and strip.leave_out(self.work))
        super().__init__([self.image, self.text, widgets.HBox([self.pin, self.out])])
        self.strip = strip

    def show(self, work: Work | None, weight: float) -> None:
        """Show `work` with its weight, or nothing."""
        self.layout.visibility = "visible" if work else "hidden"
        if work is None:
            self.work = None
            return
        if work != self.work:
            self.work, self.image.value = work, thumbnail(work)
            self.pin.tooltip, self.out.tooltip = f"{work.title}: all weight to it", f"{work.title}: leave it out"
        self.pin.button_style = "info" if work.name in self.strip.exploration.choice.pinned else ""
        bar = f'<div style="height:4px;width:{max(weight, 0.01):.0%};background:var(--jp-brand-color1,#0072b2)"></div>'
        title = html.escape(work.title)
        style = "line-height:1.2;font-size:11px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
        self.text.value = f'<div style="{style}" title="{title}">{bar}{weight:.0%} {title}</div>'
