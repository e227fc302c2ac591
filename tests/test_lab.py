"""Explorations without a page: choice, runs, code; and the widgets that show them."""

import io
import math
import os
import re
import shlex
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import anywidget
import pytest
import torch
import yaml
from PIL import Image
from waiting import PATIENCE, until

from workbench import (
    figures,
    images,
    inputs,
    lab,
    methods,
    progress,
    runs,
    targets,
)
from workbench.corpora import Work
from workbench.errors import UsageError, WorkbenchError
from workbench.lab.choice import Choice
from workbench.lab.exploration import Exploration
from workbench.lab.gallery import Action, Gallery, Item
from workbench.lab.log_slider import LogSlider
from workbench.lab.matches import drawn_over
from workbench.lab.panel import TransferPanel
from workbench.lab.runner import seconds_left
from workbench.lab.strip import WorksStrip
from workbench.lab.swipe import Compare
from workbench.methods import Library, Method, OneShot, Request
from workbench.transfer import Settings, Transfer

SMALL = Settings(size=64, steps=4, plateau=0)


@pytest.fixture
def exploration(two_styles):
    made = Exploration(Choice(corpus=str(two_styles), target="blend", settings=SMALL))
    yield made
    made.stop(PATIENCE)
    until(lambda: not made.measuring)  # a thread that outlives the interpreter aborts it


class Held(Library):
    """A library that can hold targets back, as if their works took long to measure."""

    def __init__(self):
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def hold(self):
        self.begun.clear()
        self.go.clear()

    def target(self, request):
        self.begun.set()
        while not self.go.wait(0.01):
            progress.check()
        return super().target(request)


class Inverted(OneShot):
    def paint(self, content):
        return 1 - content


class Negative(Method):
    """A method of a user's own."""

    name = "negative"
    card = methods.Card("Negative", "light for dark", "none")

    def begin(self, content, target, encoder, settings):
        return Inverted(content, target, encoder, settings)


def painted(exploration):
    """The result of the present choice by its method alone."""
    request = exploration.choice.request
    return methods.get(request.method).stylise(request)


@pytest.fixture
def held(two_styles):
    """An exploration, and its library, which can hold targets back."""
    library = Held()
    made = Exploration(Choice(corpus=str(two_styles), target="blend", settings=SMALL), library=library)
    yield made, library
    library.go.set()
    made.stop(PATIENCE)
    until(lambda: not made.measuring)


class TestRuns:
    """Start, stop, resume; what is kept."""

    def test_a_run_gives_the_picture_of_its_method(self, exploration):
        exploration.start()
        assert exploration.wait(PATIENCE) and not exploration.error
        (kept,) = exploration.kept
        expected = painted(exploration)
        assert kept.complete and torch.equal(kept.picture, expected.image) and kept.losses == expected.history
        assert exploration.done == 1 and exploration.seconds_left is None and not exploration.resumable

    def test_the_caller_is_free_while_a_run_works(self, exploration):
        exploration.change(steps=20_000)
        exploration.start()
        assert exploration.running
        until(lambda: len(exploration.losses) > 3)
        assert exploration.seconds_left > 0
        assert exploration.stop(PATIENCE) and exploration.resumable and not exploration.kept[-1].complete
        assert exploration.picture.shape[0] == 1

    def test_a_stop_takes_effect_before_the_next_evaluation(self, exploration):
        made = []

        def stop():
            made.append(len(exploration.losses))
            exploration.stop(0)

        exploration.listen(stop)
        exploration.change(steps=20_000)
        exploration.start()
        assert exploration.wait(PATIENCE) and len(exploration.losses) == made[0] == 1

    def test_a_stopped_run_goes_on_to_the_same_bytes(self, exploration):
        exploration.change(steps=30)
        exploration.start()
        until(lambda: len(exploration.losses) > 2)
        exploration.stop(PATIENCE)
        if exploration.resumable:  # a fast machine may have been done already
            exploration.resume()
        exploration.wait(PATIENCE)
        (kept,) = exploration.kept
        assert kept.complete and torch.equal(kept.picture, painted(exploration).image)

    def test_listeners_are_called_at_the_beginning_and_at_the_end(self, exploration):
        calls = []
        exploration.listen(lambda: calls.append((exploration.running, threading.current_thread().name)))
        exploration.start()
        exploration.wait(PATIENCE)
        until(lambda: calls and not calls[-1][0])
        assert calls[0][0] and {name for _, name in calls} == {"transfer"}

    def test_two_runs_at_a_time_and_a_resume_of_nothing_are_refused(self, exploration):
        with pytest.raises(UsageError, match="no stopped transfer"):
            exploration.resume()
        exploration.change(steps=20_000)
        exploration.start()
        with pytest.raises(UsageError, match="stop it first"):
            exploration.start()

    def test_a_failure_in_the_thread_is_reported(self, exploration):
        exploration.change(content="no-such-file.jpg")
        exploration.start()
        exploration.wait(PATIENCE)
        assert "no-such-file.jpg" in exploration.error and not exploration.kept
        exploration.change(content="grace_hopper")
        exploration.start()
        exploration.wait(PATIENCE)
        assert exploration.error == "" and exploration.kept

    def test_a_view_that_fails_loses_no_run(self, exploration, capsys):
        exploration.listen(lambda: 1 / 0)
        exploration.start()
        exploration.wait(PATIENCE)
        assert exploration.kept[-1].complete and "ZeroDivisionError" in capsys.readouterr().err

    def test_a_stop_while_paintings_are_measured_takes_effect(self, exploration, monkeypatch):
        reading, go, load = threading.Event(), threading.Event(), Work.load

        def slow(*given):
            reading.set()
            go.wait(PATIENCE)
            return load(*given)

        monkeypatch.setattr(Work, "load", slow)
        exploration.change(target="blend/patches", size=256, tau=10)
        exploration.start()
        assert reading.wait(PATIENCE) and exploration.running
        exploration.stop(0)
        go.set()
        assert exploration.wait(PATIENCE) and not exploration.error
        assert exploration.picture is None  # not one step was made with what had been measured

    def test_a_result_is_labelled_with_its_target_and_method(self, exploration, monkeypatch):
        for changes in ({}, {"method": "gram"}, {"target": "blend/barycentre"}):
            exploration.change(**changes)
            exploration.start()
            assert exploration.wait(PATIENCE) and not exploration.error
        assert [kept.label for kept in exploration.kept] == [
            f"{number}: grace_hopper after {exploration.corpus().name}: {how}, 64 px"
            for number, how in ((1, "blend, τ 0.1"), (2, "blend, gram, τ 0.1"), (3, "blend-barycentre, τ 0.1"))
        ]
        assert len({kept.picture.numpy().tobytes() for kept in exploration.kept}) == 3
        titles = []
        monkeypatch.setattr(figures, "side_by_side", lambda panels: titles.append(panels[1].title))
        for _ in range(3):
            lab.snapshot(exploration)
            exploration.kept.pop()
        assert titles == ["Blend, barycentre", "Blend, Gram matrices", "Blend"]


