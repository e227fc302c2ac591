"""Reading a command line: options that borrow their defaults, and arguments that several commands share."""

import argparse
import difflib
import importlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from workbench.errors import UsageError, WorkbenchError, require

if TYPE_CHECKING:
    from workbench.corpora import Corpus
    from workbench.encoders import Encoder

LOAD = "workbench.encoders:load"
ENCODERS = "workbench.encoders:ENCODERS"
CORPUS_HELP = "folder of paintings, or a sample painter"


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, and whose help takes defaults and choices from where they belong."""

    def __init__(self, **options: Any):
        super().__init__(**options, allow_abbrev=False)
        self._borrowed: list[tuple[argparse.Action, str, str]] = []
        self._listed: list[tuple[argparse.Action, str]] = []
        self.more_help: Callable[[Sequence[str]], str] | None = None
        """What the help says besides for a command line."""
        self.add_argument("--debug", action="store_true", help="print the traceback of an error")

    def option(self, flag: str, owner: str, text: str, *, name: str = "", **options: Any) -> argparse.Action:
        """An option that is the parameter `name` (by default called like the flag) of `owner`, "module:function"."""
        word = flag.lstrip("-").replace("-", "_")
        name = name or word
        action = self.add_argument(
            flag, help=text, dest=f"{owner} {name}", metavar=word.upper(), default=argparse.SUPPRESS, **options
        )
        self._borrowed.append((action, owner, name))
        return action

    def names(self, action: argparse.Action, owner: str) -> None:
        """Let the help of `action` list the names in `owner`, "module:names"."""
        self._listed.append((action, owner))

    def format_help(self) -> str:
        while self._listed:
            action, owner = self._listed.pop()
            action.help = f"{action.help}: {', '.join(_look_up(owner))}"
        while self._borrowed:
            action, owner, name = self._borrowed.pop()
            parameter = inspect.signature(_look_up(owner)).parameters[name]
            if get_origin(parameter.annotation) is Literal:
                action.metavar = "{" + ",".join(get_args(parameter.annotation)) + "}"
            if parameter.default not in (None, parameter.empty, ()):
                action.help += f" (default: {parameter.default})"
        return super().format_help()

    def parse_known_args(self, args=None, namespace=None):
        """argparse's, but UsageError for an option that does not exist, with the one that is spelt most like it."""
        if self.more_help is not None and {"-h", "--help"} & set(args or ()):
            self.epilog = self.more_help(args)
            self.formatter_class = argparse.RawDescriptionHelpFormatter
        found, unknown = super().parse_known_args(args, namespace)
        for word in unknown:
            flag = word.partition("=")[0]
            near = difflib.get_close_matches(flag, self._option_string_actions, n=1) if flag.startswith("--") else []
            if near:
                self.error(f"unrecognized arguments: {' '.join(unknown)}; did you mean {near[0]}?")
        return found, unknown

    def error(self, message: str) -> None:
        raise UsageError(f"{message}; see {self.prog} --help")


def _look_up(owner: str) -> Callable:
    module, _, path = owner.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def given(args: argparse.Namespace, owner: str) -> dict[str, Any]:
    """The parameters of `owner` that the command line gives."""
    return {key.removeprefix(f"{owner} "): value for key, value in vars(args).items() if key.startswith(f"{owner} ")}


def add_command(commands: Any, name: str, command: Callable, text: str) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
    parser.set_defaults(command=command)
    return parser


def encoder_options(parser: Parser, *, retrieves: str = "", names: str = "workbench.encoders:PAINTING") -> None:
    """--encoder, --precision and --device.

    `retrieves`: the default of --encoder where any encoder serves; `names`: where, if not, those that do are listed.
    """
    if retrieves:
        text = f"network that compares pictures (default: {retrieves})"
        action = parser.add_argument("--encoder", dest=f"{LOAD} name", metavar="ENCODER", default=argparse.SUPPRESS, help=text)
        parser.names(action, ENCODERS)
    else:
        text = "network that says how a picture is painted"
        parser.names(parser.option("--encoder", LOAD, text, name="name"), names)
    parser.option("--precision", LOAD, "numeric precision of the encoder's convolutions")
    parser.option("--device", LOAD, "where torch computes: auto, cpu, cuda, mps")


