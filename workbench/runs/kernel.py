"""A notebook executed by papermill, in a kernel of this interpreter."""

import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import papermill
import zmq
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io

from workbench import storage
from workbench.memory import SELDOM
from workbench.runs.record import EXECUTED, FOLDER_VARIABLE, LOG

START_SECONDS = 120
"""Seconds that a kernel may take to start, on a busy machine."""
OUTPUT_SECONDS = 60
"""Seconds from the end of a cell until all its outputs have arrived, at most."""
START = f"import gc, runpy; gc.set_threshold{SELDOM}; runpy.run_module('ipykernel_launcher', run_name='__main__')"
"""What the kernel's process does: see `memory.SELDOM`."""


@dataclass
class Watch:
    """Hooks of nbclient: which code cell runs, and what it raised. Cells are numbered as Jupyter does, In [1] first."""

    report: Callable[[int, int], None] | None = None  # told the number of each cell that begins, and how many there are
    count: int = 0
    total: int = 0
    raised: str | None = None

    @property
    def cell(self) -> str:
        return f"In [{self.count}]"

    def hooks(self) -> dict:
        return {
            "on_notebook_start": self._start,
            "on_cell_execute": self._execute,
            "on_cell_error": self._error,
        }

    def _start(self, notebook) -> None:
        self.total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)

    def _execute(self, cell, cell_index) -> None:
        self.count += 1
        if self.report is not None:
            self.report(self.count, self.total)

    def _error(self, cell, cell_index, execute_reply) -> None:
        if "raises-exception" not in cell.metadata.get("tags", []):
            reply = execute_reply["content"]
            ours = reply.get("ename") in ("WorkbenchError", "UsageError")  # their message is enough
            self.raised = f"{self.cell}: {reply['evalue'] if ours else '{ename}: {evalue}'.format(**reply)}"


def execute(notebook, folder: Path, given: dict, timeout: float | None, bar: bool, watch: Watch) -> str | None:
    """Run the notebook into folder/executed.ipynb, with a `bar` on stderr. Returns what went wrong, as one line, or None."""
    made = folder / EXECUTED
    papermill_io.register(str(made), _Whole())
    attempts = 2  # a port may be taken, or a machine too busy, between two kernels that start; a cell is never retried
    while True:
        attempts -= 1
        try:
            with _kernel(folder) as kernel, _quiet():
                papermill.execute_notebook(
                    _escaped(notebook),
                    _escaped(made),
                    _as_lists(given),
                    kernel_name="python3",
                    language="python",
                    progress_bar={"desc": notebook.stem} if bar else False,
                    start_timeout=START_SECONDS,
                    execution_timeout=math.ceil(timeout) if timeout else None,
                    iopub_timeout=OUTPUT_SECONDS,
                    kernel_manager_class=kernel,
                    **watch.hooks(),
                )
            # papermill lets sys.exit(0) pass for the end of the notebook.
            return line(watch.raised) if watch.raised else None
        except PapermillExecutionError as error:
            return line(watch.raised or f"{watch.cell}: {error.ename}: {error.evalue}")
        except CellTimeoutError as error:
            late = "IOPub" in str(error)  # the cell ended, its outputs did not arrive
            return f"{watch.cell}: outputs arrived late" if late else f"{watch.cell}: exceeded {timeout:g} s"
        except DeadKernelError:
            return f"{watch.cell}: the kernel died (killed, or out of memory)"
        except (RuntimeError, zmq.ZMQError) as error:
            if watch.count:
                raise
            if not attempts:
                return line(f"the kernel did not start: {error}")


class _Whole(LocalHandler):
    """How papermill saves a notebook after each cell: at any moment the file is that of one cell or of the next, and whole."""

    def write(self, buf: str, path: str) -> None:
        storage.write_text(path, buf)


def _escaped(path: Path) -> str:
    """papermill takes a path for a format string."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _as_lists(value: object) -> object:
    """papermill would write a tuple as a text; the session makes tuples of the lists again."""
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def line(text: str) -> str:
    """`text` on one line of at most 500 characters."""
    joined = " ".join(text.split())
    return joined if len(joined) <= 500 else joined[:499] + "…"


@contextmanager
def _kernel(folder: Path) -> Iterator[type[AsyncKernelManager]]:
    """A kernel manager class for one run: this interpreter, whatever kernel is installed as python3, over Unix sockets.

    Ports chosen for TCP may be taken before the kernel binds them (nteract/papermill #511), and anyone on the machine
    can connect to them; Windows has nothing else.
    """
    ipc = sys.platform != "win32"
    environment = os.environ | {FOLDER_VARIABLE: str(folder.absolute())}
    # A socket's path may be no longer than about 100 bytes, which the folder for temporary files may exceed.
    short = "/tmp" if ipc and len(tempfile.gettempdir()) > 45 else None
    with (
        storage.temporary_folder(short) as sockets,
        (folder / LOG).open("wb") as log,
    ):

        class Kernel(AsyncKernelManager):
            def __init__(self, **options) -> None:
                where = {"transport": "ipc", "ip": str(Path(sockets, "kernel"))} if ipc else {}
                super().__init__(connection_file=str(Path(sockets, "kernel.json")), **where, **options)

            @property
            def kernel_spec(self) -> KernelSpec:
                command = [sys.executable, "-c", START, "-f", "{connection_file}"]
                return KernelSpec(argv=command, display_name="Python 3", language="python")

            async def start_kernel(self, **options) -> None:
                await super().start_kernel(env=environment, stdout=log, stderr=log, **options)

        yield Kernel


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep papermill from logging what the result reports better, or what is untrue, such as unknown parameters."""
    logger = logging.getLogger("papermill")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
