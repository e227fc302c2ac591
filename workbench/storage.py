"""Files that are either whole or absent, and the cache of results that can be computed again."""

import os
import stat
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import numpy as np
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


@dataclass(frozen=True)
class Cache:
    """Named arrays under keys, one safetensors file for each key in `folder`, such as `cache_dir` gives.

    Folder and key together must stand for everything that the arrays depend on: the caller computes them, usually as hashes.
    """

    folder: Path

    def get(self, key: str, names: Iterable[str]) -> "dict[str, np.ndarray] | None":
        """The arrays `names` of the entry `key`; None where there is no entry, or a damaged one, which is removed.

        Raises WorkbenchError, naming the file, where the entry cannot be read for another reason, such as its permissions.
        """
        from safetensors import SafetensorError  # here, because it takes time, and the command line's help needs none of it
        from safetensors.numpy import load

        path = self._path(key)
        try:
            arrays = load(path.read_bytes())
            return {name: arrays[name].copy() for name in names}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorkbenchError(f"cannot read {path}: {error.strerror or error}") from error
        except (SafetensorError, KeyError, ValueError, TypeError):
            path.unlink(missing_ok=True)
            return None

    def put(self, key: str, arrays: "Mapping[str, np.ndarray]") -> None:
        """Store `arrays` (name -> array) as the entry `key`, atomically. Raises WorkbenchError where that is impossible."""
        from numpy import ascontiguousarray
        from safetensors.numpy import save_file

        with atomic(self._path(key)) as temporary:
            save_file({name: ascontiguousarray(array) for name, array in arrays.items()}, temporary)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces `path` when the block ends well, and vanishes when it does not.

    The temporary file keeps the suffix of `path`, so libraries that choose a format by suffix work. The parent folder
    is created. The file has the permissions of any new file there, as the umask has it: safetensors gives its own the mode 600.
    Raises WorkbenchError, naming `path`, when it cannot be written (permission, full disk, a folder in the way).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # the umask itself cannot be read without being set, for all threads
        temporary.unlink()
        yield temporary
        if temporary.stat().st_mode != mode:
            temporary.chmod(stat.S_IMODE(mode))
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


def opened(path: str | os.PathLike) -> None:
    """Report that native code opens `path`, by the audit event that Python's own `open` raises: see runs/dependencies.py."""
    sys.audit("open", str(path), "r", os.O_RDONLY)


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, str], dict[str, "Tensor"]]:
    """(metadata, tensors) of a safetensors file. Raises WorkbenchError, naming `path`, when it cannot be read."""
    from safetensors import SafetensorError, safe_open  # here, because they bring torch, and not all who store need it

    opened(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            # Cloned, because the order of a sum depends on how memory is aligned, and torch aligns what it allocates alike.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WorkbenchError(f"{path} cannot be read as a checkpoint: {error}") from error
