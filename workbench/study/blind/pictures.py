"""What a blind study shows: results in a table, contents, and works of the artists that no result was made from."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench import provenance
from workbench.corpora import Corpus, Work
from workbench.errors import WorkbenchError, require
from workbench.storage import read_text
from workbench.study.blind.plan import Check, Item

UNTOUCHED = "content"
"""What a table calls the method of a row whose picture is the untouched content."""
REFERENCES = 6
"""Works shown beside every pair."""
CHECKS = 6
"""Checks asked of every rater."""


@dataclass(frozen=True)
class Table:
    """A CSV file of pictures. sources: artist -> names of the works they were made from; None where the file does not say."""

    items: tuple[Item, ...]
    contents: dict[str, str]
    sources: dict[str, frozenset[str]] | None


@dataclass(frozen=True)
class Pictures:
    """Arguments of `plan`, which describes them."""

    items: tuple[Item, ...]
    contents: dict[str, str]
    references: dict[str, tuple[str, ...]]
    checks: tuple[Check, ...]
    files: dict[str, str]


def read_table(path: Path, methods: Sequence[str] = ()) -> Table:
    """Read a CSV file with the columns artist, content, method (or setup), file, and perhaps seed and sources.

    file: from the folder of the table; sources: names of works, with | between them. Rows of the method "content" give the
    untouched pictures. `methods`: those that are compared; () is all. Raises WorkbenchError for a file that holds no such
    table, UsageError for a method that no row has.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, "utf-8-sig"), newline="")))
    except OSError as error:
        raise WorkbenchError(f"cannot read the table {path}: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise WorkbenchError(f"{path} is not a table of pictures: {error}") from error
    columns = set(rows[0]) if rows else set()
    named = "method" if "method" in columns else "setup"
    lacking = [name for name in ("artist", "content", named, "file") if name not in columns]
    if lacking:
        raise WorkbenchError(f"the table {path} has no column {lacking[0].replace('setup', 'method')!r}, or no row")
    items, contents = [], {}
    sources: dict[str, set[str]] = defaultdict(set)
    for line, row in enumerate(rows, start=2):
        method, seed = row[named], row.get("seed") or "0"
        if not all(row[name] for name in ("artist", "content", named, "file")) or not seed.isdecimal():
            raise WorkbenchError(
                f"{path}, line {line}: artist, content, method or file is empty, or the seed is no whole number"
            )
        picture = str(path.parent / row["file"])
        if method == UNTOUCHED:
            contents[row["content"]] = picture
        elif not methods or method in methods:
            items.append(Item(method, row["artist"], row["content"], int(seed), picture))
            sources[row["artist"]].update(name for name in (row.get("sources") or "").split("|") if name)
    known = {item.method for item in items}
    missing = [method for method in methods if method not in known]
    require(not missing, f"no picture in {path} is by the method {', '.join(missing)}")
    said = {artist: frozenset(found) for artist, found in sources.items()} if "sources" in columns else None
    return Table(tuple(items), contents, said)


def unseen(corpus: Corpus, sources: Iterable[str]) -> list[Work]:
    """The works that are none of `sources` (names) and in a series with none of them."""
    names = set(sources)
    groups = {work.group for work in corpus if work.name in names}
    return [work for work in corpus if work.group not in groups]


def gather(
    items: Sequence[Item],
    contents: Mapping[str, str],
    held_out: Mapping[str, Sequence[Work]],
    *,
    references: int = REFERENCES,
    checks: int = CHECKS,
    seed: int = 0,
) -> Pictures:
    """`items` with what is shown beside them: for every artist `references` works, and `checks` in all with other works.

    contents: name -> path of the untouched picture; held_out: artist -> works that no item was made from, from which
    references and checks are drawn by `seed`. Raises UsageError where there are too few.
    """
    require(
        references > 0 and checks >= 0, f"references={references}, checks={checks}: give at least 1 work, and checks from 0"
    )
    rng = np.random.default_rng(seed)
    shown: dict[str, tuple[str, ...]] = {}
    known: list[list[Check]] = []
    for artist in sorted({item.artist for item in items}):
        works, needed = held_out.get(artist, ()), references + (checks > 0)
        require(
            len(works) >= needed,
            f"{artist}: {references} works are shown beside the pairs" + (" and another in the checks" if checks else "")
            + f", and only {len(works)} were not seen by any method",
        )  # fmt: skip
        order = [str(works[i].path) for i in rng.permutation(len(works))]
        shown[artist] = tuple(sorted(order[:references]))
        seen = sorted({item.content for item in items if item.artist == artist} & set(contents))
        seen = [seen[i] for i in rng.permutation(len(seen))]
        turns = [(k, (k + turn) % len(seen)) for turn in range(len(seen)) for k in range(len(order) - references)]
        known.append([Check(artist, seen[c], order[references + k], contents[seen[c]]) for k, c in turns])
    chosen = [found[i] for i in range(max(map(len, known), default=0)) for found in known if i < len(found)][:checks]
    paths = [*(item.picture for item in items), *contents.values(), *(path for works in shown.values() for path in works)]
    paths += [check.genuine for check in chosen]
    files = {path: provenance.sha256(Path(path)) for path in sorted(set(paths))}
    return Pictures(tuple(items), dict(contents), shown, tuple(chosen), files)
