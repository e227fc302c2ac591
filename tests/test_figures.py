"""Figures: nothing clipped or overlapping, the same bytes twice, provenance inside the file, honest errors."""

import csv
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import full
import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from workbench import figures
from workbench.errors import UsageError, WorkbenchError
from workbench.figures import canvas
from workbench.figures.canvas import (
    as_picture,
    set_items,
    shorten,
    style,
    text_width,
    wrap,
)

LONG = "The Langlois Bridge at Arles with Women Washing, seen from the road to Port-de-Bouc in April · Größe Ωμέγα "
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, categories=("L", "N", "P", "S", "Zs")), max_size=90)


def picture(width=40, height=60, color=(90, 120, 200)):
    return Image.new("RGB", (width, height), color)


def panels(count, size=(40, 60), works=8, title="Blend", caption="Almond Blossom"):
    weights = np.exp(-np.arange(works) / 3.0)
    used = [(picture(30 + 7 * k, 40), f"{caption} {k}", w / weights.sum()) for k, w in enumerate(weights)]
    lines = ["content 0.21 · style 0.03"]
    return [figures.Panel(f"{title} {k}", picture(*size), used, lines, "6.1 paintings effective") for k in range(count)]


def drawn_texts(figure):
    """(text, box in pixels) of every text that is drawn, tick labels outside the view left out."""
    with style():
        FigureCanvasAgg(figure).draw()
        figure.dpi = 100
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not (low <= tick.get_loc() <= high and axes.axison):
                    hidden |= {tick.label1, tick.label2}
            if not axes.axison:
                hidden.add(axis.label)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


def assert_legible(figure):
    """Every text lies on the page, and no two share more than half a pixel."""
    boxes = drawn_texts(figure)
    assert boxes
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in boxes:
        assert box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= width + 0.5 and box.y1 <= height + 0.5, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, down) < 0.5, f"{one!r} overlaps {other!r}"


def curves(count=3):
    steps = np.arange(1, 60)
    return figures.curves({f"{LONG[: 9 + k]} {k}": (k + 1) / steps for k in range(count)}, boundaries=[(20, "256 px"), 40])


def tradeoff(count=9):
    """`count` methods, every other with three weights, the rest with one; long names, and two points at one place."""
    weights = np.array([[0.2, 0.3], [0.3, 0.2], [0.4, 0.16]])
    methods = {f"{LONG[: 9 + k]} {k}": weights[: 1 + 2 * (k % 2)] + np.array([k / 20, k / 15]) for k in range(count)}
    return figures.tradeoff(methods | {"same": weights[:1]}, x_label=LONG * 2, y_label=LONG * 2, title=LONG)


def weights(works=9, taus=12):
    tau = np.geomspace(0.01, 3, taus)
    share = np.exp(-np.arange(works)[None] / 10 / tau[:, None])
    names = [f"{LONG[k:]}{k}" for k in range(works)]
    return figures.weights_plot(tau, share / share.sum(1, keepdims=True), names, title=LONG)


def gram(channels=80):
    features = torch.randn(channels, 50, generator=torch.Generator().manual_seed(channels))
    return features @ features.T / 50


EXAMPLES = {
    "comparison": lambda: figures.side_by_side(panels(6, title=LONG, caption=LONG), title=LONG * 3),
    "contact_sheet": lambda: figures.contact_sheet([picture(30, 20 + 9 * k) for k in range(9)], [LONG] * 9, title=LONG),
    "cluster_sheets": lambda: figures.cluster_sheets(
        [(LONG * 3, [picture()] * 9, [LONG] * 9), ("B", [picture(60, 20)], ["one"])], title=LONG, limit=8
    ),
    "corpus_map": lambda: figures.corpus_map(
        np.arange(22).reshape(11, 2) ** 1.5, [picture()] * 11, [f"{LONG[k:]}" for k in range(11)], legend_title=LONG
    ),
    "curves": curves,
    "tradeoff": tradeoff,
    "weights_plot": weights,
    "gram_matrices": lambda: figures.gram_matrices(
        {"relu1_1": [gram(64), gram(64)], LONG: [gram(), gram()]}, [LONG, "B"], title=LONG
    ),
    "grid": lambda: figures.grid(
        [[picture(), None, picture(60, 20)]] * 2, [LONG, "α = 1"], [LONG] * 3, cell_captions=[[LONG] * 3] * 2, title=LONG
    ),
    "columns": lambda: figures.columns(
        [LONG, "b", "c"],
        {LONG: [0.1, float("nan"), 1e-5], "odds": [1, 2, 3]},
        [[picture(), None, picture(60, 20)]],
        [LONG],
        marked=1,
        limits={"odds": 2.5},
        title=LONG,
        note=LONG * 3,
    ),
    "crosstab": lambda: figures.crosstab([[3, 0, 120], [0, 0, 0]], ["A", LONG], ["a", "b", LONG], title=LONG),
}


