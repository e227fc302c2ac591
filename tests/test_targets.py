"""Which works, with which weights: formulas, limits of tau, retrieval by an index, familiarity, mixtures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import targets
from workbench.encoders import Encoder
from workbench.errors import UsageError
from workbench.retrieval import familiarity
from workbench.retrieval.familiarity import Fit
from workbench.retrieval.index import ExactIndex
from workbench.targets import selection

similarities = st.lists(st.floats(-1, 1, width=32), min_size=12, max_size=12).map(lambda values: np.round(values, 3))


class Mean(Encoder):
    """Sees nothing of a picture but its mean colour."""

    name, weights_sha256, channels, embedding_size = "mean", "0" * 64, {}, 64
    device = torch.device("cpu")

    def embed(self, image):
        return image.mean(dim=(2, 3))


class TestWeights:
    """w = softmax(similarity / tau), and what is left out."""

    @given(similarities, st.floats(0.01, 100))
    @settings(max_examples=50, deadline=None)
    def test_softmax_weights_sum_to_one_and_keep_the_order(self, s, tau):
        w = targets.softmax_weights(s, tau)
        assert w.sum() == pytest.approx(1)
        assert (np.diff(w[np.argsort(s)]) >= -1e-15).all()

    @given(similarities)
    @settings(max_examples=50, deadline=None)
    def test_the_limits_of_tau(self, s):
        assert targets.softmax_weights(s, 1e9) == pytest.approx(np.full(12, 1 / 12))
        best = targets.softmax_weights(s, 1e-9)
        assert best[s == s.max()].sum() == pytest.approx(1)

    @pytest.mark.parametrize("tau", [0, -0.1, float("nan"), float("inf")])
    def test_a_tau_that_makes_no_sense_is_refused(self, corpus, tau):
        with pytest.raises(UsageError, match="tau"):
            targets.blend(corpus, np.zeros(12), tau)

    def test_weights_are_sorted_and_negligible_ones_dropped(self, corpus):
        w = np.array([1e-6, 0.5, 0.2] + [0.0] * 9)
        target = targets.weighted("t", corpus, w)
        assert [work.name for work in target.works] == ["work-01.png", "work-02.png"]
        assert sum(target.weights) == pytest.approx(1)


class TestBlend:
    """From the nearest work to the whole oeuvre."""

    def test_blend_runs_from_nearest_to_whole(self, corpus):
        s = np.linspace(-0.4, 0.6, 12)
        assert targets.blend(corpus, s, 1e-6).works == targets.nearest(corpus, s).works
        far, whole = targets.blend(corpus, s, 1e6), targets.whole(corpus)
        assert set(far.works) == set(whole.works)
        assert far.weights == pytest.approx(whole.weights, abs=1e-6)
        numbers = [targets.blend(corpus, s, tau).effective_number for tau in (1e-6, 0.05, 0.2, 1, 1e6)]
        assert numbers[0] == pytest.approx(1) and numbers[-1] == pytest.approx(12)
        assert numbers == sorted(numbers)

    def test_weights_even_out_as_familiarity_fails(self, corpus):
        s = np.linspace(-0.4, 0.6, 12)
        by = {f: targets.blend(corpus, s, 0.05, fit=Fit(f, f / 2)) for f in (1, familiarity.UNFAMILIAR, 0.04, 0.02, 0.005, 0)}
        assert by[1].weights == by[familiarity.UNFAMILIAR].weights == targets.blend(corpus, s, 0.05).weights
        assert by[0].weights == pytest.approx([1 / 12] * 12)  # the whole oeuvre
        numbers = [target.effective_number for target in by.values()]
        assert numbers == sorted(numbers) and len(set(numbers)) == 5
        slightly = targets.blend(corpus, s, 0.05, fit=Fit(familiarity.UNFAMILIAR - 1e-6, 0.01))
        assert slightly.effective_number == pytest.approx(by[1].effective_number, rel=1e-3)  # no jump
        assert by[0.02].note.startswith("nothing here fits: the best match is worse than 98% of the artist's own")
        assert "60% of the weight is spread evenly" in by[0.02].note and "it fits: no match" in by[1].note
        assert targets.nearest(corpus, s, fit=Fit(0.01, 0.01)).weights == (1.0,)  # it has one painting whatever fits
        agreed = targets.blend(corpus, s, 0.05, fit=Fit(0.01, 0.5))
        assert agreed.weights == by[1].weights and agreed.misfit == ""  # far from all, but what is found agrees


class TestMix:
    """Several targets in one."""

    def test_several_choices_mix_by_their_shares(self, corpus):
        warm, cool = corpus.select(genre="portrait"), corpus.select(genre="landscape")
        target = targets.mix([(3, targets.whole(warm)), (1, targets.whole(cool))])
        assert sum(target.weights) == pytest.approx(1)
        weights = dict(zip((work.name for work in target.works), target.weights, strict=True))
        assert weights["work-00.png"] == pytest.approx(0.75 / 6) and weights["work-01.png"] == pytest.approx(0.25 / 6)
        both = targets.mix([(1, targets.single(corpus["work-00"])), (1, targets.whole(warm))])
        assert both.weights[0] == pytest.approx(0.5 + 0.5 / 6)
        with pytest.raises(UsageError, match="share"):
            targets.mix([(0, targets.whole(warm))])
        with pytest.raises(UsageError, match="different ways"):
            targets.mix([(1, targets.whole(warm)), (1, targets.whole(cool).combined("softmin"))])

    def test_a_mixture_says_which_part_does_not_fit(self, corpus):
        s = np.linspace(-0.4, 0.6, 12)
        parts = [targets.blend(corpus, s, fit=Fit(f, f)) for f in (0.8, 0.03)]
        target = targets.mix([(1, parts[0]), (1, replace(parts[1], name="other"))])
        assert target.note.startswith("50% blend and 50% other; other: nothing here fits") and target.note.count("fits") == 1


class TestSelection:
    """The works of a corpus for one content."""

    def test_a_selection_finds_the_hand_that_fits(self, corpus, encoder):
        content = corpus["work-00.png"].load(64)
        chosen = targets.Selection(corpus, content, encoder)
        assert chosen.nearest().works[0].name == "work-00.png"
        assert {work.genre for work in chosen.blend(0.02).works[:3]} == {"portrait"}
        cluster = chosen.cluster()
        assert {work.genre for work in cluster.works} == {"portrait"} and len(cluster.works) == 6
        assert len(chosen.whole().works) == 12
        assert chosen.single("work-03").works[0].title == "Work 3"
        with pytest.raises(UsageError):
            chosen.single("no such work at all")

    def test_targets_are_chosen_by_words(self, corpus, encoder):
        chosen = targets.Selection(corpus, corpus["work-00"].load(64), encoder)
        assert chosen.choose("blend/barycentre", tau=0.2).label == "blend-barycentre"
        assert chosen.choose("single", single="work-03").works[0].title == "Work 3"
        assert chosen.choose("whole") == chosen.whole()
        for words, says in (("blendd", "choose single"), ("blend/middle", "choose mean")):
            with pytest.raises(UsageError, match=says):
                chosen.choose(words)

    def test_works_are_weighted_by_hand(self, corpus, encoder):
        chosen = targets.Selection(corpus, corpus["work-00"].load(64), encoder)
        target = chosen.by_hand({"Work 3": 2, "work-05.png": 1, "work-03": 1})
        assert [work.name for work in target.works] == ["work-03.png", "work-05.png"]
        assert target.weights == pytest.approx((0.75, 0.25))
        slight = chosen.by_hand({"work-03": 5000, "work-05": 1})
        assert len(slight.works) == 2  # a person who names a work means it
        for bad in ({}, {"work-03": 0}, {"work-03": float("nan")}, {"no such work": 1}):
            with pytest.raises(UsageError):
                chosen.by_hand(bad)

    def test_weights_are_the_softmax_of_all_cosines_about_the_mean(self, corpus, encoder):
        """Computed here in one dense pass."""
        by_index = targets.Selection(corpus, corpus["work-05.png"].load(64), encoder)
        raw = by_index.space.raw.astype(np.float64)
        centred, query = raw - raw.mean(axis=0), by_index.described - raw.mean(axis=0)
        cosines = centred @ query / np.linalg.norm(centred, axis=1) / np.linalg.norm(query)
        assert by_index.similarities == pytest.approx(cosines, abs=1e-6)
        assert np.array_equal(by_index.similarities, by_index.space.similarities(by_index.described))
        assert by_index.nearest().works == (corpus[int(cosines.argmax())],)
        for tau in (0.02, 0.1, 3.0):
            dense = targets.blend(corpus, by_index.space.similarities(by_index.described), tau, fit=by_index.fit)
            found = by_index.blend(tau)
            assert found.works == dense.works and found.weights == pytest.approx(dense.weights, abs=1e-9)

    def test_weights_come_from_what_the_store_returns(self, corpus, encoder):
        """A store that misses two works, as an approximate one may: they have no weight, and the others their own."""

        class Forgetful(ExactIndex):
            def search(self, vector, k, where=None):
                forgotten = ("work-05.png", "work-07.png")
                return [match for match in super().search(vector, k, where) if match.metadata["file"] not in forgotten]

        content = corpus["work-05.png"].load(64)
        exact, forgetful = (targets.Selection(corpus, content, encoder, index=store) for store in (None, Forgetful()))
        assert exact.nearest().works == (corpus[5],) and forgetful.nearest().works != (corpus[5],)
        all_of_them = dict(zip(exact.blend(3.0).works, exact.blend(3.0).weights, strict=True))
        del all_of_them[corpus[5]], all_of_them[corpus[7]]
        left = {work: weight / sum(all_of_them.values()) for work, weight in all_of_them.items()}
        assert dict(zip(forgetful.blend(3.0).works, forgetful.blend(3.0).weights, strict=True)) == pytest.approx(left)

    def test_of_a_large_corpus_the_works_within_reach_have_the_weights_of_all(self, corpus, encoder, monkeypatch):
        """At a tau at which the works beyond the limit are negligible."""
        content = corpus["work-05.png"].load(64)
        everything = targets.Selection(corpus, content, encoder)
        few = np.sort(everything.similarities)[::-1]
        tau = (few[0] - few[5]) / 7  # the sixth weighs less than a thousandth of the heaviest: e^-7
        monkeypatch.setattr(selection, "EXHAUSTIVE", 11)
        monkeypatch.setattr(selection, "LIMIT", 5)
        within = targets.Selection(corpus, content, encoder)
        assert np.isinf(within.similarities).sum() == 7
        assert within.nearest() == everything.nearest() and within.cluster() == everything.cluster()
        assert within.blend(tau).works == everything.blend(tau).works
        assert within.blend(tau).weights == pytest.approx(everything.blend(tau).weights, abs=1e-9)
        assert within.familiarity == everything.familiarity
        assert len(within.blend(1e6).works) == 5
        evened = targets.blend(corpus, within.similarities, tau, fit=Fit(0, 0))
        assert evened.weights == pytest.approx([1 / 12] * 12)  # where nothing fits, works out of reach count as well

    def test_a_store_of_other_things_is_refused(self, corpus, encoder):
        store = ExactIndex()
        store.upsert(["no work"], np.ones((1, 3)))
        with pytest.raises(UsageError, match="no works"):
            targets.Selection(corpus, corpus[0].load(64), encoder, index=store).nearest()

    @pytest.mark.parametrize("shown", [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
    def test_works_that_show_the_same_count_alike(self, corpus, shown):
        """All lie at their mean: exactly there, or but for rounding."""

        class Constant(Mean):
            name = f"constant {shown}"
            identity = name

            def embed(self, image):
                return torch.tensor([shown] * len(image))

        chosen = targets.Selection(corpus, corpus[0].load(64), Constant(), retriever=Constant())
        assert np.ptp(chosen.similarities) == 0 and chosen.familiarity == 1
        assert chosen.blend().weights == pytest.approx([1 / 12] * 12) and chosen.nearest().works == (corpus[0],)

    def test_familiarity_is_a_rank_among_the_artists_own_matches(self, corpus, encoder):
        """The corpus is warm and cool pictures: a warm content fits, and a green one is further from all than they are."""
        warm, green = (
            torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 64, 64) for colour in ([0.8, 0.4, 0.2], [0.1, 1.0, 0.1])
        )
        fits, strange = (targets.Selection(corpus, content, encoder, retriever=Mean()) for content in (warm, green))
        groups = [work.group for work in corpus]
        own = familiarity.own_matches(fits.indexed, groups)
        for chosen in (fits, strange):
            found = familiarity.match(chosen.indexed, groups, chosen.described)
            assert chosen.familiarity == pytest.approx(1 - (own[:, 0] > found[0]).sum() / 13)
            assert chosen.fit.agreement == pytest.approx(1 - (own[:, 1] > found[1]).sum() / 13)
            for target in (chosen.nearest(), chosen.blend(), chosen.cluster()):
                assert target.familiarity == chosen.familiarity
        assert strange.familiarity < fits.familiarity and "it fits" in fits.blend().note
        assert fits.whole().familiarity is None and fits.single("work-03").familiarity is None

    def test_a_content_that_is_a_work_is_familiar_and_a_lone_series_compares_nothing(self, corpus, encoder):
        assert targets.Selection(corpus, corpus["work-03.png"].load(), encoder).familiarity == 1
        series = corpus.select(series="series-0")
        assert targets.Selection(series, torch.rand(1, 3, 64, 64), encoder).familiarity == 1

    def test_a_corpus_of_one_work_is_its_own_answer_to_everything(self, corpus, encoder):
        lone = corpus.select(title="Work 4")
        chosen = targets.Selection(lone, corpus["work-01.png"].load(64), encoder)
        for target in (chosen.nearest(), chosen.blend(), chosen.cluster(), chosen.regions(), chosen.whole()):
            assert [work.name for work in target.works] == ["work-04.png"]
            assert target.weights == pytest.approx((1.0,))
            pooled, typical = (
                targets.moments(target.combined(way), encoder, 48, ["relu2_1"]) for way in ("mean", "barycentre")
            )
            assert torch.equal(pooled["relu2_1"].second, typical["relu2_1"].second)
