"""The live preview of the lab: what a trained network makes of a choice, and a run that starts from it."""

import json
import shlex
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from waiting import PATIENCE, until

from workbench import images, inputs, methods, runs, targets
from workbench.corpora import Work
from workbench.errors import UsageError
from workbench.generative import artist, trained
from workbench.lab.choice import Choice
from workbench.lab.exploration import Exploration
from workbench.lab.panel import TransferPanel
from workbench.lab.strip import WorksStrip
from workbench.methods import Method, OneShot, Request
from workbench.transfer import Settings, Transfer

SMALL = Settings(method="gram", size=64, steps=4, plateau=0)


@pytest.fixture
def exploration(two_styles, network):
    made = Exploration(Choice(corpus=str(two_styles), target="blend", preview=str(network), settings=SMALL))
    yield made
    made.stop(PATIENCE)
    until(lambda: not made.measuring and not made.preview.working)  # a thread that outlives the interpreter aborts it


def previewed(exploration):
    """The preview of the present choice."""
    exploration.target()  # measured, so that the preview need not wait
    exploration.preview.refresh()
    assert exploration.preview.wait(PATIENCE)
    return exploration.preview.shown


class Slow(Method):
    """A method that paints when it is told to."""

    name = "slow"
    card = methods.Card("Slow", "waits", "none")
    has_steps = False

    def __init__(self):
        self.begun, self.go, self.painted = threading.Event(), threading.Event(), []

    def begin(self, content, target, encoder, settings):
        method = self

        class Waiting(OneShot):
            def paint(self, content):
                method.painted.append(target.weights)
                method.begun.set()
                assert method.go.wait(PATIENCE)
                return content

        return Waiting(content, target, encoder, settings)


class TestMixtures:
    """A code of any weights from the works' own statistics."""

    def test_the_marginals_of_a_mixture_are_those_of_its_pooled_moments(self, exploration, encoder):
        target = exploration.target()
        found = artist.marginals_of(target, encoder, 64)
        expected = artist.marginals(targets.moments(target, encoder, 64, encoder.style_layers))
        assert list(found) == list(expected) and len(target.works) > 3
        for layer in found:
            torch.testing.assert_close(found[layer], expected[layer], rtol=1e-4, atol=1e-6)

    def test_other_weights_read_no_painting(self, exploration, monkeypatch):
        before = previewed(exploration)
        exploration.change(tau=10)
        exploration.target()
        monkeypatch.setattr(Work, "load", lambda *_: 1 / 0)
        after = previewed(exploration)
        assert not exploration.preview.error and (after.picture - before.picture).abs().max() > 1e-4


