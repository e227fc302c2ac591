"""LoRA on disk: what is written is read back to the last bit, files of other tools go in, and what does not fit is one line."""

import json
import shutil
import stat

import pytest
import small_diffusion
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from workbench.diffusion import lora
from workbench.errors import WorkbenchError
from workbench.storage import atomic

PROMPT = "sks painting"


def predicted(model):
    """What `model` predicts at some latent: all that a LoRA can change."""
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model.predict(z, torch.tensor([300]), model.words([PROMPT]))


def drawn(adapter, seed=0):
    """Give `adapter` random weights."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in adapter.named_parameters():
            value.add_(torch.randn(value.shape, generator=draw) * (0.3 if "magnitude" in name else 0.1))


def written(path, kind="sd", seed=0, **shape):
    """(the file of a random LoRA, what the base then predicts)."""
    model = small_diffusion.opened(kind)
    adapter = lora.learning(model, lora.Shape(**shape))
    drawn(adapter, seed)
    tensors, metadata = lora.in_file(adapter, adapter.state_dict())
    with atomic(path) as temporary:
        save_file({name: value.detach().clone() for name, value in tensors.items()}, temporary, metadata=metadata)
    return path, predicted(model)


@pytest.fixture(scope="module")
def model():
    return small_diffusion.opened()


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """(a LoRA of UNet and text encoder with alpha twice the rank, what the base then predicts)."""
    return written(tmp_path_factory.mktemp("lora") / "mine.safetensors", rank=4, alpha=8.0, text_encoder=True)


def the_line(error):
    text = str(error.value)
    assert "\n" not in text and len(text) < 500
    return text


def test_an_untrained_lora_changes_nothing_and_learns_in_float32():
    for dtype in (torch.float32, torch.bfloat16):
        model = small_diffusion.base.load(small_diffusion.folder(), dtype=dtype)
        before = predicted(model)
        adapter = lora.learning(model, lora.Shape(rank=4, alpha=8.0))
        assert torch.equal(predicted(model), before)
        assert {value.dtype for value in adapter.state_dict().values()} == {torch.float32} and model.dtype == dtype
        learns = {
            id(value)
            for part in (model.pipe.unet, model.pipe.text_encoder)
            for value in part.parameters()
            if value.requires_grad
        }
        assert learns == {id(value) for value in adapter.parameters()}


def test_the_state_of_an_adapter_is_that_of_the_network(model):
    fresh = small_diffusion.opened()
    adapter = lora.learning(fresh, lora.Shape(rank=2), seed=1)
    before = predicted(fresh)
    state = {name: torch.full_like(value, 0.05) for name, value in adapter.state_dict().items()}
    adapter.load_state_dict(state)
    assert not torch.equal(predicted(fresh), before)
    again = lora.learning(small_diffusion.opened(), lora.Shape(rank=2), seed=1)
    other = lora.learning(small_diffusion.opened(), lora.Shape(rank=2), seed=2)
    name = next(name for name in again.state_dict() if "lora_A" in name)
    assert not torch.equal(again.state_dict()[name], other.state_dict()[name])


@pytest.mark.parametrize("kind", ["sd", "xl"])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("text_encoder", [False, True])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, kind, dora, text_encoder):
    path, wanted = written(tmp_path / "a.safetensors", kind, rank=4, alpha=9.0, dora=dora, text_encoder=text_encoder)
    model = small_diffusion.opened(kind)
    plain = predicted(model)
    with lora.attached(model, [(path, 1.0)]):
        assert torch.equal(predicted(model), wanted) and not torch.allclose(wanted, plain, atol=1e-2)
        assert not any(value.requires_grad for value in model.pipe.unet.parameters())
    assert torch.equal(predicted(model), plain)


def test_diffusers_itself_reads_the_same_and_alpha_with_it(mine, model):
    path, wanted = mine
    with small_diffusion.base.quiet():
        model.pipe.load_lora_weights(str(path.parent), weight_name=path.name)
    try:
        assert torch.equal(predicted(model), wanted)
    finally:
        model.pipe.unload_lora_weights()
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()[lora.METADATA])["unet.lora_alpha"] == 8.0


def test_a_folder_of_diffusers_scripts_and_the_mode_of_files(mine, model, tmp_path):
    shutil.copy(mine[0], tmp_path / lora.WEIGHTS)
    with lora.attached(model, [(tmp_path, 1.0)]):
        assert torch.equal(predicted(model), mine[1])
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(mine[0].stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def kohya(tensors, alpha):
    """The tensors of a file of ours as sd-scripts and ai-toolkit name them, with an alpha for every layer."""
    found = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        layer, _, matrix = rest.rpartition(".lora_")
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part]
        layer = prefix + layer.replace(".", "_")
        found[f"{layer}.lora_{'down' if matrix.startswith('A') else 'up'}.weight"] = value
        found[f"{layer}.alpha"] = torch.tensor(alpha)
    return found


@pytest.mark.parametrize("metadata", [None, {"ss_network_alpha": "8"}, {"software": '{"name": "ai-toolkit"}', "format": "pt"}])
def test_keys_and_alphas_of_kohya(mine, model, tmp_path, metadata):
    path = tmp_path / "kohya.safetensors"
    save_file(kohya(load_file(mine[0]), 8.0), path, metadata=metadata)
    with lora.attached(model, [(path, 1.0)]):
        torch.testing.assert_close(predicted(model), mine[1], atol=1e-6, rtol=0)
    save_file(kohya(load_file(mine[0]), 2.0), path)
    with lora.attached(model, [(path, 1.0)]):
        assert not torch.allclose(predicted(model), mine[1], atol=1e-2)
    assert lora.header(path) == {}


def test_older_names_of_diffusers(mine, model, tmp_path):
    """lora.down and lora.up, as the script for SD 1.5 writes them."""
    renamed = {
        name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): value
        for name, value in load_file(mine[0]).items()
        if name.startswith("unet")
    }
    with safe_open(mine[0], "pt") as file:
        save_file(renamed, tmp_path / "old.safetensors", metadata={lora.METADATA: file.metadata()[lora.METADATA]})
    only = {name: value for name, value in load_file(mine[0]).items() if name.startswith("unet")}
    with safe_open(mine[0], "pt") as file:
        save_file(only, tmp_path / "new.safetensors", metadata={lora.METADATA: file.metadata()[lora.METADATA]})
    seen = []
    for name in ("old", "new"):
        with lora.attached(model, [(tmp_path / f"{name}.safetensors", 1.0)]):
            seen.append(predicted(model))
    assert torch.equal(*seen)


def test_several_lora_with_weights(model, tmp_path, mine):
    first, alone = mine[0], mine[1]
    second, _ = written(tmp_path / "b.safetensors", seed=5, rank=2, alpha=1.0)
    plain = predicted(model)

    def with_weights(*loras):
        with lora.attached(model, loras):
            return predicted(model)

    torch.testing.assert_close(with_weights((first, 1.0), (second, 0.0)), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(with_weights((first, 0.5), (first, 0.5)), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(with_weights((first, 0.0)), plain, atol=1e-6, rtol=0)
    both = with_weights((first, 1.0), (second, 1.0))
    assert not torch.allclose(both, alone, atol=1e-3) and torch.equal(with_weights(), plain)
    torch.testing.assert_close(with_weights((second, 1.0), (first, 1.0)), both, atol=1e-5, rtol=0)


# --- what does not fit


def _truncated(path, tensors):
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-1000])


def _of_another_shape(path, tensors):
    save_file({name: value[:, :-1].contiguous() if "lora_A" in name else value for name, value in tensors.items()}, path)


def _without_lora(path, tensors):
    save_file({"weight": torch.zeros(3)}, path)


def _of_another_kind(path, tensors):
    save_file({"lora_unet_mid.lokr_w1": torch.zeros(3), **tensors}, path)


def _of_dora_by_kohya(path, tensors):
    save_file({"lora_unet_mid.dora_scale": torch.zeros(3), **kohya(tensors, 1.0)}, path)


def _of_layers_that_are_not_there(path, tensors):
    save_file({name.replace("down_blocks.1", "down_blocks.7"): value for name, value in tensors.items()}, path)


@pytest.mark.parametrize(
    "damage, says",
    [
        (_truncated, "cannot be read: "),
        (_of_another_shape, "does not fit the base"),
        (_without_lora, "holds no LoRA"),
        (_of_another_kind, "lokr_w1: only LoRA is read"),
        (_of_dora_by_kohya, "dora_scale: only LoRA is read"),
        (_of_layers_that_are_not_there, "does not fit the base"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line_and_leaves_the_base_as_it_was(model, mine, tmp_path, damage, says):
    plain = predicted(model)
    damage(tmp_path / "a.safetensors", load_file(mine[0]))
    with pytest.raises(WorkbenchError) as error, lora.attached(model, [(mine[0], 1.0), (tmp_path / "a.safetensors", 1.0)]):
        pass
    assert says in the_line(error)
    assert torch.equal(predicted(model), plain)
    with lora.attached(model, [(mine[0], 1.0)]):
        assert torch.equal(predicted(model), mine[1])


def test_a_lora_of_another_kind_of_base(mine):
    model = small_diffusion.opened("xl")
    with pytest.raises(WorkbenchError) as error, lora.attached(model, [(mine[0], 1.0)]):
        pass
    assert "does not fit the base" in the_line(error) and "Stable Diffusion XL" in the_line(error)


def test_files_that_are_no_lora(model, tmp_path):
    (tmp_path / "a.bin").touch()
    for path, says in (
        (tmp_path / "nowhere.safetensors", "no such file"),
        (tmp_path, "the folder has no"),
        (tmp_path / "a.bin", "pickled"),
    ):
        with pytest.raises(WorkbenchError) as error, lora.attached(model, [(path, 1.0)]):
            pass
        assert says in the_line(error)
    with pytest.raises(WorkbenchError, match="rank = 0"):
        lora.Shape(rank=0)
