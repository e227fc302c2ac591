import gc
import multiprocessing
import shutil
import threading
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from waiting import until

from workbench import encoders, images, progress, statistics
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.retrieval import clusters, embeddings, index


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    return tmp_path


def blobs(labels, spread=0.1, seed=0):
    """Embeddings of points around one corner per label."""
    generator = np.random.default_rng(seed)
    labels = np.asarray(labels)
    raw = np.eye(8)[labels] + spread * generator.standard_normal((len(labels), 8))
    return embeddings.Embeddings("style", "test", tuple(f"w{i:03}" for i in range(len(labels))), raw.astype(np.float32))


@pytest.mark.parametrize("kind", embeddings.KINDS)
def test_two_hands_lie_apart(corpus, encoder, kind):
    e = embeddings.embed(corpus, encoder, kind, size=64)
    labels = clusters.cluster(e, 2).labels
    genres = [work.genre for work in corpus]
    assert len({(label, genre) for label, genre in zip(labels, genres, strict=True)}) == 2


def test_embedding_resumes_and_never_serves_another_size_or_encoder(corpus, encoder, fresh_cache):
    first = embeddings.embed(list(corpus)[:5], encoder, "style", size=64)
    ran = []
    hook = encoder.convolutions["relu1_1"].register_forward_hook(lambda *_: ran.append(1))
    both = embeddings.embed(corpus, encoder, "style", size=64)
    assert len(ran) == 7  # five were known
    assert np.array_equal(both.raw[:5], first.raw)
    embeddings.embed(corpus, encoder, "style", size=48)
    assert len(ran) == 19
    hook.remove()
    other = embeddings.embed(corpus, encoders.load("embedded", device="cpu", pooling="max"), "style", size=64)
    assert not np.array_equal(other.raw, both.raw)


def test_a_damaged_cache_entry_is_made_again(corpus, encoder, fresh_cache):
    first = embeddings.embed(corpus, encoder, "style", size=64)
    entry = next((fresh_cache / "embeddings").rglob("*.npy"))
    entry.write_bytes(entry.read_bytes()[:40])
    assert np.array_equal(embeddings.embed(corpus, encoder, "style", size=64).raw, first.raw)


