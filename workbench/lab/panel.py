"""The transfer panel: controls, the picture while it is painted, its losses, and the code that repeats it."""

import html
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from workbench import encoders, figures, images, inputs, methods, samples, targets
from workbench.errors import WorkbenchError
from workbench.figures.panels import SHOWN
from workbench.lab.copying import Copying
from workbench.lab.exploration import Exploration
from workbench.lab.gallery import Action, Gallery, Item
from workbench.lab.log_slider import LogSlider
from workbench.lab.loss_curves import LossCurves
from workbench.lab.picture import Picture
from workbench.lab.preview import Previewed
from workbench.lab.runner import Kept
from workbench.lab.strip import WorksStrip
from workbench.lab.swipe import MOST, Compare
from workbench.lab.thumbnails import THUMBNAIL, cover, jpeg
from workbench.paths import written
from workbench.transfer import INITS

COMBINATIONS = ("blend/barycentre", "blend/softmin", "blend/patches")
"""Targets on offer beside those of `targets.NAMES`; a notebook can choose any other."""
WIDE = {"width": "330px"}
"""Layout of a control. A dict gives each control a Layout of its own, so that one can be hidden alone."""
STYLE = {"description_width": "76px"}
"""Style of a control."""
LARGEST = 840
"""px. Long side of the picture that is sent to the page, at most: twice its width there."""
SMALL = 60
"""px. Height of the thumbnails of a picker."""
SIZES = (128, 192, 256, 384, 512, 768, 1024)
"""px. Long sides on offer."""
MEASURING = "measuring paintings …"


