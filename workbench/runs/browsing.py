"""Runs that were made: found in their folders, chosen by parameter and metric, and laid out as small multiples."""

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import provenance as pv
from workbench.errors import UsageError, WorkbenchError, require
from workbench.runs import record

if TYPE_CHECKING:
    import pandas as pd

    from workbench.figures import Figure

BROKEN = "broken"
"""Status of a folder whose run.json is no record of a run."""
STATUSES = (*record.STATUSES, BROKEN)
"""All statuses of a run."""
PICTURES = (".png", ".jpg", ".jpeg")
"""Suffixes of the files that count as pictures of a run."""
DEPTH = 2
"""Folders from an archive down to a run.json: runs/<notebook>/<run-id>."""
MOST_COLUMNS, MOST_ROWS = 12, 24
"""Columns and rows of small multiples, at most."""
CELL = 720
"""px. Long side of a picture in small multiples: print needs no more."""

_QUOTED = r"\"[^\"]*\"|'[^']*'"
_NAME = rf"{_QUOTED}|(?:[^\s<>=!\"']|!(?!=))(?:[^\s<>=!]|!(?!=))*"
_CONDITION = re.compile(rf"\s*(?P<name>{_NAME})(?:\s*(?P<operator><=|>=|!=|==|[<>=])\s*(?P<value>{_QUOTED}|[^\s<>=!\"']\S*)?)?")
_FIELDS = ("notebook", "id", "status", "started", "seconds")


@dataclass(frozen=True)
class Entry:
    """A run as its folder records it.

    `id` is the folder's name; `started` is UTC, ISO 8601 to the second, and the folder's own time where the record has none;
    `error` is one line, or empty. `metrics` are the numbers of metrics.json by dotted name. `pictures` are the PNG and JPEG
    files that are there: those beside run.json, then the figures. `gone` are figures that the record lists and that are not
    there. `record` is run.json as it is, empty for a broken one. What an earlier run left in the folder is left out.
    """

    folder: Path
    notebook: str
    id: str
    status: str
    started: str
    seconds: float | None
    error: str
    parameters: dict[str, Any] = field(repr=False)
    metrics: dict[str, float] = field(repr=False)
    pictures: tuple[Path, ...] = field(repr=False)
    gone: tuple[Path, ...] = field(repr=False)
    record: dict[str, Any] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """The pictures' names, from the run's folder: "blend.png", "figures/comparison.png"."""
        return [path.relative_to(self.folder).as_posix() for path in self.pictures]

    def picture(self, name: str = "") -> Path | None:
        """The file of the picture `name`, or of the first one; None where the run has none of that name."""
        if not name:
            return self.pictures[0] if self.pictures else None
        return dict(zip(self.names, self.pictures, strict=True)).get(name)

    def values(self) -> dict[str, Any]:
        """What conditions name: the run's own fields, its parameters, its metrics; of equal names the first."""
        own = {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}
        return {**own, **self.metrics, **self.parameters, **own}


@dataclass(frozen=True)
class Condition:
    """`name operator value`, such as tau<0.1; without an operator a text that is searched in the whole record of a run."""

    name: str
    operator: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"


def conditions(text: str) -> list[Condition]:
    """Read conditions set apart by spaces: `size=256 tau < 0.1 single="The Starry Night" gogh`.

    Operators are =, ==, !=, <, <=, > and >=. A name, a value or a word with spaces or operators in it goes into quotes.
    Raises UsageError, naming the place, for what cannot be read.
    """
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _CONDITION.match(text, at)
        require(match is not None, f"{text[at:].strip()!r}: write name=value, name<value, or a word, and close every quote")
        name, operator, value = match["name"], match["operator"] or "", match["value"] or ""
        require(
            bool(not operator or value),
            f"{match[0].strip()!r} lacks a value: write {name}{operator}1, for example, and close every quote",
        )
        found.append(Condition(_bare(name), operator.replace("==", "="), _bare(value)))
        at = match.end()
    return found


