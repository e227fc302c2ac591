import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from workbench import encoders, images
from workbench.corpora import Corpus, ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.images import colour
from workbench.metrics import (
    judging,
    log_odds,
    margin_leak,
    plausibility,
    sets,
    structure,
    typicality,
)
from workbench.study import gate as gates


@pytest.fixture(scope="module")
def content(corpus):
    return corpus["work-00.png"].load(96)


def _without_series(work):
    return replace(work, metadata={k: v for k, v in work.metadata.items() if k != "series"})


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=2)


class TestTypicality:
    def test_real_works_are_spread_evenly_over_the_percentiles(self):
        generator = np.random.default_rng(0)
        found = []
        for _ in range(200):
            points = generator.normal(size=(13, 4))
            between = distances(points, points)
            found.append(typicality.typicality(between[0, 1:], between[1:, 1:], [f"{i}" for i in range(12)]))
        percentiles = np.array([x.percentile for x in found])
        assert percentiles.mean() == pytest.approx(0.5, abs=0.06)
        assert np.mean(percentiles < 0.25) == pytest.approx(0.25, abs=0.09)
        assert np.mean([x.p <= 0.2 for x in found]) < 0.26
        assert np.median([x.distance for x in found]) == pytest.approx(1, abs=0.1)

    def test_an_outlier_is_at_0_and_an_average_at_1(self):
        generator = np.random.default_rng(1)
        points = generator.normal(size=(20, 30))
        between = distances(points, points)
        groups = [f"{i}" for i in range(20)]
        far = typicality.typicality(distances(points[:1] + 9, points)[0], between, groups)
        mean = typicality.typicality(distances(points.mean(axis=0, keepdims=True), points)[0], between, groups)
        assert far.percentile == 0 and mean.percentile == 1
        assert far.p == mean.p == pytest.approx(2 / 21)
        assert far.distance > 1 > mean.distance and far.works == 20

    def test_the_next_haystack_is_no_merit(self):
        """Works of a series are near each other; a result is not to be measured against siblings it cannot have."""
        generator = np.random.default_rng(2)
        centres = generator.normal(size=(8, 5)) * 5
        points = np.repeat(centres, 3, axis=0) + generator.normal(size=(24, 5)) * 0.01
        groups = np.repeat([f"{i}" for i in range(8)], 3)
        between = distances(points, points)
        others = groups != "0"
        one = typicality.typicality(between[0, others], between[np.ix_(others, others)], groups[others])
        assert 0 < one.percentile < 1
        alone = typicality.typicality(between[0, others], between[np.ix_(others, others)], [f"{i}" for i in range(21)])
        assert alone.percentile == 0

    def test_the_fast_typicality_is_the_naive_one(self):
        generator = np.random.default_rng(3)
        points, thing = generator.normal(size=(9, 3)), generator.normal(size=(1, 3))
        groups = np.array(list("aabbccdde"))
        between, to_real = distances(points, points), distances(thing, points)[0]
        own, its = [], []
        for j in range(9):
            per_group = lambda row: [min(row[groups == g]) for g in "abcde" if g != groups[j]]  # noqa: B023, E731
            own.append(np.mean(sorted(per_group(between[j]))[:3]))
            its.append(np.mean(sorted(per_group(to_real))[:3]))
        found = typicality.typicality(to_real, between, list(groups))
        assert found.percentile == np.mean(np.array(own) >= np.array(its))
        assert found.raw == pytest.approx(np.mean(its)) and found.distance == pytest.approx(np.mean(its) / np.median(own))

    def test_raw_distances_of_many_are_those_of_each(self):
        generator = np.random.default_rng(4)
        points, things = generator.normal(size=(9, 3)), generator.normal(size=(5, 3))
        groups, between = list("aabbccdde"), distances(points, points)
        each = [typicality.typicality(row, between, groups).raw for row in distances(things, points)]
        assert typicality.raw_distances(distances(things, points), groups) == pytest.approx(each)

    def test_one_series_alone_has_nothing_to_compare_with(self):
        with pytest.raises(UsageError, match="hold out more"):
            typicality.typicality(np.ones(3), np.ones((3, 3)), ["a", "a", "a"])


