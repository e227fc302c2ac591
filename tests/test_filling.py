"""The works of corpora in an index that is kept: filled once, resumed, searched by artist, and never of two encoders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench import targets
from workbench.encoders import Encoder
from workbench.errors import UsageError
from workbench.methods import Library, Request
from workbench.methods.library import parts
from workbench.retrieval import embeddings, familiarity, filling
from workbench.retrieval.descriptors import describe
from workbench.retrieval.index import ExactIndex
from workbench.targets import selection


class Colours(Encoder):
    """Sees the mean colour of each quarter of a picture."""

    name, weights_sha256, channels, embedding_size = "colours", "0" * 64, {}, 64
    device = torch.device("cpu")

    def embed(self, image):
        return torch.nn.functional.adaptive_avg_pool2d(image, 2).flatten(1)


class Counting(ExactIndex):
    """Counts what is added, and the largest number of vectors that is read at once."""

    added, read, fails_after = 0, 0, None

    def upsert(self, ids, vectors, metadata=None):
        if self.fails_after is not None and self.added >= self.fails_after:
            raise KeyboardInterrupt
        super().upsert(ids, vectors, metadata)
        self.added += len(ids)

    def vectors(self, ids):
        self.read = max(self.read, len(ids))
        return super().vectors(ids)


@pytest.fixture
def artists(corpus):
    """The corpus as two artists, the warm and the cool, with six works each."""

    def of(genre, artist):
        works = [replace(work, metadata={**work.metadata, "artist": artist}) for work in corpus if work.genre == genre]
        return replace(corpus, name=artist.lower(), works=tuple(works))

    return [of("portrait", "Warm"), of("landscape", "Cool")]


class TestFill:
    """Works as points of an index."""

    def test_cosines_are_those_of_the_embedding_in_memory(self, corpus):
        query = describe(corpus[5].load(64), Colours(), "content")
        points = filling.fill(ExactIndex(), [corpus], Colours())
        space = embeddings.embed(corpus, Colours(), "content")
        found = points.search(query, 12)
        names = {match.metadata["file"]: match.similarity for match in found}
        expected = space.similarities(query)
        assert [names[work.name] for work in corpus] == pytest.approx(expected, abs=1e-5)
        assert points.vectors([4, 1]) == pytest.approx((space.raw - space.centre)[[4, 1]], abs=1e-6)
        assert found[0].metadata == {
            "file": corpus[5].name, "corpus": corpus.name, "group": corpus[5].group, **corpus[5].metadata
        }  # fmt: skip

    def test_what_is_there_is_not_added_again_and_a_broken_run_is_resumed(self, corpus, monkeypatch):
        monkeypatch.setattr(filling, "BATCH", 5)
        index = Counting()
        index.fails_after = 5
        with pytest.raises(KeyboardInterrupt):
            filling.fill(index, [corpus], Colours())
        assert index.added == 5
        index.fails_after = None
        points = filling.fill(index, [corpus], Colours())
        assert index.added == 12
        filling.fill(index, [corpus], Colours())
        assert index.added == 12
        at_once = filling.fill(ExactIndex(), [corpus], Colours())
        assert points.vectors(range(12)) == pytest.approx(at_once.vectors(range(12)), abs=1e-6)

    def test_artists_share_an_index_and_works_that_come_later_do_not_move_the_mean(self, artists):
        index = Counting()
        filling.fill(index, artists[:1], Colours())
        mean = filling.centre(index, Colours())
        both = filling.fill(index, artists, Colours())
        assert index.added == 12 and np.array_equal(filling.centre(index, Colours()), mean)
        query = describe(artists[0][2].load(64), Colours(), "content")
        assert {match.metadata["artist"] for match in both.search(query, 12)} == {"Warm", "Cool"}
        assert {match.metadata["artist"] for match in both.search(query, 12, {"artist": "Cool"})} == {"Cool"}
        alone = filling.fill(index, artists[1:], Colours())
        assert len(alone.search(query, 12)) == 6 and {match.metadata["corpus"] for match in alone.search(query, 12)} == {"cool"}

    def test_a_work_of_which_other_things_become_known_is_another_point(self, corpus):
        index = Counting()
        filling.fill(index, [corpus], Colours())
        told = replace(corpus[0], metadata={**corpus[0].metadata, "year": "1999"})
        changed = replace(corpus, works=(told, *corpus.works[1:]))
        points = filling.fill(index, [changed], Colours())
        assert index.added == 13
        query = describe(corpus[0].load(64), Colours(), "content")
        found = [match.metadata for match in points.search(query, 20)]
        assert len(found) == 12 and [m["year"] for m in found if m["file"] == corpus[0].name] == ["1999"]

    def test_two_that_fill_a_new_index_at_once_have_one_mean(self, artists):
        """The second has described its works when the first begins the index."""
        index = Counting()

        def describe_slowly(works):
            if not index.about:
                filling.fill(index, artists[:1], Colours())
            return embeddings.embed(works, Colours(), "content").raw

        both = filling.fill(index, artists[1:], Colours(), descriptors=describe_slowly)
        after = ExactIndex()
        filling.fill(after, artists[:1], Colours())
        in_turn = filling.fill(after, artists[1:], Colours())
        assert np.array_equal(both.centre, in_turn.centre) and both.vectors(range(6)) == pytest.approx(
            in_turn.vectors(range(6))
        )

    def test_what_was_edited_or_deleted_since_is_outdated(self, corpus, artists):
        index = ExactIndex()
        filling.fill(index, [corpus, artists[0]], Colours())
        assert filling.outdated(index, [corpus]) == []
        told = replace(corpus[0], metadata={**corpus[0].metadata, "year": "1999"})
        changed = replace(corpus, works=(told, *corpus.works[2:]))
        filling.fill(index, [changed], Colours())
        old = set(filling.works_of([corpus])) - set(filling.works_of([changed]))
        assert set(filling.outdated(index, [changed])) == old and len(old) == 2
        index.delete(old)
        assert filling.outdated(index, [changed]) == [] and len(index) == 11 + 6

    def test_an_index_of_another_encoder_or_size_or_of_no_works_is_refused(self, corpus):
        index = ExactIndex()
        filling.fill(index, [corpus], Colours())
        other, larger = Colours(), Colours()
        other.weights_sha256 = "1" * 64
        larger.embedding_size = 96
        for encoder, says in ((other, "1" * 64), (larger, "96 px")):
            with pytest.raises(UsageError, match=f"holds: .*64 px by colours:0000.*wanted: .*{says}") as refused:
                filling.fill(index, [corpus], encoder)
            assert "\n" not in str(refused.value)
        strange = ExactIndex()
        strange.upsert(["a"], np.ones((1, 12)))
        for about in ("", "{}", "something else"):
            strange.about = about
            with pytest.raises(UsageError, match="choose another #NAME"):
                filling.fill(strange, [corpus], Colours())
        with pytest.raises(UsageError, match="no such index"):
            filling.centre(ExactIndex(), Colours())

    def test_a_device_makes_no_other_index(self):
        class Elsewhere(Colours):
            device = torch.device("cuda")

        assert filling.holds(Elsewhere()) == filling.holds(Colours())

    def test_one_work_is_found(self, corpus):
        lone = replace(corpus, works=corpus.works[:1])
        assert len(filling.fill(ExactIndex(), [lone], Colours()).search(np.ones(12), 3)) == 1


class TestSelection:
    """Weights from an index that is kept."""

    def chosen(self, corpus, **options):
        return targets.Selection(corpus, corpus[5].load(64), Colours(), retriever=Colours(), **options)

    def test_weights_are_those_of_the_works_in_memory(self, corpus):
        plain, kept = self.chosen(corpus), self.chosen(corpus, index=ExactIndex())
        assert kept.similarities == pytest.approx(plain.similarities, abs=1e-5)
        assert kept.fit == plain.fit and kept.nearest().works == (corpus[5],)
        assert kept.blend().weights == pytest.approx(plain.blend().weights, abs=1e-5)

    def test_a_target_over_many_works_reads_few_vectors_at_once(self, corpus, monkeypatch):
        for name, value in (("EXHAUSTIVE", 4), ("LIMIT", 3)):
            monkeypatch.setattr(selection, name, value)
        for name in ("CANDIDATES", "NEAREST", "GROUPS"):
            monkeypatch.setattr(familiarity, name, 2)
        monkeypatch.setattr(filling, "BATCH", 4)
        index = Counting()
        chosen = self.chosen(corpus, index=index)
        assert chosen.blend().works[0] == corpus[5] and np.isfinite(chosen.similarities).sum() == 3
        assert 0 < index.read < 12 and "space" not in vars(chosen)

    def test_a_request_names_the_index_and_where_narrows_its_search(self, artists, corpus, tmp_path):
        pytest.importorskip("lancedb")
        museum = replace(corpus, name="museum", works=(*artists[0].works, *artists[1].works))
        asked = Request(content="photo", corpora=("museum",), target="blend", retriever="colours",
                        index=f"lancedb:{tmp_path}/index", where=("artist=Cool", "year=1900..1909"))  # fmt: skip
        library = Library(contents={"photo": corpus[4].load(64)}, corpora={"museum": museum}, encoders={"colours": Colours(),
                          "embedded": Colours()})  # fmt: skip
        target = library.target(asked)
        assert set(target.works) <= set(parts([museum], asked)[0]) and len(target.works) > 1
        (chosen,) = library.selections(asked)
        assert chosen.indexed.where == {"corpus": ["museum"], "artist": ["Cool"],
                                        "year": [f"190{i}" for i in range(1, 10, 2)]}  # fmt: skip
        assert len(chosen.indexed.index) == 12 and len(chosen.indexed) == 5
        again = Library(contents={"photo": corpus[4].load(64)}, corpora={"museum": museum}, encoders={"colours": Colours(),
                        "embedded": Colours()})  # fmt: skip
        assert again.target(asked) == target

    def test_a_request_checks_the_words_of_its_index(self):
        with pytest.raises(UsageError, match="choose exact"):
            Request(index="elastic://host")
