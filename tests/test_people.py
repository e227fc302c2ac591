"""People found by networks that were converted: they answer as the originals did, and what is made of the answers holds."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from workbench import images, inputs, people, samples
from workbench.errors import WorkbenchError


@pytest.fixture(scope="module")
def hopper():
    return inputs.content("grace_hopper")


@pytest.mark.parametrize("name", samples.PHOTOGRAPHS)
def test_the_networks_answer_as_those_of_mediapipe(name):
    """tests/people.safetensors holds what the TFLite files answered; benchmarks/convert_people.py wrote it."""
    told = {key.removeprefix(f"{name}."): value for key, value in load_file(Path(__file__).with_name("people.safetensors")).items()}
    picture = inputs.content(name)
    with torch.no_grad():
        logits, places = people._network("face")(people.framed(picture)[0])
    best = told["anchors"]
    assert torch.allclose(logits[0, best], told["scores"], atol=0.02)
    assert torch.allclose(places[0, best].flatten(1), told["places"], atol=0.1)  # px
    likely = F.avg_pool2d(people.person(picture), 4)
    assert float((likely - told["person"].float()).abs().max()) < 0.01
