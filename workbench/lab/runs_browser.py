"""Runs as thumbnails: filter them, open one with its provenance, compare several, lay them out as small multiples."""

import html
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from workbench import figures, images
from workbench.errors import WorkbenchError, require
from workbench.lab.gallery import CHOOSE, Action, Gallery, Item
from workbench.lab.picture import Picture
from workbench.lab.swipe import MOST, Compare
from workbench.lab.thumbnails import jpeg
from workbench.runs.browsing import (
    Archive,
    Entry,
    differing,
    multiples,
    spelled,
    table,
    written,
)

SHOWN = 24
"""Runs that are shown at first, and further ones with every press of "More"."""
THUMBNAIL = 128
"""px. Height of a thumbnail on the page."""
LARGEST = 1600
"""px. Long side of the opened picture, at most."""
WIDTH, TALLEST = 900, 640
"""px. Width and height of a picture on the page, at most."""
SMALLEST = 360
"""px. Width to which a small picture is enlarged."""
MARK = "mark"
"""The action of the button under a thumbnail."""
SIDES = ("Run", "Compare", "Small multiples")
HINT = 'size=256 tau<0.1 blend.content<=0.5 status=failed "a text"'
STYLE = """<style>
.wb-runs table { border-collapse: collapse; font-size: 12px; line-height: 1.35; }
.wb-runs th, .wb-runs td { text-align: left; vertical-align: top; padding: 1px 12px 1px 0; overflow-wrap: anywhere; }
.wb-runs th { font-weight: normal; color: var(--jp-content-font-color2, #5f5f5f); }
.wb-runs caption, .wb-runs summary { text-align: left; font-weight: 600; padding: 4px 0 2px; cursor: default; }
.wb-runs summary { cursor: pointer; }
.wb-runs pre { max-height: 320px; overflow: auto; margin: 0; padding: 6px; font-size: 11px; line-height: 1.35;
  color: var(--jp-content-font-color1, #1a1a1a); background: var(--jp-layout-color2, #eee); white-space: pre-wrap; }
.wb-runs .tables { display: flex; flex-wrap: wrap; gap: 8px 40px; align-items: flex-start; max-height: 320px; overflow: auto; }
.wb-runs .error { color: var(--jp-error-color1, #b00020); }
</style>"""


