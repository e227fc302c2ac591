import itertools
import json
from dataclasses import replace

import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from workbench import figures, inputs, methods, samples, targets, transfer
from workbench.cli import compare
from workbench.errors import UsageError, WorkbenchError
from workbench.figures import canvas
from workbench.methods.kept import cached_picture
from workbench.study import comparison


@pytest.fixture(scope="module")
def outcomes(corpus, encoder):
    content = corpus["work-00.png"].load(96)
    selection = targets.Selection(corpus, content, encoder)
    settings = transfer.Settings(method="gram", size=64, steps=40)
    oeuvre = targets.moments(selection.whole(), encoder, 64, encoder.style_layers)
    chosen = [selection.single("work-01"), selection.nearest(), selection.whole()]
    return content, encoder, oeuvre, list(comparison.paint_each(content, chosen, oeuvre, encoder, settings, show=False))


class TestComparison:
    def test_each_outcome_is_nearest_to_its_own_target(self, outcomes):
        single, nearest, whole = outcomes[3]
        assert [o.target.name for o in (single, nearest, whole)] == ["single", "nearest", "whole"]
        assert single.style.gram < single.oeuvre.gram
        assert whole.style == whole.oeuvre  # its target is the oeuvre
        assert nearest.content < single.content  # the nearest work is the content itself, the single one is by the other hand

    @pytest.mark.slow
    def test_targets_at_once_come_to_what_they_come_to_in_turn(self, outcomes):
        content, encoder, oeuvre, done = outcomes
        settings = transfer.Settings(method="gram", size=64, steps=40)
        chosen = [outcome.target for outcome in done]
        together = list(comparison.paint_each(content, chosen, oeuvre, encoder, settings, show=False, at_once=2))
        assert [outcome.target for outcome in together] == chosen
        for one, other in zip(done, together, strict=True):
            assert other.style.gram == pytest.approx(one.style.gram, rel=0.2)
            assert other.content == pytest.approx(one.content, rel=0.2)

    @pytest.mark.slow
    def test_targets_whose_transfers_cannot_keep_step_are_made_in_turn(self, outcomes):
        """Matching patches has no content loss, and so other stages."""
        content, encoder, oeuvre, done = outcomes
        whole = done[2].target
        chosen = [whole, replace(whole, combine="softmin"), replace(whole, combine="patches"), whole]
        settings = transfer.Settings(method="gram", size=64, steps=10)
        together = list(comparison.paint_each(content, chosen, oeuvre, encoder, settings, show=False, at_once=8))
        assert [outcome.target for outcome in together] == chosen and all(outcome.result.complete for outcome in together)

    def test_a_gpu_makes_as_many_pictures_at_once_as_fit(self):
        assert [comparison._fitting(side, side) for side in (64, 512, 768, 1024, 8192)] == [8, 8, 3, 2, 1]

    def test_no_transfer_at_once_is_refused(self, outcomes):
        content, encoder, oeuvre, done = outcomes
        settings = transfer.Settings(method="gram", size=64, steps=1)
        with pytest.raises(UsageError, match="at_once = 0"):
            list(comparison.paint_each(content, [done[0].target], oeuvre, encoder, settings, show=False, at_once=0))

    def test_records_are_json_and_name_every_work(self, outcomes):
        for outcome in outcomes[3]:
            record = json.loads(json.dumps(outcome.record(), allow_nan=False))
            assert sum(work["weight"] for work in record["works"]) == pytest.approx(1)
            assert len(record["works"]) == len(outcome.target.works)
            assert record["complete"] and record["losses"]["total"] > 0 and record["enlarged"] == ""
            larger = replace(outcome.result, settings=replace(outcome.result.settings, size=512))
            assert "fewer pixels than asked, 512 px" in replace(outcome, result=larger).record()["enlarged"]

    def test_any_registered_method_can_be_compared_and_drawn(self, outcomes, tmp_path):
        """Colour transfer alone, which has no steps, between two methods that have."""
        content, encoder, oeuvre, done = outcomes
        whole = done[2].target
        each = [transfer.Settings(method=method, size=64, steps=4) for method in ("gram", "colours", "neighbours")]
        found = list(comparison.paint_each(content, [whole] * 3, oeuvre, encoder, each, show=False, at_once=2))
        assert [outcome.result.settings.method for outcome in found] == ["gram", "colours", "neighbours"]
        assert [outcome.label for outcome in found] == ["gram-whole", "colours-whole", "whole"]
        assert all(outcome.result.complete and outcome.content > 0 for outcome in found)
        record = json.loads(json.dumps(found[1].record(), allow_nan=False))
        assert record["method"] == "colours" and record["complete"]
        panels = [figures.result_panel(outcome) for outcome in found]
        assert [panel.title for panel in panels] == [
            "Whole oeuvre, Gram matrices",
            "Whole oeuvre, colours alone",
            "Whole oeuvre",
        ]
        (path,) = figures.save(figures.side_by_side(panels), tmp_path / "figure", suffixes=(".png",))
        assert path.stat().st_size > 1000

    def test_the_panels_make_a_figure(self, outcomes, tmp_path):
        content, encoder, oeuvre, done = outcomes
        panels = [figures.content_panel(content, oeuvre, encoder, 64), *(figures.result_panel(o) for o in done)]
        named = ["Single, Gram matrices", "Nearest, Gram matrices", "Whole oeuvre, Gram matrices"]
        assert [p.title for p in panels] == ["Content", *named]
        assert len(panels[3].works) == 12
        paths = figures.save(figures.side_by_side(panels), tmp_path / "figure", {"seed": 0})
        assert [p.suffix for p in paths] == [".png", ".pdf"] and all(p.stat().st_size > 1000 for p in paths)

    def test_a_title_says_what_is_not_the_default(self, corpus):
        target = targets.whole(corpus)
        assert [figures.target_title(target), figures.target_title(target, "gram")] == [
            "Whole oeuvre",
            "Whole oeuvre, Gram matrices",
        ]
        assert figures.target_title(target.combined("barycentre"), "gram") == "Whole oeuvre, barycentre"
        assert figures.target_title(replace(target, name="random"), "neighbours") == "Random"

    def test_results_of_all_methods_are_kept_beside_each_other_and_painted_once(self, corpus, encoder, tmp_path):
        content, target = corpus["work-00.png"].load(96), targets.single(corpus["work-01.png"])
        names = [name for name in methods.METHODS if name != "artist"]  # which knows no such works
        each = [transfer.Settings(method=method, size=64, steps=4) for method in names]

        def pictures():
            runs = [methods.get(settings.method).begin(content, target, encoder, settings) for settings in each]
            return [cached_picture(run, tmp_path, "a") for run in runs]

        made = pictures()
        written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        assert sorted(name.rpartition("_")[0] for name in written) == sorted(f"a_{name}_single" for name in names)
        assert all((one - other).abs().max() > 0.02 for one, other in itertools.combinations(made, 2))
        assert all(torch.equal(one, other) for one, other in zip(made, pictures(), strict=True))
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
        one, other, third = sorted(tmp_path.iterdir())[:3]
        before = [path.read_bytes() for path in (one, other, third)]
        one.write_bytes(before[1])  # what is damaged or was replaced is painted again
        Image.open(other).transpose(Image.Transpose.ROTATE_180).save(other)
        third.write_bytes(before[2][:-100])
        pictures()
        assert [path.read_bytes() for path in (one, other, third)] == before


