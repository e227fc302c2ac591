"""Networks from photographs to one artist: CycleGAN, the style-aware GAN, pix2pix, and the scenes they learn from.

They are tiny here, and learn for a second or two: that is enough to beat their start on what they never saw.
"""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from workbench import images, methods, samples, targets
from workbench.corpora import ingest
from workbench.errors import UsageError
from workbench.generative import adversarial, data, families, pix2pix, scenes, trained, translation
from workbench.generative.training import Plan, Training, precision
from workbench.samples import REGIONS
from workbench.transfer import Settings

SMALL = {"widths": (4, 6, 8), "blocks": 1, "judge_width": 8, "batch": 2}
UNPAIRED = {"crop": 32, "size": 64, **SMALL}


@pytest.fixture(scope="module")
def photographs():
    """Eight to learn from, four to measure on."""
    return list(scenes.photographs(8, size=64)), list(scenes.photographs(4, size=64, held_out=True))


@pytest.fixture(scope="module")
def exact():
    """Pairs of scenes and what the painter of the night made of them."""
    return scenes.pairs("nocturne", 3, size=48), scenes.pairs("nocturne", 1, size=48, held_out=True)


@pytest.fixture
def make(corpus, encoder, photographs, exact):
    """A family by its name, over `works` if they are given, else over the small corpus."""

    def made(name, works=None, **options):
        works = list(works or corpus)
        if name == "pix2pix":
            learn, held_out = (pix2pix.ScenePairs(pairs) for pairs in exact)
            return pix2pix.Pix2pix(learn, held_out, works, encoder, pix2pix.Options(**{**SMALL, **options}))
        if name in ("smooth", "edges"):
            learn, held_out = pix2pix.Copies(works[2:], name, size=48), pix2pix.Copies(works[:2], name, size=48)
            return pix2pix.Pix2pix(learn, held_out, works, encoder, pix2pix.Options(**{**SMALL, **options}))
        kind, sizes = {
            "cyclegan": (translation.CycleGAN, translation.CycleOptions),
            "one-sided": (translation.OneSided, translation.OneSidedOptions),
        }[name]
        return kind(works, *photographs, encoder, sizes(**{**UNPAIRED, **options}))

    return made


def trained_for(family, steps, **plan):
    training = Training(family, Plan(steps=steps, report_every=steps, **plan))
    for _ in training:
        pass
    return training


def everything(training):
    """All that a training has learnt and remembers."""
    players = {f"{name}.{key}": x for name, player in training.family.players.items() for key, x in player.state_dict().items()}
    return players | training.average | training.family.state()


@pytest.mark.parametrize(
    ("name", "measures", "options", "rate"),
    [
        ("one-sided", ["content"], {}, 10),
        ("cyclegan", ["style"], {}, 20),
        ("pix2pix", ["l1", "colour", "l1 with regions"], {}, 10),
        ("edges", ["l1", "colour"], {}, 10),
    ],
)
def test_every_family_gets_better_on_what_it_never_saw(make, name, measures, options, rate):
    family = make(name, **options)
    first, *_, last = trained_for(family, 16, rate=rate).history
    for measure in measures:
        assert last[measure] < 0.9 * first[measure]
    sheet = family.samples(family.painter)
    assert sheet.shape[2] == 3 and sheet.min() >= 0 and sheet.max() <= 1


@pytest.mark.parametrize("content_in", ["own", "embedded"])
def test_the_content_is_kept_where_the_encoder_sees_in_the_result_what_it_saw_in_the_picture(make, content_in):
    family = make("one-sided", content_in=content_in)
    pictures = family.measured_on[:2]
    painted = pictures.flip(-1).requires_grad_()
    assert family._content(pictures, pictures) == 0
    family._content(painted, pictures).backward()
    assert painted.grad is not None and bool(painted.grad.any())
    own = [p.grad is not None for p in family.generator.down.parameters()]
    assert all(own) if content_in == "own" else not any(own)


