"""`workbench train` and `workbench export`, and what they made as a method: from pictures in a folder to a picture."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import PATIENCE, until

from workbench import cli, encoders, figures
from workbench.generative import families, trained
from workbench.generative.artist import Artist

OPTIONS = ("crop=48", "batch=1", "widths=4,6,8", "blocks=1", "size=64")
TINY = ("--encoder", "random", "--device", "cpu", *(word for option in OPTIONS for word in ("-p", option)))
STEPS = ("--steps", "8", "--report-every", "3")


@pytest.fixture(scope="module")
def load_once():
    return functools.cache(encoders.load)


@pytest.fixture
def workbench(capsys, monkeypatch, pictures, load_once):
    """Run a command line in the folder of `pictures`: (status, stdout, stderr)."""
    monkeypatch.chdir(pictures)
    monkeypatch.setattr(encoders, "load", load_once)

    def run(*argv):
        status = cli.main([str(word) for word in argv])
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with works, photographs and an empty folder."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, count in (("works", 3), ("photos", 3), ("lone", 1), ("empty", 0)):
        (folder / name).mkdir()
        for k in range(count):
            Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((72, 60)).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def net(pictures):
    """A network, trained without a stop. Its name, without the suffix."""
    before = Path.cwd()
    os.chdir(pictures)
    try:
        assert cli.main(["train", "artist", "--corpus", "works", "--photos", "photos", "-o", "net", *STEPS, *TINY]) == 0
    finally:
        os.chdir(before)
    return "net"


def the_line(err):
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("workbench: ")] == lines[-1:], err
    assert "Traceback" not in err
    return lines[-1]


def train(*more, out="other"):
    return ("train", "artist", "--corpus", "works", "--photos", "photos", "-o", out, *STEPS, *TINY, *more)


def test_one_photograph_is_not_enough(workbench):
    status, _, err = workbench("train", "artist", "--corpus", "works", "--photos", "lone", "-o", "new", *STEPS, *TINY)
    assert status == 2 and "one photograph is not enough" in the_line(err) and not list(Path().glob("new*"))


def record(path):
    """What OUT.json says, but for the times."""
    found = json.loads(path.read_text())
    del found["seconds"], found["cpu_seconds"]
    for line in found["history"]:
        del line["seconds"]
    return found


def test_several_folders_of_photographs_are_taken_together(workbench, net):
    status, _, err = workbench(*train("--photos", "lone", "--begin", "net", out="both"))
    assert status == 0, err
    header = json.loads(Path("both.json").read_text())["header"]
    assert header["photographs"] == 3  # of four, one is held out


def test_training_writes_a_network_its_course_and_samples_with_their_provenance(workbench, pictures, net):
    header = trained.read(pictures / "net.safetensors").header
    described = record(pictures / "net.json")
    assert described["status"] == "complete" and [line["step"] for line in described["history"]] == [0, 3, 6, 8]
    assert header["steps"] == 8 and header["encoder"] == "random" and len(header["works"]) == 3
    made = figures.read_provenance(pictures / "net.png")
    assert made == {**header["provenance"], "steps": 8} and header["provenance"] == described["provenance"]
    assert made["parameters"]["corpus"] == ["works"] and made["weights"]["random"] == header["encoder_sha256"]
    assert str(pictures) not in (pictures / "net.json").read_text()


def test_every_report_is_a_line_with_the_time_left(workbench, pictures):
    status, out, err = workbench(*train(out="lines"))
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["0", "3", "6", "8"]
    assert all("objective" in line for line in lines) and all(line.endswith(" left") for line in lines[1:])
    assert out.splitlines()[-3:] == ["lines.safetensors", "lines.json", "lines.png"]
    assert "only 2 photographs" in err


KILLED = """
import sys, time
from pathlib import Path
from workbench import cli
from workbench.generative import trained
from workbench.generative.training import Training
trained.CHECKPOINT_EVERY = 0
step = Training._step
def waiting(training):
    if training.step == 5:
        Path("waits").touch()
        time.sleep(600)
    step(training)
