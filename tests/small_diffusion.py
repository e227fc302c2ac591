"""A small Stable Diffusion that has learnt a little: "painting" of grey patterns, for tests of what is learnt on top of it."""

import functools
import tempfile
from pathlib import Path

import torch

from workbench import cli, encoders
from workbench.diffusion import base, tiny
from workbench.diffusion.dreambooth import denoising

WORDS = ("sks", "painting", "photograph", "portrait", "landscape")


@functools.cache
def folder(kind: str = "sd") -> Path:
    """The folder of a model with random weights: "sd", "v" (which predicts v) or "xl"."""
    place = Path(tempfile.mkdtemp(), kind)
    return tiny.write(place, xl=kind == "xl", prediction="v_prediction" if kind == "v" else "epsilon", words=WORDS)


def opened(kind: str = "sd") -> base.Base:
    """That model, in float32."""
    return base.load(folder(kind), dtype=torch.float32)


def command_line(capsys, monkeypatch, place: Path, load):
    """A function that runs a command line in the folder `place`, encoders coming from `load`: (status, stdout, stderr)."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(encoders, "load", load)
    monkeypatch.setattr(encoders, "has_bfloat16", lambda device: False)

    def run(*argv):
        status = cli.main([str(word) for word in argv])
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return run


@functools.cache
def learnt() -> Path:
    """The folder of the model "sd" after 200 steps on grey patterns and the word painting."""
    model = opened()
    draw = torch.Generator().manual_seed(0)
    model.pipe.unet.requires_grad_(True)
    optimiser = torch.optim.Adam(model.pipe.unet.parameters(), lr=2e-3)
    coarse = torch.rand(32, 1, 4, 4, generator=draw).expand(-1, 3, -1, -1)
    latents, _ = model.encode(torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear"))
    words = model.words(["painting"])
    for _ in range(200):
        z = latents[torch.randint(32, (8,), generator=draw)]
        t = torch.randint(model.steps, (8,), generator=draw)
        loss = denoising(model, z, torch.randn(z.shape, generator=draw), t, words[[0] * 8]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    place = Path(tempfile.mkdtemp(), "learnt")
    with base.quiet():
        model.pipe.save_pretrained(place)
    return place
