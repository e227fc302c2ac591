"""The design of a study: contents x methods x artists x seeds, crossed; what each cell aims at, and its picture."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from workbench import encoders, images, metrics, progress, targets
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.methods import Request, Run, registry
from workbench.methods.kept import cached_picture, picture_path
from workbench.study.blind import Item
from workbench.targets import Selection, StyleTarget
from workbench.transfer import Settings

HELD_OUT = 0.4
"""Share of a corpus that no method sees."""
LEAST_HELD = 3
"""Series or lone works held out, below which a real work has nothing to be compared with."""
RANDOM = "random"
"""Name of a method: one painting of the artist, drawn at random, which retrieval has to beat."""
WRONG = "wrong"
"""Name of a method: a blend after another artist, which shows what is not specific to this one."""
LEAST_DISTANCE = 1e-6
"""Least content distance that is taken: that of the content itself is 0, whose logarithm is infinite."""
LOW, HIGH = 0.02, 0.12
"""Content weights alpha between which a method's own is sought."""


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
    """An artist's works, and the file name or title of the one that the single-image method copies."""

    corpus: Corpus
    single: str

    @property
    def name(self) -> str:
        return self.corpus.name

    def split(self, seed: int) -> tuple[Corpus, Corpus]:
        """(bank, held out): two fifths of the works, series by series, are never seen by any method.

        The single painting and its series stay in the bank. Which works are held out depends on `seed`. UsageError for a
        corpus that is too small.
        """
        work = self.corpus.find(self.single)
        kept = [other for other in self.corpus if other is work or (work.series and other.series == work.series)]
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


@dataclass(frozen=True, order=True)
class Cell:
    """One result of a study: `content` after `artist` by `method`, with the works that `seed` lets methods see."""

    artist: str
    content: str
    method: str
    seed: int

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
        alphas: Mapping[str, float] | None = None,
        folder: Path | None = None,
        retriever: Encoder | None = None,
        show: bool = False,
    ):
        """A study of `contents` after `artists` by `methods`.

        Args:
            methods: a target and a method in words, as `methods.Request` takes them, and "random" and "wrong".
            encoder: drives the transfers.
            settings: of every transfer; its alpha counts where `alphas` (method -> alpha) has none.
            seeds: each decides which works are held out, which painting is the random one, and which patches are drawn.
            folder: where pictures are kept; None keeps none.
            retriever: finds the works that fit a content; `encoders.retriever` unless another is given.

        Raises UsageError for what does not go together, before anything is painted.
        """
        for what, given in (("content", [c.name for c in contents]), ("artist", [a.name for a in artists])):
            require(bool(given), f"a study needs at least one {what}")
            require(len(set(given)) == len(given), f"two {what}s of a study have one name: {', '.join(sorted(given))}")
        require(bool(methods) and bool(seeds), "a study needs at least one method and one seed")
        for method in methods:
            if method not in (RANDOM, WRONG):
                Request(settings=settings).asking(method)
        require(WRONG not in methods or len(artists) > 1, "the method 'wrong' needs a second artist")
        self.contents = {content.name: content for content in contents}
        self.artists = {artist.name: artist for artist in artists}
        self.methods = tuple(methods)
        self.seeds = tuple(seeds)
        self.encoder = encoder
        self.retriever = retriever or encoders.retriever(encoder.device)
        self.settings = settings
        self.alphas = dict(alphas or {})
        self.folder = folder
        self.show = show
        self._selections: dict[tuple[str, str, int], Selection] = {}

    def __len__(self) -> int:
        return len(self.artists) * len(self.contents) * len(self.methods) * len(self.seeds)

    def __iter__(self) -> Iterator[Cell]:
        """Every cell, those of one artist and seed together, because they share statistics."""
        for artist, seed, content, method in itertools.product(self.artists, self.seeds, self.contents, self.methods):
            yield Cell(artist, content, method, seed)

    def cells(self, artist: str, seed: int) -> list[Cell]:
        """A cell for every content, by the first method."""
        return [Cell(artist, content, self.methods[0], seed) for content in self.contents]

    @cached_property
    def splits(self) -> dict[tuple[str, int], tuple[Corpus, Corpus]]:
        """(artist, seed) -> (bank, held out)."""
        return {(a.name, seed): a.split(seed) for a in self.artists.values() for seed in self.seeds}

    def selection(self, artist: str, content: str, seed: int) -> Selection:
        """The works of the artist's bank, weighted for a content."""
        key = (artist, content, seed)
        if key not in self._selections:
            bank, _ = self.splits[artist, seed]
            self._selections[key] = Selection(bank, self.contents[content].picture, self.encoder, retriever=self.retriever)
        return self._selections[key]

    def target(self, cell: Cell) -> StyleTarget:
        """What the transfer of `cell` aims at. No work that is held out has a part in it."""
        if cell.method == WRONG:
            names = list(self.artists)
            other = names[(names.index(cell.artist) + 1) % len(names)]
            return replace(self.selection(other, cell.content, cell.seed).blend(), name=WRONG)
        selection = self.selection(cell.artist, cell.content, cell.seed)
        if cell.method == RANDOM:
            return replace(targets.single(self._drawn(cell)), name=RANDOM, note="drawn at random")
        request = Request(settings=self.settings).asking(cell.method)
        return selection.choose(request.target, single=self.artists[cell.artist].single).combined(request.combine)

    def _drawn(self, cell: Cell) -> Work:
        """A painting of the bank, another one for every content and seed."""
        bank, _ = self.splits[cell.artist, cell.seed]
        digest = hashlib.sha256(f"{cell.seed}/{cell.artist}/{cell.content}".encode()).digest()
        return bank.works[int(np.random.default_rng(list(digest)).integers(len(bank)))]

    def settings_of(self, cell: Cell) -> Settings:
        """The settings of the transfer of `cell`."""
        method = self.settings.method
        if cell.method not in (RANDOM, WRONG):
            method = Request(settings=self.settings).asking(cell.method).method
        return replace(self.settings, method=method, alpha=self.alphas.get(cell.method, self.settings.alpha), seed=cell.seed)

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

    def paint(self) -> None:
        """Paint every cell that is not kept yet. Ctrl-C raises KeyboardInterrupt, and what is finished is kept."""
        for cell in progress.track(self, total=len(self), label="painting", show=self.show):
            self.picture(cell)

    def content_picture(self, cell: Cell) -> Tensor:
        """The untouched content of `cell` at the size of its result, (1, 3, H, W) in [0, 1]."""
        return images.resize(self.contents[cell.content].picture, self.settings.size)


