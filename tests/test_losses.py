import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import encoders, statistics
from workbench.transfer import losses
from workbench.transfer.objective import Objective


def features(seed, channels=6, height=5, width=7, dtype=torch.float64):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def image(seed, height=24, width=32, dtype=torch.float32):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


X = image(0)


def soft_min(targets, temperature, weights=(0.5, 0.3, 0.2)):
    paintings = [(w, {"l": statistics.moments(f)}) for w, f in zip(weights, targets, strict=True)]
    return losses.SoftMinGramLoss(paintings, temperature=temperature)


class TestLosses:
    """What holds for every loss: zeros, scales, gradients."""

    def test_every_loss_is_zero_at_its_target(self):
        f = {"l": features(0)}
        m = {"l": statistics.moments(f["l"])}
        bag = {"l": statistics.patches(f["l"])}
        vector = {"l": statistics.style_vector(f["l"])[0]}
        for loss in (
            losses.ContentLoss(f),
            losses.GramLoss(m),
            losses.PatchLoss(bag),
            losses.CentredPatchLoss(bag),
            losses.EmbeddingLoss([(1.0, vector)]),
        ):
            assert float(loss(X, f)) == pytest.approx(0, abs=1e-12), type(loss).__name__
        assert float(losses.W2Loss(m)(X, f)) == pytest.approx(0, abs=1e-8)

    def test_content_and_gram_are_one_for_a_blank(self):
        f = {"a": features(1), "b": features(2)}
        blank = {layer: torch.zeros_like(value) for layer, value in f.items()}
        assert float(losses.ContentLoss(f)(X, blank)) == pytest.approx(1)
        assert float(losses.GramLoss({layer: statistics.moments(v) for layer, v in f.items()})(X, blank)) == pytest.approx(1)

    @given(st.integers(0, 1000), st.floats(0.1, 50))
    @settings(max_examples=20, deadline=None)
    def test_dimensionless_losses_do_not_depend_on_the_scale_of_features(self, seed, scale):
        f, g = features(seed), features(seed + 1)
        for make in (
            lambda k: losses.ContentLoss({"l": k * f}),
            lambda k: losses.GramLoss({"l": statistics.moments(k * f)}),
            lambda k: losses.W2Loss({"l": statistics.moments(k * f)}),
        ):
            assert float(make(scale)(X, {"l": scale * g})) == pytest.approx(float(make(1)(X, {"l": g})), rel=1e-5)

    @pytest.mark.parametrize("name", ["content", "gram", "w2", "patches", "bag", "embedding", "gatys_content", "gatys_style"])
    def test_gradients(self, name):
        target = features(3)
        loss = {
            "content": losses.ContentLoss({"l": target}),
            "gram": losses.GramLoss({"l": statistics.moments(target)}),
            "w2": losses.W2Loss({"l": statistics.moments(target)}),
            "patches": losses.PatchLoss({"l": statistics.patches(target)}),
            "bag": losses.CentredPatchLoss({"l": statistics.patches(target)}),
            "embedding": losses.EmbeddingLoss(
                [(0.3, {"l": statistics.style_vector(target)[0]}), (0.7, {"l": torch.ones(12).double()})]
            ),
            "gatys_content": lambda _, f: losses.gatys_content(f["l"], target),
            "gatys_style": lambda _, f: losses.gatys_style(f["l"], target),
        }[name]
        x = features(4).requires_grad_()
        assert torch.autograd.gradcheck(lambda f: loss(X, {"l": f}), (x,))

    def test_embedding_loss_is_least_at_the_weighted_mean_of_equal_length_works(self):
        a, b = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
        loss = losses.EmbeddingLoss([(0.25, {"l": a}), (0.75, {"l": b})])

        def at(mean, deviation):  # one channel, two positions with that mean and deviation
            return float(loss(X, {"l": torch.tensor([mean - deviation, mean + deviation]).double().view(1, 1, 1, 2)}))

        least = at(0.25, 0.75)
        assert all(least < at(0.25 + dx, 0.75 + dy) for dx, dy in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)))

    def test_w2_of_a_single_position_has_a_finite_gradient(self):
        x = features(21, height=1, width=1).requires_grad_()  # no covariance at all
        losses.W2Loss({"l": statistics.moments(features(22, height=1, width=1))})(X, {"l": x}).backward()
        assert torch.isfinite(x.grad).all()

    def test_a_relative_square_is_its_formula_and_has_its_gradient(self):
        generator = torch.Generator().manual_seed(0)
        x, target = (torch.randn(2, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
        distance = losses.RelativeSquare(target)
        assert float(distance(x)) == pytest.approx(float((x - target).square().sum() / target.square().sum()), rel=1e-12)
        assert torch.autograd.gradcheck(distance, (x.requires_grad_(),))
        half = x.detach().bfloat16().requires_grad_()
        (slope,) = torch.autograd.grad(losses.RelativeSquare(target.float())(half), half)
        assert slope.dtype == torch.bfloat16
        nothing = losses.RelativeSquare(torch.zeros(3))
        assert float(nothing(torch.zeros(3))) == 0 and float(nothing(torch.full((3,), 1e-3))) > 1


class TestGramLosses:
    """Gram matrices: of one painting, of the nearest of many, of regions."""

    def test_soft_min_runs_from_the_nearest_painting_to_the_mean_distance(self):
        targets, f = [features(seed) for seed in (6, 7, 8)], {"l": features(9)}
        each = torch.stack([losses.GramLoss({"l": statistics.moments(t)})(X, f) for t in targets])
        assert torch.allclose(soft_min(targets, 1.0).distances(f), each)
        assert float(soft_min(targets, 0)(X, f)) == pytest.approx(float(each.min()))
        assert float(soft_min(targets, 1e-6)(X, f)) == pytest.approx(float(each.min()), rel=1e-4)
        mean = float(each @ torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
        for temperature in (1e3, 1e6, 1e12):
            assert float(soft_min(targets, temperature)(X, f)) == pytest.approx(mean, rel=1e-3)
        half = {"l": f["l"].float()}
        in_half = [t.float() for t in targets]
        assert float(soft_min(in_half, 1e3)(X, half)) == pytest.approx(mean, rel=1e-3)
        assert float(soft_min(in_half, 1e-30)(X, half)) == pytest.approx(float(each.min()), rel=1e-4)
        values = [float(soft_min(targets, t)(X, f)) for t in (0.1, 0.3, 1, 10)]
        assert float(each.min()) < values[0] < values[1] < values[2] < values[3] < mean

    @pytest.mark.parametrize("temperature", [0.0, 0.2])
    def test_the_gradient_of_soft_min(self, temperature):
        loss = soft_min([features(seed) for seed in (10, 11, 12)], temperature)
        assert torch.autograd.gradcheck(lambda f: loss(X, {"l": f}), (features(13).requires_grad_(),))

    def test_soft_min_of_one_painting_is_its_gram_loss(self):
        target, f = features(14), {"l": features(15)}
        alone = losses.GramLoss({"l": statistics.moments(target)})(X, f)
        assert float(soft_min([target], 0.1, (1.0,))(X, f)) == pytest.approx(float(alone))

    def test_guided_loss_with_a_full_mask_is_the_unguided_one(self):
        target, f = {"l": statistics.moments(features(16))}, {"l": features(17)}
        guided = losses.GuidedGramLoss(torch.ones(1, 1, 3, 3, dtype=torch.float64), [target])
        assert float(guided(X, f)) == pytest.approx(float(losses.GramLoss(target)(X, f)))

    def test_guided_loss_of_two_halves_is_the_mean_of_their_losses(self):
        masks = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
        masks[0, ..., :1] = masks[1, ..., 1:] = 1
        targets = [{"l": statistics.moments(features(seed))} for seed in (18, 19)]
        f = features(20, width=8)
        f_exact = f.clone()
        found = losses.GuidedGramLoss(torch.repeat_interleave(torch.repeat_interleave(masks, 5, 2), 4, 3), targets)(
            X, {"l": f_exact}
        )
        halves = [losses.GramLoss(t)(X, {"l": part}) for t, part in zip(targets, (f[..., :4], f[..., 4:]), strict=True)]
        assert float(found) == pytest.approx(float(sum(halves)) / 2)

    def test_the_gradient_of_the_guided_loss_and_a_region_smaller_than_a_cell(self):
        masks = torch.zeros(2, 1, 20, 28, dtype=torch.float64)
        masks[0, :, :2, :2] = 1  # a quarter of one cell of the features
        masks[1] = 1 - masks[0]
        loss = losses.GuidedGramLoss(masks, [{"l": statistics.moments(features(seed))} for seed in (21, 22)])
        x = features(23).requires_grad_()
        assert torch.autograd.gradcheck(lambda f: loss(X, {"l": f}), (x,))
        loss(X, {"l": x}).backward()
        assert torch.isfinite(x.grad).all()

    def test_the_papers_normalisation_and_ours_differ_by_a_constant(self):
        x, t = features(12), features(13)
        ours = losses.GramLoss({"l": statistics.moments(t)})(X, {"l": x})
        g = statistics.gram(t)[0]
        # (M G)-(M G*) squared over 4 N^2 M^2 is the difference squared over 4 N^2
        assert float(losses.gatys_style(x, t)) == pytest.approx(float(ours * g.square().sum() / (4 * 6**2)))


class TestPatches:
    """The nearest patch, against naive searches."""

    def test_patch_search_equals_the_naive_one_at_any_block_size(self):
        f, bag = features(6), statistics.patches(features(7, height=9))
        centre = bag.mean(dim=0)
        naive = []
        for p in statistics.patches(f):
            naive.append(max(float(torch.cosine_similarity(p - centre, q - centre, dim=0)) for q in bag))
        expected = 1 - sum(naive) / len(naive)
        for block in (1, 8, 10_000):
            assert float(losses.PatchLoss({"l": bag}, block=block)(X, {"l": f})) == pytest.approx(expected)

    def test_bag_loss_equals_the_naive_one_at_any_block_size(self):
        f, bag = {"l": features(24)}, statistics.patches(features(25, height=8))
        found = statistics.patches(f["l"])
        a, b = found - found.mean(dim=0), bag - bag.mean(dim=0)
        cosines = (a @ b.T) / a.norm(dim=1)[:, None] / b.norm(dim=1)
        apart = (found.mean(dim=0) - bag.mean(dim=0)).square().sum() / bag.mean(dim=0).square().sum()
        expected = losses.PATCH_FACTOR * float(1 - cosines.max(dim=1).values.mean() + apart)
        for block in (1, 7, 10_000):
            assert float(losses.CentredPatchLoss({"l": bag}, block=block)(X, f)) == pytest.approx(expected)

    def test_patches_are_three_by_three_neighbourhoods(self):
        f = features(8)
        p = statistics.patches(f)
        assert p.shape == (35, 54)
        assert torch.equal(p[2 * 7 + 3].view(6, 3, 3), f[0, :, 1:4, 2:5])  # row 2, column 3


class TestImageTerms:
    """Terms of the picture alone."""

    def test_image_terms_by_hand_and_by_gradient(self):
        step = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
        step[..., 2] = 1.0
        assert float(losses.TotalVariation()(step, {})) == pytest.approx(0.5)  # two of four horizontal differences are 1
        assert float(losses.OutOfRange()(torch.tensor([-0.5, 0.5, 2.0]), {})) == pytest.approx((0.25 + 1) / 3)
        x = (2 * image(5, 6, 7, torch.float64) - 0.5).requires_grad_()
        assert torch.autograd.gradcheck(lambda i: losses.TotalVariation()(i, {}), (x,))
        assert torch.autograd.gradcheck(lambda i: losses.OutOfRange()(i, {}), (x,))

    @pytest.mark.parametrize("size", [(1, 96), (96, 1), (1, 1)])
    def test_total_variation_of_a_strip_is_a_number(self, size):
        strip = image(20, *size).requires_grad_()
        loss = losses.TotalVariation()(strip, {})
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(strip.grad).all()


class TestObjective:
    """The weighted sum."""

    def test_the_objective_is_the_weighted_sum_over_one_forward_pass(self):
        encoder = encoders.load("embedded", device="cpu")
        target = encoder.features(image(9), encoder.style_layers)
        terms = {
            "content": (0.5, losses.ContentLoss({"relu4_2": encoder.features(image(10), ["relu4_2"])["relu4_2"]})),
            "style": (2.0, losses.GramLoss({layer: statistics.moments(f) for layer, f in target.items()})),
            "tv": (0.1, losses.TotalVariation()),
            "unused": (0.0, losses.ContentLoss({"relu5_1": torch.zeros(1)})),
        }
        objective = Objective(encoder, terms)
        passes = []
        hook = encoder.convolutions["relu1_1"].register_forward_hook(lambda *_: passes.append(1))
        total, parts = objective(image(11))
        hook.remove()
        assert len(passes) == 1
        assert set(parts) == {"content", "style", "tv"}
        assert float(total) == pytest.approx(
            0.5 * float(parts["content"]) + 2 * float(parts["style"]) + 0.1 * float(parts["tv"]), rel=1e-5
        )

    def test_an_objective_that_was_asked_without_gradients_has_them_later_and_in_any_precision(self):
        objective = Objective(None, {"tv": (0.5, losses.TotalVariation()), "range": (2.0, losses.OutOfRange())})
        image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            objective(image)
        for weight in (0.5, 1.5):
            objective.scale({"tv": 2 * weight})
            for x in (image.clone().requires_grad_(), image.double().requires_grad_()):
                total, parts = objective(x)
                (gradient,) = torch.autograd.grad(total, x)
                assert total.dtype == x.dtype and gradient.any()
                assert total.item() == pytest.approx(weight * parts["tv"].item() + 2 * parts["range"].item())
        assert objective.total(parts).item() == pytest.approx(0.5 * parts["tv"].item() + 2 * parts["range"].item())
