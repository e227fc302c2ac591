"""The report of a study: which sentence a number allows, text from data that stays text, and a PDF of the same bytes."""

import builtins
import json
import math
from pathlib import Path

import pytest

from workbench import figures, runs
from workbench.errors import UsageError, WorkbenchError
from workbench.study import report, write_table
from workbench.study.registration import Contrast, Registration

ONE = Contrast("monet", "depth", "blend", "random")
ROW = {"artist": "monet", "judge": "gabor", "endpoint": "depth", "first": "blend", "second": "random"}
ROW |= {"less": 0.2, "low": 0.1, "high": 0.3, "p": 0.001, "p_holm": 0.012, "visible": 0.15, "contents": 40, "left_out": 0}
ROW |= {"judges": 2, "agree": 2, "judge_passed": True}


def verdict(**changes):
    return report.verdict(ONE, ROW | changes, level=0.05, power=0.8)


def spoken(markup):
    """A sentence as it is read, of markup that `text` and `code` made."""
    return (
        markup.replace("#name[", "")
        .replace("];", "")
        .replace('#"', "")
        .replace('";', "")
        .replace("\u00a0", " ")
        .replace("_", "")
    )


def test_a_claim_has_its_size_interval_p_levels_and_judges():
    found = verdict()
    assert found.kind == "claimed"
    assert spoken(found.sentence) == (
        "After monet, the depth of blend is 0.20 higher than that of random (95 % interval 0.10 to 0.30, Holm p = 0.012, "
        "40 contents); 2 of 2 other judges that passed the gate find the same sign."
    )
    assert "0.20 lower" in spoken(verdict(less=-0.2, low=-0.3, high=-0.1).sentence)
    assert "no other judge passed the gate" in verdict(judges=0, agree=0).sentence


@pytest.mark.parametrize(
    "changes", [{"p_holm": 0.05}, {"p_holm": 1.0}, {"low": -0.01}, {"low": 0.0}, {"low": math.nan, "high": math.nan}]
)
def test_without_a_small_p_and_an_interval_apart_from_0_no_difference_was_shown(changes):
    found = verdict(**changes)
    assert found.kind == "not shown"
    assert "no difference of depth between blend and random was shown" in spoken(found.sentence)
    assert "a difference of 0.15 or more would have been with a power of 80 %" in spoken(found.sentence)
    assert "(0.15)" in found.short


def test_where_no_difference_could_have_been_shown_that_is_said():
    found = verdict(p_holm=1.0, visible=math.inf)
    assert "none would have been" in found.sentence and "inf" not in found.sentence


def test_what_another_judge_contradicts_is_not_claimed():
    found = verdict(agree=1)
    assert found.kind == "disputed"
    assert "1 of 2 other judges that passed the gate find the same sign: it is not claimed" in found.sentence


def test_a_judge_that_failed_the_gate_decides_nothing():
    for passed in (False, math.nan):
        found = verdict(judge_passed=passed)
        assert found.kind == "gate" and "0.2" not in found.sentence
        assert "The judge gabor did not pass the gate for monet" in spoken(found.sentence)


def test_few_contents_and_no_value_have_no_interval():
    found = verdict(contents=3, low=math.nan, high=math.nan)
    assert found.kind == "few" and "3 contents have" in found.sentence and "interval " not in found.sentence.split("too few")[0]
    assert verdict(less=math.nan).kind == "missing"
    assert report.verdict(ONE, {}, level=0.05, power=0.8).kind == "missing"


def test_numbers_have_a_minus_and_no_negative_zero():
    assert report.number(-0.125, 2) == "−0.12" and report.number(-0.001, 2) == "0.00"
    assert report.number(math.nan) == report.NOTHING and report.number(-math.inf) == "−∞"
    assert report.estimate(1, math.nan, math.nan) == "1.00" and report.estimate(1, 0, 2, 1) == "1.0 (0.0 to 2.0)"
    assert report.chance(0.0004) == "< 0.001" and report.percent(0.8) == "80\u00a0%"
    assert report.ends("0.465 (-1.2e-05 to nan)")[:2] == (0.465, -1.2e-05)


