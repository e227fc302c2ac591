import itertools
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from interrupting import Interrupting

from workbench import encoders, images, metrics, targets
from workbench.corpora import ingest
from workbench.errors import UsageError, WorkbenchError
from workbench.images import colour
from workbench.transfer import Diverged, Settings, Transfer, schedule, settings, transfer
from workbench.transfer.optimisers import LBFGS

SMALL = dict(size=64, steps=12)


@pytest.fixture(scope="module")
def target(corpus):
    return targets.single(corpus["work-01.png"])


@pytest.fixture(scope="module")
def content(corpus):
    return corpus["work-00.png"].load(96)


def check_resumed(begin, stops, folder):
    """A transfer that is written to disk after each of `stops` goes on from there to the bytes of an unbroken one."""
    unbroken, paths = begin(), []
    for iterate in unbroken:
        if iterate.step in stops:
            paths.append(unbroken.checkpoint(folder / f"{iterate.step}.safetensors"))
    assert len(paths) == len(stops)
    for path in paths:
        resumed = begin().resume(path).run()
        assert resumed.image.numpy().tobytes() == unbroken.image.numpy().tobytes()
        assert list(resumed.history) == unbroken.history


@pytest.fixture
def drafted(monkeypatch):
    """As if the network with random weights imitated every encoder."""
    monkeypatch.setattr(transfer, "draft_encoder", lambda encoder: encoders.load("random", device="cpu", precision="float32"))


@pytest.fixture
def memory(monkeypatch, encoder):
    """Has the encoder run out of memory at those of its passes whose numbers are in the list that is returned."""
    full, passes, ballast, features = [], itertools.count(), [], encoder.activations

    class Ballast: ...

    def tight(image, layers):
        assert all(reference() is None for reference in ballast), "what filled the memory is still there"
        if image.requires_grad and next(passes) in full:
            large = Ballast()
            ballast.append(weakref.ref(large))
            raise torch.OutOfMemoryError
        return features(image, layers)

    monkeypatch.setattr(encoder, "activations", tight)
    monkeypatch.setattr(encoder, "recompute", False)
    return full


class TestSettings:
    """What is refused before the work."""

    @pytest.mark.parametrize("bad", [
        {"size": 0}, {"size": 10**6}, {"steps": 0}, {"alpha": -1.0}, {"beta": float("nan")}, {"tv": float("inf")},
        {"alpha": 0.0, "beta": 0.0}, {"style_loss": "gramm"}, {"optimiser": "sgd"},
        {"plateau": -0.1}, {"draft": "yes"}, {"plateau": 1.0}, {"brush": 0.0}, {"brush": float("nan")}, {"strength": 1.1},
        {"softness": -1.0}, {"softness": 1e6}, {"bag": 0}, {"colour": "grey"},
    ])  # fmt: skip
    def test_settings_that_make_no_sense_are_refused_in_one_line(self, bad):
        with pytest.raises(UsageError) as error:
            Settings(method="gram", **bad)
        assert "\n" not in str(error.value)
        assert next(iter(bad)) in str(error.value)

    def test_a_seed_out_of_range_is_refused(self):
        for seed in (-1, 2**32, 1.5):
            with pytest.raises(UsageError, match="seed"):
                Settings(method="gram", seed=seed)

    @pytest.mark.parametrize(("combine", "choices"), [
        ("softmin", {"style_loss": "w2"}), ("patches", {"style_loss": "w2"}), ("barycentre", {"style_loss": "patches"}),
        ("softmin", {"style_loss": "embedding"}), ("patches", {"strength": 0.5}),
        ("mean", {"style_loss": "patches", "strength": 0.5}),
    ])  # fmt: skip
    def test_what_does_not_go_together_is_refused_before_the_work(self, content, target, encoder, combine, choices):
        with pytest.raises(UsageError, match=r"style_loss|strength"):
            Transfer(content, target.combined(combine), encoder, Settings(method="gram", **SMALL, **choices))


