"""Generators and their parts: sizes, normalisation, tiles."""

import pytest
import torch
import torch.nn.functional as F

from workbench.generative.networks import (
    Discriminator,
    Film,
    Generator,
    InstanceNorm,
    in_tiles,
    parameters_of,
    statistics_of,
)


def small(**options):
    torch.manual_seed(0)
    return Generator(**({"widths": (4, 6, 8), "blocks": 1} | options))


class TestInstanceNorm:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_it_is_that_of_torch_and_keeps_the_layout(self, layout):
        x = torch.randn(2, 3, 8, 6, dtype=torch.float64).contiguous(memory_format=layout)
        y = InstanceNorm()(x)
        torch.testing.assert_close(y, F.instance_norm(x, eps=1e-5))
        assert y.is_contiguous(memory_format=layout)

    def test_its_gradient(self):
        x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(InstanceNorm(), (x.contiguous(memory_format=torch.channels_last),))

    def test_recorded_statistics_are_used_for_another_picture(self):
        norm, x, y = InstanceNorm(), torch.randn(1, 3, 8, 8) * 3 + 1, torch.randn(1, 3, 4, 4)
        with statistics_of(norm, "record"):
            torch.testing.assert_close(norm(x), F.instance_norm(x), rtol=1e-4, atol=1e-5)
        mean, deviation = x.mean(dim=(2, 3), keepdim=True), x.std(dim=(2, 3), keepdim=True, correction=0)
        with statistics_of(norm, "reuse"):
            torch.testing.assert_close(norm(y), (y - mean) / deviation, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm(y), F.instance_norm(y))

    def test_film_without_a_code_starts_as_the_normalisation(self):
        x = torch.randn(2, 4, 5, 5)
        torch.testing.assert_close(Film(4)(x, None), F.instance_norm(x))


class TestGenerator:
    @pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 30), (64, 64)])
    @pytest.mark.parametrize("skips", [False, True])
    def test_a_picture_of_any_size_keeps_it(self, size, skips):
        out = small(skips=skips)(torch.rand(2, 3, *size))
        assert out.shape == (2, 3, *size) and out.dtype == torch.float32
        assert out.min() >= 0 and out.max() <= 1

    def test_the_code_decides_the_picture(self):
        network, picture = small(code=5), torch.rand(1, 3, 32, 32)
        one, other = (network(picture, torch.full((1, 5), value)) for value in (-2.0, 2.0))
        assert (one - other).abs().mean() > 1e-3

    def test_pictures_of_a_batch_do_not_mix(self):
        network, pictures, codes = small(code=3), torch.rand(3, 3, 24, 24), torch.randn(3, 3)
        together = network(pictures, codes)
        apart = torch.cat([network(pictures[k : k + 1], codes[k : k + 1]) for k in range(3)])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)

    def test_the_architecture_builds_it_again(self):
        network = small(code=3, inputs=4, skips=True)
        again = Generator(**network.architecture)
        again.load_state_dict(network.state_dict())
        assert parameters_of(again) == parameters_of(network)


class TestTiles:
    def test_a_small_picture_is_one_pass(self):
        network, picture = small(), torch.rand(1, 3, 40, 30)
        assert torch.equal(in_tiles(network, picture, tile=64), network(picture))

    @pytest.mark.parametrize("shape", [(1, 300), (200, 2)])
    def test_a_picture_much_longer_than_wide_keeps_its_shape(self, shape):
        with torch.no_grad():
            assert in_tiles(small(), torch.rand(1, 3, *shape), tile=64, overlap=32).shape == (1, 3, *shape)

    def test_tiles_show_no_seams(self):
        network = small()
        with torch.no_grad():
            coarse = torch.rand(1, 3, 9, 12)
            picture = F.interpolate(coarse, (216, 288), mode="bicubic").clamp(0, 1)
            tiled = in_tiles(network, picture, tile=128, overlap=64)
            small_picture = F.interpolate(picture, scale_factor=128 / 288, mode="bilinear", antialias=True)
            with statistics_of(network, "record"):
                network(small_picture)
            with statistics_of(network, "reuse"):
                whole = network(picture)
            apart = torch.cat(
                [
                    torch.cat([network(picture[..., y : y + 108, x : x + 96]) for x in range(0, 288, 96)], dim=3)
                    for y in (0, 108)
                ],
                dim=2,
            )
        assert (tiled - whole).abs().max() < 0.02
        assert (apart - whole).abs().max() > 0.1  # what tiles with statistics of their own would show


def test_a_discriminator_judges_at_every_scale():
    scores = Discriminator(width=4, scales=2)(torch.rand(2, 3, 64, 48))
    assert [tuple(score.shape) for score in scores] == [(2, 1, 8, 6), (2, 1, 4, 3)]
