from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workbench import images, inputs, statistics, targets, transfer
from workbench.encoders import Encoder
from workbench.errors import UsageError
from workbench.images import colour
from workbench.retrieval.regions import Piece, Regions
from workbench.study import comparison
from workbench.targets import Fit, Guide
from workbench.transfer import Settings, Transfer, losses

similarities = st.lists(st.floats(-1, 1, width=32), min_size=12, max_size=12).map(lambda values: np.round(values, 3))


@given(similarities, st.floats(0.01, 100))
@settings(max_examples=50, deadline=None)
def test_softmax_weights_sum_to_one_and_keep_the_order(s, tau):
    w = targets.softmax_weights(s, tau)
    assert w.sum() == pytest.approx(1)
    assert (np.diff(w[np.argsort(s)]) >= -1e-15).all()


@given(similarities)
@settings(max_examples=50, deadline=None)
def test_the_limits_of_tau(s):
    assert targets.softmax_weights(s, 1e9) == pytest.approx(np.full(12, 1 / 12))
    best = targets.softmax_weights(s, 1e-9)
    assert best[s == s.max()].sum() == pytest.approx(1)


def test_blend_runs_from_nearest_to_whole(corpus):
    s = np.linspace(-0.4, 0.6, 12)
    assert targets.blend(corpus, s, 1e-6).works == targets.nearest(corpus, s).works
    far, whole = targets.blend(corpus, s, 1e6), targets.whole(corpus)
    assert set(far.works) == set(whole.works)
    assert far.weights == pytest.approx(whole.weights, abs=1e-6)
    numbers = [targets.blend(corpus, s, tau).effective_number for tau in (1e-6, 0.05, 0.2, 1, 1e6)]
    assert numbers[0] == pytest.approx(1) and numbers[-1] == pytest.approx(12)
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("tau", [0, -0.1, float("nan"), float("inf")])
def test_a_tau_that_makes_no_sense_is_refused(corpus, tau):
    with pytest.raises(UsageError, match="tau"):
        targets.blend(corpus, np.zeros(12), tau)


def test_weights_are_sorted_and_negligible_ones_dropped(corpus):
    w = np.array([1e-6, 0.5, 0.2] + [0.0] * 9)
    target = targets.weighted("t", corpus, w)
    assert [work.name for work in target.works] == ["work-01.png", "work-02.png"]
    assert sum(target.weights) == pytest.approx(1)


def test_moments_of_a_target_are_the_pooled_moments_of_its_works(corpus, encoder):
    target = targets.blend(corpus, np.linspace(0, 0.3, 12), 0.1)
    pooled = targets.moments(target, encoder, 48, ["relu1_1", "relu3_1"])
    with torch.no_grad():
        naive = sum(
            w * statistics.gram(encoder.features(images.load(work.path, 48), ["relu3_1"])["relu3_1"])[0]
            for w, work in zip(target.weights, target.works, strict=True)
        )
    assert torch.allclose(pooled["relu3_1"].second, naive, rtol=1e-4, atol=1e-6)


