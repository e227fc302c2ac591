"""Nearest neighbours by definition, for the tests of the exact index and of all stores."""

import numpy as np
import pytest


def naive(ids, vectors, query, k, qualifies=None):
    """The k ids with the highest cosine, by definition."""
    some = [i for i in range(len(ids)) if qualifies is None or qualifies[i]]
    cosines = {ids[i]: float(vectors[i] @ query / np.linalg.norm(vectors[i]) / np.linalg.norm(query)) for i in some}
    return sorted(cosines.items(), key=lambda item: (-item[1], item[0]))[:k]


def check(found, expected):
    assert [match.id for match in found] == [id for id, _ in expected]
    assert [match.similarity for match in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
