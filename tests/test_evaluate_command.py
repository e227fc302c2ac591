"""`workbench evaluate lora`: checkpoints found and split, painted, measured, recommended; stopped and gone on with."""

import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_diffusion
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from workbench import encoders, figures
from workbench.cli import evaluate as evaluation
from workbench.corpora import ingest
from workbench.diffusion import checkpoints, lora, stylise
from workbench.errors import UsageError
from workbench.study import choosing
from workbench.study.choosing import Row

OPTIONS = ("size=64", "class_images=0", "rank=2", "samples=false", "clusters=1", "held_out=.25")
ASKED = ("--samples", "2", "--steps", "4", "--contents", "photo.png", "--others", "others", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, two_styles):
    """A folder with works, each its own series, works by others, a photograph and a small model."""
    folder = tmp_path_factory.mktemp("evaluate")
    shutil.copytree(two_styles, folder / "works", ignore=shutil.ignore_patterns("metadata.csv"))
    shutil.copytree(small_diffusion.folder(), folder / "base")
    (folder / "others").mkdir()
    draw = np.random.default_rng(1)
    for k in range(6):
        noise = Image.fromarray((draw.random((6, 8, 3)) * 255).astype(np.uint8))
        noise.resize((64, 48)).save(folder / "others" / f"{k}.png")
    Image.radial_gradient("L").resize((64, 48)).convert("RGB").save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def load_once():
    return functools.cache(encoders.load)


@pytest.fixture
def workbench(capsys, monkeypatch, folder, load_once):
    """Run a command line in `folder`: (status, stdout, stderr)."""
    return small_diffusion.command_line(capsys, monkeypatch, folder, load_once)


def evaluate(what, *more, out="found"):
    return ("evaluate", "lora", what, "--base", "base", "--corpus", "works", *ASKED, "-o", out, *more)


def last_line(err):
    assert "Traceback" not in err
    return err.splitlines()[-1]


@pytest.fixture
def trained(workbench, folder):
    """The folder of a training's checkpoints, of two steps."""
    if not (folder / "loras").exists():
        options = [word for option in OPTIONS for word in ("-p", option)]
        how = ("--steps", "2", "--report-every", "2", "--keep-every", "1", "--rate", "100", "--device", "cpu")
        status, _, err = workbench(
            "train", "dreambooth", "--corpus", "works", "--base", "base", "-o", "loras/x", *how, *options
        )
        assert status == 0, err
    return folder / "loras"


def test_from_trained_checkpoints_to_a_recommendation(workbench, trained, folder, monkeypatch):
    status, out, err = workbench(*evaluate("loras"))
    assert status == 0, err
    assert "9 works seen, 3 held out" in out
    assert out.splitlines()[-3:] == [f"found/checkpoints{suffix}" for suffix in (".csv", ".pdf", ".jpg")]
    table = pd.read_csv(folder / "found/checkpoints.csv")
    assert list(table.checkpoint) == ["base alone", "x-step000001", "x-step000002"]  # the last is the finished network, too
    assert table.recommended.sum() <= 1 and not table.recommended[0]
    assert (table.recommended.sum() == 1) == (": log-odds" in out) and ("none is good" in out) == (table.recommended.sum() == 0)
    numbers = table.drop(columns=["checkpoint", "recommended"]).to_numpy()
    assert np.isfinite(numbers).all() and table.held_out[0] != table.held_out[2]
    assert figures.read_provenance(folder / "found/checkpoints.jpg")["command"] == "evaluate"
    kept = {re.sub("-[0-9a-f]{12}", "", path.name) for path in (folder / "found/pictures").glob("base-alone-*/*")}
    assert kept == {"photo-0.png", "sample-0.png", "sample-1.png", "losses.json"}

    before = (folder / "found/checkpoints.csv").read_bytes()
    monkeypatch.setattr(stylise, "made", None)
    monkeypatch.setattr(stylise, "restyled", None)
    assert workbench(*evaluate("loras"))[0] == 0  # nothing is painted again
    assert (folder / "found/checkpoints.csv").read_bytes() == before


