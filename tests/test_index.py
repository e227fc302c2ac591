"""Vector stores, against a naive reference. A new store is added to STORES, and every test here then holds for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError, WorkbenchError
from workbench.retrieval.centred import CentredIndex
from workbench.retrieval.index import ExactIndex

STORES = {"exact": ExactIndex}


def naive(ids, vectors, query, k, qualifies=None):
    """The k ids with the highest cosine, by definition."""
    some = [i for i in range(len(ids)) if qualifies is None or qualifies[i]]
    cosines = {ids[i]: float(vectors[i] @ query / np.linalg.norm(vectors[i]) / np.linalg.norm(query)) for i in some}
    return sorted(cosines.items(), key=lambda item: (-item[1], item[0]))[:k]


def check(found, expected):
    assert [match.id for match in found] == [id for id, _ in expected]
    assert [match.similarity for match in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)


@pytest.fixture
def points():
    """Thirty points in eight dimensions, of different lengths, some with metadata."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((30, 8)) * generator.uniform(0.1, 10, (30, 1))
    ids = [f"w{i:02}" for i in generator.permutation(30)]
    metadata = [{"genre": "portrait" if i % 2 else "landscape"} | ({"year": 1880 + i % 5} if i % 3 else {}) for i in range(30)]
    return ids, vectors.astype(np.float32), metadata


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
class TestIndex:
    """What every store does."""

    def filled(self, store, points):
        index = store()
        index.upsert(*points)
        return index

    def test_an_empty_index_finds_nothing(self, store):
        assert len(store()) == 0 and store().search(np.ones(3), 5) == []

    def test_points_are_found_by_cosine_whatever_their_lengths(self, store, points):
        index, query = self.filled(store, points), np.arange(8) - 3.5
        assert len(index) == 30
        for k in (1, 4, 30, 99):
            check(index.search(query, k), naive(*points[:2], query, k))
        best = index.search(100 * points[1][7], 1)[0]
        assert (best.id, best.metadata) == (points[0][7], points[2][7]) and best.similarity == pytest.approx(1, abs=1e-6)

    def test_equal_cosines_are_ordered_by_id_also_where_k_divides_them(self, store):
        index = store()
        index.upsert(["c", "a", "d", "b"], np.array([[2.0, 0], [1, 0], [0, 1], [4, 0]]))
        assert [match.id for match in index.search(np.array([1.0, 0]), 2)] == ["a", "b"]
        assert [match.id for match in index.search(np.array([1.0, 0]), 9)] == ["a", "b", "c", "d"]

    def test_upserting_twice_is_upserting_once(self, store, points):
        index = self.filled(store, points)
        index.upsert(*points)
        assert len(index) == 30
        check(index.search(points[1][0], 30), naive(*points[:2], points[1][0], 30))

    def test_an_upsert_replaces_vector_and_metadata(self, store, points):
        index = self.filled(store, points)
        index.upsert([points[0][3]], -points[1][3:4], [{"year": 1900}])
        (found,) = index.search(-points[1][3], 1)
        assert (found.id, found.metadata) == (points[0][3], {"year": 1900}) and len(index) == 30

    def test_many_batches_are_one(self, store, points):
        ids, vectors, metadata = points
        index = store()
        for start in range(0, 30, 7):
            index.upsert(ids[start : start + 7], vectors[start : start + 7], metadata[start : start + 7])
        check(index.search(vectors[5], 30), naive(ids, vectors, vectors[5], 30))
        assert {match.id: match.metadata for match in index.search(vectors[5], 30)} == dict(zip(ids, metadata, strict=True))

    def test_what_is_deleted_is_not_found_and_may_come_back(self, store, points):
        ids, vectors, metadata = points
        index = self.filled(store, points)
        index.delete([*ids[:10], "no such id"])
        assert len(index) == 20
        check(index.search(vectors[0], 30), naive(ids[10:], vectors[10:], vectors[0], 30))
        index.upsert(ids[:10], vectors[:10], metadata[:10])
        check(index.search(vectors[0], 30), naive(ids, vectors, vectors[0], 30))
        index.delete(ids)
        assert len(index) == 0 and index.search(vectors[0], 3) == []

    @pytest.mark.parametrize(
        "where",
        [
            {"genre": "portrait"},
            {"year": 1881},
            {"year": [1881, 1883]},
            {"genre": "landscape", "year": (1882, 1884, 1999)},
            {"genre": "still life"},
            {"genre": []},
            {"no such column": "x"},
            {},
        ],
    )
    def test_a_filter_holds_for_every_column_and_a_missing_one_does_not_match(self, store, points, where):
        ids, vectors, metadata = points

        def qualifies(columns):
            wanted = {key: value if isinstance(value, list | tuple) else [value] for key, value in where.items()}
            return all(key in columns and columns[key] in values for key, values in wanted.items())

        expected = naive(ids, vectors, vectors[2], 6, [qualifies(columns) for columns in metadata])
        check(self.filled(store, points).search(vectors[2], 6, where), expected)

    def test_points_without_metadata_are_found_and_meet_no_filter(self, store):
        index = store()
        index.upsert(["a"], np.ones((1, 3)))
        assert index.search(np.ones(3), 1)[0].metadata == {} and index.search(np.ones(3), 1, {"genre": "portrait"}) == []

    def test_ids_may_be_any_text(self, store, tmp_path):
        ids = ["Nachtcafé", "Nachtcafe\u0301", "夜/星月夜.png", "a b#2", "'; drop table --", "🌻", "x" * 300]
        index = store()
        index.upsert(ids, np.eye(7), [{"title": id} for id in ids])
        index.save(tmp_path / "index")
        for some in (index, store.open(tmp_path / "index")):
            found = [some.search(row, 1)[0] for row in np.eye(7)]
            assert [match.id for match in found] == ids == [match.metadata["title"] for match in found]
            assert [match.id for match in some.search(np.ones(7), 9, {"title": ids[4]})] == [ids[4]]

    def test_a_reopened_index_is_the_one_that_was_saved(self, store, points, tmp_path):
        index = self.filled(store, points)
        index.delete(points[0][:3])
        index.save(tmp_path / "new" / "index")
        again = store.open(tmp_path / "new" / "index")
        assert len(again) == 27 and again.search(points[1][0], 99) == index.search(points[1][0], 99)
        again.upsert(*points)
        again.save(tmp_path / "new" / "index")
        assert len(store.open(tmp_path / "new" / "index")) == 30
        store().save(tmp_path / "empty")
        assert len(store.open(tmp_path / "empty")) == 0

    def test_what_is_no_index_is_refused_by_name(self, store, tmp_path):
        (tmp_path / "damaged").write_bytes(b"no index")
        for name in ("damaged", "absent"):
            with pytest.raises(WorkbenchError, match=name):
                store.open(tmp_path / name)

    @pytest.mark.parametrize(
        ("ids", "vectors", "metadata", "says"),
        [
            (["a"], np.ones((1, 5)), None, "a vector of 5 numbers in an index of 8"),
            (["a", "b"], np.ones((1, 8)), None, "for 2 ids"),
            (["a"], np.ones((1, 8)), [{}, {}], "2 mappings"),
            (["a"], np.ones(8), None, "one of each"),
            (["a", "a"], np.ones((2, 8)), None, "twice"),
            (["ok", "flat"], np.eye(8)[:2] * [[1], [0]], None, "'flat' is zero"),
            (["a"], np.full((1, 8), np.nan), None, "not finite"),
        ],
    )
    def test_points_that_make_no_sense_change_nothing(self, store, points, ids, vectors, metadata, says):
        index = self.filled(store, points)
        with pytest.raises(UsageError, match=says) as refused:
            index.upsert(ids, vectors, metadata)
        assert "\n" not in str(refused.value) and len(index) == 30
        check(index.search(points[1][0], 30), naive(*points[:2], points[1][0], 30))

    @pytest.mark.parametrize(
        ("vector", "k", "says"),
        [
            (np.ones(8), 0, "k = 0"),
            (np.ones(8), -1, "k = -1"),
            (np.ones(5), 1, "a vector of 5 numbers in an index of 8"),
            (np.ones((1, 8)), 1, "one vector"),
            (np.zeros(8), 1, "zero"),
            (np.full(8, np.inf), 1, "not finite"),
        ],
    )
    def test_queries_that_make_no_sense_are_refused(self, store, points, vector, k, says):
        with pytest.raises(UsageError, match=says) as refused:
            self.filled(store, points).search(vector, k)
        assert "\n" not in str(refused.value)


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

    def test_the_file_is_safetensors_with_json_inside(self, tmp_path):
        from safetensors.numpy import load_file

        index = ExactIndex()
        index.upsert(["a"], np.ones((1, 3)), [{"title": "Café"}])
        index.save(tmp_path / "index.safetensors")
        tensors = load_file(tmp_path / "index.safetensors")
        assert json.loads(tensors["points"].tobytes()) == {"ids": ["a"], "metadata": [{"title": "Café"}]}
        assert np.array_equal(tensors["vectors"], np.ones((1, 3))) and tensors["vectors"].dtype == np.float32
        assert [path.name for path in Path(tmp_path).iterdir()] == ["index.safetensors"]

    def test_names_of_files_in_no_encoding_are_kept(self, tmp_path):
        index, name = ExactIndex(), "caf\udce9.png"  # as Python reads Latin-1 on a UTF-8 system
        index.upsert([name], np.ones((1, 3)), [{"work": name}])
        index.save(tmp_path / "index")
        (found,) = ExactIndex.open(tmp_path / "index").search(np.ones(3), 1)
        assert (found.id, found.metadata) == (name, {"work": name})


