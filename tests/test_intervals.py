import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workbench.errors import UsageError
from workbench.study import intervals
from workbench.study.intervals import Difference, Interval

NAN = float("nan")
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def crossed(seed, contents=9, seeds=2, *, between=(1.0, 0.3), noise=1.0):
    """Values (contents, seeds) of mean 0: a part of each content, one of each seed, and noise."""
    generator = np.random.default_rng(seed)
    rows, columns = generator.normal(size=(contents, 1)), generator.normal(size=(1, seeds))
    return between[0] * rows + between[1] * columns + noise * generator.normal(size=(contents, seeds))


def holes(values, seed, share=0.3):
    return np.where(np.random.default_rng(seed).random(values.shape) < share, NAN, values)


def ends(interval):
    return np.array([interval.mean, interval.low, interval.high])


def difference(first, second, **options):
    """A comparison by itself."""
    return intervals.compared({None: (first, second)}, **options)[None]


def every_flip(n):
    return np.array(list(itertools.product((1, -1), repeat=n)))


class TestMeans:
    def test_known_mean_leaves_out_what_is_not_known(self):
        values = [[1, 3, NAN], [NAN, NAN, NAN], [2, NAN, NAN]]
        assert np.array_equal(intervals.known_mean(values), [2, NAN, 2], equal_nan=True)
        assert np.array_equal(intervals.known_mean(values, axis=0), [1.5, 3, NAN], equal_nan=True)

    def test_every_content_counts_alike_however_many_cells_it_has(self):
        assert intervals.interval([[0, 0, 0], [6, NAN, NAN]]).mean == 3