def test_the_gram_sketch_keeps_inner_products(encoder):
    """One sketch of a matrix with one strong direction may be off by half; over random rotations of the axes the mean is that
    of a Gaussian projection to k numbers: E tr(W G W H) = (1 + 1/k) tr(G H) + tr(G) tr(H) / k, W being Wishart over k."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 48, 48, generator=generator).cumsum(dim=3) / 24 % 1
    grams = [statistics.gram(encoder.features(i[None], ["relu3_1"])["relu3_1"])[0] for i in images]
    rotations = [torch.linalg.qr(torch.randn(len(grams[0]), len(grams[0]), generator=generator))[0] for _ in range(400)]
    k = embeddings.SKETCH
    sketches = torch.stack([torch.stack([embeddings._sketch(q @ g @ q.T) for g in grams]) for q in rotations])
    for a, b in ((0, 1), (2, 3), (4, 5), (1, 1)):
        exact = float((1 + 1 / k) * (grams[a] * grams[b]).sum() + grams[a].trace() * grams[b].trace() / k)
        assert float((sketches[:, a] * sketches[:, b]).sum(dim=1).mean()) == pytest.approx(exact, rel=0.1)


def test_similarities_by_hand():
    e = embeddings.Embeddings("content", "test", ("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
    assert e.similarities(np.array([1.0, 0.0])) == pytest.approx([1, -1])  # about the mean (1/2, 1/2)


def test_one_work_is_not_centred_away():
    e = embeddings.Embeddings("content", "test", ("a",), np.array([[3.0, 4.0]], dtype=np.float32))
    assert e.similarities(np.array([3.0, 4.0])) == pytest.approx([1])
    assert e.points.shape == (1, 1)


def test_a_match_is_the_best_cosine_and_how_much_the_works_found_agree():
    raw = np.array([[5, 0.1, 0], [5, 0, 0.1], [5, 0, -0.1], [0, 5, 0], [0, 0, 5], [-5, -5, -5]], dtype=np.float32)
    e = embeddings.Embeddings("content", "test", tuple("abcdef"), raw)
    near, between = np.array([4.0, 0, 0]), np.array([2.0, 2, 2])
    best, agreed = e.match(near, list("abcdef"))
    assert best == pytest.approx(e.similarities(near).max())
    units = raw - e.centre
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    assert agreed == pytest.approx((units @ units.T)[np.triu_indices(6, 1)].mean(), abs=1e-6)  # of six works all are found
    three = ["a", "a", "a", "b", "c", "d"]
    assert e.match(near, three)[1] < 0.1 < e.match(near, ["x"] * 6)[1] == 1  # of a series the nearest alone is found
    assert np.isfinite(e.match(between, three)).all()
    with pytest.raises(UsageError, match="6 works and 2 groups"):
        e.match(near, ["x", "y"])


def test_works_that_show_the_same_agree():
    e = blobs(np.repeat([0, 1, 2], 8), spread=0.05)
    groups = list(e.names)
    assert e.match(np.eye(8)[1], groups)[1] > 0.9 > 0.5 > e.match(np.eye(8)[7] * 0.01 + e.centre, groups)[1]


def test_own_matches_are_those_of_each_work_among_the_other_series():
    e = blobs(np.repeat([0, 1, 2], 3))
    groups = ["a", "a", *"bcdefgh"]
    found = e.own_matches(groups)
    assert found.shape == (9, 2)
    others = embeddings.Embeddings("style", "test", e.names[2:], e.raw[2:])
    assert found[0] == pytest.approx(others.match(e.raw[0], groups[2:]))  # about the mean of the others
    assert e.own_matches(["x"] * 9).shape == (0, 2)


def test_works_are_looked_at_in_the_size_that_suits_the_encoder(corpus, encoder, fresh_cache):
    default = embeddings.embed(corpus, encoder, "style")
    assert np.array_equal(default.raw, embeddings.embed(corpus, encoder, "style", size=encoder.embedding_size).raw)
    retriever = encoders.retriever(torch.device("cpu"))
    assert retriever.embedding_size == 320
    found = embeddings.embed(corpus, retriever, "content")
    picture = corpus.works[3].load(320)
    assert np.allclose(found.raw[3], embeddings.describe(picture, retriever, "content"), atol=1e-5)


def test_search_equals_sklearn(corpus, encoder):
    from sklearn.metrics.pairwise import cosine_similarity

    e = embeddings.embed(corpus, encoder, "content", size=64)
    query = e.raw[4]
    expected = cosine_similarity((query - e.centre)[None], e.raw - e.centre)[0]
    found = index.ExactIndex(e).search(query, 4)
    assert [m.name for m in found] == [e.names[i] for i in np.argsort(-expected, kind="stable")[:4]]
    assert found[0].similarity == pytest.approx(1)
    assert "work-04.png" not in [m.name for m in index.ExactIndex(e).search(query, 20, exclude=["work-04.png"])]
    with pytest.raises(UsageError):
        index.ExactIndex(e).search(query, 0)


def test_k_is_found_where_there_are_clusters():
    labels = np.repeat([0, 1, 2, 3], [12, 9, 8, 7])
    result = clusters.cluster(blobs(labels))
    assert result.k == 4
    assert np.bincount(result.labels).tolist() == [12, 9, 8, 7]  # largest first
    assert result.stability[4] == pytest.approx(1)
    assert all(result.labels[int(name[1:])] == label for label, name in enumerate(result.medoids))
    assert result.members(0)[0] == result.medoids[0]


def test_no_structure_is_said_to_be_none():
    noise = embeddings.Embeddings(
        "style", "test", tuple(map(str, range(60))), np.random.default_rng(1).standard_normal((60, 30)).astype(np.float32)
    )
    result = clusters.cluster(noise)
    assert max(result.stability.values()) < clusters.STABLE
    assert "no k reaches" in result.chosen_because


def test_clusters_do_not_depend_on_the_run():
    e = blobs(np.repeat([0, 1, 2], 10), spread=0.4)
    assert np.array_equal(clusters.cluster(e, seed=3).labels, clusters.cluster(e, seed=3).labels)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_tiny_corpus_is_one_cluster(n):
    result = clusters.cluster(blobs([0] * n))
    assert result.k == 1 and "too few" in result.chosen_because and set(result.labels) == {0}


def test_identical_works_do_not_break_clustering():
    e = embeddings.Embeddings("style", "test", tuple(map(str, range(9))), np.ones((9, 4), dtype=np.float32))
    assert clusters.cluster(e).k == 1


def test_crosstab_counts_and_agreement():
    result = clusters.cluster(blobs(np.repeat([0, 1], 6)), 2)
    names, table, agreement = result.crosstab(["portrait"] * 6 + ["landscape"] * 6)
    assert names == ["landscape", "portrait"]
    assert sorted(table.flatten().tolist()) == [0, 0, 6, 6] and table.sum() == 12
    assert agreement == pytest.approx(1)


def test_bad_requests_are_refused(corpus, encoder):
    with pytest.raises(UsageError, match="content, style, gram"):
        embeddings.embed(corpus, encoder, "mood")
    with pytest.raises(WorkbenchError, match="no works"):
        embeddings.embed([], encoder, "style")
    with pytest.raises(UsageError, match="number of different works"):
        clusters.cluster(blobs([0, 1]), 3)


def test_content_embedding_finds_portraits_among_van_goghs(shared, monkeypatch):
    """A portrait's nearest paintings are portraits far more often than chance."""
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(shared / "weights"))
    corpus = ingest(shared / "data" / "corpora" / "vincent-van-gogh")
    people = {"portrait", "self-portrait", "figure"}
    e = embeddings.embed(corpus, encoders.load("vgg19", device="cpu", precision="bfloat16"), "content", size=192)
    genre = {work.name: work.genre for work in corpus}
    hits, queries = 0, [w.name for w in corpus if w.genre in ("portrait", "self-portrait")]
    for name in queries:
        found = index.ExactIndex(e).search(e.raw[e.names.index(name)], 3, exclude=[name])
        hits += sum(genre[m.name] in people for m in found)
    chance = sum(g in people for g in genre.values()) / len(genre)
    assert hits / (3 * len(queries)) > 2 * chance > 0