def _bare(text: str) -> str:
    """`text` without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


class Archive:
    """The runs below some folders, newest first.

    A folder's files are read when it is new or has changed since the last `refresh`; of the others only the times are seen.
    """

    def __init__(self, *folders: str | Path):
        """`folders`: each holds runs, at most two folders down, or is one, as `out` names it; else `runs` of the project."""
        self.folders = tuple(Path(folder) for folder in folders) or (record.runs_folder(),)
        self._read: dict[Path, tuple[tuple, Entry]] = {}  # run folder -> the state of its files, and what they said
        self._entries: list[Entry] | None = None

    @property
    def entries(self) -> list[Entry]:
        """All runs, newest first, as of the last refresh."""
        return list(self.refresh() if self._entries is None else self._entries)

    def __len__(self) -> int:
        return len(self.entries)

    def refresh(self) -> list[Entry]:
        """Look again for runs that are new, have changed or are gone, and return all."""
        read = {}
        for folder in dict.fromkeys(run for top in self.folders for run in _below(top.absolute(), DEPTH)):
            try:
                state = _state(folder)
                known = self._read.get(folder)
                read[folder] = known if known is not None and known[0] == state else (state, _entry(folder))
            except OSError:  # the folder was removed meanwhile
                continue
        self._read = read
        self._entries = sorted((entry for _, entry in read.values()), key=lambda entry: (entry.started, entry.id), reverse=True)
        return list(self._entries)

    def filter(self, *texts: str) -> list[Entry]:
        """The runs that meet every condition in `texts` (see `conditions`), newest first.

        Names are those of the run's fields (notebook, id, status, started, seconds), then of parameters, then of metrics; a
        run that lacks the name meets no condition on it. < and its like compare numbers, and `started` with a date such as
        2026-08-05. Raises UsageError, with the nearest known name, for one that no run has, and for a comparison that makes
        no sense, such as size<large.
        """
        entries, wanted = self.entries, [one for text in texts for one in conditions(text)]
        if not entries:
            return []
        values = [entry.values() for entry in entries]
        for one in wanted:
            _check(one, values)
        return [entry for entry, its in zip(entries, values, strict=True) if all(_meets(one, entry, its) for one in wanted)]

    def table(self, *texts: str) -> "pd.DataFrame":
        """A row for each run that meets every condition in `texts`, newest first: its fields, parameters and metrics."""
        import pandas as pd

        return pd.DataFrame([entry.values() for entry in self.filter(*texts)])


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders with a run.json, `folder` itself or at most `depth` below it; what is inside a run is no run."""
    try:
        if (folder / record.RECORD).is_file():
            yield folder
        elif depth:
            for below in sorted(folder.iterdir()):
                if below.is_dir() and not below.name.startswith("."):
                    yield from _below(below, depth - 1)
    except OSError:  # no such folder, or one that may not be entered
        return


def _state(folder: Path) -> tuple:
    """Times and sizes that change with anything that an `Entry` holds: a new file changes the time of its folder."""
    state = []
    for path in (folder, folder / "figures", folder / record.RECORD, folder / record.METRICS):
        try:
            stat = path.stat()
        except FileNotFoundError:
            state.append(None)
        else:
            state.append((stat.st_mtime_ns, stat.st_size))
    return tuple(state)


def _entry(folder: Path) -> Entry:
    """Read a run folder; `status` and `error` report whatever is wrong with its files."""
    found, metrics, error = {}, {}, ""
    try:
        found = record.read(folder)
    except WorkbenchError as reason:
        error = str(reason)
    try:
        metrics = {name: float(value) for name, value in record.numbers(folder).items()}
    except (WorkbenchError, RecursionError, OverflowError) as reason:
        error = error or str(reason)
    parameters, seconds, earlier = found.get("parameters"), found.get("seconds"), record.earlier(folder)
    return Entry(
        folder=folder,
        notebook=str(found.get("notebook") or folder.parent.name),
        id=folder.name,
        status=found.get("status", BROKEN),
        started=_time(found.get("started"), folder),
        seconds=float(seconds) if _is_number(seconds) else None,
        error=str(found.get("error") or error),
        parameters=parameters if isinstance(parameters, dict) else {},
        metrics=metrics,
        pictures=tuple(path for path in _images(folder) + _images(folder / "figures") if path not in earlier),
        gone=tuple(path for path in record.listed(folder) if not path.is_file()) if found else (),
        record=found,
    )


