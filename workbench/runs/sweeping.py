"""Sweeps: one notebook over every combination of some parameters, run by run, resumably.

A sweep leaves, beside its run folders, a table of all numbers, a page to look at and an overview of the pictures.
"""

import itertools
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import storage, tasks
from workbench.errors import UsageError, WorkbenchError, require
from workbench.names import inert
from workbench.runs import dependencies, index_page, placing, record
from workbench.runs.declarations import check, parameters, resolve
from workbench.runs.execution import RunResult, run
from workbench.runs.live import Table
from workbench.runs.swept import SweptRun

TABLE = "sweep.csv"
"""File name of the table of a sweep, beside its run folders."""
PAGE_EVERY = 10.0
"""Seconds between two versions of the page, at least."""
MOST = 10_000
"""Combinations of a grid, at most."""
KEYS = ("notebook", "vary", "fixed")
"""What a grid may have."""


_OVERVIEW = re.compile(rf"{index_page.OVERVIEW}(-\d+)?\.(png|pdf)")


class _Yaml(yaml.SafeLoader):
    """YAML's safe loader, to which 1e-2 is a number, as it is to everybody, and not a text for want of a point.

    A key that is given twice is an error: YAML forbids it, and PyYAML would keep the last.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), [*"-+0123456789"])


@dataclass(frozen=True)
class Grid:
    """What a sweep consists of. vary: parameter -> the values it takes; fixed: parameter -> its one value."""

    notebook: Path
    vary: dict[str, list]
    fixed: dict[str, Any]

    def __len__(self) -> int:
        """How many runs there are, without making them up."""
        return math.prod(len(values) for values in self.vary.values())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The parameters of every run, the last of `vary` changing fastest."""
        for values in itertools.product(*self.vary.values()):
            yield {**self.fixed, **dict(zip(self.vary, values, strict=True))}