def registration(artist="monet"):
    design = {
        "artists": {artist: {"single": "a.jpg", "genres": [], "works": 30, "sha256": "1" * 64}},
        "contents": {"meadow": {"genre": "landscape", "sha256": "2" * 64}},
        "others": {},
        "methods": ["blend", "random"],
        "seeds": [0],
        "held_out": 0.4,
        "alphas": [0.1, 1.0],
        "draws": 1,
        "encoder": {"name": "embedded", "precision": "float32", "sha256": "3" * 64},
        "retriever": {"name": "lite0", "sha256": "4" * 64},
        "judges": ["gabor"],
        "settings": {"beta": 1.0, "tv": 0.02, "size": 64, "steps": 3},
    }
    visible = {artist: {"contents": 40, "standard_deviations": 0.5}}
    contrasts = tuple(Contrast(artist, endpoint, "blend", "random") for endpoint in ("depth", "leak"))
    return Registration(design, contrasts, {"level": 0.05, "power": 0.8, "tests": 2, "visible": visible})


def evidence(folder: Path, registered: Registration, **record) -> Path:
    """A finished run of notebook 06 without any table, and its registration."""
    folder.mkdir(exist_ok=True)
    registered.save(folder / "registration.json")
    made = {"notebook": "06_evidence", "status": "complete", "parameters": {"registration": ""}, "versions": {"python": "3"}}
    made |= {"inputs": {"registration": {"sha256": registered.sha256}}, "weights": {}}
    made |= {"started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T04:04:05+00:00"}
    (folder / "run.json").write_text(json.dumps(made | record))
    return folder


def test_the_abstract_begins_with_what_was_not_shown_and_ends_with_what_is_claimed(tmp_path):
    registered = registration()
    folder = evidence(tmp_path, registered)
    write_table(folder / "contrasts.csv", [ROW, ROW | {"endpoint": "leak", "p_holm": 1.0, "low": -0.1}])
    found = spoken(report.abstract(report.Evidence.read(folder)))
    assert "Of 2 contrasts, which this run fixed for itself, 1 showed no difference and 1 is claimed." in found
    assert found.startswith("*Exploration.*")
    assert (
        found.index("No difference was shown") < found.index("monet, leak") < found.index("the depth of blend is 0.20 higher")
    )


