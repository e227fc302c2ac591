"""DreamBooth: its loss in closed forms, what it learns on a small base, and a stop that changes no byte."""

import dataclasses
import json
import math

import pytest
import small_diffusion
import torch
from safetensors import safe_open

from workbench.diffusion import captions, dreambooth, lora
from workbench.diffusion.dreambooth import DreamBooth, Options, bucket, covering, denoising, drawn_steps, min_snr
from workbench.errors import UsageError
from workbench.generative import data, families, trained
from workbench.generative.training import Plan, Training

SMALL = {"size": 64, "class_images": 2, "class_steps": 2, "rank": 4, "samples": False}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A cache of this module, so that latents are computed in it."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "diffusion-cache"))


@pytest.fixture
def family(corpus, encoder):
    """Make a family on a base of a kind, or on `base`, with one token; options besides SMALL."""
    learn, out = data.split_works(corpus.works, 0.34)

    def make(kind="sd", *, base=None, seed=0, **options):
        base = base or small_diffusion.opened(kind)
        tokens = dict.fromkeys((work.sha256 for work in corpus), "sks")
        return DreamBooth(learn, out, base, tokens, encoder, Options(**{**SMALL, **options}), seed=seed)

    return make


def finished(training):
    for _ in training:
        pass
    return training.history


# --- the loss


@pytest.mark.parametrize("kind", ["sd", "v"])
def test_min_snr_weights_are_those_of_the_paper(kind):
    model = small_diffusion.opened(kind)
    t = torch.arange(0, 1000, 37)
    a = model.pipe.scheduler.alphas_cumprod[t].double()
    snr = a / (1 - a)
    expected = torch.minimum(snr, torch.tensor(5.0)) / (snr + 1 if kind == "v" else snr)
    torch.testing.assert_close(min_snr(model, t, 5.0).double(), expected, rtol=1e-4, atol=0)
    assert torch.equal(min_snr(model, t, 0.0), torch.ones(len(t)))
    if kind == "sd":
        assert min_snr(model, t, 1e9) == pytest.approx(1.0)


def test_the_loss_of_a_perfect_prediction_is_zero_and_of_none_that_of_the_target(monkeypatch):
    model = small_diffusion.opened("v")
    z, noise, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([100, 800])
    words = model.words(["", ""])
    target = model.target(z, noise, t)
    monkeypatch.setattr(type(model), "predict", lambda self, z_t, *rest: target)
    assert torch.equal(denoising(model, z, noise, t, words), torch.zeros(2))
    monkeypatch.setattr(type(model), "predict", lambda self, z_t, *rest: torch.zeros_like(z_t))
    torch.testing.assert_close(denoising(model, z, noise, t, words), target.square().mean(dim=(1, 2, 3)))


def test_style_draws_steps_of_little_noise_and_content_of_much():
    """E u^3 = 1/4: the mean step is T/4 for style, T/2 without a bias, 3T/4 for content; and the noise goes the same way."""
    model = small_diffusion.opened()
    seen = {}
    for bias, mean in (("style", 0.25), ("balanced", 0.5), ("content", 0.75)):
        t = drawn_steps(20000, 1000, bias, torch.Generator().manual_seed(0))
        assert t.min() >= 0 and t.max() <= 999 and t.float().mean() / 1000 == pytest.approx(mean, abs=0.01)
        seen[bias] = float((1 - model.signal(t)).mean())
    assert seen["style"] < seen["balanced"] < seen["content"]


@pytest.mark.parametrize("width, height", [(640, 480), (480, 640), (500, 500), (3000, 400), (300, 2000)])
@pytest.mark.parametrize("size, multiple", [(64, 16), (512, 64), (100, 8)])
def test_a_bucket_has_the_aspect_of_the_work_and_no_more_than_the_area(width, height, size, multiple):
    high, wide = bucket(width, height, size, multiple)
    assert high % multiple == wide % multiple == 0 and high * wide <= size * size and 2 * min(high, wide) >= size
    naive = [
        (h, w)
        for h in range(multiple, 4 * size, multiple)
        for w in range(multiple, 4 * size, multiple)
        if size * size / 2.25 <= h * w <= size * size and min(h, w) >= size / 2
    ]

    def off(shape):
        return abs(math.log(shape[1] / shape[0]) - math.log(width / height))

    assert off((high, wide)) == pytest.approx(min(map(off, naive)), abs=1e-5)


