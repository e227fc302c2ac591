"""LoRA as descriptors: cosines of updates against the plain products, whatever the seed, the scale and the trainer."""

import pytest
import small_diffusion
import torch
from safetensors.torch import load_file, save_file

from workbench.diffusion import descriptor, lora
from workbench.errors import UsageError


def drawn(seed, rank=3, layers=("a", "b")):
    draw = torch.Generator().manual_seed(seed)
    kind = {"generator": draw, "dtype": torch.float64}
    return {name: (torch.randn(7, rank, **kind), torch.randn(rank, 5, **kind)) for name in layers}


def test_the_similarity_is_the_mean_cosine_of_the_products():
    a, b = drawn(0), drawn(1, rank=2)
    naive = [
        torch.nn.functional.cosine_similarity((a[k][0] @ a[k][1]).flatten(), (b[k][0] @ b[k][1]).flatten(), dim=0) for k in a
    ]
    assert descriptor.similarity(a, b) == pytest.approx(float(sum(naive)) / 2)
    far = descriptor.distances([a, b, a])
    assert far[0, 1] == pytest.approx((2 - float(sum(naive))) ** 0.5) and far[0, 2] == pytest.approx(0, abs=1e-6)


def test_neither_the_scale_nor_the_coordinates_of_the_rank_matter():
    a, b = drawn(0), drawn(1)
    turn = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    other = {name: (5 * up @ turn, torch.linalg.solve(turn, down)) for name, (up, down) in a.items()}
    assert descriptor.similarity(a, other) == pytest.approx(1)
    assert descriptor.similarity(other, b) == pytest.approx(descriptor.similarity(a, b))
    assert descriptor.similarity(a, {name: (-up, down) for name, (up, down) in a.items()}) == pytest.approx(-1)


def test_layers_that_one_lacks_and_updates_of_nothing():
    a, b = drawn(0), drawn(1, layers=("b", "c"))
    assert descriptor.similarity(a, b) == descriptor.similarity({"b": a["b"]}, {"b": b["b"]})
    nothing = {name: (0 * up, down) for name, (up, down) in a.items()}
    assert descriptor.similarity(a, nothing) == 0
    with pytest.raises(UsageError, match="no layer in common"):
        descriptor.similarity({"a": a["a"]}, b)


def test_a_file_is_read_with_its_alpha_and_under_the_names_of_the_base(tmp_path):
    base = small_diffusion.opened()
    adapter = lora.learning(base, lora.Shape(rank=2, alpha=6.0))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in adapter.parameters():
            value.copy_(torch.randn(value.shape, generator=draw))
    tensors, metadata = lora.in_file(adapter, adapter.state_dict())
    save_file({name: value.detach().clone() for name, value in tensors.items()}, tmp_path / "a.safetensors", metadata=metadata)
    kohya = {}
    for name, value in load_file(tmp_path / "a.safetensors").items():
        layer, _, matrix = name.removeprefix("unet.").rpartition(".lora_")
        layer = f"lora_unet_{layer.replace('.', '_')}"
        kohya[f"{layer}.lora_{'down' if matrix[0] == 'A' else 'up'}.weight"] = value
        kohya[f"{layer}.alpha"] = torch.tensor(6.0)
    save_file(kohya, tmp_path / "b.safetensors")
    fresh = small_diffusion.opened()
    mine, theirs = (descriptor.update(fresh, tmp_path / f"{name}.safetensors") for name in "ab")
    name = next(iter(mine))
    up, down = (tensors[f"{name}.lora_{side}.weight"].double() for side in "BA")
    torch.testing.assert_close(mine[name][0] @ mine[name][1], 3 * up @ down)
    assert len(mine) == len(tensors) / 2 and mine.keys() == theirs.keys()
    assert descriptor.similarity(mine, theirs) == pytest.approx(1)
