"""A run seen from inside the notebook: parameters checked, generators seeded, and a place for figures and metrics.

The second code cell of every notebook is `run = runs.begin(globals(), "05_comparison")`, its last `run.finish()`. The
same notebook then works in JupyterLab, under `workbench run` and under plain papermill.
"""

import ast
import html
import math
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from IPython import get_ipython

from workbench import provenance as pv
from workbench.errors import UsageError, WorkbenchError, require
from workbench.runs import dependencies, placing, record
from workbench.runs.declarations import Parameter, declared, resolve

if TYPE_CHECKING:
    from torch import Tensor

_open: "Session | None" = None  # the session that waits for finish; a kernel runs one notebook


def begin(namespace: dict[str, Any], notebook: str) -> "Session":
    """Start a run in the notebook called `notebook`, whose globals are `namespace`, and return its session.

    Checks every declared parameter, and the names that papermill injected; puts the checked values back into `namespace`
    (an int for a float becomes a float, a list for a tuple a tuple); seeds Python, NumPy and torch when there is a
    `seed`. The run folder is $WORKBENCH_RUN, or else the parameter `out` when it is not empty, or else a new
    runs/<notebook>/<run-id> in the project: the current folder, or the one above when that is `notebooks`.
    Raises UsageError when a parameter does not fit, when the seed is not in 0 <= seed < 2**32, which all three generators
    take, and when the run would write among the pictures that it reads or over files that are not of a run; WorkbenchError
    when the notebook has no parameters cell.
    """
    global _open
    if _open is not None:
        _open._abandon()
    known, injected = _cells(namespace, notebook)
    values = {one.name: namespace[one.name] for one in known if one.name in namespace}
    parameters = resolve(known, values | {name: namespace.get(name) for name in injected}, notebook)
    seed = parameters.get("seed")
    if isinstance(seed, int):
        require(0 <= seed < 2**32, f"{notebook}: parameter seed must be at least 0 and below 2**32, not {seed}")
    namespace.update(parameters)
    if isinstance(seed, int):
        import torch  # takes two seconds, and not every notebook has a seed

        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
    _open = Session(notebook, _folder(notebook, parameters), parameters)
    return _open


def _cells(namespace: Mapping[str, Any], notebook: str) -> tuple[list[Parameter], list[str]]:
    """The parameters cell that was executed last, and the names in the cell that papermill put behind it.

    The sources in `In` are read rather than `__annotations__`, which keeps the annotations of every other cell, too.
    """
    injected: list[str] = []
    for source in reversed(namespace.get("In", [])):
        if source.startswith("# Parameters\n"):
            injected = [one.targets[0].id for one in ast.parse(source).body if isinstance(one, ast.Assign)]
            continue
        try:
            known = declared(source, notebook)
        except WorkbenchError:
            continue
        if known:
            return known, injected
    raise WorkbenchError(f"{notebook}: run the parameters cell before runs.begin; it holds lines 'name: type = literal'")


def _folder(notebook: str, parameters: Mapping[str, Any]) -> Path:
    if joined := os.environ.get(record.FOLDER_VARIABLE):
        return Path(joined)  # looked at before the kernel started
    chosen, base = parameters.get("out"), record.runs_folder() / notebook
    if isinstance(chosen, str) and chosen:
        placing.check_apart(Path(chosen), parameters, chosen=True)
        placing.check_free(Path(chosen), record.RECORD, record.METRICS)
        return Path(chosen).absolute()  # a notebook may change the current folder
    placing.check_apart(base, parameters)
    return record.run_folder(base, parameters)


