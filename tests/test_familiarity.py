"""Familiarity: matches of a content, the artist's own matches, and ranks, against the definition."""

import numpy as np
import pytest

from workbench.errors import UsageError
from workbench.retrieval import embeddings, familiarity
from workbench.retrieval.familiarity import Fit


def blobs(labels, spread=0.1, seed=0):
    """Embeddings of points around one corner per label."""
    generator = np.random.default_rng(seed)
    labels = np.asarray(labels)
    raw = np.eye(8)[labels] + spread * generator.standard_normal((len(labels), 8))
    return embeddings.Embeddings("style", "test", tuple(f"w{i:03}" for i in range(len(labels))), raw.astype(np.float32))


def dense_match(raw, groups, descriptor, centre=None):
    """`familiarity.match` by its definition, with all cosines."""
    centre = raw.mean(axis=0) if centre is None else centre
    units = raw - centre
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ (descriptor - centre) / np.linalg.norm(descriptor - centre)
    nearest = {}
    for i in np.argsort(-cosines, kind="stable"):
        nearest.setdefault(groups[i], i)
    found = units[list(nearest.values())[:6]]
    pairs = (found @ found.T)[np.triu_indices(len(found), 1)]
    return cosines.max(), pairs.mean() if len(pairs) else 1


def scattered(n, series, seed=0):
    """(Embeddings of n points about a far mean, their groups: every third work is in one of `series`)."""
    generator = np.random.default_rng(seed)
    raw = (generator.standard_normal((n, 16)) + 3).astype(np.float32)
    groups = [f"series {generator.integers(series)}" if i % 3 == 0 else f"work {i}" for i in range(n)]
    return embeddings.Embeddings("content", "test", tuple(f"w{i:04}" for i in range(n)), raw), groups


class TestMatch:
    """The best cosine, and the agreement of the works found."""

    def test_a_match_by_hand(self):
        raw = np.array([[5, 0.1, 0], [5, 0, 0.1], [5, 0, -0.1], [0, 5, 0], [0, 0, 5], [-5, -5, -5]], dtype=np.float32)
        e = embeddings.Embeddings("content", "test", tuple("abcdef"), raw)
        works, near, between = e.indexed(), np.array([4.0, 0, 0]), np.array([2.0, 2, 2])
        best, agreement = familiarity.match(works, list("abcdef"), near)
        assert best == pytest.approx(e.similarities(near).max())
        units = raw - e.centre
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        assert agreement == pytest.approx((units @ units.T)[np.triu_indices(6, 1)].mean(), abs=1e-6)  # all six are found
        three = ["a", "a", "a", "b", "c", "d"]
        of_series, of_one = (familiarity.match(works, groups, near)[1] for groups in (three, ["x"] * 6))
        assert of_series < 0.1 < of_one == 1  # of a series the nearest alone is found
        assert np.isfinite(familiarity.match(works, three, between)).all()

    def test_works_that_show_the_same_agree(self):
        e = blobs(np.repeat([0, 1, 2], 8), spread=0.05)
        like_some, like_none = (
            familiarity.match(e.indexed(), e.names, d)[1] for d in (np.eye(8)[1], np.eye(8)[7] * 0.01 + e.centre)
        )
        assert like_some > 0.9 > 0.5 > like_none

    @pytest.mark.parametrize("n", [2, 7, 200])
    def test_it_is_that_of_all_cosines(self, n):
        e, groups = scattered(n, series=3)
        for descriptor in np.random.default_rng(1).standard_normal((5, 16)).astype(np.float32) + 3:
            assert familiarity.match(e.indexed(), groups, descriptor) == pytest.approx(
                dense_match(e.raw, groups, descriptor), abs=1e-5
            )

    def test_the_mean_finds_nothing_and_groups_are_one_per_work(self):
        e, groups = scattered(5, series=1)
        assert familiarity.match(e.indexed(), groups, e.centre) == (0, 0)
        for function in (familiarity.match, familiarity.fit):
            with pytest.raises(UsageError, match="5 works and 2 groups"):
                function(e.indexed(), groups[:2], e.raw[0])
        with pytest.raises(UsageError, match="5 works and 2 groups"):
            familiarity.own_matches(e.indexed(), groups[:2])


