"""The photographs that come with dependencies, and the synthetic painters: motif rules, determinism, corpora, cache."""

import csv
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from workbench import samples
from workbench.errors import UsageError, WorkbenchError
from workbench.images.cielab import lab_from_rgb, rgb_from_lab
from workbench.samples import works
from workbench.samples.brush import Brush, Canvas, Strokes, scatter, trace
from workbench.samples.flow import along_edges, along_levels, constant, direction
from workbench.samples.forms import Stage, rgb
from workbench.samples.landscapes import landscape
from workbench.samples.paint import Palette, lab
from workbench.samples.portraits import SITTERS, portrait
from workbench.samples.scene import REGIONS, Picture

PAINTER = "nocturne"


@pytest.fixture(scope="module")
def folder():
    """The folder of one painter's works, as a user gets it."""
    return samples.corpus_path(PAINTER)


@pytest.fixture(scope="module")
def night():
    return landscape(np.random.default_rng(3), "hills", 1.3, 240)


def starry(image: Image.Image) -> int:
    """Pixels as bright and as yellow as nothing but a star is in this painter's landscapes."""
    colour = lab_from_rgb(np.asarray(image, np.float32) / 255)
    return int(((colour[..., 0] > 75) & (colour[..., 2] > 42)).sum())


def without_sky(picture: Picture) -> Picture:
    regions = dict(picture.regions)
    sky = regions.pop("sky")
    regions["background"] = regions.get("background", 0) + sky
    return Picture(picture.image, regions)


class TestPhotographs:
    @pytest.mark.parametrize(("name", "size"), [("china", (640, 427)), ("flower", (640, 427)), ("grace_hopper", (512, 600))])
    def test_photographs_come_from_installed_packages(self, name, size):
        assert samples.photograph_path(name).is_file()
        image = samples.photograph(name)
        assert image.size == size and image.mode == "RGB"

    @pytest.mark.parametrize("name", samples.PHOTOGRAPHS)
    def test_every_pixel_of_a_photograph_belongs_to_its_regions(self, name):
        picture = samples.annotated(name)
        assert set(picture.regions) <= set(REGIONS)
        np.testing.assert_allclose(sum(picture.regions.values()), 1, atol=1e-4)

    def test_regions_lie_where_they_should(self):
        def at(name, x, y):
            picture = samples.annotated(name)
            return REGIONS[picture.labels()[y, x]]

        assert [at("china", 500, 60), at("china", 200, 210), at("china", 450, 280), at("china", 60, 400)] == [
            "sky", "building", "water", "foliage"]  # fmt: skip
        assert at("flower", 300, 220) == "flower" and at("flower", 550, 100) == "background"
        assert [at("grace_hopper", 262, 240), at("grace_hopper", 260, 80), at("grace_hopper", 450, 200)] == [
            "skin", "cloth", "background"]  # fmt: skip


