import io
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import PATIENCE

from workbench import figures, lab
from workbench.corpora import ingest
from workbench.errors import UsageError
from workbench.lab.atlas import NOT_GIVEN, Atlas
from workbench.lab.choice import Choice
from workbench.lab.corpus_map import CorpusMap, sprites
from workbench.lab.exploration import Exploration
from workbench.retrieval import clusters
from workbench.retrieval.embeddings import Embeddings
from workbench.targets import StyleTarget


class Placed(Atlas):
    """An atlas whose works have descriptors that are given instead of measured."""

    def __init__(self, corpus, raw, **options):
        self.raw = np.asarray(raw, dtype=np.float32)
        super().__init__(corpus, None, **options)

    def space(self, kind):
        return Embeddings(kind, "given", tuple(work.name for work in self.corpus), self.raw)


def part(corpus, count, **metadata):
    """The first `count` works, their metadata changed: a list of one value per work for each column."""
    works = corpus.works[:count]
    changed = [{name: values[i] for name, values in metadata.items()} for i in range(count)]
    return replace(corpus, works=tuple(replace(w, metadata={**w.metadata, **c}) for w, c in zip(works, changed, strict=True)))


@pytest.fixture
def square(corpus):
    """Eight works on a grid of 4 by 2, its long axis first: x in -3, -1, 1, 3, y in -1, 1."""
    return Placed(part(corpus, 8), [[x, y] for x in (-3, -1, 1, 3) for y in (-1, 1)])


@pytest.fixture
def atlas(corpus, encoder):
    return Atlas(corpus, encoder)


def names(atlas, *places):
    return tuple(atlas.corpus[int(i)].name for i in places)


@pytest.fixture
def widget(atlas):
    made = CorpusMap(atlas)
    assert made.wait(PATIENCE)
    return made


class Slow(Placed):
    """An atlas that is measured when it is allowed to."""

    go = threading.Event()

    def space(self, kind):
        self.go.wait(PATIENCE)
        if kind == "content":
            raise self.error
        return super().space(kind)


@pytest.fixture
def trial(two_styles):
    return Exploration(Choice(corpus=str(two_styles)))


class TestPlaces:
    """Where works lie."""

    def test_pca_of_points_in_a_plane_keeps_all_their_distances(self, square):
        difference = square.points[:, None] - square.points[None]
        given = square.raw[:, None] - square.raw[None]
        assert np.allclose(np.linalg.norm(difference, axis=2), np.linalg.norm(given, axis=2), atol=1e-5)
        assert square.note == "PCA: these two axes hold 100% of the variance"

    def test_style_and_content_are_different_maps_and_both_repeat(self, corpus, encoder, atlas):
        style = atlas.points
        atlas.change(kind="content")
        assert style.shape == atlas.points.shape == (12, 2) and not np.allclose(style, atlas.points)
        assert np.array_equal(Atlas(corpus, encoder, kind="content").points, atlas.points)

    def test_tsne_repeats_for_a_seed_and_keeps_neighbours_together(self, corpus, encoder):
        first, again = (Atlas(corpus, encoder, projection="tsne", seed=3) for _ in range(2))
        assert np.array_equal(first.points, again.points) and np.isfinite(first.points).all()
        assert "islands" in first.note
        generator = np.random.default_rng(0)
        raw = np.r_[generator.normal(0, 1, (6, 4)), generator.normal(40, 1, (6, 4))]
        points = Placed(corpus, raw, projection="tsne").points
        distances = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag([np.inf] * 12)
        assert ((distances.argmin(axis=1) < 6) == (np.arange(12) < 6)).all()

    @pytest.mark.parametrize("projection", ["pca", "tsne"])
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
    def test_a_corpus_of_few_works_has_a_map(self, corpus, encoder, count, projection):
        atlas = Atlas(part(corpus, count), encoder, projection=projection)
        assert atlas.points.shape == (count, 2) and np.isfinite(atlas.points).all()
        assert sum(len(group.members) for group in atlas.groups) == count
        widget = CorpusMap(atlas)
        assert widget.wait(PATIENCE) and len(widget.points) == len(widget.cells) == count
        assert isinstance(atlas.figure(), figures.Figure) and isinstance(atlas.sheet(1), figures.Figure)

    @pytest.mark.parametrize("projection", ["pca", "tsne"])
    def test_works_that_are_all_alike_have_a_map(self, corpus, projection):
        atlas = Placed(corpus, np.ones((12, 5)), projection=projection)
        assert np.isfinite(atlas.points).all() and [group.label for group in atlas.groups] == ["cluster 1"]


