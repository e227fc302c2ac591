"""The command `workbench`: a thin wrapper of the package.

Defaults, choices and limits stay with the functions they belong to: an option that is not given is not passed on, and the
help looks its default up. Heavy modules are imported inside the commands: torch takes seconds to import, and
neither `--help` nor a typo should wait for it.
"""

import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from workbench import __version__, memory, progress
from workbench.cli import (
    bench,
    compare,
    corpora,
    distil,
    embeddings,
    evaluate,
    notebooks,
    study,
    train,
    transfer,
)
from workbench.cli.parser import Parser
from workbench.errors import WorkbenchError
from workbench.names import plain

BROKEN_PIPE = 141
"""Exit status that a shell gives to a command that SIGPIPE ended."""
INTERRUPTED = 130
"""Exit status of a command that Ctrl-C or SIGTERM ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default the process's own, and return the exit status.

    0 when everything is done, 1 for a failure, 2 for bad usage, 130 when interrupted, 141 when whoever read the
    output has gone. `--help` and `--version` raise SystemExit(0), as argparse does.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    # SIGTERM, and a terminal that is closed, run the same cleanup as Ctrl-C. What was ignored, as by nohup, stays so.
    ends = [number for number in progress.SIGNALS if number != signal.SIGINT]
    heard = [number for number in ends if signal.getsignal(number) not in (signal.SIG_IGN, None)]  # None: not Python's
    before = {number: signal.signal(number, progress.interrupt) for number in heard}
    thresholds = gc.get_threshold()
    gc.set_threshold(*memory.SELDOM)
    try:
        args = _parser().parse_args(argv)
        status = args.command(args)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain when it flushes at exit
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        debug = "--debug" in argv
        if debug:
            traceback.print_exc()
        message, status = _message(error, "" if debug else " (run again with --debug for the traceback)")
        print(f"workbench: {plain(' '.join(message.splitlines()))}", file=sys.stderr)
        return status
    finally:
        gc.set_threshold(*thresholds)
        for number, handler in before.items():
            signal.signal(number, handler)


def _message(error: BaseException, hint: str) -> tuple[str, int]:
    """The message of `error`, with a `hint` where it is a fault of the workbench, and the exit status."""
    if isinstance(error, WorkbenchError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.filename}: {error.strerror}", WorkbenchError.exit_code
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted", INTERRUPTED
    return f"{type(error).__name__}: {error}{hint}", 1


def _parser() -> Parser:
    parser = Parser(prog="workbench", description="Transfer an artist's style rather than the style of one picture.")
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (transfer, compare, corpora, embeddings, notebooks, study, distil, train, evaluate, bench):
        module.declare(commands)
    return parser
