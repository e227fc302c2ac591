"""The command line: what is asked is done, what is refused is refused in one line before anything is left behind."""

import contextlib
import csv
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import full
import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from waiting import PATIENCE, until

from workbench import (
    cli,
    encoders,
    figures,
    images,
    progress,
    runs,
    storage,
    targets,
    transfer,
)
from workbench.cli.presets import PRESETS
from workbench.corpora import ingest
from workbench.encoders import Encoder
from workbench.generative import families
from workbench.methods import optimisation
from workbench.provenance import sha256
from workbench.retrieval import embeddings

SMALL = ("--size", "64", "--steps", "4", "--device", "cpu")  # two evaluations where neighbours are matched,
GRAM = (*SMALL, "--method", "gram")  # and four here


@pytest.fixture(scope="module")
def load_once():
    """Encoders are frozen, so one of each serves all commands here."""
    return functools.cache(encoders.load)


@pytest.fixture
def workbench(capsys, monkeypatch, tmp_path, load_once):
    """Run a command line in an empty folder: (status, stdout, stderr)."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(encoders, "load", load_once)

    def run(*argv):
        status = cli.main([str(word) for word in argv])
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return run


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "photograph.png"
    pixels = np.random.default_rng(1).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 72)).save(path)
    return path


def the_line(err):
    """The one line about the error; progress may stand before it."""
    lines = err.splitlines()
    assert [line for line in lines if line.startswith("workbench: ")] == lines[-1:], err
    assert "Traceback" not in err
    return lines[-1]


def spawn(*argv, script=None, **options):
    """Start the command in a process of its own, or a Python `script` with the same arguments."""
    command = [sys.executable, *(("-m", "workbench") if script is None else ("-c", script)), *(str(word) for word in argv)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options)


# --- the parser


def test_help_and_slips_of_the_keyboard_do_not_import_torch():
    script = """
import sys
from workbench import cli
statuses = []
for argv in (["--help"], ["trnsfer"], ["transfer", "a.png"], ["transfer", "a", "--size", "x"], ["run", "a", "--timeout", "0"],
             ["search", "a", "b", "-k", "0"], ["clusters", "a", "--kidn", "gram"], ["corpus"], ["embed", "a", "--kind"],
             ["transfer", "a", "--target", "whole", "-o", "o.png", "--resume"]):
    try:
        statuses.append(cli.main(argv))
    except SystemExit as end:
        statuses.append(end.code)
heavy = {"torch", "numpy", "matplotlib", "sklearn"} & set(sys.modules)
assert statuses == [0] + 9 * [2], statuses
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "transfer" in done.stdout and "clusters" in done.stdout
    assert len(done.stderr.splitlines()) == 9
    assert all(line.startswith("workbench: ") for line in done.stderr.splitlines())


def test_what_is_imported_leaves_out_what_takes_seconds_and_is_not_used():
    code = """
import pathlib
import sys
from workbench import runs  # papermill's kernels, and a misspelt parameter, need no torch
print({"torch", "matplotlib", "scipy"} & set(sys.modules) or "")
from workbench import encoders, figures, lab, methods, runs, targets, transfer
heavy = {"nbformat", "papermill", "torchvision", "open_clip", "torch._dynamo", "sklearn", "pandas", "scipy.stats"}
print(heavy & set(sys.modules) or "")
from workbench.study import Study, blind, summary, validation
print({"sklearn", "scipy.stats", "scipy.optimize", "scipy.interpolate"} & set(sys.modules) or "")
from workbench.runs import declarations
declarations.read(pathlib.Path(sys.argv[1]))
print({"rfc3987_syntax", "papermill"} & set(sys.modules) or "")
import rfc3987_syntax  # for all others it is there
"""
    notebook = Path(__file__).parents[1] / "notebooks" / "00_start_here.ipynb"
    told = subprocess.run([sys.executable, "-c", code, str(notebook)], capture_output=True, text=True)
    assert (told.returncode, told.stdout.strip()) == (0, ""), told.stderr


def test_the_help_of_transfer_tells_the_defaults_and_choices_of_the_settings(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["transfer", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in fields(transfer.Settings):
        option = "--" + field.name.replace("_", "-")
        assert option in text
        described = text.rpartition(f"{option} ")[2].partition(" --")[0]
        assert field.default == () or f"(default: {field.default})" in described
    assert "{gram,w2,patches,embedding}" in text and f"(default: {targets.TAU})" in text
    assert all(name in text for name in targets.NAMES)
    assert all(f"{name}, {preset.says}" in text for name, preset in PRESETS.items()) and "(default: hand)" in text
    assert "--method METHOD" in text


@pytest.mark.parametrize(
    "command",
    ["corpus check", "corpus split", "corpus genres", "embed", "search", "clusters", "run", "distil", "bench", "compare"],
)
def test_every_help_is_written(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.main([*command.split(), "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: workbench {command} ") and "default: <" not in text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("transfer", {"--encoder": encoders.PAINTING, "--retriever": encoders.ENCODERS}),
        ("compare", {"--encoder": encoders.PAINTING, "--retriever": encoders.ENCODERS}),
        ("train", {"--encoder": families.DRIVERS}),
        *((command, {"--encoder": encoders.ENCODERS}) for command in ("embed", "search", "clusters")),
    ],
)
def test_help_lists_the_encoders_that_an_option_takes(capsys, command, options):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option, names in options.items():
        described = text.rpartition(f" {option} ENCODER ")[2]
        assert re.match(rf"network that [^:]*(\(default: [^:]*\))?: {', '.join(names)}( |$)", described)


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert re.fullmatch(r"workbench \d+\.\d+\.\d+\n", capsys.readouterr().out)


# --- transfer


@pytest.mark.parametrize("target", targets.NAMES)
def test_transfer_writes_the_picture_of_every_target(workbench, two_styles, photograph, target):
    style = ["--style", "Work 3"] if target == "single" else []
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", target, *style, "-o", "new/out.png", *SMALL)
    status, out, err = workbench(*argv)
    assert status == 0, err
    assert "new/out.png" in out.splitlines()[-3:] and out.startswith(f"{target}: ")
    picture = images.load("new/out.png")
    assert picture.shape == (1, 3, 48, 64)
    assert not torch.allclose(picture, images.load(photograph, 64), atol=0.02)
    made = figures.read_provenance("new/out.png")
    works = {work.name: work for work in ingest(two_styles)}
    assert made["command"] == "transfer" and made["parameters"]["target"] == target
    assert (made["steps_done"], made["finished"]) == (2, True) and made["parameters"]["method"] == "neighbours"
    assert sum(work["weight"] for work in made["works"]) == pytest.approx(1)
    assert all(work["sha256"] == works[work["file"]].sha256 for work in made["works"])
    assert {"single": 1, "nearest": 1, "whole": 12}.get(target, len(made["works"])) == len(made["works"])
    if target == "single":
        assert made["works"][0]["file"] == "work-03.png" and "100.0%  work-03.png  Work 3" in out
    assert ("tau" in made["parameters"]) == (target in ("blend", "cluster", "regions"))
    assert str(two_styles) not in json.dumps(made) and str(photograph.parent) not in json.dumps(made)
    assert "transfer" in err and "2/2" in err  # plain lines where there is no terminal


def written(name):
    """(target, method, steps) of a picture, as its provenance has them."""
    made = figures.read_provenance(name)
    return made["parameters"]["target"], made["parameters"]["method"], made["steps_done"]


@pytest.mark.parametrize(
    ("preset", "style", "expected"),
    [
        ((), (), ("blend", "neighbours", 2)),
        (("--preset", "hand"), (), ("blend", "neighbours", 2)),
        (("--preset", "palette"), (), ("blend", "gram", 4)),
        (("--preset", "paper"), ("--style", "Work 3"), ("single", "gram", 4)),
    ],
)
def test_a_preset_is_a_target_and_a_method_by_one_name(workbench, two_styles, photograph, preset, style, expected):
    argv = ("transfer", photograph, "--corpus", two_styles, *style, *SMALL)
    status, out, err = workbench(*argv, *preset, "-o", "out.png")
    assert status == 0, err
    assert written("out.png") == expected and out.startswith(f"{expected[0]}: ")
    assert workbench(*argv, "--target", expected[0], "--method", expected[1], "-o", "said.png")[0] == 0
    assert torch.equal(images.load("out.png"), images.load("said.png"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--preset", "palette", "--target", "whole"), ("whole", "gram")),
        (("--preset", "palette", "--method", "neighbours"), ("blend", "neighbours")),
        (("--preset", "paper", "--target", "nearest", "--method", "neighbours"), ("nearest", "neighbours")),
        (("--preset", "hand", "--method", "gram"), ("blend", "gram")),
        (("--target", "whole"), ("whole", "neighbours")),
        (("--combine", "barycentre"), ("blend", "gram")),
        (("--style-loss", "w2"), ("blend", "gram")),
        (("--draft", "none"), ("blend", "gram")),
        (("--looseness", "0.5"), ("blend", "neighbours")),
    ],
)
def test_what_is_said_takes_the_place_of_what_a_preset_says(workbench, two_styles, photograph, options, expected):
    argv = ("transfer", photograph, "--corpus", two_styles, "--size", 64, "--steps", 1, "--device", "cpu", *options)
    status, _, err = workbench(*argv, "-o", "out.png")
    assert status == 0, err
    assert written("out.png")[:2] == expected


def test_copies_of_a_painting_are_said_and_left_out_on_request(workbench, two_styles, photograph, tmp_path):
    twins = tmp_path / "twins"
    twins.mkdir()
    generator = np.random.default_rng(0)
    for k in range(2):
        scene = Image.fromarray(generator.integers(0, 255, (9, 12, 3), np.uint8)).resize((240, 180))
        scene.save(twins / f"{k}.png")
        scene.resize((180, 135)).save(twins / f"{k}-again.jpg")
    argv = ("transfer", photograph, "--corpus", twins, "--target", "whole", *GRAM, "-o", "out.png")
    status, out, err = workbench(*argv)
    assert status == 0 and "2 pairs of works are probably copies" in err and "0-again.jpg" in out
    status, out, _ = workbench(*argv, "--without-copies")
    assert status == 0 and "again" not in out
    assert figures.read_provenance("out.png")["parameters"]["exclude"] == ["0-again.jpg", "1-again.jpg"]


@pytest.mark.parametrize(("preset", "method"), [("hand", "neighbours"), ("palette", "gram"), ("paper", "gram")])
def test_without_a_corpus_every_preset_is_about_the_one_painting(workbench, two_styles, photograph, preset, method):
    argv = ("transfer", photograph, "--style", two_styles / "work-05.png", "--preset", preset, "--size", 64, "--steps", 1)
    status, _, err = workbench(*argv, "--device", "cpu", "-o", "out.png")
    assert status == 0, err
    assert written("out.png")[:2] == ("single", method)


def test_gram_matrices_tell_of_a_face_and_a_person_as_one(workbench, portraits):
    argv = (
        "transfer",
        portraits["sitter.png"].path,
        "--corpus",
        portraits.root,
        "--target",
        "regions",
        "--size",
        64,
        "--steps",
        1,
    )
    told = []
    for method in ("neighbours", "gram"):
        status, out, err = workbench(*argv, "--method", method, "--device", "cpu", "-o", f"{method}.png")
        assert status == 0, err
        told.append({name for line in out.splitlines() for name in ("face, ", "person, ") if line.startswith(name)})
    assert told == [{"face, ", "person, "}, {"person, "}]


def test_transfer_passes_its_options_on(workbench, two_styles, photograph):
    given = {"alpha": 0.3, "beta": 2.0, "tv": 0.0, "style_loss": "w2", "optimiser": "adam", "init": "noise", "seed": 7}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "blend", "--tau", "0.02", *SMALL, *options)
    status, _, err = workbench(*argv, "-o", "out.png", "--precision", "bfloat16")
    assert status == 0, err
    parameters = figures.read_provenance("out.png")["parameters"]
    assert parameters.items() >= {**given, "method": "gram", "tau": 0.02, "size": 64, "steps": 4}.items()
    assert parameters["encoder"].endswith("bfloat16")


def test_transfer_takes_controls_and_filters(workbench, two_styles, photograph):
    controls = {"brush": 0.5, "strength": 0.5, "colour": "luminance", "softness": 0.2}
    options = [word for name, value in controls.items() for word in (f"--{name}", value)]
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", "--combine", "softmin", *SMALL, *options)
    status, out, err = workbench(
        *argv,
        "--where",
        "genre=portrait",
        "--where",
        "year=1900..1909",
        "--exclude",
        "Work 4",
        "--exclude",
        "work-06.png",
        "-o",
        "out.png",
    )
    assert status == 0, err
    made = figures.read_provenance("out.png")
    assert (
        made["parameters"].items()
        >= {**controls, "method": "gram", "combine": "softmin", "where": ["genre=portrait", "year=1900..1909"]}.items()
    )
    assert {work["file"] for work in made["works"]} == {f"work-{i:02}.png" for i in (0, 2, 8)}
    assert out.startswith("whole-softmin: ")


def test_a_target_of_regions_says_what_it_matched_and_draws_it(workbench, two_styles, photograph):
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "regions", *SMALL)
    status, out, err = workbench(*argv, "-o", "out.png")
    assert status == 0, err
    assert "of the picture: " in out and out.splitlines()[-2:] == ["out_regions.png", "out_regions.pdf"]
    assert figures.read_provenance("out_regions.png")["parameters"]["target"] == "regions"

    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:, 32:] = (255, 0, 0)
    Image.fromarray(mask).save("mask.png")
    status, out, err = workbench(*argv, "--mask", "mask.png", "-o", "guided.png")
    assert status == 0, err
    assert [line[:18] for line in out.splitlines()].count("50% of the picture") == 2
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    status, _, err = workbench(*argv, "--mask", "noise.png", "-o", "more.png")
    assert status == 2 and "noise.png has" in err and "flat colour" in err