def test_cached_moments_are_the_same_and_a_damaged_entry_is_made_again(corpus, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    target = targets.whole(corpus)
    first = targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"]
    (entry,) = (tmp_path / "moments").iterdir()
    monkeypatch.setattr(targets.StyleTarget, "_features", None)  # the second call must not need it
    assert torch.equal(targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"].second, first.second)
    monkeypatch.undo()
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    entry.write_bytes(b"damaged")
    assert torch.equal(targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"].second, first.second)
    targets.moments(target, encoder, 33, ["relu2_1"])
    assert len(list((tmp_path / "moments").iterdir())) == 2


def test_a_bag_takes_from_every_work_by_its_weight(corpus, encoder):
    target = targets.weighted("t", corpus, np.array([3.0, 1.0] + [0.0] * 10))
    bag = targets.bag_of_patches(target, encoder, 64, ["relu2_1"], limit=100)["relu2_1"]
    assert bag.shape[1] == 9 * encoder.channels["relu2_1"] and 80 <= len(bag) <= 100
    assert torch.equal(bag, targets.bag_of_patches(target, encoder, 64, ["relu2_1"], limit=100)["relu2_1"])
    pool = [losses.patches(f["relu2_1"]) for _, f in target._features(encoder, 64, ["relu2_1"])]
    of = [sum(bool((row == patches).all(dim=1).any()) for row in bag) for patches in pool]
    assert of[0] + of[1] >= len(bag) and of[0] > 1.5 * of[1]


def test_a_bag_larger_than_the_paintings_holds_every_patch(corpus, encoder):
    target = targets.single(corpus["work-02"])
    ((_, features),) = target._features(encoder, 64, ["relu2_1"])
    bag = targets.bag_of_patches(target, encoder, 64, ["relu2_1"], limit=10**6)["relu2_1"]
    assert len(bag) == len(losses.patches(features["relu2_1"]))


def test_moments_of_a_barycentre_target_are_those_of_its_works_barycentre(corpus, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    target = targets.blend(corpus, np.linspace(0, 0.3, 12), 0.1)
    typical = target.combined("barycentre")
    assert typical.label == "blend-barycentre" and target.label == "blend"
    found = targets.moments(typical, encoder, 48, ["relu2_1"])["relu2_1"]
    each = [(weight, m["relu2_1"]) for weight, m in targets.paintings(target, encoder, 48, ["relu2_1"])]
    expected = statistics.barycentre(each)
    assert (found.second - expected.second).norm() < 1e-2 * expected.second.norm()
    pooled = targets.moments(target, encoder, 48, ["relu2_1"])["relu2_1"]
    assert float(found.covariance.trace()) < float(pooled.covariance.trace())  # the scatter between paintings is not in it
    assert torch.equal(targets.moments(typical, encoder, 48, ["relu2_1"])["relu2_1"].second, found.second)  # cached apart


def test_recoloured_moments_are_those_of_recoloured_paintings_and_cached_apart(corpus, encoder):
    target = targets.single(corpus["work-00"])
    recolour = colour.ColoursOf(corpus["work-01"].load())
    found = targets.moments(target, encoder, 48, ["relu1_1"], recolour=recolour)["relu1_1"].second
    painting = recolour(corpus["work-00"].load(48))
    with torch.no_grad():
        expected = statistics.gram(encoder.features(painting, ["relu1_1"])["relu1_1"])[0]
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(targets.moments(target, encoder, 48, ["relu1_1"])["relu1_1"].second, expected, rtol=1e-2)


def test_works_weighed_by_hand(corpus, encoder):
    selection = targets.Selection(corpus, corpus["work-00"].load(64), encoder)
    target = selection.by_hand({"Work 3": 2, "work-05.png": 1, "work-03": 1})
    assert [work.name for work in target.works] == ["work-03.png", "work-05.png"]
    assert target.weights == pytest.approx((0.75, 0.25))
    slight = selection.by_hand({"work-03": 5000, "work-05": 1})
    assert len(slight.works) == 2  # a person who names a work means it
    for bad in ({}, {"work-03": 0}, {"work-03": float("nan")}, {"no such work": 1}):
        with pytest.raises(UsageError):
            selection.by_hand(bad)


def test_several_choices_mix_by_their_shares(corpus):
    warm, cool = corpus.select(genre="portrait"), corpus.select(genre="landscape")
    target = targets.mix([(3, targets.whole(warm)), (1, targets.whole(cool))])
    assert sum(target.weights) == pytest.approx(1)
    weights = dict(zip((work.name for work in target.works), target.weights, strict=True))
    assert weights["work-00.png"] == pytest.approx(0.75 / 6) and weights["work-01.png"] == pytest.approx(0.25 / 6)
    both = targets.mix([(1, targets.single(corpus["work-00"])), (1, targets.whole(warm))])
    assert both.weights[0] == pytest.approx(0.5 + 0.5 / 6)
    with pytest.raises(UsageError, match="share"):
        targets.mix([(0, targets.whole(warm))])
    with pytest.raises(UsageError, match="different ways"):
        targets.mix([(1, targets.whole(warm)), (1, targets.whole(cool).combined("apart"))])


def test_targets_are_chosen_by_words(corpus, encoder):
    selection = targets.Selection(corpus, corpus["work-00"].load(64), encoder)
    assert selection.choose("blend/barycentre", tau=0.2).label == "blend-barycentre"
    assert selection.choose("single", single="work-03").works[0].title == "Work 3"
    assert selection.choose("whole") == selection.whole()
    for words, says in (("blendd", "choose single"), ("blend/middle", "choose pooled")):
        with pytest.raises(UsageError, match=says):
            selection.choose(words)


def test_a_selection_finds_the_hand_that_fits(corpus, encoder):
    content = corpus["work-00.png"].load(64)
    selection = targets.Selection(corpus, content, encoder)
    assert selection.nearest().works[0].name == "work-00.png"
    assert {work.genre for work in selection.blend(0.02).works[:3]} == {"portrait"}
    cluster = selection.cluster()
    assert {work.genre for work in cluster.works} == {"portrait"} and len(cluster.works) == 6
    assert len(selection.whole().works) == 12
    assert selection.single("work-03").works[0].title == "Work 3"
    with pytest.raises(UsageError):
        selection.single("no such work at all")


class Mean(Encoder):
    """Sees nothing of a picture but its mean colour."""

    name, weights_sha256, channels, embedding_size = "mean", "0" * 64, {}, 64
    device = torch.device("cpu")

    def embed(self, image):
        return image.mean(dim=(2, 3))


def test_familiarity_is_a_rank_among_the_artists_own_matches(corpus, encoder):
    """The corpus is warm and cool pictures: a warm content fits, and a green one is further from all than they are."""
    warm, green = (torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 64, 64) for colour in ([0.8, 0.4, 0.2], [0.1, 1.0, 0.1]))
    fits, strange = (targets.Selection(corpus, content, encoder, retriever=Mean()) for content in (warm, green))
    groups = [work.group for work in corpus]
    own = fits.space.own_matches(groups)
    for selection in (fits, strange):
        found = selection.space.match(selection.described, groups)
        assert selection.familiarity == pytest.approx(1 - (own[:, 0] > found[0]).sum() / 13)
        assert selection.fit.agreement == pytest.approx(1 - (own[:, 1] > found[1]).sum() / 13)
        for target in (selection.nearest(), selection.blend(), selection.cluster()):
            assert target.familiarity == selection.familiarity
    assert strange.familiarity < fits.familiarity and f"familiarity {fits.familiarity:.0%}" in fits.blend().note
    assert fits.whole().familiarity is None and fits.single("work-03").familiarity is None


def test_a_content_that_is_a_work_is_familiar_and_a_lone_series_compares_nothing(corpus, encoder):
    assert targets.Selection(corpus, corpus["work-03.png"].load(), encoder).familiarity == 1
    series = corpus.select(series="series-0")
    assert targets.Selection(series, torch.rand(1, 3, 64, 64), encoder).familiarity == 1


def test_weights_even_out_as_familiarity_fails(corpus):
    s = np.linspace(-0.4, 0.6, 12)
    by = {f: targets.blend(corpus, s, 0.05, fit=Fit(f, f / 2)) for f in (1, targets.NEVER, 0.04, 0.02, 0.005, 0)}
    assert by[1].weights == by[targets.NEVER].weights == targets.blend(corpus, s, 0.05).weights
    assert by[0].weights == pytest.approx([1 / 12] * 12)  # the whole oeuvre
    numbers = [target.effective_number for target in by.values()]
    assert numbers == sorted(numbers) and len(set(numbers)) == 5
    slightly = targets.blend(corpus, s, 0.05, fit=Fit(targets.NEVER - 1e-6, 0.01))
    assert slightly.effective_number == pytest.approx(by[1].effective_number, rel=1e-3)  # no jump
    assert by[0.02].note.startswith("nothing here fits: the best match is worse than 98% of the artist's own")
    assert "60% of the weight is spread evenly" in by[0.02].note and by[1].note.endswith("familiarity 100%")
    assert targets.nearest(corpus, s, fit=Fit(0.01, 0.01)).weights == (1.0,)  # it is asked for one painting
    agreed = targets.blend(corpus, s, 0.05, fit=Fit(0.01, 0.5))
    assert agreed.weights == by[1].weights and agreed.misfit == ""  # far from all, but what is found agrees


def test_a_mixture_says_which_part_does_not_fit(corpus):
    s = np.linspace(-0.4, 0.6, 12)
    parts = [targets.blend(corpus, s, fit=Fit(f, f)) for f in (0.8, 0.03)]
    target = targets.mix([(1, parts[0]), (1, replace(parts[1], name="other"))])
    assert target.note.startswith("50% blend and 50% other; other: nothing here fits") and target.note.count("fits") == 1


def halves(height=60, width=80):
    """A picture whose left half has the warm stripes of one hand and whose right half the cool dots of the other."""
    y, x = np.mgrid[:height, :width]
    stripes = np.sin((x + y) * 0.7)[..., None] * 0.2 + np.array([0.8, 0.4, 0.2])
    dots = (np.sin(x * 1.1) * np.sin(y * 1.1))[..., None] * 0.2 + np.array([0.2, 0.4, 0.8])
    return torch.from_numpy(np.where((x < width // 2)[..., None], stripes, dots).clip(0, 1).astype(np.float32)).permute(
        2, 0, 1
    )[None]


def test_each_region_takes_the_paintings_that_it_resembles(corpus, encoder, monkeypatch):
    monkeypatch.setattr(targets, "NEVER", 0.0)  # works that are all pattern match each other better than any half of a picture
    selection = targets.Selection(corpus, halves(), encoder)
    target = selection.regions(tau=0.02)
    assert len(target.guides) >= 2 and sum(guide.share for guide in target.guides) == pytest.approx(1)
    assert sum(target.weights) == pytest.approx(1)
    for guide in target.guides:
        assert guide.mask.shape[0] == 1 and sum(guide.weights) == pytest.approx(1)
        left = float((guide.mask * torch.linspace(1, 0, guide.mask.shape[3])).sum() / guide.mask.sum()) > 0.5
        genre = sum(w for piece, w in zip(guide.pieces, guide.weights, strict=True) if piece.work.genre == "portrait")
        assert guide.matched and (genre > 0.7 if left else genre < 0.3), guide.line


def test_the_halves_of_a_picture_take_the_palettes_of_their_own_painters(corpus, encoder):
    """Grey halves, and a mask that says which is which: each must end in the colours of its own hand."""
    red, blue = (
        Guide(mask, (Piece(corpus[i]),), (1.0,), 0.5, 1.0, 0.0, 1.0, True) for mask, i in zip(sides(), (0, 1), strict=True)
    )
    target = targets.StyleTarget("regions", (corpus[0], corpus[1]), (0.5, 0.5), guides=(red, blue))
    content = 0.5 + 0.1 * torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    image = Transfer(content, target, encoder, Settings(method="gram", size=64, steps=40, alpha=0.01)).run().image
    left, right = (image[..., :24].mean(dim=(0, 2, 3)), image[..., 40:].mean(dim=(0, 2, 3)))
    assert left[0] > left[2] + 0.15 and right[2] > right[0] + 0.15


def test_a_guided_run_resumes_to_the_bytes_of_an_unbroken_one_and_refuses_other_regions(corpus, encoder, tmp_path):
    def target(masks):
        guides = [
            Guide(mask, (Piece(corpus[i]),), (1.0,), 0.5, 1.0, 0.0, 1.0, True) for mask, i in zip(masks, (0, 1), strict=True)
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
    with pytest.raises(UsageError, match="pooled pieces"):
        Transfer(content, target(sides()).combined("apart"), encoder, chosen)


def sides():
    left = torch.zeros(1, 1, 6, 8)
    left[..., :4] = 1
    return left, 1 - left


def test_pieces_are_the_moments_of_their_places(corpus, encoder):
    left, _ = sides()
    regions = Regions((1 - left[0, 0]).numpy().astype(np.uint8), np.zeros((2, 3), dtype=np.float32))
    guide = Guide(left, (Piece(corpus[2], 0, regions), Piece(corpus[2])), (0.25, 0.75), 1.0, 1.0, 0.0, 1.0, True)
    target = targets.StyleTarget("regions", (corpus[2],), (1.0,), guides=(guide,))
    (found,) = targets.guided_moments(target, encoder, 64, ["relu1_1"])
    with torch.no_grad():
        f = encoder.features(corpus[2].load(64), ["relu1_1"])["relu1_1"]
    half, whole = statistics.gram(f[..., :32])[0], statistics.gram(f)[0]
    expected = 0.25 * half + 0.75 * whole
    assert (found["relu1_1"].second - expected).norm() < 0.02 * expected.norm()  # the mask's border is soft
    (again,) = targets.guided_moments(target, encoder, 64, ["relu1_1"])
    assert torch.equal(again["relu1_1"].second, found["relu1_1"].second)


def test_what_the_artist_never_painted_comes_from_the_style_cluster(corpus, encoder, monkeypatch):
    monkeypatch.setattr(targets, "NEVER", 1.1)  # nothing is familiar enough,
    monkeypatch.setattr(targets, "ALIKE", 1.1)  # or similar enough
    selection = targets.Selection(corpus, halves(), encoder)
    (guide,) = selection.regions().guides
    assert not guide.matched and "never painted" in guide.line and guide.share == pytest.approx(1)
    assert {piece.work for piece in guide.pieces} == set(selection.cluster().works)
    assert all(piece.regions is None for piece in guide.pieces) and guide.mask.min() == 1
    found = targets.guided_moments(selection.regions(), encoder, 48, ["relu2_1"])[0]["relu2_1"]
    expected = targets.moments(selection.cluster().combined("barycentre"), encoder, 48, ["relu2_1"])["relu2_1"]
    assert (found.second - expected.second).norm() < 1e-2 * expected.second.norm()


def test_a_corpus_of_one_work_is_its_own_answer_to_everything(corpus, encoder):
    lone = corpus.select(title="Work 4")
    selection = targets.Selection(lone, corpus["work-01.png"].load(64), encoder)
    for target in (selection.nearest(), selection.blend(), selection.cluster(), selection.regions(), selection.whole()):
        assert [work.name for work in target.works] == ["work-04.png"]
        assert target.weights == pytest.approx((1.0,))
        pooled, typical = (targets.moments(target.combined(way), encoder, 48, ["relu2_1"]) for way in ("pooled", "barycentre"))
        assert torch.equal(pooled["relu2_1"].second, typical["relu2_1"].second)


def test_faces_come_from_faces_and_people_from_people(portraits, corpus, encoder):
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


def test_face_and_person_become_one_region_by_their_shares(sitting):
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
def test_without_a_face_and_a_person_there_is_nothing_to_join(sitting, missing):
    guides = tuple(replace(g, name="") if missing in (g.name, "both") else g for g in sitting.guides)
    target = replace(sitting, guides=guides)
    assert target.with_people_joined() is target


def test_a_person_such_as_was_never_painted_is_not_joined(sitting):
    target = replace(sitting, guides=tuple(replace(g, matched=g.name != "person") for g in sitting.guides))
    assert target.with_people_joined() is target
    assert targets.whole(sitting.works).with_people_joined().guides == ()


def test_people_are_joined_for_gram_matrices_alone_and_the_whole_keeps_its_moments(sitting, corpus, encoder):
    content = corpus[5].load(64)
    matched = Transfer(content, sitting, encoder, Settings(size=64, steps=2))
    assert matched.target is sitting
    running = Transfer(content, sitting, encoder, Settings(method="gram", size=64, steps=2))
    assert [guide.name for guide in running.target.guides] == ["person", "", ""]
    joined, apart = running.aim(), transfer.aim(content, sitting, encoder, running.settings, 64)
    for layer in joined:
        assert torch.allclose(joined[layer].second, apart[layer].second, rtol=1e-4, atol=1e-6)
    assert running.run().complete


def test_a_sitter_is_one_person_where_faces_are_joined(portraits, encoder):
    content = images.resize(inputs.content("grace_hopper"), 200)
    target = targets.Selection(portraits, content, encoder).regions()
    joined = target.with_people_joined()
    assert len(joined.guides) == len(target.guides) - 1 and [guide.name for guide in joined.guides].count("person") == 1
    assert {piece.name for piece in joined.guides[0].pieces} == {"face", "person"}
    assert torch.equal(sum(guide.mask for guide in joined.guides), torch.ones_like(target.guides[0].mask))


def test_a_mask_overrides_the_people_who_are_found(portraits, encoder, tmp_path):
    mask = Image.new("RGB", (41, 48), "black")
    mask.paste((255, 255, 255), (0, 0, 41, 24))
    mask.save(tmp_path / "mask.png")
    content = images.resize(inputs.content("grace_hopper"), 200)
    target = targets.Selection(portraits, content, encoder).regions(mask=tmp_path / "mask.png")
    assert {guide.name for guide in target.guides} == {""}
    assert all(guide.share == pytest.approx(0.5, abs=0.03) for guide in target.guides) or len(target.guides) == 1
