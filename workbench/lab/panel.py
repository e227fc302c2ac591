"""The transfer panel: every control of an exploration, a live picture, its losses, and what it takes to repeat it."""

import html
import threading
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from workbench import figures, images, inputs, methods, samples, targets
from workbench.errors import UsageError, WorkbenchError
from workbench.figures.panels import SHOWN
from workbench.lab.copying import Copying
from workbench.lab.exploration import Choice, Exploration, Kept
from workbench.lab.gallery import Action, Gallery, Item
from workbench.lab.log_slider import LogSlider
from workbench.lab.loss_curves import LossCurves
from workbench.lab.picture import Picture
from workbench.lab.strip import WorksStrip
from workbench.lab.swipe import MOST, Compare
from workbench.lab.thumbnails import THUMBNAIL, cover, jpeg

COMBINATIONS = ("blend/barycentre", "blend/softmin", "blend/patches")
WIDE = {"width": "330px"}  # a control's layout: each has its own, so that one can be hidden
STYLE = {"description_width": "76px"}
LARGEST = 840  # px, long side of the live picture: twice what is seen
SMALL = 60  # px, height of the thumbnails of a picker
SIZES = (128, 192, 256, 384, 512, 768, 1024)
MEASURING = "measuring paintings …"
ENCODERS = ("embedded", "vgg19", "random")


