"""Several evaluations without a look, and several transfers at once, come to what one at a time comes to."""

import contextlib
import itertools
import re
import unittest.mock

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from workbench import statistics, targets
from workbench.errors import UsageError
from workbench.transfer import Settings, Transfer
from workbench.transfer.engine import batch, graph, stepping
from workbench.transfer.engine.stepping import Diverged
from workbench.transfer.losses import GuidedGramLoss

SMALL = {"size": 96, "steps": 12}


@pytest.fixture(scope="module")
def content(corpus):
    return corpus["work-00.png"].load(96)


@pytest.fixture(scope="module")
def chosen(corpus, encoder, content):
    selection = targets.Selection(corpus, content, encoder)
    return [selection.single("work-01"), selection.nearest(), selection.whole()]


def strided(content, target, encoder, settings, stride):
    transfer = Transfer(content, target, encoder, settings)
    transfer.stride = stride
    return transfer


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("stride", [2, 5, 100])
def test_looking_seldom_changes_nothing(content, chosen, encoder, stride, optimiser):
    """Not a byte, whether or not stages are multiples of a stride."""
    settings = Settings(method="gram", size=192, steps=13, optimiser=optimiser, init="noise", plateau=0)
    expected = Transfer(content, chosen[0], encoder, settings)
    found = strided(content, chosen[0], encoder, settings, stride)
    told, seen = ([(step.step, step.size, step.losses) for step in transfer] for transfer in (expected, found))
    assert told == seen and len(told) == expected.total_steps
    assert torch.equal(expected.image, found.image)


def test_refused_steps_are_told_alike(content, chosen, encoder, monkeypatch):
    """A first move that is far too long is refused at once, and then again."""
    monkeypatch.setattr("workbench.transfer.FIRST_MOVE", 10.0)
    settings = Settings(method="gram", **SMALL, plateau=0)
    expected, found = (strided(content, chosen[0], encoder, settings, stride) for stride in (1, 6))
    expected, found = expected.run(), found.run()
    assert expected.history == found.history
    assert any(a == b for a, b in itertools.pairwise(expected.history))
    assert torch.equal(expected.image, found.image)


def test_ctrl_c_while_the_host_waits_loses_nothing(content, chosen, encoder, monkeypatch):
    settings = Settings(method="gram", **SMALL, plateau=0)
    expected = Transfer(content, chosen[0], encoder, settings).run()
    running = strided(content, chosen[0], encoder, settings, 5)
    read, count = torch.Tensor.tolist, itertools.count()

    def interrupted(self):
        if next(count) == 1:
            raise KeyboardInterrupt
        return read(self)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "tolist", interrupted)
        stopped = running.run()
    assert not stopped.complete and list(stopped.history) == list(expected.history[:7])  # 2 evaluations with a hold, and 5
    assert torch.equal(running.run().image, expected.image)


def test_alone_and_in_a_batch_by_turns(content, chosen, encoder):
    """What one of them leaves behind does not outlive it."""
    settings = Settings(method="gram", **SMALL, plateau=0)
    expected = Transfer(content, chosen[0], encoder, settings).run()
    running = strided(content, chosen[0], encoder, settings, 4)
    next(iter(running))
    batch.run([running])
    assert list(running.history) == list(expected.history) and torch.equal(running.image, expected.image)


def test_strides_resume(content, chosen, encoder, tmp_path):
    settings = Settings(method="gram", **SMALL, plateau=0)
    whole = strided(content, chosen[0], encoder, settings, 5).run()
    first = strided(content, chosen[0], encoder, settings, 5)
    for step in first:
        if step.step == first.starts[-1] + 5:
            break
    second = strided(content, chosen[0], encoder, settings, 5).resume(first.checkpoint(tmp_path / "state"))
    result = second.run()
    assert result.history == whole.history and torch.equal(result.image, whole.image)


