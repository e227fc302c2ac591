import hashlib
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import open_clip
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file, save_file

from workbench import encoders
from workbench.encoders import cuda
from workbench.errors import UsageError, WorkbenchError
from workbench.transfer.engine.fast import _split
from workbench.transfer.engine.gram import gram

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def embedded():
    return encoders.load("embedded", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def random():
    return encoders.load("random", device="cpu", precision="float32")


@pytest.fixture
def vgg19(shared, monkeypatch):
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(shared / "weights"))
    return encoders.load("vgg19", device="cpu", precision="float32")


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKBENCH_WEIGHTS", raising=False)
    monkeypatch.delenv("WORKBENCH_DOWNLOAD", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny_clip(tmp_path, monkeypatch):
    """A CLIP model small enough to build here, saved as a checkpoint and registered as open_clip registers its own."""
    folder = tmp_path / "configs"
    folder.mkdir()
    import json

    (folder / "tiny-clip.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-clip")
    path = tmp_path / "tiny.pt"
    torch.save(model.state_dict(), path)
    return model.eval(), path


class TestFeatures:
    """What every convolutional encoder computes."""

    def test_vgg19_equals_torchvision_away_from_the_border(self, vgg19, shared):
        state = load_file(shared / "weights" / "vgg19_features.safetensors")
        reference = torchvision.models.vgg19(weights=None).features.eval()
        reference.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
        image = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
        x = torchvision.transforms.functional.normalize(
            image, encoders.convolutional.IMAGENET_MEAN, encoders.convolutional.IMAGENET_STD
        )
        expected = {}
        for index, module in enumerate(reference[:30]):
            x = module(x).clone()
            expected[index] = x
        taps = vgg19.features(image, ["relu1_1", "relu2_1", "relu3_1", "relu4_2"])
        # Only the padding of the first convolution differs, so the middle agrees where the border's influence has not reached.
        for layer, index, border in (("relu1_1", 1, 1), ("relu2_1", 6, 3), ("relu3_1", 11, 4), ("relu4_2", 22, 6)):
            inner = (..., slice(border, -border), slice(border, -border))
            assert torch.allclose(taps[layer][inner], expected[index][inner], rtol=1e-3, atol=1e-2), layer

    def test_a_frame_does_not_appear_on_a_constant_image(self, embedded):
        tap = embedded.features(torch.full((1, 3, 32, 32), 0.3), ["relu1_1"])["relu1_1"]
        assert torch.allclose(tap, tap[..., 5:6, 5:6].expand_as(tap), atol=1e-6)

    def test_taps_survive_the_layers_behind_them(self, embedded):
        image = torch.rand(1, 3, 32, 32)
        alone = embedded.features(image, ["relu1_1"])["relu1_1"]
        together = embedded.features(image, list(embedded.channels))["relu1_1"]
        assert torch.equal(alone, together)

    def test_gradients_reach_the_image_and_no_weight(self, embedded):
        image = torch.rand(1, 3, 32, 32, requires_grad=True)
        embedded.features(image, ["relu5_1"])["relu5_1"].sum().backward()
        assert image.grad.abs().sum() > 0
        assert all(p.grad is None and not p.requires_grad for p in embedded.parameters())

    @pytest.mark.parametrize("size", [(1, 1), (3, 17), (16, 5)])
    def test_images_smaller_than_the_stride_still_give_features(self, embedded, size):
        taps = embedded.features(torch.rand(1, 3, *size), ["relu5_1"])
        assert taps["relu5_1"].shape[1] == embedded.channels["relu5_1"] and min(taps["relu5_1"].shape[2:]) >= 1

    def test_bfloat16_is_close_to_float32(self, embedded):
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        half = encoders.load("embedded", device="cpu", precision="bfloat16")
        a, b = (e.features(image, ["relu4_1"])["relu4_1"] for e in (embedded, half))
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() / a.norm() < 0.05
        assert half.identity != embedded.identity

    @pytest.mark.parametrize("capable", [True, False])
    def test_auto_precision_is_bfloat16_where_the_processor_has_it(self, monkeypatch, capable):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": capable}, raising=False)
        encoder = encoders.load("embedded", device="cpu")
        assert encoder.dtype == (torch.bfloat16 if capable else torch.float32)
        assert next(encoder.convolutions.parameters()).dtype == encoder.dtype

    @pytest.mark.parametrize(("pooling", "pool"), [("average", F.avg_pool2d), ("max", F.max_pool2d)])
    def test_pooling_is_what_it_says(self, pooling, pool):
        encoder = encoders.load("random", device="cpu", precision="float32", pooling=pooling)
        image = torch.rand(1, 3, 16, 16)
        before = encoder.features(image, ["relu1_1"])["relu1_1"]
        after = encoder.features(image, ["relu2_1"])["relu2_1"]
        assert torch.allclose(after, F.relu(encoder.convolutions["relu2_1"](pool(before, 2))), atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("shape", [(1, 3, 8, 10), (2, 5, 7, 9), (1, 2, 2, 3)])
    def test_average_pooling_has_the_gradient_of_torchs(self, shape, dtype):
        """Where a last row or column falls outside of every cell, it is zero."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(shape, generator=generator).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
        found, expected = cuda._AveragePool.apply(x), F.avg_pool2d(x, 2)
        assert torch.allclose(found, expected, rtol=4 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps)
        slope = torch.randn(found.shape, generator=generator).to(dtype).to(memory_format=torch.channels_last)
        gradients = [torch.autograd.grad(y, x, slope)[0] for y in (found, expected)]
        assert torch.equal(*gradients) and gradients[0].stride(1) == 1  # channels side by side
        if dtype == torch.float64:
            assert torch.autograd.gradcheck(cuda._AveragePool.apply, (x,))

    def test_pictures_of_a_pixel_have_a_gradient(self):
        encoder = encoders.load("random", device="cpu", precision="float32")
        for shape in ((1, 1), (1, 7), (5, 1)):
            image = torch.rand(1, 3, *shape, requires_grad=True)
            encoder.features(image, ["relu1_1"])["relu1_1"].sum().backward()
            assert image.grad.shape == image.shape and image.grad.abs().sum() > 0


class TestClip:
    """A small CLIP model that is made here."""

    def test_clip_loads_a_local_checkpoint_through_open_clip(self, tiny_clip):
        model, path = tiny_clip
        encoder = encoders.load(f"clip:tiny-clip/{path}", device="cpu")
        image = torch.rand(2, 3, 32, 32)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
        with torch.no_grad():
            expected = model.encode_image((image - mean) / std)
        assert torch.allclose(encoder.embed(image), expected, atol=1e-5)
        assert encoder.embed(torch.rand(1, 3, 50, 90)).shape == (1, 16)
        assert encoder.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_clip_has_no_style_layers(self, tiny_clip):
        encoder = encoders.load(f"clip:tiny-clip/{tiny_clip[1]}", device="cpu")
        with pytest.raises(UsageError, match="no spatial features"):
            encoder.features(torch.rand(1, 3, 32, 32), ["relu1_1"])

    def test_clip_errors_say_what_to_do(self, tiny_clip, tmp_path, monkeypatch):
        monkeypatch.delenv("WORKBENCH_DOWNLOAD", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        with pytest.raises(UsageError, match="clip:MODEL/PRETRAINED"):
            encoders.load("clip:ViT-B-32")
        with pytest.raises(UsageError, match="knows no model"):
            encoders.load("clip:ViT-Z-99/openai")
        with pytest.raises(WorkbenchError, match="no such file"):
            encoders.load("clip:tiny-clip/absent.pt")
        with pytest.raises(WorkbenchError, match="WORKBENCH_DOWNLOAD=1"):
            encoders.load("clip:ViT-B-32/laion2b_s34b_b79k")
        broken = tmp_path / "broken.pt"
        broken.write_bytes(b"nothing")
        with pytest.raises(WorkbenchError, match="does not load"):
            encoders.load(f"clip:tiny-clip/{broken}")

    def test_a_clip_tag_brings_its_own_preprocessing_and_activation(self, tiny_clip, monkeypatch):
        path = tiny_clip[1]
        tag = {"file": str(path), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "quick_gelu": True}
        monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda architecture, name: tag)
        monkeypatch.setattr(encoders.clip, "find_checkpoint", lambda architecture, name: path)
        encoder = encoders.load("clip:tiny-clip/a-tag", device="cpu")
        assert encoder.mean.flatten().tolist() == [0.5] * 3 and encoder.std.flatten().tolist() == [0.25] * 3
        kinds = {type(module).__name__ for module in encoder.modules()}
        assert "QuickGELU" in kinds and "GELU" not in kinds


class TestWeights:
    """Files: what is found, what is refused."""

    def test_the_weights_in_the_package_are_small_and_are_those_that_were_shipped(self, embedded):
        content = encoders.embedded.WEIGHTS.read_bytes()
        assert len(content) <= 6e6
        assert embedded.weights_sha256 == hashlib.sha256(content).hexdigest() == encoders.embedded.WEIGHTS_SHA256

    def test_damaged_weights_in_the_package_are_refused(self, monkeypatch, tmp_path, embedded):
        other = tmp_path / "embedded.safetensors"
        embedded.save(other, {"recipe": "another"})
        monkeypatch.setattr(encoders.embedded, "WEIGHTS", other)
        with pytest.raises(WorkbenchError, match="damaged"):
            encoders.load("embedded", device="cpu")
        other.write_bytes(other.read_bytes()[:1000])
        with pytest.raises(WorkbenchError, match="cannot be read as a distilled encoder"):
            encoders.load("embedded", device="cpu")

    def test_a_distilled_encoder_of_ones_own_is_loaded_by_its_path(self, embedded, tmp_path):
        image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(2))
        digest = embedded.save(tmp_path / "mine.safetensors", {})
        mine = encoders.load(f"embedded:{tmp_path / 'mine.safetensors'}", device="cpu", precision="float32")
        assert mine.weights_sha256 == digest
        assert torch.equal(mine.features(image, ["relu5_1"])["relu5_1"], embedded.features(image, ["relu5_1"])["relu5_1"])
        with pytest.raises(WorkbenchError, match="nothing"):
            encoders.load(f"embedded:{tmp_path / 'nothing'}", device="cpu")
        save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
        with pytest.raises(WorkbenchError, match="cannot be read as a distilled encoder"):
            encoders.load(f"embedded:{tmp_path / 'foreign.safetensors'}", device="cpu")

    @pytest.mark.parametrize("name", [*encoders.ENCODERS, "clip:a/b/c.pt", "vae:../my networks/one.safetensors"])
    def test_names_of_every_form_are_known_and_those_that_paint_are_some_of_them(self, name):
        assert encoders.known(name) == name
        if name in encoders.PAINTING:
            assert encoders.known(name, paints=True) == name
        else:
            with pytest.raises(
                UsageError, match="only compares pictures, as a retriever: to paint with, choose embedded, vgg19"
            ):
                encoders.known(name, paints=True)

    @pytest.mark.parametrize("name", ["vgg19:x", "lite0:x", "vae", "clip", "", "embeded"])
    def test_names_of_no_form_are_refused_by_load_as_they_are_by_known(self, name):
        for refuses in (encoders.known, encoders.load):
            with pytest.raises(UsageError, match=f"unknown encoder {name!r}: (did you mean|choose) "):
                refuses(name)

    def test_unknown_names_are_refused(self, embedded):
        with pytest.raises(UsageError, match="did you mean vgg19"):
            encoders.load("vgg16")
        with pytest.raises(UsageError, match="embedded, vgg19"):
            encoders.load("something else entirely")
        with pytest.raises(UsageError, match="relu6_1"):
            embedded.features(torch.rand(1, 3, 32, 32), ["relu6_1"])
        with pytest.raises(UsageError, match="float16"):
            encoders.load("embedded", precision="float16")
        with pytest.raises(UsageError, match="pooling"):
            encoders.load("embedded", pooling="median")
        with pytest.raises(UsageError, match="not available"):
            encoders.load("embedded", device="cuda:99")

    def test_missing_vgg_weights_name_the_three_ways(self, no_weights):
        with pytest.raises(WorkbenchError) as error:
            encoders.load("vgg19")
        for way in ("WORKBENCH_DOWNLOAD=1", "vgg19_features.safetensors", "vgg19-dcbb9e9d.pth"):
            assert way in str(error.value)
        assert "\n" not in str(error.value)

    def test_damaged_and_foreign_weights_are_refused(self, no_weights, monkeypatch):
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(no_weights))
        safe = no_weights / "vgg19_features.safetensors"
        safe.write_bytes(b"not a safetensors file")
        with pytest.raises(WorkbenchError, match="cannot be read as weights"):
            encoders.load("vgg19")
        save_file({"0.weight": torch.zeros(8, 3, 3, 3)}, safe)
        with pytest.raises(WorkbenchError, match="does not hold VGG-19"):
            encoders.load("vgg19")
        safe.unlink()
        torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, no_weights / "vgg19-dcbb9e9d.pth")
        with pytest.raises(WorkbenchError, match="damaged"):
            encoders.load("vgg19")

    @pytest.mark.parametrize("damage", ["zeros", "nan", "int32", "bytes"])
    def test_weights_with_changed_bytes_are_refused(self, shared, no_weights, monkeypatch, damage):
        state = load_file(shared / "weights" / "vgg19_features.safetensors")
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(no_weights))
        name = next(name for name in state if name.endswith("10.weight"))
        if damage == "bytes":
            state[name].view(torch.uint8).view(-1)[4096:8192] = torch.arange(4096).mul(37).remainder(250).to(torch.uint8)
        else:
            changed = {"zeros": torch.zeros_like(state[name]), "nan": state[name].clone(), "int32": state[name].int()}[damage]
            if damage == "nan":
                changed.view(-1)[1000] = float("nan")
            state[name] = changed
        save_file(state, no_weights / "vgg19_features.safetensors")
        with pytest.raises(WorkbenchError, match="damaged"):
            encoders.load("vgg19")

    def test_the_same_encoder_is_written_as_the_same_bytes(self, embedded, tmp_path):
        """safetensors has the metadata in any order: the hash of the file is what the encoder is known by."""
        metadata = {f"name {k}": str(k) for k in range(8)}
        written = {embedded.save(tmp_path / f"{k}.safetensors", metadata) for k in range(6)}
        assert len(written) == 1

    def test_a_distilled_encoder_with_a_changed_byte_is_refused(self, embedded, tmp_path):
        path = tmp_path / "mine.safetensors"
        embedded.save(path, {})
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(WorkbenchError, match=r"mine\.safetensors is damaged"):
            encoders.load(f"embedded:{path}")

    def test_torchvision_file_and_safetensors_give_the_same_encoder(self, vgg19, shared, no_weights, monkeypatch):
        state = load_file(shared / "weights" / "vgg19_features.safetensors")
        path = no_weights / "unnamed.pth"
        torch.save({f"features.{n.removeprefix('features.')}": v for n, v in state.items()}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        named = path.rename(no_weights / f"vgg19-{digest}.pth")
        monkeypatch.setattr(encoders.vgg, "TORCHVISION", named.name)
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(no_weights))
        image = torch.rand(1, 3, 48, 48)
        a = vgg19.features(image, ["relu3_1"])["relu3_1"]
        assert torch.equal(a, encoders.load("vgg19", device="cpu", precision="float32").features(image, ["relu3_1"])["relu3_1"])

    def test_weights_are_found_only_where_they_are_said_to_be(self, shared, no_weights, monkeypatch):
        checkpoints = no_weights / "checkpoints"
        checkpoints.mkdir()
        monkeypatch.setattr(encoders.vgg, "TORCHVISION", "vgg19_features.safetensors")
        shutil.copy(shared / "weights" / "vgg19_features.safetensors", checkpoints)
        assert encoders.vgg.find_weights() == checkpoints / "vgg19_features.safetensors"
        monkeypatch.setenv("WORKBENCH_WEIGHTS", os.devnull)
        assert encoders.vgg.find_weights() == checkpoints / "vgg19_features.safetensors"


class TestRandom:
    """The network that was never trained."""

    def test_the_random_network_is_the_same_everywhere(self, random):
        # He initialisation from a fixed seed: the digest is part of the cache key and of provenance.
        assert random.weights_sha256 == encoders.load("random", device="cpu").weights_sha256
        assert random.weights_sha256.startswith("12d4f2b01ff939ae")

    def test_random_channels_are_equally_loud(self, random):
        noise = encoders.random._natural_noise(torch.Generator().manual_seed(7))
        for layer in random.channels:
            _, before = random.before_relu(noise, layer)
            std, mean = torch.std_mean(before, dim=(0, 2, 3))
            assert (std - 1).abs().mean() < 0.2 and (mean - encoders.random.SHIFT).abs().mean() < 0.2
            assert torch.equal(before.relu(), random.features(noise, [layer])[layer])


class TestMemory:
    """What recomputing and the allocator save."""

    @pytest.mark.parametrize("layers", [["relu1_1", "relu2_1", "relu4_2", "relu5_1"], ["relu3_1"], ["relu1_1"]])
    def test_recomputing_blocks_changes_no_bit(self, embedded, layers):
        image = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(0))
        found = []
        for recompute in (False, True):
            embedded.recompute = recompute
            x = image.clone().requires_grad_()
            features = embedded.activations(x, layers)
            total = sum(f.square().mean() + gram(f).square().mean() for f in features.values())
            found.append((*features.values(), torch.autograd.grad(total, x)[0]))
        embedded.recompute = False
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))

    def test_recomputing_keeps_nothing_for_the_gradient_but_what_goes_into_the_blocks(self, embedded):
        def held(recompute):
            sizes = {}

            def keep(tensor):
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            embedded.recompute = recompute
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                kept = embedded.hidden(torch.rand(1, 3, 96, 96).requires_grad_(), ["relu5_1"])
            embedded.recompute = False
            assert kept["relu5_1"].requires_grad
            return sum(sizes.values())

        inputs = 3 + sum(
            embedded.widths[layer] / area
            for layer, area in zip(("relu1_2", "relu2_2", "relu3_4", "relu4_4"), (1, 4, 16, 64), strict=True)
        )
        assert held(recompute=True) == 4 * 96 * 96 * inputs < held(recompute=False) / 2

    @pytest.mark.skipif(sys.platform != "linux", reason="glibc")
    @pytest.mark.parametrize("keep", [True, False])
    def test_the_allocator_keeps_what_was_freed_until_it_is_told_to_release(self, keep):
        """In a process of its own: resident megabytes after freeing 200 in blocks, and after return_pages."""
        code = (
            "import torch\n"
            "from workbench import memory\n"
            f"{keep} and memory.keep_pages()\n"
            "resident = lambda: int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6\n"
            "before = resident()\n"
            "blocks = [torch.ones(10_000_000, dtype=torch.uint8) for _ in range(20)]\n"
            "del blocks\n"
            "freed = resident()\n"
            f"{keep} and memory.return_pages()\n"
            "print(freed - before, resident() - before)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        freed, released = map(float, done.stdout.split())
        assert (freed > 150) == keep and released < 50

    def test_one_draft_encoder_serves_all_and_saves_memory_only_where_the_encoder_does(self):
        wide = SimpleNamespace(name="vgg19", device=torch.device("cpu"), precision="float32", recompute=False)
        draft = encoders.draft_encoder(wide)
        assert draft.save_memory() and draft.recompute
        assert encoders.draft_encoder(wide) is draft and not draft.recompute
        assert encoders.draft_encoder(SimpleNamespace(name="embedded")) is None


class TestCudaOperations:
    """Gradients of the operations for NVIDIA's GPUs, here on a CPU: those of torch, however many losses read them."""

    READS = ("Gram", "features", "Gram and features", "Gram and further", "features and further", "all")

    @staticmethod
    def picture(size, dtype):
        x = torch.randn(2, 6, *size, generator=torch.Generator().manual_seed(1)).to(dtype)
        return x.contiguous(memory_format=torch.channels_last).requires_grad_()

    @staticmethod
    def loss(further, features, reads, weight):
        parts = {
            "Gram": gram(features).square().sum(),
            "features": features.float().mean(),
            "further": F.conv2d(further, weight).float().square().mean(),
        }
        return sum(part for name, part in parts.items() if name in reads or reads == "all")

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("size", [(16, 20), (31, 11)])
    @pytest.mark.parametrize("reads", READS)
    def test_a_tap(self, dtype, size, reads):
        x = self.picture(size, dtype)
        weight = torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(2)).to(dtype)
        y = x * 1
        (expected,) = torch.autograd.grad(self.loss(y, y, reads, weight), x)
        further, features = cuda.tap(x * 1)
        (found,) = torch.autograd.grad(self.loss(further, features, reads, weight), x)
        assert (found - expected).norm() <= 4 * torch.finfo(dtype).eps * expected.norm()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("size", [(16, 20), (31, 11), (3, 3)])  # in the last, matrices are too large to gain anything
    @pytest.mark.parametrize("reads", READS)
    def test_a_head(self, dtype, size, reads):
        linear = torch.nn.Conv2d(6, 5, 1).to(dtype=dtype, memory_format=torch.channels_last).requires_grad_(False)
        x = self.picture(size, dtype)
        weight = torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(2)).to(dtype)
        y = x * 1
        (expected,) = torch.autograd.grad(self.loss(y, linear(y), reads, weight), x)
        further, features = cuda.head(linear, x * 1)
        assert hasattr(features, "proxy") == (size != (3, 3))
        (found,) = torch.autograd.grad(self.loss(further, features, reads, weight), x)
        assert (found - expected).norm() <= 4 * torch.finfo(dtype).eps * expected.norm()

    def test_the_features_of_one_picture_of_a_batch_take_their_part_of_the_proxy(self):
        x = self.picture((16, 20), torch.bfloat16)
        _, features = cuda.tap(x * 1)
        one = _split(features)[1]
        (found,) = torch.autograd.grad(gram(one).sum(), x, retain_graph=True)
        (whole,) = torch.autograd.grad(gram(features)[1].sum(), x)
        assert not found[0].any() and torch.allclose(found, whole, rtol=1e-2, atol=1e-4)

    def test_a_gradient_that_is_handed_in_is_not_written_over(self):
        x = self.picture((16, 20), torch.float32)
        _, features = cuda.tap(x * 1)
        handed = torch.ones_like(features)
        torch.autograd.grad([gram(features).sum(), features], x, [torch.ones(()), handed])
        assert torch.equal(handed, torch.ones_like(features))


