"""Blind studies: what raters may see, whose answers count, and analyses that find what simulated raters were made of."""

import itertools
import json
import math
import re
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from scipy.special import expit

from workbench import cli
from workbench.errors import UsageError, WorkbenchError
from workbench.study import blind
from workbench.study.blind import (
    ARTIST,
    CONTENT,
    Answer,
    Ballot,
    Check,
    Comparison,
    Item,
    Plan,
    Rule,
    analysis,
)
from workbench.study.blind.page import TEMPLATE
from workbench.study.blind.pictures import read_table, unseen
from workbench.study.blind.tally import tally

METHODS = ("blend", "single", "regions", "random")
WORTH = dict(zip(METHODS, (0.9, 0.2, -0.3, -0.8), strict=True))
CONTENTS = {f"content-{c}": f"photographs/{c}.png" for c in range(40)}
REFERENCES = {artist: (f"works/{artist}-0.png", f"works/{artist}-1.png") for artist in ("monet", "morisot", "X")}
ONE = {ARTIST: "Which is more like {artist}?"}


def items(methods=METHODS, artists=("monet", "morisot"), contents=6, seeds=(0,)):
    return [
        Item(method, artist, f"content-{c}", seed, f"out/{method}/{artist}_{c}_{seed}.png")
        for method, artist, c, seed in itertools.product(methods, artists, range(contents), seeds)
    ]


def checks(count=4):
    return [Check("monet", f"content-{i % 2}", f"held/out-{i}.png", f"photographs/{i % 2}.png") for i in range(count)]


def made(given=None, **how):
    """A plan of `given`, or of all that `items` gives."""
    return blind.plan(items() if given is None else given, **{"contents": CONTENTS, "references": REFERENCES, **how})


def right(trial, question):
    """The answer of who attends to checks, and else always takes the left picture."""
    return trial.correct(question) or "left"


def by_worth(rng, worth=WORTH):
    """A rater who chooses by the model of Bradley and Terry."""

    def choose(trial, question):
        if trial.correct(question):
            return trial.correct(question)
        chance = expit(worth[trial.left.method] - worth[trial.right.method])
        return "left" if rng.random() < chance else "right"

    return choose


def answered(plan, choose=right, number=1, count=None, seconds=2.5, **how):
    """The ballot of a rater who is given version `number` and answers `count` questions as `choose` does."""
    version = plan.versions[number - 1]
    asked = [(trial, question) for trial in version.trials for question in version.questions]
    answers = [Answer(trial.id, question, choose(trial, question), seconds) for trial, question in asked[:count]]
    return Ballot(plan, number, **{"rater": f"{number:08x}", "answers": tuple(answers), **how})


def simulated(rng, raters=3, contents=12, each=8, worth=WORTH, by_content=0.0, by_rater=0.0):
    """Comparisons of raters and contents that differ by so much (standard deviations of log strengths)."""
    methods = list(worth)
    base = np.array([worth[method] for method in methods])
    of_content = rng.normal(0, by_content, (contents, len(methods)))
    of_rater = rng.normal(0, by_rater, (raters, len(methods)))
    found = []
    for r, c, _ in itertools.product(range(raters), range(contents), range(each)):
        i, j = rng.choice(len(methods), 2, replace=False)
        felt = base + of_content[c] + of_rater[r]
        score = float(rng.random() < expit(felt[i] - felt[j]))
        found.append(Comparison(f"rater-{r}", "monet", f"content-{c}", 0, methods[i], methods[j], score))
    return found