class TestSets:
    def test_the_kernel_distance_is_that_of_torchmetrics(self):
        kid = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics belongs to .[dev]")
        generator = np.random.default_rng(0)
        a, b = generator.normal(size=(12, 7)), generator.normal(size=(12, 7)) + 0.5
        expected = float(kid.poly_mmd(torch.from_numpy(a), torch.from_numpy(b)))
        assert sets.discrepancy(a, b).value == pytest.approx(expected, rel=1e-6)

    def test_the_permutations_in_one_product_are_those_one_by_one(self, monkeypatch):
        monkeypatch.setattr(sets, "PERMUTATIONS", 50)
        generator = np.random.default_rng(1)
        a, b = generator.normal(size=(5, 3)), generator.normal(size=(8, 3)) + 0.3
        both = np.concatenate([a, b])
        matrix = sets.polynomial(both, both)
        first = np.arange(13) < 5
        value = sets.mmd2(matrix, first)
        drawn = np.random.default_rng(0).permuted(np.tile(first, (50, 1)), axis=1)
        expected = (1 + sum(sets.mmd2(matrix, row) >= value - 1e-9 for row in drawn)) / 51
        assert sets.discrepancy(a, b).p == pytest.approx(expected)

    @pytest.mark.parametrize("kernel", [sets.polynomial, sets.gaussian(2.0)])
    def test_sets_of_one_kind_are_not_told_apart_and_others_are(self, kernel):
        generator = np.random.default_rng(2)
        p = [sets.discrepancy(generator.normal(size=(9, 4)), generator.normal(size=(20, 4)), kernel).p for _ in range(40)]
        assert np.mean(np.array(p) < 0.1) < 0.25 and np.mean(p) == pytest.approx(0.5, abs=0.15)
        far = sets.discrepancy(generator.normal(size=(9, 4)) + 2, generator.normal(size=(20, 4)), kernel)
        assert far.p < 0.01 and far.value > 0

    def test_an_unbiased_distance_of_a_set_to_a_shift_of_one_dimension_has_a_closed_form(self):
        """For the linear kernel the MMD is the distance of the means; in the limit of many points the estimate is that."""
        generator = np.random.default_rng(3)
        a, b = generator.normal(size=(4000, 2)), generator.normal(size=(4000, 2)) + np.array([1.5, 0])
        both = np.concatenate([a, b])
        assert sets.mmd2(both @ both.T, np.arange(8000) < 4000) == pytest.approx(2.25, rel=0.05)

    def test_cmmd_is_a_thousand_times_the_gaussian_one(self):
        generator = np.random.default_rng(4)
        a, b = generator.normal(size=(6, 3)), generator.normal(size=(7, 3))
        assert sets.cmmd(a, b).value == pytest.approx(1000 * sets.discrepancy(a, b, sets.gaussian(10.0)).value)

    def test_the_frechet_distance_is_that_of_torchmetrics_and_refuses_too_many_directions(self):
        fid = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics belongs to .[dev]")
        generator = np.random.default_rng(5)
        a, b = generator.normal(size=(60, 5)) @ np.diag([1, 2, 3, 4, 5]), generator.normal(size=(80, 5)) + 1
        _, _, rows = np.linalg.svd(b - b.mean(axis=0), full_matrices=False)
        x, y = (torch.from_numpy((m - b.mean(axis=0)) @ rows[:5].T) for m in (a, b))
        expected = float(fid._compute_fid(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())) / float(y.T.cov().trace())
        assert sets.frechet(a, b, 5) == pytest.approx(expected, rel=1e-5)
        assert sets.frechet(b, b, 3) == pytest.approx(0, abs=1e-6)
        with pytest.raises(UsageError, match="take a tenth at most"):
            sets.frechet(a, b, 7)

    def test_lost_variety_is_seen(self):
        generator = np.random.default_rng(6)
        real = generator.normal(size=(30, 10))
        ratio, p = sets.variety(generator.normal(size=(6, 10)) * 0.3, real)
        assert ratio < 0.5 and p < 0.01
        null = [sets.variety(generator.normal(size=(8, 10)), generator.normal(size=(10, 10)))[1] for _ in range(60)]
        assert np.mean(np.array(null) < 0.1) < 0.25 and np.mean(null) == pytest.approx(0.5, abs=0.12)

    def test_what_a_set_shows_does_not_tell_it_apart(self):
        """Results show one subject more often than the works do: within subjects they are of one kind."""
        generator = np.random.default_rng(8)
        draw = lambda people, fields: np.concatenate(  # noqa: E731
            [generator.normal(size=(people, 4)) + 3, generator.normal(size=(fields, 4)) - 3]
        )
        strata = ["p"] * 7 + ["f"] * 2 + ["p"] * 5 + ["f"] * 20
        naive, fair = [], []
        for _ in range(40):
            a, b = draw(7, 2), draw(5, 20)
            naive.append(sets.discrepancy(a, b).p)
            fair.append(sets.discrepancy(a, b, strata=strata).p)
        assert np.mean(np.array(naive) < 0.05) > 0.8 and np.mean(np.array(fair) < 0.05) < 0.2
        labels = sets._relabelled(np.arange(34) < 9, strata, 0)
        assert (labels[:, [*range(7), *range(9, 14)]].sum(axis=1) == 7).all()

    def test_density_and_coverage_in_closed_form(self):
        """On a line, works at 0, 1, 3, 7: with one neighbour their balls have the radii 1, 1, 2 and 4."""
        works = np.array([[0.0], [1], [3], [7]])
        found = sets.neighbourhoods(np.array([[0.5], [20]]), works, 1)
        assert (found.density, found.coverage) == (2 / 2, 2 / 4)  # 0.5 is in the balls of 0 and 1, 20 in none
        found = sets.neighbourhoods(np.array([[3.5], [4.0]]), works, 2)  # radii 3, 2, 3, 6: in those of 3 and 7
        assert (found.density, found.coverage) == (4 / (2 * 2), 2 / 4)
        assert sets.neighbourhoods(works, works, 1).coverage == 1
        assert sets.neighbourhoods(np.ones((3, 5)), np.ones((4, 5)), 2) == sets.Neighbourhoods(2.0, 1.0, 1 - 3 / 6 * 2 / 5)
        for k in (0, 4):
            with pytest.raises(UsageError, match="neighbours among 4 works"):
                sets.neighbourhoods(works, works, k)

    def test_density_and_coverage_of_what_is_of_the_same_kind_and_of_what_is_not(self):
        generator = np.random.default_rng(3)
        found = [sets.neighbourhoods(*(generator.normal(size=(n, 8)) for n in (12, 20)), 3) for _ in range(80)]
        assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.1)
        assert np.mean([f.coverage for f in found]) == pytest.approx(found[0].expected, abs=0.03)
        works = generator.normal(size=(20, 8))
        one = sets.neighbourhoods(np.repeat(works[:1], 12, axis=0), works, 3)  # a copy of one work, again and again
        other = sets.neighbourhoods(generator.normal(size=(12, 8)) + 9, works, 3)
        assert one.density > 0.3 and one.coverage < 0.5 * one.expected and (other.density, other.coverage) == (0, 0)

    def test_too_much_variety_is_seen_as_too_little_is(self):
        generator = np.random.default_rng(9)
        real = generator.normal(size=(30, 10))
        little, much = generator.normal(size=(6, 10)) * 0.3, generator.normal(size=(6, 10)) * 3
        assert sets.variety(much, real)[1] > 0.9  # from one side it is not
        for results in (little, much):
            assert sets.variety(results, real, two_sided=True)[1] < 0.02
        null = [sets.variety(*(generator.normal(size=(n, 10)) for n in (8, 10)), two_sided=True)[1] for _ in range(60)]
        assert np.mean(np.array(null) < 0.1) < 0.25 and max(null) <= 1