@pytest.fixture(scope="module")
def gabor():
    return encoders.load("gabor", device="cpu")


class TestGabor:
    @pytest.mark.parametrize(("octave", "turn"), [(1, 0), (2, 3), (3, 6)])
    def test_a_wave_answers_in_the_channel_of_its_octave_and_direction(self, gabor, octave, turn):
        """Lightness 50 + 20 cos has, about L* / 100, the amplitude .2, of which a complex filter keeps half."""
        y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
        angle, wavelength = torch.tensor(torch.pi * turn / 8), 4.0 * 2 ** (octave - 1)
        light = 50 + 20 * torch.cos(2 * torch.pi * (x * angle.cos() + y * angle.sin()) / wavelength)
        linear = ((light + 16) / 116) ** 3
        grey = (1.055 * linear ** (1 / 2.4) - 0.055).expand(1, 3, 128, 128)
        found = gabor.features(grey, gabor.style_layers)
        inside = {layer: x[0, :8, 4:-4, 4:-4].mean(dim=(1, 2)) for layer, x in found.items()}
        strongest = max(((float(v.max()), layer, int(v.argmax())) for layer, v in inside.items()))
        assert strongest[1:] == (f"octave{octave}", turn)
        assert strongest[0] == pytest.approx(0.1, rel=0.02 if octave == 1 else 0.3)  # averaging into cells weakens waves

    def test_what_is_flat_has_its_colour_and_no_waves(self, gabor):
        found = gabor.features(torch.full((1, 3, 40, 56), 0.5), gabor.style_layers)
        for step, x in zip((1, 2, 4, 8), found.values(), strict=True):
            assert x.shape == (1, 11, 40 // step, 56 // step)
            assert x[:, :8].abs().max() < 1e-5 and x[:, 8].mean() == pytest.approx(0.534, abs=0.002)
            assert x[:, 9:].abs().max() < 1e-3
        assert gabor.embed(torch.rand(2, 3, 20, 30)).shape == (2, 44)

    def test_it_paints_nothing_and_is_the_same_everywhere(self, gabor):
        with pytest.raises(UsageError, match="only compares"):
            encoders.known("gabor", paints=True)
        assert gabor.weights_sha256 == encoders.load("gabor", device="cpu").weights_sha256
        with pytest.raises(UsageError, match="no layer"):
            gabor.features(torch.rand(1, 3, 16, 16), ["relu1_1"])
