"""The regions of all works in an index: search, names, familiarity, cache."""

import numpy as np
import pytest

from workbench.retrieval import pieces, regions
from workbench.retrieval.pieces import RegionIndex


def cosines(index):
    """All cosines between pieces, about the mean of all: (n, n)."""
    centred = index.descriptors - index.descriptors.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return units @ units.T


class TestRegionIndex:
    """Regions are points, found by what they show."""

    def test_pieces_are_found_by_their_cosines(self, corpus, encoder):
        index = RegionIndex(corpus.works, encoder)
        assert {piece.work for piece in index.pieces} == set(corpus.works)
        assert len({piece.id for piece in index.pieces}) == len(index.pieces) and "#" in index.pieces[0].id
        for row, expected in enumerate(cosines(index)):
            found = index.search(index.descriptors[row], len(index.pieces))
            assert found[0][0] == index.pieces[row]
            order = {piece.id: similarity for piece, similarity in found}
            assert [order[piece.id] for piece in index.pieces] == pytest.approx(expected, abs=1e-5)
            assert index.usual(index.descriptors[row]) == pytest.approx(np.median(expected), abs=1e-5)

    def test_faces_are_compared_with_faces(self, portraits, encoder):
        index, everything = RegionIndex(portraits.works, encoder), 99
        assert index.names == {"", "person", "face"}
        face = next(i for i, piece in enumerate(index.pieces) if piece.name == "face")
        descriptor = index.descriptors[face]
        for name in ("face", "person", ""):
            found = index.search(descriptor, everything, name=name)
            assert {piece.name for piece, _ in found} == {name}
            assert index.usual(descriptor, name=name) == pytest.approx(np.median([cosine for _, cosine in found]), abs=1e-6)
        for name in (None, "no such name"):
            assert len(index.search(descriptor, everything, name=name)) == len(index.pieces)

    def test_familiarity_is_a_rank_among_the_artists_own_matches(self, corpus, encoder, monkeypatch):
        index = RegionIndex(corpus.works, encoder)
        groups = np.array([piece.work.group for piece in index.pieces])
        naive = [row[groups != group].max() for row, group in zip(cosines(index), groups, strict=True)]
        assert index.own == pytest.approx(np.sort(naive), abs=1e-5)
        assert index.familiarity(-1.0) == 0 and index.familiarity(1.1) == 1
        assert index.familiarity(float(np.median(naive))) == pytest.approx(0.5, abs=0.1)
        monkeypatch.setattr(pieces, "CANDIDATES", 1)  # the first search returns the piece itself
        assert RegionIndex(corpus.works, encoder).own == pytest.approx(index.own, abs=1e-6)
        monkeypatch.setattr(pieces, "SAMPLE", 5)
        assert len(RegionIndex(corpus.works, encoder).own) == 5

    def test_without_another_work_everything_is_familiar(self, corpus, encoder):
        assert RegionIndex(corpus.works[:1], encoder).familiarity(0.0) == 1


class TestDivideAll:
    """The regions of works, from the cache."""

    def same(self, one, other):
        pairs = zip(one, other, strict=True)
        return all(
            np.array_equal(a.labels, b.labels) and np.array_equal(a.descriptors, b.descriptors) and a.names == b.names
            for a, b in pairs
        )

    def test_regions_and_names_come_from_the_cache(self, portraits, encoder, monkeypatch):
        first = pieces.divide_all(portraits.works, encoder)
        monkeypatch.setattr(regions, "divide", None)  # the second call must not need it
        assert self.same(pieces.divide_all(portraits.works, encoder), first)

    @pytest.mark.parametrize("damage", [lambda entry: b"damaged", lambda entry: entry[:1500], lambda entry: b""])
    def test_a_damaged_entry_is_made_again(self, corpus, encoder, tmp_path, monkeypatch, damage):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        first = pieces.divide_all(corpus.works[:2], encoder)
        for entry in tmp_path.rglob("*.safetensors"):
            entry.write_bytes(damage(entry.read_bytes()))
        assert self.same(pieces.divide_all(corpus.works[:2], encoder), first)
