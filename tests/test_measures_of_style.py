"""Log-odds of the artist, leaks by a margin, strokes, t intervals: closed forms, averages, and negative controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.linear_model import LogisticRegression

from workbench import images, targets
from workbench.corpora import ingest
from workbench.errors import UsageError
from workbench.metrics import leak, log_odds, margin_leak, strokes
from workbench.study.intervals import ratio_interval, t_interval


def cloud(generator, mean, n, dimensions=40):
    return generator.normal(size=(n, dimensions)) + np.eye(dimensions)[0] * mean


@pytest.fixture(scope="module")
def two_clouds():
    """A probe of 30 works of his, two to a group, against 60 of others, three standard deviations apart."""
    generator = np.random.default_rng(0)
    points = np.concatenate([cloud(generator, 3, 30), cloud(generator, 0, 60)])
    groups = [f"his {i // 2}" for i in range(30)] + [f"other {i}" for i in range(60)]
    return log_odds.Probe(points, np.arange(90) < 30, groups), points


@pytest.fixture(scope="module")
def many(corpus):
    """`corpus`, each of its works a group."""
    works = [replace(w, metadata={k: v for k, v in w.metadata.items() if k != "series"}) for w in corpus]
    return works[::2], works[1::2]


class TestLogOdds:
    def test_the_probe_is_the_plain_regression_of_standardised_points(self, two_clouds):
        probe, points = two_clouds
        standardised = (points - points.mean(axis=0)) / points.std(axis=0)
        plain = LogisticRegression(C=log_odds.PENALTY, class_weight="balanced", tol=1e-8, max_iter=5000)
        plain.fit(standardised, probe.his)
        assert probe.scores(points) == pytest.approx(plain.decision_function(standardised), abs=1e-3)
        assert 0.85 < probe.auc < 1

    def test_an_average_scores_the_average(self, two_clouds):
        """A centroid is nearer to every point than the points are to each other; its log-odds gain nothing by it."""
        probe, points = two_clouds
        means = points[:20].reshape(4, 5, -1).mean(axis=1)
        assert probe.scores(means) == pytest.approx(probe.scores(points[:20]).reshape(4, 5).mean(axis=1))
        generator = np.random.default_rng(5)
        his, strangers = (probe.place(cloud(generator, mean, 50).mean(axis=0), probe.his) for mean in (3, 0))
        assert 0.25 < his < 0.75 and strangers < 0.1

    def test_places_of_new_works_are_even_and_a_caricature_and_a_miss_show(self, two_clouds):
        probe, _ = two_clouds
        generator = np.random.default_rng(1)
        places = np.array([probe.place(point, probe.his) for point in cloud(generator, 3, 200)])
        assert places.mean() == pytest.approx(0.5, abs=0.1)  # one probe, so its own luck stays
        assert probe.place(np.eye(40)[0] * 9, probe.his) == 1
        assert probe.place(np.eye(40)[0] * -3, probe.his) == 0

    def test_labels_without_meaning_are_not_told_apart(self):
        generator = np.random.default_rng(2)
        found = [log_odds.Probe(cloud(generator, 0, 60), np.arange(60) < 25, range(60)).auc for _ in range(8)]
        assert np.mean(found) == pytest.approx(0.5, abs=0.1)

    def test_groups_left_out_are_not_trained_on(self, two_clouds):
        probe, points = two_clouds
        out = ["his 0", "his 1"]
        (whole, first), *folds = probe.probes(out)
        assert set(probe.groups[whole]) == set(out)
        assert all(not (held & whole).any() for held, _ in folds)
        assert np.sum([held for held, _ in folds], axis=0).tolist() == (~whole).astype(int).tolist()
        for held, _ in folds:  # a group is on one side
            assert not set(probe.groups[held]) & set(probe.groups[~held & ~whole])
        alone = LogisticRegression(C=log_odds.PENALTY, class_weight="balanced", tol=1e-6, max_iter=2000)
        alone.fit(probe._coordinates(points)[4:], probe.his[4:])
        assert first.coef_ == pytest.approx(alone.coef_)
        with pytest.raises(UsageError, match="groups of works by the artist are left"):
            probe.probes([f"his {i}" for i in range(12)])

    def test_one_hand_is_told_from_the_other(self, many, encoder):
        stripes, dots = many
        odds = log_odds.ArtistOdds(encoder, stripes, dots, size=64)
        assert odds.probe.auc == 1
        mine, other = (odds.of(works[0].load(), sources=[works[0]], genre="portrait") for works in (stripes, dots))
        assert mine.value > 0 > other.value and other.place == 0 and mine.place > 0
        assert mine.works == 6 and mine.compared == "portrait" and mine.low <= mine.median <= mine.high
        assert odds.of(dots[0].load()).compared == "all genres"
        few = odds.of(stripes[0].load(), sources=[stripes[0]], genre="cityscape")  # none of which he painted
        assert few.value == mine.value and few.compared == "" and few.works == 0
        assert np.isnan([few.place, few.depth, few.low, few.median, few.high]).all()
        assert mine.depth == pytest.approx(2 * min(mine.place, 1 - mine.place))
        raw = odds.describe(stripes[1].load())
        assert raw == pytest.approx(
            odds._vectors(log_odds.embeddings.embed(stripes, encoder, "style", size=64).raw)[1], rel=1e-4
        )


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Twelve works of smooth noise of one kind, and a content of the same."""
    folder = tmp_path_factory.mktemp("noises")
    generator = torch.Generator().manual_seed(0)
    for i in range(13):
        coarse = torch.rand(1, 3, 20, 20, generator=generator)
        picture = F.interpolate(coarse, size=(128, 128), mode="bicubic").clamp(0, 1)
        images.save(picture, folder / f"{i:02}.png")
    works = ingest(folder).works
    return works[:12], works[12].load()