class TestGroups:
    """What works of one colour have in common."""

    def test_clusters_are_of_style_whatever_the_map_shows(self, atlas):
        groups = atlas.groups
        atlas.change(kind="content")
        assert atlas.groups == groups and [group.label for group in groups] == ["cluster 1", "cluster 2"]
        assert {frozenset(i % 2 for i in group.members) for group in groups} == {frozenset({0}), frozenset({1})}

    def test_clusters_that_are_known_are_taken(self, corpus, encoder, atlas):
        known = clusters.cluster(atlas.space("style"), 3)
        assert len(Atlas(corpus, encoder, clusters=known).groups) == 3
        with pytest.raises(UsageError, match="other works"):
            Atlas(part(corpus, 5), encoder, clusters=known)

    def test_works_without_the_value_are_the_last_group(self, corpus):
        genres = ["portrait", "", "Landscape", "portrait", "animal", ""]
        atlas = Placed(part(corpus, 6, genre=genres, artist=[""] * 6), np.eye(6), colour_by="genre")
        assert [(group.label, group.members) for group in atlas.groups] == [
            ("animal", (4,)),
            ("Landscape", (2,)),
            ("portrait", (0, 3)),
            (NOT_GIVEN, (1, 5)),
        ]
        assert atlas.labels == ("portrait", NOT_GIVEN, "Landscape", "portrait", "animal", NOT_GIVEN)
        atlas.change(colour_by="artist")
        assert [group.label for group in atlas.groups] == [NOT_GIVEN]

    @pytest.mark.parametrize(
        ("years", "labels"),
        [
            (["1888", "1889", "c. 1890", ""], ["1888", "1889", "1890", NOT_GIVEN]),
            (["1858", "1924", "1870-71", "1871"], ["1850–1859", "1870–1879", "1920–1929"]),
            (["1503", "1503", "1503", "1503"], ["1503"]),
            (["", "n.d.", "", "?"], [NOT_GIVEN]),
            (["5", "1999", "1000", "900"], ["0–499", "500–999", "1000–1499", "1500–1999"]),
            (["5", "123456", "1000", "900"], ["0–123456"]),
        ],
    )
    def test_years_fall_into_periods_in_the_order_of_time(self, corpus, years, labels):
        atlas = Placed(part(corpus, 4, year=years), np.eye(4), colour_by="year")
        assert [group.label for group in atlas.groups] == labels
        assert sorted(i for group in atlas.groups for i in group.members) == [0, 1, 2, 3]
        known = [group.colour for group in atlas.groups if group.label != NOT_GIVEN]
        assert len(set(known)) == len(known) <= 8

    def test_an_unknown_kind_projection_or_colour_is_refused(self, corpus, encoder, atlas):
        for options, word in (
            ({"kind": "gram"}, "style, content"),
            ({"projection": "umap"}, "pca"),
            ({"colour_by": "hue"}, "genre"),
        ):
            with pytest.raises(UsageError, match=word):
                Atlas(corpus, encoder, **options)
            with pytest.raises(UsageError, match=word):
                atlas.change(**options)
        assert (atlas.kind, atlas.projection, atlas.colour_by) == ("style", "pca", "cluster")


