"""An encoder that remembers gives what the plain one gives, in fewer passes."""

import pytest
import torch

from workbench import encoders, metrics
from workbench.encoders.remembering import PICTURES, Remembering
from workbench.errors import UsageError
from workbench.metrics import structure
from workbench.metrics.leak import patch_grids
from workbench.retrieval import descriptors


@pytest.fixture
def counted(monkeypatch):
    """(an encoder, the sizes of the pictures that went through it)."""
    encoder, passes = encoders.load("random", device="cpu", precision="float32"), []
    plain = type(encoder).activations
    monkeypatch.setattr(
        type(encoder), "activations", lambda self, image, layers: passes.append(image.shape) or plain(self, image, layers)
    )
    return encoder, passes


def pictures(count):
    return torch.rand(count, 1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def measured(encoder, picture, content):
    """What a study measures, by one encoder."""
    return [
        torch.from_numpy(descriptors.describe(picture, encoder, "style")),
        *patch_grids(picture, encoder),
        torch.tensor(metrics.content_distance(picture, content, encoder)),
        torch.tensor(structure.self_similarity_distance(picture, content, encoder)),
        torch.tensor(structure.cfsd(picture, content, encoder)),
    ]


def test_measures_are_those_of_the_plain_encoder_in_a_pass_for_each_picture(counted):
    encoder, passes = counted
    content, *results = pictures(4)
    plain = [measured(encoder, picture, content) for picture in results]
    of_plain = len(passes)
    remembering = Remembering(encoder)
    measured(remembering, results[0], content)  # until it was asked for all layers, it takes more
    passes.clear()
    for picture, expected in zip(results, plain, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(measured(remembering, picture, content), expected, strict=True))
    assert len(passes) == 2 < of_plain  # the last two results; the first, and the content, are known


def test_no_more_than_the_last_pictures_are_kept(counted):
    encoder, passes = counted
    remembering, some = Remembering(encoder), pictures(PICTURES + 1)
    for picture in [*some, *some[1:], some[0]]:
        remembering.features(picture, ("relu1_1",))
    assert len(passes) == PICTURES + 2


def test_gradients_and_batches_go_through(counted):
    encoder, _ = counted
    remembering, picture = Remembering(encoder), pictures(1)[0].requires_grad_()
    for one in (encoder, remembering):
        one.features(picture, ("relu2_1",))["relu2_1"].sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    both = pictures(2)[:, 0]
    assert torch.equal(remembering.features(both, ("relu1_1",))["relu1_1"], encoder.features(both, ("relu1_1",))["relu1_1"])
    assert not remembering._kept


def test_it_is_the_same_encoder_to_caches_and_titles(counted):
    encoder, _ = counted
    remembering = Remembering(encoder)
    for name in ("identity", "name", "weights_sha256", "precision", "device", "channels", "style_layers", "embedding_size"):
        assert getattr(remembering, name) == getattr(encoder, name)
    with pytest.raises(UsageError, match="has no layer"):
        remembering.features(pictures(1)[0], ("relu9_9",))