class TestPreview:
    """Which picture is shown, and when."""

    @pytest.mark.parametrize(
        "changes", [{}, {"tau": 3.0}, {"target": "whole"}, {"pinned": ("work-02.png",)}, {"strength": 0.5}]
    )
    def test_it_is_what_the_network_paints_as_a_method(self, exploration, network, changes):
        exploration.change(**changes)
        shown = previewed(exploration)
        request = exploration.choice.request
        expected = methods.get(str(network)).stylise(replace(request, settings=replace(request.settings, method=str(network))))
        assert torch.equal(shown.picture, expected.image)
        assert shown.line.startswith("preview by the network nobody, ") and not exploration.kept

    def test_it_is_no_larger_than_a_preview_need_be(self, exploration):
        exploration.change(size=2048)
        assert max(previewed(exploration).picture.shape) == 384

    def test_a_network_of_the_package_is_found_by_the_works(self, exploration, network, monkeypatch):
        exploration.change(preview="artist")
        monkeypatch.setattr(trained, "SHIPPED", network.parent)
        assert previewed(exploration).name == "nobody"

    def test_where_no_network_knows_the_works_there_is_none(self, exploration, network, portraits, monkeypatch, tmp_path):
        monkeypatch.setattr(trained, "SHIPPED", tmp_path)
        assert previewed(exploration) is not None
        exploration.change(preview="artist")
        assert previewed(exploration) is None and exploration.preview.error == ""
        exploration.change(preview=str(network), target="single", single="sitter.png", corpus=str(portraits.root))
        assert previewed(exploration) is None and exploration.preview.error == ""

    def test_in_place_of_a_barycentre_it_shows_the_mean_and_says_so(self, exploration):
        mean = previewed(exploration)
        exploration.change(target="blend/barycentre")
        shown = previewed(exploration)
        assert shown is not mean and torch.equal(shown.picture, mean.picture)
        assert shown.line.startswith("preview by the network nobody, after the mean, not the barycentre, ")
        panel = TransferPanel(exploration)
        until(lambda: "after the mean, not the barycentre" in panel.caption.value)

    @pytest.mark.parametrize("changes", [{"target": "blend/softmin"}, {"colour": "content"}, {"preview": ""}])
    def test_a_choice_that_the_network_cannot_follow_has_none(self, exploration, changes):
        assert previewed(exploration) is not None
        exploration.change(**changes)
        assert previewed(exploration) is None and exploration.preview.error == ""

    def test_only_the_latest_choice_is_painted(self, exploration, monkeypatch):
        slow = Slow()
        monkeypatch.setitem(methods.METHODS, "slow", slow)
        exploration.target()
        exploration.change(preview="slow")
        exploration.preview.refresh()
        assert slow.begun.wait(PATIENCE)
        for tau in (0.2, 0.4, 0.8, 1.6, 3.2):
            exploration.change(tau=tau)
            exploration.preview.refresh()
        assert len(slow.painted) == 1  # and nobody has waited
        slow.go.set()
        assert exploration.preview.wait(PATIENCE)
        assert len(slow.painted) == 2 and slow.painted[1] == exploration.target().weights
        assert exploration.preview.shown.choice.tau == 3.2

    def test_the_same_choice_is_not_painted_twice(self, exploration):
        first = previewed(exploration)
        exploration.change(steps=9, alpha=2.0)  # which a network does not heed
        assert previewed(exploration) is first

    def test_a_preview_that_is_no_longer_wanted_is_not_shown(self, exploration, monkeypatch):
        slow = Slow()
        monkeypatch.setitem(methods.METHODS, "slow", slow)
        exploration.target()
        exploration.change(preview="slow")
        exploration.preview.refresh()
        assert slow.begun.wait(PATIENCE)
        exploration.change(preview="")
        exploration.preview.refresh()
        slow.go.set()
        assert exploration.preview.wait(PATIENCE) and exploration.preview.shown is None

    def test_while_a_run_works_nothing_is_previewed(self, exploration):
        exploration.change(steps=20_000)
        exploration.target()
        exploration.start()
        until(lambda: exploration.losses)
        exploration.change(tau=1)
        exploration.preview.refresh()
        assert not exploration.preview.working and exploration.preview.shown is None

    def test_a_run_does_not_wait_for_the_works_of_a_preview(self, exploration, monkeypatch):
        exploration.target()
        asked, go, found = threading.Event(), threading.Event(), exploration.session.target_soon

        def late():
            asked.set()
            go.wait()  # longer than the wait below
            return found()

        monkeypatch.setattr(exploration.session, "target_soon", late)
        refreshing = threading.Thread(target=exploration.preview.refresh)
        refreshing.start()
        assert asked.wait(PATIENCE)
        stopping = threading.Thread(target=exploration.preview.stop)
        stopping.start()
        stopping.join(PATIENCE)
        waited = stopping.is_alive()
        go.set()
        refreshing.join(PATIENCE)
        assert not waited
        assert not exploration.preview.working and exploration.preview.shown is None

    def test_a_run_ends_a_preview_that_measures_works(self, exploration, monkeypatch):
        exploration.target()
        artist._of_work.cache_clear()
        measured, go = [], threading.Event()
        moments = targets.moments

        def slowly(target, *given, **options):
            if threading.current_thread().name == "preview":
                measured.append(target)
                assert go.wait(PATIENCE)
            return moments(target, *given, **options)

        monkeypatch.setattr(targets, "moments", slowly)
        exploration.preview.refresh()
        until(lambda: measured)
        exploration.start()
        go.set()
        assert exploration.preview.wait(PATIENCE) and exploration.wait(PATIENCE)
        assert len(measured) == 1 and exploration.preview.shown is None and exploration.kept[0].complete
        assert previewed(exploration) is not None and not exploration.preview.error

    @pytest.mark.parametrize("preview", ["gram", "no-such-network.safetensors", "artst"])
    def test_what_cannot_preview_is_refused(self, exploration, preview):
        with pytest.raises(UsageError):
            exploration.change(preview=preview)


