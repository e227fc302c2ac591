"""Strokes: the renderer against its definition, plans, an artist's hand against known strokes, files, and whole paintings."""

import itertools
import json
import math
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import fields

import av
import numpy as np
import pandas as pd
import pytest
import torch
from painted_truth import curvature, dead_leaves, painted
from PIL import Image

from workbench import cli, images, methods, samples, targets
from workbench.errors import UsageError
from workbench.strokes import Strokes, bristles, files, hand, renderer
from workbench.strokes.coordinates import StrokeCoordinates
from workbench.strokes.hand import Hand
from workbench.strokes.planning import plan
from workbench.strokes.renderer import OPACITY, by_definition, render
from workbench.strokes.stroke import joined
from workbench.transfer import Settings

SMALL = Settings(method="strokes", size=48, steps=4, plateau=0, options=("strokes=60", "hand=default"))
GROUND = torch.tensor([0.2, 0.3, 0.4])


def some(count, *, seed=0, dtype=torch.float32, longest=0.4, widest=0.1):
    """Strokes at random over a picture somewhat taller than wide."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)

    place = random(count, 2) * torch.tensor([0.8, 1.0], dtype=dtype)
    chord = (random(count, 2) - 0.5) * 2 * longest
    return Strokes(place, chord, (random(count) - 0.5) * 0.8, 0.02 + widest * random(count), random(count, 3))


def gradients(draw, strokes, *arguments, **options):
    """Of a picture, weighted unevenly, to every number of the strokes."""
    leaves = [getattr(strokes, f.name).clone().requires_grad_() for f in fields(Strokes)]
    picture = draw(Strokes(*leaves), *arguments, **options)
    weights = torch.sin(torch.arange(picture.numel(), dtype=picture.dtype)).reshape(picture.shape)
    return torch.autograd.grad((picture * weights).sum(), leaves)


class TestStroke:
    def test_it_is_the_bezier_curve_of_its_control_points_and_as_long(self):
        strokes = some(20, dtype=torch.float64)
        t = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None, None]
        a, b, c = strokes.controls.unbind(dim=1)
        bezier = (1 - t).square() * a + 2 * t * (1 - t) * b + t.square() * c
        by_formula = strokes.place + (t - 0.5) * strokes.chord + 4 * t * (1 - t) * strokes.aside
        assert torch.allclose(bezier, by_formula)
        assert torch.allclose(bezier.diff(dim=0).norm(dim=2).sum(dim=0), strokes.length, rtol=1e-5)

    def test_angles_are_anticlockwise_from_the_horizontal(self):
        chord = torch.tensor([[1.0, 0.0], [1.0, -1.0], [0.0, 1.0], [-1.0, -1.0]])
        n = len(chord)
        strokes = Strokes(torch.zeros(n, 2), chord, torch.zeros(n), torch.ones(n), torch.zeros(n, 3))
        assert strokes.angle.tolist() == pytest.approx([0, 45, 90, 135])


class TestRenderer:
    def test_a_straight_stroke_has_the_profile_of_the_formula(self):
        one = Strokes(
            torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, 0.0]]), torch.zeros(1), torch.tensor([0.25]), torch.ones(1, 3)
        )
        picture = render(one, (32, 32), torch.zeros(3))
        d = (torch.arange(32) + 0.5 - 16).abs()
        profile = OPACITY * torch.sigmoid((4**2 - d.square()) / (2 * renderer.SOFTNESS * 4))
        profile[d.square() - 16 >= 2 * renderer.REACH * renderer.SOFTNESS * 4] = 0
        assert torch.allclose(picture[0, 1, :, 16], profile, atol=1e-5)
        assert float(picture[0, :, :, 0].max()) == 0

    @pytest.mark.parametrize("shape", [(16, 12), (5, 24)])
    def test_it_is_its_definition_with_the_gradients(self, monkeypatch, shape):
        monkeypatch.setattr(renderer, "REACH", 30.0)  # at 6 it leaves out a quarter of a per cent
        strokes, ground = some(12, dtype=torch.float64), GROUND.double()
        apart = (render(strokes, shape, ground, nearest=12) - by_definition(strokes, shape, ground)).abs().max()
        assert float(apart) < 1e-3
        found = gradients(render, strokes, shape, ground, nearest=12)
        for mine, its in zip(found, gradients(by_definition, strokes, shape, ground), strict=True):
            assert float((mine - its).abs().max()) < 0.02 * float(its.abs().max())  # the definition has points along curves

    def test_gradients_are_those_of_finite_differences(self, monkeypatch):
        strokes = some(3, seed=2, dtype=torch.float64)
        leaves = [getattr(strokes, f.name).clone().requires_grad_() for f in fields(Strokes)]

        def picture(*values):
            return render(Strokes(*values[:-1]), (7, 6), values[-1])

        monkeypatch.setattr(renderer, "REACH", 30.0)
        ground = GROUND.double().requires_grad_()
        assert torch.autograd.gradcheck(picture, (*leaves, ground), atol=1e-4, rtol=1e-3)

    def test_blocks_and_what_is_computed_twice_change_nothing(self, monkeypatch):
        strokes = some(60)
        picture, found = render(strokes, (40, 32), GROUND), gradients(render, strokes, (40, 32), GROUND)
        assert torch.allclose(render(strokes, (40, 32), GROUND, block=1), picture, atol=1e-6)
        monkeypatch.setattr(renderer, "KEPT", 0)
        for one, other in zip(gradients(render, strokes, (40, 32), GROUND, block=5000), found, strict=True):
            assert torch.allclose(one, other, atol=1e-4)

    def test_the_last_stroke_lies_on_top_and_hides_what_a_pixel_no_longer_sees(self):
        strokes = some(40, longest=0.5, widest=0.3)
        over = Strokes(
            torch.tensor([[0.4, 0.5]]), torch.tensor([[1.0, 0.0]]), torch.zeros(1), torch.tensor([3.0]), torch.rand(1, 3)
        )
        picture = render(joined([strokes, over, over]), (40, 32), GROUND)
        assert torch.allclose(picture, over.colour.view(1, 3, 1, 1).expand_as(picture), atol=2e-3)
        few, all_ = (render(strokes, (40, 32), GROUND, nearest=k) for k in (8, 40))
        assert (few - all_).abs().max() < 0.1 and (few - all_).abs().mean() < 1e-3

    def test_a_larger_picture_is_the_same_picture(self):
        strokes = some(40)
        large = render(strokes, (160, 128), GROUND, softness=2.0)
        assert (images.resize(large, (40, 32)) - render(strokes, (40, 32), GROUND)).abs().mean() < 0.01

    def test_what_lies_outside_or_has_no_length_does_no_harm(self):
        away = some(3)
        away.place.add_(5)
        assert torch.equal(render(away, (8, 9), GROUND), GROUND.view(1, 3, 1, 1).expand(1, 3, 8, 9))
        dots = some(3)
        dots.chord.zero_(), dots.width.zero_(), dots.bend.zero_()
        assert all(found.isfinite().all() for found in gradients(render, dots, (8, 9), GROUND))
        nothing = away[:0]
        assert torch.equal(render(nothing, (1, 1), GROUND), GROUND.view(1, 3, 1, 1))


def stripes(shape=(96, 96), angle=0.5, period=12.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    wave = 0.5 + 0.4 * np.sin((y * math.cos(angle) - x * math.sin(angle)) * 2 * math.pi / period)
    return torch.from_numpy(np.stack([wave, 0.6 * wave, 1 - wave]).astype(np.float32))[None]


class TestPlan:
    def test_strokes_run_along_edges_from_broad_to_fine_and_look_like_the_picture(self):
        picture = stripes()
        strokes, ground = plan(picture, Hand(width=0.03, length=0.15), 400, seed=0)
        assert 300 < len(strokes) <= 400
        off = torch.deg2rad(strokes.angle - math.degrees(-0.5) % 180)
        fine = strokes.width < 0.04
        assert torch.cos(2 * off)[fine].mean() > 0.9
        assert strokes.width[:50].mean() > strokes.width[-50:].mean() and bool(fine[-50:].all())
        painted, bare = render(strokes, (96, 96), ground), ground.view(1, 3, 1, 1)
        assert (painted - picture).square().mean() < 0.35 * (bare - picture).square().mean()
        again, _ = plan(picture, Hand(width=0.03, length=0.15), 400, seed=0)
        assert torch.equal(again.place, strokes.place)

    def test_they_are_longer_where_the_picture_is_calm(self):
        y, x = np.mgrid[:96, :96]
        squares = 0.5 + 0.4 * np.sign(np.sin(x * 0.9) * np.sin(y * 0.9)) * (x > 48)
        picture = torch.from_numpy(np.broadcast_to(squares.astype(np.float32), (1, 3, 96, 96)).copy())
        strokes, _ = plan(picture, Hand(width=0.03, length=0.2), 300, seed=0)
        calm = strokes.place[:, 0] < 0.4
        assert strokes.length[calm].mean() > 1.3 * strokes.length[~calm & (strokes.place[:, 0] > 0.6)].mean()

    @pytest.mark.parametrize("shape", [(1, 1), (16, 16), (2, 90), (90, 3)])
    @pytest.mark.parametrize("count", [1, 50])
    def test_pictures_of_any_shape_are_covered_even_if_flat(self, shape, count):
        strokes, ground = plan(torch.full((1, 3, *shape), 0.25), Hand(), count, seed=0)
        assert 1 <= len(strokes) <= count
        assert torch.allclose(render(strokes, shape, ground), torch.full((1, 3, *shape), 0.25), atol=0.01)


class TestHand:
    @pytest.mark.parametrize(("width", "length"), [(4, 20), (8, 32)])
    def test_width_and_length_of_dead_leaves(self, width, length):
        found = hand.of_picture(dead_leaves(256, width, length))
        assert found.width * 256 == pytest.approx(width, rel=0.35)
        assert found.length * 256 == pytest.approx(length, rel=0.4)

    @pytest.mark.slow
    def test_width_and_length_of_what_the_synthetic_painters_laid(self):
        widths = {}
        for name in samples.PAINTERS:
            picture, laid = painted(name, samples.annotated("flower"))
            found = hand.of_picture(picture)
            assert found.width == pytest.approx(laid.width, rel=0.3)
            assert found.length == pytest.approx(laid.length, rel=0.6)
            widths[name] = (laid.width, found.width)
        by_truth, by_estimate = (sorted(widths, key=lambda name, k=k: widths[name][k]) for k in (0, 1))
        assert by_truth == by_estimate

    def test_spread_is_the_deviation_of_directions(self):
        rng = np.random.default_rng(0)
        angles = 0.4 + rng.normal(0, np.radians(12), (300, 300))
        assert hand.spread(angles, np.ones_like(angles), 20.0) == pytest.approx(12, rel=0.03)
        assert hand.spread(np.full((40, 40), 3.0), np.ones((40, 40)), 5.0) == pytest.approx(0, abs=0.1)

    def test_the_true_curvature_of_a_path_is_that_of_its_arc(self):
        t = np.linspace(0, 0.5, 21)
        assert curvature(40 * np.stack([np.cos(t), np.sin(t)], axis=1)) == pytest.approx(1 / 40, rel=0.02)
        assert curvature(np.zeros((3, 2))) == 0

    def test_what_shows_no_strokes_gives_the_default(self):
        assert hand.of_picture(torch.full((1, 3, 40, 50), 0.5)) == Hand() == hand.of_picture(torch.rand(1, 3, 1, 30))

    def test_means_are_those_of_logarithms(self):
        mean = hand.mean([(Hand(0.01, 0.1, 0.1, 10), 1.0), (Hand(0.04, 0.1, 0.1, 10), 1.0)])
        assert mean.width == pytest.approx(0.02) and mean.length == pytest.approx(0.1)
        assert mean.density == pytest.approx(500)


@pytest.fixture(scope="module")
def strokes():
    return plan(stripes((60, 80)), Hand(width=0.03, length=0.15), 150, seed=0)


class TestFiles:
    def write(self, strokes, path, **options):
        return files.write(strokes[0], (60, 80), strokes[1], path, **{"size": 80, **options})

    def test_svg_has_a_path_for_every_stroke_in_its_order(self, strokes, tmp_path):
        path = self.write(strokes, tmp_path / "a.svg", metadata={"workbench": '{"who": "<&>"}'})
        root = ET.parse(path).getroot()
        name = "{http://www.w3.org/2000/svg}"
        assert root.get("viewBox") == "0 0 80 60"
        paths = root.findall(f".//{name}path")
        assert len(paths) == len(strokes[0])
        assert [float(p.get("stroke-width")) for p in paths] == pytest.approx((strokes[0].width * 80).tolist(), abs=0.006)
        assert path.stat().st_size < 5e6 * len(paths) / 40_000
        assert "<&>" in root.find(f"{name}metadata").text

    @pytest.mark.slow
    def test_a_browser_draws_the_svg_alike(self, strokes, tmp_path):
        browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if browser is None:
            pytest.skip("no Chromium")
        drawing = self.write(strokes, tmp_path / "a.svg")
        (tmp_path / "page.html").write_text(f'<body style="margin:0"><img src="{drawing.name}" style="display:block"></body>')
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=80,60"]
        command += [
            f"--screenshot={tmp_path / 'shot.png'}",
            f"--user-data-dir={tmp_path / 'profile'}",
            str(tmp_path / "page.html"),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        shot = images.load(tmp_path / "shot.png")[..., :60, :80]
        ours = render(strokes[0], (60, 80), strokes[1], nearest=40, softness=0.2)  # as sharp as the browser's edges
        assert (shot - ours).abs().mean() < 0.015

    @pytest.mark.parametrize("suffix", [".gif", ".mp4"])
    def test_a_film_paints_the_picture_stroke_by_stroke(self, strokes, tmp_path, suffix):
        frames, seconds, _ = film_of(self.write(strokes, tmp_path / f"a{suffix}"))
        assert frames[0].size == (80, 60) and len(frames) > 10
        assert seconds == pytest.approx((len(list(files.painting(*strokes_at(strokes)))) - 1) * 0.08 + 3, rel=0.02)
        last = bristles.painted(strokes[0], (60, 80), strokes[1])
        off = [float((images.to_tensor(frames[k]) - last).abs().mean()) for k in (0, len(frames) // 3, -1)]
        assert off[0] > off[1] > off[2] and off[2] < 0.04  # an MP4 has colours at half the size

    def test_a_film_of_odd_sides_has_its_settings_inside(self, strokes, tmp_path):
        path = self.write(strokes, tmp_path / "a.mp4", size=75, metadata={"workbench": '{"seed": 3}'})
        frames, _, said = film_of(path)
        assert frames[0].size == (76, 56)
        assert images.to_tensor(frames[0])[0].mean(dim=(1, 2)) == pytest.approx(strokes[1], abs=0.01)  # the ground
        assert json.loads(said) == {"workbench": '{"seed": 3}'}

    def test_the_last_frame_is_the_picture(self, strokes):
        *_, last = files.painting(strokes[0], (60, 80), strokes[1])
        # A pixel sees the last few strokes of all in one, and of each batch in the other.
        assert (last - bristles.painted(strokes[0], (60, 80), strokes[1])).abs().mean() < 2e-3

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_tables_hold_every_stroke(self, strokes, tmp_path, suffix):
        path = self.write(strokes, tmp_path / f"a{suffix}")
        table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
        assert len(table) == len(strokes[0]) and list(table["order"]) == list(range(len(table)))
        assert np.allclose(table["width"], strokes[0].width * 80, rtol=1e-4)
        points = torch.tensor(table[["x0", "y0", "x1", "y1", "x2", "y2"]].to_numpy()).view(-1, 3, 2)
        assert torch.allclose(points.float(), strokes[0].controls * 80, atol=1e-3)

    def test_pictures_have_any_size(self, strokes, tmp_path):
        small, large = (images.load(self.write(strokes, tmp_path / f"{size}.png", size=size)) for size in (80, 400))
        assert tuple(large.shape[-2:]) == (300, 400)
        assert (images.resize(large, (60, 80)) - small).abs().mean() < 0.04

    @pytest.mark.parametrize(("suffix", "library", "other"), [(".mp4", "av", "gif"), (".parquet", "pyarrow", "csv")])
    def test_what_needs_a_library_says_so_in_a_line(self, strokes, tmp_path, monkeypatch, suffix, library, other):
        monkeypatch.setattr(files, "find_spec", lambda name: None if name == library else True)
        with pytest.raises(UsageError, match=rf"install artist-workbench\[\w+\], or write \.{other}"):
            self.write(strokes, tmp_path / f"a{suffix}")
        assert not list(tmp_path.iterdir())


def strokes_at(strokes):
    return strokes[0], (60, 80), strokes[1]


def film_of(path):
    """The frames of a film as Pillow has them, how long it lasts in seconds, and its comment."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as film:
            frames = [frame.to_image() for frame in film.decode(video=0)]
            assert film.streams.video[0].codec_context.name == "h264"
            return frames, film.duration / av.time_base, film.metadata.get("comment")
    with Image.open(path) as film:
        frames, seconds = [], 0.0
        for k in range(film.n_frames):
            film.seek(k)
            frames.append(film.convert("RGB"))
            seconds += film.info["duration"] / 1000
    return frames, seconds, None