class TestSelection:
    """Rectangles, polygons, groups and names."""

    def test_a_rectangle_takes_what_lies_on_its_border_from_any_corner(self, square):
        x, y = np.abs(square.points).min(axis=0)
        inner = names(square, *np.flatnonzero(np.abs(square.points[:, 0]) < x * 1.5))
        assert len(inner) == 4
        for corners in ((-x, -y, x, y), (x, y, -x, -y), (-x, y, x, -y)):
            assert square.select_rectangle(*corners) == inner
        assert square.select_rectangle(-x * 0.99, -y, x * 0.99, y) == () == square.selected
        assert len(square.select_rectangle(*square.points[0], *square.points[0])) == 1

    @pytest.mark.parametrize("turn", range(4))
    def test_a_polygon_takes_what_lies_within_and_on_its_border(self, square, turn):
        (x0, y0), (x1, y1) = square.points.min(axis=0), square.points.max(axis=0)
        corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        assert len(square.select_polygon(corners[turn:] + corners[:turn])) == 8
        triangle = [[x0, y0], [x1, y0], [x0, y1]]  # of the upper row only the corner lies in it, on its border
        found = square.select_polygon(triangle[turn % 3 :] + triangle[: turn % 3])
        expected = {i for i, (x, y) in enumerate(square.points) if y < 0 or x == x0}
        assert found == names(square, *sorted(expected)) and len(found) == 5

    def test_a_polygon_agrees_with_the_areas_of_triangles(self):
        from workbench.lab.atlas import _inside

        generator = np.random.default_rng(1)
        points, (a, b, c) = generator.uniform(-1, 1, (500, 2)), generator.uniform(-1, 1, (3, 2))

        def area(p, q, r):
            return abs((q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0]))

        parts = area(points, a, b) + area(points, b, c) + area(points, c, a)
        assert np.array_equal(_inside(points, [a, b, c]), np.isclose(parts, area(a, b, c)))

    def test_a_bow_that_crosses_itself_has_two_halves(self, square):
        (x0, y0), (x1, y1) = (1.1, 1.5) * square.points.min(axis=0), (1.1, 1.5) * square.points.max(axis=0)
        bow = square.select_polygon([[x0, y0], [x1, y1], [x1, y0], [x0, y1]])
        expected = np.abs(square.points[:, 1]) * x1 < np.abs(square.points[:, 0]) * y1
        assert bow == names(square, *np.flatnonzero(expected)) and len(bow) == 4

    @pytest.mark.parametrize(
        "corners", [[], [[0, 0], [1, 1]], [[0, 0], [1, 1], [np.nan, 0]], [[0, 0], [1, 1], [2]], "xyz", None, [1, 2, 3]]
    )
    def test_an_invalid_polygon_is_refused_and_changes_nothing(self, square, corners):
        square.select(names(square, 2))
        with pytest.raises(UsageError, match="polygon"):
            square.select_polygon(corners)
        assert square.selected == names(square, 2)

    def test_selections_add_up_in_the_order_of_the_corpus(self, square):
        square.select(names(square, 5))
        square.select(names(square, 3, 1), add=True)
        assert square.selected == names(square, 1, 3, 5) and [work.name for work in square.works] == list(square.selected)
        square.change(colour_by="genre")
        assert square.select_group("portrait") == names(square, 0, 2, 4, 6)
        assert square.select(["work-01"]) == ("work-01.png",)  # as Corpus.find takes it
        with pytest.raises(UsageError, match="no work 'nonesuch'"):
            square.select(["work-02", "nonesuch"])
        with pytest.raises(UsageError, match="choose landscape, portrait"):
            square.select_group("cluster 1")
        assert square.selected == ("work-01.png",) and square.select(()) == ()

    def test_the_target_is_the_selected_works_evenly(self, square):
        with pytest.raises(UsageError, match="no work is selected"):
            square.target()
        square.select(names(square, 1, 4, 6))
        target = square.target()
        assert isinstance(target, StyleTarget) and target.works == square.works
        assert target.weights == pytest.approx((1 / 3,) * 3) and target.note == "3 works chosen on the map"

    def test_a_sheet_begins_with_the_work_nearest_to_the_centre(self, atlas, monkeypatch):
        seen = {}
        monkeypatch.setattr(
            figures, "contact_sheet", lambda pictures, captions, title: seen.update(captions=captions, title=title)
        )
        atlas.sheet(2)
        assert seen["captions"] == [atlas.corpus[name].title for name in atlas.clusters.members(1)]
        assert seen["captions"][0] == atlas.corpus[atlas.clusters.medoids[1]].title and "style cluster 2 of 2" in seen["title"]
        for number in (0, 3, -1):
            with pytest.raises(UsageError, match="choose 1 to 2"):
                atlas.sheet(number)


