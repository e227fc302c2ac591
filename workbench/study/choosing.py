"""Which checkpoint of an artist's LoRA is good: what is measured of the pictures of each, and the rule that recommends one.

The measures take pictures and works alone, so that they can be tried on pictures whose quality is known.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from torch import Tensor

from workbench import images, provenance, storage
from workbench.corpora import Corpus, IngestReport, Work
from workbench.diffusion.checkpoints import ALONE, Checkpoint, Painted, Painter, file_name
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative.data import identity_of
from workbench.metrics import sets
from workbench.metrics.distances import content_distance
from workbench.metrics.judging import Judge
from workbench.metrics.log_odds import ArtistOdds
from workbench.metrics.margin_leak import MarginLeaks
from workbench.study.tables import write_table

VERSION = 1
"""Part of the key of what is measured: rows of another version are measured again."""
SIZE = 256
"""px. Long side at which pictures are judged, at most."""
NEIGHBOURS = 5
"""k of density and coverage, at most; of few held-out works a quarter, so that their balls do not hold them all."""
CHANCE = 0.95
"""Quantile of what the artist's own works share with each other, beyond which pictures copy."""
DRAWS = 10_000
"""Draws of own works for that quantile."""
COLLAPSED = 0.5
"""Share of the variety of the artist's works, below which samples repeat themselves."""
NEARER = 0.1
"""Share of the way from the log-odds of the base alone to those of held-out works, below which nothing is gained."""


@dataclass(frozen=True)
class Row:
    """What was measured of a checkpoint.

    odds: the mean log-odds (nats) of restyled photographs that the artist painted them, and `each` of them; place: the mean
    share of held-out works that score less, in [0, 1]; odds_samples: of pictures from his word alone. leak: the mean share of
    places of all pictures that one series of seen works stands out in; leak_samples: of samples alone. content: the mean
    distance to the photographs. density, coverage: of samples among held-out works. variety: how much samples differ from each
    other, over how much his works do. held_out, seen: the loss on works.
    """

    label: str
    odds: float
    place: float
    odds_samples: float
    leak: float
    leak_samples: float
    content: float
    density: float
    coverage: float
    variety: float
    held_out: float
    seen: float
    each: tuple[float, ...] = field(repr=False)


MEASURES = {
    "odds": "log-odds ↑",
    "place": "place among held-out works ↑",
    "leak": "leak ↓",
    "content": "distance to the photograph ↓",
    "density": "density ↑",
    "coverage": "coverage ↑",
    "variety": "variety (1: his works)",
    "held_out": "loss, held-out works ↓",
    "seen": "loss, seen works",
}
"""Measures in a figure, and their names there."""