class TestStructure:
    def test_structure_is_kept_by_the_thing_itself_and_lost_by_another(self, encoder, content):
        other = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        for measure in (structure.self_similarity_distance, structure.cfsd):
            assert measure(content, content, encoder) == pytest.approx(0, abs=1e-9)
            assert measure(other, content, encoder) > 0
        assert structure.self_similarity_distance(other, content, encoder) <= 1

    def test_detail_is_the_slope_of_lightness(self):
        ramp = torch.linspace(0, 1, 33).view(1, 1, 1, 33).expand(1, 3, 16, 33)
        light = colour.lab(ramp)[0, 0, 0]
        assert structure.detail(ramp) == pytest.approx(float((light[1:] - light[:-1]).abs().mean()), rel=1e-4)
        assert structure.detail(torch.full((1, 3, 8, 8), 0.3)) == 0

    def test_structure_hardly_minds_other_colours(self, encoder, content):
        swapped, other = content[:, [1, 2, 0]], content.flip(2)
        assert structure.self_similarity_distance(swapped, content, encoder) < structure.self_similarity_distance(
            other, content, encoder
        )

    def test_cfsd_is_the_formula(self, encoder, content):
        other = content.flip(3)
        with torch.no_grad():
            f = [encoder.features(x, ("relu3_1",))["relu3_1"] for x in (content, other)]
        height, width = images.fit(*f[0].shape[-2:], min(structure.CELLS, max(f[0].shape[-2:])))
        rows = []
        for x in f:
            x = torch.nn.functional.adaptive_avg_pool2d(x, (height, width))[0].flatten(1).T.double()
            x = x / x.shape[1]
            rows.append(torch.softmax(x @ x.T, dim=1))
        expected = float((rows[0] * (rows[0] / rows[1]).log()).sum(dim=1).mean())
        assert structure.cfsd(other, content, encoder) == pytest.approx(expected, rel=1e-3, abs=1e-7)

    def test_lpips_says_what_it_needs(self, content, monkeypatch, tmp_path):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        with pytest.raises(WorkbenchError, match="LPIPS needs"):
            structure.lpips(content, content)