def test_compare_paints_every_content_after_every_target_once(workbench, two_styles, photograph, monkeypatch):
    argv = ("compare", photograph, two_styles / "work-01.png", "--corpus", two_styles, "--style", "Work 3", *SMALL)
    argv += ("--targets", "single", "blend/barycentre", "whole/apart", "--pictures", "kept", "-o", "figure.png")
    status, out, err = workbench(*argv)
    assert status == 0, err
    assert out.splitlines()[-2:] == ["figure.png", "figure.pdf"]
    labels = ("neighbours_single", "gram_blend-barycentre", "gram_whole-softmin")
    kept = {path.name.rpartition("_")[0] for path in Path("kept").iterdir()}
    assert kept == {f"{name}_{label}" for name in ("photograph", "work-01") for label in labels}
    assert "work-01, blend-barycentre: τ = 0.1, effective number" in out and "; it fits: no match" in out
    made = figures.read_provenance("figure.png")
    assert made["command"] == "compare" and made["parameters"]["targets"] == ["single", "blend/barycentre", "whole/apart"]
    assert len(made["inputs"]) == 2
    assert set(made["weights"]) == {"embedded", "lite0"} and made["parameters"]["retriever"].startswith("lite0:")
    before = Path("figure.png").read_bytes()
    monkeypatch.setattr(transfer.Transfer, "run", None)  # the second time nothing is painted again
    assert workbench(*argv)[0] == 0
    assert Path("figure.png").read_bytes() == before


def test_compare_takes_what_transfer_takes(workbench, two_styles, photograph, tmp_path):
    """Every option of transfer that does not concern one picture alone; and what comes of those about paintings."""

    def options(command):
        parser = cli._parser()._subparsers._group_actions[0].choices[command]
        return {flag for action in parser._actions for flag in action.option_strings}

    lacking = options("transfer") - options("compare")
    assert lacking == {"--target", "--combine", "--preset", "--weigh", "--checkpoint", "--resume"}  # --targets says the first
    other = tmp_path / "other"
    other.mkdir()
    images.save(images.load(two_styles / "work-00.png").flip(3), other / "mine.png")
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 32, 48))
    mask.save(tmp_path / "mask.png")
    argv = ("compare", photograph, "--corpus", two_styles, *SMALL, "-o", "figure.png")
    more = ("--targets", "whole", "regions", "--mask", tmp_path / "mask.png")
    status, out, err = workbench(*argv, *more, "--exclude", "Work 1", "--column")
    assert status == 0, err
    made = figures.read_provenance("figure.png")
    assert made["parameters"]["exclude"] == ["Work 1"]
    assert made["inputs"]["mask"]["sha256"] == sha256(tmp_path / "mask.png")
    mixed = (*argv[:4], "--corpus", other, *argv[4:], "--share", "1", "--share", "3", "--targets", "whole", "--without-copies")
    status, out, err = workbench(*mixed)
    assert status == 0 and f"mix: 25% {two_styles.name} and 75% other" in out, err
    assert figures.read_provenance("figure.png")["parameters"]["corpus"] == [two_styles.name, "other"]
    status, _, err = workbench(*argv[:2], two_styles / "work-01.png", *argv[2:], *more)
    assert status == 2 and "several" in the_line(err)


LONG = "x" * 300
"""A name that no file system takes."""


