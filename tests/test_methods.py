"""Methods: what a request may say, what its words stand for, and that every method paints what it is asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench import images, methods, targets
from workbench.errors import UsageError
from workbench.generative.trained import names_in_package
from workbench.methods import Card, Library, Method, OneShot, Request, parse
from workbench.study import comparison
from workbench.transfer import Settings

SETTINGS = Settings(size=48, steps=2, plateau=0)


@pytest.fixture
def library(corpus, encoder):
    """Has a content "photo", the corpus "two", and one encoder for all that is painted and looked for."""
    photo = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    return Library(contents={"photo": photo}, corpora={"two": corpus}, encoders={"embedded": encoder})


def request(**changes):
    return Request(**{"content": "photo", "corpora": ("two",), "retriever": "embedded", "settings": SETTINGS, **changes})


class TestWords:
    """TARGET, METHOD:TARGET or TARGET/COMBINE."""

    @pytest.mark.parametrize(
        ("words", "method", "found"),
        [
            ("blend", "neighbours", ("blend", "mean", "neighbours")),
            ("blend", "gram", ("blend", "mean", "gram")),
            ("gram:blend", "neighbours", ("blend", "mean", "gram")),
            ("neighbours:single", "gram", ("single", "mean", "neighbours")),
            ("colours:blend", "gram", ("blend", "mean", "colours")),
            ("blend/barycentre", "neighbours", ("blend", "barycentre", "gram")),
            ("whole/softmin", "gram", ("whole", "softmin", "gram")),
            ("gram:whole/patches", "neighbours", ("whole", "patches", "gram")),
        ],
    )
    def test_they_name_a_target_and_a_method_and_change_no_other_setting(self, words, method, found):
        settings = Settings(method=method, size=96, alpha=0.3, looseness=0.5)
        target, combine, name = found
        assert parse(words, settings) == (target, combine, replace(settings, method=name))
        asked = request(settings=settings).asking(words, style="Work 1" if target == "single" else "")
        assert (asked.target, asked.combine, asked.method) == found
        assert parse(asked.words, Settings())[:2] == (target, combine)

    @pytest.mark.parametrize(("word", "now"), [("pooled", "mean"), ("apart", "softmin"), ("bag", "patches")])
    def test_former_words_are_understood_and_the_new_one_is_said(self, capsys, word, now):
        assert parse(f"gram:whole/{word}", Settings())[1] == now
        said = capsys.readouterr().err
        assert word in said and now in said and said.count("\n") == 1

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("grm:blend", "method 'grm': did you mean gram"),
            ("Gram:blend", "method 'Gram': did you mean gram"),
            ("gram:neighbours:blend", "method 'gram:neighbours'"),
            ("single:gram", "method 'single'"),
            ("gram:", "target '': choose single"),
            ("gram:bland", "target 'bland': choose single"),
            ("blend/barycenter", "combine = 'barycenter': choose mean, barycentre"),
            ("neighbours:blend/barycentre", "'barycentre' .* go with the method gram"),
            ("gram:regions/patches", "regions goes with .* combine mean"),
            ("colours:blend/softmin", "'softmin' go with the method gram"),
        ],
    )
    def test_those_that_are_nearly_right_are_refused(self, words, says):
        with pytest.raises(UsageError, match=says):
            request().asking(words)

    @pytest.mark.parametrize("near", ["van-gohg", "vangogh", "Van-Gogh", "van_gogh:blend"])
    def test_a_misspelt_network_of_the_package_is_suggested(self, near):
        assert "van-gogh" in names_in_package()
        with pytest.raises(UsageError, match=r"did you mean van-gogh\?"):
            request().asking(near if ":" in near else f"{near}:blend")

    def test_networks_of_the_package_are_named_where_nothing_is_near(self, tmp_path, monkeypatch):
        with pytest.raises(UsageError, match=r"choose neighbours, gram.*, van-gogh, or the file"):
            methods.get("xyz")
        monkeypatch.setattr("workbench.generative.trained.SHIPPED", tmp_path)
        with pytest.raises(UsageError, match="choose neighbours, gram") as error:
            methods.get("van-gohg")
        assert "van-gogh" not in str(error.value)

    def test_they_take_along_what_goes_with_the_target_alone(self):
        blended = request(target="blend", tau=0.2)
        assert blended.asking("gram:blend").tau == 0.2
        assert blended.asking("nearest").tau is None
        assert blended.asking("single", style="Work 1").style == "Work 1"


class TestRequest:
    """Each rule, and that its message names the field."""

    def test_lists_become_tuples_and_what_is_no_list_is_refused(self):
        request = Request(corpora=["nocturne"], exclude=["a.png"], target="by-hand", weights={"a": 1})
        assert hash(request) == hash(replace(request)) and request.weights == (("a", 1.0),)
        with pytest.raises(UsageError, match="corpora = 'nocturne'"):
            Request(corpora="nocturne")
        with pytest.raises(UsageError, match="positive"):
            Request(target="by-hand", weights={"a": -1})

    def test_a_single_painting_may_be_named_later_but_not_be_missing_in_the_end(self, tmp_path):
        request = Request(corpora=(str(tmp_path),), target="single")
        assert "single needs style" in request.missing
        with pytest.raises(UsageError, match="single needs style"):
            Library().target(request)
        assert not Request(target="single").missing  # a sample painter has a default
        assert not replace(request, style="starry.jpg").missing

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("target", {"target": "bland"}),
            ("combine", {"combine": "median"}),
            ("style", {"style": "Work 1"}),
            ("tau", {"target": "nearest", "tau": 0.1}),
            ("tau", {"tau": -1.0}),
            ("mask", {"mask": "m.png"}),
            ("weights", {"weights": (("Work 1", 1.0),)}),
            ("style", {"target": "single", "corpora": (), "style": "no/such/file.jpg"}),
            ("weights", {"target": "by-hand"}),
            ("shares", {"shares": (1.0,)}),
            ("shares", {"corpora": ("two", "two"), "shares": (1.0,)}),
            ("shares", {"corpora": ("two", "two"), "shares": (1.0, -1.0)}),
            ("corpus", {"corpora": ("two", "two"), "target": "regions"}),
            ("corpus", {"corpora": ()}),
            ("where", {"corpora": (), "target": "single", "where": ("genre=portrait",)}),
            ("where", {"where": ("genre",)}),
            ("exclude", {"corpora": (), "target": "single", "exclude": ("Work 1",)}),
            ("method", {"settings": Settings(method="magic")}),
            ("style_loss", {"settings": Settings(style_loss="w2")}),
            ("style_loss", {"combine": "softmin", "settings": Settings(method="gram", style_loss="w2")}),
            ("strength", {"settings": Settings(method="gram", style_loss="patches", strength=0.5)}),
            ("colour", {"settings": Settings(method="colours", colour="content")}),
        ],
    )
    def test_what_does_not_go_together_is_refused_in_a_line(self, field, changes):
        with pytest.raises(UsageError) as error:
            request(**changes)
        assert field in str(error.value) and "\n" not in str(error.value)

    def test_equal_requests_are_one_key(self):
        assert len({request(), request(), request(tau=0.2)}) == 2


class TestLibrary:
    """Names stand for what the rooms themselves make of them."""

    def test_its_targets_are_those_of_a_selection(self, library, corpus, encoder):
        selection = targets.Selection(corpus, library.content("photo"), encoder, retriever=encoder)
        expected = {
            "single": selection.single("Work 3"),
            "nearest": selection.nearest(),
            "blend": selection.blend(0.2),
            "cluster": selection.cluster(0.2),
            "whole": selection.whole(),
            "by-hand": selection.by_hand({"Work 1": 2.0, "Work 4": 1.0}),
        }
        options = {"single": {"style": "Work 3"}, "by-hand": {"weights": (("Work 1", 2.0), ("Work 4", 1.0))}}
        options |= {name: {"tau": 0.2} for name in ("blend", "cluster")}
        for name, target in expected.items():
            assert library.target(request(target=name, **options.get(name, {}))) == target

    def test_a_target_is_made_once_whatever_the_size_of_the_picture(self, library):
        one, other = (request(settings=replace(SETTINGS, size=size, seed=size)) for size in (48, 64))
        assert not library.knows_target(one)
        assert library.target(one) is library.target(other) and library.knows_target(other)

    def test_where_and_exclude_leave_the_works_they_say(self, library):
        (left,) = library.works(request(where=("genre=portrait", "year=1900..1906"), exclude=("Work 2",)))
        assert [work.title for work in left] == ["Work 0", "Work 4", "Work 6"]
        with pytest.raises(UsageError, match="did you mean"):
            library.works(request(exclude=("Wrk 2",)))
        with pytest.raises(UsageError, match="where"):
            library.works(request(where=("genre=portrait", "year=1901..1901")))

    def test_of_several_corpora_where_leaves_those_with_a_work_that_meets_it(self, corpus):
        def of(name, artist, first, last):
            works = [replace(work, metadata={**work.metadata, "artist": artist}) for work in corpus.works[first:last]]
            return replace(corpus, name=name, works=tuple(works))

        bare = replace(corpus, name="c", works=tuple(replace(work, metadata={}) for work in corpus.works[10:]))
        library = Library(corpora={"a": of("a", "Ada", 0, 5), "b": of("b", "Ben", 5, 10), "c": bare})

        def left(*where, **more):
            asked = request(corpora=("a", "b", "c"), target="whole", where=where, **more)
            return {found.name: len(found) for found in library.works(asked)}

        assert left("artist=Ada") == {"a": 5}
        assert left("artist=Ada", "artist=Ben") == {"a": 5, "b": 5}
        assert left("year=1904..1906") == {"a": 1, "b": 2}
        assert left("artist=Ben", "genre=portrait") == {"b": 2} and left() == {"a": 5, "b": 5, "c": 2}
        for where, says in (
            (("artist=Cid",), "no work with artist 'Cid'"),
            (("place=Arles",), "no metadata column 'place'"),
            (("artist=Ada", "year=1909..1909"), "no work of corpus 'a' or 'b' or 'c' meets all of where at once"),
        ):
            with pytest.raises(UsageError, match=says):
                left(*where)
        with pytest.raises(UsageError, match="corpus 'b' has a share, and no work that meets where"):
            left("artist=Ada", shares=(1, 1, 1))

    def test_several_corpora_are_mixed_by_shares(self, library, corpus):
        library = Library(
            contents={"photo": library.content("photo")},
            corpora={"warm": corpus.select(genre="portrait"), "cool": corpus.select(genre="landscape")},
        )
        mixed = library.target(request(corpora=("warm", "cool"), target="whole", shares=(3.0, 1.0)))
        warm = sum(weight for work, weight in zip(mixed.works, mixed.weights, strict=True) if work.genre == "portrait")
        assert warm == pytest.approx(0.75)


class Shift(Method):
    """Moves the content a little towards a grey."""

    name = "shift"
    has_steps = False
    card = Card("Shift", "half way to grey", "of this test")

    def check(self, target, combine, settings):
        if settings.colour != "style":
            raise UsageError("colour: shift has one way only")

    def begin(self, content, target, encoder, settings):
        return Shifted(content, target, encoder, settings)


class Shifted(OneShot):
    def paint(self, content):
        return (content + 0.5) / 2


@pytest.fixture
def shift(monkeypatch):
    """A method of the test's own, known by its name until the test is over."""
    monkeypatch.setattr("workbench.methods.registry.METHODS", {**methods.METHODS})
    methods.register(Shift())


