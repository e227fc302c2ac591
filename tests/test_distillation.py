import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from workbench import encoders
from workbench.cli import main
from workbench.distillation import evaluation
from workbench.distillation.crops import Crops
from workbench.distillation.recipe import SHIPPED, Recipe, read_stages, write_stages
from workbench.distillation.teacher import Teacher, fit_embedding, fit_heads, imitate, spanning
from workbench.distillation.training import Distillation, relative_errors
from workbench.encoders.convolutional import ConvolutionalEncoder
from workbench.encoders.embedded import WEIGHTS, DistilledEncoder
from workbench.errors import UsageError
from workbench.images import resize
from workbench.metrics import content_distance
from workbench.statistics import gram
from workbench.transfer import Settings

WIDTHS = {"relu1_1": 8, "relu2_1": 10, "relu3_1": 12, "relu4_1": 12, "relu4_2": 12, "relu5_1": 12}
COMPONENTS = dict.fromkeys(WIDTHS, 6)
TINY = Recipe(
    WIDTHS,
    COMPONENTS,
    ["relu4_1", "relu5_1"],
    {},
    crop=32,
    batch=4,
    steps=24,
    pool=12,
    fresh=1,
    visited=0.25,
    visit_every=6,
    start=1,
    learning_rate=2e-3,
)


def tiny_teacher(widths=WIDTHS, seed=0):
    """A random network in the place of VGG-19: the arithmetic of learning from it is the same."""
    torch.manual_seed(seed)
    encoder = ConvolutionalEncoder("tiny", widths, pooling="average", dtype=torch.float32)
    encoder.weights_sha256 = "0" * 64
    return encoder.for_inference(torch.device("cpu"))


@pytest.fixture
def distillation(corpus):
    wide = tiny_teacher({layer: 3 * width for layer, width in WIDTHS.items()})
    works = list(corpus)
    return lambda recipe=TINY, **options: Distillation(recipe, wide, works[:8], works[8:], report_every=8, **options)


class TestTeacherAndStudent:
    def test_the_image_embedding_of_an_equal_is_the_teachers(self):
        widths = {**WIDTHS, "relu5_1": 512}
        teacher_encoder = tiny_teacher(widths)
        student = DistilledEncoder("student", widths, COMPONENTS, ["relu5_1"])
        student.convolutions.load_state_dict(teacher_encoder.convolutions.state_dict())
        pictures = torch.rand(60, 1, 3, 96, 128, generator=torch.Generator().manual_seed(5)) * torch.linspace(0.1, 1, 60).view(
            -1, 1, 1, 1, 1
        )
        fit_embedding(student, teacher_encoder, pictures)
        for picture in pictures[::20]:
            expected = teacher_encoder.embed(resize(picture, 384))
            assert (student.embed(resize(picture, 384)) - expected).norm() < 0.05 * expected.norm()

    def test_spanning_channels_leave_out_copies(self):
        independent = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
        features = torch.cat([independent[:1] * 3, independent[:1] * 2, independent[1:2], independent[2:] * 0.5])
        assert sorted(spanning(features @ features.T, 3).tolist()) == [0, 2, 3]

    def test_a_student_as_wide_as_its_teacher_starts_as_its_equal(self):
        teacher_encoder = tiny_teacher()
        pictures = torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        teacher = Teacher.fit(teacher_encoder, COMPONENTS, pictures)
        student = DistilledEncoder("student", WIDTHS, COMPONENTS, TINY.embedding)
        imitate(student, teacher, pictures)
        fit_heads(student, teacher, pictures)
        unseen = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(2))
        told, answers = student.features(unseen, tuple(COMPONENTS)), teacher.coordinates(unseen)
        for layer in COMPONENTS:
            assert (told[layer] - answers[layer]).norm() / answers[layer].norm() < 0.02, layer

    def test_all_coordinates_keep_gram_distances(self):
        encoder = tiny_teacher()
        pictures = torch.rand(6, 3, 48, 48, generator=torch.Generator().manual_seed(3))
        teacher = Teacher.fit(encoder, WIDTHS, pictures)
        features, coordinates = encoder.features(pictures[:2], tuple(WIDTHS)), teacher.coordinates(pictures[:2])
        for layer in WIDTHS:
            (a, b), (u, v) = gram(features[layer]), gram(coordinates[layer])
            assert torch.isclose((a - b).norm() / b.norm(), (u - v).norm() / v.norm(), rtol=1e-3)
            assert coordinates[layer].square().mean() == pytest.approx(1, rel=0.5)

    def test_relative_errors_equal_the_definition(self):
        generator = torch.Generator().manual_seed(4)
        told, answer = torch.randn(2, 3, 4, 5, generator=generator), torch.randn(2, 3, 4, 5, generator=generator)
        feature, second = relative_errors(told, answer)
        for n in range(2):
            z, t = answer[n].flatten(1).double(), told[n].flatten(1).double()
            assert float(feature[n]) == pytest.approx(float((t - z).norm() ** 2 / z.norm() ** 2), rel=1e-5)
            expected = float((t @ t.T - z @ z.T).norm() ** 2 / (z @ z.T).norm() ** 2)
            assert float(second[n]) == pytest.approx(expected, rel=1e-5)
        dim, _ = relative_errors(told * 1e-6, answer * 1e-6)
        assert dim.max() < 1e-9  # a black crop is not blown up to count as much as any other


