"""What bfloat16 convolutions change in a transfer.

    python benchmarks/precision.py CONTENT PAINTING -o figures/precision.jpg

The same transfer in float32 and in bfloat16, by both encoders, each judged in float32. Optimisation makes small differences
grow: beside them stands a float32 transfer whose content is disturbed by noise of a thousandth of a level.
"""

import argparse
from pathlib import Path

import torch

from workbench import (
    encoders,
    figures,
    images,
    inputs,
    targets,
)
from workbench import provenance as pv
from workbench.corpora import Work
from workbench.transfer import Settings, Transfer
from workbench.transfer.problem import Problem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content")
    parser.add_argument("painting", type=Path)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    content = inputs.content(args.content)
    sides = images.read(args.painting).image.size
    target = targets.single(Work(args.painting.name, args.painting, pv.sha256(args.painting), *sides))
    noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(0)) / 255_000
    settings = Settings(method="gram", size=args.size, plateau=0)
    rows, used = [], {}
    for name in ("vgg19", "embedded"):
        judge = encoders.load(name, device=args.device, precision="float32")
        half = encoders.load(name, device=args.device, precision="bfloat16")
        used[name] = judge.weights_sha256
        ways = {"float32": (judge, content), "bfloat16": (half, content), "float32, disturbed": (judge, content + noise)}
        found = {way: Transfer(start, target, encoder, settings).run(show=True) for way, (encoder, start) in ways.items()}
        objective = Problem(content.to(judge.device), target, settings).objective(args.size, judge)
        for way, result in found.items():
            with torch.no_grad():
                total, parts = objective(result.image)
            far = float((result.image - found["float32"].image).abs().mean() * 255)
            losses = "  ".join(f"{kind} {float(value):.5f}" for kind, value in parts.items() if kind in ("content", "style"))
            print(
                f"{name:9} {way:19} {losses}  total {float(total):.5f}  {far:5.2f} levels from float32  {result.seconds:6.1f} s"
            )
        rows.append([result.image for result in found.values()])
    sheet = figures.grid(rows, ["vgg19", "embedded"], list(ways), title="One transfer in float32 and in bfloat16")
    origin = {"content": inputs.content_path(args.content), "painting": args.painting}
    made = pv.provenance({"size": args.size, "steps": settings.steps, "alpha": settings.alpha}, 0, origin, used)
    figures.save(sheet, args.output.with_suffix(""), made, dpi=150, suffixes=(args.output.suffix,))


if __name__ == "__main__":
    main()
