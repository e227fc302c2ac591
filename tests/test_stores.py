"""What every vector store does: one suite over the exact index, LanceDB, Chroma, pgvector, Redis, Qdrant and Milvus Lite.

Servers come from wheels and are started here; a store whose packages are not installed is skipped by name. Weaviate and
Pinecone are run where WORKBENCH_TEST_WEAVIATE and WORKBENCH_TEST_PINECONE name servers, with their keys in WEAVIATE_API_KEY
and PINECONE_API_KEY; indexes that the tests make there are removed.
"""

import itertools
import subprocess
import sys
import threading
from urllib.parse import quote

import numpy as np
import pytest
from naive_search import check, naive
from vector_servers import ELSEWHERE, NEEDS, check_installed, drop

from workbench.errors import UsageError, WorkbenchError
from workbench.names import without_passwords
from workbench.retrieval import stores
from workbench.retrieval.index import ExactIndex
from workbench.retrieval.stores import open_index

IN_A_FOLDER = {"lancedb": "lancedb:{}/museum", "qdrant": "qdrant:{}/museum", "milvus": "milvus:{}/museum.db"}
ONE_PROCESS = ("qdrant", "milvus")
"""Stores in a folder that one process opens at a time."""
numbers = itertools.count()


@pytest.fixture(params=NEEDS)
def words(request, servers, tmp_path):
    """The words of an index that does not exist yet."""
    store = request.param
    place = (
        IN_A_FOLDER[store].format(tmp_path) if store in IN_A_FOLDER else "exact" if store == "exact" else servers.place(store)
    )
    check_installed(store)
    made = place if store == "exact" else f"{place}#test{next(numbers)}"
    yield made
    for name in (made, f"{made}_other") if store in ELSEWHERE else ():
        index = open_index(name)
        drop(store, index)
        close(index)


@pytest.fixture
def index(words):
    opened = open_index(words)
    yield opened
    close(opened)


