"""The notebooks: as they are committed, and executed from beginning to end with small settings."""

import ast
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from vector_servers import check_installed

from workbench import encoders, figures, images, inputs, runs, samples
from workbench.retrieval import descriptors, filling
from workbench.retrieval.index import ExactIndex

FOLDER = Path(__file__).parents[1] / "notebooks"
EXPECTED = {
    "00_start_here",
    "01_single_painting",
    "02_artist_corpus",
    "03_nearest_painting",
    "04_artist_level",
    "05_comparison",
    "06_evidence",
    "07_blind_study",
    "08_generative",
    "09_diffusion",
    "10_museum",
    "11_report",
}
NOTEBOOKS = sorted({path.stem for path in FOLDER.glob("*.ipynb")} | EXPECTED)


def path_of(stem):
    path = FOLDER / f"{stem}.ipynb"
    assert path.is_file(), f"notebooks/{stem}.ipynb is missing"
    return path


def settings_of(stem):
    path = FOLDER / "settings" / f"{stem}.json"
    assert path.is_file(), f"notebooks/settings/{stem}.json is missing: the small settings that the tests run with"
    return path


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_it_is_committed_stripped_and_in_the_common_form(stem):
    path = path_of(stem)
    assert runs.stripped(path) == []  # make strip
    node = nbformat.read(path, as_version=4)
    nbformat.validate(node)
    prose = [cell.source for cell in node.cells if cell.cell_type == "markdown"]
    titles = [line for source in prose for line in source.splitlines() if line.startswith("# ")]
    assert len(titles) == 1 and node.cells[0].source.startswith(titles[0])
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.get("tags", [])
    assert f'runs.begin(globals(), "{stem}")' in code[1].source
    assert ast.unparse(ast.parse(code[-1].source).body[-1]).startswith("run.finish(")
    assert all(cell.source.strip() for cell in node.cells), "a cell is empty"
    assert not [text for text in prose if "On the sample" in text or "on the sample" in text], "a corpus of one's own reads it"


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_its_small_settings_are_parameters_of_it(stem):
    values = json.loads(settings_of(stem).read_text())
    resolved = runs.check(path_of(stem), values)
    assert set(values) <= set(resolved)


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_it_runs_to_the_end(stem, tmp_path):
    result = runs.run(path_of(stem), {}, settings=settings_of(stem), out=tmp_path, timeout=600, progress=False)
    assert (result.status, result.error) == ("complete", None)
    made = json.loads((result.folder / "run.json").read_text())
    assert made["status"] == "complete" and made["notebook"] == stem
    written = [result.folder / name for name in made["figures"]]
    suffixes = {path.suffix for path in written}
    assert ".pdf" in suffixes and suffixes & {".png", ".jpg"}
    for path in written:
        assert figures.read_provenance(path)["notebook"] == stem
    assert json.loads((result.folder / "metrics.json").read_text())
    assert (result.folder / "executed.ipynb").stat().st_size < 5e6  # widgets leave pictures, and pictures no more than that


def test_a_corpus_without_metadata_has_no_genres_and_none_of_the_words_about_the_sample(two_styles, tmp_path):
    paintings = tmp_path / "paintings"
    paintings.mkdir()
    for path in two_styles.glob("*.png"):
        shutil.copy(path, paintings)
    values = {"corpus": str(paintings), "k": 2}
    result = runs.run(path_of("02_artist_corpus"), values, out=tmp_path / "runs", timeout=600, progress=False)
    assert result.error is None
    node, said = executed(result.folder)
    assert "no work has a genre" in said and "On the sample" not in said and "NMI" not in said
    assert not (result.folder / "figures" / "crosstab.png").exists()
    prose = " ".join(cell.source for cell in node.cells if cell.cell_type == "markdown")
    assert "On the sample" not in prose and "no genre:" not in said


def executed(folder):
    """(the executed notebook, the text that its cells put out)."""
    node = nbformat.read(folder / "executed.ipynb", as_version=4)
    outputs = [output for cell in node.cells if cell.cell_type == "code" for output in cell.outputs]
    return node, "".join(output.get("text", "") + output.get("data", {}).get("text/markdown", "") for output in outputs)


def test_a_museum_in_postgresql_answers_as_one_in_memory(servers, tmp_path):
    check_installed("postgresql")
    values = json.loads(settings_of("10_museum").read_text()) | {
        "content": "china",
        "where": ["artist=nocturne"],
        "index": f"{servers.place('postgresql')}#museum",
    }
    result = runs.run(path_of("10_museum"), values, out=tmp_path, timeout=600, progress=False)
    assert result.error is None
    _, said = executed(result.folder)
    made = json.loads((result.folder / "metrics.json").read_text())
    museum, retriever = [inputs.corpus(name) for name in samples.PAINTERS], encoders.retriever("cpu")
    query = descriptors.describe(images.resize(inputs.content("china"), retriever.embedding_size), retriever, "content")
    nearest = filling.fill(ExactIndex(), museum, retriever).search(query, 11)
    artists = [match.metadata["artist"] for match in nearest]
    assert made["found"] == {name: artists.count(name) / 11 for name in made["held"]}
    assert f"{sum(map(len, museum))} works in postgresql:" in said and set(made["to_truth"]) >= {"all artists", "nocturne"}


def times(text):
    """Number of a notebook -> its time on two CPU cores, from the table of notebooks in `text`."""
    return dict(re.findall(r"^\| \W*(\d\d) .*\| ([^|]+) \|$", text, re.MULTILINE))


def test_notebook_00_gives_the_times_of_the_readme():
    first = nbformat.read(path_of("00_start_here"), as_version=4).cells[0].source
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert times(first) == times(readme)
    assert set(times(first)) == {stem[:2] for stem in NOTEBOOKS}