def test_a_picture_covers_its_bucket_from_the_middle():
    picture = torch.arange(40.0).expand(1, 3, 20, 40) / 40
    cut, (top, left) = covering(picture, (20, 20))
    assert torch.equal(cut, picture[..., 10:30]) and (top, left) == (0, 10)
    assert covering(picture, (48, 32))[0].shape == (1, 3, 48, 32)


# --- what it learns from


def test_captions_say_what_the_metadata_say(corpus):
    work = corpus.works[0]
    assert captions.caption(work, "sks1", "painting") == "sks1 painting, portrait, Work 0, 1900"
    assert captions.caption(work, "sks1", "painting", "plain") == "sks1 painting"
    described = dataclasses.replace(work, metadata={"medium": " oil on canvas ", "genre": ""})
    assert captions.caption(described, "sks", "sketch") == "sks sketch, oil on canvas"


def test_every_style_has_a_token_and_held_out_works_that_of_their_own(corpus, encoder):
    learn, out = list(corpus.works[:8]), list(corpus.works[8:])
    tokens = captions.tokens(learn, out, encoder, "sks")
    by_genre = {genre: {tokens[work.sha256] for work in corpus if work.genre == genre} for genre in ("portrait", "landscape")}
    assert sorted(map(sorted, by_genre.values())) == [["sks1"], ["sks2"]]
    assert set(captions.tokens(learn, out, encoder, "van", 1).values()) == {"van"}
    with pytest.raises(UsageError, match="token 'two words'"):
        captions.tokens(learn, out, encoder, "two words")


def test_a_target_weighs_the_tokens_of_its_works(corpus):
    works = corpus.works[:4]
    known = {works[0].sha256: "a", works[1].sha256: "b", works[2].sha256: "a"}
    assert captions.weights(known, works[:2], [0.25, 0.75]) == {"b": 0.75, "a": 0.25}
    assert captions.weights(known, works[:1], [1.0]) == {"a": 1.0}
    assert captions.weights(known, [works[3]], [1.0]) == pytest.approx({"a": 2 / 3, "b": 1 / 3})


def test_series_are_held_out_whole(corpus):
    learn, out = data.split_works(corpus.works, 0.34)
    assert {w.series for w in learn} & {w.series for w in out} == set() and len(learn) + len(out) == 12
    assert data.split_works(corpus.works[::-1], 0.34)[1] == out[::-1]
    with pytest.raises(UsageError, match="one series, is not enough"):
        data.split_works(corpus.works[:4])


def test_latents_and_class_images_are_made_once_for_everything_that_decides_them(family, corpus, monkeypatch):
    first = family()
    encoded = []
    encode = dreambooth.Base.encode
    monkeypatch.setattr(dreambooth.Base, "encode", lambda self, pictures: encoded.append(1) or encode(self, pictures))
    again = family()
    assert not encoded
    for a, b in zip(first.examples + first.class_examples, again.examples + again.class_examples, strict=True):
        assert torch.equal(a.mean, b.mean) and torch.equal(a.deviation, b.deviation) and torch.equal(a.sizes, b.sizes)
    class_image = first.class_examples[0].mean
    assert not torch.equal(class_image, first.class_examples[1].mean)
    assert not torch.equal(family(noun="photograph").class_examples[0].mean, class_image)
    assert not torch.equal(family(class_steps=3).class_examples[0].mean, class_image)
    assert not encoded and family(size=96).examples[0].shape != first.examples[0].shape and len(encoded) == len(corpus)
    other = family("v")
    assert not torch.equal(other.class_examples[0].mean, class_image) and len(encoded) == 2 * len(corpus)


def test_the_identity_holds_what_decides_the_training(family):
    kept = family().identity
    assert family().identity == kept
    for changed in ({"dropout": 0.2}, {"captions": "plain"}, {"alpha": 3.0}, {"kind": "v"}):
        assert family(changed.pop("kind", "sd"), **changed).identity != kept


def test_captions_are_dropped_at_their_share(family, monkeypatch):
    made = family(dropout=0.25, class_images=0)
    seen = []
    words = DreamBooth._words
    monkeypatch.setattr(DreamBooth, "_words", lambda self, prompts: seen.extend(prompts) or words(self, prompts))
    monkeypatch.setattr(dreambooth, "denoising", lambda base, z, *rest: torch.zeros(len(z)))
    draw = torch.Generator().manual_seed(0)
    for _ in range(400):
        for _ in made.losses(draw):
            pass
    assert seen.count("") / len(seen) == pytest.approx(0.25, abs=0.06)
    assert set(seen) - {""} == {made.captions[work.sha256] for work in made.works}


