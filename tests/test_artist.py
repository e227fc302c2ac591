"""The artist network: codes, targets, losses, and what a short training brings."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from workbench import encoders, methods, targets
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.generative import artist, data, families, imitation, trained
from workbench.generative.artist import Artist, Code, Options, drawn_weights
from workbench.generative.networks import MARGIN, in_tiles, without_margin
from workbench.generative.training import Plan, Training
from workbench.transfer import Settings
from workbench.transfer.losses import ContentLoss, GramLoss, relative_squares

TINY = Options(crop=48, batch=2, size=64, widths=(6, 8, 12), blocks=1)
ALONE = replace(TINY, adversarial=0)


@pytest.fixture(scope="module")
def encoder():
    return encoders.load("embedded", precision="float32")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Four pictures of smooth shapes, which no hand has painted."""
    folder, draw = tmp_path_factory.mktemp("photographs"), np.random.default_rng(1)
    y, x = np.mgrid[:72, :96] / 72
    for k in range(4):
        centre, radius = draw.uniform(0.2, 0.8, 2), draw.uniform(0.15, 0.4)
        inside = (np.hypot(x - centre[0], y - centre[1]) < radius)[..., None]
        picture = np.where(inside, draw.uniform(0, 1, 3), draw.uniform(0, 1, 3)) * (0.6 + 0.4 * y[..., None])
        Image.fromarray((picture * 255).astype(np.uint8)).save(folder / f"{k}.png")
    return tuple(ingest(folder))


def family(corpus, photographs, encoder, **options):
    return Artist(tuple(corpus), photographs[:3], photographs[3:], encoder, TINY, **options)


class TestCode:
    def test_codes_of_the_works_have_mean_0_and_variance_1(self, corpus, encoder):
        each = [targets.moments(targets.single(work), encoder, 64, encoder.style_layers) for work in corpus]
        code = Code.fit(each)
        found = (torch.stack([artist._vector(m, code.units) for m in each]) - code.centre) @ code.basis
        torch.testing.assert_close(found.mean(dim=0), torch.zeros(code.length), atol=1e-3, rtol=0)
        torch.testing.assert_close(found.var(dim=0, correction=0), torch.ones(code.length), atol=1e-2, rtol=0)
        assert code(each[0]).abs().max() <= 4

    def test_one_work_has_the_code_0(self, corpus, encoder):
        (alone,) = (targets.moments(targets.single(work), encoder, 64, encoder.style_layers) for work in tuple(corpus)[:1])
        assert torch.equal(Code.fit([alone])(alone), torch.zeros(1))