@pytest.fixture(scope="module")
def margins(noises, encoder):
    return margin_leak.MarginLeaks(encoder, noises[0], 128)


class TestMarginLeak:
    def test_a_planted_piece_is_found_where_it_lies_however_many_sources_there_are(self, margins, noises):
        works, content = noises
        planted = content.clone()
        planted[..., 48:, 48:] = works[3].load()[..., 16:96, 32:112]
        alone, among = (margins.measure(planted, sources, content=content) for sources in (works[3:4], works[:9]))
        assert alone.excess > 0.08 and alone.p < 0.1
        assert among.excess == pytest.approx(alone.excess, abs=0.03)  # the threshold is the same: only chance is added
        rows, columns = np.nonzero(alone.heat > 0.05)
        cell = 128 / len(alone.heat)
        assert ((rows + 1) * cell > 40).mean() > 0.9 and ((columns + 1) * cell > 40).mean() > 0.9
        assert margins.measure(planted, works[5:6], content=content).rate < 0.03  # unrelated sources

    def test_an_untouched_content_leaks_as_chance_would_have_it(self, margins, noises):
        works, content = noises
        for sources in (works[:1], works[:6], works):
            found = margins.measure(content, sources)
            assert abs(found.excess) < 0.06 and found.rate <= 0.12
            assert margins.measure(content, sources, content=content).rate == 0

    def test_own_works_exceed_the_threshold_in_a_twentieth_of_places(self, margins, noises):
        works, content = noises
        assert margins.measure(content, works).expected == pytest.approx(0.05, abs=0.005)
        few, many = margins.measure(content, works[:2]), margins.measure(content, works[:10])
        assert few.expected < many.expected < 0.06 and (few.groups, many.groups) == (2, 10)

    def test_the_margin_is_the_formula(self, margins, noises, encoder):
        grids = [leak.patch_grids(work.load(), encoder)[0].flatten(0, 1) for work in noises[0]]
        patches = leak.patch_grids(noises[1], encoder)[0].flatten(0, 1)
        _, label = np.unique([work.group for work in noises[0]], return_inverse=True)
        best = torch.stack([(patches @ grid.T).amax(dim=1) for grid in grids], dim=1)
        expected = best.sort(dim=1, descending=True).values
        group, margin = margins._margins(patches, 0)
        assert margin == pytest.approx((expected[:, 0] - expected[:, 1]).numpy(), abs=1e-5)
        assert group.tolist() == label[best.argmax(dim=1).numpy()].tolist()

    def test_sources_of_others_and_none_are_refused(self, margins, noises, corpus, encoder):
        with pytest.raises(UsageError, match="no work of this artist"):
            margins.measure(noises[1], corpus.works[:1])
        with pytest.raises(UsageError, match="no source"):
            margins.measure(noises[1], [])
        with pytest.raises(UsageError, match="three at least"):
            margin_leak.MarginLeaks(encoder, noises[0][:2], 96)

    def test_the_sources_of_a_target_hold_nine_tenths_of_it(self, noises):
        works = noises[0]
        target = targets.StyleTarget("blend", tuple(works[:3]), (0.7, 0.2, 0.1))
        assert leak.sources_of(target) == tuple(works[:2])


def stripes(degrees, wavelength, size=128):
    """Stripes that run at `degrees` anticlockwise from the horizontal."""
    y, x = torch.meshgrid(-torch.arange(size, dtype=torch.float64), torch.arange(size, dtype=torch.float64), indexing="ij")
    angle = np.deg2rad(degrees + 90)
    wave = torch.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength)
    return (0.5 + 0.15 * wave).expand(1, 3, size, size).float()


