"""Which encoder finds paintings that show the same? Precision among the five nearest, by genre, for each encoder.

    python benchmarks/retrieval.py DATA

DATA holds corpora/<artist>/ with metadata.csv, and content/ with mona_lisa.jpg and girl_with_a_pearl_earring.jpg. Asked are
all works together, the works of each artist with fifty or more, and those of the synthetic painters. Prints a table and
writes benchmarks/retrieval.json.

Every work asks for its five nearest others outside of its series; precision is the share of them with the work's genre,
portrait and self-portrait being one. "portraits" is the precision of the portraits alone. Differences to `embedded` are paired
by work; their 95 % intervals come from a bootstrap over series and lone works. "near" is how many of the ten works nearest to
a portrait, or a photograph of a person, are portraits.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workbench import encoders, images, inputs, samples, storage
from workbench.corpora import Work, ingest
from workbench.encoders import Encoder
from workbench.retrieval import descriptors, embeddings
from workbench.retrieval.precision import precisions_at_k

ENCODERS = ("lite0", "embedded", "vgg19")
BASE = "embedded"  # that differences are to
K, NEAR = 5, 10
MANY = 50  # works of an artist who is asked alone
RESAMPLES = 10_000
OUT = Path(__file__).with_name("retrieval.json")


def genre(work: Work) -> str:
    """The genre of a work; a self-portrait is a portrait."""
    return "portrait" if work.genre == "self-portrait" else work.genre


def measured(works: Sequence[Work], encoder: Encoder, people: dict[str, Path] | None = None) -> dict:
    """What one encoder finds: "each" (n,) the precision of every work, and means, in [0, 1].

    people: name -> picture of a person, of which to count the portraits among the NEAR nearest works.
    """
    space = embeddings.embed(works, encoder, "content", show=True)
    labels = [genre(work) for work in works]
    each, chance = precisions_at_k(space, labels, K, groups=[work.series and work.group for work in works])
    portraits = np.array([label == "portrait" for label in labels])
    found = {"each": each, "precision": float(np.nanmean(each)), "chance": float(np.nanmean(chance))}
    if portraits.any():
        found |= {"portraits": float(np.nanmean(each[portraits])), "chance of portraits": float(np.nanmean(chance[portraits]))}
    near = {}
    for name, path in (people or {}).items():
        picture = images.load(path, encoder.embedding_size).to(encoder.device)
        similar = space.similarities(descriptors.describe(picture, encoder, "content"))
        near[name] = int(portraits[np.argsort(-similar, kind="stable")[:NEAR]].sum())
    return found | ({"near": near} if near else {})


def difference(first: np.ndarray, second: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """The mean of first - second over works (n,), NaN left out, and its 95 % interval from a bootstrap over groups."""
    delta = first - second
    known = ~np.isnan(delta)
    names, index = np.unique(np.asarray(groups)[known], return_inverse=True)
    sums, counts = np.bincount(index, weights=delta[known]), np.bincount(index)
    drawn = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return {"mean": float(delta[known].mean()), "low": float(low), "high": float(high)}


def table(data: Path) -> dict:
    """corpus -> {works, encoder -> what it finds, with its difference to BASE}."""
    artists = [ingest(folder) for folder in sorted((data / "corpora").iterdir()) if folder.is_dir()]
    asked = {"all works": [work for artist in artists for work in artist]}
    asked |= {artist.name: list(artist) for artist in artists if len(artist) >= MANY}
    asked |= {painter: list(inputs.corpus(painter)) for painter in samples.PAINTERS}
    people = {name: data / "content" / f"{name}.jpg" for name in ("mona_lisa", "girl_with_a_pearl_earring")}
    people["grace_hopper"] = inputs.content_path("grace_hopper")
    networks = {name: encoders.load(name) for name in ENCODERS}
    found = {}
    for corpus, works in asked.items():
        rows = {name: measured(works, network, people) for name, network in networks.items()}
        base = rows[BASE]["each"]
        for name, row in rows.items():
            each = row.pop("each")
            if name != BASE:
                row[f"minus {BASE}"] = difference(each, base, [work.group for work in works])
        found[corpus] = {"works": len(works), **rows}
    weights = {name: {"sha256": n.weights_sha256, "precision": n.precision} for name, n in networks.items()}
    return {"k": K, "near": NEAR, "encoders": weights, "corpora": found}


def lines(found: dict) -> list[str]:
    """The table as text, in percent."""
    head = ("corpus", "works", "encoder", "precision", "chance", "portraits", "chance", f"minus {BASE}", "near")
    text = ["{:18}{:>6}  {:10}{:>10}{:>8}{:>10}{:>8}  {:24}{}".format(*head)]
    for corpus, rows in found["corpora"].items():
        for name in ENCODERS:
            row = rows[name]
            of = [f"{100 * row[key]:.1f}" if key in row else "" for key in ("precision", "chance", "portraits")]
            of.append(f"{100 * row['chance of portraits']:.1f}" if "chance of portraits" in row else "")
            far = row.get(f"minus {BASE}")
            versus = f"{100 * far['mean']:+.1f} ({100 * far['low']:+.1f} to {100 * far['high']:+.1f})" if far else ""
            near = " ".join(map(str, row["near"].values()))
            text.append(
                "{:18}{:6}  {:10}{:>10}{:>8}{:>10}{:>8}  {:24}{}".format(corpus, rows["works"], name, *of, versus, near)
            )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder with corpora/<artist>/ and content/")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = table(args.data)
    print(*lines(found), sep="\n")
    storage.write_text(args.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