def test_more_clusters_than_different_works_are_refused():
    same = embeddings.Embeddings("style", "test", tuple(map(str, range(7))), np.ones((7, 4), dtype=np.float32))
    with pytest.raises(UsageError, match="different works"):
        clusters.cluster(same, 3)
    with pytest.raises(UsageError, match="seed"):
        clusters.cluster(blobs([0, 1, 0, 1]), 2, seed=-1)


def test_pictures_are_read_in_their_order_ahead_or_not(corpus):
    works = list(corpus)[:7]
    for count in (0, 1, 4, 7):
        one_by_one = embeddings.read(works[:count], 32, torch.device("cpu"))
        decoded = [decode(works[:count], 32) for decode in (embeddings.decode_by_groups, embeddings.decode_by_workers)]
        resized = [(images.resize(images.from_levels(levels), sides) for levels, sides in each) for each in decoded]
        for pictures in (embeddings.read_ahead(works[:count], 32), one_by_one, *resized):
            pictures = list(pictures)
            assert len(pictures) == count
            assert all(torch.equal(picture, work.load(32)) for picture, work in zip(pictures, works, strict=False))


def test_pictures_of_one_shape_are_looked_at_together_and_keep_their_descriptors(corpus, encoder, fresh_cache, monkeypatch):
    """As on CUDA, here on a CPU."""
    folder = fresh_cache / "shapes"
    folder.mkdir()
    for i, size in enumerate([(64, 48), (48, 48), (64, 48), (48, 64), (64, 48), (48, 48)]):
        images.to_pil(list(corpus)[i].load()).resize(size).save(folder / f"{i}.png")
    works = list(ingest(folder))
    alone = {kind: embeddings.embed(works, encoder, kind, size=48).raw for kind in embeddings.KINDS}
    by_shape, describe_each, seen = embeddings.by_shape, embeddings.describe_each, []
    monkeypatch.setenv("WORKBENCH_CACHE", str(fresh_cache / "anew"))
    monkeypatch.setattr(embeddings, "by_shape", lambda works, size, _: by_shape(works, size, torch.device("cuda")))
    monkeypatch.setattr(embeddings, "BATCH", 2)
    monkeypatch.setattr(embeddings, "describe_each", lambda some, *how: seen.append(len(some)) or describe_each(some, *how))
    for kind in embeddings.KINDS:
        assert np.allclose(embeddings.embed(works, encoder, kind, size=48).raw, alone[kind], atol=1e-5)
    assert sorted(seen) == sorted([1, 1, 2, 2] * 3)


def test_what_is_much_larger_than_asked_for_is_made_smaller_where_it_is_decoded(corpus, monkeypatch):
    """Or a group of large pictures would fill the memory."""
    works = list(corpus)[:4]  # of 64 px
    for decode in (embeddings.decode_by_groups, embeddings.decode_by_workers):
        assert [levels.shape[2] for levels, _ in decode(works, 16)] == [3] * 4  # levels, of four times the size
    monkeypatch.setattr(embeddings, "REDUCED", 2)
    for decode in (embeddings.decode_by_groups, embeddings.decode_by_workers):
        found = list(decode(works, 16))
        assert all(torch.equal(picture, work.load(16)) for (picture, _), work in zip(found, works, strict=True))


@pytest.mark.parametrize("error", [WorkbenchError("a bad file"), KeyboardInterrupt()])
def test_what_was_read_before_a_batch_was_broken_off_is_looked_at(error):
    def pictures():
        for i in range(5):
            yield i, torch.zeros(1, 3, 4, 4)
        raise error

    found = []
    with pytest.raises(type(error)):
        for batch in embeddings.batches(pictures(), 3):
            found.append([i for i, _ in batch])
    assert found == [[0, 1, 2], [3, 4]]
    left = embeddings.batches(pictures(), 2)
    next(left)
    left.close()


