import gzip
import json
import runpy
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from workbench import encoders, images, metrics, study
from workbench.cli import main
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.metrics.log_odds import depth
from workbench.study import Artist, Cell, Content, Measures, Study, registration, summary, validation, ways
from workbench.study.registration import Contrast, Design, Registration, register
from workbench.transfer import Settings

SMALL = Settings(method="gram", size=64, steps=2, plateau=0)
METHODS = ("single", "random", "nearest", "blend", "regions", "wrong", "wrong:whole")


@pytest.fixture(scope="module")
def artists(tmp_path_factory):
    """Two artists of nine small pictures each: warm stripes, which are portraits, and cool dots, which are landscapes."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    found = []
    for name, genre, tint in (("warm", "portrait", (0.8, 0.4, 0.2)), ("cool", "landscape", (0.2, 0.4, 0.8))):
        folder = tmp_path_factory.mktemp("artists") / name
        folder.mkdir()
        for i in range(9):
            a, b = generator.uniform(0, 6, 2)
            pattern = np.sin((x + y) * 0.7 + a) if name == "warm" else np.sin(x * 1.1 + a) * np.sin(y * 1.1 + b)
            pixels = (pattern[..., None] * 0.2 + np.array(tint) + generator.uniform(-0.1, 0.1, 3)).clip(0, 1) * 255
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        rows = "".join(f"{i}.png,{name},{genre}\n" for i in range(9))
        (folder / "metadata.csv").write_text("file_name,artist,genre\n" + rows)
        found.append(Artist(ingest(folder), "0.png"))
    return found


@pytest.fixture(scope="module")
def contents(artists):
    stripes, dots = (artist.corpus.works[1].load(64).flip(3) for artist in artists)
    return [Content("stripes", "portrait", stripes), Content("dots", "landscape", dots)]


@pytest.fixture(scope="module")
def small(artists, contents, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return Study(contents, artists, METHODS, encoder, SMALL, seeds=(0, 1), folder=folder)


@pytest.fixture(scope="module")
def judge():
    return encoders.load("random", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def measured(small, judge, artists, tmp_path_factory):
    others = {artist.name: artist.corpus.works for artist in artists}
    measures = Measures(small, judge, others=others, file=tmp_path_factory.mktemp("table") / "results.csv")
    return measures, measures.results()


class TestDesign:
    def test_the_design_is_crossed(self, small):
        cells = list(small)
        assert len(cells) == len(set(cells)) == len(small) == 2 * 2 * len(METHODS) * 2
        assert {(c.artist, c.content, c.method, c.seed) for c in cells} == {
            (a, c, m, s) for a in ("warm", "cool") for c in ("stripes", "dots") for m in METHODS for s in (0, 1)
        }

    @pytest.mark.slow
    def test_no_method_sees_what_is_held_out(self, small):
        for cell in small:
            target = small.target(cell)
            for artist in small.artists:
                held_out = {work.sha256 for work in small.splits[artist, cell.seed][1]}
                assert not held_out & {work.sha256 for work in target.works}
            bank = {work.sha256 for work in small.splits[cell.artist, cell.seed][0]}
            assert cell.method.startswith("wrong") != {work.sha256 for work in target.works}.issubset(bank)

    def test_the_single_painting_and_its_series_stay_to_be_seen(self, two_styles):
        corpus = ingest(two_styles)
        series = ["a", "a", "b", "b", "c", "c", *"defg", ""]
        works = tuple(replace(w, metadata={**w.metadata, "series": name}) for w, name in zip(corpus, series, strict=False))
        for seed in range(5):
            bank, held_out = Artist(replace(corpus, works=works), "work-05.png").split(seed)
            assert {"work-04.png", "work-05.png"} <= {work.name for work in bank}
            assert len(bank) + len(held_out) == 11 and 4 <= len(held_out) <= 5
            assert {work.series for work in bank}.isdisjoint(work.series for work in held_out if work.series)

    @pytest.mark.parametrize("series", ["series-0", "series-2"])
    def test_a_corpus_too_small_to_hold_works_out_is_refused(self, two_styles, series):
        corpus = ingest(two_styles)
        with pytest.raises(UsageError, match="too small for a study"):
            Artist(corpus.select(series=series), "work-00.png" if series == "series-0" else "work-08.png").split(0)
        with pytest.raises(UsageError, match="too small for a study"):
            Artist(corpus, "work-00.png").split(0)  # three series: one is held out

    def test_seeds_hold_out_other_works_and_draw_other_paintings(self, artists, contents, encoder):
        many = Study(contents, artists, ["random"], encoder, SMALL, seeds=range(8))
        assert len({tuple(w.name for w in many.splits["warm", seed][1]) for seed in many.seeds}) > 3
        assert len({many.target(cell).works[0].name for cell in many if cell.artist == "warm"}) > 2

    def test_what_is_painted_is_not_painted_again_and_is_the_same(self, small):
        cell = Cell("warm", "stripes", "nearest", 0)
        first = small.picture(cell)
        (kept,) = small.folder.glob("warm_stripes_0_gram_nearest_*.png")
        written = kept.stat().st_mtime_ns
        assert torch.equal(small.picture(cell), first) and kept.stat().st_mtime_ns == written

    def test_results_become_items_of_a_blind_study(self, small):
        cell = Cell("warm", "stripes", "nearest", 0)
        item = small.item(cell)
        assert (item.method, item.artist, item.content, item.seed) == ("nearest", "warm", "stripes", 0)
        assert torch.equal(images.load(item.picture), small.picture(cell))

    def test_a_target_is_studied_by_both_methods_beside_each_other(self, artists, contents, encoder, tmp_path):
        settings = replace(SMALL, method="neighbours", steps=4)
        methods = ("gram:blend", "blend", "blend/barycentre", "gram:single", "random")
        both = Study(contents[:1], artists, methods, encoder, settings, seeds=(0,), folder=tmp_path)
        cells = {cell.method: cell for cell in both if cell.artist == "warm"}
        ways = {method: both.settings_of(cell) for method, cell in cells.items()}
        assert {method: way.method for method, way in ways.items()} == {
            "gram:blend": "gram",
            "blend": "neighbours",
            "blend/barycentre": "gram",
            "gram:single": "gram",
            "random": "neighbours",
        }
        chosen = {method: both.target(cell) for method, cell in cells.items()}
        assert chosen["gram:blend"] == chosen["blend"] and chosen["blend"].label == "blend"
        assert chosen["blend/barycentre"].label == "blend-barycentre" and chosen["gram:single"].works[0].name == "0.png"
        pictures = [both.picture(cells[method]) for method in ("gram:blend", "blend")]
        assert (pictures[0] - pictures[1]).abs().max() > 0.02
        kept = sorted(path.name.rpartition("_")[0] for path in tmp_path.iterdir())
        assert kept == ["warm_stripes_0_gram_blend", "warm_stripes_0_neighbours_blend"]
        items = [both.item(cells[method]) for method in ("gram:blend", "blend")]
        assert [item.method for item in items] == ["gram:blend", "blend"] and items[0].picture != items[1].picture

    @pytest.mark.slow
    def test_any_registered_method_can_be_studied(self, artists, contents, encoder, judge, tmp_path):
        """Colour transfer alone, which has no steps, beside two methods that have."""
        names = ("colours:blend", "gram:single", "blend")
        three = Study(contents[:1], artists, names, encoder, replace(SMALL, method="neighbours"), seeds=(0,), folder=tmp_path)
        cells = {cell.method: cell for cell in three if cell.artist == "warm"}
        assert {name: three.settings_of(cell).method for name, cell in cells.items()} == {
            "colours:blend": "colours", "gram:single": "gram", "blend": "neighbours",
        }  # fmt: skip
        three.paint([cells["blend"]])
        assert [path.name.rpartition("_")[0] for path in tmp_path.iterdir()] == ["warm_stripes_0_neighbours_blend"]
        three.paint()
        picture = three.picture(cells["colours:blend"])
        assert picture.shape == three.content_picture(cells["blend"]).shape
        bank = three.splits["warm", 0][0]
        means = torch.stack([work.load(64).mean(dim=(2, 3)) for work in bank])
        content = three.content_picture(cells["blend"])
        distance = [(p.mean(dim=(2, 3)) - means.mean(dim=0)).norm() for p in (picture, content)]
        assert distance[0] < distance[1]
        assert three.item(cells["colours:blend"]).method == "colours:blend"
        table = Measures(three, judge).results()
        assert set(names) <= set(table["method"]) and "colours:blend" in summary.means(table, "leak", "warm")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"methods": ["nonsense"]}, "nonsense"),
            ({"methods": ["grm:blend"]}, "did you mean gram"),
            ({"methods": ["neighbours:blend/softmin"]}, "gram"),
            ({"methods": []}, "at least one method"),
            ({"methods": ["regions/patches"]}, "regions"),
            ({"contents": []}, "at least one content"),
        ],
    )
    def test_what_does_not_go_together_is_refused_before_anything_is_painted(self, artists, contents, encoder, change, message):
        given = {"contents": contents, "artists": artists, "methods": ["single"], **change}
        with pytest.raises(UsageError, match=message):
            Study(given["contents"], given["artists"], given["methods"], encoder, SMALL)

    def test_names_that_are_given_twice_and_a_lone_artist_beside_wrong_are_refused(self, artists, contents, encoder):
        with pytest.raises(UsageError, match="one name"):
            Study([contents[0], contents[0]], artists, ["single"], encoder, SMALL)
        with pytest.raises(UsageError, match="second artist"):
            Study(contents, artists[:1], ["wrong"], encoder, SMALL)

    def test_what_is_drawn_is_another_work_in_every_draw_and_never_the_single_painting(self, artists, contents, encoder):
        many = Study(contents, artists, ["random", "random-blend", "blend"], encoder, SMALL, seeds=range(4), draws=5)
        drawn = [many.target(cell).works[0].name for cell in many if cell.method == "random" and cell.artist == "warm"]
        assert len(drawn) == 4 * 2 * 5 and len(set(drawn)) > 3 and "0.png" not in drawn
        assert len(many) == 2 * 4 * 2 * (5 + 5 + 1)
        assert all("0.png" not in {w.name for w in many.target(c).works} for c in many if c.method == "random-blend")

    def test_a_blend_of_random_works_has_the_weights_of_the_blend_and_not_its_works(self, artists, contents, encoder):
        both = Study(contents, artists, ["blend", "random-blend"], encoder, SMALL, seeds=(0,), draws=5)
        cell = Cell("warm", "stripes", "random-blend", 0)
        right = both.target(cell.by("blend"))
        drawn = [both.target(one) for one in both.repeats(cell)]
        kept = len(drawn[0].weights)  # the single painting is not drawn, so that one may be missing
        assert kept >= len(right.weights) - 1
        assert drawn[0].weights == pytest.approx(np.array(right.weights[:kept]) / sum(right.weights[:kept]))
        assert len({target.works for target in drawn}) > 2

    def test_so_many_nearest_works_count_evenly_and_another_retriever_may_find_them(self, artists, contents, encoder):
        names = ("nearest", "nearest-2", "gram:nearest-4", "nearest-2@embedded", "neighbours:nearest-3")
        near = Study(contents, artists, names, encoder, SMALL, seeds=(0,))
        cell = Cell("warm", "stripes", "nearest-2", 0)
        found = near.target(cell)
        assert found.weights == (0.5, 0.5) and near.target(cell.by("nearest")).works[0] in found.works
        selection = near.selection("warm", "stripes", 0)
        best = np.argsort(-selection.similarities)[:4]
        assert set(near.target(cell.by("gram:nearest-4")).works) == {selection.corpus.works[i] for i in best}
        assert near.settings_of(cell.by("neighbours:nearest-3")).method == "neighbours"
        other = near.selection("warm", "stripes", 0, "embedded")
        assert (selection.retriever.name, other.retriever.name) == ("lite0", "embedded")
        best = np.argsort(-other.similarities)[:2]
        assert set(near.target(cell.by("nearest-2@embedded")).works) == {other.corpus.works[i] for i in best}

    def test_every_method_has_a_counterpart_after_the_wrong_artist_rated_against_the_right_one(self, small):
        for method in ("wrong", "wrong:whole", "wrong:gram:blend/barycentre"):
            cell = Cell("warm", "stripes", method, 0)
            assert {work.artist for work in small.target(cell).works} == {"cool"}
            assert {work.artist for work in small.sources(cell)} == {"warm"}
        right = small.sources(Cell("warm", "stripes", "regions", 0))
        assert small.sources(Cell("warm", "stripes", "wrong:regions", 0)) == right
        assert small.target(Cell("warm", "stripes", "wrong:gram:blend/barycentre", 0)).combine == "barycentre"

    def test_an_artist_may_be_studied_in_one_genre_alone(self, artists, contents, encoder):
        warm, cool = (artist.corpus for artist in artists)
        corpus = replace(warm, works=warm.works + cool.works)
        painter = Artist(corpus, "0.png", ("seascape",))
        assert painter.corpus.works == cool.works  # landscapes, one family with seascapes
        alone = Study(contents, [painter], ["single"], encoder, SMALL, seeds=(0,))
        assert [cell.content for cell in alone] == ["dots"]
        with pytest.raises(UsageError, match="no work of the genre animal"):
            Artist(corpus, "0.png", ("animal",))

    def test_a_network_that_learnt_from_works_that_are_held_out_is_refused(self, corpus, contents, encoder, network):
        works = tuple(replace(w, metadata={k: v for k, v in w.metadata.items() if k != "series"}) for w in corpus)
        painter = Artist(replace(corpus, works=works), "work-00.png")
        with pytest.raises(UsageError, match=r"works of .* that it learnt from"):
            Study(contents, [painter], [f"{network}:whole"], encoder, SMALL, seeds=(0,))
        named = str(network.with_stem("{artist}"))
        network.with_stem(painter.name).write_bytes(network.read_bytes())
        with pytest.raises(UsageError, match=r"works of .* that it learnt from"):
            Study(contents, [painter], [f"{named}:whole"], encoder, SMALL, seeds=(0,))

    def test_content_weights_multiply_only_the_cells_of_methods_that_heed_them(self, artists, contents, encoder):
        several = Study(contents, artists, ["single", "colours:blend"], encoder, SMALL, seeds=(0,), alphas=(0.03, 0.08, 0.24))
        cell = Cell("warm", "stripes", "single", 0)
        assert [several.settings_of(one).alpha for one in several.repeats(cell)] == [0.03, 0.08, 0.24]
        assert len(list(several.repeats(cell.by("colours:blend")))) == 1 and len(several) == 2 * 2 * 4
        assert several.settings_of(several.middle(cell)).alpha == 0.08
        for wrong in ((0.1, 0.1), (0.2, 0.1), (0.0, 0.1)):
            with pytest.raises(UsageError, match="content weights"):
                Study(contents, artists, ["single"], encoder, SMALL, alphas=wrong)

    @pytest.mark.parametrize("words", ["wrong:random", "nearest-0", "blend@nothing", "wrong:nonsense", "nearest-2/bags"])
    def test_ways_that_do_not_exist_are_refused(self, artists, contents, encoder, words):
        with pytest.raises(UsageError):
            Study(contents, artists, [words], encoder, SMALL)

    def test_ways_are_what_their_words_say(self):
        way = ways.parse("wrong:gram:blend/barycentre@embedded")
        assert (way.wrong, way.method, way.choice, way.combine, way.retriever) == (
            True, "gram", "blend", "barycentre", "embedded",
        )  # fmt: skip
        assert way.words == "gram:blend/barycentre" and ways.parse("wrong").words == ways.parse("random-blend").words == "blend"
        assert ways.parse("nearest-12").number == 12 and ways.parse("random").target == "single"


def made_up(curves, contents=8, generator=None, **columns):
    """A table of results: method -> (content distance at every content weight, leak as a function of its logarithm)."""
    generator = generator or np.random.default_rng(0)
    rows = []
    for content in range(contents):
        shift = generator.normal()
        for method, (distances, leak) in curves.items():
            for seed in (0, 1):
                for level, distance in enumerate(distances):
                    row = {"artist": "a", "content": f"c{content}", "method": method, "seed": seed, "judge": "j"}
                    row |= {"level": level, "draw": 0, "content_distance": distance, "alpha": 0.1, "key": ""}
                    rows.append(row | {"leak": leak(np.log(distance)) + shift, "place": 0.9, "depth": 0.2, **columns})
    return pd.DataFrame(rows)


class TestMeasures:
    @pytest.mark.slow
    def test_there_is_one_row_per_result_and_every_control_beside_it(self, small, measured):
        _, table = measured
        results = table[table["method"].isin(METHODS)]
        assert len(results) == len(small)
        for split, rows in table.groupby(["artist", "seed"]):
            assert split in small.splits and set(METHODS) | {"content", "real"} <= set(rows["method"])
        assert (results["content_distance"] >= 0).all() and results["odds"].notna().all()
        cell = next(iter(small))
        driven = metrics.content_distance(small.picture(cell), small.contents[cell.content].picture, small.encoder)
        assert results["content_distance"].iloc[0] == pytest.approx(driven)  # whoever judges
        assert (results["place"].isna() == (results["compared_with"] == "")).all() and (table["registration"] == "").all()
        content = table[table["method"] == "content"]
        assert content["content_distance"].to_numpy() == pytest.approx(0, abs=1e-9)

    @pytest.mark.slow
    def test_the_table_is_tidy_and_measured_once(self, measured):
        measures, table = measured
        pd.testing.assert_frame_equal(study.read_table(measures.file), table, rtol=1e-5, check_dtype=False)
        again = Measures(measures.study, measures.judge, others=measures.others, file=measures.file)
        (key,) = table[(table["method"] == "blend") & (table["artist"] == "warm") & (table["seed"] == 0)]["key"][:1]
        marked = study.read_table(measures.file)
        marked.loc[marked["key"] == key, "distance"] = 42.0  # what no measurement gives
        study.write_table(measures.file, marked)
        assert again.results().set_index("key").loc[key, "distance"] == 42
        study.write_table(measures.file, table)

    def test_what_another_run_measured_is_not_painted_again(self, measured, tmp_path):
        measures, table = measured
        packed = tmp_path / "results.csv.gz"
        packed.write_bytes(gzip.compress(measures.file.read_bytes()))
        elsewhere = copy(measures.study)
        elsewhere.folder = tmp_path / "pictures"
        again = Measures(elsewhere, measures.judge, others=measures.others, earlier=packed, file=tmp_path / "results.csv")
        pd.testing.assert_frame_equal(again.results(), table, rtol=1e-5, check_dtype=False)
        assert not elsewhere.folder.exists() and len(study.read_table(again.file)) == len(table)

    @pytest.mark.slow
    def test_distance_and_percentile_are_for_what_comes_from_one_painting(self, measured):
        """An average of anything is near to everything, so that it has none."""
        _, table = measured
        known = table.dropna(subset=["percentile"])
        assert set(known["method"]) == {"single", "random", "nearest", "content", "real"}
        assert known["percentile"].between(0, 1).all() and (known["distance"] > 0).all()
        averaging = table["method"].isin(["blend", "regions", "wrong", "wrong:whole"])
        assert table.loc[averaging, ["distance", "percentile", "p"]].isna().all(axis=None)

    @pytest.mark.slow
    def test_every_result_has_its_negative_controls_in_its_row(self, measured):
        _, table = measured
        results = table[table["method"].isin(METHODS)]
        controls = results[["leak_content", "leak_unrelated"]]
        assert controls.notna().all(axis=None) and (controls.mean().abs() < 0.06).all()
        wrong = results[results["method"].isin(["wrong", "wrong:whole"])]
        assert wrong["leak"].notna().all() and abs(wrong["leak"].mean()) < 0.06
        assert (results["leak"] - (results["leak_rate"] - results["leak_expected"])).abs().max() < 1e-9
        blends = results[results["method"].isin(["blend", "wrong"])].set_index(["artist", "content", "seed", "method"])[
            "sources"
        ]
        assert (blends.xs("blend", level="method") == blends.xs("wrong", level="method")).all()

    def test_what_was_pasted_leaks_and_the_leak_is_that_of_the_margin(self, small, judge):
        measures = Measures(small, judge)
        cell = Cell("warm", "dots", "single", 0)
        content = small.content_picture(cell)
        pasted = content.clone()
        pasted[..., 8:40, 16:48] = small.artists["warm"].corpus.find("0.png").load(64)[..., 8:40, 16:48]
        row, untouched = (measures.row(cell, "single", picture) for picture in (pasted, content))
        assert row["leak"] > 0.05 + untouched["leak"] and row["sources"] == 1
        assert row["leak"] == measures.leak(cell, pasted).excess and abs(row["leak_unrelated"]) < 0.05

    def test_the_probe_learns_from_nothing_that_a_method_saw(self, measured, small):
        measures, _ = measured
        for (artist, seed), (bank, held_out) in small.splits.items():
            odds = measures.odds_of(artist, seed)
            learnt = {work.sha256 for work in (*odds.works, *odds.others)}
            assert not learnt & {work.sha256 for work in bank} and {work.sha256 for work in held_out} <= learnt

    def test_log_odds_of_averages_are_those_of_single_works_and_photographs_do_not_become_paintings(self, small, judge, corpus):
        """By distance, averages of photographs would seem more typical than works."""
        others = {"cool": small.artists["cool"].corpus.works}
        photographs = [replace(w, metadata={}) for w in corpus.works[1::2]]  # dots, as little his as photographs are
        table = Measures(small, judge, others=others, photographs=photographs, registration="abc").averages()
        assert (table["registration"] == "abc").all()
        found = table[table["artist"] == "warm"].groupby(["averaged", "count"])[["odds", "place"]].mean()
        assert found.loc[("his works", 5), "odds"] == pytest.approx(found.loc[("his works", 1), "odds"], abs=0.3)
        assert found.loc[("his works", 5), "odds"] > 0 > found.loc["other artists", "odds"].max()
        assert found.loc["photographs", "place"].max() < 0.2

    def test_the_tables_that_are_committed_can_be_read(self):
        root = Path(__file__).parents[1]
        for path in [*root.glob("figures/evidence/*.csv"), *root.glob("figures/*.csv"), *root.glob("benchmarks/*.csv")]:
            table = study.read_table(path)
            numbers = table.drop(columns=[name for name in table if table[name].dtype.kind not in "if"])
            assert len(table) > 0 and numbers.shape[1] > 0, path

    def test_a_table_keeps_texts_numbers_and_gaps(self, tmp_path):
        rows = [{"key": "0123", "seed": 1, "leak": 0.25}, {"key": "", "seed": 2}, {"key": "1e5", "seed": 3, "leak": 1 / 3}]
        study.write_table(tmp_path / "t.csv", rows)
        read = study.read_table(tmp_path / "t.csv")
        assert read["key"].tolist() == ["0123", "", "1e5"] and read["seed"].tolist() == [1, 2, 3]
        assert read["leak"].tolist() == pytest.approx([0.25, float("nan"), 0.333333], nan_ok=True)

    def test_the_table_does_not_serve_rows_of_another_picture(self, measured, monkeypatch):
        measures, _ = measured
        cell = Cell("warm", "dots", "single", 0)
        picture = measures.study.picture(cell)
        assert measures.row(cell, "single", picture)["key"] != measures.row(cell, "single", picture * 0.9)["key"]

    @pytest.mark.slow
    def test_sets_have_a_row_for_every_method_and_split(self, small, measured, contents):
        measures, _ = measured
        assert measures.sets().empty  # of every pair of contents only one shows what the artist painted
        both = [
            replace(c, genre=g) for g in ("portrait", "landscape") for c in [*contents, replace(contents[0], name=f"{g} two")]
        ]
        both = [replace(c, name=f"{c.name} {c.genre}") for c in both]
        wide = Study(
            both, list(small.artists.values()), ("single", "blend"), small.encoder, SMALL, seeds=(0,), folder=small.folder
        )
        measures = Measures(wide, measures.judge, others=measures.others)
        table = measures.sets()
        assert table[table["artist"] == "warm"]["method"].tolist()[:3] == ["content", "single", "blend"]
        for name in ("kid_p", "mmd_p", "variety_p", "coverage", "coverage_expected"):
            assert table[name].between(0, 1).all()
        assert (table["fid_components"] == 1).all() and (table["results"] >= 2).all() and (table["density"] >= 0).all()

    def test_a_judge_that_made_the_pictures_is_named_as_such(self, small, encoder, judge):
        assert Measures(small, judge).judged_by() == "judged by random"
        assert Measures(small, encoder).judged_by() == "judged by embedded, which also drove the transfers"

    def test_a_judge_that_does_not_pass_the_gate_is_named_as_such(self, measured, monkeypatch):
        measures, _ = measured
        words = measures.judged_by("warm")
        assert words.endswith("it did not pass the gate") == (not measures.gate.passed("warm"))

    @pytest.mark.slow
    def test_an_interrupted_table_keeps_what_was_measured(self, small, judge, tmp_path, monkeypatch):
        file = tmp_path / "results.csv"
        measures = Measures(small, judge, file=file)
        row, seen = measures.measured, []

        def until_tired(cell, method, picture):
            if len(seen) > 2 * len(METHODS) + 3:
                raise KeyboardInterrupt
            seen.append(method)
            return row(cell, method, picture)

        monkeypatch.setattr(measures, "measured", until_tired)
        with pytest.raises(KeyboardInterrupt):
            measures.results()
        kept = set(study.read_table(file)["key"]) - {""}
        assert len(kept) >= 2 * (len(METHODS) + 1) - 1
        again = Measures(small, judge, file=file)
        monkeypatch.setattr(again, "measured", until_tired)
        with pytest.raises(KeyboardInterrupt):
            again.results()
        assert kept <= set(study.read_table(file)["key"])

    def test_rows_know_what_decides_them(self, measured, small):
        measures, _ = measured
        cell, picture = Cell("warm", "stripes", "single", 0), "the hash of its pixels"
        key = measures._key(cell, "single", picture, ())
        assert measures._key(cell, "single", picture, small.sources(cell)) != key
        assert replace(measures, photographs=small.splits["warm", 0][0].works)._key(cell, "single", picture, ()) != key
        bank, held_out = small.splits["warm", 0]
        works = tuple(replace(work, metadata={**work.metadata, "genre": "animal"}) for work in held_out)
        small.splits["warm", 0] = (bank, replace(held_out, works=works))
        assert measures._key(cell, "single", picture, ()) != key
        small.splits["warm", 0] = (bank, held_out)
        assert measures._key(cell, "single", picture, ()) == key

    def test_contents_are_no_controls_of_themselves(self, small, judge, artists):
        work = artists[1].corpus.works[2]
        inside = Study([Content("a", "portrait", work.load(64), work.sha256)], artists, ["single"], small.encoder, SMALL)
        measures = Measures(inside, judge, others={"cool": artists[1].corpus.works})
        assert work not in measures.others["cool"] and len(measures.others["cool"]) == 8


def same(log):
    return 0.3 - 0.1 * log


def flatter(log):
    return 0.1 - 0.05 * log


class TestContentDistance:
    def test_methods_of_one_law_do_not_differ_at_whatever_weights_they_were_painted(self):
        """One was painted with larger content weights than the other: raw leaks differ, and at one distance they do not."""
        table = made_up(
            {"nearest": ((0.1, 0.2, 0.4), same), "random": ((0.15, 0.3, 0.6), same), "blend": ((0.1, 0.3, 0.5), flatter)}
        )
        raw = table.groupby("method")["leak"].mean()
        assert raw["nearest"] > raw["random"] + 0.03
        found = summary.levelled(table)
        assert len(found) == 8 * 2 * 3 and (found["at"] == "common").all()
        middle = np.sqrt(0.15 * 0.4)  # of the range that all reach, on a log scale
        assert found["content_distance"].to_numpy() == pytest.approx(middle)
        means = {m: i.mean for m, i in summary.means(found, "leak", "a").items()}
        assert means["nearest"] == pytest.approx(means["random"])
        assert means["blend"] - means["random"] == pytest.approx(
            np.interp(np.log(middle), np.log([0.1, 0.3, 0.5]), flatter(np.log([0.1, 0.3, 0.5]))) - same(np.log(middle))
        )

    def test_what_is_not_reached_is_left_out_and_not_extrapolated(self):
        table = made_up({"one": ((0.1, 0.2, 0.4), same), "two": ((0.12, 0.3), same), "far": ((0.8, 0.9), same)})
        found = summary.levelled(table, by=("one", "two"))
        assert set(found.loc[found["method"] == "far", "at"]) == {"not reached"}
        assert found.loc[found["method"] == "far", "leak"].isna().all()
        assert (found.loc[found["method"] != "far", "at"] == "common").all()
        assert "far" not in summary.means(found, "leak", "a")
        apart = summary.levelled(table, by=("one", "far"))  # no common range: the median of what they have
        assert apart.dropna(subset=["leak"])["content_distance"].to_numpy() == pytest.approx(
            np.exp(np.median(np.log([0.1, 0.2, 0.4, 0.8, 0.9])))
        )

    def test_a_method_without_a_weight_keeps_its_own_distance_and_controls_are_no_cells(self):
        table = made_up({"one": ((0.1, 0.4), same), "colours": ((0.02,), same)})
        control = pd.DataFrame([{"artist": "a", "content": "w", "method": "real", "seed": 0, "judge": "j", "place": 0.5}])
        found = summary.levelled(pd.concat([table, control]))
        assert found.loc[found["method"] == "colours", "content_distance"].to_numpy() == pytest.approx(0.02)
        assert (found["method"] == "real").sum() == 1 and set(found["at"]) == {"common", "its own"}

    def test_depth_is_that_of_the_place_at_this_distance(self):
        assert depth([0, 0.25, 0.5, 0.9, 1]) == pytest.approx([0, 0.5, 1, 0.2, 0])
        table = made_up({"one": ((0.1, 0.4), same)})
        table["place"] = np.where(table["level"] == 0, 0.2, 0.8)
        assert summary.levelled(table)["depth"].to_numpy() == pytest.approx(1)  # and not the .4 of both ends


class TestSummary:
    def test_means_have_intervals_over_contents_and_none_of_three(self):
        wide, few = (summary.means(made_up({"m": ((0.1,), same)}, n), "leak", "a")["m"] for n in (8, 3))
        assert wide.low < wide.mean < wide.high and np.isnan([few.low, few.high]).all() and np.isfinite(few.mean)

    def test_draws_are_averaged(self):
        table = made_up({"random": ((0.1,), same)})
        table = pd.concat([table, table.assign(draw=1, leak=table["leak"] + 1)])
        mean = summary.means(table, "leak", "a")["random"].mean
        assert mean == pytest.approx(table["leak"].mean()) and summary.arrays(table, "leak", "a")["random"].shape == (8, 2)

    def test_the_order_of_rows_does_not_matter(self):
        table = made_up({"m": ((0.1,), same)})
        one, other = (summary.means(found, "leak", "a")["m"] for found in (table, table[::-1]))
        assert (one.mean, one.low) == pytest.approx((other.mean, other.low))

    def test_the_table_has_means_and_no_tests(self):
        table = summary.table(made_up({"m": ((0.1,), same), "n": ((0.1,), same)}, registration="abc"), ["leak", "absent"])
        assert table["method"].tolist() == ["m", "n"] and (table["registration"] == "abc").all()
        assert (table["contents"] == 8).all() and not [name for name in table if name.endswith(("_p", "p_holm"))]


def fixed(*contrasts):
    return Registration({}, tuple(Contrast("a", *one) for one in contrasts), {})


class TestContrasts:
    def test_all_that_was_registered_is_one_family_and_nothing_else_is_tested(self):
        table = made_up({"blend": ((0.1,), lambda log: 0.5), "random": ((0.1,), lambda log: 0.0), "other": ((0.1,), same)})
        registered = fixed(("leak", "blend", "random"), ("depth", "blend", "random"))
        found = summary.contrasts(table, registered, {"a": True})
        assert found["endpoint"].tolist() == ["leak", "depth"] and set(found["first"]) == {"blend"}
        assert found["less"][0] == pytest.approx(0.5) and found["p"][0] == pytest.approx(2 / 2**8)
        assert found["p_holm"][0] == pytest.approx(2 * 2 / 2**8) and (found["registration"] == registered.sha256).all()
        assert found["contents"].tolist() == [8, 8] and found["left_out"].tolist() == [0, 0] and found["judge_passed"].all()

    def test_a_contrast_without_a_value_keeps_its_place_in_the_family(self):
        table = made_up({"blend": ((0.1,), lambda log: 0.5), "random": ((0.1,), lambda log: 0.0)}).assign(depth=np.nan)
        registered = fixed(("leak", "blend", "random"), ("depth", "blend", "random"))
        found = summary.contrasts(table, registered, {"a": False})
        assert found["p_holm"][0] == pytest.approx(2 * 2 / 2**8) and np.isnan(found["p_holm"][1])
        assert found["left_out"].tolist() == [0, 8] and not found["judge_passed"].any()

    def test_other_judges_are_counted_where_they_passed_and_agree_by_the_sign(self):
        table = made_up({"blend": ((0.1,), lambda log: 0.5), "random": ((0.1,), lambda log: 0.0)})
        less = table.assign(leak=-table["leak"], judge="second")
        nothing = table.assign(leak=np.nan, judge="third")
        registered = fixed(("leak", "blend", "random"))
        others = [(table, {"a": True}), (less, {"a": True}), (nothing, {"a": True}), (less, {"a": False})]
        found = summary.contrasts(table, registered, {"a": True}, others)
        assert found["judges"].tolist() == [3] and found["agree"].tolist() == [1]
        alone = summary.contrasts(table, registered, {"a": True})
        assert alone["judges"].tolist() == [0] and alone["p"].tolist() == found["p"].tolist()


@pytest.fixture(scope="module")
def asked(artists, tmp_path_factory):
    """A design in plain values, and the file it is read from."""
    folder = tmp_path_factory.mktemp("asked")
    for i in range(5):
        picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(i))
        images.save(picture, folder / f"photograph-{i}.png")
    rows = "".join(f"photograph-{i}.png,{'portrait' if i else 'landscape'}\n" for i in range(5))
    (folder / "metadata.csv").write_text("file_name,genre\n" + rows)
    given = {
        "contents": [str(folder / f"photograph-{i}.png") for i in range(5)],
        "corpora": [str(artist.corpus.root) for artist in artists],
        "singles": ["0.png", "0.png"],
        "methods": ["random", "random-blend", "blend"],
        "size": 64,
        "steps": 2,
        "pictures": "anywhere",
    }
    (folder / "design.json").write_text(json.dumps(given))
    return folder / "design.json"


class TestRegistration:
    def test_it_fixes_endpoints_contrasts_exclusions_and_power(self, asked):
        design = Design.read(asked)
        study = design.study()
        made = register(study, design)
        assert {name: one.genre for name, one in study.contents.items()}["photograph-0"] == "landscape"  # from metadata.csv
        assert len(made.contrasts) == 2 * 2 * 2 and made.compared == ("blend", "random", "random-blend")
        assert set(made.endpoints) == {"depth", "leak"} and made.exclusions == registration.EXCLUSIONS
        assert made.power["tests"] == 8 and made.power["visible"]["warm"] == {"contents": 5, "standard_deviations": None}
        text = made.text
        assert str(asked.parent) not in text and text == register(design.study(), design).text

    def test_power_is_that_of_the_contents_and_the_family(self, asked, monkeypatch):
        design = replace(Design.read(asked), contrasts=["blend - random"], confirmed=["warm"], spread=["leak=0.2"])
        study = design.study()
        monkeypatch.setattr(study, "contents_of", lambda artist: [f"{i}" for i in range(40)])
        seen = register(study, design).power["visible"]
        effect = registration.smallest_effect(1, 40, alpha=0.05 / 2)
        assert seen == {
            "warm": {
                "contents": 40,
                "standard_deviations": pytest.approx(effect, rel=1e-3),
                "leak": pytest.approx(effect / 5, rel=1e-3),
            }
        }

    def test_the_file_is_read_as_it_was_written_and_its_hash_is_that_of_its_bytes(self, asked, tmp_path):
        design = Design.read(asked)
        made = register(design.study(), design)
        made.save(tmp_path / "r.json")
        made.save(tmp_path / "r.json")  # the same again is the same
        assert Registration.load(tmp_path / "r.json") == made
        assert made.sha256 == registration.hashlib.sha256((tmp_path / "r.json").read_bytes()).hexdigest()
        made.check(design.study(), design)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"methods": ["random", "random-blend", "blend", "single"]}, "methods differs"),
            ({"alphas": (0.01, 0.1)}, "alphas differs"),
            ({"steps": 3}, "settings differs"),
            ({"judges": ("gabor",)}, "judges differs"),
            ({"contrasts": ("blend - random",)}, "contrasts differ"),
            ({"genres": ["portrait"] * 5}, "contents differs"),
        ],
    )
    def test_another_study_than_the_registered_one_is_refused(self, asked, change, message):
        design = Design.read(asked)
        other = replace(design, **change)
        with pytest.raises(UsageError, match=message):
            register(design.study(), design).check(other.study(), other)

    def test_a_registration_is_not_replaced_and_not_changed_by_hand(self, asked, tmp_path):
        design = Design.read(asked)
        path = tmp_path / "r.json"
        register(design.study(), design).save(path)
        other = replace(design, steps=3)
        with pytest.raises(WorkbenchError, match="another registration"):
            register(other.study(), other).save(path)
        path.write_text(path.read_text().replace('"tests": 8', '"tests":  4'))
        with pytest.raises(WorkbenchError, match="not as workbench study register wrote it"):
            Registration.load(path)
        for content in ("{}", "[", '{"format": 1}'):
            path.write_text(content)
            with pytest.raises(WorkbenchError, match="no registration"):
                Registration.load(path)

    def test_paintings_are_no_contents(self, asked, artists):
        design = replace(Design.read(asked), contents=[str(artists[0].corpus.works[3].path)])
        with pytest.raises(UsageError, match="is a painting by warm: contents are photographs"):
            design.study()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"contrasts": ["blend - single"]}, "no method of the study"),
            ({"contrasts": ["blend"]}, "write FIRST - SECOND"),
            ({"confirmed": ["nobody"]}, "confirmed artist"),
            ({"spread": ["leak"]}, "write ENDPOINT=SD"),
            ({"only": ["portrait"]}, "only: give one for each"),
            ({"genres": ["portrait"]}, "genres: give one for each content"),
        ],
    )
    def test_what_cannot_be_registered_is_refused(self, asked, change, message):
        design = replace(Design.read(asked), **change)
        with pytest.raises(UsageError, match=message):
            register(design.study(), design)

    def test_one_command_writes_it(self, asked, tmp_path, capsys):
        out = tmp_path / "registration.json"
        assert main(["study", "register", str(asked), "-o", str(out)]) == 0
        said = capsys.readouterr().out
        assert Registration.load(out).sha256 in said and "8 tests in one family" in said and "no difference" in said
        assert main(["study", "register", str(out), "-o", str(tmp_path / "again.json")]) == 2
        assert "is no design of a study" in capsys.readouterr().err

    def test_what_the_benchmark_measures_in_two_sittings_is_all_that_the_notebook_needs(self, asked, tmp_path, monkeypatch):
        """The methods of the contrasts come first; another machine goes on with the tables alone."""
        given = json.loads(asked.read_text())
        given |= {"seeds": [0], "draws": 1, "alphas": [0.03, 0.2], "judges": ["random", "gabor"]}
        given |= {
            "contents": given["contents"][1:3],
            "methods": ["nearest", "random", "blend"],
            "contrasts": ["blend - random"],
        }
        settings = tmp_path / "study.json"
        settings.write_text(json.dumps(given))
        design = Design.read(settings)
        made = register(design.study(), design)
        made.save(tmp_path / "registration.json")
        folders = {"registration": tmp_path / "registration.json", "out": tmp_path, "pictures": tmp_path / "pictures"}
        command = ["measure.py", str(settings), *(str(word) for name in folders for word in (f"--{name}", folders[name]))]
        program = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/evidence/measure.py"))
        units = len(given["contents"]) * len(given["corpora"])
        for more, methods in ((("--methods", "blend", "random"), ["blend", "random"]), ((), ["blend", "nearest", "random"])):
            monkeypatch.setattr("sys.argv", [*command, *more])
            program["main"]()
            table = study.read_table(tmp_path / "results_gabor.csv.gz")
            assert sorted(set(table["method"])) == ["blend", "content", *methods[1:]]
            assert not table["key"].duplicated().any() and set(table["registration"]) == {made.sha256}
        study_ = design.study(tmp_path / "elsewhere")
        of_judge = [
            Measures(
                study_,
                encoders.load(name, precision="float32"),
                others=design.painted,
                photographs=design.shot,
                registration=made.sha256,
                earlier=tmp_path / f"results_{name}.csv.gz",
            )
            for name in design.judges
        ]
        results = [measures.results() for measures in of_judge]
        assert set(table["key"]) == set(results[1]["key"]) - {""} and not (tmp_path / "elsewhere").exists()
        assert len(table) == len(study_) + units

        passed = [{artist: measures.gate.passed(artist) for artist in study_.artists} for measures in of_judge]
        first, second = (summary.levelled(found, made.compared) for found in results)
        tested = summary.contrasts(first, made, passed[0], [(second, passed[1])])
        study.write_table(tmp_path / "of_the_notebook.csv", tested)
        written = study.read_table(tmp_path / "contrasts.csv")
        assert len(written) == len(made.contrasts)
        pd.testing.assert_frame_equal(written, study.read_table(tmp_path / "of_the_notebook.csv"))

    def test_its_hash_stands_in_every_table(self, asked, encoder, tmp_path):
        design = replace(Design.read(asked), seeds=(0,), draws=1, alphas=(0.03, 0.2))
        design = replace(design, contents=design.contents[1:3])
        study_ = design.study(tmp_path)
        made = register(study_, design)
        judge = encoders.load("gabor")
        measures = Measures(study_, judge, others=design.painted, registration=made.sha256, file=tmp_path / "results.csv")
        results = measures.results()
        tables = [results, study.read_table(tmp_path / "results.csv"), measures.sets(), measures.averages()]
        found = summary.levelled(results, made.compared)
        tables += [summary.table(found, ["leak", "odds"]), summary.contrasts(found, made, {"warm": True, "cool": True})]
        for table in tables:
            assert len(table) and (table["registration"] == made.sha256).all()
        again = Measures(study_, judge, others=design.painted, registration="another", file=tmp_path / "results.csv").results()
        assert (again["registration"] == "another").all()


class TestValidation:
    def test_planted_failures_are_what_they_say(self):
        generator = torch.Generator().manual_seed(0)
        truth, motif = (torch.rand(1, 3, 48, 64, generator=generator) for _ in range(2))
        found = validation.planted(truth, motif)
        changed = (found["pasted"] != truth).any(dim=1)[0]
        assert changed.float().mean() == pytest.approx(16 * 16 / (48 * 64), abs=0.01) and changed[4:20, 4:20].all()
        assert torch.equal(found["recoloured"][:, 0], truth[:, 1])
        assert found["blurred"].var() < 0.2 * truth.var() and found["blurred"].shape == truth.shape

    @pytest.mark.slow
    def test_the_truth_scores_best_and_a_measure_of_the_error_agrees_with_it(self, small, measured, judge):
        measures, table = measured
        truth = images.resize(small.artists["warm"].corpus.works[1].load(), 64)
        found = validation.validated(measures, table, {("warm", "stripes"): truth}, small.encoder)
        assert found.loc[found["true_style"].idxmin(), "method"] == "truth"
        found = found.assign(error=found["true_style"], inverted=-found["true_style"])
        agreement = validation.correlations(found, ["error", "inverted", "absent"], METHODS)
        assert agreement["error"]["style"].mean == pytest.approx(1)
        assert agreement["inverted"]["style"].mean == pytest.approx(-1)
        assert "absent" not in agreement
        assert validation.rank_of_truth(found, "error") == 1 and validation.rank_of_truth(found, "inverted") == 0
        assert np.isnan(validation.rank_of_truth(found, "absent"))