class TestLosses:
    """Every loss and combination of works moves the picture to them."""

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    @pytest.mark.parametrize("style_loss", ["gram", "w2", "patches", "embedding"])
    def test_every_style_loss_moves_the_picture_towards_the_painting(self, content, target, encoder, style_loss, optimiser):
        chosen = Settings(method="gram", **SMALL, style_loss=style_loss, optimiser=optimiser)
        result = Transfer(content, target, encoder, chosen).run()
        m = targets.moments(target, encoder, 64, encoder.style_layers)
        before = metrics.style_distance(images.resize(content, 64), m, encoder).gram
        # Patches and embeddings are other ideas of style: judged by Gram matrices they gain too, but less.
        gain = 0.7 if style_loss in ("gram", "w2") else 0.9
        assert metrics.style_distance(result.image, m, encoder).gram < gain * before
        assert result.complete and len(result.history) == 12
        assert result.image.shape == (1, 3, 48, 64) and result.image.min() >= 0 and result.image.max() <= 1

    @pytest.mark.parametrize("combine", ["barycentre", "softmin", "patches"])
    def test_every_combination_of_works_moves_the_picture_towards_them(self, content, corpus, encoder, combine):
        target = targets.weighted("cool", corpus, np.array([0.0, 3, 0, 2, 0, 1] + [0] * 6)).combined(combine)
        running = Transfer(content, target, encoder, Settings(method="gram", **SMALL))
        before = metrics.style_distance(running.optimised, running.style_moments(), encoder).gram
        running.run()
        assert metrics.style_distance(running.optimised, running.style_moments(), encoder).gram < 0.9 * before

    def test_the_nearest_of_paintings_kept_apart_wins_where_the_soft_min_is_hard(self, content, corpus, encoder):
        """The content is the work of one of two hands: with a hard minimum the picture goes to that hand, and to it alone."""
        target = targets.weighted("two", corpus, np.array([0.0, 9, 1] + [0] * 9)).combined("softmin")
        end = {}
        for softness in (0.0, 100.0):
            result = Transfer(content, target, encoder, Settings(method="gram", size=64, steps=25, softness=softness)).run()
            own = [targets.moments(targets.single(corpus[i]), encoder, 64, encoder.style_layers) for i in (2, 1)]
            end[softness] = [metrics.style_distance(result.image, m, encoder).gram for m in own]
        assert end[0.0][0] < end[100.0][0] and end[0.0][1] > end[100.0][1]

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    def test_recorded_losses_are_those_of_the_picture(self, content, target, encoder, optimiser):
        running = Transfer(
            content, target, encoder, Settings(method="gram", **SMALL, optimiser=optimiser, beta=0.0, alpha=1.0, init="noise")
        )
        for iterate in running:
            raw = running.picture  # before the clamp that `image` applies
            assert metrics.content_distance(raw, content, encoder) == pytest.approx(iterate.losses["content"], rel=1e-3)

    def test_the_total_is_what_lbfgs_lowers(self, content, target, encoder):
        """With the content counted as often as the stage says, and by the weights themselves in the last one."""
        running = Transfer(content, target, encoder, Settings(method="gram", size=192, steps=10))
        history = running.run().history
        assert running.stages[0].content_factor > 1 == running.stages[-1].content_factor
        for start, stage in zip(running.starts, running.stages, strict=True):
            made = history[start : start + stage.evaluations]
            descended = [row["total"] + (stage.content_factor - 1) * 0.05 * row["content"] for row in made]
            assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(descended))
        for row in history:
            expected = 0.05 * row["content"] + row["style"] + 0.02 * row["tv"] + row["range"]
            assert row["total"] == pytest.approx(expected, rel=1e-5)
        begun = running.starts[-1]
        assert history[begun] == history[begun - 1]  # a change of weight costs one evaluation

    @pytest.mark.parametrize("shape", [(20, 2000), (2000, 20), (1, 1)])
    @pytest.mark.parametrize("style_loss", ["gram", "w2"])
    def test_contents_of_any_shape_are_painted(self, target, encoder, shape, style_loss):
        strip = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0))
        result = Transfer(strip, target, encoder, Settings(method="gram", size=16, steps=3, style_loss=style_loss)).run()
        assert torch.isfinite(result.image).all()
        assert max(result.image.shape[2:]) == 16