class TestLayout:
    @pytest.mark.parametrize("name", EXAMPLES)
    def test_long_texts_neither_overlap_nor_leave_the_page(self, name):
        assert_legible(EXAMPLES[name]())

    @pytest.mark.slow
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        count=st.integers(1, 8),
        sizes=st.lists(st.sampled_from([(40, 60), (60, 40), (50, 50), (20, 120), (160, 20)]), min_size=1, max_size=8),
        works=st.integers(0, 9),
        texts=st.tuples(WORDS, WORDS, WORDS, WORDS),
        columns=st.none() | st.integers(1, 8),
    )
    @example(count=1, sizes=[(40, 60)], works=0, texts=("", "00000000000000000000¼Ǘ", "", ""), columns=None)
    def test_a_comparison_is_legible_whatever_it_compares(self, count, sizes, works, texts, columns):
        title, method, caption, note = texts
        chosen = [
            figures.Panel(f"{k} {method}", picture(*sizes[k % len(sizes)]), panel.works, [*panel.lines, f"x {note}"], note)
            for k, panel in enumerate(panels(count, works=works, caption=caption))
        ]
        assert_legible(figures.side_by_side(chosen, title=title, columns=columns))

    @pytest.mark.parametrize("count", [1, 2, 7, 30])
    def test_one_or_many_series_keep_their_names_apart(self, count):
        assert_legible(curves(count))

    @pytest.mark.parametrize("count", [0, 10, 30])
    def test_names_in_a_tradeoff_cover_neither_each_other_nor_a_point(self, count):
        figure = tradeoff(count)
        assert_legible(figure)
        names = [line.get_label() for line in figure.axes[1].lines]
        boxes = [
            box for text, box in drawn_texts(figure) if text.rstrip("…") and any(n.startswith(text.rstrip("…")) for n in names)
        ]
        assert len(boxes) == count + 1
        for line in figure.axes[1].lines:
            for x, y in figure.axes[1].transData.transform(line.get_xydata()):
                assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for box in boxes)

    def test_real_titles_stay_apart(self, shared):
        with (shared / "data/corpora/vincent-van-gogh/metadata.csv").open(encoding="utf-8") as file:
            titles = [row["title"] for row in csv.DictReader(file)][:40]
        figure = figures.contact_sheet([picture()] * len(titles), titles, title="Vincent van Gogh", columns=10)
        assert_legible(figure)

    @given(st.text(max_size=60), st.floats(0.5, 3), st.integers(1, 4))
    @settings(max_examples=60, deadline=None)
    @pytest.mark.filterwarnings("ignore:Glyph .* missing")
    def test_wrapped_text_keeps_its_words_and_its_width(self, text, width, lines):
        broken = wrap(text, width, 8, lines)
        assert len(broken) <= lines
        assert all(text_width(line, 8) <= width for line in broken)
        if not any(line.endswith("…") for line in broken):
            assert "".join("".join(broken).split()) == "".join(text.split())

    @pytest.mark.parametrize("suffix", [".png", ".pdf", ".jpg"])
    def test_a_full_disk_is_one_line_in_every_format(self, tmp_path, suffix):
        figure = EXAMPLES["columns"]()
        with full.disk(16), pytest.raises(WorkbenchError, match=f"cannot write .*figure{suffix}"):
            figures.save(figure, tmp_path / "figure", suffixes=(suffix,))
        assert not list(tmp_path.iterdir())

    def test_values_that_read_alike_are_level_in_a_column_figure(self):
        for values, share in (([0.509, 0.5091, 0.5092], 0.05), ([1.0, 2.0, 3.0], 0.75), ([0.0, 0.0, 0.0], 0.05)):
            figure = figures.columns(["a", "b", "c"], {"loss": values}, [[picture()] * 3], ["one"])
            (line,) = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 3]
            low, high = line.axes.get_ylim()
            assert (max(values) - min(values)) / (high - low) == pytest.approx(share, abs=0.05)

    @pytest.mark.filterwarnings("ignore:Glyph .* missing")
    def test_letters_that_no_font_has_are_said_once(self, capsys, monkeypatch):
        canvas._tell_of_boxes.cache_clear()
        figures.contact_sheet([picture()], ["Irises, Ωμέγα"])
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(canvas, "_letters", lambda: frozenset(range(32, 256)))  # as where there is no other font
        for _ in range(2):
            assert_legible(figures.contact_sheet([picture()] * 2, ["日本の橋", "雨"], title="歌川広重"))
        assert capsys.readouterr().err.count("warning: some letters of a figure are boxes") == 1

    def test_a_font_that_has_the_letters_is_used_for_them(self, monkeypatch):
        installed = {*canvas.WIDER[:2], "Comic Sans"}
        monkeypatch.setattr(canvas.font_manager, "get_font_names", lambda: installed)
        canvas.fonts.cache_clear()
        assert canvas.fonts() == (canvas.FONT, *canvas.WIDER[:2])
        canvas.fonts.cache_clear()

    def test_text_is_cut_only_where_it_must_be(self):
        assert shorten("Irises", 2.0, 8) == "Irises"
        assert shorten("Irises", 0.3, 8).endswith("…")
        assert wrap("one two", 3.0, 8, 2) == ["one two"]
        assert wrap("religious-mythological", 0.8, 8, 3) == ["religious-", "mythological"]
        assert wrap("neighbours:nearest-6", 0.9, 8, 3) == ["neighbours:", "nearest-6"]
        assert wrap("", 1.0, 8, 2) == []

    def test_numbers_side_by_side_break_together(self):
        assert set_items(["a 1 · b 2", "a 1"], 2.0, 8) == [["a 1 · b 2"], ["a 1"]]
        assert set_items(["content 0.21 · style 0.03", "a 1 · b 2"], 1.0, 8) == [["content 0.21", "style 0.03"], ["a 1", "b 2"]]