def _name(cell: Cell) -> str:
    """What the file of a result begins with."""
    return f"{cell.artist}_{cell.content}_{cell.seed}"


def tuned(study: Study, judge: Encoder, *, low: float = LOW, high: float = HIGH) -> dict[str, float]:
    """For every method of `study` the content weight alpha with which all keep the content equally well: method -> alpha.

    `study` is that of the development split: other contents than those that are judged. Every cell is painted with two
    weights, and the content distance, by `judge`, read between them: log d is taken as linear in log alpha. The distance
    that all methods are to have is the mean (of logarithms) of what they have half way. No alpha leaves [low/2, 2 high].
    """
    if not 0 < low < high:
        raise UsageError(f"content weights from {low} to {high}: give two positive numbers, the smaller one first")
    found: dict[str, list[np.ndarray]] = {method: [] for method in study.methods}
    for cell in progress.track(study, total=len(study), label="content weights", show=study.show):
        pair = []
        for alpha in (low, high):
            study.alphas = {cell.method: alpha}
            picture = study.picture(cell)
            distance = metrics.content_distance(picture, study.contents[cell.content].picture, judge)
            pair.append(max(distance, LEAST_DISTANCE))
        found[cell.method].append(np.log(pair))
    means = {method: np.mean(pairs, axis=0) for method, pairs in found.items()}
    level = float(np.mean([pair.mean() for pair in means.values()]))
    start, width = np.log(low), np.log(high / low)
    alphas = {}
    for method, (at_low, at_high) in means.items():
        slope = (at_high - at_low) / width
        way = (level - at_low) / slope if slope < 0 else width / 2  # more weight that does not help decides nothing
        # Three digits: the last ones depend on the number of threads, and pictures are kept by their exact settings.
        alphas[method] = float(f"{np.clip(np.exp(start + way), low / 2, 2 * high):.3g}")
    return alphas
