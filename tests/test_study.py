from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from workbench import encoders, images, study
from workbench.corpora import ingest
from workbench.errors import UsageError
from workbench.study import (
    Artist,
    Cell,
    Content,
    Measures,
    Study,
    design,
    summary,
    tuned,
    validation,
)
from workbench.transfer import Settings

SMALL = Settings(method="gram", size=64, steps=2, plateau=0)
METHODS = ("single", "random", "nearest", "blend", "regions", "wrong")


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
            assert (cell.method == "wrong") != {work.sha256 for work in target.works}.issubset(bank)

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
        both = Study(contents[:1], artists, methods, encoder, settings, seeds=(0,), folder=tmp_path, alphas={"gram:blend": 0.3})
        cells = {cell.method: cell for cell in both if cell.artist == "warm"}
        ways = {method: both.settings_of(cell) for method, cell in cells.items()}
        assert {method: way.method for method, way in ways.items()} == {
            "gram:blend": "gram",
            "blend": "neighbours",
            "blend/barycentre": "gram",
            "gram:single": "gram",
            "random": "neighbours",
        }
        assert (ways["gram:blend"].alpha, ways["blend"].alpha) == (0.3, settings.alpha)
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
        assert set(names) <= set(table["method"]) and "colours:blend" in summary.against(
            table, "distance", "warm", "gram:single"
        )

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

    def test_tuned_weights_bring_all_methods_to_one_content_distance(self, artists, contents, encoder, monkeypatch):
        """Where d = c alpha^-s, as the search takes it to be, the weights that it finds solve it."""
        laws = {"single": (0.30, 0.2), "blend": (0.20, 0.4), "whole": (0.25, 0.3)}
        there = Study(contents, artists[:1], list(laws), encoder, SMALL, seeds=(0,))

        def painted(cell):
            factor, slope = laws[cell.method]
            return factor * there.alphas[cell.method] ** -slope

        monkeypatch.setattr(there, "picture", painted)
        monkeypatch.setattr(design.metrics, "content_distance", lambda picture, content, judge: picture)
        alphas = tuned(there, encoder, low=0.01, high=0.5)
        reached = [factor * alphas[method] ** -slope for method, (factor, slope) in laws.items()]
        assert reached == pytest.approx([reached[0]] * 3, rel=2e-3) and all(0.005 <= alpha <= 1 for alpha in alphas.values())
        laws["single"] = (0.9, 0.01)  # keeps too little at any weight: it gets the largest, not an absurd one
        assert tuned(there, encoder, low=0.01, high=0.5)["single"] == pytest.approx(1.0)
        with pytest.raises(UsageError, match="the smaller one first"):
            tuned(there, encoder, low=1.0, high=0.1)


def made_up(effect, generator=None):
    """A table of 8 contents x 2 seeds of two methods, with `effect` between them."""
    generator = generator or np.random.default_rng(0)
    rows = []
    for content in range(8):
        level = generator.normal()
        for method, shift in (("single", 0.0), ("blend", effect)):
            for seed in (0, 1):
                value = level + shift + 0.1 * generator.normal()
                row = {"artist": "a", "content": f"c{content}", "method": method, "seed": seed, "judge": "j"}
                rows.append(row | {"leak": value, "percentile": 0.9 if method == "single" else 0.4})
    return pd.DataFrame(rows)