class TestMethods:
    """The door: a request goes in, a picture comes out."""

    @pytest.mark.parametrize("name", [name for name in methods.METHODS if name != "artist"])  # see test_artist.py
    def test_every_method_paints_what_a_request_says(self, library, name):
        result = methods.get(name).stylise(request(settings=replace(SETTINGS, method=name)), library)
        assert result.complete and tuple(result.image.shape) == (1, 3, 34, 48)
        assert float(result.image.min()) >= 0 and float(result.image.max()) <= 1
        assert result.target == library.target(request())
        assert not torch.allclose(result.image, images.resize(library.content("photo"), 48), atol=0.02)
        card = methods.get(name).card
        assert card.title and card.summary and card.source

    def test_one_of_ones_own_goes_everywhere_that_the_others_go(self, shift, library, corpus, encoder):
        own = request(settings=replace(SETTINGS, method="shift"))
        small = images.resize(library.content("photo"), 48)
        assert torch.allclose(methods.get("shift").stylise(own, library).image, (small + 0.5) / 2)
        with pytest.raises(UsageError, match="colour"):
            request(settings=replace(SETTINGS, method="shift", colour="content"))
        assert own.asking("shift:whole").words == "shift:whole"
        chosen = [targets.single(corpus[0]), targets.single(corpus[1])]
        oeuvre = targets.moments(targets.whole(corpus), encoder, 48, encoder.style_layers)
        each = [own.settings, replace(SETTINGS, method="gram")]
        ours, theirs = comparison.paint_each(library.content("photo"), chosen, oeuvre, encoder, each, show=False)
        assert torch.allclose(ours.result.image, (small + 0.5) / 2)
        assert np.isfinite([ours.style.gram, ours.content, theirs.style.gram]).all()

    def test_what_paints_in_one_step_has_no_state_in_between_and_says_so_in_a_line(self, library, encoder, tmp_path):
        settings = replace(SETTINGS, method="colours")
        run = methods.get("colours").begin(library.content("photo"), library.target(request()), encoder, settings)
        for refused in (run.checkpoint, run.resume):
            with pytest.raises(UsageError, match="colours paints in one step") as error:
                refused(tmp_path / "c")
            assert "\n" not in str(error.value)
        assert not run.finished and run.run().complete and run.finished and list(run) == []

    def test_colours_alone_are_those_of_the_works(self, library, corpus, encoder):
        run = methods.get("colours").begin(
            library.content("photo"), targets.single(corpus[1]), encoder, replace(SETTINGS, method="colours")
        )
        painting = corpus[1].load(48)
        assert torch.allclose(run.run().image.mean(dim=(2, 3)), painting.mean(dim=(2, 3)), atol=0.05)
