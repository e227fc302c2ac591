"""The fast engine against the plain one: the same pictures, for every loss, alone, in batches, and over several evaluations."""

import itertools

import numpy as np
import pytest
import torch
from interrupting import Interrupting

from workbench import encoders, statistics, targets
from workbench.errors import UsageError
from workbench.retrieval.pieces import Piece
from workbench.transfer import Diverged, Settings, Transfer
from workbench.transfer.engine import batch
from workbench.transfer.engine.gram import gram
from workbench.transfer.loop import Plain

SMALL = {"method": "gram", "size": 64, "steps": 8, "plateau": 0}
CASES = {
    "neighbours": {"method": "neighbours", "steps": 20},
    "mean": {},
    "barycentre": {"combine": "barycentre"},
    "softmin": {"combine": "softmin"},
    "patches of all": {"combine": "patches"},
    "regions": {"regions": True},
    "w2": {"style_loss": "w2", "steps": 4},
    "patches": {"style_loss": "patches"},
    "embedding": {"style_loss": "embedding"},
    "luminance": {"colour": "luminance"},
    "content's colours": {"colour": "content"},
}
"""Every method and loss: what it differs in from SMALL, and the combination of works."""


@pytest.fixture(scope="module")
def content(corpus):
    return corpus["work-00.png"].load(96)


@pytest.fixture(scope="module")
def half():
    return encoders.load("embedded", device="cpu", precision="bfloat16")


@pytest.fixture(scope="module")
def chosen(corpus, encoder, content):
    selection = targets.Selection(corpus, content, encoder)
    return [selection.single("work-01"), selection.nearest(), selection.whole()]


@pytest.fixture(scope="module")
def several(corpus):
    """A target of three works."""
    return targets.weighted("three", corpus, np.array([3.0, 2, 0, 1] + [0] * 8))


@pytest.fixture(scope="module")
def guided(several):
    """The same works, the left half of the content after one, the right half after two."""
    masks = torch.zeros(2, 1, 1, 6, 8)
    masks[0, ..., :4] = masks[1, ..., 4:] = 1
    parts = [several.works[:1], several.works[1:]]
    guides = [
        targets.Guide(mask, tuple(map(Piece, works)), (1 / len(works),) * len(works), 0.5, 0.9, 0.5, 1.0, True)
        for mask, works in zip(masks, parts, strict=True)
    ]
    return targets.StyleTarget("regions", several.works, several.weights, guides=tuple(guides))


@pytest.fixture
def begin(content, several, guided):
    """A transfer of one of CASES by an encoder."""

    def begin(case, encoder, *, optimiser="lbfgs", engine="fast", picture=content):
        options = {**CASES[case]}
        combine, target = options.pop("combine", "mean"), guided if options.pop("regions", False) else several
        settings = Settings(**{**SMALL, **options, "optimiser": optimiser})
        return Transfer(picture, target.combined(combine), encoder, settings, engine=engine)

    return begin


def check_alike(one, other, *, picture, losses):
    """That two results are the same but for `picture`, the mean difference of pixels, and `losses`, a relative one."""
    assert len(one.history) == len(other.history)
    for before, after in ((one.history[0], other.history[0]), (one.history[-1], other.history[-1])):
        assert before["total"] == pytest.approx(after["total"], rel=losses, abs=1e-7)
    assert float((one.image - other.image).abs().mean()) <= picture


class TestContract:
    """Both engines come to the same picture."""

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    @pytest.mark.parametrize("case", CASES)
    def test_in_float32_nearly_to_the_last_bit(self, begin, encoder, case, optimiser):
        fast, plain = (begin(case, encoder, optimiser=optimiser, engine=engine).run() for engine in ("fast", "plain"))
        check_alike(fast, plain, picture=1e-6, losses=1e-6)

    @pytest.mark.parametrize("case", CASES)
    def test_in_bfloat16_but_for_the_rounding_of_gram_matrices(self, begin, half, case):
        """A thousandth of a matrix; eight evaluations make up to three levels of it."""
        fast, plain = (begin(case, half, engine=engine).run() for engine in ("fast", "plain"))
        check_alike(fast, plain, picture=0.02, losses=0.05)

    @pytest.mark.parametrize("case", CASES)
    def test_a_batch_of_two_is_two_single_transfers(self, begin, encoder, content, case):
        """Convolutions over a batch may round otherwise, which the eigenvalues of W2 amplify most, and deviations some."""
        pictures = (content, content.flip(3) * 0.9)
        alone = [begin(case, encoder, picture=picture, engine="plain").run() for picture in pictures]
        together = batch.run([begin(case, encoder, picture=picture) for picture in pictures])
        for one, other in zip(alone, together, strict=True):
            assert other.complete
            check_alike(one, other, picture={"w2": 0.03, "embedding": 0.01}.get(case, 0.002), losses=0.03)