class TestPlan:
    def test_the_same_arguments_give_the_same_bytes_and_others_do_not(self, tmp_path):
        def written(name, **how):
            return made(**{"seed": 3, "trials": 50, "versions": 2, **how}).save(tmp_path / name).read_bytes()

        first = written("a")
        assert written("b") == first
        assert written("c", given=items()[::-1]) == first  # the order in which items are given means nothing
        others = [{"seed": 4}, {"trials": 51}, {"versions": 3}, {"rule": Rule(checks=0.7)}, {"files": {"a.png": "0" * 64}}]
        assert len({first, *(written(f"other-{i}", **change) for i, change in enumerate(others))}) == 6

    @pytest.mark.parametrize(
        "change",
        [{"rule": Rule(seconds=0.7)}, {"questions": ONE}, {"references": REFERENCES | {"monet": ("works/other.png",)}},
         {"contents": CONTENTS | {"content-1": "other.png"}}, {"files": {"photographs/0.png": "1" * 64}}, {"ties": True}],
    )  # fmt: skip
    def test_the_hash_stands_for_whatever_is_shown_and_for_whose_answers_count(self, change):
        assert made(**change).hash != made().hash

    def test_a_plan_is_read_back_as_it_was_saved(self, tmp_path):
        plan = made(versions=3, trials=40, ties=True, checks=checks(), rule=Rule(display=False), files={"ä.png": "0" * 64})
        again = Plan.load(plan.save(tmp_path / "plan.json"))
        assert again == plan
        assert again.hash == plan.hash
        assert plan.save(tmp_path / "plan.json").exists()  # the same plan once more does no harm

    def test_another_plan_is_not_written_over_one_that_may_have_answers(self, tmp_path):
        made().save(tmp_path / "plan.json")
        with pytest.raises(UsageError, match=r"plan\.json holds another plan"):
            made(seed=1).save(tmp_path / "plan.json")

    def test_a_plan_that_was_changed_or_is_none_is_refused(self, tmp_path):
        path = made().save(tmp_path / "plan.json")
        path.write_text(path.read_text().replace('"checks": 0.8', '"checks": 0.1'))  # the rule, after the answers are in
        with pytest.raises(WorkbenchError, match="changed after it was saved"):
            Plan.load(path)
        for text in ("[]", "{}", "not JSON", '"text"', '{"hash": "", "versions": [1], "format": 2}', "[" * 100_000):
            path.write_text(text)
            with pytest.raises(WorkbenchError, match=r"plan\.json is not the plan"):
                Plan.load(path)
        with pytest.raises(WorkbenchError, match=r"cannot read the plan .*absent\.json"):
            Plan.load(tmp_path / "absent.json")

    def test_a_trial_compares_two_methods_on_one_artist_content_and_seed(self):
        trials = made(items(seeds=(0, 1)), repeats=0).versions[0].trials
        assert len(trials) == 6 * 2 * 6 * 2  # pairs, artists, contents, seeds: all of them
        for trial in trials:
            assert trial.left.method != trial.right.method
            assert replace(trial.left, method="", picture="") == replace(trial.right, method="", picture="")
        assert len({frozenset((trial.left, trial.right)) for trial in trials}) == len(trials)

    @pytest.mark.parametrize("question", ["Is the blend better?", "Which is more SINGLE-minded?"])
    def test_a_question_that_names_a_method_is_refused(self, question):
        with pytest.raises(UsageError, match="names the method"):
            made(questions={CONTENT: question})

    def test_each_method_of_a_pair_is_on_the_left_half_the_time(self):
        trials = made(items(contents=7), repeats=0, checks=checks(5)).versions[0].trials
        left = Counter((trial.left.method, trial.right.method) for trial in trials if trial.compares)
        assert len(left) == 12
        assert all(abs(count - left[second, first]) <= 1 for (first, second), count in left.items())
        assert Counter(trial.genuine for trial in trials if trial.genuine) in ({"left": 2, "right": 3}, {"left": 3, "right": 2})

    def test_the_two_questions_of_a_check_have_opposite_answers(self):
        for trial in made(checks=checks()).versions[0].trials:
            if trial.genuine:
                assert getattr(trial, trial.correct(ARTIST)).picture.startswith("held/")
                assert getattr(trial, trial.correct(CONTENT)).picture.startswith("photographs/")
                assert not trial.compares
            else:
                assert trial.correct(ARTIST) is trial.correct(CONTENT) is None

    def test_sides_and_orders_differ_by_version_and_have_no_pattern(self):
        versions = made(versions=40, repeats=0).versions
        assert len({tuple(trial.left for trial in version.trials) for version in versions}) == 40
        assert Counter(version.questions for version in versions) == {(ARTIST, CONTENT): 20, (CONTENT, ARTIST): 20}
        first_left = sum(one.trials[0].left.method < one.trials[0].right.method for one in versions)
        same_as_before = [
            (a.left.method < a.right.method) == (b.left.method < b.right.method)
            for version in versions
            for a, b in itertools.pairwise(version.trials)
        ]
        assert stats.binomtest(first_left, 40).pvalue > 0.001
        assert abs(np.mean(same_as_before) - 0.5) < 0.03

    def test_repeats_come_later_with_sides_swapped(self):
        version = made(repeats=0.2).versions[0]
        place = {trial.id: i for i, trial in enumerate(version.trials)}
        repeats = [trial for trial in version.trials if trial.repeats]
        assert len(repeats) == round(0.2 * 72)
        assert len({trial.repeats for trial in repeats}) == len(repeats)
        for trial in repeats:
            first = version.by_id[trial.repeats]
            assert (trial.left, trial.right) == (first.right, first.left)
            assert place[trial.id] - place[first.id] >= blind.GAP

    def test_when_not_all_fits_pairs_and_contents_are_asked_about_equally(self):
        plan = made(items(contents=20), trials=100, checks=checks(6), versions=5)
        for version in plan.versions:
            assert len(version.trials) in (99, 100)  # one comparison more may bring a repeat more
            asked = [trial for trial in version.trials if trial.compares]
            pairs = Counter(frozenset((trial.left.method, trial.right.method)) for trial in asked)
            assert len(pairs) == 6
            assert max(pairs.values()) - min(pairs.values()) <= 1
            contents = Counter(trial.left.content for trial in asked)
            assert len(contents) == 20
            assert max(contents.values()) - min(contents.values()) <= 4
        asked = Counter(frozenset((trial.left, trial.right)) for one in plan.versions for trial in one.trials if trial.compares)
        assert len(asked) == 6 * 2 * 20  # versions complement each other
        assert max(asked.values()) - min(asked.values()) <= 1

    @settings(max_examples=40, deadline=None)
    @given(
        methods=st.lists(st.text("mnopqs", min_size=1, max_size=5), min_size=2, max_size=5, unique=True),
        contents=st.integers(1, 5),
        trials=st.none() | st.integers(4, 80),
        repeats=st.floats(0, 0.5),
        seed=st.integers(0, 2**40),
        known=st.integers(0, 3),
        versions=st.integers(1, 3),
    )
    def test_whatever_is_asked_for_a_plan_keeps_its_promises(self, methods, contents, trials, repeats, seed, known, versions):
        plan = made(
            items(methods, ("X",), contents),
            questions={ARTIST: "?", CONTENT: "!"},
            seed=seed,
            trials=trials,
            repeats=repeats,
            checks=[replace(check, artist="X") for check in checks(known)],
            versions=versions,
        )
        everything = math.comb(len(methods), 2) * contents
        assert len(plan.versions) == versions
        for version in plan.versions:
            asked = [trial for trial in version.trials if trial.compares]
            again = [trial for trial in version.trials if trial.repeats]
            assert len(version.by_id) == len(version.trials)
            assert len(asked) == everything if trials is None else len(version.trials) <= trials
            assert len(again) == round(repeats * len(asked))
            assert sum(trial.genuine is not None for trial in version.trials) == known
            place = {trial.id: i for i, trial in enumerate(version.trials)}
            assert all(place[trial.id] > place[trial.repeats] for trial in again)
        assert set(plan.methods) <= set(methods) and list(plan.methods) == sorted(plan.methods)
        assert trials is not None or len(plan.methods) == len(methods)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"given": items(("blend",))}, "nothing to compare"),
            ({"given": []}, "nothing to compare"),
            ({"given": items() + items()[:1]}, "two items are content-0 after monet by blend, seed 0"),
            (
                {"given": items(("a1", "b1")) + items(("c1", "d1"), contents=1, seeds=(9,))},
                "no items compare a1, b1 with c1, d1",
            ),
            ({"repeats": 0.6}, "repeats=0.6"),
            ({"versions": 0}, "versions=0"),
            ({"trials": 4, "checks": checks(4)}, "trials=4 leaves no room"),
            ({"contents": {}}, "no picture of the content 'content-0'"),
            ({"references": {"monet": ("a.png",)}}, "no work by 'morisot'"),
            ({"questions": {}}, "asks about"),
            ({"questions": {"hang": "Which would you hang?"}}, "asks about"),
        ],
    )
    def test_a_plan_that_cannot_be_is_refused(self, change, message):
        with pytest.raises(UsageError, match=message):
            made(**change)

    @pytest.mark.parametrize("wrong", [{"checks": 1.1}, {"answered": -1}, {"seconds": math.inf}, {"seconds": -1}])
    def test_a_rule_that_cannot_be_is_refused(self, wrong):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Rule(**wrong)