@pytest.mark.parametrize("name", ["cyclegan", "one-sided", "pix2pix", "smooth"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(make, name, tmp_path):
    options = {"pool": 2} if name == "cyclegan" else {}
    plan = Plan(steps=5, report_every=5)
    unbroken = trained_for(make(name, **options), 5)
    stopped = Training(make(name, **options), plan)
    stopped.after_step = lambda: stopped.step == 3 and stopped.checkpoint(tmp_path / "state.safetensors")
    list(stopped)
    resumed = Training(make(name, **options), plan)
    resumed.resume(tmp_path / "state.safetensors")
    assert resumed.step == 3
    list(resumed)
    found, wanted = everything(resumed), everything(unbroken)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert name != "cyclegan" or found["works"].shape == (2, 3, 32, 32)


def test_ctrl_c_loses_nothing_and_another_training_does_not_take_the_state_over(make, tmp_path):
    out = tmp_path / "network.safetensors"
    plan = Plan(steps=4, report_every=2)

    def stop(record):
        if record["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="step 2"):
        trained.train(Training(make("one-sided"), plan), out, report=stop)
    assert json.loads(out.with_suffix(".json").read_text())["status"] == "interrupted" and not out.exists()
    with pytest.raises(UsageError, match="another training"):
        trained.train(Training(make("one-sided", colour=1.0), plan), out, resume=True)
    resumed = trained.train(Training(make("one-sided"), plan), out, resume=True)
    assert resumed and trained.read(out).header["steps"] == 4
    unbroken = Training(make("one-sided"), plan)
    list(unbroken)
    read = trained.read(out).network.state_dict()
    assert all(torch.equal(read[name], value.half().float()) for name, value in unbroken.average.items())


@pytest.mark.parametrize("name", ["cyclegan", "one-sided", "smooth"])
def test_grey_works_are_learnt_from_like_others(make, name, tmp_path):
    for k in range(4):
        Image.fromarray(np.full((40, 56), 60 * k, np.uint8)).save(tmp_path / f"{k}.png")
    training = trained_for(make(name, ingest(tmp_path)), 2)
    assert all(np.isfinite(value) for value in training.history[-1].values())


@pytest.mark.parametrize("name", ["cyclegan", "one-sided"])
def test_one_work_is_enough(make, name, corpus):
    training = trained_for(make(name, corpus.works[:1]), 2)
    assert all(np.isfinite(value) for value in training.history[-1].values())


@pytest.mark.parametrize("name", ["cyclegan", "one-sided", "pix2pix", "edges"])
def test_a_file_is_a_method_that_paints_for_its_one_artist(make, name, corpus, encoder, tmp_path):
    out = tmp_path / f"{name}.safetensors"
    training = Training(make(name), Plan(steps=2))
    trained.train(training, out)
    method = methods.get(str(out))
    settings = Settings(method=str(out), size=64)
    content = torch.rand(1, 3, 45, 64, generator=torch.Generator().manual_seed(0))
    picture = method.begin(content, targets.whole(corpus), encoder, settings).run().image
    assert picture.shape == content.shape
    with training.averaged(), torch.no_grad(), precision(content.device):
        painter = training.family.painter
        given = {"pix2pix": lambda x: F.pad(x, (0, 0, 0, 0, 0, len(REGIONS))), "edges": pix2pix.edges}.get(name, lambda x: x)
        assert (painter(given(content)) - picture).abs().max() < 0.02
    with pytest.raises(UsageError, match="whole"):
        method.check("blend", "mean", settings)
    with pytest.raises(UsageError, match="barycentre"):
        method.check("whole", "barycentre", settings)


class TestTheGame:
    def test_the_least_squares_are_those_of_the_paper(self):
        scores = [torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0]])]
        assert adversarial.real(scores) == ((0 + 1) / 2 + 4) / 2
        assert adversarial.fake(scores) == ((1 + 0) / 2 + 9) / 2
        assert adversarial.difference(torch.zeros(2), torch.tensor([0.5, 0.25])) == 0.75

    @pytest.mark.parametrize("name", ["cyclegan", "one-sided", "pix2pix"])
    def test_the_step_of_a_generator_computes_no_gradient_for_a_discriminator(self, make, name):
        family = make(name)
        steps = family.losses(torch.Generator().manual_seed(0))
        player, loss = next(steps)
        loss.backward()
        judge = family.players["judges" if name == "cyclegan" else "judge"]
        assert any(p.grad is not None and bool(p.grad.any()) for p in family.players[player].parameters())
        assert all(p.grad is None and p.requires_grad for p in judge.parameters())
        player, loss = next(steps)
        family.players[player].zero_grad(set_to_none=True)
        loss.backward()
        assert family.players[player] is judge and all(p.grad is not None for p in judge.parameters())

    def test_the_loss_of_both_generators_is_that_of_the_paper(self, make, monkeypatch):
        monkeypatch.setattr(translation, "precision", lambda device: torch.autocast("cpu", enabled=False))
        family = make("cyclegan")
        _, loss = next(family.losses(torch.Generator().manual_seed(3)))
        x, y = family._drawn(torch.Generator().manual_seed(3))
        forth, back = family.forth, family.back
        adversarial_loss = (family.judge_of_works(forth(x))[0] - 1).square().mean()
        adversarial_loss += (family.judge_of_photographs(back(y))[0] - 1).square().mean()
        cycle = 2 * ((back(forth(x)) - x).abs().mean() + (forth(back(y)) - y).abs().mean())
        identity = 2 * ((forth(y) - y).abs().mean() + (back(x) - x).abs().mean())
        assert loss.item() == pytest.approx((adversarial_loss + 10 * cycle + 5 * identity).item(), rel=1e-4)

    def test_a_style_distance_of_the_works_to_themselves_is_nothing(self, encoder):
        pictures = torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        grams = adversarial.pooled_grams(pictures, encoder)
        assert adversarial.style_distance(grams, adversarial.pooled_grams(pictures.flip(0), encoder)) < 1e-8
        assert adversarial.style_distance(adversarial.pooled_grams(pictures / 2, encoder), grams) > 0.01
        assert adversarial.content_distance(pictures, pictures, encoder) == 0


