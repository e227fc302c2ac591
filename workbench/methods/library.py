"""What the names in a request stand for: opened once, and kept. Contents, corpora, encoders, and the works that fit."""

import re
import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from workbench import encoders, images, inputs, provenance, samples, targets
from workbench.corpora import Corpus, Work, ingest, state, told_apart
from workbench.encoders import Encoder
from workbench.errors import UsageError, WorkbenchError, require
from workbench.methods import registry
from workbench.methods.request import RETRIEVED, Request
from workbench.paths import is_file, written
from workbench.provenance import Source
from workbench.retrieval import filling, stores
from workbench.retrieval.index import Index, Where
from workbench.targets import Selection, StyleTarget

KEPT = 8
"""Selections and targets that are kept, the latest: selections hold embeddings, and targets of regions masks."""
T = TypeVar("T")


class Library:
    """Opens what requests name. May be used by several threads."""

    def __init__(
        self,
        *,
        contents: Mapping[str, Tensor] | None = None,
        corpora: Mapping[str, Corpus] | None = None,
        encoders: Mapping[str, Encoder] | None = None,
        sources: Mapping[str, Source] | None = None,
        options: Mapping[str, Any] | None = None,
        show: bool = False,
    ):
        """A library in which some things are open already.

        Args:
            contents, corpora, encoders: by name, where a name does not stand for a file or a sample.
            sources: what contents and masks were, by name, when they were read first: they must be that whenever they are read.
            options: device and precision of encoders, see encoders.load.
            show: whether to report progress, and files that are left out, on stderr.
        """
        self.show = show
        self._options = dict(options or {})
        self._contents = dict(contents or {})
        self._corpora = dict(corpora or {})
        self._states: dict[str, int] = {}  # of the corpora that were opened here, see `corpora.state`
        self._encoders = dict(encoders or {})
        self._sources = dict(sources or {})
        self._indexes: dict[str, Index] = {}
        self._selections: dict[Hashable, list[Selection]] = {}
        self._targets: dict[Hashable, StyleTarget] = {}
        self._lock = threading.RLock()

    def content(self, name: str, size: int | None = None, *, sha256: str | None = None) -> Tensor:
        """The picture called `name`, (1, 3, H, W) in [0, 1]; with `size`, see inputs.content.

        `sha256`: the hash that its file must have, by default that of its source, where this library was given one.
        """
        if name in self._contents:
            return self._contents[name]
        known = self._sources.get(name)
        return inputs.content(name, size, sha256=sha256 or (known.sha256 if known else None))

    def sources(self, request: Request) -> dict[str, Source]:
        """What the files of the content and of the mask are now, by these words; without what is no file."""
        found = {"content": self._source(request.content, inputs.source), "mask": self._source(request.mask, _source)}
        return {word: source for word, source in found.items() if source is not None}

    def _source(self, name: str, look: Callable[[str], Source]) -> Source | None:
        if not name or name in self._contents:
            return None
        if name in self._sources:
            return self._sources[name]
        try:
            return look(name)
        except WorkbenchError:
            return None

    def corpus(self, name: str) -> Corpus:
        """All works of the corpus called `name`."""
        if name in self._corpora:  # without the lock, which whoever measures another corpus may hold for long
            return self._corpora[name]
        with self._lock:
            if name not in self._corpora:
                path = inputs.corpus_path(name) or samples.corpus_path(name)
                self._states[name] = state(path)  # first: what changes meanwhile makes it another
                found = ingest(path, show=self.show)
                if self.show and found.report.rejected:
                    print(f"{found.name}: {found.report.lines()[0]}; workbench corpus check says why", file=sys.stderr)
                self._corpora[name] = found
            return self._corpora[name]

    def known_corpus(self, name: str) -> Corpus | None:
        """The corpus called `name` if it has been opened: a large folder, or a painter who has yet to paint, takes seconds."""
        return self._corpora.get(name)

    def look_again(self, names: Iterable[str]) -> None:
        """Forget those corpora whose files are no longer what they were when they were opened: they are then opened again."""
        for name in names:
            corpus, known = self._corpora.get(name), self._states.get(name)
            if corpus is None or known is None:
                continue  # not open, or given
            try:
                same = state(inputs.corpus_path(name) or corpus.root) == known
            except WorkbenchError:
                same = False
            if not same:
                with self._lock:
                    self._corpora.pop(name, None)
                    self._states.pop(name, None)

    def target_key(self, request: Request) -> Hashable:
        """All that decides the target of `request`: its fields, see `target_key`, and what lies on disk under these names.

        Files count as they are now, corpora as they were when they were opened.
        """
        opened = tuple(self._states.get(name) for name in request.corpora)
        style = self._source(request.style, _source) if request.target == "single" else None
        return target_key(request), opened, tuple(self.sources(request).items()), style

    def state(self, request: Request) -> Hashable:
        """All that decides the picture of `request` besides its settings: `target_key`, and the files of its method."""
        try:
            files = registry.get(request.method).files(request.settings)
        except WorkbenchError:  # the file of a network is gone
            files = []
        return self.target_key(request), tuple(
            provenance.identity(each) for path in files for each in (path, *sorted(path.rglob("*")))
        )

    def encoder(self, name: str) -> Encoder:
        """The encoder called `name`."""
        if name in self._encoders:
            return self._encoders[name]
        with self._lock:
            if name not in self._encoders:
                self._encoders[name] = encoders.load(name, **self._options)
            return self._encoders[name]

    def works(self, request: Request) -> list[Corpus]:
        """The works of every corpus that `where` and `exclude` leave; of several corpora those without any are left out."""
        opened = [self.corpus(name) for name in request.corpora]
        for name in request.exclude:
            if not any(corpus.named(name) for corpus in opened):
                opened[0].find(name)  # which says what is near
        return parts(opened, request)

    def selections(self, request: Request) -> list[Selection]:
        """For every corpus its works, which are measured where the target looks for those that fit the content."""
        for name in request.corpora:
            self.corpus(name)  # whose state is part of the key
        source = self._source(request.content, inputs.source)
        key = self._selection_key(request, source)
        found = self._selections.get(key)
        if found is not None and _measured(found):
            return found
        with self._lock:  # a run and a view may want the same at the same time

            def make() -> list[Selection]:
                # At one size, whatever that of the picture: selections are kept for all.
                content = self.content(request.content, inputs.COMPARED, sha256=source.sha256 if source else None)
                encoder = self.encoder(request.encoder)
                retriever = self.encoder(request.retriever) if request.target in RETRIEVED else None
                index = self._filled(request, retriever) if retriever is not None else None
                return [
                    Selection(
                        works, content, encoder, retriever=retriever, index=index, where=_common(works, request), show=self.show
                    )
                    for works in self.works(request)
                ]

            found = _kept(self._selections, key, make)
            if request.target in RETRIEVED and not _measured(found):
                for selection in found:
                    selection.blend()
            return found

    def _filled(self, request: Request, retriever: Encoder) -> Index | None:
        """The index that the request names, with all works of its corpora; None for one in memory."""
        if request.index == "exact":
            return None
        if request.index not in self._indexes:
            self._indexes[request.index] = stores.open_index(request.index)
        index = self._indexes[request.index]
        filling.fill(index, [self.corpus(name) for name in request.corpora], retriever, show=self.show)
        return index

    def _selection_key(self, request: Request, source: Source | None) -> Hashable:
        """`source`: what the content is."""
        retriever = request.retriever if request.target in RETRIEVED else ""  # others need none, and it is not loaded
        names = request.content, request.corpora, request.where, request.exclude, request.encoder, retriever, request.index
        return names, source, tuple(self._states.get(name) for name in request.corpora)

    def knows_selections(self, request: Request) -> bool:
        """Whether the works are measured, as far as the target looks for those that fit, so that weights take milliseconds."""
        found = self._selections.get(self._selection_key(request, self._source(request.content, inputs.source)))
        return found is not None and (request.target not in RETRIEVED or _measured(found))

    def target(self, request: Request) -> StyleTarget:
        """The works, and their weights, that `request` stands for. UsageError where something is missing for it."""
        require(not request.missing, request.missing)
        for name in request.corpora:
            self.corpus(name)  # whose state is part of the key
        return _kept(self._targets, self.target_key(request), lambda: self._pinning(request))

    def knows_target(self, request: Request) -> bool:
        """Whether `target` takes no time."""
        return self.target_key(request) in self._targets

    def _pinning(self, request: Request) -> StyleTarget:
        target = self._target(request)
        if not request.pinned:
            return target
        (works,) = self.works(request)
        return targets.keeping(target, [works.find(name) for name in dict.fromkeys(request.pinned)])

    def _target(self, request: Request) -> StyleTarget:
        if request.target == "single":
            return targets.single(self._painting(request)).combined(request.combine)
        selections = self.selections(request)
        options = request.options | ({"weights": dict(request.weights)} if request.weights else {})
        mask = self._source(request.mask, _source)
        chosen = [selection.target(request.target, **options).combined(request.combine) for selection in selections]
        if mask is not None and _source(request.mask) != mask:
            raise WorkbenchError(f"mask {request.mask} was replaced while it was read: try again")
        if len(chosen) == 1:
            return chosen[0]
        names = told_apart([selection.corpus for selection in selections])
        named = [replace(target, name=name) for target, name in zip(chosen, names, strict=True)]
        return targets.mix(list(zip(request.shares or [1.0] * len(named), named, strict=True)))

    def _painting(self, request: Request) -> Work:
        """The one painting that `style` names: a work of the corpus, or else a file; of a sample painter the default one."""
        style = request.style
        if not request.corpora:
            return lone_work(written(style))
        works = self.works(request)[0]
        if not style:
            return works.find(inputs.striking_work(request.corpora[0]))
        try:
            return works.find(style)
        except UsageError:
            if not is_file(written(style)):
                raise
            return lone_work(written(style))


