"""The report of a study: what its tables allow to be said, in words by fixed rules, and typeset by Typst.

Whatever comes from data is set as text, never as markup. A result is claimed only if its corrected p-value is below the level,
its interval excludes 0, and all other judges that passed the gate find the same sign.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from workbench import storage
from workbench.errors import UsageError, WorkbenchError
from workbench.names import plain
from workbench.study.intervals import LEAST_LEVELS
from workbench.study.registration import Contrast, Registration
from workbench.study.tables import read_table

NOTEBOOK = "06_evidence"
"""Notebook whose runs are reported."""
NOTHING = "–"
"""Stands in a table for what has no value."""
DIGITS: Mapping[str, int] = {"leak": 3, "leak_content": 3, "leak_unrelated": 3}
"""Decimals of a measure, 2 unless it is named here."""
Kind = Literal["missing", "gate", "few", "not shown", "disputed", "claimed"]
KINDS: Mapping[Kind, tuple[str, str]] = {
    "not shown": (
        "showed no difference",
        "No difference was shown; one of the size in parentheses, or more, would have been with the registered power",
    ),
    "missing": ("had no value", "There is no value"),
    "gate": ("had no judge that passed the gate", "The judge did not pass the gate, and nothing is decided"),
    "few": ("had too few contents", "There are too few contents for an interval, and nothing is decided"),
    "disputed": ("were found by the test but not by all judges", "The test finds a difference, but not all judges its sign"),
    "claimed": ("are claimed", "Claimed"),
}
"""What may come of a contrast, in the order of the abstract: of how many it is said, and the heading of their list."""
_NUMBERS = ("less", "p_holm", "contents", "judges", "agree")  # columns without which a contrast has no verdict
_TEMPLATE = Path(__file__).with_name("report.typ")


def text(words: object) -> str:
    """`words`, from data, as Typst markup that shows them letter by letter and does nothing else."""
    quoted = plain(str(words)).replace("\\", "\\\\").replace('"', '\\"')
    return f'#"{quoted}";'


def code(words: object) -> str:
    """`text` in the font of names, such as those of methods."""
    return f"#name[{text(words)}];"


def number(value: float, digits: int = 2) -> str:
    """A number with so many decimals and a true minus; NOTHING for NaN."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = f"{value:.{digits}f}"
    return shown.lstrip("-") if float(shown) == 0 else shown.replace("-", "−")


def percent(share: float) -> str:
    """A share as whole per cent, which no line breaks."""
    return f"{100 * share:.0f}\u00a0%"


def chance(p: float) -> str:
    """A p-value, to three decimals, and "< 0.001" below these."""
    return "< 0.001" if p < 0.001 else number(p, 3)


def estimate(mean: float, low: float, high: float, digits: int = 2) -> str:
    """A mean and its interval, "0.12 (0.05 to 0.19)"; the mean alone where there is no interval."""
    if math.isnan(low) or math.isnan(high):
        return number(mean, digits)
    return f"{number(mean, digits)} ({number(low, digits)} to {number(high, digits)})"


def of(endpoint: str) -> int:
    """Decimals of an endpoint."""
    return DIGITS.get(endpoint, 2)


@dataclass(frozen=True)
class Verdict:
    """What may be said of one contrast: `kind`, by the rules, a whole `sentence` and a `short` one, in Typst markup.

    row: of the table of contrasts, empty where it has none.
    """

    contrast: Contrast
    kind: Kind
    sentence: str
    short: str
    row: Mapping[str, Any] = field(default_factory=dict, repr=False)