class TransferPanel(widgets.VBox):
    """A view on an `Exploration`, `exploration`, which does all the work and lives on without it."""

    def __init__(
        self, exploration: Exploration | None = None, *, contents: tuple[str, ...] = (), corpora: tuple[str, ...] = ()
    ):
        """`contents`, `corpora`: what the pickers offer beside the samples; any path can be typed."""
        self.exploration = exploration or Exploration()
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
        self.encoder = _typed("Encoder", ENCODERS)
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
        third = {"width": "108px"}
        self.run = widgets.Button(description="Run", button_style="primary", icon="play", layout=third)
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True, layout=third)
        self.resume = widgets.Button(description="Resume", icon="forward", disabled=True, layout=third)
        self.progress = widgets.FloatProgress(min=0, max=1, layout=WIDE)
        self.says = widgets.HTML()
        self.image, self.curve = Picture(), LossCurves()
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
        self._opened: str | None = None  # the corpus whose genres and titles are on offer
        self._quiet = False  # while controls follow the choice, and not the choice the controls
        self._looking_at: Kept | None = None  # an earlier result that is shown in place of the last
        self._lock = threading.RLock()
        self._named: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "content", "corpus", "genre", "target", "method", "single", "tau", "encoder", "size", "steps", "looseness",
                "palette", "alpha", "beta", "tv", "brush", "strength", "colour",
            )
        }  # fmt: skip
        self._follow()
        self._connect()
        super().__init__(self._arranged())
        self.exploration.listen(self.refresh)
        self.exploration.follow(self._follow)
        self.refresh()

    def _arranged(self) -> list[widgets.Widget]:
        more = [self.size, self.steps, self.looseness, self.palette, self.alpha, self.beta, self.tv, self.brush, self.strength]
        more += [self.colour, self.encoder]
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
            self.says,
        ]
        for gallery in self._pickers.values():
            gallery.layout = widgets.Layout(width="345px")
        right = widgets.VBox([self.image, self.curve], layout=widgets.Layout(margin="0 0 0 16px", width="420px"))
        top = widgets.HBox([widgets.VBox(left, layout=widgets.Layout(flex="0 0 auto")), right])
        top.layout.flex_flow = "row wrap"
        return [top, _heading("Which paintings"), self.strip, self._results, self.copying]

    def _connect(self) -> None:
        for name, control in self._named.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        self.run.on_click(lambda _: self._act(self.exploration.start))
        self.stop.on_click(lambda _: self._halt())
        self.resume.on_click(lambda _: self._act(self.exploration.resume))
        self.compare.observe(lambda _: self._compare_results(), "value")

    def _pick(self, name: str) -> Any:
        return lambda key, _: setattr(getattr(self, name), "value", key)

    def _follow(self) -> None:
        """Let every control show the choice, whose values widen what a control offers."""
        choice, self._quiet = self.exploration.choice, True
        try:
            for name, control in self._named.items():
                value = self._chosen(name)
                if isinstance(control, LogSlider):
                    control.place(value)
                    continue
                if isinstance(control, (widgets.IntSlider, widgets.FloatSlider)):
                    control.min, control.max = min(control.min, value), max(control.max, value)
                elif isinstance(control, widgets.Dropdown) and name != "genre" and value not in control.options:
                    control.options = sorted({*control.options, value})
                if name != "genre":
                    control.value = value
            self._offer()
            self._mark(choice)
        finally:
            self._quiet = False

    def _chosen(self, name: str) -> Any:
        """A field of the choice, or of its settings."""
        choice = self.exploration.choice
        return getattr(choice if hasattr(choice, name) else choice.settings, name)

    def _mark(self, choice: Choice) -> None:
        """Mark what is chosen in the pickers, and offer what was typed beside the rest; hide what does not count."""
        for name, gallery in self._pickers.items():
            value, offered = getattr(choice, name), self._offered[name]
            if value not in offered:
                offered.insert(0, value)
            getattr(self, name).options = offered
            gallery.show(Item(key, _short(key), marked=key == value) for key in offered)
        word = choice.chosen.partition("/")[0]
        self.single.layout.display = "" if word == "single" else "none"
        self.method.layout.display = "none" if {"/", ":"} & set(choice.target) else ""  # which then says the method
        for control in (self.looseness, self.palette):
            control.layout.display = "" if choice.made_with.method == "neighbours" else "none"
        self.tau.layout.display = "" if word in ("blend", "cluster", "regions") else "none"

    def _offer(self) -> None:
        """Offer the genres and the titles of the corpus chosen, once it has been opened."""
        works = self.exploration.known_corpus()
        name = self.exploration.choice.corpus if works is not None else ""
        if name == self._opened:
            return
        before, self._quiet = self._quiet, True
        try:
            genres = self.exploration.genres() if works is not None else []
            chosen = self.exploration.choice.genre
            self.genre.options = [("all", ""), *((genre, genre) for genre in dict.fromkeys([*genres, *filter(None, [chosen])]))]
            self.genre.value = chosen
            self.single.options = [work.name for work in works or ()]
        finally:
            self._quiet, self._opened = before, name

    def _changed(self, name: str, value: Any) -> None:
        if self._quiet or (name in ("tau", "alpha", "beta") and not LogSlider.moved(value, self._chosen(name))):
            return
        if name in self._offered and not _known(name, value):
            self._say(f"{name} {value!r}: no file or folder of that name, and no sample", alert=True)
            return
        if name == "encoder" and value not in ENCODERS and not value.startswith(("clip:", "embedded:")):
            self._say(f"encoder {value!r}: choose {', '.join(ENCODERS)}", alert=True)
            return
        try:
            self.exploration.change(**{name: value})
        except UsageError as error:
            self._say(str(error), alert=True)
            return
        self._say("")

    def _act(self, action: Any) -> None:
        self._looking_at = None
        try:
            action()
        except WorkbenchError as error:
            self._say(str(error), alert=True)
        self.refresh()

    def _halt(self) -> None:
        self.exploration.stop(timeout=0)
        self.refresh()

    def _use(self, key: str, action: str) -> None:
        """Show an earlier result in place of the last, or take over its settings."""
        kept = self.exploration.kept[int(key)]
        if action == "use":
            self.exploration.choose(kept.choice)
        self._looking_at = kept
        self.refresh()

    def _compare_results(self) -> None:
        pictures = {f"{k + 1}: {kept.label}": kept.picture for k, kept in list(enumerate(self.exploration.kept))[-MOST:]}
        self._compared.children = (Compare(pictures),) if self.compare.value and len(pictures) > 1 else ()

    def _kept_thumbnail(self, key: str) -> bytes:
        return jpeg(images.resize(self.exploration.kept[int(key)].picture, 2 * THUMBNAIL))

    def _say(self, text: str, *, alert: bool = False) -> None:
        role = "alert" if alert else "status"
        self.says.value = f'<span role="{role}">{html.escape(text)}</span>'

    def refresh(self) -> None:
        """Show the state of the exploration: called by it, from its own thread, while it runs."""
        with self._lock:  # two threads come here, and the buttons are to agree
            self._show()

    def _show(self) -> None:
        e = self.exploration
        self._offer()
        running, losses = e.running, e.losses
        self.run.disabled, self.stop.disabled, self.resume.disabled = running, not running, not e.resumable
        self.progress.value = e.done
        if e.error:
            self._say(e.error, alert=True)
        elif losses:
            left = e.seconds_left
            state = f"about {left:.0f} s left" if running and left is not None else "stopped" if e.resumable else "done"
            self._say(f"{len(losses)} evaluations, {state}, loss {losses[-1]['total']:.3g}")
        elif running:
            self._say(MEASURING)
        elif MEASURING in self.says.value:
            self._say("stopped")
        if self._looking_at is not None and not running:
            self._draw(self._looking_at.picture, self._looking_at.label)
            self.curve.draw(self._looking_at.losses, (), len(self._looking_at.losses))
        elif (picture := e.picture) is not None:
            self._draw(picture, f"after {len(losses)} evaluations, {e.done:.0%} done")
            self.curve.draw(losses, e.boundaries, e.total_steps)
        self._results.layout.display = "" if e.kept else "none"
        shown = self._looking_at or (e.kept[-1] if e.kept else None)
        self.kept.show(Item(str(k), f"{k + 1}: {kept.label}", marked=kept is shown) for k, kept in enumerate(e.kept))
        self.compare.disabled = len(e.kept) < 2

    def _draw(self, picture: Tensor, words: str) -> None:
        with self.image.hold_sync():
            self.image.alt = f"Picture so far: {words}"
            self.image.data = jpeg(images.resize(picture, LARGEST) if max(picture.shape[-2:]) > LARGEST else picture)