def test_a_stop_within_a_stride_keeps_what_was_done(content, chosen, encoder, monkeypatch):
    settings = Settings(method="gram", **SMALL, plateau=0)
    expected = Transfer(content, chosen[0], encoder, settings).run()
    running = strided(content, chosen[0], encoder, settings, 5)
    evaluate, count = stepping._evaluated, itertools.count()

    def interrupted(transfers):
        if next(count) == 7:
            raise KeyboardInterrupt
        return evaluate(transfers)

    monkeypatch.setattr(advance, "_evaluated", interrupted)
    stopped = running.run()
    assert not stopped.complete and list(stopped.history) == list(expected.history[:7])
    assert torch.equal(running.run().image, expected.image)


def test_a_plateau_ends_strides_too(content, chosen, encoder):
    settings = Settings(method="gram", size=64, steps=1000, plateau=0.05)
    at_once = Transfer(content, chosen[0], encoder, settings).run()
    later = strided(content, chosen[0], encoder, settings, 10).run()
    assert len(at_once.history) <= len(later.history) < len(at_once.history) + 10 < 1000
    assert later.history[: len(at_once.history)] == at_once.history


def test_what_is_not_finite_stops_strides_at_its_step_with_the_last_good_picture(content, chosen, encoder):
    settings = Settings(method="gram", **SMALL, plateau=0)
    for stride in (1, 4):
        running = strided(content, chosen[0], encoder, settings, stride)
        good = list(itertools.islice(running, 10))[-1].image  # 2 of one stage, 8 of the next
        running.objective.hold({"style": float("nan")})
        with pytest.raises(Diverged, match="step 11") as stopped:
            running.run()
        assert torch.equal(stopped.value.image, good) and len(running.history) == 10


def test_what_was_once_not_finite_is_not_gone_on_with(content, chosen, encoder, monkeypatch):
    """Though a shorter step may be finite again: the picture is that of the step before."""
    running = strided(content, chosen[0], encoder, Settings(method="gram", **SMALL, plateau=0), 5)
    list(itertools.islice(running, 2))
    evaluate, count, good = stepping._evaluated, itertools.count(), []

    def once_infinite(transfers):
        (point, picture, gradient, values), *_ = evaluate(transfers)
        if next(count) == 2:
            values = values * float("inf")
            good.append(transfers[0].recorded.pictures[0].clone())
        return [(point, picture, gradient, values)]

    monkeypatch.setattr(advance, "_evaluated", once_infinite)
    with pytest.raises(Diverged, match="step 5"):
        running.run()
    assert torch.equal(running.picture, good[0]) and len(running.history) == 4


