"""Blind studies: what a rater may see, answers that survive, and analyses that find what simulated raters were made of."""

import itertools
import json
import math
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from workbench.errors import UsageError, WorkbenchError
from workbench.study import blind
from workbench.study.blind import (
    Ballot,
    Check,
    Comparison,
    Item,
    Plan,
    analysis,
)

METHODS = ("blend", "single", "regions", "random")
WORTH = dict(zip(METHODS, (0.9, 0.2, -0.3, -0.8), strict=True))


def items(methods=METHODS, artists=("monet", "morisot"), contents=6, seeds=(0,)):
    return [
        Item(method, artist, f"content-{c}", seed, f"out/{method}/{artist}_{c}_{seed}.png")
        for method, artist, c, seed in itertools.product(methods, artists, range(contents), seeds)
    ]


def checks(count=4):
    return [Check("monet", f"held/out-{i}.png", f"photographs/{i}.png") for i in range(count)]


def by_worth(rng, worth=WORTH):
    """A rater who chooses by the model of Bradley and Terry."""

    def choose(trial):
        if trial.correct:
            return trial.correct
        chance = expit(worth[trial.left.method] - worth[trial.right.method])
        return "left" if rng.random() < chance else "right"

    return choose


def fill(ballot, choose, count=None):
    """Let `choose` answer up to `count` trials of the ballot."""
    for _ in itertools.count() if count is None else range(count):
        shown = ballot.next()
        if shown is None:
            break
        ballot.answer(shown.trial, choose(ballot.plan.by_id[shown.trial]), seconds=2.5)
    return ballot


