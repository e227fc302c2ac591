"""Sweeps: one notebook over every combination of some parameters, run by run, resumably, and all their metrics in a table."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from workbench.errors import UsageError, require
from workbench.runs import record
from workbench.runs.declarations import check
from workbench.runs.execution import run, source_of
from workbench.storage import write_text

TABLE = "sweep.csv"
"""File name of the table of a sweep, beside its run folders."""
KEYS = ("notebook", "vary", "fixed")
"""What a grid may have."""


@dataclass(frozen=True)
class Grid:
    """What a sweep consists of. vary: parameter -> the values it takes; fixed: parameter -> its one value."""

    notebook: Path
    vary: dict[str, list]
    fixed: dict[str, Any]

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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the grid {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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
    for values in grid:
        check(grid.notebook, values)
    return grid


def sweep(grid: Grid, *, out: str | Path = "runs", progress: bool = True) -> Iterator[tuple[dict[str, Any], Path, str | None]]:
    """Yield (parameters, run folder, error or None) for every run of `grid`; what is complete below `out` is not run again.

    After every run `out`/<notebook>/sweep.csv is written anew. A run that fails is yielded with its error, and the next one
    starts; the next sweep of the same grid tries it again.
    """
    base, source = Path(out) / grid.notebook.stem, source_of(grid.notebook)
    rows: list[dict[str, Any]] = []
    for values in grid:
        folder = record.complete(base, source, check(grid.notebook, values))
        error = None
        if folder is None:
            result = run(grid.notebook, values, out=out, progress=progress)
            folder, error = result.folder, result.error
        varied = {name: values[name] for name in grid.vary}
        rows.append({**varied, "status": "failed" if error else "complete", "folder": folder.name, **numbers(folder)})
        # As objects, so that whole numbers stay whole where a run that failed has none.
        write_text(base / TABLE, pd.DataFrame(rows, dtype=object).to_csv(index=False))
        yield values, folder, error


def numbers(folder: Path) -> dict[str, float]:
    """The numbers in metrics.json, called after the way to them: {"blend.style.gram": 0.01, ...}."""

    def leaves(value: object, name: str) -> Iterator[tuple[str, float]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from leaves(item, f"{name}.{key}" if name else str(key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value

    return dict(leaves(record.metrics(folder), ""))