def as_student(encoder, widths):
    """The first channels of every layer of `encoder`."""
    student = DistilledEncoder("student", widths, COMPONENTS, TINY.embedding)
    with torch.no_grad():
        for layer, convolution in student.convolutions.items():
            out, into = convolution.weight.shape[:2]
            convolution.weight.copy_(encoder.convolutions[layer].weight[:out, :into])
            convolution.bias.copy_(encoder.convolutions[layer].bias[:out])
    return student


class TestTraining:
    def test_crops_depend_on_the_generator_alone(self, corpus):
        crops = Crops(list(corpus), 24)
        drawn = [torch.stack([crops.draw(torch.Generator().manual_seed(seed)) for seed in range(60)]) for _ in range(2)]
        assert torch.equal(*drawn)
        assert drawn[0].shape == (60, 3, 24, 24) and drawn[0].dtype == torch.uint8
        assert len({crop.numpy().tobytes() for crop in drawn[0]}) == 60

    def test_training_lowers_the_loss_and_the_errors_on_held_out_crops(self, distillation):
        records = list(distillation())
        assert [record["step"] for record in records] == [0, 8, 16, 24]
        assert records[-1]["loss"] < records[1]["loss"]
        for layer in ("relu3_1", "relu4_1"):  # of relu5_1 hardly anything is left to learn
            assert records[-1][f"{layer} Gram"] < records[0][f"{layer} Gram"]

    @pytest.mark.slow
    @pytest.mark.parametrize("optimiser", ["adamw", "muon"])
    def test_a_resumed_training_has_the_bytes_of_an_unbroken_one(self, distillation, tmp_path, optimiser):
        recipe = replace(TINY, optimiser=optimiser)
        unbroken, broken = distillation(recipe), distillation(recipe)
        records = list(unbroken)
        for record in broken:
            if record["step"] == 8:
                broken.checkpoint(tmp_path / "state.safetensors")
                break
        resumed = distillation(recipe)
        resumed.resume(tmp_path / "state.safetensors")
        assert list(resumed) == records[2:] and resumed.history == records
        for name, value in unbroken.network.state_dict().items():
            assert torch.equal(value, resumed.network.state_dict()[name]), name

    def test_a_checkpoint_of_another_training_is_refused(self, distillation, corpus, tmp_path):
        one = distillation()
        next(iter(one))
        one.checkpoint(tmp_path / "state.safetensors")
        wide = tiny_teacher({layer: 3 * width for layer, width in WIDTHS.items()})
        with pytest.raises(UsageError, match="recipe differ"):
            Distillation(replace(TINY, seed=1), wide, list(corpus)[:8], []).resume(tmp_path / "state.safetensors")
        with pytest.raises(UsageError, match="data differ"):
            Distillation(TINY, wide, list(corpus)[:7], []).resume(tmp_path / "state.safetensors")

    def test_a_stage_begins_from_the_network_before_it_and_leaves_frozen_layers_alone(self, distillation):
        before = distillation()
        list(before)
        recipe = replace(TINY, frozen=["relu1_1"], components={**COMPONENTS, "relu5_1": 9}, steps=4)
        after = distillation(recipe, begin=before.network)
        next(iter(after))
        old, new = before.network.convolutions, after.network.convolutions
        assert all(torch.equal(old[layer].weight, new[layer].weight) for layer in WIDTHS)
        list(after)
        assert torch.equal(old["relu1_1"].weight, new["relu1_1"].weight)
        assert not torch.equal(old["relu2_1"].weight, new["relu2_1"].weight)

    def test_a_stage_that_lacks_its_beginning_is_refused(self, distillation):
        with pytest.raises(UsageError, match="to begin from"):
            distillation(replace(TINY, frozen=["relu1_1"]))
        with pytest.raises(UsageError, match="to begin from"):
            distillation(replace(TINY, widths={**WIDTHS, "relu1_1": 16}, frozen=["relu1_1"]), begin=distillation().network)
        with pytest.raises(UsageError, match="to begin from"):
            distillation(replace(TINY, widths={**WIDTHS, "relu5_2": 16}), begin=distillation().network)

    def test_a_narrower_stage_begins_as_the_network_before_it_whatever_its_teacher(self):
        pictures = torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        teacher = Teacher.fit(tiny_teacher(), COMPONENTS, pictures)
        other = tiny_teacher(seed=1)
        twice = other.convolutions["relu2_1"]
        twice.weight[1], twice.bias[1] = twice.weight[0], twice.bias[0]
        after = DistilledEncoder("after", {**WIDTHS, "relu2_1": WIDTHS["relu2_1"] - 1}, COMPONENTS, TINY.embedding)
        imitate(after, teacher, pictures, begin=as_student(other, WIDTHS))
        unseen = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(2))
        layers = [layer for layer in WIDTHS if layer != "relu2_1"]
        old, new = other.hidden(unseen, layers), after.hidden(unseen, layers)
        for layer in layers:
            assert (new[layer] / new[layer].norm() - old[layer] / old[layer].norm()).norm() < 0.02, layer

    def test_a_layer_that_has_become_wider_learns_from_the_teacher(self):
        wide = tiny_teacher()
        pictures = torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        teacher = Teacher.fit(wide, COMPONENTS, pictures)
        after = DistilledEncoder("after", WIDTHS, COMPONENTS, TINY.embedding)
        imitate(after, teacher, pictures, begin=as_student(wide, {**WIDTHS, "relu5_1": 5}))
        fit_heads(after, teacher, pictures)
        unseen = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(2))
        told, answers = after.features(unseen, tuple(COMPONENTS)), teacher.coordinates(unseen)
        for layer in COMPONENTS:
            assert (told[layer] - answers[layer]).norm() / answers[layer].norm() < 0.02, layer

    def test_the_loss_is_the_weighted_mean_of_the_errors_of_layers(self, distillation):
        one = distillation()
        next(iter(one))
        answers = {layer: value[:2].float() for layer, value in one.answers.items()}
        pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(8))
        alone = {layer: float(one.loss(pictures, {layer: answer}).detach()) for layer, answer in answers.items()}
        one.recipe = replace(TINY, layer_weights={"relu1_1": 0.0, "relu5_1": 3.0})
        weights = {**dict.fromkeys(COMPONENTS, 1.0), "relu1_1": 0.0, "relu5_1": 3.0}
        expected = sum(weights[k] * alone[k] for k in alone) / sum(weights.values())
        assert float(one.loss(pictures, answers).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def judge(shared, monkeypatch):
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(shared / "weights"))
    return encoders.load("vgg19", device="cpu", pooling="average")


