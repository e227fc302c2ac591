"""`workbench study`: register a study before it is painted; a blind study that is given to people."""

import argparse
from typing import Any

from workbench.cli.parser import CORPUS_HELP, add_command, check_out, count, given, open_corpus
from workbench.errors import require
from workbench.paths import written

PLAN = "workbench.study.blind.plan:plan"
RULE = "workbench.study.blind.plan:Rule"
PAGE = "workbench.study.blind.page:page"
GATHER = "workbench.study.blind.pictures:gather"
POWER = "workbench.study.blind.power:power"
VERSIONS = 24
"""Of a page: orders and choices of pairs, of which every rater is given one."""
TRIALS = 60
"""Pairs that a rater sees at most: ten minutes with two questions."""


def declare(commands: Any) -> None:
    text = "fix what a study is to show; ask people which pictures are more like the artist"
    study = commands.add_parser("study", help=text).add_subparsers(title=text, metavar="COMMAND", required=True)

    blind = add_command(study, "blind", _blind, "write a blind study as one HTML file, and the key that names the methods")
    blind.add_argument(
        "table",
        type=written,
        metavar="PICTURES.csv",
        help="columns artist, content, method, file (from the folder of the table), and perhaps seed and sources (the works a "
        "picture was made from, with | between them); rows of the method content give the untouched pictures",
    )
    blind.add_argument("--corpora", nargs="+", required=True, metavar="CORPUS", help=f"of every artist: {CORPUS_HELP}")
    blind.add_argument(
        "--contents",
        nargs="+",
        default=[],
        metavar="CONTENT",
        help="image files or sample photographs; the table may have them",
    )
    blind.add_argument(
        "--held-out", nargs="+", metavar="WORK", help="works that no method saw (default: those in no row's sources)"
    )
    blind.add_argument("--methods", nargs="+", default=[], metavar="METHOD", help="those that are compared (default: all)")
    blind.add_argument("--contact", required=True, help="who receives the answers: a name and an address, which raters read")
    blind.option("--title", PAGE, "of the page")
    blind.option("--size", PAGE, "long side of the pictures of a pair, px; the page may have 20 MB", type=count)
    blind.add_argument("--trials", type=count, default=TRIALS, help="pairs that a rater sees at most (default: %(default)s)")
    blind.add_argument(
        "--versions",
        type=count,
        default=VERSIONS,
        help="orders and choices of pairs in the file, of which every rater is given one (default: %(default)s)",
    )
    blind.option("--repeats", PLAN, "share of the pairs that are asked again with sides swapped", type=float)
    blind.add_argument(
        "--ties", dest=f"{PLAN} ties", action="store_true", default=argparse.SUPPRESS, help="allow the answer: no difference"
    )
    blind.option("--references", GATHER, "works shown beside every pair", type=count)
    blind.option("--checks", GATHER, "pairs with a known answer, for every rater", type=int)
    blind.option(
        "--least-checks",
        RULE,
        "share of right answers to checks, below which a rater does not count",
        name="checks",
        type=float,
    )
    blind.option(
        "--least-answered", RULE, "share of questions answered, below which a rater does not count", name="answered", type=float
    )
    blind.option(
        "--least-seconds", RULE, "median time for an answer, below which a rater does not count", name="seconds", type=float
    )
    blind.option("--seed", PLAN, "of all that is random", type=int)
    blind.add_argument("-o", "--out", required=True, type=written, help="the page, .html")
    blind.add_argument(
        "--key",
        type=written,
        help="the plan, which names the methods: not for raters (default: the page's name with .key.json)",
    )

    tally = add_command(study, "tally", _tally, "say what the raters' answers say")
    tally.add_argument(
        "answers", nargs="+", type=written, metavar="ANSWERS.json", help="files that the raters sent back, or folders of them"
    )
    tally.add_argument("--key", required=True, type=written, help="as workbench study blind wrote it")

    register = add_command(
        study, "register", _register, "fix endpoints, contrasts, exclusions and power of a study before anything is painted"
    )
    register.add_argument(
        "design", type=written, metavar="DESIGN.json", help="the settings of notebook 06: contents, corpora, methods and so on"
    )
    register.add_argument(
        "-o", "--out", required=True, type=written, help="the registration, .json: commit it, and give it to notebook 06"
    )

    power = add_command(study, "power", _power, "say how likely a study of two methods finds a difference, by simulation")
    power.add_argument("--raters", nargs="+", type=count, default=[5, 10, 20, 40], metavar="N", help="(default: 5 10 20 40)")
    power.add_argument("--contents", nargs="+", type=count, default=[9, 20, 40], metavar="N", help="(default: 9 20 40)")
    power.option(
        "--share", POWER, "how often the better method is chosen, on a middling content by a middling rater", type=float
    )
    power.option("--by-content", POWER, "how much contents differ: standard deviation of the log odds", type=float)
    power.option("--by-rater", POWER, "how much raters differ", type=float)
    power.option("--studies", POWER, "simulated for each number", type=count)
    power.option("--seed", POWER, "of the simulation", type=int)


