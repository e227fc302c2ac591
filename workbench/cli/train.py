"""`workbench train`: a network learns from a corpus, is stopped and gone on with; `workbench export`: it leaves for elsewhere."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parser import (
    CORPUS_HELP,
    LOAD,
    add_command,
    check_out,
    count,
    encoder_options,
    given,
    load_encoder,
    open_corpus,
)
from workbench.errors import UsageError, require

if TYPE_CHECKING:
    from workbench.generative.training import Training

PLAN = "workbench.generative.training:Plan"


def declare(commands: Any) -> None:
    parser = add_command(commands, "train", _train, "train a network that paints like an artist in one pass")
    parser.names(parser.add_argument("family", metavar="FAMILY", help="what kind"), "workbench.generative.families:FAMILIES")
    parser.add_argument(
        "--corpus", action="append", required=True, help=f"{CORPUS_HELP}; given several times, of all of them together"
    )
    parser.add_argument("--photos", metavar="DIR", help="folder of photographs (default: procedural scenes and the samples)")
    parser.add_argument("--pairs", metavar="DIR", type=Path, help="folder of photographs painted by neighbours, to be imitated")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="NAME", help="writes NAME.safetensors, .json and .png")
    parser.option("--steps", PLAN, "how long to train; or --minutes, or both", type=int)
    parser.option("--minutes", PLAN, "of work, after which the training ends", type=float)
    parser.option("--rate", PLAN, "factor of the learning rates", type=float)
    parser.option("--seed", PLAN, "of the first weights and of all that is drawn", type=int)
    parser.option("--report-every", PLAN, "steps between two lines, each with what is measured", type=int)
    parser.add_argument("--resume", action="store_true", help="go on with the training of NAME that was stopped")
    parser.add_argument(
        "-p", dest="options", metavar="OPTION=VALUE", action="append", default=[], help="an option of the family, such as crop=256"
    )
    encoder_options(parser)


def _train(args: argparse.Namespace) -> None:
    require(bool(given(args, PLAN).keys() & {"steps", "minutes"}), "say how long to train: --steps or --minutes")
    from workbench.generative import families, trained
    from workbench.generative.networks import parameters_of
    from workbench.generative.training import Plan, Training

    families.known(args.family)
    families.parsed(args.family, args.options)
    out = trained.out_path(args.out)
    try:
        plan = Plan(**given(args, PLAN))
    except UsageError as error:
        raise UsageError(f"--{str(error).replace('_', '-', 1)}") from error
    for path in trained.written(out):
        check_out(path)
    trained.check_free(out, args.resume)
    encoder = load_encoder(args, style=True)
    corpora = [open_corpus(name, *trained.written(out)) for name in args.corpus]
    photographs = None if args.photos is None else open_corpus(args.photos, *trained.written(out))
    works = [work for corpus in corpora for work in corpus]
    family = families.family(
        args.family,
        works,
        photographs,
        encoder=encoder,
        options=args.options,
        pairs_in=args.pairs,
        corpora=args.corpus,
        seed=plan.seed,
        show=True,
    )
    training = Training(family, plan, show=True)
    parameters = {"corpus": args.corpus, "photos": args.photos, "options": args.options, **vars(plan)}
    made = families.made(training, encoder, works, parameters)
    print(f"{args.family}: {len(works)} works, {parameters_of(family.painter):,} parameters", flush=True)
    began = time.monotonic()
    sha256 = trained.train(training, out, resume=args.resume, made=made, report=lambda record: print(_line(training, record), flush=True))
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; sha256 {sha256}")
    print(*trained.written(out)[:3], sep="\n")


def _line(training: "Training", record: dict[str, float]) -> str:
    """One line on a record: the step, what was lost and measured, and the time left."""
    values = "  ".join(f"{name} {value:.4g}" for name, value in record.items() if name not in ("step", "seconds"))
    left = training.seconds_left if record["step"] else None
    return f"step {record['step']}  {values}" + ("" if left is None else f"  {_duration(left)} left")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
