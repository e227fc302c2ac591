"""Weighted works to statistics: moments, barycentres, pieces, patches; what is cached."""

import numpy as np
import torch

from workbench import images, statistics, targets
from workbench.images import colour
from workbench.retrieval.pieces import Piece
from workbench.retrieval.regions import Regions
from workbench.targets import Guide, aggregation


class TestMoments:
    """The mean and the barycentre of the works' moments."""

    def test_moments_of_a_target_are_the_mean_moments_of_its_works(self, corpus, encoder):
        target = targets.blend(corpus, np.linspace(0, 0.3, 12), 0.1)
        pooled = targets.moments(target, encoder, 48, ["relu1_1", "relu3_1"])
        with torch.no_grad():
            naive = sum(
                w * statistics.gram(encoder.features(images.load(work.path, 48), ["relu3_1"])["relu3_1"])[0]
                for w, work in zip(target.weights, target.works, strict=True)
            )
        assert torch.allclose(pooled["relu3_1"].second, naive, rtol=1e-4, atol=1e-6)

    def test_cached_moments_are_the_same_and_a_damaged_entry_is_made_again(self, corpus, encoder, tmp_path, monkeypatch):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        target = targets.whole(corpus)
        first = targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"]
        (entry,) = (tmp_path / "moments").iterdir()
        monkeypatch.setattr(aggregation, "_features", None)  # the second call must not need it
        assert torch.equal(targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"].second, first.second)
        monkeypatch.undo()
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        entry.write_bytes(b"damaged")
        assert torch.equal(targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"].second, first.second)
        targets.moments(target, encoder, 33, ["relu2_1"])
        assert len(list((tmp_path / "moments").iterdir())) == 2

    def test_moments_of_a_barycentre_target_are_those_of_its_works_barycentre(self, corpus, encoder, tmp_path, monkeypatch):
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

    def test_recoloured_moments_are_those_of_recoloured_paintings_and_cached_apart(self, corpus, encoder):
        target = targets.single(corpus["work-00"])
        recolour = colour.ColoursOf(corpus["work-01"].load())
        found = targets.moments(target, encoder, 48, ["relu1_1"], recolour=recolour)["relu1_1"].second
        painting = recolour(corpus["work-00"].load(48))
        with torch.no_grad():
            expected = statistics.gram(encoder.features(painting, ["relu1_1"])["relu1_1"])[0]
        assert torch.allclose(found, expected, atol=1e-6)
        assert not torch.allclose(targets.moments(target, encoder, 48, ["relu1_1"])["relu1_1"].second, expected, rtol=1e-2)


class TestGuidedMoments:
    """The moments of pieces."""

    def test_pieces_are_the_moments_of_their_places(self, corpus, encoder):
        left = torch.zeros(1, 1, 6, 8)
        left[..., :4] = 1
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


class TestBagOfPatches:
    """Patches that represent all patches of the works."""

    def test_a_bag_takes_from_every_work_by_its_weight(self, corpus, encoder):
        target = targets.weighted("t", corpus, np.array([3.0, 1.0] + [0.0] * 10))
        bag = targets.bag_of_patches(target, encoder, 64, ["relu2_1"], limit=100)["relu2_1"]
        assert bag.shape[1] == 9 * encoder.channels["relu2_1"] and 80 <= len(bag) <= 100
        assert torch.equal(bag, targets.bag_of_patches(target, encoder, 64, ["relu2_1"], limit=100)["relu2_1"])
        pool = [statistics.patches(f["relu2_1"]) for _, f in aggregation._features(target, encoder, 64, ["relu2_1"])]
        of = [sum(bool((row == patches).all(dim=1).any()) for row in bag) for patches in pool]
        assert of[0] + of[1] >= len(bag) and of[0] > 1.5 * of[1]

    def test_a_bag_larger_than_the_paintings_holds_every_patch(self, corpus, encoder):
        target = targets.single(corpus["work-02"])
        ((_, features),) = aggregation._features(target, encoder, 64, ["relu2_1"])
        bag = targets.bag_of_patches(target, encoder, 64, ["relu2_1"], limit=10**6)["relu2_1"]
        assert len(bag) == len(statistics.patches(features["relu2_1"]))
