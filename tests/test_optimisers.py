import itertools
from functools import partial

import numpy as np
import pytest
import scipy.optimize
import torch

from workbench.transfer.optimisers import GAMMA_FACTOR, LBFGS, REFIT_EVERY, Adam


def quadratic(n=40, condition=1e3):
    scale = torch.logspace(0, float(np.log10(condition)), n, dtype=torch.float64)
    centre = torch.linspace(-1, 1, n, dtype=torch.float64)
    return lambda x: ((scale * (x - centre).square()).sum() / 2, scale * (x - centre)), centre


def rosenbrock(x):
    a = x.numpy()
    return torch.tensor(scipy.optimize.rosen(a)), torch.from_numpy(scipy.optimize.rosen_der(a))


def halves(x):
    """Means over the first and over the last half of the coordinates."""
    return x.view(2, -1).mean(dim=1, keepdim=True).expand(2, len(x) // 2).flatten()


def uneven(curvature=(1.0, 400.0), n=200):
    """A quadratic, ill-conditioned enough in either half, the halves differing in curvature."""
    within = torch.logspace(0, 2, n // 2, dtype=torch.float64)
    scale = torch.cat([c * within for c in curvature])
    centre = torch.randn(n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return lambda x: ((scale * (x - centre).square()).sum() / 2, scale * (x - centre))


def run(optimiser, evaluate, steps):
    losses = []
    for _ in range(steps):
        optimiser.step(evaluate)
        losses.append(float(optimiser.loss))
    return losses


def two_loop(gradient, pairs, diagonal):
    """-H gradient by Nocedal & Wright (2006), algorithm 7.4, about a diagonal; pairs (move, turn), oldest first."""
    q, along = gradient.clone(), []
    for move, turn in reversed(pairs):
        along.append((move @ q) / (move @ turn))
        q -= along[-1] * turn
    r = diagonal * q * GAMMA_FACTOR * torch.stack([(move @ turn) / (turn @ (diagonal * turn)) for move, turn in pairs]).mean()
    for (move, turn), a in zip(pairs, reversed(along), strict=True):
        r += move * (a - (turn @ r) / (move @ turn))
    return -r


class TestBoth:
    """What both keep to."""

    def test_at_a_minimum_nothing_moves(self):
        evaluate, centre = quadratic()
        for optimiser in (LBFGS(centre.clone()), Adam(centre.clone())):
            run(optimiser, evaluate, 5)
            assert torch.allclose(optimiser.point, centre)

    def test_a_restart_takes_what_was_learnt_to_another_function(self):
        """The same curvature about another centre: with it on record, few evaluations are enough."""
        evaluate, centre = quadratic()

        def moved(x):
            return evaluate(x - 1)

        old, new = LBFGS(torch.zeros(40, dtype=torch.float64), history=40), LBFGS(centre.clone(), history=40)
        run(old, evaluate, 150)
        start = moved(old.point)[0]
        old.restart()
        assert run(old, moved, 1) == [pytest.approx(float(start))]
        assert run(old, moved, 5)[-1] < 0.8 * run(new, moved, 6)[-1]
        other = Adam(torch.zeros(40, dtype=torch.float64))
        run(other, evaluate, 5)
        other.restart()
        assert run(other, moved, 1) == [pytest.approx(float(moved(other.point)[0]))]

    @pytest.mark.parametrize("kind", [LBFGS, partial(LBFGS, local_mean=halves), Adam])
    def test_a_continuation_from_the_state_is_exact(self, kind):
        start = torch.full((8,), -1.5, dtype=torch.float64)
        unbroken = kind(start.clone())
        run(unbroken, rosenbrock, 40)
        first = kind(start.clone())
        run(first, rosenbrock, 17)
        second = kind(first.point)
        second.load({name: value.clone() for name, value in first.state().items()})
        run(second, rosenbrock, 23)
        assert torch.equal(second.point, unbroken.point)
        assert second.loss == unbroken.loss

    @pytest.mark.parametrize("kind", [LBFGS, Adam])
    def test_the_loss_is_that_of_the_point(self, kind):
        optimiser = kind(torch.full((8,), -1.5, dtype=torch.float64))
        for _ in range(12):
            optimiser.step(rosenbrock)
            assert optimiser.loss == rosenbrock(optimiser.point)[0]

    @pytest.mark.parametrize("kind", [LBFGS, Adam])
    def test_an_evaluation_that_fails_leaves_the_point_where_it_was(self, kind):
        optimiser = kind(torch.full((8,), -1.5, dtype=torch.float64))
        run(optimiser, rosenbrock, 5)
        before = optimiser.point.clone()

        def fails(x):
            raise FloatingPointError

        with pytest.raises(FloatingPointError):
            optimiser.step(fails)
        assert torch.equal(optimiser.point, before)


class TestLBFGS:
    """Against scipy, the two-loop recursion, and closed forms."""

    def test_lbfgs_solves_a_quadratic(self):
        evaluate, centre = quadratic()
        optimiser = LBFGS(torch.zeros(40, dtype=torch.float64))
        run(optimiser, evaluate, 150)
        assert torch.allclose(optimiser.point, centre, atol=1e-4)

    def test_lbfgs_solves_rosenbrock_like_scipy(self):
        start = np.full(6, -1.0)
        reference = scipy.optimize.minimize(scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="L-BFGS-B")
        optimiser = LBFGS(torch.from_numpy(start))
        run(optimiser, rosenbrock, 2 * reference.nfev + 50)
        assert optimiser.loss < 1e-6

    @pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
    def test_lbfgs_does_not_depend_on_the_scale_of_the_loss(self, factor):
        evaluate, centre = quadratic()

        def scaled(x):
            loss, gradient = evaluate(x)
            return loss * factor, gradient * factor

        optimiser = LBFGS(torch.zeros(40, dtype=torch.float64))
        run(optimiser, scaled, 150)
        assert torch.allclose(optimiser.point, centre, atol=1e-4)

    def test_lbfgs_never_goes_up_and_evaluates_once_a_step(self):
        calls = []

        def counted(x):
            calls.append(1)
            return rosenbrock(x)

        losses = run(LBFGS(torch.full((8,), -1.5, dtype=torch.float64)), counted, 80)
        assert len(calls) == 80
        assert all(b <= a for a, b in itertools.pairwise(losses))

    @pytest.mark.parametrize("away", [1e-3, 1e-5, 1e-6])
    def test_lbfgs_converges_from_near_the_minimum_in_single_precision(self, away):
        start = away * torch.randn(1000, generator=torch.Generator().manual_seed(0))
        optimiser = LBFGS(start)
        run(optimiser, lambda x: (x.double().square().sum() / 2, x), 60)
        assert optimiser.point.norm() < 0.01 * start.norm()

    @pytest.mark.parametrize("local_mean", [None, lambda x: x])
    @pytest.mark.parametrize("diagonal", [None, torch.linspace(0.5, 2, 40, dtype=torch.float64)])
    def test_the_direction_is_that_of_the_two_loop_recursion(self, local_mean, diagonal):
        """Also with a diagonal of its own, and over evaluations in which it is learnt anew."""
        evaluate, _ = quadratic(condition=1e2)
        start = torch.zeros(40, dtype=torch.float64)
        optimiser = LBFGS(start, history=5, local_mean=local_mean, diagonal=diagonal)
        pairs, before = [], None
        for _ in range(2 * REFIT_EVERY):
            used = optimiser.diagonal.clone()
            optimiser.step(evaluate)
            now = (optimiser.point.clone(), optimiser.gradient.clone())
            if before is not None and not torch.equal(now[0], before[0]):
                pairs = [*pairs, (now[0] - before[0], now[1] - before[1])][-5:]
                expected = two_loop(now[1], pairs, used)
                assert (optimiser.direction - expected).norm() <= 1e-9 * expected.norm()
            before = now
        assert len(pairs) == 5
        assert torch.equal(optimiser.diagonal, start + 1 if diagonal is None else diagonal) == (local_mean is None)

    def test_the_diagonal_is_learnt_to_be_the_inverse_of_the_curvature(self):
        """Where curvature is the same throughout a neighbourhood, exactly: |s| / |y|, up to a common factor."""
        scale = torch.tensor([4.0, 0.25], dtype=torch.float64).repeat_interleave(50)
        centre = torch.randn(100, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        optimiser = LBFGS(torch.zeros(100, dtype=torch.float64), local_mean=halves)
        assert torch.equal(optimiser.fitted_diagonal(), torch.ones_like(scale))  # nothing seen yet
        run(optimiser, lambda x: ((scale * (x - centre).square()).sum() / 2, scale * (x - centre)), 3)
        assert torch.allclose(optimiser.fitted_diagonal(), 1 / scale, rtol=1e-2)

    def test_a_learnt_diagonal_saves_evaluations(self):
        evaluate = uneven()
        start = torch.zeros(200, dtype=torch.float64)
        plain, learning = LBFGS(start), LBFGS(start, local_mean=halves)
        assert run(learning, evaluate, 60)[-1] < 0.1 * run(plain, evaluate, 60)[-1]

    def test_coordinates_in_which_nothing_moves_do_no_harm(self):
        """They are as good as the others on the whole, and the others descend as they do alone."""
        evaluate, start = uneven(n=100), torch.zeros(200, dtype=torch.float64)

        def wider(x):
            loss, gradient = evaluate(x[:100])
            return loss, torch.cat([gradient, torch.zeros_like(gradient)])

        optimiser = LBFGS(start, local_mean=halves)
        losses = run(optimiser, wider, 4 * REFIT_EVERY)
        assert losses[-1] < 0.5 * losses[REFIT_EVERY]
        assert torch.equal(optimiser.point[100:], start[100:])
        moving, still = optimiser.fitted_diagonal().view(2, 100)
        assert (moving > 0).all() and (still / moving - 1).abs().max() < 1e-3

    def test_an_infinite_trial_is_only_a_refused_step(self):
        evaluate, centre = quadratic()
        optimiser = LBFGS(torch.zeros_like(centre))
        run(optimiser, evaluate, 5)
        infinite = (torch.tensor(float("inf"), dtype=torch.float64), torch.full_like(centre, float("nan")))
        assert not optimiser.step(lambda x: infinite)
        run(optimiser, evaluate, 150)
        assert (optimiser.point - centre).norm() < 0.01 * centre.norm()

    def test_a_gradient_may_be_written_over_once_it_was_told(self):
        evaluate, centre = quadratic()
        fresh, reused = LBFGS(torch.zeros_like(centre)), LBFGS(torch.zeros_like(centre))
        buffer = torch.zeros_like(centre)

        def into_one_buffer(x):
            loss, gradient = evaluate(x)
            return loss, buffer.copy_(gradient)

        for _ in range(20):
            fresh.step(evaluate)
            reused.step(into_one_buffer)
        assert torch.equal(fresh.point, reused.point)


class TestAdam:
    """Against torch."""

    def test_adam_equals_torchs(self):
        start = torch.linspace(-2, 2, 12, dtype=torch.float64)
        ours = Adam(start.clone(), rate=0.05, betas=(0.9, 0.99))
        x = start.clone().requires_grad_()
        theirs = torch.optim.Adam([x], lr=0.05, betas=(0.9, 0.99), eps=1e-12)
        ours.step(rosenbrock)  # evaluates the start
        for _ in range(30):
            ours.step(rosenbrock)
            x.grad = rosenbrock(x.detach())[1]
            theirs.step()
        assert torch.allclose(ours.point, x.detach(), atol=1e-9)
