"""`workbench train`: a network learns from a corpus, with stops that lose nothing; `workbench export`: it goes elsewhere."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
    warn,
)
from workbench.errors import UsageError, require
from workbench.paths import written

if TYPE_CHECKING:
    from workbench.generative.trained import Trained
    from workbench.generative.training import Training

PLAN = "workbench.generative.training:Plan"
T = TypeVar("T")


def declare(commands: Any) -> None:
    parser = add_command(commands, "train", _train, "train a network that paints like an artist in one pass")
    parser.names(parser.add_argument("family", metavar="FAMILY", help="what kind"), "workbench.generative.families:FAMILIES")
    parser.add_argument(
        "--corpus", action="append", required=True, help=f"{CORPUS_HELP}; given several times, of all of them together"
    )
    parser.add_argument(
        "--photos",
        metavar="DIR",
        action="append",
        help="folder of photographs; given several times, of all of them together (default: procedural scenes and the samples)",
    )
    parser.add_argument(
        "--imitate",
        metavar="N",
        type=count,
        default=0,
        help="artist: paint N photographs by neighbours first, and imitate them",
    )
    parser.add_argument("--pairs", metavar="DIR", type=written, help="where these pictures are kept (default: NAME.pairs)")
    parser.add_argument(
        "--base",
        metavar="MODEL",
        default="",
        help="dreambooth: Stable Diffusion, a folder or a name on the hub; small: what comes with the package",
    )
    parser.add_argument("--token", default="", metavar="WORD", help="dreambooth: the artist's word (default: sks)")
    parser.add_argument("--download", action="store_true", help="dreambooth: fetch the base from the hub if it is not here")
    parser.add_argument(
        "-o", "--out", required=True, type=written, metavar="NAME", help="writes NAME.safetensors, .json and .png"
    )
    parser.option("--steps", PLAN, "how long to train; or --minutes, or both", type=int)
    parser.option("--minutes", PLAN, "of work, after which the training ends", type=float)
    parser.option("--rate", PLAN, "factor of the learning rates", type=float)
    parser.option("--seed", PLAN, "of the first weights and of all that is drawn", type=int)
    parser.option("--report-every", PLAN, "steps between two lines, each with what is measured", type=int)
    parser.add_argument(
        "--keep-every", metavar="N", type=count, help="keep the network of every N steps, as NAME-step000500.safetensors"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training of NAME that was stopped")
    parser.add_argument("--begin", metavar="NAME", help="a trained network to begin from, of the same family and architecture")
    parser.add_argument(
        "-p",
        dest="options",
        metavar="OPTION=VALUE",
        action="append",
        default=[],
        help="of the family, such as crop=256",
    )
    encoder_options(parser, names="workbench.generative.families:DRIVERS")
    out = add_command(commands, "export", _export, "write a trained network as ONNX, or the code of a target for one")
    out.add_argument("network", metavar="NAME", help="a network that workbench train made, or one in the package")
    out.add_argument("-o", "--out", type=written, metavar="FILE", help="the network, .onnx")
    out.add_argument("--code", type=written, metavar="FILE", help="artist networks: a target's code, as .npy or .json")
    out.add_argument("--corpus", help=f"{CORPUS_HELP}, whose code is wanted")
    out.add_argument("--style", metavar="PAINTING", help="the one painting whose code is wanted: a work of --corpus")


def _before_the_first_step(make: Callable[..., T], *args: Any, **options: Any) -> T:
    """What `make` makes. Stopped, it says how to go on: pictures and latents that were made so far are kept."""
    try:
        return make(*args, **options)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("interrupted before the first step; the same command goes on from what was made") from stop


def _train(args: argparse.Namespace) -> None:
    require(bool(given(args, PLAN).keys() & {"steps", "minutes"}), "say how long to train: --steps or --minutes")
    from workbench.generative import families, imitation, trained
    from workbench.generative.networks import parameters_of
    from workbench.generative.training import Plan, Training, accelerator

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
    together = accelerator()
    if together is not None:
        setattr(args, f"{LOAD} device", str(together.device))
    encoder = load_encoder(args, style=True)
    pairs = args.pairs or (out.with_suffix(".pairs") if args.imitate else None)
    writes = [*trained.written(out), *([imitation.picture_path(pairs, 0)] if pairs else [])]
    corpora = [open_corpus(name, *writes) for name in args.corpus]
    folders = args.photos and [open_corpus(name, *writes) for name in args.photos]
    photographs = folders and [work for folder in folders for work in folder]
    works = [work for corpus in corpora for work in corpus]
    family = _before_the_first_step(
        families.family,
        args.family,
        works,
        photographs,
        encoder=encoder,
        options=args.options,
        pairs_in=pairs,
        imitate=args.imitate,
        corpora=args.corpus,
        base=args.base,
        token=args.token,
        download=args.download,
        seed=plan.seed,
        show=True,
    )
    begin = None
    if args.begin is not None:
        begin = trained.read(trained.find(args.begin))
        warn(trained.ambiguity(args.begin))
        require(begin.family == args.family, f"--begin {args.begin}: a network of the family {begin.family}, not {args.family}")
    training = Training(family, plan, begin=begin and begin.network.state_dict(), show=True, accelerator=together)
    parameters = {"corpus": args.corpus, "photos": args.photos, "options": args.options, **vars(plan)}
    parameters |= {name: value for name in ("base", "token") if (value := getattr(args, name))}
    parameters |= {"begin": begin.sha256, "begin_steps": begin.header["steps"]} if begin else {}
    made = families.made(training, encoder, works, parameters)
    print(f"{args.family}: {len(works)} works, {parameters_of(family.painter):,} parameters", flush=True)
    began = time.monotonic()

    def report(record: dict[str, float]) -> None:
        print(_line(training, record), flush=True)

    sha256 = trained.train(training, out, resume=args.resume, keep_every=args.keep_every, made=made, report=report)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes; sha256 {sha256}")
    print(*(path for path in trained.written(out)[:3] if path.exists()), sep="\n")


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


def _export(args: argparse.Namespace) -> None:
    require(args.out is not None or args.code is not None, "say what to write: -o FILE.onnx, --code FILE.npy, or both")
    require((args.code is None) == (args.corpus is None), "--code and --corpus go together: whose code, and where it is to go")
    require(args.style is None or args.corpus is not None, "--style needs --corpus")
    if args.out is not None:
        check_out(args.out, ".onnx")
    if args.code is not None:
        check_out(args.code, ".npy", ".json")
    from workbench.generative import export, trained

    network = trained.read(trained.find(args.network))
    warn(trained.ambiguity(args.network))
    require(args.code is None or network.family == "artist", f"--code: a network of the family {network.family} takes no code")
    if args.out is not None:
        print(export.onnx(network, args.out))
    if args.code is not None:
        print(_write_code(args, network))


def _write_code(args: argparse.Namespace, network: "Trained") -> Path:
    """Write the code of the target of the command line, one number of K in a row of one."""
    import json

    import numpy as np

    from workbench import storage, targets
    from workbench.generative import artist
    from workbench.methods.trained import stranger

    corpus = open_corpus(args.corpus, args.code)
    target = targets.whole(corpus) if args.style is None else targets.single(corpus.find(args.style))
    warn(stranger(network, target))
    code = artist.code_of(network, target).numpy()
    with storage.atomic(args.code) as temporary:
        if args.code.suffix.lower() == ".json":
            temporary.write_text(json.dumps(code.tolist()) + "\n", encoding="utf-8")
        else:
            np.save(temporary, code)
    return args.code
