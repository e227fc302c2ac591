import ast
import io
import shlex
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from workbench import figures, images, inputs, lab, progress, runs
from workbench.errors import UsageError, WorkbenchError
from workbench.lab.blind import BlindStudy
from workbench.lab.compare import Compare
from workbench.lab.exploration import Choice, Exploration
from workbench.lab.panel import TransferPanel
from workbench.lab.strip import WorksStrip
from workbench.study import blind
from workbench.transfer import Settings, Transfer

SMALL = Settings(size=64, steps=4, plateau=0)


@pytest.fixture
def exploration(two_styles):
    made = Exploration(Choice(corpus=str(two_styles), target="blend", settings=SMALL))
    yield made
    made.stop(timeout=30)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


# The plain object


def test_a_run_gives_what_the_transfer_gives(exploration):
    exploration.start()
    assert exploration.wait(60) and not exploration.error
    (kept,) = exploration.kept
    expected = Transfer(images.load(_hopper()), exploration.target(), exploration._encoder("embedded"), SMALL).run()
    assert kept.complete and torch.equal(kept.picture, expected.image) and kept.losses == expected.history
    assert exploration.done == 1 and exploration.seconds_left is None and not exploration.resumable


def _hopper():
    return inputs.content_path("grace_hopper")


def test_the_caller_is_free_and_a_stop_takes_effect_at_once(exploration):
    exploration.change(steps=20_000)
    began = time.monotonic()
    exploration.start()
    assert time.monotonic() - began < 0.5 and exploration.running
    until(lambda: len(exploration.losses) > 3)
    assert exploration.seconds_left > 0
    began = time.monotonic()
    assert exploration.stop() and time.monotonic() - began < 0.5
    assert exploration.resumable and not exploration.kept[-1].complete
    assert exploration.picture.shape[0] == 1


def test_a_stopped_run_goes_on_to_the_same_bytes(exploration):
    exploration.change(steps=30)
    exploration.start()
    until(lambda: len(exploration.losses) > 2)
    exploration.stop()
    if exploration.resumable:  # a fast machine may have been done already
        exploration.resume()
    exploration.wait(60)
    (kept,) = exploration.kept
    expected = Transfer(
        images.load(_hopper()), exploration.target(), exploration._encoder("embedded"), exploration.choice.settings
    ).run()
    assert kept.complete and torch.equal(kept.picture, expected.image)


def test_listeners_hear_of_the_beginning_and_the_end(exploration):
    heard = []
    exploration.listen(lambda: heard.append((exploration.running, threading.current_thread().name)))
    exploration.start()
    exploration.wait(60)
    until(lambda: heard and not heard[-1][0])
    assert heard[0][0] and {name for _, name in heard} == {"transfer"}


def test_two_runs_at_a_time_and_a_resume_of_nothing_are_refused(exploration):
    with pytest.raises(UsageError, match="no stopped transfer"):
        exploration.resume()
    exploration.change(steps=20_000)
    exploration.start()
    with pytest.raises(UsageError, match="stop it first"):
        exploration.start()


def test_what_goes_wrong_in_the_thread_is_said(exploration):
    exploration.change(content="no-such-file.jpg")
    exploration.start()
    exploration.wait(30)
    assert "no-such-file.jpg" in exploration.error and not exploration.kept
    exploration.change(content="grace_hopper")
    exploration.start()
    exploration.wait(60)
    assert exploration.error == "" and exploration.kept


def test_the_target_follows_the_choice(exploration):
    assert exploration.change(tau=0.01).tau == 0.01
    narrow = exploration.target().effective_number
    exploration.change(tau=10)
    wide = exploration.target().effective_number
    assert narrow < 3 and wide == pytest.approx(12, abs=0.1)
    heaviest = exploration.target().works[0]
    exploration.change(exclude=(heaviest.name,))
    assert heaviest not in exploration.target().works
    exploration.change(pinned=("work-03.png", "work-05.png"))
    assert exploration.target().weights == (0.5, 0.5)
    exploration.change(pinned=(), exclude=(), genre="portrait")
    assert len(exploration.target().works) == 6 and exploration.genres() == ["landscape", "portrait"]


def test_a_work_that_is_left_out_does_not_stand_in_the_way_of_a_genre(exploration):
    exploration.change(exclude=("work-00.png",))  # a portrait
    exploration.change(genre="landscape")
    assert len(exploration.target().works) == 6
    exploration.change(pinned=("work-01.png",))
    exploration.change(genre="portrait")
    assert exploration.choice.pinned == () and len(exploration.target().works) == 5


def test_the_time_left_is_that_of_the_steps_to_come(exploration):
    exploration.change(steps=2000)
    exploration.start()
    until(lambda: len(exploration.losses) > 40)
    left, began, made = exploration.seconds_left, time.monotonic(), len(exploration.losses)
    until(lambda: len(exploration.losses) > made + 40)
    pace = (time.monotonic() - began) / (len(exploration.losses) - made)
    assert left == pytest.approx(pace * (2000 - made), rel=0.9)


