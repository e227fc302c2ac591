"""Clusters of a corpus: k, medoids, agreement with categories; coresets."""

import numpy as np
import pytest

from workbench.errors import UsageError
from workbench.retrieval import clusters, embeddings


def blobs(labels, spread=0.1, seed=0):
    """Embeddings of points around one corner per label."""
    generator = np.random.default_rng(seed)
    labels = np.asarray(labels)
    raw = np.eye(8)[labels] + spread * generator.standard_normal((len(labels), 8))
    return embeddings.Embeddings("style", "test", tuple(f"w{i:03}" for i in range(len(labels))), raw.astype(np.float32))


class TestCluster:
    """k-means with k chosen by silhouette among the stable."""

    def test_k_is_found_where_there_are_clusters(self):
        labels = np.repeat([0, 1, 2, 3], [12, 9, 8, 7])
        result = clusters.cluster(blobs(labels))
        assert result.k == 4
        assert np.bincount(result.labels).tolist() == [12, 9, 8, 7]  # largest first
        assert result.stability[4] == pytest.approx(1)
        assert all(result.labels[int(name[1:])] == label for label, name in enumerate(result.medoids))
        assert result.members(0)[0] == result.medoids[0]

    def test_without_structure_no_k_is_stable(self):
        noise = embeddings.Embeddings(
            "style", "test", tuple(map(str, range(60))), np.random.default_rng(1).standard_normal((60, 30)).astype(np.float32)
        )
        result = clusters.cluster(noise)
        assert max(result.stability.values()) < clusters.MIN_STABILITY
        assert "no k is stable" in result.chosen_because

    def test_clusters_do_not_depend_on_the_run(self):
        e = blobs(np.repeat([0, 1, 2], 10), spread=0.4)
        assert np.array_equal(clusters.cluster(e, seed=3).labels, clusters.cluster(e, seed=3).labels)

    @pytest.mark.parametrize("n", [1, 2, 5])
    def test_a_tiny_corpus_is_one_cluster(self, n):
        result = clusters.cluster(blobs([0] * n))
        assert result.k == 1 and "too few" in result.chosen_because and set(result.labels) == {0}

    def test_identical_works_do_not_break_clustering(self):
        e = embeddings.Embeddings("style", "test", tuple(map(str, range(9))), np.ones((9, 4), dtype=np.float32))
        assert clusters.cluster(e).k == 1

    def test_crosstab_counts_and_agreement(self):
        result = clusters.cluster(blobs(np.repeat([0, 1], 6)), 2)
        names, table, agreement = result.crosstab(["portrait"] * 6 + ["landscape"] * 6)
        assert names == ["landscape", "portrait"]
        assert sorted(table.flatten().tolist()) == [0, 0, 6, 6] and table.sum() == 12
        assert agreement == pytest.approx(1)

    def test_more_clusters_than_different_works_are_refused(self):
        same = embeddings.Embeddings("style", "test", tuple(map(str, range(7))), np.ones((7, 4), dtype=np.float32))
        with pytest.raises(UsageError, match="different works"):
            clusters.cluster(same, 3)
        with pytest.raises(UsageError, match="seed"):
            clusters.cluster(blobs([0, 1, 0, 1]), 2, seed=-1)


class TestCoreset:
    """Rows that represent all rows."""

    def test_a_coreset_holds_a_row_of_every_group_however_rare(self):
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

    def test_a_coreset_of_no_more_rows_than_there_are_is_all_of_them(self):
        points = np.zeros((5, 3), dtype=np.float32)
        assert clusters.coreset(points, 5).tolist() == [0, 1, 2, 3, 4]
        assert len(clusters.coreset(points, 3)) >= 1
