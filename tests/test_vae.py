"""The VAE: its formulas, a tiny real training, what it paints, and its codes as an embedding."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.distributions import Normal, kl_divergence

from workbench import encoders, images, methods, targets
from workbench.corpora import ingest
from workbench.encoders.vae import SIDE, PatchEncoder, VaeEncoder, whole_patches
from workbench.errors import UsageError, WorkbenchError
from workbench.generative import data, networks, trained, vae
from workbench.generative.training import Plan, Training
from workbench.methods.trained import TrainedMethod
from workbench.retrieval import clusters, embeddings
from workbench.retrieval.agreement import agreement, colours
from workbench.retrieval.embeddings import Embeddings
from workbench.transfer import Settings, Transfer

TINY = vae.Options(size=96, batch=4, widths=(8, 12, 16, 24), latent=8, warm_up=5, perceptual=0.2)


def family(corpus, encoder, **changes):
    options = vae.Options(**{**{name: getattr(TINY, name) for name in TINY.__dataclass_fields__}, **changes})
    return vae.VAE(*vae.split_works(corpus), encoder, options)


@pytest.fixture(scope="module")
def learnt(corpus, encoder, tmp_path_factory):
    """(training, the file that it wrote): 60 steps on `two_styles`."""
    path = tmp_path_factory.mktemp("vae") / "stripes.safetensors"
    training = Training(family(corpus, encoder), Plan(steps=60, report_every=60, rate=8.0))
    trained.train(training, path)
    return training, path


@pytest.fixture(scope="module")
def network(learnt):
    return trained.read(learnt[1]).network


class TestFormulas:
    def test_the_divergence_is_that_of_torch(self):
        draw = torch.Generator().manual_seed(0)
        mean, log_variance = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
        normal = Normal(mean, (log_variance / 2).exp())
        expected = kl_divergence(normal, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
        torch.testing.assert_close(vae.divergence(mean, log_variance), expected)
        assert not vae.divergence(torch.zeros(1, 3), torch.zeros(1, 3)).any()

    def test_codes_are_drawn_from_the_distribution_that_is_named(self):
        draw = torch.Generator().manual_seed(1)
        mean, log_variance = torch.tensor([[2.0, -1.0]]), torch.tensor([[math.log(0.25), math.log(4.0)]])
        codes = vae.drawn(mean, log_variance, torch.randn(40_000, 2, generator=draw))
        torch.testing.assert_close(codes.mean(dim=0), mean[0], atol=0.03, rtol=0)
        torch.testing.assert_close(codes.std(dim=0), torch.tensor([0.5, 2.0]), atol=0.03, rtol=0)

    def test_gradients_reach_mean_and_variance(self):
        draw = torch.Generator().manual_seed(2)
        mean, log_variance, noise = torch.randn(3, 2, 3, generator=draw, dtype=torch.float64)
        inputs = mean.requires_grad_(), log_variance.requires_grad_()
        assert torch.autograd.gradcheck(lambda m, v: (vae.drawn(m, v, noise), vae.divergence(m, v)), inputs)
        (to_variance,) = torch.autograd.grad(vae.drawn(mean, log_variance, noise).sum(), log_variance)
        torch.testing.assert_close(to_variance, noise * (log_variance / 2).exp() / 2)

    def test_the_way_between_two_codes_turns_evenly_and_keeps_its_length(self):
        a, b = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 3.0, 0.0])
        way = vae.between(a, b, torch.linspace(0, 1, 4))
        turned = torch.tensor([[math.cos(k * math.pi / 6), math.sin(k * math.pi / 6), 0] for k in range(4)]) * 3
        torch.testing.assert_close(way, turned)
        torch.testing.assert_close(vae.between(a, 2 * b, torch.tensor([0.5]))[0].norm(), torch.tensor(4.5))

    @pytest.mark.parametrize("other", [[2.0, 2.0], [-1.0, -1.0], [0.0, 0.0]])
    def test_codes_alike_opposite_or_empty_are_joined_by_a_line(self, other):
        a, b = torch.ones(2), torch.tensor(other)
        torch.testing.assert_close(vae.between(a, b, torch.tensor([0.0, 0.25, 1.0])), torch.stack([a, a + (b - a) / 4, b]))


class TestDecoder:
    @pytest.fixture
    def decoder(self):
        torch.manual_seed(0)
        return vae.PatchDecoder(widths=TINY.widths, latent=TINY.latent)

    def test_cells_that_are_alike_give_a_flat_patch_up_to_its_border(self, decoder):
        """No frame: beyond the border a patch goes on as it is."""
        with torch.no_grad():
            decoder.tail.weight.zero_()
            decoder.tail.bias.copy_(torch.randn(decoder.deepest, 1).expand(-1, decoder.cells**2).flatten())
            patch = decoder(torch.zeros(1, TINY.latent))
        torch.testing.assert_close(patch, patch[..., :1, :1].expand_as(patch))
        assert patch.std(dim=1).max() > 1e-4  # and is not grey for lack of anything

    def test_edges_between_cells_are_no_steeper_than_cells_within(self, decoder):
        """No weave: of the slopes at each place within a cell of 2, 4 or 8 px, none stands out."""
        codes = 3 * torch.randn(64, TINY.latent, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            slopes = decoder(codes).diff(dim=-1).square().mean(dim=(0, 1, 2))[7:55]
        for cell in (2, 4, 8):
            within = slopes.view(-1, cell).mean(dim=0)
            assert within.max() < 1.5 * within.min(), cell


class TestTraining:
    def test_reconstruction_of_unseen_works_improves(self, learnt):
        first, last = learnt[0].history[0], learnt[0].history[-1]
        assert last["l1"] < 0.75 * first["l1"]
        assert last["features"] < first["features"]
        assert last["objective"] < 0.9 * first["objective"]
        assert last["kl"] > 1  # nats: the codes are used

    def test_the_divergence_is_warmed_up_and_most_dimensions_stay_in_use(self, learnt, corpus, encoder):
        assert learnt[0].history[-1]["idle"] < 0.5
        priced = []
        one = family(corpus, encoder, beta=0.5, warm_up=4)
        one._parts = lambda painter, seen, noise, beta: priced.append(beta) or {"objective": seen.sum()}
        for _ in range(6):
            list(one.losses(torch.Generator().manual_seed(0)))
        assert priced == pytest.approx([0, 0.125, 0.25, 0.375, 0.5, 0.5])

    def test_a_divergence_that_costs_too_much_is_seen_in_what_is_measured(self, corpus, encoder):
        dear = Training(family(corpus, encoder, beta=3000.0, warm_up=0), Plan(steps=30, report_every=30, rate=8.0))
        assert list(dear)[-1]["idle"] > 0.5

    def test_a_resumed_training_ends_in_the_same_bytes(self, corpus, encoder, tmp_path):
        def some(steps_before):
            training = Training(family(corpus, encoder, warm_up=6), Plan(steps=6, report_every=3))
            if steps_before:
                training.resume(tmp_path / "stopped.safetensors")
            return training

        whole = some(0)
        for record in whole:
            if record["step"] == 3:
                whole.checkpoint(tmp_path / "stopped.safetensors")
        resumed = some(3)
        assert resumed.family.steps == 3  # so that beta goes on rising from where it was
        list(resumed)
        for name, value in whole.average.items():
            assert torch.equal(value, resumed.average[name]), name

    def test_held_out_works_are_decided_by_hashes_and_never_learnt_from(self, corpus):
        learn, held = vae.split_works(list(corpus))
        assert len(held) == 1 and len(learn) == 11 and not {w.sha256 for w in held} & {w.sha256 for w in learn}
        again = vae.split_works(list(corpus)[::-1])
        assert (learn, held) == again

    def test_one_work_is_measured_on_itself_and_says_so(self, corpus, encoder, capsys):
        training = Training(family(corpus.works[:1], encoder), Plan(steps=15, report_every=15, rate=4.0))
        records = list(training)
        assert "measured on what it learns from" in capsys.readouterr().err
        assert records[-1]["l1"] < records[0]["l1"]

    def test_grey_works_give_grey_pictures(self, encoder, tmp_path):
        for level in (60, 150, 220):
            Image.new("L", (80, 70), level).save(tmp_path / f"{level}.png")
        training = Training(family(ingest(tmp_path), encoder), Plan(steps=25, report_every=25, rate=4.0))
        records = list(training)
        assert all(math.isfinite(value) for record in records for value in record.values())
        with training.averaged(), torch.no_grad():
            painted = training.family.painter(training.family.measured_on)
        assert float((painted.amax(dim=1) - painted.amin(dim=1)).mean()) < 0.15

    def test_no_works_are_refused(self, encoder):
        with pytest.raises(UsageError, match="no works to learn from"):
            vae.split_works([])

    def test_patches_have_one_shape_whatever_the_works(self, tmp_path):
        for k, sides in enumerate([(20, 300), (90, 70), (5, 5)]):
            Image.new("RGB", sides, (40 * k, 90, 30)).save(tmp_path / f"{k}.png")
        works = data.Pictures(tuple(ingest(tmp_path)), 128)
        found = vae.patches(works, torch.Generator().manual_seed(0), 40)
        assert found.shape == (40, 3, SIDE, SIDE) and found.min() >= 0 and found.max() <= 1

    def test_the_network_as_it_is_proposed_has_under_a_million_weights(self):
        options = vae.Options()
        assert networks.parameters_of(vae.Autoencoder(widths=options.widths, latent=options.latent)) < 1_000_000


class TestWhatItOffers:
    def test_a_walk_begins_and_ends_with_the_two_works(self, network, corpus):
        a, b = (work.load(96) for work in corpus.works[:2])
        shown = vae.walk(network, a, b, 5)
        ends = network(torch.cat([vae.squashed(a), vae.squashed(b)]))
        assert shown.shape == (5, 3, SIDE, SIDE)
        torch.testing.assert_close(shown[[0, -1]], ends, atol=1e-4, rtol=0)
        with pytest.raises(UsageError, match="two steps"):
            vae.walk(network, a, b, 1)

    def test_samples_are_drawn_from_a_seed(self, network):
        first = vae.sample(network, 3, seed=4)
        assert first.shape == (3, 3, SIDE, SIDE) and first.min() >= 0 and first.max() <= 1
        assert torch.equal(first, vae.sample(network, 3, seed=4))
        assert not torch.equal(first, vae.sample(network, 3, seed=5))

    @pytest.mark.parametrize("sides", [(1, 1), (64, 64), (50, 131), (97, 64)])
    def test_the_fades_sum_to_one_at_any_size(self, sides):
        picture = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(vae.reconstruct(torch.nn.Identity(), picture), picture)

    def test_it_is_a_method_for_the_whole_oeuvre_and_for_nothing_else(self, learnt, corpus, encoder):
        method, settings = methods.get(str(learnt[1])), Settings(method=str(learnt[1]), size=100)
        assert isinstance(method, TrainedMethod) and method.targets == ("whole",)
        with pytest.raises(UsageError, match="workbench train vae"):
            methods.get("vae")  # none ships
        content = corpus.works[3].load(100)
        result = method.begin(content, targets.whole(corpus), encoder, settings).run()
        assert result.image.shape == content.shape and result.complete
        assert (result.image - content).abs().mean() < (content.mean(dim=(2, 3), keepdim=True) - content).abs().mean() * 1.5
        with pytest.raises(UsageError, match="whole"):
            method.begin(content, targets.single(corpus.works[0]), encoder, settings)

    def test_rows_of_samples(self, learnt):
        sheet = learnt[0].family.samples(learnt[0].family.painter)
        assert sheet.shape == (vae.SHOWN, 3, 3, SIDE, SIDE) and torch.isfinite(sheet).all()


class TestEncoder:
    def test_the_file_is_an_encoder_by_name_with_the_codes_of_the_network(self, learnt, network, corpus):
        encoder = encoders.load(f"vae:{learnt[1]}", device="cpu")
        picture = corpus.works[0].load(256)
        codes = encoder.features(picture, ["px64"])["px64"]
        torch.testing.assert_close(codes[..., 0, 0], network.encoder(vae.squashed(picture))[0])
        assert torch.equal(encoder.embed(picture), encoder.embed(picture))
        assert encoder.embed(picture).shape == (1, 6 * TINY.latent)
        assert encoder.weights_sha256 == trained.read(learnt[1]).sha256

    def test_codes_are_those_of_patches_cut_one_by_one(self):
        torch.manual_seed(0)
        encoder = VaeEncoder("vae:test", PatchEncoder(widths=(8, 8, 8, 8), latent=4)).eval()
        picture = torch.rand(2, 3, 128, 96)
        with torch.no_grad():
            codes = encoder.activations(picture, ["px128"])["px128"]
            for i in range(3):
                for j in range(2):
                    patch = picture[..., 32 * i : 32 * i + 64, 32 * j : 32 * j + 64]
                    torch.testing.assert_close(codes[..., i, j], encoder.patches(patch)[0])

    @pytest.mark.parametrize(("side", "expected"), [(1, 64), (64, 64), (79, 64), (81, 96), (250, 256)])
    def test_sides_are_covered_to_the_last_pixel(self, side, expected):
        assert whole_patches(side) == expected

    def test_the_codes_serve_where_embeddings_do(self, learnt, corpus):
        encoder = encoders.load(f"vae:{learnt[1]}", device="cpu")
        space = embeddings.embed(corpus, encoder, "style")
        found = agreement(space, [work.genre for work in corpus])
        assert found.precision > found.chance + 0.3 and found.adjusted > 0.5  # warm stripes, cool dots
        assert set(clusters.cluster(space, 2, k_max=1).labels) == {0, 1}
        content = corpus.works[0].load(128)
        assert targets.Selection(corpus, content, encoder, retriever=encoder).nearest().works == (corpus.works[0],)

    @pytest.mark.parametrize("method", ["gram", "neighbours"])
    def test_nothing_is_painted_with_the_codes(self, learnt, corpus, method):
        encoder = encoders.load(f"vae:{learnt[1]}", device="cpu")
        with pytest.raises(UsageError, match=r"only compares pictures, as a retriever|no relu3_1, .*: choose embedded"):
            Transfer(corpus.works[0].load(64), targets.single(corpus.works[1]), encoder, Settings(method=method, size=64)).run()

    def test_what_is_no_vae_is_refused_in_a_line(self, tmp_path):
        save_file({"x": torch.zeros(1)}, tmp_path / "other", metadata={"header": json.dumps({"family": "artist"})})
        (tmp_path / "noise").write_bytes(b"no weights")
        for name in ("other", "noise", "absent"):
            with pytest.raises(WorkbenchError, match="cannot be read as a trained VAE") as error:
                encoders.load(f"vae:{tmp_path / name}", device="cpu")
            assert "\n" not in str(error.value)


class TestAgreement:
    SPACE = Embeddings("style", "test", tuple("abcdef"), np.repeat(np.eye(2, 3, dtype=np.float32), 3, axis=0))

    def test_clusters_that_are_the_labels_agree_fully_and_others_as_chance_does(self):
        same = agreement(self.SPACE, ["x"] * 3 + ["y"] * 3)
        assert (same.information, same.adjusted, same.works, same.labels) == pytest.approx((1, 1, 6, 2))
        crossed = agreement(self.SPACE, ["x", "y", ""] * 2)
        assert crossed.works == 4 and crossed.adjusted <= 0 and crossed.information == pytest.approx(0)

    def test_bad_labels_are_refused(self):
        with pytest.raises(UsageError, match="6 works, 2 labels"):
            agreement(self.SPACE, ["x", "y"])
        with pytest.raises(UsageError, match="1 different"):
            agreement(self.SPACE, ["x"] * 6)

    def test_colours_of_a_grey_picture_have_no_chroma(self, tmp_path):
        images.save(torch.full((1, 3, 20, 30), 0.5), tmp_path / "grey.png")
        mean_l, a, b, *deviations = colours(ingest(tmp_path)).raw[0]
        assert 0.5 < mean_l < 0.56
        assert np.allclose([a, b, *deviations], 0, atol=1e-3)
