"""What a run depends on, each part with its hash: a run counts as done as long as all of it is as it was.

That is the package, the notebook's code, the libraries, and every file and list of files that was read. Files are those that
the interpreter reported when it opened them (audit events, PEP 578), so none has to be declared. What native code opens on its
own is seen where the package hashes it first, as it does with weights and corpora; what other processes read is not.

A file counts wherever it lies. Left out are the entries of the cache, whose names are keys; the libraries of the interpreter,
whose versions are recorded; fonts; and what is no file on a disk. What a parameter names among these counts all the same.
"""

import hashlib
import os
import site
import sys
import sysconfig
import time
import zoneinfo
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import workbench
from workbench import provenance as pv
from workbench import storage
from workbench.errors import WorkbenchError
from workbench.paths import exists, written
from workbench.runs import record
from workbench.runs.declarations import read
from workbench.runs.placing import texts
from workbench.storage import read_object

FILE = "dependencies.json"
"""File name of the dependencies, beside run.json."""
WEIGHTS = "WORKBENCH_WEIGHTS"
"""Environment variable that names a folder of weights: what is in it is called after the variable, wherever it lies."""
REASONS = 3
"""Reasons that are listed, at most."""
_KERNEL = ("/proc", "/sys")  # of the operating system: no files on a disk
_DEVICES = ("/dev", "/dev/shm")  # folders in which files of all processes come and go
_FONTS = (".ttf", ".otf", ".ttc", ".afm", ".pfb", ".dfont")  # matplotlib once lists, and reads, all that there are
_KINDS = {"versions": dict, "files": dict, "folders": dict, "absent": list}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_hashes: dict[tuple, str] = {}  # what a file is on its disk -> SHA-256


def source_of(notebook: Path) -> str:
    """What is executed: outputs, metadata and prose do not count."""
    return "\n\0".join(cell.source for cell in read(notebook).cells if cell.cell_type == "code")


def known_before(notebook: Path) -> dict[str, Any]:
    """What is known before a run begins: `package`, `notebook` (hashes), `versions` of libraries, and the `threads` given."""
    package = Path(workbench.__file__).parent
    names = (path for path in package.rglob("*") if path.is_file() and path.suffix not in (".md", ".pyc"))
    lines = [f"{path.relative_to(package).as_posix()}\0{_sha256(path)}\n" for path in sorted(names)]
    given = {"threads": os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())}  # to the kernel, whatever this process uses
    return {"package": _text("".join(lines)), "notebook": _text(source_of(notebook)), "versions": pv.versions(), **given}


def absent(parameters: Mapping[str, Any]) -> list[str]:
    """The texts in `parameters` that name no file: where one appears under such a name, a run may read it."""
    return sorted({text for text in texts(parameters) if not exists(text)})


def write(folder: Path, dependencies: Mapping[str, Any]) -> None:
    """Write `dependencies`, over those of the same names that are known already."""
    try:
        known = load(folder)
    except WorkbenchError:  # of an earlier run
        known = {}
    record.write(folder, {**known, **dependencies}, FILE)


def load(folder: Path) -> dict[str, Any]:
    """The dependencies of the run in `folder`, empty where none are recorded, as for a notebook run by hand.

    WorkbenchError for a file that holds anything else.
    """
    if not (folder / FILE).exists():
        return {}
    found = read_object(folder / FILE)
    for name, kind in _KINDS.items():
        if not isinstance(found.get(name, kind()), kind):
            raise WorkbenchError(f"{folder / FILE} holds no dependencies of a run: {name} is no {kind.__name__}")
    return found