class TransferPanel(widgets.VBox):
    """Controls and pictures of an `Exploration`, `exploration`, which does the work and also works without a panel."""

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
        self.single = _typed("Painting", placeholder="the one painting")
        self.tau = _log_slider("τ", -2, 1, 0.05)
        self.encoder = _typed("Encoder", _plain(encoders.PAINTING), ", ".join(encoders.PAINTING))
        self.retriever = _typed("Retriever", _plain(encoders.ENCODERS), ", ".join(encoders.ENCODERS))
        self.preview = _typed("Preview", ("artist",), "the file of a network")
        self.size = _dropdown("Size, px", SIZES)
        self.steps = widgets.IntSlider(description="Steps", min=1, max=300, layout=WIDE, style=STYLE)
        self.alpha = _log_slider("Content α", -3, 1, 0.1)
        self.beta = _log_slider("Style β", -2, 1, 0.1)
        self.tv = widgets.FloatSlider(description="Smooth", max=0.5, step=0.01, readout_format=".2f", layout=WIDE, style=STYLE)
        self.looseness = widgets.FloatSlider(description="Looseness", max=8, step=0.25, layout=WIDE, style=STYLE)
        self.palette = widgets.FloatSlider(description="Palette", max=1, step=0.05, layout=WIDE, style=STYLE)
        self.brush = widgets.FloatSlider(description="Brush", min=0.1, max=2, step=0.05, layout=WIDE, style=STYLE)
        self.strength = widgets.FloatSlider(description="Strength", max=1, step=0.05, layout=WIDE, style=STYLE)
        self.colour = _dropdown("Colour", ("style", "content", "luminance"))
        self.init = _dropdown("Start", INITS)
        third = {"width": "108px"}
        self.run = widgets.Button(description="Run", button_style="primary", icon="play", layout=third)
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True, layout=third)
        self.resume = widgets.Button(description="Resume", icon="forward", disabled=True, layout=third)
        self.progress = widgets.FloatProgress(min=0, max=1, layout=WIDE)
        self.message = widgets.HTML()
        self.image, self.curve = Picture(), LossCurves()
        self.caption = widgets.HTML()
        self.properly = widgets.Button(description="Paint it properly", icon="paint-brush", layout={"width": "auto"})
        self.properly.tooltip = "Start the optimisation from the preview"
        self.copying = Copying({"Copy as code": self.exploration.code, "Copy as papermill": self.exploration.command})
        self.strip = WorksStrip(self.exploration)
        self.kept = Gallery(
            "Results",
            self._kept_thumbnail,
            self._use,
            choosable=True,
            actions=(Action("use", "settings", "{title}: its settings"),),
        )
        self.compare = widgets.ToggleButton(description="Compare results", layout=widgets.Layout(width="auto"))
        self._compared = widgets.VBox()
        self._results = widgets.VBox(
            [widgets.HBox([_heading("Results"), self.compare]), self.kept, self._compared],
            layout=widgets.Layout(display="none"),
        )
        self._opened: str | None = None  # the corpus whose genres and titles the controls offer
        self._updating = False  # while the controls are set to the choice, which must not change it
        self._earlier: Kept | None = None  # an earlier result that is shown in place of the last
        self._newer = True  # whether the choice has changed since a result was made or looked at
        self._lock = threading.RLock()
        self._named: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "content", "corpus", "genre", "target", "method", "single", "tau", "encoder", "retriever", "size", "steps",
                "looseness", "palette", "alpha", "beta", "tv", "brush", "strength", "colour", "init", "preview",
            )
        }  # fmt: skip
        self._show_choice()
        self._connect()
        super().__init__(self._arranged())
        self.session.listen(self.exploration.preview.refresh_if_measured)
        self.session.listen(self.refresh)
        self.session.follow(self._show_choice)
        self.session.follow(self._preview)
        self._preview()
        self.refresh()

    def _arranged(self) -> list[widgets.Widget]:
        more = [self.size, self.steps, self.looseness, self.palette, self.alpha, self.beta, self.tv, self.brush, self.strength]
        more += [self.colour, self.init, self.encoder, self.retriever, self.preview]
        settings = widgets.Accordion([widgets.VBox(more)], titles=("Size, weights, brush, colour",), selected_index=None)
        settings.layout.width = "334px"
        left = [self._pickers["content"], self.content, self._pickers["corpus"], self.corpus, self.genre, self.target]
        left += [
            self.method,
            self.single,
            self.tau,
            settings,
            widgets.HBox([self.run, self.stop, self.resume]),
            self.progress,
            self.message,
        ]
        for gallery in self._pickers.values():
            gallery.layout = widgets.Layout(width="345px")
        about = widgets.HBox([self.caption, self.properly], layout={"flex_flow": "row wrap"})
        right = widgets.VBox([self.image, about, self.curve], layout=widgets.Layout(margin="0 0 0 16px", width="420px"))
        top = widgets.HBox([widgets.VBox(left, layout=widgets.Layout(flex="0 0 auto")), right])
        top.layout.flex_flow = "row wrap"
        return [top, _heading("Which paintings"), self.strip, self._results, self.copying]

    def _connect(self) -> None:
        for name, control in self._named.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        self.run.on_click(lambda _: self._act(self.exploration.start))
        self.stop.on_click(lambda _: self._act(lambda: self.runner.stop(timeout=0)))
        self.resume.on_click(lambda _: self._act(self.exploration.resume))
        self.properly.on_click(lambda _: self._act(self.exploration.paint_properly))
        self.compare.observe(lambda _: self._compare_results(), "value")

    def _pick(self, name: str) -> Any:
        return lambda key, _: setattr(getattr(self, name), "value", key)

    def _show_choice(self) -> None:
        """Set every control to the present choice; a value beyond what a control offers widens the control."""
        self._updating = True
        try:
            for name, control in self._named.items():
                value = self._value(name)
                if isinstance(control, LogSlider):
                    control.place(value)
                    continue
                if isinstance(control, (widgets.IntSlider, widgets.FloatSlider)):
                    control.min, control.max = min(control.min, value), max(control.max, value)
                elif isinstance(control, widgets.Dropdown) and name != "genre" and value not in control.options:
                    control.options = sorted({*control.options, value})
                if name != "genre":
                    control.value = value
            self._fill_works()
            self._show_pickers()
            self._hide_ignored()
        finally:
            self._updating = False

    def _value(self, name: str) -> Any:
        """A field of the choice, or of its settings."""
        choice = self.session.choice
        return getattr(choice if hasattr(choice, name) else choice.settings, name)

    def _show_pickers(self) -> None:
        """Mark the chosen content and corpus, and offer those typed beside the samples."""
        for name, gallery in self._pickers.items():
            value, offered = self._value(name), self._offered[name]
            if value not in offered:
                offered.insert(0, value)
            getattr(self, name).options = offered
            gallery.show(Item(key, _short(key), marked=key == value) for key in offered)

    def _hide_ignored(self) -> None:
        """Hide the controls that make no difference to the present choice."""
        choice = self.session.choice
        request = choice.request
        ignored = methods.get(request.method).ignores
        shown = {name: name not in ignored for name in self._named if hasattr(choice.settings, name)}
        shown |= {"single": request.target == "single", "tau": request.tau is not None, "method": not choice.names_method}
        shown["retriever"] = request.target in methods.RETRIEVED
        for name, visible in shown.items():
            self._named[name].layout.display = "" if visible else "none"

    def _fill_works(self) -> None:
        """Offer the genres and the titles of the chosen corpus, once it is open."""
        works = self.session.known_corpus()
        name = self.session.choice.corpus if works is not None else ""
        if name == self._opened:
            return
        before, self._updating = self._updating, True
        try:
            genres = self.session.genres() if works is not None else []
            chosen = self.session.choice.genre
            self.genre.options = [("all", ""), *((genre, genre) for genre in dict.fromkeys([*genres, *filter(None, [chosen])]))]
            self.genre.value = chosen
            self.single.options = [work.name for work in works or ()]
        finally:
            self._updating, self._opened = before, name

    def _changed(self, name: str, value: Any) -> None:
        if self._updating or (name in ("tau", "alpha", "beta") and not LogSlider.moved(value, self._value(name))):
            return
        if name in self._offered and not _exists(name, value):
            self._report(f"{name} {value!r}: no file or folder of that name, and no sample", alert=True)
            return
        try:
            if name in ("encoder", "retriever"):
                encoders.known(value, paints=name == "encoder")
            self.session.change(**{name: value})
        except WorkbenchError as error:
            self._show_choice()  # as it was
            self._report(str(error), alert=True)
            return
        self._report("")

    def _act(self, action: Any) -> None:
        self._earlier = None
        try:
            action()
            self._newer = False
        except WorkbenchError as error:
            self._report(str(error), alert=True)
        self.refresh()

    def _preview(self) -> None:
        """Have the present choice previewed; while a run is at work, its picture is what counts."""
        if self.runner.running:
            return
        before, self._newer = self.exploration.preview.shown, True
        self.exploration.preview.refresh()
        if self.exploration.preview.shown is not before:
            self.refresh()

    def _use(self, key: str, action: str) -> None:
        """Show an earlier result in place of the last, or take over its settings."""
        kept = self.runner.kept[int(key)]
        if action == "use":
            self.session.choose(kept.choice)
        self._earlier, self._newer = kept, False
        self.refresh()

    def _compare_results(self) -> None:
        pictures = {f"{k + 1}: {kept.label}": kept.picture for k, kept in list(enumerate(self.runner.kept))[-MOST:]}
        self._compared.children = (Compare(pictures),) if self.compare.value and len(pictures) > 1 else ()

    def _kept_thumbnail(self, key: str) -> bytes:
        return jpeg(images.resize(self.runner.kept[int(key)].picture, 2 * THUMBNAIL))

    def _report(self, text: str, *, alert: bool = False) -> None:
        role = "alert" if alert else "status"
        self.message.value = f'<span role="{role}">{html.escape(text)}</span>'

    def refresh(self) -> None:
        """Show the present state. Called while a run is at work, too, from the thread of that run."""
        with self._lock:  # the page and the run may call at the same time
            self._show()

    def _show(self) -> None:
        self._fill_works()
        runner = self.runner
        running, losses = runner.running, runner.losses
        self.run.disabled, self.stop.disabled, self.resume.disabled = running, not running, not runner.resumable
        self.progress.value = runner.done
        earlier = None if running else self._earlier
        previewed = self.exploration.preview.shown if self._newer and not running else None
        self._caption(previewed)
        if previewed is not None:
            self._draw(previewed.picture, previewed.line)
            self.curve.draw((), (), 0)
        elif earlier is not None:
            self._draw(earlier.picture, f"Picture so far: {earlier.label}")
            self.curve.draw(earlier.losses, (), len(earlier.losses))
        elif (picture := runner.picture) is not None:
            self._draw(picture, f"Picture so far: after {_evaluations(losses)}, {runner.done:.0%} done")
            self.curve.draw(losses, runner.boundaries, runner.total_steps)
        kept = runner.kept
        self._results.layout.display = "" if kept else "none"
        shown = None if previewed else self._earlier or (kept[-1] if kept else None)
        self.kept.show(Item(str(k), f"{k + 1}: {one.label}", marked=one is shown) for k, one in enumerate(kept))
        self.compare.disabled = len(kept) < 2
        self._show_state(running, losses)  # last, so that who reads it finds the rest shown

    def _show_state(self, running: bool, losses: Sequence[Mapping[str, float]]) -> None:
        """Report in a line how far the run is."""
        runner = self.runner
        if runner.error:
            self._report(runner.error, alert=True)
        elif losses:
            left = runner.seconds_left
            ended = "stopped" if runner.resumable else "done"
            state = ended if not running else "at work" if left is None else f"about {left:.0f} s left"
            loss = losses[-1]["total"]
            self._report(f"{_evaluations(losses)}, {state}" + (f", loss {loss:.3g}" if loss else ""))
        elif running:
            self._report(MEASURING)
        elif MEASURING in self.message.value:
            self._report("stopped")

    def _caption(self, previewed: Previewed | None) -> None:
        """Say that the picture is a preview, or why there is none, and offer to paint it properly."""
        text = previewed.line if previewed else "" if self.runner.running else self.exploration.preview.error
        self.caption.value = f'<span role="status">{html.escape(text)}</span>' if text else ""
        steps = previewed is not None and methods.get(self.session.choice.request.method).has_steps
        self.properly.layout.display = "" if steps else "none"

    def _draw(self, picture: Tensor, words: str) -> None:
        with self.image.hold_sync():
            self.image.alt = words
            self.image.data = jpeg(images.resize(picture, LARGEST) if max(picture.shape[-2:]) > LARGEST else picture)


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
    content = images.resize(inputs.content(kept.choice.content, kept.choice.settings.size), kept.choice.settings.size)
    result = figures.Panel(
        figures.target_title(kept.target, kept.choice.request.method), kept.picture, works=works, note=kept.target.note
    )
    return figures.side_by_side([figures.Panel("Content", content), result])