class Yardstick:
    """The measures of a LoRA's pictures, from the works of one artist that it saw, and works that it never saw.

    The probe of log-odds is trained on all of them, since held-out works alone are too few: a copy of a seen work scores as
    that work does, for which reason leaks are measured beside it. Patches are 16 px apart, so that a copy that is moved by some
    px leaks less than one in its place: by 8 px, hardly at all.
    """

    def __init__(
        self,
        encoder: Encoder,
        seen: Sequence[Work],
        held_out: Sequence[Work],
        others: Sequence[Work],
        *,
        size: int = SIZE,
        show: bool = False,
    ):
        """`others`: paintings by other artists, and photographs. UsageError where groups of works are too few."""
        self.encoder, self.seen, self.size = encoder, tuple(seen), size
        works = (*seen, *held_out)
        self.identity = [VERSION, encoder.identity, encoder.device.type, size, *map(identity_of, (seen, held_out, others))]
        self.identity.append([work.group for work in works])
        self.odds = ArtistOdds(encoder, works, others, size=size, show=show)
        self.unseen = np.arange(len(self.odds.probe.his))
        self.unseen = (self.unseen >= len(seen)) & (self.unseen < len(works))
        self.leaks = MarginLeaks(encoder, works, size)
        bank, rest = (Corpus("", Path(), tuple(part), IngestReport(0, 0)) for part in (seen, held_out))
        self.judge = Judge(encoder, bank, rest, size)
        self.works = np.concatenate([self.judge.of(seen), self.judge.points])

    @property
    def auc(self) -> float:
        """How well the probe tells held-out works from those of others: see `log_odds.Probe`."""
        return self.odds.probe.auc

    @property
    def reference(self) -> float:
        """The median log-odds of held-out works, each by a probe that was not trained on its series."""
        return float(np.median(self.odds.probe.held_out()[self.unseen]))

    def most_leak(self, pictures: int) -> float:
        """What the mean leak of as many of the artist's own works exceeds in one of twenty draws; none of them copied."""
        rates = self.leaks.of_works(self.seen)
        drawn = np.random.default_rng(0).choice(rates, (DRAWS, pictures))
        return float(np.quantile(drawn.mean(axis=1), CHANCE))

    def expected_coverage(self, samples: int) -> float:
        """The coverage of as many pictures of the artist's own kind."""
        works = self.judge.points
        return sets.neighbourhoods(works[:1].repeat(samples, axis=0), works, self._neighbours).expected

    @property
    def _neighbours(self) -> int:
        return max(1, min(NEIGHBOURS, len(self.judge.points) // 4))

    def measure(
        self,
        label: str,
        restyled: Sequence[tuple[Tensor, Tensor]],
        samples: Sequence[Tensor],
        *,
        held_out: float = float("nan"),
        seen: float = float("nan"),
    ) -> Row:
        """The row of a checkpoint: `restyled` (picture, photograph), both (1, 3, H, W) in [0, 1], and samples; its losses."""
        require(len(restyled) > 0 and len(samples) > 1, "a checkpoint is judged by a photograph and two samples at least")
        points = np.stack([self.odds.describe(picture) for picture, _ in restyled])
        free = np.stack([self.odds.describe(picture) for picture in samples])
        each = self.odds.probe.scores(points)
        photographs = [self.leaks.measure(picture, self.seen, content=content).rate for picture, content in restyled]
        alone = [self.leaks.measure(picture, self.seen).rate for picture in samples]
        described = np.stack([self.judge.describe(picture) for picture in samples])
        near = sets.neighbourhoods(described, self.judge.points, self._neighbours)
        return Row(
            label=label,
            odds=float(each.mean()),
            place=float(np.mean([self.odds.probe.place(point, self.unseen) for point in points])),
            odds_samples=float(self.odds.probe.scores(free).mean()),
            leak=float(np.mean([*photographs, *alone])),
            leak_samples=float(np.mean(alone)),
            content=float(np.mean([content_distance(picture, content, self.encoder) for picture, content in restyled])),
            density=near.density,
            coverage=near.coverage,
            variety=sets.variety(described, self.works)[0],
            held_out=held_out,
            seen=seen,
            each=tuple(map(float, each)),
        )


@dataclass(frozen=True)
class Recommendation:
    """The label of the checkpoint to take, "" where none is good, and why, in words."""

    label: str
    reason: str

    def __str__(self) -> str:
        return f"{self.label}: {self.reason}" if self.label else self.reason


def recommend(rows: Sequence[Row], alone: Row, most_leak: float, reference: float) -> Recommendation:
    """Choose one of `rows`, checkpoints of one training; `alone`: the base without a LoRA. For the rest see `Yardstick`.

    1. Its pictures leak no more than `most_leak`: they copy no more than the artist's own works resemble each other.
    2. Its samples have at least COLLAPSED of the variety of his works.
    3. The log-odds of its photographs are NEARER of the way, at least, from those of the base alone to held-out works.
    4. Of those left: the highest mean log-odds. Those that fall short by no more than one standard error of the paired
       difference over photographs are ties (Breiman et al. 1984), and of these the least loss on held-out works is taken.
    """
    require(bool(rows), "there is no checkpoint to choose from")
    least = alone.odds + NEARER * max(reference - alone.odds, 0.0)
    faults: dict[str, list[str]] = {}
    for row in rows:
        if row.leak > most_leak:
            fault = f"copy seen works (leak above {most_leak:.3f})"
        elif row.variety < COLLAPSED:
            fault = f"repeat themselves (variety below {COLLAPSED:g})"
        elif row.odds <= least:
            fault = f"come hardly nearer to the artist than the base alone (log-odds up to {least:.2f})"
        else:
            continue
        faults.setdefault(fault, []).append(row.label)
    bad = "; ".join(f"{listed(labels)} {fault if len(labels) > 1 else _singular(fault)}" for fault, labels in faults.items())
    failed = {label for labels in faults.values() for label in labels}
    good = [row for row in rows if row.label not in failed]
    if not good:
        return Recommendation("", f"none is good: {bad}")
    best = max(good, key=lambda row: row.odds)
    ties = [row for row in good if _short(row, best) <= 0]
    chosen = min(ties, key=lambda row: (np.nan_to_num(row.held_out, nan=np.inf), -row.odds))
    reason = f"log-odds {chosen.odds:.2f} against {alone.odds:.2f} of the base alone and {reference:.2f} of held-out works"
    if len(ties) > 1:
        reason += f", the least loss on held-out works of {len(ties)} that are as good"
    elif len(good) > 1:
        reason += f", the highest of {len(good)} that neither copy nor repeat themselves"
    return Recommendation(chosen.label, reason + (f". {bad[:1].upper()}{bad[1:]}" if bad else ""))


def _short(row: Row, best: Row) -> float:
    """By how much the log-odds of `row` fall short of those of `best`, less the standard error of their difference."""
    difference = np.subtract(best.each, row.each)
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return float(difference.mean() - error)


def listed(labels: Sequence[str]) -> str:
    """ "a", "a and b", or "a, b and c"."""
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def _singular(fault: str) -> str:
    verb, _, rest = fault.partition(" ")
    return f"{ {'copy': 'copies', 'repeat': 'repeats', 'come': 'comes'}[verb] } {rest.replace('themselves', 'itself')}"


@dataclass(frozen=True)
class Evaluation:
    """The rows of the checkpoints in the order of training; `alone`: of the base without a LoRA; what they are held against."""

    rows: tuple[Row, ...]
    alone: Row
    painted: Mapping[str, Painted]
    most_leak: float
    expected_coverage: float
    reference: float

    @property
    def recommendation(self) -> Recommendation:
        return recommend(self.rows, self.alone, self.most_leak, self.reference)

    def table(self) -> list[dict[str, object]]:
        """A line for every checkpoint, and one for the base alone."""
        chosen = self.recommendation.label
        held = {"most_leak": self.most_leak, "expected_coverage": self.expected_coverage, "reference_odds": self.reference}
        return [
            {
                "checkpoint": row.label,
                **{name: value for name, value in asdict(row).items() if name not in ("label", "each")},
                **held,
                "recommended": row.label == chosen,
            }
            for row in (self.alone, *self.rows)
        ]


def evaluate(
    checkpoints: Sequence[Checkpoint], painter: Painter, yardstick: Yardstick, out: Path, *, show: bool = False
) -> Iterator[Evaluation]:
    """Paint with and measure the base alone and every checkpoint; what is known so far after each of the checkpoints.

    Pictures lie in the folder of `painter` and rows in OUT/rows, under all that they depend on: a call that was stopped is
    gone on with by the same call. OUT/checkpoints.csv has the rows so far.
    """
    alone, rows, painted = None, [], {}
    pictures = len(painter.contents) * painter.asked.seeds + painter.asked.samples
    for checkpoint in (Checkpoint(ALONE), *checkpoints):
        made = painted[checkpoint.label] = painter.paint(checkpoint, show=show)
        row = _row(checkpoint, painter, yardstick, made, out / "rows")
        if alone is None:
            alone = row
            continue
        rows.append(row)
        limits = yardstick.most_leak(pictures), yardstick.expected_coverage(painter.asked.samples), yardstick.reference
        found = Evaluation(tuple(rows), alone, dict(painted), *limits)
        write_table(out / "checkpoints.csv", found.table())
        yield found


def _row(checkpoint: Checkpoint, painter: Painter, yardstick: Yardstick, made: Painted, folder: Path) -> Row:
    counts = [painter.asked.seeds, painter.asked.samples]
    key = hashlib.sha256(json.dumps([painter.key(checkpoint), counts, yardstick.identity]).encode()).hexdigest()
    path = folder / f"{file_name(checkpoint.label, key)}.json"
    known = _read_row(path)
    if known is not None and known.label == checkpoint.label and len(known.each) == len(made.restyled):
        return known
    restyled = [(images.load(file), painter.contents[name]) for (name, _), file in made.restyled.items()]
    samples = [images.load(file) for file in made.samples]
    row = yardstick.measure(checkpoint.label, restyled, samples, held_out=made.held_out, seen=made.seen)
    storage.write_text(path, provenance.text(asdict(row)) + "\n")
    return row


def _read_row(path: Path) -> Row | None:
    """The row that `_row` wrote to `path`; None where there is none, or a damaged file."""
    try:
        return TypeAdapter(Row).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
