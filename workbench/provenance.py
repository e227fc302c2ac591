"""Where a result came from: parameters, seed, versions, commit, platform, and the hashes of what went in.

There is no time in it, so identical runs make identical figures; and no name of who ran it, or of a folder.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath

from workbench.errors import WorkbenchError
from workbench.names import without_passwords

PACKAGES = (
    "artist-workbench",
    "matplotlib",
    "numpy",
    "open_clip_torch",
    "pillow",
    "scikit-learn",
    "torch",
    "torchvision",
)
"""Packages whose versions decide a result."""
SETTLED = 100_000_000
"""Nanoseconds after which a file that is written to has another time: below it, a hash is not remembered."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Where a path begins that leads out of the current folder: at the start of a text, or inside one such as
# "clip:MODEL//home/me/checkpoint.pt".
_OUTSIDE = re.compile(r"(?:^|(?<=[:/\\=,]))(?:~[^/\\]*|[A-Za-z]:|\.{1,2})?[/\\].*", re.DOTALL)

_hashes: dict[tuple[int, ...], str] = {}  # identity of a file -> SHA-256
_read: dict[Path, "Source"] = {}  # files, resolved, as they were when they were read last


@dataclass(frozen=True)
class Source:
    """A file as it was when it was read. file: the last part of its path; sha256: of its bytes."""

    file: str
    sha256: str


def provenance(
    parameters: Mapping[str, object],
    seed: int | None,
    inputs: Mapping[str, Path | str | Source],
    weights: Mapping[str, str],
) -> dict:
    """Describe how a result was made, as a dictionary that JSON can hold.

    `inputs` maps a name to a file or folder, which is hashed, or to a `Source` or a SHA-256 that is known already; `weights`
    maps a name to a SHA-256. Paths that lead out of the current folder are reduced to their last part. The keys are
    `parameters`, `seed`, `versions`, `platform`, `inputs`, `weights` and, when the package lies in a git checkout,
    `commit` and `dirty`.
    Raises WorkbenchError for an input that cannot be read and for a text that is not a SHA-256.
    """
    return {
        "parameters": {name: shared(value) for name, value in parameters.items()},
        "seed": seed,
        "versions": versions(),
        "platform": {"system": platform.system(), "machine": platform.machine(), "threads": threads()},
        "inputs": {name: describe(name, value) for name, value in inputs.items()},
        "weights": {name: checked(name, value) for name, value in weights.items()},
        **checkout(),
    }


def text(prov: Mapping) -> str:
    """Write provenance as canonical JSON: one line of ASCII, keys sorted. Equal provenance gives equal text."""
    return json.dumps(prov, sort_keys=True, separators=(",", ":"), allow_nan=False)


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that decide a result; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def threads() -> int:
    """How many threads compute here: another number sums in another order, and a picture is then off by a few levels."""
    if (torch := sys.modules.get("torch")) is not None:
        return torch.get_num_threads()
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdecimal() and int(number) else os.cpu_count() or 1


def checkout() -> dict:
    """`commit` (40 hex digits) and `dirty` (tracked files were changed) of the checkout that holds the package.

    Empty outside a checkout, for an installed package, before the first commit, and without git.
    """
    # Variables such as GIT_DIR, set inside a git hook, would make git describe another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=Path(__file__).parent,
                env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
                capture_output=True,
                text=True,
                timeout=10,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A package installed in a virtual environment inside some other project's checkout is not part of that project.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return {}
    commit = git("rev-parse", "--verify", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no")
    return {} if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def describe(name: str, value: Path | str | Source) -> dict[str, str]:
    """Describe the input `name`: its SHA-256 and, when it is a path, its last part."""
    if isinstance(value, Source):
        return asdict(value)
    if isinstance(value, Path):
        return {"file": value.resolve().name, "sha256": sha256(value)}
    return {"sha256": checked(name, value)}


def checked(name: str, digest: str) -> str:
    """Return `digest`, or raise WorkbenchError when it is not 64 lower-case hexadecimal digits."""
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise WorkbenchError(f"{name}: expected a SHA-256 of 64 hexadecimal digits, got {digest!r}")
    return digest


def sha256(path: Path) -> str:
    """Hash a file, or a folder: the hash of the sorted lines "relative/name, zero byte, hash" of the files below it.

    Hidden files, such as those that file browsers leave, are passed over. Raises WorkbenchError for what cannot be
    read.
    """
    try:
        if path.is_dir():
            files = ((file.relative_to(path), file) for file in path.rglob("*") if file.is_file())
            seen = sorted((name.as_posix(), file) for name, file in files if not is_hidden(name))
            lines = (f"{name}\0{sha256(file)}\n" for name, file in seen)
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror or error}") from error


def source(path: Path) -> Source:
    """What the file at `path` is now. It is hashed again only when it is another on its disk. Raises as `sha256` does."""
    key = identity(path)
    digest = _hashes.get(key) if key else None
    if digest is None:
        digest = sha256(path)
        if key and time.time_ns() - max(key[3:]) > SETTLED:
            _hashes[key] = digest
    return Source(path.resolve().name, digest)


def identity(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that lay there before, without reading it; None where there is none.

    That is device, inode, size, and the times at which the content and the file were changed last.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def note_read(path: Path, sha256: str) -> None:
    """Remember that what was read from `path` as a content had this hash."""
    _read[path.resolve()] = Source(path.resolve().name, sha256)


def as_read(path: Path) -> Source | None:
    """What the file at `path` was when this process read it last as a content; None where it has not."""
    return _read.get(path.resolve())


def is_hidden(name: Path) -> bool:
    """Whether a part of the relative path `name` starts with a dot."""
    return any(part.startswith(".") for part in name.parts)


def shared(value: object) -> object:
    """Return `value` as JSON has it, without passwords and the folders of this machine: what a published figure may carry."""
    if isinstance(value, Mapping):
        return {str(key): shared(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shared(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        value = without_passwords(value)
    if isinstance(value, str) and "://" not in value:
        return _OUTSIDE.sub(lambda match: last_part(match.group()), value)
    return value


def last_part(path: str) -> str:
    """The last part of a path written for any system."""
    return PureWindowsPath(PurePosixPath(path).name).name
