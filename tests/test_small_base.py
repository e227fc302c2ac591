"""The small base model: what it learns from, that both of its networks learn, what is written, and what is measured on it."""

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from workbench import figures
from workbench.diffusion import base as bases
from workbench.diffusion import lora, stylise
from workbench.diffusion.captions import caption
from workbench.errors import UsageError
from workbench.generative import data, scenes
from workbench.generative.training import Plan

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = {"widths": (16, 24), "vae_widths": (8, 8, 16), "text_width": 16}
SIZE = 40
SCENES = 4
PLANS = Plan(steps=24, report_every=24, rate=4.0), Plan(steps=24, report_every=24, rate=4.0)


@pytest.fixture(scope="module", autouse=True)
def beside():
    """The benchmarks import one another by their names."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def small():
    import small_base

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_base, "SAMPLED", 1)
        yield small_base


@pytest.fixture(scope="module")
def truth():
    import small_base_truth

    return small_base_truth


@pytest.fixture(scope="module")
def learnt(small):
    return small.examples(SCENES, size=SIZE)


@pytest.fixture(scope="module")
def held_out(small):
    return small.examples(2, size=SIZE, held_out=True)


@pytest.fixture
def untrained(small, tmp_path):
    return small.untrained(tmp_path / "untrained", size=SIZE, **SMALL)


@pytest.fixture(scope="module")
def model(small, learnt, held_out, encoder, tmp_path_factory):
    """The folder of a model that was trained for some steps, its trainings beside it."""
    out = tmp_path_factory.mktemp("small")
    return small.build(out, *PLANS, count=SCENES, size=SIZE, held_out=2, encoder=encoder, **SMALL)


def channels(latents):
    """Latents (c, h, w) of any sizes as rows of c numbers."""
    return torch.cat([z.flatten(1).T for z in latents])


def course(model, name):
    """The records of one of its trainings."""
    record = json.loads((model.parent / f"{name}.json").read_text())
    assert record["status"] == "complete"
    return record["history"]


class TestExamples:
    def test_the_genre_of_a_scene_is_what_it_shows(self):
        for seed in (*range(12), scenes.HELD_OUT):
            regions = scenes.scene(seed, 32).regions
            assert (scenes.genre(seed) == "portrait") == ("skin" in regions), seed
            assert scenes.genre(seed) in ("landscape", "cityscape") or "sky" not in regions

    def test_captions_say_genre_and_painter_and_a_photograph_is_no_painting(self, small, learnt):
        assert len(learnt) == 3 * SCENES
        for seed in range(SCENES):
            photograph, *paintings = learnt[3 * seed : 3 * seed + 3]
            genre = scenes.genre(seed)
            assert photograph.prompts[0] == f"a photograph of a {genre}"
            assert not any("paint" in prompt for prompt in photograph.prompts)
            for painter, painting in zip(small.PAINTERS, paintings, strict=True):
                assert painting.prompts[0] == f"a {genre} painted by {painter}" and painting.prompts[-1] == "painting"
                assert painting.shape == photograph.shape and painting.sha256 != photograph.sha256

    def test_captions_are_in_the_words_of_dreambooth(self, small, truth):
        work = truth.works(after=2, count=1, size=SIZE)[0]
        assert caption(work, "sks", "painting") == f"sks painting, {work.genre}"
        told = [prompt.replace("nocturne", "sks") for prompt in small.prompts(work.genre, "nocturne")]
        assert caption(work, "sks", "painting") in told and "painting" in told

    def test_every_word_of_a_caption_is_one_token(self, small, untrained):
        tokenizer = untrained.pipe.tokenizer
        every = {
            prompt for genre in small.GENRES for painter in ("", *small.PAINTERS) for prompt in small.prompts(genre, painter)
        }
        for prompt in every:
            words = prompt.replace(",", " ,").replace("-", " - ").split()
            assert [token.removesuffix("</w>") for token in tokenizer.tokenize(prompt)] == words

    def test_the_unseen_painter_is_in_none_of_them(self, small, learnt, held_out, truth):
        theirs = {work.sha256 for work in truth.works(after=0, count=2, size=SIZE)}
        for example in (*learnt, *held_out):
            assert example.sha256 not in theirs
            assert not any(small.UNSEEN in prompt for prompt in example.prompts)
        assert small.UNSEEN not in (*small.PAINTERS, *small.WORDS)

    def test_works_and_tests_are_of_different_scenes_and_none_is_learnt_from(self, learnt, truth):
        works = {work.name for work in truth.works(after=2, count=2, size=SIZE)}
        tested = {case.name.removeprefix("scene-") for case in truth.cases("umber", 2, SIZE)}
        assert not {Path(name).stem.removeprefix("umber-") for name in works} & tested
        assert all(int(name) >= scenes.HELD_OUT for name in tested)

    def test_the_same_each_time(self, small, learnt):
        again = small.examples(SCENES, size=SIZE)
        assert [(e.sha256, e.prompts) for e in again] == [(e.sha256, e.prompts) for e in learnt]
        assert all(torch.equal(a.picture, b.picture) for a, b in zip(learnt, again, strict=True))


class TestTraining:
    def test_the_autoencoder_learns_what_it_never_saw(self, model):
        first, last = course(model, "autoencoder")
        assert last["l1"] < 0.8 * first["l1"] and last["objective"] < 0.8 * first["objective"]

    def test_the_unet_learns_what_it_never_saw(self, model):
        first, last = course(model, "unet")
        assert last["held-out"] < 0.9 * first["held-out"]

    def test_standard_latents_are_decoded_to_the_same(self, small, untrained, learnt):
        vae, x = untrained.pipe.vae, data.from_bytes(learnt[0].picture[None])
        torch.nn.init.normal_(vae.quant_conv.bias)  # latents that are off
        before, deviation = untrained.decode(untrained.encode(x)[0]), untrained.encode(x)[1]
        spread = channels(small.latents(untrained, learnt)).std(dim=0)
        small.standardise(untrained, learnt)
        torch.testing.assert_close(untrained.decode(untrained.encode(x)[0]), before, atol=1e-4, rtol=0)
        torch.testing.assert_close(untrained.encode(x)[1], deviation / spread.view(1, -1, 1, 1), rtol=1e-3, atol=0)
        z = channels(small.latents(untrained, learnt))
        torch.testing.assert_close(z.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
        torch.testing.assert_close(z.std(dim=0), torch.ones(4), atol=1e-3, rtol=0)

    def test_at_the_last_step_nothing_is_left_of_the_picture(self, untrained):
        assert untrained.predicts_v and untrained.scheduler().config.timestep_spacing == "trailing"
        assert float(untrained.signal(torch.tensor([untrained.steps - 1]))) < 1e-7

    def test_a_tenth_of_the_captions_is_empty(self, small, untrained, learnt):
        family = small.Denoiser(untrained, learnt, learnt[:3])
        draw = torch.Generator().manual_seed(0)
        drawn = [family._caption(learnt[1].prompts, draw) for _ in range(2000)]
        assert abs(drawn.count("") / 2000 - small.DROPOUT) < 0.03 and set(drawn) == {"", *learnt[1].prompts}

    def test_what_was_stopped_goes_on_from_its_checkpoint(self, small, tmp_path, encoder, monkeypatch, model):
        options = {"count": SCENES, "size": SIZE, "held_out": 2, "encoder": encoder, **SMALL}
        losses, steps = small.Denoiser.losses, []

        def stopping(self, draw):
            steps.append(1)
            if len(steps) == 10:
                raise KeyboardInterrupt
            yield from losses(self, draw)

        shutil.copy(model.parent / "autoencoder.safetensors", tmp_path)
        monkeypatch.setattr(small.Autoencoder, "losses", None)  # it is finished
        monkeypatch.setattr(small.trained, "CHECKPOINT_EVERY", 0.0)
        monkeypatch.setattr(small.Denoiser, "losses", stopping)
        with pytest.raises(KeyboardInterrupt):
            small.build(tmp_path, *PLANS, **options)
        small.build(tmp_path, *PLANS, **options)
        assert len(steps) == 10 + 24 - 9
        assert bases.load(tmp_path / "model").identity == bases.load(model).identity


class TestModel:
    def test_what_is_written_is_read_by_diffusers(self, small, model):
        from diffusers import StableDiffusionPipeline

        with bases.quiet():
            pipe = StableDiffusionPipeline.from_pretrained(model, local_files_only=True)
            pipe.set_progress_bar_config(disable=True)
            made = pipe(
                "a landscape painted by nocturne",
                height=32,
                width=40,
                num_inference_steps=3,
                output_type="pt",
                guidance_scale=2,
            ).images
        assert made.shape == (1, 3, 32, 40) and made.isfinite().all() and made.std() > 0
        assert pipe.scheduler.config.rescale_betas_zero_snr and pipe.unet.config.sample_size == 9
        assert not any(tempfile.gettempdir() in file.read_text() for file in model.rglob("*.json"))
        assert {file.suffix for file in model.rglob("*") if file.is_file()} <= {".json", ".safetensors", ".txt"}

    def test_float16_loses_nothing_to_speak_of(self, small, model, learnt):
        stored = bases.load(model, dtype=torch.float32)
        x = data.from_bytes(learnt[0].picture[None])
        assert stored.encode(x)[0].std() == pytest.approx(1, abs=0.6)
        assert (stored.decode(stored.encode(x)[0]) - x).abs().mean() < 0.2

    def test_a_model_is_not_written_over(self, small, model):
        with pytest.raises(UsageError, match="is there already"):
            small.build(model.parent, Plan(steps=1), Plan(steps=1), count=SCENES)


class TestShipped:
    def test_the_model_of_the_package_knows_scenes_that_it_never_saw_and_what_they_are_called(self, small):
        shipped = bases.load(bases.SMALL, dtype=torch.float32)
        strange = small.examples(2, held_out=True)
        measured = small.Denoiser(shipped, strange, strange).measure(shipped.pipe.unet)
        assert measured["held-out"] < 0.97 * measured["without words"] < 0.5

    def test_it_is_small_and_its_card_says_how_it_was_made(self):
        folder = Path(bases.__file__).parent / bases.SMALL
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 6e6
        assert "small_base.py" in (folder / "README.md").read_text(encoding="utf-8")

    def test_a_folder_of_that_name_is_that_folder(self, model, tmp_path, monkeypatch):
        shutil.copytree(model, tmp_path / bases.SMALL)
        monkeypatch.chdir(tmp_path)
        assert bases.load(bases.SMALL).identity == bases.load(model).identity


class TestTruth:
    def test_a_lora_of_the_unseen_painter_is_measured_against_what_he_would_have_painted(self, truth, model, encoder, tmp_path):
        options = {"rank": 4, "alpha": 4.0, "batch": 2, "class_images": 2, "class_steps": 2, "samples": False}
        learnt = truth.works(3, 3, SIZE)
        file = truth.taught(model, learnt, tmp_path / "umber.safetensors", Plan(steps=3), encoder, **options)
        assert lora.header(file)["artist"] == "umber"
        base = bases.load(model, dtype=torch.float32)
        rows = truth.measured(base, file, 3, [0.5], encoder, tmp_path, size=SIZE, steps=4, guidance=2.0, seed=0)
        setups = {(row["painter"], row["setup"]) for row in rows}
        assert setups == {("umber", name) for name in ("photograph", "autoencoder", "base", "lora")} | {
            ("nocturne", name) for name in ("photograph", "autoencoder", "base")
        }
        assert (tmp_path / "truth.csv").is_file()
        assert figures.read_provenance(tmp_path / "sheet.jpg")["command"] == "small_base_truth"
        table = truth.ratios(rows)
        assert {(line["setup"], line["over"]) for line in table} == {
            ("lora", "base"), ("lora", "photograph"), ("base", "photograph"),
        }  # fmt: skip
        assert all(line["low"] <= line["mean"] <= line["high"] and line["cells"] == 3 for line in table)

    def test_without_the_lora_the_base_is_as_it_was(self, truth, model, tmp_path, encoder):
        base = bases.load(model, dtype=torch.float32)
        case = truth.cases("umber", 1, SIZE)[0]
        how = {"steps": 4, "guidance": 2.0, "seed": 0}
        (before,) = truth.painted(base, case, [0.5], **how)
        assert torch.equal(before, stylise.restyled(base, case.content, base.words([case.prompt]), strength=0.5, **how))
        assert dataclasses.replace(case, painter="nocturne").prompt.startswith("nocturne painting, ")

    def test_distances_to_itself_make_ratios_of_one(self, truth):
        rows = [
            {"painter": painter, "scene": f"{k}", "setup": setup, "strength": strength, **dict.fromkeys(truth.KINDS, 1.0 + k)}
            for painter in ("umber", "nocturne")
            for setup, strength in (("photograph", 0.0), ("base", 0.5), ("lora", 0.5))
            for k in range(3)
        ]
        for row in rows:
            row["style"] = float(row["style"]) / (2 if row["setup"] == "lora" else 1)
        found = {
            (line["setup"], line["over"], line["measure"]): line for line in truth.ratios(rows) if line["painter"] == "umber"
        }
        assert found["lora", "base", "style"]["mean"] == pytest.approx(0.5) and found["lora", "base", "style"]["nearer"] == 3
        assert found["lora", "base", "content"]["mean"] == pytest.approx(1)
        assert found["base", "photograph", "style"]["mean"] == pytest.approx(1)