@pytest.fixture(scope="module")
def plan():
    return made(items(contents=2), checks=checks(2), versions=3)


def sent(ballot, **change):
    """What the page writes for `ballot`."""
    record = {
        "format": 1,
        "plan": ballot.plan.hash,
        "version": ballot.number,
        "rater": ballot.rater,
        "display": {"dark": ballot.dark, "light": ballot.light, "width": 480, "theme": "dark"},
        "answers": [asdict(answer) for answer in ballot.answers],
    }
    return json.dumps(record | change) + "\n"


# Values that a damaged or forged file may hold anywhere.
STRANGE = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([]) | st.just({}) | st.just(10**400)
)


class TestBallot:
    def test_what_a_rater_sends_is_read_as_it_was_answered(self, tmp_path, plan):
        ballot = answered(plan, number=2)
        (tmp_path / "a.json").write_text(sent(ballot), encoding="utf-8-sig")  # as some mail programs save it
        assert blind.read(tmp_path / "a.json", plan) == ballot
        assert ballot.fault() == ""

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_a_changed_file_is_read_as_one_that_could_be_or_refused_in_one_line(self, tmp_path, plan, data):
        record = json.loads(sent(answered(plan, count=4)))
        places = [(record, key) for key in record] + [(record["display"], key) for key in ("dark", "light")]
        places += [(answer, key) for answer in record["answers"] for key in answer]
        where, key = data.draw(st.sampled_from(places))
        if data.draw(st.booleans()):
            del where[key]
        else:
            where[key] = data.draw(STRANGE)
        self.read_or_refused(tmp_path / "a.json", json.dumps(record).encode(), plan)

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(start=st.integers(0, 900), length=st.integers(0, 900), put=st.binary(max_size=6))
    def test_a_damaged_file_is_refused_in_one_line(self, tmp_path, plan, start, length, put):
        text = sent(answered(plan, count=4)).encode()
        self.read_or_refused(tmp_path / "a.json", text[:start] + put + text[start + length :], plan)

    def read_or_refused(self, path, text, plan):
        path.write_bytes(text)
        try:
            ballot = blind.read(path, plan)
        except WorkbenchError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert {answer.side for answer in ballot.answers} <= {"left", "right"} and len(ballot.answers) <= 4
            assert all(math.isfinite(answer.seconds) and answer.trial in ballot.version.by_id for answer in ballot.answers)
            assert ballot.plan.hash == plan.hash and re.fullmatch("[0-9a-f]{8}", ballot.rater)

    def test_answers_to_another_plan_are_refused(self, tmp_path, plan):
        other = made(items(contents=2), checks=checks(2), versions=3, rule=Rule(checks=0.1))
        (tmp_path / "a.json").write_text(sent(answered(other)))
        with pytest.raises(WorkbenchError, match=f"answers another plan \\({other.hash[:12]}, not {plan.hash[:12]}\\)"):
            blind.read(tmp_path / "a.json", plan)
        with pytest.raises(WorkbenchError, match=r"cannot read the answers .*absent\.json"):
            blind.read(tmp_path / "absent.json", plan)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"trial": "x"}, "no trial 'x'"),
            ({"question": "hang"}, "no question 'hang'"),
            ({"side": "tie"}, "left or right$"),
            ({"seconds": math.nan}, "seconds nan"),
            ({"seconds": -1.0}, "seconds -1"),
        ],
    )
    def test_only_what_can_be_is_an_answer(self, plan, change, message):
        ballot = answered(plan, count=2)
        with pytest.raises(UsageError, match=message):
            replace(ballot, answers=(ballot.answers[0], replace(ballot.answers[1], **change)))

    def test_a_question_is_answered_once_and_versions_are_not_mixed(self, plan):
        ballot = answered(plan, count=2)
        with pytest.raises(UsageError, match="answered twice"):
            replace(ballot, answers=ballot.answers + ballot.answers[:1])
        with pytest.raises(UsageError, match="version 2 has no trial"):
            replace(ballot, number=2)
        with pytest.raises(UsageError, match="versions 1 to 3"):
            replace(ballot, number=4, answers=())

    def test_the_rule_says_who_counts_whatever_they_answered_about_methods(self, plan):
        def always_left(trial, question):
            return "left"

        assert answered(plan).fault() == ""
        assert "of 4 checks answered rightly, less than 80%" in answered(plan, always_left).fault()
        assert "questions answered, less than 50%" in answered(plan, count=3).fault()
        assert "0 of" in answered(plan, count=0).fault()
        assert "0.2 s for an answer (median), less than 0.5 s" in answered(plan, seconds=0.2).fault()
        assert answered(plan, dark=False).fault() == "the dark digit of the display check was not read"
        assert answered(plan, light=False).fault() == "the light digit of the display check was not read"
        lenient = made(items(contents=2), checks=checks(2), rule=Rule(0, 0, 0, False))
        assert answered(lenient, always_left, count=1, seconds=0, dark=False).fault() == ""
        assert blind.comparisons([answered(plan, always_left)]) == []

    def test_who_always_takes_one_side_fails_half_the_checks(self):
        plan = made(checks=checks(6))
        for side in ("left", "right"):
            assert sum(answered(plan, lambda trial, question, side=side: side).checks) == 6

    def test_of_a_rater_who_sends_again_the_fullest_file_counts(self, plan):
        early, late = answered(plan, count=5), answered(plan)
        assert blind.each_once([early, late]) == blind.each_once([late, early]) == [late]
        assert blind.each_once([late, late, answered(plan, number=2)]) == [late, answered(plan, number=2)]
        other = answered(plan, lambda trial, question: "right", count=5, source="b.json")
        with pytest.raises(WorkbenchError, match=r"a\.json and b\.json are by one rater and differ"):
            blind.each_once([replace(late, source="a.json"), other])