class TestThirdMethod:
    """Any registered method goes through an exploration and the panel."""

    def test_colours_go_through_an_exploration(self, exploration):
        exploration.change(method="colours")
        exploration.start()
        assert exploration.wait(PATIENCE) and not exploration.error
        (kept,) = exploration.kept
        assert kept.complete and torch.equal(kept.picture, painted(exploration).image)
        assert kept.label.endswith(": blend, colours, τ 0.1, 64 px") and isinstance(lab.snapshot(exploration), figures.Figure)
        assert (exploration.done, exploration.total_steps, exploration.boundaries) == (1, 1, ())
        assert exploration.seconds_left is None and not exploration.resumable

    def test_colours_go_through_the_panel(self, exploration):
        panel = TransferPanel(exploration)
        panel.method.value = "colours"
        shown = {name for name, control in panel._named.items() if control.layout.display != "none"}
        assert {"size", "strength", "colour", "tau", "method"} <= shown
        assert not {"steps", "alpha", "beta", "tv", "brush", "looseness", "palette"} & shown
        panel.buttons.press("run")
        until(lambda: "done" in panel.message.value)
        until(lambda: panel.buttons.enabled == ["run"])
        assert bytes(panel.image.data).startswith(b"\xff\xd8") and panel.progress.value == 1
        assert [item["title"] for item in panel.kept.items] == [f"1: {exploration.choice.label}"]
        panel.method.value = "neighbours"
        assert panel.looseness.layout.display == panel.steps.layout.display == ""

    @pytest.mark.parametrize("method", ["neighbours", "gram", "colours"])
    def test_a_setting_that_a_method_ignores_changes_no_picture(self, exploration, method):
        others = {"steps": 5, "alpha": 0.9, "beta": 2.0, "tv": 0.3, "brush": 0.5, "looseness": 0.0, "palette": 0.0, "seed": 3}
        others |= {"softness": 0.5, "bag": 7, "draft": "none", "init": "noise", "optimiser": "adam", "plateau": 0.5}
        ignored = {name: value for name, value in others.items() if name in methods.get(method).ignores}
        exploration.change(method=method)
        before = painted(exploration).image
        exploration.change(**ignored)
        assert ignored and torch.equal(painted(exploration).image, before)

    def test_a_setting_that_the_method_refuses_is_shown_as_it_was(self, exploration):
        panel = TransferPanel(exploration)
        panel.method.value = "colours"
        panel.colour.value = "content"
        assert "nothing to do" in panel.message.value and panel.colour.value == exploration.choice.settings.colour == "style"

    def test_every_registered_method_is_offered_and_runs(self, exploration, monkeypatch):
        monkeypatch.setitem(methods.METHODS, "negative", Negative())
        panel = TransferPanel(exploration)
        assert list(panel.method.options) == list(methods.METHODS)
        panel.method.value = "negative"
        assert panel.looseness.layout.display == ""  # it does not say what it ignores
        panel.buttons.press("run")
        until(lambda: exploration.kept)
        content = images.resize(inputs.content("grace_hopper"), 64)
        assert torch.allclose(exploration.kept[0].picture, 1 - content, atol=1e-6)


class TestSecondsLeft:
    """The estimate of the remaining time."""

    @pytest.mark.parametrize("made", [25, 60])
    def test_a_step_takes_time_in_proportion_to_the_pixels_of_its_stage(self, corpus, encoder, made):
        settings = Settings(method="gram", size=192, steps=200, plateau=0)
        transfer = Transfer(corpus.works[0].load(64), targets.single(corpus.works[1]), encoder, settings)
        transfer.history = [{"total": 1.0}] * made
        seconds = [(stage.size / 192) ** 2 for stage in transfer.stages for _ in range(stage.evaluations)]
        assert (seconds[made] == 1) == (made == 60)  # at full size, or before
        ended = [seconds[made - 1] * step for step in range(5)]
        assert seconds_left(transfer, ended) == pytest.approx(sum(seconds[made:]))

    def test_without_stages_all_steps_are_alike(self):
        run = SimpleNamespace(history=[{}] * 3, total_steps=10, finished=False)
        assert seconds_left(run, [0.0, 2.0, 4.0]) == 14
        assert seconds_left(run, [0.0]) is None

    def test_a_finished_run_has_none_left(self):
        assert seconds_left(SimpleNamespace(history=[{}], total_steps=1, finished=True), [0.0, 1.0]) is None