class TestOwnMatches:
    """Each work among the works of other groups, about their mean."""

    def dense(self, e, groups, rows):
        groups, found = np.asarray(groups), []
        for i in rows:
            others = groups != groups[i]
            if others.sum() >= 2:
                found.append(dense_match(e.raw[others], groups[others], e.raw[i]))
        return np.array(found).reshape(-1, 2)

    @pytest.mark.parametrize("n", [1, 2, 3, 12, 90])
    def test_they_are_those_of_all_cosines(self, n):
        e, groups = scattered(n, series=2)
        assert familiarity.own_matches(e.indexed(), groups) == pytest.approx(self.dense(e, groups, range(n)), abs=1e-5)

    def test_a_lone_series_has_none(self):
        e, _ = scattered(9, series=1)
        assert familiarity.own_matches(e.indexed(), ["x"] * 9).shape == (0, 2)

    def test_of_many_works_500_are_matched(self):
        e, groups = scattered(1100, series=40)
        rows = np.unique(np.linspace(0, 1099, 500).round().astype(int))
        assert familiarity.own_matches(e.indexed(), groups) == pytest.approx(self.dense(e, groups, rows), abs=1e-5)

    def test_a_search_that_returns_few_goes_on_until_other_groups_are_found(self, monkeypatch):
        """A series of 60 haystacks lies together: the first 8 neighbours of each are haystacks."""
        e = blobs(np.repeat([0, 1, 2, 3], [60, 6, 6, 6]), spread=0.01)
        groups = ["haystacks"] * 60 + [f"work {i}" for i in range(18)]
        expected = self.dense(e, groups, range(78))
        monkeypatch.setattr(familiarity, "CANDIDATES", 8)
        monkeypatch.setattr(familiarity, "NEAREST", 8)
        found = familiarity.own_matches(e.indexed(), groups)
        assert found.shape == (78, 2) and np.isfinite(found).all()
        assert found[:60, 0] == pytest.approx(expected[:60, 0], abs=0.02)  # candidates are about the mean of all


class TestFit:
    def test_ranks_are_those_among_the_artists_own_matches(self):
        e, groups = scattered(40, series=2)
        own = familiarity.own_matches(e.indexed(), groups)
        for descriptor in np.random.default_rng(2).standard_normal((4, 16)).astype(np.float32) + 3:
            best, agreement = familiarity.match(e.indexed(), groups, descriptor)
            expected = Fit((1 + (own[:, 0] <= best).sum()) / 41, (1 + (own[:, 1] <= agreement).sum()) / 41)
            assert familiarity.fit(e.indexed(), groups, descriptor) == expected
        assert familiarity.fit(e.indexed(), ["x"] * 40, e.raw[0]) == Fit(1, 1)

    def test_a_shortfall_needs_both_ranks_to_be_low(self):
        limit = familiarity.UNFAMILIAR
        assert Fit(limit, 0).shortfall == Fit(0, limit).shortfall == Fit(1, 1).shortfall == 0
        assert Fit(limit / 2, limit / 4).shortfall == pytest.approx(0.5) and Fit(0, 0).shortfall == 1
        assert Fit(1, 0.3).words == "it fits: no match among the artist's own is better"
        assert Fit(0.8, 0.3).words == "it fits: the best match is worse than 20% of the artist's own"
        far = "none is near: the best match is worse than 98% of the artist's own, though the works found agree with each other"
        assert Fit(0.02, 0.3).words == far
        assert Fit(0.08, 0.1).words == "hardly anything here fits: the best match is worse than 92% of the artist's own"
        assert Fit(0.08, 0.1).doubtful and not Fit(0.08, 0.1).shortfall and not Fit(0.02, 0.3).doubtful
        assert Fit(0.02, 0.01).words == "nothing here fits: the best match is worse than 98% of the artist's own"
