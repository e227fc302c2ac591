"""`workbench train dreambooth` and `workbench transfer --method NAME.safetensors`, on a small model: what users type."""

import functools
import json
import shutil
import signal

import pytest
import small_diffusion
from PIL import Image

from workbench import encoders, figures
from workbench.diffusion import lora

OPTIONS = ("size=64", "class_images=2", "class_steps=2", "rank=4", "samples=false", "dropout=.2")
STEPS = ("--steps", "6", "--report-every", "3", "--rate", "50", "--keep-every", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, two_styles):
    """A folder with works, a photograph and a small model."""
    folder = tmp_path_factory.mktemp("command")
    shutil.copytree(two_styles, folder / "works")
    shutil.copytree(small_diffusion.folder(), folder / "base")
    Image.radial_gradient("L").resize((70, 51)).convert("RGB").save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def load_once():
    return functools.cache(encoders.load)


@pytest.fixture
def workbench(capsys, monkeypatch, folder, load_once):
    """Run a command line in `folder`: (status, stdout, stderr)."""
    return small_diffusion.command_line(capsys, monkeypatch, folder, load_once)


def train(*more, out="mine", base="base"):
    options = [word for option in OPTIONS for word in ("-p", option)]
    return ("train", "dreambooth", "--corpus", "works", "--base", base, "--device", "cpu", "-o", out, *STEPS, *options, *more)


def the_line(err):
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("workbench: ")] == lines[-1:], err
    assert "Traceback" not in err
    return lines[-1]


def test_from_a_folder_of_paintings_to_a_picture(workbench, folder):
    status, out, err = workbench(*train("--token", "nob"))
    assert status == 0, err
    assert out.splitlines()[-2:] == ["mine.safetensors", "mine.json"]  # and no picture, which samples=false leaves out
    assert all("held-out" in line and "prior" in line for line in out.splitlines() if line.startswith("step "))
    kept = sorted(path.name for path in folder.glob("mine*.safetensors"))
    assert kept == ["mine-step000003.safetensors", "mine-step000006.safetensors", "mine.safetensors"]
    said = lora.header(folder / "mine.safetensors")
    assert set(said["tokens"]) == {"nob1", "nob2"} and said["base"] == "base" and len(said["held_out"]) >= 1
    assert json.loads((folder / "mine.json").read_text())["status"] == "complete"
    assert str(folder) not in (folder / "mine.json").read_text()

    command = ("transfer", "photo.png", "--corpus", "works", "--method", "mine.safetensors", "--size", "60", "--device", "cpu")
    status, out, err = workbench(*command, "--strength", ".8", "--options", "steps=4", "noise=.6", "-o", "result.png")
    assert status == 0, err
    with Image.open(folder / "result.png") as picture:
        assert picture.size == (60, 44)
    stamp = figures.read_provenance(folder / "result.png")
    assert stamp["parameters"]["options"] == ["steps=4", "noise=.6"] and "mine" in stamp["weights"]
    for name in ("mine-step000003", "mine"):
        assert workbench(*command[:4], "--method", name, *command[6:], "--options", "steps=2", "-o", f"{name}.png")[0] == 0

    status, _, err = workbench("export", "mine", "-o", "mine.onnx")
    assert status == 2 and "cannot be exported" in the_line(err)


@pytest.mark.parametrize(
    "more, says",
    [
        (train(base="./nowhere"), "base ./nowhere: no such folder"),
        (train(base="someone/some-model"), "is not on this machine: give a folder, or --download"),
        (train("-p", "rnak=3"), "has no option 'rnak'"),
        (train("-p", "eight_bit=true"), "eight_bit goes with a GPU"),
        (train("--token", "two words"), "token 'two words'"),
        (train("--photos", "works"), "takes no photographs"),
        (train()[:4] + train()[6:], "needs a base model"),
        (("train", "vae", "--corpus", "works", "-o", "x", "--steps", "1", "--base", "base"), "the family vae takes no base"),
        (
            ("transfer", "photo.png", "--corpus", "works", "-o", "x.png", "--options", "steps=3"),
            "goes with --method strokes or the file of a LoRA",
        ),
    ],
)
def test_what_cannot_be_is_one_line(workbench, folder, more, says):
    command = [*more]
    if "-o" in command and command[0] == "train":
        command[command.index("-o") + 1] = "other"
    status, _, err = workbench(*command)
    assert status in (1, 2) and says in the_line(err)
    assert not (folder / "other.safetensors").exists() and not (folder / "x.png").exists()


def test_ctrl_c_ends_a_picture_in_the_middle(workbench, folder, ctrl_c, monkeypatch):
    from diffusers import UNet2DConditionModel

    if not (folder / "mine.safetensors").exists():
        assert workbench(*train())[0] == 0
    forward, calls = UNet2DConditionModel.forward, []

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return forward(self, *args, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", interrupted)
    command = (
        "transfer",
        "photo.png",
        "--corpus",
        "works",
        "--target",
        "whole",
        "--method",
        "mine.safetensors",
        "--size",
        "60",
    )
    status, _, err = workbench(*command, "--device", "cpu", "--options", "steps=20", "-o", "stopped.png")
    assert status == 130 and "interrupted before the first step; nothing was written" in the_line(err)
    assert len(calls) == 2 and not (folder / "stopped.png").exists()