class TestGram:
    """Gram matrices by blocks, with a gradient of one product."""

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    @pytest.mark.parametrize(("height", "width", "blocks"), [(182, 181, 64), (37, 61, 8), (23, 31, 5), (16, 31, 0)])
    def test_they_are_the_whole_product_with_its_gradient(self, layout, dtype, height, width, blocks):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(2, 5, height, width, generator=generator).to(dtype).to(memory_format=layout).requires_grad_()
        slope = torch.randn(2, 5, 5, generator=generator)
        found = gram(features)
        (gradient,) = torch.autograd.grad((found * slope).sum(), features)
        naive = features.detach().double().requires_grad_()
        expected = torch.einsum("nchw,ndhw->ncd", naive, naive) / (height * width)
        (expected_gradient,) = torch.autograd.grad((expected * slope).sum(), naive)
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert gradient.dtype == dtype
        half = dtype == torch.bfloat16  # then the products of that many blocks are rounded, on the way to a gradient
        off = (found.double() - expected).norm() / expected.norm()
        assert 1e-5 < off < 2e-3 if half and blocks else off < 4e-6
        with torch.no_grad():
            assert torch.allclose(gram(features).double(), expected, rtol=1e-5, atol=1e-5)
        unit = 2**-8 if half else 1e-6
        assert (gradient.double() - expected_gradient).norm() < unit * expected_gradient.norm()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_the_gradient_is_right_for_any_strides(self, dtype):
        whole = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(2)).to(dtype)
        for features in (whole.transpose(2, 3), whole[:, :, 1:, ::2], whole[:, :, :1]):
            x = features.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(gram(x).square().sum(), x)
            y = features.contiguous().double().requires_grad_()
            (expected,) = torch.autograd.grad(statistics.gram(y).square().sum(), y)
            unit = 2**-7 if dtype == torch.bfloat16 else 1e-5
            assert (gradient.double() - expected).norm() < unit * expected.norm()


class TestStride:
    """Several evaluations before the host reads what was found."""

    @staticmethod
    def strided(content, target, encoder, stride, **changes):
        transfer = Transfer(content, target, encoder, Settings(**{**SMALL, **changes}))
        transfer.engine.stride = stride
        return transfer

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    @pytest.mark.parametrize("stride", [2, 5, 100])
    def test_reading_seldom_changes_no_byte(self, content, chosen, encoder, stride, optimiser):
        """Whether or not stages are multiples of a stride."""
        changes = {"size": 192, "steps": 7, "optimiser": optimiser, "init": "noise"}
        expected, found = (self.strided(content, chosen[0], encoder, n, **changes) for n in (1, stride))
        one, other = ([(step.step, step.size, step.losses) for step in transfer] for transfer in (expected, found))
        assert one == other and len(one) == expected.total_steps
        assert torch.equal(expected.image, found.image)

    def test_refused_steps_are_found_alike(self, content, chosen, encoder, monkeypatch):
        """A first move that is far too long is refused at once, and then again."""
        monkeypatch.setattr("workbench.transfer.transfer.FIRST_MOVE", 10.0)
        expected, found = (self.strided(content, chosen[0], encoder, n).run() for n in (1, 6))
        assert expected.history == found.history
        assert any(a == b for a, b in itertools.pairwise(expected.history))
        assert torch.equal(expected.image, found.image)

    def test_a_stop_within_a_stride_keeps_what_was_done(self, content, chosen, encoder):
        expected = self.strided(content, chosen[0], encoder, 1).run()
        running = self.strided(content, chosen[0], encoder, 5)
        fast, running.engine = running.engine, Interrupting(6)
        running.engine.stride = 5
        stopped = running.run()
        assert not stopped.complete and list(stopped.history) == list(expected.history[:6])
        running.engine = fast
        assert torch.equal(running.run().image, expected.image)

    def test_strides_resume(self, content, chosen, encoder, tmp_path):
        whole = self.strided(content, chosen[0], encoder, 3, steps=12).run()
        first = self.strided(content, chosen[0], encoder, 3, steps=12)
        for step in first:
            if step.step == first.starts[-1] + 3:
                break
        second = self.strided(content, chosen[0], encoder, 3, steps=12).resume(first.checkpoint(tmp_path / "state"))
        result = second.run()
        assert result.history == whole.history and torch.equal(result.image, whole.image)

    def test_alone_and_in_a_batch_by_turns(self, content, chosen, encoder):
        """What one of them leaves behind does not outlive it."""
        expected = self.strided(content, chosen[0], encoder, 1).run()
        running = self.strided(content, chosen[0], encoder, 4)
        next(iter(running))
        batch.run([running])
        assert list(running.history) == list(expected.history) and torch.equal(running.image, expected.image)

    def test_a_plateau_ends_strides_too(self, content, chosen, encoder):
        at_once, later = (self.strided(content, chosen[0], encoder, n, steps=300, plateau=0.1).run() for n in (1, 10))
        assert len(at_once.history) <= len(later.history) < len(at_once.history) + 10 < 300
        assert later.history[: len(at_once.history)] == at_once.history

    @pytest.mark.parametrize("stride", [1, 4])
    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    def test_what_is_not_finite_stops_at_its_step_with_the_last_good_picture(self, content, chosen, encoder, stride, optimiser):
        running = self.strided(content, chosen[0], encoder, stride, optimiser=optimiser, steps=20)
        seen = running.starts[-1] + 8
        good = list(itertools.islice(running, seen))[-1].image
        running.objective.scale({"style": float("nan")})
        with pytest.raises(Diverged, match=f"step {seen + 1}") as stopped:
            running.run()
        assert torch.equal(stopped.value.image, good) and len(running.history) == seen

    def test_what_was_once_not_finite_is_not_gone_on_with(self, content, chosen, encoder):
        """Though a shorter step may be finite again: the picture is that of the step before."""
        expected = self.strided(content, chosen[0], encoder, 1)
        good = list(itertools.islice(expected, 4))[-1].image

        class Infinite(Plain):
            stride = 8

            def advance(self, descents, count, found):
                for made in range(len(running.history), len(running.history) + count):
                    factor = running.stages[running.stage_number].content_factor
                    descents[0].objective.scale({"content": float("inf") if made == 4 else factor})
                    super().advance(descents, 1, found)

        running = self.strided(content, chosen[0], encoder, 1)
        running.engine = Infinite()
        with pytest.raises(Diverged, match="step 5"):
            running.run()
        assert torch.equal(running.image, good) and len(running.history) == 4

    def test_pictures_of_a_stride_stay_what_they_were(self, content, chosen, encoder):
        seen = [(step.image, step.image.clone()) for step in self.strided(content, chosen[0], encoder, 4)]
        assert all(torch.equal(image, kept) for image, kept in seen)
        assert not torch.equal(seen[0][0], seen[-1][0])