class TestPanel:
    """The picture follows the controls."""

    def test_a_preview_that_ends_before_the_panel_is_made_is_shown(self, exploration, monkeypatch):
        exploration.target()
        arranged = TransferPanel._arranged
        monkeypatch.setattr(TransferPanel, "_arranged", lambda panel: exploration.preview.wait(PATIENCE) and arranged(panel))
        panel = TransferPanel(exploration)
        until(lambda: "preview by the network nobody" in panel.caption.value)

    def test_moving_tau_changes_the_picture_and_a_run_takes_its_place(self, exploration):
        exploration.target()
        panel = TransferPanel(exploration)
        until(lambda: "preview by the network nobody" in panel.caption.value and bool(panel.image.data))
        first = bytes(panel.image.data)
        until(lambda: panel.buttons.enabled == ["run"])
        assert first.startswith(b"\xff\xd8") and panel.image.alt.startswith("preview by") and not panel.kept.items
        panel.tau.value = 10.0
        until(lambda: bytes(panel.image.data) != first)
        panel.buttons.press("run")
        until(lambda: panel.kept.items and panel.buttons.enabled == ["run"])
        until(lambda: panel.image.alt.startswith("Picture so far"))
        assert exploration.choice.label in panel.caption.value and panel.properly.layout.display == "none"
        panel.tau.value = 0.02  # the next choice
        until(lambda: panel.image.alt.startswith("preview by"))
        assert len(exploration.kept) == 1
        panel.kept.receive({"key": panel.kept.items[0]["key"], "action": "choose"})
        assert panel.image.alt.startswith("Picture so far") and exploration.choice.tau == 10

    def test_without_a_network_the_panel_is_as_it_was(self, exploration, monkeypatch, tmp_path):
        monkeypatch.setattr(trained, "SHIPPED", tmp_path)
        exploration.change(preview="artist")
        exploration.target()
        panel = TransferPanel(exploration)
        panel.tau.value = 1.0
        assert exploration.preview.wait(PATIENCE)
        assert panel.image.alt.startswith("The content, not painted")
        assert "not painted with these settings yet" in panel.caption.value and panel.properly.layout.display == "none"

    def test_a_network_that_fails_is_reported_in_a_line_and_the_panel_lives(self, exploration, network, tmp_path):
        with safe_open(network, framework="pt") as file:
            header = json.loads(file.metadata()["header"])
        broken = tmp_path / "broken.safetensors"
        save_file(load_file(network), broken, metadata={"header": json.dumps(header | {"encoder_sha256": "0"})})
        exploration.target()
        panel = TransferPanel(exploration)
        until(lambda: panel.properly.layout.display == "")
        panel.preview.value = str(broken)
        until(lambda: "other weights of the encoder" in panel.caption.value)
        assert "\n" not in panel.caption.value and panel.properly.layout.display == "none"
        until(lambda: not exploration.preview.working)
        exploration.change(steps=9)  # which the network does not heed: nothing is tried again
        assert "other weights" in exploration.preview.error and not exploration.preview.working
        (tmp_path / "cut.safetensors").write_bytes(network.read_bytes()[:1000])
        panel.preview.value = str(tmp_path / "cut.safetensors")
        assert "cannot be read" in panel.notes["preview"].value and exploration.choice.preview == str(broken)
        panel.preview.value = str(network)
        until(lambda: "preview by" in panel.caption.value)

    def test_paint_it_properly_starts_the_optimisation_from_the_preview(self, exploration):
        exploration.target()
        panel = TransferPanel(exploration)
        until(lambda: panel.properly.layout.display == "")
        until(lambda: panel.properly.enabled)
        panel.properly.press("properly")
        until(lambda: exploration.kept and not exploration.running)
        (kept,) = exploration.kept
        assert kept.label.endswith(": blend, gram, τ 0.1, 64 px, from nobody") and exploration.boundaries == ((0, "64 px"),)
        assert panel.init.value == exploration.choice.preview
        namespace = {}
        exec(exploration.code(), namespace)
        assert torch.equal(namespace["result"].image, kept.picture)
        words = shlex.split(exploration.command())
        given = [words[i + 1 : i + 3] for i, word in enumerate(words) if word == "-p"]
        resolved = runs.check(
            Path(__file__).parents[1] / "notebooks/05_comparison.ipynb", {k: yaml.safe_load(v) for k, v in given}
        )
        assert resolved["init"] == exploration.choice.preview
        exploration.change(method="strokes")  # which start from the content always
        assert panel.properly.layout.display == "none"
        with pytest.raises(UsageError, match="does not go on from another picture"):
            exploration.paint_properly()
        exploration.change(method="gram")
        panel.colour.value = "content"  # which the network cannot do
        assert (exploration.choice.settings.colour, panel.init.value) == ("content", "content")