class TestStrokes:
    @pytest.mark.parametrize("degrees", [0, 15, 45, 90, 135, 165])
    def test_stripes_fill_the_bin_of_their_direction_and_are_coherent(self, degrees):
        found = strokes.strokes(stripes(degrees, 12), cells=1)
        assert found.direction[0].argmax(axis=1).tolist() == [degrees // 15] * 3
        assert found.direction[0, 1, degrees // 15] > 0.8 and found.coherence[0, 1, -1] > 0.9
        assert found.direction.sum(axis=2) == pytest.approx(1) and found.bands.sum(axis=1) == pytest.approx(1)

    @pytest.mark.parametrize(("place", "wavelength"), list(enumerate(strokes.WAVELENGTHS)))
    def test_stripes_have_most_energy_in_the_band_of_their_wavelength(self, place, wavelength):
        found = strokes.strokes(stripes(60, wavelength, 256), cells=1)
        assert found.bands[0].argmax() == place
        u = 4.0 ** (np.arange(4) - place)  # (wavelength of the band / that of the stripes)^2
        passed = (4 ** (-u / 3) - 4 ** (-4 * u / 3)) ** 2
        assert found.bands[0] == pytest.approx(passed / passed.sum(), abs=0.03)

    def test_distances_of_stripes(self):
        across, along, fine = stripes(0, 12), stripes(90, 12), stripes(0, 4)
        assert strokes.strokes_distance(across, across) == 0
        turned, finer = strokes.strokes_distance(across, along), strokes.strokes_distance(across, fine)
        assert turned == pytest.approx(1 / 3, abs=0.05)  # direction wholly, coherence and bands not at all
        assert 0.2 < finer < 0.45
        assert strokes.strokes_distance(across, stripes(90, 3)) > max(turned, finer)
        assert strokes.strokes_distance(along, across) == pytest.approx(turned, abs=1e-6)
        slightly = strokes.strokes_distance(across, stripes(5, 12))
        assert 0 < slightly < 0.5 * turned

    def test_colour_and_contrast_alone_make_no_difference_and_flatness_all(self):
        a = stripes(30, 8)
        flat = torch.full_like(a, 0.5)
        assert strokes.strokes_distance(flat, flat) == 0
        assert strokes.strokes_distance(a, flat) == pytest.approx(1)
        assert strokes.strokes_distance(a, 0.5 + 0.5 * (a - 0.5)) < 0.03
        noise = torch.rand(a.shape, generator=torch.Generator().manual_seed(0)).mean(dim=1, keepdim=True).expand_as(a)
        found = strokes.strokes(noise, cells=1)
        assert found.direction[0].max() < 0.13 and found.coherence[0, :, -1].max() < 0.2
        with pytest.raises(UsageError, match="at least 1"):
            strokes.strokes(a, cells=0)

    def test_an_average_of_hands_is_not_nearer_than_the_hand(self):
        """Other stripes of the same direction and wavelength are near; the mean of two directions is far from either."""
        hand, again, other = stripes(30, 8), stripes(30, 8).roll(3, dims=3), stripes(120, 8)
        assert strokes.strokes_distance(again, hand) < 0.1 < strokes.strokes_distance((again + other) / 2, hand)


class TestIntervalsOfPairs:
    def test_t_intervals_are_those_of_the_t_test(self):
        values = np.random.default_rng(3).normal(1, 2, 9)
        known = stats.ttest_1samp(values, 0).confidence_interval(0.9)
        found = t_interval([*values, np.nan], confidence=0.9)
        assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), known.low, known.high))

    def test_t_intervals_hold_the_truth_as_often_as_they_say(self):
        draws = np.random.default_rng(4).normal(size=(800, 3))
        held = [found.low <= 0 <= found.high for found in map(t_interval, draws)]
        assert np.mean(held) == pytest.approx(0.95, abs=0.025)

    def test_ratios_are_geometric_and_turn_over(self):
        first, second = np.array([2.0, 8.0, 4.0]), np.ones(3)
        one, other = ratio_interval(first, second), ratio_interval(second, first)
        assert one.mean == pytest.approx(4) and (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low))

    def test_intervals_of_too_few_values_are_refused(self):
        with pytest.raises(UsageError, match="2 values"):
            t_interval([1.0, 2.0, np.nan])
        with pytest.raises(UsageError, match="plain list"):
            t_interval(np.zeros((3, 3)))
        with pytest.raises(UsageError, match="above 0"):
            ratio_interval([1, 2, 0], [1, 1, 1])
