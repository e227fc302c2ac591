import pytest
import torch

from workbench.parametrisation import EXPONENT, LOWEST, Pixels, Spectral

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
def test_the_spectral_transform_is_its_own_transpose(shape):
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(1, 3, *shape, generator=generator) for _ in range(2))
    space = Spectral(*shape, a.device)
    assert torch.allclose((space.picture(a.flatten()) * b).sum(), (a * space.picture(b.flatten())).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cycles", [0, 1, 4, 16])
def test_a_wave_is_scaled_by_its_frequency(cycles):
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(32) / 32).expand(1, 3, 32, 32)
    frequency = max(cycles / 16, LOWEST)  # of the highest
    assert torch.allclose(Spectral(32, 32, wave.device).picture(wave.flatten()), wave * frequency**-EXPONENT, atol=1e-5)