class TestReliability:
    def test_who_knows_what_they_see_is_consistent_and_unbiased(self):
        plan = made(checks=checks(6))

        def choose(trial, question):
            return trial.correct(question) or ("left" if WORTH[trial.left.method] > WORTH[trial.right.method] else "right")

        report = blind.reliability([answered(plan, choose)])[0]
        asked = 2 * len(plan.versions[0].trials)
        assert (report.rater, report.answered, report.planned, report.seconds) == ("00000001", asked, asked, 2.5)
        assert report.consistent.mean == report.checks.mean == 1
        assert (report.consistent.total, report.checks.total) == (22, 12)
        assert report.bias > 0.05

    def test_who_prefers_a_side_is_found_out_and_others_mostly_are_not(self):
        rng = np.random.default_rng(5)

        def prefers_left(trial, question):
            return "left" if rng.random() < 0.4 else by_worth(rng)(trial, question)

        plan = made(questions=ONE, checks=checks(), versions=20)
        biased = [answered(plan, prefers_left, number) for number in range(1, 21)]
        fair = [answered(plan, by_worth(rng), number) for number in range(1, 21)]
        assert sum(report.bias < 0.05 for report in blind.reliability(biased)) >= 16
        assert sum(report.bias < 0.05 for report in blind.reliability(fair)) <= 3
        assert all(report.left.mean > 0.5 for report in blind.reliability(biased))
        always = answered(plan, lambda trial, question: "left")
        assert blind.reliability([always])[0].consistent.mean == 0
        assert blind.reliability([always])[0].bias < 1e-20

    def test_who_clicks_at_random_agrees_with_themselves_half_the_time(self):
        rng = np.random.default_rng(6)
        plan = made(questions=ONE, repeats=0.5, checks=checks(), versions=8)
        ballots = [answered(plan, lambda *_: rng.choice(["left", "right"]).item(), number) for number in range(1, 9)]
        reports = blind.reliability(ballots)
        assert all(report.consistent.total == 36 for report in reports)
        assert abs(np.mean([report.consistent.mean for report in reports]) - 0.5) < 0.09  # three standard errors
        assert sum(report.consistent.low <= 0.5 <= report.consistent.high for report in reports) >= 6
        assert 0.2 < np.mean([report.checks.mean for report in reports]) < 0.8

    def test_before_any_answer_the_report_says_that_nothing_is_known(self, plan):
        report = blind.reliability([answered(plan, count=0)])[0]
        assert (report.answered, report.consistent.total, report.left.total, report.checks.total) == (0, 0, 0, 0)
        assert math.isnan(report.bias)
        assert math.isnan(report.seconds)

    def test_a_tie_twice_is_consistent_and_has_no_side(self):
        plan = made(ties=True)
        ballot = answered(plan, lambda *_: "tie")
        report = blind.reliability([ballot])[0]
        assert (report.ties, report.left.total, report.consistent.mean) == (len(ballot.answers), 0, 1)
        found = blind.strengths(blind.comparisons([ballot]), resamples=50)
        assert np.allclose(found.values, 0)


def two(wins, losses, raters=1):
    """So many comparisons of a against b, each on a content of its own."""
    return [
        Comparison(f"rater-{i % raters}", "monet", f"content-{i}", 0, "a", "b", float(i < wins)) for i in range(wins + losses)
    ]