class TestPainters:
    @pytest.mark.parametrize("name", samples.PAINTERS)
    def test_the_same_picture_and_seed_give_the_same_bytes(self, name, night):
        painter = samples.PAINTERS[name]
        first = painter.paint(night, seed=4, size=120).tobytes()
        assert painter.paint(night, seed=4, size=120).tobytes() == first
        assert painter.paint(night, seed=5, size=120).tobytes() != first

    def test_stars_stand_in_the_sky_and_only_there(self, night):
        painter = samples.PAINTERS[PAINTER]
        painted = painter.paint(night, seed=0)
        sky = night.region("sky") > 0.5
        colour = lab_from_rgb(np.asarray(painted, np.float32) / 255)
        stars = (colour[..., 0] > 75) & (colour[..., 2] > 42)
        assert stars.sum() > 60
        assert stars[~sky].sum() < 0.05 * stars.sum()
        assert starry(painter.paint(without_sky(night), seed=0)) == 0

    def test_a_photograph_loses_its_stars_with_its_sky(self):
        painter, china = samples.PAINTERS[PAINTER], samples.annotated("china")
        with_sky, without = painter.paint(china, size=300), painter.paint(without_sky(china), size=300)
        assert starry(with_sky) > 60
        assert starry(without) < 0.1 * starry(with_sky)

    def test_faces_stay_warm_and_carry_no_star(self):
        face = portrait(np.random.default_rng(1), "woman in a headscarf", 0.8, 240)
        painted = samples.PAINTERS[PAINTER].paint(face)
        colour = lab_from_rgb(np.asarray(painted, np.float32) / 255)
        skin = face.region("skin") > 0.9
        assert np.median(colour[skin][:, 2]) > 12 and np.median(colour[skin][:, 1]) > 2  # ochre, not blue
        assert ((colour[skin][:, 0] > 75) & (colour[skin][:, 2] > 42)).mean() < 0.01
        assert np.median(colour[face.region("background") > 0.9][:, 0]) < np.median(colour[skin][:, 0])

    def test_painters_differ_from_one_another_on_the_same_photograph(self):
        means = {
            name: lab_from_rgb(np.asarray(samples.truth(name, "china", 160), np.float32) / 255).reshape(-1, 3).mean(0)
            for name in samples.PAINTERS
        }
        assert means["noonday"][0] > means["umber"][0] + 20  # bright day and dark ground
        assert means["nocturne"][2] < -10  # blue
        assert np.hypot(*means["umber"][1:]) < np.hypot(*means["nocturne"][1:])  # tonal

    @pytest.mark.parametrize(("name", "size"), [("china", 200), ("grace_hopper", 150), ("flower", 96)])
    def test_truth_has_the_asked_size_and_the_shape_of_the_photograph(self, name, size):
        painted = samples.truth("noonday", name, size=size)
        width, height = samples.photograph(name).size
        assert max(painted.size) == size
        assert abs(painted.width / painted.height - width / height) < 0.02
        assert painted.tobytes() == samples.truth("noonday", name, size=size).tobytes()

    def test_a_larger_truth_shows_the_same_painting(self):
        small = samples.truth("umber", "flower", 150)
        large = samples.truth("umber", "flower", 300).resize(small.size, Image.Resampling.BOX)
        difference = np.abs(np.asarray(small, float) - np.asarray(large, float))
        assert difference.mean() < 5  # 11 with other strokes

    @pytest.mark.parametrize("sitter", SITTERS)
    def test_every_sitter_has_a_face(self, sitter):
        picture = portrait(np.random.default_rng(7), sitter, 0.8, 120)
        assert picture.region("skin").mean() > 0.03
        np.testing.assert_allclose(sum(picture.regions.values()), 1, atol=1e-4)