class RunsBrowser(widgets.VBox):
    """A view on an `Archive`, `archive`.

    `found` are the runs that meet the filter, `opened` the one whose details are shown, `marked` those to compare, in the order
    in which they were marked.
    """

    def __init__(self, archive: Archive | None = None):
        self.archive = Archive() if archive is None else archive  # an empty one is false
        self.found: list[Entry] = []
        self._differs: list[dict[str, Any]] = []  # for each of them, the parameters that differ among them
        self.opened: Entry | None = None
        self.marked: list[Entry] = []
        self.limit = SHOWN
        self._texts = ""  # the last filter that could be read
        self._keys: dict[str, tuple[Entry, Path | None]] = {}  # key of a thumbnail -> run, picture
        self._files: dict[str, Path] = {}  # key of a thumbnail -> picture of the opened run
        self._filling = False
        self.filter = widgets.Text(
            description="Filter", placeholder=HINT, continuous_update=False, layout=widgets.Layout(width="min(440px, 100%)")
        )
        self.picture = _dropdown("Picture", [("first of each", "")])
        self.again = _button("Refresh", "refresh", "find runs that are new or have changed")
        self.message = widgets.HTML()
        self.count = widgets.HTML()
        self.gallery = Gallery(
            "Runs", self._thumbnail, self._act, actions=[Action(MARK, "mark", "mark {title} to compare")],
            choosable=True, height=THUMBNAIL, wrap=True,
        )  # fmt: skip
        self.more = _button("More", "chevron-down", "show more of the runs found")
        self.unmark = _button("Unmark all", "times", "mark no run to compare")
        self.heading = widgets.HTML("Press a run to see all of it.")
        self.files = Gallery("Pictures of the run", self._file, self._choose_file, choosable=True, height=72)
        self.large = Picture(width=WIDTH)
        self.details = widgets.HTML()
        self.compare = _button("Compare", "columns", f"lay the pictures of the marked runs side by side, two to {MOST}")
        self.marks = widgets.HTML()
        self.comparison = widgets.VBox()
        self.across = _dropdown("Across", [])
        self.down = _dropdown("Down", [("one row", "")])
        self.metric = _dropdown("Metric", [("none", "")])
        self.draw = _button("Draw", "th", "one picture per run, in rows and columns of its parameters")
        self.drawn = Picture(width=WIDTH)
        self.sides = widgets.Tab(
            [
                widgets.VBox([self.heading, self.files, self.large, self.details]),
                widgets.VBox([_row(self.compare, self.unmark, self.marks), self.comparison]),
                widgets.VBox([_row(self.across, self.down, self.metric, self.draw), self.drawn]),
            ],
            titles=SIDES,
            selected_index=0,
        )
        self._connect()
        super().__init__(
            [
                widgets.HTML(STYLE, layout=widgets.Layout(display="none")),
                _row(self.filter, self.picture, self.again),
                self.message,
                self.count,
                self.gallery,
                self.more,
                self.sides,
            ]
        )
        self.add_class("wb-runs")
        self.refresh()

    def _connect(self) -> None:
        self.filter.observe(lambda _: self._try(self._filter), "value")
        self.picture.observe(lambda _: self._filling or self._try(self._show), "value")
        self.again.on_click(lambda _: self.refresh())
        self.more.on_click(lambda _: self._try(self._more))
        self.unmark.on_click(lambda _: self._try(self._unmark))
        self.compare.on_click(lambda _: self._try(self._side_by_side))
        self.draw.on_click(lambda _: self._try(self._multiples))

    def _try(self, action: Callable[[], None]) -> None:
        """Do `action`; where that fails, show why in a line."""
        try:
            action()
        except WorkbenchError as error:
            self.message.value = f'<span class="error" role="alert">{html.escape(str(error))}</span>'
        else:
            self.message.value = ""

    # Finding

    def refresh(self) -> None:
        """Search for runs again; runs that are opened or marked stay so if they still exist."""
        self._try(self._refresh)

    def _refresh(self) -> None:
        known = {entry.folder: entry for entry in self.archive.refresh()}
        self.marked = [known[entry.folder] for entry in self.marked if entry.folder in known]
        if self.opened is not None:
            self._open(known.get(self.opened.folder))
        self._show()
        self._filter()

    def _filter(self) -> None:
        found = self.archive.filter(self.filter.value)
        if self.filter.value != self._texts:
            self._texts, self.limit = self.filter.value, SHOWN
        self.found, self._differs = found, table(found)
        self._fill_dropdowns()
        self._show()

    def _more(self) -> None:
        self.limit += SHOWN
        self._show()

    def _fill_dropdowns(self) -> None:
        """Fill the dropdowns with the pictures, parameters and metrics of the found runs; keep choices that still exist."""
        counted = Counter(name for entry in self.found for name in entry.names)
        varied = list(dict.fromkeys(name for row in self._differs for name in row))
        measured = sorted({name for entry in self.found for name in entry.metrics})
        fresh = not self.across.options
        self._filling = True
        _fill(self.picture, [("first of each", ""), *((name, name) for name, _ in counted.most_common())])
        _fill(self.across, [(name, name) for name in varied])
        _fill(self.down, [("one row", ""), *((name, name) for name in varied)])
        _fill(self.metric, [("none", ""), *((name, name) for name in measured)])
        if fresh and len(varied) > 1:
            self.down.value = varied[1]
        self._filling = False
        self.draw.disabled = not varied

    def _show(self) -> None:
        """Show the found runs, `limit` at most."""
        shown, marked = self.found[: self.limit], {entry.folder for entry in self.marked}
        self._keys, items = {}, []
        for entry, differs in zip(shown, self._differs, strict=False):
            path = entry.picture(self.picture.value)
            key = f"{entry.folder}|{_version(path)}"
            self._keys[key] = (entry, path)
            state = "" if entry.status == "complete" else f"{entry.status} · "
            items.append(Item(key, _named(differs) or entry.id, f"{state}{entry.notebook}", None, entry.folder in marked))
        self.gallery.show(items)
        total = len(self.archive)
        cut = f", the newest {len(shown)} shown" if len(shown) < len(self.found) else ""
        where = " and ".join(map(str, self.archive.folders))
        text = f"{len(self.found)} of {total} runs{cut}" if total else f"no runs in {where}: workbench run makes one"
        self.count.value = f'<span role="status">{html.escape(text)}</span>'
        self.more.layout.display = "" if cut else "none"
        self.unmark.disabled, self.compare.disabled = not self.marked, len(self.marked) < 2
        self.compare.description = f"Compare {len(self.marked)}" if self.marked else "Compare"
        names = ", ".join(_titles(self.marked)) or f'Press "mark" below two to {MOST} runs.'
        self.marks.value = html.escape(names)

    def _thumbnail(self, key: str) -> bytes:
        entry, path = self._keys[key]
        if path is None:
            return _placeholder("no picture" if entry.status == "complete" else entry.status)
        return jpeg(images.load(path, 2 * THUMBNAIL))

    def _act(self, key: str, action: str) -> None:
        entry = self._keys[key][0]
        if action == CHOOSE:
            self._try(lambda: self._open(entry))
            self.sides.selected_index = SIDES.index("Run")
        elif action == MARK:
            self._try(lambda: self._toggle_mark(entry))

    # One run

    def _open(self, entry: Entry | None) -> None:
        """Show all of a run: its pictures, numbers and provenance."""
        self.opened = entry
        if entry is None:
            self.heading.value, self.details.value, self.large.data = "The run is gone.", "", b""
            self.files.show([])
            return
        self.heading.value = _heading(entry)
        self._enlarge(entry.picture(self.picture.value) or entry.picture())

    def _choose_file(self, key: str, action: str) -> None:
        if action == CHOOSE:
            self._try(lambda: self._enlarge(self._files[key]))

    def _enlarge(self, path: Path | None) -> None:
        """Show one of the opened run's pictures large."""
        entry = self.opened
        self._files = {f"{path}|{_version(path)}": path for path in entry.pictures}
        self.files.show(Item(key, file.name, marked=file == path) for key, file in self._files.items())
        self.details.value = _details(entry, path)
        self.large.data = b""
        if path is not None:
            picture = _bounded(path)
            height, width = picture.shape[-2:]
            self.large.alt = f"{path.name} of the run {entry.id}"
            self.large.width = min(WIDTH, max(width, SMALLEST), round(TALLEST * width / height))
            self.large.data = jpeg(picture, quality=92)

    def _file(self, key: str) -> bytes:
        return jpeg(images.load(self._files[key], 144))

    # Several runs

    def _toggle_mark(self, entry: Entry) -> None:
        if entry.folder in {one.folder for one in self.marked}:
            self.marked = [one for one in self.marked if one.folder != entry.folder]
        else:
            require(len(self.marked) < MOST, f"{MOST} runs are marked: unmark one first")
            self.marked = [*self.marked, entry]
        self._show()

    def _unmark(self) -> None:
        self.marked = []
        self._show()

    def _side_by_side(self) -> None:
        titles, name = _titles(self.marked), self.picture.value
        paths = {title: entry.picture(name) for title, entry in zip(titles, self.marked, strict=True)}
        for title, path in paths.items():
            require(
                path is not None, f"the run {title} has no picture{' ' * bool(name)}{name}: choose another, or unmark the run"
            )
        pictures = [_bounded(path) for path in paths.values()]
        height, width = pictures[0].shape[-2:]
        framed = [_framed(picture, width / height) for picture in pictures]
        compare = Compare(dict(zip(titles, framed, strict=True)))
        self.comparison.children = [compare, widgets.HTML(_differences(self.marked, titles))]
        self.sides.selected_index = SIDES.index("Compare")

    def _multiples(self) -> None:
        require(self.across.value is not None, "no parameter is varied among the runs found: change the filter")
        figure = multiples(self.found, self.across.value, self.down.value, metric=self.metric.value, picture=self.picture.value)
        by = " and ".join(filter(None, (self.across.value, self.down.value)))
        self.drawn.alt = f"small multiples of {len(self.found)} runs, by {by}"
        self.drawn.data = figure.shown()