# --- learning


@pytest.mark.parametrize(
    "kind, options",
    [("v", {"batch": 2}), ("xl", {}), ("sd", {"dora": True}), ("sd", {"text_encoder": True}), ("xl", {"text_encoder": True})],
)
def test_every_kind_of_base_and_of_lora_learns(family, kind, options):
    made = family(kind, **options)
    before = {name: value.clone() for name, value in made.painter.state_dict().items()}
    frozen = made.base.pipe.unet.conv_in.weight.clone()
    history = finished(Training(made, Plan(steps=6, rate=50, report_every=6)))
    assert history[-1]["training"] < history[0]["training"]
    after = made.painter.state_dict()
    assert torch.equal(made.base.pipe.unet.conv_in.weight, frozen)
    # The first text encoder of SDXL is read at its last layer but one, so that the last learns nothing.
    still = [name for name in before if "lora_B" in name and torch.equal(before[name], after[name])]
    assert all("layers/1" in name and kind == "xl" for name in still)


def test_the_loss_on_held_out_works_falls_and_prior_preservation_holds_the_class(family):
    """On a base that knows the noun, over seeds: with and without class images held-out works are learnt, but without them the
    loss on what the base made of the noun rises more."""
    learnt = small_diffusion.learnt()
    options = {"class_images": 6, "class_steps": 6, "captions": "plain", "dropout": 0.0, "snr": 0.0, "batch": 2, "rank": 8}

    def course(prior, seed):
        made = family(base=small_diffusion.base.load(learnt, dtype=torch.float32), seed=seed, **options)
        losses = made.losses
        made.losses = lambda draw: losses(draw) if prior else (("painter", made._loss(made._drawn(draw), draw)) for _ in (0,))
        made.rates = {"painter": 2e-2}
        first, last = finished(Training(made, Plan(steps=30, seed=seed, report_every=30)))
        assert last["held-out"] < 0.985 * first["held-out"] and last["training"] < 0.985 * first["training"]
        return last["prior"] - first["prior"]

    held, let_go = (sum(course(prior, seed) for seed in range(2)) / 2 for prior in (True, False))
    assert let_go > 0.01 and held < 0.6 * let_go


