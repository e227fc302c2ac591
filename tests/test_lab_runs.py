"""The runs browser: what is found in run folders however broken, conditions, small multiples, and the widget on top."""

import json
import os
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench import figures, images, runs
from workbench.errors import UsageError
from workbench.lab.runs_browser import SHOWN, RunsBrowser
from workbench.lab.swipe import MOST, Compare
from workbench.runs import browsing, record
from workbench.runs.browsing import (
    Archive,
    Condition,
    conditions,
    differing,
    multiples,
    spelled,
    table,
)

CELL = "size: int = 64\ntau: float = 0.1\ncontent: str = 'china'\nchoices: list[str] = ['blend']\nout: str = ''"


TEXT = st.text(st.characters(exclude_characters='"', exclude_categories=("C",)), min_size=1, max_size=12)
ONES = st.builds(Condition, TEXT, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), TEXT) | st.builds(Condition, TEXT)


def maker(times):
    """What makes a real run in runs/: parameters, what it measured, and the grey of its picture (None: no picture)."""

    def run(metrics=None, grey=0.5, fails="", notebook="05_comparison", **parameters):
        namespace = {}
        exec(CELL, namespace)
        namespace |= {"In": ["", CELL], **parameters}
        session = runs.begin(namespace, notebook)
        if grey is not None:
            session.picture(torch.full((1, 3, 12, 16), grey), "blend")
            session.figure(figures.curves({"loss": [2, 1]}), "losses")
        session.metrics(metrics or {})
        if fails:
            record.end(session.folder, "failed", fails, 1.0)
        else:
            session.finish()
        record.write(session.folder, record.read(session.folder) | {"started": next(times)})
        return session.folder

    return run


