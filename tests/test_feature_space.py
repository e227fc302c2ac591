"""Any-target decoders: the closed-form maps between moments, inversion of the encoder, and pictures after any target."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from workbench import images, inputs, methods, targets
from workbench.corpora import ingest
from workbench.errors import UsageError
from workbench.generative import feature_space, trained
from workbench.generative.feature_space import Affine, Inversion, Moved, Options, adain, monge, wct
from workbench.generative.networks import in_tiles
from workbench.generative.training import Plan, Training
from workbench.methods import Library, Request
from workbench.statistics import Moments, gaussian_w2, moments
from workbench.transfer import Settings

SMALL = Options(layers=("relu2_1", "relu3_1"), widths=(16, 24, 32), crop=32, batch=4)
SETTINGS = Settings(method="decoder", size=64)


def features(seed, channels=5, height=9, width=11):
    """Correlated features, float64, in no direction near to constant, with means away from zero."""
    draw = torch.Generator().manual_seed(seed)
    raw = torch.randn(1, channels, height, width, generator=draw, dtype=torch.float64)
    mixing = 2 * torch.eye(channels) + 0.5 * torch.randn(channels, channels, generator=draw, dtype=torch.float64)
    return torch.einsum("cd,ndhw->nchw", mixing, raw) + torch.randn(1, channels, 1, 1, generator=draw, dtype=torch.float64)


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


class TestMaps:
    """Affine maps between moments, in float64."""

    @pytest.mark.parametrize("transform", [monge, wct])
    def test_the_mapped_features_have_the_moments_of_the_target(self, transform):
        own, target = features(0), moments(features(1, height=7, width=8))
        mapped = moments(transform(moments(own), target)(own))
        close(mapped.mean, target.mean)
        close(mapped.second, target.second)

    def test_adain_gives_every_channel_its_mean_and_deviation_and_keeps_correlations(self):
        own, target = features(0), moments(features(1))
        mapped = adain(moments(own), target)(own)
        found = moments(mapped)
        close(found.mean, target.mean)
        close(found.covariance.diagonal(), target.covariance.diagonal())
        close(torch.corrcoef(mapped[0].flatten(1)), torch.corrcoef(own[0].flatten(1)))

    def test_the_monge_map_is_symmetric_and_semi_definite_and_moves_features_by_the_wasserstein_distance(self):
        own, target = features(2), moments(features(3))
        m = moments(own)
        move = monge(m, target)
        close(move.matrix, move.matrix.T)
        assert torch.linalg.eigvalsh(move.matrix).min() > 0

        def moved(move):
            return (move(own) - own).square().sum(dim=1).mean()

        close(moved(move), gaussian_w2(m.mean, m.covariance, target))
        assert moved(wct(m, target)) > 1.001 * moved(move)

    def test_where_covariances_are_diagonal_all_three_are_one(self):
        def diagonal(mean, variance):
            mean, variance = (torch.tensor(x, dtype=torch.float64) for x in (mean, variance))
            return Moments(mean, torch.diag(variance) + torch.outer(mean, mean))

        own, target = diagonal([1.0, -2.0, 0.5], [4.0, 1.0, 0.25]), diagonal([0.0, 1.0, 1.0], [1.0, 9.0, 0.0])
        for transform in (adain, wct, monge):
            close(transform(own, target).matrix, torch.diag(torch.tensor([0.5, 3.0, 0.0], dtype=torch.float64)))

    @pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
    def test_a_part_of_the_monge_map_goes_that_part_of_the_way(self, strength):
        own, target = features(4), moments(features(5))
        m = moments(own)
        there = moments(monge(m, target).part(strength)(own))
        whole = gaussian_w2(m.mean, m.covariance, target)
        close(gaussian_w2(m.mean, m.covariance, there), strength**2 * whole, 1e-6)
        close(gaussian_w2(there.mean, there.covariance, target), (1 - strength) ** 2 * whole, 1e-6)

    @pytest.mark.parametrize("transform", [adain, monge, wct])
    def test_without_variance_there_is_the_mean_of_the_target(self, transform):
        lively, flat = features(6), torch.full((1, 5, 3, 3), 0.7, dtype=torch.float64)
        one = lively[..., :1, :1]
        for own, target in ((flat, lively), (one, lively), (lively, flat)):
            mapped = transform(moments(own), moments(target))(own)
            close(mapped, moments(target).mean[None, :, None, None].expand_as(own), 1e-7)

    @pytest.mark.parametrize("transform", [adain, monge, wct])
    def test_a_direction_that_only_carries_noise_is_not_amplified(self, transform):
        noise = 1e-6 * torch.randn(9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        own = features(7)
        own[:, 0] = 0.2 + noise
        mapped = transform(moments(own), moments(features(8)))(own)
        same = own.clone()
        same[:, 0] = 0.2
        assert (transform(moments(own), moments(features(8)))(same) - mapped).abs().max() < 1e-4

    def test_float32_moments_are_mapped_as_exactly_as_they_are_known(self):
        own, target = features(0).float(), features(1).float()
        mapped = moments(monge(moments(own), moments(target))(own))
        assert mapped.mean.dtype == torch.float32
        torch.testing.assert_close(mapped.second, moments(target).second, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Three small photographs as works; the last is for measuring."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("china", "flower", "grace_hopper"):
        images.save(images.resize(inputs.content(name), 160), folder / f"{name}.png")
    return ingest(folder).works


@pytest.fixture(scope="module")
def learnt(corpus, photographs, encoder, tmp_path_factory):
    """(the training, the file) of small decoders that learnt for a few steps."""
    family = Inversion(corpus.works[:8], photographs[:2], photographs[2:], encoder, SMALL, unseen=corpus.works[8:])
    training = Training(family, Plan(steps=90, rate=2, report_every=90))
    path = tmp_path_factory.mktemp("decoders") / "small.safetensors"
    trained.train(training, path)
    return training, path


@pytest.fixture
def content():
    return images.resize(inputs.content("grace_hopper"), 64)


class TestInversion:
    """Training decoders."""

    def test_reconstructions_of_what_was_never_seen_improve_at_every_layer(self, learnt):
        first, last = learnt[0].history[0], learnt[0].history[-1]
        names = [
            f"{kind} {layer}, {of}" for kind in ("L1", "features") for layer in SMALL.layers for of in ("photographs", "works")
        ]
        for name in names:
            assert last[name] < 0.8 * first[name], name

    def test_the_file_says_what_it_is_and_lists_no_works(self, learnt):
        found = trained.read(learnt[1])
        assert found.family == "decoder" and "works" not in found.header
        assert found.header["artists"] == {"Nobody": 8} and found.header["photographs"] == 2
        assert found.header["architecture"] == {"channels": {"relu2_1": 40, "relu3_1": 96}, "widths": [16, 24, 32]}

    def test_a_stopped_training_goes_on_to_the_same_weights(self, corpus, photographs, encoder, tmp_path):
        def begun():
            options = replace(SMALL, layers=("relu2_1",), widths=(4, 6))
            family = Inversion(corpus.works[:4], photographs[:2], photographs[2:], encoder, options)
            return Training(family, Plan(steps=4, report_every=2))

        unbroken, stopped, resumed = begun(), begun(), begun()
        list(unbroken)
        records = iter(stopped)
        next(records), next(records)
        stopped.checkpoint(tmp_path / "state.safetensors")
        resumed.resume(tmp_path / "state.safetensors")
        list(resumed)
        assert resumed.step == 4
        assert all(torch.equal(value, resumed.average[name]) for name, value in unbroken.average.items())

    def test_one_work_grey_or_tiny_is_enough_to_go_on(self, photographs, encoder, tmp_path):
        Image.fromarray(np.full((3, 2, 3), 128, dtype=np.uint8)).save(tmp_path / "grey.png")
        family = Inversion(ingest(tmp_path).works, photographs[:1], photographs[1:], encoder, SMALL)
        *_, last = Training(family, Plan(steps=1))
        assert all(np.isfinite(value) for value in last.values())

    def test_what_cannot_be_trained_says_why_in_one_line(self, corpus, photographs, encoder):
        with pytest.raises(UsageError, match="no pictures to learn from"):
            Inversion([], photographs[:2], photographs[2:], encoder, SMALL)
        with pytest.raises(UsageError, match="no pictures to measure on"):
            Inversion(corpus.works, photographs, [], encoder, SMALL)
        with pytest.raises(UsageError, match="has no layer relu9_1"):
            Inversion(corpus.works, photographs[:2], photographs[2:], encoder, replace(SMALL, layers=("relu9_1",)))
        with pytest.raises(UsageError, match="no decoder for relu4_1"):
            Inversion(corpus.works, photographs[:2], photographs[2:], encoder, replace(SMALL, layers=("relu4_1",)))
        with pytest.raises(UsageError, match="crop = 30"):
            replace(SMALL, crop=30)


class TestPaint:
    """Pictures after any target."""

    @pytest.mark.parametrize("size", [(1, 1), (16, 1), (17, 23), (64, 40)])
    def test_a_picture_of_any_size_keeps_it(self, learnt, encoder, corpus, size):
        content = images.resize(inputs.content("china"), size)
        painted = feature_space.paint(trained.read(learnt[1]), content, targets.single(corpus.works[0]), SETTINGS)
        assert painted.shape == content.shape and bool(painted.isfinite().all())
        assert painted.min() >= 0 and painted.max() <= 1

    def test_it_comes_nearer_to_the_target_with_strength_and_starts_from_the_content(self, learnt, encoder, corpus, content):
        network, target = trained.read(learnt[1]), targets.single(corpus.works[1])
        aimed_at = targets.moments(target, encoder, 64, ["relu2_1"])["relu2_1"]

        def distance(picture):
            found = moments(encoder.features(picture, ["relu2_1"])["relu2_1"])
            return float(gaussian_w2(found.mean, found.covariance, aimed_at))

        none, half, full = (
            feature_space.paint(network, content, target, replace(SETTINGS, strength=strength)) for strength in (0, 0.5, 1)
        )
        assert torch.equal(none, content)
        assert distance(full) < distance(half) < distance(content) and distance(full) < 0.7 * distance(content)

    def test_several_works_are_their_barycentre_whatever_the_target_says(self, learnt, encoder, corpus, content):
        network = trained.read(learnt[1])
        blend = targets.StyleTarget("blend", corpus.works[:4], (0.4, 0.3, 0.2, 0.1))
        as_mean = feature_space.paint(network, content, blend, SETTINGS)
        assert torch.equal(as_mean, feature_space.paint(network, content, blend.combined("barycentre"), SETTINGS))
        found = feature_space.typical(blend, encoder, 64, "relu2_1")
        known = targets.moments(blend.combined("barycentre"), encoder, 64, ["relu2_1"])["relu2_1"]
        torch.testing.assert_close(found.second, known.second)

    def test_pooled_moments_would_have_more_variance_than_any_work(self, encoder, corpus):
        blend = targets.StyleTarget("blend", corpus.works[:2], (0.5, 0.5))

        def spread(target):
            return float(targets.moments(target, encoder, 64, ["relu3_1"])["relu3_1"].covariance.trace())

        largest = max(spread(targets.single(work)) for work in blend.works)
        assert spread(blend) > 1.2 * largest and spread(blend.combined("barycentre")) < largest

    def test_tiles_are_the_whole_picture_without_seams(self, learnt, encoder):
        picture = images.resize(inputs.content("china"), (320, 320))  # tiles begin on the grid of the features
        own = moments(encoder.features(picture, ["relu3_1"])["relu3_1"])
        shift = Affine(1.3 * torch.eye(96), own.mean, own.mean + 0.1)
        moved = Moved(encoder, trained.read(learnt[1]).network, "relu3_1", shift)
        whole, tiled = moved(picture), in_tiles(moved, picture, tile=192)
        difference = (whole - tiled).abs()
        assert difference.mean() < 1e-3 * whole.std() and difference.max() < 0.2 * whole.std(), (
            difference.mean(),
            difference.max(),
            whole.std(),
        )

    def test_regions_are_refused_in_one_line(self, learnt, content, corpus):
        with pytest.raises(UsageError, match=r"after target single or .*, not after regions"):
            Request(corpora=("nocturne",), target="regions", settings=replace(SETTINGS, method="decoder"))
        guided = replace(targets.whole(corpus), guides=(object(),))
        with pytest.raises(UsageError, match="do not paint after regions"):
            feature_space.paint(trained.read(learnt[1]), content, guided, SETTINGS)

    def test_weights_of_another_encoder_are_refused_in_one_line(self, learnt, content, corpus):
        found = trained.read(learnt[1])
        other = replace(found, header={**found.header, "encoder_sha256": "0" * 64})
        with pytest.raises(UsageError, match="other weights of the encoder embedded"):
            feature_space.paint(other, content, targets.single(corpus.works[0]), SETTINGS)


class TestMethod:
    """`decoder` among the methods."""

    @pytest.fixture
    def library(self, corpus, encoder, content):
        return Library(contents={"photo": content}, corpora={"two": corpus}, encoders={"embedded": encoder})

    @pytest.mark.parametrize("words", ["single", "blend", "whole", "by-hand"])
    def test_a_network_of_the_package_paints_after_any_target(self, learnt, library, monkeypatch, words):
        monkeypatch.setattr(trained, "SHIPPED", learnt[1].parent)
        extra = {"single": {"style": "Work 1"}, "by-hand": {"weights": (("Work 1", 1), ("Work 2", 3))}}.get(words, {})
        asked = Request(content="photo", corpora=("two",), retriever="embedded", target=words, settings=SETTINGS, **extra)
        result = methods.get("decoder").stylise(asked, library)
        assert result.complete and result.image.shape == (1, 3, 64, 55)
        assert result.target == library.target(asked) and bool(result.image.isfinite().all())

    def test_without_a_network_the_message_says_how_to_get_one(self, library, monkeypatch, tmp_path):
        monkeypatch.setattr(trained, "SHIPPED", tmp_path)
        asked = Request(content="photo", corpora=("two",), target="whole", settings=SETTINGS)
        with pytest.raises(UsageError, match="workbench train decoder"):
            methods.get("decoder").stylise(asked, library)

    def test_it_ignores_what_an_affine_map_cannot_heed(self):
        ignored = methods.get("decoder").ignores
        assert "strength" not in ignored and {"steps", "alpha", "looseness", "palette"} <= set(ignored)
