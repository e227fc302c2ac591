"""What a corpus is: works with what is known of them, and ways to take a part of it."""

import difflib
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from torch import Tensor

from workbench import images
from workbench.errors import UsageError, require
from workbench.names import plural

METADATA = "metadata.csv"


@dataclass(frozen=True)
class Work:
    """One painting: a file that decodes, and what is known of it.

    name: path relative to the corpus's folder, with forward slashes, unique; sha256: of the file's bytes, hexadecimal;
    width, height: in pixels, upright; metadata: the row of metadata.csv without file_name, empty when there is none;
    copies: what the work and its probable copies, such as the same painting from another museum, have in common, else empty.
    """

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    copies: str = ""

    @property
    def title(self) -> str:
        """The title, or the file's name made readable."""
        words = " ".join(PurePosixPath(self.name).stem.replace("_", " ").replace("-", " ").split())
        return self.metadata.get("title") or words[:1].upper() + words[1:]

    @property
    def artist(self) -> str:
        return self.metadata.get("artist", "")

    @property
    def year(self) -> str:
        return self.metadata.get("year", "")

    @property
    def genre(self) -> str:
        return self.metadata.get("genre", "")

    @property
    def series(self) -> str:
        return self.metadata.get("series", "")

    @property
    def group(self) -> str:
        """What the work belongs together with: its probable copies, the works of its series, or itself alone."""
        return self.copies or (f"{self.artist}/{self.series}" if self.series else self.sha256)

    def load(self, size: int | None = None) -> Tensor:
        """The painting as float32 (1, 3, H, W) in [0, 1], long side `size`; see images.load.

        WorkbenchError where the file is no longer the one that was listed.
        """
        return images.load(self.path, size, sha256=self.sha256)