class TestControls:
    """Strength, brush, colours, weights, start."""

    def test_strength_runs_from_the_contents_own_style_to_the_paintings(self, content, target, encoder):
        def aim(strength):
            chosen = Settings(method="gram", **SMALL, strength=strength)
            return Transfer(content, target, encoder, chosen).style_moments()["relu3_1"].second

        own = metrics.picture_moments(images.resize(content, 64), encoder)["relu3_1"].second
        assert torch.allclose(aim(0.0), own, atol=1e-6)
        assert torch.allclose(aim(0.25), 0.75 * own + 0.25 * aim(1.0), atol=1e-6)
        m = targets.moments(target, encoder, 64, encoder.style_layers)
        distances = []
        for strength in (0.0, 0.5, 1.0):
            image = Transfer(content, target, encoder, Settings(method="gram", **SMALL, strength=strength)).run().image
            distances.append(metrics.style_distance(image, m, encoder).gram)
        assert distances == sorted(distances, reverse=True)

    def test_the_brush_scales_the_paintings(self, content, target, encoder):
        fine = Transfer(content, target, encoder, Settings(method="gram", **SMALL, brush=0.5)).style_moments()["relu2_1"].second
        assert torch.equal(fine, targets.moments(target, encoder, 32, ["relu2_1"])["relu2_1"].second)
        assert Settings(method="gram", size=100, brush=0.1).painting_size(100) == settings.SMALLEST_PAINTING
        assert Settings(method="gram", size=100, brush=3).painting_size(100) == 300

    def test_only_luminance_is_transferred_where_that_is_asked_for(self, content, target, encoder):
        running = Transfer(content, target, encoder, Settings(method="gram", **SMALL, colour="luminance"))
        before = metrics.style_distance(running.optimised, running.style_moments(), encoder).gram
        for iterate in running:
            assert torch.equal(iterate.image, running.image)
        assert torch.allclose(running.optimised, colour.luminance(running.optimised), atol=1e-5)
        noisy = Transfer(content, target, encoder, Settings(method="gram", **SMALL, colour="luminance", init="noise"))
        noisy.run()
        assert torch.allclose(noisy.optimised, colour.luminance(noisy.optimised), atol=1e-5)  # no colours that nobody sees
        assert torch.allclose(colour.luminance(running.image), colour.luminance(running.optimised), atol=1e-5)
        chroma = [x - colour.luminance(x) for x in (images.resize(content, 64), running.image)]
        along = (chroma[0] * chroma[1]).sum() / (chroma[0].norm() * chroma[1].norm())
        assert float(along) > 0.9  # the content's hues
        assert metrics.style_distance(running.optimised, running.style_moments(), encoder).gram < 0.7 * before

    @pytest.mark.parametrize("method", ["neighbours", "gram"])
    @pytest.mark.parametrize("init", ["content", "noise"])
    def test_a_grey_content_after_grey_works_stays_grey(self, content, corpus, encoder, tmp_path, method, init):
        """No colour comes from nowhere: losses over features leave chroma free where neither side has any."""
        for name in ("work-00.png", "work-01.png", "work-02.png"):
            images.save(colour.luminance(corpus[name].load(96)), tmp_path / name)
        grey, chosen = colour.luminance(content), Settings(**SMALL, method=method, init=init)
        running = Transfer(grey, targets.single(ingest(tmp_path)["work-01.png"]), encoder, chosen)
        running.run()
        chroma = lambda image: float((image.amax(dim=1) - image.amin(dim=1)).max())  # noqa: E731
        assert chroma(running.image) < 2 / 255 and float(running.image.std()) > 0.05
        coloured = Transfer(grey, targets.single(corpus["work-01.png"]), encoder, chosen)
        coloured.run()
        assert chroma(coloured.image) > 0.1  # colours of a painting come through
        assert coloured.problem.finished(coloured.picture).equal(coloured.image) and not coloured.problem.grey

    def test_paintings_in_the_colours_of_the_content_leave_it_nearer_to_its_own(self, content, target, encoder):
        far, near = (
            Transfer(content, target, encoder, Settings(method="gram", size=64, steps=30, colour=c)).run().image
            for c in ("style", "content")
        )
        reference = images.resize(content, 64)
        assert metrics.colour_distance(near, reference) < 0.7 * metrics.colour_distance(far, reference)

    def test_alpha_trades_style_for_content(self, content, target, encoder):
        near, far = (
            Transfer(content, target, encoder, Settings(method="gram", **SMALL, alpha=a)).run().image for a in (10.0, 0.0)
        )
        assert metrics.content_distance(near, content, encoder) < metrics.content_distance(far, content, encoder)

    def test_style_weight_zero_gives_back_the_content(self, content, target, encoder):
        image = Transfer(content, target, encoder, Settings(method="gram", **SMALL, beta=0.0, alpha=1.0, tv=0.0)).run().image
        assert torch.allclose(image, images.resize(content, 64), atol=1e-4)

    def test_noise_and_content_start_apart_and_noise_follows_its_seed(self, content, target, encoder):
        starts = [
            Transfer(content, target, encoder, Settings(method="gram", **SMALL, init=i, seed=s)).image
            for i, s in (("content", 0), ("noise", 0), ("noise", 1), ("noise", 0))
        ]
        assert torch.equal(starts[0], images.resize(content, 64))
        assert not torch.equal(starts[1], starts[2])
        assert torch.equal(starts[1], starts[3])

    def test_the_same_seed_gives_the_same_bytes(self, content, target, encoder):
        a, b = (
            Transfer(content, target, encoder, Settings(method="gram", **SMALL, init="noise", seed=5)).run().image
            for _ in range(2)
        )
        assert a.numpy().tobytes() == b.numpy().tobytes()


