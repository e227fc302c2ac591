"""Files that are either whole or absent, and the cache of results that can be computed again."""

import atexit
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from workbench.errors import UsageError, WorkbenchError
from workbench.names import shortened

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_HERE = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
_TEMPORARY = re.compile(rf"\..*-(\d+)-{_HERE}[0-9a-f]{{8}}(\.[^.]*)?")
"""The name of what is there for a while, such as a file before it takes its place: the number of the process, the machine's."""


entries: set[Path] = set()
"""The folders right below the cache that this process has asked for: what is in them is the workbench's own."""


def cache_dir(*parts: str) -> Path:
    """The folder `parts` below the cache, created if need be.

    The cache is $WORKBENCH_CACHE, or `~/.cache/workbench`, or, where nothing can be written there, a temporary folder, which a
    warning tells of. Everything in it is keyed by content and may be deleted. Raises WorkbenchError where the folder that
    $WORKBENCH_CACHE names cannot be made.
    """
    named = os.environ.get("WORKBENCH_CACHE")
    root = Path(named) if named else _home()
    folder = root.joinpath(*parts)
    entries.update(root / part for part in parts[:1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkbenchError(f"cannot create the cache folder {folder}: {error.strerror}; set WORKBENCH_CACHE") from error
    return folder


@cache
def _home() -> Path:
    """The cache below the home folder, or a folder of this process where the home is missing or read-only."""
    try:
        root = Path.home() / ".cache" / "workbench"
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        _warn(
            f"no cache in the home folder ({getattr(error, 'strerror', None) or error}): what is computed is kept for this "
            "session alone; set WORKBENCH_CACHE to a folder that can be written"
        )
        root = _made_in(Path(tempfile.gettempdir()))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        return root


@cache
def _warn(message: str) -> None:
    """Print `message` on stderr, once."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Cache:
    """Named arrays under keys, one safetensors file for each key in `folder`, such as `cache_dir` gives.

    Folder and key together must stand for everything that the arrays depend on: the caller computes them, usually as hashes.
    """

    folder: Path

    def get(self, key: str, names: Iterable[str]) -> "dict[str, np.ndarray] | None":
        """The arrays `names` of the entry `key`; None where there is no entry, or a damaged one, which is removed.

        An entry has a checksum, so that one flipped bit is damage too.

        Raises WorkbenchError, naming the file, where the entry cannot be read for another reason, such as its permissions.
        """
        from safetensors import SafetensorError  # here, because it takes time, and the command line's help needs none of it
        from safetensors.numpy import load

        path = self._path(key)
        try:
            content = path.read_bytes()
            arrays = load(content)
            header, data = _parts(content)
            if header.pop("__metadata__") != {"sha256": _checksum(header, data)}:
                raise ValueError
            return {name: arrays[name].copy() for name in names}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WorkbenchError(f"cannot read {path}: {error.strerror or error}") from error
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError):
            with suppress(OSError):  # it may lie where nothing can be written
                path.unlink(missing_ok=True)
            return None

    def put(self, key: str, arrays: "Mapping[str, np.ndarray]") -> None:
        """Store `arrays` (name -> array) as the entry `key`, atomically. Where that is impossible a warning says so, once."""
        from numpy import ascontiguousarray
        from safetensors.numpy import save

        contiguous = {name: ascontiguousarray(array) for name, array in arrays.items()}
        checksum = _checksum(*_parts(save(contiguous)))
        with spare(f"the cache {self.folder}"), atomic(self._path(key)) as temporary:
            temporary.write_bytes(save(contiguous, metadata={"sha256": checksum}))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, data) of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _checksum(header: Mapping[str, Any], data: bytes) -> str:
    """The SHA-256 of what a safetensors file holds, whatever the order in its header."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + data).hexdigest()


@contextmanager
def spare(what: str) -> Iterator[None]:
    """A block that writes what can be computed again: where it cannot be written, a warning names it, once."""
    try:
        yield
    except WorkbenchError as error:
        cause = getattr(error.__cause__, "strerror", None) or error
        _warn(f"{what} is not written: {cause}")


@contextmanager
def alone(lock: Path, refusal: str) -> Iterator[None]:
    """A block in which one process at a time may be: UsageError, `refusal`, where another is.

    The file `lock` exists as long. The system forgets a lock when its process ends, however it ends. Where it has none of this
    kind (Windows), or nothing can be written, nobody is refused.
    """
    held = _lock_file(lock)
    if held is None:
        yield
        return
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(held.fileno()).st_nlink > 0  # or it was deleted by a process that has just ended
        except BlockingIOError:
            mine = False
        if not mine:
            raise UsageError(refusal)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def in_turn(lock: Path) -> Iterator[None]:
    """A block in which one process at a time may be: others wait. Where the system has no such locks, nobody waits.

    The file `lock` stays: who deleted it while others wait for it would let in one more.
    """
    held = _lock_file(lock)
    if held is None:
        yield
        return
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _lock_file(lock: Path) -> IO[str] | None:
    """The file `lock`, open; None where the system has no locks of this kind, or nothing can be written."""
    if fcntl is None:
        return None
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("a")
    except OSError:
        return None


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces `path` when the block ends well, and vanishes when it does not.

    The temporary file keeps the suffix of `path`, so libraries that choose a format by suffix work. The parent folder
    is created. The file has the permissions of any new file there, as the umask has it: safetensors gives its own the mode 600.
    Raises WorkbenchError, naming `path`, when it cannot be written (permission, full disk, a folder in the way).
    """
    path = Path(path)
    stem = shortened(path.stem, 100)  # as long a name as the system takes can be written
    temporary = path.with_name(f".{stem}-{os.getpid()}-{_HERE}{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent.resolve())
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
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # what safetensors makes of an OSError
            raise
        raise WorkbenchError(f"cannot write {path}: {error}") from error
    finally:
        with suppress(OSError):  # where a file stands in place of the folder there is nothing to remove
            temporary.unlink()


@contextmanager
def temporary_folder(within: str | os.PathLike | None = None) -> Iterator[Path]:
    """An empty folder of this user alone, below `within` or where temporary files go, which vanishes with all that is in it.

    Where its process is killed, the next one that makes such a folder removes it.
    """
    folder = _made_in(Path(within or tempfile.gettempdir()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made_in(folder: Path) -> Path:
    _sweep(folder.resolve())
    made = folder / f".workbench-{os.getpid()}-{_HERE}{uuid.uuid4().hex[:8]}"
    made.mkdir(mode=0o700)
    return made


@lru_cache(maxsize=256)
def _sweep(folder: Path) -> None:
    """Remove what processes of this machine left in `folder` for a while when they were killed; once per folder."""
    for path in folder.glob(".*-*-*"):
        if (found := _TEMPORARY.fullmatch(path.name)) and not _runs(int(found[1])):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of somebody else
        return True
    return True


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8, atomically. Returns the path."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def read_text(path: str | os.PathLike, encoding: str = "utf-8") -> str:
    """The text of a file that a person names.

    OSError as of `Path.read_text`, and for a pipe or a device, which may never end.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.read_text(encoding=encoding)


def parse_json(text: str) -> Any:
    """JSON that a person wrote. ValueError for what is none, and for a key that is given twice, of which one would be lost."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
        return found

    return json.loads(text, object_pairs_hook=once)


def read_object(path: str | os.PathLike) -> dict[str, Any]:
    """The JSON object in a file. Raises WorkbenchError, naming `path`, where it cannot be read or holds anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"cannot read {path}: it is not JSON ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise WorkbenchError(f"cannot read {path}: it holds no JSON object")
    return found


def opened(path: str | os.PathLike) -> None:
    """Report that native code opens `path`, by the audit event that Python's own `open` raises: see runs/dependencies.py."""
    sys.audit("open", str(path), "r", os.O_RDONLY)


def in_order(content: bytes) -> bytes:
    """A safetensors file, `content`, with its metadata in the order of their names: safetensors has them in any."""
    end = 8 + int.from_bytes(content[:8], "little")
    described = json.loads(content[8:end])
    described["__metadata__"] = dict(sorted(described["__metadata__"].items()))
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return len(text).to_bytes(8, "little") + text + content[end:]


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


def check_weights(path: str | os.PathLike, tensors: Mapping[str, "Tensor"]) -> None:
    """WorkbenchError, naming `path` and the tensor, unless `tensors` can be weights: floats, all finite, and not all zero."""
    for name, tensor in tensors.items():
        if tensor.ndim and not tensor.is_floating_point():
            raise WorkbenchError(f"{path} is damaged, or holds no weights: {name} is {tensor.dtype}, not floating point")
        if not bool(tensor.isfinite().all()):
            raise WorkbenchError(f"{path} is damaged: {name} has values that are not finite")
    if tensors and not any(bool(tensor.any()) for tensor in tensors.values()):
        raise WorkbenchError(f"{path} is damaged: all its weights are zero")
