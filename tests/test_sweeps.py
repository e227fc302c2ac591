"""Sweeps: kept only as long as everything that was read is as it was, made again for a reason, and laid out to look at."""

import io
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console

import workbench
from workbench import images, runs, storage
from workbench.runs import dependencies, index_page, record, sweeping, swept
from workbench.runs.live import ROWS, Table
from workbench.runs.swept import SweptRun

CELL = "content: str = 'content.png'\ncorpus: str = 'paintings'\nencoder: str = 'embedded'\ntau: float = 0.1\nout: str = ''"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A notebook with a content, a corpus and weights; nothing of the real package is hashed."""
    monkeypatch.chdir(tmp_path)
    for name in ("content.png", "paintings/a.png", "paintings/b.png", "weights/vgg.bin", "mine.bin", "package/code.py"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    monkeypatch.setattr(workbench, "__file__", str(tmp_path / "package" / "__init__.py"))
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(tmp_path / "weights"))
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (CELL, "1 + 1")])
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, "05_tiny.ipynb")
    return tmp_path


def made(values=(), status="complete", error=None, reads=(), lists=(), picture=None):
    """A run as `execution.run` and a session leave it."""
    parameters = runs.check("05_tiny.ipynb", dict(values))
    folder = record.run_folder(Path("runs/05_tiny"), parameters)
    record.start(folder, "05_tiny", parameters, {})
    before = {**dependencies.known_before(Path("05_tiny.ipynb")), "absent": dependencies.absent(parameters)}
    record.write(folder, before, dependencies.FILE)
    trace = dependencies.Trace(folder)
    for path in reads:
        Path(path).read_bytes()
    for path in lists:
        list(Path(path).iterdir())
    dependencies.write(folder, trace.close())
    if picture is not None:
        images.save(torch.full((1, 3, 12, 16), picture), folder / "result.png")
        record.write(folder, {"style": {"gram": picture}}, record.METRICS)
    if status != "running":
        record.end(folder, status, error, 2.0)
    return folder


def planned(retry=False, **vary):
    return sweeping.plan(runs.Grid(Path("05_tiny.ipynb"), vary, {}), Path("runs/05_tiny"), retry)


def reason(**vary):
    (one,) = planned(**vary)
    return one.why


READS = {
    "reads": ["content.png", "paintings/a.png", "paintings/b.png", "weights/vgg.bin", "mine.bin"],
    "lists": ["paintings"],
}


def replace(name):
    """Another content under the same name, as large and as old as before."""
    stat = Path(name).stat()
    Path(name).write_text(Path(name).read_text()[::-1])
    os.utime(name, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def edit(name):
    node = nbformat.read(name, as_version=4)
    node.cells[1].source = "1 + 2"
    nbformat.write(node, name)


class TestDependencies:
    """A run holds as long as everything that it read hashes alike."""

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda: replace("content.png"), "the content content.png changed"),
            (lambda: replace("paintings/b.png"), "the corpus b.png changed"),
            (lambda: Path("paintings/a.png").unlink(), "the corpus a.png is gone; the corpus paintings has other files"),
            (lambda: Path("paintings/c.png").touch(), "the corpus paintings has other files"),
            (lambda: replace("weights/vgg.bin"), "the file vgg.bin changed"),
            (lambda: replace("mine.bin"), "the encoder mine.bin changed"),
            (lambda: edit("05_tiny.ipynb"), "the notebook's code changed"),
            (lambda: replace("package/code.py"), "the package's source changed"),
            (lambda: Path("package/more.py").touch(), "the package's source changed"),
        ],
        ids=[
            "content",
            "painting",
            "painting gone",
            "painting added",
            "weights",
            "own weights",
            "notebook",
            "package",
            "module",
        ],
    )
    def test_whatever_a_run_read_makes_it_again_when_it_changes(self, project, change, why):
        grid = {"encoder": ["embedded:mine.bin"]}
        folder = made({"encoder": "embedded:mine.bin"}, **READS)
        (one,) = planned(**grid)
        assert (one.folder, one.status, one.is_kept, one.why) == (folder, "complete", True, "")
        change()
        (one,) = planned(**grid)
        assert (one.folder, one.status, one.why) == (None, "waiting", why)

    def test_what_it_does_not_depend_on_changes_nothing(self, project, monkeypatch):
        folder = made(**READS)
        node = nbformat.read("05_tiny.ipynb", as_version=4)
        node.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
        node.cells.append(nbformat.v4.new_markdown_cell("Prose."))
        nbformat.write(node, "05_tiny.ipynb")  # as JupyterLab saves it
        Path("paintings/.DS_Store").touch()
        Path("package/README.md").touch()
        Path("content.png").touch()  # a new time, the same bytes
        shutil.copytree("weights", "elsewhere")
        shutil.rmtree("weights")
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(project / "elsewhere"))
        (one,) = planned(tau=[0.1])
        assert one.folder == folder

    def test_a_library_of_another_version_makes_it_again(self, project, monkeypatch):
        made()
        versions = dependencies.pv.versions()
        monkeypatch.setattr(dependencies.pv, "versions", lambda: versions | {"torch": "9.0"})
        assert reason(tau=[0.1]) == f"torch {versions['torch']} is now 9.0"

    def test_a_file_that_appears_under_the_name_of_a_sample_counts(self, project):
        made({"content": "china"}, status="failed", error="content 'china' is no file")
        Path("china").touch()
        assert reason(content=["china"]) == "there is a file china now"

    def test_many_reasons_are_a_few_words(self, project):
        made(**READS)
        for name in (*READS["reads"], "package/code.py"):
            replace(name)
        assert reason(tau=[0.1]).endswith("; and 3 more")

    def test_of_several_runs_the_one_that_still_holds_is_kept(self, project):
        older = made(**READS)
        replace("content.png")
        newer = made(**READS)
        assert planned(tau=[0.1])[0].folder == newer
        replace("content.png")  # as it was
        assert planned(tau=[0.1])[0].folder == older
        assert not planned(tau=[0.2])[0].why  # made for the first time


class TestTrace:
    """What a process reads, as the interpreter reports it."""

    def trace(self, work):
        """Without the modules of these tests, which are read as well."""
        trace = dependencies.Trace(Path("runs"))
        work()
        found = trace.close()
        return found | {"files": {name: sha256 for name, sha256 in found["files"].items() if not Path(name).is_absolute()}}

    def test_files_are_noted_however_they_are_opened(self, project, monkeypatch):
        Image.new("RGB", (2, 2)).save("picture.png")
        storage.write_text("checkpoint.safetensors", "no checkpoint")

        def work():
            os.close(os.open("mine.bin", os.O_RDONLY))
            pd.read_csv("content.png")
            Image.open(b"picture.png").load()
            with pytest.raises(workbench.errors.WorkbenchError):
                storage.read_checkpoint("checkpoint.safetensors")  # opened by native code
            os.chdir("paintings")
            Path("a.png").read_text()
            os.chdir("..")
            import brushes_of_mine  # noqa: F401

        Path("brushes_of_mine.py").write_text("x = 1")
        monkeypatch.syspath_prepend(project)
        monkeypatch.setattr(sys, "dont_write_bytecode", False)

        assert list(self.trace(work)["files"]) == [
            "brushes_of_mine.py", "checkpoint.safetensors", "content.png", "mine.bin", "paintings/a.png", "picture.png"
        ]  # fmt: skip

    def test_what_a_run_writes_is_no_dependency(self, project):
        def work():
            storage.write_text("results/made.txt", "x")  # renamed into place
            Path("results/also.txt").write_text("x")
            for path in Path("results").iterdir():
                path.read_text()
            Path("runs/05_tiny").mkdir(parents=True)
            Path("runs/05_tiny/kept.txt").write_text("x")
            storage.cache_dir("tests").joinpath("x").touch()
            list(storage.cache_dir("tests").iterdir())

        assert self.trace(work) == {"files": {}, "folders": {}}

    def test_a_file_counts_wherever_it_lies(self, project, monkeypatch):
        """In memory, in the cache beside its entries, beside the interpreter; what has a key or a version does not."""
        monkeypatch.setenv("WORKBENCH_CACHE", str(project / "cache"))
        monkeypatch.setattr(sys, "prefix", str(project / "python"))
        monkeypatch.setattr(dependencies, "_libraries", lambda: {str(project / "python/lib")})
        memory = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        cell, own, entry = memory / "cell.png", project / "cache/mine/a.png", storage.cache_dir("kept") / "entry.png"
        library, data, font = project / "python/lib/module.png", project / "python/share/a.png", project / "share/fonts/a.ttf"
        every = {cell, own, entry, library, data, font}
        for path in every:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")

        def found(**parameters):
            trace = dependencies.Trace(project / "runs", parameters)
            for path in every:
                path.read_bytes()
                list(path.parent.iterdir())
            Path("/dev/null").read_bytes()
            Path("/proc/self/stat").read_bytes()
            told = trace.close()
            names = {
                name for name in told["files"] if Path(name).suffix in (".png", ".ttf") or name.startswith(("/dev", "/proc"))
            }
            assert {Path(name) for name in told["folders"]} == {Path(name).parent for name in names}
            return {Path(name).absolute() for name in names}

        try:
            assert found() == {cell, own, data}
            assert found(content=str(entry.parent), corpora=["nocturne", str(library.parent)], size=3) == every - {font}
            assert found(glyph=str(font.parent)) == {cell, own, data, font}
            assert found(content=str(project)) == {cell, own, data, font}  # in which all the others lie as well
        finally:
            shutil.rmtree(memory)

    def test_a_file_that_changes_during_the_run_does_not_hold(self, project):
        def work():
            Path("content.png").read_text()
            shutil.copy("mine.bin", "other.bin")
            os.utime("content.png")  # as if by somebody else

        assert self.trace(work)["files"] == {"content.png": None, "mine.bin": dependencies.pv.sha256(Path("mine.bin"))}

    def test_nor_does_one_that_is_older_by_a_clock_that_was_set_back(self, project):
        def work():
            Path("content.png").read_text()
            Path("package/copied.png").write_text("another")  # the file that takes its place was written before the run
            os.utime("package/copied.png", (0, 0))
            Path("package/copied.png").replace("content.png")
            dependencies._trace._written.clear()  # by somebody else

        assert self.trace(work)["files"] == {"content.png": None}


class TestPlan:
    """Which runs are made."""

    def test_failed_runs_are_made_again_on_request_and_interrupted_ones_always(self, project):
        made({"tau": 0.1}, status="failed", error="In [3]: no file")
        made({"tau": 0.2}, status="interrupted")
        made({"tau": 0.3}, status="running")
        kept, *others = planned(tau=[0.1, 0.2, 0.3])
        assert (kept.status, kept.error, kept.is_kept) == ("failed", "In [3]: no file", True)
        assert [one.why for one in others] == ["it was interrupted"] * 2
        again = planned(retry=True, tau=[0.1])[0]
        assert again.folder is None and again.why == "it failed: In [3]: no file"

    @pytest.mark.parametrize("text", ["[1]", "3", "{", "[" * 100_000, "{}", '{"status": ["complete"]}', '{"status": "well"}'])
    def test_a_strange_record_makes_its_run_again_and_stops_no_sweep(self, project, text):
        (made() / "run.json").write_text(text)
        assert reason(tau=[0.1]) == "its run.json is no record of a run"

    @pytest.mark.parametrize(
        "text", ["[1]", "3", "{", "[" * 100_000, '{"files": 3}', '{"folders": [1]}', '{"absent": {}}', '{"versions": "1"}']
    )
    def test_so_do_strange_dependencies(self, project, text):
        folder = made()
        (folder / dependencies.FILE).write_text(text)
        assert reason(tau=[0.1]) == "its dependencies.json cannot be read"
        dependencies.write(folder, {"files": {}})  # a run in the same folder writes its own
        assert dependencies.load(folder) == {"files": {}}

    @pytest.mark.parametrize("text", ["[1]", "3", "{", "[" * 100_000])
    def test_strange_numbers_cost_the_numbers_alone(self, project, text):
        folder = made(picture=0.5)
        record.write(folder, record.read(folder) | {"seconds": "long", "error": [1]})
        (folder / "metrics.json").write_text(text)
        (one,) = runs.sweep(runs.Grid(Path("05_tiny.ipynb"), {"tau": [0.1]}, {}), progress=False)
        assert one.is_kept and one.seconds is None and "complete" in Path("runs/05_tiny/index.html").read_text()

    def test_a_run_whose_figure_is_gone_or_that_was_made_by_hand_does_not_count(self, project):
        folder = made()
        record.write(folder, record.read(folder) | {"figures": ["figures/gone.png"]})
        assert reason(tau=[0.1]) == "its figure gone.png is gone"
        (folder / dependencies.FILE).unlink()
        (one,) = planned(tau=[0.1])
        assert one.folder is None and not one.why


class TestTimeLeft:
    """What the table says at its head."""

    def test_runs_that_are_left_take_as_long_as_those_made(self):
        some = [SweptRun({}, {}) for _ in range(4)]
        assert swept.seconds_left(some) is None and swept.summary(some) == "0 of 4"
        some[0].keep(Path("a"), None, 10.0)
        assert swept.seconds_left(some) == 30  # nothing better is known
        some[1].end(Path("b"), None, 60.0)
        assert swept.seconds_left(some) == 120
        some[2].end(Path("c"), "broken", 1.0)
        assert swept.summary(some) == "3 of 4, 1 failed, about 60 s left"
        some[3].begin()
        assert 50 < swept.seconds_left(some) < 60
        assert [swept.duration(seconds) for seconds in (8, 200, 9000)] == ["8 s", "3 min", "2.5 h"]

    def test_the_table_shows_the_runs_around_the_one_that_goes_on(self):
        many = [SweptRun({"tau": i / 10}, {"tau": i / 10}) for i in range(40)]
        for run in many[:25]:
            run.end(Path("x"), "In [3]: [bold]no[/bold] file" if run is many[24] else None, 60.0)
        many[25].begin()
        table = Table("05_tiny", many, is_shown=False)
        table.cell(many[25])(3, 9)
        printed = io.StringIO()
        Console(file=printed, width=100).print(table.drawn())
        text = printed.getvalue()
        assert "05_tiny: 25 of 40, 1 failed, about 15 min left" in text and f"{40 - ROWS} more" in text
        assert "25 of 40" in table.drawn()._repr_mimebundle_((), ())["text/html"]  # as a notebook shows it
        assert "cell 3 of 9" in text and "[bold]no[/bold] file" in text and "3.9" not in text


class TestPage:
    """What a sweep leaves to be looked at."""

    def test_the_page_shows_every_run_and_the_overview_its_pictures(self, project):
        grid = runs.Grid(Path("05_tiny.ipynb"), {"content": ["a", "b<i>"], "tau": [0.1, 0.3]}, {})
        for content, tau, grey in (("a", 0.1, 0.0), ("a", 0.3, 0.3), ("b<i>", 0.1, 0.6)):
            made({"content": content, "tau": tau}, picture=grey)
        made({"content": "b<i>", "tau": 0.3}, status="failed", error="In [3]: <b>bad</b>")
        found = list(runs.sweep(grid, out="runs", progress=False))
        assert [one.is_kept for one in found] == [True] * 4
        base = Path("runs/05_tiny")
        page = (base / index_page.PAGE).read_text()
        assert page.count("data:image/jpeg") == 3 and 'src="overview.png"' in page
        assert "&lt;b&gt;bad&lt;/b&gt;" in page and "<b>" not in page and "<i>" not in page
        assert "4 of 4, 1 failed" in page and str(project) not in page
        table = pd.read_csv(base / sweeping.TABLE)
        assert table["status"].tolist() == ["complete"] * 3 + ["failed"]
        assert table["style.gram"].tolist()[:3] == [0.0, 0.3, 0.6] and (table["seconds"] == 2).all()
        assert Image.open(base / "overview.png").width > 200 and (base / "overview.pdf").is_file()

    def test_three_parameters_have_a_figure_for_every_value_of_the_first(self, project):
        vary = {"encoder": ["x", "y"], "content": ["a"], "tau": [0.1, 0.3]}
        grid = runs.Grid(Path("05_tiny.ipynb"), vary, {})
        for values in grid:
            made(values, picture=0.5)
        list(runs.sweep(grid, out="runs", progress=False))
        assert sorted(path.name for path in Path("runs/05_tiny").glob("overview*.png")) == ["overview-1.png", "overview-2.png"]

    def test_several_results_of_a_run_have_a_figure_and_a_thumbnail_each(self, project):
        grid = runs.Grid(Path("05_tiny.ipynb"), {"tau": [0.1, 0.3]}, {})
        for values in grid:
            folder = made(values, picture=0.5)
            Image.new("RGB", (20, 20), "red").save(folder / "gram-single.png")
        list(runs.sweep(grid, out="runs", progress=False))
        base = Path("runs/05_tiny")
        assert sorted(path.name for path in base.glob("overview*.png")) == ["overview-1.png", "overview-2.png"]
        page = (base / index_page.PAGE).read_text()
        assert page.count("data:image/jpeg") == 4 and page.count('title="gram-single"') == 2

    def test_a_sweep_without_pictures_has_a_page_all_the_same(self, project):
        made()
        assert len(list(runs.sweep(runs.Grid(Path("05_tiny.ipynb"), {}, {}), out="runs", progress=False))) == 1
        assert "1 of 1" in Path("runs/05_tiny/index.html").read_text() and not list(Path("runs/05_tiny").glob("overview*"))


ASKS = """\
from ipykernel.connect import get_connection_info
import json, pathlib, time
here, other = (pathlib.Path(name) for name in (mine, theirs))
here.write_text(get_connection_info())
while not other.exists():
    time.sleep(0.05)"""


@pytest.mark.slow
def test_two_kernels_run_at_once_over_sockets_of_their_own(tmp_path):
    """Each waits for the other, so that both run; no port of the machine is taken."""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in ("mine: str\ntheirs: str", ASKS)])
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, tmp_path / "n.ipynb")
    names = [str(tmp_path / "one"), str(tmp_path / "two")]
    with ThreadPoolExecutor(2) as pool:
        asked = [{"mine": mine, "theirs": theirs} for mine, theirs in (names, names[::-1])]
        results = list(
            pool.map(lambda values: runs.run(tmp_path / "n.ipynb", values, out=tmp_path / "runs", progress=False), asked)
        )
    assert [result.error for result in results] == [None, None]
    assert dependencies.load(results[0].folder)["absent"] == []  # what a run makes under such a name is no reason to repeat it
    told = [json.loads(Path(name).read_text()) for name in names]
    assert {one["transport"] for one in told} == {"ipc"}
    assert len({one["ip"] for one in told}) == 2 and len({result.folder for result in results}) == 2


def test_a_table_only_grows(project):
    """Runs of another grid keep their rows, a run that is made again has one, and torn numbers cost their numbers alone."""

    def table(grid_of, **made_of):
        grid = runs.Grid(Path("05_tiny.ipynb"), grid_of, {})
        planned = sweeping.plan(grid, Path("runs/05_tiny"))
        for one in planned:
            if not one.is_kept:
                one.begin()
                one.end(made(one.values, **made_of), None, 1.0)
        sweeping._write_table(Path("runs/05_tiny"), planned)
        return pd.read_csv("runs/05_tiny/sweep.csv", dtype=str, keep_default_na=False)

    first = table({"tau": [0.1, 0.2]}, picture=0.5)
    assert list(first.tau) == ["0.1", "0.2"]
    second = table({"content": ["=x.png", "content.png"]}, picture=0.25)
    assert list(second.content) == ["", "'=x.png", "content.png"]  # nothing in it is a formula
    assert list(second.folder)[:1] == list(first.folder)[1:]  # tau = 0.1 is what content.png has been painted with, too
    shutil.rmtree(Path("runs/05_tiny") / second.folder[0])
    (Path("runs/05_tiny") / second.folder[2] / "metrics.json").write_text('{"torn')
    third = table({"tau": [0.1, 0.2]}, picture=0.125)
    assert sorted(third.tau) == ["", "0.1", "0.2"] and len(set(third.folder)) == 3


def test_another_number_of_threads_makes_it_again(project, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made(**READS)
    assert reason() == ""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert reason() == "1 threads are now 2"


def test_numbers_of_a_grid_are_read_as_people_write_them(project):
    Path("grid.yaml").write_text("notebook: 05_tiny.ipynb\nvary: {tau: [1e-2, 1E1, .5, 2]}\n")
    assert runs.read_grid("grid.yaml").vary == {"tau": [0.01, 10.0, 0.5, 2]}