def _button(text: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=text, icon=icon, tooltip=tooltip, layout=widgets.Layout(width="auto"))


def _dropdown(description: str, options: list) -> widgets.Dropdown:
    style = {"description_width": "initial"}
    return widgets.Dropdown(description=description, options=options, layout=widgets.Layout(width="auto"), style=style)


def _row(*controls: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))


def _fill(dropdown: widgets.Dropdown, options: list[tuple[str, str]]) -> None:
    before = dropdown.value
    if tuple(options) != tuple(dropdown.options):
        dropdown.options = options
        if before in [value for _, value in options]:
            dropdown.value = before


def _version(path: Path | None) -> str:
    """A text that changes with the picture: the page keeps a thumbnail as long as its key is the same."""
    try:
        return f"{path.name} {path.stat().st_mtime_ns}" if path else ""
    except OSError:
        return "gone"


def _bounded(path: Path) -> Tensor:
    """The picture (1, 3, H, W), long side `LARGEST` at most."""
    picture = images.load(path)
    return images.resize(picture, LARGEST) if max(picture.shape[-2:]) > LARGEST else picture


def _framed(picture: Tensor, ratio: float) -> Tensor:
    """The picture with grey beside or above it, so that its width is `ratio` times its height: nothing is distorted."""
    height, width = picture.shape[-2:]
    beside, above = max(0, round(ratio * height) - width), max(0, round(width / ratio) - height)
    if max(beside / width, above / height) < 0.02:  # rounding to whole pixels
        return picture
    return functional.pad(picture, (beside // 2, beside - beside // 2, above // 2, above - above // 2), value=0.5)


def _placeholder(text: str) -> bytes:
    """A picture of `text`, in place of one that is missing; legible on light and dark."""
    image = Image.new("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL), "#6f6f6f")
    ImageDraw.Draw(image).text((THUMBNAIL, THUMBNAIL), text, "white", ImageFont.load_default(26), anchor="mm")
    return jpeg(images.to_tensor(image))


def _named(parameters: dict[str, Any]) -> str:
    """The parameters in a line, lists and dicts last."""
    ordered = sorted(parameters.items(), key=lambda item: isinstance(item[1], list | dict))
    return ", ".join(f"{name} {spelled(value)}" for name, value in ordered)


def _titles(entries: Sequence[Entry]) -> list[str]:
    """A distinct title for each run: the parameters that differ, and the id where these are the same."""
    titles = [_named(row) or entry.notebook for entry, row in zip(entries, table(entries), strict=True)]
    counted = Counter(titles)
    return [title if counted[title] == 1 else f"{title}, {entry.id}" for title, entry in zip(titles, entries, strict=True)]


# HTML. All text from files is escaped.


def _heading(entry: Entry) -> str:
    took = "" if entry.seconds is None else f", {entry.seconds:.1f} s"
    text = (
        f"<b>{html.escape(f'{entry.notebook} {entry.id}')}</b> {entry.status}, {entry.started[:16].replace('T', ' ')} UTC{took}"
    )
    return text + (f'<div class="error">{html.escape(entry.error)}</div>' if entry.error else "")


def _details(entry: Entry, picture: Path | None) -> str:
    """Parameters, metrics and provenance of a run, and the provenance inside `picture`."""
    gone = f"<div>gone: {html.escape(', '.join(path.name for path in entry.gone))}</div>" if entry.gone else ""
    numbers = ((name, f"{value:.6g}") for name, value in sorted(entry.metrics.items()))
    tables = _table("Parameters", ((name, written(value)) for name, value in entry.parameters.items()))
    tables += _table("Metrics", numbers)
    return (
        gone
        + f'<div class="tables" tabindex="0" role="group" aria-label="numbers">{tables}</div>'
        + _provenance(entry, picture)
    )


def _provenance(entry: Entry, picture: Path | None) -> str:
    text = _folded("Provenance: run.json", entry.record) if entry.record else ""
    if picture is not None:
        try:
            text += _folded(f"Provenance inside {picture.name}", figures.read_provenance(picture))
        except WorkbenchError as error:
            text += f"<div>{html.escape(str(error))}</div>"
    return text + f"<div>{html.escape(str(entry.folder))}</div>"


def _folded(title: str, content: dict) -> str:
    text = html.escape(json.dumps(content, indent=2, ensure_ascii=False))
    return f'<details><summary>{html.escape(title)}</summary><pre tabindex="0">{text}</pre></details>'


def _table(title: str, rows: Iterable[tuple[str, ...]], head: Sequence[str] = ()) -> str:
    lines = [f'<th scope="row">{html.escape(name)}</th>' + _cells("td", cells) for name, *cells in rows]
    if not lines:
        return ""
    top = f"<tr><td></td>{_cells('th', head)}</tr>" if head else ""
    return f"<table><caption>{html.escape(title)}</caption>{top}{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cells(tag: str, texts: Iterable[str]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    return "".join(f"<{tag}{scope}>{html.escape(text)}</{tag}>" for text in texts)


def _differences(entries: Sequence[Entry], titles: Sequence[str]) -> str:
    """The parameters that differ, and all metrics that two runs or more have, a column per run."""

    def rows(names: Iterable[str], values: Sequence[dict], spell: Callable[[Any], str]) -> list[tuple[str, ...]]:
        return [(name, *(spell(its[name]) if name in its else "" for its in values)) for name in names]

    parameters, metrics = [entry.parameters for entry in entries], [entry.metrics for entry in entries]
    shared = sorted(name for name, count in Counter(name for its in metrics for name in its).items() if count > 1)
    tables = _table("Parameters that differ", rows(differing(entries), parameters, written), titles)
    tables += _table("Metrics", rows(shared, metrics, lambda value: f"{value:.4g}"), titles)
    return f'<div class="tables" tabindex="0" role="group" aria-label="numbers">{tables}</div>'