def snapshot(exploration: Exploration) -> figures.Figure:
    """The content and the last result of an exploration, which is run if it has none: what stands for the panel on paper.

    Raises WorkbenchError where the run fails.
    """
    if not exploration.kept:
        exploration.start()
        exploration.wait()
    if exploration.error:
        raise WorkbenchError(exploration.error)
    kept = exploration.kept[-1]
    works = [
        (images.to_pil(work.load(figures.THUMBNAIL)), work.title, weight)
        for work, weight in zip(kept.target.works[:SHOWN], kept.target.weights[:SHOWN], strict=True)
    ]
    content = images.resize(inputs.content(kept.choice.content), kept.choice.settings.size)
    result = figures.Panel(
        figures.target_title(kept.target, kept.choice.made_with.method), kept.picture, works=works, note=kept.target.note
    )
    return figures.side_by_side([figures.Panel("Content", content), result])


def _content_cover(name: str) -> bytes:
    return jpeg(images.resize(inputs.content(name), 2 * SMALL))


def _corpus_cover(name: str) -> bytes:
    return cover(name, 2 * SMALL)


def _short(name: str) -> str:
    """What a thumbnail is called: a file's or folder's own name, without where it lies."""
    path = Path(name)
    return path.stem if path.is_file() else path.name


def _heading(text: str) -> widgets.HTML:
    return widgets.HTML(f'<b role="heading" aria-level="3">{text}</b>')


def _typed(description: str, options: tuple[str, ...] = (), placeholder: str = "a path") -> widgets.Combobox:
    return widgets.Combobox(
        description=description, options=options, placeholder=placeholder, continuous_update=False, layout=WIDE, style=STYLE
    )


def _dropdown(description: str, options: Any) -> widgets.Dropdown:
    return widgets.Dropdown(description=description, options=list(options), layout=WIDE, style=STYLE)


def _log_slider(description: str, low: float, high: float, step: float) -> LogSlider:
    return LogSlider(description, low, high, step, layout=WIDE, style=STYLE)


def _known(name: str, value: str) -> bool:
    """Whether a picker's text names something; while a path is being typed it does not yet."""
    if not value:
        return False  # a field that is being cleared; and Path("") is the working directory
    if name == "content":
        return value in samples.PHOTOGRAPHS or Path(value).is_file()
    return value in samples.PAINTERS or Path(value).is_dir()
