"""One state, many views: whatever is done to a panel, in whatever order, all its parts tell of the present choice."""

import hashlib
import html
import random
import threading
import time

import pytest
import torch
from waiting import PATIENCE, until

from workbench import methods, progress
from workbench.errors import UsageError
from workbench.lab.choice import Choice
from workbench.lab.exploration import Exploration
from workbench.lab.log_slider import LogSlider
from workbench.lab.panel import SLIDERS, TYPED, TransferPanel, _content_cover
from workbench.lab.thumbnails import jpeg
from workbench.methods import Method, OneShot
from workbench.transfer import Iterate, Settings

ACTIONS = 700
"""Actions of one sequence."""


def stamp(content, target, settings, steps):
    """A picture of one colour that follows from all that decides it."""
    weights = [(work.name, round(weight, 6)) for work, weight in zip(target.works, target.weights, strict=True)]
    decisive = (round(float(content.mean()), 5), weights, settings.size, settings.alpha, settings.brush, steps)
    colour = hashlib.sha256(repr(decisive).encode()).digest()[:3]
    return torch.tensor(list(colour), dtype=torch.float32).div(255).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)


class Stepwise(OneShot):
    """A run that makes a step whenever it is told to."""

    tickets = threading.Semaphore(0)

    @property
    def total_steps(self):
        return self.settings.steps

    @property
    def finished(self):
        return len(self.history) == self.total_steps

    @property
    def writer(self):
        """Writes a film of one pixel, the colour of the picture so far."""
        data = b"GIF" + bytes(self.image[0, :, 0, 0].mul(255).round().int().tolist())
        return lambda path, metadata: path.write_bytes(data)

    def paint(self, content):
        return content

    def __iter__(self):
        while not self.finished:
            while not self.tickets.acquire(timeout=0.001):
                progress.check()
            made = len(self.history) + 1
            self.image = stamp(self.content, self.target, self.settings, made)
            self.history.append({"total": 1 / made, "style": 1 / made, "content": 0.5})
            yield Iterate(made, made, self.settings.size, self.history[-1], 0.0, self.image, lambda picture: picture)


class Stamps(Method):
    name = "stamps"
    card = methods.Card("Stamps", "a colour that follows from the request", "none")
    suffixes = (".gif",)
    ignores = tuple(
        name for name in Settings.__dataclass_fields__ if name not in ("size", "alpha", "brush", "steps", "method", "init")
    )

    def begin(self, content, target, encoder, settings):
        return Stepwise(content, target, encoder, settings)


def settle(running=False):
    """Wait until works are measured and, unless a run is at work, its last words are said."""
    names = {"measuring", "film"} if running else {"measuring", "film", "transfer"}
    until(lambda: not any(thread.name in names for thread in threading.enumerate()))