def days(first):
    return iter(f"2026-08-{day:02}T10:00:00+00:00" for day in range(first, 29))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """`maker`, at work in tmp_path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_RUN", raising=False)
    return maker(days(7))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A sweep of four over tau and content, one that failed, and another notebook's run."""
    folder, make = tmp_path_factory.mktemp("sweep"), maker(days(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("WORKBENCH_RUN", raising=False)
        for content in ("flower", "china"):
            for tau in (0.5, 0.05):
                make({"blend": {"content": tau / 2, "style": {"gram": 0.01}, "name": "x"}}, grey=tau, tau=tau, content=content)
        make(grey=None, fails="In [3]: no <b>file</b>", content="absent.jpg")
        make({"silhouette": 0.13}, notebook="02_artist_corpus")
    return folder / "runs"


@pytest.fixture
def sweep(made_once, make, tmp_path):
    """`made_once`, in tmp_path."""
    shutil.copytree(made_once, tmp_path / "runs")
    return Archive()


def values(entries, name):
    return [entry.parameters[name] for entry in entries]


def _texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def _greys(figure):
    """The pictures in reading order: place (column, row) by left and top, and the level of grey."""
    found = [(image.get_extent(), int(image.get_array()[0, 0, 0])) for image in figure.axes[0].images]
    return [grey for _, grey in sorted(found, key=lambda item: (round(item[0][3], 2), item[0][0]))]


def press(browser, number, action="choose"):
    browser.gallery.receive({"key": browser.gallery.items[number]["key"], "action": action})


def _written(data, path):
    path.write_bytes(bytes(data))
    return path


class TestArchive:
    """Runs are found in folders, however broken."""

    def test_runs_are_found_newest_first_with_all_that_they_recorded(self, sweep):
        assert len(sweep) == 6
        corpus, failed, *rest = sweep.entries
        assert corpus.notebook == "02_artist_corpus" and corpus.metrics == {"silhouette": 0.13}
        assert (failed.status, failed.error, failed.pictures) == ("failed", "In [3]: no <b>file</b>", ())
        assert values(rest, "tau") == [0.05, 0.5, 0.05, 0.5] and values(rest, "content") == [
            "china",
            "china",
            "flower",
            "flower",
        ]
        assert rest[0].metrics == {"blend.content": 0.025, "blend.style.gram": 0.01}
        assert rest[0].names == ["blend.png", "figures/losses.png"] and rest[0].picture("figures/losses.png").is_file()
        assert rest[0].picture().name == "blend.png" and rest[0].picture("other.png") is None
        assert rest[0].seconds >= 0 and rest[0].started == "2026-08-04T10:00:00+00:00"
        assert figures.read_provenance(rest[0].picture())["parameters"]["tau"] == 0.05

    def test_a_run_elsewhere_is_found_by_its_folder_and_counts_once(self, make, tmp_path):
        here = make(out=str(tmp_path / "mine"))
        assert here == tmp_path / "mine"
        assert [entry.id for entry in Archive(here).entries] == ["mine"]
        assert [entry.id for entry in Archive(tmp_path, here, "mine").entries] == ["mine"]
        (tmp_path / "notebooks").mkdir()
        make()
        os.chdir(tmp_path / "notebooks")
        assert len(Archive()) == 1

    def test_no_folder_is_an_archive_without_runs(self, tmp_path):
        archive = Archive(tmp_path / "absent")
        assert archive.entries == [] and archive.filter("size=3") == []

    @pytest.mark.parametrize(
        "text",
        [
            "",
            '{"notebook": "05',
            "[1, 2]",
            "{}",
            '{"status": "blue"}',
            '{"status": 3, "parameters": 4}',
            "\udce9",
            "[" * 100_000,
        ],
    )
    def test_an_unreadable_record_is_shown_as_broken(self, make, tmp_path, text):
        make()
        folder = tmp_path / "runs" / "05_comparison" / "half"
        folder.mkdir()
        (folder / "run.json").write_text(text, errors="surrogateescape")
        broken = next(entry for entry in Archive().entries if entry.id == "half")
        assert (broken.status, broken.parameters, broken.record) == ("broken", {}, {})
        assert "run.json" in broken.error and "\n" not in broken.error
        assert len(Archive().filter("status=complete")) == 1

    def test_records_may_have_any_values(self, make, tmp_path):
        folder = make({"a": 1})
        odd = {"status": "complete", "parameters": [1], "seconds": "long", "figures": 7, "started": "yesterday", "error": None}
        (folder / "run.json").write_text(json.dumps(odd))
        (folder / "metrics.json").write_text("{")
        (entry,) = Archive().entries
        assert (entry.parameters, entry.metrics, entry.seconds, entry.notebook) == ({}, {}, None, "05_comparison")
        assert entry.started.startswith("20") and "metrics.json" in entry.error

    def test_a_run_at_work_and_one_without_its_record_yet(self, make, tmp_path):
        make()
        (tmp_path / "runs" / "05_comparison" / "new").mkdir()
        record.start(tmp_path / "runs" / "05_comparison" / "going", "05_comparison", {"size": 8}, {})
        assert [(e.id, e.status) for e in Archive().filter("status=running")] == [("going", "running")]
        assert len(Archive()) == 2

    def test_missing_figures_are_listed(self, make):
        folder = make()
        (folder / "figures" / "losses.png").unlink()
        (entry,) = Archive().entries
        assert entry.names == ["blend.png"] and [path.name for path in entry.gone] == ["losses.png"]

    def test_only_what_is_new_or_has_changed_is_read_again(self, sweep, make, monkeypatch):
        before = sweep.entries
        read = []
        original = browsing._entry
        monkeypatch.setattr(browsing, "_entry", lambda folder: read.append(folder) or original(folder))
        sweep.refresh()
        assert read == []
        new = make()
        record.end(before[0].folder, "interrupted", None, 1)
        images.save(torch.zeros(1, 3, 8, 8), before[2].folder / "late.png")
        (before[3].folder / "run.json").unlink()
        assert len(sweep.refresh()) == 6 and set(read) == {new, before[0].folder, before[2].folder}
        assert sweep.filter("status=interrupted")[0].folder == before[0].folder


class TestConditions:
    """Conditions that filter runs."""

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("", 6),
            ("size=64", 6),
            ("tau<0.1", 2),
            ("tau <= 0.1", 4),
            ("tau>=.5", 2),
            ("tau=5e-1 content=china", 1),
            ("tau!=0.1", 4),
            ("content!=china", 3),
            ("blend.content<=0.025", 2),
            ('"blend.content" > 0.1', 2),
            ("status=failed", 1),
            ("status != complete", 1),
            ("notebook==02_artist_corpus", 1),
            ("choices=blend", 6),
            ("started>=2026-08-04", 3),
            ("started=2026-08-04", 1),
            ("started<=2026-08-04T09", 3),
            ("FLOWER", 2),
            ("absent.jpg", 1),
            ("'no <b>file'", 1),
            ("tau=0.05 flower", 1),
            ("tau=0.05 nowhere", 0),
        ],
    )
    def test_conditions_choose(self, sweep, text, count):
        assert len(sweep.filter(text)) == count

    def test_several_texts_must_all_be_met(self, sweep):
        (one,) = sweep.filter("tau<0.1", "content=flower")
        assert one.parameters["tau"] == 0.05

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("sise=64", "no run has the parameter or metric 'sise': did you mean 'size'?"),
            ("blend.contnet<1", "did you mean 'blend.content'"),
            ("zzzz=1", "there is"),
            ("size<large", "'large' is no number"),
            ("size=large", "size is a number in every run"),
            ("content<3", "content is a number in no run"),
            ("status=faild", "did you mean 'failed'"),
            ("notebook=05_comparisn", "did you mean '05_comparison'"),
            ("started<yesterday", "write a date"),
            ("tau<", "lacks a value"),
            ("<0.1", "write name=value"),
            ('single="The Starry', "close every quote"),
            ('size=64 "open', "close every quote"),
        ],
    )
    def test_an_invalid_condition_is_refused_in_one_line(self, sweep, text, message):
        with pytest.raises(UsageError) as caught:
            sweep.filter(text)
        assert message in str(caught.value) and "\n" not in str(caught.value)

    def test_none_and_booleans_are_typed_as_json(self, tmp_path):
        for name, value in (("a", True), ("b", False), ("c", None)):
            record.start(tmp_path / "n" / name, "n", {"flag": value}, {})
        found = {
            text: [entry.id for entry in Archive(tmp_path).filter(text)] for text in ("flag=true", "flag=False", "flag=null")
        }
        assert found == {"flag=true": ["a"], "flag=False": ["b"], "flag=null": ["c"]}

    @given(st.lists(ONES, max_size=4), st.sampled_from(["", " "]))
    def test_quoted_conditions_are_read_as_they_were_meant(self, ones, space):
        written = [f'"{one.name}"' + (f'{space}{one.operator}{space}"{one.value}"' if one.operator else "") for one in ones]
        assert conditions(" ".join(written)) == ones

    @given(st.text(max_size=30))
    def test_any_text_is_read_or_refused_in_one_line(self, text):
        try:
            found = conditions(text)
        except UsageError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert all(one.name or one.operator for one in found) or '""' in text or "''" in text


