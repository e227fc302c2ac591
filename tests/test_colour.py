import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.images import colour


def picture(seed, height=20, width=30):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def statistics(image):
    flat = image[0].flatten(1).double()
    return flat.mean(dim=1), torch.cov(flat, correction=0)


def narrow(seed):
    """Colours about the middle, so that nothing that is moved leaves the range."""
    return 0.4 + 0.2 * picture(seed) * torch.tensor([1.0, 0.5, 0.8]).view(1, 3, 1, 1)


def test_colours_of_gives_mean_and_covariance_of_the_reference():
    reference, painting = narrow(0), 0.3 + 0.2 * picture(1)
    moved = colour.ColoursOf(reference)(painting)
    for found, expected in zip(statistics(moved), statistics(reference), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_colours_of_itself_changes_nothing():
    painting = picture(2)
    assert torch.allclose(colour.ColoursOf(painting)(painting), painting, atol=1e-4)


def test_the_map_is_the_optimal_one_of_two_gaussians():
    """Against the closed form with scipy's matrix root."""
    import scipy.linalg

    reference, painting = narrow(3), narrow(4)
    (_, target), (mean, own) = statistics(reference), statistics(painting)
    root = scipy.linalg.sqrtm(own.numpy()).real
    inverse = np.linalg.inv(root)
    way = inverse @ scipy.linalg.sqrtm(root @ target.numpy() @ root).real @ inverse
    moved = colour.ColoursOf(reference)(painting)[0].flatten(1).double().numpy()
    expected = way @ (painting[0].flatten(1).double() - mean[:, None]).numpy() + statistics(reference)[0][:, None].numpy()
    assert np.allclose(moved, expected, atol=1e-5)


def test_a_painting_of_one_colour_takes_the_mean_and_a_grey_one_stays_without_hue_of_its_own():
    reference = narrow(5)
    flat = colour.ColoursOf(reference)(torch.full((1, 3, 8, 8), 0.2))
    assert torch.allclose(flat, statistics(reference)[0].float().view(1, 3, 1, 1).expand_as(flat), atol=1e-5)
    grey = colour.luminance(picture(6))
    moved = colour.ColoursOf(reference)(grey)
    assert torch.isfinite(moved).all()
    assert np.linalg.matrix_rank(statistics(moved)[1].numpy(), tol=1e-6) == 1


def test_keys_tell_references_apart():
    assert colour.ColoursOf(picture(7)).key == colour.ColoursOf(picture(7)).key != colour.ColoursOf(picture(8)).key
    assert colour.LuminanceLike(picture(7)).key != colour.LuminanceLike(picture(8)).key


def test_luminance_by_hand():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert torch.allclose(colour.luminance(red), torch.full((1, 3, 1, 1), 0.299))


def test_luminance_like_has_the_mean_and_deviation_of_the_reference():
    reference, painting = narrow(9), narrow(10)
    found, expected = colour.LuminanceLike(reference)(painting), colour.luminance(reference)
    assert float(found.mean()) == pytest.approx(float(expected.mean()), abs=1e-5)
    assert float(found.std()) == pytest.approx(float(expected.std()), rel=1e-3)
    assert torch.equal(found[:, 0], found[:, 2])


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_with_luminance_keeps_the_light_of_one_and_the_hue_of_the_other(seed):
    image, grey = picture(seed), colour.luminance(picture(seed + 1))
    found = colour.with_luminance(image, grey)
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    assert torch.allclose(colour.luminance(found), grey, atol=1e-5)
    before, after = image - colour.luminance(image), found - colour.luminance(found)
    assert torch.allclose(torch.linalg.cross(before, after, dim=1), torch.zeros_like(before), atol=1e-5)  # one direction
    assert torch.allclose(colour.with_luminance(image, image), image, atol=1e-5)


def test_moving_all_the_way_to_one_painting_is_taking_its_colours_and_none_of_it_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    picture, painting = 0.2 + 0.5 * torch.rand(2, 1, 3, 20, 30, generator=generator)
    whole = colour.TowardsColoursOf([(1.0, colour.colours(painting))], 1.0)(picture)
    torch.testing.assert_close(whole, colour.ColoursOf(painting)(picture))
    assert torch.equal(colour.TowardsColoursOf([(1.0, colour.colours(painting))], 0.0)(picture), picture)


def test_what_differs_between_paintings_is_no_contrast_of_a_typical_one():
    noise = 0.05 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    dark, light = 0.3 + noise, 0.7 + noise
    towards = colour.TowardsColoursOf([(0.5, colour.colours(dark)), (0.5, colour.colours(light))], 1.0)
    assert torch.allclose(towards.mean, torch.full((3,), 0.5, dtype=torch.float64), atol=0.03)
    assert float(towards.covariance.trace()) < 0.02  # of the two together it would be .12