class TestWidget:
    """The map on the page."""

    def test_the_page_gets_the_map_and_the_thumbnails(self, atlas, widget):
        assert np.allclose(widget.points, atlas.points, atol=1e-5) and not widget.busy and widget.note == atlas.note
        assert [(g["label"], tuple(g["members"])) for g in widget.groups] == [(g.label, g.members) for g in atlas.groups]
        assert widget.titles[3] == ["Work 3", "Nobody, 1903, landscape"]
        sheet = Image.open(io.BytesIO(bytes(widget.sprites)))
        for work, (x, y, width, height) in zip(atlas.corpus, widget.cells, strict=True):
            cut = np.asarray(sheet.crop((x, y, x + width, y + height)), dtype=float) / 255
            true = work.load(96)[0].permute(1, 2, 0).numpy()
            assert cut.shape == true.shape and np.abs(cut - true).mean() < 0.03

    def test_a_picker_changes_the_atlas_and_the_map(self, atlas, widget):
        before, revision = widget.points, widget.revision
        widget.set_state({"kind": "content", "colour_by": "genre"})
        assert widget.wait(PATIENCE) and (atlas.kind, atlas.colour_by) == ("content", "genre")
        assert widget.points != before and widget.revision > revision
        assert [group["label"] for group in widget.groups] == ["landscape", "portrait"]

    def test_what_a_script_changes_in_the_atlas_is_shown(self, atlas, widget):
        atlas.change(projection="tsne", colour_by="year")
        atlas.select(["work-04.png", "work-01.png"])
        assert widget.wait(PATIENCE) and widget.projection == "tsne" and widget.selected == [1, 4] and "t-SNE" in widget.note
        assert widget.message == "2 of 12 paintings selected"
        again = CorpusMap(atlas)  # as after a reload: nothing is lost
        assert (again.projection, again.colour_by, again.selected) == ("tsne", "year", [1, 4])

    def test_the_page_draws_presses_and_toggles(self, atlas, widget):
        (x0, y0), (x1, y1) = atlas.points.min(axis=0) - 1, atlas.points.max(axis=0) + 1
        widget.receive({"rectangle": [x0, y0, x1, y1], "add": False})
        assert widget.selected == list(range(12)) and widget.message == "12 of 12 paintings selected"
        widget.receive({"polygon": [[x0, y0], [x0 - 1, y0], [x0, y0 - 1]], "add": True})
        assert len(widget.selected) == 12
        widget.receive({"polygon": [[x0, y0], [x0 - 1, y0], [x0, y0 - 1]]})
        assert widget.selected == []
        widget.receive({"group": "cluster 2"})
        assert widget.selected == list(atlas.groups[1].members)
        widget.receive({"work": 3})
        widget.receive({"work": 7, "add": True})
        widget.receive({"toggle": 0})
        assert widget.selected == [0, 3, 7]
        widget.receive({"toggle": 3})
        assert widget.selected == [0, 7] and atlas.selected == names(atlas, 0, 7)
        widget.receive({"clear": True})
        assert widget.selected == [] and atlas.selected == () and widget.message == "0 of 12 paintings selected"

    @pytest.mark.parametrize(
        "message",
        [
            {},
            {"fly": 1},
            {"work": 12},
            {"toggle": -1},
            {"work": "x"},
            {"enlarge": None},
            {"group": "cluster 9"},
            {"group": ["x"]},
            {"rectangle": [0, 1]},
            {"rectangle": "abcd"},
            {"polygon": [[0, 0]]},
            {"polygon": 3},
            {"target": True},
        ],
    )
    def test_an_invalid_message_is_reported_and_changes_nothing(self, atlas, widget, message):
        widget.receive({"work": 5})
        before = widget.message
        widget.receive(message)
        assert widget.selected == [5] and widget.message != before and "\n" not in widget.message

    def test_places_outside_the_corpus_cannot_be_selected(self, atlas, widget):
        widget.selected = [7, 99, -1, 2, 7]
        assert widget.selected == [2, 7] and atlas.selected == names(atlas, 2, 7)

    def test_a_painting_is_sent_large_on_request(self, widget, monkeypatch):
        sent = []
        monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append((content, buffers)))
        widget.receive({"enlarge": 4})
        ((content, (data,)),) = sent
        assert content == {"enlarge": 4} and max(Image.open(io.BytesIO(data)).size) == 360

    def test_the_caller_is_free_while_paintings_are_measured(self, corpus):
        Slow.go.clear()
        widget = CorpusMap(Slow(corpus, np.eye(12)))
        assert widget.busy and widget.points == []
        widget.receive({"group": "cluster 1"})
        assert "being measured" in widget.message and widget.selected == []
        widget.receive({"work": 2})  # needs no map
        widget.colour_by = "genre"  # asked for meanwhile: one map is made in the end, and it is this one
        assert widget.busy
        Slow.go.set()
        assert widget.wait(PATIENCE) and not widget.busy and widget.selected == [2]
        assert [group["label"] for group in widget.groups] == ["landscape", "portrait"] and widget.revision == 1

    @pytest.mark.parametrize(
        ("error", "said"), [(UsageError("no such weights"), "no such weights"), (ValueError("x"), "ValueError: x")]
    )
    def test_a_failure_in_the_thread_is_reported_and_another_map_can_be_chosen(self, corpus, error, said, capsys):
        Slow.go.set()
        atlas = Slow(corpus, np.eye(12))
        atlas.error = error
        widget = CorpusMap(atlas)
        assert widget.wait(PATIENCE)
        points = widget.points
        widget.kind = "content"
        assert widget.wait(PATIENCE) and widget.message == said and not widget.busy and widget.points == points
        widget.kind = "style"
        assert widget.wait(PATIENCE) and widget.points == points
        assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ValueError)


