"""Base models: opened from folders without the network, their schedules, and the line that says what is wrong."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import small_diffusion
import torch
from safetensors.torch import load_file, save_file

from workbench.diffusion import base, tiny
from workbench.errors import UsageError, WorkbenchError


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    """No test may ask for an address."""

    def asked(*address, **options):
        raise AssertionError(f"the network was asked for {address}")

    monkeypatch.setattr(socket, "getaddrinfo", asked)


@pytest.fixture
def copied(tmp_path):
    """A copy of the small model, to be damaged."""
    return Path(shutil.copytree(small_diffusion.folder(), tmp_path / "model"))


def the_line(error):
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("kind, title", [("sd", "Stable Diffusion"), ("v", "Stable Diffusion"), ("xl", "Stable Diffusion XL")])
def test_a_folder_is_opened_and_told_by_its_configurations(kind, title):
    model = small_diffusion.opened(kind)
    assert (model.title, model.xl, model.predicts_v) == (title, kind == "xl", kind == "v")
    assert (model.factor, model.multiple, model.size, model.steps, model.dtype) == (8, 16, 128, 1000, torch.float32)
    words = model.words(["sks painting", ""])
    assert words.states.shape == (2, 77, 32 if kind == "xl" else 16) and (words.pooled is not None) == (kind == "xl")
    assert not any(part.requires_grad for part in model.pipe.unet.parameters())


def test_a_factor_of_four(tmp_path):
    model = base.load(tiny.write(tmp_path, vae_widths=(8, 8, 16), widths=(8, 16, 16)), dtype=torch.float32)
    assert (model.factor, model.multiple) == (4, 16)
    mean, deviation = model.encode(torch.rand(2, 3, 32, 48))
    assert mean.shape == deviation.shape == (2, 4, 8, 12) and model.decode(mean).shape == (2, 3, 32, 48)


def test_the_tokenizer_knows_its_words_and_spells_the_others():
    tokenizer = small_diffusion.opened().pipe.tokenizer
    assert tokenizer.tokenize("sks1 Painting") == ["sks</w>", "1</w>", "painting</w>"]
    for text in ("café, 1889", "sks2 painting, landscape", "雪"):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).replace(" ", "") == text.replace(
            " ", ""
        )


def test_the_identity_is_that_of_the_files_that_are_read(copied, tmp_path):
    first = base.load(copied).identity
    assert first == base.load(small_diffusion.folder()).identity == base.load(copied, dtype=torch.bfloat16).identity
    shutil.copy(copied / "unet/diffusion_pytorch_model.safetensors", copied / "unet/diffusion_pytorch_model.fp16.safetensors")
    (copied / "README.md").write_text("of no concern")
    assert base.load(copied).identity == first
    tensors = load_file(copied / "vae/diffusion_pytorch_model.safetensors")
    tensors["quant_conv.bias"][0] += 1
    save_file(tensors, copied / "vae/diffusion_pytorch_model.safetensors")
    assert base.load(copied).identity != first
    assert base.load(tiny.write(tmp_path / "other", seed=1)).identity not in (first, base.load(copied).identity)


def test_hardware_decides_the_precision(monkeypatch):
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(base.encoders, "has_bfloat16", lambda device, has=has: has)
        model = base.load(small_diffusion.folder())
        assert model.dtype == dtype
        z = torch.zeros(1, 4, 8, 8)
        assert model.predict(z, torch.tensor([3]), model.words([""])).dtype == torch.float32


@pytest.mark.parametrize("kind", ["sd", "v"])
def test_noise_and_targets_are_those_of_the_schedule(kind):
    from diffusers import DDPMScheduler

    model = small_diffusion.opened(kind)
    oracle = DDPMScheduler.from_config(model.pipe.scheduler.config)
    draw = torch.Generator().manual_seed(0)
    z, noise = torch.randn(3, 4, 8, 8, generator=draw), torch.randn(3, 4, 8, 8, generator=draw)
    t = torch.tensor([0, 400, 999])
    z_t, target = model.noised(z, noise, t), model.target(z, noise, t)
    torch.testing.assert_close(z_t, oracle.add_noise(z, noise, t))
    torch.testing.assert_close(target, oracle.get_velocity(z, noise, t) if kind == "v" else noise)
    a = model.signal(t)
    back = a.sqrt() * z_t - (1 - a).sqrt() * target if kind == "v" else (z_t - (1 - a).sqrt() * target) / a.sqrt()
    torch.testing.assert_close(back, z, atol=1e-4, rtol=1e-3)


def test_sizes_are_a_condition_of_sdxl_alone():
    sizes = torch.tensor([[512, 400, 0, 8, 64, 64]])
    for kind in ("sd", "xl"):
        model = small_diffusion.opened(kind)
        z, t, words = torch.ones(1, 4, 8, 8), torch.tensor([500]), model.words(["sks painting"])
        with torch.no_grad():
            same = torch.equal(model.predict(z, t, words), model.predict(z, t, words, sizes))
            whole = model.predict(z, t, words, torch.tensor([[64, 64, 0, 0, 64, 64]]))
        assert same == (kind == "sd") and torch.equal(whole, model.predict(z, t, words))


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_prompts_are_mixed_by_their_weights(kind):
    words = small_diffusion.opened(kind).words(["sks1 painting", "sks2 painting", "painting"])
    torch.testing.assert_close(words.mixed([0, 2, 0]).states, words[1:2].states)
    mean = words.mixed([1, 3, 0])
    torch.testing.assert_close(mean.states, 0.25 * words[0:1].states + 0.75 * words[1:2].states)
    if kind == "xl":
        torch.testing.assert_close(mean.pooled, 0.25 * words[0:1].pooled + 0.75 * words[1:2].pooled)
    assert torch.equal(base.Words.together([words[0:1], words[1:3]]).states, words.states)


def test_what_diffusers_says_stays_unsaid(capfd):
    model = base.load(small_diffusion.folder())
    model.words(["a prompt that is very much longer than seventy-seven tokens, " * 5])
    assert capfd.readouterr() == ("", "")


# --- what cannot be had


@pytest.mark.parametrize(
    "name, says",
    [
        ("./nowhere", "base ./nowhere: no such folder"),
        ("/nowhere/at/all", "no such folder"),
        ("nobody/no-such-model", "is not on this machine: give a folder, or --download"),
        ("no such name!", "is not on this machine: give a folder"),
        ("nowhere.safetensors", "base nowhere.safetensors: no such file"),
    ],
)
def test_a_base_that_is_not_here(name, says):
    with pytest.raises(WorkbenchError) as error:
        base.load(name)
    assert says in the_line(error)


def test_the_hub_is_asked_on_request_alone_and_a_licence_is_named(monkeypatch):
    import diffusers
    import httpx
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    answer = httpx.Response(403, request=httpx.Request("GET", "https://hub.example"))
    for kind, says in (
        (GatedRepoError, "its licence must be accepted first"),
        (RepositoryNotFoundError, "neither a folder nor"),
    ):

        def download(name, *, local_files_only, kind=kind, **options):
            assert not local_files_only
            raise kind("a long\nstory", response=answer)

        monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
        with pytest.raises(WorkbenchError) as error:
            base.load("someone/model", download=True)
        assert says in the_line(error)


def test_a_folder_of_something_else(tmp_path, copied):
    with pytest.raises(WorkbenchError) as error:
        base.load(tmp_path)
    assert "no model in the layout of diffusers" in the_line(error)
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(UsageError) as error:
        base.load(copied)
    assert "is a FluxPipeline: choose Stable Diffusion 1.x, 2.x or XL" in the_line(error)


def _truncate(folder):
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def _reshape(folder):
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    save_file(load_file(path) | {"quant_conv.bias": torch.zeros(3)}, path)


def _thin_out(folder):
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "conv_out" not in name}, path)


def _thin_out_text(folder):
    path = folder / "text_encoder/model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "final_layer_norm" not in name}, path)


def _delete(folder):
    (folder / "text_encoder/model.safetensors").unlink()


def _garble(folder):
    (folder / "unet/config.json").write_text("{")


@pytest.mark.parametrize("damage", [_truncate, _reshape, _thin_out, _thin_out_text, _delete, _garble])
def test_a_damaged_folder_is_one_line(copied, damage):
    damage(copied)
    with pytest.raises(WorkbenchError) as error:
        base.load(copied)
    assert the_line(error).startswith(f"base {copied} cannot be read: ")


def test_a_single_file_needs_its_configurations(tmp_path, copied):
    single = tmp_path / "one.safetensors"
    save_file({"a": torch.zeros(1)}, single)
    with pytest.raises(UsageError) as error:
        base.load(single)
    assert "needs its configurations" in the_line(error)
    shutil.move(copied, tmp_path / "one")
    with pytest.raises(WorkbenchError) as error:
        base.load(single)
    assert "cannot be read" in the_line(error)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(WorkbenchError, match=r"diffusion needs peft: pip install 'artist-workbench\[diffusion\]'"):
        base.load(small_diffusion.folder())


def test_the_workbench_is_imported_without_diffusers():
    code = """
        import sys
        import workbench.methods, workbench.generative.families, workbench.diffusion.dreambooth, workbench.diffusion.tiny
        print([name for name in ("diffusers", "transformers", "peft") if name in sys.modules])
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    assert subprocess.check_output([sys.executable, "-c", lines], text=True).strip() == "[]"