class TestStrengths:
    def test_repeats_and_checks_do_not_count_for_the_methods(self):
        plan = made(repeats=0.3, checks=checks())
        ballot = answered(plan, by_worth(np.random.default_rng(0)))
        for question in (ARTIST, CONTENT):
            found = blind.comparisons([ballot], question)
            assert len(found) == 72
            assert {comparison.first for comparison in found} <= set(METHODS)

    def test_each_question_is_analysed_by_its_own_answers(self):
        plan = made(items(("a1", "b1"), ("X",)))
        ballot = answered(
            plan, lambda trial, question: "left" if (trial.left.method == "a1") == (question == ARTIST) else "right"
        )
        assert blind.strengths(blind.comparisons([ballot]), resamples=20).methods == ("a1", "b1")
        assert blind.strengths(blind.comparisons([ballot], CONTENT), resamples=20).methods == ("b1", "a1")

    def test_simulated_raters_are_recovered_through_plan_and_ballot(self):
        rng = np.random.default_rng(1)
        plan = made(items(contents=15), questions=ONE, trials=150, versions=3)
        ballots = [answered(plan, by_worth(rng), number) for number in (1, 2, 3)]
        found = blind.strengths(blind.comparisons(ballots))
        assert found.methods == METHODS  # the strongest first
        assert found.values.mean() == pytest.approx(0, abs=1e-12)
        for method, worth in WORTH.items():
            assert found[method].low < worth < found[method].high
            assert found[method].high - found[method].low < 1.2
        best = found.difference("blend", "random")
        assert best.low > 0
        assert found.probability("blend", "random").mean == pytest.approx(expit(best.mean))

    @pytest.mark.parametrize(("raters", "by_content", "by_rater"), [(1, 0, 0), (3, 0, 0), (3, 0.7, 0), (6, 0.5, 0.5)])
    def test_intervals_cover_what_holds_for_all_contents_and_raters(self, raters, by_content, by_rater):
        rng = np.random.default_rng(2)
        spread = rng.normal(0, math.hypot(by_content, by_rater), (20_000, 4))
        felt = np.array(list(WORTH.values())) + spread
        wins = expit(felt[:, :, None] - felt[:, None, :]).mean(0) * (1 - np.eye(4))
        truth = dict(zip(WORTH, analysis._fitted(wins), strict=True))  # of endlessly many contents and raters
        covered = []
        for _ in range(80):
            found = blind.strengths(simulated(rng, raters, by_content=by_content, by_rater=by_rater), resamples=100)
            for pair in itertools.combinations(METHODS, 2):
                estimate = found.difference(*pair)
                covered.append(estimate.low <= truth[pair[0]] - truth[pair[1]] <= estimate.high)
        assert 0.91 <= np.mean(covered) <= 0.99

    def test_of_two_methods_strengths_and_interval_are_known_in_closed_form(self):
        wins, losses = 130, 70
        found = blind.strengths(two(wins, losses), resamples=4000)
        difference = found.difference("a", "b")
        assert difference.mean == pytest.approx(math.log((wins + 0.5) / (losses + 0.5)))
        assert found["a"].mean == pytest.approx(difference.mean / 2)
        half = stats.t.ppf(0.975, 199) * math.sqrt(1 / (wins + 0.5) + 1 / (losses + 0.5))
        assert difference.high - difference.mean == pytest.approx(half, rel=0.05)
        assert difference.mean - difference.low == pytest.approx(half, rel=0.05)

    def test_chance_in_single_answers_is_counted_once_however_many_raters_gave_them(self):
        rng = np.random.default_rng(3)
        crossed = [
            Comparison(f"rater-{r}", "monet", f"content-{c}", 0, "a", "b", float(rng.random() < 0.6))
            for r in range(10)
            for c in range(40)
        ]
        wins = sum(comparison.score for comparison in crossed)
        estimate = blind.strengths(crossed, resamples=2000).difference("a", "b")
        half = stats.t.ppf(0.975, 39) * math.sqrt(1 / wins + 1 / (400 - wins))
        assert estimate.high - estimate.mean == pytest.approx(half, rel=0.3)

    def test_answers_to_few_contents_say_less_than_as_many_to_many(self):
        def width(contents):
            rng = np.random.default_rng(4)
            found = [
                blind.strengths(simulated(rng, 1, contents, 96 // contents, by_content=1.0), resamples=100) for _ in range(10)
            ]
            return np.mean([one["blend"].high - one["blend"].low for one in found])

        assert width(6) > 1.3 * width(48)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=6, max_size=6), st.floats(0.05, 3))
    def test_strengths_are_where_expected_wins_are_those_observed(self, counts, prior):
        methods = "abcd"
        found = []
        for (first, second), (won, lost) in zip(itertools.combinations(methods, 2), counts, strict=True):
            found += [Comparison("r", "x", "c", 0, first, second, 1.0)] * won + [
                Comparison("r", "x", "c", 0, first, second, 0.0)
            ] * lost
        fitted = blind.strengths(found, resamples=2, prior=prior)
        _, rates, games = blind.win_rates(found)
        values = np.array([fitted[method].mean for method in methods])
        observed = np.nansum(rates * games, axis=1) + 3 * prior * 3 / 12
        expected = ((games + prior * 3 / 6 * (1 - np.eye(4))) * expit(values[:, None] - values)).sum(1)
        assert np.allclose(observed, expected, atol=1e-6)
        assert values.mean() == pytest.approx(0, abs=1e-9)

    def test_the_fit_agrees_with_minorisation(self):
        wins = np.random.default_rng(0).integers(1, 30, (5, 5)) * (1 - np.eye(5))
        strength = np.ones(5)
        for _ in range(2000):  # Hunter 2004, eq. 3
            strength = wins.sum(1) / ((wins + wins.T) / (strength[:, None] + strength)).sum(1)
        values = np.log(strength)
        assert np.allclose(analysis._fitted(wins), values - values.mean())

    def test_the_fit_converges_where_full_newton_steps_do_not(self):
        wins = np.full((6, 6), 0.01) - 0.01 * np.eye(6)
        wins[0, 4], wins[1, 3], wins[4, 2], wins[5, 3] = 186, 225, 827, 657
        wins[1, 0], wins[1, 5], wins[2, 5], wins[3, 5] = 5, 3, 3, 2
        values = analysis._fitted(wins)
        expected = ((wins + wins.T) * expit(values[:, None] - values)).sum(1)
        assert np.allclose(wins.sum(1), expected, atol=1e-5)

    def test_who_always_wins_stays_finite(self):
        found = blind.strengths(two(400, 0), resamples=100)
        assert found.difference("a", "b").mean == pytest.approx(math.log(400.5 / 0.5))
        chain = [Comparison("r", "x", f"c{i}", 0, a, b, 1.0) for i in range(50) for a, b in itertools.pairwise("abcdefgh")]
        found = blind.strengths(chain, resamples=20)
        assert found.methods == tuple("abcdefgh")
        assert np.isfinite(found.values).all()

    def test_a_tie_is_half_a_win_for_both(self):
        decided = two(10, 10)
        tied = [replace(comparison, score=0.5) for comparison in decided]
        assert np.allclose(blind.strengths(tied).values, blind.strengths(decided).values)
        _, rates, counts = blind.win_rates(tied)
        assert rates[0, 1] == rates[1, 0] == 0.5
        assert counts[0, 1] == 20

    def test_win_rates_are_shares_of_the_comparisons_made(self):
        found = [*two(3, 1), Comparison("r", "x", "c", 0, "c", "a", 1.0)]
        methods, rates, counts = blind.win_rates(found)
        assert methods == ("a", "b", "c")
        assert counts.tolist() == [[0, 4, 1], [4, 0, 0], [1, 0, 0]]
        assert rates[0].tolist()[1:] == [0.75, 0]
        assert rates[2, 0] == 1
        assert np.isnan(rates[1, 2])
        assert np.isnan(np.diag(rates)).all()
        assert [len(part) for part in blind.win_rates([])] == [0, 0, 0]

    def test_what_the_answers_cannot_tell_is_said(self):
        with pytest.raises(WorkbenchError, match="no comparison is answered yet"):
            blind.strengths([])
        apart = two(3, 3) + [replace(comparison, first="c", second="d") for comparison in two(2, 2)]
        with pytest.raises(WorkbenchError, match="no answer compares a, b with c, d"):
            blind.strengths(apart)
        single = blind.strengths([replace(comparison, content="c") for comparison in two(5, 3, raters=3)], resamples=10)
        assert math.isfinite(single["a"].mean)
        assert math.isnan(single["a"].low)
        assert math.isnan(single["a"].high)
        with pytest.raises(UsageError, match="no comparison has the method 'e'"):
            single.difference("a", "e")
        for wrong in ({"prior": 0}, {"level": 1}, {"resamples": 1}):
            with pytest.raises(UsageError, match=next(iter(wrong))):
                blind.strengths(two(3, 3), **wrong)

    def test_the_same_outcomes_give_the_same_intervals(self):
        found = simulated(np.random.default_rng(7), contents=5)
        first, second = blind.strengths(found, resamples=50), blind.strengths(found[::-1], resamples=50)
        for method in METHODS:
            assert asdict(first[method]) == pytest.approx(asdict(second[method]))

    def test_ballots_that_do_not_belong_together_are_refused(self, plan):
        ballot = answered(plan)
        with pytest.raises(UsageError, match="by one rater"):
            blind.comparisons([ballot, ballot])
        with pytest.raises(UsageError, match="different plans"):
            blind.comparisons([ballot, answered(made(), number=1, rater="00000009")])