def _time(started: object, folder: Path) -> str:
    try:
        time = datetime.fromisoformat(started)
    except (TypeError, ValueError):
        time = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat(timespec="seconds")


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


# Conditions


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    """The number that `text` is, None when it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _known(name: str, known: Iterable[str], what: str) -> None:
    """Raise UsageError that `what` does not have `name`, with the nearest of `known`, unless it has."""
    known = list(dict.fromkeys(known))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known[:12]) or 'none'}"
        raise UsageError(f"{what} {name!r}: {hint}")


def _check(one: Condition, values: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError unless the condition can be applied to these runs."""
    if not one.operator:
        return
    _known(one.name, (name for its in values for name in its), "no run has the parameter or metric")
    found = [its[one.name] for its in values if one.name in its]
    if one.name == "started":
        date = re.fullmatch(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?", one.value)
        require(date is not None, f"{one}: write a date such as 2026-08-05, or 2026-08-05T14:30 (UTC)")
        return
    if one.name in ("status", "notebook"):
        _known(one.value, STATUSES if one.name == "status" else found, f"no run has the {one.name}")
    is_order, is_number = one.operator in ("<", "<=", ">", ">="), _number(one.value) is not None
    numbers = sum(map(_is_number, found))
    require(not is_order or is_number, f"{one}: {one.value!r} is no number to compare with")
    require(not is_order or numbers > 0, f"{one}: {one.name} is a number in no run; use = or !=")
    require(is_number or numbers < len(found), f"{one}: {one.name} is a number in every run, and {one.value!r} is none")


def _meets(one: Condition, entry: Entry, values: Mapping[str, Any]) -> bool:
    if not one.operator:
        return one.name.casefold() in _searchable(entry).casefold()
    if one.name not in values:
        return False
    value = values[one.name]
    if one.name == "started":
        left, right = value[: len(one.value)], one.value  # a day is equal to each of its hours
    elif one.operator in ("=", "!="):
        return _equal(value, one.value) == (one.operator == "=")
    elif _is_number(value):
        left, right = value, float(one.value)
    else:
        return False
    return {
        "=": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
    }[one.operator]  # fmt: skip


def _searchable(entry: Entry) -> str:
    """The record of a run without its metrics, as one text to be searched."""
    parameters = " ".join(f"{name}={written(value)}" for name, value in entry.parameters.items())
    return f"{entry.notebook} {entry.id} {entry.status} {entry.started} {entry.error} {parameters}"


def _equal(value: object, text: str) -> bool:
    """Whether a value of JSON equals `text`; a list is also each of its items."""
    if _is_number(value):
        return value == _number(text)
    if isinstance(value, list) and any(_equal(item, text) for item in value):
        return True
    return written(value).casefold() == text.casefold()


def written(value: object) -> str:
    """A value as a person types it: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# What differs, and small multiples of it


def spelled(value: object) -> str:
    """A value in few characters: numbers to four digits, lists by commas, of a path on this machine the last part."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(spelled, value))
    return written(pv.shared(value))


def differing(entries: Sequence[Entry]) -> list[str]:
    """The parameters that are not the same in all of `entries`, or that some do not have, those with the most values first.

    `out` is left out: it is where results went, not what they are.
    """
    names = dict.fromkeys(name for entry in entries for name in entry.parameters if name != "out")
    counts = {name: len({_key(entry.parameters.get(name, ...)) for entry in entries}) for name in names}
    return sorted((name for name in names if counts[name] > 1), key=lambda name: -counts[name])


def table(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each run the parameters in which runs of its notebook, among `entries`, differ: name -> value."""
    notebooks = dict.fromkeys(entry.notebook for entry in entries)
    names = {name: differing([entry for entry in entries if entry.notebook == name]) for name in notebooks}
    return [{name: e.parameters[name] for name in names[e.notebook] if name in e.parameters} for e in entries]


def _key(value: object) -> object:
    """Equal for equal values of JSON, which are not hashable themselves; ... stands for none."""
    if value is ... or isinstance(value, str) or _is_number(value):
        return value
    return (json.dumps(value, sort_keys=True),)


def _order(value: object) -> tuple:
    """Numbers first, from small to large; then by text."""
    return (0, value, "") if _is_number(value) else (1, 0, written(value).casefold())


def multiples(
    entries: Sequence[Entry], across: str, down: str = "", *, metric: str = "", picture: str = "", title: str | None = None
) -> "Figure":
    """Small multiples of a sweep: one picture per run, columns by the parameter `across`, rows by `down` (none: one row).

    `picture` is a name as of `Entry.names`, by default the first of each run; `metric` is written below. Values stand in order,
    and a cell without a picture stays empty. Of several runs in a cell the newest with a picture is taken, and the caption
    says so. Raises UsageError, with the nearest known one, for a parameter, a metric or a picture that no run has; for more
    than 12 columns or 24 rows; and when no picture can be read.
    """
    from workbench import figures

    require(bool(entries), "there are no runs to lay out: change the filter")
    for name in filter(None, (across, down)):
        _known(name, (name for entry in entries for name in entry.parameters), "no run has the parameter")
    require(across != down, f"across and down are both {across}: choose two parameters, or one")
    if metric:
        _known(metric, (name for entry in entries for name in entry.metrics), "no run has the metric")
    if picture:
        _known(picture, (name for entry in entries for name in entry.names), "no run has the picture")
    entries = [entry for entry in entries if across in entry.parameters and (not down or down in entry.parameters)]
    columns = _values(entries, across, MOST_COLUMNS)
    rows = _values(entries, down, MOST_ROWS) if down else {...: ...}
    cells: dict[tuple, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.started, reverse=True):
        place = (_key(entry.parameters[down]) if down else ..., _key(entry.parameters[across]))
        cells.setdefault(place, []).append(entry)
    drawn = [[_cell(cells.get((row, column), []), metric, picture) for column in columns] for row in rows]
    require(any(image for row in drawn for image, _ in row), "no run has a picture that can be read")
    notebooks = ", ".join(sorted({entry.notebook for entry in entries}))
    captions = [[caption for _, caption in row] for row in drawn]
    return figures.grid(
        [[image for image, _ in row] for row in drawn],
        [f"{down} {spelled(value)}" for value in rows.values()] if down else (),
        [f"{across} {spelled(value)}" for value in columns.values()],
        cell_captions=captions if any(map(any, captions)) else None,
        title=f"{notebooks}: {' and '.join(filter(None, (across, down)))}" if title is None else title,
    )


def _values(entries: Sequence[Entry], name: str, most: int) -> dict[object, Any]:
    """The values that a parameter takes, in order, by their keys."""
    values = {_key(entry.parameters[name]): entry.parameters[name] for entry in entries}
    require(len(values) <= most, f"{name} has {len(values)} values: filter the runs to {most} at most")
    return dict(sorted(values.items(), key=lambda item: _order(item[1])))


def _cell(entries: Sequence[Entry], metric: str, picture: str) -> tuple[Any, str]:
    """The picture of the newest of `entries` that has one, and what is written below it."""
    from workbench import images

    for entry in entries:
        path = entry.picture(picture)
        try:
            image = images.read(path, enough=CELL).image if path else None
        except WorkbenchError:  # removed or damaged since
            image = None
        if image is not None:
            notes = [f"{metric} {entry.metrics[metric]:.3g}"] if metric in entry.metrics else []
            notes += [f"newest of {len(entries)}"] if len(entries) > 1 else []
            return image, " · ".join(notes)
    return None, ""