def verdict(one: Contrast, row: Mapping[str, Any], *, level: float, power: float) -> Verdict:
    """The verdict on a contrast from its `row` in contrasts.csv, by these rules, of which the first that fits decides:

    missing: no mean difference. gate: the judge did not pass. few: contents below LEAST_LEVELS. claimed: Holm's p < `level`,
    the interval excludes 0, and every other judge that passed has the same sign; disputed: the same without the last.
    not shown: else.
    """
    digits = of(one.endpoint)
    after, what = f"After {text(one.artist)}", text(one.endpoint)
    first, second = code(one.first), code(one.second)
    short = f"{text(one.artist)}, {what}, {first} less {second}"

    def said(kind: Kind, sentence: str, brief: str = short) -> Verdict:
        return Verdict(one, kind, sentence, brief, row)

    if any(math.isnan(row.get(name, math.nan)) for name in _NUMBERS):
        return said(
            "missing", f"{after}, no content has the {what} of both {first} and {second}: there is no difference to judge."
        )
    n = int(row["contents"])
    if str(row.get("judge_passed")) != "True":
        judge = code(row.get("judge", "of this table"))
        return said(
            "gate", f"The judge {judge} did not pass the gate for {text(one.artist)} and decides nothing about the {what} of "
            f"{first} and {second}."
        )  # fmt: skip
    if n < LEAST_LEVELS:
        counted = "1 content has" if n == 1 else f"{n} contents have"
        return said("few", f"{after}, {counted} the {what} of both {first} and {second}: too few for an interval or a verdict.")
    less, low, high, p, visible = (float(row.get(name, math.nan)) for name in ("less", "low", "high", "p_holm", "visible"))
    found = f"95 % interval {number(low, digits)} to {number(high, digits)}, Holm _p_\u00a0{_equals(p)}, {n} contents"
    judges, agree = int(row["judges"]), int(row["agree"])
    if p < level and (low > 0 or high < 0):
        size = f"{number(abs(less), digits)} {'higher' if less > 0 else 'lower'}"
        if agree == judges:
            others = (
                f"{agree} of {judges} other judges that passed the gate find the same sign"
                if judges > 1
                else "the other judge that passed the gate finds the same sign"
                if judges
                else "no other judge passed the gate"
            )
            return said("claimed", f"{after}, the {what} of {first} is {size} than that of {second} ({found}); {others}.")
        return said(
            "disputed", f"{after}, the test finds the {what} of {first} {size} than that of {second} ({found}), but {agree} of "
            f"{judges} other judges that passed the gate find the same sign: it is not claimed."
        )  # fmt: skip
    seen = (
        f"a difference of {number(visible, digits)} or more would have been with a power of {percent(power)}"
        if math.isfinite(visible)
        else "with so few contents and so many tests none would have been"
    )
    mean = f"mean difference {number(less, digits)}, {found}"
    brief = f"{short} ({number(visible, digits) if math.isfinite(visible) else 'none could be'})"
    return said(
        "not shown", f"{after}, no difference of {what} between {first} and {second} was shown ({mean}); {seen}.", brief
    )


def _equals(p: float) -> str:
    return (chance(p) if p < 0.001 else f"= {chance(p)}").replace(" ", "\u00a0")