def test_a_view_that_fails_loses_no_run(exploration, capsys):
    exploration.listen(lambda: 1 / 0)
    exploration.start()
    exploration.wait(60)
    assert exploration.kept[-1].complete and "ZeroDivisionError" in capsys.readouterr().err


def test_a_stop_while_paintings_are_measured_takes_effect(exploration):
    exploration.change(target="blend/bag", size=256, tau=10)
    exploration.start()
    time.sleep(0.05)
    assert exploration.stop(timeout=5) and not exploration.error


def test_another_corpus_forgets_what_was_left_out(exploration):
    exploration.change(exclude=("work-00.png",), pinned=("work-01.png",), genre="portrait")
    exploration.change(corpus="umber")
    assert (exploration.choice.exclude, exploration.choice.pinned, exploration.choice.genre) == ((), (), "")


def test_a_choice_that_does_not_exist_is_refused(exploration):
    with pytest.raises(UsageError, match="no 'colourr'"):
        exploration.change(colourr="content")
    with pytest.raises(UsageError, match="brush"):
        exploration.change(brush=99)


@pytest.mark.parametrize(
    "changes", [{}, {"target": "single", "single": "work-02.png"}, {"pinned": ("work-02.png",)}, {"exclude": ("work-00.png",)}]
)
def test_the_code_repeats_the_run(exploration, changes):
    exploration.change(**changes, genre="portrait", brush=0.5)
    exploration.start()
    exploration.wait(60)
    namespace = {}
    code = exploration.code()
    ast.parse(code)
    exec(code, namespace)
    assert torch.equal(namespace["result"].image, exploration.kept[-1].picture)


def test_the_command_is_one_that_the_notebook_takes(exploration):
    exploration.change(target="blend/bag", exclude=("work-00.png",), genre="portrait", brush=0.5)
    words = shlex.split(exploration.command())
    assert words[:3] == ["papermill", "notebooks/05_comparison.ipynb", "out.ipynb"]
    given = {}
    for flag, *rest in [words[i : i + 3] for i in range(3, len(words)) if words[i] in ("-p", "-y")]:
        given |= {rest[0]: yaml.safe_load(rest[1])} if flag == "-p" else yaml.safe_load(rest[0])
    resolved = runs.check(Path(__file__).parents[1] / "notebooks/05_comparison.ipynb", given)
    assert resolved["choices"] == ["blend/bag"] and resolved["brush"] == 0.5 and resolved["exclude"] == ["work-00.png"]
    exploration.change(pinned=("work-02.png",))
    with pytest.raises(UsageError, match="copy the code"):
        exploration.command()


def test_every_tracked_loop_can_be_stopped():
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


# The widgets


def test_the_panel_runs_stops_and_resumes_by_its_buttons(exploration):
    panel = TransferPanel(exploration)
    assert panel.stop.disabled and panel.resume.disabled and not panel.run.disabled
    panel.steps.max = 20_000
    panel.steps.value = 20_000
    panel.run.click()
    until(lambda: bytes(panel.image.value).startswith(b"\xff\xd8"))
    assert not panel.stop.disabled and panel.run.disabled
    panel.stop.click()
    until(lambda: not panel.resume.disabled)
    until(lambda: bytes(panel.curve.value))
    assert "stopped" in panel.says.value and bytes(panel.curve.value).startswith(b"\x89PNG")
    before = len(exploration.losses)
    panel.resume.click()
    until(lambda: len(exploration.losses) > before)


def test_controls_change_the_choice_and_the_strip_follows(exploration):
    panel = TransferPanel(exploration)
    panel.tau.value = 0.01
    narrow = panel.strip.says.value
    panel.tau.value = 10.0
    assert exploration.choice.tau == 10 and panel.strip.says.value != narrow
    panel.target.value, panel.genre.value = "whole", "portrait"
    assert len(exploration.target().works) == 6
    panel.alpha.value, panel.brush.value, panel.colour.value = 1.0, 0.5, "content"
    settings = exploration.choice.settings
    assert (settings.alpha, settings.brush, settings.colour) == (1.0, 0.5, "content")
    panel.content.value = "/no/such/file"
    assert exploration.choice.content == "grace_hopper" and "no file" in panel.says.value


def test_a_missing_single_painting_is_asked_for(exploration):
    panel = TransferPanel(exploration)
    panel.target.value = "single"
    assert "single" in panel.strip.says.value
    panel.single.value = "work-04.png"
    assert exploration.target().works[0].name == "work-04.png"


def test_without_anybody_to_press_a_button_a_picture_stands_for_the_panel(exploration):
    assert not lab.interactive()
    found = lab.show(lambda: TransferPanel(exploration), lambda: lab.snapshot(exploration))
    assert isinstance(found, figures.Figure) and exploration.kept[-1].complete
    exploration.change(content="no-such-file.jpg")
    exploration.kept.clear()
    with pytest.raises(WorkbenchError, match="no-such-file"):
        lab.snapshot(exploration)


def test_copying_shows_the_text(exploration):
    panel = TransferPanel(exploration)
    panel.copy_code.click()
    assert panel.copied.layout.display == "block" and panel.copied.value == exploration.code()
    panel.copy_command.click()
    assert panel.copied.value == exploration.command()


