"""Faces and people: the converted networks against the originals, and what is made of their outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from workbench import images, inputs, people, samples
from workbench.errors import WorkbenchError
from workbench.metrics.faces import faces_kept


@pytest.fixture(scope="module")
def hopper():
    return inputs.content("grace_hopper")


class TestNetworks:
    """The converted networks, against the originals."""

    @pytest.mark.parametrize("name", samples.PHOTOGRAPHS)
    def test_the_networks_answer_as_those_of_mediapipe(self, name):
        """tests/people.safetensors holds what the TFLite files answered; benchmarks/convert_people.py wrote it."""
        told = {
            key.removeprefix(f"{name}."): value
            for key, value in load_file(Path(__file__).with_name("people.safetensors")).items()
        }
        picture = inputs.content(name)
        with torch.no_grad():
            logits, places = people._network("face")(people.framed(picture)[0])
        best = told["anchors"]
        assert torch.allclose(logits[0, best], told["scores"], atol=0.02)
        assert torch.allclose(places[0, best].flatten(1), told["places"], atol=0.1)  # px
        likely = F.avg_pool2d(people.person(picture), 4)
        assert float((likely - told["person"].float()).abs().max()) < 0.01

    def test_other_weights_are_refused(self, hopper, tmp_path, monkeypatch):
        people._network.cache_clear()
        for content in (b"", people.WEIGHTS.read_bytes()[:-2] + b"\0\1"):
            (tmp_path / "people.safetensors").write_bytes(content)
            monkeypatch.setattr(people, "WEIGHTS", tmp_path / "people.safetensors")
            with pytest.raises(WorkbenchError, match="reinstall"):
                people.faces(hopper)
            monkeypatch.undo()


class TestFaces:
    """Boxes and points of faces."""

    def test_a_face_is_found_where_it_is(self, hopper):
        (face,) = people.faces(hopper)
        left, top, right, bottom = face.box
        assert 0.29 < left < 0.38 and 0.65 < right < 0.75 and 0.2 < top < 0.3 and 0.5 < bottom < 0.6
        eyes, nose, mouth, ears = face.points[:2], face.points[2], face.points[3], face.points[4:]
        assert ears[0][0] < eyes[0][0] < nose[0] < eyes[1][0] < ears[1][0]
        assert max(eyes)[1] < nose[1] < mouth[1] < bottom
        assert not people.faces(inputs.content("china")) and not people.faces(inputs.content("flower"))

    def test_a_face_is_found_in_its_place_whatever_lies_beside_it(self, hopper):
        """Two pictures beside each other: one box lies left, one right, and each is where the frame puts it."""
        (alone,) = people.faces(hopper)
        pair = people.faces(torch.cat([hopper, hopper.flip(3)], dim=3))
        assert len(pair) == 2
        first, second = sorted(pair, key=lambda face: face.box)
        assert first.box[0] * 2 == pytest.approx(alone.box[0], abs=0.05)
        assert 2 - second.box[2] * 2 == pytest.approx(alone.box[0], abs=0.05)
        assert first.points[0][0] < first.points[1][0] and second.points[0][0] < second.points[1][0]

    def test_a_picture_and_its_mirror_image_have_mirrored_faces(self, hopper):
        (one,), (other,) = people.faces(hopper), people.faces(hopper.flip(3))
        assert other.score == pytest.approx(one.score, abs=1e-3)
        points = np.array(other.points)[[1, 0, 2, 3, 5, 4]]
        assert np.allclose([1, 0] + [-1, 1] * points, one.points, atol=5e-3)


class TestPerson:
    """Where a person is."""

    def test_a_person_is_where_the_drawn_outlines_have_one(self, hopper):
        likely = people.person(hopper)
        assert likely.shape == (1, 1, 256, 256) and likely.min() >= 0 and likely.max() <= 1
        drawn = samples.annotated("grace_hopper").regions
        skin = F.interpolate(torch.from_numpy(drawn["skin"])[None, None], (256, 256)) > 0.9
        background = F.interpolate(torch.from_numpy(drawn["background"])[None, None], (256, 256)) > 0.9
        assert likely[skin].mean() > 0.95 and likely[background].mean() < 0.05


class TestParts:
    """A grid of faces and people."""

    @pytest.mark.parametrize("shape", [(1, 1), (2, 90), (90, 2), (700, 30)])
    def test_pictures_of_any_shape_have_an_answer(self, shape):
        picture = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
        assert people.faces(picture) == [] and not people.parts(picture, 3, 4).any()

    def test_parts_are_a_face_inside_of_a_person(self, hopper):
        found = people.parts(hopper, 48, 41)
        assert set(np.unique(found)) == {0, 1, 2}
        rows, columns = np.nonzero(found == 2)
        assert 17 <= columns.mean() <= 24 and 14 <= rows.mean() <= 22
        ring = found[rows.max() + 2, columns.min() : columns.max()]
        assert (ring == 1).all()  # the collar
        assert not people.parts(inputs.content("china"), 32, 48).any()

    def test_people_too_small_to_be_matched_are_left_out(self, hopper):
        height, width = hopper.shape[-2:]
        for wide, some in ((0.5, True), (0.12, False)):
            canvas = torch.full((1, 3, height, width), 0.6)
            small = images.resize(hopper, (round(wide * height), round(wide * width)))
            canvas[..., -small.shape[2] :, : small.shape[3]] = small
            assert people.parts(canvas, 48, 41).any() == some


class TestFacesKept:
    """Faces that a transfer keeps or loses."""

    def test_a_face_that_stays_is_kept_and_one_that_goes_is_lost(self, hopper):
        same = faces_kept(hopper, hopper)
        assert (same.kept, same.faces) == (1, 1) and same.score == pytest.approx(1) and same.displacement == 0
        shifted = faces_kept(torch.roll(hopper, 20, dims=3), hopper)
        (face,) = people.faces(hopper)
        wide = (face.box[2] - face.box[0]) * hopper.shape[3]
        assert shifted.kept == 1 and shifted.displacement == pytest.approx(20 / wide, rel=0.2)
        away = faces_kept(torch.roll(hopper, 200, dims=3), hopper)
        assert away.kept == 0 and away.score < 0.5 and away.displacement is None
        gone = faces_kept(torch.full_like(hopper, 0.5), hopper)
        assert (gone.kept, gone.score, gone.displacement) == (0, 0, None)
        assert faces_kept(hopper, inputs.content("china")) is None

    def test_a_face_that_is_hard_to_see_scores_less(self, hopper):
        noise = torch.rand(hopper.shape, generator=torch.Generator().manual_seed(0))
        scores = [faces_kept(torch.lerp(hopper, noise, veil), hopper).score for veil in (0.0, 0.5, 0.9)]
        assert scores[0] > scores[1] > scores[2]
