"""Leave-one-out precision: closed forms, a naive reference, and what does not count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError
from workbench.retrieval.embeddings import Embeddings
from workbench.retrieval.precision import precision_at_k


def space(raw):
    raw = np.asarray(raw, dtype=np.float32)
    return Embeddings("content", "test", tuple(f"work-{i}" for i in range(len(raw))), raw)


TWO_PAIRS = space([[1, 0.1], [1, -0.1], [-1, 0.1], [-1, -0.1]])


class TestPrecisionAtK:
    """Leave one out, for each work its nearest others."""

    def test_pairs_that_lie_together_are_found_and_chance_is_one_in_three(self):
        assert precision_at_k(TWO_PAIRS, ["a", "a", "b", "b"], 1) == pytest.approx((1, 1 / 3))
        assert precision_at_k(TWO_PAIRS, ["a", "b", "a", "b"], 1) == pytest.approx((0, 1 / 3))

    def test_with_every_other_work_precision_is_chance(self):
        precision, chance = precision_at_k(TWO_PAIRS, ["a", "a", "b", "b"], 99)
        assert precision == pytest.approx(chance) == pytest.approx(1 / 3)

    def test_a_series_does_not_find_itself(self):
        assert precision_at_k(TWO_PAIRS, ["a", "a", "b", "b"], 1, groups=["s", "s", "", ""])[0] == pytest.approx(0.5)

    def test_works_without_a_label_are_left_out(self):
        assert precision_at_k(TWO_PAIRS, ["a", "", "b", "a"], 1) == pytest.approx((0, 1 / 3))

    @given(st.integers(0, 10_000), st.integers(1, 12))
    def test_it_agrees_with_the_definition(self, seed, k):
        rng = np.random.default_rng(seed)
        e = space(rng.normal(size=(9, 4)))
        labels = [*rng.choice(["a", "b"], 9)]
        groups = [*rng.choice(["", "s", "t"], 9)]
        shares = []
        for i in range(9):
            others = [j for j in range(9) if j != i and (groups[j] == "" or groups[j] != groups[i])]
            cosine = e.similarities(e.raw[i])
            nearest = sorted(others, key=lambda j: -cosine[j])[:k]
            shares += [sum(labels[j] == labels[i] for j in nearest) / len(nearest)] if nearest else []
        assert precision_at_k(e, labels, k, groups=groups)[0] == pytest.approx(np.mean(shares))

    def test_what_makes_no_sense_is_refused(self):
        with pytest.raises(UsageError, match="k = 0"):
            precision_at_k(TWO_PAIRS, ["a"] * 4, 0)
        with pytest.raises(UsageError, match="4 works, 3 labels"):
            precision_at_k(TWO_PAIRS, ["a"] * 3, 1)
        with pytest.raises(UsageError, match="no work"):
            precision_at_k(TWO_PAIRS, [""] * 4, 1)
        with pytest.raises(UsageError, match="no work"):
            precision_at_k(TWO_PAIRS, ["a"] * 4, 1, groups=["s"] * 4)