@pytest.fixture
def points():
    """Thirty points in eight dimensions, of different lengths, some with metadata."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((30, 8)) * generator.uniform(0.1, 10, (30, 1))
    ids = [f"w{i:02}" for i in generator.permutation(30)]
    metadata = [{"genre": "portrait" if i % 2 else "landscape"} | ({"year": 1880 + i % 5} if i % 3 else {}) for i in range(30)]
    return ids, vectors.astype(np.float32), metadata


def close(index):
    getattr(getattr(index, "client", None), "close", lambda: None)()


class TestIndex:
    """What every store does."""

    def test_an_empty_index_finds_nothing(self, index):
        assert len(index) == 0 and index.search(np.ones(3), 5) == [] and index.about == ""
        assert index.present(["a"]) == set() and not index.vectors(["a"]).any()
        index.delete(["a"])
        index.optimise()

    def test_points_are_found_by_cosine_whatever_their_lengths(self, index, points):
        index.upsert(*points)
        query = np.arange(8) - 3.5
        assert len(index) == 30
        for k in (1, 4, 30, 99):
            check(index.search(query, k), naive(*points[:2], query, k))
        best = index.search(100 * points[1][7], 1)[0]
        assert (best.id, best.metadata) == (points[0][7], points[2][7]) and best.similarity == pytest.approx(1, abs=1e-6)

    def test_vectors_come_back_as_they_were_given(self, index, points):
        ids, vectors, _ = points
        index.upsert(*points)
        found = index.vectors([ids[3], "absent", ids[1]])
        lengths = np.linalg.norm(vectors[[3, 1]], axis=1, keepdims=True)
        assert np.abs((found[[0, 2]] - vectors[[3, 1]]) / lengths).max() < 1e-6 and not found[1].any()
        assert index.vectors([]).shape == (0, 8)
        assert index.present([*ids[:3], "absent"]) == set(ids[:3]) and index.present([]) == set()

    def test_equal_cosines_are_ordered_by_id(self, index):
        index.upsert(["c", "a", "d", "b"], np.array([[2.0, 0], [1, 0], [0, 1], [4, 0]]))
        assert [match.id for match in index.search(np.array([1.0, 0]), 9)] == ["a", "b", "c", "d"]

    def test_an_upsert_adds_once_and_replaces_vector_and_metadata(self, index, points):
        ids, vectors, metadata = points
        for _ in range(2):
            index.upsert(*points)
            assert len(index) == 30
            check(index.search(vectors[0], 30), naive(ids, vectors, vectors[0], 30))
        index.upsert([ids[3]], -vectors[3:4], [{"place": "Arles"}])
        (found,) = index.search(-vectors[3], 1)
        assert (found.id, found.metadata) == (ids[3], {"place": "Arles"}) and len(index) == 30
        assert ids[3] not in {match.id for match in index.search(vectors[3], 30, metadata[3])}
        index.upsert([ids[3]], vectors[3:4])
        assert index.search(vectors[3], 1)[0].metadata == {} and index.search(vectors[3], 1, {"place": "Arles"}) == []

    def test_many_batches_are_one(self, index, points):
        ids, vectors, metadata = points
        if hasattr(index, "batch"):
            index.batch = 4  # and every request holds a part of a batch
        for start in range(0, 30, 7):
            index.upsert(ids[start : start + 7], vectors[start : start + 7], metadata[start : start + 7])
        check(index.search(vectors[5], 30), naive(ids, vectors, vectors[5], 30))
        assert {match.id: match.metadata for match in index.search(vectors[5], 30)} == dict(zip(ids, metadata, strict=True))
        assert index.present(ids) == set(ids) and index.vectors(ids) == pytest.approx(vectors, rel=1e-5)

    def test_what_is_deleted_is_not_found_and_may_come_back(self, index, points):
        ids, vectors, metadata = points
        index.upsert(*points)
        index.delete([*ids[:10], "no such id"])
        assert len(index) == 20 and index.present(ids) == set(ids[10:])
        check(index.search(vectors[0], 30), naive(ids[10:], vectors[10:], vectors[0], 30))
        index.upsert(ids[:10], vectors[:10], metadata[:10])
        check(index.search(vectors[0], 30), naive(ids, vectors, vectors[0], 30))
        index.delete(ids)
        assert len(index) == 0 and index.search(vectors[0], 3) == []

    def test_a_filter_holds_for_every_column_and_a_missing_one_does_not_match(self, index, points):
        ids, vectors, metadata = points
        index.upsert(*points)
        for where in (
            {"genre": "portrait"},
            {"year": 1881},
            {"year": 1881.0},
            {"year": "1881"},
            {"year": [1881, 1883]},
            {"genre": "landscape", "year": (1882, 1884, 1999)},
            {"genre": "still life"},
            {"genre": []},
            {"no such column": "x"},
            {},
        ):
            wanted = {key: value if isinstance(value, list | tuple) else [value] for key, value in where.items()}
            qualifies = [all(columns.get(key) in values for key, values in wanted.items()) for columns in metadata]
            check(index.search(vectors[2], 6, where), naive(ids, vectors, vectors[2], 6, qualifies))

    def test_texts_numbers_and_truth_values_come_back_as_they_are(self, index):
        metadata = [{"a": "1"}, {"a": 1}, {"a": True}, {"a": 1.5}, {}]
        index.upsert(list("abcde"), np.eye(5), metadata)
        found = {match.id: match.metadata for match in index.search(np.ones(5), 5)}
        assert found == dict(zip("abcde", metadata, strict=True))
        assert [type(found[id]["a"]) for id in "abcd"] == [str, int, bool, float]
        for value, id in (("1", "a"), (1, "b"), (1.0, "b"), (True, "c"), (1.5, "d")):
            assert [match.id for match in index.search(np.ones(5), 5, {"a": value})] == [id]

    def test_ids_and_metadata_may_be_any_text(self, index):
        ids = ["Nachtcafé", "Nachtcafe\u0301", "夜/星月夜.png", "a b#2", "'; drop table --", '🌻"\\', "x" * 300]
        index.upsert(ids, np.eye(7), [{"title": id, id: "column"} for id in ids])
        found = [index.search(row, 1)[0] for row in np.eye(7)]
        assert [match.id for match in found] == ids == [match.metadata["title"] for match in found]
        assert index.present(ids) == set(ids) and index.vectors(ids) == pytest.approx(np.eye(7))
        for id in ids:
            assert [match.id for match in index.search(np.ones(7), 9, {"title": id, id: "column"})] == [id]
        index.delete(ids[4:])
        assert index.present(ids) == set(ids[:4])

    def test_what_makes_no_sense_is_refused_in_one_line_and_changes_nothing(self, index, points):
        index.upsert(*points)
        for ids, vectors, metadata, says in (
            (["a"], np.ones((1, 5)), None, "a vector of 5 numbers in an index of 8"),
            (["a", "b"], np.ones((1, 8)), None, "for 2 ids"),
            (["a"], np.ones((1, 8)), [{}, {}], "2 mappings"),
            (["a"], np.ones(8), None, "one of each"),
            (["a", "a"], np.ones((2, 8)), None, "twice"),
            (["ok", "flat"], np.eye(8)[:2] * [[1], [0]], None, "'flat' is zero"),
            (["a"], np.full((1, 8), np.nan), None, "not finite"),
            (["a"], np.ones((1, 8)), [{"year": None}], "year = None"),
            (["a"], np.ones((1, 8)), [5], "metadata 5"),
        ):
            with pytest.raises(UsageError, match=says) as refused:
                index.upsert(ids, vectors, metadata)
            assert "\n" not in str(refused.value) and len(index) == 30
        for vector, k, says in (
            (np.ones(8), 0, "k = 0"),
            (np.ones(8), -1, "k = -1"),
            (np.ones(5), 1, "a vector of 5 numbers in an index of 8"),
            (np.ones((1, 8)), 1, "one vector"),
            (np.zeros(8), 1, "zero"),
            (np.full(8, np.inf), 1, "not finite"),
        ):
            with pytest.raises(UsageError, match=says) as refused:
                index.search(vector, k)
            assert "\n" not in str(refused.value)
        check(index.search(points[1][0], 30), naive(*points[:2], points[1][0], 30))

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_cosines_do_not_depend_on_lengths(self, index, scale):
        """Also of vectors whose squares leave the range of float32."""
        index.upsert(["along", "across"], np.array([[1, 1], [1, -1]]) * scale)
        found = index.search(np.array([1, 1]) * scale, 2)
        assert [match.id for match in found] == ["along", "across"]
        assert [match.similarity for match in found] == pytest.approx([1, 0], abs=1e-6)


@pytest.mark.parametrize("words", [store for store in NEEDS if store != "exact"], indirect=True)
class TestKept:
    """What every store does that outlives the process."""

    def test_a_reopened_index_is_the_same(self, words, points):
        first = open_index(words)
        first.about = "lite0, 320 px; l'œuvre"
        first.upsert(*points)
        first.delete(points[0][:3])
        close(first)
        again = open_index(words)
        assert (len(again), again.about) == (27, first.about)
        check(again.search(points[1][0], 99), naive(points[0][3:], points[1][3:], points[1][0], 99))
        with pytest.raises(UsageError, match="index of 8"):
            again.upsert(["a"], np.ones((1, 5)))
        again.upsert(*points)
        assert len(again) == 30
        close(again)

    def test_indexes_of_other_names_are_apart(self, words, points):
        first = open_index(words)
        first.upsert(*points)
        close(first)
        other = open_index(f"{words}_other")
        assert len(other) == 0
        other.upsert(["a"], np.ones((1, 3)))
        assert len(other) == 1
        close(other)

    def test_after_a_crash_between_two_batches_whole_batches_are_there_and_a_second_run_completes_them(self, words, points):
        ids, vectors, _ = points
        program = (
            "import os, sys, numpy as np\n"
            "from workbench.retrieval.stores import open_index\n"
            "index = open_index(sys.argv[1])\n"
            "index.about = 'what it is'\n"
            "index.upsert([f'w{i:02}' for i in range(20)], np.random.default_rng(0).standard_normal((20, 8)))\n"
            "os._exit(9)\n"
        )
        ran = subprocess.run([sys.executable, "-c", program, words], capture_output=True, timeout=120)
        assert ran.returncode == 9, ran.stderr.decode()[-500:]
        index = open_index(words)
        assert len(index) == 20 and index.about == "what it is"
        index.upsert(*points)
        check(index.search(vectors[2], 99), naive(ids, vectors, vectors[2], 99))
        close(index)

    @pytest.mark.parametrize("late", [False, True])
    def test_of_two_that_begin_an_index_the_first_says_what_it_holds(self, words, points, late):
        if words.startswith(ONE_PROCESS):
            pytest.skip(f"{words.partition(':')[0]} in a folder is for one process at a time")
        first, second = open_index(words), open_index(words)
        first.begin("by the first", 8)
        if late:  # it looked before the first had begun, and looks again when it could not make it
            answers = itertools.chain([lambda: None], itertools.repeat(second.look))
            second.look = lambda: next(answers)()
        second.begin("by the second", 8)
        assert first.about == second.about == "by the first"
        first.upsert(points[0][:15], points[1][:15])
        second.upsert(points[0][15:], points[1][15:])
        again = open_index(words)
        assert (len(again), again.about) == (30, "by the first")
        for index in (first, second, again):
            close(index)

    def test_two_readers_and_a_writer(self, words):
        """Whatever a reader finds is right, and nothing that was there before is missing."""
        if words.startswith(ONE_PROCESS):
            pytest.skip(f"{words.partition(':')[0]} in a folder is for one process at a time")
        vectors = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
        ids = [f"w{i:02}" for i in range(60)]
        writer = open_index(words)
        writer.upsert(ids[:10], vectors[:10])
        written, failures, seen = threading.Event(), [], []

        def read():
            try:
                reader, known = open_index(words), 0
                while not (done := written.is_set()) or known < 60:
                    found = {match.id: match.similarity for match in reader.search(vectors[3], 99)}
                    cosines = dict(naive(ids, vectors, vectors[3], 99))
                    assert len(found) >= known >= 0 and all(abs(cosines[id] - cosine) < 1e-5 for id, cosine in found.items())
                    assert not done or len(found) == 60
                    known = len(found)
                    seen.append(known)
                close(reader)
            except BaseException as error:
                failures.append(error)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for start in range(10, 60, 10):
            writer.upsert(ids[start : start + 10], vectors[start : start + 10])
        written.set()
        for reader in readers:
            reader.join(60)
        assert not failures and max(seen) == 60
        close(writer)

    def test_a_folder_for_one_process_says_so_to_a_second(self, words, points):
        if not words.startswith(ONE_PROCESS):
            pytest.skip("may be opened by several")
        index = open_index(words)
        index.upsert(*points)
        program = "import sys\nfrom workbench.cli import main\nfrom workbench.retrieval.stores import open_index\n"
        program += "try:\n    open_index(sys.argv[1])\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
        ran = subprocess.run([sys.executable, "-c", program, words], capture_output=True, text=True, timeout=120)
        assert ran.stdout.startswith("WorkbenchError index ") and ran.stdout.count("\n") == 1
        close(index)

    def test_of_many_points_the_nearest_are_found(self, words, monkeypatch):
        """By an approximate index, where the store has one."""
        for module in ("lance.APPROXIMATE", "postgres.APPROXIMATE", "redis_sets.EXACT"):
            monkeypatch.setattr(f"workbench.retrieval.stores.{module}", 500)
        n = 200 if words.startswith("qdrant") else 3000
        generator = np.random.default_rng(0)
        vectors = generator.standard_normal((n, 16)).astype(np.float32)
        ids, metadata = [f"w{i}" for i in range(n)], [{"artist": f"a{i % 10}"} for i in range(n)]
        index, exact = open_index(words), ExactIndex()
        for some in (index, exact):
            some.upsert(ids, vectors, metadata)
            some.optimise()
        hits = []
        for query in generator.standard_normal((20, 16)):
            for where, k in (({}, 10), ({"artist": "a3"}, 10), ({}, n // 8)):
                found, right = index.search(query, k, where), exact.search(query, k, where)
                hits.append(len({m.id for m in found} & {m.id for m in right}) / k)
                those = [match.id for match in found]
                cosines = dict(naive(those, index.vectors(those), query, k))
                assert [match.similarity for match in found] == pytest.approx([cosines[id] for id in those], abs=1e-5)
        assert np.mean(hits) > 0.95
        index.upsert(["new"], 100 * vectors[:1])  # found at once, whatever was built before
        assert {match.id for match in index.search(vectors[0], 2)} == {"new", "w0"}
        close(index)


def test_a_table_of_another_program_is_left_as_it_is(servers):
    check_installed("postgresql")
    place = servers.place("postgresql")
    index = open_index(f"{place}#visitors")
    index.client.execute("create table visitors (name text); comment on table visitors is 'of the museum'")
    with pytest.raises(WorkbenchError, match="visitors") as refused:
        index.upsert(["a"], np.ones((1, 3)))
    assert "\n" not in str(refused.value)
    (comment,) = index.client.execute("select obj_description('visitors'::regclass)").fetchone()
    assert comment == "of the museum" and index.client.execute("select count(*) from visitors").fetchone() == (0,)
    close(index)


def test_a_password_of_redis_is_read_from_address_or_environment_and_never_shown(servers, monkeypatch):
    check_installed("redis")
    password = "s3cret/of #1"
    place = servers.redis_asking_for(password)
    given = {"address": f"redis://:{quote(password, safe='')}@{place}", "environment": f"redis://{place}"}
    for where, words in given.items():
        if where == "environment":
            monkeypatch.setenv("REDIS_PASSWORD", password)
        index = open_index(words)
        index.upsert([where], np.ones((1, 3)))
        assert where in {match.id for match in index.search(np.ones(3), 9)}
        close(index)
    monkeypatch.delenv("REDIS_PASSWORD")
    for words in (f"redis://{place}", f"redis://:wr0ng@{place}"):
        with pytest.raises(WorkbenchError) as refused:
            open_index(words)
        assert place in str(refused.value) and "wr0ng" not in str(refused.value) and "\n" not in str(refused.value)


class TestWords:
    """The words of --index."""

    def test_words_name_store_place_and_name(self):
        assert stores.parse("exact")[0] == "exact"
        assert stores.parse("lancedb:my museum") == ("lancedb", "my museum", "works")
        assert stores.parse("qdrant:http://host:6333#monet") == ("qdrant", "http://host:6333", "monet")
        assert stores.parse("postgresql://me@host/db?sslmode=require#monet") == (
            "postgresql", "postgresql://me@host/db?sslmode=require", "monet"
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("", "choose exact, lancedb:FOLDER"),
            ("elastic://host", "choose exact"),
            ("lancedb", "write lancedb:FOLDER"),
            ("lancedb:", "write lancedb:FOLDER"),
            ("redis://", "write redis://"),
            ("lancedb:x#a b", "3 to 48 letters"),
            ("milvus:museum", "ends in .db"),
            ("pinecone:aws", "write pinecone:CLOUD/REGION"),
            ("pinecone:aws/us-east-1#Works", "in small letters"),
        ],
    )
    def test_other_words_are_refused_in_one_line(self, words, says):
        if (store := words.partition(":")[0]) in ("milvus", "pinecone"):
            check_installed(store)
        with pytest.raises(UsageError, match=says) as refused:
            open_index(words)
        assert "\n" not in str(refused.value)

    def test_passwords_are_never_shown(self):
        assert without_passwords(empty := "postgresql://me:@/db?password=&host=/tmp") == empty  # there is none
        for text in ("postgresql://me:secret@host/db", "redis://:secret@host", "postgresql://host/db?user=me&password=secret"):
            assert "secret" not in without_passwords(text) and "host" in without_passwords(text)
            with pytest.raises(UsageError) as refused:
                stores.parse(f"nosuch{text}")
            assert "secret" not in str(refused.value)

    @pytest.mark.parametrize("store", [store for store in NEEDS if store != "exact"])
    def test_a_client_that_is_not_installed_is_named_with_its_extra(self, store, monkeypatch, tmp_path):
        for package in itertools.chain(["pyarrow", "chromadb", "pgvector.psycopg"], *NEEDS.values()):
            monkeypatch.setitem(sys.modules, package, None)
        words = IN_A_FOLDER.get(store, f"{store}://127.0.0.1:1/x").format(tmp_path)
        with pytest.raises(WorkbenchError, match=rf"pip install 'artist-workbench\[{store}\]'") as refused:
            open_index(words)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        "words",
        [
            "chroma://127.0.0.1:1",
            "postgresql://me:secret@127.0.0.1:1/x",
            "redis://:secret@127.0.0.1:1",
            "qdrant:http://127.0.0.1:1",
            "milvus:http://127.0.0.1:1",
            "weaviate:http://127.0.0.1:1",
            "pinecone:http://127.0.0.1:1",
        ],
    )
    def test_a_server_that_does_not_answer_is_one_line(self, words):
        check_installed(words.partition(":")[0])
        with pytest.raises(WorkbenchError, match=r"^index .*127\.0\.0\.1") as refused:
            open_index(words)
        assert "\n" not in str(refused.value) and "secret" not in str(refused.value)


def test_vectors_of_lancedb_that_were_changed_on_disk_are_refused(tmp_path, points):
    """Its files have no checksums: a flipped byte would be another cosine."""
    pytest.importorskip("lancedb")
    ids, vectors, metadata = points
    index = open_index(f"lancedb:{tmp_path}/museum")
    index.upsert(ids, vectors, metadata)
    (data,) = (tmp_path / "museum").rglob("data/*.lance")
    content = bytearray(data.read_bytes())
    at = content.find(vectors[4].tobytes())
    content[at + 2] ^= 0x40
    data.write_bytes(content)
    damaged = open_index(f"lancedb:{tmp_path}/museum")
    for read in (lambda: damaged.search(vectors[0], 30), lambda: damaged.vectors(ids), lambda: damaged.vectors(ids[4:5])):
        with pytest.raises(WorkbenchError, match="museum: the table works is damaged: delete it, and fill it again"):
            read()
    assert damaged.present(ids) == set(ids) and len(damaged.vectors(ids[5:])) == 25


@pytest.mark.parametrize("words", ["chroma"], indirect=True)
@pytest.mark.parametrize("where", [None, {"genre": "landscape"}])
def test_a_point_that_the_graph_of_the_server_does_not_lead_to_is_found(words, points, where, monkeypatch):
    """The graph of a server has such a point too seldom for a test; here the answer of a real one lacks its second."""
    ids, vectors, metadata = points
    index = open_index(words)
    index.upsert(*points)
    query = index._points.query

    def without_one(**asked):
        found = query(**asked)
        return found | {name: [found[name][0][:1] + found[name][0][2:]] for name in ("ids", "distances", "metadatas")}

    monkeypatch.setattr(index._points, "query", without_one)
    check(
        index.search(vectors[2], 30, where),
        naive(ids, vectors, vectors[2], 30, where and [held["genre"] == "landscape" for held in metadata]),
    )
    monkeypatch.undo()
    close(index)
