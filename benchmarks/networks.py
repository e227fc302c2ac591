"""The networks that benchmarks compare, trained one after the other: hours, in any number of sittings.

    python benchmarks/networks.py --corpora corpora/ --photos photos/ --out runs/families
    python benchmarks/networks.py --corpora corpora/ --photos photos/ --only vincent-van-gogh-one-sided

Each entry of networks.json is a name and the arguments of `workbench train`; {corpora}, {photos} and {out} in them stand for
these folders, {half} for OUT/half, where each corpus that is named there has half of its works: log-odds of an artist are
taken of networks that learnt from a half. What is trained is left alone, and what was stopped is resumed. Entries come after
those that they begin from.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from workbench.corpora import ingest
from workbench.corpora.works import METADATA
from workbench.errors import UsageError, require
from workbench.generative.trained import SUFFIX, checkpoint_path

RECIPES = Path(__file__).with_name("networks.json")


def read(path: Path) -> dict[str, list[str]]:
    """name -> arguments of `workbench train`, but for -o. UsageError where the file is no such table."""
    found = json.loads(path.read_text(encoding="utf-8"))
    whole = isinstance(found, dict) and all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in found.values()
    )
    require(whole, f"{path} is no table of names and lists of words")
    return found


def halve(words: list[str], folders: dict[str, Path]) -> None:
    """Link half of the works of every corpus that `words` name below {half}, series by series, with their metadata."""
    for word in words:
        if word.startswith("{half}/"):
            whole = folders["corpora"] / word.removeprefix("{half}/")
            half = folders["half"] / whole.name
            half.mkdir(parents=True, exist_ok=True)
            learnt, _ = ingest(whole).split(0.5)
            for path in (*(work.path for work in learnt), whole / METADATA):
                if path.is_file() and not (half / path.name).exists():
                    (half / path.name).symlink_to(path.resolve())


def command(name: str, words: list[str], folders: dict[str, Path]) -> list[str]:
    """The command that trains the network `name` to its end, from where it was stopped."""
    filled = [word.format(**{key: str(folder) for key, folder in folders.items()}) for word in words]
    out = folders["out"] / name
    stopped = checkpoint_path(out.with_suffix(SUFFIX)).exists()
    return [sys.executable, "-m", "workbench", "train", *filled, "-o", str(out), *(["--resume"] if stopped else [])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=Path, required=True, help="folder with a folder of works for every artist")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/families"), help="where networks go (%(default)s)")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="JSON file of names and arguments (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train these alone")
    args = parser.parse_args()
    recipes = read(args.recipes)
    unknown = set(args.only or ()) - set(recipes)
    if unknown:
        raise UsageError(f"no network {', '.join(sorted(unknown))}: choose from {', '.join(recipes)}")
    args.out.mkdir(parents=True, exist_ok=True)
    folders = {"corpora": args.corpora, "photos": args.photos, "out": args.out, "half": args.out / "half"}
    for name in args.only or recipes:
        if not (args.out / f"{name}{SUFFIX}").exists():
            print(f"{name}:", flush=True)
            halve(recipes[name], folders)
            done = subprocess.run(command(name, recipes[name], folders))
            if done.returncode:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
