"""The transfer panel: controls, the picture while it is painted, its losses, and the code that repeats it."""

import html
import threading
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from workbench import encoders, figures, images, inputs, methods, samples, targets
from workbench.errors import UsageError, WorkbenchError
from workbench.figures.panels import SHOWN
from workbench.lab.buttons import Button, Buttons
from workbench.lab.choice import short
from workbench.lab.controls import Controls
from workbench.lab.copying import Copying
from workbench.lab.exploration import Exploration
from workbench.lab.film import Film
from workbench.lab.gallery import CHOOSE, Action, Gallery, Item
from workbench.lab.log_slider import LogSlider
from workbench.lab.loss_curves import LossCurves
from workbench.lab.picture import Picture
from workbench.lab.runner import Kept
from workbench.lab.strip import WorksStrip
from workbench.lab.swipe import MOST, Compare
from workbench.lab.thumbnails import THUMBNAIL, cover, jpeg
from workbench.lab.upload import FOLDER, Upload, keep
from workbench.names import plural
from workbench.strokes.painting import Options
from workbench.transfer import INITS

COMBINATIONS = ("blend/barycentre", "blend/softmin", "blend/patches")
"""Targets on offer beside those of `targets.NAMES`; a notebook can choose any other."""
LEFT, RIGHT = "360px", "420px"
"""Width of the controls, and of the picture."""
FILLS = {"width": "auto"}
"""Layout of a control. A dict gives each control a Layout of its own, so that one can be hidden alone."""
STYLE = {"description_width": "76px"}
"""Style of a control."""
LARGEST = 840
"""px. Long side of the picture that is sent to the page, at most: twice its width there."""
SMALL = 60
"""px. Height of the thumbnails of a picker."""
SIZES = (128, 192, 256, 384, 512, 768, 1024)
"""px. Long sides on offer."""
LISTED = 20
"""Lines on files of a corpus that are left out, at most."""
TYPED = ("content", "corpus", "single", "encoder", "retriever", "preview")
"""Controls that take any text, and keep a wrong one until it is mended."""
FOLDED = ("encoder", "retriever", "preview")
"""Those of them that are folded away with the settings."""
SLIDERS = (widgets.IntSlider, widgets.FloatSlider, LogSlider)
"""Controls whose latest value may still be on its way when a button is pressed."""
TOOLTIPS = {
    "content": "The photograph: an image file, or a sample. Relative paths begin where the kernel was started.",
    "corpus": "The artist: a folder of paintings, or a sample painter. Relative paths begin where the kernel was started.",
    "target": "Which paintings: one, the nearest, a blend by likeness, a style cluster, the whole oeuvre, or one per region. "
    "Of several, /barycentre takes the typical painting between them, /softmin comes near to whichever is nearest, "
    "/patches gives each place the most similar patch of all; without a word their statistics are averaged.",
    "tau": "How widely the weight is spread: near 0 the nearest painting has all, large values approach the whole oeuvre.",
    "alpha": "Weight of the content: more keeps the photograph, less lets the painting change it.",
    "beta": "Weight of the style: more brings strokes and colours of the paintings.",
    "tv": "Weight of smoothness: more removes speckles, and fine strokes with them.",
    "brush": "Size of the strokes beside those in the paintings: 1 is their own size, 0.5 half of it.",
    "looseness": "Blur, px, through which places are compared: more lets strokes leave the outlines.",
    "palette": "How far the colours follow the paintings before strokes are painted, 0 to 1.",
    "strength": "How much of the result is mixed into the photograph, 0 to 1.",
    "genre": "Only works of this genre, as metadata.csv has it.",
    "method": "How it is painted: neighbours takes over places of the paintings, gram statistics of whole ones, colours the "
    "palette alone, strokes lays brush strokes; networks paint at once.",
    "strokes": "How many strokes at most: a few show what counts, thousands bring details.",
    "single": "The one painting, by file name or title; a picture below chooses it, too.",
    "encoder": "The network whose features are matched.",
    "retriever": "The network that says which paintings fit the photograph.",
    "size": "Long side of the result. Twice as large takes about four times as long.",
    "steps": "Evaluations at full size; most of the change comes in the first thirty.",
    "colour": "Whose colours: those of the paintings, or the photograph's, or only light and dark from the paintings.",
    "init": "What it starts from: the photograph, noise, or what a network paints at once.",
    "preview": "A trained network that shows the choice at once; empty for none.",
}
"""What a control does, in a sentence or two."""


