"""What many raters' answers say, in lines for a reader."""

import itertools
import math
from collections.abc import Sequence

from workbench.errors import WorkbenchError
from workbench.names import plural
from workbench.study.blind.analysis import Comparison, comparisons, reliability, strengths, win_rates
from workbench.study.blind.ballot import Ballot
from workbench.study.blind.plan import Plan


def tally(plan: Plan, ballots: Sequence[Ballot], *, level: float = 0.95) -> list[str]:
    """Whose answers count and why others do not; then, for every question, the strengths of methods and every pair of them.

    Nothing is said about a method or a pair that no answer compares. `ballots`: one of each rater, as `each_once` gives them.
    """
    counted = [ballot for ballot in ballots if not ballot.fault()]
    counts = (plan.methods, "method"), (plan.contents, "content"), (plan.references, "artist")
    lines = [f"plan {plan.hash[:12]}: " + ", ".join(plural(len(known), what) for known, what in counts)]
    lines += [f"those count {plan.rule}", f"{plural(len(ballots), 'rater')}, of whom {len(counted)} count"]
    lines += [f"  {one.rater} does not count: {one.fault()}" for one in ballots if one.fault()]
    if not counted:
        return [*lines, "nobody's answers count yet, so nothing is said about the methods"]
    lines += ["", f"{'rater':10}{'answered':>12}{'checks':>9}{'same twice':>12}{'left':>7}{'ties':>6}{'seconds':>9}"]
    lines += [
        f"{one.rater:10}{f'{one.answered}/{one.planned}':>12}{_share(one.checks):>9}{_share(one.consistent):>12}"
        f"{_share(one.left):>7}{one.ties:>6}{one.seconds:>9.1f}"
        for one in reliability(counted)
    ]
    for question in plan.questions:
        found = comparisons(counted, question)
        lines += ["", plan.questions[question], *_about(found, level)]
        artists = sorted({comparison.artist for comparison in found})
        for artist in artists if len(artists) > 1 else ():
            lines += ["", f"{artist}:", *_about([one for one in found if one.artist == artist], level)]
    return lines


def _share(proportion) -> str:
    return "-" if math.isnan(proportion.mean) else f"{proportion.mean:.0%}"


def _about(found: list[Comparison], level: float) -> list[str]:
    """The strengths of methods in `found`, and the chances in every pair that was asked about."""
    if not found:
        return ["  no comparison is answered, so nothing is said"]
    contents, raters = ({getattr(one, name) for one in found} for name in ("content", "rater"))
    lines = [f"  {plural(len(found), 'comparison')}, {plural(len(raters), 'rater')}, {plural(len(contents), 'content')}"]
    try:
        fitted = strengths(found, level=level)
    except WorkbenchError as error:
        return [*lines, f"  {error}"]
    ends = f", {level:.0%} intervals, not corrected for their number"
    if len(contents) == 1:
        ends = "; a single content gives no interval, and nothing holds beyond it"
    width = max(map(len, fitted.methods)) + 2
    lines.append(f"  log strengths (Bradley-Terry), of mean zero{ends}")
    lines += [f"    {method:{width}}{_interval(fitted[method], '{:+.2f}')}" for method in fitted.methods]
    lines.append("  chance that the first is chosen")
    methods, _, counts = win_rates(found)
    for first, second in itertools.combinations(fitted.methods, 2):
        count = int(counts[methods.index(first), methods.index(second)])
        if count:
            chance = _interval(fitted.probability(first, second), "{:.0%}")
            lines.append(f"    {first:{width}}over {second:{width}}{chance}, {plural(count, 'comparison')}")
    return lines


def _interval(interval, form: str) -> str:
    ends = "" if math.isnan(interval.low) else f" ({form.format(interval.low)} to {form.format(interval.high)})"
    return form.format(interval.mean) + ends
