"""The exact index against a naive reference, and points about their mean. What every store does: test_stores.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_search import check, naive

from workbench.errors import UsageError
from workbench.retrieval.centred import CentredIndex, centred
from workbench.retrieval.index import ExactIndex, where_of


class TestExactIndex:
    @given(seed=st.integers(0, 10**6), n=st.integers(1, 40), k=st.integers(1, 50), share=st.floats(0, 1))
    def test_any_history_ends_as_the_definition_says(self, seed, n, k, share):
        generator = np.random.default_rng(seed)
        index, expected = ExactIndex(), {}
        for _ in range(6):
            ids = [str(i) for i in generator.choice(n, generator.integers(1, n + 1), replace=False)]
            vectors = generator.integers(-2, 3, (len(ids), 3)).astype(np.float32)
            vectors[~vectors.any(axis=1)] = 1
            if generator.random() < share:
                index.delete(ids)
                expected = {id: vector for id, vector in expected.items() if id not in ids}
            else:
                index.upsert(ids, vectors)
                expected |= zip(ids, vectors, strict=True)
        assert len(index) == len(expected)
        found = index.search(np.array([1.0, 2, -1]), k)
        cosines = dict(naive(list(expected), list(expected.values()), np.array([1.0, 2, -1]), n))
        assert len(found) == min(k, len(expected))
        assert [m.similarity for m in found] == pytest.approx(sorted(cosines.values(), reverse=True)[:k], abs=1e-6)
        assert found == sorted(found, key=lambda match: (-match.similarity, match.id))


class TestCentredIndex:
    def centred(self, descriptors, **given):
        descriptors = np.asarray(descriptors, dtype=np.float32)
        return centred([f"p{i}" for i in range(len(descriptors))], descriptors, descriptors.mean(axis=0), **given)

    def test_cosines_are_about_the_mean(self):
        index = self.centred([[1, 0], [0, 1]])
        check(index.search(np.array([1.0, 0])), [("p0", 1), ("p1", -1)])

    def test_the_mean_itself_has_no_direction(self):
        index = self.centred([[1, 0], [-1, 0], [0, 0]])
        assert len(index) == 3 and index.search(np.zeros(2)) == []
        assert np.array_equal(index.vectors([2, 0]), [[0, 0], [1, 0]])
        assert [match.id for match in index.search(np.array([2.0, 0]))] == ["p0", "p1"]
        assert self.centred(np.ones((4, 3))).search(np.arange(3)) == []
        with pytest.raises(UsageError, match="k = 0"):
            index.search(np.zeros(2), 0)

    def test_other_points_of_the_index_are_never_found(self):
        generator = np.random.default_rng(0)
        vectors, ids = generator.standard_normal((40, 3)), [f"p{i}" for i in range(40)]
        store, own, query = ExactIndex(), ids[::8], generator.standard_normal(3)
        store.upsert(ids, vectors, [{"corpus": "a" if i % 4 == 0 else "b"} for i in range(40)])
        expected = naive(own, vectors[::8], query, 9)
        for where in (None, {"corpus": "a"}):
            index = CentredIndex(own, store, np.zeros(3, dtype=np.float32), where)
            for k in (1, 3, 9):
                check(index.search(query, k), expected[:k])
            assert index.search(query, 3, {"corpus": "b"}) == []

    def test_points_have_names_of_their_own(self):
        with pytest.raises(UsageError, match="twice"):
            centred(["a", "a"], np.eye(2), np.zeros(2))


class TestExtremes:
    """Vectors whose squares leave the range of float32."""

    @pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
    def test_cosines_do_not_depend_on_lengths(self, scale):
        index = ExactIndex()
        index.upsert(["along", "across"], np.array([[1, 1], [1, -1]]) * scale)
        found = index.search(np.array([1, 1]) * scale, 2)
        assert [match.id for match in found] == ["along", "across"]
        assert [match.similarity for match in found] == pytest.approx([1, 0], abs=1e-6)

    def test_what_is_refused_leaves_the_index_as_it_was(self):
        index = ExactIndex()
        index.upsert(["a"], np.ones((1, 2)))
        with pytest.raises((UsageError, TypeError)):
            index.upsert(["b", "c"], np.ones((2, 2)), [{}, 5])
        assert len(index) == 1

    def test_a_point_without_the_key_does_not_match_none(self):
        index = ExactIndex()
        index.upsert(["a"], np.ones((1, 2)))
        assert index.search(np.ones(2), 1, {"genre": [None]}) == []


def test_a_filter_in_words_has_the_values_of_every_column():
    assert where_of(["artist=Claude Monet", "year=1888..1890", "artist=", "note=a=b"]) == {
        "artist": ["Claude Monet", ""],
        "year": ["1888", "1889", "1890"],
        "note": ["a=b"],
    }
    assert where_of([]) == {}
    with pytest.raises(UsageError, match="write COLUMN=VALUE"):
        where_of(["artist"])