def test_what_ctrl_c_left_is_gone_on_with(workbench, trained, folder, monkeypatch):
    made, calls = stylise.made, []

    def stopping(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return made(*args, **options)

    monkeypatch.setattr(stylise, "made", stopping)
    status, _, err = workbench(*evaluate("loras", out="stopped"))
    assert status == 130 and "interrupted; 0 of 2 checkpoints are measured" in last_line(err)
    assert len(list((folder / "stopped/rows").iterdir())) == 1  # the base alone
    assert workbench(*evaluate("loras", out="stopped"))[0] == 0
    assert len(calls) == 3 * 2 + 1  # one picture was begun twice
    if (folder / "found/checkpoints.csv").exists():
        assert (folder / "stopped/checkpoints.csv").read_bytes() == (folder / "found/checkpoints.csv").read_bytes()


def test_a_file_of_another_trainer(workbench, trained, folder):
    """It does not say what it learnt from, nor by what word."""
    found = {}
    for name, value in load_file(trained / "x.safetensors").items():
        layer, _, matrix = name.removeprefix("unet.").rpartition(".lora_")
        found[f"lora_unet_{layer.replace('.', '_')}.lora_{'down' if matrix[0] == 'A' else 'up'}.weight"] = value
    save_file(found, folder / "kohya.safetensors")
    status, _, err = workbench(*evaluate("kohya.safetensors"))
    assert status == 2 and "does not say which works it learnt from: name them (--seen FILE)" in last_line(err)
    (folder / "seen.csv").write_text("file_name,split\n" + "".join(f"work-{k:02}.png,bank\n" for k in range(8)))
    status, _, err = workbench(*evaluate("kohya.safetensors", "--seen", "seen.csv"))
    assert status == 2 and "does not say its word: give it (--token)" in last_line(err)
    status, out, err = workbench(*evaluate("kohya.safetensors", "--seen", "seen.csv", "--token", "sks", out="kohya"))
    assert status == 0 and "8 works seen, 4 held out" in out, err
    status, _, err = workbench(*evaluate("loras", "--seen", "seen.csv"))
    assert status == 2 and "says itself which works it saw" in last_line(err)


@pytest.mark.parametrize(
    "more, says",
    [
        (("--steps", "1"), "steps = 1 at strength 0.5 are less than one step"),
        (("--samples", "1"), "--samples = 1: choose at least 2"),
        (("--contents", "photo.png", "./photo.png"), "one of --contents is given twice"),
        (("-o", "others/found"), "it would become part of the corpus in"),
        (("--contents", "wrong/checkpoints.jpg"), "checkpoints.jpg: it is one of the contents; choose another name for --out"),
        (("--seen", "wrong/checkpoints.csv"), "checkpoints.csv: it is the list of works that were learnt from"),
        (("--corpus", "others"), "none of the works that the LoRA learnt from is in the corpus"),
    ],
)
def test_what_cannot_be_is_one_line(workbench, trained, folder, more, says):
    (folder / "wrong").mkdir(exist_ok=True)
    shutil.copy(folder / "photo.png", folder / "wrong/checkpoints.jpg")
    status, _, err = workbench(*evaluate("loras", *more, out="wrong"))
    assert status == 2 and says in last_line(err)
    assert not (folder / "others/found").exists()


@pytest.fixture
def painter(two_styles, tmp_path):
    """A function that makes a Painter in an empty folder, for photographs by their names."""
    works = ingest(two_styles).works
    split = checkpoints.split(works, [checkpoints.Checkpoint("a")], seen=[works[0].name], token="sks")
    asked = checkpoints.Asked(size=32, samples=2, seeds=2, steps=2)
    return lambda contents: checkpoints.Painter(small_diffusion.opened(), contents, split, asked, tmp_path / "pictures")


class Unlike:
    """In place of a yardstick: all that it measures is other each time."""

    identity = ()
    times = 0

    def measure(self, label, restyled, samples, **losses):
        self.times += 1
        return Row(label, *(self.times + k / 8 for k in range(9)), **losses, each=(0.5,) * len(restyled))


def damages(path):
    """What may stand in the place of `path`."""
    if path.suffix == ".json":
        held = json.loads(path.read_text())
        yield from (b'{"label":', b"", b"[1]", b"3", b"{}", json.dumps(dict.fromkeys(held, "x")).encode())
        if "each" in held:
            yield json.dumps(held | {"each": []}).encode()
    else:
        yield path.read_bytes()[:-100]
        yield next(other for other in path.parent.glob("*.png") if other != path).read_bytes()


def test_what_was_kept_and_is_damaged_is_made_again(painter, tmp_path):
    alone, yardstick = checkpoints.Checkpoint(checkpoints.ALONE), Unlike()
    paints = painter({"photo": torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))})

    def row():
        return choosing._row(alone, paints, yardstick, paints.paint(alone), tmp_path / "rows")

    found = row()
    files = sorted((tmp_path / "pictures").rglob("*.*"))
    assert len(files) == 2 + 2 + 1 and row() == found
    for path in files:
        before = path.read_bytes()
        for content in damages(path):
            path.write_bytes(content)
            row()
            assert path.read_bytes() == before
    assert yardstick.times == 1
    (path,) = (tmp_path / "rows").iterdir()
    for times, content in enumerate(damages(path), 2):
        path.write_bytes(content)
        assert row().odds == times and row().odds == times