class TestChoice:
    """The values, and the request that they make."""

    def test_its_request_has_all_its_values(self):
        paintings = {"content": "china", "exclude": ("a.png",), "encoder": "random", "tau": 0.5}
        choice = Choice(**paintings, corpus="umber", genre="portrait", target="gram:blend", settings=SMALL)
        settings = replace(SMALL, method="gram")
        assert choice.request == Request(**paintings, corpora=("umber",), where=("genre=portrait",), settings=settings)

    @pytest.mark.parametrize("changes", [{}, {"tau": 10.0}, {"target": "whole"}, {"target": "single", "single": "work-09.png"}])
    def test_pinned_works_are_kept_with_the_others_whatever_the_target(self, exploration, changes):
        before = exploration.change(**changes) and exploration.target()
        exploration.change(pinned=("work-03.png", "work-05.png"))
        target = exploration.target()
        plain = dict(zip((work.name for work in before.works), before.weights, strict=True))
        pinned = {"work-03.png": 0.25, "work-05.png": 0.25}
        expected = {name: plain.get(name, 0) / 2 + pinned.get(name, 0) for name in plain | pinned}
        assert dict(zip((work.name for work in target.works), target.weights, strict=True)) == pytest.approx(expected)
        assert target.name == before.name and "50% of the weight on 2 pinned" in target.note
        said = [float(number) for number in re.findall(r"effective number ([\d.]+)", target.note)]
        assert said == pytest.approx([target.effective_number] * len(said), abs=0.05)  # of these weights, not of those before
        assert list(target.weights) == sorted(target.weights, reverse=True)
        exploration.change(target="regions")  # which takes none
        assert exploration.choice.pinned == ()
        with pytest.raises(UsageError, match="target regions takes no pinned works"):
            exploration.change(pinned=("work-03.png",))

    def test_a_former_word_becomes_the_present_one_with_a_line_on_stderr(self, exploration, capsys):
        for before, now in (
            ("blend/apart", "blend/softmin"),
            ("blend/bag", "blend/patches"),
            ("gram:whole/pooled", "gram:whole"),
        ):
            capsys.readouterr()
            assert exploration.change(target=before).target == now
            assert len(capsys.readouterr().err.splitlines()) == 1

    def test_the_rules_are_those_of_a_request(self, exploration):
        before = exploration.choice
        for changes, message in (
            ({"target": "blnd"}, "target 'blnd'"),
            ({"tau": -1.0}, "tau = -1"),
            ({"method": "grm"}, "did you mean gram"),
            ({"target": "neighbours:blend/barycentre"}, "go with the method gram"),
            ({"method": "colours", "colour": "content"}, "nothing to do"),
        ):
            with pytest.raises(UsageError, match=message):
                exploration.change(**changes)
            assert exploration.choice is before

    def test_the_target_follows_the_choice(self, exploration):
        assert exploration.change(tau=0.001).tau == 0.001
        narrow = exploration.target().effective_number
        exploration.change(tau=10)
        wide = exploration.target().effective_number
        assert narrow < 3 and wide == pytest.approx(12, abs=0.1)
        heaviest = exploration.target().works[0]
        exploration.change(exclude=(heaviest.name,))
        assert heaviest not in exploration.target().works
        exploration.change(exclude=(), genre="portrait")
        assert len(exploration.target().works) == 6 and exploration.genres() == ["landscape", "portrait"]

    def test_a_work_may_be_left_out_that_the_genre_lacks(self, exploration):
        exploration.change(exclude=("work-00.png",))  # a portrait
        exploration.change(genre="landscape")
        assert len(exploration.target().works) == 6
        exploration.change(pinned=("work-01.png",))
        exploration.change(genre="portrait")
        assert exploration.choice.pinned == () and len(exploration.target().works) == 5

    def test_another_corpus_clears_what_belongs_to_the_former(self, exploration):
        exploration.change(exclude=("work-00.png",), pinned=("work-01.png",), genre="portrait")
        exploration.change(corpus="umber")
        assert (exploration.choice.exclude, exploration.choice.pinned, exploration.choice.genre) == ((), (), "")

    def test_an_unknown_name_or_value_is_refused(self, exploration):
        with pytest.raises(UsageError, match="no 'colourr'"):
            exploration.change(colourr="content")
        with pytest.raises(UsageError, match="brush"):
            exploration.change(brush=99)

    @pytest.mark.parametrize(
        ("target", "method", "found"),
        [
            ("blend", "neighbours", "neighbours"),
            ("blend", "gram", "gram"),
            ("blend/barycentre", "neighbours", "gram"),
            ("gram:single", "neighbours", "gram"),
            ("colours:blend", "neighbours", "colours"),
            ("neighbours:whole", "gram", "neighbours"),
        ],
    )
    def test_the_target_decides_the_method_where_it_names_one(self, exploration, target, method, found):
        exploration.change(target=target, method=method, looseness=0.5, single="work-02.png")
        choice = exploration.choice
        assert (choice.target, choice.settings.method, choice.request.method) == (target, method, found)
        assert exploration.target().name == choice.request.target
        assert (f"method={found!r}" in exploration.code()) == (found != "neighbours") and "looseness=0.5" in exploration.code()
        words = shlex.split(exploration.command())
        assert words[words.index("looseness") + 1] == "0.5"
        ((asked, combine, settings),) = [
            methods.parse(yaml.safe_load(word)["choices"][0], Settings()) for word in words if "choices" in word
        ]
        assert (asked, combine, settings.method) == (choice.request.target, choice.request.combine, found)


def taken(command):
    """The parameters of notebook 05 when it is run by `command`."""
    words, given = shlex.split(command), {}
    for flag, *rest in [words[i : i + 3] for i in range(3, len(words)) if words[i] in ("-p", "-y")]:
        given |= {rest[0]: yaml.safe_load(rest[1])} if flag == "-p" else yaml.safe_load(rest[0])
    return runs.check(Path(__file__).parents[1] / "notebooks/05_comparison.ipynb", given)


class TestCode:
    """Code and command repeat a choice."""

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"target": "single", "single": "work-02.png"},
            {"pinned": ("work-02.png",)},
            {"exclude": ("work-00.png",)},
            {"looseness": 0.5},
            {"method": "gram"},
            {"method": "colours"},
            {"target": "gram:single", "single": "work-02.png"},
            {"target": "blend/barycentre"},
        ],
    )
    def test_the_code_repeats_the_run(self, exploration, changes):
        exploration.change(**changes, genre="portrait", brush=0.5)
        exploration.start()
        exploration.wait(PATIENCE)
        namespace = {}
        exec(exploration.code(), namespace)
        assert torch.equal(namespace["result"].image, exploration.kept[-1].picture)
        assert namespace["request"] == exploration.choice.request

    def test_the_command_is_one_that_the_notebook_takes(self, exploration):
        exploration.change(target="blend/patches", exclude=("work-00.png",), genre="portrait", brush=0.5)
        assert shlex.split(exploration.command())[:3] == ["papermill", "notebooks/05_comparison.ipynb", "out.ipynb"]
        resolved = taken(exploration.command())
        assert resolved["choices"] == ["blend/patches"] and resolved["brush"] == 0.5 and resolved["exclude"] == ["work-00.png"]
        assert resolved["options"] == []
        exploration.change(target="strokes:blend", strokes=70)
        resolved = taken(exploration.command())
        assert resolved["choices"] == ["strokes:blend"] and resolved["options"] == ["strokes=70"]

    @pytest.mark.parametrize("changes", [{"pinned": ("work-02.png",)}, {"tv": 0.3}])
    def test_a_choice_that_the_notebook_has_no_parameter_for_has_no_command(self, exploration, changes):
        exploration.change(**changes)
        with pytest.raises(UsageError, match="copy the code"):
            exploration.command()