class TestBatch:
    """Several transfers in step."""

    def test_it_takes_several_contents_and_weights(self, content, chosen, encoder):
        contents = [x[..., ::2, ::2] for x in (content, content.flip(3))]
        each = [Settings(**(SMALL | {"size": 48, "alpha": alpha})) for alpha in (0.05, 0)]
        transfers = [Transfer(picture, chosen[0], encoder, one) for picture, one in zip(contents, each, strict=True)]
        results = batch.run(transfers)
        assert "content" in results[0].history[-1] and "content" not in results[1].history[-1]
        for picture, result in zip(contents, results, strict=True):
            own, other = ((result.image - x).square().mean() for x in (picture, picture.flip(3)))
            assert own < other

    def test_one_that_is_over_lets_the_others_go_on(self, content, chosen, encoder):
        settings = Settings(**{**SMALL, "steps": 60, "plateau": 0.05})
        ends = [Transfer(content, target, encoder, settings) for target in chosen]
        results = batch.run(ends)
        assert len({len(result.history) for result in results}) > 1 and all(transfer.finished for transfer in ends)

    def test_ctrl_c_stops_it_and_keeps_its_pictures_and_who_is_at_the_end_is_complete(
        self, content, chosen, encoder, monkeypatch
    ):
        done, *running = (Transfer(content, target, encoder, Settings(**SMALL)) for target in chosen)
        done.run()
        passes, features = itertools.count(), encoder.activations

        def interrupted(image, layers):
            if image.requires_grad and next(passes) == 4:
                raise KeyboardInterrupt
            return features(image, layers)

        monkeypatch.setattr(encoder, "activations", interrupted)
        results = batch.run([done, *running])
        assert [result.complete for result in results] == [True, False, False]
        assert [len(result.history) for result in results] == [done.total_steps, 4, 4]

    def test_transfers_that_cannot_keep_step_are_refused(self, content, chosen, encoder):
        def begin(picture=content, **changes):
            return Transfer(picture, chosen[0], encoder, Settings(**{**SMALL, **changes}))

        odd = [torch.rand(1, 3, height, 1000) for height in (663, 665)]  # of one size at 384 px, but not at 192
        unlike = [
            [begin(picture, size=384, steps=3) for picture in odd],
            [begin(), begin(steps=13)],
            [begin(), begin(content[..., :-9])],
        ]
        for transfers in unlike:
            with pytest.raises(UsageError, match="of one batch need"):
                batch.run(transfers)
        with pytest.raises(UsageError, match="no transfers"):
            batch.run([])