def pictures_on(figure):
    """(x, y of the top left corner, width, height) in inches and the mean colour, for each picture on the page."""
    page = figure.axes[0]
    found = []
    for image in page.images:
        left, right, bottom, top = image.get_extent()
        color = tuple(np.asarray(image.get_array())[..., :3].reshape(-1, 3).mean(axis=0).round().astype(int))
        found.append((left, top, right - left, bottom - top, color))
    return found


class TestWhatFiguresShow:
    def test_panels_keep_their_order_and_pictures_their_shape(self):
        colors = [(10 * k, 200 - 10 * k, 40) for k in range(6)]
        figure = figures.side_by_side([figures.Panel(f"method {k}", picture(40, 60, color)) for k, color in enumerate(colors)])
        found = pictures_on(figure)
        assert [item[4] for item in found] == colors
        assert [item[0] for item in found] == sorted(item[0] for item in found)
        assert len({round(item[1], 6) for item in found}) == 1  # six upright pictures stand in one row
        assert all(height / width == pytest.approx(1.5) for _, _, width, height, _ in found)
        names = [text for text, _ in drawn_texts(figure)]
        assert names == [f"method {k}" for k in range(6)]

    def test_wide_pictures_take_two_rows_of_three(self):
        found = pictures_on(figures.side_by_side([figures.Panel(str(k), picture(60, 40)) for k in range(6)]))
        assert [len({round(item[axis], 6) for item in found}) for axis in (0, 1)] == [3, 2]

    def test_bars_are_as_long_as_the_weights(self):
        figure = figures.side_by_side(panels(1, works=4))
        tracks, bars = figure.axes[0].patches[::2], figure.axes[0].patches[1::2]
        expected = [weight for _, _, weight in panels(1, works=4)[0].works]
        assert [bar.get_width() / track.get_width() for bar, track in zip(bars, tracks, strict=True)] == pytest.approx(expected)

    def test_paintings_beyond_six_are_counted_with_their_share(self):
        works = [(picture(), f"work {k}", 0.01) for k in range(100)]
        texts = [text for text, _ in drawn_texts(figures.side_by_side([figures.Panel("whole", picture(), works)]))]
        assert "+ 94 more · 94%" in texts and texts.count("1.0%") == 6
        assert not any(text.startswith("work") for text in texts)  # a hundred equals: none of them is named
        heavy = [(picture(), "Irises", 0.6), *[(picture(), "other", 0.04) for _ in range(10)]]
        texts = [text for text, _ in drawn_texts(figures.side_by_side([figures.Panel("blend", picture(), heavy)]))]
        assert "Irises" in texts and "other" not in texts

    def test_a_dollar_is_a_dollar(self):
        texts = [text for text, _ in drawn_texts(figures.side_by_side([figures.Panel("$5 and $x_1$", picture())]))]
        assert texts == ["$5 and $x_1$"]

    def test_the_medoid_comes_first_and_is_the_only_one_framed(self):
        figure = figures.cluster_sheets([("A", [picture(30, 30), picture(30, 30)], []), ("B", [picture(30, 30)], [])])
        frames, found = figure.axes[0].patches, pictures_on(figure)
        assert len(frames) == 2
        for frame, (x, y, width, height, _) in zip(frames, [found[0], found[2]], strict=True):
            assert frame.get_x() < x and frame.get_y() < y
            assert frame.get_x() + frame.get_width() > x + width and frame.get_y() + frame.get_height() > y + height

    def test_the_map_keeps_distances_and_gives_each_label_a_colour(self):
        points = np.array([[0, 0], [4, 0], [0, 1.0]])
        figure = figures.corpus_map(points, [picture(30, 30)] * 3, [1, 0, 1], names={0: "portraits"})
        middles = np.array([(x + width / 2, y + height / 2) for x, y, width, height, _ in pictures_on(figure)])
        across, down = middles[1] - middles[0], middles[2] - middles[0]
        assert across[0] == pytest.approx(-4 * down[1]) and across[1] == pytest.approx(0, abs=1e-9)
        frames = [patch.get_edgecolor() for patch in figure.axes[0].patches if not patch.get_fill()]
        assert frames[0] == frames[2] != frames[1]
        assert [text for text, _ in drawn_texts(figure)] == ["portraits (1)", "1 (2)"]

    def test_the_effective_number_goes_from_one_to_all(self):
        figure = figures.weights_plot([1e3, 1e-3], [[0.25] * 4, [1, 0, 0, 0]], list("abcd"))
        line = figure.axes[1].lines[0]
        assert line.get_xdata().tolist() == [1e-3, 1e3]
        assert line.get_ydata().tolist() == pytest.approx([1, 4])

    def test_matrices_of_a_layer_share_one_symmetric_scale(self):
        figure = figures.gram_matrices({"a": [gram(), 5 * gram()], "b": [gram(), gram()]}, ["x", "y"])
        limits = [axes.images[0].get_clim() for axes in figure.axes[1:]]
        assert limits[0] == limits[1] != limits[2] == limits[3]
        assert all(low == -high for low, high in limits)
        assert figure.axes[1].images[0].get_array().shape == (64, 64)

    def test_ten_methods_of_a_tradeoff_differ_in_shape_and_every_point_is_inside(self):
        points = {f"m{k}": [(k / 10 + w, (1 + k) / (1 + 10 * w)) for w in (0.0, 0.1, 0.2)[: 1 + k % 3]] for k in range(10)}
        axes = figures.tradeoff(points).axes[1]
        assert len({line.get_marker() for line in axes.lines}) == 10
        assert [line.get_xydata().tolist() for line in axes.lines] == [
            [list(pair) for pair in pairs] for pairs in points.values()
        ]
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        every = np.concatenate([line.get_xydata() for line in axes.lines])
        assert left < every[:, 0].min() and every[:, 0].max() < right
        assert low < every[:, 1].min() and every[:, 1].max() < high and axes.get_yscale() == "log"

    def test_a_tradeoff_says_which_way_is_better(self):
        texts = [text for text, _ in drawn_texts(figures.tradeoff({"a": [(0.2, 0.1)]}))]
        assert any("better" in text and "left" in text for text in texts)

    def test_values_that_have_no_logarithm_leave_a_gap(self):
        line = figures.curves({"loss": [1.0, 0.0, float("nan"), 0.1]}).axes[1].lines[0]
        assert np.isnan(line.get_ydata()).tolist() == [False, True, True, False]