def begin(content, target, encoder, settings=SMALL):
    return methods.get("strokes").begin(content, target, encoder, settings)


@pytest.fixture(scope="module")
def content():
    return stripes((60, 48), period=20.0)


@pytest.fixture(scope="module")
def blend(corpus):
    return targets.StyleTarget("blend", tuple(corpus)[:2], (0.6, 0.4))


class TestPainting:
    @pytest.mark.parametrize("objective", ["neighbours", "gram"])
    def test_the_objective_falls_and_the_picture_is_its_strokes(self, content, blend, encoder, objective):
        settings = Settings(method="strokes", size=48, steps=30, plateau=0, options=("strokes=60", f"objective={objective}"))
        run = begin(content, blend, encoder, settings)
        result = run.run()
        assert result.complete and len(result.history) == run.total_steps == len(run.pixels.history) + 12
        laid = [losses["total"] for losses in result.history[-12:]]
        assert min(laid[-3:]) < laid[0]
        assert torch.allclose(run.optimised, render(run.strokes, (48, 38), run.ground), atol=1e-5)
        assert torch.equal(run.strokes.colour, run.strokes.colour.clamp(0, 1))
        assert result.boundaries[-1] == (len(run.pixels.history), "48 px, strokes")

    def test_stopped_anywhere_it_has_strokes_and_goes_on_to_the_same_bytes(self, content, blend, encoder, tmp_path):
        whole = begin(content, blend, encoder)
        whole.run()
        for made in (1, whole.total_steps - 1):
            run = begin(content, blend, encoder)
            for _ in itertools.islice(run, made):
                pass
            assert len(run.history) == made and len(run.strokes) > 10
            assert tuple(run.image.shape) == (1, 3, 48, 38)
            again = begin(content, blend, encoder).resume(run.checkpoint(tmp_path / "c"))
            assert torch.equal(again.run().image, whole.image) and again.history == whole.history
        other = begin(content, blend, encoder, Settings(**{**vars(SMALL), "options": ("strokes=61", "hand=default")}))
        with pytest.raises(UsageError, match="another"):
            other.resume(run.checkpoint(tmp_path / "c"))

    def test_coordinates_of_zero_are_what_was_planned(self):
        planned = some(9)
        space = StrokeCoordinates(planned, (20, 16), GROUND)
        for f in fields(Strokes):
            assert torch.allclose(getattr(space.strokes(space.start), f.name), getattr(planned, f.name), atol=1e-6)
        moved = space.strokes(space.start + 1e4)
        assert torch.allclose(moved.width, 2 * planned.width) and float(moved.bend.max()) <= 0.5

    @pytest.mark.parametrize("shape", [(1, 1), (40, 300)])
    def test_contents_of_a_pixel_and_panoramas_are_painted(self, blend, encoder, shape):
        result = begin(torch.full((1, 3, *shape), 0.5), blend, encoder, SMALL).run()
        assert result.complete and max(result.image.shape) == 48 and bool(result.image.isfinite().all())

    @pytest.mark.parametrize(
        ("option", "says"),
        [("strokes=0", "between 1"), ("strokes=many", "strokes"), ("objective=w2", "objective"), ("dabs=3", "it has strokes"),
         ("bristles=-1", "bristles"), ("picture=4", "16")],
    )  # fmt: skip
    def test_bad_options_are_refused(self, option, says):
        with pytest.raises(UsageError, match=says) as error:
            methods.get("strokes").check("blend", "mean", Settings(method="strokes", options=(option,)))
        assert "\n" not in str(error.value)

    def test_settings_that_do_not_go_with_it_are_refused(self):
        method = methods.get("strokes")
        for combine, settings in (("barycentre", SMALL), ("mean", Settings(method="strokes", colour="luminance"))):
            with pytest.raises(UsageError):
                method.check("blend", combine, settings)
        method.check("blend", "barycentre", Settings(method="strokes", options=("objective=gram",)))


def test_the_command_line_writes_every_file_of_one_painting(two_styles, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), (90, 120, 60)).save("content.png")
    outs = [f"out{suffix}" for suffix in (".png", ".svg", ".gif", ".mp4", ".csv", ".jpg")]
    argv = ["transfer", "content.png", "--corpus", str(two_styles), "--target", "whole", "--method", "strokes", "--size", "32"]
    argv += ["--steps", "2", "--device", "cpu", "--options", "strokes=40", "hand=default", "picture=64"]
    assert cli.main([*argv, *(word for out in outs for word in ("-o", out))]) == 0
    assert capsys.readouterr().out.split("\n")[-7:-1] == outs
    assert all((tmp_path / out).stat().st_size > 300 for out in outs)
    with Image.open("out.png") as picture:
        assert picture.size == (64, 48) and "workbench" in "".join(picture.info)
    assert cli.main([*argv, "-o", "out.avi"]) == 2 and "out.avi" in capsys.readouterr().err
    assert cli.main([*argv[:-3], "strokes=0", "-o", "other.png"]) == 2 and not (tmp_path / "other.png").exists()