def test_without_claims_the_abstract_says_none():
    found = report.counted([verdict(p_holm=1.0), verdict(p_holm=1.0)], exploration=False)
    assert found == "Of 2 registered contrasts 2 showed no difference and none is claimed."


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"notebook": "05_comparison"}, "is no run of notebook 06, but of 05_comparison"),
        ({"status": "failed"}, "holds a run that is not finished: its status is failed"),
        ({"inputs": {"registration": {"sha256": "0" * 64}}}, "is not the registration of the run"),
        ({"parameters": {"registration": "gone.json"}}, "gone.json is no registration"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_named_in_one_line(record, said, tmp_path):
    with pytest.raises(WorkbenchError, match=said) as raised:
        report.Evidence.read(evidence(tmp_path, registration(), **record))
    assert "\n" not in str(raised.value)


def test_an_empty_folder_is_no_run(tmp_path):
    with pytest.raises(WorkbenchError, match="is no run of notebook 06"):
        report.Evidence.read(tmp_path)


def test_without_typst_there_is_one_line_that_says_what_to_install(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *others):
        if name == "typst":
            raise ImportError(name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'artist-workbench\[report\]'"):
        report.typeset(tmp_path / "report.typ")


HOSTILE = [
    '#panic("x")',
    "a_b*c*",
    "$x$",
    "]]",
    "\\",
    '";#panic()',
    "<label>",
    "@ref",
    "// gone",
    "= Title",
    "- one",
    "~",
    "`raw`",
    "a\nb",
]


def test_text_from_data_is_never_markup(tmp_path):
    typst = pytest.importorskip("typst")
    body = "\n\n".join(
        f"{report.text(one)} {report.code(one)}; #metadata({json.dumps(one.replace(chr(10), ' '))}) <given>" for one in HOSTILE
    )
    source = tmp_path / "report.typ"
    probe = """
#let read(it) = if it.has("text") { it.text } else if it.has("children") { it.children.map(read).join() } else { "" }
"""
    cells = " ".join(f"#metadata(read([{report.text(one)}])) <shown>" for one in HOSTILE)
    source.write_text(report.document(body + probe + cells, title="a_b", subtitle="#x", date="2026-01-02", footer="*f*"))
    assert report.typeset(source).read_bytes().startswith(b"%PDF")
    shown = json.loads(typst.query(str(source), "<shown>", field="value", root=str(tmp_path)))
    assert shown == [one.replace("\n", " ") for one in HOSTILE]


def test_what_typst_cannot_read_is_one_line(tmp_path):
    pytest.importorskip("typst")
    (tmp_path / "report.typ").write_text("#nothing")
    with pytest.raises(WorkbenchError, match=r"report.typ cannot be typeset: .*nothing") as raised:
        report.typeset(tmp_path / "report.typ")
    assert "\n" not in str(raised.value) and not (tmp_path / "report.pdf").exists()


def test_a_table_without_rows_is_left_out_and_a_reference_to_it_says_so(tmp_path):
    pytest.importorskip("typst")
    assert report.table(["a"], [], caption="", label="none") == ""
    made = report.table(["a", "b"], [["heading"], ["1", "2"]], caption="Some", label="some")
    source = tmp_path / "report.typ"
    source.write_text(
        report.document(f"#see(<none>), #see(<some>)\n{made}", title="t", subtitle="s", date="2026-01-02", footer="f")
    )
    assert len(report.pages(source)) == 1


def written(folder, out):
    """The run of notebook 11 on the evidence in `folder`."""
    pytest.importorskip("typst")
    notebook = Path(__file__).parents[1] / "notebooks" / "11_report.ipynb"
    made = runs.run(notebook, {"evidence": str(folder), "out": str(out)}, timeout=300, progress=False)
    assert made.error is None
    return made.folder


def test_the_notebook_says_that_a_run_without_tables_has_none(tmp_path):
    folder = written(evidence(tmp_path / "evidence", registration()), tmp_path / "out")
    said = (folder / "report.typ").read_text()
    assert "The run has no table of contrasts." in said and "2 had no value and none is claimed" in said
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")


def test_the_notebook_claims_by_the_rules_and_its_source_gives_the_same_bytes_again(tmp_path):
    registered = registration("a_b#c")
    folder = evidence(tmp_path / "evidence", registered)
    write_table(folder / "contrasts.csv", [ROW | {"artist": "a_b#c"}])
    made = written(folder, tmp_path / "out")
    said, before = (made / "report.typ").read_text(), (made / "report.pdf").read_bytes()
    assert report.typeset(made / "report.typ").read_bytes() == before
    assert f'footer: [#"registration {registered.sha256}";]' in said and "is 0.20 higher than" in said
    measured = json.loads((made / "metrics.json").read_text())
    assert measured["verdicts"]["claimed"] == measured["verdicts"]["missing"] == 1 and measured["pages"] >= 2


@pytest.mark.parametrize(("of_random", "explained"), [(-0.003, True), (0.005, False), (0.02, False)])
def test_a_leak_that_the_untouched_contents_have_as_well_is_no_sign_of_copying(of_random, explained, tmp_path):
    folder = evidence(tmp_path / "evidence", registration("monet"))
    leak = {"artist": "monet", "endpoint": "leak", "less": 0.006, "low": 0.004, "high": 0.008}
    write_table(folder / "contrasts.csv", [ROW | leak])
    means = {"blend": 0.007, "random": of_random}
    shared = {"artist": "monet", "measure": "leak_content", "low": -0.1, "high": 0.1}
    write_table(folder / "summary_gabor.csv", [shared | {"method": name, "mean": mean} for name, mean in means.items()])
    said = (written(folder, tmp_path / "out") / "report.typ").read_text()
    assert ("no sign of copying" in said) == explained and (f"contents {0.007 - of_random:.3f}" in said) == explained


def test_figures_have_a_panel_for_each_and_refuse_to_be_empty():
    ends = {"a: x − y": (0.1, 0.0, 0.2), "b: x − y": (0.1, math.nan, math.nan)}
    assert len(figures.differences({"depth": ends, "leak": dict(list(ends.items())[:1])}).axes) == 2
    assert len(figures.places({"a": {"real": [0.1, 0.5], "blend": []}}, controls=1).axes) == 1
    assert len(figures.tradeoffs({"a": {"blend": ([0.1, 0.2], [0.0, 1.0])}, "b": {"random": ([0.1], [0.0])}}).axes) == 2
    for draw in (figures.differences, figures.places, figures.tradeoffs):
        with pytest.raises(UsageError, match="at least one row"):
            draw({})