class TestPower:
    def test_of_even_odds_few_studies_find_a_winner(self):
        (one,) = blind.power([10], [20], share=0.5, studies=100)
        assert one.found.mean < 0.08  # 0.025 is due; few raters make it more

    def test_more_raters_and_more_contents_find_more_and_contents_limit_it(self):
        found = {(one.raters, one.contents): one.found.mean for one in blind.power([5, 20], [9, 40], studies=60)}
        assert found[5, 9] < found[20, 40] and found[5, 9] < found[5, 40] and found[20, 9] < found[20, 40]
        assert 0.7 < found[20, 40] < 0.97 and found[20, 9] < 0.55

    @pytest.mark.parametrize(
        "wrong",
        [
            {"share": 1.0},
            {"by_rater": -1},
            {"studies": 0},
            {"raters": [0]},
            {"contents": [1]},
            {"raters": []},
            {"contents": [10**400]},
        ],
    )
    def test_what_cannot_be_is_refused(self, wrong):
        with pytest.raises(UsageError):
            blind.power(**{"raters": [2], "contents": [2], **wrong})


class TestTally:
    def test_nothing_is_said_where_nobody_counts(self, plan):
        for ballots in ([], [answered(plan, count=1)]):
            text = "\n".join(tally(plan, ballots))
            assert "nothing is said about the methods" in text
            assert not any(method in text for method in METHODS)

    def test_what_is_found_stands_beside_who_does_not_count_and_why(self):
        plan = made(checks=checks(), versions=3)
        rng = np.random.default_rng(2)
        idle = answered(plan, lambda *_: "left", number=3)
        lines = tally(plan, [*(answered(plan, by_worth(rng), number) for number in (1, 2)), idle])
        text = "\n".join(lines)
        assert "3 raters, of whom 2 count" in text and f"  {idle.rater} does not count: 4 of 8 checks" in text
        assert str(plan.rule) in text
        for question in plan.questions.values():
            assert lines[lines.index(question) + 1] == "  144 comparisons, 2 raters, 6 contents"
        assert "monet:" in lines and "morisot:" in lines
        assert sum(" over " in line for line in lines) == 6 * 2 * 3  # pairs, questions, all and both artists

    def test_a_pair_that_nobody_compared_is_not_mentioned(self, plan):
        given = [*items(("a1", "b1"), contents=3), *items(("b1", "c1"), contents=3, seeds=(1,))]
        lines = tally(plan := made(given), [answered(plan)])
        pairs = [set(re.findall(r"[abc]1", line)) for line in lines if " over " in line]
        assert {"a1", "b1"} in pairs and {"b1", "c1"} in pairs and {"a1", "c1"} not in pairs

    def test_of_a_single_content_no_interval_is_given(self):
        plan = made(items(("a1", "b1"), ("X",), 1))
        text = "\n".join(tally(plan, [answered(plan)]))
        assert "a single content gives no interval" in text and not re.search(r"\(.* to ", text.partition("comparison")[2])