class TestImagePool:
    def test_it_fills_and_then_shows_an_older_picture_half_of_the_time(self):
        pool, draw = data.ImagePool(5), torch.Generator().manual_seed(0)
        numbered = [torch.full((1, 1, 1, 1), float(k), requires_grad=True) for k in range(605)]
        shown = [pool.exchange(picture, draw) for picture in numbered]
        assert [s.item() for s in shown[:5]] == [0, 1, 2, 3, 4]
        older = [k - s.item() for k, s in enumerate(shown)][5:]
        assert all(age >= 0 for age in older) and 250 < sum(age > 0 for age in older) < 350
        assert not any(s.requires_grad for s in shown)

    def test_a_picture_that_left_the_pool_does_not_come_back(self):
        pool, draw = data.ImagePool(1), torch.Generator().manual_seed(1)
        shown = [pool.exchange(torch.full((1, 1, 1, 1), float(k)), draw).item() for k in range(50)]
        assert len(pool.kept) == 1 and len(set(shown[1:])) == len(shown[1:])


class TestScenes:
    def test_a_scene_and_its_painting_are_of_one_size_and_always_the_same(self, exact):
        for pair in exact[0]:
            assert (pair.scene.width, pair.scene.height) == (pair.painted.width, pair.painted.height)
            assert max(pair.scene.width, pair.scene.height) == 48 and pair.regions().shape[1:] == pair.scene.load().shape[2:]
            assert torch.equal(pair.regions().sum(dim=0), torch.ones(pair.scene.height, pair.scene.width))
        before = exact[0][1].painted.path.read_bytes()
        exact[0][1].painted.path.unlink()
        exact[0][1].labels.unlink()
        assert scenes.pairs("nocturne", 3, size=48) == exact[0] and exact[0][1].painted.path.read_bytes() == before
        assert np.array_equal(scenes.scene(3, 64).image, scenes.scene(3, 64).image)

    def test_held_out_scenes_are_others(self, exact, photographs):
        learnt, held_out = ({pair.scene.sha256 for pair in pairs} for pairs in exact)
        assert len(learnt) == 3 and len(held_out) == 1 and not learnt & held_out
        assert not {work.sha256 for work in photographs[0]} & {work.sha256 for work in photographs[1]}

    def test_photographs_are_scenes_and_the_three_samples(self, photographs):
        named = [work.name for work in photographs[0]]
        assert len(named) == 8 + 3 and {path.name for path in map(samples.photograph_path, samples.PHOTOGRAPHS)} < set(named)
        assert all(max(work.width, work.height) == 64 for work in photographs[1])
        assert {work.load().shape[1] for work in photographs[0]} == {3}

    def test_an_unknown_painter_and_no_scenes_are_one_clear_line(self):
        with pytest.raises(UsageError, match="unknown painter 'nocturn': did you mean 'nocturne'"):
            scenes.pairs("nocturn", 2)
        with pytest.raises(UsageError, match="0 scenes"):
            scenes.photographs(0)