class TestStages:
    """From coarse to fine, by a draft first where there is one."""

    @given(st.integers(16, 4096))
    def test_scales_end_at_the_size_and_double(self, size):
        scales = Settings(method="gram", size=size).scales
        assert scales[-1] == size
        assert all(b // 2 == a for a, b in itertools.pairwise(scales))
        assert scales[0] == size or scales[0] >= settings.SMALLEST_SCALE
        assert scales[0] // 2 < settings.SMALLEST_SCALE

    @given(st.integers(1, 300), st.booleans(), st.sampled_from([64, 192, 512]), st.booleans())
    def test_stages_make_the_evaluations_asked_for_from_coarse_to_fine(self, steps, drafted, size, content_first):
        """The first evaluation of a stage moves nothing: one in which the content counts more has two at least."""
        stages = schedule.stages(Settings(method="gram", size=size, steps=steps), drafted=drafted, content_first=content_first)
        assert sum(stage.evaluations for stage in stages if stage.size == size and not stage.draft) == steps
        assert all(stage.evaluations >= 1 for stage in stages)
        assert (stages[-1].content_factor, stages[-1].draft) == (1, False)
        first = [stage for stage in stages if stage.size == size and stage.content_factor > 1]
        assert all(stage.evaluations >= 2 for stage in first) and len(first) <= content_first
        assert [stage.size for stage in stages] == sorted(stage.size for stage in stages)

    @pytest.mark.slow
    def test_what_counts_more_at_first_comes_back_from_the_other_side(self, shared, monkeypatch, encoder):
        """Else the picture loses more of the content than it ends with; so it gives the last of it up late."""
        photograph = next(iter(ingest(shared / "data" / "photos"))).load(192)
        painting = targets.single(next(iter(ingest(shared / "data" / "corpora" / "vincent-van-gogh"))))
        chosen = Settings(method="gram", size=192, steps=60, tv=0.0, plateau=0)

        def content():
            running = Transfer(photograph, painting, encoder, chosen)
            losses = [row["content"] for row in running.run().history]
            return losses[running.starts[1] + 11], losses[-1]

        held = content()
        for name in ("COARSE_CONTENT_FACTOR", "FIRST_CONTENT_FACTOR"):
            monkeypatch.setattr(schedule, name, 1.0)
        free = content()
        assert held[0] < held[1] < free[0] and free[1] < free[0]

    def test_a_finer_scale_gets_the_detail_of_its_content_unless_it_began_as_noise(self, content, target, encoder):
        for init in ("content", "noise"):
            running = Transfer(content, target, encoder, Settings(method="gram", size=192, steps=10, init=init))
            list(itertools.islice(running, 2))
            coarse = running.picture.clamp(0, 1)
            running.prepare()
            fine, before = (running.problem.content_at(size) for size in (192, 96))
            smooth = images.resize(coarse, (144, 192))
            expected = (smooth + fine - images.resize(before, (144, 192))).clamp(0, 1) if init == "content" else smooth
            assert torch.allclose(running.picture, expected, atol=1e-6)

    def test_a_finer_scale_begins_with_the_curvature_that_a_coarser_one_found(self, content, target, encoder):
        running = Transfer(content, target, encoder, Settings(method="gram", size=192, steps=40))
        list(itertools.islice(running, 6))
        coarse, fitted = running.parametrisation, running.optimiser.fitted_diagonal()
        running.prepare()
        assert running.picture.shape[-1] == 192
        assert torch.equal(running.optimiser.diagonal, running.parametrisation.resampled(fitted, coarse))
        assert fitted.max() > 1.1 * fitted.min()

    def test_a_draft_comes_first_and_the_encoder_has_the_last_word(self, content, target, encoder, drafted):
        both = Transfer(content, target, encoder, Settings(method="gram", size=192, steps=10))
        assert [name for _, name in both.boundaries] == ["96 px, draft", "192 px, draft", "192 px"]
        own = Transfer(content, target, encoder, Settings(method="gram", size=192, steps=10, draft="none"))
        assert [name for _, name in own.boundaries] == ["96 px", "192 px"]
        assert own.fingerprint() != both.fingerprint()
        begun = both.boundaries[-1][0]
        losses = {}
        for iterate in both:
            driver = encoder if iterate.step > begun else both.draft
            painting = targets.moments(target, driver, iterate.size, driver.style_layers)
            losses[iterate.step] = metrics.style_distance(both.picture, painting, driver).gram
            assert iterate.losses["style"] == pytest.approx(losses[iterate.step], rel=1e-3)
        assert losses[both.total_steps] < losses[begun + 1]

    @pytest.mark.slow
    def test_the_draft_of_vgg19_is_worth_many_of_its_evaluations(self, shared, monkeypatch):
        monkeypatch.setenv("WORKBENCH_WEIGHTS", str(shared / "weights"))
        wide = encoders.load("vgg19", device="cpu", pooling="average")
        photograph = next(iter(ingest(shared / "data" / "photos"))).load()
        painting = targets.single(next(iter(ingest(shared / "data" / "corpora" / "edgar-degas"))))
        chosen = dict(size=128, tv=0.0, plateau=0)
        with_draft = Transfer(photograph, painting, wide, Settings(method="gram", **chosen, steps=20))
        assert with_draft.draft.name == "embedded" and with_draft.draft.precision == wide.precision
        without = Transfer(photograph, painting, wide, Settings(method="gram", **chosen, steps=25, draft="none"))
        assert without.draft is None
        assert with_draft.run().history[-1]["total"] < without.run().history[-1]["total"]

    def test_a_plateau_ends_a_transfer_unless_it_is_told_not_to(self, content, target, encoder):
        """With content alone, from the content, nothing is left to gain."""
        still = dict(size=64, steps=60, beta=0.0, alpha=1.0, tv=0.0)
        stopped = Transfer(content, target, encoder, Settings(method="gram", **still)).run()
        assert stopped.complete and len(stopped.history) == 12 + transfer.PLATEAU_WINDOW + 1  # judged by the weights asked for
        assert len(Transfer(content, target, encoder, Settings(method="gram", **still, plateau=0)).run().history) == 60
        moving = Transfer(content, target, encoder, Settings(method="gram", size=64, steps=30)).run()
        assert len(moving.history) == 30


class TestIterating:
    """What a step gives, and what a stop keeps."""

    def test_iterates_tell_where_they_are(self, content, target, encoder):
        seen = list(Transfer(content, target, encoder, Settings(method="gram", size=192, steps=2)))
        assert [(i.step, i.size) for i in seen] == [(1, 96), (2, 192), (3, 192)]
        assert seen[0].steps == 3
        assert [tuple(i.image.shape[2:]) for i in seen] == [(72, 96), (144, 192), (144, 192)]
        assert [i.seconds for i in seen] == sorted(i.seconds for i in seen)
        assert {"content", "style", "tv", "range", "total"} == set(seen[0].losses)

    def test_an_iterate_keeps_its_own_picture(self, content, target, encoder):
        iterates = iter(Transfer(content, target, encoder, Settings(method="gram", **SMALL, optimiser="adam")))
        first = next(iterates)
        before = first.image.clone()
        for _ in range(4):
            next(iterates)
        assert torch.equal(first.image, before)

    def test_stopping_keeps_the_picture_and_going_on_is_exact(self, content, target, encoder):
        unbroken = Transfer(content, target, encoder, Settings(method="gram", **SMALL)).run()
        stopped = Transfer(content, target, encoder, Settings(method="gram", **SMALL))
        for iterate in stopped:
            if iterate.step == 5:
                break
        assert torch.equal(stopped.image, iterate.image)
        assert torch.equal(stopped.run().image, unbroken.image)

    def test_ctrl_c_returns_what_there_is_and_running_on_is_exact(self, content, target, encoder):
        expected = Transfer(content, target, encoder, Settings(method="gram", **SMALL), engine="plain").run()
        running = Transfer(content, target, encoder, Settings(method="gram", **SMALL))
        running.engine = Interrupting(4)
        result = running.run()
        assert not result.complete and list(result.history) == list(expected.history[:4])
        assert torch.isfinite(result.image).all()
        assert torch.equal(running.run().image, expected.image)

    def test_an_interruption_between_two_scales_only_costs_the_way_back(self, content, target, encoder, monkeypatch, tmp_path):
        def begin():
            return Transfer(content, target, encoder, Settings(method="gram", size=192, steps=10))

        class Interrupted(LBFGS):
            def __init__(self, *_, **__):
                raise KeyboardInterrupt

        running = begin()
        list(itertools.islice(running, 2))
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(transfer, "LBFGS", Interrupted)
            next(iter(running))
        saved = running.checkpoint(tmp_path / "between")
        whole = begin().run().image
        assert torch.equal(running.run().image, whole)
        assert torch.equal(begin().resume(saved).run().image, whole)

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    def test_a_loss_that_is_not_finite_stops_with_the_last_good_picture(self, content, target, encoder, optimiser):
        running = Transfer(content, target, encoder, Settings(method="gram", **SMALL, optimiser=optimiser))
        last = list(itertools.islice(running, 3))[-1].image
        running.objective.scale({"style": float("nan")})
        with pytest.raises(Diverged, match="step 4") as stopped:
            running.run()
        assert stopped.value.step == 4
        assert torch.equal(stopped.value.image, last)

    def test_out_of_memory_is_met_by_computing_twice(self, content, target, encoder, memory, capsys):
        expected = Transfer(content, target, encoder, Settings(method="gram", **SMALL)).run().image
        memory.append(12 + 2)
        image = Transfer(content, target, encoder, Settings(method="gram", **SMALL)).run().image
        assert encoder.recompute and "out of memory" in capsys.readouterr().err
        assert torch.equal(image, expected)

    def test_out_of_memory_twice_is_an_error(self, content, target, encoder, memory):
        memory += [2, 3]
        with pytest.raises(torch.OutOfMemoryError):
            Transfer(content, target, encoder, Settings(method="gram", **SMALL)).run()


class TestCheckpoints:
    """The state on disk."""

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    def test_a_resumed_run_has_the_bytes_of_an_unbroken_one(self, content, target, encoder, tmp_path, optimiser):
        chosen = Settings(method="gram", size=192, steps=10, optimiser=optimiser)
        # After 2 evaluations the scale changes, and after 4 the weight of the content with L-BFGS; 12 is the end.
        check_resumed(lambda: Transfer(content, target, encoder, chosen), [2, 3, 4, 12], tmp_path)

    @pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
    def test_a_run_resumed_about_its_draft_has_the_bytes_of_an_unbroken_one(
        self, content, target, encoder, drafted, tmp_path, optimiser
    ):
        chosen = Settings(method="gram", size=192, steps=10, optimiser=optimiser)
        check_resumed(lambda: Transfer(content, target, encoder, chosen), [2, 4, 6], tmp_path)

    @pytest.mark.parametrize("change", [{"brush": 0.5}, {"strength": 0.5}, {"colour": "content"}, {"colour": "luminance"}])
    def test_controls_resume_to_the_bytes_of_an_unbroken_run(self, content, target, encoder, tmp_path, change):
        chosen = Settings(method="gram", **SMALL, **change)
        whole = Transfer(content, target, encoder, chosen).run().image
        running = Transfer(content, target, encoder, chosen)
        for iterate in running:
            if iterate.step == 7:
                break
        running.checkpoint(tmp_path / "c")
        resumed = Transfer(content, target, encoder, chosen).resume(tmp_path / "c")
        assert torch.equal(resumed.run().image, whole)

    def test_a_checkpoint_of_something_else_is_refused(self, content, target, corpus, encoder, tmp_path):
        first = Transfer(content, target, encoder, Settings(method="gram", **SMALL))
        path = first.checkpoint(tmp_path / "c.safetensors")
        other_target = targets.single(corpus["work-03.png"])
        for other in (
            Transfer(content, target, encoder, Settings(method="gram", size=64, steps=13)),
            Transfer(content, other_target, encoder, Settings(method="gram", **SMALL)),
            Transfer(content.flip(3), target, encoder, Settings(method="gram", **SMALL)),
        ):
            why = "steps was 12 and is 13" if other.settings.steps == 13 else "content, target, encoder or settings differ"
            with pytest.raises(UsageError, match=f"another transfer: {why}"):
                other.resume(path)
        path.write_bytes(b"nothing")
        with pytest.raises(WorkbenchError, match="cannot be read"):
            first.resume(path)
        with pytest.raises(WorkbenchError, match="cannot be read"):
            first.resume(tmp_path / "absent.safetensors")


class TestMetrics:
    """Distances by which transfers are judged."""

    def test_metrics_are_zero_for_the_thing_itself(self, content, target, encoder):
        painting = target.works[0].load(64)
        distance = metrics.style_distance(painting, targets.moments(target, encoder, 64, encoder.style_layers), encoder)
        assert distance.gram == pytest.approx(0, abs=1e-9) and distance.w2 == pytest.approx(0, abs=1e-3)
        assert distance.gram == pytest.approx(np.mean(list(distance.by_layer.values())))
        assert metrics.content_distance(content, content, encoder) == 0
        own = metrics.style_distance(content, metrics.picture_moments(content, encoder), encoder)
        assert own.gram == pytest.approx(0, abs=1e-9)

    def test_colour_distance_in_known_units(self):
        black, white, grey = (torch.full((1, 3, 30, 40), v) for v in (0.0, 1.0, 0.5))
        assert metrics.colour_distance(black, white) == pytest.approx(100, abs=0.1)
        assert metrics.colour_distance(grey, black) == pytest.approx(53.4, abs=0.1)  # L* of sRGB 0.5
        assert metrics.colour_distance(grey, grey) == 0

    def test_colour_distance_equals_littlecms(self):
        from PIL import Image, ImageCms

        generator = np.random.default_rng(0)
        blocks = [np.kron(generator.integers(0, 256, (18, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8) for _ in range(2)]
        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        lab = [np.asarray(ImageCms.applyTransform(Image.fromarray(b), to_lab)) for b in blocks]
        values = [np.stack([v[..., 0] / 2.55, *(v[..., i].astype(np.int8) for i in (1, 2))], axis=-1) for v in lab]
        expected = np.linalg.norm(values[0] - values[1], axis=-1).mean()
        a, b = (images.to_tensor(Image.fromarray(block)) for block in blocks)
        # littlecms adapts to D50, so single colours differ by a few units; the mean difference agrees.
        assert metrics.colour_distance(a, b) == pytest.approx(expected, rel=0.05)
