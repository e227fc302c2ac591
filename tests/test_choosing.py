"""The evaluation of checkpoints: its measures on pictures whose quality is known, and the rule in closed form."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import UsageError
from workbench.generative import scenes
from workbench.study.choosing import COLLAPSED, Row, listed, recommend

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZE = 64


def row(label, odds=1.0, *, each=None, leak=0.01, variety=1.0, held_out=0.5):
    each = (odds,) if each is None else each
    odds = float(np.mean(each))
    return Row(label, odds, 0.5, 0.0, leak, leak, 0.3, 1.0, 0.8, variety, held_out, 0.4, tuple(each))


ALONE = row("base alone", -3.0)


class TestRule:
    def test_the_highest_log_odds_of_those_that_neither_copy_nor_repeat_themselves(self):
        rows = [row("a", 1.0), row("b", 2.0), row("copies", 9.0, leak=0.2), row("repeats", 8.0, variety=0.9 * COLLAPSED)]
        found = recommend(rows, ALONE, 0.05, 3.0)
        assert found.label == "b"
        assert "copies copies seen works (leak above 0.050)" in found.reason.replace("Copies", "copies")
        assert "the highest of 2" in found.reason and "-3.00 of the base alone" in found.reason

    def test_what_is_hardly_nearer_than_the_base_is_not_recommended(self):
        found = recommend([row("a", -3.0), row("b", -4.0), row("c", -2.5)], ALONE, 0.05, 3.0)
        assert recommend([row("c", -2.3)], ALONE, 0.05, 3.0).label == "c"  # a tenth of the way from -3 to 3 is -2.4
        assert found.label == "" and str(found).startswith("none is good: a, b and c come hardly nearer to the artist")

    def test_a_limit_itself_is_allowed(self):
        assert recommend([row("a", leak=0.05, variety=COLLAPSED)], ALONE, 0.05, 3.0).label == "a"

    def test_ties_within_a_standard_error_go_to_the_least_loss(self):
        best = row("late", each=(1.0, 3.0, 2.0), held_out=0.6)
        near = row("early", each=(1.5, 2.0, 2.0), held_out=0.5)  # differences -.5, 1, 0: mean 1/6, standard error .44
        far = row("first", each=(0.0, 2.1, 1.0), held_out=0.1)  # always about 1 less
        assert recommend([far, near, best], ALONE, 0.05, 3.0).label == "early"
        assert recommend([far, replace(near, held_out=0.7), best], ALONE, 0.05, 3.0).label == "late"
        assert recommend([near, replace(best, held_out=float("nan"))], ALONE, 0.05, 3.0).label == "early"
        found = recommend([far, near, best], ALONE, 0.05, 3.0)
        assert "least loss on held-out works of 2 that are as good" in found.reason

    def test_no_checkpoint_and_lists_in_words(self):
        with pytest.raises(UsageError, match="no checkpoint"):
            recommend([], ALONE, 0.05, 3.0)
        assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.fixture(scope="module")
def hit_rate():
    sys.path.insert(0, str(BENCHMARKS))
    import hit_rate

    yield hit_rate
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def found(hit_rate, encoder):
    """A construction, its rows, the most leak that is allowed, and the log-odds of held-out works."""
    mine = scenes.pairs("nocturne", 24, size=SIZE)
    strangers = scenes.pairs("umber", 6, size=SIZE, held_out=True)
    others = [*(pair.painted for pair in strangers), *(pair.scene for pair in strangers)]
    made = hit_rate.construct(mine, others, 0, works=16, held_out=5, photographs=3, free=5)
    return made, *hit_rate.measured(made, encoder, SIZE)


class TestMeasures:
    def test_each_fault_shows_in_the_measure_that_is_for_it(self, found):
        _, rows, *limits = found
        assert rows["good"].leak <= limits[0] < rows["overfitted 1"].leak
        assert rows["collapsed"].variety < COLLAPSED < rows["good"].variety
        assert rows["untrained"].odds < rows["half"].odds < rows["good"].odds
        assert rows["untrained"].content < 1e-6 < rows["half"].content < rows["good"].content
        assert rows["good"].coverage > max(rows["collapsed"].coverage, rows["untrained"].coverage)
        assert (
            rows["overfitted 1"].odds == rows["good"].odds and rows["overfitted 1"].leak_samples > rows["overfitted 0.5"].leak
        )

    def test_the_good_one_is_recommended_and_none_where_there_is_none(self, found, hit_rate):
        _, rows, *limits = found
        table = {(line["case"], line["copied"]): line["recommended"] for line in hit_rate.cases(rows, *limits)}
        assert (table["all", 1.0], table["none good", 1.0]) == ("good", "none")

    def test_his_own_works_are_above_the_limit_in_one_draw_of_twenty(self, found, hit_rate, encoder):
        made, *_ = found
        yardstick = hit_rate.Yardstick(encoder, made.seen, made.held_out, made.others, size=SIZE)
        rates = yardstick.leaks.of_works(made.seen)
        assert yardstick.most_leak(1) == pytest.approx(np.quantile(rates, 0.95, method="higher"))
        assert rates.mean() < yardstick.most_leak(400) < yardstick.most_leak(4) < rates.max() + 1e-9
        assert yardstick.unseen.sum() == len(made.held_out) and yardstick.auc > 0.8
        assert 0 < yardstick.expected_coverage(5) < yardstick.expected_coverage(50) < 1
