"""Descriptors and the embedding of a corpus: what is cached, resumed and refused; cosines about the mean; search."""

import shutil

import numpy as np
import pytest
import torch

from workbench import encoders, images, statistics
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.retrieval import clusters, descriptors, embeddings, reading


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    return tmp_path


class TestEmbed:
    """The descriptors of all works, from the cache where they are known."""

    @pytest.mark.parametrize("kind", descriptors.KINDS)
    def test_two_hands_lie_apart(self, corpus, encoder, kind):
        e = embeddings.embed(corpus, encoder, kind, size=64)
        labels = clusters.cluster(e, 2).labels
        genres = [work.genre for work in corpus]
        assert len({(label, genre) for label, genre in zip(labels, genres, strict=True)}) == 2

    def test_embedding_resumes_and_never_serves_another_size_or_encoder(self, corpus, encoder, fresh_cache):
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

    def test_a_damaged_cache_entry_is_made_again(self, corpus, encoder, fresh_cache):
        first = embeddings.embed(corpus, encoder, "style", size=64)
        entry = next((fresh_cache / "embeddings").rglob("*.safetensors"))
        entry.write_bytes(entry.read_bytes()[:40])
        assert np.array_equal(embeddings.embed(corpus, encoder, "style", size=64).raw, first.raw)

    def test_works_are_encoded_in_the_size_that_suits_the_encoder(self, corpus, encoder, fresh_cache):
        default = embeddings.embed(corpus, encoder, "style")
        assert np.array_equal(default.raw, embeddings.embed(corpus, encoder, "style", size=encoder.embedding_size).raw)
        retriever = encoders.retriever(torch.device("cpu"))
        assert retriever.embedding_size == 320
        found = embeddings.embed(corpus, retriever, "content")
        picture = corpus.works[3].load(320)
        assert np.allclose(found.raw[3], descriptors.describe(picture, retriever, "content"), atol=1e-5)

    def test_pictures_of_one_shape_are_encoded_together_with_the_same_result(self, corpus, encoder, fresh_cache, monkeypatch):
        """As on CUDA, here on a CPU."""
        folder = fresh_cache / "shapes"
        folder.mkdir()
        for i, size in enumerate([(64, 48), (48, 48), (64, 48), (48, 64), (64, 48), (48, 48)]):
            images.to_pil(list(corpus)[i].load()).resize(size).save(folder / f"{i}.png")
        works = list(ingest(folder))
        alone = {kind: embeddings.embed(works, encoder, kind, size=48).raw for kind in descriptors.KINDS}
        by_shape, describe_each, seen = reading.by_shape, embeddings.describe_each, []
        monkeypatch.setenv("WORKBENCH_CACHE", str(fresh_cache / "anew"))
        monkeypatch.setattr(reading, "by_shape", lambda works, size, _: by_shape(works, size, torch.device("cuda")))
        monkeypatch.setattr(reading, "BATCH", 2)
        monkeypatch.setattr(embeddings, "describe_each", lambda some, *how: seen.append(len(some)) or describe_each(some, *how))
        for kind in descriptors.KINDS:
            assert np.allclose(embeddings.embed(works, encoder, kind, size=48).raw, alone[kind], atol=1e-5)
        assert sorted(seen) == sorted([1, 1, 2, 2] * 3)

    def test_a_damaged_file_stops_the_reading_and_what_was_embedded_before_stays(self, corpus, encoder, fresh_cache):
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

    def test_bad_requests_are_refused(self, corpus, encoder):
        with pytest.raises(UsageError, match="content, style, gram"):
            embeddings.embed(corpus, encoder, "mood")
        with pytest.raises(WorkbenchError, match="no works"):
            embeddings.embed([], encoder, "style")


class TestDescriptors:
    """What a descriptor estimates."""

    def test_the_gram_sketch_keeps_inner_products(self, encoder):
        """One sketch of a matrix with one strong direction may be off by half. Over random rotations of the axes the mean is
        that of a Gaussian projection to k numbers: E tr(W G W H) = (1 + 1/k) tr(G H) + tr(G) tr(H) / k, W being Wishart over k.
        """
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(6, 3, 48, 48, generator=generator).cumsum(dim=3) / 24 % 1
        grams = [statistics.gram(encoder.features(i[None], ["relu3_1"])["relu3_1"])[0] for i in images]
        rotations = [torch.linalg.qr(torch.randn(len(grams[0]), len(grams[0]), generator=generator))[0] for _ in range(400)]
        k = descriptors.SKETCH
        sketches = torch.stack([torch.stack([descriptors._sketch(q @ g @ q.T) for g in grams]) for q in rotations])
        for a, b in ((0, 1), (2, 3), (4, 5), (1, 1)):
            exact = float((1 + 1 / k) * (grams[a] * grams[b]).sum() + grams[a].trace() * grams[b].trace() / k)
            assert float((sketches[:, a] * sketches[:, b]).sum(dim=1).mean()) == pytest.approx(exact, rel=0.1)


class TestEmbeddings:
    """Cosines and points about the mean, and search."""

    def test_similarities_by_hand(self):
        e = embeddings.Embeddings("content", "test", ("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
        assert e.similarities(np.array([1.0, 0.0])) == pytest.approx([1, -1])  # about the mean (1/2, 1/2)

    def test_one_work_is_not_centred_away(self):
        e = embeddings.Embeddings("content", "test", ("a",), np.array([[3.0, 4.0]], dtype=np.float32))
        assert e.similarities(np.array([3.0, 4.0])) == pytest.approx([1])
        assert e.points.shape == (1, 1)

    def test_an_index_gives_the_cosines_about_the_mean(self, corpus, encoder):
        """Those of `similarities`, and of scikit-learn."""
        from sklearn.metrics.pairwise import cosine_similarity

        e = embeddings.embed(corpus, encoder, "content", size=64)
        query = e.raw[4]
        expected = cosine_similarity((query - e.centre)[None], e.raw - e.centre)[0]
        found = e.indexed([{"genre": work.genre} for work in corpus]).search(query, 20)
        assert [match.id for match in found] == [e.names[i] for i in np.argsort(-expected, kind="stable")]
        cosines = {match.id: match.similarity for match in found}
        assert [cosines[name] for name in e.names] == pytest.approx(expected, abs=1e-6)
        assert [cosines[name] for name in e.names] == pytest.approx(e.similarities(query), abs=1e-6)
        assert found[0].metadata == {"genre": corpus[4].genre}

    def test_content_embedding_finds_portraits_among_van_goghs(self, shared, monkeypatch):
        """A portrait's nearest paintings are portraits far more often than chance."""
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(shared / "weights"))
        corpus = ingest(shared / "data" / "corpora" / "vincent-van-gogh")
        people = {"portrait", "self-portrait", "figure"}
        e = embeddings.embed(corpus, encoders.load("vgg19", device="cpu", precision="bfloat16"), "content", size=192)
        genre = {work.name: work.genre for work in corpus}
        hits, queries = 0, [w.name for w in corpus if w.genre in ("portrait", "self-portrait")]
        for name in queries:
            found = e.indexed().search(e.raw[e.names.index(name)], 4)
            hits += sum(genre[match.id] in people for match in found if match.id != name)
        chance = sum(g in people for g in genre.values()) / len(genre)
        assert hits / (3 * len(queries)) > 2 * chance > 0
