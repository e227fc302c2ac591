"""Files that are either whole or absent, and the folder for what can be made again."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from torch import Tensor


def cache_dir(*parts: str) -> Path:
    """The folder `parts` below the cache, created if need be.

    The cache is $WORKBENCH_CACHE, or `~/.cache/workbench`. Everything in it is keyed by content and may be deleted.
    """
    root = Path(os.environ.get("WORKBENCH_CACHE") or Path.home() / ".cache" / "workbench")
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkbenchError(f"cannot create the cache folder {folder}: {error.strerror}; set WORKBENCH_CACHE") from error
    return folder


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces `path` when the block ends well, and vanishes when it does not.

    The temporary file keeps the suffix of `path`, so libraries that choose a format by suffix work. The parent folder
    is created. Raises WorkbenchError, naming `path`, when it cannot be written (permission, full disk, a folder in the way).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WorkbenchError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # where a file stands in place of the folder there is nothing to remove
            temporary.unlink()


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8, atomically. Returns the path."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, str], dict[str, "Tensor"]]:
    """(metadata, tensors) of a safetensors file. Raises WorkbenchError, naming `path`, when it cannot be read."""
    from safetensors import SafetensorError, safe_open  # here, because they bring torch, and not all who store need it

    try:
        with safe_open(str(path), framework="pt") as file:
            # Cloned: memory that is aligned as in an unbroken run sums in the same order.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WorkbenchError(f"{path} cannot be read as a checkpoint: {error}") from error
