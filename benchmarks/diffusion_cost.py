"""What does diffusion cost on this machine? Seconds and memory at the true shapes of Stable Diffusion 1.5, with random weights.

    python benchmarks/diffusion_cost.py -o runs/diffusion_cost.csv [--device cuda]

Costs do not depend on what the weights are. Every row is measured in a process of its own, so that its peak of memory is its
own: a picture encoded and decoded, one evaluation of the UNet, and a step of DreamBooth's LoRA with and without class pictures.
Of `--repeat` times the least counts. Times are of the wall and of the processor; weights are in bfloat16.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from workbench import encoders, inputs
from workbench.diffusion import base as bases
from workbench.diffusion import dreambooth
from workbench.diffusion.base import Base, library
from workbench.diffusion.dreambooth import DreamBooth
from workbench.study.tables import write_table

ROWS = (
    ("encode a picture", 256), ("encode a picture", 512), ("decode a picture", 256), ("decode a picture", 512),
    ("UNet, one evaluation", 256), ("UNet, one evaluation", 512),
    ("LoRA step", 256), ("LoRA step, checkpointing", 256), ("LoRA step, checkpointing, class picture", 256),
    ("LoRA step, checkpointing", 512),
)  # fmt: skip
"""(what, long side in px)."""
WORKS = 2
"""Works that a training has here: one to learn from, one held out."""


def shaped(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Base:
    """A base with the shapes of Stable Diffusion 1.5 (Rombach et al. 2022), random weights, and the tokenizer of SMALL."""
    diffusers, transformers = library("diffusers"), library("transformers")
    small = bases.load(bases.SMALL)
    levels = 4
    torch.set_default_dtype(dtype)
    unet = diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    words = small.pipe.tokenizer
    shape = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(vocab_size=len(words), **shape, **ends))
    torch.set_default_dtype(torch.float32)
    parts = {"unet": unet, "vae": vae, "text_encoder": text}
    small.pipe.register_modules(**{name: part.to(device).eval().requires_grad_(False) for name, part in parts.items()})
    return Base("Stable Diffusion 1.5, random", "Stable Diffusion 1", "random", small.pipe)


def work(what: str, size: int, base: Base) -> Callable[[], object]:
    """What is measured, as a function that does it once."""
    side = size // base.factor
    x, z = torch.rand(1, 3, size, size, device=base.device), torch.randn(1, 4, side, side, device=base.device)
    if what.startswith("encode"):
        return lambda: base.encode(x)
    if what.startswith("decode"):
        return lambda: base.decode(z)
    if what.startswith("UNet"):
        t, words = torch.tensor([500], device=base.device), base.words(["painting"])
        sizes = torch.tensor([[size, size, 0, 0, size, size]])
        return torch.no_grad()(lambda: base.predict(z, t, words, sizes))
    learnt, held_out = inputs.corpus("umber").works[:WORKS]
    given = {"size": size, "class_images": 1, "class_steps": 1, "prior": float("class picture" in what), "samples": False}
    options = dreambooth.Options(checkpointing="checkpointing" in what, **given)
    tokens = {one.sha256: "sks" for one in (learnt, held_out)}
    family = DreamBooth([learnt], [held_out], base, tokens, encoders.load("embedded", device=base.device.type), options)
    optimiser, draw = family.optimiser(family.painter.parameters()), torch.Generator().manual_seed(0)

    def step() -> None:
        for _, loss in family.losses(draw):
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    return step


def measured(what: str, size: int, device: torch.device, repeat: int) -> dict[str, object]:
    """The row of `what` at `size` px."""
    base = shaped(device)
    once = work(what, size, base)
    before, took = _peak(device), []
    for _ in range(repeat):
        wall, processor = time.perf_counter(), time.process_time()
        once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took.append((time.perf_counter() - wall, time.process_time() - processor))
    wall, processor = min(took)
    return {"what": what, "size": size, "device": device.type, "threads": torch.get_num_threads(), "seconds": wall,
            "cpu_seconds": processor, "peak_gb": max(before, _peak(device))}  # fmt: skip


def _peak(device: torch.device) -> float:
    """Memory in GB that was used at most so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--row", type=int, help="measure this row alone, and print it")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/diffusion_cost.csv"))
    args = parser.parse_args()
    if args.row is not None:
        print(json.dumps(measured(*ROWS[args.row], torch.device(args.device), args.repeat)))
        return
    rows = []
    for k in range(len(ROWS)):
        command = [sys.executable, __file__, "--device", args.device, "--repeat", str(args.repeat), "--row", str(k)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(" ".join(str(value) for value in rows[-1].values()), flush=True)
        write_table(args.out, rows)


if __name__ == "__main__":
    main()
