"""What oneDNN does in one operation is what torch does in several."""

import copy

import pytest
import torch
import torch.nn.functional as F

from workbench.encoders import fused
from workbench.encoders.fused import Head, RectifiedConvolution, average_pool
from workbench.statistics import gram

pytestmark = pytest.mark.skipif(not fused.OFFERED, reason="torch without oneDNN")
DTYPES = [torch.float32, *([torch.bfloat16] if fused.OFFERED and torch.ops.mkldnn._is_mkldnn_bf16_supported() else [])]
SHAPES = [(1, 3, 3, 3), (1, 3, 5, 7), (2, 3, 33, 18), (1, 3, 170, 131)]
LARGE = 20_480  # numbers, up to which torch computes a single picture in float32 without oneDNN


def frozen(convolution, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in convolution.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return convolution.to(dtype=dtype, memory_format=torch.channels_last).requires_grad_(False)


def picture(shape, dtype, seed=1):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.fixture
def plainly(monkeypatch):
    """Calls a function where nothing is fused."""

    def call(function):
        with monkeypatch.context() as patch:
            patch.setattr(fused, "OFFERED", False)
            return function()

    return call


def test_this_processor_fuses():
    """Or the tests below would compare torch with itself."""
    assert frozen(RectifiedConvolution(3, 4, 3), torch.float32).can_be_fused(torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("huge", [1, fused.HUGE])
def test_a_rectified_convolution_and_its_gradient_are_torchs_to_the_last_bit(dtype, shape, padding, huge, plainly, monkeypatch):
    monkeypatch.setattr(fused, "HUGE", huge)
    convolution, x = frozen(RectifiedConvolution(3, 20, 3, padding=padding), dtype), picture(shape, dtype)

    def both():
        out = convolution(x)
        slope = torch.linspace(-1, 1, out.numel()).view(out.shape).to(dtype)
        return out.detach(), torch.autograd.grad(out, x, slope)[0]

    (out, gradient), (expected, expected_gradient) = both(), plainly(both)
    if shape[0] > 1 or x.numel() > LARGE or dtype == torch.bfloat16:
        assert torch.equal(out, expected) and torch.equal(gradient, expected_gradient)
    assert torch.allclose(out, expected, atol=1e-6) and torch.allclose(gradient, expected_gradient, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last) and (out > 0).any()
    with torch.no_grad():
        assert torch.equal(convolution(x), out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reads", ["both", "what is told", "what goes on"])
def test_a_head_beside_a_network_gives_the_gradients_of_both(dtype, reads, plainly):
    head, x = frozen(Head(6, 5), dtype), picture((2, 6, 9, 4), dtype)

    def both():
        on, told = head.beside(x)
        parts = {"both": (on.square().sum(), told.square().sum()), "what is told": (told.square().sum(),)}
        (gradient,) = torch.autograd.grad(sum(parts.get(reads, (on.square().sum(),))), x)
        return told.detach(), gradient

    (told, gradient), (expected, expected_gradient) = both(), plainly(both)
    assert torch.allclose(told, expected, atol=1e-6)
    # Two gradients are added before they are rounded.
    assert torch.allclose(gradient, expected_gradient, rtol=2 * torch.finfo(dtype).eps, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(16, 20), (31, 11), (3, 3)])  # in the last, matrices are too large to gain anything
@pytest.mark.parametrize("reads", ["Gram", "Gram and what is told", "Gram and what goes on", "all"])
def test_gram_matrices_of_what_a_head_tells_have_the_gradient_that_they_have_of_any_features(dtype, size, reads, plainly):
    head, x = frozen(Head(6, 5), dtype), picture((2, 6, *size), dtype)

    def gradient():
        on, told = head.beside(x * 1)
        found = gram(told).square().sum()
        if reads in ("Gram and what is told", "all"):
            found = found + told.square().mean()
        if reads in ("Gram and what goes on", "all"):
            found = found + on.square().mean()
        return hasattr(told, "proxy"), torch.autograd.grad(found, x)[0]

    (shortened, found), (_, expected) = gradient(), plainly(gradient)
    assert shortened == (size != (3, 3))
    assert (found - expected).abs().max() <= 4 * torch.finfo(dtype).eps * expected.abs().max()


def test_a_gram_matrix_of_one_picture_of_several_has_its_gradient():
    """What was told is cut apart then, and nothing can stand for it."""
    head, x = frozen(Head(6, 5), torch.float32), picture((2, 6, 16, 20), torch.float32)
    told = head.beside(x)[1]
    assert hasattr(told, "proxy") and not any(hasattr(one, "proxy") for one in told.split(1))
    (one,) = torch.autograd.grad(gram(told.split(1)[1]).sum(), x, retain_graph=True)
    (whole,) = torch.autograd.grad(gram(told)[1].sum(), x)
    assert not one[0].any() and torch.allclose(one, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(16, 20), (31, 11)])
@pytest.mark.parametrize("reads", ["Gram", "told", "Gram and told", "Gram and further", "told and further", "all"])
def test_what_is_tapped_has_the_gradients_of_all_that_read_it(dtype, size, reads):
    """As on a GPU, where Gram matrices hand theirs over as matrices; here on a CPU."""
    x = picture((2, 6, *size), torch.float32).to(dtype)
    weight = torch.randn(4, 6, 3, 3, dtype=dtype, generator=torch.Generator().manual_seed(2))

    def loss(further, told):
        parts = {
            "Gram": gram(told).square().sum() + gram(told.split(1)[1]).sum(),
            "told": told.sum(),
            "further": F.conv2d(further, weight).square().mean(),
        }
        return sum(part for name, part in parts.items() if name in reads or reads == "all")

    y = x * 1
    (expected,) = torch.autograd.grad(loss(y, y), x)
    further, told, proxy = fused._Tapped.apply(x * 1)
    told.proxy = proxy
    (found,) = torch.autograd.grad(loss(further, told), x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_a_gradient_that_is_handed_in_is_not_written_over():
    x = picture((1, 6, 16, 20), torch.float32)
    _, told, proxy = fused._Tapped.apply(x * 1)
    handed = torch.ones_like(told)
    told.proxy = proxy
    torch.autograd.grad([gram(told).sum(), told], x, [torch.ones(()), handed])
    assert torch.equal(handed, torch.ones_like(told))


def test_layouts_follow_the_shape_and_the_weights():
    convolution = frozen(RectifiedConvolution(3, 4, 3, padding=1), torch.float32)
    x, wide = picture((1, 3, 8, 8), torch.float32), picture((1, 3, 8, 20), torch.float32)
    first = convolution(x)
    assert convolution.layouts(x.shape) is convolution.layouts(x.shape)
    assert convolution(wide).shape == (1, 4, 8, 20)
    assert torch.equal(convolution(x), first)
    convolution.weight.mul_(2)
    convolution.bias.mul_(2)
    assert torch.allclose(convolution(x), 2 * first)
    convolution.weight.data = convolution.weight.data / 2
    convolution.bias.data = convolution.bias.data / 2
    assert torch.allclose(convolution(x), first)
    convolution.bias = torch.nn.Parameter(convolution.bias + 1, requires_grad=False)
    with torch.no_grad():
        expected = convolution(x)  # without a layout
    assert torch.equal(convolution(x), expected) and not torch.allclose(expected, first)


def test_weights_that_are_learnt_get_their_gradient():
    convolution = frozen(RectifiedConvolution(3, 4, 3, padding=1), torch.float32).requires_grad_()
    convolution(picture((1, 3, 8, 8), torch.float32)).sum().backward()
    assert convolution.weight.grad.abs().sum() > 0 and convolution.bias.grad.abs().sum() > 0


def test_a_convolution_that_was_used_can_be_copied():
    convolution, x = frozen(RectifiedConvolution(3, 4, 3, padding=1), torch.float32), picture((1, 3, 8, 8), torch.float32)
    out = convolution(x)
    assert torch.equal(copy.deepcopy(convolution)(x), out)


def test_without_onednn_torch_computes(monkeypatch):
    monkeypatch.setattr(fused, "LARGE", 0)
    convolution, x = frozen(RectifiedConvolution(3, 4, 3, padding=1), torch.float32), picture((1, 3, 8, 8), torch.float32)
    out = convolution(x)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not convolution.can_be_fused(x) and torch.allclose(convolution(x), out, atol=1e-6)
        assert not fused.by_onednn(x) and torch.equal(average_pool(x), F.avg_pool2d(x, 2))


def test_autocast_is_left_to_torch(monkeypatch):
    monkeypatch.setattr(fused, "LARGE", 0)
    convolution, x = frozen(RectifiedConvolution(3, 4, 3, padding=1), torch.float32), picture((1, 3, 8, 8), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolution(x).dtype == torch.bfloat16
        assert average_pool(x.detach()).dtype == F.avg_pool2d(x.detach(), 2).dtype


def test_weights_of_another_address_are_never_taken_for_those_before():
    convolution, x = frozen(RectifiedConvolution(3, 4, 3, padding=1), torch.float32), picture((1, 3, 8, 8), torch.float32)
    for factor in range(1, 40):
        convolution.weight.data = torch.full_like(convolution.weight, 0.01 * factor)
        convolution.weight.data = torch.full_like(convolution.weight, 0.02 * factor)
        with torch.no_grad():
            expected = convolution(x)
        assert torch.equal(convolution(x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (1, 16, 7, 5), (2, 5, 40, 31)])
def test_average_pooling_is_torchs_to_the_last_bit(dtype, shape, monkeypatch):
    monkeypatch.setattr(fused, "LARGE", 0)
    x = picture(shape, dtype).detach()
    assert torch.equal(average_pool(x), F.avg_pool2d(x, 2))
