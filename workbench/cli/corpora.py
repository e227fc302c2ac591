"""`workbench corpus check`, `workbench corpus split`, `workbench corpus genres` and `workbench corpus fetch`."""

import argparse
import csv
import io
import json
import os
from typing import Any

from workbench.cli.parser import CORPUS_HELP, add_command, check_out, count, encoder_options, given, load_encoder, open_corpus
from workbench.errors import require
from workbench.names import inert_path
from workbench.paths import written

SPLIT = "workbench.corpora:Corpus.split"
GENRES = "workbench.retrieval.genres:propose"
FETCH = "workbench.corpora.museums:fetch"


def declare(commands: Any) -> None:
    text = "look at a corpus, or divide it"
    corpus = commands.add_parser("corpus", help=text).add_subparsers(title=text, metavar="COMMAND", required=True)
    check = add_command(corpus, "check", _corpus_check, "report what became of every file; 1 when any was rejected")
    check.add_argument("corpus", metavar="DIR", help=CORPUS_HELP)
    split = add_command(corpus, "split", _corpus_split, "divide the works into bank and held-out, series by series")
    split.add_argument("corpus", metavar="DIR", help=CORPUS_HELP)
    split.option("--held-out", SPLIT, "fraction of the works to hold out", type=float)
    split.option("--seed", SPLIT, "of the draw", type=int)
    split.add_argument("--without-copies", action="store_true", help="of probable copies, take the largest alone")
    split.add_argument("-o", "--out", required=True, type=written, help="the list to write, .json or .csv")
    genres = add_command(corpus, "genres", _corpus_genres, "propose genres for the works that have none, by labelled works")
    genres.add_argument("corpus", metavar="DIR", help=CORPUS_HELP)
    text = "corpora of which the works with a genre vote"
    genres.add_argument("--from", required=True, nargs="+", dest="labelled", metavar="LABELLED", help=text)
    genres.option("-k", GENRES, "how many of them vote for a work", type=count)
    encoder_options(genres, retrieves="lite0")
    text = "metadata with genre_proposed and genre_confidence, .csv: a new file; what the corpus says stays as it is"
    genres.add_argument("-o", "--out", required=True, type=written, help=text)
    fetch = add_command(
        corpus, "fetch", _corpus_fetch, "fetch an artist's open-access works from museums; 1 when one could not be read"
    )
    fetch.add_argument("--artist", required=True, help='name as museums write it, such as "Vincent van Gogh"')
    sources = fetch.add_argument("--from", required=True, nargs="+", dest="sources", metavar="MUSEUM", help="one or more")
    fetch.names(sources, "workbench.corpora.museums:SOURCES")
    fetch.option("--limit", FETCH, "pictures that the folder is to hold", type=count)
    fetch.option("--kind", FETCH, "the museum's word for the kind of work, or any")
    fetch.add_argument("--contact", help="your e-mail or web address, which museums are told (default: $WORKBENCH_CONTACT)")
    fetch.add_argument("--dry-run", action="store_true", help="count the works, and fetch none")
    fetch.add_argument("-o", "--out", required=True, type=written, metavar="DIR", help="folder: new, or one to go on with")


def _corpus_check(args: argparse.Namespace) -> int:
    from workbench import inputs
    from workbench.targets import weighted
    from workbench.transfer import Settings

    corpus = inputs.corpus(args.corpus, show=True)
    report = corpus.report
    print(report)
    if enlarged := weighted("whole", corpus, [1.0] * len(corpus), "").enlarged(Settings().size):
        print(f"warning: {enlarged}; what is enlarged is blurred: --size can be less")
    return 1 if report.rejected else 0


def _corpus_fetch(args: argparse.Namespace) -> int:
    from workbench.corpora import museums

    names = dict.fromkeys(name for word in args.sources for name in word.split("|"))
    for name in names:
        require(name in museums.SOURCES, f"no museum {name!r}; there are {', '.join(museums.SOURCES)}")
    sources = [museums.SOURCES[name] for name in names]
    contact = args.contact or os.environ.get("WORKBENCH_CONTACT", "")
    options = {"contact": contact, "dry_run": args.dry_run, "show": True, **given(args, FETCH)}
    report = museums.fetch(args.artist, sources, args.out, **options)
    print("\n".join(report.lines()))
    return 1 if report.stopped or report.failed else 0


def _corpus_genres(args: argparse.Namespace) -> None:
    check_out(args.out, ".csv")
    require(not args.out.exists(), f"cannot write {args.out}: there is such a file; choose another")
    from workbench import inputs, storage
    from workbench.corpora.metadata import csv_text
    from workbench.retrieval import genres

    corpus = open_corpus(args.corpus, args.out)
    unknown = [work for work in corpus if not work.genre]
    require(bool(unknown), f"every work of {corpus.name} has a genre: there is none to propose")
    labelled = [work for name in args.labelled for work in inputs.corpus(name, show=True) if work.genre]
    encoder, options = load_encoder(args, style=False), given(args, GENRES)
    found = genres.propose(unknown, labelled, encoder, **options, show=True)
    right, chance = genres.precision(labelled, encoder, **options)
    proposed = {
        work.name: {"genre_proposed": genre, "genre_confidence": f"{confidence:.2f}"}
        for work, (genre, confidence) in zip(unknown, found, strict=True)
    }
    columns = [column for column in corpus.columns if column not in ("genre_proposed", "genre_confidence")]
    rows = [
        {column: work.metadata.get(column, "") for column in columns} | {"file_name": work.name} | proposed.get(work.name, {})
        for work in corpus
    ]
    storage.write_text(args.out, csv_text(["file_name", *columns, "genre_proposed", "genre_confidence"], rows))
    sure = sum(confidence >= 0.7 for _, confidence in found)
    print(f"{len(unknown)} of {len(corpus)} works have no genre; {sure} proposals have a confidence of 0.70 or more")
    print(
        f"of the {len(labelled)} works that vote {right:.0%} are right by the others, {chance:.0%} by the most frequent genre"
    )
    print(args.out)


def _corpus_split(args: argparse.Namespace) -> None:
    check_out(args.out, ".json", ".csv")
    from workbench import storage
    from workbench.corpora import METADATA

    require(args.out.name != METADATA, f"cannot write {args.out}: that name is the description of a corpus; choose another")
    corpus = open_corpus(args.corpus, args.out)
    corpus = corpus.without_copies() if args.without_copies else corpus
    bank, held_out = corpus.split(**given(args, SPLIT))
    parts = {"bank": [work.name for work in bank], "held_out": [work.name for work in held_out]}
    if args.out.suffix.lower() == ".json":
        text = json.dumps(parts, indent=2, ensure_ascii=False) + "\n"
    else:
        table = io.StringIO()
        rows = sorted((inert_path(name), part) for part, held in parts.items() for name in held)
        csv.writer(table, lineterminator="\n").writerows([("file_name", "split"), *rows])
        text = table.getvalue()
    storage.write_text(args.out, text)
    print(f"bank {len(bank)}, held out {len(held_out)}")
    print(args.out)