@pytest.mark.parametrize(
    "words",
    [
        ("transfer", LONG, "--corpus", "CORPUS", "-o", "a.png"),
        ("transfer", "CONTENT", "--corpus", LONG, "-o", "a.png"),
        ("transfer", "CONTENT", "--corpus", "CORPUS", "-o", f"{LONG}.png"),
        ("transfer", "CONTENT", "--corpus", "CORPUS", "--target", "single", "--style", LONG, "-o", "a.png"),
        ("transfer", "CONTENT", "--target", "single", "--style", LONG, "-o", "a.png"),
        ("transfer", "CONTENT", "--corpus", "CORPUS", "--mask", LONG, "--target", "regions", "-o", "a.png"),
        *(
            ("transfer", "CONTENT", "--corpus", "CORPUS", "--target", "whole", f"--{flag}", f"{before}{LONG}", "-o", "a.png")
            for flag, before in (
                ("method", ""), ("init", ""), ("encoder", ""), ("encoder", "embedded:"),
                ("encoder", "clip:ViT-B-32/"), ("checkpoint", ""),
            )
        ),
        *(
            ("transfer", "CONTENT", "--corpus", "CORPUS", "--target", "blend", f"--{flag}", f"{before}{LONG}", "-o", "a.png")
            for flag, before in (("retriever", "vae:"), ("index", "lancedb:"))
        ),
        ("compare", "CONTENT", "--corpus", "CORPUS", "--targets", "whole", "--pictures", LONG, "-o", "a.png"),
        ("search", "CORPUS", LONG),
        ("run", LONG),
        ("sweep", LONG),
        ("embed", LONG, "--kind", "content"),
        ("train", "artist", "--corpus", "CORPUS", "--photos", LONG, "--steps", "1", "-o", "new"),
        ("train", "dreambooth", "--corpus", "CORPUS", "--base", LONG, "--steps", "1", "-o", "new"),
        ("evaluate", "lora", LONG, "--base", "small", "--corpus", "CORPUS", "--contents", "CONTENT", "-o", "new"),
        ("bench", LONG),
        ("study", "register", LONG, "-o", "a.json"),
        ("study", "tally", LONG, "--key", LONG),
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)  # fmt: skip
def test_a_name_that_is_too_long_is_refused_in_a_line(workbench, two_styles, photograph, words):
    named = {"CORPUS": two_styles, "CONTENT": photograph}
    status, _, err = workbench(*(named.get(word, word) for word in words))
    assert status in (1, 2) and "xxxxx" in the_line(err) and "--debug" not in err
    assert not list(Path().glob("new*"))


def test_compare_has_a_row_for_every_method_and_no_row_twice(workbench, two_styles, photograph, monkeypatch):
    drawn, grid = [], figures.grid
    monkeypatch.setattr(figures, "grid", lambda *given, **more: drawn.append((*given[1:], more)) or grid(*given, **more))
    argv = ("compare", photograph, "--corpus", two_styles, *SMALL, "--pictures", "kept", "-o", "figure.png")
    rows = ("nearest", "gram:nearest", "neighbours:whole", "blend/barycentre")
    status, out, err = workbench(*argv, "--method", "gram", "--method", "neighbours", "--targets", *rows)
    assert status == 0, err
    made = figures.read_provenance("figure.png")["parameters"]["targets"]
    assert made == ["gram:nearest", "neighbours:whole", "blend/barycentre", "neighbours:nearest"]
    ((labels, columns, more),) = drawn  # one content is one row: as wide as a page, and not as high as two
    assert labels == ["photograph"]
    assert columns == ["Content", "Nearest, Gram matrices", "Whole oeuvre", "Blend, barycentre", "Nearest"]
    assert more["title"] == f"photograph after {Path(two_styles).name}"
    ((content, nearest, whole, blend, again),) = more["cell_captions"]
    doubt = "hardly anything here fits; "  # the photograph is noise
    assert content == "" and re.fullmatch(doubt + r"Work \d+", nearest) and again == nearest and whole == "12 paintings, evenly"
    assert re.fullmatch(doubt + r"\d+% Work \d+, \d+% Work \d+ and \d+ more", blend)
    with Image.open("figure.png") as figure:
        assert figure.height < 1.4 * figure.width  # it fits a page of A4
    assert [line.partition(":")[0] for line in out.splitlines()[:4]] == [f"{k} of 4" for k in range(1, 5)]
    assert sorted(path.name.rpartition("_")[0] for path in Path("kept").iterdir()) == [
        "photograph_gram_blend-barycentre", "photograph_gram_nearest",
        "photograph_neighbours_nearest", "photograph_neighbours_whole",
    ]  # fmt: skip
    pictures = [images.load(path) for path in sorted(Path("kept").glob("*_nearest_*"))]
    assert (pictures[0] - pictures[1]).abs().max() > 0.02


def test_compare_with_details_has_contents_as_rows_and_a_blend_for_every_temperature(
    workbench, two_styles, photograph, monkeypatch
):
    drawn, grid = [], figures.grid
    monkeypatch.setattr(figures, "grid", lambda *given, **more: drawn.append(given) or grid(*given, **more))
    argv = ("compare", photograph, "--corpus", two_styles, "--size", 300, "--steps", 2, "--tau", 0.05, "--tau", 0.5, "--detail")
    status, _, err = workbench(*argv, "--targets", "blend", "gram:blend", "--labels", "A garden", "-o", "figure.jpg")
    assert status == 0, err
    ((rows, labels, columns),) = drawn
    assert labels == ["A garden", "at 100 %"]
    assert columns == ["Content", "Blend, τ = 0.05", "Blend, τ = 0.5", "Blend, Gram matrices"]
    for whole, detail in zip(*rows, strict=True):
        assert max(whole.shape[-2:]) == 300 and max(detail.shape[-2:]) == 256
        assert any(
            torch.equal(detail, whole[..., y : y + detail.shape[-2], x : x + detail.shape[-1]])
            for y in range(whole.shape[-2] - detail.shape[-2] + 1)
            for x in range(whole.shape[-1] - detail.shape[-1] + 1)
        )
    with Image.open("figure.jpg") as figure:
        assert figure.width > 4 * 256  # a pixel of a detail is a pixel of the figure


@pytest.mark.parametrize("read", ["content", "painting"])
def test_a_checkpoint_does_not_overwrite_what_is_read(workbench, two_styles, photograph, read):
    painting = two_styles / "work-01.png"
    path = {"content": photograph, "painting": painting}[read]
    before = Path(path).read_bytes()
    argv = ("transfer", photograph, "--target", "single", "--style", painting, *GRAM, "-o", "out.png", "--checkpoint", path)
    status, _, err = workbench(*argv)
    assert status == 2 and "choose another name for --checkpoint" in the_line(err)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("out", ["photo.png", "photo.pdf", "folder/../photo.pdf"])
def test_a_figure_does_not_overwrite_what_is_read(workbench, two_styles, out):
    """A figure is two files, and either may be the content."""
    Path("folder").mkdir()
    for name in ("photo.png", "photo.pdf"):
        Image.new("RGB", (40, 30), (90, 120, 60)).save(name, "PNG")
        before = Path(name).read_bytes()
        for argv in (("search", two_styles, name), ("compare", name, "--corpus", two_styles, "--targets", "blend")):
            status, _, err = workbench(*argv, "-o", out)
            assert status == 2 and "choose another name for --out" in the_line(err)
        assert Path(name).read_bytes() == before


@pytest.mark.parametrize("holds", ["checkpoint", "notes"])
def test_a_checkpoint_replaces_no_file_that_is_there(workbench, two_styles, photograph, holds):
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "--checkpoint", "state")
    if holds == "checkpoint":
        assert workbench(*argv, "-o", "out.png")[0] == 0
    else:
        Path("state").write_text("precious")
    before = Path("state").read_bytes()
    status, _, err = workbench(*argv, "-o", "other.png")
    assert status == 2 and "--resume goes on from it, or give another name" in the_line(err)
    assert Path("state").read_bytes() == before and not Path("other.png").exists()


def test_a_finished_transfer_has_a_checkpoint(workbench, two_styles, photograph):
    argv = (
        "transfer",
        photograph,
        "--corpus",
        two_styles,
        "--target",
        "whole",
        *GRAM,
        "-o",
        "out.png",
        "--checkpoint",
        "state",
    )
    assert workbench(*argv)[0] == 0
    before = Path("out.png").read_bytes()
    assert workbench(*argv, "--resume")[0] == 0
    assert Path("out.png").read_bytes() == before


def test_the_rows_of_compare():
    usual = list(cli.compare.TARGETS)
    assert cli.compare._rows(usual, [], transfer.Settings()) == usual == list(dict.fromkeys(usual))
    both = cli.compare._rows(usual, ["neighbours", "gram"], transfer.Settings())
    assert len(both) == len(set(both)) == 9  # the four that name no method twice, and gram:single; gram:blend is one of those
    assert cli.compare._rows(["blend", "whole/bag", "blend/mean"], ["neighbours"], transfer.Settings()) == [
        "neighbours:blend",
        "whole/bag",
    ]
    assert cli.compare._rows(["whole/mean"], ["colours"], transfer.Settings()) == ["colours:whole/mean"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("blend/middle",), "choose mean"),
        (("bland",), "choose single"),
        (("grm:blend",), "did you mean gram"),
        (("blend", "--method", "grm"), "method 'grm': did you mean gram"),
        (("gram:blend", "--method", "grm"), "method 'grm': did you mean gram"),
        (("neighbours:blend/bag",), "go with the method gram"),
        (("gram:single",), "needs --style"),
        (("single",), "needs --style"),
        (("single", "--style", "Work 99"), "no work 'Work 99'"),
        (("nearest", "single/pooled"), "needs --style"),
        (("nearest", "regions/barycentre"), "combine mean"),
        (("nearest", "--pictures", "CORPUS/kept"), "part of the corpus"),
        (("nearest", "-o", "PHOTOGRAPH"), "one of the contents"),
        (("nearest", "--labels", "A garden", "A house"), "2 names for 1 contents"),
    ],
)
def test_compare_refuses_before_the_work(workbench, two_styles, photograph, words, says):
    words = [word.replace("CORPUS", str(two_styles)).replace("PHOTOGRAPH", str(photograph)) for word in words]
    status, _, err = workbench("compare", photograph, "--corpus", two_styles, "-o", "figure.png", "--targets", *words)
    assert status == 2 and says in err.splitlines()[-1]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", [("compare",), ("transfer", "--target", "single"), ("transfer", "--target", "by-hand")])
@pytest.mark.parametrize(
    ("content", "corpus", "says"), [("", "nowhere", "corpus 'nowhere'"), ("no.jpg", "", "'no.jpg' is no file")]
)
def test_a_wrong_path_is_said_before_what_its_works_would_need(
    workbench, two_styles, photograph, command, content, corpus, says
):
    name, *words = command
    status, _, err = workbench(name, content or photograph, "--corpus", corpus or two_styles, *words, "-o", "figure.png")
    assert status == 2 and says in err.splitlines()[-1]


def test_transfer_takes_works_weighed_by_hand_and_mixes_corpora(workbench, two_styles, photograph, tmp_path):
    argv = ("transfer", photograph, *SMALL, "-o", "out.png")
    status, _, err = workbench(
        *argv, "--corpus", two_styles, "--target", "by-hand", "--weigh", "Work 3=3", "--weigh", "work-05.png=1"
    )
    assert status == 0, err
    weights = {work["file"]: work["weight"] for work in figures.read_provenance("out.png")["works"]}
    assert weights == {"work-03.png": 0.75, "work-05.png": 0.25}

    other = tmp_path / "other"
    other.mkdir()
    images.save(images.load(two_styles / "work-00.png").flip(3), other / "mine.png")
    status, out, err = workbench(
        *argv, "--corpus", two_styles, "--corpus", other, "--share", "1", "--share", "3", "--target", "whole"
    )
    assert status == 0, err
    made = figures.read_provenance("out.png")
    weights = {work["file"]: work["weight"] for work in made["works"]}
    assert weights["mine.png"] == pytest.approx(0.75) and len(weights) == 13
    assert made["parameters"]["target"] == "whole" and made["parameters"]["share"] == [1.0, 3.0]
    assert str(tmp_path) not in json.dumps(made)
    assert out.startswith(f"mix: 25% {two_styles.name} and 75% other")
    mixed = (*argv, "--corpus", two_styles, "--corpus", other, "--target", "whole")
    assert workbench(*mixed, "--exclude", "mine.png", "--exclude", "Work 3")[0] == 2  # nothing is left of one
    status, _, err = workbench(*mixed, "--exclude", "Work 33")
    assert status == 2 and "no work 'Work 33'" in err.splitlines()[-1]
    assert workbench(*mixed, "--exclude", "Work 3")[0] == 0
    assert len(figures.read_provenance("out.png")["works"]) == 12
    status, _, err = workbench(*mixed, "--share", "1", "--share", "0")
    assert status == 2 and "positive" in the_line(err)
    years = ("--where", "year=1900", "--where", "year=1905..1906")
    assert workbench(*argv, "--corpus", two_styles, "--target", "whole", *years)[0] == 0
    assert len(figures.read_provenance("out.png")["works"]) == 3