def test_checkpointing_changes_memory_and_no_gradient(family):
    gradients = []
    for checkpointing in (False, True):
        made = family(checkpointing=checkpointing, class_images=0)
        for _, loss in made.losses(torch.Generator().manual_seed(0)):
            loss.backward()
        assert made.base.pipe.unet.is_gradient_checkpointing == checkpointing
        gradients.append([value.grad for value in made.painter.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-5)


def test_eight_bits_need_a_gpu(family):
    with pytest.raises(UsageError, match="eight_bit goes with a GPU"):
        Training(family(eight_bit=True), Plan(steps=1))


def test_samples_are_a_row_for_every_token(family):
    made = family(samples=True)
    with torch.no_grad():
        sheet = made.samples(made.painter)
        assert torch.equal(sheet, made.samples(made.painter))
    assert sheet.shape == (1, 4, 3, 64, 64) and sheet.min() >= 0 and sheet.max() <= 1
    assert family().samples(None) is None


# --- on disk


def test_a_stop_changes_no_byte_and_checkpoints_stay(family, tmp_path):
    plan = Plan(steps=9, rate=10, report_every=4)

    def training():
        return Training(family(text_encoder=True), plan)

    trained.train(training(), tmp_path / "whole.safetensors", keep_every=3)
    stopped = training()

    def report(record):
        if record["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="--resume goes on from step 4"):
        trained.train(stopped, tmp_path / "cut.safetensors", keep_every=3, report=report)
    assert [path.name for path in sorted(tmp_path.glob("cut-step*"))] == ["cut-step000003.safetensors"]
    with pytest.raises(UsageError, match="go on with --resume"):
        trained.train(training(), tmp_path / "cut.safetensors")
    trained.train(training(), tmp_path / "cut.safetensors", keep_every=3, resume=True)
    for suffix in ("", "-step000003", "-step000006", "-step000009"):
        whole, cut = (tmp_path / f"{name}{suffix}.safetensors" for name in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes(), suffix
    with pytest.raises(UsageError, match="exists already"):
        trained.train(training(), tmp_path / "whole.safetensors", keep_every=3)
    (tmp_path / "whole.safetensors").unlink()
    (tmp_path / "whole.json").unlink()
    with pytest.raises(UsageError, match=r"whole-step000003.safetensors exists already"):
        trained.train(training(), tmp_path / "whole.safetensors", keep_every=3)


def test_the_file_says_what_was_learnt_from_what_and_paints_as_the_averaged_weights(family, tmp_path):
    made = family(alpha=6.0)
    training = Training(made, Plan(steps=3, rate=50))
    finished(training)
    path = tmp_path / "a.safetensors"
    trained.save(training, path)
    said = lora.header(path)
    assert said == json.loads(json.dumps(trained.read(path).header))
    assert (said["family"], said["base_identity"], said["steps"]) == ("dreambooth", made.base.identity, 3)
    assert said["architecture"] == {"rank": 4, "alpha": 6.0, "dora": False, "text_encoder": False}
    assert set(said["works"]) | set(said["held_out"]) == set(said["captions"]) == set(said["tokens"]["sks"])
    assert set(said["works"]) & set(said["held_out"]) == set() and said["plan"]["steps"] == 3 and said["noun"] == "painting"
    z, t = torch.ones(1, 4, 8, 8), torch.tensor([500])
    with training.averaged(), torch.no_grad():
        wanted = made.base.predict(z, t, made.base.words(["sks painting"]))
    fresh = small_diffusion.opened()
    with lora.attached(fresh, [(path, 1.0)]), torch.no_grad():
        assert torch.equal(fresh.predict(z, t, fresh.words(["sks painting"])), wanted)
    with safe_open(path, "pt") as file:
        assert file.get_tensor(file.keys()[0]).dtype == torch.float32


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_a_training_may_begin_from_a_lora(family, tmp_path, kind):
    options = {"class_images": 0, "text_encoder": True}
    first = Training(family(kind, **options), Plan(steps=2, rate=50))
    finished(first)
    trained.save(first, tmp_path / "a.safetensors")
    second = Training(
        family(kind, **options), Plan(steps=1), begin=trained.read(tmp_path / "a.safetensors").network.state_dict()
    )
    assert all(torch.equal(value, first.average[name]) for name, value in second.family.painter.state_dict().items())
    assert second.recipe != Training(family(kind, **options), Plan(steps=1)).recipe
    with pytest.raises(UsageError, match="another architecture"):
        weights = trained.read(tmp_path / "a.safetensors").network.state_dict()
        Training(family(kind, class_images=0, rank=2), Plan(steps=1), begin=weights)


def test_what_is_too_long_to_be_read_is_said(family, capsys, corpus):
    model = small_diffusion.opened()
    long = "ü" * 80
    assert model.too_long(["short", long]) == [long] and model.too_long(["u" * 75]) == []


def test_the_loss_of_any_lora_is_measured_as_while_it_was_trained(family, tmp_path):
    made = family()
    training = Training(made, Plan(steps=3, rate=50, report_every=3))
    last = finished(training)[-1]
    trained.save(training, tmp_path / "a.safetensors")
    base = small_diffusion.opened()
    examples = [dreambooth.example_of(work, made.captions[work.sha256], base, 64) for work in made.held_out]
    with lora.attached(base, [(tmp_path / "a.safetensors", 1.0)]):
        assert dreambooth.validation_loss(base, examples) == pytest.approx(last["held-out"], rel=1e-5)
    assert dreambooth.validation_loss(base, examples) > last["held-out"]


def test_a_family_is_made_from_plain_values(corpus, encoder):
    made = families.family(
        "dreambooth",
        corpus.works,
        encoder=encoder,
        base=str(small_diffusion.folder()),
        options=[f"{k}={v}" for k, v in SMALL.items()],
    )
    assert set(made.tokens.values()) == {"sks1", "sks2"} and made.options == Options(**SMALL) and made.held_out
    with pytest.raises(UsageError, match="the family dreambooth needs a base model"):
        families.family("dreambooth", corpus.works, encoder=encoder)
    with pytest.raises(UsageError, match="the family artist takes no base"):
        families.family("artist", corpus.works, encoder=encoder, base="x")
    with pytest.raises(UsageError, match="has no option 'ranc'"):
        families.parsed("dreambooth", ["ranc=4"])
    with pytest.raises(UsageError, match="size = 20: Stable Diffusion needs 32 px"):
        families.family("dreambooth", corpus.works, encoder=encoder, base=str(small_diffusion.folder()), options={"size": 20})
    for bad in ("batch=0", "dropout=1", "rank=0", "alpha=-1", "noun= ", "timesteps=late"):
        with pytest.raises(UsageError):
            Options(**families.parsed("dreambooth", [bad]))