class TestMeasures:
    @pytest.mark.slow
    def test_there_is_one_row_per_result_and_every_control_beside_it(self, small, measured):
        _, table = measured
        results = table[table["method"].isin(METHODS)]
        assert len(results) == len(small)
        for split, rows in table.groupby(["artist", "seed"]):
            assert split in small.splits and set(METHODS) | {"content", "real"} <= set(rows["method"])
        assert results["percentile"].between(0, 1).all() and (results["p"] > 0).all() and (results["p"] <= 1).all()
        assert (results["distance"] > 0).all() and (results["content_distance"] >= 0).all()
        assert ((results["method"] == "wrong") == results["leak"].isna()).all()
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

    def test_the_tables_that_are_committed_can_be_read(self):
        root = Path(__file__).parents[1]
        for path in [*root.glob("figures/evidence/*.csv"), *root.glob("figures/*.csv"), *root.glob("benchmarks/*.csv")]:
            table = study.read_table(path)
            numbers = table.drop(columns=[name for name in table if table[name].dtype.kind not in "if"])
            assert len(table) > 0 and numbers.shape[1] > 0, path
        results = study.read_table(root / "figures/evidence/results_embedded.csv")
        found = summary.against(results, "percentile", "vincent-van-gogh", "random")
        listed = study.read_table(root / "figures/evidence/summary_embedded.csv")
        listed = listed[(listed["artist"] == "vincent-van-gogh") & (listed["measure"] == "percentile")].set_index("method")
        for method, difference in found.items():
            assert difference.mean == pytest.approx(listed.loc[method, "less_random"], abs=1e-5)
            assert difference.p_holm == pytest.approx(listed.loc[method, "less_random_p_holm"], abs=1e-5)

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
        for name in ("kid_p", "mmd_p"):
            assert table[name].between(0, 1, inclusive="right").all()
        assert (table["fid_components"] == 1).all() and (table["results"] >= 2).all() and "deception" not in table
        corpus = ingest(next(iter(small.artists.values())).corpus.root)
        assert measures.sets(corpus.works)[["floor", "ceiling", "deception"]].stack().between(0, 1).all()

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
        row, seen = measures.row, []

        def until_tired(cell, method, picture):
            if len(seen) > 2 * len(METHODS) + 3:
                raise KeyboardInterrupt
            seen.append(method)
            return row(cell, method, picture)

        monkeypatch.setattr(measures, "row", until_tired)
        with pytest.raises(KeyboardInterrupt):
            measures.results()
        kept = set(study.read_table(file)["key"]) - {""}
        assert len(kept) >= 2 * (len(METHODS) + 1) - 1
        again = Measures(small, judge, file=file)
        monkeypatch.setattr(again, "row", until_tired)
        with pytest.raises(KeyboardInterrupt):
            again.results()
        assert kept <= set(study.read_table(file)["key"])

    def test_rows_know_what_decides_them(self, measured, small):
        measures, _ = measured
        cell, picture = Cell("warm", "stripes", "single", 0), torch.zeros(1, 3, 48, 64)
        key = measures._key(cell, "single", picture)
        bank, held_out = small.splits["warm", 0]
        works = tuple(replace(work, metadata={**work.metadata, "genre": "animal"}) for work in held_out)
        small.splits["warm", 0] = (bank, replace(held_out, works=works))
        assert measures._key(cell, "single", picture) != key
        small.splits["warm", 0] = (bank, held_out)
        assert measures._key(cell, "single", picture) == key

    def test_contents_are_no_controls_of_themselves(self, small, judge, artists):
        work = artists[1].corpus.works[2]
        inside = Study([Content("a", "portrait", work.load(64), work.sha256)], artists, ["single"], small.encoder, SMALL)
        measures = Measures(inside, judge, others={"cool": artists[1].corpus.works})
        assert work not in measures.others["cool"] and len(measures.others["cool"]) == 8


class TestSummary:
    def test_the_summary_finds_what_was_put_in(self):
        found = summary.against(made_up(-0.5), "leak", "a")["blend"]
        assert found.mean == pytest.approx(-0.5, abs=0.1) and found.high < 0 and found.p == pytest.approx(2 / 2**8)
        assert summary.means(made_up(0), "percentile", "a")["single"].mean == pytest.approx(0.9)
        table = summary.table(made_up(-0.5), ["leak", "percentile"])
        assert table["measure"].tolist() == ["leak", "leak", "percentile", "percentile"]
        assert table["method"].tolist() == ["single", "blend"] * 2
        assert np.isnan(table["less_single"][0]) and table["less_single"][1] < 0 and "less_random" not in table

    def test_percentiles_that_are_not_those_of_real_works_are_noticed(self):
        """Always too typical, and always in the middle, are both unlike real works; spread evenly is like them."""

        def rows(percentiles):
            made = {"artist": "a", "method": "m", "seed": 0}
            return pd.DataFrame([made | {"content": f"{i}", "percentile": p} for i, p in enumerate(percentiles)])

        found = [summary.uniform_p(rows(p), "a")["m"] for p in ([0.95] * 9, [0.5] * 9, np.linspace(0.05, 0.95, 9))]
        assert found[0] < 0.001 and found[1] < 0.05 and found[2] > 0.9

    def test_the_order_of_rows_does_not_matter(self):
        table = made_up(0.2)
        one, other = (summary.against(found, "leak", "a")["blend"] for found in (table, table[::-1]))
        assert (one.mean, one.p) == pytest.approx((other.mean, other.p))


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
