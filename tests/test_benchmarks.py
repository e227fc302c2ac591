"""The benchmark measures what it says: its plain reference has the engine's objective, and its ratios are ratios."""

import csv
import importlib
import importlib.util
import itertools
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from workbench import cli, encoders, figures, images, provenance, targets
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.generative import families, trained
from workbench.generative.networks import Generator
from workbench.samples import REGIONS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("bench", BENCHMARKS / "bench.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def network():
    """VGG-19's shape with few channels and random weights: the reference needs no more of it."""
    torch.manual_seed(0)
    widths = {layer: 8 for layer in encoders.vgg.WIDTHS}
    encoder = encoders.ConvolutionalEncoder("narrow", widths, pooling="average", dtype=torch.float32)
    encoder.weights_sha256 = "drawn here"
    return encoder.for_inference(torch.device("cpu"))


def test_the_reference_has_the_objective_of_the_engine_and_its_gradient(bench, network, corpus):
    content, style = (corpus[f"work-0{i}.png"].load(96) for i in (0, 1))
    found = []
    for loss in (
        bench.objective(bench.plain(network), content, style, bench.ALPHA),
        lambda picture: bench.style_and_content(content, corpus["work-01.png"], network, 96)(picture)[0],
    ):
        x = content.clone().requires_grad_()
        value = loss(x)
        found.append((value, torch.autograd.grad(value, x)[0]))
    (a, slope_a), (b, slope_b) = found
    assert torch.allclose(a, b, rtol=1e-4)
    assert (slope_a - slope_b).norm() < 1e-3 * slope_b.norm()


def test_the_reference_lowers_its_objective(bench, network, corpus):
    content, style = (corpus[f"work-0{i}.png"].load(64) for i in (0, 1))
    loss = bench.objective(bench.plain(network), content, style, bench.ALPHA)
    reached = list(itertools.islice(bench.descend(loss, content), 30))
    assert reached[0] == pytest.approx(float(loss(content)), rel=1e-6)
    assert reached[-1] < 0.5 * reached[0]


def test_curves_hold_what_the_plain_loop_came_to_over_the_time_it_takes(bench, network, corpus):
    driving = {"vgg19 float32": network, "embedded float32": network}
    content, style = corpus["work-00.png"], corpus["work-01.png"]
    known = bench.descents(64, content, style, driving, 6)
    assert known["embedded"] == pytest.approx(known["reference"], rel=1e-3)  # one network, once as the engine has it
    found = bench.curves(64, content, style, driving, known, list(driving), 3)
    assert [value for _, value in found["curves"]["reference"]] == known["reference"]
    assert found["last"] == {
        "reference": known["reference"][-1], "vgg19 float32": known["reference"][-1], "embedded float32": known["embedded"][-1]
    }  # fmt: skip
    for each in found["seconds of an evaluation"].values():
        assert 0 < each["low"] <= each["median"] <= each["high"]
    for curve in found["curves"].values():
        assert all(0 < a[0] < b[0] for a, b in itertools.pairwise(curve))


def test_the_steps_that_are_timed_are_those_of_a_transfer_at_full_size(bench, network, corpus):
    steps = bench.engine_steps(network, corpus["work-00.png"].load(96), corpus["work-01.png"], 96)
    for _ in range(3):
        steps()
    transfer = steps.transfer
    assert len(transfer.history) == 4 and transfer.picture.shape == (1, 3, 72, 96)
    totals = [row["total"] for row in transfer.history]
    assert totals == sorted(totals, reverse=True) and set(transfer.history[0]) == {"content", "style", "range", "total"}


@pytest.fixture
def clock(bench, monkeypatch):
    """What the benchmark takes for the time: a list of the seconds, or the steps, that have been added to it."""
    passed = []
    monkeypatch.setattr(bench, "now", lambda device: sum(passed))
    return passed


def test_a_task_that_does_a_thing_many_times_over_counts_as_one_of_them(bench, clock):
    seconds = bench.in_turns({"once": lambda: clock.append(3), "ten": lambda: clock.append(5)}, 3, counts={"ten": 10})
    assert set(seconds["once"].values()) == {3} and set(seconds["ten"].values()) == {0.5}


def test_the_reference_takes_longer_the_fuller_its_history_is(bench):
    taken = bench.ReferenceTime(setting_up=[5.0], short=[1.0, 9.0, 1.0], full=[2.0])
    seconds = taken.timeline(300)
    assert seconds[0] == 6.0
    assert [b - a for a, b in itertools.pairwise(seconds)][49::50] == pytest.approx([1.5, 2, 2, 2, 2])


def test_the_reference_is_timed_with_a_short_and_with_a_full_history(bench, network, corpus):
    content, style = (corpus[f"work-0{i}.png"].load(64) for i in (0, 1))
    taken = bench.ReferenceTime()
    lengths = []

    class Watched(torch.optim.LBFGS):
        def step(self, closure):
            lengths.append(len(next(iter(self.state.values()), {}).get("old_dirs", ())))
            return super().step(closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "plain_lbfgs", lambda x: Watched([x], history_size=100, max_iter=1, max_eval=1))
        taken.measure(lambda: bench.objective(bench.plain(network), content, style, bench.ALPHA), content)
    assert len(taken.short) == len(taken.full) == bench.BLOCK and min(*taken.short, *taken.full) > 0
    assert max(lengths[: -bench.BLOCK]) < 10 and set(lengths[-bench.BLOCK :]) == {100}


def test_sooner_compares_the_times_at_which_a_level_is_reached(bench):
    pair = {
        "curves": {"reference": [[1.0, 4.0], [2.0, 2.0], [8.0, 1.0]], "fast": [[0.5, 3.0], [1.0, 0.9]]},
        "last": {"reference": 1.0, "fast": 1.5},
    }
    assert bench.sooner(pair, "fast", 1.0) == 8.0
    assert bench.sooner(pair, "fast", 2.0) == 4.0
    assert bench.sooner(pair, "fast", 0.5) is None


def test_a_report_goes_on_where_it_stopped_and_refuses_another_machine(bench, tmp_path):
    path = tmp_path / "bench.json"
    assert bench.Report(path, {"cores": 2}).part("a", lambda: 1) == 1
    assert bench.Report(path, {"cores": 2}).part("a", lambda: pytest.fail("measured again")) == 1
    with pytest.raises(SystemExit, match="delete it"):
        bench.Report(path, {"cores": 4})


def test_what_was_measured_with_other_code_or_pictures_is_not_gone_on_with(bench, corpus, monkeypatch, tmp_path):
    works = list(corpus)
    assert bench.digest(works) != bench.digest(works[1:])
    before = bench.digest(works)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench.py"))
    (tmp_path / "bench.py").write_text("changed")
    assert bench.digest(works) != before


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scripts(monkeypatch):
    """`load`, for scripts that import one another."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return load


def test_ratios_to_a_baseline_are_geometric_means_with_their_intervals(scripts):
    rows = []
    for i, painter in enumerate("abc"):
        for j, photograph in enumerate("xyz"):
            far = 1.0 + i + j
            factor = {"blend": 1.0, "half": 0.5, "either": 2.0 if (i + j) % 2 else 0.5}
            for setup, times in factor.items():
                row = dict.fromkeys(("style", "content", "colour", "strokes"), times * far)
                rows.append({"painter": painter, "photograph": photograph, "setup": setup, **row})
    found = scripts("truth").ratios(rows, "blend")
    interval, nearer, cells = found["half"]["colour"]
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5)) and (nearer, cells) == (9, 9)
    interval, nearer, _ = found["either"]["strokes"]
    assert interval.mean == pytest.approx(2 ** (-1 / 9)) and interval.low < 1 < interval.high and nearer == 5
    assert list(found) == ["half", "either"]


def test_setups_are_checked_before_anything_is_painted(scripts):
    setups = scripts("setups")
    one = setups.parsed([{"name": "a", "target": "whole", "settings": {"alpha": 0.3}}])[0]
    assert one.made_with({"alpha": 0.1, "size": 96}).alpha == 0.3
    for entries, said in (
        ([{"name": "a", "target": "hole"}], "target 'hole'"),
        ([{"name": "a"}, {"name": "a"}], "differ"),
        ([{"name": "../a"}], "plain file name"),
        ([{"name": "a", "colour": 1}], "not as it should be"),
        ([], "none given"),
    ):
        with pytest.raises(UsageError, match=said):
            setups.parsed(entries)
    with pytest.raises(UsageError, match="setup 'a'"):
        setups.parsed([{"name": "a", "settings": {"brushes": 2}}])[0].made_with({})


def test_a_setup_that_varies_stands_for_one_of_each_value(scripts):
    setups = scripts("setups")
    entries = [{"name": "a", "settings": {"steps": 3}, "vary": {"alpha": [0.01, 0.3]}}, {"name": "b", "target": "whole"}]
    found = setups.parsed([*entries, {"name": "net", "vary": {"method": ["gram", "colours"]}}])
    assert [way.name for way in found] == ["a-0.01", "a-0.3", "b", "net-1", "net-2"]
    assert [way.curve for way in found] == ["a", "a", "b", "net", "net"]
    assert found[1].settings == {"steps": 3, "alpha": 0.3} and found[3].made_with({}).method == "gram"
    with pytest.raises(UsageError, match="not as it should be"):
        setups.parsed([{"name": "a", "vary": {"alpha": [0.1], "steps": [1]}}])


@pytest.fixture
def untrained(corpus, tmp_path):
    """The file of a pix2pix network called after nocturne that says it learnt from two works, as it is before it learns."""
    torch.manual_seed(0)
    generator = Generator(inputs=3 + len(REGIONS), widths=(4, 8, 8), blocks=1, skips=True)
    header = {"format": trained.FORMAT, "family": "pix2pix", "pairs": "scenes", "artist": ""}
    header["works"] = [work.sha256 for work in list(corpus)[:2]]
    header["architecture"] = {"generator": generator.architecture}
    path = tmp_path / "nocturne-pix2pix.safetensors"
    save_file(generator.state_dict(), path, metadata={"header": json.dumps(header)})
    path.with_suffix(".json").write_text(json.dumps({"seconds": 90.0}))
    return path


def test_a_network_is_named_by_its_painter_and_checked_with_its_target(scripts, untrained):
    setups, method = scripts("setups"), {"method": str(untrained).replace("nocturne", "{painter}")}
    right, wrong, told = setups.parsed(
        [
            {"name": "right", "target": "whole", "settings": method},
            {"name": "wrong", "target": "nearest", "settings": method},
            {"name": "told", "regions": True, "settings": {"method": "gram"}},
        ]
    )
    assert right.made_with({"size": 96}, "nocturne").method == str(untrained)
    assert setups.network(right, "nocturne") == untrained and setups.network(told.__class__("gram"), "nocturne") is None
    for way, painter, said in ((right, "umber", "umber-pix2pix"), (wrong, "nocturne", "whole"), (told, "", "only a pix2pix")):
        with pytest.raises(UsageError, match=f"setup '{way.name}'.*{said}"):
            way.made_with({}, painter)


def test_all_that_a_network_learnt_from_are_its_sources_and_what_it_ignores_is_none(scripts, untrained, corpus):
    setups, works = scripts("setups"), list(corpus)
    network, other = setups.parsed(
        [{"name": "a", "target": "whole", "settings": {"method": str(untrained)}}, {"name": "b", "target": "whole"}]
    )
    target = targets.single(works[3])
    assert setups.sources(network, target, corpus) == (works[0], works[1])
    assert setups.sources(other, target, corpus) == (works[3],)
    shipped = setups.parsed([{"name": "c", "settings": {"method": "van-gogh"}}])[0]  # after any target, but of other works
    assert setups.sources(shipped, target, corpus) == (works[3],)


def test_truth_is_asked_about_photographs_and_scenes_and_regions_are_told(scripts, untrained, corpus, tmp_path):
    truth, setups = scripts("truth"), sys.modules["setups"]
    photograph, scene = truth.cases("nocturne", ["china"], 1, 64)
    assert [case.kind for case in (photograph, scene)] == ["photograph", "scene"]
    for case in (photograph, scene):
        assert case.truth.shape[-2:] == images.resize(case.content, 64).shape[-2:]
        assert case.regions.shape[:2] == (1, len(REGIONS)) and torch.allclose(case.regions.sum(1), torch.ones(1), atol=1e-4)
    settings = {"method": str(untrained)}
    plain, told = setups.parsed(
        [{"name": name, "target": "whole", "regions": name == "told", "settings": settings} for name in ("plain", "told")]
    )
    known = setups.Selections(corpus, scene.content, scene.regions)
    made = [setups.paint(way, known, {"size": 64}, tmp_path / "pictures", "scene")[0] for way in (plain, told)]
    assert made[0].shape == made[1].shape == scene.truth.shape and not torch.equal(*made)
    flipped = setups.Selections(corpus, scene.content, scene.regions.flip(1))
    assert not torch.equal(setups.paint(told, flipped, {"size": 64}, tmp_path / "pictures", "scene")[0], made[1])
    with pytest.raises(UsageError, match="nobody knows"):
        setups.paint(told, setups.Selections(corpus, scene.content), {"size": 64}, tmp_path / "pictures", "scene")


def test_styles_are_compared_at_equal_content(scripts):
    tradeoff, rows = scripts("tradeoff"), []
    for k, content in enumerate("abc"):
        base = [("base", f"base-{x}", x, (1 + k) * np.exp(-3 * x)) for x in (0.5, 0.1, 0.3)]
        other = [("other", "half", 0.2 + 0.1 * k, 0.5 * (1 + k) * np.exp(-3 * (0.2 + 0.1 * k))), ("other", "far", 0.6, 0.1)]
        sometimes = [("other", "near", 0.05 if k else 0.25, 2 * np.exp(-0.75))]
        rows.append({"content": content, "curve": "content", "setup": "content", "away": 0.0, "style": 2.0, "oeuvre": 1.0})
        for curve, setup, away, style in (*base, *other, *sometimes):
            rows.append({"content": content, "curve": curve, "setup": setup, "away": away, "style": style, "oeuvre": 1.0})
    found = {row["setup"]: row for row in tradeoff.points(rows, "base")}
    half = found["half"]
    assert [half[name] for name in ("ratio", "ratio low", "ratio high", "within")] == pytest.approx([0.5, 0.5, 0.5, 3])
    assert half["away"] == pytest.approx(0.3) and half["away low"] < 0.3 < half["away high"] and half["n"] == 3
    assert found["far"]["within"] == 0 and np.isnan(found["far"]["ratio"]) and found["content"]["within"] == 0
    assert found["near"]["within"] == 1 and found["near"]["ratio"] == pytest.approx(2) and np.isnan(found["near"]["ratio low"])


def test_networks_are_trained_by_commands_that_exist_each_after_what_it_begins_from(tmp_path):
    networks = load("networks")
    recipes = networks.read(networks.RECIPES)
    folders = {name: tmp_path / name for name in ("corpora", "photos", "out", "half")}
    known = set()
    for name, words in recipes.items():
        _, _, _, *argv = networks.command(name, words, folders)
        args = cli._parser().parse_args(argv)
        assert families.parsed(families.known(args.family), args.options) is not None
        assert args.begin is None or "out" not in args.begin or Path(args.begin).stem in known
        assert not args.resume and args.out == tmp_path / "out" / name
        known.add(name)
    checkpoint = trained.checkpoint_path(tmp_path / "out" / f"{name}.safetensors")
    checkpoint.parent.mkdir()
    checkpoint.touch()
    assert networks.command(name, words, folders)[-1] == "--resume"


def test_half_of_the_works_are_linked_with_their_metadata_series_by_series(two_styles, tmp_path):
    networks = load("networks")
    folders = {"corpora": two_styles.parent, "half": tmp_path / "half"}
    for _ in range(2):  # what is there is no obstacle
        networks.halve(["artist", "--corpus", f"{{half}}/{two_styles.name}", "--photos", "{photos}"], folders)
    half, whole = ingest(tmp_path / "half" / two_styles.name), ingest(two_styles)
    assert {work.sha256 for work in half} < {work.sha256 for work in whole}
    learnt = {work.series for work in half}
    assert len(half) == sum(work.series in learnt for work in whole)


def test_what_is_trained_is_not_trained_again(tmp_path, monkeypatch, capfd):
    networks = load("networks")
    recipes, out = tmp_path / "networks.json", tmp_path / "out"
    recipes.write_text(json.dumps({"known": ["vae", "--corpus", "nowhere"], "new": ["vae", "--corpus", "{corpora}/none"]}))
    out.mkdir()
    (out / "known.safetensors").touch()
    folders = ["--corpora", str(tmp_path), "--photos", str(tmp_path), "--out", str(out), "--recipes", str(recipes)]
    monkeypatch.setattr(sys, "argv", ["networks.py", *folders])
    assert networks.main() == 2  # the status of the one that failed
    assert f"{tmp_path}/none" not in capfd.readouterr().out and not (out / "new.safetensors").exists()
    monkeypatch.setattr(sys, "argv", ["networks.py", *folders, "--only", "old"])
    with pytest.raises(UsageError, match="no network old: choose from known, new"):
        networks.main()


@pytest.mark.slow
def test_families_are_judged_and_their_costs_are_measured(monkeypatch, untrained, two_styles, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("families", "tradeoff", "setups"):
        monkeypatch.delitem(sys.modules, name, raising=False)  # after the test as before it
    families, tradeoff = map(importlib.import_module, ("families", "tradeoff"))
    contents = [two_styles / f"work-{i:02}.png" for i in (0, 1)]
    ways = [{"name": "colours", "settings": {"method": "colours"}, "vary": {"strength": [0.5, 1.0]}},
            {"name": "pix2pix", "target": "whole", "settings": {"method": str(untrained)}}]  # fmt: skip
    (tmp_path / "setups.json").write_text(json.dumps(ways))
    common = ["--contents", *map(str, contents), "--corpus", str(two_styles), "--judge", "embedded", "--size", "48"]
    common += ["--setups", str(tmp_path / "setups.json")]
    monkeypatch.setattr(sys, "argv", ["tradeoff.py", *common, "--out", str(tmp_path / "curves")])
    tradeoff.main()
    with (tmp_path / "curves/points.csv").open() as file:
        rows = {row["setup"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["content", "colours-0.5", "colours-1.0", "pix2pix"]
    assert float(rows["content"]["away"]) == 0 < float(rows["colours-0.5"]["away"]) < float(rows["colours-1.0"]["away"])
    assert set(figures.read_provenance(tmp_path / "curves/tradeoff.png")["inputs"]) == {"corpus", "work-00", "work-01"}

    (tmp_path / "setups.json").write_text(json.dumps(ways[1:]))
    options = ["--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "families")]
    monkeypatch.setattr(sys, "argv", ["families.py", *common, *options])
    families.main()
    begun = untrained.with_name("later.safetensors")
    begun.with_suffix(".json").write_text(
        json.dumps({"seconds": 30.0, "provenance": {"parameters": {"begin": provenance.sha256(untrained)}}})
    )
    assert families._recorded(begun) == 2.0 and np.isnan(families._recorded(tmp_path / "no.safetensors"))
    made = figures.read_provenance(tmp_path / "families_work-00.jpg")
    assert made["weights"].keys() == {"embedded", untrained.stem} and str(tmp_path) not in json.dumps(made)
    with (tmp_path / "runs/families.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["setup"] == "pix2pix"]
    assert len(rows) == 2 and float(rows[0]["training"]) == 1.5
    assert 0 < float(rows[0]["seconds"]) < 60 and float(rows[0]["cpu"]) > 0 and 0.1 < float(rows[0]["memory"]) < 16


@pytest.fixture
def arguments(two_styles, tmp_path):
    """What both trial.py and blind.py need: two hands in folders of their own, and two contents."""
    for place, artist in enumerate(("warm", "cool")):
        (tmp_path / artist).mkdir()
        rows = ["file_name,artist,genre"]
        for path in sorted(two_styles.glob("*.png"))[place::2]:
            shutil.copy(path, tmp_path / artist)
            rows.append(f"{path.name},{artist},portrait")
        (tmp_path / artist / "metadata.csv").write_text("\n".join(rows) + "\n")
    for name, seed in (("one", 1), ("two", 2)):
        generator = torch.Generator().manual_seed(seed)
        images.save(torch.rand(1, 3, 40, 64, generator=generator), tmp_path / "contents" / f"{name}.png")
    contents = ["--contents", *map(str, sorted((tmp_path / "contents").glob("*.png")))]
    return [*contents, "--corpora", str(tmp_path / "warm"), str(tmp_path / "cool")]


@pytest.mark.slow
def test_a_trial_is_judged_and_its_pairs_are_blind(scripts, arguments, tmp_path, monkeypatch, capsys):
    ways = [{"name": name, "target": "nearest", "settings": {"alpha": alpha, "steps": 2}} for name, alpha in
            (("neighbours", 0.1), ("plain", 1.0), ("bold", 0.01))]  # fmt: skip
    (tmp_path / "setups.json").write_text(json.dumps(ways))
    out = ["--out", str(tmp_path / "trial")]
    options = ["--artists", "warm", "--setups", str(tmp_path / "setups.json"), "--judge", "embedded", "--judge-size", "64"]
    drawn = ["--sheet", str(tmp_path / "s.jpg"), "--curves", str(tmp_path / "c")]
    monkeypatch.setattr(sys, "argv", ["trial.py", *arguments, *options, *out, "--size", "48", *drawn])
    scripts("trial").main()
    with (tmp_path / "trial/trial.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["setup"] for row in rows] == ["content", "neighbours", "plain", "bold"] * 2 and (
        tmp_path / "s_warm.jpg"
    ).exists()
    assert all((tmp_path / f"c_{measure}.png").exists() for measure in ("value", "excess"))
    assert all(row["value"] and 0 <= float(row["place"]) <= 1 and row["away"] for row in rows)
    assert all(bool(row["rate"]) == (row["setup"] != "content") for row in rows)
    assert str(tmp_path) not in (tmp_path / "trial/trial.csv").read_text()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "trial/pictures").rglob("*.png")}
    scripts("trial").main()
    assert len(kept) == 6 and kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "trial/pictures").rglob("*.png")}

    blind = scripts("blind")
    asked = [str(tmp_path / "trial"), "--of", "neighbours", *arguments, "--out", str(tmp_path / "blind"), "--pairs", "4"]
    monkeypatch.setattr(sys, "argv", ["blind.py", *asked])
    blind.main()
    key = json.loads((tmp_path / "blind/key.json").read_text())
    assert sorted(path.name for path in (tmp_path / "blind").glob("*.jpg")) == [f"pair_00{i}.jpg" for i in range(1, 5)]
    assert Counter(({pair["left"], pair["right"]} - {"neighbours"}).pop() for pair in key["pairs"]) == {"plain": 2, "bold": 2}
    for path in (tmp_path / "blind").glob("*.jpg"):
        assert Image.open(path).width >= 2 * 448 and not any(way["name"].encode() in path.read_bytes() for way in ways)
    with pytest.raises(UsageError, match="key already"):
        blind.main()
    answers = ["pair,question,winner"]
    for pair in key["pairs"]:
        mine = "left" if pair["left"] == "neighbours" else "right"
        other = {"left": "right", "right": "left"}[mine]
        answers += [f"{pair['pair']},artist,{mine}", f"{pair['pair']},content,{other}", f"{pair['pair']},hang,tie"]
    (tmp_path / "answers.csv").write_text("\n".join(answers) + "\n")
    monkeypatch.setattr(sys, "argv", ["blind.py", "--out", str(tmp_path / "blind"), "--score", str(tmp_path / "answers.csv")])
    capsys.readouterr()
    blind.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and sum("won 2, tied 0, lost 0" in line for line in lines if line.startswith("artist")) == 2
    assert all("won 0, tied 0, lost 2" in line for line in lines if line.startswith("content"))
    assert all("won 0, tied 2, lost 0" in line for line in lines if line.startswith("hang"))
    with pytest.raises(WorkbenchError, match="line 2"):
        blind.score(key, [{"pair": "9", "question": "artist", "winner": "left"}])


def test_sides_of_pairs_are_by_chance_and_by_the_seed(scripts):
    rows = [{"content": f"{i}", "artist": "a", "setup": setup} for i in range(60) for setup in ("mine", "other", "content")]
    blind = scripts("blind")
    left = [pair[0]["setup"] == "mine" for pair in blind.drawn(rows, "mine", 60, 0)]
    assert 18 < sum(left) < 42
    assert blind.drawn(rows, "mine", 60, 0) == blind.drawn(rows, "mine", 60, 0) != blind.drawn(rows, "mine", 60, 1)
    with pytest.raises(UsageError, match="the folder has 60"):
        blind.drawn(rows, "mine", 61, 0)


def test_students_of_a_frontier_keep_the_order_of_their_widths():
    frontier = load("frontier")
    recipe = frontier.read_stages(frontier.SHIPPED)[-1]
    half = frontier.scaled(recipe, 0.5, 7)
    assert half.steps == 7 and half.frozen == []
    for layer, width in recipe.widths.items():
        assert half.widths[layer] % 8 == 0 and half.widths[layer] <= max(8, width)
    assert frontier.scaled(recipe, 100, 7).widths == {layer: frontier.WIDTHS[layer] for layer in recipe.widths}


def test_estimates_of_strokes_are_compared_with_what_was_laid(scripts):
    strokes_truth = scripts("strokes_truth")
    rows = [
        {"painter": "umber", "scene": k, "brush": 1.0}
        | {f"true {kind}": 0.01 * (k + 1) for kind in strokes_truth.KINDS}
        | {f"found {kind}": 0.02 * (k + 1) for kind in strokes_truth.KINDS}
        for k in range(4)
    ]
    table = strokes_truth.ratios(rows)
    assert len(table) == 2 * len(strokes_truth.KINDS) and {row["n"] for row in table} == {4}
    assert all(row["mean"] == pytest.approx(2) and row["r"] == pytest.approx(1) for row in table)
