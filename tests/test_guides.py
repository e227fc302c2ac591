"""Targets with regions: which pieces each region takes, faces and people, masks, and what a transfer makes of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from workbench import figures, images, inputs, statistics, targets
from workbench.errors import UsageError
from workbench.retrieval.pieces import Piece
from workbench.targets import Guide, selection
from workbench.transfer import Settings, Transfer


def sides():
    left = torch.zeros(1, 1, 6, 8)
    left[..., :4] = 1
    return left, 1 - left


def halves(height=60, width=80):
    """A picture whose left half has the warm stripes of one hand and whose right half the cool dots of the other."""
    y, x = np.mgrid[:height, :width]
    stripes = np.sin((x + y) * 0.7)[..., None] * 0.2 + np.array([0.8, 0.4, 0.2])
    dots = (np.sin(x * 1.1) * np.sin(y * 1.1))[..., None] * 0.2 + np.array([0.2, 0.4, 0.8])
    return torch.from_numpy(np.where((x < width // 2)[..., None], stripes, dots).clip(0, 1).astype(np.float32)).permute(
        2, 0, 1
    )[None]


def quarters():
    """Four masks of a quarter each, on a grid of 4 x 4."""
    corners = torch.zeros(4, 1, 1, 4, 4)
    for k, corner in enumerate(corners):
        corner[..., 2 * (k // 2) : 2 * (k // 2) + 2, 2 * (k % 2) : 2 * (k % 2) + 2] = 1
    return corners


@pytest.fixture(scope="module")
def sitting(corpus):
    """A face, a person, and two other regions, each with pieces of its own: two works are in the face and in the person."""
    face, coat, wall, floor = quarters()

    def guide(mask, parts, share, name=""):
        pieces, weights = tuple(Piece(corpus[i]) for i in parts), tuple(parts.values())
        return Guide(mask, pieces, weights, share, 0.9 if name == "face" else 0.7, 0.1, 0.8, True, name)

    guides = (
        guide(wall, {0: 1.0}, 0.25),
        guide(face, {1: 0.75, 2: 0.25}, 0.125, "face"),
        guide(coat, {3: 0.5, 4: 0.5}, 0.375, "person"),
        guide(floor, {0: 0.5, 3: 0.5}, 0.25),
    )
    weights: dict = {}
    for one in guides:
        for piece, weight in zip(one.pieces, one.weights, strict=True):
            weights[piece.work] = weights.get(piece.work, 0) + one.share * weight
    works = tuple(sorted(weights, key=lambda work: -weights[work]))
    return targets.StyleTarget("regions", works, tuple(weights[work] for work in works), guides=guides)


class TestRegions:
    """The pieces of each region."""

    def test_each_region_takes_the_paintings_that_it_resembles(self, corpus, encoder, monkeypatch):
        # Works that are all pattern match each other better than any half of a picture matches them.
        monkeypatch.setattr(selection, "UNFAMILIAR", 0.0)
        chosen = targets.Selection(corpus, halves(), encoder)
        target = chosen.regions(tau=0.02)
        assert len(target.guides) >= 2 and sum(guide.share for guide in target.guides) == pytest.approx(1)
        assert sum(target.weights) == pytest.approx(1)
        for guide in target.guides:
            assert guide.mask.shape[0] == 1 and sum(guide.weights) == pytest.approx(1)
            left = float((guide.mask * torch.linspace(1, 0, guide.mask.shape[3])).sum() / guide.mask.sum()) > 0.5
            genre = sum(w for piece, w in zip(guide.pieces, guide.weights, strict=True) if piece.work.genre == "portrait")
            assert guide.matched and (genre > 0.7 if left else genre < 0.3), guide.line

    def test_what_the_artist_never_painted_comes_from_the_style_cluster(self, corpus, encoder, monkeypatch):
        monkeypatch.setattr(selection, "UNFAMILIAR", 1.1)  # nothing is familiar enough,
        monkeypatch.setattr(selection, "RESEMBLANCE", 1.1)  # or similar enough
        chosen = targets.Selection(corpus, halves(), encoder)
        (guide,) = chosen.regions().guides
        assert not guide.matched and "never painted" in guide.line and guide.share == pytest.approx(1)
        assert {piece.work for piece in guide.pieces} == set(chosen.cluster().works)
        assert all(piece.regions is None for piece in guide.pieces) and guide.mask.min() == 1
        found = targets.guided_moments(chosen.regions(), encoder, 48, ["relu2_1"])[0]["relu2_1"]
        expected = targets.moments(chosen.cluster().combined("barycentre"), encoder, 48, ["relu2_1"])["relu2_1"]
        assert (found.second - expected.second).norm() < 1e-2 * expected.second.norm()

    def test_faces_come_from_faces_and_people_from_people(self, portraits, corpus, encoder):
        content = images.resize(inputs.content("grace_hopper"), 200)
        target = targets.Selection(portraits, content, encoder).regions()
        named = {guide.name: guide for guide in target.guides if guide.name}
        assert set(named) == {"face", "person"} and all(guide.matched for guide in named.values())
        for name, guide in named.items():
            assert {piece.name for piece in guide.pieces} == {name} and guide.line.startswith(f"{name}, ")
            assert guide.pieces[0].work.name == "sitter.png" and sum(guide.weights) == pytest.approx(1)
            assert guide.usual <= guide.similarity and guide.usual == pytest.approx(guide.usual)  # no infinity in the median
        rest = [piece.name for guide in target.guides if guide.matched and not guide.name for piece in guide.pieces]
        assert set(rest) <= {""}
        strangers = targets.Selection(corpus, content, encoder).regions()  # an artist who painted nobody
        assert sum(guide.share for guide in strangers.guides) == pytest.approx(1) and sum(strangers.weights) == pytest.approx(1)
        assert figures.region_matches(content, target) is not None

    def test_a_mask_overrides_the_people_who_are_found(self, portraits, encoder, tmp_path):
        mask = Image.new("RGB", (41, 48), "black")
        mask.paste((255, 255, 255), (0, 0, 41, 24))
        mask.save(tmp_path / "mask.png")
        content = images.resize(inputs.content("grace_hopper"), 200)
        target = targets.Selection(portraits, content, encoder).regions(mask=tmp_path / "mask.png")
        assert {guide.name for guide in target.guides} == {""}
        assert all(guide.share == pytest.approx(0.5, abs=0.03) for guide in target.guides) or len(target.guides) == 1


class TestPeopleJoined:
    """Face and person as one region."""

    def test_face_and_person_become_one_region_by_their_shares(self, sitting):
        wall, face, coat, floor = sitting.guides
        joined = sitting.with_people_joined()
        person, *rest = joined.guides
        assert rest == [wall, floor] and all(one.mask is other.mask for one, other in zip(rest, (wall, floor), strict=True))
        assert (person.name, person.share, person.matched) == ("person", 0.5, True)
        assert person.where == "person, 50% of the picture" and person.line.startswith("person, ")
        assert torch.equal(person.mask, face.mask + coat.mask) and person.mask.shape == face.mask.shape
        assert torch.equal(sum(guide.mask for guide in joined.guides), torch.ones(1, 1, 4, 4))
        assert sum(guide.share for guide in joined.guides) == pytest.approx(1)
        assert list(person.weights) == sorted(person.weights, reverse=True) and sum(person.weights) == pytest.approx(1)
        expected = {face.pieces[0]: 0.75 / 4, face.pieces[1]: 0.25 / 4, coat.pieces[0]: 0.375, coat.pieces[1]: 0.375}
        assert dict(zip(person.pieces, person.weights, strict=True)) == pytest.approx(expected)
        assert (joined.works, joined.weights, joined.label) == (sitting.works, sitting.weights, sitting.label)
        assert joined.with_people_joined() is joined and len(sitting.guides) == 4

    @pytest.mark.parametrize("missing", ["face", "person", "both"])
    def test_without_a_face_and_a_person_there_is_nothing_to_join(self, sitting, missing):
        guides = tuple(replace(g, name="") if missing in (g.name, "both") else g for g in sitting.guides)
        target = replace(sitting, guides=guides)
        assert target.with_people_joined() is target

    def test_a_person_such_as_was_never_painted_is_not_joined(self, sitting):
        target = replace(sitting, guides=tuple(replace(g, matched=g.name != "person") for g in sitting.guides))
        assert target.with_people_joined() is target
        assert targets.whole(sitting.works).with_people_joined().guides == ()

    def test_people_are_joined_for_gram_matrices_alone_and_the_whole_keeps_its_moments(self, sitting, corpus, encoder):
        content = corpus[5].load(64)
        matched = Transfer(content, sitting, encoder, Settings(size=64, steps=2))
        assert matched.target is sitting
        running = Transfer(content, sitting, encoder, Settings(method="gram", size=64, steps=2))
        assert [guide.name for guide in running.target.guides] == ["person", "", ""]
        each = targets.guided_moments(sitting, encoder, running.settings.painting_size(64), encoder.style_layers)
        joined = running.style_moments()
        apart = statistics.pool((guide.share, m) for guide, m in zip(sitting.guides, each, strict=True))
        for layer in joined:
            assert torch.allclose(joined[layer].second, apart[layer].second, rtol=1e-4, atol=1e-6)
        assert running.run().complete

    def test_a_sitter_is_one_person_where_faces_are_joined(self, portraits, encoder):
        content = images.resize(inputs.content("grace_hopper"), 200)
        target = targets.Selection(portraits, content, encoder).regions()
        joined = target.with_people_joined()
        assert len(joined.guides) == len(target.guides) - 1 and [guide.name for guide in joined.guides].count("person") == 1
        assert {piece.name for piece in joined.guides[0].pieces} == {"face", "person"}
        assert torch.equal(sum(guide.mask for guide in joined.guides), torch.ones_like(target.guides[0].mask))


class TestTransfer:
    """Regions in a transfer."""

    def test_the_halves_of_a_picture_take_the_palettes_of_their_own_painters(self, corpus, encoder):
        """Grey halves, and a mask that says which is which: each must end in the colours of its own hand."""
        red, blue = (
            Guide(mask, (Piece(corpus[i]),), (1.0,), 0.5, 1.0, 0.0, 1.0, True) for mask, i in zip(sides(), (0, 1), strict=True)
        )
        target = targets.StyleTarget("regions", (corpus[0], corpus[1]), (0.5, 0.5), guides=(red, blue))
        content = 0.5 + 0.1 * torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
        image = Transfer(content, target, encoder, Settings(method="gram", size=64, steps=40, alpha=0.01)).run().image
        left, right = (image[..., :24].mean(dim=(0, 2, 3)), image[..., 40:].mean(dim=(0, 2, 3)))
        assert left[0] > left[2] + 0.15 and right[2] > right[0] + 0.15

    def test_a_guided_run_resumes_to_the_bytes_of_an_unbroken_one_and_refuses_other_regions(self, corpus, encoder, tmp_path):
        def target(masks):
            guides = [
                Guide(mask, (Piece(corpus[i]),), (1.0,), 0.5, 1.0, 0.0, 1.0, True)
                for mask, i in zip(masks, (0, 1), strict=True)
            ]
            return targets.StyleTarget("regions", (corpus[0], corpus[1]), (0.5, 0.5), guides=tuple(guides))

        content = corpus[2].load(64)
        chosen = Settings(method="gram", size=64, steps=8, strength=0.8)
        whole = Transfer(content, target(sides()), encoder, chosen).run().image
        running = Transfer(content, target(sides()), encoder, chosen)
        for iterate in running:
            if iterate.step == 5:
                break
        running.checkpoint(tmp_path / "c")
        assert torch.equal(Transfer(content, target(sides()), encoder, chosen).resume(tmp_path / "c").run().image, whole)
        with pytest.raises(UsageError, match="another transfer"):
            Transfer(content, target(sides()[::-1]), encoder, chosen).resume(tmp_path / "c")
        with pytest.raises(UsageError, match="regions cannot be mixed"):
            targets.mix([(1, target(sides()))])
        with pytest.raises(UsageError, match="regions"):
            Transfer(content, target(sides()).combined("softmin"), encoder, chosen)