class Session:
    """A run that has begun. Each method writes at once, so an aborted notebook leaves what it had."""

    def __init__(self, notebook: str, folder: Path, parameters: dict[str, Any]) -> None:
        self.notebook, self.folder, self.parameters = notebook, folder, parameters
        self.status = "running"
        self.seconds = 0.0
        self._began = time.monotonic()
        self._metrics: dict[str, Any] = {}
        # `out` is where results go, not what they are: equal runs in two folders give equal files.
        decisive = {name: value for name, value in parameters.items() if name != "out"}
        self._provenance = pv.provenance(decisive, self.seed, {}, {})
        joins = record.FOLDER_VARIABLE in os.environ
        record.start(folder, notebook, parameters, self._provenance, joins=joins)
        self._note(figures=[])
        self._trace = dependencies.Trace(folder, parameters) if joins else None
        if shell := get_ipython():
            shell.events.register("post_run_cell", self._after_cell)

    @property
    def seed(self) -> int | None:
        """The parameter `seed`, None when there is none."""
        return self.parameters.get("seed")

    def input(self, name: str, source: Path | str) -> None:
        """Record what the run read: a file or folder, which is hashed, or a SHA-256 that is known already.

        Of a content that `inputs.content` has read, it is the hash of what was read, whatever lies there now.
        """
        known = isinstance(source, str) and re.fullmatch("[0-9a-f]{64}", source)
        self._provenance["inputs"][name] = pv.describe(name, source if known else pv.as_read(Path(source)) or Path(source))
        self._note(inputs=self._provenance["inputs"])

    def weights(self, name: str, sha256: str) -> None:
        """Record the SHA-256 of the weights that the run used; of a path in `name` the last part is kept."""
        self._provenance["weights"][pv.shared(name)] = pv.checked(name, sha256)
        self._note(weights=self._provenance["weights"])

    def figure(self, figure, name: str, *, suffixes: Sequence[str] = (".png", ".pdf")) -> list[Path]:
        """Save a figure as figures/`name`.png and .pdf, with the provenance so far inside, and return the paths.

        `suffixes` as of `figures.save`: a sheet of many pictures is a fifth as large as ".jpg".
        """
        from workbench import figures

        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None,
            f"figure name {name!r} must consist of letters, digits, '.', '_' and '-'",
        )
        provenance = {"notebook": self.notebook, **self._provenance}
        for suffix in suffixes:
            _check_ours(self.folder / "figures" / f"{name}{suffix}")
        paths = figures.save(figure, self.folder / "figures" / name, provenance, suffixes=suffixes)
        saved = [path.relative_to(self.folder).as_posix() for path in paths]
        self._note(figures=sorted({*record.read(self.folder)["figures"], *saved}))
        return paths

    def picture(self, image: "Tensor", name: str) -> Path:
        """Save one picture (1, 3, H, W) in [0, 1] as `name`.png in the run folder, with the provenance so far inside."""
        from workbench import images

        _check_ours(self.folder / f"{name}.png")
        stamp = pv.text({"notebook": self.notebook, **self._provenance})
        return images.save(image, self.folder / f"{name}.png", metadata={"workbench": stamp})

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Merge `values` into metrics.json: numbers (NumPy's and torch's too), texts, None, and lists and dicts of them.

        Raises UsageError, naming the metric, for a number that is not finite and for anything else.
        """
        self._metrics |= {str(name): _plain(value, str(name)) for name, value in values.items()}
        record.write(self.folder, dict(sorted(self._metrics.items())), record.METRICS)
        if (left := record.earlier(self.folder)) and self.folder / record.METRICS in left:
            self._note(earlier=[path.relative_to(self.folder).as_posix() for path in left if path.name != record.METRICS])

    def finish(self, **metrics: Any) -> "Session":
        """Write the metrics, mark the run complete and return the session, which shows the folder."""
        self.metrics(metrics)
        self._write_dependencies()
        self.status, self.seconds = "complete", time.monotonic() - self._began
        record.end(self.folder, self.status, None, self.seconds)
        if _open is self:
            self._let_go()
        return self

    def _note(self, **changes: Any) -> None:
        record.write(self.folder, record.read(self.folder) | changes)

    def _after_cell(self, result) -> None:
        """Mark the run as failed when a cell raised; finish puts that right when the cell was mended and run again."""
        error = result.error_before_exec or result.error_in_exec
        if error is None:
            return
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        message = " ".join(f"{type(error).__name__}: {error}".split())
        self._write_dependencies()
        record.end(self.folder, status, f"In [{result.execution_count}]: {message}", time.monotonic() - self._began)

    def _write_dependencies(self) -> None:
        if self._trace is not None:
            dependencies.write(self.folder, self._trace.close())
            self._trace = None

    def _abandon(self) -> None:
        """Leave a run that was begun again; its folder may be gone."""
        self._let_go()
        if (self.folder / record.RECORD).is_file() and record.read(self.folder)["status"] == "running":
            seconds = time.monotonic() - self._began
            record.end(self.folder, "interrupted", "begun again before run.finish()", seconds)

    def _let_go(self) -> None:
        global _open
        _open = None
        if shell := get_ipython():
            shell.events.unregister("post_run_cell", self._after_cell)

    def __repr__(self) -> str:
        took = f" in {self.seconds:.1f} s" if self.status == "complete" else ""
        return f"{self.notebook}: {self.status}{took}, {_shown(self.folder)}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


def _check_ours(path: Path) -> None:
    """WorkbenchError where `path` is there and carries no provenance: what is not of the workbench is not replaced."""
    from workbench import figures

    if path.exists():
        try:
            figures.read_provenance(path)
        except WorkbenchError as error:
            raise WorkbenchError(f"cannot write {path}: what is there is not of a run; move it away") from error


def _shown(folder: Path) -> str:
    """`folder` as seen from here."""
    try:
        return os.path.relpath(folder)
    except ValueError:  # another drive
        return str(folder)


def _plain(value: Any, name: str) -> Any:
    """`value` as JSON has it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{name}.{key}") for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"metric {name} is {value}; give a finite number, or None for one that is not defined")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UsageError(f"metric {name} is a {type(value).__name__}; give numbers, texts, lists or dicts")
