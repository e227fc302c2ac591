"""The training loop: closed forms of its average and its rate, and what a stop, a fault or a full disk leaves."""

import json
import math
import multiprocessing
import os
import socket
import sys

import accelerate
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from waiting import PATIENCE

from workbench import encoders, storage
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.generative import artist, families, trained
from workbench.generative.training import AVERAGED_OVER, LAST_RATE, WARM_UP, Diverged, Family, Plan, Training, previous

TINY = {"crop": 48, "batch": 1, "widths": (4, 6, 8), "blocks": 1, "size": 64}


class Line(Family):
    """Learns the line y = 2 x + 1, with a counter and a pool beside the weights; `poison` makes one loss infinite."""

    name = "line"

    def __init__(self, *, poison=0, identity="a"):
        torch.manual_seed(0)
        network = nn.Linear(1, 1)
        network.register_buffer("count", torch.tensor(0))
        network.register_buffer("scale", torch.tensor(1.0))
        self.players = {"painter": network, "rival": nn.Linear(1, 1)}
        self.rates = {"painter": 0.1, "rival": 0.01}
        self.identity = identity
        self.poison = poison
        self.seen = torch.zeros(3)

    def losses(self, draw):
        x = torch.randn(8, 1, generator=draw)
        self.painter.count += 1
        self.seen = torch.cat([self.seen[1:], x[0]])
        for name, player in self.players.items():
            loss = (player(x) - 2 * x - 1).square().mean() + 0 * self.seen.sum()
            yield name, loss * (math.inf if name == "painter" and int(self.painter.count) == self.poison else 1)

    def measure(self, painter):
        return {"error": float((painter.weight - 2).abs() + (painter.bias - 1).abs())}

    def state(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = state["seen"]

    def header(self):
        return {"architecture": {}}


def finished(training):
    for _ in training:
        pass
    return training


def optimisers(training):
    """The state of every parameter, for each optimiser."""
    return [[o.state[p] for p in o.param_groups[0]["params"]] for o in training.optimisers.values()]


def numbers(training):
    """All that a training has come to, but for its times."""
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in training.history]
    players = [value for player in training.family.players.values() for value in player.state_dict().values()]
    moments = [value for states in optimisers(training) for state in states for _, value in sorted(state.items())]
    return history, [
        *players,
        *moments,
        *training.average.values(),
        training.draw.get_state(),
        *training.family.state().values(),
    ]


