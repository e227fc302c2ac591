"""Independent tasks: the same wherever they run, in one process, in a pool or on Ray."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from small_tasks import die, seen, wait
from test_study import METHODS, SMALL, artists, contents  # noqa: F401 - fixtures
from waiting import until

from workbench import runs, tasks
from workbench.errors import UsageError, WorkbenchError
from workbench.study import Study

PLACES = [("here", 1), ("here", 2), ("ray", 2)]


@pytest.fixture(params=PLACES, ids=lambda place: f"{place[0]}-{place[1]}")
def place(request):
    """Where tasks run, as `tasks.each` takes it. Ray is skipped, by name, where it is not installed."""
    on, workers = request.param
    if on == "ray":
        request.getfixturevalue("ray")
    return {"on": on, "workers": workers}


@pytest.mark.slow
class TestEach:
    def test_results_are_equal_wherever_tasks_run(self, place, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        found = dict(tasks.each(seen, {"of": 10}, range(5), **place))
        assert found == {i: (10 * i, str(tmp_path), 1, ["3", os.environ["WORKBENCH_CACHE"]]) for i in range(5)}
        assert list(tasks.each(seen, {"of": 10}, [], **place)) == []

    def test_what_a_task_raises_is_raised_here(self, place):
        with pytest.raises(WorkbenchError, match="item 2 is bad"):
            list(tasks.each(seen, {"of": 1, "bad": 2}, range(4), **place))

    def test_a_process_that_is_killed_is_one_line(self):
        with pytest.raises(WorkbenchError, match="a process was killed") as error:
            list(tasks.each(die, None, [1], workers=2))
        assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["the caller alone", "all of them, as a terminal does"])
def test_ctrl_c_interrupts_what_is_at_work_and_nothing_else_begins(to, tmp_path, ctrl_c):
    def stop():
        until(lambda: len(list(tmp_path.glob("* begun"))) == 2)
        for process in multiprocessing.active_children() if to != "the caller alone" else ():
            os.kill(process.pid, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    stopping = threading.Thread(target=stop)
    stopping.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(tasks.each(wait, tmp_path, range(5), workers=2))
    stopping.join()
    assert time.monotonic() - began < 50  # a task takes a minute
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0 begun", "0 interrupted", "1 begun", "1 interrupted"]


@pytest.mark.slow
def test_a_killed_caller_leaves_no_process_behind(tmp_path):
    program = f"""
from pathlib import Path
from small_tasks import wait
from workbench import tasks
if __name__ == "__main__":
    list(tasks.each(wait, Path({str(tmp_path)!r}), range(5), workers=2))
"""
    script = tmp_path / "caller.py"
    script.write_text(program)
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, script], env=here, start_new_session=True) as caller:
        until(lambda: len(list(tmp_path.glob("* begun"))) == 2)
        caller.kill()
    processes = ",".join(path.read_text() for path in tmp_path.glob("* begun"))

    def states():
        found = subprocess.run(["ps", "-o", "stat=", "-p", processes], capture_output=True, text=True)
        return found.stdout.split()

    until(lambda: all(state.startswith("Z") for state in states()))  # in a container nobody may collect what has ended
    assert len(list(tmp_path.glob("* begun"))) == 2


def test_another_place_is_refused():
    for on in ("there", "here:x", ""):
        with pytest.raises(UsageError, match="choose here, ray or ray:ADDRESS"):
            list(tasks.each(seen, {}, [1], on=on))


@pytest.mark.slow
def test_a_sweep_is_the_same_wherever_its_runs_are_made(place, tmp_path, monkeypatch):
    """Parameters, numbers and failures; where two are made at a time, each kernel has a socket of its own."""
    monkeypatch.chdir(tmp_path)
    session = "from workbench import runs\nrun = runs.begin(globals(), 'n')"
    cells = (
        "size: int = 1\nnumber: int = 0",
        session,
        "import random\nassert size < 3, 'too big'",
        "run.finish(drawn=random.Random(number + size).random())",
    )
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, "n.ipynb")
    grid = runs.Grid(Path("n.ipynb"), {"size": [1, 3], "number": [4]}, {})
    made = list(runs.sweep(grid, progress=False, **place))
    table = pd.read_csv("runs/n/sweep.csv")
    assert table["size"].tolist() == [1, 3] and table["status"].tolist() == ["complete", "failed"]
    assert table["drawn"].dropna().tolist() == pytest.approx([random.Random(5).random()])
    assert sorted(one.error or "" for one in made) == ["", "In [4]: AssertionError: too big"]
    assert all(one.is_kept for one in runs.sweep(grid, progress=False, **place))


@pytest.mark.slow
def test_a_study_is_the_same_wherever_its_cells_are_painted(place, artists, contents, encoder, tmp_path):  # noqa: F811
    def painted(folder, **options):
        Study(contents, artists, METHODS[:2], encoder, SMALL, seeds=(0,), folder=folder).paint(**options)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    assert len(alone := painted(tmp_path / "alone")) == 8
    assert painted(tmp_path / "spread", **place) == alone
