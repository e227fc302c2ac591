"""Runs: parameters refused before a kernel starts, and a verdict in run.json that is true however the notebook ended."""

import json
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import full
import matplotlib.figure
import nbformat
import numpy as np
import papermill
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill.exceptions import PapermillExecutionError
from papermill.inspection import inspect_notebook
from waiting import PATIENCE, until

from workbench import figures, runs
from workbench.errors import UsageError, WorkbenchError
from workbench.runs import declarations, kernel, record

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
ADDRESS = "postgresql://me:hidden@db.example.org/museum"
CELL = """\
from typing import Literal
content: str = "china"  # a path or a sample's name
size: int = 64
weight: float = 1e3  # of the style
layer: int | None = None
target: Literal["whole", "single"] = "whole"
taus: list[float] = [0.1, 1.0]
crop: tuple[int, int] = (8, 8)
labels: dict[str, int] = {"a": 1}
verbose: bool = False
"""


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook: the source of its parameters cell, then those of the other code cells."""

    def write(cell, *others, name="05_tiny.ipynb"):
        node = nbformat.v4.new_notebook(metadata={"kernelspec": runs.tidy.KERNEL, "language_info": {"name": "python"}})
        node.cells = [nbformat.v4.new_code_cell(textwrap.dedent(source)) for source in (cell, *others)]
        node.cells[0].metadata["tags"] = ["parameters"]
        path = tmp_path / name
        nbformat.write(node, path)
        return path

    return write


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


class TestParameters:
    def test_declarations_are_read_that_papermill_loses(self, notebook):
        path = notebook(CELL)
        found = {one.name: one for one in runs.parameters(path)}
        assert list(found) == ["content", "size", "weight", "layer", "target", "taus", "crop", "labels", "verbose"]
        assert found["content"].comment == "a path or a sample's name"
        assert found["layer"].annotation == "int | None" and found["layer"].default is None
        assert found["target"].choices == ("whole", "single")
        assert found["size"].choices is None
        assert found["crop"].default == (8, 8)
        assert set(inspect_notebook(str(path))) < set(found)  # the reason for reading it ourselves

    @pytest.mark.parametrize(
        ("cell", "line", "reason"),
        [
            ("size: int = 8\nimport os", 2, "expected 'name: type = literal'"),
            ("size = 8", 1, "expected 'name: type = literal'"),
            ("size: int = 8\n\nlr: float = 2 * 0.5", 3, "must be a literal"),
            ("size: int = 'big'", 1, "must be int"),
            ("size: int = True", 1, "must be int"),
            ("rate: float = 1e999", 1, "finite"),
            ("when: date = None", 1, "annotation 'date'"),
            ("layers: set[int] = {1}", 1, "annotation 'set[int]'"),
            ("crop: tuple[..., int] = (1, 2)", 1, "annotation 'tuple[..., int]'"),
            ("target: Literal['a'] = 'b'", 1, "must be one of 'a'"),
            ("size: int = 8\nsize: int = 9", 2, "declared twice"),
            ("size: int = (8", 1, "'(' was never closed"),
        ],
    )
    def test_anything_else_in_the_cell_is_an_error_that_names_the_line(self, notebook, cell, line, reason):
        with pytest.raises(WorkbenchError) as caught:
            runs.parameters(notebook(cell))
        assert f"line {line}" in str(caught.value) and reason in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_there_must_be_one_parameters_cell_and_a_notebook(self, notebook, tmp_path):
        path = notebook("size: int = 8", "other: int = 8")
        node = nbformat.read(path, as_version=4)
        for tags, count in ([], 0), (["parameters"], 2):
            for cell in node.cells:
                cell.metadata["tags"] = tags
            nbformat.write(node, path)
            with pytest.raises(WorkbenchError, match=f"exactly one cell tagged 'parameters', found {count}"):
                runs.parameters(path)
        with pytest.raises(WorkbenchError, match=r"cannot read .*absent\.ipynb"):
            runs.parameters(tmp_path / "absent.ipynb")
        cells = [{"cell_type": "markdown", "source": ""}]
        old = json.dumps({"nbformat": 1, "nbformat_minor": 0, "metadata": {}, "cells": cells})
        for text in ("not JSON", "[]", "{}", '{"nbformat": 4}', "\udce9", old):
            (tmp_path / "broken.ipynb").write_text(text, errors="surrogateescape")
            with pytest.raises(WorkbenchError, match=r"broken\.ipynb"):
                runs.parameters(tmp_path / "broken.ipynb")

    def test_values_are_checked_and_completed(self, notebook):
        path = notebook(CELL)
        resolved = runs.check(path, {"weight": 2, "crop": [4, 4], "taus": [1], "layer": 3})
        assert resolved == {
            "content": "china",
            "size": 64,
            "weight": 2.0,
            "layer": 3,
            "target": "whole",
            "taus": [1.0],
            "crop": (4, 4),
            "labels": {"a": 1},
            "verbose": False,
        }
        assert isinstance(resolved["weight"], float) and isinstance(resolved["taus"][0], float)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"sise": 8}, "05_tiny.ipynb has no parameter 'sise'; did you mean 'size'? It has content, size, weight"),
            ({"zzz": 8}, "05_tiny.ipynb has no parameter 'zzz'; It has content"),
            ({"size": "8"}, "parameter size must be int, not '8'"),
            ({"size": 8.0}, "parameter size must be int, not 8.0"),
            ({"size": True}, "parameter size must be int, not True"),
            ({"weight": True}, "parameter weight must be float, not True"),
            ({"weight": float("nan")}, "parameter weight must be float, not nan (input should be a finite number)"),
            (
                {"taus": [1.0, float("inf")]},
                "parameter taus must be list[float], not [1.0, inf] (input should be a finite number for inf)",
            ),
            ({"verbose": 1}, "parameter verbose must be bool, not 1"),
            ({"content": None}, "parameter content must be str, not None"),
            ({"layer": "a"}, "parameter layer must be int | None, not 'a'"),
            ({"target": "nearest"}, "parameter target must be one of 'whole', 'single', not 'nearest'"),
            ({"crop": [1, 2, 3]}, "parameter crop must be tuple[int, int], not [1, 2, 3] (tuple should have at most 2 items"),
            (
                {"labels": {"a": "b"}},
                "parameter labels must be dict[str, int], not {'a': 'b'} (input should be a valid integer for 'b')",
            ),
            ({"labels": {1: 1}}, "parameter labels must be dict[str, int], not {1: 1} (input should be a valid string for 1)"),
            ({"taus": 1.0}, "parameter taus must be list[float], not 1.0"),
        ],
    )
    def test_a_value_that_does_not_fit_is_bad_usage(self, notebook, values, message):
        path = notebook(CELL)
        with pytest.raises(UsageError) as caught:
            runs.check(path, values)
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("given", [{"index": ADDRESS}, {"places": {"a": [ADDRESS]}}])
    def test_a_password_is_refused_before_anything_is_written(self, notebook, tmp_path, given):
        path = notebook("index: str = ''\nplaces: dict[str, list[str]] = {}", "1 + 1")
        grid = tmp_path / "grid.yaml"
        grid.write_text(yaml.safe_dump({"notebook": path.name, "vary": {name: [value] for name, value in given.items()}}))
        own = notebook(f"index: str = {ADDRESS!r}", name="own.ipynb")  # in the cell itself
        for attempt in (
            lambda: runs.run(path, given, out=tmp_path / "runs"),
            lambda: runs.read_grid(grid),
            lambda: runs.run(own, {}, out=tmp_path / "runs"),
        ):
            with pytest.raises(UsageError, match="holds a password or a key") as refused:
                attempt()
            assert "hidden" not in str(refused.value) and "\n" not in str(refused.value)
        assert not (tmp_path / "runs").exists()

    def test_a_parameter_without_a_default_is_required(self, notebook):
        path = notebook("corpus: str\nsize: int = 8")
        with pytest.raises(UsageError, match="parameter corpus \\(str\\) has no default"):
            runs.check(path, {})
        assert runs.check(path, {"corpus": "x"}) == {"corpus": "x", "size": 8}

    @pytest.mark.parametrize(
        ("annotation", "written", "value"),
        [
            ("str", "123", "123"),
            ("str", "a=b", "a=b"),
            ("str", "", ""),
            ("str", "None", "None"),
            ("int", "-5", -5),
            ("float", "3", 3.0),
            ("bool", "Yes", True),
            ("bool", "0", False),
            ("int | None", "none", None),
            ("str | None", "none", None),
            ("str | None", "12", "12"),
            ("int | str", "12", 12),
            ("'int | None'", "4", 4),
            ("Literal['a', 2, None]", "2", 2),
            ("Literal['a', 2, None]", "none", None),
            ("list[float]", "[1, 2.5]", [1.0, 2.5]),
            ("tuple[int, ...]", "[1, 2]", (1, 2)),
            ("dict[str, list[int]]", '{"a": [1]}', {"a": [1]}),
            ("list", '[1, "a", [null]]', [1, "a", [None]]),
        ],
    )
    def test_texts_are_read_by_the_annotation(self, notebook, annotation, written, value):
        read = runs.parse(notebook(f"name: {annotation}"), [f"name={written}"])["name"]
        assert read == value and type(read) is type(value)

    @pytest.mark.parametrize(
        ("annotation", "written", "reason"),
        [
            ("int", "notanint", "must be int, not 'notanint'"),
            ("int", "8.0", "must be int"),
            ("float", "nan", "must be float, not 'nan'"),
            ("bool", "2", "must be bool, not '2'"),
            ("int | None", "x", "must be int | None, not 'x'"),
            ("Literal['a', 'b']", "A", "must be one of 'a', 'b', not 'A'"),
            ("list[int]", "1,2", "must be list[int], not '1,2'"),
            ("list[int]", "[1.5]", "must be list[int], not [1.5] (input should be a valid integer for 1.5)"),
            ("list[float]", "[NaN]", "finite"),
        ],
    )
    def test_a_text_that_does_not_fit_is_bad_usage(self, notebook, annotation, written, reason):
        with pytest.raises(UsageError, match="parameter name") as caught:
            runs.parse(notebook(f"name: {annotation}"), [f"name={written}"])
        assert reason in str(caught.value)

    def test_assignments_must_be_whole_known_and_single(self, notebook):
        path = notebook(CELL)
        for assignments, reason in (
            (["size"], "expected name=value, got 'size'"),
            (["sise=8"], "did you mean 'size'"),
            (["size=8", "size=9"], "given twice"),
        ):
            with pytest.raises(UsageError, match=reason):
                runs.parse(path, assignments)

    @settings(max_examples=50)
    @given(st.one_of(st.lists(JSON), st.dictionaries(st.text(), JSON)))
    def test_json_comes_back_from_a_text_as_it_was(self, value):
        (parameter,) = declarations.declared(f"name: {type(value).__name__}", "n")
        assert parameter.parsed(json.dumps(value)) == value

    def test_the_settings_must_be_an_object(self, notebook, tmp_path):
        path = notebook("size: int = 8")
        chosen = tmp_path / "settings.json"
        for text, reason in (
            ("{", "cannot be read as JSON"),
            ("[1]", "must be a JSON object"),
            (None, "cannot read the settings"),
        ):
            chosen.unlink(missing_ok=True) if text is None else chosen.write_text(text)
            with pytest.raises(UsageError, match=reason):
                runs.run(path, {}, settings=chosen, out=tmp_path / "runs")
        chosen.write_text('{"sise": 4}')
        with pytest.raises(UsageError, match="did you mean 'size'"):
            runs.run(path, {}, settings=chosen, out=tmp_path / "runs")
        assert not (tmp_path / "runs").exists()  # nothing was started


class TestRunFolders:
    def test_parallel_runs_get_folders_of_their_own(self, tmp_path):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: record.run_folder(tmp_path / "n", {"a": 1}), range(24)))
        assert len({*made}) == 24 and all(folder.is_dir() for folder in made)
        hashes = {folder.name.split("-")[2] for folder in made}
        assert len(hashes) == 1  # the same thing
        assert record.run_folder(tmp_path / "n", {"a": 2}).name.split("-")[2] not in hashes

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "runs").write_text("a file")
        with pytest.raises(WorkbenchError, match="cannot create the run folder"):
            record.run_folder(tmp_path / "runs", {})


PLACES = [  # of a parameter and its value, and of the run: `out`, or else the folder that gets one for every run
    ("corpus", "vgo", "vgo", ""),
    ("corpus", "vgo", "vgo/more/res", ""),
    ("corpus", "vgo", "link/res", ""),  # a link to vgo
    ("corpus", "vgo", ".", ""),  # which holds it
    ("corpora", ["nocturne", "vgo"], "vgo", ""),
    ("contents", {"a": ["vgo/deep/b.png"]}, "vgo/deep", ""),
    ("photographs", "vgo", "", "vgo"),
    ("corpora", ["nocturne", "vgo"], "", "vgo/more"),
    ("corpus", ".", "", "runs"),
]


class TestPlaces:
    """A run writes over nothing of somebody else, and not among the pictures that it reads; it says so before it begins."""

    @pytest.fixture
    def ask(self, notebook, tmp_path, monkeypatch):
        """Begin a run from outside, a sweep, or a session by hand, with `values` of parameters; no kernel may start."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(kernel, "execute", lambda *_: pytest.fail("a kernel was started"))
        for name in ("vgo/a.png", "vgo/deep/b.png", "res/notes.txt"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("mine")
        Path("link").symlink_to("vgo")
        cell = "corpus: str = ''\ncorpora: list = []\nphotographs: str = ''\ncontents: dict = {}\nout: str = ''"
        path = notebook(cell, "1 + 1", name="02_n.ipynb")

        def begin(way, values, base="runs"):
            if way == "run":
                runs.run(path, values, out=base, progress=False)
            elif way == "sweep":
                vary = {name: [type(value)(), value] for name, value in values.items()}
                next(runs.sweep(runs.Grid(path, vary, {}), out=base, progress=False))
            else:
                exec(cell, namespace := {"In": ["", cell]})
                runs.begin(namespace | values, "02_n")

        return begin

    @pytest.mark.parametrize(("name", "value", "out", "base"), PLACES)
    def test_a_run_among_the_pictures_that_it_reads_is_refused(self, ask, tmp_path, name, value, out, base):
        before = sorted(tmp_path.rglob("*"))
        ways = ["run"] + ["session"] * (base in ("", "runs")) + ["sweep"] * bool(base)
        for way in ways:
            with pytest.raises(UsageError, match=f"(become part of {name}|{name} .* lies in it)") as refused:
                ask(way, {name: value} | ({"out": out} if out else {}), base or "runs")
            assert "\n" not in str(refused.value)
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("own", ["metrics.json", "run.json", "dependencies.json", "kernel.log", "executed.ipynb"])
    @pytest.mark.parametrize("text", ["mine", "[1]", '{"status": "complete"}'])
    def test_files_of_somebody_else_are_not_replaced(self, ask, own, text):
        Path("res", own).write_text(text)
        for way in ("run", "session") if own in ("metrics.json", "run.json") else ("run",):
            with pytest.raises(UsageError, match=f"its {own} would be replaced"):
                ask(way, {"out": "res"})
        assert {path.name: path.read_text() for path in Path("res").iterdir()} == {"notes.txt": "mine", own: text}

    def test_a_run_beside_what_it_reads_goes_on(self, notebook, tmp_path, monkeypatch):
        """Into a folder with other files, then into its own; beside pictures, and above those that a notebook writes."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(kernel, "execute", lambda _, folder, *__: (folder / "kernel.log").touch())
        for name in ("vgo/a.png", "res/notes.txt", "res/shots/a.png", "runs/earlier/a.png"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("mine")
        path = notebook("corpus: str = 'vgo'\npictures: str = ''\nout: str = ''", "1 + 1")
        out = {"out": "res"}
        for values in (
            out,
            out,
            out | {"pictures": "res/shots"},
            {"out": "vgo2"},
            {"corpus": "runs/earlier"},
            {"corpus": "x" * 5000},
        ):
            assert runs.run(path, values, progress=False).error is None
        assert Path("res/notes.txt").read_text() == Path("res/shots/a.png").read_text() == "mine"

    @pytest.mark.parametrize(
        ("own", "text"), [("sweep.csv", "a,b\n1,2\n"), ("index.html", "<html>"), ("overview.pdf", "%PDF-1.4")]
    )
    def test_a_sweep_replaces_no_table_and_no_page_of_somebody_else(self, ask, own, text):
        Path("runs/02_n").mkdir(parents=True)
        Path("runs/02_n", own).write_text(text)
        with pytest.raises(UsageError, match=f"its {own} would be replaced"):
            ask("sweep", {"corpus": "nocturne"})
        assert Path("runs/02_n", own).read_text() == text


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin a run as a kernel would: cells are executed in order and kept in `In`."""
    monkeypatch.chdir(tmp_path)

    def start(*cells, namespace=None):
        namespace = {"In": [""]} if namespace is None else namespace
        for cell in cells:
            namespace["In"].append(cell)
            exec(cell, namespace)
        namespace["In"].append("run = runs.begin(globals(), 'n')")
        return runs.begin(namespace, "n"), namespace

    return start


class TestSession:
    def test_a_session_seeds_and_records(self, begin, tmp_path):
        (tmp_path / "content.txt").write_text("abc")
        draws = []
        for _ in range(2):
            session, _ = begin("seed: int = 3\nsize: int = 8\nout: str = ''")
            draws.append((torch.rand(2).tolist(), np.random.rand(2).tolist()))
        assert draws[0] == draws[1]
        assert session.seed == 3 and session.parameters == {"seed": 3, "size": 8, "out": ""}
        assert session.folder.parent == tmp_path / "runs" / "n"
        assert record.read(session.folder)["status"] == "running"
        session.input("content", tmp_path / "content.txt")
        session.input("corpus", ABC)
        session.weights("embedded", ABC)
        session.weights(f"clip:ViT-B-32/{tmp_path / 'secret' / 'x.pt'}", ABC)
        session.metrics({"loss": np.float32(0.5), "grid": torch.tensor([[1.0]]), "undefined": None, "n": np.int64(3)})
        paths = session.figure(matplotlib.figure.Figure(figsize=(1, 1)), "empty")
        shown = session.finish(gain=1)
        made = record.read(session.folder)
        assert made["status"] == "complete" and made["error"] is None and made["seconds"] >= 0
        assert made["inputs"] == {"content": {"file": "content.txt", "sha256": ABC}, "corpus": {"sha256": ABC}}
        assert made["weights"] == {"embedded": ABC, "clip:ViT-B-32/x.pt": ABC}
        assert made["figures"] == ["figures/empty.pdf", "figures/empty.png"]
        metrics = (session.folder / "metrics.json").read_text()
        assert json.loads(metrics) == {"gain": 1, "grid": [[1.0]], "loss": 0.5, "n": 3, "undefined": None}
        assert list(json.loads(metrics)) == sorted(json.loads(metrics))
        assert "n: complete in" in repr(shown) and session.folder.name in shown._repr_html_()
        for path in paths:
            inside = figures.read_provenance(path)
            assert inside["seed"] == 3 and inside["weights"] == made["weights"] and inside["notebook"] == "n"
            assert str(tmp_path) not in json.dumps(inside)

    def test_a_password_in_the_cell_is_refused_and_nothing_is_recorded(self, begin, tmp_path):
        with pytest.raises(UsageError, match="parameter index holds a password or a key") as refused:
            begin(f"index: str = {ADDRESS!r}")
        assert "hidden" not in str(refused.value) and not list(tmp_path.iterdir())

    def test_identical_runs_write_identical_figures(self, begin, tmp_path):
        written = []
        for _ in range(2):
            session, _ = begin("seed: int = 3")
            figure = matplotlib.figure.Figure(figsize=(1, 1))
            figure.add_subplot().plot([0, 1])
            written.append([path.read_bytes() for path in session.figure(figure, "line")])
            session.finish()
        assert written[0] == written[1]

    def test_a_sheet_of_pictures_may_be_a_jpeg_with_its_provenance(self, begin):
        session, _ = begin("seed: int = 3")
        figure = matplotlib.figure.Figure(figsize=(1, 1))
        (path,) = session.figure(figure, "sheet", suffixes=(".jpg",))
        assert path.suffix == ".jpg" and figures.read_provenance(path)["parameters"]["seed"] == 3
        session.finish()

    def test_all_cells_run_again_is_a_new_run(self, begin):
        first, namespace = begin("Colour = int", "size: int = 8", "")
        second, _ = begin("size: int = 9", "colour: Colour = 1", namespace=namespace)
        second.finish()
        assert second.folder != first.folder
        assert record.read(first.folder)["status"] == "interrupted"
        assert record.read(second.folder)["status"] == "complete"

    def test_the_last_parameters_cell_counts_and_its_values_are_checked(self, begin):
        _, namespace = begin("size: int = 8", "x = [1]", "y: object = None")
        with pytest.raises(UsageError, match="parameter size must be int, not '9'"):
            begin("size = '9'", namespace=namespace)
        with pytest.raises(UsageError, match="n has no parameter 'sise'; did you mean 'size'"):
            begin("size: int = 8", "# Parameters\nsise = 9\n", namespace=namespace)
        with pytest.raises(UsageError, match="parameter corpus \\(str\\) has no default"):
            begin("corpus: str", namespace=namespace)
        with pytest.raises(WorkbenchError, match="run the parameters cell before"):
            begin("size = 8")

    def test_checked_values_take_their_declared_types(self, begin):
        _, namespace = begin("rate: float = 1\ncrop: tuple[int, int] = (1, 1)", "# Parameters\ncrop = [2, 2]\n")
        assert namespace["rate"] == 1.0 and isinstance(namespace["rate"], float)
        assert namespace["crop"] == (2, 2)

    def test_the_folder_is_the_one_that_was_chosen(self, begin, tmp_path, monkeypatch):
        session, _ = begin("out: str = 'here'")
        session.finish(old=1)
        assert session.folder == tmp_path / "here" and record.read(tmp_path / "here")["status"] == "complete"
        session, _ = begin("out: str = 'here'")
        session.finish(new=1)
        assert json.loads((tmp_path / "here" / "metrics.json").read_text()) == {"new": 1}  # nothing of the earlier run
        (tmp_path / "notebooks").mkdir()
        monkeypatch.chdir(tmp_path / "notebooks")
        session, _ = begin("out: str = ''")
        assert session.folder.parent == tmp_path / "runs" / "n"

    def test_a_folder_used_again_keeps_no_figure_of_the_earlier_run(self, begin, tmp_path):
        session, _ = begin("out: str = 'here'")
        session.figure(matplotlib.figure.Figure(figsize=(1, 1)), "old")
        session.finish()
        (tmp_path / "here" / "figures" / "mine.png").write_text("not of the run")
        session, _ = begin("out: str = 'here'")
        assert record.listed(session.folder) == []
        new = session.figure(matplotlib.figure.Figure(figsize=(1, 1)), "new")
        assert sorted(record.listed(session.folder)) == sorted(new)
        session.finish()
        kept = {path.name for path in (tmp_path / "here" / "figures").iterdir()}
        assert kept == {"mine.png", *(path.name for path in new)}

    @pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
    def test_a_run_that_fails_costs_nothing_that_an_earlier_one_made(self, begin, tmp_path, status):
        """It is kept, and taken for no result of the failed run, until a run in the same folder is complete."""

        def draw(*names):
            session, _ = begin("out: str = 'here'")
            for name in names:
                session.figure(matplotlib.figure.Figure(figsize=(1, 1)), name)
            return session

        def there():
            return sorted(path.name for path in (tmp_path / "here" / "figures").iterdir() if path.suffix == ".png")

        def entry():
            (found,) = runs.Archive(tmp_path / "here").entries
            return sorted(found.names), found.metrics

        draw("a", "b", "c").finish(loss=1)
        for _ in range(2):  # however often
            session = draw("b")
            if status != "running":
                record.end(session.folder, status, "bad", 1.0)
            assert there() == ["a.png", "b.png", "c.png"] and entry() == (["figures/b.png"], {})
            assert json.loads((tmp_path / "here" / "metrics.json").read_text()) == {"loss": 1}
        session = draw("d")
        session.metrics({"loss": 2})
        assert entry() == (["figures/d.png"], {"loss": 2}) and "c.png" in there()
        session.finish()
        assert there() == ["d.png"] and entry() == (["figures/d.png"], {"loss": 2})
        assert "earlier" not in record.read(session.folder)

    @pytest.mark.parametrize("listed", [3, [3], ["../kept.png"]])
    def test_a_strange_record_removes_nothing_outside_the_figures(self, begin, tmp_path, listed):
        record.start(tmp_path / "here", "n", {}, {})
        (tmp_path / "kept.png").write_text("kept")
        record.write(tmp_path / "here", record.read(tmp_path / "here") | {"figures": listed})
        session, _ = begin("out: str = 'here'")
        session.finish()
        assert (tmp_path / "kept.png").exists() and record.read(session.folder)["status"] == "complete"

    def test_a_picture_that_is_not_of_the_workbench_is_not_replaced(self, begin, tmp_path):
        session, _ = begin("out: str = 'here'")
        theirs = [tmp_path / "here" / "result.png", tmp_path / "here" / "figures" / "losses.pdf"]
        for _ in range(2):  # its own it may replace
            session.picture(torch.zeros(1, 3, 2, 2), "mine")
            session.figure(matplotlib.figure.Figure(figsize=(1, 1)), "mine")
        for path in theirs:
            path.write_text("mine")
        with pytest.raises(WorkbenchError, match=r"cannot write .*result.png: what is there is not of a run"):
            session.picture(torch.zeros(1, 3, 2, 2), "result")
        with pytest.raises(WorkbenchError, match=r"losses.pdf"):
            session.figure(matplotlib.figure.Figure(figsize=(1, 1)), "losses")
        assert [path.read_text() for path in theirs] == ["mine"] * 2
        session.finish()

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_a_seed_out_of_range_is_bad_usage(self, begin, tmp_path, seed):
        with pytest.raises(UsageError, match=r"n: parameter seed must be at least 0 and below 2\*\*32, not "):
            begin(f"seed: int = {seed}")
        assert not (tmp_path / "runs").exists()
        begin(f"seed: int = {seed % 2**32}")[0].finish()

    def test_what_cannot_be_recorded_is_refused_by_name(self, begin):
        session, _ = begin("size: int = 8")
        for value in (float("nan"), np.float32("inf"), torch.tensor(float("nan")), {"deep": [float("nan")]}):
            with pytest.raises(UsageError, match="metric loss"):
                session.metrics({"loss": value})
        with pytest.raises(UsageError, match="metric picture is a object"):
            session.metrics({"picture": object()})
        for name in ("../escape", "a/b", "", ".hidden"):
            with pytest.raises(UsageError, match="figure name"):
                session.figure(matplotlib.figure.Figure(), name)
        with pytest.raises(WorkbenchError, match="weights: expected a SHA-256"):
            session.weights("weights", "latest")
        with pytest.raises(WorkbenchError, match=r"cannot read absent\.png"):
            session.input("content", "absent.png")
        session.finish()


class TestTableOfRuns:
    def test_a_row_has_the_fields_parameters_and_metrics_of_a_run(self, begin, tmp_path):
        for size in (8, 16):
            session, _ = begin(f"size: int = {size}\nlabels: list[str] = ['a', 'b']")
            session.finish(blend={"style": {"gram": size / 100}})
        table = runs.Archive(tmp_path / "runs").table("status=complete")
        assert sorted(table["size"]) == [8, 16] and table["labels"].tolist() == [["a", "b"]] * 2
        assert (table["blend.style.gram"] == table["size"] / 100).all() and set(table["notebook"]) == {"n"}
        assert runs.Archive(tmp_path / "runs").table("size>100").empty


class TestTidyNotebooks:
    def test_strip_leaves_what_is_committed_and_nothing_else(self, notebook):
        path = notebook("size: int = 8", "1 + 1")
        assert runs.stripped(path) == []
        clean = runs.strip(path).read_bytes()
        node = nbformat.read(path, as_version=4)
        node.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
        node.cells[1].execution_count = 3
        node.cells[1].metadata["papermill"] = {}
        node.cells.insert(1, nbformat.v4.new_code_cell("# Parameters\nsize = 9\n", metadata={"tags": ["injected-parameters"]}))
        node.metadata["widgets"] = {}
        node.metadata["language_info"]["version"] = "3.11.7"
        node.metadata["kernelspec"]["name"] = "conda-env"
        nbformat.write(node, path)
        problems = "\n".join(runs.stripped(path))
        for problem in ("outputs", "execution count", "metadata: papermill", "injected", "widgets", "version", "not python3"):
            assert problem in problems
        assert runs.strip(path).read_bytes() == clean
        assert runs.strip(path).read_bytes() == clean
        assert runs.stripped(notebook("size = 8")) == [
            "05_tiny.ipynb: parameters cell, line 1: expected 'name: type = literal', got 'size = 8'"
        ]


def made_by(result):
    assert (result.folder / "executed.ipynb").is_file()
    return record.read(result.folder)


SESSION = "from workbench import runs\nrun = runs.begin(globals(), '05_tiny')"


def test_a_notebook_that_cannot_be_saved_leaves_the_one_before(tmp_path):
    """papermill itself would write over it."""
    path = tmp_path / "executed.ipynb"
    whole = kernel._Whole()
    whole.write("of one cell", str(path))
    with full.disk(16), pytest.raises(WorkbenchError, match=r"executed.ipynb"):
        whole.write("of two cells" * 1000, str(path))
    assert path.read_text() == "of one cell"


@pytest.mark.slow
class TestKernels:
    def test_a_run_that_completes(self, notebook, tmp_path, monkeypatch):
        # Another kernel under the name python3, as a user may have it, must not be taken.
        other = tmp_path / "jupyter" / "kernels" / "python3"
        other.mkdir(parents=True)
        (other / "kernel.json").write_text('{"argv": ["/nonexistent"], "display_name": "x", "language": "python"}')
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        path = notebook(
            CELL + "seed: int = 5",
            "from workbench import runs\nrun = runs.begin(globals(), '05_tiny')",
            """
        import sys, os, matplotlib.figure
        assert sys.executable == content, sys.executable
        assert os.environ["WORKBENCH_RUN"] == str(run.folder)
        assert (weight, crop, taus) == (2.0, (4, 4), [0.5]), (weight, crop, taus)
        run.figure(matplotlib.figure.Figure(figsize=(1, 1)), "empty")
        """,
            "run.finish(here=os.getcwd())",
            name="05_{tiny}.ipynb",
        )
        chosen = tmp_path / "settings.json"
        chosen.write_text('{"weight": 2, "size": 4, "taus": [0.5]}')
        values = {"content": sys.executable, "size": 16, "crop": (4, 4)}
        result = runs.run(path, values, out=tmp_path / "runs", progress=False, settings=chosen)
        made = made_by(result)
        assert result.error is None and result.status == made["status"] == "complete"
        assert result.folder.parent == tmp_path / "runs" / "05_{tiny}"
        assert made["parameters"]["size"] == 16 and made["parameters"]["weight"] == 2.0
        assert made["parameters"]["content"] == sys.executable and made["parameters"]["verbose"] is False
        assert made["seed"] == 5 and made["versions"]["torch"] == torch.__version__.split("+")[0]
        assert made["figures"] == ["figures/empty.pdf", "figures/empty.png"]
        assert 0 < made["seconds"] == pytest.approx(result.seconds, abs=0.01)
        assert made["started"] <= made["finished"]
        assert json.loads((result.folder / "metrics.json").read_text()) == {"here": str(Path.cwd())}

    @pytest.mark.parametrize(
        ("cells", "timeout", "error"),
        [
            (["raise ValueError('too\\nbad')", "1"], None, "In [3]: ValueError: too bad"),
            (["import sys; sys.exit(0)"], None, "In [3]: SystemExit: 0"),
            (["import time; time.sleep(600)"], 1, "In [3]: exceeded 1 s"),
            (["import os; os.kill(os.getpid(), 9)"], None, "In [3]: the kernel died (killed, or out of memory)"),
            ([SESSION, "figure = 1"], None, "the notebook ended without calling run.finish()"),
            (["class UsageError(Exception): ...\nraise UsageError('no corpus x')"], None, "In [3]: no corpus x"),
        ],
        # In [1] is the parameters cell, In [2] the one that papermill injects.
        ids=["raise", "exit", "timeout", "killed", "unfinished", "ours"],
    )
    def test_a_run_that_fails_says_so_however_it_fails(self, notebook, tmp_path, monkeypatch, cells, timeout, error):
        def without_haste(*given, execution_timeout, **options):
            """As papermill does it, but only cells that sleep are timed: a busy machine is slow to run the others."""

            def limit(cell):
                return execution_timeout if "sleep" in cell.source else None

            return execute(*given, execution_timeout=execution_timeout, timeout_func=limit, **options)

        execute = papermill.execute_notebook
        monkeypatch.setattr(papermill, "execute_notebook", without_haste)
        result = runs.run(notebook("out: str = ''", *cells), {"out": str(tmp_path / "o")}, timeout=timeout, progress=False)
        made = made_by(result)
        assert result.folder == tmp_path / "o"
        assert (result.status, result.error) == ("failed", error)
        assert (made["status"], made["error"]) == ("failed", error)

    def test_an_interrupt_is_recorded_and_stops_the_caller(self, ctrl_c, notebook, tmp_path):
        path = notebook("size: int = 8", f"open({str(tmp_path / 'on')!r}, 'w').close()\nimport time; time.sleep(600)")
        code = f"from workbench import runs; runs.run({str(path)!r}, {{}}, out={str(tmp_path / 'runs')!r})"
        caller = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        until((tmp_path / "on").exists, caller)
        (folder,) = (tmp_path / "runs" / "05_tiny").iterdir()
        assert record.read(folder)["status"] == "running"  # before and while the kernel runs
        caller.send_signal(signal.SIGINT)
        _, printed = caller.communicate(timeout=PATIENCE)
        assert "KeyboardInterrupt" in printed and "05_tiny: cell 2/2" in printed
        assert record.read(folder)["status"] == "interrupted"
        assert (folder / "executed.ipynb").is_file()

    @pytest.mark.parametrize("amid", ["the verdict", "its last line"])
    def test_an_interrupt_after_the_last_cell_is_recorded_too(self, notebook, tmp_path, monkeypatch, amid):
        def executed(_, folder, *__):
            (folder / kernel.LOG).touch()

        def end(folder, status, *rest):
            if status == "complete" and amid == "the verdict":
                raise KeyboardInterrupt
            real(folder, status, *rest)
            if status == "complete":
                raise KeyboardInterrupt

        real = record.end
        monkeypatch.setattr(kernel, "execute", executed)
        monkeypatch.setattr(record, "end", end)
        with pytest.raises(KeyboardInterrupt):
            runs.run(notebook("out: str = ''"), {"out": str(tmp_path / "o")})
        assert record.read(tmp_path / "o")["status"] == "interrupted"

    def test_plain_papermill_refuses_an_unknown_name_and_marks_a_failure(self, notebook, tmp_path):
        path = notebook("size: int = 8\nout: str = ''", SESSION, "assert size < 10, 'too big'", "run.finish()")

        def plain(**values):
            papermill.execute_notebook(str(path), str(tmp_path / "executed.ipynb"), values, cwd=tmp_path, progress_bar=False)

        with pytest.raises(PapermillExecutionError, match="05_tiny has no parameter 'sise'; did you mean 'size'"):
            plain(sise=9)
        with pytest.raises(PapermillExecutionError, match="too big"):
            plain(size=12, out="chosen")
        made = record.read(tmp_path / "chosen")
        assert (made["status"], made["error"]) == ("failed", "In [4]: AssertionError: too big")

    def test_a_grid_is_every_combination_the_last_fastest(self, tmp_path):
        grid = runs.Grid(tmp_path, {"a": [1, 2], "b": ["x", "y", "z"]}, {"c": 0})
        assert [tuple(values.values()) for values in grid] == [(0, a, b) for a in (1, 2) for b in "xyz"]