@pytest.fixture
def no_sync(monkeypatch):
    """The disk is not waited for: what is simulated need not survive a power cut."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


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
    def test_the_same_seed_and_rater_give_the_same_bytes_and_others_do_not(self, tmp_path):
        def written(name, **how):
            order = how.pop("items", items())
            return blind.plan(order, **{"rater": "ann", "seed": 3, "trials": 50, **how}).save(tmp_path / name).read_bytes()

        first = written("a")
        assert written("b") == first
        assert written("c", items=items()[::-1]) == first  # the order in which items are given means nothing
        assert len({first, written("d", seed=4), written("e", rater="bob"), written("f", trials=51)}) == 4

    def test_a_plan_is_read_back_as_it_was_saved(self, tmp_path):
        plan = blind.plan(items(), rater="Änne", trials=40, ties=True, checks=checks())
        again = Plan.load(plan.save(tmp_path / "plan.json"))
        assert again == plan
        assert again.hash == plan.hash
        assert plan.save(tmp_path / "plan.json").exists()  # the same plan once more does no harm

    def test_another_plan_is_not_written_over_one_that_may_have_answers(self, tmp_path):
        blind.plan(items(), rater="ann").save(tmp_path / "plan.json")
        with pytest.raises(UsageError, match=r"plan\.json holds another plan"):
            blind.plan(items(), rater="bob").save(tmp_path / "plan.json")

    def test_a_plan_that_was_changed_or_is_none_is_refused(self, tmp_path):
        path = blind.plan(items(), rater="ann").save(tmp_path / "plan.json")
        path.write_text(path.read_text().replace("more like", "less like"))
        with pytest.raises(WorkbenchError, match="changed after it was saved"):
            Plan.load(path)
        for text in ("[]", "{}", "not JSON", '"text"', '{"hash": "", "trials": [1], "format": 1}'):
            path.write_text(text)
            with pytest.raises(WorkbenchError, match=r"plan\.json is not the plan"):
                Plan.load(path)
        with pytest.raises(WorkbenchError, match=r"cannot read the plan .*absent\.json"):
            Plan.load(tmp_path / "absent.json")

    def test_a_trial_compares_two_methods_on_one_artist_content_and_seed(self):
        plan = blind.plan(items(seeds=(0, 1)), rater="ann", repeats=0)
        assert len(plan.trials) == 6 * 2 * 6 * 2  # pairs, artists, contents, seeds: all of them
        for trial in plan.trials:
            assert trial.left.method != trial.right.method
            assert replace(trial.left, method="", picture="") == replace(trial.right, method="", picture="")
        assert len({frozenset((trial.left, trial.right)) for trial in plan.trials}) == len(plan.trials)

    def test_what_is_shown_names_no_method(self):
        plan = blind.plan(items(), rater="ann", checks=checks())
        for trial in plan.trials:
            shown = plan.shown(trial.id)
            text = json.dumps(asdict(shown)).lower()
            assert not any(method in text for method in METHODS)
            assert not any(picture in text for picture in (trial.left.picture, trial.right.picture))
            assert plan.picture(shown.left) == trial.left.picture
            assert plan.picture(shown.right) == trial.right.picture
            assert shown.question == f"Which looks more like a painting by {trial.left.artist}?"
        assert {tuple(asdict(plan.shown(trial.id))) for trial in plan.trials} == {
            ("trial", "number", "total", "question", "artist", "left", "right")
        }
        assert [plan.shown(trial.id).number for trial in plan.trials] == list(range(1, len(plan.trials) + 1))
        with pytest.raises(UsageError, match="no picture with the key"):
            plan.picture("nothing")

    @pytest.mark.parametrize("question", ["Is the blend better?", "Which is more SINGLE-minded?"])
    def test_a_question_that_names_a_method_is_refused(self, question):
        with pytest.raises(UsageError, match="names the method"):
            blind.plan(items(), rater="ann", question=question)

    def test_each_method_of_a_pair_is_on_the_left_half_the_time(self):
        plan = blind.plan(items(contents=7), rater="ann", repeats=0, checks=checks(5))
        left = Counter((trial.left.method, trial.right.method) for trial in plan.trials if trial.compares)
        assert len(left) == 12
        assert all(abs(count - left[second, first]) <= 1 for (first, second), count in left.items())
        assert Counter(trial.correct for trial in plan.trials if trial.correct) in (
            {"left": 2, "right": 3},
            {"left": 3, "right": 2},
        )

    def test_sides_and_order_are_each_raters_own_and_have_no_pattern(self):
        plans = [blind.plan(items(), rater=f"rater-{i}", repeats=0) for i in range(40)]
        assert len({tuple(trial.left for trial in plan.trials) for plan in plans}) == 40
        first_left = sum(plan.trials[0].left.method < plan.trials[0].right.method for plan in plans)
        same_as_before = [
            (a.left.method < a.right.method) == (b.left.method < b.right.method)
            for plan in plans
            for a, b in itertools.pairwise(plan.trials)
        ]
        assert stats.binomtest(first_left, 40).pvalue > 0.001
        assert abs(np.mean(same_as_before) - 0.5) < 0.03

    def test_repeats_come_later_with_sides_swapped(self):
        plan = blind.plan(items(), rater="ann", repeats=0.2)
        place = {trial.id: i for i, trial in enumerate(plan.trials)}
        repeats = [trial for trial in plan.trials if trial.repeats]
        assert len(repeats) == round(0.2 * 72)
        assert len({trial.repeats for trial in repeats}) == len(repeats)
        for trial in repeats:
            first = plan.by_id[trial.repeats]
            assert (trial.left, trial.right) == (first.right, first.left)
            assert place[trial.id] - place[first.id] >= blind.GAP

    def test_when_not_all_fits_pairs_and_contents_are_asked_about_equally(self):
        plan = blind.plan(items(contents=20), rater="ann", trials=100, checks=checks(6))
        assert len(plan.trials) in (99, 100)  # one comparison more may bring a repeat more
        asked = [trial for trial in plan.trials if trial.compares]
        pairs = Counter(frozenset((trial.left.method, trial.right.method)) for trial in asked)
        assert len(pairs) == 6
        assert max(pairs.values()) - min(pairs.values()) <= 1
        contents = Counter(trial.left.content for trial in asked)
        assert len(contents) == 20
        assert max(contents.values()) - min(contents.values()) <= 2
        artists = Counter(trial.left.artist for trial in asked)
        assert max(artists.values()) - min(artists.values()) <= 6

    @settings(max_examples=40, deadline=None)
    @given(
        methods=st.lists(st.text("mnopqs", min_size=1, max_size=5), min_size=2, max_size=5, unique=True),
        contents=st.integers(1, 5),
        trials=st.none() | st.integers(4, 80),
        repeats=st.floats(0, 0.5),
        seed=st.integers(0, 2**40),
        known=st.integers(0, 3),
    )
    def test_whatever_is_asked_for_a_plan_keeps_its_promises(self, methods, contents, trials, repeats, seed, known):
        plan = blind.plan(
            items(methods, ("X",), contents),
            rater="ann",
            question="?",
            seed=seed,
            trials=trials,
            repeats=repeats,
            checks=checks(known),
        )
        everything = math.comb(len(methods), 2) * contents
        asked = [trial for trial in plan.trials if trial.compares]
        again = [trial for trial in plan.trials if trial.repeats]
        assert len(plan.by_id) == len(plan.trials)
        assert len(asked) == everything if trials is None else len(plan.trials) <= trials
        assert len(again) == round(repeats * len(asked))
        assert sum(trial.correct is not None for trial in plan.trials) == known
        place = {trial.id: i for i, trial in enumerate(plan.trials)}
        assert all(place[trial.id] > place[trial.repeats] for trial in again)
        shown = json.dumps([[one.trial, one.question, one.left, one.right] for one in map(plan.shown, plan.by_id)])
        assert not any(method in shown for method in methods)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"items": items(("blend",))}, "nothing to compare"),
            ({"items": []}, "nothing to compare"),
            ({"items": items() + items()[:1]}, "two items are content-0 after monet by blend, seed 0"),
            (
                {"items": items(("a1", "b1")) + items(("c1", "d1"), contents=1, seeds=(9,))},
                "no items compare a1, b1 with c1, d1",
            ),
            ({"rater": " "}, "rater's name"),
            ({"repeats": 0.6}, "repeats=0.6"),
            ({"trials": 4, "checks": checks(4)}, "trials=4 leaves no room"),
        ],
    )
    def test_a_plan_that_cannot_be_is_refused(self, change, message):
        with pytest.raises(UsageError, match=message):
            blind.plan(**{"items": items(), "rater": "ann", **change})


@pytest.fixture
def plan():
    return blind.plan(items(contents=2), rater="ann", checks=checks(2))


def left(trial):
    return "left"


class TestBallot:
    def test_answers_are_lines_that_say_what_was_chosen_and_when(self, tmp_path, plan):
        fill(Ballot(plan, tmp_path / "new" / "ann.jsonl"), left, 2)
        lines = [json.loads(line) for line in (tmp_path / "new" / "ann.jsonl").read_text().splitlines()]
        assert [line["trial"] for line in lines] == [trial.id for trial in plan.trials[:2]]
        assert all(line["side"] == "left" and line["seconds"] == 2.5 and line["plan"] == plan.hash for line in lines)
        assert all(line["time"].endswith("+00:00") for line in lines)

    def test_an_answer_is_on_the_disk_before_it_counts(self, tmp_path, plan, monkeypatch):
        ballot = fill(Ballot(plan, tmp_path / "a"), left, 1)
        synced = []
        monkeypatch.setattr("os.fsync", lambda handle: synced.append((tmp_path / "a").read_bytes().count(b"\n")))
        fill(ballot, left, 1)
        assert synced == [2]

        def full(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(WorkbenchError, match=r"cannot write .*a: No space left on device; the answer is not kept"):
            fill(ballot, left, 1)
        assert len(ballot) == len(Ballot(plan, tmp_path / "a")) == 2
        monkeypatch.undo()
        assert len(fill(ballot, left)) == len(plan.trials)  # and goes on when there is room again

    def test_a_ballot_opened_again_goes_on_at_the_first_open_trial(self, tmp_path, plan):
        order = []
        while True:
            ballot = Ballot(plan, tmp_path / "a")
            shown = ballot.next()
            if shown is None:
                break
            order.append(shown.trial)
            ballot.answer(shown.trial, "right", 1)
        assert order == [trial.id for trial in plan.trials]
        assert list(ballot.answers) == order

    def test_a_trial_is_answered_once_and_only_with_what_can_be(self, tmp_path, plan):
        ballot = Ballot(plan, tmp_path / "a")
        trial = ballot.next().trial
        for side, seconds, message in (("top", 1, "left or right$"), ("tie", 1, "left or right$"), ("left", math.nan, "nan")):
            with pytest.raises(UsageError, match=message):
                ballot.answer(trial, side, seconds)
        with pytest.raises(UsageError, match="no trial 'x'"):
            ballot.answer("x", "left", 1)
        ballot.answer(trial, "left", 1)
        with pytest.raises(UsageError, match="answered already: undo"):
            ballot.answer(trial, "right", 1)
        assert len((tmp_path / "a").read_bytes().splitlines()) == 1

    def test_undo_takes_back_the_last_answer_and_asks_again(self, tmp_path, plan):
        ballot = fill(Ballot(plan, tmp_path / "a"), left, 3)
        assert [ballot.undo(), ballot.undo()] == [plan.trials[2].id, plan.trials[1].id]
        for one in (ballot, Ballot(plan, tmp_path / "a")):
            assert one.next().trial == plan.trials[1].id
            assert list(one.answers) == [plan.trials[0].id]
        ballot.answer(plan.trials[1].id, "right", 1)
        assert Ballot(plan, tmp_path / "a").answers == ballot.answers
        assert ballot.answers[plan.trials[1].id].side == "right"
        ballot.undo(), ballot.undo()
        with pytest.raises(UsageError, match="no answer to undo"):
            ballot.undo()

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(answered=st.integers(1, 4), lost=st.integers(1, 300), blank=st.integers(0, 9))
    def test_wherever_a_crash_cuts_the_last_line_the_other_answers_stay(self, tmp_path, plan, no_sync, answered, lost, blank):
        path = tmp_path / "a"
        path.unlink(missing_ok=True)
        before = fill(Ballot(plan, path), left, answered).answers
        data = path.read_bytes()
        start = data.rfind(b"\n", 0, -1) + 1  # of the last line
        torn = data[: max(start, len(data) - lost)]
        if torn[start:].endswith(b"}"):  # all but the end of the line: nothing is lost
            blank = 0
        path.write_bytes(torn + bytes(blank))

        ballot = Ballot(plan, path)
        assert path.read_bytes() == torn + bytes(blank)  # reading mends nothing
        whole = answered - (not torn[start:].endswith(b"}"))
        assert ballot.answers == dict(itertools.islice(before.items(), whole))
        fill(ballot, left, 2)
        again = Ballot(plan, path)
        assert again.answers == ballot.answers
        assert path.read_bytes().count(b"\n") == len(again) == whole + 2

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from(["left", "right", "undo", "open"]), max_size=30))
    def test_what_is_read_back_is_what_was_answered_and_not_taken_back(self, tmp_path, plan, no_sync, steps):
        path = tmp_path / "a"
        path.unlink(missing_ok=True)
        ballot, expected = Ballot(plan, path), []
        for step in steps:
            if step == "open":
                ballot = Ballot(plan, path)
            elif step == "undo":
                if expected:
                    assert ballot.undo() == expected.pop()[0]
            elif ballot.next():
                expected.append((ballot.next().trial, step))
                ballot.answer(*expected[-1], 0)
        assert [(answer.trial, answer.side) for answer in Ballot(plan, path).answers.values()] == expected

    def test_answers_to_another_plan_are_refused_and_left_alone(self, tmp_path, plan):
        other = replace(plan, rater="bob")
        path = fill(Ballot(other, tmp_path / "a"), left, 2).path
        with pytest.raises(
            WorkbenchError, match=f"a, line 1 answers another plan \\({other.hash[:12]}, not {plan.hash[:12]}\\)"
        ):
            Ballot(plan, path)
        path.write_bytes(path.read_bytes()[:90])  # a single line, torn
        with pytest.raises(WorkbenchError, match="no answer to this plan"):
            Ballot(plan, path)
        path.write_text("a text of mine")
        with pytest.raises(WorkbenchError, match="no answer to this plan"):
            Ballot(plan, path)
        assert path.read_text() == "a text of mine"

    def test_damage_before_the_end_is_named(self, tmp_path, plan):
        lines = fill(Ballot(plan, tmp_path / "a"), left, 3).path.read_text().splitlines()
        unknown = json.dumps({**json.loads(lines[1]), "trial": "x"})
        undone = json.dumps({"plan": plan.hash, "undo": plan.trials[2].id, "time": "now"})
        for line in (lines[1][:50], "", "[]", "3", "{}", lines[0], unknown, undone):
            (tmp_path / "a").write_text("\n".join([lines[0], line, lines[2]]) + "\n")
            with pytest.raises(WorkbenchError, match="a, line 2"):
                Ballot(plan, tmp_path / "a")

    def test_a_ballot_that_another_session_went_on_with_is_not_mixed_up(self, tmp_path, plan):
        first, second = (fill(Ballot(plan, tmp_path / "a"), left, 1) for _ in range(2))
        with pytest.raises(WorkbenchError, match="changed by another session: open the ballot again"):
            fill(first, left, 1)
        assert Ballot(plan, tmp_path / "a").answers == second.answers

    def test_a_path_that_cannot_be_is_named(self, tmp_path, plan):
        with pytest.raises(WorkbenchError, match="cannot read the answers"):
            Ballot(plan, tmp_path)
        (tmp_path / "file").write_text("")
        with pytest.raises(WorkbenchError, match="file/a"):
            fill(Ballot(plan, tmp_path / "file" / "a"), left, 1)


class TestReliability:
    def test_who_knows_what_they_see_is_consistent_and_unbiased(self, tmp_path, no_sync):
        plan = blind.plan(items(), rater="ann", checks=checks(6))

        def choose(trial):
            return trial.correct or ("left" if WORTH[trial.left.method] > WORTH[trial.right.method] else "right")

        report = blind.reliability([fill(Ballot(plan, tmp_path / "a"), choose)])[0]
        assert (report.rater, report.answered, report.planned, report.seconds) == (
            "ann",
            len(plan.trials),
            len(plan.trials),
            2.5,
        )
        assert report.consistent.mean == report.checks.mean == 1
        assert (report.consistent.total, report.checks.total) == (11, 6)
        assert report.bias > 0.05

    def test_who_prefers_a_side_is_found_out_and_others_mostly_are_not(self, tmp_path, no_sync):
        rng = np.random.default_rng(5)

        def prefers_left(trial):
            return "left" if rng.random() < 0.4 else by_worth(rng)(trial)

        biased, fair = [], []
        for i in range(20):
            plan = blind.plan(items(), rater=f"rater-{i}", checks=checks())
            biased.append(fill(Ballot(plan, tmp_path / f"biased-{i}"), prefers_left))
            fair.append(fill(Ballot(plan, tmp_path / f"fair-{i}"), by_worth(rng)))
        assert sum(report.bias < 0.05 for report in blind.reliability(biased)) >= 16
        assert sum(report.bias < 0.05 for report in blind.reliability(fair)) <= 3
        assert all(report.left.mean > 0.5 for report in blind.reliability(biased))
        always = fill(Ballot(plan, tmp_path / "always"), left)
        assert blind.reliability([always])[0].consistent.mean == 0
        assert blind.reliability([always])[0].bias < 1e-20

    def test_who_clicks_at_random_agrees_with_themselves_half_the_time(self, tmp_path, no_sync):
        rng = np.random.default_rng(6)
        plans = [blind.plan(items(), rater=f"rater-{i}", repeats=0.5, checks=checks()) for i in range(8)]
        ballots = [
            fill(Ballot(plan, tmp_path / plan.rater), lambda trial: rng.choice(["left", "right"]).item()) for plan in plans
        ]
        reports = blind.reliability(ballots)
        assert all(report.consistent.total == 36 for report in reports)
        assert abs(np.mean([report.consistent.mean for report in reports]) - 0.5) < 0.09  # three standard errors
        assert sum(report.consistent.low <= 0.5 <= report.consistent.high for report in reports) >= 6
        assert 0.2 < np.mean([report.checks.mean for report in reports]) < 0.8

    def test_before_any_answer_the_report_says_that_nothing_is_known(self, tmp_path, plan):
        report = blind.reliability([Ballot(plan, tmp_path / "a")])[0]
        assert (report.answered, report.consistent.total, report.left.total, report.checks.total) == (0, 0, 0, 0)
        assert math.isnan(report.bias)
        assert math.isnan(report.seconds)

    def test_a_tie_twice_is_consistent_and_has_no_side(self, tmp_path, no_sync):
        plan = blind.plan(items(), rater="ann", ties=True)
        ballot = fill(Ballot(plan, tmp_path / "a"), lambda trial: "tie")
        report = blind.reliability([ballot])[0]
        assert (report.ties, report.left.total, report.consistent.mean) == (len(plan.trials), 0, 1)
        found = blind.strengths(blind.comparisons([ballot]), resamples=50)
        assert np.allclose(found.values, 0)


def two(wins, losses, raters=1):
    """So many comparisons of a against b, each on a content of its own."""
    return [
        Comparison(f"rater-{i % raters}", "monet", f"content-{i}", 0, "a", "b", float(i < wins)) for i in range(wins + losses)
    ]


class TestStrengths:
    def test_repeats_and_checks_do_not_count_for_the_methods(self, tmp_path, no_sync):
        plan = blind.plan(items(), rater="ann", repeats=0.3, checks=checks())
        found = blind.comparisons([fill(Ballot(plan, tmp_path / "a"), by_worth(np.random.default_rng(0)))])
        assert len(found) == 72
        assert {comparison.first for comparison in found} <= set(METHODS)

    def test_simulated_raters_are_recovered_through_plan_and_ballot(self, tmp_path, no_sync):
        rng = np.random.default_rng(1)
        ballots = []
        for i in range(3):
            plan = blind.plan(items(contents=15), rater=f"rater-{i}", trials=150)
            ballots.append(fill(Ballot(plan, tmp_path / plan.rater), by_worth(rng)))
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

    def test_ballots_that_do_not_belong_together_are_refused(self, tmp_path, plan):
        ballot = fill(Ballot(plan, tmp_path / "a"), left, 3)
        with pytest.raises(UsageError, match="given twice"):
            blind.comparisons([ballot, ballot])
        other = Ballot(replace(plan, question="Which is nicer?"), tmp_path / "b")
        with pytest.raises(UsageError, match="different questions"):
            blind.comparisons([ballot, other])
