"""The works of a corpus on a plane, by style or by content, and a selection of them: the plain object behind the map."""

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import matplotlib
import numpy as np

from workbench import figures, targets
from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.figures.canvas import OTHER
from workbench.figures.plots import label_colors
from workbench.names import plural
from workbench.retrieval import clusters, embeddings
from workbench.retrieval.clusters import Clustering
from workbench.retrieval.embeddings import Embeddings
from workbench.retrieval.serial import serial
from workbench.targets import StyleTarget

Kind = Literal["style", "content"]
Projection = Literal["pca", "tsne"]
ColourBy = Literal["cluster", "genre", "artist", "year"]
KINDS, PROJECTIONS, COLOURS = get_args(Kind), get_args(Projection), get_args(ColourBy)

NOT_GIVEN = "not given"
"""Label of works whose metadata lack the value."""
PERIODS = 8
"""Periods of years, at most."""
SPANS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Years. Lengths that a period may have."""
PERPLEXITY = 30.0
"""Of t-SNE: effective number of neighbours; a small corpus has fewer."""
FEWEST = 5
"""Works that t-SNE needs; fewer are arranged by PCA."""
THUMBNAIL = 160
"""px. Long side of a thumbnail in figures."""


@dataclass(frozen=True)
class Group:
    """The works that share a colour. label: as the legend shows it; colour: "#rrggbb"; members: places in the corpus."""

    label: str
    colour: str
    members: tuple[int, ...] = field(repr=False)


class Atlas:
    """A map of `corpus` with a selection. The works are measured with `encoder` when a map is first needed.

    kind: near paintings are alike in "style" or in "content"; projection: "pca", the first two principal axes, or
    "tsne"; colour_by: "cluster" (of style, whatever the kind), "genre", "artist" or "year". `change` changes them.
    `selected`: names of works, in the order of the corpus.
    """

    def __init__(
        self,
        corpus: Corpus,
        encoder: Encoder,
        *,
        kind: Kind = "style",
        projection: Projection = "pca",
        colour_by: ColourBy = "cluster",
        clusters: Clustering | None = None,
        seed: int = 0,
    ):
        """`clusters`: of these works; None clusters them by style and chooses their number.

        UsageError for an unknown kind, projection or colour, and for clusters of other works.
        """
        names = tuple(work.name for work in corpus)
        require(clusters is None or clusters.embeddings.names == names, f"the clusters are of other works than {corpus.name!r}")
        self._followers: list[Callable[[], None]] = []
        self.corpus = corpus
        self.encoder = encoder
        self.seed = seed
        self.selected: tuple[str, ...] = ()
        self.change(kind=kind, projection=projection, colour_by=colour_by)
        self._clusters = clusters
        self._spaces: dict[Kind, Embeddings] = {}
        self._layouts: dict[tuple[Kind, Projection], np.ndarray] = {}
        self._lock = threading.RLock()  # a widget measures in another thread

    def change(
        self, *, kind: Kind | None = None, projection: Projection | None = None, colour_by: ColourBy | None = None
    ) -> None:
        """Change the map; None leaves a value as it is. UsageError for an unknown value."""
        for name, value, known in (
            ("kind", kind, KINDS),
            ("projection", projection, PROJECTIONS),
            ("colour_by", colour_by, COLOURS),
        ):
            require(value is None or value in known, f"{name} = {value!r}: choose {', '.join(known)}")
            if value is not None:
                setattr(self, name, value)
        self._tell()

    def follow(self, follower: Callable[[], None]) -> None:
        """Call `follower()` after every change of the map or of the selection, in the thread that made it."""
        self._followers.append(follower)

    def _tell(self) -> None:
        for follower in self._followers:
            follower()

    # Where the works lie

    def space(self, kind: Kind) -> Embeddings:
        """The embeddings of the works, from the cache where they are known."""
        with self._lock:
            if kind not in self._spaces:
                self._spaces[kind] = embeddings.embed(self.corpus, self.encoder, kind)
            return self._spaces[kind]

    @property
    def points(self) -> np.ndarray:
        """The works of the present map, (n, 2) float64 in the order of the corpus."""
        key = self.kind, self.projection
        with self._lock:
            if key not in self._layouts:
                space = self.space(self.kind)
                self._layouts[key] = _plane(space) if self.projection == "pca" else _tsne(space, self.seed)
            return self._layouts[key]

    @property
    def clusters(self) -> Clustering:
        """The style clusters."""
        with self._lock:
            if self._clusters is None:
                self._clusters = clusters.cluster(self.space("style"), seed=self.seed)
            return self._clusters

    @property
    def note(self) -> str:
        """How to read the present map, in one line."""
        if self.projection == "tsne" and len(self.corpus) >= FEWEST:
            return "t-SNE: neighbours mean something, long distances and the sizes of islands do not"
        raw = self.space(self.kind).raw
        share = self.points.var(axis=0).sum() / max(float(raw.var(axis=0).sum()), 1e-12)
        return f"PCA: these two axes hold {share:.0%} of the variance"

    # What they have in common

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups by `colour_by`, none empty: clusters from the largest, genres and artists by name, years in periods.

        Works that lack the value are the last group, "not given". Colours are those of figures.corpus_map, where more than
        seven groups share a grey; periods run from dark to light instead.
        """
        if self.colour_by == "year":
            return self._periods
        if self.colour_by == "cluster":
            values = [f"cluster {label + 1}" for label in self.clusters.labels]
            order = [f"cluster {label + 1}" for label in range(self.clusters.k)]
        else:
            values = [getattr(work, self.colour_by) or NOT_GIVEN for work in self.corpus]
            order = sorted(set(values), key=lambda value: (value == NOT_GIVEN, value.casefold(), value))
        places = [order.index(value) for value in values]
        colours, _ = label_colors(places, {})
        return tuple(Group(label, colours[i], _where(places, i)) for i, label in enumerate(order))

    @cached_property
    def _periods(self) -> tuple[Group, ...]:
        found = [re.search(r"\d+", work.year) for work in self.corpus]
        years = [int(match[0]) if match else None for match in found]
        known = [year for year in years if year is not None]
        groups = []
        if known:
            span = next((s for s in SPANS if max(known) // s - min(known) // s < PERIODS), max(known) + 1)
            numbers = [None if year is None else year // span for year in years]
            first, last = min(known) // span, max(known) // span
            for number in sorted({number for number in numbers if number is not None}):
                label = f"{number * span}" if span == 1 else f"{number * span}–{(number + 1) * span - 1}"
                # neither end of viridis, which would be lost on a dark ground and on a light one
                shade = matplotlib.colormaps["viridis"](0.15 + 0.8 * (number - first) / max(last - first, 1))
                groups.append(Group(label, matplotlib.colors.to_hex(shade), _where(numbers, number)))
        if None in years:
            groups.append(Group(NOT_GIVEN, OTHER, _where(years, None)))
        return tuple(groups)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of every work's group, in the order of the corpus."""
        named = {i: group.label for group in self.groups for i in group.members}
        return tuple(named[i] for i in range(len(self.corpus)))

    # Selecting

    @property
    def works(self) -> tuple[Work, ...]:
        """The works selected."""
        return tuple(work for work in self.corpus if work.name in set(self.selected))

    def select(self, names: Iterable[str], *, add: bool = False) -> tuple[str, ...]:
        """Select works by name, each as Corpus.find takes it; with `add` the former ones stay selected. Returns the selection.

        UsageError for an unknown name; the selection stays as it was.
        """
        known = {work.name: work for work in self.corpus}
        return self._select([known.get(name) or self.corpus.find(name) for name in names], add)

    def select_rectangle(self, x0: float, y0: float, x1: float, y1: float, *, add: bool = False) -> tuple[str, ...]:
        """Select the works whose points lie between two opposite corners, or on the border."""
        low, high = np.minimum((x0, y0), (x1, y1)), np.maximum((x0, y0), (x1, y1))
        return self._select(self._at(((self.points >= low) & (self.points <= high)).all(axis=1)), add)

    def select_polygon(self, corners: Sequence[Sequence[float]], *, add: bool = False) -> tuple[str, ...]:
        """Select the works whose points lie within a polygon (m, 2), m >= 3, or on its border.

        Where it crosses itself, the even-odd rule says what is within. UsageError for fewer than three corners, and for ones
        that are not finite.
        """
        return self._select(self._at(_inside(self.points, corners)), add)

    def select_group(self, label: str, *, add: bool = False) -> tuple[str, ...]:
        """Select the works of a group of the present colours, such as "cluster 1". UsageError for an unknown one."""
        groups = {group.label: group for group in self.groups}
        require(label in groups, f"no group {label!r} by {self.colour_by}: choose {', '.join(groups)}")
        return self._select((self.corpus[i] for i in groups[label].members), add)

    def _at(self, inside: np.ndarray) -> Iterable[Work]:
        return (work for work, chosen in zip(self.corpus, inside, strict=True) if chosen)

    def _select(self, works: Iterable[Work], add: bool) -> tuple[str, ...]:
        chosen = {work.name for work in works} | (set(self.selected) if add else set())
        self.selected = tuple(work.name for work in self.corpus if work.name in chosen)
        self._tell()
        return self.selected

    def target(self) -> StyleTarget:
        """The selected works, evenly. UsageError when none is selected."""
        require(bool(self.selected), "no work is selected: select some on the map, or by name")
        chosen = np.isin([work.name for work in self.corpus], self.selected)
        return targets.weighted(
            "by-hand",
            self.corpus,
            chosen.astype(float),
            f"{plural(int(chosen.sum()), 'work')} chosen on the map",
        )

    # On paper

    def figure(self) -> figures.Figure:
        """The present map as a figure."""
        groups, labels = self.groups, self.labels
        places = {group.label: i for i, group in enumerate(groups)}
        return figures.corpus_map(
            self.points,
            [work.load(THUMBNAIL) for work in self.corpus],
            [places[label] for label in labels],
            names={i: group.label for i, group in enumerate(groups)},
            colors={i: group.colour for i, group in enumerate(groups)} if self.colour_by == "year" else None,
            title=f"{self.corpus.name} by {self.kind}. {self.note}",
            legend_title=self.colour_by,
        )

    def sheet(self, cluster: int) -> figures.Figure:
        """The works of a style cluster, counted from 1, nearest to its centre first. UsageError for an unknown one."""
        k = self.clusters.k
        require(
            cluster in range(1, k + 1),
            f"cluster {cluster}: choose 1 to {k}" if k > 1 else f"cluster {cluster}: there is only 1",
        )
        works = [self.corpus.find(name) for name in self.clusters.members(cluster - 1)]
        title = f"{self.corpus.name}: style cluster {cluster} of {k}, {plural(len(works), 'work')}"
        return figures.contact_sheet([work.load(THUMBNAIL) for work in works], [work.title for work in works], title=title)


def _where(values: Sequence, wanted: object) -> tuple[int, ...]:
    return tuple(i for i, value in enumerate(values) if value == wanted)


def _plane(space: Embeddings) -> np.ndarray:
    """The first two principal coordinates (n, 2); a corpus of one or two works has only one, and the other is zero."""
    return np.pad(space.points.astype(np.float64), ((0, 0), (0, 1)))[:, :2]


@serial
def _tsne(space: Embeddings, seed: int) -> np.ndarray:
    """t-SNE of the principal coordinates (n, 2), begun from their first two; of fewer than five works these two themselves."""
    start = _plane(space)
    n = len(start)
    if n < FEWEST:
        return start  # three neighbours are no neighbourhood
    begin = 1e-4 * start / max(float(start[:, 0].std()), 1e-12)
    begin += 1e-5 * np.random.default_rng(seed).normal(size=start.shape)  # on one line works could not get past each other
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (n - 1) / 3)
    return (
        TSNE(perplexity=perplexity, init=begin.astype(np.float32), random_state=seed)
        .fit_transform(space.points)
        .astype(np.float64)
    )


def _inside(points: np.ndarray, corners: Sequence[Sequence[float]]) -> np.ndarray:
    """Which of `points` (n, 2) lie in the polygon `corners` (m, 2) or on its border: (n,) bool."""
    try:
        polygon = np.asarray(corners, dtype=float)
    except (TypeError, ValueError) as error:
        raise UsageError("a polygon is a list of corners (x, y)") from error
    require(polygon.ndim == 2 and polygon.shape[1] == 2 and len(polygon) >= 3, "a polygon has three corners (x, y) or more")
    require(bool(np.isfinite(polygon).all()), "a polygon's corners must be finite")
    x, y = points.T
    inside, border = np.zeros(len(points), dtype=bool), np.zeros(len(points), dtype=bool)
    tolerance = 1e-9 * max(float(np.ptp(polygon, axis=0).max()), 1e-300)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        if y0 != y1:
            inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        length = max(float((x1 - x0) ** 2 + (y1 - y0) ** 2), 1e-300)
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
        border |= np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) <= tolerance
    return inside | border