@dataclass(frozen=True)
class IngestReport:
    """What became of every file of a folder: seen = usable + len(rejected) + len(duplicates).

    Hidden files and what commonly lies beside images (metadata.csv, .json, .txt, .md, ...) are not seen; each row of a Parquet
    file with embedded images is. A duplicate has the very bytes, or the very pixels, of another file and is left out of the
    works, so that no painting counts twice; of several equal files the one that metadata.csv names stays, else the one with the
    shortest name. Probable copies look alike and are usable, all of them: `Corpus.split` keeps them together,
    `Corpus.without_copies` leaves the smaller ones out. Files are named relative to the folder.
    """

    seen: int
    usable: int
    rejected: tuple[tuple[str, str], ...] = ()  # (file, reason)
    converted: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (file, notes of images.read); these are usable
    duplicates: tuple[tuple[str, str], ...] = ()  # (file, the equal file that stays)
    copies: tuple[tuple[str, str, int], ...] = ()  # (file, file that looks alike, bits of 256 that differ); see likeness
    rows_without_file: tuple[str, ...] = ()
    files_without_row: tuple[str, ...] = ()  # usable files; empty when the folder has no metadata.csv at all
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report for a reader: one line of counts, then one line for everything worth a look."""
        copies = plural(len(self.duplicates), "duplicate")
        counts = f"{self.seen} images seen: {self.usable} usable, {len(self.rejected)} rejected, {copies}"
        return [
            counts,
            *(f"rejected {name}: {reason}" for name, reason in self.rejected),
            *(f"duplicate {name}: the same picture as {first}" for name, first in self.duplicates),
            *(f"probably copies: {one} and {other}, {bits} of 256 bits differ" for one, other, bits in self.copies),
            *(f"converted {name}: {'; '.join(notes)}" for name, notes in self.converted),
            *(f"no such file, though {METADATA} has a row for it: {name}" for name in self.rows_without_file),
            *(f"no row in {METADATA}: {name}" for name in self.files_without_row),
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True)
class Corpus:
    """Works sorted by name, and the report of how they came in. Parts of a corpus are corpora with the same report."""

    name: str
    root: Path
    works: tuple[Work, ...]
    report: IngestReport = field(repr=False)

    def __len__(self) -> int:
        return len(self.works)

    def __iter__(self) -> Iterator[Work]:
        return iter(self.works)

    def __getitem__(self, key: int | str) -> Work:
        """The work at an index, or the one that `find` finds."""
        if isinstance(key, str):
            return self.find(key)
        require(isinstance(key, int), f"a corpus is indexed by a name or a whole number, not by {key!r}")
        size = len(self)
        require(-size <= key < size, f"index {key} is outside corpus {self.name!r} of {size} works")
        return self.works[key]

    def check_outside(self, path: Path) -> None:
        """UsageError for a file to be written that would lie in the corpus.

        A picture would become one of its paintings, and any file would change the hash of the folder.
        """
        root = self.root.resolve()
        # A link may lead out of the folder as well as into it, and linked folders are part of a corpus.
        inside = root in path.resolve().parents or root in path.absolute().parents
        require(not inside, f"cannot write {path}: it would become part of the corpus in {self.root}; choose another folder")

    @property
    def columns(self) -> tuple[str, ...]:
        """The metadata columns that any work has, in the order of the file."""
        return tuple(dict.fromkeys(column for work in self.works for column in work.metadata))

    def find(self, name: str) -> Work:
        """The work with this name; or else this file stem; or else this title, whatever its case.

        Raises UsageError, with the nearest names, when there is none, and with all candidates when there are several.
        """
        found = self.named(name)
        if len(found) > 1:
            raise UsageError(f"{name!r} names {len(found)} works of {self.name!r}: {listed(w.name for w in found)}")
        if found:
            return found[0]
        forms = (form for work in self.works for form in (work.name, PurePosixPath(work.name).stem, work.title))
        known = {form.casefold(): form for form in forms}
        near = [repr(known[form]) for form in difflib.get_close_matches(name.casefold(), known, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {listed((w.name for w in self.works), 4)}"
        raise UsageError(f"no work {name!r} in corpus {self.name!r}; {hint}")

    def named(self, name: str) -> tuple[Work, ...]:
        """All works that `name` may mean: by their name; or else by their file stem; or else by their title."""
        keys: tuple[Callable[[Work], str], ...] = (
            lambda work: work.name,
            lambda work: PurePosixPath(work.name).stem,
            lambda work: work.title.casefold(),
        )
        for key, wanted in zip(keys, (name, name, name.casefold()), strict=True):
            found = tuple(work for work in self.works if normal(key(work)) == normal(wanted))
            if found:
                return found
        return ()

    def select(self, /, **criteria: object) -> "Corpus":
        """The works whose metadata meet all criteria: a column equals a value, or one of a list of values.

        `corpus.select(genre=["portrait", "self-portrait"])`. Raises UsageError for an unknown column, for a value that
        no work has, naming those that exist, and when no work meets all criteria.
        """
        works = self.works
        for column, wanted in criteria.items():
            self._check_column(column)
            values = [str(value) for value in _as_list(wanted)]
            known = {work.metadata.get(column, "") for work in self.works}
            missing = [value for value in values if value not in known]
            if missing or not values:
                what = f"no work with {column} {missing[0]!r}" if missing else f"no value given for {column}"
                raise UsageError(f"{what} in corpus {self.name!r}; {column} may be {listed(sorted(known))}")
            works = tuple(work for work in works if work.metadata.get(column, "") in values)
        require(bool(works), f"no work of corpus {self.name!r} meets all of {', '.join(criteria)} at once")
        return replace(self, works=works)

    def _check_column(self, column: str) -> None:
        known = listed(self.columns) or "none"
        require(column in self.columns, f"corpus {self.name!r} has no metadata column {column!r}; it has {known}")

    def between(self, column: str, low: float, high: float) -> "Corpus":
        """The works whose `column`, such as year, begins with a number from `low` to `high`, both included.

        "1889", "1889-90" and "c. 1889" are all 1889; a work without a number is left out. Raises UsageError for an unknown
        column, and when nothing is left.
        """
        self._check_column(column)
        numbers = {work.name: re.search(r"\d+(\.\d+)?", work.metadata.get(column, "")) for work in self.works}
        works = tuple(work for work in self.works if (found := numbers[work.name]) and low <= float(found[0]) <= high)
        if not works:
            known = sorted(float(found[0]) for found in numbers.values() if found)
            span = f"it goes from {known[0]:g} to {known[-1]:g}" if known else "no work has a number there"
            raise UsageError(f"no work of corpus {self.name!r} has {column} from {low:g} to {high:g}; {span}")
        return replace(self, works=works)

    def exclude(self, names: str | Work | Iterable[str | Work]) -> "Corpus":
        """The corpus without the works named, each as `find` takes it. Raises UsageError when nothing would be left."""
        out = {work.name if isinstance(work, Work) else self.find(work).name for work in _as_list(names)}
        works = tuple(work for work in self.works if work.name not in out)
        require(bool(works), f"excluding {len(out)} works leaves nothing of corpus {self.name!r}")
        return replace(self, works=works)

    def without_copies(self) -> "Corpus":
        """The corpus with one of every set of probable copies: the one with most pixels, of equal ones the first by name."""
        best: dict[str, Work] = {}
        for work in self.works:
            if work.copies and (work.copies not in best or _pixels(work) > _pixels(best[work.copies])):
                best[work.copies] = work
        return replace(self, works=tuple(work for work in self.works if not work.copies or work is best[work.copies]))

    def split(self, held_out: float = 0.2, seed: int = 0) -> tuple["Corpus", "Corpus"]:
        """(bank, held out): about the fraction `held_out` of the works is held out, series by series.

        The works of a series stay together, because they are nearly alike, and so do probable copies; a work without either
        is its own group. Groups are drawn in the order of seed, and kept when they bring the count nearer to the one asked
        for. Deterministic. Raises UsageError when `held_out` is not between 0 and 1 or all works are one series.
        """
        number = isinstance(held_out, int | float) and not isinstance(held_out, bool)
        require(number and 0 < held_out < 1, f"held_out is {held_out!r}; give a fraction between 0 and 1")
        groups: dict[tuple[str, str], list[Work]] = {}
        for work in self.works:
            alone = ("series", work.series) if work.series else ("work", work.name)
            groups.setdefault(("copies", work.copies) if work.copies else alone, []).append(work)
        require(len(groups) > 1, f"cannot split corpus {self.name!r}: its works are one series, or it has only one")
        require(isinstance(seed, int), f"seed is {seed!r}; give a whole number")
        order = sorted(groups)
        random.Random(seed).shuffle(order)
        wanted = min(max(round(held_out * len(self)), 1), len(self) - 1)
        held: set[str] = set()
        for group in order:
            larger = len(held) + len(groups[group])
            if larger < len(self) and abs(larger - wanted) < abs(len(held) - wanted):
                held.update(work.name for work in groups[group])
        if not held:  # every series is more than twice as large as what is wanted
            smallest = min(order, key=lambda group: len(groups[group]))
            held.update(work.name for work in groups[smallest])
        inside = tuple(work for work in self.works if work.name in held)
        return self.exclude(inside), replace(self, works=inside)


def told_apart(corpora: Sequence[Corpus]) -> list[str]:
    """The names of corpora, of which those that are alike begin with as many of the folders above as tell them apart."""
    names = [corpus.name for corpus in corpora]
    above = [corpus.root.relative_to(corpus.root.anchor).parts[:-1] for corpus in corpora]
    for depth in range(1, max(map(len, above), default=0) + 1):
        longer = ["/".join((*folders[-depth:], corpus.name)) for folders, corpus in zip(above, corpora, strict=True)]
        names = [more if names.count(name) > 1 else name for name, more in zip(names, longer, strict=True)]
    return names


def _pixels(work: Work) -> int:
    return work.width * work.height


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def listed(values: Iterable[str], limit: int = 12) -> str:
    """'a', 'b' and 3 more."""
    every = [repr(value) for value in values]
    return ", ".join(every[:limit]) + (f" and {len(every) - limit} more" if len(every) > limit else "")


def normal(text: str) -> str:
    """Text as it compares: file systems and spreadsheets compose accents differently (Unicode NFD and NFC)."""
    return unicodedata.normalize("NFC", text)