class TestDifferences:
    """The parameters that differ."""

    def test_only_parameters_that_differ_within_a_notebook_are_listed(self, sweep):
        runs_found = sweep.filter("status=complete")
        assert differing(sweep.filter("blend.content>0")) == ["tau", "content"]
        assert table(runs_found) == [
            {},
            {"tau": 0.05, "content": "china"},
            {"tau": 0.5, "content": "china"},
            {"tau": 0.05, "content": "flower"},
            {"tau": 0.5, "content": "flower"},
        ]
        assert table([]) == [] and differing([]) == []

    def test_values_are_spelled_shortly(self):
        assert spelled(0.123456) == "0.1235" and spelled(3) == "3" and spelled(None) == "null"
        assert spelled("/home/somebody/photos/portrait.jpg") == "portrait.jpg" and spelled(["a", 0.5]) == "a, 0.5"


class TestSmallMultiples:
    """One picture per run, in rows and columns of parameters."""

    def test_small_multiples_stand_in_order_with_a_metric(self, sweep):
        figure = multiples(sweep.filter("blend.content>0"), "tau", "content", metric="blend.content", picture="blend.png")
        assert _greys(figure) == [13, 128, 13, 128]
        texts = _texts(figure)
        assert texts.index("tau 0.05") < texts.index("tau 0.5") and texts.index("content china") < texts.index("content flower")
        assert texts.count("blend.content 0.025") == 2 and texts.count("blend.content 0.25") == 2

    def test_a_missing_cell_stays_empty_and_the_newest_of_several_is_taken(self, sweep, make):
        make(grey=1.0, tau=0.5, content="china")
        (sweep.filter("tau=0.05 content=flower")[0].folder / "blend.png").write_bytes(b"damaged")
        sweep.refresh()
        figure = multiples(sweep.filter("notebook=05_comparison size=64 tau!=0.1"), "tau", "content", picture="blend.png")
        assert _greys(figure) == [13, 255, 128] and "newest of 2" in _texts(figure)
        assert len(_greys(multiples(sweep.filter("tau!=0.1"), "tau"))) == 2

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            ({"across": "tao"}, "did you mean 'tau'"),
            ({"across": "tau", "down": "contnt"}, "did you mean 'content'"),
            ({"across": "tau", "down": "tau"}, "choose two parameters"),
            ({"across": "tau", "metric": "blend.contents"}, "did you mean 'blend.content'"),
            ({"across": "tau", "picture": "blend.jpg"}, "did you mean 'blend.png'"),
        ],
    )
    def test_multiples_of_an_unknown_name_are_refused(self, sweep, choice, message):
        with pytest.raises(UsageError, match=message):
            multiples(sweep.entries, **choice)

    def test_nothing_and_too_much_are_not_laid_out(self, sweep, tmp_path):
        with pytest.raises(UsageError, match="no runs"):
            multiples([], "tau")
        with pytest.raises(UsageError, match="no run has a picture"):
            multiples(sweep.filter("status=failed"), "tau")
        for k in range(browsing.MOST_COLUMNS + 1):
            record.start(tmp_path / "many" / "n" / f"{k}", "n", {"k": k}, {})
        with pytest.raises(UsageError, match="k has 13 values: filter"):
            multiples(Archive(tmp_path / "many").entries, "k")


