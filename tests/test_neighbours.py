"""Neighbours: matches against loops, features taken over against loops, what regions and weights allow, and whole transfers."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from workbench import encoders, images, inputs, people, targets
from workbench.corpora import ingest
from workbench.errors import UsageError
from workbench.images import colour
from workbench.retrieval import regions
from workbench.retrieval.pieces import Piece
from workbench.transfer import Settings, Transfer, neighbours, sources
from workbench.transfer.hypercolumns import (
    CELL,
    Space,
    grid_of,
    layers_of,
    on_grid,
    stride,
)
from workbench.transfer.losses import NeighbourLoss
from workbench.transfer.matching import Lattice, Matcher, nearest
from workbench.transfer.objective import Objective
from workbench.transfer.sources import Sources, Window


@pytest.fixture(scope="module")
def encoder():
    return encoders.load("embedded", precision="float32")


@pytest.fixture(scope="module")
def content():
    y, x = np.mgrid[:96, :80]
    pixels = np.stack([np.hypot(x - 40, y - 48) / 70, x / 80, y / 96])
    return torch.from_numpy(pixels.astype(np.float32))[None]


@pytest.fixture(scope="module")
def blend(corpus):
    works = tuple(corpus)[:3]
    return targets.StyleTarget("blend", works, (0.5, 0.3, 0.2))


def unit(generator, *shape):
    return F.normalize(torch.randn(*shape, generator=generator), dim=1)


def a_matcher(seed=0, regions=1):
    generator = torch.Generator().manual_seed(seed)
    grid, grids = (5, 7), [(6, 4), (3, 8)]
    lattice = Lattice(grids, torch.device("cpu"))
    query, columns = unit(generator, 35, 6), unit(generator, len(lattice), 6)
    own, theirs = (torch.randint(0, regions, (n,), generator=generator) for n in (35, len(lattice)))
    return Matcher(query, grid, own, columns, lattice, theirs), grid, grids, generator


def sources_of(encoder, pictures, generator):
    layers, parts = layers_of(encoder), []
    with torch.no_grad():
        for picture in pictures:
            features = encoder.features(picture, layers)
            every = torch.ones(grid_of(features), dtype=torch.bool)
            parts.append(Window(picture, {layer: f[0] for layer, f in features.items()}, every, 0))
        return Sources(parts, lambda picture: on_grid(encoder.features(picture, layers)), generator)


class TestHypercolumns:
    """The features of a place at several depths."""

    def test_places_are_positions_of_relu3_1_and_every_layer_is_brought_there(self, encoder, content):
        features = encoder.features(content, layers_of(encoder))
        found = on_grid(features)
        rows, columns = grid_of(features)
        assert (rows, columns) == (96 // CELL, 80 // CELL)
        assert {layer: tuple(b.shape) for layer, b in found.items()} == {
            layer: (rows * columns, encoder.channels[layer]) for layer in features
        }
        torch.testing.assert_close(found["relu3_1"], features["relu3_1"][0].flatten(1).T)
        torch.testing.assert_close(found["relu1_1"][0], features["relu1_1"][0, :, :4, :4].mean(dim=(1, 2)))
        assert [stride(layer) for layer in features] == [1, 2, 4, 8, 8]

    def test_the_space_is_centred_on_the_paintings_and_pictures_on_themselves(self, encoder, content):
        found = on_grid(encoder.features(content, layers_of(encoder)))
        space = Space.spanned_by([found])
        torch.testing.assert_close(space.of_painting(found), space.of_picture(found), atol=1e-4, rtol=1e-4)
        assert space.of_painting(found).mean(dim=0).abs().max() < 1e-3
        brighter = {layer: b + 1 for layer, b in found.items()}
        torch.testing.assert_close(space.of_picture(brighter), space.of_picture(found), atol=1e-3, rtol=1e-3)

    def test_an_encoder_without_the_grid_is_refused(self, encoder):
        class Blind:
            name, channels = "blind", {"relu1_1": 3}

        with pytest.raises(UsageError, match="relu3_1"):
            layers_of(Blind())


class TestMatching:
    """Matches, against loops."""

    def test_moves_on_the_lattice_stay_in_their_picture(self):
        grids = [(3, 2), (2, 4)]
        lattice = Lattice(grids, torch.device("cpu"))
        starts = [0, 6]
        for number, (rows, columns) in enumerate(grids):
            for row in range(rows):
                for column in range(columns):
                    place = torch.tensor([starts[number] + row * columns + column])
                    for down in (-2, 0, 1):
                        for across in (-1, 0, 3):
                            moved, inside = lattice.moved(place, down, across)
                            y, x = row + down, column + across
                            assert bool(inside) == (0 <= y < rows and 0 <= x < columns)
                            y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
                            assert int(moved) == starts[number] + y * columns + x

    @pytest.mark.parametrize("block", [1, 7, 100])
    def test_the_search_is_brute_force_whatever_the_block(self, block):
        generator = torch.Generator().manual_seed(3)
        query, columns = unit(generator, 20, 8), unit(generator, 50, 8)
        brute = torch.stack([torch.argsort(columns @ q, descending=True)[:4] for q in query])
        assert torch.equal(nearest(query, columns, 4, block=block), brute)
        assert nearest(query, columns[:2], 4).shape == (20, 2)

    def test_likeness_and_agreement_are_what_loops_find(self):
        matcher, (rows, columns), grids, generator = a_matcher(regions=2)
        match = torch.randint(0, len(matcher.lattice), (rows * columns,), generator=generator)
        field = torch.randint(0, len(matcher.lattice), (rows * columns,), generator=generator)
        likeness, agreement = matcher.likeness(match), matcher.agreement(match, field)
        starts = [0, grids[0][0] * grids[0][1]]

        def move(place, down, across, number):
            height, width = grids[number]
            y, x = divmod(place - starts[number], width)
            inside = 0 <= y + down < height and 0 <= x + across < width
            y, x = min(max(y + down, 0), height - 1), min(max(x + across, 0), width - 1)
            return starts[number] + y * width + x, inside

        for place in range(rows * columns):
            y, x = divmod(place, columns)
            m = int(match[place])
            total = 0.0
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    beside = min(max(y + down, 0), rows - 1) * columns + min(max(x + across, 0), columns - 1)
                    other, inside = move(m, down, across, int(m >= starts[1]))
                    total += float(matcher.query[beside] @ matcher.columns[other]) - (0 if inside else 0.3)
            allowed = matcher.region[m] == matcher.query_region[place]
            assert float(likeness[place]) == pytest.approx(total / 9 if allowed else -9, abs=1e-5)
            agreed = 0
            for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                if 0 <= y + down < rows and 0 <= x + across < columns:
                    theirs = int(field[(y + down) * columns + x + across])
                    continued, inside = move(theirs, -down, -across, int(theirs >= starts[1]))
                    agreed += inside and continued == m
            assert float(agreement[place]) == pytest.approx(agreed / 4)

    def test_matches_respect_regions_and_never_what_is_not_to_be_matched(self):
        matcher, *_, generator = a_matcher(regions=3)
        matcher.region[::4] = -1
        match = matcher.coherent(matcher.independent(generator), generator)
        assert torch.equal(matcher.region[match], matcher.query_region)

    def test_regions_of_few_places_and_of_none_are_matched(self, encoder, content, corpus):
        matcher, *_, generator = a_matcher(regions=2)
        matcher.region[:] = 0
        matcher.region[3:5] = 1  # fewer than candidates are asked for
        assert torch.equal(matcher.region[matcher.independent(generator)], matcher.query_region)
        nothing, whole = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        nothing[..., 0, 0] = 1
        work = next(iter(corpus))
        there = targets.Guide(whole - nothing, (Piece(work),), (1.0,), 0.98, 1.0, 0.0, 1.0, True)
        speck = np.zeros((400, 400), dtype=np.uint8)
        speck[200, 200] = 1
        piece = Piece(work, 1, regions.Regions(speck, np.zeros((2, 1), dtype=np.float32)))
        missing = targets.Guide(nothing, (piece,), (1.0,), 0.02, 1.0, 0.0, 1.0, True)
        target = targets.StyleTarget("regions", (work,), (1.0,), guides=(there, missing))
        assert Transfer(content, target, encoder, Settings(size=96, steps=5)).run().complete

    def test_a_picture_finds_itself_whole(self):
        generator = torch.Generator().manual_seed(1)
        grid = (12, 10)
        columns = unit(generator, 120, 16)
        lattice = Lattice([grid], torch.device("cpu"))
        region = torch.zeros(120, dtype=torch.long)
        matcher = Matcher(columns, grid, region, columns, lattice, region)
        match = matcher.coherent(matcher.independent(generator), generator)
        assert torch.equal(match, torch.arange(120))

    def test_places_that_look_alike_do_not_all_take_one_match(self):
        generator = torch.Generator().manual_seed(1)
        flat = F.normalize(torch.ones(400, 8) + 0.01 * torch.randn(400, 8, generator=generator), dim=1)
        lattice = Lattice([(20, 20)], torch.device("cpu"))
        region = torch.zeros(400, dtype=torch.long)
        matcher = Matcher(flat[:1].repeat(400, 1), (20, 20), region, flat, lattice, region)
        match = matcher.coherent(matcher.independent(generator), generator)
        assert len(match.unique()) > 100
        assert float(matcher.agreement(match, match).mean()) > 0.3  # and yet they go on from one to the next

    @pytest.mark.parametrize("sides", [(96, 80), (95, 83), (101, 90)])
    def test_every_layer_is_seen_at_the_same_place_whatever_the_sides(self, sides):
        """A feature that says where it lies, in px, says the same at every layer of a place."""
        across = {
            layer: (torch.arange(sides[1] // n) + 0.5).mul(n).expand(1, 1, sides[0] // n, sides[1] // n)
            for layer, n in {"relu1_1": 1, "relu2_1": 2, "relu3_1": 4, "relu4_1": 8}.items()
        }
        found = on_grid(across)
        columns = grid_of(across)[1]
        inner = torch.arange(columns).repeat(grid_of(across)[0]).sub(columns // 2).abs() < columns // 2 - 1
        for layer, place in found.items():
            torch.testing.assert_close(place[inner], found["relu3_1"][inner], msg=layer)


class TestTransferred:
    """Features taken over, against loops."""

    def test_features_of_one_work_matched_with_itself_are_its_own(self, encoder, content):
        layers = layers_of(encoder)
        with torch.no_grad():
            features = encoder.features(content, layers)
        grid = grid_of(features)
        of_works = sources_of(encoder, [content], torch.Generator().manual_seed(0))
        match = torch.arange(grid[0] * grid[1])
        for layer, f in features.items():
            torch.testing.assert_close(of_works.features(match, grid, layer, tuple(f.shape[-2:])), f)

    def test_features_taken_over_are_what_loops_take(self, encoder, content):
        layers = layers_of(encoder)
        with torch.no_grad():
            pictures = [content, content.flip(3)[..., :64, :]]
            maps = [encoder.features(picture, layers) for picture in pictures]
        grids = [grid_of(f) for f in maps]
        generator = torch.Generator().manual_seed(0)
        of_works = sources_of(encoder, pictures, generator)
        rows, columns = 6, 5
        match = torch.randint(0, len(of_works.lattice), (rows * columns,), generator=generator)
        for layer, sides in {"relu1_1": (24, 20), "relu2_1": (12, 10), "relu3_1": (6, 5), "relu4_1": (3, 2)}.items():
            found = of_works.features(match, (rows, columns), layer, sides)
            per = CELL / stride(layer)  # positions of a place
            for y in range(sides[0]):
                for x in range(sides[1]):
                    at = ((y + 0.5) / per - 0.5, (x + 0.5) / per - 0.5)
                    corners = [int(np.floor(a)) for a in at]
                    total = torch.zeros(found.shape[1])
                    for dy in (0, 1):
                        for dx in (0, 1):
                            weight = 1.0
                            for d, c, a in zip((dy, dx), corners, at, strict=True):
                                weight *= a - c if d else 1 - (a - c)
                            row = min(max(corners[0] + dy, 0), rows - 1)
                            column = min(max(corners[1] + dx, 0), columns - 1)
                            m = int(match[row * columns + column])
                            number = int(m >= grids[0][0] * grids[0][1])
                            m -= number * grids[0][0] * grids[0][1]
                            f = maps[number][layer][0]
                            spot = [
                                int(np.floor((p + a - q + 0.5) * per))
                                for p, a, q in zip(divmod(m, grids[number][1]), at, (row, column), strict=True)
                            ]
                            total += weight * f[:, min(max(spot[0], 0), f.shape[1] - 1), min(max(spot[1], 0), f.shape[2] - 1)]
                    torch.testing.assert_close(found[0, :, y, x], total, atol=1e-5, rtol=1e-5)

    def test_a_match_that_goes_on_copies_deep_positions_in_order(self, encoder):
        """Whether the shift between picture and painting is even or odd, no deep position is repeated, nor the next skipped."""
        layers, generator = layers_of(encoder), torch.Generator().manual_seed(0)
        picture = torch.rand(1, 3, 96, 96, generator=generator)
        with torch.no_grad():
            features = encoder.features(picture, layers)
        of_works = sources_of(encoder, [picture], generator)
        rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
        for shift in (0, 1, 2, 3):
            taken = of_works.features(((rows + shift) * 24 + columns).flatten(), (16, 16), "relu4_1", (8, 8))
            first = (shift + 1) // 2
            torch.testing.assert_close(taken, features["relu4_1"][..., first : first + 8, :8])

    def test_the_loss_is_relative_has_exact_gradients_and_leaves_rims_out(self):
        generator = torch.Generator().manual_seed(0)
        target = {
            "a": torch.rand(1, 2, 8, 8, generator=generator).double(),
            "b": torch.rand(1, 3, 4, 4, generator=generator).double(),
        }
        loss = NeighbourLoss(target, {"b": 1})
        image = torch.zeros(1, 3, 8, 8)
        assert float(loss(image, target)) == 0
        means = {layer: f.mean(dim=(2, 3), keepdim=True).expand_as(f) for layer, f in target.items()}
        inner = means | {"b": target["b"][..., 1:-1, 1:-1].mean(dim=(2, 3), keepdim=True).expand_as(target["b"])}
        assert float(loss(image, inner)) == pytest.approx(1)  # what has the mean and no structure
        changed = target["b"].clone()
        changed[..., 0, :] += 5
        assert float(loss(image, target | {"b": changed})) == 0
        moved = [torch.rand_like(f).requires_grad_() for f in target.values()]
        assert torch.autograd.gradcheck(lambda *f: loss(image, dict(zip(target, f, strict=True))), moved)


class TestBlur:
    """What is compared through a blur."""

    def test_the_blur_is_scipys_and_leaves_small_pictures_their_size(self):
        picture = torch.rand(1, 3, 40, 31, generator=torch.Generator().manual_seed(0))
        found = neighbours.blurred(picture, 2.0)
        expected = scipy.ndimage.gaussian_filter(picture[0].numpy(), (0, 2, 2), mode="mirror", radius=6)
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)
        assert torch.equal(neighbours.blurred(picture, 0), picture)
        assert neighbours.blurred(picture[..., :3, :5], 4.0).shape == (1, 3, 3, 5)

    @pytest.mark.slow
    def test_through_a_blur_smooth_places_find_painted_ones(self, encoder, tmp_path):
        """The painting is rough where it is dark. A smooth dark place takes that paint, unless texture is compared as well."""
        noise = 0.4 * (torch.rand(1, 3, 160, 80, generator=torch.Generator().manual_seed(0)) - 0.5)
        dark, light = torch.full((1, 3, 160, 80), 0.35), torch.full((1, 3, 160, 80), 0.65)
        images.save(torch.cat([dark + noise, light], dim=3), tmp_path / "both.png")
        content = torch.cat([dark, light + noise], dim=3)
        roughness = {}
        for looseness in (0.0, 4.0):
            settings = Settings(size=160, looseness=looseness, palette=0, tv=0, alpha=0)
            picture = Transfer(content, targets.whole(ingest(tmp_path)), encoder, settings).run().image
            roughness[looseness] = float((picture - neighbours.blurred(picture, 2.0))[..., 16:-16, 16:64].std())
        assert roughness[4.0] > 3 * roughness[0.0], roughness


class TestDrawn:
    """Which parts of the works are drawn."""

    def test_a_small_piece_is_seen_with_its_surroundings(self, encoder, blend):
        """Its features are those it has in the painting, and places outside the piece are not matched."""
        layers, work = layers_of(encoder), blend.works[0]
        mask = torch.zeros(1, 1, work.height, work.width)
        mask[..., 40:52, 44:52] = 1
        painting = work.load(work.width)
        window, inside = sources._cut(painting, mask, 500, torch.Generator().manual_seed(0))
        assert min(window.shape[-2:]) >= min(sources.SMALLEST_WINDOW * CELL, work.height)
        features = sources.continued_features(encoder, window, layers)
        allowed = sources._allowed(inside, grid_of(features))
        assert 0 < int(allowed.sum()) <= 12

    def test_windows_take_shares_by_weight_and_whole_works_where_they_fit(self, encoder, blend):
        layers = layers_of(encoder)
        generator = torch.Generator().manual_seed(0)
        parts = sources.draw_windows(blend, encoder, layers, 64, 16 * 12, generator)
        assert [tuple(p.allowed.shape) for p in parts] == [(12, 16)] * 3  # a weight of an eighth or more sees all

    def test_works_of_small_shares_are_drawn_as_often_as_their_windows_make_up_for(self, encoder, blend):
        few = targets.StyleTarget("blend", blend.works, (0.96, 0.02, 0.02))
        generator = torch.Generator().manual_seed(0)
        places = 16 * 12  # a share is .02 * 8 * 192 = 31 places, the least window 144
        drawn = [len(sources.draw_windows(few, encoder, ("relu1_1", "relu3_1"), 64, places, generator)) - 1 for _ in range(60)]
        assert sum(drawn) / 120 == pytest.approx(31 / 144, abs=0.12)

    def test_no_painting_is_enlarged_much(self, encoder, blend):
        parts = sources.draw_windows(blend, encoder, layers_of(encoder), 4000, 10**6, torch.Generator().manual_seed(0))
        sides = [round(sources.ENLARGEMENT * side) for side in (blend.works[0].height, blend.works[0].width)]
        assert tuple(parts[0].features["relu1_1"].shape[-2:]) == tuple(sides)

    @pytest.mark.slow
    def test_regions_take_from_their_own_pieces(self, encoder, content, corpus):
        few = dataclasses.replace(corpus, works=corpus.works[:2])
        target = targets.Selection(few, content, encoder, retriever=encoder).regions()
        numbers = {
            part.region for part in sources.draw_windows(target, encoder, layers_of(encoder), 64, 400, torch.Generator())
        }
        assert numbers == set(range(len(target.guides)))
        result = Transfer(content, target, encoder, Settings(size=64, steps=10)).run()
        assert result.complete


class TestTransfers:
    """Whole transfers."""

    def test_a_painting_with_itself_as_content_stays_what_it_is(self, encoder, corpus):
        work = next(iter(corpus))
        result = Transfer(work.load(), targets.single(work), encoder, Settings(size=64, steps=20)).run()
        assert float((result.image - work.load()).abs().mean()) < 0.05

    def test_the_picture_comes_nearer_to_the_paintings(self, encoder, content, blend):
        transfer = Transfer(content, blend, encoder, Settings(size=96, steps=50))
        result = transfer.run()
        totals = [found["total"] for found in result.history]
        assert result.complete
        assert totals[-1] < 0.7 * totals[0]
        assert set(result.history[-1]) == {"content", "style", "tv", "range", "total"}

    def test_a_seed_repeats_and_another_gives_another_picture(self, encoder, content, corpus):
        target = targets.whole(corpus)

        def paint(seed):
            return Transfer(content, target, encoder, Settings(size=96, steps=10, seed=seed)).run().image

        assert torch.equal(paint(1), paint(1))
        assert not torch.equal(paint(1), paint(2))

    @pytest.mark.slow
    def test_what_was_stopped_goes_on_to_the_same_bytes(self, encoder, content, blend, tmp_path):
        settings = Settings(size=320, steps=10)  # two scales of 4
        whole, paths = Transfer(content, blend, encoder, settings), []
        for iterate in whole:
            if iterate.step in (2, 6):
                paths.append(whole.checkpoint(tmp_path / f"{iterate.step}.safetensors"))
        for path in paths:
            assert torch.equal(Transfer(content, blend, encoder, settings).resume(path).run().image, whole.image)

    @pytest.mark.slow
    def test_a_face_keeps_some_of_the_content_and_nothing_else_does(self, encoder, corpus, monkeypatch):
        content = inputs.content("grace_hopper")
        faces = people.faces(content)
        ((left, _, right, _),) = [face.box for face in faces]

        def kept_at(*grid):
            return neighbours._kept_in_faces(faces, grid, torch.device("cpu"))

        kept = kept_at(40, 32)
        assert float(kept.max()) == pytest.approx(neighbours.FACE_SHARE * (30 / (32 * (right - left))) ** 0.5, rel=1e-3)
        assert 0.005 < float(kept.mean()) < 0.2
        assert float(kept_at(160, 128).max()) == pytest.approx(float(kept.max()) / 2, rel=1e-3)
        assert float(kept_at(10, 8).max()) <= neighbours.LARGEST_FACE_SHARE + 1e-6
        assert float(neighbours._kept_in_faces((), (16, 16), torch.device("cpu")).max()) == 0
        inside = kept / kept.max()
        change = {}
        for share in (0.0, 0.8):
            monkeypatch.setattr(neighbours, "FACE_SHARE", share)
            result = Transfer(content, targets.whole(corpus), encoder, Settings(size=160, steps=40, palette=0)).run().image
            away = (result - images.resize(content, 160)).abs().mean(dim=1, keepdim=True)
            where = torch.nn.functional.interpolate(inside, tuple(away.shape[-2:]), mode="bilinear")
            change[share] = [float((away * w).sum() / w.sum()) for w in (where, (where == 0).float())]
        assert change[0.8][0] < 0.7 * change[0.0][0]
        assert change[0.8][1] == pytest.approx(change[0.0][1], rel=0.1)

    def test_strength_zero_aims_at_the_content(self, encoder, content, blend):
        result = Transfer(content, blend, encoder, Settings(size=96, steps=30, strength=0)).run()
        plain = Transfer(content, blend, encoder, Settings(size=96, steps=30)).run()
        shown = images.resize(content, 96)
        assert float((result.image - shown).abs().mean()) < 0.25 * float((plain.image - shown).abs().mean())

    @pytest.mark.slow
    def test_no_frame_is_drawn(self, encoder, corpus):
        """A content of one colour after one painting: along the border the picture is no lighter or darker than inside."""
        content, work = torch.full((1, 3, 128, 128), 0.5), corpus.works[1]
        each = [Settings(size=128, steps=30, seed=seed) for seed in range(4)]
        results = [Transfer(content, targets.single(work), encoder, settings).run() for settings in each]
        mean = torch.cat([result.image for result in results]).mean(dim=0)
        rim = torch.ones(128, 128, dtype=torch.bool)
        rim[4:-4, 4:-4] = False
        inside, outside = (mean[:, mask].mean(dim=1) for mask in (~rim, rim))
        assert float((inside - outside).abs().max()) < 0.04

    @pytest.mark.parametrize("way", ["content", "luminance"])
    def test_colours_are_kept_where_that_is_asked(self, encoder, content, blend, way):
        def chroma(picture):
            return colour.lab(picture)[:, 1:].mean(dim=(2, 3))

        each = [Settings(size=96, steps=40, colour=colour) for colour in (way, "style")]
        kept, free = (Transfer(content, blend, encoder, settings).run().image for settings in each)
        away = [float((chroma(picture) - chroma(content)).abs().mean()) for picture in (kept, free)]
        assert away[0] < 0.5 * away[1]

    @pytest.mark.parametrize("sides", [(17, 40), (33, 31), (64, 9)])
    def test_odd_and_narrow_pictures_are_painted(self, encoder, blend, sides):
        generator = torch.Generator().manual_seed(0)
        narrow = torch.rand(1, 3, *sides, generator=generator)
        result = Transfer(narrow, blend, encoder, Settings(size=max(sides), steps=5)).run()
        assert result.image.shape == narrow.shape

    @pytest.mark.parametrize("shape", [(1, 64), (64, 2), (3, 3)])
    def test_a_picture_thinner_than_a_place_is_refused_in_one_line(self, encoder, shape):
        features = encoder.features(torch.zeros(1, 3, *shape), layers_of(encoder))
        with pytest.raises(UsageError, match="no place of 4 px"):
            on_grid(features)

    def test_a_corpus_of_one_small_picture_serves(self, encoder, content, tmp_path):
        images.save(torch.full((1, 3, 40, 40), 0.3), tmp_path / "one.png")
        target = targets.whole(ingest(tmp_path))
        assert Transfer(content, target, encoder, Settings(size=96, steps=10)).run().complete

    @pytest.mark.parametrize("change", [{"style_loss": "w2"}, {"method": "gram", "style_loss": "nothing"}, {"method": "magic"}])
    def test_what_does_not_go_together_is_refused(self, encoder, content, blend, change):
        with pytest.raises(UsageError):
            Transfer(content, blend, encoder, Settings(**change))

    def test_statistics_that_are_combined_go_with_gram_alone(self, encoder, content, blend):
        with pytest.raises(UsageError, match="gram"):
            Transfer(content, blend.combined("barycentre"), encoder, Settings())

    @pytest.mark.parametrize("side", [160, 203])
    def test_the_content_is_at_distance_zero_from_itself(self, encoder, blend, side):
        """Strength 0 aims at the content's own features; padding at the border has no part in that."""
        picture = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        picture = neighbours.blurred(picture, 3.0)
        loss = neighbours.loss(picture, blend, encoder, size=side, looseness=1, strength=0, seed=0)
        with torch.no_grad():
            assert float(loss(picture, encoder.features(picture, loss.layers))) < 2e-3

    def test_the_objective_has_the_features_that_were_found(self, encoder, content, blend):
        loss = neighbours.loss(content, blend, encoder, size=96, looseness=1, strength=1, seed=0)
        objective = Objective(encoder, {"style": (1.0, loss)})
        total, parts = objective(content)
        assert float(total) == pytest.approx(float(parts["style"]))
        assert loss.layers == layers_of(encoder)
