"""What only a GPU shows: recorded graphs, fused operations, pictures read for it. Elsewhere this file is skipped as a whole.

test_engine.py holds the fast engine to the plain one on a CPU, and test_encoders.py the gradients of these operations.
"""

import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from workbench import encoders, statistics, targets
from workbench.encoders.convolutional import ConvolutionalEncoder
from workbench.encoders.cuda import _enlarged, average_pool
from workbench.retrieval import embeddings, reading
from workbench.transfer import Settings, Transfer, losses
from workbench.transfer.engine import batch, fast, graph
from workbench.transfer.engine.gram import gram
from workbench.transfer.objective import Objective

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

DEVICE = torch.device("cuda")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def network(request):
    return encoders.load("embedded", device="cuda", precision=request.param)


@pytest.fixture(scope="module")
def content(corpus):
    return corpus["work-00.png"].load(97)


@pytest.fixture(scope="module")
def chosen(corpus, network, content):
    selection = targets.Selection(corpus, content.to(DEVICE), network)
    return [selection.single("work-01"), selection.nearest(), selection.whole()]


@pytest.fixture
def exactly(monkeypatch):
    """Products in float32 that are not rounded to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def objective(encoder: ConvolutionalEncoder, content: torch.Tensor, work: torch.Tensor) -> Objective:
    with torch.no_grad():
        kept = {layer: f.clone() for layer, f in encoder.features(content, encoder.content_layers).items()}
        style = {layer: statistics.moments(f) for layer, f in encoder.activations(work, encoder.style_layers).items()}
    terms = {"content": (0.05, losses.ContentLoss(kept)), "style": (1.0, losses.GramLoss(style, gram=gram))}
    return Objective(encoder, terms)


@pytest.mark.parametrize("name", ["embedded", "random"])
@pytest.mark.parametrize(("precision", "value", "slope"), [("float32", 1e-5, 1e-4), ("bfloat16", 0.02, 0.15)])
def test_the_objective_and_its_gradient_are_those_of_float64(corpus, exactly, name, precision, value, slope):
    """One picture, and two by one pass."""
    pictures = [corpus[f"work-0{i}.png"].load(97) for i in (0, 1)]
    other = corpus["work-03.png"].load(96)
    reference = encoders.load(name, device="cpu", precision="float32").double()
    encoder = encoders.load(name, device="cuda", precision=precision)
    expected = []
    for picture in pictures:
        x = picture.double().requires_grad_()
        total, _ = objective(reference, pictures[0].double().flip(3), other.double())(x)
        expected.append((total.item(), torch.autograd.grad(total, x)[0]))
    found = [objective(encoder, pictures[0].to(DEVICE).flip(3), other.to(DEVICE)) for _ in pictures]
    tracked = [picture.to(DEVICE).requires_grad_() for picture in pictures]
    features = encoder.activations(torch.cat(tracked), found[0].layers)
    each = {layer: fast._split(f) for layer, f in features.items()}
    together = [
        one.of(x, {layer: each[layer][i] for layer in each}) for i, (one, x) in enumerate(zip(found, tracked, strict=True))
    ]
    gradients = torch.autograd.grad([total for total, _ in together], tracked)
    alone = torch.autograd.grad(found[0](tracked[0])[0], tracked[0])[0]
    for (total, _), gradient, (one, other) in zip(together, gradients, expected, strict=True):
        assert total.item() == pytest.approx(one, rel=value)
        assert (gradient.cpu() - other).norm() < slope * other.norm()
    assert (alone.cpu() - expected[0][1]).norm() < slope * expected[0][1].norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 64, 16, 12), (2, 12, 9, 7), (1, 5, 2, 3)])
def test_pooling_and_its_way_back_are_torchs(shape, dtype):
    x = torch.randn(shape, device=DEVICE).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    pooled = F.avg_pool2d(x, 2)
    assert torch.allclose(average_pool(x.detach()), pooled, atol=1e-6, rtol=1e-6 if dtype == torch.float32 else 1e-2)
    gradient = torch.randn_like(pooled)
    (expected,) = torch.autograd.grad(pooled, x, gradient)
    assert torch.equal(_enlarged(gradient / 4, *shape[2:]), expected)


def test_gram_matrices_of_half_precision_are_summed_in_float32():
    features = torch.rand(2, 48, 128, 96, device=DEVICE).bfloat16().contiguous(memory_format=torch.channels_last)
    found, rows = gram(features.requires_grad_()).detach(), features.detach().double().flatten(2)
    assert found.dtype == torch.float32
    expected = rows @ rows.mT / rows.shape[2]
    assert (found.double() - expected).abs().max() < 2e-4 * expected.max()  # bfloat16 itself has 4e-3


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("style_loss", ["gram", "embedding"])
def test_a_recorded_transfer_has_the_bytes_of_one_that_is_not(
    content, chosen, network, monkeypatch, capsys, optimiser, style_loss
):
    settings = Settings(method="gram", size=192, steps=30, optimiser=optimiser, style_loss=style_loss, plateau=0)
    found = Transfer(content, chosen[0], network, settings).run()
    assert "one operation at a time" not in capsys.readouterr().err
    monkeypatch.setattr(fast, "_recordable", lambda descents: False)
    again, plainly = Transfer(content, chosen[0], network, settings), Transfer(content, chosen[0], network, settings)
    plainly.engine.stride = 1
    for result in (again.run(), plainly.run()):
        assert torch.equal(found.image, result.image) and found.history == result.history


def test_a_recorded_batch_has_the_bytes_of_one_that_is_not(content, chosen, network, monkeypatch, capsys):
    settings = Settings(method="gram", size=192, steps=30, plateau=0)
    found = batch.run([Transfer(content, target, network, settings) for target in chosen])
    assert "one operation at a time" not in capsys.readouterr().err
    again = batch.run([Transfer(content, target, network, settings) for target in chosen])
    monkeypatch.setattr(fast, "_recordable", lambda descents: False)
    plainly = batch.run([Transfer(content, target, network, settings) for target in chosen])
    for one, other, last in zip(found, again, plainly, strict=True):
        assert torch.equal(one.image, other.image) and torch.equal(one.image, last.image) and one.history == last.history


@pytest.mark.parametrize("style_loss", ["gram", "w2", "patches", "embedding"])
def test_the_fast_engine_comes_to_what_the_plain_one_comes_to(content, chosen, network, exactly, style_loss):
    """Within the rounding of convolutions and Gram matrices, which optimisation amplifies."""
    settings = Settings(method="gram", size=96, steps=8, style_loss=style_loss, plateau=0)
    one, other = (Transfer(content, chosen[1], network, settings, engine=engine).run() for engine in ("fast", "plain"))
    assert one.history[0]["total"] == pytest.approx(
        other.history[0]["total"], rel=1e-4 if network.precision == "float32" else 0.02
    )
    assert one.history[-1]["total"] == pytest.approx(other.history[-1]["total"], rel=0.05)
    assert float((one.image - other.image).abs().mean()) < 0.02


def test_older_recordings_that_are_garbage_do_not_spoil_a_new_one():
    """Found to be garbage during a recording, they would be destroyed there, which CUDA forbids."""
    x = torch.ones(10, device=DEVICE)
    for _ in range(3):
        circle = [graph.record(lambda: x.add_(1), DEVICE)]
        circle.append(circle)
    del circle

    def step():
        if gc.isenabled():
            gc.collect()
        x.add_(1)

    launch = graph.record(step, DEVICE)
    assert launch is not None and gc.isenabled()
    launch()
    assert x.tolist() == [2.0] * 10


def test_a_recording_that_fails_leaves_everything_as_it_was(capsys):
    x = torch.ones(10, device=DEVICE)

    def waits():
        torch.empty(10**7, device=DEVICE).fill_(1)
        x.add_(1).sum().item()

    def asks_for_too_much():
        torch.empty(10**7, device=DEVICE).fill_(1)
        torch.empty(10**13, device=DEVICE)

    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for step in (waits, asks_for_too_much, waits):
        torch.manual_seed(3)
        first = torch.randn(3, device=DEVICE)
        assert graph.record(step, DEVICE) is None and capsys.readouterr().err.count("\n") == 1
        assert not torch.equal(torch.randn(3, device=DEVICE), first)
        torch.manual_seed(3)
        assert torch.equal(torch.randn(3, device=DEVICE), first)
    launch = graph.record(lambda: x.add_(1), DEVICE)
    launch()
    assert x.tolist() == [2.0] * 10  # a recording that failed has computed nothing
    del launch
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() - before < 4e7  # 4e7 bytes is what each of those had taken


def test_pictures_for_a_gpu_are_those_of_a_cpu(corpus, monkeypatch):
    works = list(corpus)
    for many in (len(works), len(works) + 1):  # by worker processes, and by threads
        monkeypatch.setattr(reading, "MIN_FOR_PROCESSES", many)
        for picture, work in zip(reading.read(works, 80, DEVICE), works, strict=True):
            assert picture.is_cuda and torch.allclose(picture.cpu(), work.load(80), atol=1e-5)


@pytest.mark.parametrize("kind", embeddings.KINDS)
def test_descriptors_are_those_of_a_cpu(corpus, encoder, exactly, kind):
    found = embeddings.embed(corpus, encoders.load("embedded", device="cuda", precision="float32"), kind, size=64)
    assert np.allclose(found.raw, embeddings.embed(corpus, encoder, kind, size=64).raw, atol=1e-4)


def test_w2_is_found_in_float64_and_given_in_float32():
    features = torch.rand(1, 64, 40, 30, device=DEVICE)
    m, other = statistics.moments(features), statistics.moments(features.flip(1) ** 2)
    found = statistics.gaussian_w2(m.mean, m.covariance, other)
    assert found.dtype == torch.float32 and other.root.dtype == torch.float32
    m, other = (statistics.Moments(some.mean.double().cpu(), some.second.double().cpu()) for some in (m, other))
    assert float(found) == pytest.approx(float(statistics.gaussian_w2(m.mean, m.covariance, other)), rel=1e-3)