class TestInterval:
    def test_it_is_the_t_interval_of_the_contents_means(self):
        x = holes(crossed(0), 1)
        means = intervals.known_mean(x)
        known = stats.ttest_1samp(means[~np.isnan(means)], 0).confidence_interval(0.9)
        assert np.allclose(ends(intervals.interval(x, confidence=0.9)), [np.nanmean(means), known.low, known.high])

    @pytest.mark.parametrize("shape", [(4, 1), (4, 3), (9, 2)])
    def test_it_holds_the_truth_as_often_as_it_says_with_few_levels(self, shape):
        found = [intervals.interval(crossed(seed, *shape, between=(1, 0))) for seed in range(600)]
        assert np.mean([one.low <= 0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.025)

    def test_more_seeds_are_no_more_levels(self):
        x = crossed(1, seeds=1)
        assert np.allclose(ends(intervals.interval(x)), ends(intervals.interval(np.repeat(x, 4, axis=1))))

    @pytest.mark.parametrize("values", [[[1, 3]], [[1, 3], [NAN, NAN], [2, 2]], [[2.5], [1.5], [2]]])
    def test_three_contents_have_a_mean_and_no_interval(self, values):
        assert np.array_equal(ends(intervals.interval(values)), [2, NAN, NAN], equal_nan=True)

    @pytest.mark.parametrize("values", [[], [[NAN]], np.full((3, 2), NAN), np.zeros((0, 2))])
    def test_nothing_known_has_no_mean(self, values):
        assert np.isnan(ends(intervals.interval(values))).all()

    @pytest.mark.parametrize("options", [{"confidence": 0}, {"confidence": 1}, {"confidence": 95}])
    def test_parameters_outside_their_range_are_refused(self, options):
        for call in (intervals.interval, lambda x, **o: difference(x, x, **o)):
            with pytest.raises(UsageError):
                call(crossed(0), **options)

    @pytest.mark.parametrize("values", [3.0, [1, np.inf]])
    def test_what_is_no_measurement_is_refused(self, values):
        with pytest.raises(UsageError):
            intervals.interval(values)


@pytest.mark.slow
class TestCoverage:
    """Intervals called 95 % hold the truth in about 95 of 100 simulated studies."""

    @pytest.mark.parametrize("seeds", [1, 3])
    @pytest.mark.parametrize("contents", [4, 9, 40])
    @pytest.mark.parametrize("missing", [0, 0.2])
    def test_of_contents_with_cells_of_their_own(self, contents, seeds, missing):
        held = []
        for seed in range(1000):
            values = holes(crossed(seed, contents, seeds, between=(1, 0)), seed, missing)
            found = intervals.interval(values)
            held.append(found.low <= 0 <= found.high if found.low == found.low else NAN)
        assert np.nanmean(held) == pytest.approx(0.95, abs=0.02)

    @pytest.mark.parametrize("pairs", [4, 20])
    def test_of_ratios(self, pairs):
        generator = np.random.default_rng(pairs)
        logs = generator.normal(np.log(1.5), 0.4, size=(1000, pairs))
        found = [intervals.ratio_interval(np.exp(one), np.ones(pairs)) for one in logs]
        assert np.mean([one.low <= 1.5 <= one.high for one in found]) == pytest.approx(0.95, abs=0.02)

    def test_of_differences(self):
        held = []
        for seed in range(300):
            first, second = crossed(seed, 9, 2, between=(1, 0)), crossed(seed + 1000, 9, 2, between=(1, 0))
            found = difference(first + 0.5, second)
            held.append(found.low <= 0.5 <= found.high)
        assert np.mean(held) == pytest.approx(0.95, abs=0.03)

    @pytest.mark.parametrize("trials", [10, 40])
    def test_of_shares_over_all_true_shares(self, trials):
        true = np.linspace(0.01, 0.99, 99)
        found = [intervals.proportion(count, trials) for count in range(trials + 1)]
        inside = np.array([(one.low <= true) & (true <= one.high) for one in found])
        chance = stats.binom.pmf(np.arange(trials + 1)[:, None], trials, true)
        assert (inside * chance).sum(axis=0).mean() == pytest.approx(0.95, abs=0.015)


class TestSignFlips:
    def test_under_the_null_every_p_is_as_likely_as_it_should_be(self):
        """Of all signs that differences could have had, p <= α holds for the share α, exactly."""
        sizes = np.random.default_rng(0).exponential(size=6)
        p = [intervals.sign_flip_p(flips * sizes) for flips in every_flip(6)]
        assert np.allclose(np.sort(p), np.repeat(np.arange(1, 33) / 32, 2))

    @given(st.integers(0, 10_000))
    @settings(max_examples=20, deadline=None)
    def test_p_equals_counting_the_flips(self, seed):
        d = np.random.default_rng(seed).normal(0.5, size=9)
        sums = np.abs(every_flip(9) @ d)
        assert intervals.sign_flip_p(d) == pytest.approx((sums >= abs(d.sum()) - 1e-12).mean())

    @pytest.mark.parametrize("n", [2, 5, 9])
    def test_the_least_p_is_that_of_contents_that_all_agree(self, n):
        agreeing = np.random.default_rng(n).exponential(size=n)
        assert intervals.sign_flip_p(agreeing) == intervals.sign_flip_p(-agreeing) == intervals.least_p(n) == 2 / 2**n

    def test_many_contents_flip_at_random_and_nearly_as_the_t_test(self):
        d = np.random.default_rng(0).normal(0.3, size=40)
        assert intervals.sign_flip_p(d) == intervals.sign_flip_p(d)
        assert intervals.sign_flip_p(d) == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.01)
        assert intervals.sign_flip_p(np.ones(40)) == intervals.least_p(40) == 2 / 65537

    def test_contents_are_flipped_and_not_cells(self):
        assert intervals.sign_flip_p(np.ones((4, 5))) == intervals.least_p(4)

    def test_p_of_next_to_nothing(self):
        assert intervals.sign_flip_p(np.zeros(5)) == 1
        assert intervals.sign_flip_p([NAN, 3]) == 1
        assert np.isnan(intervals.sign_flip_p([NAN, NAN]))


