import pytest
import torch

from workbench.transfer.parametrisation import FINE_GAIN, FREQUENCIES, GAINS, Pixels, Spectral

SHAPES = [(48, 64), (7, 5), (1, 1), (1, 33), (33, 1)]


class TestCoordinates:
    """Pictures and gradients through the transform."""

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("kind", [Spectral, Pixels])
    def test_a_picture_comes_back_from_its_coordinates(self, kind, shape):
        picture = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
        space = kind(*shape, picture.device)
        point = space.point(picture)
        assert point.shape == (3 * shape[0] * shape[1],)
        assert torch.allclose(space.picture(point), picture, atol=1e-5)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_gradient_passes_through_the_spectral_transform(self, shape):
        """The transform being linear, <picture(a), b> is the slope of <picture(.), b> along a."""
        generator = torch.Generator().manual_seed(1)
        a, b = (torch.randn(1, 3, *shape, generator=generator) for _ in range(2))
        space = Spectral(*shape, a.device)
        z = torch.zeros(a.numel(), requires_grad=True)
        (slope,) = torch.autograd.grad((space.picture(z) * b).sum(), z)
        assert torch.allclose((space.picture(a.flatten()) * b).sum(), slope @ a.flatten(), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("axis", GAINS)
    @pytest.mark.parametrize("entry", [i for i, frequency in enumerate(FREQUENCIES) if frequency < 0.5])
    def test_a_wave_of_an_opponent_colour_is_scaled_by_its_gain(self, axis, entry):
        cycles = round(FREQUENCIES[entry] * 500)  # over 1000 pixels, 500 being the highest frequency
        pairs = torch.cos(2 * torch.pi * cycles * torch.arange(500) / 500).repeat_interleave(2)
        wave = pairs * torch.tensor(axis).view(1, 3, 1, 1)
        scaled = Spectral(1, 1000, wave.device).point(wave)
        assert float(wave.norm() / scaled.norm()) == pytest.approx(GAINS[axis][entry], rel=1e-3)

    @pytest.mark.parametrize("axis", GAINS)
    @pytest.mark.parametrize("shape", [(6, 8), (7, 5), (1, 2)])
    def test_what_neighbours_do_not_have_in_common_has_one_gain(self, axis, shape):
        fine = torch.zeros(shape)
        fine[:, : shape[1] // 2 * 2] = torch.tensor([1.0, -1.0]).repeat(shape[1] // 2)
        picture = fine * torch.tensor(axis).view(1, 3, 1, 1)
        found = Spectral(*shape, picture.device).picture(picture.flatten())
        assert torch.allclose(found.norm(), FINE_GAIN * picture.norm(), rtol=1e-5)

    def test_the_mean_colour_is_scaled_as_the_lowest_frequency(self):
        grey = torch.full((1, 3, 8, 8), 0.5)
        assert Spectral(8, 8, grey.device).point(grey).norm() * GAINS[1, 1, 1][0] == pytest.approx(float(grey.norm()), rel=1e-4)


class TestLocal:
    """What L-BFGS takes from the coordinates' neighbourhoods."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_local_mean_stays_near_its_place_and_in_its_colour(self, shape):
        space = Spectral(*shape, torch.device("cpu"))
        flat = torch.tensor([1.0, 2.0, 3.0]).repeat_interleave(shape[0] * shape[1])
        assert torch.allclose(space.local_mean(flat), flat)
        values = torch.rand(3, *shape, generator=torch.Generator().manual_seed(2))
        found = space.local_mean(values.flatten()).view_as(values)
        assert (found >= values.amin(dim=(1, 2), keepdim=True) - 1e-6).all()
        assert (found <= values.amax(dim=(1, 2), keepdim=True) + 1e-6).all()
        single = torch.zeros(3, 96, 96)
        single[0, 40, 40] = 1
        spread = Spectral(96, 96, torch.device("cpu")).local_mean(single.flatten()).view_as(single)
        assert spread[1:].abs().max() == 0 and spread[0, 40, 40] > 0
        assert spread[0, :16].abs().max() == 0 and spread[0, :, 64:].abs().max() == 0

    def test_values_are_taken_over_at_the_same_places(self):
        coarse, fine = (Spectral(size, 2 * size, torch.device("cpu")) for size in (12, 24))

        def plane(height: int, width: int) -> torch.Tensor:
            """A slope of its own in every colour."""
            down = (torch.arange(height) + 0.5)[:, None] / height
            across = (torch.arange(width) + 0.5) / width
            return torch.stack([1 + down + 0 * across, 2 + across + 0 * down, 3 - down + 2 * across])

        found = fine.resampled(plane(12, 24).flatten(), coarse).view(3, 24, 48)
        assert torch.allclose(found[:, 1:-1, 1:-1], plane(24, 48)[:, 1:-1, 1:-1], atol=1e-5)