class TestBrowser:
    """The widget."""

    def test_the_gallery_shows_the_runs_and_the_filter_narrows_it(self, sweep):
        browser = RunsBrowser(sweep)
        assert "6 of 6 runs" in browser.count.value and browser.more.layout.display == "none"
        assert [item["note"] for item in browser.gallery.items][:2] == ["02_artist_corpus", "failed · 05_comparison"]
        browser.filter.value = "tau<0.1 blend.content>0"
        assert "2 of 6 runs" in browser.count.value
        assert [item["title"] for item in browser.gallery.items] == ["content china", "content flower"]
        browser.filter.value = "tao<0.1"
        assert 'role="alert"' in browser.message.value and "did you mean &#x27;tau&#x27;" in browser.message.value
        assert len(browser.gallery.items) == 2  # what was found before stays
        browser.filter.value = ""
        assert browser.message.value == "" and len(browser.gallery.items) == 6

    def test_thumbnails_are_pictures_and_a_run_without_one_says_so(self, sweep):
        browser = RunsBrowser(sweep)
        sent = []
        browser.gallery.send = lambda message, buffers: sent.append(buffers[0])
        browser.gallery.receive({"want": [item["key"] for item in browser.gallery.items]})
        assert len(sent) == 6 and all(data.startswith(b"\xff\xd8") for data in sent)

    def test_a_picture_that_is_made_later_has_another_key(self, sweep):
        browser = RunsBrowser(sweep)
        before = browser.gallery.items[1]["key"]
        images.save(torch.ones(1, 3, 8, 8), sweep.entries[1].folder / "blend.png")
        browser.again.click()
        assert browser.gallery.items[1]["key"] != before

    def test_new_runs_are_found_and_what_was_marked_stays(self, sweep, make):
        browser = RunsBrowser(sweep)
        press(browser, 2, "mark")
        make()
        browser.again.click()
        assert "7 of 7 runs" in browser.count.value and browser.gallery.items[3]["marked"]

    def test_many_runs_are_shown_in_parts(self, tmp_path):
        for k in range(SHOWN + 3):
            record.start(tmp_path / "n" / f"{k:02}", "n", {"k": k}, {})
        browser = RunsBrowser(Archive(tmp_path))
        assert len(browser.gallery.items) == SHOWN and f"the newest {SHOWN} shown" in browser.count.value
        browser.more.click()
        assert len(browser.gallery.items) == SHOWN + 3 and browser.more.layout.display == "none"

    def test_pressing_a_run_opens_its_pictures_numbers_and_provenance(self, sweep):
        browser = RunsBrowser(sweep)
        press(browser, 2)
        assert bytes(browser.large.data).startswith(b"\xff\xd8") and "blend.png" in browser.large.alt
        assert "complete" in browser.heading.value and "05_comparison" in browser.heading.value
        details = browser.details.value
        assert "blend.style.gram" in details and "0.025" in details and "Provenance inside blend.png" in details
        assert "&quot;versions&quot;" in details and str(sweep.entries[2].folder) in details
        browser.files.receive({"key": browser.files.items[1]["key"], "action": "choose"})
        assert "losses.png" in browser.large.alt and browser.files.items[1]["marked"]

    def test_a_failed_run_says_why_and_nothing_in_a_file_becomes_markup(self, sweep):
        browser = RunsBrowser(sweep)
        press(browser, 1)
        assert "no &lt;b&gt;file&lt;/b&gt;" in browser.heading.value and bytes(browser.large.data) == b""
        for text in (browser.heading.value, browser.details.value):
            assert "<b>file" not in text

    def test_evil_names_are_escaped_everywhere(self, tmp_path):
        evil = "<img src=x onerror=alert(1)>"
        for k in range(2):
            folder = tmp_path / "n" / f"{k}"
            record.start(folder, evil, {evil: f"{evil}{k}"}, {evil: evil})
            record.write(folder, {evil: 0.5}, "metrics.json")
            record.end(folder, "failed", evil, 1)
            images.save(torch.zeros(1, 3, 8, 8), folder / f"{evil[:4]}.png", metadata={"workbench": json.dumps({evil: evil})})
        browser = RunsBrowser(Archive(tmp_path))
        press(browser, 0)
        for number in (0, 1):
            press(browser, number, "mark")
        browser.compare.click()
        browser.filter.value = f'"{evil}<3'
        parts = [
            browser.heading,
            browser.details,
            browser.marks,
            browser.message,
            browser.count,
            browser.comparison.children[1],
        ]
        assert all("<img" not in part.value for part in parts) and "onerror" in browser.details.value

    def test_two_runs_are_compared_with_what_differs(self, sweep):
        browser = RunsBrowser(sweep)
        assert browser.compare.disabled
        press(browser, 2, "mark")
        press(browser, 3, "mark")
        assert [item["marked"] for item in browser.gallery.items] == [False, False, True, True, False, False]
        browser.compare.click()
        compare, tables = browser.comparison.children
        assert isinstance(compare, Compare) and compare.names == ["tau 0.05", "tau 0.5"]
        assert browser.sides.selected_index == 1
        assert "Parameters that differ" in tables.value and "blend.content" in tables.value and "flower" not in tables.value
        press(browser, 2, "mark")
        assert browser.compare.disabled and [entry.parameters["tau"] for entry in browser.marked] == [0.5]
        browser.unmark.click()
        assert browser.marked == []

    def test_pictures_of_another_shape_are_not_distorted(self, sweep):
        browser = RunsBrowser(sweep)
        images.save(torch.zeros(1, 3, 32, 16), sweep.entries[3].folder / "blend.png")
        for number in (2, 3):
            press(browser, number, "mark")
        browser.compare.click()
        compare = browser.comparison.children[0]
        assert compare.ratio == pytest.approx(16 / 12)
        second = images.to_tensor(images.read(_written(compare.pictures[1], sweep.folders[0] / "second.jpg")).image)
        black = second.mean(1)[0] < 0.25
        assert black.any(0).sum() / black.any(1).sum() == pytest.approx(0.5, abs=0.2)

    def test_runs_without_pictures_are_not_compared(self, sweep):
        browser = RunsBrowser(sweep)
        for number in (1, 2):
            press(browser, number, "mark")
        browser.compare.click()
        assert 'role="alert"' in browser.message.value and "has no picture" in browser.message.value
        assert browser.comparison.children == ()

    def test_a_seventh_run_is_not_marked(self, sweep, make):
        make()
        browser = RunsBrowser(Archive())
        for number in range(7):
            press(browser, number, "mark")
        assert len(browser.marked) == MOST and "unmark one first" in browser.message.value

    def test_a_sweep_is_laid_out_by_its_dropdowns(self, sweep):
        browser = RunsBrowser(sweep)
        browser.filter.value = "blend.content>0"
        assert [value for _, value in browser.across.options] == ["tau", "content"]
        browser.across.value, browser.down.value, browser.metric.value = "tau", "content", "blend.content"
        browser.picture.value = "blend.png"
        browser.draw.click()
        assert bytes(browser.drawn.data).startswith(b"\xff\xd8") and "tau and content" in browser.drawn.alt
        browser.down.value = "tau"
        browser.draw.click()
        assert "choose two parameters" in browser.message.value
        browser.filter.value = "status=failed"
        assert browser.draw.disabled

    def test_an_empty_archive_says_how_to_fill_it(self, tmp_path):
        browser = RunsBrowser(Archive(tmp_path))
        assert "workbench run makes one" in browser.count.value and browser.draw.disabled
        assert repr(browser).startswith("RunsBrowser(")  # as a notebook asks for

    def test_the_state_is_in_the_widgets_and_holds_no_pictures_of_the_gallery(self, sweep):
        browser = RunsBrowser(sweep)
        browser.filter.value = "tau<0.1"
        press(browser, 0)
        state = browser.gallery.get_state()
        assert len(state["items"]) == 2 and not any(isinstance(value, bytes | memoryview) for value in state.values())
        assert browser.filter.get_state()["value"] == "tau<0.1" and browser.sides.get_state()["selected_index"] == 0
