"""The folder of a run and the record in it, run.json, which is there before the kernel starts.

`status` is "running", "complete", "failed" or "interrupted"; `error` is one line, or null. A run whose process was
killed outright stays "running".

What an earlier run left in the same folder stays until this one replaces it or is complete: `earlier` lists it until then.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from workbench import provenance as pv
from workbench.errors import WorkbenchError
from workbench.storage import read_object, write_text

RECORD = "run.json"
"""File name of the record of a run."""
FOLDER_VARIABLE = "WORKBENCH_RUN"
"""Environment variable that gives the run folder to the notebook's session."""
METRICS = "metrics.json"
"""File name of what a run measured."""
EXECUTED = "executed.ipynb"
"""File name of the executed notebook."""
LOG = "kernel.log"
"""File of what the kernel prints to its own streams; kept when the run did not complete."""
STATUSES = ("complete", "failed", "interrupted", "running")
"""What `status` may be."""


def runs_folder() -> Path:
    """Where runs go by default: `runs` beside the notebooks, whether one works there or among them."""
    here = Path.cwd()
    return (here.parent if here.name == "notebooks" else here) / "runs"


def run_folder(base: Path, parameters: Mapping[str, object]) -> Path:
    """Create and return a new folder below `base`, even when several processes do so at once.

    It is called by the UTC time and a hash of the parameters, by which runs of the same thing are found.
    """
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{_hash(parameters)}"
    attempt = 1
    while True:
        folder = base / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            attempt += 1
        except OSError as error:
            raise WorkbenchError(f"cannot create the run folder {folder}: {error.strerror}") from error


def _hash(parameters: Mapping[str, object]) -> str:
    return hashlib.sha256(pv.text(parameters).encode()).hexdigest()[:8]


def made(base: Path, parameters: Mapping[str, object]) -> list[Path]:
    """The folders below `base` of runs with these parameters, newest first; those without a run.json are left out.

    Where run.json is no record of a run, the name of the folder tells the parameters.
    """
    found = []
    for folder in sorted(base.glob(f"*-{_hash(parameters)}*"), reverse=True):
        try:
            if read(folder).get("parameters") == json.loads(json.dumps(dict(parameters))):
                found.append(folder)
        except WorkbenchError:
            if (folder / RECORD).is_file():
                found.append(folder)
    return found


def metrics(folder: Path) -> dict:
    """What the run in `folder` measured; empty when it measured nothing. WorkbenchError where its file cannot be read."""
    path = folder / METRICS
    return read_object(path) if path.exists() and path not in earlier(folder) else {}


def numbers(folder: Path) -> dict[str, float]:
    """The numbers that the run in `folder` measured, called after the way to them: {"blend.style.gram": 0.01, ...}."""

    def leaves(value: object, name: str) -> Iterator[tuple[str, float]]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from leaves(item, f"{name}.{key}" if name else str(key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value

    return dict(leaves(metrics(folder), ""))


def legible(folder: Path) -> dict[str, float]:
    """The `numbers` of a run; none where its file is torn, as by a machine that lost its power."""
    try:
        return numbers(folder)
    except (WorkbenchError, RecursionError):
        return {}


def start(
    folder: Path, notebook: str, parameters: Mapping[str, object], made: Mapping[str, object], *, joins: bool = False
) -> None:
    """Write the record of a run that starts now; `made` is its provenance.

    The parameters are written as they are, so that the run can be repeated; figures carry the ones in `made`, which lead
    to no folder of this machine. Metrics of an earlier run in the same folder, and the figures that it lists, are those of an
    `earlier` one from now on. A session that `joins` a run begun outside keeps the time at which that started.
    """
    started = read(folder)["started"] if joins else now()
    left = {path for path in (*earlier(folder), *listed(folder), folder / METRICS) if path.exists()}
    beginning = {
        "notebook": notebook,
        "status": "running",
        "error": None,
        **made,
        "parameters": dict(parameters),
        "started": started,
        "finished": None,
        "seconds": None,
    }
    if left:
        beginning["earlier"] = sorted(path.relative_to(folder).as_posix() for path in left)
    write(folder, beginning)


def end(folder: Path, status: str, error: str | None, seconds: float) -> None:
    """Write how the run in `folder` ended into its record. When it is complete, what an earlier one left is removed."""
    ended = read(folder) | {"status": status, "error": error, "finished": now(), "seconds": round(seconds, 3)}
    if status == "complete":
        for path in earlier(folder):
            path.unlink(missing_ok=True)
        ended.pop("earlier", None)
    write(folder, ended)


def read(folder: Path) -> dict:
    """Read the record in `folder`. Raises WorkbenchError when there is none: no file, no JSON object, no `status`."""
    found = read_object(folder / RECORD)
    if found.get("status") not in STATUSES:
        raise WorkbenchError(f"{folder / RECORD} is no record of a run")
    return found


def listed(folder: Path) -> list[Path]:
    """The figures that the record in `folder` lists, none when there is no record that can be read.

    Each is a file in `folder`/figures, whatever path the record gives.
    """
    return _files(folder, "figures")


def earlier(folder: Path) -> list[Path]:
    """What an earlier run left in `folder` and the one in its record has not replaced: figures, or metrics.json."""
    ours = listed(folder)
    return [path for path in _files(folder, "earlier") if path not in ours]


def _files(folder: Path, key: str) -> list[Path]:
    try:
        names = [Path(name).name for name in read(folder).get(key, [])]
    except (WorkbenchError, TypeError):  # a run.json of something else
        return []
    return [folder / METRICS if name == METRICS and key == "earlier" else folder / "figures" / name for name in names]


def write(folder: Path, record: Mapping[str, object], name: str = RECORD) -> Path:
    """Write JSON for people, atomically; the keys of run.json keep their order."""
    return write_text(folder / name, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