class TestColourPlausibility:
    def test_palettes_are_as_far_apart_as_their_sliced_transport(self):
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.rand(1, 3, 24, 32, generator=generator) * scale for scale in (0.5, 1.0))
        whole = torch.ones(1, 1, 4, 4)
        found = np.abs(plausibility.palette(a, whole) - plausibility.palette(b, whole)).mean()
        x, y = (colour.lab(images.resize(p, plausibility.SIZE))[0].flatten(1).double().numpy() for p in (a, b))
        expected = np.mean([wasserstein_distance(d @ x, d @ y) for d in plausibility._directions()])
        assert found == pytest.approx(2 * expected, rel=0.02)

    @given(st.floats(20, 80), st.floats(1, 15))
    @settings(max_examples=20, deadline=None)
    def test_a_shift_of_lightness_counts_in_delta_e(self, light, shift):
        def grey(level):
            y = (level + 16) / 116
            linear = y**3 if y > 6 / 29 else 3 * (6 / 29) ** 2 * (y - 4 / 29)
            value = 1.055 * linear ** (1 / 2.4) - 0.055 if linear > 0.0031308 else 12.92 * linear
            return torch.full((1, 3, 8, 8), value)

        whole = torch.ones(1, 1, 1, 1)
        found = np.abs(plausibility.palette(grey(light), whole) - plausibility.palette(grey(light + shift), whole)).mean()
        assert found == pytest.approx(shift, rel=0.03)

    def test_directions_are_spread_evenly(self):
        directions = plausibility._directions()
        assert np.allclose(np.linalg.norm(directions, axis=1), 1)
        assert np.allclose(directions.T @ directions / len(directions), np.eye(3) / 3, atol=0.01)

    def test_only_the_region_counts(self):
        picture = torch.zeros(1, 3, 64, 64)
        picture[:, 0, :, 32:] = 1
        left = plausibility.ellipses([(0.1, 0.2, 0.4, 0.8)], 64, 64)
        assert np.allclose(plausibility.palette(picture, left), plausibility.palette(picture * 0, left), atol=1)
        tiny = plausibility.ellipses([(0.5, 0.5, 0.501, 0.501)], 64, 64)
        assert tiny.sum() == 1

    @pytest.mark.slow
    def test_blue_skin_is_implausible_and_his_own_skin_is_not(self, two_styles, encoder):
        held_out = ingest(two_styles)
        held_out = held_out.select(genre="portrait")
        marks = {work.path.stem: {"skin": [(0.2, 0.2, 0.8, 0.8)]} for work in held_out}
        own = held_out.works[0].load()
        colours = plausibility.RegionColours(held_out, marks, encoder)
        box = [(0.3, 0.3, 0.7, 0.7)]
        assert colours.typicality(own, own, box, "skin", "portrait") is not None  # three series show skin
        two = replace(held_out, works=held_out.works[:4])
        assert plausibility.RegionColours(two, marks, encoder).typicality(own, own, box, "skin", "portrait") is None
        corpus = replace(held_out, works=tuple(_without_series(work) for work in held_out))
        colours = plausibility.RegionColours(corpus, marks, encoder)
        right, usual = colours.typicality(own, own, box, "skin", "portrait")
        blue, _ = colours.typicality(own[:, [2, 1, 0]], own, box, "skin", "portrait")
        assert right.raw < usual + 2 < blue.raw
        assert blue.percentile == 0 and blue.raw > 20 > right.raw and right.percentile > 0
        found, _ = plausibility.RegionColours(corpus, {}, encoder).typicality(own, own, box, "skin", "portrait")
        assert found.works >= plausibility.LEAST  # without marks, by what resembles it

    def test_marks_are_read_and_what_is_none_is_refused(self, tmp_path):
        table = tmp_path / "marks.csv"
        table.write_text("file_name,kind,left,top,right,bottom\na.jpg,skin,.1,.2,.3,.4\na.jpg,skin,0,0,1,1\n")
        assert plausibility.read_marks(table) == {"a": {"skin": [(0.1, 0.2, 0.3, 0.4), (0.0, 0.0, 1.0, 1.0)]}}
        table.write_text("file_name,kind,left,top,right,bottom\na.jpg,skin,.5,.2,.3,.4\n")
        with pytest.raises(UsageError, match="line 2"):
            plausibility.read_marks(table)
        table.write_text("file,kind\na,b\n")
        with pytest.raises(UsageError, match="is no table"):
            plausibility.read_marks(table)
        with pytest.raises(UsageError, match="cannot read"):
            plausibility.read_marks(tmp_path / "none.csv")