def test_photographs_have_files_of_their_own_whatever_they_are_called(painter):
    """As samples are, as each other in upper case, as a path, and at length."""
    draw, names = torch.Generator().manual_seed(0), ("sample", "Sample", "sample-0", "a/b", "a-b", "x" * 240, "x" * 239)
    made = painter({name: torch.rand(1, 3, 24, 32, generator=draw) for name in names}).paint(checkpoints.Checkpoint("y" * 240))
    files = [*made.restyled.values(), *made.samples]
    assert len({str(path).lower() for path in files}) == len(files) == 2 * len(names) + 2
    assert len({path.read_bytes() for path in files}) == len(files)


def test_photographs_of_one_name_are_told_apart():
    paths = [Path("/a/b/c.png"), Path("/a/b/c.jpg"), Path("/a/d/c.png"), Path("/a/e.png")]
    assert evaluation._told_apart(paths) == ["b/c.png", "c.jpg", "d/c.png", "e"]


def written(path, header=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor = {"unet.x.lora_A.weight": torch.full((1, 2), float(len(list(path.parents[1].rglob("*.safetensors")))))}
    save_file(tensor, path, metadata=None if header is None else {"header": json.dumps(header)})


class TestFinding:
    def test_in_the_order_of_training_whoever_trained(self, tmp_path):
        cases = {
            "kohya": ["monet2-000002", "monet2-000010", "monet2"],
            "ai-toolkit": ["monet_000000250", "monet_000002000", "monet"],
            "workbench": ["m-step000500", "m-step001000", "m"],
        }
        for trainer, names in cases.items():
            for name in reversed(names):
                written(tmp_path / trainer / f"{name}.safetensors")
            assert [found.label for found in checkpoints.find(tmp_path / trainer)] == names
        for name in ("checkpoint-1000", "checkpoint-500"):
            written(tmp_path / "diffusers" / name / lora.WEIGHTS)
        written(tmp_path / "diffusers" / lora.WEIGHTS)
        assert [found.label for found in checkpoints.find(tmp_path / "diffusers")] == [
            "checkpoint-500", "checkpoint-1000", "pytorch_lora_weights",
        ]  # fmt: skip

    def test_steps_in_the_header_come_before_names(self, tmp_path):
        for name, steps in (("a", 300), ("b", 100)):
            written(tmp_path / "x" / f"{name}.safetensors", {"steps": steps})
        assert [found.label for found in checkpoints.find(tmp_path / "x")] == ["b", "a"]

    def test_labels_are_told_apart(self, tmp_path):
        for name in ("a.safetensors", f"a/{lora.WEIGHTS}", f"{checkpoints.ALONE}.safetensors", "b.safetensors"):
            written(tmp_path / "x" / name)
        labels = {found.label for found in checkpoints.find(tmp_path / "x")}
        assert labels == {"a.safetensors", f"a/{lora.WEIGHTS}", f"{checkpoints.ALONE}.safetensors", "b"}

    def test_files_of_several_trainings_are_refused(self, tmp_path):
        for name, recipe in (("a-step000002", "1"), ("a-step000008", "2"), ("b", "1")):
            written(tmp_path / f"x/{name}.safetensors", {"provenance": {"inputs": {"training": {"sha256": recipe}}}})
        with pytest.raises(UsageError, match="holds files of 2 trainings, such as a-step000002 and a-step000008"):
            checkpoints.find(tmp_path / "x")
        (tmp_path / "x/a-step000008.safetensors").unlink()
        assert len(checkpoints.find(tmp_path / "x")) == 2

    def test_equal_files_once_and_no_states_of_trainings(self, tmp_path):
        written(tmp_path / "x/m-step000002.safetensors")
        for name in ("m", "m.checkpoint", "m.checkpoint.previous"):
            shutil.copy(tmp_path / "x/m-step000002.safetensors", tmp_path / f"x/{name}.safetensors")
        assert [found.label for found in checkpoints.find(tmp_path / "x")] == ["m-step000002"]
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match=r"holds no \.safetensors file"):
            checkpoints.find(tmp_path / "empty")


