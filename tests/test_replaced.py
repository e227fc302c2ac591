"""Files that are replaced while they are in use: what is stamped is what was read, and what is shown is of what lies there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from waiting import PATIENCE, until

from workbench import cli, figures, inputs, methods, provenance
from workbench.errors import WorkbenchError
from workbench.lab.choice import Choice
from workbench.lab.exploration import Exploration
from workbench.lab.panel import _content_cover
from workbench.lab.preview import Preview
from workbench.lab.thumbnails import cover
from workbench.methods import Library, Request, kept
from workbench.runs import session
from workbench.transfer import Settings

QUICK = Settings(method="colours", size=64)


def paint(path, seed):
    """Write a picture of noise, another for every seed, as a file of its own in place of what lies at `path`."""
    pixels = np.random.default_rng(seed).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    new = path.with_name(f"new-{path.name}")
    Image.fromarray(pixels).resize((96, 72)).save(new)
    new.replace(path)
    return provenance.sha256(path)


def mark(path, column):
    """Write a mask of two regions that meet at `column`, likewise."""
    pixels = np.zeros((72, 96, 3), dtype=np.uint8)
    pixels[:, :column] = 255
    new = path.with_name(f"new-{path.name}")
    Image.fromarray(pixels).save(new)
    new.replace(path)


@pytest.fixture
def content(tmp_path, monkeypatch):
    """A picture in the current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = Path("content.png")
    paint(path, 0)
    return path


@pytest.fixture
def works(two_styles, content):
    """A corpus in the current folder."""
    return Path(shutil.copytree(two_styles, "works"))


