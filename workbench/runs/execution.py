"""Running a notebook from outside: parameters checked first, a kernel of this interpreter, and how the run ended.

The status comes from what papermill and the kernel did, never from the notebook that papermill leaves: after a cell
timed out or the kernel died, that one has `exception: null` and `completed` (papermill 2.7).
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import provenance as pv
from workbench import storage
from workbench.errors import UsageError, WorkbenchError
from workbench.runs import dependencies, placing, record
from workbench.runs.declarations import check

LOCK = ".at-work"
"""File name of the lock on a folder that was named for a run."""
NAMES = (record.RECORD, record.METRICS, record.EXECUTED, record.LOG, dependencies.FILE)
"""Names of the files that every run writes, or removes, in its folder."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended: `status` is "complete" or "failed", `error` one line when it failed."""

    status: str
    folder: Path
    seconds: float
    error: str | None


def run(
    notebook: str | Path,
    values: Mapping[str, object],
    *,
    out: str | Path = "runs",
    timeout: float | None = None,
    progress: bool | Callable[[int, int], None] = True,
    settings: str | Path | None = None,
) -> RunResult:
    """Execute `notebook` with the parameters `values`, which go before those of the JSON file `settings`.

    The run folder is `out`/<notebook>/<run-id>, or the notebook's parameter `out` when it has one that is not empty. It
    receives executed.ipynb, run.json, what the notebook's session writes and, unless the run completes, what the kernel
    printed to its own streams, kernel.log. `timeout` is in seconds per cell. The kernel runs where the caller stands and
    finds the run folder in the environment variable WORKBENCH_RUN. `progress` shows a bar on stderr, or is told the number of
    each cell that begins, and how many there are.

    Raises UsageError, before anything is written or started, when a parameter does not fit, when the run would write among the
    pictures that it reads, and when it would replace files that are not of a run. A notebook that fails raises nothing: see the
    result. KeyboardInterrupt is recorded as "interrupted" and raised again.
    """
    notebook = Path(notebook)
    given = {**(read_settings(Path(settings)) if settings else {}), **values}
    parameters = check(notebook, given)
    chosen = _chosen(parameters)
    placing.check_apart(chosen or Path(out) / notebook.stem, parameters, chosen=chosen is not None)
    if chosen is not None:
        placing.check_free(chosen, *NAMES)
    if given.get("out"):
        folder = _folder(notebook, parameters, Path(out))
        with storage.alone(folder / LOCK, f"another run is at work in {folder}: give another folder as out"):
            return _run(notebook, folder, parameters, given, timeout, progress)
    return _run(notebook, _folder(notebook, parameters, Path(out)), parameters, given, timeout, progress)


def _run(
    notebook: Path,
    folder: Path,
    parameters: Mapping[str, Any],
    given: Mapping[str, object],
    timeout: float | None,
    progress: bool | Callable[[int, int], None],
) -> RunResult:
    """Execute `notebook` into `folder`, which no other run writes to."""
    from workbench.runs import kernel  # takes a second to import, and is not needed for a notebook that is refused

    made = pv.provenance(parameters, parameters.get("seed"), {}, {})
    bar = progress is True and sys.stderr.isatty()
    watch = kernel.Watch(progress if callable(progress) else _lines(notebook.stem) if progress and not bar else None)
    began = time.monotonic()
    record.start(folder, notebook.stem, parameters, made)
    record.write(folder, dependencies.known_before(notebook), dependencies.FILE)
    try:
        error = kernel.execute(notebook, folder, {name: parameters[name] for name in given}, timeout, bar, watch)
        dependencies.write(folder, {"absent": dependencies.absent(parameters)})  # now, for a run may make a folder of that name
        # A session writes "figures" when it begins, and sets the status when the notebook calls finish.
        left = record.read(folder)
        if error is None and "figures" in left and left["status"] != "complete":
            error = "the notebook ended without calling run.finish()"
        seconds = time.monotonic() - began
        status = "complete" if error is None else "failed"
        if error is None:
            (folder / kernel.LOG).unlink()
        record.end(folder, status, error, seconds)
        return RunResult(status, folder, seconds, error)
    except KeyboardInterrupt:
        record.end(folder, "interrupted", f"interrupted in {watch.cell}", time.monotonic() - began)
        raise
    except BaseException as unexpected:
        record.end(folder, "failed", kernel.line(f"{type(unexpected).__name__}: {unexpected}"), time.monotonic() - began)
        raise


def read_settings(path: Path) -> dict[str, object]:
    """Read parameter values from a JSON object. Raises UsageError when the file does not hold one."""
    try:
        values = storage.parse_json(storage.read_text(path))
    except OSError as error:
        raise UsageError(f"cannot read the settings {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the settings {path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"the settings {path} must be a JSON object of parameter names and values")
    return values


def _lines(name: str) -> Callable[[int, int], None]:
    return lambda count, total: print(f"{name}: cell {count}/{total}", file=sys.stderr, flush=True)


def _chosen(parameters: Mapping[str, object]) -> Path | None:
    """The folder that the parameter `out` names; None where it names none."""
    chosen = parameters.get("out")
    return Path(chosen) if isinstance(chosen, str) and chosen else None


def _folder(notebook: Path, parameters: Mapping[str, object], out: Path) -> Path:
    chosen = _chosen(parameters)
    if chosen is None:
        return record.run_folder(out / notebook.stem, parameters)
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkbenchError(f"cannot create the run folder {chosen}: {error.strerror}; change the parameter out") from error
    return chosen