class TestPictures:
    def test_every_kind_of_image_gives_the_same_pixels(self):
        levels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
        tensor = torch.from_numpy(levels).permute(2, 0, 1)[None] / 255
        for image in (Image.fromarray(levels), levels, levels / 255, tensor, tensor[0]):
            assert np.array_equal(np.asarray(as_picture(image)), levels)
        assert np.asarray(as_picture(levels[..., 0])).shape == (2, 4, 3)
        clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
        assert as_picture(clear).getpixel((0, 0)) == (255, 255, 255)


class TestFiles:
    @pytest.mark.parametrize("name", EXAMPLES)
    def test_the_same_figure_gives_the_same_bytes_and_tells_where_it_comes_from(self, name, tmp_path):
        provenance = {"seed": 3, "inputs": {"b": 'a (b) \\ "c" é 浮 endobj >>', "a": [1.5, None, True]}}
        once = figures.save(EXAMPLES[name](), tmp_path / "one/figure.v1", provenance, dpi=50)
        assert once == [tmp_path / "one/figure.v1.png", tmp_path / "one/figure.v1.pdf"]
        again = figures.save(EXAMPLES[name](), tmp_path / "two/figure.v1", dict(reversed(provenance.items())), dpi=50)
        assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
        assert [figures.read_provenance(path) for path in once] == [provenance, provenance]
        assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["figure.v1.pdf", "figure.v1.png"]

    def test_saving_a_figure_twice_or_after_showing_it_gives_the_same_bytes(self, tmp_path):
        figure = curves()
        first = figures.save(figure, tmp_path / "a", {"seed": 1})
        figure.shown()
        second = figures.save(figure, tmp_path / "b", {"seed": 1})
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]

    @given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5), max_size=4))
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_provenance_comes_back(self, tmp_path, provenance):
        figure = figures.contact_sheet([picture()])  # no text: most of the time of a PDF goes into its fonts
        for path in figures.save(figure, tmp_path / "x", provenance, dpi=20):
            assert figures.read_provenance(path) == provenance

    def test_files_hold_no_trace_of_program_or_date_and_text_stays_text(self, tmp_path):
        png, pdf = figures.save(curves(), tmp_path / "x", {"seed": 1}, dpi=40)
        with Image.open(png) as image:
            assert set(image.info) == {"dpi", "workbench"}
        content = pdf.read_bytes()
        assert b"CreationDate" not in content and b"/Producer" not in content and b"/Creator" not in content
        assert b"/CIDFontType2" in content and b"/FontFile2" in content and b"/Type3" not in content

    def test_a_jpeg_carries_its_provenance_and_repeats(self, tmp_path):
        figure = figures.grid([[np.full((20, 30, 3), 0.5)]])
        made = {"parameters": {"title": "Nuit étoilée", "size": 3}}
        (path,) = figures.save(figure, tmp_path / "one", made, dpi=60, suffixes=(".jpg",))
        assert path.name == "one.jpg" and figures.read_provenance(path) == made
        (again,) = figures.save(figure, tmp_path / "two", made, dpi=60, suffixes=(".jpg",))
        assert path.read_bytes() == again.read_bytes()
        assert sorted(file.name for file in tmp_path.iterdir()) == ["one.jpg", "two.jpg"]
        (bare,) = figures.save(figure, tmp_path / "bare", dpi=60, suffixes=(".jpg",))
        with pytest.raises(WorkbenchError, match="no provenance"):
            figures.read_provenance(bare)

    def test_a_file_without_provenance_says_so(self, tmp_path):
        bare = figures.save(curves(1), tmp_path / "bare", dpi=20)
        other = tmp_path / "other.png"
        other.write_bytes(b"no picture")
        for path in (*bare, other, tmp_path / "absent.png"):
            with pytest.raises(WorkbenchError, match=path.name):
                figures.read_provenance(path)

    def test_what_json_cannot_hold_is_refused_before_a_file_is_written(self, tmp_path):
        for wrong in ({"path": Path("x")}, {"loss": float("nan")}):
            with pytest.raises(UsageError, match="provenance"):
                figures.save(curves(1), tmp_path / "x", wrong)
        assert not list(tmp_path.iterdir())

    def test_a_file_that_cannot_be_written_is_named(self, tmp_path):
        (tmp_path / "x.pdf").mkdir()
        with pytest.raises(WorkbenchError, match=r"cannot write .*x\.pdf"):
            figures.save(curves(1), tmp_path / "x", dpi=20)


