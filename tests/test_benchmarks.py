"""The benchmark measures what it says: its plain reference has the engine's objective, and its ratios are ratios."""

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest
import torch

from workbench import encoders

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("bench", BENCHMARKS / "bench.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def network():
    """VGG-19's shape with few channels and random weights: the reference needs no more of it."""
    torch.manual_seed(0)
    widths = {layer: 8 for layer in encoders.vgg.WIDTHS}
    encoder = encoders.ConvolutionalEncoder("narrow", widths, pooling="average", dtype=torch.float32)
    encoder.weights_sha256 = "drawn here"
    return encoder.for_inference(torch.device("cpu"))


def test_the_reference_has_the_objective_of_the_engine_and_its_gradient(bench, network, corpus):
    content, style = (corpus[f"work-0{i}.png"].load(96) for i in (0, 1))
    found = []
    for loss in (
        bench.objective(bench.plain(network), content, style, bench.ALPHA),
        lambda picture: bench.style_and_content(content, corpus["work-01.png"], network, 96)(picture)[0],
    ):
        x = content.clone().requires_grad_()
        value = loss(x)
        found.append((value, torch.autograd.grad(value, x)[0]))
    (a, slope_a), (b, slope_b) = found
    assert torch.allclose(a, b, rtol=1e-4)
    assert (slope_a - slope_b).norm() < 1e-3 * slope_b.norm()


def test_the_reference_lowers_its_objective(bench, network, corpus):
    content, style = (corpus[f"work-0{i}.png"].load(64) for i in (0, 1))
    reached = list(bench.transfer(lambda: bench.objective(bench.plain(network), content, style, bench.ALPHA), content, 30))
    assert len(reached) == 30
    assert reached[-1][1] < 0.5 * reached[0][1]
    assert all(b[0] > a[0] for a, b in itertools.pairwise(reached))


def test_sooner_compares_the_times_at_which_a_level_is_reached(bench):
    pair = {
        "curves": {"reference": [[1.0, 4.0], [2.0, 2.0], [8.0, 1.0]], "fast": [[0.5, 3.0], [1.0, 0.9]]},
        "last": {"reference": 1.0, "fast": 1.5},
    }
    assert bench.sooner(pair, "fast", 1.0) == 8.0
    assert bench.sooner(pair, "fast", 2.0) == 4.0
    assert bench.sooner(pair, "fast", 0.5) is None


def test_a_report_goes_on_where_it_stopped_and_refuses_another_machine(bench, tmp_path):
    path = tmp_path / "bench.json"
    assert bench.Report(path, {"cores": 2}).part("a", lambda: 1) == 1
    assert bench.Report(path, {"cores": 2}).part("a", lambda: pytest.fail("measured again")) == 1
    with pytest.raises(SystemExit, match="delete it"):
        bench.Report(path, {"cores": 4})


def test_what_was_measured_with_other_code_or_pictures_is_not_gone_on_with(bench, corpus, monkeypatch, tmp_path):
    works = list(corpus)
    assert bench.digest(works) != bench.digest(works[1:])
    before = bench.digest(works)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench.py"))
    (tmp_path / "bench.py").write_text("changed")
    assert bench.digest(works) != before