class TestHolm:
    def test_holm_by_hand(self):
        assert np.allclose(intervals.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
        assert np.allclose(intervals.holm([0.6, 0.5]), 1)
        assert intervals.holm([]).shape == (0,)

    @given(probabilities, st.floats(0.001, 0.5))
    def test_holm_rejects_what_stepping_down_rejects(self, p, alpha):
        adjusted = intervals.holm(p)
        rejected = set()
        for k, i in enumerate(np.argsort(p)):
            if not p[i] * (len(p) - k) <= alpha:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(adjusted <= alpha)) == rejected

    @given(probabilities)
    def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(self, p):
        adjusted, p = intervals.holm(p), np.array(p)
        assert (adjusted >= p).all()
        assert (adjusted <= np.minimum(len(p) * p, 1)).all()
        assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()

    @given(probabilities, st.randoms(use_true_random=False))
    def test_holm_does_not_depend_on_the_order(self, p, random):
        order = list(range(len(p)))
        random.shuffle(order)
        assert np.array_equal(intervals.holm(np.array(p)[order]), intervals.holm(p)[order])

    def test_what_was_not_tested_does_not_count(self):
        assert np.array_equal(intervals.holm([NAN, 0.02, NAN, 0.5]), [NAN, 0.04, NAN, 0.5], equal_nan=True)

    @pytest.mark.parametrize("p", [[1.1], [-0.1], [[0.5]]])
    def test_what_is_no_p_value_is_refused(self, p):
        with pytest.raises(UsageError):
            intervals.holm(p)


class TestSmallestEffect:
    @pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
    def test_power_agrees_with_the_tables(self, effect, n):
        """How many pairs a power of 0.8 takes at the level 0.05, two-sided, as power tables have it."""
        assert intervals.t_power(effect, n - 1) < 0.8 <= intervals.t_power(effect, n)

    def test_power_without_an_effect_is_the_level(self):
        assert intervals.t_power(0, 9, alpha=0.01) == pytest.approx(0.01)

    @pytest.mark.parametrize("n", [2, 3, 9, 50])
    @pytest.mark.parametrize("alpha", [0.05, 0.0005])
    def test_power_is_defined_for_every_effect(self, n, alpha):
        power = [intervals.t_power(effect, n, alpha) for effect in np.geomspace(0.01, 1000, 60)]
        assert (np.diff(power) >= -1e-9).all()
        assert 0 < power[0] < power[-1] <= 1 + 1e-9

    @pytest.mark.parametrize(("n", "alpha"), [(5, 0.05), (9, 0.05), (9, 0.05 / 6)])
    def test_the_smallest_effect_is_found_with_the_power_asked_for(self, n, alpha):
        smallest = intervals.smallest_effect(2, n, alpha=alpha)
        studies = np.random.default_rng(n).normal(smallest, 2, size=(10_000, n))
        assert np.mean(stats.ttest_1samp(studies, 0, axis=1).pvalue <= alpha) == pytest.approx(0.8, abs=0.015)

    @pytest.mark.parametrize(("family", "power"), [(1, 0.8), (3, 0.78), (6, 0.74), (12, 0.65)])
    def test_sign_flips_find_the_smallest_effect_nearly_as_often(self, family, power):
        """The docstring of `compared` says how much they lose: with 9 contents, little in small families."""
        z = np.random.default_rng(0).normal(size=(2000, 9))
        known = (z[0] - z[0].mean()) / z[0].std(ddof=1)  # differences of which the spread is 1
        pairs = {k: (known, np.zeros(9)) for k in range(family)}
        studies = z + intervals.compared(pairs)[0].smallest
        sums = np.abs(studies @ every_flip(9)[:256].T)
        p = (sums >= sums[:, :1] - 1e-12).mean(axis=1)
        assert np.mean(p <= 0.05 / family) == pytest.approx(power, abs=0.03)

    def test_no_effect_is_seen_where_no_p_is_small_enough(self):
        pair = crossed(0), crossed(1)
        results = [intervals.compared(dict.fromkeys(range(family), pair))[0] for family in (12, 13)]
        assert np.isfinite(results[0].smallest)
        assert results[1].smallest == np.inf
        agreeing = intervals.compared(dict.fromkeys(range(13), (np.arange(1, 10.0), np.zeros(9))))
        assert all(found.p_holm > 0.05 for found in agreeing.values())

    def test_smallest_effect_of_too_little(self):
        assert np.isnan(intervals.smallest_effect(1, 1))
        assert intervals.smallest_effect(0, 9) == 0

    @pytest.mark.parametrize("options", [{"alpha": 0}, {"alpha": 0.9}, {"power": 1}])
    def test_impossible_levels_are_refused(self, options):
        with pytest.raises(UsageError):
            intervals.smallest_effect(1, 9, **options)


