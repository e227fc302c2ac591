import pytest
import torch

from workbench.parametrisation import FREQUENCIES, GAINS, Pixels, Spectral

SHAPES = [(48, 64), (7, 5), (1, 1), (1, 33), (33, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [Spectral, Pixels])
def test_a_picture_comes_back_from_its_coordinates(kind, shape):
    picture = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    space = kind(*shape, picture.device)
    point = space.point(picture)
    assert point.shape == (3 * shape[0] * shape[1],)
    assert torch.allclose(space.picture(point), picture, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gradient_passes_through_the_spectral_transform(shape):
    """The transform being linear, <picture(a), b> is the slope of <picture(.), b> along a."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(1, 3, *shape, generator=generator) for _ in range(2))
    space = Spectral(*shape, a.device)
    z = torch.zeros(a.numel(), requires_grad=True)
    (slope,) = torch.autograd.grad((space.picture(z) * b).sum(), z)
    assert torch.allclose((space.picture(a.flatten()) * b).sum(), slope @ a.flatten(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", GAINS)
@pytest.mark.parametrize("entry", [i for i, frequency in enumerate(FREQUENCIES) if frequency < 1])
def test_a_wave_of_an_opponent_colour_is_scaled_by_its_gain(axis, entry):
    cycles = round(FREQUENCIES[entry] * 500)  # over 1000 pixels, 500 being the highest frequency
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(1000) / 1000) * torch.tensor(axis).view(1, 3, 1, 1)
    scaled = Spectral(1, 1000, wave.device).point(wave)
    assert float(wave.norm() / scaled.norm()) == pytest.approx(GAINS[axis][entry], rel=1e-3)


def test_the_mean_colour_is_scaled_as_the_lowest_frequency():
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert Spectral(8, 8, grey.device).point(grey).norm() * GAINS[1, 1, 1][0] == pytest.approx(float(grey.norm()), rel=1e-4)
