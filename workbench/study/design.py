"""The design of a study: contents x methods x artists x seeds x content weights, crossed; the picture of each cell."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from workbench import encoders, images, progress, targets, tasks
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import require
from workbench.generative import trained
from workbench.methods import Run, registry
from workbench.methods.kept import cached_picture, picture_path
from workbench.methods.trained import TrainedMethod
from workbench.metrics.judging import family
from workbench.metrics.leak import sources_of
from workbench.study import ways
from workbench.study.blind import Item
from workbench.study.ways import RANDOM, Way
from workbench.targets import Selection, StyleTarget
from workbench.transfer import Settings

HELD_OUT = 0.4
"""Share of a corpus that no method sees."""
LEAST_HELD = 3
"""Series or lone works held out, below which a real work has nothing to be compared with."""
ALPHAS = (0.03, 0.17, 1.0)
"""Content weights that every cell is painted with, between which it is read at one content distance."""
DRAWS = 5
"""Draws of what is drawn at random."""


@dataclass(frozen=True)
class Content:
    """A picture to be painted, (1, 3, H, W) in [0, 1], and what it shows, in the words of the corpora's genres.

    sha256: of its file, so that it is not taken for an unseen photograph or work where it lies among these; "" unknown.
    """

    name: str
    genre: str
    picture: Tensor = field(repr=False, compare=False)
    sha256: str = ""


@dataclass(frozen=True)
class Artist:
    """An artist's works, and the file name or title of the one that the single-image method copies.

    genres: with these, only works of their families count, and only such contents are painted after him; () is all.
    """

    corpus: Corpus
    single: str
    genres: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        works = tuple(work for work in self.corpus if self.takes(work.genre))
        require(bool(works), f"corpus {self.corpus.name!r} has no work of the genre {' or '.join(self.genres)}")
        object.__setattr__(self, "corpus", replace(self.corpus, works=works))

    def takes(self, genre: str) -> bool:
        """Whether a content of `genre` is painted after him."""
        return not self.genres or any(genre in family(own) for own in self.genres)

    @property
    def name(self) -> str:
        return self.corpus.name

    def split(self, seed: int) -> tuple[Corpus, Corpus]:
        """(bank, held out): two fifths of the works, series by series, are never seen by any method.

        The single painting and its series stay in the bank. Which works are held out depends on `seed`. UsageError for a
        corpus that is too small.
        """
        kept = self.striking
        share = HELD_OUT * len(self.corpus) / max(len(self.corpus) - len(kept), 1)
        require(share < 1, f"corpus {self.name!r} is too small for a study: most of it is the series of {self.single!r}")
        rest = self.corpus.exclude(kept)
        held = rest.split(share, seed)[1]
        groups = len({work.group for work in held})
        require(
            groups >= LEAST_HELD,
            f"corpus {self.name!r} is too small for a study: it can hold out {groups} of {LEAST_HELD} series or lone works",
        )
        return self.corpus.exclude(held.works), held

    @property
    def striking(self) -> list[Work]:
        """The single painting and the others of its series."""
        work = self.corpus.find(self.single)
        return [other for other in self.corpus if other is work or (work.series and other.series == work.series)]


@dataclass(frozen=True, order=True)
class Cell:
    """One result of a study: `content` after `artist` by `method`, with the works that `seed` lets methods see.

    level: place of its content weight among those of the study; draw: number of the draw, where works are drawn at random.
    """

    artist: str
    content: str
    method: str
    seed: int
    level: int = 0
    draw: int = 0

    def by(self, method: str) -> "Cell":
        """The same by another method."""
        return replace(self, method=method)


class Study:
    """A crossed design, whose pictures are painted on demand, kept in a folder, and not painted twice."""

    def __init__(
        self,
        contents: Sequence[Content],
        artists: Sequence[Artist],
        methods: Sequence[str],
        encoder: Encoder,
        settings: Settings,
        *,
        seeds: Sequence[int] = (0, 1),
        alphas: Sequence[float] = (),
        draws: int = 1,
        folder: Path | None = None,
        retriever: Encoder | None = None,
        show: bool = False,
    ):
        """A study of `contents` after `artists` by `methods`.

        Args:
            methods: in words, see `ways.Way`.
            encoder: drives the transfers.
            settings: of every transfer; its alpha counts where there are no `alphas`.
            seeds: each decides which works are held out, which paintings are the random ones, and which patches are drawn.
            alphas: content weights, ascending, with each of which every cell is painted by a method that heeds them.
            draws: of what is drawn at random.
            folder: where pictures are kept; None keeps none.
            retriever: finds the works that fit a content; `encoders.retriever` unless another is given.

        Raises UsageError for what does not go together, before anything is painted.
        """
        for what, given in (("content", [c.name for c in contents]), ("artist", [a.name for a in artists])):
            require(bool(given), f"a study needs at least one {what}")
            require(len(set(given)) == len(given), f"two {what}s of a study have one name: {', '.join(sorted(given))}")
        require(bool(methods) and bool(seeds), "a study needs at least one method and one seed")
        self.alphas = tuple(alphas) or (settings.alpha,)
        require(self.alphas[0] > 0 and list(self.alphas) == sorted(set(self.alphas)), "content weights: positive, ascending")
        require(draws >= 1, f"{draws} draws: give at least 1")
        for method in methods:
            ways.check(method, settings)
        wrong = any(ways.parse(method).wrong for method in methods)
        require(not wrong or len(artists) > 1, "the method 'wrong' needs a second artist")
        self.contents = {content.name: content for content in contents}
        self.artists = {artist.name: artist for artist in artists}
        self.methods = tuple(methods)
        self.seeds = tuple(seeds)
        self.draws = draws
        self.encoder = encoder
        self.retriever = retriever or encoders.retriever(encoder.device)
        self.settings = settings
        self.folder = folder
        self.show = show
        self._retrievers: dict[str, Encoder] = {"": self.retriever}
        self._selections: dict[tuple[str, str, int, str], Selection] = {}
        self._targets: dict[Cell, StyleTarget] = {}
        for name in self.artists:
            require(bool(self.contents_of(name)), f"no content is of a genre that {name} is studied in")
        self._check_networks()

    def _check_networks(self) -> None:
        """UsageError where a trained network learnt from works that a split holds out."""
        for method in self.methods:
            for (artist, seed), (_, held_out) in self.splits.items():
                learnt = self._learnt(Cell(artist, "", method, seed)) & {work.sha256 for work in held_out}
                require(not learnt, f"{method}: seed {seed} holds out {len(learnt)} works of {artist} that it learnt from")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Cell]:
        """Every cell, those of one artist and seed together, because they share statistics."""
        for artist, seed in self.splits:
            for content in self.contents_of(artist):
                for method in self.methods:
                    yield from self.repeats(Cell(artist, content, method, seed))

    def repeats(self, cell: Cell) -> Iterator[Cell]:
        """`cell` with every content weight that makes a difference to its method, and every draw."""
        way = self.way(cell)
        levels = len(self.alphas) if "alpha" not in ways.painter(way, self.settings).ignores else 1
        for draw in range(self.draws if way.drawn else 1):
            for level in range(levels):
                yield replace(cell, level=level, draw=draw)

    def contents_of(self, artist: str) -> list[str]:
        """The contents that are painted after `artist`."""
        return [name for name, content in self.contents.items() if self.artists[artist].takes(content.genre)]

    def cells(self, artist: str, seed: int) -> list[Cell]:
        """A cell for every content, by the first method."""
        return [Cell(artist, content, self.methods[0], seed) for content in self.contents_of(artist)]

    def middle(self, cell: Cell) -> Cell:
        """The first draw of `cell` with the middle content weight."""
        found = [one for one in self.repeats(cell) if one.draw == 0]
        return found[len(found) // 2]

    def way(self, cell: Cell) -> Way:
        """The method of `cell`, taken apart, the names of its artist and seed in place."""
        way = ways.parse(cell.method)
        method = way.method.replace("{artist}", self._after(cell, way)).replace("{seed}", str(cell.seed))
        return replace(way, method=method)

    def _after(self, cell: Cell, way: Way) -> str:
        """The artist after whom `cell` is painted: for a wrong artist the next one."""
        names = list(self.artists)
        return names[(names.index(cell.artist) + 1) % len(names)] if way.wrong else cell.artist

    @cached_property
    def splits(self) -> dict[tuple[str, int], tuple[Corpus, Corpus]]:
        """(artist, seed) -> (bank, held out)."""
        return {(a.name, seed): a.split(seed) for a in self.artists.values() for seed in self.seeds}

    def selection(self, artist: str, content: str, seed: int, retriever: str = "") -> Selection:
        """The works of the artist's bank, weighted for a content; by another retriever than the study's, if one is named."""
        key = (artist, content, seed, retriever)
        if key not in self._selections:
            if retriever not in self._retrievers:
                self._retrievers[retriever] = encoders.load(retriever, device=str(self.encoder.device))
            bank, _ = self.splits[artist, seed]
            found = self._retrievers[retriever]
            self._selections[key] = Selection(bank, self.contents[content].picture, self.encoder, retriever=found)
        return self._selections[key]

    def target(self, cell: Cell) -> StyleTarget:
        """What the transfer of `cell` aims at. No work that is held out has a part in it."""
        key = replace(cell, level=0)
        if key not in self._targets:
            self._targets[key] = self._target(key)
        return self._targets[key]

    def _target(self, cell: Cell) -> StyleTarget:
        way = self.way(cell)
        after = self._after(cell, way)
        selection = self.selection(after, cell.content, cell.seed, way.retriever)
        if way.choice == RANDOM:
            target = replace(targets.single(self._shuffled(cell)[0]), name=RANDOM, note="drawn at random")
        elif way.drawn:
            like = selection.blend()
            works = tuple(self._shuffled(cell)[: len(like.works)])
            weights = like.weights[: len(works)]
            target = StyleTarget(way.choice, works, tuple(w / sum(weights) for w in weights), "works drawn at random")
        elif way.number:
            best = np.argsort(-selection.similarities, kind="stable")[: way.number]
            evenly = np.isin(np.arange(len(selection.corpus)), best).astype(float)
            target = targets.weighted(way.choice, selection.corpus, evenly, "those that fit best, evenly")
        else:
            target = selection.target(way.choice, style=self.artists[after].single, tau=targets.TAU)
        target = target.combined(way.combination)
        return replace(target, name=f"{ways.WRONG}-{target.name}") if way.wrong else target

    def _shuffled(self, cell: Cell) -> list[Work]:
        """The works of the bank in another order for every content, seed and draw, the single painting and its series aside."""
        striking = self.artists[cell.artist].striking
        works = [work for work in self.splits[cell.artist, cell.seed][0] if work not in striking]
        digest = hashlib.sha256(f"{cell.seed}/{cell.artist}/{cell.content}/{cell.draw}".encode()).digest()
        return [works[i] for i in np.random.default_rng(list(digest)).permutation(len(works))]

    def sources(self, cell: Cell) -> tuple[Work, ...]:
        """The works of the cell's artist that its picture may have copied: those of its target, and what a network learnt from.

        Of a wrong artist: those that the same method takes from the right one, which its picture cannot have copied.
        """
        if ways.parse(cell.method).wrong:
            right = cell.method.removeprefix(f"{ways.WRONG}:")
            cell = cell.by("blend" if right == ways.WRONG else right)
        given, learnt = sources_of(self.target(cell)), self._learnt(cell)
        more = (work for work in self.artists[cell.artist].corpus if work.sha256 in learnt and work not in given)
        return (*given, *more)

    def _learnt(self, cell: Cell) -> set[str]:
        """SHA-256 of the works that the network of a cell, or any of its family, learnt from; empty for other methods."""
        method = ways.painter(self.way(cell), self.settings)
        if not isinstance(method, TrainedMethod):
            return set()
        files = [method.path] if method.path else sorted(trained.SHIPPED.glob(f"*{trained.SUFFIX}"))
        networks = [found for found in map(trained.read, files) if found.family == method.family]
        return {digest for network in networks for digest in network.header.get("works", ())}

    def settings_of(self, cell: Cell) -> Settings:
        """The settings of the transfer of `cell`."""
        settings = replace(self.settings, alpha=self.alphas[cell.level], seed=cell.seed)
        return self.way(cell).settings(settings)

    def picture(self, cell: Cell) -> Tensor:
        """The result of `cell`, (1, 3, H, W) in [0, 1], painted if it is not kept yet."""
        return cached_picture(self.begin(cell), self.folder, _name(cell))

    def begin(self, cell: Cell) -> Run:
        """The run that paints `cell`, before its first step."""
        settings = self.settings_of(cell)
        content = self.contents[cell.content].picture
        return registry.get(settings.method).begin(content, self.target(cell), self.encoder, settings)

    def item(self, cell: Cell) -> Item:
        """The result of `cell` as an item of a blind study, painted if it is not kept yet. UsageError without a folder."""
        require(self.folder is not None, "a blind study needs pictures in files: give the study a folder")
        run = self.begin(cell)
        path = picture_path(run, self.folder, _name(cell))
        cached_picture(run, self.folder, _name(cell))
        return Item(cell.method, cell.artist, cell.content, cell.seed, str(path))

    def paint(self, cells: Iterable[Cell] | None = None, *, workers: int = 1, on: str = "here") -> None:
        """Paint those of `cells`, all of the study by default, that are not kept yet. Ctrl-C raises KeyboardInterrupt, and
        what is finished is kept.

        `workers` cells are painted at a time, by processes of this machine or, `on` a Ray, as its tasks: see `tasks.each`. The
        pictures are those of one process, from file to file, and need the folder.
        """
        alone = workers == 1 and on == "here"
        require(alone or self.folder is not None, "pictures painted by other processes need a folder to be kept in")
        quiet = copy(self)
        quiet.show = False
        asked = list(self if cells is None else cells)
        painted = tasks.each(_paint, quiet, asked, workers=workers, on=on)
        for _ in progress.track(painted, total=len(asked), label="painting", show=self.show):
            pass

    def content_picture(self, cell: Cell) -> Tensor:
        """The untouched content of `cell` at the size of its result, (1, 3, H, W) in [0, 1]."""
        return images.resize(self.contents[cell.content].picture, self.settings.size)


def _name(cell: Cell) -> str:
    """What the file of a result begins with."""
    return f"{cell.artist}_{cell.content}_{cell.seed}"


def _paint(study: Study, cell: Cell) -> None:
    study.picture(cell)