Training._step = waiting
sys.exit(cli.main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_outright_and_gone_on_with_it_comes_to_the_bytes_of_an_unbroken_run(workbench, pictures, net):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, *train(out="cut")]
    process = subprocess.Popen(
        command, cwd=pictures, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    until((pictures / "waits").exists, process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL and not (pictures / "cut.safetensors").exists()
    assert json.loads((pictures / "cut.json").read_text())["status"] == "running"

    status, _, err = workbench(*train(out="cut"))
    assert status == 2 and "go on with --resume" in the_line(err)
    status, _, err = workbench("transfer", "photos/0.png", "--corpus", "works", "--method", "cut", "-o", "x.png")
    assert status == 2 and "stopped before its end: workbench train ... -o cut --resume" in the_line(err)
    status, _, err = workbench(*train("-p", "alpha=.3", "--resume", out="cut"))
    assert status == 2 and "the state of another training" in the_line(err)

    status, out, err = workbench(*train("--resume", out="cut"))
    assert status == 0, err
    assert [line.split()[1] for line in out.splitlines() if line.startswith("step ")] == ["6", "8"]
    for suffix in (".safetensors", ".png"):
        assert (pictures / f"cut{suffix}").read_bytes() == (pictures / f"net{suffix}").read_bytes()
    assert record(pictures / "cut.json") == record(pictures / "net.json")
    assert sorted(path.name for path in pictures.glob("*cut*")) == ["cut.json", "cut.png", "cut.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_step_and_says_how_to_go_on(workbench, ctrl_c, pictures, monkeypatch, net, number):
    def signalled(family, draw, losses=Artist.losses):
        if family.steps == 4:
            signal.raise_signal(number)
        family.steps += 1
        return losses(family, draw)

    monkeypatch.setattr(Artist, "losses", signalled)
    monkeypatch.setattr(Artist, "steps", 0, raising=False)
    name = f"stopped{number}"
    status, _, err = workbench(*train(out=name))
    assert status == cli.INTERRUPTED
    assert the_line(err) == "workbench: interrupted at step 5; --resume goes on from step 5"
    assert json.loads((pictures / f"{name}.json").read_text())["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert workbench(*train("--resume", out=name))[0] == 0
    assert (pictures / f"{name}.safetensors").read_bytes() == (pictures / "net.safetensors").read_bytes()


REFUSED = [
    (("-o", "net"), 2, "net.safetensors exists already"),
    (("--resume",), 2, "--resume: there is no checkpoint new.checkpoint.safetensors"),
    (("--steps", "0"), 2, "--steps = 0"),
    (("--report-every", "0"), 2, "--report-every = 0"),
    (("-o", "works/new"), 2, "it would become part of the corpus"),
    (("-o", "photos/new"), 2, "it would become part of the corpus"),
    (("--imitate", "1", "--pairs", "photos"), 2, "cannot write photos/00000.png: it would become part of the corpus"),
    (("--imitate", "1", "--pairs", "works/pairs"), 2, "it would become part of the corpus"),
    (("-o", "works/0.png/new"), 1, "cannot write works/0.png/new.safetensors"),
    (("--corpus", "empty"), 1, "no usable image in empty"),
    (("--photos", "empty"), 1, "no usable image in empty"),
    (("--corpus", "nowhere"), 2, "corpus 'nowhere' is no folder"),
    (("-p", "crap=3"), 2, "no option 'crap': did you mean crop?"),
    (("-p", "alpha=wide"), 2, "option alpha = 'wide'"),
    (("-p", "crop=64"), 2, "option crop is given twice"),
    (("-p", "crop"), 2, "write NAME=VALUE"),
    (("--pairs", "empty"), 2, "empty holds no pair"),
    (("--encoder", "lite0"), 2, "no style layers"),
]


@pytest.mark.parametrize(("changes", "expected", "says"), REFUSED, ids=[" ".join(changes) for changes, *_ in REFUSED])
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(workbench, pictures, net, changes, expected, says):
    before = {path: path.stat().st_mtime_ns for path in pictures.rglob("*")}
    status, _, err = workbench(*train(*changes, out="new"))
    assert status == expected and says in the_line(err)
    assert {path: path.stat().st_mtime_ns for path in pictures.rglob("*")} == before


def test_a_stop_before_the_first_step_says_how_to_go_on(workbench, pictures, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.generative.families.family", stopped)
    status, _, err = workbench(*train(out="new"))
    assert status == 130 and "interrupted before the first step; the same command goes on" in the_line(err)


def test_what_is_to_be_trained_and_how_long_must_be_said(workbench):
    status, _, err = workbench("train", "artist", "--corpus", "works", "-o", "new")
    assert status == 2 and the_line(err) == "workbench: say how long to train: --steps or --minutes"
    status, _, err = workbench("train", "artiste", "--corpus", "works", "-o", "new", "--steps", 1)
    assert status == 2 and "did you mean artist?" in the_line(err)


def test_without_photographs_the_samples_are_learnt_from(pictures, monkeypatch):
    monkeypatch.setattr(families, "SCENES", 1)
    assert len(families._photographs(False)) in (3, 4)  # with procedural scenes where they are known


def test_a_network_is_a_method_by_its_name(workbench, pictures, net):
    argv = ("transfer", "photos/0.png", "--corpus", "works", "--size", 64, "--device", "cpu", "--target", "whole")
    assert workbench(*argv, "--method", "net", "-o", "a.png")[0] == 0
    assert workbench(*argv, "--method", "net.safetensors", "-o", "b.png")[0] == 0
    with Image.open(pictures / "a.png") as a, Image.open(pictures / "b.png") as b:
        assert a.tobytes() == b.tobytes() and a.size == (64, 53)
    made = figures.read_provenance(pictures / "a.png")
    assert made["weights"]["net"] == trained.read(pictures / "net.safetensors").sha256
    status, _, err = workbench(*argv, "--method", "nets.safetensors", "-o", "c.png")
    assert status == 2 and "no trained network nets.safetensors: no such file" in the_line(err)
    status, _, err = workbench(*argv, "--method", "artist", "-o", "c.png")
    assert status == 2 and "no network of the package knows" in the_line(err) and "workbench train artist" in the_line(err)


def test_a_method_that_takes_one_target_alone_gets_it(workbench, pictures, net, monkeypatch):
    """As networks do that know one artist: here the artist network stands for them."""
    from workbench.methods.trained import TrainedMethod

    init = TrainedMethod.__init__

    def narrow(method, *given):
        init(method, *given)
        method.targets = ("whole",)

    monkeypatch.setattr(TrainedMethod, "__init__", narrow)
    argv = ("--corpus", "works", "--size", 64, "--device", "cpu")
    status, out, err = workbench("transfer", "photos/0.png", *argv, "--method", "net", "-o", "d.png")
    assert status == 0 and out.startswith("whole: "), err
    assert figures.read_provenance(pictures / "d.png")["parameters"]["target"] == "whole"
    argv += ("--targets", "blend", "regions", "whole", "gram:whole", "--method", "net", "-o", "compared.png")
    status, _, err = workbench("compare", "photos/0.png", *argv, "--steps", 2)
    assert status == 0, err
    made = figures.read_provenance(pictures / "compared.png")
    assert made["parameters"]["targets"] == ["net:whole", "gram:whole"] and "net" in made["weights"]


def test_an_exported_network_paints_the_same_at_any_size(workbench, pictures, net):
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from workbench.generative.export import ROUNDING

    argv = ("export", "net", "-o", "net.onnx", "--code", "code.npy", "--corpus", "works")
    status, out, err = workbench(*argv)
    assert status == 0 and out.splitlines() == ["net.onnx", "code.npy"], err
    network = trained.read(pictures / "net.safetensors")
    session = ort.InferenceSession(pictures / "net.onnx", providers=["CPUExecutionProvider"])
    code = np.load(pictures / "code.npy")
    assert code.shape == (1, network.network.code.length) and code.dtype == np.float32
    draw = torch.Generator().manual_seed(0)
    for count, height, width in ((1, 60, 72), (3, 37, 50), (1, 5, 131), (2, 1, 1)):
        picture, codes = torch.rand(count, 3, height, width, generator=draw), torch.from_numpy(code).expand(count, -1)
        painted = session.run(None, {"picture": picture.numpy(), "code": codes.numpy()})[0]
        with torch.no_grad():
            expected = network.network(picture, codes).numpy()
        assert painted.dtype == np.float32 and np.abs(painted - expected).max() < ROUNDING
    told = session.get_modelmeta().custom_metadata_map
    assert (told["family"], told["sha256"]) == ("artist", network.sha256)
    assert json.loads(told["works"]) == network.header["works"]

    assert workbench("export", "net", "--code", "one.json", "--corpus", "works", "--style", "1.png")[0] == 0
    one = np.array(json.loads((pictures / "one.json").read_text()))
    assert one.shape == code.shape and np.abs(one - code).max() > 0.1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say what to write"),
        (("-o", "net.txt"), "unknown suffix"),
        (("--code", "code.npy"), "--code and --corpus go together"),
        (("--code", "code.npy", "--corpus", "works", "--style", "nine"), "no work 'nine'"),
    ],
)
def test_export_refuses_in_one_line(workbench, net, words, says):
    status, _, err = workbench("export", "net", *words)
    assert status == 2 and says in the_line(err)