def read_grid(path: str | Path) -> Grid:
    """Read a grid from YAML: `notebook` (its path, from the grid's folder or the current one), `vary`, and perhaps `fixed`.

    Raises UsageError when the file does not hold one, or when any of its runs has a parameter that does not fit.
    """
    path = Path(path)
    try:
        content = yaml.load(storage.read_text(path), _Yaml)
    except OSError as error:
        raise UsageError(f"cannot read the grid {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"the grid {path} is not YAML: {' '.join(str(error).split())}") from error
    require(isinstance(content, Mapping) and "notebook" in content, f"the grid {path} names no notebook")
    unknown = [key for key in content if key not in KEYS]
    require(not unknown, f"the grid {path} has a key {unknown[0]!r}: it may have {', '.join(KEYS)}" if unknown else "")
    vary, fixed = content.get("vary") or {}, content.get("fixed") or {}
    require(isinstance(vary, Mapping) and isinstance(fixed, Mapping), f"{path}: vary and fixed are parameters and their values")
    for name, values in vary.items():
        require(isinstance(values, list) and bool(values), f"{path}: vary {name} needs a list of values")
        require(name not in fixed, f"{path}: {name} is both varied and fixed")
    require("out" not in {**vary, **fixed}, f"{path}: out is chosen for every run; give --out for all of them")
    beside = path.parent / str(content["notebook"])
    grid = Grid(beside if beside.is_file() else Path(str(content["notebook"])), dict(vary), dict(fixed))
    require(len(grid) <= MOST, f"the grid {path} has {len(grid):,} combinations, and a sweep {MOST:,} at most: vary less")
    known = {parameter.name: parameter for parameter in parameters(grid.notebook)}
    first = {name: values[0] for name, values in vary.items()}
    resolve(known.values(), {**fixed, **first}, grid.notebook.name)
    for name, values in vary.items():  # each by itself: what one parameter may be depends on no other
        for value in values[1:]:
            resolve([known[name]], {name: value}, grid.notebook.name)
    return grid


def sweep(
    grid: Grid,
    *,
    out: str | Path = "runs",
    retry: bool = False,
    progress: bool = True,
    workers: int = 1,
    on: str = "here",
) -> Iterator[SweptRun]:
    """Yield every run of `grid` once it is complete or has failed; runs that need not be made again come first.

    A run below `out` is kept as long as everything that it depends on is as it was (see `dependencies`); otherwise it is made
    again, and `why` says for what reason. The next run starts when one has failed. `retry` makes failed runs again.
    `out`/<notebook>/ gets sweep.csv and index.html after every run, and overview.png and .pdf at the end: pictures, with the
    last of `vary` across and the one before down. `progress` shows a table with the time left, in a terminal or a notebook.

    `workers` runs are made at a time, by processes of this machine or, `on` a Ray, as its tasks: see `tasks.each`. Each kernel
    has sockets of its own.

    Raises UsageError, before anything is written, where a run would write among the pictures that some run reads, and where
    the table, the page or the overview would replace files of somebody else.
    """
    tasks.place_of(on)
    require(workers >= 1, f"workers = {workers}: give at least 1")
    base = Path(out) / grid.notebook.stem
    placing.check_apart(base, check(grid.notebook, grid.fixed | {name: values[0] for name, values in grid.vary.items()}))
    placing.check_apart(base, grid.vary)
    _check_free(base)
    runs = plan(grid, base, retry)
    page = index_page.Page(base, grid.notebook.stem, list(grid.vary))
    with Table(grid.notebook.stem, runs, progress) as table:
        try:
            yield from (one for one in runs if one.is_kept)
            wanted = [one for one in runs if not one.is_kept]
            following = iter(wanted)
            for one in itertools.islice(following, workers):
                one.begin()
            for place, result in _made(grid, wanted, out, table, workers, on):
                one = wanted[place]
                one.end(result.folder, result.error, result.seconds)
                _write_table(base, runs)
                if time.monotonic() - page.written > PAGE_EVERY:
                    page.write(runs)
                table.show()
                yield one
                for one in itertools.islice(following, 1):
                    one.begin()
        finally:
            _write_table(base, runs)
            page.write(runs)
        page.draw_overviews(runs)
        page.write(runs)


def _made(
    grid: Grid, wanted: Sequence[SweptRun], out: str | Path, table: Table, workers: int, on: str
) -> Iterator[tuple[int, RunResult]]:
    """(place, result) of every run, as they end. This process tells the table of every cell."""
    if workers == 1 and on == "here":
        each = (run(grid.notebook, one.values, out=out, progress=table.cell(one)) for one in wanted)
        return enumerate(each)
    return tasks.each(_make, (grid.notebook, out), [one.values for one in wanted], workers=workers, on=on)


def _make(shared: tuple[Path, str | Path], values: Mapping[str, Any]) -> RunResult:
    notebook, out = shared
    return run(notebook, values, out=out, progress=False)


def plan(grid: Grid, base: Path, retry: bool = False) -> list[SweptRun]:
    """Every run of `grid`: with its folder where one below `base` still holds, else with the reason to make it again."""
    before = dependencies.known_before(grid.notebook)
    runs = []
    for values in grid:
        run = SweptRun(values, {name: values[name] for name in grid.vary})
        for folder, found, reasons in _candidates(base, check(grid.notebook, values), before):
            status, error, seconds = found.get("status"), str(found.get("error") or ""), found.get("seconds")
            if not reasons and (status == "complete" or not retry):
                run.keep(folder, error if status == "failed" else None, seconds if isinstance(seconds, int | float) else None)
                break
            run.why = run.why or dependencies.told(reasons or [f"it failed: {error}"])
        runs.append(run)
    return runs


def _candidates(base: Path, parameters: Mapping[str, Any], before: Mapping[str, Any]) -> list[tuple[Path, dict, list[str]]]:
    """(folder, record, why it no longer holds) of the runs with these parameters, newest first, complete ones before others."""
    found = []
    for folder in record.made(base, parameters):
        if not (folder / dependencies.FILE).exists():  # run by hand
            continue
        try:
            made = record.read(folder)
        except WorkbenchError:
            found.append((folder, {}, [f"its {record.RECORD} is no record of a run"]))
            continue
        if made["status"] in ("complete", "failed"):
            reasons = dependencies.changes(folder, before)
            reasons += [f"its figure {path.name} is gone" for path in record.listed(folder) if not path.is_file()]
        else:
            reasons = ["it was interrupted"]
        found.append((folder, made, reasons))
    return sorted(found, key=lambda one: bool(one[2]) or one[1]["status"] != "complete")


def _check_free(base: Path) -> None:
    """UsageError where `base` has a table, a page or an overview that no sweep wrote."""
    table, page = base / TABLE, base / index_page.PAGE
    strange = [table] if table.exists() and not {"folder", "status"} <= _columns(table) else []
    strange += [page] if page.exists() and not index_page.is_ours(page) else []
    overviews = [path for path in sorted(base.glob(f"{index_page.OVERVIEW}*")) if _OVERVIEW.fullmatch(path.name)]
    strange += [path for path in overviews if not index_page.is_ours(path)]
    listed = ", ".join(path.name for path in strange)
    require(
        not strange, f"cannot write the sweep into {base}: its {listed} would be replaced, and is not of a sweep; move it away"
    )


def _columns(table: Path) -> set[str]:
    import pandas as pd

    try:
        return set(pd.read_csv(table, dtype=object, nrows=0).columns)
    except (OSError, ValueError):
        return set()


def _write_table(base: Path, runs: Sequence[SweptRun]) -> None:
    """One row for each run that was made, a column for each variable. Runs of other grids over the notebook keep theirs."""
    rows = [
        {**one.varied, "status": one.status, "seconds": one.seconds, "folder": one.folder.name, **record.legible(one.folder)}
        for one in runs
        if one.folder is not None
    ]
    import pandas as pd

    # As objects, so that whole numbers stay whole where a run that failed has none.
    table = pd.DataFrame(rows, dtype=object)
    if (others := _other_rows(base, {_which(row["folder"]) for row in rows})) is not None:
        table = pd.concat([others, table], ignore_index=True)
    storage.write_text(base / TABLE, table.map(inert).to_csv(index=False))


def _other_rows(base: Path, ours: set[str]) -> Any:
    """The rows of the table that is there which are of runs with other parameters than `ours`; None without any."""
    import pandas as pd

    try:
        table = pd.read_csv(base / TABLE, dtype=object, keep_default_na=False)
        keep = [_which(name) not in ours and (base / name).is_dir() for name in table["folder"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, or none of ours
        return None
    return table[keep] if any(keep) else None


def _which(folder: str) -> str:
    """The hash of the parameters in the name of a run folder: see `record.run_folder`."""
    return "".join(folder.split("-")[2:3])
