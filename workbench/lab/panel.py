"""The transfer panel: every control of an exploration, a live picture, its losses, and what it takes to repeat it."""

import html
import threading
from math import log10
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from workbench import comparison, figures, images, inputs, samples, targets
from workbench.errors import UsageError, WorkbenchError
from workbench.figures.panels import SHOWN
from workbench.lab.exploration import Exploration
from workbench.lab.pictures import jpeg, png
from workbench.lab.strip import WorksStrip

COMBINATIONS = ("blend/barycentre", "blend/apart", "blend/bag")
WIDE = widgets.Layout(width="290px")
STYLE = {"description_width": "72px"}
LARGEST = 840  # px, long side of the live picture: twice what is seen
CURVE_EVERY = 10  # evaluations between two drawings of the losses
SIZES = (128, 192, 256, 384, 512, 768, 1024)


class TransferPanel(widgets.VBox):
    """A view on an `Exploration`, `exploration`, which does all the work and lives on without it."""

    def __init__(
        self, exploration: Exploration | None = None, *, contents: tuple[str, ...] = (), corpora: tuple[str, ...] = ()
    ):
        """`contents`, `corpora`: what the pickers offer beside the samples; any path can be typed."""
        self.exploration = exploration or Exploration()
        choice, settings = self.exploration.choice, self.exploration.choice.settings
        self.content = _picker("Content", (*contents, *samples.PHOTOGRAPHS), choice.content)
        self.corpus = _picker("Artist", (*corpora, *samples.PAINTERS), choice.corpus)
        self.genre = widgets.Dropdown(description="Genre", options=[("all", "")], layout=WIDE, style=STYLE)
        self.target = _dropdown("Target", tuple(dict.fromkeys((*targets.NAMES, *COMBINATIONS, choice.target))), choice.target)
        self.single = _picker("Painting", (), choice.single)
        self.single.placeholder = "for the target single"
        self.tau = widgets.FloatLogSlider(
            description="τ",
            value=choice.tau,
            min=min(-2, log10(choice.tau)),
            max=max(1, log10(choice.tau)),
            step=0.05,
            readout_format=".3f",
            layout=WIDE,
            style=STYLE,
        )
        self.encoder = _picker("Encoder", ("embedded", "vgg19", "random"), choice.encoder)
        self.size = _dropdown("Size, px", tuple(sorted({*SIZES, settings.size})), settings.size)
        self.steps = widgets.IntSlider(
            description="Steps", value=settings.steps, min=1, max=max(300, settings.steps), layout=WIDE, style=STYLE
        )
        self.alpha = widgets.FloatLogSlider(
            description="Content α",
            value=max(settings.alpha, 1e-3),
            min=-3,
            max=max(1, log10(max(settings.alpha, 1e-3))),
            step=0.1,
            layout=WIDE,
            style=STYLE,
        )
        self.brush = widgets.FloatSlider(
            description="Brush",
            value=settings.brush,
            min=min(0.25, settings.brush),
            max=max(2, settings.brush),
            step=0.05,
            layout=WIDE,
            style=STYLE,
        )
        self.colour = _dropdown("Colour", ("style", "content", "luminance"), settings.colour)
        self.run = widgets.Button(description="Run", button_style="primary", icon="play")
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.resume = widgets.Button(description="Resume", icon="forward", disabled=True)
        self.progress = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="290px"))
        self.says = widgets.HTML()
        self.image = widgets.Image(format="jpeg", layout=widgets.Layout(max_width="420px", object_fit="contain"))
        self.curve = widgets.Image(format="png", layout=widgets.Layout(max_width="420px"))
        self.copy_code = widgets.Button(description="Show as code", icon="code")
        self.copy_command = widgets.Button(description="Show as papermill", icon="terminal")
        self.copied = widgets.Textarea(layout=widgets.Layout(width="600px", height="150px", display="none"))
        self.strip = WorksStrip(self.exploration)
        self._drawn = -1
        self._lock = threading.RLock()
        self._fill()
        self._connect()
        left = [self.content, self.corpus, self.genre, self.target, self.single, self.tau, self.encoder]
        left += [self.size, self.steps, self.alpha, self.brush, self.colour]
        left += [widgets.HBox([self.run, self.stop, self.resume]), self.progress, self.says]
        right = [self.image, self.curve]
        super().__init__(
            [
                widgets.HBox([widgets.VBox(left), widgets.VBox(right, layout=widgets.Layout(margin="0 0 0 16px"))]),
                self.strip,
                widgets.HBox([self.copy_code, self.copy_command]),
                self.copied,
            ]
        )
        self.exploration.listen(self.refresh)
        self.refresh()

    def _connect(self) -> None:
        named = {
            "content": self.content, "corpus": self.corpus, "genre": self.genre, "target": self.target, "single": self.single,
            "tau": self.tau, "encoder": self.encoder, "size": self.size, "steps": self.steps, "alpha": self.alpha,
            "brush": self.brush, "colour": self.colour,
        }  # fmt: skip
        for name, control in named.items():
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        self.run.on_click(lambda _: self._act(self.exploration.start))
        self.stop.on_click(lambda _: self._halt())
        self.resume.on_click(lambda _: self._act(self.exploration.resume))
        self.copy_code.on_click(lambda _: self._copy(self.exploration.code))
        self.copy_command.on_click(lambda _: self._copy(self.exploration.command))

    def _changed(self, name: str, value: Any) -> None:
        if name in ("content", "corpus", "encoder") and not _known(name, value):
            self.says.value = html.escape(f"{name} {value!r}: no file or folder of that name, and no sample")
            return
        try:
            self.exploration.change(**{name: value})
        except UsageError as error:
            self.says.value = html.escape(str(error))
            return
        self.says.value = ""
        if name == "corpus":
            self._fill()
        self.strip.refresh()

    def _fill(self) -> None:
        """Offer the genres and the titles of the corpus chosen."""
        try:
            genres, works = self.exploration.genres(), self.exploration.corpus().works
        except WorkbenchError:
            genres, works = [], ()
        chosen = self.exploration.choice.genre
        self.genre.options = [("all", ""), *((genre, genre) for genre in genres)]
        self.genre.value = chosen if chosen in genres else ""
        self.single.options = [work.name for work in works]
        self.single.value = self.exploration.choice.single

    def _act(self, action: Any) -> None:
        try:
            action()
        except WorkbenchError as error:
            self.says.value = html.escape(str(error))
        self.refresh()

    def _halt(self) -> None:
        self.exploration.stop(timeout=0)
        self.refresh()

    def _copy(self, text: Any) -> None:
        try:
            self.copied.value = text()
        except WorkbenchError as error:
            self.copied.value = str(error)
        self.copied.layout.display = "block"

    def refresh(self) -> None:
        """Show the state of the exploration: called by it, from its own thread, while it runs."""
        with self._lock:  # two threads come here, and the buttons are to agree
            self._show()

    def _show(self) -> None:
        e = self.exploration
        running, losses = e.running, e.losses
        self.run.disabled, self.stop.disabled, self.resume.disabled = running, not running, not e.resumable
        self.progress.value = e.done
        if e.error:
            self.says.value = f'<span role="alert">{html.escape(e.error)}</span>'
        elif losses:
            left = e.seconds_left
            state = f"about {left:.0f} s left" if running and left is not None else "stopped" if e.resumable else "done"
            self.says.value = f"{len(losses)} evaluations, {state}, loss {losses[-1]['total']:.3g}"
        else:
            self.says.value = "measuring paintings" if running else ""
        picture = e.picture
        if picture is not None:
            self.image.value = jpeg(images.resize(picture, LARGEST) if max(picture.shape[-2:]) > LARGEST else picture)
        if len(losses) > 1 and (not running or abs(len(losses) - self._drawn) >= CURVE_EVERY):
            self._drawn = len(losses)
            self.curve.value = png(_curve(e))


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
        (images.to_pil(work.load(comparison.THUMBNAIL)), work.title, weight)
        for work, weight in zip(kept.target.works[:SHOWN], kept.target.weights[:SHOWN], strict=True)
    ]
    content = images.resize(inputs.content(kept.choice.content), kept.choice.settings.size)
    result = figures.Panel(comparison.title(kept.target), kept.picture, works=works, note=kept.target.note)
    return figures.comparison([figures.Panel("Content", content), result])


