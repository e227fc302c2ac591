"""Content images and corpora, by path or by a sample's name."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from workbench import images, provenance, samples
from workbench.corpora import Corpus, ingest
from workbench.errors import UsageError, WorkbenchError, require
from workbench.paths import is_dir, is_file, where, written

COMPARED = 512
"""Long side, px, that suffices for every comparison of the content with paintings."""


def content_path(name: str) -> Path:
    """The file of a content image, `name` being a path or a sample photograph. UsageError when it is neither."""
    path = written(name)
    require(bool(name.strip()), "content is empty: name an image file, or a sample photograph")
    if is_file(path):
        return path
    if name in samples.PHOTOGRAPHS:
        return samples.photograph_path(name)
    raise UsageError(f"content {name!r} is no file, and no sample{_near(name, samples.PHOTOGRAPHS)}{where(name)}")


def source(name: str) -> provenance.Source:
    """What the file of a content image is now. Raises as `content_path`, and WorkbenchError where it cannot be read."""
    return provenance.source(content_path(name))


def content(name: str, size: int | None = None, *, sha256: str | None = None) -> Tensor:
    """The content image as float32 (1, 3, H, W) in [0, 1]: at its own size, or, if larger, large enough to be scaled to `size`.

    With `size`, px, memory follows it rather than the file. Regions of the picture are described at up to COMPARED px as well.
    `sha256`: the hash that the file must have; WorkbenchError where it was replaced since.
    """
    path = content_path(name)
    sha256 = sha256 or provenance.source(path).sha256
    picture = images.load(path, enough=size and images.OVERSAMPLED * max(size, COMPARED), sha256=sha256)
    provenance.note_read(path, sha256)
    return picture


def corpus(name: str, *, show: bool = False) -> Corpus:
    """The corpus in a folder or Parquet file, or of a sample painter, painted on the first call. UsageError for neither."""
    return ingest(corpus_path(name) or samples.corpus_path(name), show=show)


def corpus_path(name: str) -> Path | None:
    """The folder or Parquet file of a corpus; None for a sample painter, who may yet have to paint. UsageError for neither."""
    path = written(name)
    require(bool(name.strip()), "corpus is empty: name a folder of paintings, or a sample painter")
    if is_dir(path) or (is_file(path) and path.suffix == ".parquet"):
        return path
    if is_file(path):
        raise WorkbenchError(f"corpus {name} is a file: name the folder that holds the paintings")
    if name in samples.PAINTERS:
        return None
    beside = [str(path.with_name(one)) for one in difflib.get_close_matches(path.name, _folders(path.parent), n=1)]
    near = f": did you mean {beside[0]}?" if beside else _near(name, samples.PAINTERS)
    raise UsageError(f"corpus {name!r} is no folder, and no sample painter{near}{where(name)}")


def truth(content: str, corpus: str, size: int) -> Tensor | None:
    """The sample painter's own picture of the sample photograph, (1, 3, H, W) in [0, 1], long side `size`; else None.

    For a real artist nobody has the right answer; for a synthetic painter `samples.truth` paints it.
    """
    if corpus in samples.PAINTERS and content in samples.PHOTOGRAPHS:
        return images.to_tensor(samples.truth(corpus, content, size))
    return None


def striking_work(corpus_name: str) -> str:
    """The file name of a sample painter's most striking landscape; UsageError for a corpus that has no such default."""
    if corpus_name in samples.PAINTERS:
        return samples.a_single(corpus_name)
    raise UsageError("single is empty: name the one painting to compare with, by its file name or title")


def _folders(parent: Path) -> list[str]:
    """The names of the folders in `parent`, none where it cannot be read."""
    try:
        return [path.name for path in parent.iterdir() if path.is_dir()]
    except (OSError, ValueError):
        return []


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {near[0]}?" if near else f" ({', '.join(known)})"