@pytest.fixture
def table(tmp_path, two_styles):
    """A table of two methods on three contents, made from the first four works of `two_styles`, and the pictures of it."""
    rows = ["artist,content,method,file,sources"]
    for c, (method, tint) in itertools.product(range(3), (("gatys", 90), ("blend", 160), ("content", 220))):
        name = f"{method}/{c}.png"
        (tmp_path / method).mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (tint, 40 * c, 80)).save(tmp_path / name)
        rows.append(f"{two_styles.name},scene-{c},{method},{name},{'' if method == 'content' else 'work-00.png|work-03.png'}")
    path = tmp_path / "pictures.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


class TestPictures:
    def test_no_work_that_a_method_saw_is_shown_nor_any_of_its_series(self, table, corpus):
        read = read_table(table)
        assert len(read.items) == 6 and set(read.contents) == {"scene-0", "scene-1", "scene-2"}
        held = unseen(corpus, read.sources[corpus.name])
        assert [work.name for work in held] == [f"work-{i:02}.png" for i in range(4, 12)]
        shown = blind.gather(read.items, read.contents, {corpus.name: held})
        genuine = {check.genuine for check in shown.checks}
        assert len(shown.references[corpus.name]) == 6 and len(shown.checks) == 6 and len(genuine) == 2
        assert genuine.isdisjoint(shown.references[corpus.name])
        assert all(check.decoy == read.contents[check.content] for check in shown.checks)
        plan = blind.plan(**vars(shown))
        assert set(plan.files) >= {item.picture for item in read.items} and all(len(sha) == 64 for sha in plan.files.values())

    def test_a_picture_that_changes_changes_the_plan(self, table, corpus):
        def hashed():
            read = read_table(table)
            return blind.plan(**vars(blind.gather(read.items, read.contents, {corpus.name: corpus.works}))).hash

        first = hashed()
        assert hashed() == first
        Image.new("RGB", (64, 48)).save(table.parent / "blend/1.png")
        assert hashed() != first

    def test_too_few_unseen_works_are_refused(self, table, corpus):
        read = read_table(table)
        with pytest.raises(UsageError, match="6 works are shown beside the pairs and another in the checks, and only 6 were"):
            blind.gather(read.items, read.contents, {corpus.name: corpus.works[:6]})
        assert len(blind.gather(read.items, read.contents, {corpus.name: corpus.works[:6]}, checks=0).checks) == 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("content,method", "content,painter"), "no column 'method'"),
            (("artist,", "painter,"), "no column 'artist'"),
            (("gatys/0.png", ""), "line 2: artist, content, method or file is empty"),
            (("sources\n", "seed\n"), "line 2: .* the seed is no whole number"),
        ],
    )
    def test_a_table_that_is_none_is_refused_in_one_line(self, table, change, message):
        table.write_text(table.read_text().replace(*change, 1))
        with pytest.raises(WorkbenchError, match=message) as caught:
            read_table(table)
        assert "\n" not in str(caught.value)

    def test_files_that_cannot_be_read_are_named(self, table, corpus, tmp_path):
        with pytest.raises(WorkbenchError, match=r"cannot read the table .*absent"):
            read_table(tmp_path / "absent.csv")
        with pytest.raises(UsageError, match=r"by the method regions"):
            read_table(table, ["gatys", "regions"])
        read = read_table(table)
        (tmp_path / "gatys/1.png").unlink()
        with pytest.raises(WorkbenchError, match=r"cannot read .*1\.png"):
            blind.gather(read.items, read.contents, {corpus.name: corpus.works})


# Words that a target, a method or a network of the workbench goes by.
NAMES = "single nearest blend cluster regions whole random wrong neighbours gram gatys strokes embedded lite0 pix2pix cyclegan"