def test_the_style_may_be_any_image_file(workbench, two_styles, photograph):
    style = two_styles / "work-05.png"
    argv = ("transfer", photograph, "--target", "single", "--style", style, *SMALL)
    assert workbench(*argv, "-o", "alone.png")[0] == 0
    assert workbench(*argv, "--corpus", two_styles, "-o", "beside.png")[0] == 0
    assert workbench(*argv[:5], "work-05.png", *SMALL, "--corpus", two_styles, "-o", "inside.png")[0] == 0
    pictures = [images.load(name) for name in ("alone.png", "beside.png", "inside.png")]
    assert torch.equal(pictures[0], pictures[1]) and torch.equal(pictures[0], pictures[2])


def test_a_sample_painter_has_a_striking_work(workbench, photograph, monkeypatch, two_styles):
    from workbench import samples

    monkeypatch.setattr(samples, "corpus_path", lambda name: two_styles)
    monkeypatch.setattr(samples, "a_single", lambda name: "work-07.png")
    argv = ("transfer", photograph, "--corpus", next(iter(samples.PAINTERS)), "--target", "single", *SMALL, "-o", "out.png")
    assert workbench(*argv)[0] == 0
    assert figures.read_provenance("out.png")["works"][0]["file"] == "work-07.png"


def test_a_retriever_chooses_the_paintings(workbench, two_styles, photograph, monkeypatch):
    """A retriever that sees nothing but how red a picture is finds a warm one."""

    class Redness(Encoder):
        name, weights_sha256, channels = "redness", "0" * 64, {}
        device = torch.device("cpu")

        def embed(self, image):
            return image.mean(dim=(2, 3))

    load = encoders.load
    monkeypatch.setattr(
        encoders, "load", lambda name="embedded", **rest: Redness() if name == "redness" else load(name, **rest)
    )
    warm = photograph.with_name("warm.png")
    Image.new("RGB", (64, 48), (240, 60, 20)).save(warm)
    argv = ("transfer", warm, "--corpus", two_styles, "--target", "nearest", *SMALL, "-o", "out.png")
    assert workbench(*argv, "--retriever", "redness")[0] == 0
    made = figures.read_provenance("out.png")
    genre = {work.name: work.genre for work in ingest(two_styles)}
    assert genre[made["works"][0]["file"]] == "portrait"
    assert set(made["weights"]) == {"embedded", "redness"} and made["parameters"]["retriever"].startswith("redness:")
    assert 0 < made["fit"]["familiarity"] <= 1
    assert workbench(*argv)[0] == 0
    made = figures.read_provenance("out.png")
    assert made["weights"]["lite0"] == encoders.retriever(torch.device("cpu")).weights_sha256
    assert made["parameters"]["retriever"].startswith("lite0:")
    assert workbench("transfer", warm, "--corpus", two_styles, "--target", "whole", *SMALL, "-o", "out.png")[0] == 0
    made = figures.read_provenance("out.png")
    assert set(made["weights"]) == {"embedded"} and "fit" not in made  # nothing was retrieved

    status, _, err = workbench(*argv, "--encoder", "redness")
    assert status == 2 and "redness has no style layers" in the_line(err)
    assert "embedding" not in err and "reading" not in err  # before the corpus is opened
    status, _, err = workbench("clusters", two_styles, "--encoder", "redness")
    assert status == 2 and "no style layers" in the_line(err)


GOOD = {"content": "PHOTOGRAPH", "--corpus": "CORPUS", "--target": "whole", "-o": "out.png", "--device": "cpu"}
REFUSED = [
    ({"content": "absent.png"}, 2, "absent.png"),
    ({"content": "chnia"}, 2, "did you mean china"),
    ({"content": "NOTES"}, 1, "notes.txt: not an image"),
    ({"--corpus": "EMPTY"}, 1, "no usable image"),
    ({"--corpus": "nocturnal"}, 2, "did you mean nocturne"),
    ({"--corpus": None}, 2, "--target whole needs --corpus"),
    ({"--corpus": None, "--target": "single"}, 2, "--target single needs --style"),
    ({"--corpus": None, "--target": "single", "--style": "gone.png"}, 2, "gone.png: no such file"),
    ({"--corpus": None, "--target": "single", "--style": "NOTES"}, 1, "notes.txt: not an image"),
    ({"--target": "single"}, 2, "--target single needs --style"),
    ({"--target": "single", "--style": "Work 99"}, 2, "no work 'Work 99'"),
    ({"--target": "whle"}, 2, "choose single, nearest"),
    ({"--target": "gram:whole"}, 2, "choose single, nearest"),
    ({"--stpes": "3"}, 2, "unrecognized arguments: --stpes 3; did you mean --steps?"),
    ({"--preset": "hnad"}, 2, "--preset 'hnad': did you mean hand?"),
    ({"--preset": "pallete"}, 2, "--preset 'pallete': did you mean palette?"),
    ({"--preset": "rembrandt"}, 2, "--preset 'rembrandt': choose hand, palette, paper"),
    ({"--preset": "paper", "--target": None}, 2, "--target single needs --style"),
    ({"--preset": "paper", "--target": None, "--corpus": None}, 2, "--target single needs --style"),
    ({"--preset": "palette", "--style": "Work 3", "--target": None}, 2, "--style goes with --target single"),
    ({"--method": "grm"}, 2, "method 'grm': did you mean gram"),
    ({"--method": "neighbours", "--combine": "barycentre"}, 2, "go with the method gram"),
    ({"--method": "neighbours", "--style-loss": "w2"}, 2, "go with the method gram"),
    ({"--method": "neighbours", "--draft": "none"}, 2, "--draft goes with --method gram or strokes, not with neighbours"),
    ({"--method": "gram", "--looseness": "0.5"}, 2, "--looseness goes with --method neighbours or strokes, not with gram"),
    ({"--preset": "palette", "--looseness": "0.5"}, 2, "--looseness goes with --method neighbours"),
    ({"--looseness": "9.5"}, 2, "looseness = 9.5"),
    ({"--combine": "middle"}, 2, "choose mean, barycentre"),
    ({"--combine": "softmin", "--style-loss": "w2"}, 2, "mean or barycentre"),
    ({"--target": "by-hand"}, 2, "needs --weigh"),
    ({"--weigh": "Work 1=2"}, 2, "--weigh goes with --target by-hand"),
    ({"--target": "by-hand", "--weigh": "Work 1=much"}, 2, "'much' is no number"),
    ({"--target": "by-hand", "--weigh": "Work 1"}, 2, "write PAINTING=WEIGHT"),
    ({"--where": "genre=battle"}, 2, "no work with genre 'battle'"),
    ({"--where": "genre"}, 2, "write COLUMN=VALUE"),
    ({"--where": "year=1700..1800"}, 2, "it goes from 1900 to 1911"),
    ({"--exclude": "Work 99"}, 2, "no work 'Work 99'"),
    ({"--share": "0.5 0.5"}, 2, "--share"),
    ({"--share": "0.5", "--corpus": None, "--target": "single", "--style": "PHOTOGRAPH"}, 2, "each of several --corpus"),
    ({"--corpus": None, "--target": "single", "--style": "PHOTOGRAPH", "--exclude": "a"}, 2, "--exclude needs --corpus"),
    ({"--mask": "NOTES"}, 2, "--mask goes with --target regions"),
    ({"--target": "regions", "--mask": "gone.png"}, 2, "gone.png: no such file"),
    ({"--target": "regions", "--combine": "softmin"}, 2, "combine mean"),
    ({"--target": "regions", "--mask": "PHOTOGRAPH", "-o": "PHOTOGRAPH"}, 2, "the content itself"),
    ({"--target": "regions", "--mask": "MASK", "-o": "MASK"}, 2, "it is the mask"),
    ({"--target": "regions", "--mask": "MASK", "-o": "MASKSTEM.png"}, 2, "it is the mask"),
    ({"--target": "regions", "--checkpoint": "out_regions.png"}, 2, "it is the checkpoint"),
    ({"--softness": "0.5"}, 2, "--softness goes with --combine softmin"),
    ({"--bag": "5"}, 2, "--bag goes with --combine patches"),
    ({"--share": "2"}, 2, "each of several --corpus"),
    ({"--brush": "0"}, 2, "brush = 0"),
    ({"--strength": "2"}, 2, "strength = 2"),
    ({"--colour": "gray"}, 2, "style, content, luminance"),
    ({"--style": "Work 1"}, 2, "--style goes with --target single"),
    ({"--tau": "0.1"}, 2, "--tau goes with --target blend or cluster"),
    ({"--retriever": "vgg19"}, 2, "--retriever goes with"),
    ({"--encoder": "lite0"}, 2, "has no style layers"),
    ({"--target": "blend", "--tau": "-1"}, 2, "tau = -1"),
    ({"--target": "blend", "--tau": "nan"}, 2, "tau = nan"),
    ({"--encoder": "vgg16"}, 2, "did you mean vgg19"),
    ({"--encoder": "vgg19"}, 1, "WORKBENCH_WEIGHTS"),
    ({"--target": "nearest", "--retriever": "vgg19"}, 1, "WORKBENCH_WEIGHTS"),
    ({"--precision": "float8"}, 2, "float8"),
    ({"--device": "tpu"}, 2, "tpu"),
    ({"--size": "0"}, 2, "size is 0"),
    ({"--size": "1000000"}, 2, "size is 1000000"),
    ({"--size": "64.5"}, 2, "--size"),
    ({"--steps": "0"}, 2, "steps = 0"),
    ({"--alpha": "nan"}, 2, "alpha = nan"),
    ({"--style-loss": "grm"}, 2, "gram, w2"),
    ({"-o": "out.xyz"}, 2, "out.xyz: unknown suffix '.xyz'"),
    ({"-o": "."}, 2, "a folder"),
    ({"-o": "NOTES/out.png"}, 1, "cannot write"),
    ({"-o": "PHOTOGRAPH"}, 2, "the content itself"),
    ({"-o": "CORPUS/out.png"}, 2, "part of the corpus"),
    ({"--checkpoint": "CORPUS/state.safetensors"}, 2, "part of the corpus"),
    ({"--checkpoint": "NOTES/state"}, 1, "cannot write"),
    ({"--checkpoint": "out.png"}, 2, "the same file"),
    ({"--checkpoint": "gone.safetensors", "--resume": ""}, 2, "no checkpoint gone.safetensors"),
    ({"--checkpoint": "NOTES", "--resume": ""}, 1, "cannot be read as a checkpoint"),
    ({"--resume": ""}, 2, "--resume needs --checkpoint"),
]


