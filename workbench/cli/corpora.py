"""`workbench corpus check` and `workbench corpus split`."""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

from workbench.cli.parser import CORPUS_HELP, add_command, check_out, given, open_corpus
from workbench.errors import require

SPLIT = "workbench.corpora:Corpus.split"


def declare(commands: Any) -> None:
    text = "look at a corpus, or divide it"
    corpus = commands.add_parser("corpus", help=text).add_subparsers(title=text, metavar="COMMAND", required=True)
    check = add_command(corpus, "check", _corpus_check, "report what became of every file; 1 when any was rejected")
    check.add_argument("corpus", metavar="DIR", help=CORPUS_HELP)
    split = add_command(corpus, "split", _corpus_split, "divide the works into bank and held-out, series by series")
    split.add_argument("corpus", metavar="DIR", help=CORPUS_HELP)
    split.option("--held-out", SPLIT, "fraction of the works to hold out", type=float)
    split.option("--seed", SPLIT, "of the draw", type=int)
    split.add_argument("-o", "--out", required=True, type=Path, help="the list to write, .json or .csv")


def _corpus_check(args: argparse.Namespace) -> int:
    from workbench import inputs

    report = inputs.corpus(args.corpus, show=True).report
    print(report)
    return 1 if report.rejected else 0


def _corpus_split(args: argparse.Namespace) -> None:
    check_out(args.out, ".json", ".csv")
    from workbench import storage
    from workbench.corpora import METADATA

    require(args.out.name != METADATA, f"cannot write {args.out}: that name is the description of a corpus; choose another")
    bank, held_out = open_corpus(args.corpus, args.out).split(**given(args, SPLIT))
    parts = {"bank": [work.name for work in bank], "held_out": [work.name for work in held_out]}
    if args.out.suffix.lower() == ".json":
        text = json.dumps(parts, indent=2, ensure_ascii=False) + "\n"
    else:
        table = io.StringIO()
        rows = sorted((name, part) for part, names in parts.items() for name in names)
        csv.writer(table, lineterminator="\n").writerows([("file_name", "split"), *rows])
        text = table.getvalue()
    storage.write_text(args.out, text)
    print(f"bank {len(bank)}, held out {len(held_out)}")
    print(args.out)