class TestRecipe:
    def test_a_recipe_says_which_works_are_held_out(self, corpus, two_styles):
        whole, part = replace(TINY, held_out={two_styles.name: None}), replace(TINY, held_out={two_styles.name: 5})
        assert [len(works) for works in whole.split([corpus])] == [0, 12]
        learnt, held = part.split([corpus])
        assert len(held) == 5 and len(learnt) == 7
        assert max(work.sha256 for work in held) < min(work.sha256 for work in learnt)
        elsewhere = replace(corpus, root=two_styles.parent)  # the same pictures, given a second time under another name
        assert not {work.sha256 for work in held} & {work.sha256 for work in part.split([corpus, elsewhere])[0]}

    def test_a_recipe_file_with_a_slip_is_refused(self, tmp_path):
        path, stages = tmp_path / "recipe.json", json.loads(SHIPPED.read_text())
        for wrong, message in (
            ([stages[0], {**stages[-1], "stepz": 3}], "stepz"),
            ([{"steps": 3}], "widths"),
            ([], "list of objects"),
            (stages[0], "list of objects"),
            ([stages[0], {**stages[0], "held_out": {}}], "same works"),
            ([{**stages[0], "optimiser": "sgd"}], "adamw or muon"),
        ):
            path.write_text(json.dumps(wrong))
            with pytest.raises(UsageError, match=message):
                read_stages(path)

    def test_stages_survive_being_written(self, tmp_path):
        stages = [TINY, replace(TINY, layer_weights={"relu5_1": 3.0}, frozen=["relu1_1"])]
        (tmp_path / "recipe.json").write_text(write_stages(stages))
        assert read_stages(tmp_path / "recipe.json") == stages

    def test_the_shipped_weights_name_the_shipped_recipe(self):
        from safetensors import safe_open

        with safe_open(str(WEIGHTS), framework="pt") as file:
            assert file.metadata()["recipe"] == write_stages(read_stages(SHIPPED))
        assert all(value.isfinite().all() for value in load_file(WEIGHTS).values())


