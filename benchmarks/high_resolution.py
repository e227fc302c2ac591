"""Does the look chosen at a small size survive at a large one?

    python benchmarks/high_resolution.py CONTENT CORPUS -o figures/high_resolution.jpg

The blend for a content at 384 px, and four times as large: with the paintings scaled as the picture is, and with
brush 0.25, which keeps strokes of the same number of pixels. Prints how far each, made small again, is from the small one;
the figure shows all three, and a detail of each.
"""

import argparse
from pathlib import Path

from torch import Tensor

from workbench import (
    encoders,
    figures,
    images,
    inputs,
    metrics,
    targets,
)
from workbench import provenance as pv
from workbench.transfer import Settings, Transfer

SMALL, LARGE = 384, 1536
DETAIL = (0.1, 0.22, 0.42, 0.75)  # top, left, bottom, right of the detail, shares of the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("corpus")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    encoder, content, works = encoders.load(args.encoder), inputs.content(args.content), inputs.corpus(args.corpus)
    selection = targets.Selection(works, content, encoder, show=True)

    def made(size: int, target: targets.StyleTarget, brush: float = 1.0) -> Tensor:
        settings = Settings(size=size, steps=args.steps, alpha=args.alpha, brush=brush)
        return Transfer(content, target, encoder, settings).run(show=True).image

    small = made(SMALL, selection.blend())
    results = {f"{SMALL} px": small, f"{LARGE} px": made(LARGE, selection.blend())}
    results[f"{LARGE} px, brush 0.25"] = made(LARGE, selection.blend(), brush=0.25)
    others = {"untouched": content, f"whole oeuvre, {SMALL} px": made(SMALL, selection.whole())}
    for name, picture in {**results, **others}.items():
        found = metrics.distances(images.resize(picture, tuple(small.shape[-2:])), small, encoder)
        print(f"{name:24}", "   ".join(f"{kind} {value:.2f}" for kind, value in found.items()))
    sheet = figures.grid(
        [list(results.values()), [_detail(picture) for picture in results.values()]],
        ["the picture", "a detail"],
        list(results),
        title=f"{inputs.content_path(args.content).stem} after {works.name}, blend: small and large",
    )
    retriever = selection.retriever
    parameters = {"encoder": encoder.identity, "retriever": retriever.identity}
    parameters |= {"steps": args.steps, "alpha": args.alpha, "small": SMALL, "large": LARGE}
    provenance = pv.provenance(
        parameters,
        0,
        {"content": inputs.content_path(args.content), "corpus": works.root},
        {used.name: used.weights_sha256 for used in (encoder, retriever)},
    )
    figures.save(sheet, args.output.with_suffix(""), provenance, dpi=150, suffixes=(args.output.suffix,))


def _detail(picture: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    top, left, bottom, right = DETAIL
    return picture[..., round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


if __name__ == "__main__":
    main()