@pytest.mark.parametrize(("changes", "expected", "says"), REFUSED, ids=[str(changes) for changes, *_ in REFUSED])
def test_transfer_refuses_in_one_line_and_leaves_nothing(
    workbench, two_styles, photograph, tmp_path, monkeypatch, changes, expected, says
):
    monkeypatch.delenv("WORKBENCH_WEIGHTS", raising=False)
    monkeypatch.delenv("WORKBENCH_DOWNLOAD", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "mask_regions.png")
    places = {"PHOTOGRAPH": photograph, "CORPUS": two_styles, "EMPTY": tmp_path / "empty", "NOTES": tmp_path / "notes.txt"}
    places |= {"MASKSTEM": tmp_path / "mask", "MASK": tmp_path / "mask_regions.png"}
    argv = ["transfer"]
    for option, value in (GOOD | changes).items():
        if value is not None:
            text = re.sub("|".join(places), lambda match: str(places[match[0]]), value)
            argv += [word for word in ([] if option == "content" else [option]) + [text] if word]
    before = {path: path.stat().st_mtime_ns for folder in (tmp_path, two_styles) for path in folder.rglob("*")}
    status, _, err = workbench(*argv)
    assert status == expected
    assert says in the_line(err)
    assert {path: path.stat().st_mtime_ns for folder in (tmp_path, two_styles) for path in folder.rglob("*")} == before
    if expected == 2 and not any(word in says for word in ("Work 99", "part of the corpus", "battle", "goes from")):
        assert len(err.splitlines()) == 1  # not even the corpus was read


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_found_out_before_the_work(workbench, two_styles, photograph, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *SMALL, "-o", locked / "out.png")
    status, _, err = workbench(*argv)
    assert status == 1 and the_line(err).startswith(f"workbench: cannot write {locked / 'out.png'}: ")
    assert len(err.splitlines()) == 1


def test_metadata_that_does_not_fit_is_found_out_before_the_work(workbench, two_styles, photograph, monkeypatch):
    monkeypatch.setattr(cli.transfer, "advance", lambda *_: pytest.fail("the work began"))
    real = cli.transfer._stamp
    monkeypatch.setattr(cli.transfer, "_stamp", lambda *given: {**real(*given), "long": "x" * 70_000})
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *SMALL)
    status, _, err = workbench(*argv, "-o", "out.jpg")
    assert status == 2 and "metadata of out.jpg" in the_line(err) and not Path("out.jpg").exists()


# --- stopping and going on