def test_the_strip_shows_the_works_pins_them_and_leaves_them_out(exploration):
    strip = WorksStrip(exploration, shown=4)
    assert tuple(cell.work for cell in strip.cells) == exploration.target().works[:4]
    assert all(bytes(cell.image.value).startswith(b"\xff\xd8") for cell in strip.cells)
    first = strip.cells[0].work
    strip.cells[0].out.click()
    assert first not in [cell.work for cell in strip.cells] and "1 left out" in strip.says.value
    second = strip.cells[0].work
    strip.cells[0].pin.click()
    assert exploration.choice.pinned == (second.name,) and strip.cells[1].work is None
    assert strip.cells[1].layout.visibility == "hidden"
    strip.back.click()
    assert strip.cells[0].work == first and strip.back.disabled


# The blind study


@pytest.fixture
def ballot(tmp_path, corpus):
    items = []
    for content in ("one", "two", "three"):
        for k, method in enumerate(("gatys-single", "blend-of-many")):
            path = tmp_path / f"{content}-{method}.png"
            images.save(corpus.works[k].load(32), path)
            items.append(blind.Item(method, "Nobody", content, 0, str(path)))
    plan = blind.plan(items, rater="r", question="Which looks more like {artist}?", seed=1, repeats=0, ties=True)
    return blind.Ballot(plan, tmp_path / "answers.jsonl")


def test_no_method_reaches_the_page(ballot, tmp_path):
    widget = BlindStudy(ballot)
    for _ in range(3):
        state = widget.get_state()
        text = repr({k: v for k, v in state.items() if k not in ("left", "right", "_esm")})
        assert "gatys" not in text and "blend" not in text and str(tmp_path) not in text
        for side in ("left", "right"):
            assert b"gatys" not in bytes(state[side]) and b"blend" not in bytes(state[side])
            assert bytes(state[side]).startswith(b"\xff\xd8")
        widget.receive({"number": widget.number, "side": "left", "seconds": 0.5})
    assert widget.finished and bytes(widget.left) == b""
    assert "gatys" not in widget._esm and "blend" not in widget._esm


def test_votes_are_kept_and_taken_up_again(ballot):
    widget = BlindStudy(ballot)
    assert (widget.number, widget.total, widget.undoable, widget.question) == (1, 3, False, "Which looks more like Nobody?")
    widget.receive({"number": 1, "side": "right", "seconds": 1.25})
    assert widget.number == 2 and widget.undoable
    again = BlindStudy(blind.Ballot(ballot.plan, ballot.path))
    assert again.number == 2
    (answer,) = again.ballot.answers.values()
    assert (answer.side, answer.seconds) == ("right", 1.25)
    again.receive({"undo": True})
    assert again.number == 1 and not again.undoable


def test_a_second_press_on_a_pair_that_is_gone_does_not_count(ballot):
    widget = BlindStudy(ballot)
    widget.receive({"number": 1, "side": "left", "seconds": 1})
    widget.receive({"number": 1, "side": "left", "seconds": 1})
    assert len(ballot) == 1 and widget.number == 2
    widget.receive({"undo": True})
    widget.receive({"undo": True})
    assert len(ballot) == 0


@pytest.mark.parametrize("message", [{"number": 1, "side": "up", "seconds": 1}, {"number": 1, "side": "left", "seconds": "x"}])
def test_a_message_that_makes_no_sense_is_said_and_changes_nothing(ballot, message):
    widget = BlindStudy(ballot)
    before = widget.revision
    widget.receive(message)
    assert len(ballot) == 0 and widget.error and widget.question == widget.error and widget.revision > before
    widget.receive({"number": 1, "side": "tie", "seconds": 1})
    assert len(ballot) == 1 and widget.question == "Which looks more like Nobody?"


def test_a_picture_that_is_gone_tells_nothing(ballot):
    widget = BlindStudy(ballot)
    Path(ballot.plan.picture(widget._shown.left)).unlink()
    again = BlindStudy(ballot)
    assert "cannot be read" in again.question and bytes(again.left) == b"" and again.revision == 1
    assert "gatys" not in again.question and "blend" not in again.question


# Comparing


def test_results_are_compared_at_one_size(corpus):
    first, second = corpus.works[0].load(64), corpus.works[1].load(32)
    widget = Compare({"one": first, "two": second})
    assert widget.names == ["one", "two"] and (widget.left, widget.right, widget.position) == (0, 1, 0.5)
    sizes = {Image.open(io.BytesIO(bytes(data))).size for data in widget.pictures}
    assert sizes == {(64, 48)} and widget.ratio == pytest.approx(64 / 48)


@pytest.mark.parametrize("count", [1, 7])
def test_one_or_seven_pictures_are_not_compared(count):
    with pytest.raises(UsageError, match="compare two to 6"):
        Compare({f"{i}": torch.zeros(1, 3, 8, 8) for i in range(count)})


@pytest.mark.parametrize("name", ["blind.js", "compare.js"])
def test_the_pages_code_needs_no_network(name):
    code = (Path(lab.__file__).parent / name).read_text()
    assert "http" not in code and "import " not in code