def learnt(network, path, factor):
    """Write the network in the file `network` with other weights to `path`, as a file of its own."""
    with safe_open(network, "pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "digest"}
    tensors = {name: value * factor for name, value in load_file(network).items()}
    new = path.with_name(f"new-{path.name}")
    save_file(tensors, new, metadata=metadata)
    new.replace(path)
    return provenance.sha256(path)


def explored(works, **changes):
    """A trial of `content.png`, with its first run made."""
    settings = changes.pop("settings", QUICK)
    trial = Exploration(Choice(content="content.png", corpus=str(works), preview="", settings=settings, **changes))
    return run(trial)


def run(trial):
    trial.start()
    assert trial.wait(PATIENCE) and not trial.error, trial.error
    return trial


def weights(kept):
    return [(work.name, round(weight, 6)) for work, weight in zip(kept.target.works, kept.target.weights, strict=True)]


class TestStamp:
    """The hash is that of the bytes that were read."""

    def after(self, monkeypatch, owner, name, change):
        """Have `change` made once `owner.name` is called, before it does what it does."""
        before = getattr(owner, name)

        def changed(*args, **options):
            change()
            return before(*args, **options)

        monkeypatch.setattr(owner, name, changed)

    def test_of_a_transfer(self, content, works, monkeypatch):
        mask = Path("mask.png")
        mark(mask, 48)
        was = {"content": provenance.sha256(content), "mask": provenance.sha256(mask)}
        self.after(monkeypatch, cli.transfer, "advance", lambda: [paint(content, 1), mark(mask, 32)])
        argv = f"transfer {content} --corpus {works} --mask {mask} --target regions --size 64 --steps 1 -o out.png --device cpu"
        assert cli.main(argv.split()) == 0
        stamped = figures.read_provenance(Path("out.png"))["inputs"]
        assert {name: found["sha256"] for name, found in stamped.items()} == was and stamped["mask"]["file"] == "mask.png"

    def test_of_a_comparison(self, content, works, monkeypatch):
        was = provenance.sha256(content)
        self.after(monkeypatch, kept, "cached_picture", lambda: paint(content, 1))
        argv = f"compare {content} --corpus {works} --targets colours:whole --size 64 -o out.png --device cpu"
        assert cli.main(argv.split()) == 0
        assert figures.read_provenance(Path("out.png"))["inputs"]["content 1"]["sha256"] == was

    @pytest.mark.parametrize("name", ["content.png", "mask.png"])
    def test_what_is_replaced_before_the_works_are_weighed_is_refused(self, content, works, monkeypatch, name, capsys):
        mark(Path("mask.png"), 48)
        replace = {"content.png": lambda: paint(content, 1), "mask.png": lambda: mark(Path("mask.png"), 32)}[name]
        self.after(monkeypatch, methods.Library, "target", replace)
        argv = f"transfer {content} --corpus {works} --mask mask.png --target regions --size 64 --steps 1 -o out.png"
        assert cli.main([*argv.split(), "--device", "cpu"]) == 1
        assert f"{name}" in (said := capsys.readouterr().err) and "replaced" in said and not Path("out.png").exists()

    def test_of_a_run(self, content, tmp_path):
        opened = session.Session("mini", tmp_path / "run", {})
        was = provenance.sha256(content)
        inputs.content(str(content))
        paint(content, 1)
        opened.input("content", inputs.content_path(str(content)))
        assert opened._provenance["inputs"]["content"] == {"file": "content.png", "sha256": was}
        opened.finish()

    def test_of_a_lone_painting(self, content, monkeypatch):
        library = Library()
        work = library.target(Request(corpora=(), target="single", style=str(content))).works[0]
        assert work.sha256 == provenance.sha256(content)
        paint(content, 1)
        other = library.target(Request(corpora=(), target="single", style=str(content))).works[0]
        assert other.sha256 == provenance.sha256(content) != work.sha256 and other.load(32).shape[1] == 3

    def test_names_every_network_that_had_a_part(self, content, works, network):
        net = Path("mynet.safetensors")
        digest = learnt(network, net, 1.0)
        for given, settings in (("--method mynet", {"method": "mynet"}), ("--init mynet", {"init": "mynet", "method": "gram"})):
            more = "" if "method" in given else "--method gram"
            argv = f"transfer {content} --corpus {works} --target whole {given} {more} --size 64 -o out.png --device cpu"
            assert cli.main([*argv.split(), *(["--steps", "1"] if more else [])]) == 0
            made = figures.read_provenance(Path("out.png"))["weights"]
            assert made["mynet"] == digest and len(made) > 1
            trial = explored(works, target="whole", settings=Settings(size=64, steps=1, **settings))
            assert figures.read_provenance(trial.save(trial.kept[-1]))["weights"] == made


class TestLab:
    """What is shown is of what lies there."""

    def test_another_content_is_another_choice(self, content, works):
        trial = explored(works)
        first, before, shown = trial.kept[-1], provenance.sha256(content), _content_cover("content.png")
        assert trial.shown.number == 1
        paint(content, 1)
        assert trial.shown is None and not trial.resumable and _content_cover("content.png") != shown
        run(trial)
        fresh = explored(works).kept[-1]
        assert weights(trial.kept[-1]) == weights(fresh) != weights(first)
        assert torch.equal(trial.kept[-1].picture, fresh.picture) and trial.shown.number == 2
        trial.open(first)
        assert trial.shown.number == 1
        trial.change(tau=0.5)
        trial.change(tau=0.1)
        assert trial.shown.number == 2
        saved = figures.read_provenance(trial.save(first))["inputs"]["content"]
        assert saved == {"file": "content.png", "sha256": before}

    def test_a_result_is_saved_although_its_content_is_gone(self, content, works):
        trial = explored(works)
        digest = provenance.sha256(content)
        content.unlink()
        assert trial.shown is None
        trial.open(trial.kept[0])
        assert trial.shown is not None
        assert figures.read_provenance(trial.save(trial.shown))["inputs"]["content"]["sha256"] == digest

    def test_a_content_that_is_replaced_while_the_works_are_weighed_is_refused(self, content, works, monkeypatch):
        before = Library.target
        monkeypatch.setattr(Library, "target", lambda *args: (paint(content, 1), before(*args))[1])
        trial = Exploration(Choice(content="content.png", corpus=str(works), preview="", settings=QUICK))
        trial.start()
        assert trial.wait(PATIENCE) and "replaced" in trial.runner.error and not trial.kept

    @pytest.mark.parametrize("again", ["run", "choose"])
    def test_a_corpus_is_read_again_when_it_is_run_or_chosen_again(self, content, works, again, two_corpora):
        trial = explored(works)
        old, shown = trial.target(), cover(str(works), 32)
        digest = paint(works / "work-00.png", 1)
        assert cover(str(works), 32) != shown
        if again == "choose":
            trial.change(corpus=str(two_corpora[1]))
            trial.change(corpus=str(works))
            assert digest in {work.sha256 for work in trial.target().works}
        run(trial)
        painted = trial.kept[-1].target
        assert digest in {work.sha256 for work in painted.works} and painted != old and trial.shown.number == 2
        for work in painted.works:
            work.load(16)
        trial.open(trial.kept[0])
        assert trial.shown.number == 1

    def test_a_corpus_that_is_as_it_was_is_not_read_again(self, content, works, monkeypatch):
        trial = explored(works)
        monkeypatch.setattr("workbench.methods.library.ingest", None)
        run(trial)
        assert trial.shown.number == 2

    def test_another_network_under_one_name_is_another_choice(self, content, works, network):
        net = Path("mynet.safetensors")
        learnt(network, net, 1.0)
        for settings in (Settings(method="mynet", size=64), Settings(method="gram", init="mynet", size=64, steps=1)):
            trial = explored(works, target="whole", settings=settings)
            learnt(network, net, 0.5)
            assert trial.shown is None
            run(trial)
            first, second = (figures.read_provenance(trial.save(one)) for one in trial.kept)
            assert not torch.equal(trial.kept[0].picture, trial.kept[1].picture)
            assert first["weights"].keys() == second["weights"].keys() and first["weights"] != second["weights"]
            learnt(network, net, 1.0)

    def test_a_preview_is_of_what_lies_there(self, content, works, network):
        net = Path("mynet.safetensors")
        learnt(network, net, 1.0)
        trial = Exploration(Choice(content="content.png", corpus=str(works), target="whole", preview="mynet", settings=QUICK))
        preview: Preview = trial.preview
        pictures = []
        for change in (lambda: None, lambda: paint(content, 1), lambda: learnt(network, net, 0.5)):
            change()
            trial.target()
            preview.refresh()
            assert preview.wait(PATIENCE) and not preview.error
            pictures.append(preview.shown.picture)
        assert not any(torch.equal(pictures[k], pictures[k + 1]) for k in (0, 1))
        until(lambda: not trial.measuring)


def test_a_content_read_by_its_hash_is_that_or_refused(content):
    digest = inputs.source(str(content)).sha256
    assert torch.equal(inputs.content(str(content), sha256=digest), inputs.content(str(content)))
    paint(content, 1)
    with pytest.raises(WorkbenchError, match="replaced"):
        inputs.content(str(content), sha256=digest)


def test_equal_stamps_are_equal_text(content):
    source = provenance.source(content)
    made = provenance.provenance({}, 0, {"content": source}, {})
    assert json.loads(provenance.text(made)) == provenance.provenance({}, 0, {"content": content}, {})
