"""The film of a result being painted, made when somebody asks for it; and its strokes, saved as a drawing."""

import html
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import ipywidgets as widgets

from workbench import methods, progress, storage
from workbench.errors import UsageError, WorkbenchError
from workbench.lab.buttons import Button, Buttons
from workbench.lab.exploration import Exploration
from workbench.lab.picture import Picture
from workbench.lab.runner import Kept

FILMS = (".mp4", ".gif")
"""Files that are films, the better first."""
WIDTH = 420
"""px. Of a film in the page, at most."""


@dataclass(frozen=True)
class Made:
    """A film. key: of the result that it is of, (number, evaluations); suffix: one of FILMS."""

    key: tuple[int, int]
    suffix: str
    data: bytes = field(repr=False)


class Film(widgets.VBox):
    """Buttons, and once it is made the film, below a result whose method writes films; below others nothing.

    A film is made in a thread, for the result on show; a run that begins ends that. made: the latest film, None before; it is
    shown whenever its result is.
    """

    def __init__(self, exploration: Exploration):
        self.exploration = exploration
        self.made: Made | None = None
        self.making: tuple[int, int] | None = None
        """Key of the result whose film is being made."""
        self._said: tuple[tuple[int, int], str] | None = None  # key of a result, and what the last action on it came to
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self.buttons = Buttons(
            [
                Button("film", "Film", "Show how the picture is painted, stroke by stroke; making the film takes some seconds"),
                Button("save", "Save film", "Save the film in the current folder"),
                Button("svg", "Save as SVG", "Save the strokes as a drawing of any size in the current folder"),
            ],
            self._press,
        )
        self.message = widgets.HTML()
        self.moving = Picture()
        layout = {"width": "100%", "max_width": f"{WIDTH}px", "margin": "0"}  # with the margin of widgets it would be too wide
        self.video = widgets.Video(format="mp4", loop=False, layout=layout)
        super().__init__([self.buttons, self.message])
        self.refresh()

    def refresh(self) -> None:
        """Show what there is for the result on show. The panel calls it whenever there is something new."""
        with self._lock:  # the page and the thread may call at the same time
            self._show()

    def _show(self) -> None:
        exploration = self.exploration
        running = exploration.running
        if running:
            self._stop.set()
        kept = self._kept()
        self.layout.display = "none" if kept is None else ""
        key = None if kept is None else _key(kept)
        made = self.made if self.made is not None and self.made.key == key else None
        making = self.making  # which the thread may end meanwhile
        able = {"film": made is None and making is None, "save": made is not None, "svg": True}
        self.buttons.enabled = [name for name, possible in able.items() if possible and kept is not None and not running]
        said = self._said[1] if self._said is not None and self._said[0] == key else ""
        said = said if making is None else f"the film of result {making[0]} is being made …"
        self.message.value = f'<div role="status">{html.escape(said)}</div>' if said else ""
        self.message.layout.display = "" if said else "none"
        self.moving.alt = "How the picture was painted"
        children: list[widgets.Widget] = [self.buttons, self.message]
        for suffix, widget, name in ((".gif", self.moving, "data"), (".mp4", self.video, "value")):
            data = made.data if made is not None and made.suffix == suffix else b""
            if getattr(widget, name) != data:
                setattr(widget, name, data)
            children += [widget] if data else []  # a page asks for the bytes of an empty video, too, and gets an error
        if list(self.children) != children:
            self.children = children

    def _kept(self) -> Kept | None:
        """The result on show; None where its method writes no films."""
        kept = self.exploration.shown
        return kept if kept is not None and kept.writer is not None and _suffix(kept) else None

    def _press(self, name: str) -> None:
        kept = self._kept()
        if kept is not None and name == "film":
            self._make(kept)
        elif kept is not None:
            self._said = _key(kept), self._saved(kept, name)
        self.refresh()

    def _saved(self, kept: Kept, name: str) -> str:
        """Write the drawing or the film in the current folder; returns what came of it."""
        made = self.made
        path = self.exploration.free_path(kept, made.suffix if name == "save" and made is not None else ".svg")
        try:
            if name == "save" and made is not None:
                self.exploration.check_path(kept, path)
                with storage.atomic(path) as temporary:
                    temporary.write_bytes(made.data)
            else:
                self.exploration.save(kept, path)
            return f"saved as {path}"
        except WorkbenchError as error:
            return str(error)

    def _make(self, kept: Kept) -> None:
        self.making, self._said = _key(kept), None
        self._stop.clear()
        threading.Thread(target=self._work, args=(kept,), name="film", daemon=True).start()

    def _work(self, kept: Kept) -> None:
        said = ""
        try:
            with progress.stoppable(self._stop), storage.temporary_folder() as folder:
                suffix = _suffix(kept)
                path = self.exploration.save(kept, folder / f"film{suffix}")
                self.made = Made(_key(kept), suffix, path.read_bytes())
        except progress.Stopped:
            pass  # a run has begun, or the interpreter ends
        except WorkbenchError as error:
            said = str(error)
        except Exception as error:  # a thread has no caller to raise it to
            said = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        finally:
            self.making, self._said = None, (_key(kept), said)
            self.exploration.session.notify()


def _key(kept: Kept) -> tuple[int, int]:
    return kept.number, len(kept.losses)


def _suffix(kept: Kept) -> str:
    """The best of FILMS that its method can write here; "" if there is none."""
    method = methods.get(kept.choice.request.method)
    for suffix in FILMS:
        if suffix in method.suffixes:
            try:
                method.check_file(Path(f"film{suffix}"))
            except UsageError:
                continue
            return suffix
    return ""
