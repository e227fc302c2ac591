"""Regions of a picture: by what it shows, and by a mask."""

import numpy as np
import pytest
import torch
from PIL import Image

from workbench import images, inputs
from workbench.errors import UsageError
from workbench.retrieval import regions


def patchwork(height=96, width=128):
    """Three textures side by side: stripes, dots, and a flat ground."""
    y, x = np.mgrid[:height, :width]
    stripes = np.sin((x + y) * 0.7)[..., None] * 0.2 + np.array([0.8, 0.4, 0.2])
    dots = (np.sin(x * 1.1) * np.sin(y * 1.1))[..., None] * 0.2 + np.array([0.2, 0.4, 0.8])
    pixels = np.where((x < width // 3)[..., None], stripes, np.where((x < 2 * width // 3)[..., None], dots, 0.5))
    return torch.from_numpy(pixels.clip(0, 1).astype(np.float32)).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def sitter():
    return images.resize(inputs.content("grace_hopper"), 256)


class TestDivide:
    """Parts that look alike, faces and persons."""

    def test_textures_side_by_side_are_regions(self, encoder):
        found = regions.divide(patchwork(), encoder)
        assert 3 <= len(found) <= regions.MAX_REGIONS and found.labels.shape == (36, 48)
        middle = found.labels[:, [8, 24, 40]]
        for column in middle.T:  # each texture is mainly one region, and another one than its neighbours'
            assert (column == np.bincount(column).argmax()).mean() > 0.8
        assert len({int(np.bincount(column).argmax()) for column in middle.T}) == 3
        assert found.shares.sum() == pytest.approx(1) and (np.diff(found.shares) <= 0).all()
        assert torch.equal(found.masks().sum(dim=0), torch.ones(1, 36, 48))
        assert found.shares.min() >= regions.MIN_SHARE and set(found.names) == {""}

    def test_dividing_is_deterministic(self, encoder):
        a, b = (regions.divide(patchwork(), encoder) for _ in range(2))
        assert np.array_equal(a.labels, b.labels) and np.array_equal(a.descriptors, b.descriptors)

    @pytest.mark.parametrize("shape", [(64, 64), (2, 90), (90, 2), (1, 1)])
    def test_a_picture_of_one_colour_is_one_region_whatever_its_shape(self, encoder, shape):
        found = regions.divide(torch.full((1, 3, *shape), 0.4), encoder)
        assert len(found) == 1 and found.shares.tolist() == [1.0]
        assert np.isfinite(found.descriptors).all()

    @pytest.mark.parametrize("shape", [(2, 90), (90, 2), (3, 3), (1, 700)])
    def test_pictures_of_any_shape_are_divided(self, encoder, shape):
        found = regions.divide(torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)), encoder)
        assert 1 <= len(found) <= regions.MAX_REGIONS and np.isfinite(found.descriptors).all()
        assert found.shares.sum() == pytest.approx(1)

    def test_faces_and_people_are_regions_with_names(self, sitter, encoder):
        found = regions.divide(sitter, encoder)
        assert sorted(found.names)[-2:] == ["face", "person"] and len(found.names) == len(found) <= regions.MAX_REGIONS + 2
        assert (np.diff(found.shares) <= 0).all() and found.shares.sum() == pytest.approx(1)
        assert torch.equal(found.masks().sum(dim=0), torch.ones(1, *found.labels.shape))
        height, width = found.labels.shape
        assert found.names[found.labels[round(0.42 * height), width // 2]] == "face"
        assert found.names[found.labels[-1, width // 2]] == "person"
        assert found.names[found.labels[0, -1]] == ""
        unnamed = [share for share, name in zip(found.shares, found.names, strict=True) if not name]
        assert min(unnamed) >= regions.MIN_SHARE

    def test_what_people_leave_of_a_picture_is_never_lost(self, sitter, encoder, monkeypatch):
        """Everything, and all but a strip too narrow to be a region, is a person."""
        for free, names in ((0, ("person",)), (1, ("person",)), (8, ("person", ""))):
            monkeypatch.setattr(
                regions.people, "parts", lambda p, h, w, free=free: (np.arange(w) >= free) * np.ones((h, 1), np.uint8)
            )
            found = regions.divide(sitter, encoder)
            assert found.names[:1] == names[:1] and set(found.names) == set(names)
            assert (found.labels[:, 9:] == 0).all()


class TestFromMask:
    """Regions that a mask marks."""

    def test_a_mask_of_flat_colours_marks_the_regions(self, encoder, tmp_path):
        mask = np.zeros((30, 40, 3), np.uint8)
        mask[:10] = (0, 0, 255)
        mask[25:, :10] = (255, 255, 0)
        Image.fromarray(mask).save(tmp_path / "mask.png")
        found = regions.from_mask(tmp_path / "mask.png", patchwork(), encoder)
        assert found.shares == pytest.approx([1 - 1 / 3 - 1 / 24, 1 / 3, 1 / 24], abs=0.01)
        assert found.labels[0, 0] == 1 and found.labels[-1, 0] == 2

    def test_soft_edges_and_slips_of_the_brush_make_no_regions(self, encoder, tmp_path):
        mask = Image.new("RGB", (400, 300), "black")
        mask.paste((255, 255, 255), (100, 80, 300, 220))
        mask.putpixel((5, 5), (0, 0, 255))
        mask.resize((101, 76), Image.Resampling.LANCZOS).save(tmp_path / "soft.png")
        found = regions.from_mask(tmp_path / "soft.png", patchwork(), encoder)
        assert len(found) == 2 and found.shares == pytest.approx([0.767, 0.233], abs=0.02)

    @pytest.mark.parametrize(("size", "says"), [((30, 40), "is it turned by a right angle"), ((40, 40), "of another shape")])
    def test_a_mask_of_another_shape_is_refused(self, encoder, tmp_path, size, says):
        mask = Image.new("RGB", size, "black")
        mask.paste((255, 255, 255), (0, 0, 20, 40))
        mask.save(tmp_path / "mask.png")
        with pytest.raises(UsageError, match=says):
            regions.from_mask(tmp_path / "mask.png", patchwork(), encoder)

    @pytest.mark.parametrize("labels", [(0, 1), (3, 1, 2), (0, 1000, 65535)])
    def test_whole_numbers_of_16_bits_are_labels(self, tmp_path, encoder, labels):
        """As programs for annotation write them: scaled to 8 bits they would all be black."""
        values = np.repeat(np.array(labels, np.uint16), 96 // len(labels))[None].repeat(64, axis=0)
        Image.fromarray(values).save(tmp_path / "mask.png")
        found = regions.from_mask(tmp_path / "mask.png", patchwork(64, 96), encoder)
        assert len(np.unique(found.labels)) == len(labels)
        assert [len(np.unique(part)) for part in np.array_split(found.labels, len(labels), axis=1)] == [1] * len(labels)

    @pytest.mark.parametrize("kind", ["one colour", "white on transparent"])
    def test_a_mask_of_one_region_is_refused(self, encoder, tmp_path, kind):
        mask = Image.new("RGB", (40, 30), (9, 9, 9))
        if kind == "white on transparent":
            mask = Image.new("RGBA", (40, 30), (255, 255, 255, 0))
            mask.paste((255, 255, 255, 255), (0, 0, 20, 30))
        mask.save(tmp_path / "mask.png")
        with pytest.raises(UsageError, match="a single region"):
            regions.from_mask(tmp_path / "mask.png", patchwork(), encoder)

    def test_a_mask_that_is_a_photograph_is_refused(self, encoder, tmp_path):
        images.save(torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0)), tmp_path / "mask.png")
        with pytest.raises(UsageError, match="flat colour"):
            regions.from_mask(tmp_path / "mask.png", patchwork(), encoder)