def changes(folder: Path, now: Mapping[str, Any]) -> list[str]:
    """What is no longer as it was when the run in `folder` was made, one phrase each; `now` is `known_before`."""
    try:
        then = load(folder)
    except WorkbenchError:
        return [f"its {FILE} cannot be read"]
    if not then:
        return ["what it depends on was not recorded"]
    found = []
    if then.get("package") != now["package"]:
        found.append("the package's source changed")
    if then.get("notebook") != now["notebook"]:
        found.append("the notebook's code changed")
    versions = then.get("versions", {})
    for name, version in now["versions"].items():
        if versions.get(name) != version:
            found.append(f"{name} {versions.get(name)} is now {version}")
    if then.get("threads", now["threads"]) != now["threads"]:
        found.append(f"{then['threads']} threads are now {now['threads']}")
    parameters = record.read(folder).get("parameters", {})
    for name, digest in then.get("files", {}).items():
        path = _place(name)
        if not path.is_file():
            found.append(f"the {_role(path, parameters)} is gone")
        elif digest is None:
            found.append(f"the {_role(path, parameters)} changed during the run")
        elif _sha256(path) != digest:
            found.append(f"the {_role(path, parameters)} changed")
    for name, digest in then.get("folders", {}).items():
        path = _place(name)
        if _listing(path) != digest:
            found.append(f"the {_role(path, parameters)} has other files")
    found += [f"there is a file {text} now" for text in then.get("absent", []) if exists(text)]
    return found


def told(reasons: list[str]) -> str:
    """Reasons in one line."""
    rest = len(reasons) - REASONS
    return "; ".join(reasons[:REASONS]) + (f"; and {rest} more" if rest > 0 else "")


class Trace:
    """The files that this process reads and the folders that it lists, from now until `close`."""

    def __init__(self, folder: Path, parameters: Mapping[str, Any] | None = None):
        """`folder` and `parameters` of the run. What lies in the folder or in the package is left out.

        Modules that were imported before count as well.
        """
        self._never = (*_KERNEL, *map(os.path.realpath, (folder, Path(workbench.__file__).parent)))
        self._named = {
            way(path) for _, path in _places(parameters or {}) if exists(path) for way in (_absolute, os.path.realpath)
        }
        self._began = time.time_ns()
        self._read: dict[str, tuple[int, ...] | None] = {}  # what each was when it was opened
        self._listed: set[str] = set()
        self._written: set[str] = set()
        _start(self)

    def heard(self, event: str, arguments: tuple) -> None:
        """Note an audit event."""
        path = arguments[0] if event != "os.rename" else arguments[1]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if path is None and event != "open":
            path = "."
        if not isinstance(path, str | os.PathLike):
            return  # a descriptor of what is open already
        path = _absolute(path)
        if event == "open":
            mode, flags = arguments[1], arguments[2]
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITES)
            if writes:
                self._written.add(path)
            elif self._read.get(path) is None:
                self._read[path] = _identity(path)
        else:
            (self._written if event == "os.rename" else self._listed).add(path)

    def close(self) -> dict[str, Any]:
        """`files`: name -> SHA-256, None for a file that changed meanwhile; `folders`: name -> hash of the names in it.

        What the process wrote itself is no dependency, nor is a folder that it wrote into. Names are from the current folder
        where they lead nowhere else.
        """
        _start(None)
        imported = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        unless_named = [*map(os.path.realpath, (*storage.entries, *_libraries())), _matplotlib()]
        opened = {path for path in {*self._read, *filter(None, imported)} if self._counts(path, unless_named)}
        files = {path for path in opened if os.access(path, os.R_OK) and Path(path).is_file()}
        into = {str(Path(path).parent) for path in self._written}
        searched = {_absolute(path) for path in sys.path_importer_cache}  # for modules
        listed = self._listed - into - searched - {*_DEVICES}
        folders = {path for path in listed if self._counts(path, unless_named) and Path(path).is_dir()}
        hashes = {}
        for path in sorted(files - self._written):
            as_read = self._read.get(path)  # modules may have been read before: only a clock that goes right tells of them
            same = _identity(path) == as_read if as_read else Path(path).stat().st_mtime_ns <= self._began
            hashes[_name(path)] = _sha256(Path(path)) if same else None
        return {"files": hashes, "folders": {_name(path): _listing(Path(path)) for path in sorted(folders)}}

    def _counts(self, path: str, unless_named: list[str]) -> bool:
        """`unless_named`: folders in which only that counts which a parameter names, by its path or by a folder there."""
        real = os.path.realpath(path)
        if path.endswith(".pyc") or any(_lies_in(real, top) for top in self._never):  # of a .pyc its module counts
            return False
        named = [name for name in self._named if _lies_in(path, name) or _lies_in(real, name)]
        if _is_font(path) and not named:
            return False
        return all(any(_lies_in(name, top) for name in named) for top in unless_named if _lies_in(real, top))