def _evaluations(losses: Sequence[Mapping[str, float]]) -> str:
    return f"{len(losses)} evaluation{'' if len(losses) == 1 else 's'}"


def _content_cover(name: str) -> bytes:
    return jpeg(images.resize(inputs.content(name, 2 * SMALL), 2 * SMALL))


def _corpus_cover(name: str) -> bytes:
    return cover(name, 2 * SMALL)


def _short(name: str) -> str:
    """The name of a file or a folder without its path, as the title of a thumbnail."""
    path = written(name)
    return path.stem if path.is_file() else path.name


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f'<b role="heading" aria-level="3">{text}</b>')


def _typed(description: str, options: tuple[str, ...] = (), placeholder: str = "a path") -> widgets.Combobox:
    return widgets.Combobox(
        description=description, options=options, placeholder=placeholder, continuous_update=False, layout=WIDE, style=STYLE
    )


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that stand for one thing, and are no form such as "vae:FILE"."""
    return tuple(name for name in names if ":" not in name)


def _dropdown(description: str, options: Any) -> widgets.Dropdown:
    return widgets.Dropdown(description=description, options=list(options), layout=WIDE, style=STYLE)


def _log_slider(description: str, low: float, high: float, step: float) -> LogSlider:
    return LogSlider(description, low, high, step, layout=WIDE, style=STYLE)


def _exists(name: str, value: str) -> bool:
    """Whether the text of a picker names a content or a corpus; a path half typed does not."""
    if not value:
        return False  # a field that is being cleared; and Path("") is the working directory
    if name == "content":
        return value in samples.PHOTOGRAPHS or written(value).is_file()
    return value in samples.PAINTERS or written(value).is_dir()
