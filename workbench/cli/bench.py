"""`workbench bench`: runs the benchmark of a checkout, benchmarks/bench.py, which is no part of the installed package."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from workbench.cli.parser import add_command, count
from workbench.errors import WorkbenchError, require
from workbench.paths import written

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "bench.py"
STYLES = ("vincent-van-gogh", "claude-monet", "paul-cezanne")


def declare(commands: Any) -> None:
    parser = add_command(commands, "bench", _bench, "measure the engine against a plain reference; takes an hour or more")
    parser.add_argument("data", metavar="DIR", type=written, help="folder with photos/ and corpora/<artist>/")
    parser.add_argument("--styles", nargs="+", metavar="ARTIST", default=STYLES, help=f"(default: {' '.join(STYLES)})")
    parser.add_argument("--sizes", nargs="+", type=count, metavar="PX", help="of the transfers (default: 256 512)")
    parser.add_argument("--pairs", type=count, help="of a photograph and a painting (default: 9)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="what is measured (default: cpu)")
    parser.add_argument("--out", metavar="DIR", type=written, help="what was measured there is kept (default: runs/bench)")


def _bench(args: argparse.Namespace) -> None:
    require(BENCHMARK.is_file(), "the benchmark is in the repository, not in the package: run this in a checkout")
    folders = [args.data / "photos", *(args.data / "corpora" / artist for artist in args.styles)]
    for folder in folders:
        require(folder.is_dir(), f"{folder}: no such folder")
    if args.device is not None:
        from workbench.encoders import choose_device

        choose_device(args.device)
    command = [sys.executable, str(BENCHMARK), "--contents", str(folders[0]), "--styles", *map(str, folders[1:])]
    for name in ("sizes", "pairs", "device", "out"):
        value = getattr(args, name)
        if value is not None:
            command += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise WorkbenchError(f"{BENCHMARK.name} ended with status {status}")