class TestStops:
    """Long work ends when it is stopped."""

    def test_every_tracked_loop_can_be_stopped(self):
        stop, seen = threading.Event(), []

        def work():
            with progress.stoppable(stop), pytest.raises(progress.Stopped):
                for i in progress.track(range(10), total=10, label="", show=False):
                    seen.append(i)
                    if i == 3:
                        stop.set()
            seen.extend(progress.track(range(2), total=2, label="", show=False))  # outside, nothing stops

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [0, 1, 2, 3, 0, 1]
        made = []
        stop.clear()

        def costly():
            for i in range(10):
                made.append(i)
                yield i

        with progress.stoppable(stop), pytest.raises(progress.Stopped):
            for _ in progress.track(costly(), total=10, label="", show=False):
                stop.set()
        assert made == [0]  # nothing is made after the stop
        assert list(progress.track(range(3), total=3, label="", show=False)) == [0, 1, 2]

    def test_loops_tell_a_watcher_how_far_they_are_whether_or_not_they_show_it(self, capsys):
        told = []
        with progress.watched(lambda *what: told.append(what)):
            list(progress.track("abc", total=3, label="letters", show=False))
        list(progress.track("abc", total=3, label="letters", show=False))  # outside, nobody is told
        assert told == [("letters", k, 3) for k in (1, 2, 3)] and not capsys.readouterr().err

    def test_in_jupyter_progress_is_one_line_that_goes_and_no_widget(self, monkeypatch, capsys):
        shown = []

        class Line:
            def update(self, data, raw):
                shown.append(data)

        monkeypatch.setattr(progress, "interactive", lambda: True)
        monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
        monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data) or Line())
        assert list(progress.track("abc", total=3, label="letters", show=True)) == ["a", "b", "c"]
        lines = [data.pop("text/plain") for data in shown]
        assert all(data == {} for data in shown) and lines[0] == lines[-1] == "" and not capsys.readouterr().err
        assert (
            all(line.startswith("letters: ") and f"| {k}/3 [" in line for k, line in enumerate(lines[1:-1], 1))
            and len(lines) == 5
        )

    def test_in_jupyter_a_small_picture_grows_below_the_line_and_goes(self, exploration, corpus, encoder, monkeypatch):
        places = []

        class Place(list):
            def update(self, data, raw):
                self.append(data)

        def display(data, **_):
            places.append(Place([data]))
            return places[-1]

        monkeypatch.setattr(progress, "interactive", lambda: True)
        monkeypatch.setattr(progress, "DRAW_SECONDS", 0.0)
        monkeypatch.setattr("IPython.display.display", display)
        settings = Settings(method="gram", size=64, steps=4, plateau=0)
        Transfer(corpus[0].load(64), targets.single(corpus[1]), encoder, settings).run(show=True)
        drawn = next(place for place in places if any("image/jpeg" in data for data in place))
        sizes = [Image.open(io.BytesIO(data["image/jpeg"])).size for data in drawn if "image/jpeg" in data]
        assert sizes == [(64, 48)] * 4 and drawn[-1] == {"text/plain": ""}

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    @pytest.mark.parametrize("at_work", ["trial.start()", "trial.target_soon()", "lab.CorpusMap(atlas)"])
    def test_a_script_that_ends_while_a_thread_works_ends_well(self, two_styles, at_work, tmp_path):
        """An interpreter that ends amid the work of torch aborts: status 134."""
        script = f"""
import time
from workbench import encoders, inputs, lab
trial = lab.Exploration(lab.Choice(corpus={str(two_styles)!r}, target="blend", preview=""))
trial.change(size=256, steps=300)
atlas = lab.Atlas(inputs.corpus({str(two_styles)!r}), encoders.load("embedded", device="cpu"))
{at_work}
time.sleep(0.5)
"""
        environment = os.environ | {"WORKBENCH_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=PATIENCE
        )
        assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr

    def test_a_stop_takes_effect_inside_of_an_evaluation(self, encoder):
        stop = threading.Event()
        picture = torch.rand(1, 3, 64, 64).requires_grad_()
        with progress.stoppable(stop):
            (features,) = encoder.features(picture, ["relu5_1"]).values()
            stop.set()
            with pytest.raises(progress.Stopped):  # on the way back
                torch.autograd.grad(features.sum(), picture)
            with pytest.raises(progress.Stopped):  # on the way there
                encoder.features(picture, ["relu1_1"])
        assert encoder.features(picture, ["relu1_1"])


