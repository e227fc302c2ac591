"""A corpus in shards: equal to the embedding in one piece, resumed by hashes, whoever makes them."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from workbench import tasks
from workbench.errors import UsageError, WorkbenchError
from workbench.retrieval import embeddings, filling, on_ray, shards, workers
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

    def test_no_works_no_such_kind_and_no_such_place_are_refused(self, corpus, tmp_path):
        with pytest.raises(WorkbenchError, match="no works"):
            workers.embed([], tmp_path)
        with pytest.raises(UsageError, match="choose content"):
            workers.embed(corpus, tmp_path, kind="moon", **OPTIONS)
        for place in ("moon", "here:1", ""):
            with pytest.raises(UsageError, match="choose here, ray"):
                workers.embed(corpus, tmp_path, on=place, **OPTIONS)

    def test_ray_is_asked_for_by_its_extra(self, corpus, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(UsageError, match=r"artist-workbench\[cluster\]"):
            workers.embed(corpus, tmp_path, on="ray", **OPTIONS)


@pytest.mark.slow
class TestWorkers:
    """Whoever makes the shards, they are the same."""

    def test_a_pool_of_processes(self, corpus, tmp_path):
        alone = workers.embed(corpus, tmp_path / "one", workers=1, **OPTIONS)
        pooled = workers.embed(corpus, tmp_path / "two", workers=2, **OPTIONS)
        assert np.array_equal(alone(corpus.works), pooled(corpus.works))
        assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}


@pytest.mark.slow
class TestRay:
    def test_it_makes_the_shards_that_this_process_makes(self, ray, corpus, tmp_path):
        alone = workers.embed(corpus, tmp_path / "one", workers=1, **OPTIONS)
        spread = workers.embed(corpus, tmp_path / "two", workers=2, on="ray", **OPTIONS)
        assert np.array_equal(alone(corpus.works), spread(corpus.works))
        assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}

    def test_it_makes_what_is_missing_or_damaged_alone(self, ray, corpus, tmp_path):
        before = workers.embed(corpus, tmp_path, workers=1, **OPTIONS)(corpus.works)
        kept = sorted(tmp_path.glob("*.safetensors"))
        kept[0].write_bytes(kept[0].read_bytes()[:-1])
        times = [path.stat().st_mtime_ns for path in kept]
        again = workers.embed(corpus, tmp_path, on="ray", **OPTIONS)
        assert [path.stat().st_mtime_ns == time for path, time in zip(kept, times, strict=True)] == [False, True, True]
        assert np.array_equal(before, again(corpus.works))

    def test_a_picture_that_cannot_be_read_costs_its_shard_alone(self, ray, corpus, tmp_path):
        gone = replace(corpus[1], path=tmp_path / "gone.png", sha256="1" * 64)
        with pytest.raises(WorkbenchError, match=r"gone\.png"):
            workers.embed((gone, *corpus.works), tmp_path / "s", on="ray", **OPTIONS)
        assert len(list((tmp_path / "s").glob("*.safetensors"))) == 2 and not (tmp_path / "s" / shards.MANIFEST).exists()


class TestMachines:
    """What a machine of a cluster checks before it makes a shard, and who asks it; without Ray."""

    def test_another_network_makes_no_shard(self, encoder, tmp_path):
        job = workers.Job(tmp_path, "random", "content", 48, "cpu", "float32")
        asked = on_ray._Encoding(job, embeddings.key(encoder, "content", 48))
        found = asked({"shard": np.array([None]), "pictures": np.array([b""]), "problem": np.array([""])})
        assert "other weights" in found["problem"][0] and not list(tmp_path.iterdir())

    def test_another_decoder_makes_no_shard(self, corpus, encoder, tmp_path):
        (shard,) = shards.divide(corpus.works, encoder, "content", 48)
        assert "another version" in on_ray._decode({"shard": shard}, 48, "Pillow of old")["problem"]

    def test_an_address_where_nothing_answers_is_told_at_once(self):
        with pytest.raises(WorkbenchError, match=r"does not answer at 127\.0\.0\.1:1: "):
            tasks._start(None, "127.0.0.1:1")