class TestPairs:
    def test_scenes_are_drawn_with_their_regions_and_painting(self, exact):
        pairs = pix2pix.ScenePairs(exact[0])
        inputs, painted = pairs.drawn(torch.Generator().manual_seed(0), 3)
        assert inputs.shape == (3, 3 + len(REGIONS), *painted.shape[2:])
        known = {pair.scene.sha256: pair for pair in exact[0]}
        for one, result in zip(inputs, painted, strict=True):
            found = [
                p
                for p in known.values()
                if p.scene.load().shape[2:] == one.shape[1:] and torch.equal(p.scene.load()[0], one[:3])
            ]
            assert len(found) == 1
            assert torch.equal(found[0].painted.load()[0], result) and torch.equal(found[0].regions(), one[3:])

    def test_copies_of_paintings_of_any_shape_go_into_one_batch(self, tmp_path):
        noise = torch.Generator().manual_seed(0)
        for k, size in enumerate([(40, 90), (90, 40), (64, 64), (50, 40)]):
            images.save(torch.rand(1, 3, *size, generator=noise), tmp_path / f"{k}.png")
        copies = pix2pix.Copies(list(ingest(tmp_path)), "edges", size=40)
        for seed in range(6):
            inputs, painted = copies.drawn(torch.Generator().manual_seed(seed), 3)
            assert inputs.shape == painted.shape and painted.shape[2:] in ((40, 32), (32, 40))
            assert torch.equal(inputs, pix2pix.edges(painted))

    def test_the_guided_filter_equals_its_definition(self):
        picture = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(0))
        got = pix2pix.smoothed(picture, radius=1, noise=0.3)
        wide = np.pad(picture[0, 0].numpy().astype(np.float64), 1, mode="edge")
        coefficients = np.zeros((2, 7, 9))
        for y in range(7):
            for x in range(9):
                window = wide[y : y + 3, x : x + 3]
                a = window.var() / (window.var() + 0.09)
                coefficients[:, y, x] = a, (1 - a) * window.mean()
        a, b = (np.pad(c, 1, mode="edge") for c in coefficients)
        wanted = [[a[y : y + 3, x : x + 3].mean() * wide[y + 1, x + 1] + b[y : y + 3, x : x + 3].mean() for x in range(9)]
                  for y in range(7)]  # fmt: skip
        assert np.allclose(got[0, 0], wanted, atol=1e-6)

    def test_smoothing_takes_texture_and_keeps_contours(self):
        steps = torch.zeros(1, 3, 32, 32)
        steps[..., 16:] = 1
        rough = (0.8 * steps + 0.1 + 0.05 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
        smooth = pix2pix.smoothed(rough)
        assert smooth[..., 4:12].std() < 0.5 * rough[..., 4:12].std()
        assert (smooth[..., 17] - smooth[..., 14]).mean() > 0.7
        drawn = pix2pix.edges(steps)
        assert drawn[..., 2:10].min() > 0.99 and drawn[..., 15:17].max() < 0.5

    def test_a_network_for_scenes_heeds_regions_when_it_is_given_them(self, make, tmp_path):
        trained.train(Training(make("pix2pix"), Plan(steps=1)), tmp_path / "n.safetensors")
        network, content = trained.read(tmp_path / "n.safetensors"), torch.full((1, 3, 40, 48), 0.5)
        regions = F.one_hot(torch.zeros(1, 40, 48, dtype=torch.long), len(REGIONS)).permute(0, 3, 1, 2).float()
        without, given = (pix2pix.paint(network, content, None, Settings(), regions=r) for r in (None, regions))
        assert without.shape == given.shape == content.shape and not torch.equal(without, given)
        assert torch.equal(without, pix2pix.paint(network, content, None, Settings(), regions=torch.zeros_like(regions)))

    def test_a_sample_painter_makes_exact_pairs_and_a_real_artist_inexact_ones(self, corpus, encoder, monkeypatch):
        monkeypatch.setattr(pix2pix, "MEASURED_ON", 1)
        small = {**SMALL, "size": 48, "scenes": 3}
        made = families.family("pix2pix", list(corpus), encoder=encoder, options=small, corpora=["nocturne"])
        assert made.header()["pairs"] == "scenes" and len(made.pairs.pairs) == 3
        made = families.family("pix2pix", list(corpus), encoder=encoder, options={**small, "copies": "edges"}, corpora=["mine"])
        assert made.header()["pairs"] == "edges"
        learnt = {work.series for work in made.works}
        assert 0 < len(made.works) < len(corpus) and len(learnt) < len({work.series for work in corpus})
        with pytest.raises(UsageError, match="one work, or one series, is not enough"):
            families.family("pix2pix", corpus.works[:1], encoder=encoder, options=small, corpora=["mine"])

    @pytest.mark.parametrize("name", ["cyclegan", "one-sided"])
    def test_the_others_are_made_by_name_too(self, name, corpus, encoder, photographs):
        made = families.family(name, list(corpus), photographs[0], encoder=encoder, options=UNPAIRED)
        assert made.name == name and len(made.photographs) == 10

    def test_pairs_of_two_kinds_do_not_go_together(self, make, corpus, exact, encoder):
        with pytest.raises(UsageError, match="pairs of scenes are not measured on smooth"):
            pix2pix.Pix2pix(pix2pix.ScenePairs(exact[0]), pix2pix.Copies(list(corpus), size=48), list(corpus), encoder)