@dataclass(frozen=True)
class Evidence:
    """A finished run of notebook 06, as its folder holds it. What is not there is empty."""

    folder: Path
    record: Mapping[str, Any]
    registration: Registration

    @classmethod
    def read(cls, folder: Path) -> "Evidence":
        """The run in `folder`. WorkbenchError, naming it, for any other folder, and for a run that is not complete."""
        if not (folder / "run.json").is_file():
            raise WorkbenchError(f"{folder} is no run of notebook 06: it has no run.json")
        record = storage.read_object(folder / "run.json")
        if record.get("notebook") != NOTEBOOK:
            raise WorkbenchError(f"{folder} is no run of notebook 06, but of {record.get('notebook')}")
        if record.get("status") != "complete":
            raise WorkbenchError(f"{folder} holds a run that is not finished: its status is {record.get('status')}")
        return cls(folder, record, _registration(folder, record))

    @property
    def exploration(self) -> bool:
        """Whether nothing was registered before this run."""
        return not self.record["parameters"].get("registration")

    @cached_property
    def design(self) -> Mapping[str, Any]:
        """What was registered of the design."""
        return self.registration.design

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """What the run measured beside its tables."""
        path = self.folder / "metrics.json"
        return storage.read_object(path) if path.is_file() else {}

    def table(self, name: str) -> pd.DataFrame:
        """The table `name`.csv; an empty one where it is not there."""
        try:
            return read_table(self.folder / f"{name}.csv")
        except (FileNotFoundError, pd.errors.EmptyDataError):
            return pd.DataFrame()

    @property
    def tables(self) -> list[Path]:
        """All tables that are there."""
        return sorted(self.folder.glob("*.csv"))

    def pictures(self, artist: str) -> Path | None:
        """The sheet of pictures after `artist`: examples, or all; None where there is none."""
        found = (self.folder / "figures" / f"{name}_{artist}.jpg" for name in ("examples", "pictures"))
        return next((path for path in found if path.is_file()), None)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The verdict on every registered contrast, in the order of the registration."""
        table, power = self.table("contrasts"), self.registration.power
        names = ["artist", "endpoint", "first", "second"]
        rows = {tuple(row[name] for name in names): row for row in table.to_dict("records")}
        return [
            verdict(
                one,
                rows.get((one.artist, one.endpoint, one.first, one.second), {}),
                level=power["level"],
                power=power["power"],
            )
            for one in self.registration.contrasts
        ]


def _registration(folder: Path, record: Mapping[str, Any]) -> Registration:
    """The registration of a run: the file that it was given, or its own."""
    given = record["parameters"].get("registration", "")
    places = [Path(given), Path("..") / given] if given else [folder / "registration.json"]
    path = next((place for place in places if place.is_file()), places[0])
    found = Registration.load(path)
    known = record.get("inputs", {}).get("registration", {}).get("sha256")
    if known != found.sha256:
        raise WorkbenchError(f"{path} is not the registration of the run in {folder}")
    return found


def counted(verdicts: Sequence[Verdict], *, exploration: bool) -> str:
    """How many contrasts came to what, in one sentence; what is claimed is counted even if it is none."""
    family = "contrasts, which this run fixed for itself," if exploration else "registered contrasts"
    numbers = {kind: sum(one.kind == kind for one in verdicts) for kind in KINDS}
    parts = [f"{numbers[kind] or 'none'} {_agreeing(words, numbers[kind])}" for kind, (words, _) in KINDS.items()
             if numbers[kind] or kind == "claimed"]  # fmt: skip
    joined = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return f"Of {len(verdicts)} {family} {joined}."


def _agreeing(words: str, count: int) -> str:
    verb = {"are": "is", "were": "was"}
    head, _, rest = words.partition(" ")
    return f"{verb.get(head, head)} {rest}" if count <= 1 else words


def abstract(evidence: Evidence) -> str:
    """What was found, made of the verdicts: what was not shown comes first, and what is claimed last, in whole sentences."""
    verdicts = evidence.verdicts
    if not verdicts:
        return "No contrast was registered: nothing is tested, and nothing is claimed."
    parts = []
    if evidence.exploration:
        parts.append(
            "*Exploration.* No registration was given to this run, so its p-values test nothing that was fixed beforehand."
        )
    parts.append(counted(verdicts, exploration=evidence.exploration))
    for kind, (_, heading) in KINDS.items():
        own = [one for one in verdicts if one.kind == kind]
        if own and kind == "claimed":
            parts.extend(one.sentence for one in own)
        elif own:
            parts.append(f"_{heading}:_ {'; '.join(one.short for one in own)}.")
    return "\n\n".join(parts)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str,
    label: str,
    widths: str = "",
    left: int = 1,
    size: float = 8.5,
) -> str:
    """A numbered table in Typst: `columns` and cells are markup; the first `left` columns are text, the others numbers.

    A row of one cell is a heading of those below it. widths: of the columns, in Typst. "" where there is no row.
    """
    body = [
        f"  {', '.join(f'[{cell}]' for cell in row)},"
        if len(row) > 1
        else f"  table.hline(stroke: .2pt), table.cell(colspan: {len(columns)})[*{row[0]}*],"
        for row in rows
    ]
    if not body:
        return ""
    sizes = widths or f"({', '.join(['auto'] * len(columns))})"
    head = ", ".join(f"[{cell}]" for cell in columns)
    aligned = ", ".join("left" if i < left else "right" for i in range(len(columns)))
    lines = [
        f"#figure(kind: table, caption: [{caption}], text({size}pt, table(",
        f"  columns: {sizes}, align: ({aligned},),",
        f"  table.hline(), table.header({head}), table.hline(stroke: .4pt),",
        *body,
        f"  table.hline(),\n))) <{label}>\n",
    ]
    return "\n".join(lines)


def picture(file: str, *, caption: str, label: str) -> str:
    """A numbered figure in Typst, as wide as the text where a page has room: `file` lies beside the source."""
    return f"#figure(fitted({json.dumps(file, ensure_ascii=False)}), placement: auto, caption: [{caption}]) <{label}>\n"


def ends(words: str) -> tuple[float, float, float]:
    """(mean, low, high) of an interval as `str` writes it."""
    mean, low, high = re.findall(r"-?[\d.]+(?:e[+-]?\d+)?|nan", words)
    return float(mean), float(low), float(high)


def document(body: str, *, title: str, subtitle: str, date: str, footer: str) -> str:
    """The whole source: the template, and `body` in it. date: "YYYY-MM-DD", of the run; footer: what stands on every page."""
    year, month, day = (int(part) for part in date.split("-"))
    head = f"#show: report.with(title: [{text(title)}], subtitle: [{text(subtitle)}],\n  footer: [{text(footer)}],"
    made = f" date: datetime(year: {year}, month: {month}, day: {day}))"
    body = body.replace(" %", "\u00a0%")  # no line begins with a sign of per cent
    return f"{storage.read_text(_TEMPLATE)}\n{head}{made}\n\n{body}"


def typeset(source: Path) -> Path:
    """Typeset `source`, a Typst file, as a PDF beside it, with the fonts of Typst alone: the same source gives the same bytes.

    WorkbenchError without Typst, and for what it cannot read.
    """
    typst = compiler()
    path = source.with_suffix(".pdf")
    with storage.atomic(path) as temporary:
        temporary.write_bytes(_compiled(typst, source, format="pdf"))
    return path


def pages(source: Path, *, ppi: float = 60) -> list[bytes]:
    """The pages of `source` as PNG files, to be looked at."""
    found = _compiled(compiler(), source, format="png", ppi=ppi)
    return [found] if isinstance(found, bytes) else list(found)


def _compiled(typst: Any, source: Path, **options: Any) -> Any:
    try:
        return typst.compile(str(source), root=str(source.parent), ignore_system_fonts=True, **options)
    except RuntimeError as error:  # of which its own errors are
        raise WorkbenchError(f"{source} cannot be typeset: {' '.join(str(error).split())}") from error


def compiler() -> Any:
    """The package of Typst. UsageError where it is not installed."""
    try:
        import typst
    except ImportError as error:
        raise UsageError("a report needs typst: pip install 'artist-workbench[report]'") from error
    return typst