class TestEvaluation:
    def test_the_embedded_encoder_takes_an_eighth_of_the_operations_of_vgg19(self, judge, encoder):
        found = evaluation.costs({"vgg19": judge, "ours": encoder}, 128, repeats=1)
        # The convolutions alone, forward and back to the pixels, each multiplication and addition counted.
        convolutions, side, width = 0, 128, 3
        for layer, out in judge.channels.items():
            side = side // 2 if layer.endswith("_1") and layer != "relu1_1" else side
            convolutions += 2 * 2 * 9 * width * out * side**2
            width = out
        assert convolutions <= found["vgg19"].operations <= 1.1 * convolutions
        assert found["vgg19"].operations >= 8 * found["ours"].operations

    def test_pairs_are_nobodys_choice(self, corpus):
        works = list(corpus)
        chosen = evaluation.pairs(works[:3], [works[3:6], works[6:8]], 5)
        assert chosen == evaluation.pairs(works[2::-1], [works[5:2:-1], works[6:8]], 5)
        assert [pair.style in works[3:6] for pair in chosen] == [True, False, True, False, True]

    @pytest.mark.slow
    def test_content_weights_are_found_by_matching_the_content_distance(self, corpus, encoder):
        works = list(corpus)
        chosen, settings = evaluation.pairs(works[0:4:2], [works[1:4:2]], 2), Settings(method="gram", size=48, steps=20)
        goal = evaluation.drive(chosen, encoder, encoder, replace(settings, alpha=0.5))
        driven = evaluation.drive_matched(chosen, encoder, encoder, settings, goal.content)
        assert abs(driven.content - goal.content) <= 0.1 * goal.content  # so few steps end now here, now there
        assert driven.alpha != settings.alpha
        measured = [content_distance(p, pair.content.load(), encoder) for p, pair in zip(driven.pictures, chosen, strict=True)]
        assert np.mean(measured) == pytest.approx(driven.content, rel=0.02)  # the pictures were kept in eight bits

    def test_an_encoder_agrees_with_itself(self, corpus, encoder):
        found = evaluation.retrieval([corpus], encoder, encoder)
        assert found.agreement == 1 and 0 <= found.chance <= found.precision <= 1

    def test_an_interrupted_transfer_is_not_kept_as_a_judged_one(self, corpus, encoder, monkeypatch, tmp_path):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
        works = list(corpus)
        pair, settings = evaluation.Pair(works[0], works[1]), Settings(method="gram", size=32, steps=3)
        with monkeypatch.context() as patch:

            def interrupted(self):
                raise KeyboardInterrupt
                yield

            patch.setattr(evaluation.Transfer, "__iter__", interrupted)
            with pytest.raises(KeyboardInterrupt):
                evaluation.judged(pair, encoder, encoder, settings)
        assert not list((tmp_path / "judged").glob("*"))
        numbers, _ = evaluation.judged(pair, encoder, encoder, settings)
        assert numbers["content"] > 0


class TestCommand:
    @pytest.mark.slow
    def test_the_command_distils_resumes_and_judges(self, judge, two_styles, tmp_path, capsys, monkeypatch):
        stages = json.loads(SHIPPED.read_text())
        for recipe in stages:
            recipe |= {"held_out": {"photos": None}, "crop": 32, "batch": 2, "pool": 4, "start": 2}
            recipe |= {"widths": {**dict.fromkeys(recipe["widths"], 4)}, "components": dict.fromkeys(recipe["components"], 4)}
        path, out = tmp_path / "recipe.json", tmp_path / "mine.safetensors"
        path.write_text(json.dumps(stages))
        command = [
            "distil",
            "--data",
            str(two_styles),
            "--recipe",
            str(path),
            "--out",
            str(out),
            "--device",
            "cpu",
            "--steps",
            "3",
        ]
        step, left = Distillation._step, iter([True] * 4 + [False])  # three steps of the first stage, one of the second
        monkeypatch.setattr(
            Distillation, "_step", lambda self: step(self) if next(left) else (_ for _ in ()).throw(KeyboardInterrupt)
        )
        monkeypatch.setattr("workbench.cli.distil.REPORT_EVERY", 1)
        assert main(command) == 130
        assert not out.exists()
        monkeypatch.setattr(Distillation, "_step", step)
        assert main(command) == 0
        captured = capsys.readouterr().out
        assert f"going on from {tmp_path / 'mine.stage1.safetensors'}" in captured and "going on from step 1" in captured
        assert hashlib.sha256(out.read_bytes()).hexdigest() in captured
        assert sorted(p.name for p in tmp_path.glob("mine*")) == ["mine.pdf", "mine.png", "mine.safetensors"]
        assert encoders.load(f"embedded:{out}", device="cpu").channels["relu5_1"] == 4

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "--out is missing"),
            (["--out", "x.bin"], "suffix"),
            (["--out", "x.safetensors", "--figure", "x.png"], "--figure needs --evaluate"),
            (["--evaluate"], "kept out of training"),
        ],
    )
    def test_what_the_command_refuses(self, arguments, message, judge, two_styles, capsys):
        assert main(["distil", "--data", str(two_styles), *arguments]) == 2
        assert message in capsys.readouterr().err