class TransferPanel(widgets.VBox):
    """Controls and pictures of an `Exploration`, `exploration`, which does the work and also works without a panel.

    All parts are views on the present choice: see `Exploration.shown`. Where that has not been painted, a preview is shown, or
    the content. A text that names nothing stays in its field with the reason below; until it is mended nothing can be started.
    """

    def __init__(
        self, exploration: Exploration | None = None, *, contents: tuple[str, ...] = (), corpora: tuple[str, ...] = ()
    ):
        """`contents`, `corpora`: paths that the pickers offer beside the samples; any other path can be typed."""
        self.exploration = exploration or Exploration()
        self.session, self.runner = self.exploration.session, self.exploration.runner
        self._offered = {"content": [*contents, *samples.PHOTOGRAPHS], "corpus": [*corpora, *samples.PAINTERS]}
        self._pickers = {
            "content": Gallery("Contents", _content_cover, self._pick("content"), choosable=True, height=SMALL),
            "corpus": Gallery("Artists", _corpus_cover, self._pick("corpus"), choosable=True, height=SMALL),
        }
        self.content, self.corpus = _typed("Content"), _typed("Artist")
        self.genre = _dropdown("Genre", [("all", "")])
        self.target = _dropdown("Target", (*targets.NAMES, *COMBINATIONS))
        self.method = _dropdown("Method", tuple(methods.METHODS))
        self.strokes = _log_slider("Strokes", 0, 4.5, 0.05, readout_format=".0f")
        self.single = _typed("Painting", placeholder="the one painting")
        self.tau = _log_slider("τ", -2, 1, 0.05)
        self.encoder = _typed("Encoder", _plain(encoders.PAINTING), ", ".join(encoders.PAINTING))
        self.retriever = _typed("Retriever", _plain(encoders.ENCODERS), ", ".join(encoders.ENCODERS))
        self.preview = _typed("Preview", ("artist",), "the file of a network")
        self.size = _dropdown("Size, px", SIZES)
        self.steps = widgets.IntSlider(description="Steps", min=1, max=300, layout=FILLS, style=STYLE)
        self.alpha = _log_slider("Content α", -3, 1, 0.1)
        self.beta = _log_slider("Style β", -2, 1, 0.1)
        self.tv = _slider("Smooth", 0, 0.5, 0.01)
        self.looseness = _slider("Looseness", 0, 8, 0.25)
        self.palette = _slider("Palette", 0, 1, 0.05)
        self.brush = _slider("Brush", 0.1, 2, 0.05)
        self.strength = _slider("Strength", 0, 1, 0.05)
        self.colour = _dropdown("Colour", ("style", "content", "luminance"))
        self.init = _dropdown("Start", INITS)
        self._named: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "content", "corpus", "genre", "target", "method", "strokes", "single", "tau", "encoder", "retriever", "size",
                "steps", "looseness", "palette", "alpha", "beta", "tv", "brush", "strength", "colour", "init", "preview",
            )
        }  # fmt: skip
        for name, tooltip in TOOLTIPS.items():
            self._named[name].tooltip = tooltip
        sliders = {name: control for name, control in self._named.items() if isinstance(control, SLIDERS)}
        self.buttons = Buttons(
            [
                Button("run", "Run", "Paint these settings", primary=True),
                Button("stop", "Stop", "End the run within a step; its picture is kept"),
                Button("resume", "Resume", "Go on with the run that was stopped"),
            ],
            self._press,
            sliders,
        )
        start = Button("properly", "Paint it properly", "Start the optimisation from the preview")
        self.properly = Buttons([start], self._press, sliders)
        self.progress = widgets.FloatProgress(min=0, max=1, layout=FILLS)
        self.message, self.caption, self.left_out, self.doubts = _line(), _line(), _line(), _line()
        self.upload = Upload(self._take, f"A picture from this machine; it is kept in the folder {FOLDER}")
        self.notes = {name: _line() for name in TYPED}
        self.image, self.curve = Picture(), LossCurves()
        self.copying = Copying(
            {
                "Copy as code": lambda: self._sound(self.exploration.code),
                "Copy as papermill": lambda: self._sound(self.exploration.command),
            }
        )
        self.strip = WorksStrip(self.exploration)
        self.film = Film(self.exploration)
        self.kept = Gallery(
            "Results",
            self._kept_thumbnail,
            self._use,
            choosable=True,
            lines=4,
            actions=(Action("save", "save", "{title}: save it as a file in the current folder, with its settings inside"),),
        )
        self.compare = widgets.ToggleButton(
            description="Compare", tooltip="The content and its results under one slider", layout=widgets.Layout(width="auto")
        )
        self._compared = widgets.VBox()
        self._results = widgets.VBox(
            [widgets.HBox([_heading("Results"), self.compare]), self.kept, self._compared],
            layout=widgets.Layout(display="none"),
        )
        self.wrong: dict[str, str] = {}
        """Controls whose text names nothing, and why."""
        self._said = ""  # what the last action came to, where it says more than the state
        self._alert = False  # whether that is a refusal
        self._opened: str | None = None  # the corpus whose genres and titles the controls offer
        self._updating = False  # while the controls are set to the choice, which must not change it
        self._drawn: Hashable = None  # the picture on show
        self._compared_content = ""
        self._doubted: tuple[Hashable, str] = None, ""
        self._unreadable: set[str] = set()  # corpora that are offered no more
        self._lock = threading.RLock()
        self._connect()
        super().__init__([*self._arranged(), Controls()])
        self.add_class("wb-panel")
        self.session.listen(self.exploration.preview.refresh_if_measured)
        self.session.listen(self.refresh)
        self.session.follow(self._follow)
        self._follow()  # last: it begins a preview, of whose end nobody would hear before

    def _arranged(self) -> list[widgets.Widget]:
        more = [self.size, self.steps, self.looseness, self.palette, self.alpha, self.beta, self.tv, self.brush, self.strength]
        more += [self.colour, self.init, *self._noted(*FOLDED)]
        self._settings = widgets.Accordion(
            [widgets.VBox(more)], titles=("Size, weights, brush, colour",), selected_index=None, layout=FILLS
        )
        left = [self._pickers["content"], *self._noted("content"), self.upload, self._pickers["corpus"], *self._noted("corpus")]
        left += [
            self.left_out,
            self.genre,
            self.target,
            self.method,
            self.strokes,
            *self._noted("single"),
            self.tau,
            self._settings,
        ]
        left += [self.buttons, self.progress, self.message]
        right = [self.image, self.caption, self.doubts, self.properly, self.film, self.curve]
        top = widgets.HBox(
            [
                widgets.VBox(left, layout=widgets.Layout(flex="0 0 auto", width=LEFT, max_width="100%")),
                widgets.VBox(right, layout=widgets.Layout(width=RIGHT, max_width="100%")),
            ]
        )
        top.layout.flex_flow, top.layout.grid_gap = "row wrap", "8px 16px"
        return [top, _heading("Which paintings"), self.strip, self._results, self.copying]

    def _noted(self, *names: str) -> list[widgets.Widget]:
        return [widget for name in names for widget in (self._named[name], self.notes[name])]

    def _connect(self) -> None:
        for name, control in self._named.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        self.compare.observe(lambda _: self._compare_results(), "value")

    def _pick(self, name: str) -> Any:
        return lambda key, _: setattr(getattr(self, name), "value", key)

    def _follow(self) -> None:
        """Show the present choice, and have it previewed; while a run is at work, that is what counts."""
        self._show_choice()
        self.exploration.preview.refresh()
        self.refresh()

    # What the page does

    def _changed(self, name: str, value: Any) -> None:
        if self._updating:
            return
        if isinstance(self._named[name], LogSlider):
            if not LogSlider.moved(value, self._value(name)):
                return
            value = LogSlider.rounded(value)
            value = round(value) if name == "strokes" else value
        self.wrong.pop(name, None)
        self._said = ""
        try:
            _check(name, value)
            self.session.change(**{name: value})
        except WorkbenchError as error:
            if name in TYPED:
                self.wrong[name] = str(error)
            else:
                self._show_choice()  # as it was
                self._said, self._alert = str(error), True
        self.refresh()

    def _press(self, name: str) -> None:
        """Do what a button says."""
        exploration = self.exploration
        actions = {"run": exploration.start, "resume": exploration.resume, "properly": exploration.paint_properly}
        self._said = ""
        try:
            actions.get(name, lambda: self.runner.stop(timeout=0))()
        except WorkbenchError as error:
            self._said, self._alert = str(error), True
        self.refresh()

    def _use(self, key: str, action: str) -> None:
        """Look at a result, with its settings, or save it."""
        self._said = ""
        kept = next((kept for kept in self.runner.kept if str(kept.number) == key.partition("-")[0]), None)
        if action == CHOOSE:
            self.wrong.clear()
            if kept is not None:
                self.exploration.open(kept)
            else:
                self.exploration.open()  # the run at work
        elif kept is not None:
            try:
                self._said, self._alert = f"saved as {self.exploration.save(kept)}", False
            except WorkbenchError as error:
                self._said, self._alert = str(error), True
        self.refresh()

    def _take(self, name: str, content: bytes) -> None:
        """Make an uploaded picture the content."""
        try:
            if (corpus := self.exploration.known_corpus()) is not None:
                corpus.check_outside(FOLDER / "picture")
            self.content.value = str(keep(name, content))
        except WorkbenchError as error:
            self._said, self._alert = str(error), True
        self.refresh()

    def _sound(self, make: Any) -> str:
        """`make()`, unless a field holds what it does not tell of."""
        for reason in self.wrong.values():
            raise UsageError(reason)
        return make()

    # The controls

    def _show_choice(self) -> None:
        """Set every control to the present choice; a value beyond what a control offers widens the control."""
        before, self._updating = self._updating, True
        try:
            for name, control in self._named.items():
                value = self._value(name)
                if name in self.wrong or name == "genre":
                    continue
                if isinstance(control, LogSlider):
                    control.place(value)
                    continue
                if isinstance(control, (widgets.IntSlider, widgets.FloatSlider)):
                    control.min, control.max = min(control.min, value), max(control.max, value)
                elif isinstance(control, widgets.Dropdown) and value not in control.options:
                    control.options = sorted({*control.options, value})
                control.value = value
            self._fill_works()
            self._show_pickers()
            self._hide_ignored()
        finally:
            self._updating = before
        if self.copying.text:  # which may repeat another choice
            self.copying.text = ""

    def _value(self, name: str) -> Any:
        """A field of the choice, or of its settings, or an option of its method."""
        choice = self.session.choice
        if name == "strokes":
            return (choice.stroke_options or Options()).strokes
        return getattr(choice if hasattr(choice, name) else choice.settings, name)

    def _show_pickers(self) -> None:
        """Mark the chosen content and corpus, and offer those typed beside the samples."""
        for name, gallery in self._pickers.items():
            value, offered = self._value(name), self._offered[name]
            offered[:] = [key for key in offered if key not in self._unreadable or key == value]
            if value not in offered:
                offered.insert(0, value)
            getattr(self, name).options = offered
            gallery.show(Item(key, short(key), marked=key == value) for key in offered)

    def _hide_ignored(self) -> None:
        """Hide the controls that make no difference to the present choice."""
        choice = self.session.choice
        request = choice.request
        ignored = methods.get(request.method).ignores
        shown = {name: name not in ignored for name in self._named if hasattr(choice.settings, name)}
        shown |= {"single": request.target == "single", "tau": request.tau is not None, "method": not choice.names_method}
        shown |= {"retriever": request.target in methods.RETRIEVED, "strokes": choice.stroke_options is not None}
        for name, visible in shown.items():
            self._named[name].layout.display = "" if visible else "none"
            if not visible:
                self.wrong.pop(name, None)

    def _fill_works(self) -> None:
        """Offer the genres and the titles of the chosen corpus, once it is open, and say which files are left out."""
        works = self.session.known_corpus()
        name = self.session.choice.corpus if works is not None else ""
        chosen = self.session.choice.genre
        if name == self._opened and self.genre.value == chosen:
            return
        before, self._updating = self._updating, True
        try:
            genres = self.session.genres() if works is not None else []
            self.genre.options = [("all", ""), *((genre, genre) for genre in dict.fromkeys([*genres, *filter(None, [chosen])]))]
            self.genre.value = chosen
            self.single.options = [work.name for work in works or ()]
            report = works.report if works is not None else None
            out = report.lines()[1 : 1 + len(report.rejected) + len(report.duplicates)] if report else []
            lines = "".join(f"<li>{html.escape(line)}</li>" for line in out[:LISTED])
            more = f"<li>and {len(out) - LISTED} more</li>" if len(out) > LISTED else ""
            summary = f"{plural(len(works or ()), 'painting')}; {plural(len(out), 'file')} left out"
            self.left_out.layout.display = "" if out else "none"
            self.left_out.value = f"<details><summary>{summary}</summary><ul>{lines}{more}</ul></details>" if out else ""
        finally:
            self._updating, self._opened = before, name

    # The picture and what is said of it

    def refresh(self) -> None:
        """Show the present state. Called while a run is at work, too, from the thread of that run."""
        with self._lock:  # the page and the run may call at the same time
            self._show()

    def _show(self) -> None:
        exploration, preview = self.exploration, self.exploration.preview
        running = self.runner.running  # first: what a run leaves behind is there before it ends
        at_work = running and exploration.current
        self._fill_works()
        shown = exploration.shown
        previewed = preview.shown if shown is None and not running else None
        if shown is not None:
            self._draw(shown.picture, f"Picture so far: after {_evaluations(shown)}", (shown.number, len(shown.losses)))
            self.curve.draw(shown.losses, shown.boundaries, shown.total_steps)
            _say(self.caption, f"{shown.number}: {shown.choice.label}" if at_work else shown.label)
        elif previewed is not None:
            self._draw(previewed.picture, previewed.line, previewed)
            _say(self.caption, "a preview of these settings is being painted" if preview.late else previewed.line)
        else:
            self._draw_content()
            _say(self.caption, preview.error or "the content: not painted with these settings yet")
        if shown is None:
            self.curve.draw((), (), 0)
        _say(self.doubts, self._doubts(shown))
        self.film.refresh()
        self.progress.value = 0.0 if shown is None else 1.0 if shown.complete else shown.done  # a plateau ends it early
        self._show_results(shown, running)
        self._show_notes()
        reason = self._reason()
        can = {"run": not (running or reason), "stop": running, "resume": not (running or reason) and exploration.resumable}
        self.buttons.enabled = [name for name, possible in can.items() if possible]
        goes_on = previewed is not None and methods.get(self.session.choice.request.method).takes_start
        self.properly.enabled = ["properly"] if goes_on and can["run"] else []
        self.properly.layout.display = "" if goes_on else "none"
        self._show_state(shown, running, at_work, reason)  # last, so that who reads it finds the rest shown

    def _doubts(self, shown: Kept | None) -> str:
        """What the picture on show, or the one that would be painted, lacks through no fault of its own."""
        strip = self.strip
        if shown is None and (strip.error or strip.gallery.dimmed or strip.target is None):
            return ""
        target = strip.target if shown is None else shown.target
        request = self.session.choice.request
        key = self.session.choice.key, target, self.session.library.sources(request).get("content")
        if key != self._doubted[0]:  # the content is a file, which need not be opened five times a second
            try:
                source = inputs.content_path(request.content)
                doubts = methods.get(request.method).doubts(target, request.settings, source)
            except WorkbenchError:  # the file is gone
                doubts = []
            self._doubted = key, "; ".join(doubts)
        return self._doubted[1]

    def _reason(self) -> str:
        """Why nothing can be started, or ""."""
        return next(iter(self.wrong.values()), self.strip.error)

    def _show_notes(self) -> None:
        """Put the reason why a text names nothing under its field."""
        notes = dict(self.wrong)
        if self.strip.error and self.session.choice.request.target == "single":
            notes.setdefault("single", self.strip.error)
        elif self.strip.error and self.session.known_corpus() is None:
            notes.setdefault("corpus", self.strip.error)
            self._unreadable.add(self.session.choice.corpus)
        for name, note in self.notes.items():
            _say(note, notes.get(name, ""), alert=True)
        if any(name in self.wrong for name in FOLDED):
            self._settings.selected_index = 0  # or nobody would see the reason

    def _show_results(self, shown: Kept | None, running: bool) -> None:
        runner = self.runner
        kept, working = runner.kept, runner.number if running else 0
        items = []
        for one in kept:
            title = f"{one.number}: {one.choice.label}, at work" if one.number == working else one.label
            here = shown is not None and shown.number == one.number
            items.append(Item(f"{one.number}-{len(one.losses)}", title, marked=here))
        if working and working not in [one.number for one in kept] and runner.choice is not None:
            items.append(Item(f"{working}-0", f"{working}: {runner.choice.label}, at work", marked=self.exploration.current))
        self._results.layout.display = "" if items else "none"
        new = [item.key for item in items] != [item["key"] for item in self.kept.items]
        self.kept.show(items)
        self.compare.disabled = not self._comparable()
        if new or self.compare.disabled or self._compared_content != self.session.choice.content:
            self._compare_results()

    def _show_state(self, shown: Kept | None, running: bool, at_work: bool, reason: str) -> None:
        """Report in a line what the last action came to, what is missing, or how far the run is."""
        exploration, runner = self.exploration, self.runner
        if self._said:
            _say(self.message, self._said, alert=self._alert)
        elif exploration.error:
            _say(self.message, exploration.error, alert=True)
        elif shown is not None:
            left = runner.seconds_left if at_work else None
            ended = "done" if shown.complete else "stopped"
            state = ended if not at_work else "at work" if left is None else f"about {left:.0f} s left"
            loss = shown.losses[-1]["total"]
            _say(self.message, f"{_evaluations(shown)}, {state}" + (f", loss {loss:.3g}, lower is better" if loss else ""))
        elif at_work:
            _say(self.message, f"measuring paintings … {self.session.measured}")
        elif running:
            _say(self.message, f"run {runner.number} is at work with other settings: press its picture under Results to see it")
        elif self.wrong:
            fields = [self._named[name].description for name in self.wrong]
            verb = "names" if len(fields) == 1 else "name"
            _say(self.message, f"{' and '.join(fields)} {verb} nothing: see the reason below the field", alert=True)
        elif reason:
            _say(self.message, reason, alert=True)
        elif exploration.current:
            _say(self.message, "stopped before the first evaluation")
        else:
            _say(self.message, "")

    def _comparable(self) -> list[Kept]:
        """The results of the present content: others show something else, perhaps in another shape."""
        choice = self.session.choice
        now = self.session.library.sources(choice.request).get("content")
        same = [k for k in self.runner.kept if k.choice.content == choice.content and k.sources.get("content") == now]
        return same[1 - MOST :]

    def _compare_results(self) -> None:
        """Lay the content and its results under one slider, where that is asked for: the last one over the content."""
        self._compared_content = self.session.choice.content
        results = self._comparable() if self.compare.value else []
        if not results:
            self._compared.children = ()
            return
        size = max(max(kept.picture.shape[-2:]) for kept in results)
        content = images.resize(self.session.library.content(self._compared_content, size), size)
        compare = Compare({"content": content} | {kept.label: kept.picture for kept in results})
        compare.right = len(results)
        self._compared.children = (compare,)

    def _kept_thumbnail(self, key: str) -> bytes:
        found = next((kept for kept in self.runner.kept if f"{kept.number}-{len(kept.losses)}" == key), None)
        return b"" if found is None else jpeg(images.resize(found.picture, 2 * THUMBNAIL))

    def _draw_content(self) -> None:
        """Show the content, in place of a picture that is not painted yet."""
        name = self.session.choice.content
        try:
            data = _content_cover(name, LARGEST // 2)
        except WorkbenchError:
            data = b""
        with self.image.hold_sync():
            self.image.alt = f"The content, not painted with these settings yet: {short(name)}"
            self.image.data, self._drawn = data, name

    def _draw(self, picture: Tensor, words: str, key: Hashable) -> None:
        with self.image.hold_sync():
            self.image.alt = words
            if key != self._drawn:
                self.image.data = jpeg(images.resize(picture, LARGEST) if max(picture.shape[-2:]) > LARGEST else picture)
                self._drawn = key


def snapshot(exploration: Exploration) -> figures.Figure:
    """The content and the last result of an exploration as a figure, in place of the panel where nobody can press a button.

    Runs the present choice where there is no result yet. Raises WorkbenchError where the run fails.
    """
    runner = exploration.runner
    if not runner.kept:
        runner.start(exploration.choice)
        runner.wait()
    if runner.error:
        raise WorkbenchError(runner.error)
    kept = runner.kept[-1]
    works = [
        (images.to_pil(work.load(figures.THUMBNAIL)), work.title, weight)
        for work, weight in zip(kept.target.works[:SHOWN], kept.target.weights[:SHOWN], strict=True)
    ]
    read, size = kept.sources.get("content"), kept.choice.settings.size
    content = exploration.session.library.content(kept.choice.content, size, sha256=read.sha256 if read else None)
    content = images.resize(content, size)
    result = figures.Panel(
        figures.target_title(kept.target, kept.choice.request.method), kept.picture, works=works, note=kept.target.note
    )
    return figures.side_by_side([figures.Panel("Content", content), result])


def _evaluations(kept: Kept) -> str:
    return plural(len(kept.losses), "evaluation")


def _content_cover(name: str, size: int = 2 * SMALL) -> bytes:
    return _content_jpeg(name, inputs.source(name).sha256, size)


@lru_cache(maxsize=64)
def _content_jpeg(name: str, sha256: str, size: int) -> bytes:
    return jpeg(images.resize(inputs.content(name, size, sha256=sha256), size))


def _corpus_cover(name: str) -> bytes:
    return cover(name, 2 * SMALL)


def _check(name: str, value: str) -> None:
    """WorkbenchError where the text of a control names nothing."""
    if name == "content":
        _content_cover(value)
    elif name == "corpus":
        inputs.corpus_path(value)
    elif name in ("encoder", "retriever"):
        encoders.known(value, paints=name == "encoder")


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f'<b role="heading" aria-level="3">{text}</b>')