class TestCorpora:
    @pytest.mark.slow
    def test_metadata_and_files_agree(self, folder):
        with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["file_name", "artist", "title", "year", "genre", "series", "source", "licence", "sha256"]
        assert sorted(row["file_name"] for row in rows) == sorted(p.name for p in folder.iterdir() if p.suffix == ".jpg")
        assert {(row["artist"], row["source"], row["licence"]) for row in rows} == {(PAINTER, "synthetic", "CC0")}
        for row in rows:
            with Image.open(folder / row["file_name"]) as image:
                image.load()
                assert max(image.size) == 400 and image.mode == "RGB"

    @pytest.mark.parametrize("name", samples.PAINTERS)
    def test_catalogues_are_large_varied_and_without_doubles(self, name):
        rows = [work.row for work in works._commissions(name)]
        assert len(rows) >= 24
        genres = Counter(row["genre"] for row in rows)
        assert set(genres) == {"portrait", "landscape", "still-life", "cityscape"}
        assert min(genres.values()) >= 3
        for column in ("file_name", "title"):
            assert len({row[column] for row in rows}) == len(rows)
        series = Counter(row["series"] for row in rows if row["series"])
        assert series and min(series.values()) >= 2
        single = next(row for row in rows if row["file_name"] == samples.a_single(name))
        assert single["genre"] == "landscape"

    def test_the_second_call_is_served_from_the_cache(self, folder):
        before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        seen = []
        assert samples.corpus_path(PAINTER, progress=lambda done, total: seen.append(done)) == folder
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before and not seen

    def test_changed_source_makes_new_works_and_progress_is_told(self, folder, monkeypatch, tmp_path):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        few = works._commissions(PAINTER)[:2]
        monkeypatch.setattr(works, "_commissions", lambda name: few)
        monkeypatch.setattr(works, "fingerprint", lambda: "another")
        seen = []
        other = samples.corpus_path(PAINTER, progress=lambda done, total: seen.append((done, total)))
        assert other != folder and seen == [(1, 2), (2, 2)]
        for work in few:  # the same source and seeds give the same files
            assert (other / work.row["file_name"]).read_bytes() == (folder / work.row["file_name"]).read_bytes()

    @pytest.mark.parametrize("damage", ["deleted", "changed", "no table", "half a table"])
    def test_a_corpus_that_is_not_whole_is_painted_again(self, monkeypatch, tmp_path, damage):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        few = works._commissions(PAINTER)[:2]
        monkeypatch.setattr(works, "_commissions", lambda name: few)
        folder = samples.corpus_path(PAINTER)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        work, table = folder / few[1].row["file_name"], folder / "metadata.csv"
        if damage == "deleted":
            work.unlink()
        elif damage == "changed":
            work.write_bytes((folder / few[0].row["file_name"]).read_bytes())
        elif damage == "no table":
            table.unlink()
        else:
            table.write_bytes(table.read_bytes()[:-40])
        assert samples.corpus_path(PAINTER) == folder
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert {path.name for path in folder.parent.iterdir()} == {PAINTER, f".{PAINTER}.lock"}

    def test_what_a_killed_process_had_painted_is_swept_up(self, monkeypatch, tmp_path):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        monkeypatch.setattr(works, "_commissions", lambda name: [])
        program = "import os\nfrom workbench.samples import works\nworks._paint_work = lambda *_: os._exit(9)\n"
        program += f"works.corpus_path({PAINTER!r})"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
        cache = works.cache_dir("samples", works.fingerprint())
        assert any(path.is_dir() for path in cache.iterdir())
        assert [path.name for path in cache.iterdir() if path.is_dir()] != [PAINTER]
        samples.corpus_path(PAINTER)
        assert [path.name for path in cache.iterdir() if path.is_dir()] == [PAINTER]

    def test_a_failed_corpus_leaves_nothing_behind(self, monkeypatch):
        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(works, "fingerprint", lambda: "failing")
        monkeypatch.setattr(works, "_paint_work", fail)
        with pytest.raises(WorkbenchError, match="No space left"):
            samples.corpus_path(PAINTER)
        assert [path.suffix for path in works.cache_dir("samples", "failing").iterdir()] == [".lock"]

    def test_of_those_that_ask_at_once_one_paints(self, monkeypatch, tmp_path):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        painted, few = [], works._commissions(PAINTER)[:1]
        monkeypatch.setattr(works, "_commissions", lambda name: few)
        paint = works._paint_work
        monkeypatch.setattr(works, "_paint_work", lambda *given: painted.append(given) or paint(*given))
        with ThreadPoolExecutor(3) as pool:
            found = set(pool.map(samples.corpus_path, [PAINTER] * 3))
        assert len(found) == len(painted) == 1

    def test_the_fingerprint_follows_the_source(self, monkeypatch, tmp_path):
        (tmp_path / "corpora.py").write_text("a = 1\n")
        monkeypatch.setattr(works, "__file__", str(tmp_path / "corpora.py"))
        first = works.fingerprint.__wrapped__()
        (tmp_path / "corpora.py").write_text("a = 2\n")
        assert works.fingerprint.__wrapped__() != first

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: samples.photograph("chine"), "did you mean 'china'.*flower"),
            (lambda: samples.photograph_path("x"), "choose from china"),
            (lambda: samples.corpus_path("nocturn"), "did you mean 'nocturne'"),
            (lambda: samples.a_single("monet"), "unknown painter 'monet'"),
            (lambda: samples.truth("umber", "grace"), "grace_hopper"),
            (lambda: samples.truth("umber", "china", size=0), "size"),
        ],
    )
    def test_unknown_names_are_named_with_what_there_is(self, call, words):
        with pytest.raises(UsageError, match=words):
            call()


