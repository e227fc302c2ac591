"""The works of corpora as points of an index that is kept: those that it lacks are embedded and added, a batch at a time."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from workbench.corpora import Corpus, Work
from workbench.encoders import Encoder
from workbench.errors import UsageError, require
from workbench.retrieval import embeddings
from workbench.retrieval.centred import CentredIndex
from workbench.retrieval.index import Index, Value, Where

T = TypeVar("T")
Descriptors = Callable[[Sequence[Work]], np.ndarray]
"""Works -> what they show, (n, D) float32."""
BATCH = 4096
"""Works whose vectors are in memory at a time."""
OUTDATED = 1000
"""Points beyond twice the works of corpora among which outdated ones are looked for."""


def fill(
    index: Index,
    corpora: Sequence[Corpus],
    encoder: Encoder,
    *,
    where: Where | None = None,
    descriptors: Descriptors | None = None,
    show: bool = False,
) -> CentredIndex:
    """The works of `corpora` as points of `index`, by what they show. Those that it holds are not read again.

    Vectors are differences of descriptors from the mean of the works that the index was first filled with: works that come
    later do not move it. A point has what is known of its work as metadata, and `title`, `file`, `corpus` and `group`; a work
    of which other things become known is another point. An interrupted call is resumed by the next.

    Args:
        where: what holds for all of the works, so that a large index is not searched through others. show: progress on stderr.
        descriptors: where those of works come from, such as `shards.Shards`; by default they are embedded here, and cached.

    Raises UsageError for an index of another encoder or size of pictures, and for points that are no works.
    """
    descriptors = descriptors or (lambda works: embeddings.embed(works, encoder, "content", show=show).raw)
    works = works_of(corpora)
    if not index.about and len(index):  # counting looks for what another process has begun meanwhile
        require(bool(index.about), "the index holds points that are no works: choose another #NAME")
    if not index.about:
        mean = _mean([work for work, _ in works.values()], descriptors).astype("<f4")
        about = {"holds": holds(encoder), "centre": base64.b64encode(mean.tobytes()).decode()}
        index.begin(json.dumps(about), len(mean))
    mean = centre(index, encoder)  # that of whoever was first
    ids = list(works)

    def columns(id: str) -> dict[str, Value]:
        work, place = works[id]
        return _columns(work, corpora[place])

    for batch in _batches(ids):
        present = index.present(batch)
        missing = [id for id in batch if id not in present]
        if not missing:
            continue
        vectors = descriptors([works[id][0] for id in missing]) - mean
        inside = np.flatnonzero(vectors.any(axis=1)).tolist()  # a work that is the mean has no direction
        if inside:
            index.upsert([missing[i] for i in inside], vectors[inside], [columns(missing[i]) for i in inside])
    index.optimise()
    return CentredIndex(ids, index, mean, {"corpus": [corpus.name for corpus in corpora], **(where or {})})


def outdated(index: Index, corpora: Sequence[Corpus]) -> list[str]:
    """Ids of points of corpora of these names that are none of their works: what was deleted since, or edited.

    Two folders of one name cannot be told apart here: points of the other one are among them. At most twice as many points as
    there are works, and OUTDATED more, are looked at.
    """
    works, names = works_of(corpora), list({corpus.name for corpus in corpora})
    number = len(index)
    if not works or number <= len(works):
        return []
    towards = index.vectors(list(works)[:1])[0]
    towards = towards if towards.any() else np.ones_like(towards)  # any direction will do
    matches = index.search(towards, min(number, 2 * len(works) + OUTDATED), {"corpus": names})
    return [match.id for match in matches if match.id not in works]


def works_of(corpora: Sequence[Corpus]) -> dict[str, tuple[Work, int]]:
    """The ids of the works of `corpora` as points -> the work, and the place of its corpus.

    File and corpus are no key: two folders may have one name.
    """
    return {_id(work, corpus): (work, place) for place, corpus in enumerate(corpora) for work in corpus}


def holds(encoder: Encoder) -> str:
    """What an index by `encoder` holds, the same on every device."""
    identity = [part for part in encoder.identity.split(":") if part not in ("cpu", "cuda", "mps", "fused", "tf32")]
    size = f"content embedding of pictures of {encoder.embedding_size} px"
    return f"{size} by {':'.join(identity)}, version {embeddings.VERSION}"


def centre(index: Index, encoder: Encoder) -> np.ndarray:
    """The mean (D,) that the vectors of `index` are differences from; UsageError for an index that is not by `encoder`."""
    try:
        about = json.loads(index.about)
        held, text = about["holds"], about["centre"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("there is no such index, or it was not filled by workbench: choose another #NAME") from error
    wanted = holds(encoder)
    require(
        held == wanted, f"the index holds: {held}; wanted: {wanted}; choose the encoder that it was made with, or another #NAME"
    )
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def _mean(works: Sequence[Work], descriptors: Descriptors) -> np.ndarray:
    """The mean of the descriptors (D,), or zero for one work, which would otherwise be its own mean."""
    total: np.ndarray | float = 0.0
    for batch in _batches(works):
        total = total + descriptors(batch).sum(axis=0, dtype=np.float64)
    return np.asarray(total) / len(works) * (len(works) > 1)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _columns(work: Work, corpus: Corpus) -> dict[str, Value]:
    """The metadata of a work's point: columns without a value are left out."""
    known = {column: value for column, value in work.metadata.items() if value}
    return {**known, "title": work.title, "file": work.name, "corpus": corpus.name, "group": work.group}


def _id(work: Work, corpus: Corpus) -> str:
    """32 hexadecimal digits that stand for the file's bytes and its metadata: a file's name is neither unique nor constant."""
    return hashlib.sha256(json.dumps([work.sha256, sorted(_columns(work, corpus).items())]).encode()).hexdigest()[:32]