class TestPanel:
    """The controls, and what they do."""

    def test_the_panel_runs_stops_and_resumes_by_its_buttons(self, exploration):
        panel = TransferPanel(exploration)
        assert panel.buttons.enabled == ["run"]
        panel.steps.max = 20_000
        panel.steps.value = 20_000
        panel.buttons.press("run")
        until(lambda: panel.image.alt.startswith("Picture so far"))
        assert panel.buttons.enabled == ["stop"] and bytes(panel.image.data).startswith(b"\xff\xd8")
        panel.buttons.press("stop")
        until(lambda: panel.buttons.enabled == ["run", "resume"])
        until(lambda: "stopped" in panel.message.value)
        assert len(panel.curve.series["total"]) == len(exploration.losses) and panel.curve.total == exploration.total_steps
        before = len(exploration.losses)
        panel.buttons.press("resume")
        until(lambda: len(exploration.losses) > before)

    def test_a_stop_before_the_first_evaluation_is_reported(self, held):
        exploration, library = held
        panel = TransferPanel(exploration)
        until(lambda: panel.strip.gallery.items)
        library.hold()
        panel.buttons.press("run")
        assert library.begun.wait(PATIENCE)
        panel.refresh()
        assert "measuring" in panel.message.value
        panel.buttons.press("stop")
        until(lambda: not exploration.running and "stopped" in panel.message.value)

    def test_controls_change_the_choice_and_the_strip_follows(self, exploration):
        panel = TransferPanel(exploration)
        until(lambda: panel.strip.gallery.items)
        panel.tau.value = 0.01
        narrow = [item["weight"] for item in panel.strip.gallery.items]
        panel.tau.value = 10.0  # at once, the paintings being measured
        assert exploration.choice.tau == 10 and [item["weight"] for item in panel.strip.gallery.items] != narrow
        panel.target.value, panel.genre.value = "whole", "portrait"
        assert len(exploration.target().works) == 6
        panel.alpha.value, panel.brush.value, panel.colour.value = 1.0, 0.5, "content"
        panel.beta.value, panel.tv.value, panel.strength.value = 2.0, 0.1, 0.5
        settings = exploration.choice.settings
        assert (settings.alpha, settings.brush, settings.colour) == (1.0, 0.5, "content")
        assert (settings.beta, settings.tv, settings.strength) == (2.0, 0.1, 0.5)

    def test_pickers_show_what_there_is_and_a_press_chooses_it(self, exploration, two_styles):
        panel = TransferPanel(exploration, contents=(str(two_styles / "work-00.png"),))
        content, corpus = panel._pickers["content"], panel._pickers["corpus"]
        assert [item["title"] for item in content.items] == ["work-00", "china", "flower", "grace_hopper"]
        assert [item["key"] for item in content.items if item["marked"]] == ["grace_hopper"]
        content.receive({"key": "china", "action": "choose"})
        assert exploration.choice.content == panel.content.value == "china"
        assert [item["key"] for item in content.items if item["marked"]] == ["china"]
        assert corpus.items[0]["key"] == str(two_styles)
        for gallery in (content, corpus):  # every thumbnail is a picture
            assert all(gallery._read(item["key"]).startswith(b"\xff\xd8") for item in gallery.items)
        corpus.receive({"key": "umber", "action": "choose"})
        assert exploration.choice.corpus == panel.corpus.value == "umber"

    def test_encoders_are_typed_by_name_and_refused_in_a_line(self, exploration):
        panel = TransferPanel(exploration)
        assert panel.encoder.options == ("embedded", "vgg19", "random") and "lite0" in panel.retriever.options
        panel.retriever.value = "vae:one of mine.safetensors"  # which is looked for when works are measured
        assert exploration.choice.retriever == "vae:one of mine.safetensors" and "vae:FILE" in panel.retriever.placeholder
        until(lambda: "cannot be read as a trained VAE" in panel.strip.message.value)
        panel.retriever.value = "lite"
        assert "did you mean lite0?" in panel.notes["retriever"].value
        panel.encoder.value = "vae:one of mine.safetensors"
        assert "only compares pictures, as a retriever" in panel.notes["encoder"].value
        assert (exploration.choice.encoder, exploration.choice.retriever) == ("embedded", "vae:one of mine.safetensors")
        panel.encoder.value, panel.retriever.value = "random", "random"
        until(lambda: panel.buttons.enabled == ["run"])
        assert (exploration.choice.encoder, exploration.choice.retriever) == ("random", "random")
        assert "alert" not in panel.message.value

    def test_controls_of_another_target_are_hidden(self, exploration):
        panel = TransferPanel(exploration)
        assert panel.single.layout.display == "none" and panel.tau.layout.display == panel.retriever.layout.display == ""
        panel.target.value = "single"
        assert panel.single.layout.display == "" and panel.tau.layout.display == panel.retriever.layout.display == "none"

    def test_controls_of_another_method_are_hidden(self, exploration):
        panel = TransferPanel(exploration)
        assert (panel.method.value, panel.looseness.value) == ("neighbours", 2.0)
        assert panel.method.layout.display == panel.looseness.layout.display == ""
        panel.looseness.value = 0.5
        panel.method.value = "gram"
        assert (exploration.choice.settings.method, exploration.choice.settings.looseness) == ("gram", 0.5)
        assert (panel.method.layout.display, panel.looseness.layout.display) == ("", "none")
        panel.method.value = "neighbours"
        for target in ("blend/barycentre", "gram:blend"):
            exploration.change(target=target)
            assert panel.target.value == target
            assert panel.method.layout.display == panel.looseness.layout.display == "none"
        panel.target.value = "blend"
        assert panel.method.layout.display == panel.looseness.layout.display == "" and panel.looseness.value == 0.5

    def test_a_missing_single_painting_is_reported(self, exploration):
        panel = TransferPanel(exploration)
        panel.target.value = "single"
        until(lambda: "single" in panel.strip.message.value and len(panel.strip.offered.items) == 12)
        until(lambda: panel.buttons.enabled == [])
        assert panel.strip.offered.layout.display == ""
        assert "target single needs style" in panel.notes["single"].value
        panel.target.value = "blend"
        until(lambda: panel.buttons.enabled == ["run"])
        assert not panel.notes["single"].value and not panel.message.value and panel.strip.gallery.layout.display == ""
        panel.target.value = "single"
        panel.strip.offered.receive({"key": "work-04.png", "action": "choose"})
        assert panel.single.value == "work-04.png" and [i["key"] for i in panel.strip.offered.items if i["marked"]] == [
            "work-04.png"
        ]
        assert exploration.target().works[0].name == "work-04.png"
        until(lambda: [item["key"] for item in panel.strip.gallery.items] == ["work-04.png"])

    def test_a_wrong_text_stays_in_its_field_with_the_reason_and_nothing_can_be_started(self, exploration, tmp_path):
        panel = TransferPanel(exploration)
        until(lambda: panel.buttons.enabled == ["run"])
        (tmp_path / "broken.jpg").write_text("no picture")
        for name, text, reason in (
            ("content", "/no/such/file", "is no file"),
            ("content", str(tmp_path / "broken.jpg"), "broken.jpg"),
            ("content", "", "empty"),
            ("corpus", "no/such/folder", f"looked for in {Path.cwd()}"),
            ("corpus", str(tmp_path / "broken.jpg"), "name the folder"),
            ("encoder", "embeded", "did you mean embedded?"),
            ("preview", "artst", "artst"),
        ):
            control, before = getattr(panel, name), exploration.choice
            control.value = text
            assert exploration.choice is before and control.value == text and reason in panel.notes[name].value
            panel.tau.value = 0.5 if panel.tau.value != 0.5 else 0.2  # another control says nothing about it
            panel.refresh()
            assert reason in panel.notes[name].value and panel.buttons.enabled == [] and control.value == text
            panel.copying.receive({"make": "Copy as code"})
            assert not panel.copying.sound and reason in panel.copying.text
            assert len(exploration.kept) == 0 and all(text != item["key"] for item in panel._pickers["content"].items)
            control.value = getattr(exploration.choice, name)
            assert not panel.notes[name].value and not panel.wrong
            until(lambda: panel.buttons.enabled == ["run"])

    def test_while_a_run_is_at_work_a_wrong_text_is_reported_too(self, held):
        exploration, library = held
        panel = TransferPanel(exploration)
        until(lambda: panel.strip.gallery.items)
        library.hold()
        panel.buttons.press("run")
        assert library.begun.wait(PATIENCE)
        panel.content.value = "no-such-file.jpg"
        assert "no-such-file.jpg" in panel.notes["content"].value and panel.buttons.enabled == ["stop"]
        library.go.set()
        until(lambda: exploration.kept and panel.buttons.enabled == [])
        assert "no-such-file.jpg" in panel.notes["content"].value

    def test_paths_as_people_write_them_are_taken(self, exploration, two_styles):
        panel = TransferPanel(exploration)
        panel.content.value = f"'{two_styles / 'work-00.png'}'"
        assert not panel.wrong and exploration.choice.content == panel.content.value
        panel.corpus.value = f' "{two_styles}" '
        assert not panel.wrong and len(exploration.corpus()) == 12

    def test_a_folder_without_pictures_is_reported_at_its_field_and_offered_no_more(self, exploration, tmp_path, two_styles):
        (tmp_path / "not-a-picture.jpg").write_text("no")
        panel = TransferPanel(exploration)
        panel.corpus.value = str(tmp_path)
        until(lambda: "no usable image" in panel.notes["corpus"].value)
        assert panel.buttons.enabled == []
        panel.corpus.value = str(two_styles)
        until(lambda: panel.buttons.enabled == ["run"])
        assert not panel.notes["corpus"].value and str(tmp_path) not in panel.corpus.options

    def test_files_that_are_left_out_are_shown_with_their_reasons(self, exploration, two_styles, tmp_path):
        for name in ("work-00.png", "work-01.png"):
            (tmp_path / name).write_bytes((two_styles / name).read_bytes())
        (tmp_path / "copy.png").write_bytes((two_styles / "work-00.png").read_bytes())
        (tmp_path / "broken <scan>.jpg").write_text("no picture")
        panel = TransferPanel(exploration)
        panel.corpus.value = str(tmp_path)
        until(lambda: "2 paintings; 2 files left out" in panel.left_out.value)
        assert "broken &lt;scan&gt;.jpg" in panel.left_out.value and "the same picture as" in panel.left_out.value
        panel.corpus.value = str(two_styles)
        until(lambda: panel.left_out.layout.display == "none")

    def test_a_button_starts_what_the_page_shows(self, exploration):
        panel = TransferPanel(exploration)
        until(lambda: panel.buttons.enabled == ["run"])
        panel.buttons.receive({"press": "run", "values": {"tau": 0.5, "steps": 3, "nonsense": 1, "alpha": "much"}})
        assert exploration.runner.choice.tau == panel.tau.value == 0.5 and exploration.choice.settings.steps == 3
        until(lambda: panel.buttons.enabled == ["run"] and exploration.kept)
        panel.buttons.receive({"press": "resume"})  # which is disabled
        panel.buttons.receive({"press": "no such button"})
        assert not exploration.running

    def test_a_result_that_goes_on_has_a_new_thumbnail(self, exploration):
        panel = TransferPanel(exploration)
        until(lambda: panel.buttons.enabled == ["run"])
        stops = iter([True])
        exploration.listen(lambda: exploration.stop(0) if exploration.losses and next(stops, False) else None)
        exploration.change(steps=30)
        panel.buttons.press("run")
        until(lambda: "resume" in panel.buttons.enabled)
        (before,) = panel.kept.items
        panel.buttons.press("resume")
        until(lambda: "done" in panel.message.value)
        (after,) = panel.kept.items
        assert "stopped after" in before["title"] and "stopped" not in after["title"] and after["key"] != before["key"]

    def test_a_result_is_saved_with_its_settings_inside(self, exploration, tmp_path, monkeypatch):
        panel = TransferPanel(exploration)
        until(lambda: panel.buttons.enabled == ["run"])
        panel.buttons.press("run")
        until(lambda: panel.kept.items and panel.buttons.enabled == ["run"])
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            panel.kept.receive({"key": panel.kept.items[0]["key"], "action": "save"})
            assert "saved as" in panel.message.value
        first, second = sorted(tmp_path.glob("*.png"))
        record = figures.read_provenance(second)
        assert record["parameters"]["settings"]["steps"] == 4 and record["parameters"]["target"] == "blend" and record["works"]
        assert first.read_bytes() == second.read_bytes() and "grace_hopper after" in first.name
        assert torch.allclose(images.load(first), exploration.kept[0].picture, atol=1 / 255)

    def test_a_painting_set_by_hand_leaves_pinned_ones_their_weights(self, exploration):
        strip = WorksStrip(exploration)
        exploration.change(target="whole", pinned=("work-03.png",))
        until(lambda: strip.target and strip.target.name == "whole" and not exploration.measuring)
        weights = lambda: {item["key"]: item["weight"] for item in strip.gallery.items}  # noqa: E731
        pinned = weights()["work-03.png"]
        strip.gallery.receive({"key": "work-05.png", "weight": 0.3})
        until(lambda: strip.target.name == "by-hand" and not exploration.measuring)
        assert weights()["work-03.png"] == pytest.approx(pinned) and weights()["work-05.png"] == pytest.approx(0.3)
        assert sum(weights().values()) == pytest.approx(1)
        strip.gallery.receive({"key": "work-05.png", "weight": 1.0})
        until(lambda: weights()["work-05.png"] > 0.4)
        assert weights()["work-03.png"] == pytest.approx(pinned)

    def test_results_are_kept_with_their_settings(self, exploration):
        panel = TransferPanel(exploration)
        for tau in (0.05, 1.0):
            panel.tau.value = tau
            panel.buttons.press("run")
            exploration.wait(PATIENCE)
            until(lambda: panel.buttons.enabled == ["run"])
        until(lambda: len(panel.kept.items) == 2)
        first = panel.kept.items[0]["key"]
        assert "0.05" in panel.kept.items[0]["title"] and panel.kept._read(first).startswith(b"\xff\xd8")
        panel.kept.receive({"key": first, "action": "choose"})
        assert exploration.choice.tau == panel.tau.value == 0.05 and panel.kept.items[0]["marked"]
        panel.compare.value = True
        (compare,) = panel._compared.children
        assert isinstance(compare, Compare) and compare.names[0] == "content" and len(compare.names) == 3
        assert (compare.left, compare.right) == (0, 2)  # the last result over the content, with a divider to drag
        panel.content.value = "china"  # of which there is no result, and which has another shape
        assert panel._compared.children == () and panel.compare.disabled
        panel.kept.receive({"key": first, "action": "choose"})
        assert panel._compared.children and not panel.compare.disabled

    def test_every_control_says_in_a_sentence_what_it_does(self, exploration):
        panel = TransferPanel(exploration)
        for name, control in panel._named.items():
            assert control.tooltip and control.tooltip.rstrip().endswith("."), name
        assert all(button["tooltip"] for button in panel.buttons.buttons) and panel.compare.tooltip and panel.upload.hint
        until(lambda: "effective number</span>" in panel.strip.message.value)

    def test_what_makes_a_picture_less_is_said(self, exploration, tmp_path):
        """Paintings with fewer pixels than asked, and a content that can be seen through."""
        panel = TransferPanel(exploration)
        until(lambda: not exploration.measuring)
        panel.refresh()
        assert panel.doubts.value == ""
        panel.size.value = 128
        panel.refresh()
        assert "12 of 12 paintings have fewer pixels than asked, 128 px; the smallest has 64 px" in panel.doubts.value
        Image.new("RGBA", (40, 30), (200, 30, 30, 128)).save(tmp_path / "cut-out.png")
        panel.content.value = str(tmp_path / "cut-out.png")
        until(lambda: panel.refresh() or "cut-out.png has transparency" in panel.doubts.value)
        assert "12 of 12" in panel.doubts.value
        panel.size.value = 64
        assert "12 of 12" not in panel.doubts.value and "transparency" in panel.doubts.value

    def test_an_uploaded_picture_becomes_the_content(self, exploration, two_styles, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        panel = TransferPanel(exploration)
        picture = (two_styles / "work-04.png").read_bytes()

        def send(name, content, parts=3):
            size = -(-len(content) // parts)
            for k in range(parts):
                panel.upload.receive({"name": name, "part": k, "of": parts}, [content[k * size : (k + 1) * size]])

        send("mine.png", picture)
        assert panel.content.value == exploration.choice.content == str(Path("uploads", "mine.png"))
        assert Path("uploads/mine.png").read_bytes() == picture
        send("mine.png", (two_styles / "work-05.png").read_bytes(), parts=1)
        assert exploration.choice.content == str(Path("uploads", "mine-2.png"))  # nothing is written over
        send("mine.png", picture)
        assert exploration.choice.content == str(Path("uploads", "mine.png"))
        send("../../.evil\n.png", picture)
        assert Path(exploration.choice.content).parent == Path("uploads") and Path("uploads/evil .png").is_file()
        before = exploration.choice
        send("notes.png", b"no picture")
        assert "notes.png" in panel.message.value and 'role="alert"' in panel.message.value and exploration.choice == before
        panel.upload.receive({"name": "mine.png", "part": 1, "of": 2}, [b"a second part without a first"])
        assert sorted(path.name for path in Path("uploads").iterdir()) == ["evil .png", "mine-2.png", "mine.png"]
        Path("uploads/taken.png").mkdir()
        for name, kept in (("taken.png", "taken-2.png"), ("é" * 124 + ".png", "é" * 100 + ".png")):
            send(name, picture)
            assert exploration.choice.content == str(Path("uploads", kept)) and not panel.message.value
        until(lambda: not exploration.measuring)

    def test_what_is_saved_or_uploaded_becomes_no_painting_of_the_corpus(self, exploration, two_styles, tmp_path, monkeypatch):
        panel = TransferPanel(exploration)
        exploration.start()
        exploration.wait(PATIENCE)
        monkeypatch.chdir(two_styles)
        before = sorted(two_styles.rglob("*"))
        panel._use(str(exploration.kept[-1].number), "save")
        assert "it would become part of the corpus" in panel.message.value and 'role="alert"' in panel.message.value
        picture = (two_styles / "work-04.png").read_bytes()
        panel.upload.receive({"name": "mine.png", "part": 0, "of": 1}, [picture])
        assert "it would become part of the corpus" in panel.message.value
        assert sorted(two_styles.rglob("*")) == before
        monkeypatch.chdir(tmp_path)
        panel._use(str(exploration.kept[-1].number), "save")
        assert "saved as" in panel.message.value

    def test_a_result_is_saved_however_long_the_names_are(self, exploration, two_styles, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        content = Path("ü" * 120 + ".png")
        content.write_bytes((two_styles / "work-04.png").read_bytes())
        exploration.change(content=str(content))
        exploration.start()
        exploration.wait(PATIENCE)
        saved = [exploration.save(exploration.kept[-1]) for _ in range(2)]
        assert len({path.name for path in saved}) == 2 and all(path.is_file() for path in saved)

    def test_a_choice_beyond_what_the_controls_offer_is_shown_as_it_is(self, two_styles):
        settings = Settings(size=100, steps=900, alpha=50.0, brush=4.0, plateau=0)
        made = Exploration(Choice(corpus=str(two_styles), tau=40.0, target="cluster/barycentre", settings=settings))
        panel = TransferPanel(made)
        values = [getattr(panel, name).value for name in ("size", "steps", "alpha", "brush", "tau", "target")]
        assert values[:2] == [100, 900] and values[2:5] == pytest.approx([50, 4, 40]) and values[5] == "cluster/barycentre"
        assert made.choice.settings == settings  # showing it changed nothing
        until(lambda: not made.measuring)

    def test_what_the_page_rounds_is_no_change(self, exploration):
        panel = TransferPanel(exploration)
        before = exploration.choice
        panel.tau.value = exploration.choice.tau * (1 + 1e-12)
        assert exploration.choice is before
        panel.tau.value = 0.100714  # where a hand left it
        assert exploration.choice.tau == 0.101

    def test_copying_shows_the_text_or_why_there_is_none(self, exploration):
        copying = TransferPanel(exploration).copying
        copying.receive({"make": "Copy as code"})
        assert copying.sound and copying.text == exploration.code()
        copying.receive({"make": "Copy as papermill"})
        assert copying.sound and copying.text == exploration.command() and copying.revision == 2
        exploration.change(pinned=("work-02.png",))
        copying.receive({"make": "Copy as papermill"})
        assert not copying.sound and "copy the code" in copying.text
        copying.receive({"make": "no such text"})
        assert copying.revision == 3
        exploration.change(pinned=())
        assert copying.text == ""  # it would tell of another choice

    def test_where_nobody_can_press_a_button_a_picture_is_shown(self, exploration):
        assert not lab.interactive()
        found = lab.show(lambda: TransferPanel(exploration), lambda: lab.snapshot(exploration))
        assert isinstance(found, figures.Figure) and exploration.kept[-1].complete
        exploration.change(content="no-such-file.jpg")
        exploration.kept.clear()
        with pytest.raises(WorkbenchError, match="no-such-file"):
            lab.snapshot(exploration)


class TestStrip:
    """The works of a target."""

    def test_the_strip_shows_the_works_pins_them_and_leaves_them_out(self, exploration):
        strip = WorksStrip(exploration, shown=4)
        until(lambda: strip.gallery.items)
        keys = lambda: [item["key"] for item in strip.gallery.items]  # noqa: E731
        assert keys() == [work.name for work in exploration.target().works[:4]]
        assert all(strip.gallery._read(key).startswith(b"\xff\xd8") for key in keys())
        first = keys()[0]
        strip.gallery.receive({"key": first, "action": "out"})
        until(lambda: first not in keys())
        assert "1 left out" in strip.message.value
        others, third = keys(), keys()[2]
        strip.gallery.receive({"key": third, "action": "pin"})
        assert exploration.choice.pinned == (third,)
        until(lambda: keys()[0] == third)
        assert strip.gallery.items[0]["marked"] and strip.gallery.items[0]["weight"] > 0.5 and set(keys()) == set(others)
        exploration.change(tau=5)
        until(lambda: strip.target.effective_number > 3)
        assert keys()[0] == third  # it stays
        exploration.change(tau=0.1)
        strip.back.click()
        until(lambda: keys()[0] == first)
        assert strip.back.disabled

    def test_a_new_corpus_is_measured_in_a_thread(self, held, tmp_path, corpus):
        exploration, library = held
        for k, work in enumerate(corpus.works[:6]):
            images.save(work.load(64), tmp_path / f"new-{k}.png")
        strip = WorksStrip(exploration)
        until(lambda: strip.gallery.items)
        library.hold()
        before = strip.gallery.items
        exploration.change(corpus=str(tmp_path))
        assert "measuring" in strip.message.value  # and the caller has not waited
        assert (
            strip.gallery.items == before and strip.gallery.dimmed
        )  # those of the former artist, who is not taken for the new
        strip.gallery.receive({"key": before[0]["key"], "action": "out"})
        assert exploration.choice.exclude == ()
        exploration.change(tau=10)  # the latest choice counts
        library.go.set()
        until(lambda: "effective number</span> 6.0" in strip.message.value)
        assert not strip.gallery.dimmed

    def test_measuring_shows_how_far_it_is(self, exploration, tmp_path, corpus, monkeypatch):
        for k, work in enumerate(corpus.works[:6]):
            images.save(1 - work.load(64), tmp_path / f"new-{k}.png")
        monkeypatch.setattr("workbench.lab.session.TELL_EVERY", 0)
        strip, said = WorksStrip(exploration), []
        until(lambda: strip.gallery.items)
        strip.message.observe(lambda change: said.append(change["new"]), "value")
        exploration.change(corpus=str(tmp_path))
        until(lambda: not strip.gallery.dimmed and not exploration.measuring)
        assert any("3 of 6" in line and "measuring" in line for line in said)

    def test_a_setting_needs_no_new_measurement(self, exploration):
        exploration.change(target="cluster")
        until(exploration.target_soon)
        exploration.change(alpha=0.5, brush=0.5, size=128)
        assert exploration.target_soon() is not None

    def test_a_corpus_that_cannot_be_measured_is_reported_and_not_tried_again(self, exploration, tmp_path):
        strip = WorksStrip(exploration)
        (tmp_path / "not-a-picture.jpg").write_text("no")
        exploration.change(corpus=str(tmp_path))
        until(lambda: 'role="alert"' in strip.message.value)
        strip.refresh()
        exploration.change(alpha=0.5)
        assert not exploration.measuring and 'role="alert"' in strip.message.value and strip.gallery.items == []

    def test_regions_are_drawn_over_the_content(self, exploration):
        exploration.change(target="regions")
        strip = WorksStrip(exploration)
        until(lambda: strip.matches.layout.display == "")
        target = strip.target
        assert len(target.guides) > 0 and strip.matches.words.value.count("<li>") == len(target.guides)
        assert bytes(strip.matches.picture.data).startswith(b"\xff\xd8") and target.guides[0].line in strip.matches.picture.alt
        content = inputs.content("grace_hopper")
        drawn = drawn_over(content, target)
        plain = images.resize(content, max(drawn.shape[-2:]))
        assert drawn.shape == plain.shape and 0.02 < ((drawn - plain).abs().amax(dim=1) > 0.1).float().mean() < 0.9
        exploration.change(target="blend")
        strip.refresh()
        assert strip.matches.layout.display == "none"


class TestLogSlider:
    @pytest.mark.parametrize("value", [0.08, 0.01, 10.0, 0.0123456, 40.0, 1e-4])
    def test_it_has_a_step_at_its_value(self, value):
        slider = LogSlider("τ", -2, 1, 0.05, value)
        shown = max(value, 0.01)
        assert slider.value == pytest.approx(shown, rel=1e-9) and slider.min <= -2 + 1e-9 and slider.max >= 1
        steps = (math.log10(slider.value) - slider.min) / slider.step
        assert steps == pytest.approx(round(steps), abs=1e-6)

    def test_its_lowest_step_is_shown_as_it_is(self):
        """It may lie below the lowest value on offer, for the steps pass through the value."""
        slider = LogSlider("α", -3, 1, 0.1, 0.05)
        lowest = LogSlider.rounded(10**slider.min)
        assert lowest < 0.001
        slider.value = 10**slider.min
        slider.place(lowest)
        assert not LogSlider.moved(slider.value, lowest)
        slider.place(0.5)
        slider.place(lowest)
        assert not LogSlider.moved(slider.value, lowest)


class TestGallery:
    """Thumbnails are sent on request."""

    def test_it_sends_the_requested_pictures_and_no_others(self):
        sent, acted = [], []
        gallery = Gallery(
            "Works", lambda key: key.encode(), lambda *what: acted.append(what), actions=(Action("out", "out", ""),)
        )
        gallery.send = lambda content, buffers: sent.append((content, buffers))
        gallery.show([Item("a", "A", weight=0.5), Item("b", "B", weight=0.5)])
        gallery.receive({"want": ["b", "c"]})
        assert sent == [({"picture": "b"}, [b"b"])]
        for key, action in (("a", "out"), ("c", "out"), ("a", "choose"), ("a", "rm")):
            gallery.receive({"key": key, "action": action})
        assert acted == [("a", "out")]

    def test_a_missing_picture_hides_no_other(self):
        sent = []
        gallery = Gallery("Works", {"a": b"picture"}.__getitem__, lambda *_: None)
        gallery.send = lambda content, buffers: sent.append(buffers[0])
        gallery.show([Item("a", "A"), Item("b", "B")])
        gallery.receive({"want": ["b", "a"]})
        assert sent == [b"", b"picture"]


class TestCompare:
    """Two to six pictures of one size."""

    def test_results_are_compared_at_one_size(self, corpus):
        first, second = corpus.works[0].load(64), corpus.works[1].load(32)
        widget = Compare({"one": first, "two": second})
        assert widget.names == ["one", "two"] and (widget.left, widget.right, widget.position) == (0, 1, 0.5)
        sizes = {Image.open(io.BytesIO(bytes(data))).size for data in widget.pictures}
        assert sizes == {(64, 48)} and widget.ratio == pytest.approx(64 / 48)

    @pytest.mark.parametrize("count", [1, 7])
    def test_one_or_seven_pictures_are_not_compared(self, count):
        with pytest.raises(UsageError, match="compare two to 6"):
            Compare({f"{i}": torch.zeros(1, 3, 8, 8) for i in range(count)})


class TestScripts:
    """What a page loads."""

    def test_no_anywidget_has_a_tooltip_which_the_page_would_refuse(self):
        found = [anywidget.AnyWidget]
        for kind in found:
            found += kind.__subclasses__()
        ours = [kind for kind in found if kind.__module__.startswith("workbench.")]
        assert len(ours) > 6 and not [kind for kind in ours if "tooltip" in kind.class_own_traits()]

    @pytest.mark.parametrize("path", sorted(Path(lab.__file__).parent.glob("*.js")), ids=lambda path: path.name)
    def test_a_script_has_no_address_and_no_import(self, path):
        code = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, which nothing fetches
        assert "http" not in code and "import " not in code