class TestColourDirectionAndStrokes:
    def test_lab_is_that_of_cie_and_inverts(self):
        np.testing.assert_allclose(
            lab("#ffffff", "#000000", "#ff0000"), [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.06
        )
        colours = np.random.default_rng(0).random((200, 3)).astype(np.float32)
        np.testing.assert_allclose(rgb_from_lab(lab_from_rgb(colours)), colours, atol=2e-3)

    def test_a_palette_of_one_ramp_gives_its_hue_and_keeps_the_order_of_light(self):
        blue = Palette(("#0a0f2c", "#2c55a8", "#b5cfd2"), low=10, high=60, keep=0)
        seen = lab("#301000", "#a04020", "#ffe0c0")
        mixed = blue.mix(seen)
        assert (np.diff(mixed[:, 0]) > 0).all() and mixed[:, 0].min() >= 10 and mixed[:, 0].max() <= 60
        assert (mixed[:2, 2] < 0).all()

    def test_fields_run_along_edges_and_level_lines(self):
        y, x = np.mgrid[:40, :60].astype(np.float32)
        vertical = direction(along_edges(50 * (x > 30).astype(np.float32), 2), 1)[20, 30]
        assert abs(vertical[1]) > 0.99
        level = direction(along_levels(x + y), 1)[20, 30]
        assert abs(level @ np.array([1, 1]) / np.sqrt(2)) < 1e-3
        rising = direction(constant((40, 60), 30), 1)[5, 5]
        np.testing.assert_allclose(np.abs(rising), [np.cos(np.pi / 6), np.sin(np.pi / 6)], atol=1e-4)
        assert rising[0] * rising[1] < 0  # counter-clockwise, rows grow downwards

    def test_strokes_stop_at_another_colour_and_at_another_region(self):
        field = np.broadcast_to(np.array([1.0, 0.0], np.float32), (40, 100, 2))
        wanted = np.zeros((40, 100, 3), np.float32)
        labels = np.zeros((40, 100), np.int8)
        brush = Brush(0.04, 20, 1, shortest=0.5, tolerance=10)
        start = np.array([[50.0, 20.0]], np.float32)

        def length():
            rng = np.random.default_rng(0)
            return float(trace(start, field, wanted, labels, brush, 4.0, rng)[2][0])

        free = length()
        wanted[:, 60:] = wanted[:, :40] = 40
        assert length() <= 12 < free
        wanted[:] = 0
        labels[:, 55:] = labels[:, :45] = 1
        assert length() <= 7

    def test_a_later_stroke_lies_over_an_earlier_one_at_every_pixel(self):
        rng = np.random.default_rng(0)
        canvas = Canvas((60, 60), 1.0, np.ones((60, 60, 3), np.float32), rng)
        count = 400  # the same broad stroke again and again, the last one black
        path = np.stack([np.linspace(5, 55, 26), np.full(26, 30.0)], axis=-1).astype(np.float32)
        grey = np.linspace(1, 0, count, dtype=np.float32)[:, None].repeat(3, axis=1)
        widths, lengths = np.full(count, 20, np.float32), np.full(count, 50, np.float32)
        brush = Brush(0.3, 3, 1, opacity=1, bristle=0, smear=0, dry=0, ragged=0, taper=0)
        canvas.lay(Strokes(np.repeat(path[None], count, axis=0), 2.0, lengths, widths, grey, grey), brush)
        painted = np.asarray(canvas.finish((60, 60), 0, 0))
        assert painted[23:37, 8:52].max() == 0
        assert painted[:15].min() > 200 and painted[45:].min() > 200

    def test_starts_fill_the_picture_evenly_and_follow_the_chance(self):
        rng = np.random.default_rng(0)
        everywhere = scatter(rng, (60, 90), 6, None)
        assert len(everywhere) == 150 and (everywhere >= 0).all() and (everywhere < [90, 60]).all()
        chance = np.zeros((60, 90))
        chance[:, :45] = 1
        assert (scatter(rng, (60, 90), 6, chance)[:, 0] < 45).all()

    def test_what_is_laid_in_a_window_is_laid_on_the_stage(self):
        stage = Stage(np.random.default_rng(0), 1.5, 90, "sky", rgb("#ffffff"))
        part = stage.window(0.5, 0.5, 1.0, 1.0)
        part.lay(np.ones(part.shape), rgb("#000000"), "land")
        assert stage.image[45, 45].max() == 0 and stage.image[10, 10].min() == 1
        picture = stage.picture()
        assert picture.region("land")[45, 45] == 1 and picture.region("sky")[10, 10] == 1
        assert picture.region("skin").sum() == 0