class TestStart:
    """A transfer that begins with a picture."""

    @pytest.fixture
    def given(self, corpus, encoder):
        content = images.resize(inputs.content("grace_hopper"), 200)
        return content, targets.single(corpus.works[0]), encoder

    @pytest.mark.parametrize("method", ["neighbours", "gram"])
    def test_it_begins_there_at_full_size(self, given, method):
        settings = Settings(method=method, size=384, steps=5, init="a picture", plateau=0)
        start = images.resize(1 - given[0], 96)
        transfer = Transfer(*given, settings, start=start)
        assert {stage.size for stage in transfer.stages} == {384} and max(transfer.image.shape) == 384
        assert torch.equal(transfer.image, images.resize(start, tuple(transfer.image.shape[-2:])).clamp(0, 1))
        plain = Transfer(*given, replace(settings, init="content"))
        assert transfer.total_steps < plain.total_steps

    def test_it_decides_the_result_and_a_stopped_one_goes_on_to_the_same_bytes(self, given, tmp_path):
        settings = Settings(method="gram", size=64, steps=6, init="a picture", plateau=0)
        start = 1 - images.resize(given[0], 64)
        whole = Transfer(*given, settings, start=start).run().image
        assert (whole - Transfer(*given, replace(settings, init="content")).run().image).abs().max() > 0.01
        stopped = Transfer(*given, settings, start=start)
        for iterate in stopped:
            if iterate.step == 3:
                break
        stopped.checkpoint(tmp_path / "state.safetensors")
        resumed = Transfer(*given, settings, start=start.clone()).resume(tmp_path / "state.safetensors")
        assert torch.equal(resumed.run().image, whole)
        with pytest.raises(UsageError, match="another transfer"):
            Transfer(*given, settings, start=start * 0.9).resume(tmp_path / "state.safetensors")

    def test_a_start_and_the_settings_must_agree(self, given):
        with pytest.raises(UsageError, match="init = 'style': choose content, noise, or a method"):
            Transfer(*given, Settings(method="gram", size=64, init="style"))
        with pytest.raises(UsageError, match="init = 'content'"):
            Transfer(*given, Settings(method="gram", size=64), start=given[0])

    @pytest.mark.parametrize(
        ("init", "changes", "message"),
        [
            ("style", {}, "method 'style'"),
            ("gram", {}, "init = 'gram': choose content, noise, or a method that paints at once"),
            ("artist", {"target": "regions"}, "not after regions"),
            ("colours", {"combine": "barycentre"}, "not with colours"),
        ],
    )
    def test_a_request_refuses_what_paints_no_start(self, init, changes, message):
        with pytest.raises(UsageError, match=message):
            Request(**changes, settings=Settings(method="gram", init=init))


class TestWeights:
    """Weights by dragging."""

    def test_a_work_takes_its_share_and_the_others_keep_their_proportions(self, exploration):
        exploration.change(tau=0.5)
        exploration.target()
        strip = WorksStrip(exploration)
        before = {item["key"]: item["weight"] for item in strip.gallery.items}
        name = list(before)[3]
        strip.gallery.receive({"key": name, "weight": 0.6})
        until(lambda: strip.target.name == "by-hand")
        now = {item["key"]: item["weight"] for item in strip.gallery.items}
        assert list(now) == list(before)  # none moves under the mouse
        assert now[name] == pytest.approx(0.6) and sum(now.values()) == pytest.approx(1)
        others = [key for key in before if key != name]
        assert [now[k] / before[k] for k in others] == pytest.approx([0.4 / (1 - before[name])] * len(others))
        strip.gallery.receive({"key": name, "weight": 0.0})
        until(lambda: strip.gallery.items[3]["weight"] == pytest.approx(0.001))
        assert exploration.choice.request.target == "by-hand" and dict(exploration.choice.request.weights).keys() == now.keys()
        with pytest.raises(UsageError, match="weighted works: copy the code"):
            exploration.command()

    def test_further_weights_take_no_thread(self, exploration):
        exploration.target()
        strip = WorksStrip(exploration)
        first, second = [item["key"] for item in strip.gallery.items][:2]
        strip.weigh(first, 0.2)
        until(lambda: strip.target.name == "by-hand" and not exploration.measuring)
        strip.weigh(second, 0.7)
        assert not exploration.measuring and strip.target.works[0].name == second

    @pytest.mark.parametrize("changes", [{"tau": 1.0}, {"target": "whole"}, {"genre": "portrait"}])
    def test_another_way_to_choose_takes_their_place(self, exploration, changes):
        exploration.change(weights=(("work-02.png", 0.25), ("work-03.png", 0.75)))
        assert [work.name for work in exploration.target().works] == ["work-03.png", "work-02.png"]
        exploration.change(**changes)
        assert exploration.choice.weights == ()

    def test_a_work_that_is_left_out_loses_its_weight(self, exploration):
        exploration.change(weights=(("work-02.png", 0.5), ("work-03.png", 0.5)))
        WorksStrip(exploration).leave_out("work-03.png")
        assert [(work.name, exploration.target().weights) for work in exploration.target().works] == [("work-02.png", (1.0,))]