class TestSurroundings:
    @pytest.mark.parametrize(
        ("name", "kind", "start"), [("curves", "image/png", b"\x89PNG"), ("grid", "image/jpeg", b"\xff\xd8")]
    )
    def test_a_figure_shows_itself_in_jupyter_as_jpeg_where_it_holds_pictures(self, name, kind, start):
        figure = EXAMPLES[name]()
        data, metadata = DisplayFormatter().format(figure)
        assert [k for k in data if k.startswith("image/")] == [kind] and data[kind].startswith(start)
        assert metadata[kind]["width"] == round(100 * figure.get_figwidth())

    def test_a_users_settings_neither_change_a_figure_nor_are_changed(self, tmp_path):
        plain = figures.save(curves(), tmp_path / "a", dpi=40)
        with matplotlib.rc_context({"font.size": 22, "axes.grid": True, "pdf.fonttype": 3, "xtick.direction": "in"}):
            before = dict(matplotlib.rcParams)
            changed = figures.save(curves(), tmp_path / "b", dpi=40)
            assert dict(matplotlib.rcParams) == before
        assert [path.read_bytes() for path in plain] == [path.read_bytes() for path in changed]

    def test_threads_do_not_disturb_each_other(self):
        names = ["curves", "crosstab", "gram_matrices", "grid"]
        alone = [EXAMPLES[name]().shown() for name in names]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda name: EXAMPLES[name]().shown(), names))
        assert alone == together

    @pytest.mark.slow
    def test_pyplot_is_never_loaded(self):
        code = (
            "import sys; from workbench import figures; figures.curves({'a': [1, 2]}).shown();"
            "sys.exit('matplotlib.pyplot' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


P = picture()
WRONG = {
    "no panels": lambda: figures.side_by_side([]),
    "no columns": lambda: figures.side_by_side(panels(1), columns=0),
    "no picture in a panel": lambda: figures.side_by_side([figures.Panel("a", "mona_lisa.jpg")]),
    "works out of order": lambda: figures.side_by_side([figures.Panel("a", P, [(P, "x", 0.1), (P, "y", 0.9)])]),
    "weights above one": lambda: figures.side_by_side([figures.Panel("a", P, [(P, "x", 100)])]),
    "weight not a number": lambda: figures.side_by_side([figures.Panel("a", P, [(P, "x", float("nan"))])]),
    "no images": lambda: figures.contact_sheet([], []),
    "captions missing": lambda: figures.contact_sheet([P, P], ["one"]),
    "no clusters": lambda: figures.cluster_sheets([]),
    "an empty cluster": lambda: figures.cluster_sheets([("A", [], [])]),
    "captions of a cluster missing": lambda: figures.cluster_sheets([("A", [P, P], ["a"])]),
    "no cluster drawn": lambda: figures.cluster_sheets([("A", [P], [])], limit=0),
    "no points": lambda: figures.corpus_map(np.zeros((0, 2)), [], []),
    "points in space": lambda: figures.corpus_map(np.zeros((1, 3)), [P], [0]),
    "a point nowhere": lambda: figures.corpus_map([[0, np.nan]], [P], [0]),
    "labels missing": lambda: figures.corpus_map([[0, 0]], [P], []),
    "no series": lambda: figures.curves({}),
    "an empty series": lambda: figures.curves({"a": []}),
    "no logarithm": lambda: figures.curves({"a": [0.0, -1.0]}),
    "x without y": lambda: figures.curves({"a": ([1, 2], [1.0])}),
    "no methods": lambda: figures.tradeoff({}),
    "a method without points": lambda: figures.tradeoff({"a": []}),
    "a point without style": lambda: figures.tradeoff({"a": [(0.2,)]}),
    "style of zero": lambda: figures.tradeoff({"a": [(0.2, 0.0)]}),
    "content not a number": lambda: figures.tradeoff({"a": [(float("nan"), 0.1)]}),
    "no taus": lambda: figures.weights_plot([], np.zeros((0, 1)), ["a"]),
    "tau of zero": lambda: figures.weights_plot([0.0], [[1.0]], ["a"]),
    "weights not summing to one": lambda: figures.weights_plot([1.0], [[0.5]], ["a"]),
    "weights transposed": lambda: figures.weights_plot([1.0], [[0.5], [0.5]], ["a", "b"]),
    "no layers": lambda: figures.gram_matrices({}),
    "no matrices": lambda: figures.gram_matrices({"a": []}),
    "not square": lambda: figures.gram_matrices({"a": torch.zeros(2, 3)}),
    "not finite": lambda: figures.gram_matrices({"a": torch.full((2, 2), torch.nan)}),
    "layers of unlike number": lambda: figures.gram_matrices({"a": gram(), "b": [gram(), gram()]}),
    "no rows": lambda: figures.grid([]),
    "rows of unlike length": lambda: figures.grid([[P], [P, P]]),
    "nothing but gaps": lambda: figures.grid([[None]]),
    "row labels missing": lambda: figures.grid([[P], [P]], ["a"]),
    "column labels missing": lambda: figures.grid([[P, P]], [], ["a"]),
    "cell captions missing": lambda: figures.grid([[P, P]], cell_captions=[["a"]]),
    "no columns of values": lambda: figures.columns([], {}, [], []),
    "too many columns": lambda: figures.columns(["a"] * 13, {}, [], []),
    "values of unlike number": lambda: figures.columns(["a"], {"b": [1.0, 2.0]}, [], []),
    "pictures of unlike number": lambda: figures.columns(["a"], {}, [[P, P]], ["row"]),
    "a column that is not there": lambda: figures.columns(["a"], {}, [[P]], ["row"], marked=1),
    "no counts": lambda: figures.crosstab(np.zeros((0, 0)), [], []),
    "negative counts": lambda: figures.crosstab([[-1]], ["a"], ["b"]),
    "labels of a table missing": lambda: figures.crosstab([[1, 2]], ["a"], ["b"]),
}


class TestErrors:
    @pytest.mark.parametrize("name", WRONG)
    def test_what_cannot_be_drawn_is_refused_in_one_line(self, name):
        with pytest.raises(UsageError) as caught:
            WRONG[name]()
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "image", [np.zeros((4, 4, 2)), np.full((2, 2), np.nan), np.zeros((0, 3, 3)), torch.zeros(2, 3, 4, 4)]
    )
    def test_what_is_no_picture_is_refused(self, image):
        with pytest.raises(UsageError):
            as_picture(image)