class TestMotifLeak:
    def test_what_is_planted_is_found_where_it_lies(self, shared):
        judge = encoders.load("embedded", precision="float32")
        corpus = ingest(shared / "data/corpora/vincent-van-gogh")
        night = corpus.find("the-starry-night.jpg")
        works = [work for work in corpus if work.genre in ("portrait", "self-portrait")] + [night]
        found = margin_leak.MarginLeaks(judge, works, 256)
        content = images.resize(images.load(shared / "data/content/mona_lisa.jpg"), 256)
        planted = content.clone()
        planted[..., 20:68, 20:68] = night.load(256)[..., 10:58, -60:-12]
        clean, with_moon = (found.measure(picture, [night], content=content) for picture in (content, planted))
        assert clean.rate == 0 and with_moon.rate > 0.02 and with_moon.p < clean.p
        rows, columns = np.nonzero(with_moon.heat)
        cell = 256 / with_moon.heat.shape[0]
        strongest = np.unravel_index(with_moon.heat.argmax(), with_moon.heat.shape)
        assert 20 <= strongest[0] * cell <= 68 and 20 <= strongest[1] * cell <= 68
        inside = (rows * cell < 90) & (columns * cell < 90)
        assert inside.mean() > 0.9


def judges_of(encoder, corpora, size=64):
    """artist -> a judge whose bank and unseen works are each half of the artist's."""
    found = {}
    for name, works in corpora.items():
        corpus = Corpus(name, works[0].path.parent, tuple(works), None)
        found[name] = judging.Judge(encoder, replace(corpus, works=works[:2]), replace(corpus, works=works[2:]), size)
    return found