class TestTargets:
    def test_moments_of_weights_are_those_of_the_target(self, corpus, photographs, encoder):
        made = family(corpus, photographs, encoder)
        weights = torch.zeros(len(corpus))
        weights[[1, 4, 7]] = torch.tensor([0.5, 0.3, 0.2])
        chosen = targets.StyleTarget("some", tuple(tuple(corpus)[k] for k in (1, 4, 7)), (0.5, 0.3, 0.2))
        expected = targets.moments(chosen, encoder, TINY.size, encoder.style_layers)
        for layer, found in made.moments(weights).items():
            torch.testing.assert_close(found.second, expected[layer].second, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(found.mean, expected[layer].mean, rtol=1e-4, atol=1e-6)

    def test_weights_are_of_one_work_of_some_or_of_all(self):
        draw = torch.Generator().manual_seed(0)
        drawn = torch.stack([drawn_weights(20, draw) for _ in range(400)])
        torch.testing.assert_close(drawn.sum(dim=1), torch.ones(400))
        counts = (drawn > 0).sum(dim=1)
        assert 0.25 < (counts == 1).float().mean() < 0.45 and 0.05 < (counts == 20).float().mean() < 0.17
        assert counts[(counts > 1) & (counts < 20)].max() <= 12
        assert torch.equal(drawn_weights(1, draw), torch.ones(1))


class TestLosses:
    def test_they_are_those_of_a_transfer(self, corpus, photographs, encoder):
        made = family(corpus, photographs, encoder)
        pictures, weights = (
            torch.stack([torch.rand(3, 48 + 2 * MARGIN, 48 + 2 * MARGIN)] * 2),
            torch.stack([torch.eye(len(corpus))[k] for k in (0, 3)]),
        )
        with torch.no_grad():
            content, style, _, painted = made._paint(made.network, pictures, weights)
            for k in range(2):
                kept = encoder.features(without_margin(pictures[k : k + 1]), artist.CONTENT_LAYERS)
                features = encoder.features(painted[k : k + 1], {*encoder.style_layers, *artist.CONTENT_LAYERS})
                torch.testing.assert_close(content[k], ContentLoss(kept)(painted, features), rtol=1e-3, atol=1e-5)
                torch.testing.assert_close(
                    style[k], GramLoss(made.moments(weights[k]))(painted, features), rtol=1e-3, atol=1e-5
                )

    def test_relative_squares(self):
        x, t = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
        expected = [float((x[k] - t[k]).square().sum() / t[k].square().sum()) for k in range(3)]
        torch.testing.assert_close(relative_squares(x, t), torch.tensor(expected))
        torch.testing.assert_close(relative_squares(x, torch.zeros(3, 2, 4)), x.square().mean(dim=(1, 2)) / 1e-6)


class TestDiscriminator:
    def test_it_is_shown_the_works_that_a_result_is_after(self, corpus, photographs, encoder):
        made = family(corpus, photographs, encoder)
        weights = torch.zeros(len(corpus))
        weights[[1, 4]] = torch.tensor([0.5, 0.5])
        seen, draw = [], torch.Generator().manual_seed(0)
        of_work = made.paintings.crop_of
        made.paintings.crop_of = lambda k, *rest: (seen.append(k), of_work(k, *rest))[1]
        crops = torch.stack([made._crop_of_a_work(weights, 48, draw) for _ in range(40)])
        assert crops.shape == (40, 3, 48, 48) and set(seen) == {1, 4} and 10 < seen.count(1) < 30

    def test_both_learn(self, corpus, photographs, encoder):
        made = family(corpus, photographs, encoder)
        before = {name: [p.clone() for p in player.parameters()] for name, player in made.players.items()}
        training = Training(made, Plan(steps=2, report_every=1))
        assert {"painter", "judge"} <= {name.removeprefix("loss ") for name in list(training)[-1]}
        for name, player in made.players.items():
            assert any(not torch.equal(p, q) for p, q in zip(player.parameters(), before[name], strict=True))

    def test_without_it_nothing_is_added(self, corpus, photographs, encoder):
        made = Artist(tuple(corpus), photographs[:3], photographs[3:], encoder, ALONE)
        assert set(made.players) == {"painter"}
        with pytest.raises(UsageError, match="adversarial"):
            Options(adversarial=-1)
        with pytest.raises(UsageError, match="crop = 16"):
            Options(crop=16)


class TestNetwork:
    def test_noise_depends_on_the_place_alone(self, corpus, photographs, encoder):
        network = family(corpus, photographs, encoder).network
        whole = network.with_noise(torch.zeros(1, 3, 300, 200))
        part = network.with_noise(torch.zeros(2, 3, 40, 30), (130, 150))
        torch.testing.assert_close(part[1, 3], whole[0, 3, 130:170, 150:180])
        assert 0.2 < whole[0, 3].std() < 0.5

    def test_beyond_the_border_of_a_picture_noise_goes_on(self, corpus, photographs, encoder):
        """Border noise that is repeated there would be stripes, and strokes follow stripes."""
        network, code = (
            family(corpus, photographs, encoder).network,
            torch.randn(1, 11, generator=torch.Generator().manual_seed(0)),
        )
        flat = torch.full((1, 3, 44, 60), 0.4)
        with torch.no_grad():
            expected = network.inside(
                torch.full((1, 3, 44 + 2 * MARGIN, 60 + 2 * MARGIN), 0.4), code, (70 - MARGIN, 9 - MARGIN)
            )
            assert code.shape[1] == network.code.length
            torch.testing.assert_close(network(flat, code, (70, 9)), expected)
            ragged = network(flat[..., :41, :59], code, (70, 9))
        assert ragged.shape == (1, 3, 41, 59)

    def test_noise_of_a_large_picture_does_not_repeat_in_its_tiles(self, corpus, photographs, encoder):
        network = family(corpus, photographs, encoder).network

        class Noise(torch.nn.Module):
            def forward(self, picture, code, begin=(0, 0)):
                return network.with_noise(picture, begin)[:, 3:].expand(-1, 3, -1, -1)

        picture = torch.rand(1, 3, 200, 130, generator=torch.Generator().manual_seed(0))
        expected = network.with_noise(picture)[:, 3:].expand(-1, 3, -1, -1)
        torch.testing.assert_close(in_tiles(Noise(), picture, tile=96, overlap=32, placed=True), expected)

    def test_a_short_training_helps_on_pictures_and_weights_it_never_saw(self, corpus, photographs, encoder, tmp_path):
        training = Training(family(corpus, photographs, encoder), Plan(steps=60, report_every=60))
        first, *_, last = training
        assert last["objective"] < 0.8 * first["objective"]
        trained.save(training, tmp_path / "net.safetensors")
        found = methods.get(str(tmp_path / "net.safetensors"))
        content, settings = photographs[3].load(96), Settings(method=found.name, size=80)
        works = tuple(corpus)
        weighed = targets.StyleTarget("blend", works[:4], (0.4, 0.3, 0.2, 0.1))
        painted = {
            label: found.begin(content, target, encoder, settings).run().image
            for label, target in {
                "warm": targets.single(works[0]),
                "cool": targets.single(works[1]),
                "blend": weighed,
                "barycentre": weighed.combined("barycentre"),
            }.items()
        }
        assert all(picture.shape == (1, 3, 60, 80) for picture in painted.values())
        assert painted["warm"][:, 0].mean() > painted["cool"][:, 0].mean()  # red
        assert not torch.equal(painted["blend"], painted["barycentre"])
        strangers = tuple(replace(work, sha256=f"{k:064}", metadata={}) for k, work in enumerate(works[:3]))
        assert found.doubt(weighed) == found.doubt(targets.StyleTarget("blend", (works[0], strangers[0]), (0.6, 0.4))) == ""
        assert "none of these paintings is known to the network net" in found.doubt(targets.whole(strangers))
        assert "only 40% of" in found.doubt(targets.StyleTarget("blend", (works[0], strangers[0]), (0.4, 0.6)))

    def test_a_file_that_has_the_name_of_a_network_in_the_package_is_said(self, corpus, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert methods.get("van-gogh").doubt(targets.whole(corpus)).startswith("none of these")
        shutil.copy(trained.SHIPPED / "nocturne.safetensors", "van-gogh.safetensors")
        doubt = methods.get("van-gogh").doubt(targets.whole(corpus))
        assert doubt.startswith("van-gogh is taken for the file van-gogh.safetensors") and "learnt from nocturne" in doubt
        assert not trained.ambiguity("van-gogh.safetensors")
        shutil.copy(trained.SHIPPED / "van-gogh.safetensors", ".")
        assert trained.ambiguity("van-gogh") == trained.ambiguity("monet") == ""

    @pytest.mark.parametrize("kind", ["one", "four", "grey"])
    def test_tiny_corpora_train(self, kind, corpus, photographs, encoder, tmp_path):
        works = tuple(corpus)[: 1 if kind == "one" else 4]
        if kind == "grey":
            for k in range(2):
                Image.new("L", (60, 50), 90 + 60 * k).save(tmp_path / f"{k}.png")
            works = tuple(ingest(tmp_path))
        records = list(Training(family(works, photographs, encoder), Plan(steps=3)))
        assert all(np.isfinite(value) for record in records for value in record.values())


class TestPackage:
    def test_unknown_works_are_refused_with_the_command_that_helps(self, corpus, photographs, encoder):
        request = targets.StyleTarget("blend", tuple(corpus)[:2], (0.5, 0.5))
        with pytest.raises(WorkbenchError, match="workbench train artist"):
            methods.get("artist").begin(photographs[0].load(64), request, encoder, Settings(method="artist", size=64))


def test_photographs_are_split_by_their_bytes(photographs, capsys):
    learn, held = data.split_photographs(photographs)
    again = data.split_photographs(tuple(reversed(photographs)))
    assert (learn, held) == again and len(held) == 1 and set(learn).isdisjoint(held)
    assert "only 3 photographs" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pairs(corpus, photographs, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return folder, imitation.make(tuple(corpus)[:6], photographs[:3], folder, 2, encoder, size=64)


class TestImitation:
    def test_pairs_are_painted_once_and_belong_to_their_works(self, pairs, corpus, photographs, encoder):
        folder, made = pairs
        times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        assert imitation.make(tuple(corpus)[:6], photographs[:3], folder, 2, encoder, size=64) == made
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times and len(times) == 4
        for pair in made:
            assert abs(sum(pair.weights.values()) - 1) < 1e-6 and pair.photograph in photographs[:3]
        with pytest.raises(UsageError, match="other works"):
            imitation.make(tuple(corpus)[6:], photographs[:3], folder, 2, encoder, size=64)

    def test_foreign_pairs_are_refused_before_anything_is_painted(self, pairs, corpus, photographs, encoder, tmp_path):
        folder = Path(shutil.copytree(pairs[0], tmp_path / "pairs"))
        (folder / "00001.json").unlink()
        with pytest.raises(UsageError, match="1 of 1: name another folder"):
            imitation.make(tuple(corpus)[6:], photographs[:3], folder, 2, encoder, size=64)
        other = encoders.load("random")
        with pytest.raises(UsageError, match="by another encoder, 1 of 1"):
            imitation.make(tuple(corpus)[:6], photographs[:3], folder, 2, other, size=64)
        assert not (folder / "00001.json").exists()

    def test_a_pair_whose_picture_is_gone_is_painted_again_or_named(self, pairs, corpus, photographs, encoder, tmp_path):
        folder = Path(shutil.copytree(pairs[0], tmp_path / "pairs"))
        before = (folder / "00000.png").read_bytes()
        (folder / "00000.png").unlink()
        with pytest.raises(UsageError, match=r"00000\.png is missing"):
            imitation.read(folder, photographs[:3], tuple(corpus)[:6], encoder)
        imitation.make(tuple(corpus)[:6], photographs[:3], folder, 2, encoder, size=64)
        assert (folder / "00000.png").read_bytes() == before

    def test_what_is_learnt_from_pairs_are_their_pictures_and_weights(self, pairs, tmp_path):
        one, other = pairs[1]
        painted = Path(shutil.copy(other.picture, tmp_path / one.picture.name))
        weights = {name: 1 / len(one.weights) for name in reversed(one.weights)}
        photograph = replace(one.photograph, sha256="0" * 64)
        changes = [{}, {"picture": painted}, {"photograph": photograph}, {"weights": {**weights, "more": 0.0}}]
        assert len({str(imitation.identity_of([replace(one, **change)])) for change in changes}) == 4

    def test_of_a_large_corpus_pairs_are_of_the_works_that_are_learnt_from(
        self, corpus, photographs, encoder, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(artist, "MOST_WORKS", 3)
        options = {"crop": 32, "size": 64, "batch": 2, "widths": (4, 6, 8), "blocks": 1}
        given = {"encoder": encoder, "options": options, "pairs_in": tmp_path / "pairs", "imitate": 2}
        monkeypatch.setattr(imitation, "make", partial(imitation.make, size=64))
        family = families.family("artist", corpus.works, photographs, **given)
        assert len(family.works) == 3 and {work.sha256 for work in family.works}.issuperset(
            name for pair in family.pairs.pairs for name in pair.weights
        )

    @pytest.mark.parametrize("name", ["00001.png", "00001.json"])
    def test_what_is_no_pair_is_not_replaced(self, pairs, corpus, photographs, encoder, tmp_path, name):
        folder = Path(shutil.copytree(pairs[0], tmp_path / "pairs"))
        for suffix in (".png", ".json"):
            (folder / f"00001{suffix}").unlink()
        (folder / name).write_text("[3]")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(WorkbenchError, match=f"{name} (exists already, and is none of a pair|does not describe a pair)"):
            imitation.make(tuple(corpus)[:6], photographs[:3], folder, 2, encoder, size=64)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    @pytest.mark.parametrize("text", ["{", "[]", '{"photograph": []}', '{"photograph": "a", "weights": {"b": []}}'])
    def test_a_damaged_description_is_named(self, pairs, corpus, photographs, encoder, tmp_path, text):
        (tmp_path / "00000.json").write_text(text)
        with pytest.raises(WorkbenchError, match=r"00000\.json does not describe a pair"):
            imitation.read(tmp_path, photographs, tuple(corpus), encoder)

    def test_crops_show_the_same_place(self, pairs):
        crops = imitation.PairedCrops([pairs[1][0]])
        draw = torch.Generator().manual_seed(0)
        content, painted = (data.from_bytes(x) for x in crops._load(0))
        _, one, other = crops.crop(draw, 32)
        assert one.shape == other.shape == (3, 32, 32)
        height, width = content.shape[-2:]
        places = [
            (y, x, turned)
            for y in range(height - 31)
            for x in range(width - 31)
            for turned in (False, True)
            if torch.equal(content[:, y : y + 32, x : x + 32].flip(-1) if turned else content[:, y : y + 32, x : x + 32], one)
        ]
        cut = [(painted[:, y : y + 32, x : x + 32], turned) for y, x, turned in places]
        assert any(torch.equal(other, picture.flip(-1) if turned else picture) for picture, turned in cut)

    def test_a_network_learns_from_them(self, pairs, corpus, photographs, encoder):
        made = Artist(tuple(corpus)[:6], photographs[:3], photographs[3:], encoder, ALONE, pairs=pairs[1])
        *_, last = Training(made, Plan(steps=12, report_every=4, rate=2))
        assert last["loss painter"] < untrained_loss(made)


def untrained_loss(family):
    """The loss of a step by the network before it learnt anything, from the same kinds of pictures."""
    draw = torch.Generator().manual_seed(0)
    fresh = Artist(
        family.works, family.photographs.works, family.held_out.works, family.encoder, ALONE, pairs=family.pairs.pairs
    )
    with torch.no_grad():
        return float(np.mean([float(loss) for _ in range(4) for _, loss in fresh.losses(draw)]))