class User:
    """Somebody at a panel, who does anything at any time."""

    def __init__(self, seed, folders):
        self.random = random.Random(seed)
        self.contents = [str(path) for path in sorted(folders[0].glob("*.png"))[:2]]
        self.folders = [str(folder) for folder in folders]
        settings = Settings(method="stamps", size=64, steps=4, plateau=0)
        choice = Choice(content=self.contents[0], corpus=self.folders[0], target="whole", preview="", settings=settings)
        self.exploration = Exploration(choice)
        self.panel = TransferPanel(self.exploration)
        self.painted = {}  # key of a choice -> steps of its latest run
        self.code = ""  # on show

    @property
    def runner(self):
        return self.exploration.runner

    def act(self):
        """Do something, wait for what it sets off, and return its name."""
        actions = [name for name in dir(self) if name.startswith("do_")]
        name = self.random.choice(actions)
        getattr(self, name)()
        self.follow()
        return name

    def follow(self):
        """Wait for what the last action sets off, and note what is painted."""
        settle(self.runner.running)
        if self.runner.running:
            self.panel.refresh()  # as the run does five times a second
        if self.runner.present is not None:
            self.painted[self.runner.choice.key] = len(self.runner.present.losses)

    def press(self, name, **late):
        """Press a button of the page, where sliders may stand elsewhere than the kernel has heard."""
        known = {name: control.value for name, control in self.panel._named.items() if isinstance(control, SLIDERS)}
        able = name in self.panel.buttons.enabled
        self.panel.buttons.receive({"press": name, "values": known | late})
        return able

    def do_move_tau(self):
        self.panel.tau.value = 10 ** self.random.choice([-2, -1, 0.0125])

    def do_move_alpha(self):
        self.panel.alpha.value = self.random.choice([0.01, 0.1, 1.0])

    def do_move_brush(self):
        self.panel.brush.value = self.random.choice([0.5, 1.0])

    def do_choose_a_target(self):
        self.panel.target.value = self.random.choice(["whole", "whole", "single", "blend", "nearest"])

    def do_choose_a_method_that_refuses(self):
        self.panel.init.value = "noise"
        self.panel.init.value = "content"

    def do_choose_a_genre(self):
        self.panel.genre.value = self.random.choice([value for _, value in self.panel.genre.options])

    def do_type_a_content(self):
        self.panel.content.value = self.random.choice([*self.contents, "no-such-file.jpg", "", f"'{self.contents[1]}'"])

    def do_type_a_corpus(self):
        self.panel.corpus.value = self.random.choice([*self.folders, "no-such-folder", self.contents[0]])

    def do_type_an_encoder(self):
        self.panel.encoder.value = self.random.choice(["embedded", "embeded"])

    def do_press_a_content(self):
        self.panel._pickers["content"].receive({"key": self.random.choice(self.contents), "action": "choose"})

    def do_press_a_painting(self):
        gallery = self.random.choice([self.panel.strip.gallery, self.panel.strip.offered])
        if gallery.items:
            key = self.random.choice(gallery.items)["key"]
            action = self.random.choice(["choose"] if gallery is self.panel.strip.offered else ["pin", "pin", "out"])
            gallery.receive({"key": key, "action": action})

    def do_drag_a_weight(self):
        if items := self.panel.strip.gallery.items:
            self.panel.strip.gallery.receive({"key": self.random.choice(items)["key"], "weight": self.random.random()})

    def do_take_all_works_again(self):
        self.panel.strip.back.click()

    def do_press_run(self):
        alpha = self.random.choice([0.01, 0.1, 1.0])
        before = self.runner.number
        if self.press("run", alpha=alpha) and self.runner.number > before:
            assert self.runner.choice.settings.alpha == alpha  # the last value of the slider

    do_press_run_again = do_press_run

    def do_press_stop(self):
        self.press("stop")
        self.exploration.wait(PATIENCE if not self.runner.running or self.runner._stop.is_set() else 0)

    def do_press_resume(self):
        number = self.runner.number
        if self.press("resume"):
            assert self.runner.number == number and self.runner.choice.key == self.exploration.choice.key

    def do_step(self):
        if self.runner.running:
            made = len(self.runner.losses)
            Stepwise.tickets.release()
            until(lambda: len(self.runner.losses) > made or not self.runner.running)
            self.exploration.wait(PATIENCE if len(self.runner.losses) == self.runner.total_steps else 0)

    do_step_again = do_another_step = do_step

    def do_open_a_result(self):
        if items := self.panel.kept.items:
            self.panel.kept.receive({"key": self.random.choice(items)["key"], "action": "choose"})

    do_open_another_result = do_open_a_result

    def do_ask_for_the_film(self):
        self.panel.film.buttons.press("film")

    def do_copy(self):
        self.panel.copying.receive({"make": self.random.choice(["Copy as code", "Copy as papermill"])})

    def check(self):
        """All parts of the panel tell of the present choice."""
        panel, exploration = self.panel, self.exploration
        choice, runner = exploration.choice, exploration.runner
        # controls
        for name, control in panel._named.items():
            value = panel._value(name)
            if name in panel.wrong:
                assert name in TYPED and panel.notes[name].value and "run" not in panel.buttons.enabled
            elif isinstance(control, LogSlider):
                assert not LogSlider.moved(control.value, value), (name, control.value, value)
            elif not isinstance(control, LogSlider):
                assert control.value == value, name
        assert ("run" in panel.buttons.enabled) == (not runner.running and not panel.wrong and not panel.strip.error)
        assert ("stop" in panel.buttons.enabled) == runner.running
        # strip
        if panel.strip.error:
            assert panel.strip.gallery.items == []
        else:
            target = exploration.target()
            assert panel.strip.target == target and not panel.strip.gallery.dimmed
            shown = {item["key"]: item["weight"] for item in panel.strip.gallery.items}
            assert shown == dict(zip((work.name for work in target.works), target.weights, strict=True))
            assert {item["key"] for item in panel.strip.gallery.items if item["marked"]} == set(choice.pinned) & shown.keys()
            if choice.request.pinned and choice.request.target != "nearest":
                assert len(shown) > len(choice.pinned) or exploration.target().weights == (1.0,)
        # picture, losses and captions
        steps = 0 if exploration.at_work and runner.present is None else self.painted.get(choice.key, 0)
        if steps:
            library, request = exploration.session.library, choice.request
            picture = stamp(library.content(request.content, 64), library.target(request), request.settings, steps)
            assert bytes(panel.image.data) == jpeg(picture)
            assert len(panel.curve.series["total"]) == steps
            assert choice.label in html.unescape(panel.caption.value)
            assert f"{steps} evaluation" in panel.message.value or 'role="alert"' in panel.message.value
        else:
            assert bytes(panel.image.data) == _content_cover(choice.content, 420) and not panel.curve.series
            assert panel.progress.value == 0 and "not painted" in panel.image.alt
        # the film, of the picture on show
        film, shown = panel.film, exploration.shown
        assert (film.layout.display == "") == (shown is not None)
        if film.layout.display == "" and film.moving.layout.display == "":
            assert bytes(film.moving.data)[3:] == bytes(shown.picture[0, :, 0, 0].mul(255).round().int().tolist())
            assert film.made.key == (shown.number, len(shown.losses)) and "film" not in film.buttons.enabled
        elif shown is not None:
            assert ("film" in film.buttons.enabled) == (not runner.running)
        resumable = runner.resumable and runner.choice.key == choice.key
        assert ("resume" in panel.buttons.enabled) == (resumable and not panel.wrong and not panel.strip.error)
        # results, one for each run, with the picture that it has now
        assert [kept.number for kept in runner.kept] == sorted({kept.number for kept in runner.kept})
        keys = [item["key"] for item in panel.kept.items]
        assert keys[: len(runner.kept)] == [f"{kept.number}-{len(kept.losses)}" for kept in runner.kept]
        for item, kept in zip(panel.kept.items, runner.kept, strict=False):
            assert not item["marked"] or kept.choice.key == choice.key
        # code
        if panel.copying.text and panel.copying.sound:
            assert panel.copying.text == exploration.code() or panel.copying.text == exploration.command()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_parts_tell_of_the_present_choice_whatever_is_done(seed, two_corpora, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "stamps", Stamps())
    user = User(seed, two_corpora)
    settle()
    done = []
    began = time.monotonic()
    try:
        for _ in range(ACTIONS):
            done.append(user.act())
            try:
                user.check()
            except AssertionError as error:
                raise AssertionError(f"after {done[-12:]}") from error
    finally:
        user.exploration.stop(PATIENCE)
        settle()
    print(f"{time.monotonic() - began:.1f} s")
    assert len(user.runner.kept) > 5 and len({kept.choice.key for kept in user.runner.kept}) > 3  # it was not all refusals


def test_a_result_is_shown_again_when_its_settings_are_chosen_again(two_corpora, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "stamps", Stamps())
    user = User(0, two_corpora)
    settle()
    user.press("run")
    for _ in range(4):
        user.do_step()
    until(lambda: user.panel.kept.items and "done" in user.panel.message.value)
    picture = bytes(user.panel.image.data)
    user.panel.alpha.value = 1.0
    assert "not painted" in user.panel.image.alt and not user.panel.curve.series and "done" not in user.panel.message.value
    with pytest.raises(UsageError, match="open its result first"):
        user.exploration.resume()
    user.panel.kept.receive({"key": user.panel.kept.items[0]["key"], "action": "choose"})
    assert bytes(user.panel.image.data) == picture and user.exploration.choice.key == user.runner.kept[0].choice.key