class TestJudgeAndGate:
    def test_the_gate_tells_two_hands_apart_and_does_not_tell_one_from_itself(self, corpus, encoder):
        works = tuple(_without_series(work) for work in corpus)
        alike = tuple(replace(work, metadata={**work.metadata, "genre": "portrait"}) for work in works)
        by_hand = {"warm": alike[0::2], "cool": alike[1::2]}
        gate = gates.gate(judges_of(encoder, by_hand), by_hand)
        assert gate.passed("warm") and gate.gaps["warm"].low > 0 and gate.genre is None
        assert gate.artist[0] == 1 and gate.separation["cool"].mean > 0.95
        assert len(gate.lines()) == 3 and gate.lines()[1].endswith("passed")
        mixed = {"a": alike[0:6], "b": alike[6:12]}
        found = gates.gate(judges_of(encoder, mixed), mixed)
        assert not found.passed("a") and found.lines()[1].endswith("NOT passed")
        with pytest.raises(UsageError, match="two artists"):
            gates.gate(judges_of(encoder, {"a": alike}), {"a": alike})

    def test_a_gate_without_genres_asks_for_none(self, corpus, encoder):
        bare = tuple(replace(work, metadata={}) for work in corpus)
        by_hand = {"warm": bare[0::2], "cool": bare[1::2]}
        assert gates.gate(judges_of(encoder, by_hand), by_hand).genre is None

    def test_a_judge_stands_the_other_hand_apart(self, two_styles, encoder):
        corpus = ingest(two_styles)
        warm = corpus.select(genre="portrait")
        works = tuple(_without_series(work) for work in warm)
        bank, held_out = replace(warm, works=works[:2]), replace(warm, works=works[2:])
        judge = judging.Judge(encoder, bank, held_out, 64)
        cool = judge.typicality(judge.describe(corpus.select(genre="landscape").works[0].load()), "portrait")
        own = judge.typicality(judge.describe(bank.works[0].load()), "portrait")
        assert cool.percentile == 0 and cool.distance > own.distance
        assert judge.peers("portrait")[1] == "portrait"
        assert len(judge.typicality_of_real("portrait")) == 4
        assert judge.detail(torch.full((1, 3, 48, 64), 0.5), "portrait") < -5
        assert abs(judge.detail(held_out.works[0].load(64), "portrait")) < 1
        assert np.allclose(judge.describe(bank.works[0].load(64)), judge.of(bank.works)[0], atol=1e-3)

    def test_an_encoder_without_layers_judges_by_its_embedding(self, corpus):
        class Colours(encoders.Encoder):
            name, weights_sha256 = "mean colour", "0" * 64

            def __init__(self):
                super().__init__()
                self.mean = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

            def embed(self, image):
                return image.flatten(2).mean(dim=2)

        works = tuple(_without_series(work) for work in corpus)
        judge = judging.Judge(Colours(), replace(corpus, works=works[:6]), replace(corpus, works=works[6:]), 64)
        own = images.resize(works[0].load(), 64).flatten(2).mean(dim=2)[0].double().numpy()
        assert judging.kind(judge.encoder) == "content"
        assert np.allclose(judge.unit(judge.of(works[:1]))[0], own / np.linalg.norm(own), atol=1e-4)

    def test_who_made_the_pictures_is_said_of_the_judge(self, encoder):
        other = encoders.load("random", precision="float32")
        assert gates.shared_with(other, encoder, drafted=True) == ""
        assert gates.shared_with(encoder, encoder, drafted=False) == "which also drove the transfers"

    def test_a_relative_of_the_driver_is_called_one(self, encoder, shared, monkeypatch):
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(shared / "weights"))
        vgg = encoders.load("vgg19", precision="float32")
        assert gates.shared_with(encoder, vgg, drafted=True) == "which also made the drafts"
        assert gates.shared_with(encoder, vgg, drafted=False) == "which learnt from the network that drove"
        assert gates.shared_with(vgg, encoder, drafted=True) == "from which the network that drove has learnt"

    def test_a_picture_whose_genre_has_too_few_works_is_compared_with_none(self, corpus, encoder):
        """Other genres would tell subjects apart: an untouched photograph is no outlier among them."""
        works = tuple(_without_series(work) for work in corpus)
        judge = judging.Judge(encoder, replace(corpus, works=works[:2]), replace(corpus, works=works[2:]), 64)
        point = judge.describe(works[0].load())
        places, compared = judge.peers("still-life")
        assert len(places) == 0 and compared == "" and judge.typicality(point, "still-life") is None
        assert judge.typicality_of_real("still-life") == [] and np.isnan(judge.detail(works[0].load(64), "still-life"))
        assert judge.peers("")[1] == "all genres" and len(judge.peers("")[0]) == 10
        few = [replace(work, metadata={"genre": "animal"}) for work in works[:3]]
        assert judging.peers([*works, *few], "animal")[1] == "" and not judging.peers([*works, *few], "animal")[0].any()

    @pytest.mark.parametrize("works", [4, 5, 9])
    def test_the_gate_is_fair_where_nothing_tells_artists_apart(self, works):
        """Unseen works and strangers of one distribution: either is as often nearer. With its own group it would be .33."""
        generator = np.random.default_rng(works)
        found = []
        for _ in range(150):
            own, strangers = generator.normal(size=(works, 10)), generator.normal(size=(20, 10))
            found.append(gates.nearer(distances(own, own), np.arange(works), distances(strangers, own)).mean())
        assert np.mean(found) == pytest.approx(0.5, abs=0.04)

    def test_works_nearer_to_each_other_than_strangers_are_separated_and_series_do_not_help(self):
        generator = np.random.default_rng(0)
        own, strangers = generator.normal(size=(6, 10)), generator.normal(size=(20, 10)) + 3
        assert gates.nearer(distances(own, own), np.arange(6), distances(strangers, own)).min() > 0.9
        lone, series = generator.normal(size=(8, 10)), np.repeat(generator.normal(size=(4, 10)), 2, axis=0)
        shares = gates.nearer(distances(series, series), np.repeat(np.arange(4), 2), distances(lone, series))
        assert shares.mean() < 0.9  # its twin is at distance 0, and does not count

    def test_the_gate_asks_what_is_used_log_odds_before_distances(self, corpus, encoder):
        works = tuple(_without_series(work) for work in corpus)
        alike = tuple(replace(work, metadata={**work.metadata, "genre": "portrait"}) for work in works)
        by_hand = {"warm": alike[0::2], "cool": alike[1::2]}
        odds = {"warm": log_odds.ArtistOdds(encoder, by_hand["warm"], by_hand["cool"], size=64)}
        gate = gates.gate(judges_of(encoder, by_hand), by_hand, odds)
        assert gate.odds["warm"].mean == 1 and gate.passed("warm") and "by log-odds 1.00" in gate.lines()[1]
        doubtful = replace(gate, odds={"warm": replace(gate.odds["warm"], low=0.45)})
        assert not doubtful.passed("warm") and doubtful.passed("cool")
        apart = replace(gate, separation={name: replace(found, low=0.45) for name, found in gate.separation.items()})
        assert apart.passed("warm") and not apart.passed("cool")  # of whom there are distances alone

    def test_a_judge_of_fixed_filters_is_no_kin_and_passes_the_gate(self, corpus, encoder):
        works = tuple(_without_series(work) for work in corpus)
        alike = tuple(replace(work, metadata={**work.metadata, "genre": "portrait"}) for work in works)
        by_hand = {"warm": alike[0::2], "cool": alike[1::2]}
        gabor = encoders.load("gabor", device="cpu")
        odds = {"warm": log_odds.ArtistOdds(gabor, by_hand["warm"], by_hand["cool"], size=64)}
        gate = gates.gate(judges_of(gabor, by_hand), by_hand, odds)
        assert gate.passed("warm") and gates.shared_with(gabor, encoder, drafted=True) == ""
        mixed = {"a": alike[0:6], "b": alike[6:12]}
        assert not gates.gate(judges_of(gabor, mixed), mixed).passed("a")

    def test_a_self_portrait_is_a_portrait(self):
        assert judging.family("self-portrait") == judging.family("portrait")
        assert judging.family("animal") == ("animal",)

    def test_the_marks_that_ship_are_read(self):
        path = Path(__file__).parents[1] / "benchmarks/evidence/marks.csv"
        with path.open() as file:
            assert len({row["file_name"] for row in csv.DictReader(file)}) == len(plausibility.read_marks(path))