def target_key(request: Request) -> Hashable:
    """Every field of `request` that decides its target: all but the settings."""
    return tuple(getattr(request, f.name) for f in fields(request) if f.name != "settings")


def _source(name: str) -> Source:
    return provenance.source(written(name))


def _common(works: Corpus, request: Request) -> Where:
    """For each column of `where` the values that the works have, if all have one: a filter for a search among other works."""
    columns = {text.partition("=")[0] for text in request.where}
    values = {column: {work.metadata.get(column, "") for work in works} for column in columns}
    return {column: sorted(some) for column, some in values.items() if "" not in some}


def _measured(selections: Sequence[Selection]) -> bool:
    return all(selection.measured for selection in selections)


def parts(corpora: Sequence[Corpus], request: Request) -> list[Corpus]:
    """The works of `corpora` that `where` and `exclude` leave: any of a column's values, and all of the columns.

    A corpus in which no work meets `where` is left out. UsageError for a value that no work of any has, where nothing is left,
    and where one is left out that has a share.
    """
    criteria: dict[str, set[tuple[int, str]]] = {}
    for text in request.where:
        column, _, value = text.partition("=")
        criteria.setdefault(column, set()).update(_meeting(corpora, column, value))
    left = []
    for i, corpus in enumerate(corpora):
        works = tuple(work for work in corpus if all((i, work.name) in met for met in criteria.values()))
        require(bool(works) or not request.shares, f"corpus {corpus.name!r} has a share, and no work that meets where")
        out = [corpus.find(name) for name in request.exclude if corpus.named(name)]
        out = [work for work in out if work in works]
        if works:
            part = replace(corpus, works=works)
            left.append(part.exclude(out) if out else part)
    names = " or ".join(repr(corpus.name) for corpus in corpora)
    require(bool(left), f"no work of corpus {names} meets all of where at once")
    return left


def _meeting(corpora: Sequence[Corpus], column: str, value: str) -> set[tuple[int, str]]:
    """(place of the corpus, name) of the works whose `column` is `value`, or within it. UsageError where there are none."""
    found, problem = set(), None
    span = re.fullmatch(r"(\d+)\.\.(\d+)", value)
    for i, corpus in enumerate(corpora):
        try:
            met = corpus.between(column, *map(int, span.groups())) if span else corpus.select(**{column: value})
            found |= {(i, work.name) for work in met}
        except UsageError as error:
            problem = problem or error
    if problem is not None and not found:
        raise problem
    return found


def lone_work(path: Path) -> Work:
    """An image file that belongs to no corpus."""
    digest = provenance.sha256(path)
    height, width = images.read(path, enough=images.LARGEST, sha256=digest).full
    return Work(path.name, path, digest, width, height)


def _kept(known: dict[Any, T], key: Any, make: Callable[[], T]) -> T:
    """What `make` makes, or what it made the last time for `key`; no more than KEPT are held."""
    if key not in known:
        found = make()
        known[key] = found
        for old in list(known)[:-KEPT]:
            known.pop(old, None)
    return known[key]
