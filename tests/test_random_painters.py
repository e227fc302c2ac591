"""Painters drawn at random are many, heed the subject or not, and are asked as the study asks."""

import importlib
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
import scipy
from scipy import ndimage

from workbench.generative import scenes
from workbench.images.cielab import lab_from_rgb
from workbench.samples import REGIONS, Picture
from workbench.study import read_table

SEEN = np.random.default_rng(0).uniform([10, -40, -40], [90, 40, 40], (50, 3)).astype(np.float32)
NUMBERS = range(9)


@pytest.fixture
def painters(monkeypatch):
    """The benchmark, whose painters plan on few pixels."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    for name in ("painters", "random_painters"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("painters")
    for place in (sys.modules["workbench.samples.painter"], module.random_painters):
        monkeypatch.setattr(place, "PLAN", 120)
    return module


def pixels(painter, picture, size=64):
    return np.asarray(painter.paint(picture, seed=1, size=size), np.float32) / 255


def test_a_number_is_one_painter_and_numbers_differ(painters):
    scene = scenes.scene(5, 96)
    drawn = [painters.random_painters.drawn(number) for number in NUMBERS]
    made = [pixels(painter, scene) for painter in drawn]
    again = pixels(painters.random_painters.drawn(4), scene)
    assert np.array_equal(made[4], again)
    assert len({painter.name for painter in drawn}) == len(drawn)
    apart = [np.abs(lab_from_rgb(a) - lab_from_rgb(b)).mean() for i, a in enumerate(made) for b in made[:i]]
    assert min(apart) > 4
    assert len({painter.brushes for painter in drawn}) == len(drawn)


def test_a_third_ignore_the_subject_and_have_one_palette_and_one_brush_for_all(painters):
    spread = {True: [], False: []}
    for number in NUMBERS:
        painter = painters.random_painters.drawn(number)
        mixed = np.stack([painter.palettes[region].mix(SEEN) for region in REGIONS])
        spread[painter.heeds].append(float(mixed.std(axis=0).mean()))
        assert len({hand.brushes for hand in painter.hands.values()}) == (6 if painter.heeds else 1)
    assert [len(spread[heeds]) for heeds in (True, False)] == [6, 3]
    assert max(spread[False]) < 1e-4 and min(spread[True]) > 4


def test_the_same_grey_is_painted_alike_everywhere_by_one_who_ignores_the_subject(painters):
    left = np.zeros((96, 96), np.float32)
    left[:, :48] = 1
    halves = Picture(np.full((96, 96, 3), 0.5, np.float32), {"sky": left, "skin": 1 - left})
    apart = {True: [], False: []}
    for number in NUMBERS:
        painter = painters.random_painters.drawn(number)
        plain = replace(painter, hands={name: replace(hand, motif="") for name, hand in painter.hands.items()})
        made = lab_from_rgb(pixels(plain, halves))
        apart[painter.heeds].append(np.linalg.norm(made[:, :28].mean((0, 1)) - made[:, 36:].mean((0, 1))))
    assert max(apart[False]) < 4 < fmean(apart[True])


def test_masks_are_those_of_the_scene_and_a_motif_stays_with_its_subject(painters):
    for genre, seeds in painters.seeds(1, 0).items():
        scene = scenes.scene(seeds[0], 96)
        assert scenes.genre(seeds[0]) == genre
        assert np.allclose(sum(scene.regions.values()), 1, atol=1e-3)
        assert all(mask.shape == scene.image.shape[:2] for mask in scene.regions.values())
        assert (scene.region("skin").max() > 0.9) == (genre == "portrait")
    sky = scene.region("sky")  # of a town
    painter = painters.random_painters.drawn(0)
    bare = {name: replace(hand, motif="", grain=6) for name, hand in painter.hands.items()}
    for motif in painters.random_painters.LAID_OVER:
        marked = {**bare, "air": replace(bare["air"], motif=motif)}
        one, other = (pixels(replace(painter, hands=hands), scene, 96) for hands in (bare, marked))
        changed = np.abs(one - other).max(axis=-1) > 0.03
        assert changed.any() and not changed[ndimage.maximum_filter(sky, 21) < 0.1].any()


def tiny_table(painters):
    """Results of four painters, one of whom ignores the subject, on three contents, at one content distance."""
    generator = np.random.default_rng(3)
    rows = []
    for artist in range(4):
        for content in "abc":
            for method in ("random", "random", "single", "blend", "whole"):
                row = {"artist": f"painter-{artist:02}", "content": content, "seed": 0, "method": method}
                row |= {f"true_{kind}": float(generator.lognormal()) for kind in painters.KINDS}
                rows.append(row | {name: float(generator.normal()) for name in painters.MEASURES})
    rows[7] |= {f"true_{kind}": math.nan for kind in painters.KINDS} | dict.fromkeys(painters.MEASURES, math.nan)  # single, b
    return pd.DataFrame(rows)


def test_ratios_are_geometric_means_within_painters_and_then_over_them(painters):
    table = tiny_table(painters)
    names = sorted(table["artist"].unique())
    found = painters.ratios(table, {"all": names, "ignore": names[2:3]})
    known = {(r["group"], r["kind"], r["baseline"], r["method"]): r for r in found}
    row, alone = (known[group, "colour", "single", "random"] for group in ("all", "ignore"))
    logs = []
    for name in names:
        own = []
        for content in "abc":
            cell = table[(table["artist"] == name) & (table["content"] == content)]
            random, single = (cell.loc[cell["method"] == m, "true_colour"].mean() for m in ("random", "single"))
            own += [math.log(random / single)] if not math.isnan(single) else []
        logs.append(fmean(own))
    half = scipy.stats.t.ppf(0.975, 3) * np.std(logs, ddof=1) / 2
    ends = [math.exp(fmean(logs) + side * half) for side in (0, -1, 1)]
    assert [row["mean"], row["low"], row["high"]] == pytest.approx(ends)
    assert row["nearer"] == sum(log < 0 for log in logs) and row["painters"] == 4
    assert alone["mean"] == pytest.approx(math.exp(logs[2])) and math.isnan(alone["low"])


def test_agreement_is_spearmans_over_methods_within_painters_and_then_their_mean(painters):
    table = tiny_table(painters)
    names = sorted(table["artist"].unique())
    rows = painters.agreement(table, {"all": names})
    for measure, sign in (("odds", -1), ("leak", 1)):
        means, contents = [], []
        for name in names:
            own = table[table["artist"] == name]
            full = [c for c in "abc" if not own.loc[own["content"] == c, "true_style"].isna().any()]
            pairs = []
            for method in ("single", "random", "blend", "whole"):
                some = own[(own["method"] == method) & own["content"].isin(full)]
                logs = some.assign(log=np.log(some["true_style"]))
                pairs.append((sign * some[measure].mean(), logs["log"].mean()))
            means.append(scipy.stats.spearmanr(*zip(*pairs, strict=True)).statistic)
            each = []
            for _, cell in own.dropna().groupby("content"):
                each.append(scipy.stats.spearmanr(sign * cell[measure], cell["true_style"]).statistic)
            contents.append(fmean(each))
        for over, values in (("means", means), ("contents", contents)):
            row = next(r for r in rows if (r["measure"], r["kind"], r["over"]) == (measure, "style", over))
            half = scipy.stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
            assert [row["mean"], row["high"]] == pytest.approx([fmean(values), fmean(values) + half])


def test_a_benchmark_that_is_stopped_goes_on_to_the_same_table(painters, monkeypatch, tmp_path):
    monkeypatch.setattr(painters, "GENRES", ("landscape", "portrait"))
    monkeypatch.setattr(painters, "SCENE", 96)
    words = "--painters 2 --contents 2 --seen 1 --unseen 2 --size 48 --steps 2 --critic random --alphas 0.05"
    words += f" --methods random blend wrong:blend colours:blend --measured {tmp_path / 'packed'}"
    whole, stopped, elsewhere = (
        painters.options([*words.split(), "--out", str(tmp_path / name), *more])
        for name, more in (("whole", ["--pack"]), ("stopped", ["--measured", str(tmp_path)]), ("elsewhere", []))
    )
    painters.run(whole)
    painted = next(whole.out.glob("painted-*"))
    shutil.copytree(painted, stopped.out / painted.name)
    row, counted = painters.AgainstTruth.measured, []

    def interrupted(*args):
        counted.append(args)
        if len(counted) == 8:
            raise KeyboardInterrupt
        return row(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(painters.AgainstTruth, "measured", interrupted)
        painters.run(stopped)
    kept = read_table(tmp_path / "stopped" / "painter-00.csv")
    assert len(kept) and set(kept["content"]) < set(read_table(tmp_path / "whole" / "painter-00.csv")["content"])
    painters.run(stopped)
    for name in ("painter-00.csv", "painter-01.csv", "painters.csv", "ratios.csv", "agreement.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    shutil.copytree(painted, elsewhere.out / painted.name)
    painters.run(elsewhere)  # from the packed tables alone
    assert not (elsewhere.out / "pictures").exists()
    assert (elsewhere.out / "painters.csv").read_bytes() == (whole.out / "painters.csv").read_bytes()
    table = read_table(tmp_path / "whole" / "painters.csv").set_index("method")
    assert (table.loc["truth", "true_colour"] == 0).all() and (table.loc["blend", "true_style"] > 0).all()
    assert set(table.loc["blend", "artist"]) == {"painter-00", "painter-01"}