class Recording(TorchDispatchMode):
    """A CUDA graph's stand-in: keeps every operation with the very tensors that it read and wrote, to be done again.

    Operations are done by number and by place, as a graph does them: nothing of Python runs again, so whatever a step took from
    the host stays as it was, and what it put into new tensors is put into the old ones.
    """

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.done.append((function, args, kwargs or {}, out))
        return out

    def replay(self):
        with torch._C._AutoDispatchBelowAutograd():  # where the operations were seen
            for function, args, kwargs, out in self.done:
                again = function(*args, **kwargs)
                if function.is_view or function._schema.is_mutable:
                    continue
                for old, new in zip(pytree.tree_leaves(out), pytree.tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old is not new and old.data_ptr() != new.data_ptr():
                        old.copy_(new.view_as(old))  # what follows may have taken a dimension of one away in place


@pytest.fixture
def recordings(monkeypatch):
    """How often a step was recorded, as it would be on a GPU, and launched."""
    counts = {"recorded": 0, "launched": 0}

    def record(once, device):
        step = once.__self__
        state = [
            (tensor, tensor.clone())
            for transfer in step.transfers
            for tensor in transfer.optimiser.state().values()
            if any(tensor is getattr(transfer.optimiser, name, None) for name in transfer.optimiser.kept)
        ]
        state += [(tensor, tensor.clone()) for tensor in (*step.pictures, *step.rows)]
        with Recording() as recording:
            once()
        for tensor, before in state:  # a graph is recorded without being computed
            tensor.copy_(before)
        counts["recorded"] += 1

        def launch():
            counts["launched"] += 1
            recording.replay()

        return launch

    monkeypatch.setattr(advance, "record", record)
    monkeypatch.setattr(advance, "recordable", lambda transfers: True)
    monkeypatch.setattr("workbench.transfer.optimisers.PROMPT", ())
    return counts


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("style_loss", ["gram", "patches", "embedding"])
def test_a_recorded_step_does_what_the_step_does(content, chosen, encoder, recordings, monkeypatch, optimiser, style_loss):
    """Also where trials are refused, and where the diagonal is learnt anew."""
    settings = Settings(method="gram", size=192, steps=30, optimiser=optimiser, style_loss=style_loss, plateau=0)
    monkeypatch.setattr("workbench.transfer.FIRST_MOVE", 0.3)
    expected, found = Transfer(content, chosen[1], encoder, settings), strided(content, chosen[1], encoder, settings, 4)
    told, seen = ([(step.step, step.losses) for step in transfer] for transfer in (expected, found))
    assert [step for step, _ in told] == [step for step, _ in seen]
    for (_, one), (_, other) in zip(told, seen, strict=True):
        assert other == pytest.approx(one, rel=1e-6)
    assert torch.allclose(expected.picture, found.picture, atol=1e-5)
    # One evaluation of a stage is made without the recording, a second one where no step was made before; a stage that differs
    # from the one before in weights alone is not recorded anew.
    sizes = len(found.settings.scales)
    assert recordings == {"recorded": sizes, "launched": found.total_steps - len(found.stages) - 1}
    assert found.recorded is None  # a recording holds on to memory


def test_a_batch_is_recorded_anew_when_one_of_it_ends(content, chosen, encoder, recordings):
    settings = Settings(method="gram", size=64, steps=100, plateau=0.03)
    alone = [strided(content, target, encoder, settings, 4).run() for target in chosen[:2]]
    recordings["recorded"] = 0
    transfers = [strided(content, target, encoder, settings, 4) for target in chosen[:2]]
    found = batch.run(transfers)
    lengths = [len(result.history) for result in found]
    assert lengths[0] != lengths[1] and recordings["recorded"] == len(transfers[0].settings.scales) + 1
    assert all(transfer.recorded is None for transfer in transfers)
    for one, other in zip(alone, found, strict=True):
        assert abs(len(one.history) - len(other.history)) <= 4  # by rounding, a plateau is seen at one look or at the next
        assert other.history[-1]["total"] == pytest.approx(one.history[-1]["total"], rel=0.02)


def test_pictures_of_a_stride_stay_what_they_were(content, chosen, encoder, recordings):
    running = strided(content, chosen[0], encoder, Settings(method="gram", **SMALL, plateau=0), 4)
    seen = [(step.image, step.image.clone()) for step in running]
    assert all(torch.equal(image, kept) for image, kept in seen)
    assert not torch.equal(seen[2][0], seen[-1][0])


def test_what_cannot_be_recorded_goes_on_operation_by_operation(content, chosen, encoder, monkeypatch):
    settings = Settings(method="gram", **SMALL, plateau=0)
    expected = strided(content, chosen[0], encoder, settings, 1).run()
    monkeypatch.setattr(advance, "recordable", lambda transfers: True)
    asked = []
    monkeypatch.setattr(advance, "record", lambda step, device: asked.append(device))
    assert torch.equal(strided(content, chosen[0], encoder, settings, 4).run().image, expected.image)
    assert len(asked) == 1  # the first stage has two evaluations, which are made one by one; the second asks once


class Graph:
    """torch's CUDAGraph, on a machine without a GPU: what is called of it, and where it fails."""

    failing = ""
    called: list[str]

    def __init__(self):
        type(self).called = []

    def capture_begin(self, pool, capture_error_mode):
        self._call("begin")

    def capture_end(self):
        self._call("end")

    def replay(self):
        self._call("replay")

    def _call(self, name):
        self.called.append(name)
        if name == self.failing:
            raise RuntimeError(f"{name} is not permitted\nmore of that")


@pytest.fixture
def graph(monkeypatch):
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    for name, value in (("mem_get_info", (0, 0)), ("memory_reserved", 1), ("graph_pool_handle", (0, 1)), ("current_device", 0)):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "default_generators", [unittest.mock.Mock()])
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda device, pool, name=name: Graph.called.append(name), raising=False)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: unittest.mock.Mock())
    monkeypatch.setattr(capture, "_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(Graph, "failing", "")
    return Graph


def test_a_recording_is_begun_ended_and_launched(graph, capsys):
    done = []
    launch = graph.record(lambda: done.append(1), torch.device("cuda"))
    launch()
    launch()
    assert graph.called == ["begin", "end", "replay", "replay"] and done == [1] and capsys.readouterr().err == ""


@pytest.mark.parametrize("failing", ["begin", "end", "step"])
def test_a_recording_that_fails_is_ended_and_says_why_in_a_line(graph, monkeypatch, capsys, failing):
    monkeypatch.setattr(graph, "failing", failing)

    def step():
        if failing == "step":
            raise torch.OutOfMemoryError("no memory left\nat all")

    assert graph.record(step, torch.device("cuda")) is None
    let_go = ["_cuda_endAllocateToPool", "_cuda_releasePool"]
    assert graph.called == {"begin": ["begin"], "step": ["begin", "end"], "end": ["begin", "end", "end", *let_go]}[failing]
    restored = torch.cuda.default_generators[0].graphsafe_set_state
    assert restored.called == (failing != "begin")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.rstrip().endswith(("is not permitted", "no memory left"))


def test_ctrl_c_ends_a_recording_and_stays_ctrl_c(graph):
    def step():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        graph.record(step, torch.device("cuda"))
    assert graph.called == ["begin", "end"]


class Waiting(TorchDispatchMode):
    """Counts what makes a host wait for its device: numbers taken out of tensors or put into new ones, and shapes that depend
    on their content."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if re.match(
            r"aten\.(_local_scalar_dense|nonzero|item|is_nonzero|equal|masked_select|unique|lift_fresh)", str(function)
        ):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("style_loss", ["gram", "w2", "patches", "embedding"])
def test_nothing_waits_for_the_device_inside_of_a_stride(content, chosen, encoder, monkeypatch, style_loss, optimiser):
    monkeypatch.setattr("workbench.transfer.optimisers.PROMPT", ())  # this processor passes for a device
    settings = Settings(method="gram", size=96, steps=30, plateau=0, style_loss=style_loss, optimiser=optimiser)
    transfer = Transfer(content, chosen[1], encoder, settings)
    next(iter(transfer))  # made ready, and the first evaluation done
    stepping.unwatched([transfer], 1)  # takes over from there
    with Waiting() as waiting:
        stepping.unwatched([transfer], 3)
    assert waiting.found == [] and len(transfer.history) == 5
    with Waiting() as waiting:
        stepping.advance([transfer])
    assert waiting.found  # the watch sees what it is to see


def test_nothing_waits_for_the_device_where_regions_are_guided():
    masks = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    features = {"l": torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)}
    loss = GuidedGramLoss(
        masks / masks.sum(0), [{"l": statistics.moments(f)} for f in (features["l"], features["l"].flip(2) + 1)]
    )
    loss(features["l"], features)
    with Waiting() as waiting:
        loss(features["l"], features).backward()
    assert waiting.found == []


def test_a_batch_comes_to_what_single_transfers_come_to(content, chosen, encoder):
    """In float32 batches may round otherwise; over a few evaluations that is all."""
    settings = Settings(method="gram", **SMALL, plateau=0)
    alone = [Transfer(content, target, encoder, settings).run() for target in chosen]
    together = batch.run([Transfer(content, target, encoder, settings) for target in chosen])
    for one, other in zip(alone, together, strict=True):
        assert other.complete and len(other.history) == len(one.history)
        assert other.history[0] == pytest.approx(one.history[0], rel=1e-4, abs=1e-6)
        assert other.history[-1]["total"] == pytest.approx(one.history[-1]["total"], rel=0.02)
        assert (other.image - one.image).abs().mean() < 0.01


def test_looking_seldom_changes_nothing_in_a_batch_but_where_a_plateau_is_seen(content, chosen, encoder):
    settings = Settings(method="gram", size=64, steps=60, plateau=0.05)
    expected, found = ([strided(content, target, encoder, settings, stride) for target in chosen] for stride in (1, 4))
    for one, other in zip(batch.run(expected), batch.run(found), strict=True):
        assert 20 < len(one.history) <= len(other.history) < len(one.history) + 4
        # Those that go on are fewer from then on, and batches of other sizes may round otherwise.
        assert other.history[:21] == one.history[:21]


def test_a_batch_takes_several_contents_and_weights(corpus, chosen, encoder):
    contents = [corpus["work-00.png"].load(96), corpus["work-00.png"].load(96).flip(3)]
    transfers = [
        Transfer(c, chosen[0], encoder, Settings(method="gram", **SMALL, alpha=a))
        for c, a in zip(contents, (0.05, 0), strict=True)
    ]
    results = batch.run(transfers)
    assert "content" in results[0].history[-1] and "content" not in results[1].history[-1]
    for content, result in zip(contents, results, strict=True):
        own, other = ((result.image - picture).square().mean() for picture in (content, content.flip(3)))
        assert own < other


def test_a_transfer_of_a_batch_that_is_over_lets_the_others_go_on(content, chosen, encoder):
    settings = Settings(method="gram", size=64, steps=60, plateau=0.05)
    ends = [Transfer(content, target, encoder, settings) for target in chosen]
    results = batch.run(ends)
    lengths = {len(result.history) for result in results}
    assert len(lengths) > 1 and all(transfer.finished for transfer in ends)


def test_ctrl_c_stops_a_batch_and_keeps_its_pictures(content, chosen, encoder, monkeypatch):
    step, count = stepping.advance, itertools.count()

    def interrupted(transfers):
        if next(count) == 4:
            raise KeyboardInterrupt
        step(transfers)

    monkeypatch.setattr(batch, "advance", interrupted)
    results = batch.run([Transfer(content, target, encoder, Settings(method="gram", **SMALL)) for target in chosen])
    assert [(result.complete, len(result.history)) for result in results] == [(False, 4)] * 3


def test_transfers_that_cannot_keep_step_are_refused(content, chosen, encoder):
    one = Transfer(content, chosen[0], encoder, Settings(method="gram", **SMALL))
    odd = [torch.rand(1, 3, height, 1000) for height in (663, 665)]  # of one size at 384 px, but not at 192
    one_of_384, other_of_384 = (
        Transfer(picture, chosen[0], encoder, Settings(method="gram", size=384, steps=3)) for picture in odd
    )
    with pytest.raises(UsageError, match="of one batch need"):
        batch.run([one_of_384, other_of_384])
    for other in (
        Transfer(content, chosen[0], encoder, Settings(method="gram", size=96, steps=13)),
        Transfer(content[..., :-9], chosen[0], encoder, Settings(method="gram", **SMALL)),
    ):
        with pytest.raises(UsageError, match="of one batch need"):
            batch.run([one, other])
    with pytest.raises(UsageError, match="no transfers"):
        batch.run([])


def test_who_has_reached_the_end_is_complete_though_the_batch_is_stopped(content, chosen, encoder, monkeypatch):
    done, running = (Transfer(content, target, encoder, Settings(method="gram", **SMALL)) for target in chosen[:2])
    done.run()

    def interrupted(transfers):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "advance", interrupted)
    assert [result.complete for result in batch.run([done, running])] == [True, False]
