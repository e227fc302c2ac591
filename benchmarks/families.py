"""What each family paints, what it costs, and what a judge says of it: the judged figure, and a table.

    python benchmarks/families.py --contents portrait.jpg landscape.jpg --corpus vincent-van-gogh/ --setups families.json \
        --size 512 -o figures/families

Every content by every setup (see setups.py), judged as in tradeoff.py, in a figure of each: OUT_CONTENT.jpg. Costs are measured
on the first content, each setup in a process of its own, once the works are known: seconds of a picture (`seconds` that pass,
`cpu` of all threads together; a second picture, so that nothing is read or compiled), and its peak `memory`, GB. `training`:
minutes, from the setup, or from the record beside the network. Writes RUNS/families.csv. What is painted is not painted again.
"""

import json
import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import setups
import tradeoff
from setups import Selections, Setup
from tradeoff import Painted, Row

from workbench import figures, inputs, methods
from workbench.errors import require
from workbench.generative.trained import SUFFIX
from workbench.provenance import sha256
from workbench.study.tables import write_table
from workbench.targets import StyleTarget

REPEATS = 5
"""Pictures of which the median is taken, by a method that paints at once. One that goes step by step is timed once."""


def trained_minutes(way: Setup, painter: str) -> float:
    """Minutes that training took, 0 where there is nothing to train; NaN where neither the setup says it nor the record.

    A record counts the seconds that passed while the training worked: on a crowded machine more than it was given.
    """
    path = setups.network(way, painter)
    if way.minutes is not None:
        return way.minutes
    return _recorded(path) if path else 0.0


def _recorded(path: Path) -> float:
    """Minutes by the record beside the network, and by that of the network in this folder that its training began from."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return float("nan")
    record = json.loads(beside.read_text(encoding="utf-8"))
    minutes = float(record["seconds"]) / 60
    begun = record.get("provenance", {}).get("parameters", {}).get("begin")
    if begun is None:
        return minutes
    before = (other for other in path.parent.glob(f"*{SUFFIX}") if other != path and sha256(other) == begun)
    return minutes + next(map(_recorded, before), float("nan"))


def cost(way: Setup, target: StyleTarget, content: str, painter: str, size: int) -> Row:
    """What a picture of `content` costs in this process; see the module. `painter`: the name of a corpus."""
    settings, picture, driver = way.made_with({"size": size}, painter), inputs.content(content), way.driver()
    method = methods.get(settings.method)
    passed, worked = [], []
    for _ in range(2 if method.has_steps else 1 + REPEATS):
        began = time.perf_counter(), time.process_time()
        method.begin(picture, target, driver, settings).run()
        passed.append(time.perf_counter() - began[0])
        worked.append(time.process_time() - began[1])
    return {"seconds": float(np.median(passed[1:])), "cpu": float(np.median(worked[1:])), "memory": peak_memory()}


def peak_memory() -> float:
    """Gigabytes that this process has held at most; NaN where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / 1e9 if found else float("nan")


def costs(ways: list[Setup], chosen: Selections, content: str, size: int) -> dict[str, Row]:
    """setup -> its cost, each in a fresh process."""
    found: dict[str, Row] = {}
    for way in ways:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            asked = fresh.submit(cost, way, chosen.target(way), content, chosen.corpus.name, size)
            found[way.name] = asked.result()
        found[way.name]["training"] = trained_minutes(way, chosen.corpus.name)
        print(way.name, *(f"{name} {value:.3g}" for name, value in found[way.name].items()), flush=True)
    return found


def panel(one: Painted, known: Row) -> figures.Panel:
    """A picture, what was measured, and what it cost."""
    lines = [f"content {one.row['away']:.2f} · blend {one.row['style']:.2g}", f"oeuvre {one.row['oeuvre']:.2g}"]
    if one.way is None:
        return figures.Panel("Content", one.picture, lines=lines)
    minutes = float(known["training"])
    trained = f"trained {max(1, round(minutes))} min" if minutes > 0 else "no training" if minutes == 0 else "training unknown"
    return figures.Panel(
        one.way.title or one.way.name, one.picture, lines=[*lines, f"{trained} · {_time(float(known['cpu']))} of CPU"]
    )


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def main() -> None:
    parser = tradeoff.arguments(__doc__.splitlines()[0], 512)
    parser.add_argument("--runs", type=Path, default=Path("runs/families"), help="keeps the pictures and the table")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="writes OUT_CONTENT.jpg")
    parser.add_argument("--labels", nargs="+", metavar="NAME", help="what the contents are called in the figure, one for each")
    parser.add_argument("--dpi", type=int, default=225)
    args = parser.parse_args()
    ways, contents, corpus = tradeoff.opened(args)
    labels = args.labels or [name.replace("_", " ").replace("-", " ").capitalize() for name in contents]
    require(len(labels) == len(contents), f"--labels: {len(labels)} names for {len(contents)} contents")
    judge = tradeoff.load_judge(args.judge)
    made = list(tradeoff.painted(ways, contents, corpus, judge, {"size": args.size}, args.runs))
    known = costs(ways, Selections(corpus, next(iter(contents.values()))), args.contents[0], args.size)
    rows = [{**one.row, **(known[one.way.name] if one.way else {})} for one in made]
    write_table(args.runs / "families.csv", rows)
    provenance = {"command": "families", **tradeoff.made_of(args, ways, corpus, judge)}
    for name, label in zip(contents, labels, strict=True):
        panels = [panel(one, known.get(str(one.row["setup"]), {})) for one in made if one.row["content"] == name]
        whose, judged = corpus.works[0].artist or corpus.name, {"vgg19": "VGG-19"}.get(args.judge, args.judge)
        title = f"{label} after {whose}, {args.size} px, judged by {judged}"
        sheet = figures.side_by_side(panels, title=title)
        output = args.output.with_name(f"{args.output.name}_{name}")
        print(*figures.save(sheet, output, provenance, dpi=args.dpi, suffixes=(".jpg",)), sep="\n")


if __name__ == "__main__":
    main()