def same(a, b):
    (history, tensors), (others, more) = numbers(a), numbers(b)
    return history == others and len(tensors) == len(more) and all(map(torch.equal, tensors, more))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four works, photographs, one work, and grey works."""
    draw, found = np.random.default_rng(0), {}
    for name, count, channels in (("works", 4, 3), ("photographs", 3, 3), ("one", 1, 3), ("grey", 4, 1)):
        folder = tmp_path_factory.mktemp(name)
        for k in range(count):
            pixels = draw.integers(0, 256, (6, 8, channels), dtype=np.uint8).repeat(
                4 - channels if channels == 3 else 3, axis=2
            )
            Image.fromarray(pixels).resize((72, 60)).save(folder / f"{k}.png")
        found[name] = tuple(ingest(folder))
    return found


@pytest.fixture(scope="module")
def floor():
    return encoders.load("random", device="cpu", precision="float32")


def painter(pictures, floor, works="works", **options):
    return families.family(
        "artist", pictures[works], pictures["photographs"], encoder=floor, options={**TINY, **options}, seed=1
    )


class TestLoop:
    def test_it_learns_and_the_same_seed_gives_the_same_numbers(self):
        first, again = (finished(Training(Line(), Plan(steps=120, seed=3, report_every=40))) for _ in range(2))
        assert same(first, again)
        assert not same(first, finished(Training(Line(), Plan(steps=120, seed=4, report_every=40))))
        assert first.history[-1]["error"] < 0.5 * first.history[0]["error"]
        assert [record["step"] for record in first.history] == [0, 40, 80, 120]
        assert first.history[1].keys() == {"step", "seconds", "loss painter", "loss rival", "error"}

    def test_the_average_of_the_weights_is_that_of_its_formula(self):
        training, seen = Training(Line(), Plan(steps=40)), []
        training.after_step = lambda: seen.append(training.family.painter.weight.item())
        expected = training.average["weight"].item()
        finished(training)
        for step, weight in enumerate(seen, 1):
            decay = min(AVERAGED_OVER, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weight
        assert training.average["weight"].item() == pytest.approx(expected, rel=1e-5)
        assert training.average["count"] == training.family.painter.count == 40  # a count has no mean
        assert training.average["scale"] == 1

    def test_the_rate_rises_and_falls_along_a_cosine(self):
        training = Training(Line(), Plan(steps=200, rate=0.5))
        rates = []
        training.after_step = lambda: rates.append(training.optimisers["painter"].param_groups[0]["lr"])
        finished(training)
        highest = 0.5 * 0.1
        assert rates[0] == pytest.approx(highest * LAST_RATE)
        assert np.argmax(rates) == WARM_UP * 200 and max(rates) == pytest.approx(highest)
        middle = round(200 * (1 + WARM_UP) / 2)
        assert rates[middle] == pytest.approx(highest * (1 + LAST_RATE) / 2, rel=0.01)
        assert rates[-1] == pytest.approx(highest * LAST_RATE, rel=0.02)
        assert all(np.diff(rates[1:5]) > 0) and all(np.diff(rates[4:]) < 0)

    def test_a_training_ends_with_its_minutes_and_goes_on_where_it_is_given_more(self, tmp_path):
        short = finished(Training(Line(), Plan(minutes=0.002, report_every=7)))
        assert short.seconds >= 0.12 and short.history[-1]["step"] == short.step
        short.checkpoint(tmp_path / "state.safetensors")
        longer = Training(Line(), Plan(minutes=0.004, report_every=7))
        longer.resume(tmp_path / "state.safetensors")
        assert 0.4 < longer.done < 1
        assert finished(longer).step > short.step

    @pytest.mark.parametrize(
        ("plan", "says"),
        [
            ({}, "steps or minutes"),
            ({"steps": 0}, "steps = 0"),
            ({"minutes": -1.0}, "minutes"),
            ({"minutes": math.nan}, "minutes"),
            ({"steps": 1, "rate": 0.0}, "rate"),
            ({"steps": 1, "seed": -1}, "seed"),
            ({"steps": 1, "report_every": 0}, "report_every"),
        ],
    )
    def test_plans_that_cannot_be_are_refused(self, plan, says):
        with pytest.raises(UsageError, match=says):
            Plan(**plan)


class TestResuming:
    @pytest.mark.parametrize("after", [1, 5, 7, 11, 12])
    def test_it_is_as_if_there_had_been_no_stop(self, tmp_path, after):
        """Wherever it was: amid two records, at one, and at the end."""
        whole = finished(Training(Line(), Plan(steps=12, report_every=5)))
        broken, path = Training(Line(), Plan(steps=12, report_every=5)), tmp_path / "state.safetensors"
        broken.after_step = lambda: broken.step == after and broken.checkpoint(path)
        finished(broken)
        going_on = Training(Line(), Plan(steps=12, report_every=5))
        assert going_on.resume(path) == path and going_on.step == after
        assert same(finished(going_on), whole)

    def test_a_real_network_goes_on_to_the_same_bits(self, pictures, floor, tmp_path):
        """Its weights lie in memory as convolutions like them, and their optimiser's tensors likewise."""
        whole = Training(painter(pictures, floor), Plan(steps=6, report_every=3))
        whole.after_step = lambda: whole.step == 4 and whole.checkpoint(tmp_path / "state.safetensors")
        finished(whole)
        going_on = Training(painter(pictures, floor), Plan(steps=6, report_every=3))
        going_on.resume(tmp_path / "state.safetensors")
        for states, others in zip(optimisers(whole), optimisers(going_on), strict=True):
            for state, other in zip(states, others, strict=True):
                assert {name: value.stride() for name, value in state.items()} == {k: v.stride() for k, v in other.items()}
        assert same(finished(going_on), whole)

    @pytest.mark.parametrize("damage", ["gone", "cut"])
    def test_where_the_last_checkpoint_is_lost_the_one_before_is_read(self, tmp_path, damage):
        """Gone, as between the two renames; or cut short."""
        training, path = Training(Line(), Plan(steps=9)), tmp_path / "state.safetensors"
        training.after_step = lambda: training.step in (3, 6) and training.checkpoint(path)
        finished(training)
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-20])
        going_on = Training(Line(), Plan(steps=9))
        assert going_on.resume(path) == previous(path) and going_on.step == 3
        assert same(finished(going_on), training)
        previous(path).unlink()
        with pytest.raises(WorkbenchError, match="cannot be read as a checkpoint"):
            Training(Line(), Plan(steps=9)).resume(path)

    @pytest.mark.parametrize(("identity", "plan"), [("b", {}), ("a", {"steps": 8}), ("a", {"seed": 1}), ("a", {"rate": 2.0})])
    def test_the_state_of_another_training_is_refused(self, tmp_path, identity, plan):
        path = Training(Line(), Plan(steps=9)).checkpoint(tmp_path / "state.safetensors")
        differing = "".join(f"{name} = .* and not {value}" for name, value in plan.items()) or "other pictures"
        with pytest.raises(UsageError, match=f"another training, which has .*{differing}.*: give the same"):
            Training(Line(identity=identity), Plan(**{"steps": 9} | plan)).resume(path)

    def test_a_full_disk_keeps_the_checkpoints_that_are_there(self, tmp_path, monkeypatch):
        training, path = Training(Line(), Plan(steps=9)), tmp_path / "state.safetensors"
        training.checkpoint(path)
        before = path.read_bytes()

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("workbench.generative.training.save_file", full)
        with pytest.raises(WorkbenchError, match="No space left"):
            training.checkpoint(path)
        assert [found.name for found in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


class TestFiles:
    def test_a_loss_that_is_not_finite_keeps_the_weights_before_it(self, tmp_path):
        out, training = tmp_path / "net.safetensors", Training(Line(poison=7), Plan(steps=20, report_every=4))
        says = r"painter .* step 7: lower --rate, or .* weights of step 6 are in .*net.checkpoint"
        with pytest.raises(Diverged, match=says) as error:
            trained.train(training, out)
        assert "\n" not in str(error.value) and not out.exists()
        state, tensors = storage.read_checkpoint(trained.checkpoint_path(out))
        good = Training(Line(), Plan(steps=20, report_every=4))
        good.after_step = lambda: good.step == 6 and good.checkpoint(tmp_path / "good.safetensors")
        finished(good)
        expected = storage.read_checkpoint(tmp_path / "good.safetensors")[1]
        learnt = [name for name in tensors if name.startswith(("player", "average")) and not name.endswith("count")]
        assert learnt and all(torch.equal(tensors[name], expected[name]) for name in learnt)
        assert json.loads(state["state"])["step"] == 6
        assert json.loads((tmp_path / "net.json").read_text())["status"].startswith("failed: the loss of painter")

    def test_a_measure_that_is_not_a_number_is_null_in_the_record(self, tmp_path):
        """JSON has no NaN: other programs refuse a file with one."""

        class Unmeasurable(Line):
            def measure(self, painter):
                return {"error": math.nan, "worst": math.inf}

        out = tmp_path / "line.safetensors"
        trained.train(Training(Unmeasurable(), Plan(steps=2)), out)
        record = json.loads(out.with_suffix(".json").read_text(), parse_constant=pytest.fail)
        assert [row["error"] for row in record["history"]] == [None] * len(record["history"]) != []

    @pytest.mark.parametrize("player", ["painter", "rival"])
    def test_of_a_step_in_which_weights_have_moved_nothing_is_kept(self, tmp_path, player):
        class Poisoned(Line):
            def losses(self, draw):
                for name, loss in super().losses(draw):
                    yield name, loss * (math.nan if name == player and int(self.painter.count) == 3 else 1)

        with pytest.raises(Diverged, match="weights of step 2 are in" if player == "painter" else "nothing was kept"):
            trained.train(Training(Poisoned(), Plan(steps=9)), tmp_path / "net.safetensors")
        assert (tmp_path / "net.checkpoint.safetensors").exists() == (player == "painter")

    def test_what_fails_before_its_first_step_leaves_nothing_to_resume(self, tmp_path):
        with pytest.raises(Diverged, match=r"step 1: .*; nothing was kept"):
            trained.train(Training(Line(poison=1), Plan(steps=9)), tmp_path / "net.safetensors")
        trained.check_free(tmp_path / "net.safetensors", resume=False)

    def test_of_two_trainings_into_one_file_the_second_is_refused(self, tmp_path):
        out, refused = tmp_path / "net.safetensors", []

        class Meeting(Line):
            def losses(self, draw):
                for resume in (False, True):
                    with pytest.raises(UsageError, match="another process is training into") as error:
                        trained.train(Training(Line(), Plan(steps=2)), out, resume=resume)
                    refused.append(error)
                with pytest.raises(UsageError, match="another process is training into"):
                    trained.check_free(out, resume=False)
                yield from super().losses(draw)

        trained.train(Training(Meeting(), Plan(steps=2)), out)
        assert len(refused) == 4 and [path.name for path in tmp_path.glob(".*")] == []
        with pytest.raises(UsageError, match="exists already"):
            trained.train(Training(Line(), Plan(steps=2)), out)

    def test_a_checkpoint_that_cannot_be_written_costs_a_warning(self, tmp_path, monkeypatch, capsys):
        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("workbench.generative.training.save_file", full)
        monkeypatch.setattr(trained, "CHECKPOINT_EVERY", 0)
        trained.train(Training(Line(), Plan(steps=3)), tmp_path / "net.safetensors")
        assert (tmp_path / "net.safetensors").exists()
        assert "No space left on device; the training goes on" in capsys.readouterr().err

    def test_however_short_the_time_a_step_is_made(self):
        assert finished(Training(Line(), Plan(minutes=1e-9))).step == 1

    @pytest.mark.parametrize("where", ["weights", "header"])
    def test_flipped_bits_are_damage_wherever_they_are(self, pictures, floor, tmp_path, where):
        path = tmp_path / "net.safetensors"
        trained.save(Training(painter(pictures, floor), Plan(steps=1)), path)
        content = bytearray(path.read_bytes())
        content[-1000 if where == "weights" else content.index(b"encoder_sha256")] ^= 1
        path.write_bytes(content)
        with pytest.raises(WorkbenchError, match="damaged"):
            trained.read(path)

    @pytest.mark.parametrize("name", ["", ".", "..", "folder/.."])
    def test_a_name_that_is_none_is_refused(self, name):
        with pytest.raises(UsageError, match="no name of a network"):
            trained.out_path(name)
        assert not trained.exists(name)

    def test_a_stop_amid_a_step_is_not_kept_as_if_it_were_whole(self, tmp_path, monkeypatch):
        """The state of the last whole step stays on disk, and is gone on from to the same numbers."""

        class Stopped(Line):
            def losses(self, draw):
                for k, (name, loss) in enumerate(super().losses(draw)):
                    if k == 1 and int(self.painter.count) == 5:
                        raise KeyboardInterrupt
                    yield name, loss

        out = tmp_path / "net.safetensors"
        training = Training(Stopped(), Plan(steps=9))
        monkeypatch.setattr(trained, "CHECKPOINT_EVERY", 0)
        with pytest.raises(KeyboardInterrupt, match="step 4; --resume goes on from step 4"):
            trained.train(training, out)
        going_on = Training(Line(), Plan(steps=9))
        going_on.resume(trained.checkpoint_path(out))
        assert same(finished(going_on), finished(Training(Line(), Plan(steps=9))))

    @pytest.mark.parametrize("works", ["one", "works", "grey"])
    def test_few_works_and_grey_ones_make_a_network_that_is_read_again(self, pictures, floor, tmp_path, works):
        training = Training(painter(pictures, floor, works), Plan(steps=2, report_every=1))
        out = tmp_path / "net.safetensors"
        sha256 = trained.train(training, out)
        found = trained.read(out)
        assert found.sha256 == sha256 and found.header["works"] == [work.sha256 for work in pictures[works]]
        picture, code = torch.rand(1, 3, 21, 34), torch.zeros(1, found.network.code.length)
        with torch.no_grad(), training.averaged():
            expected = training.family.painter(picture, code)
            assert (found.network(picture, code) - expected).abs().max() < 0.01  # float16
        assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.png", "net.safetensors"]
        assert json.loads((tmp_path / "net.json").read_text())["status"] == "complete"

    def test_numbers_beyond_float16_stay_as_they_are(self, pictures, floor, tmp_path):
        """Works that are nearly alike have a code whose directions are long."""
        training = Training(painter(pictures, floor), Plan(steps=1))
        training.average["code.basis"][0, 0] = 1e6
        trained.save(training, tmp_path / "net.safetensors")
        assert trained.read(tmp_path / "net.safetensors").network.code.basis[0, 0] == 1e6

    def test_a_file_that_was_written_again_is_read_again(self, pictures, floor, tmp_path):
        path, training = tmp_path / "net.safetensors", Training(painter(pictures, floor), Plan(steps=1))
        trained.save(training, path)
        first = trained.read(path)
        assert trained.read(path) is first
        training.average["generator.out.bias"] += 1
        sha256 = trained.save(training, path)
        assert trained.read(path).sha256 == sha256 != first.sha256

    def test_what_is_no_trained_network_is_refused_in_a_line(self, pictures, floor, tmp_path, monkeypatch):
        training = Training(painter(pictures, floor), Plan(steps=1))
        good = tmp_path / "net.safetensors"
        trained.save(training, good)

        def refused(path, says, error=WorkbenchError):
            with pytest.raises(error, match=says) as found:
                trained.read(path)
            assert "\n" not in str(found.value)

        refused(tmp_path / "gone.safetensors", "No such file")
        (tmp_path / "text.safetensors").write_text("not a network")
        refused(tmp_path / "text.safetensors", "cannot be read as a trained network")
        refused(training.checkpoint(tmp_path / "net.checkpoint.safetensors"), "training that was stopped: --resume", UsageError)
        refused(encoders.embedded.WEIGHTS, "no header", UsageError)
        header = training.family.header()
        for change, says in (
            ({"architecture": {**header["architecture"], "code": [1, 5, 3]}}, "architecture that its header names"),
            ({"architecture": {}}, "architecture that its header names"),
            ({"family": "diffusion"}, "family 'diffusion'"),
            ({"format": "2020-01"}, "another version"),
        ):
            monkeypatch.setattr(training.family, "header", lambda change=change: header | change)
            trained.save(training, tmp_path / "other.safetensors")
            refused(tmp_path / "other.safetensors", says)
        monkeypatch.setattr(training.family, "header", lambda: header | {"encoder_sha256": "0" * 64})
        trained.save(training, tmp_path / "other.safetensors")
        with pytest.raises(UsageError, match="other weights of the encoder random: train it again"):
            trained.encoder_of(trained.read(tmp_path / "other.safetensors"), torch.device("cpu"))

    def test_what_is_on_disk_is_not_written_over(self, tmp_path):
        out = tmp_path / "net.safetensors"
        with pytest.raises(UsageError, match="there is no checkpoint"):
            trained.train(Training(Line(), Plan(steps=2)), out, resume=True)
        for name in ("net.safetensors", "net.png", "net.json"):
            (tmp_path / name).write_text("of somebody's")
            with pytest.raises(UsageError, match=f"{name} exists already"):
                trained.train(Training(Line(), Plan(steps=2)), out)
            (tmp_path / name).unlink()
        Training(Line(), Plan(steps=2)).checkpoint(trained.checkpoint_path(out))
        with pytest.raises(UsageError, match="go on with --resume"):
            trained.train(Training(Line(), Plan(steps=2)), out)
        trained.train(Training(Line(), Plan(steps=2)), out, resume=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_networks_of_another_training_that_was_killed_are_not_taken_for_this_ones(tmp_path):
    """A training is killed before its first checkpoint: what it kept on its way stays."""
    out = tmp_path / "net.safetensors"

    def killed(steps):
        training = Training(Line(), Plan(steps=steps))
        training.step = 8
        trained.save(training, trained.step_path(out, 8), {"inputs": {"training": {"sha256": training.recipe}}})
        (tmp_path / "net.json").write_text('{"plan": {}, "status": "running"}')

    killed(steps=40)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"net-step000008\.safetensors is of another training, which was stopped: delete it"):
        trained.train(Training(Line(), Plan(steps=4)), out)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    killed(steps=4)
    (tmp_path / "net.png").touch()
    trained.train(Training(Line(), Plan(steps=4)), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_the_code_of_works_has_unit_variance(pictures, floor):
    family = painter(pictures, floor)
    moments = [family.moments(weights) for weights in torch.eye(4)]
    codes = torch.stack([family.network.code(m) for m in moments])
    assert codes.mean(dim=0).abs().max() < 1e-3 and (codes.std(dim=0, correction=0) - 1).abs().max() < 1e-3
    assert isinstance(family, artist.Artist)


def one_of_two(rank, port, out, told):
    """Trains in a process of its own, as `accelerate launch` would start it."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    training = Training(Line(), Plan(steps=30, report_every=10), accelerator=accelerate.Accelerator(cpu=True))
    draw = training.draw.get_state().tolist()
    sha256 = trained.train(training, out)
    weights = [p.tolist() for player in training.family.players.values() for p in player.parameters()]
    told.put((training.process, draw, weights, sha256))
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_processes_train_one_network_from_pictures_of_their_own(tmp_path):
    """Real ones: each has the weights of the other in the end, and the first alone has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    both = [context.Process(target=one_of_two, args=(k, port, tmp_path / "net.safetensors", told)) for k in (0, 1)]
    for process in both:
        process.start()
    (_, draw, weights, sha256), (_, other_draw, *others) = sorted(told.get(timeout=PATIENCE) for _ in both)
    for process in both:
        process.join(PATIENCE)
    assert [process.exitcode for process in both] == [0, 0]
    assert draw != other_draw and [weights, sha256] == others
    alone = finished(Training(Line(), Plan(steps=30, report_every=10)))
    assert weights != [p.tolist() for player in alone.family.players.values() for p in player.parameters()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


class TestBeginning:
    def test_a_training_begins_from_given_weights_and_is_then_another(self):
        plan = Plan(steps=4, report_every=4)
        first = finished(Training(Line(), plan))
        begun = Training(Line(), plan, begin=first.average)
        assert torch.equal(begun.family.painter.weight, first.average["weight"])
        assert torch.equal(begun.average["weight"], first.average["weight"])
        assert begun.recipe not in (first.recipe, Training(Line(), plan, begin=Line().painter.state_dict()).recipe)
        assert finished(begun).history[-1]["error"] < first.history[-1]["error"]

    def test_another_architecture_is_refused(self):
        with pytest.raises(UsageError, match="another architecture"):
            Training(Line(), Plan(steps=1), begin=nn.Linear(2, 1).state_dict())


@pytest.mark.parametrize(
    ("family", "option", "says"),
    [
        ("artist", "widths=16,32", "widths = .*: give three"),
        ("artist", "widths=0,0,0", "widths = .*: give numbers of 1 or more"),
        ("artist", "crop=49", "crop = 49: give a multiple of 4 px"),
        ("artist", "blocks=-1", "blocks = -1: give a number of 0 or more"),
        ("artist", "alpha=-1", "alpha = -1.0"),
        ("artist", "alpha=nan", "alpha = nan"),
        ("artist", "corp=48", "did you mean crop?"),
        ("one-sided", "batch=0", "batch = 0: give a number of 1 or more"),
        ("one-sided", "judge_width=0", "judge_width = 0"),
        ("one-sided", "judge_scales=0", "judge_scales = 0"),
        ("one-sided", "judge_scales=5", "crop = 144: give a multiple of 4 px, of 256 or more"),
        ("one-sided", "cell=0", "cell = 0"),
        ("one-sided", "cell=200", "cell = 200: give at most the 144 px"),
        ("one-sided", "second_fakes=-1", "second_fakes = -1.0"),
        ("cyclegan", "pool=0", "pool = 0"),
        ("cyclegan", "widths=", "widths"),
        ("pix2pix", "without_regions=2", "without_regions = 2.0"),
        ("pix2pix", "judge_scales=9", "discriminators need"),
        ("vae", "widths=1,2,3,4,5,6,7", "give at most 5"),
        ("vae", "latent=0", "latent = 0"),
        ("decoder", "batch=1", "batch = 1"),
        ("decoder", "widths=0", "widths"),
    ],
)
def test_options_that_no_network_can_have_are_refused_in_one_line(family, option, says):
    with pytest.raises(UsageError, match=says) as error:
        families.parsed(family, [option])
    assert "\n" not in str(error.value)