class TestComparisons:
    def test_difference_is_that_of_the_parts(self):
        first, second = crossed(0) + 1, crossed(1)
        found = difference(first, second)
        d = first - second
        assert ends(found).tolist() == ends(intervals.interval(d)).tolist()
        assert found.p == found.p_holm == intervals.sign_flip_p(d.mean(axis=1))
        assert found.n == 9

    def test_what_both_share_does_not_matter(self):
        shared = 100 * crossed(7)
        a, b = crossed(0) + 1, crossed(1)
        plain, same = difference(a, b), difference(a + shared, b + shared)
        assert np.allclose([*ends(plain), plain.p, plain.smallest], [*ends(same), same.p, same.smallest])

    def test_swapping_the_methods_changes_the_sign_alone(self):
        a, b = crossed(0) + 1, crossed(1)
        there, back = difference(a, b), difference(b, a)
        assert np.allclose([there.mean, there.low, there.high], [-back.mean, -back.high, -back.low])
        assert (there.p, there.smallest) == (back.p, pytest.approx(back.smallest))

    @given(st.integers(0, 1000), st.floats(0.1, 10))
    @settings(max_examples=10, deadline=None)
    def test_scale_and_order_of_contents_do_not_matter(self, seed, scale):
        a, b = holes(crossed(seed, 7), seed) + 0.5, crossed(seed + 1, 7)
        order = np.random.default_rng(seed).permutation(7)
        plain = difference(a, b)
        other = difference(scale * a[order], scale * b[order])
        assert np.allclose([other.mean, other.smallest, other.p], [scale * plain.mean, scale * plain.smallest, plain.p])

    def test_a_cell_without_its_partner_is_left_out(self):
        a, b = crossed(0), crossed(1)
        a[0, 0], b[2] = NAN, NAN
        found = difference(a, b)
        d = a - b
        expected = [d[0, 1], *d[[1, *range(3, 9)]].mean(axis=1)]
        assert found.n == 8
        assert found.mean == pytest.approx(np.mean(expected))
        assert found.p == intervals.sign_flip_p(expected)

    def test_a_family_is_corrected_for_the_comparisons_that_can_be_made(self):
        zero = np.zeros((9, 2))
        pairs = {"much": (crossed(0) + 3, zero), "little": (crossed(1) + 0.7, zero), "none": (np.full((9, 2), NAN), zero)}
        found = intervals.compared(pairs)
        assert list(found) == list(pairs)
        raw = [found["much"].p, found["little"].p]
        assert [found["much"].p_holm, found["little"].p_holm] == intervals.holm(raw).tolist()
        assert (found["none"].n, np.isnan(found["none"].p_holm), np.isnan(found["none"].smallest)) == (0, True, True)
        assert found["much"].smallest > difference(*pairs["much"]).smallest
        assert intervals.compared({}) == {}

    def test_one_content_says_nothing(self):
        found = difference([[2.0, 4.0]], [[1.0, 1.0]])
        assert (found.mean, found.p, found.n) == (2, 1, 1)
        assert np.isnan([found.low, found.high, found.smallest]).all()

    def test_what_is_not_paired_is_refused(self):
        with pytest.raises(UsageError, match=re.escape("(9, 2) and (9, 1)")):
            difference(crossed(0), crossed(0)[:, :1])

    def test_results_are_a_short_line(self):
        assert str(Interval(0.12345, -0.1, 2)) == "0.123 (-0.1 to 2)"
        found = Difference(0.12345, -0.1, 2, 0.0123, 0.0456, 0.789, 9)
        assert str(found) == "0.123 (-0.1 to 2), p 0.012, Holm 0.046, smallest visible 0.789, n 9"


class TestProportions:
    @given(st.integers(1, 60), st.floats(0, 1))
    def test_wilson_by_its_formula(self, trials, share):
        successes = round(share * trials)
        p, z = successes / trials, stats.norm.isf(0.025)
        middle = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
        half = z / (1 + z**2 / trials) * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
        found = intervals.proportion(successes, trials)
        assert np.allclose(ends(found), [p, middle - half, middle + half], atol=1e-12)

    def test_no_trials_and_impossible_ones(self):
        assert np.isnan(ends(intervals.proportion(0, 0))).all()
        for successes, trials in ((3, 2), (-1, 2)):
            with pytest.raises(UsageError):
                intervals.proportion(successes, trials)
