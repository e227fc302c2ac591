"""Genres that labelled works propose: a naive vote as reference, and works that are no voters. The command: test_cli.py."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from workbench.errors import UsageError
from workbench.retrieval import embeddings, genres


@pytest.fixture
def labelled(corpus):
    """The works with a genre for two in three."""
    kinds = ["portrait", "landscape", ""]
    return [replace(work, metadata={"genre": kinds[i % 3]}) for i, work in enumerate(corpus)]


def naive(works, labelled, encoder, k):
    known = [work for work in labelled if work.genre]
    raw = embeddings.embed([*works, *known], encoder, "content").raw
    directions = (raw - raw.mean(axis=0)) / np.linalg.norm(raw - raw.mean(axis=0), axis=1, keepdims=True)
    cosines = directions[: len(works)] @ directions[len(works) :].T
    return [Counter(known[j].genre for j in np.argsort(-row, kind="stable")[:k]).most_common(1)[0] for row in cosines]


@pytest.mark.parametrize("k", [1, 3, 5, 50])
def test_the_nearest_labelled_works_vote(labelled, encoder, k):
    unknown = [work for work in labelled if not work.genre]
    expected = naive(unknown, labelled, encoder, k)
    found = genres.propose(unknown, labelled, encoder, k=k)
    assert found == [(genre, pytest.approx(count / min(k, 8))) for genre, count in expected]


def test_a_work_has_no_vote_on_itself_or_its_series_where_they_are_apart(labelled, encoder):
    known = [work for work in labelled if work.genre]
    assert [genre for genre, _ in genres.propose(known, known, encoder, k=1)] == [work.genre for work in known]
    of_one_series = [replace(work, metadata={"genre": work.genre, "series": work.genre}, copies="") for work in known]
    found = genres.propose(of_one_series, of_one_series, encoder, apart=True)
    assert all(genre != work.genre and confidence == 1 for (genre, confidence), work in zip(found, known, strict=True))
    assert genres.precision(of_one_series, encoder) == (0, 0.5)


def test_nothing_to_learn_from_is_refused(corpus, encoder):
    nameless = [replace(work, metadata={}) for work in corpus]
    with pytest.raises(UsageError, match="has a genre"):
        genres.propose(nameless, nameless, encoder)
    with pytest.raises(UsageError, match="k = 0"):
        genres.propose(nameless, [replace(corpus[0], metadata={"genre": "portrait"})], encoder, k=0)