def _blind(args: argparse.Namespace) -> None:
    check_out(args.out, ".html", ".htm")
    key = args.key or args.out.with_suffix(".key.json")
    check_out(key, ".json")
    from workbench import inputs, storage
    from workbench.study import blind
    from workbench.study.blind.pictures import read_table, unseen

    rule = blind.Rule(**given(args, RULE))
    table = read_table(args.table, args.methods)
    corpora = {corpus.name: corpus for corpus in (open_corpus(name, args.out, key) for name in args.corpora)}
    artists = sorted({item.artist for item in table.items})
    missing = [artist for artist in artists if artist not in corpora]
    require(not missing, f"--corpora lacks {', '.join(missing)}, which {args.table} names; it has {', '.join(corpora)}")
    contents = {path.stem: str(path) for path in map(inputs.content_path, args.contents)} | table.contents
    missing = sorted({item.content for item in table.items} - set(contents))
    require(
        not missing, f"there is no picture of the content {', '.join(missing)}: give --contents, or rows of the method content"
    )
    if args.held_out:
        found = {artist: [work for name in args.held_out for work in corpora[artist].named(name)] for artist in artists}
        unknown = [name for name in args.held_out if not any(corpora[artist].named(name) for artist in artists)]
        require(not unknown, f"--held-out: no corpus has a work {', '.join(unknown)}")
        used = [work.name for artist in artists for work in found[artist] if work.name in (table.sources or {}).get(artist, ())]
        require(not used, f"--held-out names {', '.join(used)}, from which a picture in {args.table} was made")
    else:
        require(table.sources is not None, f"{args.table} does not say which works a picture was made from: give --held-out")
        found = {artist: unseen(corpora[artist], table.sources[artist]) for artist in artists}
    shown = blind.gather(table.items, contents, found, **given(args, GATHER), **_seed(args))
    plan = blind.plan(**vars(shown), rule=rule, versions=args.versions, trials=args.trials, **given(args, PLAN))
    text = blind.page(plan, contact=args.contact, **given(args, PAGE))
    plan.save(key)
    storage.write_text(args.out, text)
    version = plan.versions[0]
    print(f"plan {plan.hash[:12]}: {len(plan.methods)} methods, {len(plan.contents)} contents, {len(artists)} artists")
    print(f"{len(version.trials)} pairs for every rater, {len(shown.checks)} of them checks; {len(plan.versions)} versions")
    print(f"those count {plan.rule}")
    print(f"{args.out}  for raters, {args.out.stat().st_size / 1e6:.1f} MB")
    print(f"{key}  for you alone: it names the methods")


def _seed(args: argparse.Namespace) -> dict[str, int]:
    return {name: value for name, value in given(args, PLAN).items() if name == "seed"}


def _tally(args: argparse.Namespace) -> None:
    from workbench.study import blind
    from workbench.study.blind.tally import tally

    plan = blind.Plan.load(args.key)
    files = [file for path in args.answers for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    keys = {args.key.resolve()}
    ballots = blind.each_once(blind.read(file, plan) for file in files if file.resolve() not in keys)
    print("\n".join(tally(plan, ballots)))


def _register(args: argparse.Namespace) -> None:
    check_out(args.out, ".json")
    from workbench.study.registration import Design, register

    design = Design.read(args.design)
    made = register(design.study(), design)
    made.save(args.out)
    visible = {name: found["standard_deviations"] for name, found in made.power["visible"].items()}
    print(f"{len(made.contrasts)} tests in one family, of {', '.join(made.compared) or 'nothing'}")
    for name, found in made.power["visible"].items():
        seen = "no difference" if visible[name] is None else f"a difference of {visible[name]:.2g} standard deviations"
        print(f"{name}: {found['contents']} contents, which show {seen} with a power of {made.power['power']:.0%}")
    print(f"{args.out}  sha256 {made.sha256}")


def _power(args: argparse.Namespace) -> None:
    from workbench.study import blind

    options = given(args, POWER)
    found = {(one.raters, one.contents): one.found for one in blind.power(args.raters, args.contents, **options)}
    print("chance that the 95% interval of the better method leaves out even odds")
    print(f"{'raters':>8}" + "".join(f"{f'{contents} contents':>14}" for contents in args.contents))
    for raters in args.raters:
        print(f"{raters:8}" + "".join(f"{found[raters, contents].mean:14.2f}" for contents in args.contents))
    print(
        f"{next(iter(found.values())).total} simulated studies each; every rater compares the two methods once on every content"
    )
