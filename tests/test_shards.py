"""A corpus in shards: equal to the embedding in one piece, resumed by hashes, whoever makes them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from workbench.errors import UsageError, WorkbenchError
from workbench.retrieval import embeddings, filling, shards, workers
from workbench.retrieval.index import ExactIndex

OPTIONS = {"encoder": "embedded", "precision": "float32", "device": "cpu", "size": 48, "count": 5}


@pytest.fixture
def counted(monkeypatch):
    """The shards that are made in this process."""
    made = []
    make = workers.make
    monkeypatch.setattr(workers, "make", lambda job, shard: made.append(shard.key) or make(job, shard))
    return made


class TestShards:
    """The contract."""

    @pytest.mark.parametrize("kind", ["content", "style"])
    def test_they_are_the_embedding_in_one_piece(self, corpus, encoder, tmp_path, kind):
        found = workers.embed(corpus, tmp_path, kind=kind, workers=1, **OPTIONS)
        whole = embeddings.embed(corpus, encoder, kind, size=48)
        assert np.array_equal(found(corpus.works), whole.raw)
        backwards = corpus.works[::-1]
        assert np.array_equal(found(backwards), whole.raw[::-1])
        manifest = json.loads((tmp_path / shards.MANIFEST).read_text())
        assert [part["works"] for part in manifest["shards"]] == [5, 5, 2] and manifest["size"] == 48

    def test_finished_shards_are_skipped_and_damaged_ones_made_again(self, corpus, tmp_path, counted):
        first = workers.embed(corpus, tmp_path, workers=1, **OPTIONS)
        before = first(corpus.works)
        assert len(counted) == 3
        workers.embed(corpus, tmp_path, workers=1, **OPTIONS)
        assert len(counted) == 3
        file = tmp_path / f"{counted[0]}.safetensors"
        file.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\x00\x01")
        (tmp_path / f"{counted[1]}.json").unlink()  # as if the process was killed between the two files
        again = workers.embed(corpus, tmp_path, workers=1, **OPTIONS)
        assert sorted(counted[3:]) == sorted(counted[:2]) and np.array_equal(again(corpus.works), before)

    def test_another_picture_size_or_encoder_is_another_shard(self, corpus, encoder, tmp_path):
        keys = [shard.key for shard in shards.divide(corpus.works, encoder, "content", 48, 5)]
        changed = (*corpus.works[:7], replace(corpus[7], sha256="0" * 64), *corpus.works[8:])
        others = [shard.key for shard in shards.divide(changed, encoder, "content", 48, 5)]
        assert [a == b for a, b in zip(keys, others, strict=True)] == [True, False, True]
        assert not {*keys} & {shard.key for shard in shards.divide(corpus.works, encoder, "content", 64, 5)}
        assert not {*keys} & {shard.key for shard in shards.divide(corpus.works, encoder, "style", 48, 5)}
        twice = shards.divide((*corpus.works, corpus.works[0]), encoder, "content", 48, 5)
        assert [shard.key for shard in twice] == keys

    def test_a_picture_that_cannot_be_read_costs_its_shard_alone(self, corpus, tmp_path, counted):
        gone = replace(corpus[1], path=tmp_path / "gone.png", sha256="1" * 64)
        with pytest.raises(WorkbenchError, match=r"gone\.png"):
            workers.embed((gone, *corpus.works), tmp_path / "s", workers=1, **OPTIONS)
        assert len(list((tmp_path / "s").glob("*.safetensors"))) == 2 and not (tmp_path / "s" / shards.MANIFEST).exists()

    def test_an_index_is_filled_from_them(self, corpus, encoder, tmp_path, monkeypatch):
        size = encoder.embedding_size
        found = workers.embed(corpus, tmp_path, workers=1, **OPTIONS | {"size": size})
        filled = filling.fill(ExactIndex(), [corpus], encoder)
        monkeypatch.setattr(embeddings, "embed", None)  # nothing is embedded again
        from_shards = filling.fill(ExactIndex(), [corpus], encoder, descriptors=found)
        assert np.array_equal(from_shards.vectors(range(12)), filled.vectors(range(12)))

    def test_no_works_and_no_such_kind_are_refused(self, corpus, tmp_path):
        with pytest.raises(WorkbenchError, match="no works"):
            workers.embed([], tmp_path)
        with pytest.raises(UsageError, match="choose content"):
            workers.embed(corpus, tmp_path, kind="moon", **OPTIONS)


@pytest.mark.slow
class TestWorkers:
    """Whoever makes the shards, they are the same."""

    def test_a_pool_of_processes(self, corpus, tmp_path):
        alone = workers.embed(corpus, tmp_path / "one", workers=1, **OPTIONS)
        pooled = workers.embed(corpus, tmp_path / "two", workers=2, **OPTIONS)
        assert np.array_equal(alone(corpus.works), pooled(corpus.works))
        assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}