# The command, which amid a transfer says that it waits, and does so until a signal has come.
WAITS_FOR_A_SIGNAL = """
import os, signal, sys
from pathlib import Path
from workbench import cli
from workbench.transfer import Transfer

def patient(self):
    if len(self.history) == 30:
        heard, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.set_wakeup_fd(tell)  # so that one is not missed which comes before it is waited for
        Path("waits").touch()
        os.read(heard, 1)
    return step(self)

step, Transfer.prepare = Transfer.prepare, patient
sys.exit(cli.main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_stop_keeps_the_picture_and_resume_gives_the_bytes_of_an_unbroken_run(ctrl_c, two_styles, photograph, tmp_path):
    """Ctrl-C to a real process. It stops between two steps; the state goes on to the same bytes."""
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", "--method", "gram", "--size", 192)
    argv += ("--steps", 36)
    whole = spawn(*argv, "-o", "whole.png", cwd=tmp_path)
    _, err = whole.communicate(timeout=PATIENCE)
    assert whole.returncode == 0, err

    broken = (*argv, "-o", "broken.png", "--checkpoint", "state.safetensors")
    process = spawn(*broken, script=WAITS_FOR_A_SIGNAL, cwd=tmp_path)
    until((tmp_path / "waits").exists, process)
    assert (tmp_path / "state.safetensors").is_file()  # one of those that are written now and then
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == cli.INTERRUPTED, err
    assert the_line(err) == "workbench: interrupted at step 31 of 41; the picture so far is broken.png"
    made = figures.read_provenance(tmp_path / "broken.png")
    assert (made["steps_done"], made["finished"]) == (31, False)
    assert images.load(tmp_path / "broken.png").shape[-1] == 192

    (tmp_path / "waits").unlink()
    process = spawn(*broken, "--resume", cwd=tmp_path)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert (tmp_path / "broken.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path != photograph) == [
        "broken.png",
        "state.safetensors",
        "whole.png",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("twice", ["no", "soon", "later"])
def test_once_stops_after_the_step_and_later_again_at_once(
    workbench, ctrl_c, two_styles, photograph, monkeypatch, request, twice, hangs_up
):
    """A second signal within seconds says no more than the first, whichever they are."""
    monkeypatch.setattr(progress, "PATIENCE", 0 if twice == "later" else 1000)
    first = signal.SIGHUP if hangs_up else signal.SIGTERM
    before = signal.signal(first, signal.SIG_DFL)  # under nohup it would be ignored
    request.addfinalizer(lambda: signal.signal(first, before))

    class Signalled(transfer.Transfer):
        def prepare(self):
            if len(self.history) == 2:
                signal.raise_signal(first)  # to this thread: another one would let it come late
            return super().prepare()

        def record(self, descent, lines):
            diverged = super().record(descent, lines)
            if twice != "no" and len(self.history) == 3:
                signal.raise_signal(signal.SIGINT)
            return diverged

    monkeypatch.setattr(optimisation, "Transfer", Signalled)
    handlers = [signal.getsignal(number) for number in progress.SIGNALS]
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "-o", "out.png")
    status, _, err = workbench(*argv, "--checkpoint", "state")
    assert status == cli.INTERRUPTED
    assert "interrupted at step 3 of 4; the picture so far is out.png" in the_line(err)
    assert Path("out.png").is_file()
    assert Path("state").is_file() == (twice != "later")  # amid a step there is no state to go on from
    assert [signal.getsignal(number) for number in progress.SIGNALS] == handlers


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("stopped", [False, True])
def test_signals_while_the_picture_is_written_wait_for_it(workbench, ctrl_c, two_styles, photograph, monkeypatch, stopped):
    """At the end of a transfer, and after a first signal has stopped it."""

    class Signalled(transfer.Transfer):
        def prepare(self):
            if stopped and len(self.history) == 2:
                signal.raise_signal(signal.SIGINT)
            return super().prepare()

    def impatient(image, path, **options):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        return save(image, path, **options)

    save = images.save
    monkeypatch.setattr(optimisation, "Transfer", Signalled)
    monkeypatch.setattr(
        images, "save", lambda image, path, **o: (impatient if str(path) == "out.png" else save)(image, path, **o)
    )
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "-o", "out.png")
    status, _, err = workbench(*argv)
    says = "interrupted at step 3 of 4; the picture so far is out.png" if stopped else "interrupted; the picture is out.png"
    assert status == cli.INTERRUPTED and says in the_line(err)
    assert images.load("out.png").shape[-1] > 1


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_checkpoint_that_cannot_be_written_costs_a_warning_not_the_picture(workbench, two_styles, photograph, monkeypatch):
    """The disk is full whenever the checkpoint is written: the picture is not lost, and the status is not that of success."""

    @contextlib.contextmanager
    def meeting_a_full_disk(path):
        with whole(path) as temporary, full.disk() if Path(path).name == "state" else contextlib.nullcontext():
            yield temporary

    whole = storage.atomic
    monkeypatch.setattr(storage, "atomic", meeting_a_full_disk)
    monkeypatch.setattr(cli.stopping, "CHECKPOINT_EVERY", 2)
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "-o", "out.png")
    status, _, err = workbench(*argv, "--checkpoint", "state")
    assert status == 1 and err.count("warning: cannot write state: ") == 1
    assert "cannot write state: " in err.splitlines()[-1] and err.splitlines()[-1].endswith("the picture is out.png")
    assert figures.read_provenance("out.png")["finished"] and not Path("state").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_ctrl_c_that_the_command_was_started_to_ignore_stays_ignored(workbench, ctrl_c, two_styles, photograph, monkeypatch):
    class Signalled(transfer.Transfer):
        def prepare(self):
            signal.raise_signal(signal.SIGINT)
            return super().prepare()

    monkeypatch.setattr(optimisation, "Transfer", Signalled)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as by a shell that starts it in the background
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "-o", "out.png")
    status, out, _ = workbench(*argv)
    assert status == 0 and out.endswith("out.png\n") and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_whenever_a_stop_is_asked_for_its_last_step_is_in_the_checkpoint(workbench, two_styles, photograph, monkeypatch):
    """Also when it comes between any two looks at whether it did."""

    class Asked:
        """Asked to stop from the look number `at` on."""

        def __init__(self, at):
            self.left = at

        def __bool__(self):
            self.left -= 1
            return self.left <= 0

    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "--checkpoint", "state")
    for at in (1, 2, 3):
        monkeypatch.setattr(cli.stopping, "stop_between_steps", lambda at=at: contextlib.nullcontext(Asked(at)))
        Path("state").unlink(missing_ok=True)
        status, _, err = workbench(*argv, "-o", "out.png")
        stopped = int(re.search(r"interrupted at step (\d) of 4", the_line(err))[1])
        assert status == cli.INTERRUPTED
        assert len(json.loads(storage.read_checkpoint("state")[0]["history"])) == stopped


def test_a_stop_before_the_first_step_writes_nothing(workbench, two_styles, photograph, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer.Transfer, "prepare", interrupted)
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", *GRAM, "-o", "out.png")
    status, _, err = workbench(*argv)
    assert status == cli.INTERRUPTED and "before the first step" in the_line(err)
    assert list(Path().iterdir()) == []


def test_a_checkpoint_of_another_transfer_is_refused(workbench, two_styles, photograph, monkeypatch):
    monkeypatch.setattr(cli.stopping, "CHECKPOINT_EVERY", 2)
    argv = ("transfer", photograph, "--corpus", two_styles, "--target", "whole", "--method", "gram", "--size", 32)
    argv += ("--checkpoint", "state")
    assert workbench(*argv, "--steps", 2, "-o", "out.png")[0] == 0
    status, _, err = workbench(*argv, "--steps", 3, "-o", "other.png", "--resume")
    assert status == 2 and "checkpoint of another transfer" in the_line(err)
    assert not Path("other.png").exists()


# --- corpora


def test_check_reports_every_file_and_fails_when_one_was_rejected(workbench, two_styles, tmp_path):
    status, out, _ = workbench("corpus", "check", two_styles)
    counted, small = out.splitlines()
    assert status == 0 and counted == "12 images seen: 12 usable, 0 rejected, 0 duplicates"
    assert "12 of 12 paintings have fewer pixels than asked, 512 px; the smallest has 64 px" in small
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.png").write_bytes((two_styles / "work-00.png").read_bytes())
    (folder / "b.png").write_bytes(b"no image")
    status, out, _ = workbench("corpus", "check", folder)
    assert status == 1
    assert out.splitlines()[0] == "2 images seen: 1 usable, 1 rejected, 0 duplicates"
    assert out.splitlines()[1].startswith("rejected b.png: not an image")
    status, _, err = workbench("embed", folder, "--kind", "gram", "--size", "32")
    assert status == 0 and "1 rejected" in err  # what was left out is never left out in silence
    (folder / "a.png").unlink()
    status, _, err = workbench("corpus", "check", folder)
    assert status == 1 and "no usable image" in the_line(err)


def test_split_writes_every_work_once_and_the_same_every_time(workbench, two_styles):
    argv = ("corpus", "split", two_styles, "--held-out", "0.3", "--seed", "5", "-o")
    assert workbench(*argv, "split.json")[0] == 0
    assert workbench(*argv, "split.csv")[0] == 0
    assert workbench(*argv, "again.json")[0] == 0
    parts = json.loads(Path("split.json").read_text())
    bank, held_out = ingest(two_styles).split(0.3, 5)
    assert parts == {"bank": [work.name for work in bank], "held_out": [work.name for work in held_out]}
    with Path("split.csv").open(newline="") as file:
        rows = {row["file_name"]: row["split"] for row in csv.DictReader(file)}
    assert rows == {name: part for part, names in parts.items() for name in names}
    assert len(rows) == 12
    assert Path("again.json").read_bytes() == Path("split.json").read_bytes()


@pytest.mark.parametrize(
    ("changes", "expected", "says"),
    [
        (["-o", "split.txt"], 2, ".json or .csv"),
        (["-o", "metadata.csv"], 2, "description of a corpus"),
        (["-o", "split.csv", "--held-out", "1.5"], 2, "held_out is 1.5"),
    ],
)
def test_split_refuses(workbench, two_styles, changes, expected, says):
    status, out, err = workbench("corpus", "split", two_styles, *changes)
    assert (status, out) == (expected, "") and says in the_line(err)
    assert list(Path().iterdir()) == []


def test_proposed_genres_stand_beside_what_a_person_gave(workbench, two_styles, tmp_path):
    mine = shutil.copytree(two_styles, tmp_path / "mine")
    with (two_styles / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["genre"] for row in rows)
    for row in rows[::2]:
        row["genre"] = ""
    rows[0]["title"] = "-Sunday-"
    with (mine / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    before = (mine / "metadata.csv").read_bytes()
    command = ("corpus", "genres", mine, "--from", two_styles, "-k", "1", "--device", "cpu", "-o")
    status, out, _ = workbench(*command, "new.csv")
    assert status == 0 and "6 of 12 works have no genre; 6 proposals have a confidence" in out
    assert (mine / "metadata.csv").read_bytes() == before
    with Path("new.csv").open(encoding="utf-8") as file:
        written = {row["file_name"]: row for row in csv.DictReader(file)}
    for work in ingest(two_styles):  # each work votes for its own copy
        row = written[work.name]
        assert row["title"] == ("'-Sunday-" if work.name == rows[0]["file_name"] else work.metadata["title"])
        assert (row["genre"], row["genre_proposed"]) in ((work.genre, ""), ("", work.genre))
    status, _, err = workbench(*command, "new.csv")
    assert status == 2 and "there is such a file" in the_line(err)
    status, _, err = workbench(*command, mine / "new.csv")
    assert status == 2 and "part of the corpus" in the_line(err)
    status, _, err = workbench("corpus", "genres", two_styles, "--from", mine, "-o", "other.csv")
    assert status == 2 and "every work" in the_line(err)


def test_embed_writes_the_vectors_in_the_order_of_the_corpus(workbench, two_styles):
    status, out, _ = workbench("embed", two_styles, "--kind", "style", "--size", "64", "--device", "cpu", "-o", "e.npz")
    assert status == 0 and out.startswith("12 works, ")
    corpus = ingest(two_styles)
    expected = embeddings.embed(corpus, encoders.load(device="cpu"), "style", size=64)
    with np.load("e.npz", allow_pickle=False) as file:
        assert np.array_equal(file["vectors"], expected.raw)
        assert file["names"].tolist() == [work.name for work in corpus]
        assert file["sha256"].tolist() == [work.sha256 for work in corpus]
        assert str(file["kind"]) == "style" and str(file["encoder"]).startswith("embedded:")
    status, out, _ = workbench("embed", two_styles, "--kind", "content", "--device", "cpu")
    assert status == 0 and "512 numbers each: content by lite0:" in out


def test_a_corpus_in_shards_fills_an_index_that_is_searched(workbench, two_styles):
    pytest.importorskip("lancedb")
    command = ("embed", two_styles, "--kind", "content", "--shards", "parts", "--workers", "1", "--index", "lancedb:museum")
    status, out, _ = workbench(*command, "--device", "cpu")
    assert status == 0 and out.splitlines() == ["parts/manifest.json", "12 works in lancedb:museum"]
    before = {path: path.stat().st_mtime_ns for path in Path("parts").glob("*.safetensors")}
    assert workbench(*command, "--device", "cpu")[1] == out
    assert {path: path.stat().st_mtime_ns for path in before} == before and before
    status, out, _ = workbench("search", "lancedb:museum", two_styles / "work-03.png", "-k", "1", "--device", "cpu")
    assert status == 0 and out.startswith("+1.000") and "work-03.png" in out


def test_what_is_no_work_any_more_is_said_and_taken_out_when_asked(workbench, two_styles, tmp_path):
    pytest.importorskip("lancedb")
    folder = shutil.copytree(two_styles, tmp_path / "edited")
    command = ("embed", folder, "--kind", "content", "--index", "lancedb:museum", "--device", "cpu")
    assert workbench(*command)[0] == 0
    (folder / "work-03.png").unlink()
    table = folder / "metadata.csv"
    table.write_text(table.read_text().replace("work-05.png,", "work-05.png,Somebody else ", 1))
    status, out, err = workbench(*command)
    assert status == 0 and out == "13 works in lancedb:museum\n"
    assert "2 points of the index are of a corpus edited and no work of it now: --prune removes them" in err
    status, out, err = workbench(*command, "--prune")
    assert status == 0 and out == "11 works in lancedb:museum\n" and "--prune" not in err
    status, _, err = workbench("embed", folder, "--kind", "content", "--prune")
    assert status == 2 and "--index, which is not given" in the_line(err)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--workers", "2"), "--shards FOLDER, which is not given"),
        (("--shards", "parts", "-o", "e.npz"), "give one of them"),
        (("--index", "lancedb:museum", "--size", "64"), "at the encoder's own size"),
    ],
)
def test_embed_refuses_what_does_not_go_together(workbench, two_styles, options, says):
    status, _, err = workbench("embed", two_styles, "--kind", "content", *options)
    assert status == 2 and says in the_line(err) and not list(Path().iterdir())


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("embed", "CORPUS", "--kind", "styl"), "choose content, style, gram"),
        (("embed", "CORPUS", "--kind", "gram", "--size", "5"), "size is 5"),
        (("embed", "CORPUS", "--kind", "gram", "-o", "e.npy"), ".npz"),
        (("clusters", "CORPUS", "-o", "sheet.jpg"), ".png or .pdf"),
        (("clusters", "CORPUS", "-k", "13"), "k = 13"),
        (("clusters", "CORPUS", "--kind", "styl"), "choose content, style, gram"),
        (("search", "CORPUS", "absent.png"), "absent.png"),
        (("search", "CORPUS", "china", "-k", "-2"), "at least 1"),
        (("search", "nocturn", "china"), "did you mean nocturne"),
        (("search", "CORPUS", "china", "--index", "elastic://host"), "choose exact, lancedb:FOLDER"),
        (("search", "CORPUS", "china", "--where", "artist"), "write COLUMN=VALUE"),
        (("search", "CORPUS", "china", "--where", "artist=Giotto"), "artist may be "),
        (("search", "CORPUS", "china", "--where", "artits=Giotto"), "it has "),
        (("search", "CORPUS", "china", "--where", "year=1890..1889"), "it goes from "),
        (("search", "lancedb:museum", "china", "--index", "lancedb:museum"), "is searched by itself"),
        (("search", "lancedb:museum", "china", "-o", "found.png"), "-o draws pictures"),
        (("search", "lancedb:musuem", "china"), "there is no musuem"),
        (("search", "milvus:works.db", "china"), "there is no works.db"),
        (("search", "CORPUS", "china", "-o", "found.txt"), ".png"),
    ],
)
def test_the_other_commands_refuse_too(workbench, two_styles, argv, says):
    status, out, err = workbench(*(str(two_styles) if word == "CORPUS" else word for word in argv))
    assert (status, out) == (2, "") and says in the_line(err)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [
        ("clusters", "CORPUS", "-o", "CORPUS/sheet.png"),
        ("embed", "CORPUS", "--kind", "gram", "-o", "CORPUS/new/e.npz"),
        ("corpus", "split", "CORPUS", "-o", "CORPUS/parts.json"),
        ("embed", "CORPUS", "--kind", "gram", "-o", "link/e.npz"),
        ("embed", "CORPUS", "--kind", "content", "--shards", "CORPUS"),
        ("search", "CORPUS", "china", "-o", "CORPUS/sheet.png"),
        ("search", "CORPUS", "china", "-o", "CORPUS/work-04.pdf"),  # which goes with work-04.png
    ],
)
def test_nothing_is_written_into_a_corpus(workbench, two_styles, argv):
    Path("link").symlink_to(two_styles)
    before = sorted(two_styles.rglob("*"))
    status, out, err = workbench(*(word.replace("CORPUS", str(two_styles)) for word in argv))
    assert (status, out) == (2, "") and "it would become part of the corpus" in the_line(err)
    assert sorted(two_styles.rglob("*")) == before


def test_search_finds_a_painting_by_itself(workbench, two_styles):
    asked = ("search", two_styles, two_styles / "work-04.png", "-k", "3", "--device", "cpu")
    status, out, _ = workbench(*asked)
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == 3 and lines[0] == "+1.000  work-04.png  Work 4"
    similarities = [float(line.split()[0]) for line in lines]
    assert similarities == sorted(similarities, reverse=True)
    status, drawn, _ = workbench(*asked, "-o", "found.png")
    assert status == 0 and drawn.splitlines() == [*lines, "found.png", "found.pdf"]
    assert figures.read_provenance("found.png")["inputs"]["content"]["sha256"] == sha256(two_styles / "work-04.png")
    by = [
        workbench("search", two_styles, two_styles / "work-04.png", "--device", "cpu", *which)[1]
        for which in ((), ("--encoder", "lite0"), ("--encoder", "embedded"))
    ]
    assert by[0] == by[1] != by[2]


def test_two_folders_of_one_name_are_two_corpora(workbench, two_styles, tmp_path):
    """Their works are found, named and drawn as what they are, also where file names are the same."""
    for artist, works in (("monet", (4, 6)), ("degas", (5, 7))):
        folder = tmp_path / artist / "paintings"
        folder.mkdir(parents=True)
        for i, work in enumerate(works, 1):
            shutil.copy(two_styles / f"work-0{work}.png", folder / f"{i}.png")
    corpora = (tmp_path / "monet" / "paintings", tmp_path / "degas" / "paintings")
    status, out, _ = workbench("search", *corpora, two_styles / "work-04.png", "-k", "9", "--device", "cpu", "-o", "sheet.png")
    lines = [line.split()[1] for line in out.splitlines()[:4]]
    assert status == 0 and lines[0] == "monet/paintings/1.png"
    assert sorted(lines) == [f"{artist}/paintings/{i}.png" for artist in ("degas", "monet") for i in (1, 2)]
    inputs = figures.read_provenance("sheet.png")["inputs"]
    assert {"corpus monet/paintings", "corpus degas/paintings"} < set(inputs)


def test_a_museum_is_one_index_of_several_artists(workbench, two_styles, tmp_path):
    pytest.importorskip("lancedb")
    picture = two_styles / "work-04.png"
    other = tmp_path / "other"
    other.mkdir()
    for i in (2, 3, 4):
        shutil.copy(two_styles / f"work-0{i}.png", other)
    rows = "".join(f"work-0{i}.png,Somebody,Study {i}\n" for i in (2, 3, 4))
    (other / "metadata.csv").write_text("file_name,artist,title\n" + rows, encoding="utf-8")
    museum = f"lancedb:{tmp_path / 'museum'}"
    found = [
        workbench("search", *corpora, picture, "-k", "15", "--device", "cpu", *rest)
        for corpora, rest in (
            ((two_styles, other), ()),
            ((two_styles, other), ("--index", museum)),
            ((museum,), ()),
            ((museum,), ("--where", "artist=Somebody")),
            ((two_styles, other), ("--where", "artist=Somebody", "--where", "artist=Nobody", "--where", "year=1904..1905")),
        )
    ]
    assert [status for status, _, _ in found] == [0] * 5
    exact, filled, alone, narrowed, years = (out.splitlines() for _, out, _ in found)
    assert (
        sorted(exact) == sorted(filled) == sorted(alone) and len(alone) == 15
    )  # in which order equals come depends on the last bit
    assert {line.partition("  ")[2] for line in alone[:2]} == {
        f"{two_styles.name}/work-04.png  Work 4, Nobody", "other/work-04.png  Study 4, Somebody"
    }  # fmt: skip
    assert narrowed[0] == "+1.000  other/work-04.png  Study 4, Somebody" and len(narrowed) == 3
    assert [line.split()[1] for line in years] == [f"{two_styles.name}/work-0{i}.png" for i in (4, 5)]
    status, _, err = workbench("search", museum, picture, "--encoder", "embedded", "--device", "cpu")
    assert status == 2 and "lite0" in the_line(err)


def test_clusters_tell_two_hands_apart_and_draw_them(workbench, two_styles):
    status, out, err = workbench("clusters", two_styles, "--kind", "gram", "--device", "cpu", "-o", "sheets/two.png")
    assert status == 0, err
    assert out.startswith("k = 2: best silhouette")
    assert re.search(r"cluster 1: 6 works, medoid work-\d\d\.png  Work \d+\ncluster 2: 6 works", out)
    assert re.search(r"cluster  landscape  portrait\n +1  +(0 +6|6 +0)\n +2  +(6 +0|0 +6)\n", out)
    assert "with genre 1.00" in out
    made = figures.read_provenance("sheets/two.png")
    assert made == figures.read_provenance("sheets/two.pdf") and made["parameters"]["kind"] == "gram"
    with Image.open("sheets/two.png") as sheet:
        assert min(sheet.size) > 300
    status, out, _ = workbench("clusters", two_styles, "-k", "4", "--device", "cpu")
    assert status == 0 and out.startswith("k = 4 as asked") and "cluster 4: " in out


# --- notebooks


@pytest.fixture
def notebook(tmp_path):
    def write(*sources):
        node = nbformat.v4.new_notebook(metadata={"kernelspec": runs.tidy.KERNEL, "language_info": {"name": "python"}})
        node.cells = [
            nbformat.v4.new_code_cell(source)
            for source in ("steps: int = 3\nout: str = ''\ncontent: str = ''\ncorpus: str = ''", *sources)
        ]
        node.cells[0].metadata["tags"] = ["parameters"]
        path = tmp_path / "07_tiny.ipynb"
        nbformat.write(node, path)
        return path

    return write


def test_run_prints_the_folder_and_the_figures(workbench, notebook):
    begin = "from workbench import runs\nrun = runs.begin(globals(), '07_tiny')"
    draw = "import matplotlib.figure\nif steps > 4: run.figure(matplotlib.figure.Figure(figsize=(1, 1)), 'a')\nrun.finish()"
    path = notebook(begin, draw)
    status, out, err = workbench("run", path, "-p", "steps=5", "-p", "out=here", "--timeout", "60")
    assert status == 0, err
    assert out.splitlines() == ["here", *(str(Path("here", "figures", name)) for name in ("a.pdf", "a.png"))]
    assert figures.read_provenance("here/figures/a.png")["parameters"]["steps"] == 5
    assert json.loads(Path("here/run.json").read_text())["status"] == "complete"
    Path("here/figures/other.png").write_text("of no run")
    status, out, err = workbench("run", path, "-p", "steps=4", "-p", "out=here")
    assert status == 0 and out.splitlines() == ["here"]  # neither what the run before drew, nor what no run did


def test_a_run_that_fails_says_where_and_exits_1(workbench, notebook):
    status, out, err = workbench("run", notebook("1 / 0"), "--out", "base")
    assert status == 1
    folder = Path(out.splitlines()[0])
    assert folder.parent == Path("base/07_tiny")
    assert "In [2]: ZeroDivisionError" in the_line(err) and str(folder / "executed.ipynb") in the_line(err)
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"


def test_the_help_of_run_lists_the_parameters_of_a_notebook(workbench, notebook, capsys):
    with pytest.raises(SystemExit):
        workbench("run", notebook("pass"), "--help")
    said = capsys.readouterr().out
    assert "steps: int = 3" in said and "corpus: str = ''" in said and "--timeout" in said
    status, out, err = workbench("run", "nowhere.ipynb", "--help")
    assert (status, out) == (1, "") and "nowhere.ipynb" in the_line(err)


@pytest.mark.skipif(sys.platform == "win32", reason="locks, and pipes")
def test_two_runs_never_share_a_folder(workbench, notebook):
    with storage.alone(Path("here/.at-work"), "the folder is taken"):
        status, out, err = workbench("run", notebook("pass"), "-p", "out=here")
    assert (status, out) == (2, "") and "another run is at work in here" in the_line(err)
    assert list(Path("here").iterdir()) == []  # it wrote nothing into the folder of the other


@pytest.mark.skipif(sys.platform == "win32", reason="locks, and pipes")
@pytest.mark.parametrize(
    "argv",
    [
        ("run", "NOTEBOOK", "--settings", "PIPE"),
        ("run", "PIPE"),
        ("sweep", "PIPE"),
        ("study", "register", "PIPE", "-o", "registration.json"),
        ("study", "blind", "PIPE", "--corpora", "CORPUS", "--contents", "china", "--contact", "a@b", "-o", "study.html"),
        ("study", "tally", "PIPE", "--key", "PIPE"),
        ("distil", "--data", "CORPUS", "--recipe", "PIPE", "--out", "own.safetensors"),
        ("transfer", "PIPE", "--corpus", "CORPUS", "-o", "out.png"),
        ("search", "CORPUS", "PIPE"),
    ],
)
def test_a_file_without_an_end_is_refused_at_once(workbench, notebook, two_styles, argv):
    """A pipe that nobody writes to would be waited for for ever."""
    os.mkfifo("pipe.ipynb")
    known = {"NOTEBOOK": str(notebook("pass")), "PIPE": "pipe.ipynb", "CORPUS": str(two_styles)}
    status, _, err = workbench(*(known.get(word, word) for word in argv))
    assert status in (1, 2) and "pipe.ipynb" in the_line(err), err


@pytest.mark.parametrize(
    "argv",
    [
        ("-p", "stps=5"),
        ("-p", "steps=many"),
        ("-p", "steps"),
        ("-p", "content=no-such-file.jpg"),
        ("-p", "corpus=no-such-folder"),
        ("--settings", "absent.json"),
        ("--out", "base", "-p", "out=here"),
    ],
)
def test_run_refuses_bad_parameters_before_anything_is_made(workbench, notebook, argv):
    status, out, err = workbench("run", notebook("pass"), *argv)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and the_line(err)
    assert list(Path().iterdir()) == []


SWEPT = (
    "from workbench import runs\nrun = runs.begin(globals(), '07_tiny')\nrun.input('source', source)",
    "assert steps != 13\nrun.metrics({'a': {'b': steps * scale}, 'word': 'x'})\nrun.finish()",
)


@pytest.fixture
def swept(tmp_path):
    """A grid over a notebook that fails where steps = 13."""
    node = nbformat.v4.new_notebook(metadata={"kernelspec": runs.tidy.KERNEL, "language_info": {"name": "python"}})
    parameters = "steps: int = 3\nscale: float = 1.0\nsource: str = 'input.txt'\nout: str = ''"
    node.cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *SWEPT)]
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, tmp_path / "07_tiny.ipynb")
    Path("input.txt").write_text("one")
    Path("grid.yaml").write_text(f"notebook: {tmp_path}/07_tiny.ipynb\nvary: {{scale: [0.5], steps: [2, 13]}}\n")
    return Path("runs/07_tiny")


def test_a_sweep_runs_every_combination_tells_of_failures_and_goes_on(workbench, swept):
    status, out, err = workbench("sweep", "grid.yaml")
    assert status == 1 and "1 of 2 runs failed" in err.splitlines()[-1]
    assert out.count("failed: ") == 1
    assert out.splitlines()[-2:] == ["runs/07_tiny/index.html", "runs/07_tiny/sweep.csv"]
    rows = list(csv.DictReader((swept / "sweep.csv").open()))
    assert [(row["steps"], row["scale"], row["status"], row["a.b"]) for row in rows] == [
        ("2", "0.5", "complete", "1.0"),
        ("13", "0.5", "failed", ""),
    ]
    before = {folder for folder in swept.iterdir() if folder.is_dir()}
    status, out, err = workbench("sweep", "grid.yaml")
    assert {folder for folder in swept.iterdir() if folder.is_dir()} == before  # nothing has changed: nothing is made again
    assert status == 1 and out.count("kept") == 2 and "--retry makes them again" in err.splitlines()[-1]
    Path("grid.yaml").write_text(Path("grid.yaml").read_text().replace("[2, 13]", "[2, 2]"))
    Path("input.txt").write_text("two")
    status, out, err = workbench("sweep", "grid.yaml")
    assert status == 0 and out.count("made again: the source input.txt changed") == 2, out + err


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("vary: {steps: [1]}", "names no notebook"),
        ("notebook: 07_tiny.ipynb\nvary: {stps: [1]}", "did you mean"),
        ("notebook: 07_tiny.ipynb\nvary: {steps: [1, x]}", "steps"),
        ("notebook: 07_tiny.ipynb\nvary: {steps: 1}", "needs a list"),
        ("notebook: 07_tiny.ipynb\nvary: {steps: [1]}\nfixed: {steps: 2}", "both varied and fixed"),
        ("notebook: 07_tiny.ipynb\nvaried: {steps: [1]}", "key 'varied'"),
        ("notebook: 07_tiny.ipynb\nvary: {steps: [1, 2.5]}", "steps"),
        (f"notebook: 07_tiny.ipynb\nvary: {{steps: {[*range(1000)]}, scale: {[*range(1000)]}}}", "1,000,000 combinations"),
        ("notebook: 07_tiny.ipynb\nfixed: {out: here}", "--out"),
        ("notebook: [", "not YAML"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused_before_any_run(workbench, swept, tmp_path, grid, says):
    Path("bad.yaml").write_text(grid.replace("07_tiny.ipynb", str(tmp_path / "07_tiny.ipynb")))
    status, _, err = workbench("sweep", "bad.yaml")
    assert status == 2 and says in the_line(err)
    assert not Path("runs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_kill_is_recorded_as_interrupted(notebook, tmp_path):
    process = spawn(
        "run", notebook("import time", "open('begun', 'w').close()\ntime.sleep(600)"), "-p", "out=here", cwd=tmp_path
    )
    until((tmp_path / "begun").exists, process)
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == cli.INTERRUPTED and "workbench: interrupted" in err
    assert json.loads((tmp_path / "here" / "run.json").read_text())["status"] == "interrupted"


# --- errors


@pytest.mark.parametrize("status", [0, 3])
def test_bench_runs_the_benchmark_of_the_checkout_and_fails_with_it(workbench, tmp_path, monkeypatch, status):
    stub = tmp_path / "bench.py"
    stub.write_text(f"import sys; open('said', 'w').write(' '.join(sys.argv[1:])); sys.exit({status})")
    monkeypatch.setattr(cli.bench, "BENCHMARK", stub)
    for folder in ("photos", "corpora/one", "corpora/two"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    argv = ("bench", tmp_path / "data", "--styles", "one", "two", "--sizes", "128", "256", "--pairs", "2", "--out", "there")
    assert workbench(*argv)[0] == (1 if status else 0)
    data = tmp_path / "data"
    styles = f"{data}/corpora/one {data}/corpora/two"
    assert Path("said").read_text() == f"--contents {data}/photos --styles {styles} --sizes 128 256 --pairs 2 --out there"


def test_bench_refuses_a_folder_without_photographs_and_an_installation_without_a_checkout(workbench, tmp_path, monkeypatch):
    status, _, err = workbench("bench", tmp_path)
    assert status == 2 and "photos: no such folder" in the_line(err)
    monkeypatch.setattr(cli.bench, "BENCHMARK", tmp_path / "absent.py")
    status, _, err = workbench("bench", tmp_path)
    assert status == 2 and "in a checkout" in the_line(err)


def test_a_fault_of_ours_is_one_line_and_a_traceback_with_debug(workbench, two_styles, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("workbench.inputs.corpus", broken)
    status, _, err = workbench("corpus", "check", two_styles)
    assert status == 1
    assert err == "workbench: ZeroDivisionError: two lines (run again with --debug for the traceback)\n"
    for argv in (("--debug", "corpus", "check", two_styles), ("corpus", "check", "--debug", two_styles)):
        status, _, err = workbench(*argv)
        assert status == 1 and "Traceback" in err and err.endswith("\nworkbench: ZeroDivisionError: two lines\n")


def test_ctrl_c_anywhere_is_one_line(workbench, two_styles, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.inputs.corpus", interrupted)
    status, _, err = workbench("corpus", "check", two_styles)
    assert (status, err) == (cli.INTERRUPTED, "workbench: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_reader_that_has_gone_is_no_error_message(two_styles):
    process = spawn("corpus", "check", two_styles)
    process.stdout.close()
    assert process.wait(timeout=PATIENCE) == cli.BROKEN_PIPE
    assert "Traceback" not in (err := process.stderr.read()) and "workbench:" not in err and "BrokenPipe" not in err


def test_a_run_that_diverges_keeps_the_last_good_picture(workbench, photograph, two_styles, monkeypatch):
    from workbench.transfer.losses import GramLoss

    honest, calls = GramLoss.__call__, []

    def breaks(self, image, features):
        calls.append(1)
        return honest(self, image, features) * (float("nan") if len(calls) > 2 else 1.0)

    monkeypatch.setattr(GramLoss, "__call__", breaks)
    status, _, err = workbench("transfer", photograph, "--corpus", two_styles, "--target", "whole", "-o", "o.png", *GRAM)
    assert status == 1
    assert "step 3" in the_line(err) and "last good picture is o.png" in the_line(err)
    assert images.read("o.png").image.size == (64, 48)
