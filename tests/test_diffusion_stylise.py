"""A photograph restyled by a base model: sizes, seeds, stops; inversion that leads back; edges; the tokens of a target."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import small_diffusion
import torch
from torch.nn import functional

from workbench import methods, progress, targets
from workbench.diffusion import lora, stylise
from workbench.diffusion.stylise import Options, edges, inverted, made, restyled
from workbench.errors import UsageError, WorkbenchError
from workbench.generative import trained
from workbench.generative.training import Plan, Training
from workbench.transfer import Settings

QUICK = {"steps": 6, "guidance": 3.0}


@pytest.fixture(scope="module")
def model():
    return small_diffusion.opened()


@pytest.fixture(scope="module")
def content():
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, (50, 67), mode="bilinear")


@pytest.fixture(scope="module")
def words(model):
    return model.words(["sks painting"])


@pytest.fixture(scope="module")
def network(corpus, encoder, tmp_path_factory):
    """The file of a LoRA with two tokens, trained for four steps at a high rate."""
    from workbench.generative import families

    options = {"size": 64, "class_images": 0, "rank": 4, "samples": False}
    family = families.family("dreambooth", corpus.works, encoder=encoder, base=str(small_diffusion.folder()), options=options)
    training = Training(family, Plan(steps=4, rate=100))
    for _ in training:
        pass
    path = tmp_path_factory.mktemp("lora") / "nobody.safetensors"
    trained.save(training, path)
    return path


@pytest.mark.parametrize("kind", ["sd", "v", "xl"])
@pytest.mark.parametrize("how", ["img2img", "inversion"])
def test_the_result_has_the_size_of_the_content(kind, how, content):
    model = small_diffusion.opened(kind)
    picture = restyled(model, content, model.words(["sks painting"]), strength=0.5, how=how, **QUICK)
    assert picture.shape == content.shape and picture.dtype == torch.float32
    assert picture.min() >= 0 and picture.max() <= 1 and not torch.allclose(picture, content, atol=0.05)


@pytest.mark.parametrize("how", ["img2img", "inversion"])
def test_less_than_one_step_is_the_content_itself(model, content, words, how):
    for strength in (0.0, 0.16):  # int(6 * .16) = 0
        assert restyled(model, content, words, strength=strength, how=how, **QUICK) is content
    assert restyled(model, content, words, strength=0.17, how=how, **QUICK) is not content


@pytest.mark.parametrize("how", ["img2img", "inversion"])
def test_the_seed_decides(model, content, words, how):
    first, again, other = (restyled(model, content, words, strength=0.7, how=how, seed=seed, **QUICK) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_pictures_from_a_prompt_depend_on_their_own_seed_alone(model, words):
    three = made(model, words, size=(32, 48), seeds=(4, 5, 6), steps=2)
    assert three.shape == (3, 3, 32, 48) and torch.equal(three[1:2], made(model, words, size=(32, 48), seeds=(5,), steps=2))
    assert not torch.equal(three[0], three[1])


@pytest.mark.parametrize("kind", ["sd", "v"])
def test_inversion_leads_back_to_the_latent_where_nothing_changes(kind, content):
    model = small_diffusion.opened(kind)
    z, _ = model.encode(stylise.padded(content, model.factor))
    for prompt in ("", "sks painting"):
        words = model.words([prompt])
        for strength in (0.3, 1.0):
            back = inverted(model, z, words, strength=strength, steps=10, guidance=1.0, seed=0, plain=words)
            torch.testing.assert_close(back, z, atol=1e-4, rtol=0)
    other = inverted(model, z, model.words(["landscape"]), strength=1.0, steps=10, guidance=4.0, seed=0)
    assert (other - z).abs().max() > 1e-2


def test_inversion_goes_there_without_the_lora_and_back_with_it(model, content, network):
    """Seen from outside: with a LoRA of weight 0 the way leads back, with weight 1 it does not."""
    z, _ = model.encode(stylise.padded(content, model.factor))
    off = []
    for weight in (0.0, 1.0):
        with lora.attached(model, [(network, weight)]):
            words = model.words([""])
            back = inverted(model, z, words, strength=0.8, steps=10, guidance=1.0, seed=0, plain=words)
        off.append(float((back - z).abs().max()))
    assert off[0] < 1e-4 and off[1] > 10 * off[0]


@pytest.mark.parametrize("how", ["img2img", "inversion"])
def test_a_stop_comes_between_steps_and_the_model_goes_on(model, content, words, how, monkeypatch):
    wanted = restyled(model, content, words, strength=1.0, how=how, **QUICK)
    stop, calls = threading.Event(), []
    predict = type(model.pipe.unet).forward

    def counted(self, *args, **options):
        calls.append(1)
        if len(calls) == 3:
            stop.set()
        return predict(self, *args, **options)

    with monkeypatch.context() as patch, progress.stoppable(stop):
        patch.setattr(type(model.pipe.unet), "forward", counted)
        with pytest.raises(progress.Stopped):
            restyled(model, content, words, strength=1.0, how=how, **QUICK)
    assert len(calls) == 3
    assert torch.equal(restyled(model, content, words, strength=1.0, how=how, **QUICK), wanted)


# --- ControlNet


def test_edges_of_a_square_are_its_outline():
    picture = torch.zeros(1, 3, 40, 50)
    picture[..., 12:28, 15:35] = 1.0
    found = edges(picture)
    assert found.shape == picture.shape and set(found.unique().tolist()) == {0.0, 1.0} and torch.equal(found[:, 0], found[:, 2])
    rows, columns = np.nonzero(found[0, 0].numpy())
    inside = (rows >= 11) & (rows <= 28) & (columns >= 14) & (columns <= 35)
    middle = (rows > 15) & (rows < 24) & (columns > 18) & (columns < 31)
    assert inside.all() and not middle.any()
    assert found[0, 0, 20].sum() == found[0, 0, :, 25].sum() == 2  # one line on either side, one pixel wide


def test_faint_edges_count_only_where_they_go_on_from_clear_ones():
    assert edges(torch.full((1, 3, 20, 20), 0.5)).sum() == 0
    faint = torch.zeros(1, 3, 60, 40)
    faint[..., 20:] = 0.15
    assert edges(faint).sum() == 0
    faint[..., 20:] = torch.linspace(0.5, 0.15, 60)[:, None]  # the same line, clear above
    line = edges(faint)[0, 0, :, 17:23]
    assert torch.equal(line.sum(dim=1), torch.ones(60))
    assert edges(faint * 0.1).sum() == 0


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_a_control_net_that_has_learnt_nothing_changes_nothing(kind, content, tmp_path):
    from diffusers import ControlNetModel

    model = small_diffusion.opened(kind)
    words = model.words(["sks painting"])
    plain = restyled(model, content, words, strength=0.7, **QUICK)
    net = ControlNetModel.from_unet(model.pipe.unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    with small_diffusion.base.quiet():
        net.save_pretrained(tmp_path / "net")
    opened = stylise.control_net(str(tmp_path / "net"), "cpu", torch.float32)
    torch.testing.assert_close(
        restyled(model, content, words, strength=0.7, controlnet=opened, **QUICK), plain, atol=1e-5, rtol=0
    )
    with torch.no_grad():
        for layer in opened.controlnet_down_blocks:
            layer.weight.normal_(generator=torch.Generator().manual_seed(0))
        opened.controlnet_cond_embedding.conv_out.weight.normal_(generator=torch.Generator().manual_seed(1))
    by_edges = restyled(model, content, words, strength=0.7, controlnet=opened, **QUICK)
    by_depth = restyled(model, content, words, strength=0.7, controlnet=opened, control=1 - content, **QUICK)
    unheld = restyled(model, content, words, strength=0.7, controlnet=opened, hold=0.0, **QUICK)
    assert by_edges.shape == content.shape and not torch.allclose(by_edges, plain, atol=1e-3)
    assert (by_depth - by_edges).abs().max() > 1e-5
    torch.testing.assert_close(unheld, plain, atol=1e-5, rtol=0)
    for name in ("nowhere", "net/broken"):
        (tmp_path / "net/broken").mkdir(exist_ok=True)
        (tmp_path / "net/broken/config.json").write_text("{}")
        with pytest.raises(WorkbenchError, match=r"control .*(no folder of a ControlNet|cannot be read as a ControlNet)"):
            stylise.control_net(str(tmp_path / name), "cpu", torch.float32)


# --- as a method


def settings(network, **options):
    texts = tuple(f"{name}={value}" for name, value in {"steps": 4, **options}.items())
    return Settings(method=str(network), size=48, options=texts)


def test_a_lora_is_a_method_by_its_file(network, content, corpus, encoder):
    method = methods.get(str(network))
    assert method.name == str(network) and "LoRA" in method.card.title and not method.has_steps
    assert set(method.ignores) & {"strength", "seed", "options", "size"} == set()
    run = method.begin(content, targets.single(corpus.works[0]), encoder, settings(network))
    result = run.run()
    assert result.complete and result.image.shape == (1, 3, 36, 48)
    again = method.begin(content, targets.single(corpus.works[0]), encoder, settings(network)).run()
    assert torch.equal(again.image, result.image)
    kept = method.begin(content, targets.single(corpus.works[0]), encoder, replace(settings(network), strength=0.0))
    assert torch.equal(kept.run().image, kept.image)


def test_the_works_of_the_target_choose_the_tokens(network, content, corpus, encoder, monkeypatch):
    method, asked = methods.get(str(network)), []
    words = stylise.Base.words
    monkeypatch.setattr(stylise.Base, "words", lambda self, prompts: asked.append(list(prompts)) or words(self, prompts))

    def prompts(target, **options):
        asked.clear()
        method.begin(content, target, encoder, settings(network, **options)).run()
        return asked[0]

    tokens = {sha256: token for token, works in lora.header(network)["tokens"].items() for sha256 in works}
    portrait, landscape = corpus.works[0], corpus.works[1]
    assert prompts(targets.single(portrait)) == [f"{tokens[portrait.sha256]} painting"]
    assert prompts(targets.single(landscape)) == [f"{tokens[landscape.sha256]} painting"]
    both = targets.mix([(1.0, targets.single(portrait)), (3.0, targets.single(landscape))])
    assert prompts(both) == [f"{tokens[landscape.sha256]} painting", f"{tokens[portrait.sha256]} painting"]
    assert prompts(both, token="sks1", words="a mill") == ["sks1 painting, a mill"]


def test_a_fingerprint_holds_the_files_that_options_name(network, content, corpus, encoder, tmp_path):
    method, target = methods.get(str(network)), targets.single(corpus.works[0])
    (tmp_path / "net").mkdir()
    seen = set()
    for net, picture in (("a", "a"), ("a", "b"), ("b", "b")):
        (tmp_path / "net/config.json").write_text(net)
        (tmp_path / "picture.png").write_text(picture)
        chosen = settings(network, control=tmp_path / "net", picture=tmp_path / "picture.png")
        seen.add(method.begin(content, target, encoder, chosen).fingerprint())
    assert len(seen) == 3
    with pytest.raises(WorkbenchError, match="nowhere"):
        method.begin(content, target, encoder, settings(network, control=tmp_path / "nowhere"))


def test_options_are_checked_before_anything_is_painted(network, tmp_path, corpus):
    method = methods.get(str(network))
    for option, says in (
        ("noise=2", "noise = 2.0: choose between 0"),
        ("nois=.2", f"the method {network} has no option 'nois'"),
        ("steps=many", "option steps = 'many'"),
        ("how=magic", "option how = 'magic'"),
        ("steps", "write NAME=VALUE"),
        ("picture=a.png", "picture goes with control"),
    ):
        with pytest.raises(UsageError) as error:
            method.check("whole", "mean", Settings(method=str(network), options=(option,)))
        assert says in str(error.value)
    with pytest.raises(UsageError, match="inversion keeps the structure without it"):
        Options(control="net", how="inversion")
    assert Settings(options=["noise=.3"]).options == ("noise=.3",) and hash(Settings(options=["noise=.3"]))


def test_a_base_that_moved_or_changed_is_said(network, content, corpus, encoder, tmp_path):
    method = methods.get(str(network))
    target = targets.single(corpus.works[0])
    with pytest.raises(WorkbenchError, match=r"no such folder; or name the folder where it lies: base=FOLDER"):
        method.begin(content, target, encoder, settings(network, base="./nowhere")).run()
    with pytest.raises(WorkbenchError, match="is not the one that the LoRA was trained on"):
        method.begin(content, target, encoder, settings(network, base=small_diffusion.folder("v"))).run()


def test_the_settings_of_other_methods_are_as_before(content, corpus, encoder):
    """A fingerprint names pictures that are kept: without options it must not change."""
    import hashlib
    import json
    from dataclasses import asdict

    from workbench import images
    from workbench.transfer import checkpoint

    target, given = targets.single(corpus.works[0]), Settings()
    digest = hashlib.sha256(f"{checkpoint.VERSION}|{images.DECODER}|".encode())
    digest.update(content.numpy().tobytes())
    fields = {name: value for name, value in asdict(given).items() if name != "options"}
    works = [(corpus.works[0].sha256, 1.0)]
    digest.update(json.dumps([fields, [encoder.identity], works, "mean"], sort_keys=True).encode())
    assert checkpoint.fingerprint(content, target, [encoder], given) == digest.hexdigest()
    assert checkpoint.fingerprint(content, target, [encoder], replace(given, options=("a=1",))) != digest.hexdigest()