class TestSplit:
    def test_the_series_of_seen_works_are_in_neither_part(self, two_styles, tmp_path):
        works = ingest(two_styles).works  # series of four
        other = [checkpoints.Checkpoint("a")]
        found = checkpoints.split(works, other, seen=[works[0].name, works[5].name], token="nob", noun="sketch")
        assert [work.name for work in found.seen] == [works[0].name, works[5].name]
        assert {work.series for work in found.held_out} == {"series-2"} and len(found.held_out) == 4
        assert set(found.tokens.values()) == {"nob"}
        assert found.captions[works[0].sha256] == "nob sketch, portrait, Work 0, 1900"
        with pytest.raises(UsageError, match="0 works of series that the LoRA never saw"):
            checkpoints.split(works, other, seen=[works[k].name for k in (0, 4, 8)], token="nob")
        with pytest.raises(UsageError, match=r"no work nowhere\.png"):
            checkpoints.split(works, other, seen=["nowhere.png"], token="nob")

    def test_what_the_header_says(self, two_styles):
        works = ingest(two_styles).works
        said = {"works": [w.sha256 for w in works[:8]], "noun": "sketch", "captions": {works[0].sha256: "told"}}
        said["tokens"] = {"a1": [w.sha256 for w in works[:3]], "a2": [w.sha256 for w in works[3:8]]}
        found = checkpoints.split(works, [checkpoints.Checkpoint("a", header=said)])
        assert found.noun == "sketch" and len(found.seen) == 8 and len(found.held_out) == 4
        assert found.captions[works[0].sha256] == "told" and found.captions[works[1].sha256].startswith("a1 sketch")
        assert found.tokens[works[9].sha256] == "a2"  # that of most works
        with pytest.raises(UsageError, match="learnt from different works"):
            checkpoints.split(works, [checkpoints.Checkpoint("a", header=said), checkpoints.Checkpoint("b")])

    def test_files_of_names(self, tmp_path):
        (tmp_path / "a.txt").write_text("one.png\n\n two.png \n")
        (tmp_path / "a.csv").write_text('file_name,split\n"a, b.png",bank\nc.png,held_out\n')
        (tmp_path / "a.json").write_text(json.dumps({"bank": ["x.png"], "held_out": []}))
        assert checkpoints.seen_in(tmp_path / "a.txt") == ["one.png", "two.png"]
        assert checkpoints.seen_in(tmp_path / "a.csv") == ["a, b.png"]
        assert checkpoints.seen_in(tmp_path / "a.json") == ["x.png"]
        (tmp_path / "b.csv").write_text("name\nx\n")
        for name, says in (("b.csv", "no split of a corpus"), ("nowhere.txt", "cannot be read")):
            with pytest.raises(UsageError, match=says):
                checkpoints.seen_in(tmp_path / name)
