"""A sweep to look at: a page with a thumbnail of every run, and an overview of the pictures, in rows and columns."""

import base64
import html
import io
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.runs import record
from workbench.runs.browsing import Archive, Entry, multiples, spelled
from workbench.runs.swept import SweptRun, duration, summary
from workbench.storage import write_text

PAGE = "index.html"
"""File name of the page, beside the run folders."""
OVERVIEW = "overview"
"""Name of the figure, without its suffix; where more than two parameters vary, a number follows."""
THUMBNAIL = 160
"""px. Long side of a thumbnail."""
MOST_NUMBERS = 8
"""Numbers of a run that the page shows, at most: the rest is in the table."""
MOST_OVERVIEWS = 12
MOST_THUMBNAILS = 6
"""Figures where more than two parameters vary or runs have several results, and thumbnails of a run, at most."""
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 24px; color: #1a1a1a; }
table { border-collapse: collapse; } td, th { padding: 6px 14px 6px 0; text-align: left; vertical-align: top; }
tr { border-top: 1px solid #ddd; } .failed { color: #b00020; } .note { color: #5f5f5f; font-size: 12px; }
img.overview { max-width: 100%; } dd { margin: 0; }
dl { margin: 0; display: grid; grid-template-columns: auto auto; gap: 0 10px; font-size: 12px; }
"""


def is_ours(path: Path) -> bool:
    """Whether a page or an overview was written by a sweep."""
    from workbench import figures

    try:
        return (
            "sweep.csv" in path.read_text(encoding="utf-8") if path.name == PAGE else "sweep" in figures.read_provenance(path)
        )
    except (OSError, ValueError, WorkbenchError):
        return False


class Page:
    """index.html and the overview of the sweep in `base`, over the parameters `varied`."""

    def __init__(self, base: Path, name: str, varied: Sequence[str]):
        self.base, self.name, self.varied = base, name, list(varied)
        self.written = 0.0  # when, by time.monotonic
        self._thumbnails: dict[tuple[Path, int], str] = {}
        self._overviews: list[str] = []

    def write(self, runs: Sequence[SweptRun]) -> Path:
        """Write the page as things stand."""
        overviews = "".join(f'<p><img class="overview" src="{name}" alt="overview">' for name in self._overviews)
        heads = "".join(f"<th>{html.escape(name)}" for name in ("", *self.varied, "run", "measured"))
        rows = "".join(map(self._row, runs))
        title = html.escape(self.name)
        text = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>
<h1>{title}</h1><p>{html.escape(summary(runs))} · <a href="sweep.csv">all numbers</a>{overviews}
<table><tr>{heads}{rows}</table></html>
"""
        self.written = time.monotonic()
        return write_text(self.base / PAGE, text)

    def _row(self, run: SweptRun) -> str:
        values = "".join(f"<td>{html.escape(spelled(value))}" for value in run.varied.values())
        note = run.error or (f"made again: {run.why}" if run.why else "")
        state, picture, numbers = run.status, "", ""
        if run.folder is not None:
            took = f" in {duration(run.seconds)}" if run.seconds is not None else ""
            state = f'<a href="{run.folder.name}/executed.ipynb">{run.status}</a>{took}'
            picture = self._thumbnails_of(run.folder)
            measured = itertools.islice(record.legible(run.folder).items(), MOST_NUMBERS)
            numbers = "".join(f"<dt>{html.escape(name)}<dd>{spelled(float(number))}" for name, number in measured)
        return (
            f'<tr><td>{picture}{values}<td class="{run.status}">{state}'
            f'<div class="note">{html.escape(note)}</div><td><dl>{numbers}</dl>\n'
        )

    def _thumbnails_of(self, folder: Path) -> str:
        """The results of a run, small, inside the page; nothing where there is none that can be read."""
        entry = next(iter(Archive(folder).entries), None)
        found = [entry.picture(name) for name in _results([entry])[:MOST_THUMBNAILS]] if entry else []
        return "".join(self._thumbnail(entry, path) for path in found if entry and path)

    def _thumbnail(self, entry: Entry, path: Path) -> str:
        key = (path, path.stat().st_mtime_ns)
        if key not in self._thumbnails:
            from workbench import images

            try:
                picture = images.read(path, enough=THUMBNAIL).image.convert("RGB")
            except WorkbenchError:
                return ""
            picture.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=85)
            self._thumbnails[key] = base64.b64encode(buffer.getvalue()).decode()
        link = html.escape(f"{entry.folder.name}/{path.relative_to(entry.folder).as_posix()}")
        picture = f'<img src="data:image/jpeg;base64,{self._thumbnails[key]}" alt="{link}">'
        return f'<a href="{link}" title="{html.escape(path.stem)}">{picture}</a>'

    def draw_overviews(self, runs: Sequence[SweptRun]) -> None:
        """Draw the pictures of the runs: the last of the varied parameters across, the one before down.

        Where others vary as well, every combination of these gets a figure of its own, and so does each of several results.
        Runs that cannot be laid out, such as those of more values than fit, get none.
        """
        from workbench import figures

        if not self.varied:
            return
        *others, down, across = ["", *self.varied]
        folders = [run.folder for run in runs if run.status == "complete" and run.folder is not None]
        entries = Archive(*folders).entries if folders else []
        groups: dict[tuple[tuple[str, ...], str], list[Entry]] = {}
        results = _results(entries)
        for entry, result in itertools.product(entries, results):
            values = tuple(f"{name} {spelled(entry.parameters[name])}" for name in filter(None, others))
            groups.setdefault((values, result), []).append(entry)
        self._overviews = []
        for number, ((values, result), group) in enumerate(sorted(groups.items())[:MOST_OVERVIEWS], 1):
            stem = OVERVIEW if len(groups) == 1 else f"{OVERVIEW}-{number}"
            also = ", ".join([*values, *([Path(result).stem] if len(results) > 1 else [])])
            title = f"{self.name}: {also}" if also else self.name
            try:
                figure = multiples(group, across, down, picture=result, title=title)
            except WorkbenchError:
                continue
            made = {"sweep": self.name, "runs": [entry.id for entry in group]}
            figures.save(figure, self.base / stem, made)
            self._overviews.append(f"{stem}.png")


def _results(entries: Sequence[Entry]) -> list[str]:
    """The names of the pictures that runs made beside their figures, in order; "", the first of each, where there are none."""
    return list(dict.fromkeys(name for entry in entries for name in entry.names if "/" not in name)) or [""]