class TestCentredIndex:
    def centred(self, descriptors, **given):
        descriptors = np.asarray(descriptors, dtype=np.float32)
        return CentredIndex([f"p{i}" for i in range(len(descriptors))], descriptors, descriptors.mean(axis=0), **given)

    def test_cosines_are_about_the_mean(self):
        index = self.centred([[1, 0], [0, 1]])
        check(index.search(np.array([1.0, 0])), [("p0", 1), ("p1", -1)])

    def test_the_mean_itself_has_no_direction(self):
        index = self.centred([[1, 0], [-1, 0], [0, 0]])
        assert len(index) == 2 and index.search(np.zeros(2)) == []
        assert [match.id for match in index.search(np.array([2.0, 0]))] == ["p0", "p1"]
        assert self.centred(np.ones((4, 3))).search(np.arange(3)) == []
        with pytest.raises(UsageError, match="k = 0"):
            index.search(np.zeros(2), 0)

    def test_a_store_that_holds_these_points_may_be_given_and_one_that_holds_others_not(self):
        store, descriptors = ExactIndex(), np.eye(3, dtype=np.float32)
        for _ in range(2):
            assert self.centred(descriptors, index=store).index is store and len(store) == 3
        store.upsert(["other"], np.ones((1, 3)))
        with pytest.raises(UsageError, match="1 points that are not of these 3"):
            self.centred(descriptors, index=store)

    def test_points_come_in_batches_and_need_names_of_their_own(self, monkeypatch):
        monkeypatch.setattr("workbench.retrieval.centred.BATCH", 4)
        descriptors = np.random.default_rng(0).standard_normal((11, 3)).astype(np.float32)
        index = self.centred(descriptors, metadata=[{"row": i} for i in range(11)])
        assert [index.search(row, 1)[0].metadata["row"] for row in descriptors] == list(range(11))
        with pytest.raises(UsageError, match="twice"):
            CentredIndex(["a", "a"], descriptors[:2], np.zeros(3))


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