def _line() -> widgets.HTML:
    return widgets.HTML(layout={"display": "none", "width": "auto"})


def _say(line: widgets.HTML, text: str, *, alert: bool = False) -> None:
    """Show `text` in a line of its own, which takes no room without one; long words are broken."""
    role, colour = ("alert", "color:var(--jp-error-color1,#b00020);") if alert else ("status", "")
    style = f"{colour}line-height:1.4;overflow-wrap:anywhere"
    words = f'<div role="{role}" style="{style}">{html.escape(text)}</div>' if text else ""
    if words != line.value:
        line.value, line.layout.display = words, "" if text else "none"


def _typed(description: str, options: tuple[str, ...] = (), placeholder: str = "a path") -> widgets.Combobox:
    return widgets.Combobox(
        description=description, options=options, placeholder=placeholder, continuous_update=False, layout=FILLS, style=STYLE
    )


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that stand for one thing, and are no form such as "vae:FILE"."""
    return tuple(name for name in names if ":" not in name)


def _dropdown(description: str, options: Any) -> widgets.Dropdown:
    return widgets.Dropdown(description=description, options=list(options), layout=FILLS, style=STYLE)


def _slider(description: str, low: float, high: float, step: float) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        description=description, min=low, max=high, step=step, readout_format=".2f", layout=FILLS, style=STYLE
    )


def _log_slider(description: str, low: float, high: float, step: float, **options: Any) -> LogSlider:
    return LogSlider(description, low, high, step, layout=FILLS, style=STYLE, **options)