class TestPage:
    @pytest.fixture
    def study(self, table, corpus):
        read = read_table(table)
        return blind.plan(**vars(blind.gather(read.items, read.contents, {corpus.name: corpus.works[4:]})), versions=3)

    def test_it_names_no_method_no_file_and_no_server(self, study, table):
        text = blind.page(study, contact="Ada, ada@example.org")
        data = json.loads(re.search(r'id="study">(.*?)</script>', text)[1])
        pictures = data.pop("pictures")
        said = TEMPLATE.read_text() + json.dumps(data)
        assert not any(re.search(rf"\b{name}\b", said, re.IGNORECASE) for name in (*NAMES.split(), "scene", "work-0"))
        assert str(table.parent) not in text and "://" not in text and "src=" not in text and "href=" not in text
        assert "import " not in text and "url(" not in text and "default-src 'none'" in text
        assert all(re.fullmatch(r"p\d+", code) for code in pictures)
        assert "Ada, ada@example.org" in text and study.hash in text

    def test_every_trial_is_in_it_with_its_pictures(self, study):
        data = json.loads(re.search(r'id="study">(.*?)</script>', blind.page(study))[1])
        assert [row[0] for one in data["versions"] for row in one["trials"]] == [
            trial.id for one in study.versions for trial in one.trials
        ]
        shown = {code for one in data["versions"] for row in one["trials"] for code in row[3:]}
        shown |= {code for row in data["references"] for code in row} | set(data["contents"])
        assert shown == set(data["pictures"])
        assert [len(row) for row in data["references"]] == [6]
        assert blind.page(study) == blind.page(study)

    def test_pictures_carry_no_metadata_and_have_the_size_asked_for(self, study, table):
        from base64 import b64decode
        from io import BytesIO

        from PIL.PngImagePlugin import PngInfo

        told = PngInfo()
        told.add_text("method", "gatys")
        Image.new("RGB", (90, 40), "red").save(table.parent / "gatys/0.png", pnginfo=told)
        data = json.loads(re.search(r'id="study">(.*?)</script>', blind.page(study, size=32))[1])
        for code in data["pictures"].values():
            picture = Image.open(BytesIO(b64decode(code)))
            assert picture.format == "JPEG" and max(picture.size) == 32 and not picture.getexif()
            assert b"gatys" not in b64decode(code)

    def test_a_text_with_a_name_and_a_file_too_large_are_refused(self, study):
        with pytest.raises(UsageError, match="names the method 'blend'"):
            blind.page(study, title="Is Blend better?")
        with pytest.raises(UsageError, match=r"the page would have .* MB, more than 0.01: give fewer"):
            blind.page(study, limit=10_000)

    def test_text_cannot_end_the_data(self, study):
        text = blind.page(study, contact="</script><b>Ada")
        assert text.count("</script>") == 2 and "<b>" not in text


class TestCommands:
    """From a table to the page and the key, and from answers to what they say."""

    @pytest.fixture
    def ask(self, table, two_styles, tmp_path, capsys):
        def ask(*words):
            argv = [
                "blind",
                table,
                "--corpora",
                two_styles,
                "--contact",
                "Ada",
                "--versions",
                "2",
                "-o",
                tmp_path / "study.html",
            ]
            status = cli.main(["study", *map(str, words if words[0] == "tally" else [*argv, *words[1:]])])
            seen = capsys.readouterr()
            return status, seen.out, seen.err

        return ask

    def test_a_study_is_written_answered_and_tallied(self, ask, tmp_path):
        status, out, err = ask("blind", "--ties", "--least-checks", "0.9")
        assert status == 0 and "workbench: " not in err  # progress may stand there
        plan = Plan.load(tmp_path / "study.key.json")
        assert (len(plan.versions), plan.ties, plan.rule.checks, plan.methods) == (2, True, 0.9, ("blend", "gatys"))
        assert plan.hash in (tmp_path / "study.html").read_text() and plan.hash[:12] in out
        assert ask("tally", tmp_path, "--key", tmp_path / "study.key.json")[1].endswith("nothing is said about the methods\n")
        for number in (1, 2):
            (tmp_path / f"answers-{number}.json").write_text(sent(answered(plan, number=number)))
        status, out, err = ask("tally", tmp_path, "--key", tmp_path / "study.key.json")
        assert (status, err) == (0, "") and "2 raters, of whom 2 count" in out and " over " in out
        (tmp_path / "answers-3.json").write_text("{")
        status, out, err = ask("tally", tmp_path, "--key", tmp_path / "study.key.json")
        assert (status, out) == (
            1,
            "",
        ) and err == f"workbench: {tmp_path / 'answers-3.json'} is no file of answers, or is damaged: ask for it again\n"

    def test_the_same_study_may_be_written_again_and_another_not_over_it(self, ask, tmp_path):
        assert ask("blind")[0] == 0
        page = (tmp_path / "study.html").read_bytes()
        assert ask("blind")[0] == 0 and (tmp_path / "study.html").read_bytes() == page
        status, _, err = ask("blind", "--seed", "1")
        assert status == 2 and "holds another plan" in err and (tmp_path / "study.html").read_bytes() == page

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["--held-out", "work-00.png"], "--held-out names work-00.png, from which a picture"),
            (["--held-out", "nothing.png"], "no corpus has a work nothing.png"),
            (["--methods", "blend"], "nothing to compare"),
            (["--references", "8"], "only 8 were not seen"),
            (["--least-checks", "2"], "checks=2.0"),
            (["--title", "Is gatys better?"], "names the method 'gatys'"),
        ],
    )
    def test_what_cannot_be_asked_is_refused_and_nothing_is_written(self, ask, tmp_path, words, says):
        status, out, err = ask("blind", *words)
        assert (status, out) == (2, "") and says in err.splitlines()[-1]
        assert err.count("workbench: ") == 1 and "Traceback" not in err
        assert not (tmp_path / "study.html").exists() and not (tmp_path / "study.key.json").exists()
