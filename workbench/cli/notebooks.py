"""`workbench run`: a notebook from its parameters to its run folder; `workbench sweep`: one over many parameters."""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from workbench.cli.parser import add_command, count, given
from workbench.errors import WorkbenchError, require
from workbench.names import plain
from workbench.paths import written

RUN, SWEEP = "workbench.runs:run", "workbench.runs:sweep"


def _parameters(words: Sequence[str]) -> str:
    """The parameters of the notebook in a command line that asks for help, a line for each; "" without a notebook."""
    notebook = next((word for word in words if word.endswith(".ipynb")), None)
    if notebook is None:
        return ""
    from workbench.runs.declarations import parameters

    lines = [f"parameters of {plain(notebook)}, for -p NAME=VALUE:"]
    for one in parameters(written(notebook)):
        default = "required" if one.required else f"{one.default!r}"
        lines += [f"  {one.name}: {one.annotation} = {default}", *([f"      {one.comment}"] if one.comment else [])]
    return "\n".join(map(plain, lines))


def declare(commands: Any) -> None:
    parser = add_command(commands, "run", _run, "execute a notebook into a run folder, its parameters checked first")
    parser.more_help = _parameters
    parser.add_argument("notebook", metavar="NOTEBOOK", type=written)
    parser.add_argument(
        "-p", dest="assignments", metavar="NAME=VALUE", action="append", default=[], help="set a parameter; may be repeated"
    )
    parser.option("--settings", RUN, "JSON object of parameters, which -p overrides", type=written)
    parser.option("--out", RUN, "folder that receives <notebook>/<run-id>", type=written)
    parser.option("--timeout", RUN, "seconds that a cell may take", type=_seconds)

    parser = add_command(
        commands, "sweep", _sweep, "execute a notebook for every combination of parameters in a grid, resumably"
    )
    parser.add_argument(
        "grid", type=written, metavar="GRID", help="YAML: notebook, vary: {name: [values]}, fixed: {name: value}"
    )
    text = "folder that receives <notebook>/<run-id>, and <notebook>/sweep.csv and index.html"
    parser.option("--out", RUN, text, type=written)
    parser.option("--workers", SWEEP, "runs at a time, each in a process of its own", type=count)
    parser.option("--on", SWEEP, "where they are made: here; ray, on this machine; or ray:ADDRESS, a cluster")
    parser.add_argument("--retry", action="store_true", help="make failed runs again, though nothing has changed")


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
    if values.get("content") or values.get("corpus"):  # looked at now, and not in the fourth cell
        from workbench import inputs

        for name, look in (("content", inputs.content_path), ("corpus", inputs.corpus_path)):
            if isinstance(value := values.get(name), str) and value:
                look(value)
    result = runs.run(args.notebook, values, **options)
    print(result.folder)
    for figure in record.listed(result.folder):
        print(figure)
    if result.status != "complete":
        raise WorkbenchError(f"{args.notebook}: {result.error}; see {result.folder / 'executed.ipynb'}")


def _sweep(args: argparse.Namespace) -> None:
    from workbench import runs
    from workbench.runs import index_page

    grid, options = runs.read_grid(args.grid), given(args, RUN) | given(args, SWEEP)
    failed = kept = number = 0
    for number, one in enumerate(runs.sweep(grid, retry=args.retry, **options), 1):
        varied = ", ".join(f"{name} = {value!r}" for name, value in one.varied.items())
        notes = [
            "kept" if one.is_kept else "",
            f"made again: {one.why}" if one.why else "",
            f"failed: {one.error}" if one.error else "",
        ]
        if not sys.stdout.isatty():  # there the table says it
            print("  ".join(filter(None, [f"{number:4}", str(one.folder), varied, *notes])), flush=True)
        failed += one.error is not None
        kept += one.is_kept and one.error is not None
    base = one.folder.parent
    for name in (f"{index_page.OVERVIEW}.png", index_page.PAGE, runs.sweeping.TABLE):
        if (base / name).is_file():
            print(base / name)
    if failed:
        again = "; --retry makes them again" if kept else ""
        raise WorkbenchError(f"{failed} of {number} runs failed{again}")