class TestTargetOfAnExploration:
    """The selected works become the target."""

    def test_the_selection_becomes_the_target_of_an_exploration(self, atlas, trial):
        widget = CorpusMap(atlas, trial)
        assert widget.wait(PATIENCE) and widget.takes_target
        widget.receive({"target": True})
        assert "no work is selected" in widget.message and trial.choice.weights == ()
        widget.receive({"work": 3})
        widget.receive({"work": 8, "add": True})
        widget.receive({"target": True})
        assert dict(trial.choice.weights) == dict.fromkeys(names(atlas, 3, 8), 1.0) and trial.target().weights == (0.5, 0.5)
        assert widget.message == "the target is now 2 paintings, evenly"

    def test_works_that_the_exploration_lacks_cannot_become_its_target(self, atlas, trial, two_styles, tmp_path):
        shutil.copytree(two_styles, tmp_path / "other")
        widget = CorpusMap(atlas, trial)
        widget.selected = [0, 1]
        for changes, said in (
            ({"genre": "portrait"}, "1 of the selected"),
            ({"genre": "", "exclude": ("work-00.png", "work-01.png")}, "2 of the selected"),
            ({"corpus": str(tmp_path / "other")}, "choose the same folder"),
        ):
            trial.change(**changes)
            widget.receive({"target": True})
            assert said in widget.message and trial.choice.weights == ()
        with pytest.raises(UsageError, match="no exploration"):
            lonely = CorpusMap(atlas)
            lonely.make_target()


class TestSizeOnThePage:
    """A page stays small, however large the corpus."""

    def test_two_hundred_paintings_are_small_enough_for_a_page(self, tmp_path):
        generator = np.random.default_rng(0)
        for i in range(200):  # noise is the hardest there is to compress
            Image.fromarray(generator.integers(0, 256, (72, 96, 3), dtype=np.uint8)).save(tmp_path / f"{i:03}.png")
        atlas = Placed(ingest(tmp_path), generator.normal(size=(200, 16)), colour_by="year")
        widget = CorpusMap(atlas)
        assert widget.wait(PATIENCE)
        atlas.select(work.name for work in atlas.corpus)
        state = widget.get_state()
        size = sum(len(value) if isinstance(value, bytes | memoryview) else len(repr(value)) for value in state.values())
        assert len(state["sprites"]) > 10_000 and size < 1_500_000

    def test_a_large_corpus_has_smaller_thumbnails(self, corpus):
        many = corpus.works * 100
        data, cells = sprites(many)
        width, height = Image.open(io.BytesIO(data)).size
        assert len(cells) == 1200 and max(max(cell[2:]) for cell in cells) == 39
        assert all(x + w <= width and y + h <= height for x, y, w, h in cells) and len({(x, y) for x, y, _, _ in cells}) == 1200


class TestScript:
    """The page loads nothing from a network."""

    def test_it_has_no_address_and_no_import(self):
        code = (Path(lab.__file__).parent / "corpus_map.js").read_text()
        assert "http" not in code and "import " not in code
