import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import statistics
from workbench.statistics import Moments


def features(seed, channels=5, height=4, width=6):
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(seed, channels=5):
    m = statistics.moments(features(seed, channels, 8, 8))
    return m


def from_covariance(covariance, mean=0.0):
    mean = torch.full((len(covariance),), float(mean), dtype=torch.float64)
    return Moments(mean, covariance + torch.outer(mean, mean))


def spread(candidate, parts):
    """What a barycentre minimises."""
    return sum(w * float(statistics.gaussian_w2(candidate.mean, candidate.covariance, m)) for w, m in parts)


class TestSmall:
    """Small statistics by hand."""

    def test_effective_rank_and_off_diagonal_energy_by_hand(self):
        identity = torch.eye(4, dtype=torch.float64)
        assert statistics.effective_rank(identity) == pytest.approx(4)
        assert statistics.effective_rank(torch.ones(4, 4, dtype=torch.float64)) == pytest.approx(1)
        assert statistics.off_diagonal_energy(identity) == 0
        assert statistics.off_diagonal_energy(torch.ones(4, 4)) == pytest.approx(12 / 16)

    def test_style_vector_is_means_and_deviations(self):
        f = features(11)
        v = statistics.style_vector(f)
        assert torch.allclose(v[0, :5], f.mean(dim=(2, 3))[0])
        assert torch.allclose(v[0, 5:], f.flatten(2).std(dim=2, correction=0)[0], atol=1e-6)


class TestBarycentre:
    """The Bures-Wasserstein barycentre."""

    def test_barycentre_of_commuting_covariances_is_the_square_of_the_mean_root(self):
        turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
        scales = [torch.tensor(s, dtype=torch.float64) for s in ((1.0, 4.0, 9.0, 0.0), (16.0, 1.0, 0.0, 0.0))]
        each = zip((0.25, 0.75), scales, (1, 5), strict=True)
        parts = [(weight, from_covariance((turn * s) @ turn.T, mean)) for weight, s, mean in each]
        found = statistics.barycentre(parts)
        expected = (turn * (0.25 * scales[0].sqrt() + 0.75 * scales[1].sqrt()).square()) @ turn.T
        assert torch.allclose(found.covariance, expected, atol=1e-9)
        assert torch.allclose(found.mean, torch.full((4,), 4.0, dtype=torch.float64))

    def test_barycentre_of_equals_is_each_of_them(self):
        one = gaussian(12)
        found = statistics.barycentre([(0.3, one), (0.7, one)])
        assert torch.allclose(found.covariance, one.covariance) and torch.allclose(found.mean, one.mean)
        assert statistics.barycentre([(2.0, one), (0.0, gaussian(13))]) == one

    def test_barycentre_of_two_lies_on_the_geodesic_between_them(self):
        """Two Gaussians: S_t = (t T + (1 - t) I) A (t T + (1 - t) I), T the optimal map from A to B (McCann 1997)."""
        a, b = gaussian(14).covariance, gaussian(15).covariance
        root = statistics.psd_sqrt(a)
        inverse = torch.linalg.inv(root)
        way = inverse @ statistics.psd_sqrt(root @ b @ root) @ inverse
        step = 0.3 * way + 0.7 * torch.eye(5, dtype=torch.float64)
        found = statistics.barycentre([(0.7, from_covariance(a)), (0.3, from_covariance(b))], tolerance=1e-10)
        assert torch.allclose(found.covariance, step @ a @ step, atol=1e-8)

    @given(st.integers(0, 10_000))
    @settings(max_examples=15, deadline=None)
    def test_no_neighbour_of_the_barycentre_has_less_spread(self, seed):
        parts = [(w, gaussian(seed + i)) for i, w in enumerate((0.5, 0.2, 0.3))]
        found = statistics.barycentre(parts)
        least = spread(found, parts)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(5):
            move = 0.05 * torch.randn(5, 5, dtype=torch.float64, generator=generator)
            factor = statistics.psd_sqrt(found.covariance) + move
            other = Moments(found.mean + move[0], factor @ factor.T + torch.outer(found.mean + move[0], found.mean + move[0]))
            assert spread(other, parts) > least
        assert spread(statistics.pool((w, {"l": m}) for w, m in parts)["l"], parts) > least

    def test_barycentre_of_singular_covariances_is_finite_and_solves_its_equation(self):
        parts = [(0.5, statistics.moments(features(seed, channels=12, height=2, width=2))) for seed in (16, 17)]
        found = statistics.barycentre(parts).covariance
        root = statistics.psd_sqrt(found)
        across = sum(w * statistics.psd_sqrt(root @ m.covariance @ root) for w, m in parts)
        assert (across - found).norm() < 1e-4 * found.norm()

    def test_barycentre_keeps_the_precision_it_was_given_and_refuses_no_weight(self):
        parts = [(0.5, statistics.moments(features(seed).float())) for seed in (18, 19)]
        found = statistics.barycentre(parts)
        assert found.mean.dtype == found.second.dtype == torch.float32
        with pytest.raises(ValueError, match="sum to zero"):
            statistics.barycentre([(0.0, parts[0][1])])