def _curve(exploration: Exploration) -> figures.Figure:
    losses = exploration.losses
    names = [name for name in ("total", "content", "style") if name in losses[0]]
    series = {name: [step[name] for step in losses] for name in names}
    reached = [b for b in exploration.boundaries if b[0] < len(losses)]
    return figures.curves(series, x_label="evaluations", y_label="loss", boundaries=reached)


def _picker(description: str, options: tuple[str, ...], value: str) -> widgets.Combobox:
    return widgets.Combobox(
        description=description,
        options=list(dict.fromkeys(options)),
        value=value,
        continuous_update=False,
        layout=WIDE,
        style=STYLE,
    )


def _dropdown(description: str, options: tuple, value: Any) -> widgets.Dropdown:
    return widgets.Dropdown(description=description, options=list(options), value=value, layout=WIDE, style=STYLE)


def _known(name: str, value: str) -> bool:
    """Whether a picker's text names something; while a path is being typed it does not yet."""
    if not value:
        return False  # a field that is being cleared; and Path("") is the working directory
    if name == "encoder":
        return value in ("embedded", "vgg19", "random") or value.startswith(("clip:", "embedded:"))
    if name == "content":
        return value in samples.PHOTOGRAPHS or Path(value).is_file()
    return value in samples.PAINTERS or Path(value).is_dir()