class TestInputs:
    @pytest.mark.slow
    def test_inputs_take_paths_and_the_names_of_samples(self, two_styles):
        assert inputs.content("flower").shape[1] == 3
        assert inputs.content_path(str(two_styles / "work-00.png")) == two_styles / "work-00.png"
        assert len(inputs.corpus(str(two_styles))) == 12
        assert len(inputs.corpus("umber")) >= 24
        assert inputs.striking_work("nocturne") == samples.a_single("nocturne")

    def test_inputs_that_are_nothing_are_refused_with_the_nearest_name(self, two_styles, tmp_path):
        with pytest.raises(UsageError, match="did you mean flower"):
            inputs.content("flowers")
        with pytest.raises(UsageError, match="did you mean nocturne"):
            inputs.corpus("nocturn")
        with pytest.raises(UsageError, match="no folder"):
            inputs.corpus(str(tmp_path / "absent"))
        with pytest.raises(WorkbenchError, match="is a file"):
            inputs.corpus(str(two_styles / "work-00.png"))
        with pytest.raises(WorkbenchError, match=r"no usable|empty|no image"):
            inputs.corpus(str(tmp_path))
        with pytest.raises(UsageError, match="single is empty"):
            inputs.striking_work(str(two_styles))


def compared(contents, ways, shape, **how):
    """A figure of `workbench compare` over pictures of one `shape` (height, width)."""
    pictures = [[torch.rand(1, 3, *shape) for _ in range(contents)] for _ in range(ways + 1)]
    captions = [
        [""] * contents,
        *([["31% Wheat Field with Cypresses, 12% The Sea at Les Saintes and 7 more"] * contents] * ways),
    ]
    labels = ["Content", *(f"Way {k}, τ = 0.1" for k in range(ways))]
    names = [f"A long name of content {k}" for k in range(contents)]
    return compare.drawn(pictures, labels, names, captions, "Three pictures after Vincent van Gogh", **how)


class TestFigureOfCompare:
    """A figure for a paper: whatever is compared, it fits the page, and nothing on it is too small to read."""

    @pytest.mark.parametrize("shape", [(60, 90), (90, 60), (64, 64), (20, 120), (120, 20)])
    @pytest.mark.parametrize(("contents", "ways"), [(1, 1), (1, 3), (1, 7), (2, 3), (3, 6), (5, 2), (8, 1)])
    def test_it_fits_a_page_of_a4(self, contents, ways, shape):
        figure = compared(contents, ways, shape)
        width, height = figure.get_size_inches()
        scale = 180 / 25.4 / canvas.PAGE  # the text of A4 is 180 mm wide and 257 mm high
        assert width * scale <= 180 / 25.4 and height * scale <= 257 / 25.4
        assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) * scale >= 5

    @pytest.mark.parametrize("shape", [(60, 90), (90, 60), (64, 64)])
    @pytest.mark.parametrize("ways", [1, 2, 5])
    def test_narrow_it_fits_a_column(self, ways, shape):
        figure = compared(1, ways, shape, narrow=True)
        width, height = figure.get_size_inches()
        assert height / width <= 240 / 88
        assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) * (88 / 25.4) / width >= 5

    def test_what_does_not_fit_a_column_is_refused(self):
        with pytest.raises(UsageError, match="--column: 28 pictures are too many"):
            compared(4, 6, (90, 60), narrow=True)