class TestPooling:
    """Means of moments."""

    def test_pooling_equal_sized_paintings_is_pooling_their_positions(self):
        a, b = features(2), features(3)
        together = statistics.moments(torch.cat([a, b], dim=3))
        pooled = statistics.pool([(0.5, {"l": statistics.moments(a)}), (0.5, {"l": statistics.moments(b)})])["l"]
        assert torch.allclose(pooled.mean, together.mean)
        assert torch.allclose(pooled.second, together.second)
        assert torch.allclose(pooled.covariance, together.covariance)

    def test_pooling_streams_and_normalises_weights(self):
        parts = {"l": gaussian(4)}, {"l": gaussian(5)}
        expected = (3 * parts[0]["l"].second + parts[1]["l"].second) / 4
        pooled = statistics.pool((w, p) for w, p in zip((3.0, 1.0), parts, strict=True))["l"]
        assert torch.allclose(pooled.second, expected)

    def test_pooling_leaves_its_inputs_alone(self):
        part = {"l": gaussian(6)}
        before = part["l"].second.clone()
        statistics.pool([(1.0, part), (1.0, part)])
        assert torch.equal(part["l"].second, before)

    def test_pooling_nothing_is_an_error(self):
        with pytest.raises(ValueError, match="sum to zero"):
            statistics.pool([])


class TestW2:
    """The Gaussian W2 distance, and matrix roots."""

    def test_psd_sqrt_equals_scipy(self):
        s = gaussian(7).covariance
        assert np.allclose(statistics.psd_sqrt(s).numpy(), scipy.linalg.sqrtm(s.numpy()).real, atol=1e-9)

    @given(st.integers(0, 10_000), st.integers(0, 10_000))
    @settings(max_examples=25, deadline=None)
    def test_w2_equals_scipys_matrix_root(self, i, j):
        a, b = gaussian(i), gaussian(j)
        root = scipy.linalg.sqrtm(b.covariance.numpy()).real
        cross = scipy.linalg.sqrtm(root @ a.covariance.numpy() @ root).real
        expected = float((a.mean - b.mean).square().sum()) + np.trace(a.covariance.numpy() + b.covariance.numpy() - 2 * cross)
        assert float(statistics.gaussian_w2(a.mean, a.covariance, b)) == pytest.approx(expected, abs=1e-8)

    def test_w2_closed_forms(self):
        identity, mean = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        target = Moments(mean + 3, 9 * torch.ones(4, 4, dtype=torch.float64) + 4 * identity)  # mean 3, covariance 4 I
        # commuting covariances: sum of (sigma - sigma*)^2, here 4 (1 - 2)^2, and the shift 4 * 3^2
        assert float(statistics.gaussian_w2(mean, identity, target)) == pytest.approx(4 + 36)
        assert float(statistics.gaussian_w2(target.mean, target.covariance, target)) == pytest.approx(0, abs=1e-9)

    def test_w2_gradient(self):
        target = gaussian(8)
        mean = torch.randn(5, dtype=torch.float64, requires_grad=True)
        factor = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda m, a: statistics.gaussian_w2(m, a @ a.T, target), (mean, factor))

    def test_w2_of_a_rank_deficient_covariance_has_a_finite_gradient(self):
        few = features(9, channels=12, height=2, width=2).requires_grad_()  # 4 positions, 12 channels
        m = statistics.moments(few)
        value = statistics.gaussian_w2(m.mean, m.covariance, gaussian(10, 12))
        value.backward()
        assert torch.isfinite(few.grad).all()


class TestGram:
    """Gram matrices and moments, also of regions."""

    def test_gram_by_hand(self):
        f = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # two channels, two positions
        assert torch.allclose(statistics.gram(f)[0], torch.tensor([[2.5, 0.5], [0.5, 5.0]]))

    def test_gram_equals_the_sum_over_positions(self):
        f = features(0)
        naive = sum(torch.outer(f[0, :, i, j], f[0, :, i, j]) for i in range(4) for j in range(6)) / 24
        assert torch.allclose(statistics.gram(f)[0], naive)

    @given(st.integers(0, 10_000))
    @settings(max_examples=25, deadline=None)
    def test_gram_ignores_where_things_are(self, seed):
        f = features(seed)
        order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
        shuffled = f.flatten(2)[..., order].view_as(f)
        assert torch.allclose(statistics.gram(f), statistics.gram(shuffled))

    def test_covariance_equals_numpy(self):
        f = features(1)
        expected = np.cov(f[0].flatten(1).numpy(), bias=True)
        assert np.allclose(statistics.moments(f).covariance.numpy(), expected)

    def test_weighted_moments_are_those_of_the_weighted_positions(self):
        f = features(20)
        weights = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
        weights[..., :2, :3] = 2.0
        found, part = statistics.moments(f, weights), statistics.moments(f[:, :, :2, :3])
        assert torch.allclose(found.mean, part.mean) and torch.allclose(found.second, part.second)
        weights = torch.rand(1, 1, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        places = [(i, j) for i in range(4) for j in range(6)]
        naive = sum(weights[0, 0, i, j] * torch.outer(f[0, :, i, j], f[0, :, i, j]) for i, j in places) / weights.sum()
        assert torch.allclose(statistics.moments(f, weights).second, naive)
        assert torch.allclose(statistics.moments(f, torch.ones_like(weights)).second, statistics.moments(f).second)

    @given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
    @settings(max_examples=40, deadline=None)
    def test_masks_that_sum_to_one_do_so_wherever_they_are_laid(self, h, w, height, width):
        labels = torch.randint(0, 3, (h, w), generator=torch.Generator().manual_seed(h * 10 + w))
        masks = torch.nn.functional.one_hot(labels, 3).permute(2, 0, 1)[:, None].float()
        found = statistics.resample_masks(masks, height, width)
        assert found.shape == (3, 1, height, width) and found.min() >= 0
        assert torch.allclose(found.sum(dim=0), torch.ones(1, height, width), atol=1e-5)

    def test_the_gradient_of_gram_passes_gradcheck(self):
        features = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
        assert torch.autograd.gradcheck(statistics.gram, features)