def test_one_picture_at_a_time_is_given_before_the_next_is_read():
    read = []
    batches = embeddings.batches(((read.append(i), torch.zeros(1)) for i in range(3)), 1)
    next(batches)
    assert read == [0]


def test_a_group_is_no_larger_than_fits_and_what_came_before_a_bad_file_is_given(corpus, tmp_path):
    works = list(corpus)[:7]
    assert [len(group) for group in embeddings._groups(works, 32, 3, 10**6)] == [3, 3, 1]
    pixels = [load.shape[-2] * load.shape[-1] for load in (work.load(32) for work in works)]
    groups = list(embeddings._groups(works, 32, 3, max(pixels) + min(pixels)))
    assert list(chain(*groups)) == works and max(map(len, groups)) == 2
    assert [len(group) for group in embeddings._groups(works, 32, 3, 1)] == [1] * 7
    assert not list(embeddings._groups([], 32, 3, 1))
    damaged = tmp_path / works[2].name
    damaged.write_bytes(b"no longer a picture")
    read = embeddings.read_by_groups([*works[:2], replace(works[2], path=damaged), *works[3:]], 32)
    assert torch.equal(next(read), works[0].load(32)) and torch.equal(next(read), works[1].load(32))
    with pytest.raises(WorkbenchError, match=damaged.name):
        next(read)


def test_a_reader_of_groups_that_is_left_leaves_no_threads_and_others_as_many_as_they_had(corpus):
    works = list(corpus)[:6]
    before, computing = threading.active_count(), torch.get_num_threads()
    read = embeddings.read_by_groups(works, 32)
    next(read)
    assert threading.active_count() > before
    read.close()
    assert (threading.active_count(), torch.get_num_threads()) == (before, computing)
    assert len(list(embeddings.read_by_groups(works, 32))) == 6 and threading.active_count() == before
    stop = threading.Event()
    stop.set()
    with progress.stoppable(stop), pytest.raises(progress.Stopped):
        next(embeddings.read_by_groups(works, 32))
    assert threading.active_count() == before


def test_what_a_worker_process_meets_is_told_as_it_is_and_no_process_is_left(corpus, tmp_path):
    works = list(corpus)[:6]
    copy = tmp_path / works[2].name
    copy.write_bytes(b"no longer a picture")
    works[2] = replace(works[2], path=copy)
    read = embeddings.decode_by_workers(works, 32)
    for work in works[:2]:
        levels, sides = next(read)
        assert torch.equal(images.resize(images.from_levels(levels), sides), work.load(32))
    with pytest.raises(WorkbenchError, match=works[2].name) as met:
        next(read)
    assert "Traceback" not in str(met.value)
    state = torch.random.get_rng_state()
    read = embeddings.decode_by_workers(works[:2], 32)
    next(read)
    assert torch.equal(torch.random.get_rng_state(), state)
    read.close()
    gc.collect()
    until(lambda: not multiprocessing.active_children())


def test_a_file_that_went_bad_stops_the_reading_there_and_what_was_embedded_stays(corpus, encoder, fresh_cache):
    folder = fresh_cache / "paintings"
    folder.mkdir()
    for work in list(corpus)[:6]:
        shutil.copy(work.path, folder / work.name)
    works = list(ingest(folder))
    works[3].path.write_bytes(b"no longer a picture")
    with pytest.raises(WorkbenchError, match=works[3].name):
        embeddings.embed(works, encoder, "content", size=48)
    known = []
    describe = embeddings.describe_each
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "describe_each", lambda *given: known.append(1) or describe(*given))
        embeddings.embed(works[:3], encoder, "content", size=48)
    assert not known  # all three came from the cache


def test_a_coreset_holds_a_row_of_every_group_however_rare():
    generator = np.random.default_rng(0)
    centres = 20 * np.eye(8, dtype=np.float32)
    sizes = [400, 300, 100, 50, 20, 10, 6, 4]
    groups = np.repeat(np.arange(8), sizes)
    points = centres[groups] + generator.standard_normal((len(groups), 8)).astype(np.float32)
    chosen = clusters.coreset(points, 120)
    assert set(groups[chosen]) == set(range(8)) and len(chosen) <= 120
    assert len(set(chosen.tolist())) == len(chosen)
    assert np.array_equal(chosen, clusters.coreset(points, 120))
    # Every point has a kept one nearer than a random choice of as many rows leaves it.
    drawn = generator.choice(len(points), len(chosen), replace=False)
    left = [np.linalg.norm(points[:, None] - points[rows], axis=2).min(axis=1).max() for rows in (chosen, drawn)]
    assert left[0] < left[1]


def test_a_coreset_of_no_more_rows_than_there_are_is_all_of_them():
    points = np.zeros((5, 3), dtype=np.float32)
    assert clusters.coreset(points, 5).tolist() == [0, 1, 2, 3, 4]
    assert len(clusters.coreset(points, 3)) >= 1
