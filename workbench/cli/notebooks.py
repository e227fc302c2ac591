"""`workbench run`: a notebook from its parameters to its run folder."""

import argparse
import math
from typing import Any

from workbench.cli.parser import add_command, given
from workbench.errors import WorkbenchError, require

RUN = "workbench.runs:run"


def declare(commands: Any) -> None:
    parser = add_command(commands, "run", _run, "execute a notebook into a run folder, its parameters checked first")
    parser.add_argument("notebook", metavar="NOTEBOOK")
    parser.add_argument(
        "-p", dest="assignments", metavar="NAME=VALUE", action="append", default=[], help="set a parameter; may be repeated"
    )
    parser.option("--settings", RUN, "JSON object of parameters, which -p overrides")
    parser.option("--out", RUN, "folder that receives <notebook>/<run-id>")
    parser.option("--timeout", RUN, "seconds that a cell may take", type=_seconds)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _run(args: argparse.Namespace) -> None:
    from workbench import runs
    from workbench.runs import record

    values, options = runs.parse(args.notebook, args.assignments), given(args, RUN)
    twice = "out" in options and values.get("out")
    require(not twice, "--out and -p out=FOLDER both say where the run goes; give one of them")
    result = runs.run(args.notebook, values, **options)
    print(result.folder)
    for figure in record.listed(result.folder):
        print(figure)
    if result.status != "complete":
        raise WorkbenchError(f"{args.notebook}: {result.error}; see {result.folder / 'executed.ipynb'}")