_trace: Trace | None = None
_is_heard = False


def _start(trace: Trace | None) -> None:
    global _trace, _is_heard
    if not _is_heard:
        sys.addaudithook(_hear)  # for good: a hook cannot be taken away
        _is_heard = True
    _trace = trace


def _hear(event: str, arguments: tuple) -> None:
    if _trace is not None and event in ("open", "os.listdir", "os.scandir", "os.rename"):
        try:
            _trace.heard(event, arguments)
        except (OSError, ValueError):  # the current folder is gone; a path that is none
            return


def _name(path: str) -> str:
    """`path` as it is recorded: from the folder of weights, or from the current one, where it lies in these."""
    weights = os.environ.get(WEIGHTS)
    for top, name in ((weights, f"${WEIGHTS}/"), (Path.cwd(), "")):
        if top and path.startswith(_absolute(top) + os.sep):
            return name + Path(path).relative_to(_absolute(top)).as_posix()
    return path


def _place(name: str) -> Path:
    """Where what is recorded under `name` lies now."""
    if name.startswith(f"${WEIGHTS}/"):
        return Path(os.environ.get(WEIGHTS, ""), name.removeprefix(f"${WEIGHTS}/"))
    return Path(name)


def _role(path: Path, parameters: Mapping[str, Any]) -> str:
    """`path` as a person knows it: "content mona_lisa.jpg" where a parameter names it or a folder that it lies in."""
    for name, place in _places(parameters):
        if _lies_in(_absolute(path), _absolute(place)):
            return f"{name} {path.name}"
    return f"{'folder' if path.is_dir() else 'file'} {path.name}"


def _places(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """(name of the parameter, path) of everything in `parameters` that may be a path."""
    for name, value in parameters.items():
        for text in texts(value):
            # The path may follow words, as in "embedded:FILE" or "clip:MODEL//FILE".
            for part in {text, text.partition(":")[2], "/" + text.partition("//")[2]} - {"", "/"}:
                yield name, written(part)


def _lies_in(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def _is_font(path: str) -> bool:
    """Whether `path` is a font or a folder of fonts."""
    return path.lower().endswith(_FONTS) or ("fonts" in Path(path.lower()).parts and Path(path).is_dir())


def _libraries() -> set[str]:
    """The folders of the interpreter's own modules, of what is installed for it, and of its time zones."""
    paths = sysconfig.get_paths()
    own = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return {*own, *site.getsitepackages(), site.getusersitepackages(), *zoneinfo.TZPATH}


def _listing(path: Path) -> str | None:
    """A hash of the names in a folder, None where there is none; what file browsers leave does not count."""
    try:
        return _text("\n".join(sorted(each.name for each in path.iterdir() if not each.name.startswith("."))))
    except OSError:
        return None


def _sha256(path: Path) -> str:
    """The hash of a file, taken again only when the file is another on its disk."""
    try:
        found = path.stat()
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror or error}") from error
    key = _key(found)
    if key not in _hashes:
        _hashes[key] = pv.sha256(path)
    return _hashes[key]


def _identity(path: str) -> tuple[int, ...] | None:
    """What tells a file from the one that it was, whatever the time on the clock; None where there is none."""
    try:
        return _key(Path(path).stat())
    except (OSError, ValueError):
        return None


def _key(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _text(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _absolute(path: str | os.PathLike) -> str:
    return os.path.normpath(Path(path).absolute())


def _matplotlib() -> str:
    import matplotlib

    return os.path.realpath(matplotlib.get_cachedir())
