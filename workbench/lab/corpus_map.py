"""A corpus as a map of thumbnails: hover, zoom, draw round some works, and make them the target."""

import math
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import anywidget
import torch
import traitlets

from workbench import progress
from workbench.corpora import Work
from workbench.errors import WorkbenchError, require
from workbench.lab import page
from workbench.lab.atlas import COLOURS, KINDS, PROJECTIONS, Atlas
from workbench.lab.exploration import Exploration
from workbench.lab.thumbnails import jpeg, thumbnail
from workbench.names import plural

CELL = 96
"""px. Long side of a thumbnail on the page, at most."""
ROOM = 200 * CELL**2
"""px. All thumbnails together, at most: a large corpus has smaller ones."""
SMALLEST = 24
"""px. Long side of a thumbnail, at least."""
LARGE = 360
"""px. Long side of the painting beside the map."""
PATIENCE = 0.3
"""Seconds that a new map may take before the page shows that it is being made."""


class CorpusMap(anywidget.AnyWidget):
    """A view on an `Atlas`, `atlas`; with an `exploration`, the selected works can become its target.

    kind, projection, colour_by: as in the atlas; selected: places of works in the corpus. Setting one of these here changes the
    atlas, and the other way round. Paintings are measured in a thread: `wait()` waits for it.
    """

    _esm = page.script("corpus_map")

    kind = traitlets.Enum(KINDS).tag(sync=True)
    projection = traitlets.Enum(PROJECTIONS).tag(sync=True)
    colour_by = traitlets.Enum(COLOURS).tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)

    name = traitlets.Unicode().tag(sync=True)
    titles = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)  # of every work: title, and what is known of it
    sprites = traitlets.Bytes().tag(sync=True)
    cells = traitlets.List().tag(sync=True)  # of every work: x, y, width, height in the sprites
    points = traitlets.List().tag(sync=True)
    groups = traitlets.List().tag(sync=True)  # label, colour, members
    note = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Bool().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    takes_target = traitlets.Bool().tag(sync=True)
    revision = traitlets.Int().tag(sync=True)  # of the map: points, groups and note are changed together

    def __init__(self, atlas: Atlas, exploration: Exploration | None = None):
        self.atlas = atlas
        self.exploration = exploration
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._requests = 0  # for a map, so far
        self._places = {work.name: i for i, work in enumerate(atlas.corpus)}
        super().__init__(
            name=atlas.corpus.name,
            titles=[[work.title, _about(work)] for work in atlas.corpus],
            takes_target=exploration is not None,
            **self._choice(),
        )
        self.observe(self._changed, ["kind", "projection", "colour_by"])
        self.observe(self._chosen, "selected")
        self.on_msg(lambda _, content, __: self.receive(content))
        self._count_selected()
        self._measure()
        atlas.follow(self.refresh)

    def refresh(self) -> None:
        """Show the atlas as it is now."""
        with self.hold_trait_notifications():
            for trait, value in self._choice().items():
                setattr(self, trait, value)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the map, `timeout` seconds at most. Returns whether it is there."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def receive(self, message: dict[str, Any]) -> None:
        """Handle a message from the page: one of these keys, and with "add" the new selection adds to the old one.

        {"polygon": [[x, y], ...]}, {"rectangle": [x0, y0, x1, y1]} in the coordinates of the points, {"group": label},
        {"work": place}, {"toggle": place}, {"clear": true}, {"target": true}, and {"enlarge": place}, which is answered with
        the painting. A message that makes no sense changes nothing but `message`.
        """
        try:
            self._act(message, add=bool(message.get("add")))
        except WorkbenchError as error:
            self.message = str(error)
        except (TypeError, ValueError):
            self.message = f"the page sent {message!r}, which makes no sense"

    def _act(self, message: dict[str, Any], add: bool) -> None:
        atlas = self.atlas
        if "enlarge" in message:
            place = self._place(message["enlarge"])
            self.send({"enlarge": place}, [thumbnail(atlas.corpus[place], LARGE)])
            return
        if "target" in message:
            self.make_target()
            return
        if {"polygon", "rectangle", "group"} & message.keys():
            require(not self.busy, "the paintings are being measured: select when the map is there")
        if "polygon" in message:
            atlas.select_polygon(message["polygon"], add=add)
        elif "rectangle" in message:
            atlas.select_rectangle(*(float(value) for value in message["rectangle"]), add=add)
        elif "group" in message:
            atlas.select_group(message["group"], add=add)
        elif "work" in message:
            atlas.select([atlas.corpus[self._place(message["work"])].name], add=add)
        elif "toggle" in message:
            name = atlas.corpus[self._place(message["toggle"])].name
            atlas.select({name} ^ set(atlas.selected))
        elif "clear" in message:
            atlas.select(())
        else:
            raise ValueError
        self._count_selected()

    def make_target(self) -> None:
        """Give all the weight of the exploration to the selected works, evenly.

        UsageError without an exploration, or where it lacks some of these works.
        """
        exploration, target = self.exploration, self.atlas.target()
        require(
            exploration is not None, "no exploration is given: CorpusMap(atlas, exploration) can make the selection its target"
        )
        session = exploration.session
        theirs, ours = session.corpus().root, self.atlas.corpus.root
        require(
            theirs == ours, f"the exploration takes its paintings from {theirs}, this map shows {ours}: choose the same folder"
        )
        choice = session.choice
        hidden = [work for work in target.works if choice.genre not in ("", work.genre) or work.name in choice.exclude]
        reason = (
            f"{len(hidden)} of the selected are left out of the exploration, by genre or by hand: let it take all works first"
        )
        require(not hidden, reason)
        session.change(pinned=(), weights=tuple((work.name, 1.0) for work in target.works))
        self.message = f"the target is now {plural(len(target.works), 'painting')}, evenly"

    def _place(self, value: Any) -> int:
        if not isinstance(value, int) or not 0 <= value < len(self.titles):
            raise ValueError
        return value

    def _choice(self) -> dict[str, Any]:
        atlas = self.atlas
        selected = [self._places[name] for name in atlas.selected]
        return {"kind": atlas.kind, "projection": atlas.projection, "colour_by": atlas.colour_by, "selected": selected}

    @traitlets.validate("selected")
    def _existing(self, proposal: Any) -> list[int]:
        return sorted({i for i in proposal["value"] if 0 <= i < len(self._places)})

    def _chosen(self, change: Any) -> None:
        if change["new"] != self._choice()["selected"]:
            self.atlas.select(self.atlas.corpus[i].name for i in change["new"])
        self._count_selected()

    def _count_selected(self) -> None:
        self.message = f"{len(self.atlas.selected)} of {plural(len(self.titles), 'painting')} selected"

    # Measuring

    def _changed(self, _: Any) -> None:
        self.atlas.change(kind=self.kind, projection=self.projection, colour_by=self.colour_by)
        self._measure()

    def _measure(self) -> None:
        """Make the map in a thread, or let the running thread make it after the one at hand."""
        with self._lock:
            self._requests += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="corpus map", daemon=True)
                self._thread.start()
        if not self.wait(PATIENCE):
            with self._lock:
                self.busy = self._thread is not None

    def _work(self) -> None:
        while True:
            before = self._requests
            try:
                with progress.stoppable(threading.Event()):
                    state = self._made()
            except progress.Stopped:  # the interpreter ends
                return
            except WorkbenchError as error:
                state = {"message": str(error)}
            except Exception as error:  # a thread has no caller to raise it to
                state = {"message": f"{type(error).__name__}: {error}"}
                traceback.print_exc()
            with self._lock:
                if before != self._requests:
                    continue
                with self.hold_sync():  # one change for the page
                    for trait, value in state.items():
                        setattr(self, trait, value)
                    self.busy = False
                    self.revision += 1
                self._thread = None
                return

    def _made(self) -> dict[str, Any]:
        """The traits of the present map."""
        atlas, state = self.atlas, {}
        if not self.sprites:
            state["sprites"], state["cells"] = sprites(atlas.corpus.works)
        groups = [{"label": group.label, "colour": group.colour, "members": list(group.members)} for group in atlas.groups]
        return state | {"points": atlas.points.round(5).tolist(), "groups": groups, "note": atlas.note}


def sprites(works: Sequence[Work]) -> tuple[bytes, list[list[int]]]:
    """All thumbnails in one JPEG, and where they are in it: x, y, width, height in px of each."""
    side = int(min(CELL, max(SMALLEST, (ROOM / len(works)) ** 0.5)))
    columns = math.ceil(len(works) ** 0.5)
    sheet = torch.full((1, 3, side * math.ceil(len(works) / columns), side * columns), 0.5)
    cells = []
    for i, work in enumerate(works):
        picture = work.load(side)
        height, width = picture.shape[-2:]
        y, x = side * (i // columns), side * (i % columns)
        sheet[..., y : y + height, x : x + width] = picture
        cells.append([x, y, width, height])
    return jpeg(sheet), cells


def _about(work: Work) -> str:
    return ", ".join(part for part in (work.artist, work.year, work.genre) if part) or "no metadata"