def retriever_option(parser: Parser) -> None:
    """--retriever."""
    text = "network that says which paintings fit (default: lite0)"
    parser.names(parser.add_argument("--retriever", metavar="ENCODER", help=text), ENCODERS)


def index_option(parser: Parser) -> None:
    parser.add_argument(
        "--index",
        metavar="STORE",
        default="exact",
        help="where vectors of paintings are kept and searched: exact, in memory; lancedb:FOLDER; chroma://, postgresql://, "
        "redis://, qdrant:, milvus:, weaviate: or pinecone: with an address; #NAME for one of several (default: exact)",
    )


def count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def check_out(out: Path, *suffixes: str) -> None:
    """Refuse a file that could not be written, before the work it is to receive is done."""
    require(
        not suffixes or out.suffix.lower() in suffixes,
        f"cannot write {out}: unknown suffix {out.suffix!r}; use {' or '.join(suffixes)}",
    )
    try:
        require(not out.is_dir(), f"cannot write {out}: it is a folder; name a file")
        # The folders in between are made when there is something to put into them.
        with tempfile.TemporaryFile(dir=next(folder for folder in out.absolute().parents if folder.exists())):
            pass
    except OSError as error:
        raise WorkbenchError(f"cannot write {out}: {error.strerror or error}") from error


def figure_files(out: Path | None) -> tuple[Path, ...]:
    """The files of a figure that is called `out`, which has a suffix: both PNG and PDF. None is none."""
    return () if out is None else (out.with_suffix(".png"), out.with_suffix(".pdf"))


def check_apart(writes: Iterable[Path], reads: Mapping[str, Path | None], flag: str = "--out") -> None:
    """Refuse to write over what is read. `reads`: what it is, in words -> the file or None; `flag`: names what is written."""
    for out in writes:
        for what, path in reads.items():
            same = path is not None and path.resolve() == out.resolve()
            require(not same, f"cannot write {out}: it is {what}; choose another name for {flag}")


def warn(*doubts: str) -> None:
    """Say each of `doubts` that is not empty, on stderr."""
    for doubt in filter(None, doubts):
        print(f"warning: {doubt}", file=sys.stderr, flush=True)


def open_corpus(name: str, *writes: Path | None) -> "Corpus":
    """The corpus called `name`; files that are left out are not left out in silence.

    `writes` are the files that the command is to write, None for one that it is not. They may not lie in the corpus.
    """
    from workbench import inputs

    corpus = inputs.corpus(name, show=True)
    for out in filter(None, writes):
        corpus.check_outside(out)
    if corpus.report.rejected:
        print(f"{corpus.name}: {corpus.report.lines()[0]}; workbench corpus check says why", file=sys.stderr)
    if corpus.report.copies:
        pairs = len(corpus.report.copies)
        print(f"{corpus.name}: {pairs} pairs of works are probably copies; workbench corpus check names them", file=sys.stderr)
    return corpus


def load_encoder(args: argparse.Namespace, *, style: bool) -> "Encoder":
    """The encoder of --encoder; without one, where no style layers are needed, the one that retrieves."""
    from workbench import encoders

    encoder = encoders.load(**({} if style else {"name": encoders.RETRIEVER}) | given(args, LOAD))
    require(
        not style or bool(encoder.style_layers),
        f"encoder {encoder.name} has no style layers: it serves to search, and as --retriever; choose embedded or vgg19",
    )
    return encoder


def load_retriever(args: argparse.Namespace, encoder: "Encoder") -> "Encoder":
    """The encoder of --retriever, on the device of `encoder`."""
    from workbench import encoders

    if args.retriever is None:
        return encoders.retriever(encoder.device)
    if args.retriever == encoder.name:
        return encoder
    return encoders.load(**given(args, LOAD) | {"name": args.retriever})
