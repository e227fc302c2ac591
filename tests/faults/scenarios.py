"""What goes wrong around the workbench, as often as one likes. Each function counts what it tried and asserts what holds.

The short suite, test_faults.py, tries each a little; `make faults` runs this file, which tries them much, and writes a table.
"""

import argparse
import contextlib
import csv
import importlib.util
import io
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

import full
import nbformat
import numpy as np
import torch
from faults.hostile import VALUES, mutated_bytes, mutated_lines
from faults.killing import command, ended, left_behind, started
from PIL import Image

from workbench import cli, corpora, figures, images, storage
from workbench.errors import WorkbenchError
from workbench.names import plain

SMALL = ["--method", "gram", "--size", "32", "--steps", "40"]


def gallery(folder: Path, count: int = 4) -> Path:
    """A folder of small pictures, each of its own pattern."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:40, :56]
    for k in range(count):
        waves = 128 + 90 * np.stack([np.sin(x / (2 + k) + c) * np.cos(y / (3 + k) - c) for c in range(3)], axis=-1)
        Image.fromarray(waves.astype(np.uint8)).save(folder / f"work-{k}.png")
    return folder


@contextlib.contextmanager
def cache_in(folder: Path):
    with mock.patch.dict(os.environ, WORKBENCH_CACHE=str(folder)):
        yield


Work = tuple[list[str], str, list[str]]
"""A command, what it makes, and what is added to go on with it: see `works_of`."""


def works_of(base: Path) -> dict[str, Work]:
    """Name -> (a command that takes seconds, what it makes, what is added to go on with it once `state` is there)."""
    paintings = gallery(base / "paintings")
    content = str(paintings / "work-3.png")
    tiny = [word for option in ("crop=32", "batch=1", "widths=4,6,8", "blocks=1", "size=48") for word in ("-p", option)]
    train = ["train", "artist", "--corpus", str(paintings), "--photos", str(paintings), "--encoder", "random", *tiny]
    paint = ["transfer", content, "--corpus", str(paintings), "--target", "whole", *SMALL, "--checkpoint", "state"]
    return {
        "painting": ([*paint, "-o", "out.png"], "out.png", ["--resume"]),
        "embedding": (["embed", str(paintings), "--kind", "style", "-o", "vectors.npz"], "vectors.npz", []),
        "training": ([*train, "--steps", "24", "--report-every", "3", "-o", "state"], "state.safetensors", ["--resume"]),
        "drawing a figure": (
            ["compare", content, "--corpus", str(paintings), "--targets", "whole", "nearest", *SMALL, "-o", "figure.png"],
            "figure.png",
            [],
        ),
        "splitting": (["corpus", "split", str(paintings), "--held-out", ".4", "-o", "split.csv"], "split.csv", []),
        "embedding in shards": (
            ["embed", str(paintings), "--kind", "content", "--shards", "shards", "--workers", "1"],
            "shards/manifest.json",
            [],
        ),
    }


def _begun(folder: Path) -> bool:
    """Whether there is a state to go on from: of a transfer, or of a training."""
    return (folder / "state").exists() or (folder / "state.checkpoint.safetensors").exists()


def completes(name: str, work: Work, whole: Path, folder: Path, cache: Path, clock: float = 0) -> None:
    """The same command again: it completes, what it made has the bytes of an unbroken run, and nothing is left behind."""
    argv, made, further = work
    goes_on = further if _begun(folder) else []
    if not (name == "training" and (folder / made).exists()):  # a network that is there is not trained again
        with cache_in(cache):
            status, _ = command([*argv, *goes_on], folder, clock=clock)
        assert status == 0, (name, (folder / ".log").read_text())
    assert (folder / made).read_bytes() == (whole / made).read_bytes(), name
    if name != "training":  # whose temporary files go at the next write into the folder
        assert left_behind(folder) == left_behind(cache) == [], name


def unbroken(base: Path, names: Iterable[str] | None = None) -> Iterator[tuple[str, Work, Path, float]]:
    """Do each of `works_of`, or those of `names`, without a fault: (name, work, the folder of what it made, its seconds)."""
    for name, work in works_of(base).items():
        if names is None or name in names:
            whole = base / f"{name}-whole"
            whole.mkdir()
            with cache_in(base / f"{name}-cache"):
                status, seconds = command(work[0], whole)
            assert status == 0, (whole / ".log").read_text()
            yield name, work, whole, seconds


def kills(base: Path, rounds: int, seed: int, names: Iterable[str] | None = None) -> dict[str, int]:
    """kill -9 at random moments, then the same command again: see `completes`."""
    chance, counts, killed = random.Random(seed), {}, 0
    for name, work, whole, seconds in unbroken(base, names):
        for k in range(rounds):
            folder, cache = base / f"{name}-{k}", base / f"{name}-cache-{k}"
            folder.mkdir()
            with cache_in(cache):
                status, _ = command(work[0], folder, kill_after=chance.uniform(0.05, seconds))
            killed += status is None
            completes(name, work, whole, folder, cache)
            shutil.rmtree(folder)
            counts[name] = counts.get(name, 0) + 1
    return counts | {"killed amid the work": killed}


def kills_at_files(base: Path, most: int, names: Iterable[str] | None = None) -> dict[str, int]:
    """kill -9 just before and just after each file takes its place, `most` events of each work; then the same command again."""
    counts: dict[str, int] = {}
    for name, work, whole, _ in unbroken(base, names):
        for at in range(most):
            folder, cache = base / f"{name}-at-{at}", base / f"{name}-cache-at-{at}"
            folder.mkdir()
            with cache_in(cache):
                status, _ = command(work[0], folder, kill_at=at)
            if status is not None:  # there are no more events
                break
            completes(name, work, whole, folder, cache)
            shutil.rmtree(folder)
            counts[name] = counts.get(name, 0) + 1
    return counts


SWEPT = ("value: int = 0\nout: str = ''", "print('x' * 100_000)", "print(value)")
"""The cells of a notebook that is swept."""


def _sweep_of(base: Path, values: Sequence[int]) -> list[str]:
    """The command of a sweep of a small notebook; its grid lies in `base`."""
    base.mkdir(exist_ok=True)
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in SWEPT])
    node.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(node, base / "01_swept.ipynb")
    (base / "grid.yaml").write_text(f"notebook: {base}/01_swept.ipynb\nvary: {{value: {list(values)}}}\n")
    return ["sweep", str(base / "grid.yaml"), "--out", "runs"]


def killed_and_again(
    argv: Sequence[str],
    folders: Path,
    moments: Sequence[Mapping[str, float]],
    amid: Callable[[Path], object],
    after: Callable[[Path], object],
) -> int:
    """`argv` is killed at each of `moments`, in a folder of its own, and started again: it completes. How often it was killed.

    `amid` and `after` assert what has to hold of the folder when it was killed, and in the end.
    """
    killed = 0
    for k, moment in enumerate(moments):
        (folder := folders.with_name(f"{folders.name}-{k}")).mkdir()
        status, _ = command(argv, folder, **moment)
        killed += status is None
        amid(folder)
        status, _ = command(argv, folder)
        assert status == 0, (folder / ".log").read_text()
        after(folder)
        shutil.rmtree(folder)
    return killed


def at_random(count: int, least: float, most: float, seed: int) -> list[dict[str, float]]:
    """`count` moments for `killed_and_again`, seconds after the start."""
    chance = random.Random(seed)
    return [{"kill_after": chance.uniform(least, most)} for _ in range(count)]


def _swept(folder: Path) -> dict[str, str]:
    """Value -> status, of the table of a sweep, which names none twice; every notebook below `folder` is whole."""
    for notebook in folder.rglob("executed.ipynb"):
        nbformat.validate(nbformat.read(notebook, as_version=4))
    table = folder / "runs" / "01_swept" / "sweep.csv"
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8")))) if table.exists() else []
    found = {row["value"]: row["status"] for row in rows}
    assert len(found) == len(rows), rows
    return found


def kills_of_sweeps(base: Path, rounds: int, seed: int, at: Sequence[int] = ()) -> dict[str, int]:
    """A sweep is killed at random moments, or at the file events `at`, and started again.

    Each notebook that is there is whole, the table loses no run that it had, and in the end it has all, each once.
    """
    argv, all_of_it = _sweep_of(base, [1, 2]), {"1": "complete", "2": "complete"}
    (whole := base / "whole").mkdir()
    status, seconds = command(argv, whole)
    assert status == 0 and _swept(whole) == all_of_it, (whole / ".log").read_text()
    moments = [{"kill_at": event} for event in at] or at_random(rounds, 0.05, seconds, seed)

    def complete(folder: Path) -> None:
        assert _swept(folder) == all_of_it

    killed = killed_and_again(argv, base / "sweep", moments, _swept, complete)
    return {"sweeps": len(moments), "killed amid the work": killed}


def kills_of_fetches(base: Path, rounds: int, seed: int) -> dict[str, int]:
    """`corpus fetch` from a museum of six works is killed at random moments, and started again.

    In the end the folder has the pictures, the table and the credits of an unbroken call, byte for byte, and nothing else.
    """
    import test_museums

    from workbench.corpora import museums

    def filled(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "works").iterdir() if path.name != ".fetch.jsonl"}

    argv = ["corpus", "fetch", "--artist", test_museums.GOGH, "--from", "cleveland", "--contact", "a@b.c", "-o", "works"]
    with test_museums.Server() as server:
        server.handle_error = lambda *_: None  # who is killed hangs up
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        source = test_museums.cleveland(server, *(test_museums.painting(server, number) for number in range(1, 7)))
        with mock.patch.dict(museums.SOURCES, cleveland=source):
            (whole := base / "fetched").mkdir(parents=True)
            status, seconds = command(argv, whole)
            assert status == 0 and len(filled(whole)) == 8, (whole / ".log").read_text()

            def complete(folder: Path) -> None:
                assert filled(folder) == filled(whole)

            moments = at_random(rounds, 0.01, seconds, seed)
            killed = killed_and_again(argv, base / "fetch", moments, lambda folder: None, complete)
        server.shutdown()
    return {"fetches": rounds, "killed amid the work": killed}


def kills_of_stores(base: Path, rounds: int, seed: int) -> dict[str, int]:
    """A vector store in a folder is killed while it is filled, and filled again: it finds what one finds that was not killed.

    None is filled where LanceDB is not installed. This process does not import it, for it does not outlive a fork.
    """
    if importlib.util.find_spec("lancedb") is None:
        return {"fillings": 0}
    paintings = gallery(base / "paintings", 6)
    fill = ["embed", str(paintings), "--kind", "content", "--shards", "shards", "--workers", "1", "--index", "lancedb:store"]
    find = ["search", "lancedb:store", str(paintings / "work-0.png"), "-k", "12"]

    def found(folder: Path) -> str:
        (folder / ".log").unlink(missing_ok=True)
        status, _ = command(find, folder)
        said = (folder / ".log").read_text()
        assert status == 0, said
        return said

    (whole := base / "filled").mkdir()
    status, seconds = command(fill, whole)
    assert status == 0, (whole / ".log").read_text()
    expected = found(whole)
    assert all(expected.count(f"work-{k}.png") == 1 for k in range(6)), expected

    def complete(folder: Path) -> None:
        assert found(folder) == expected

    killed = killed_and_again(fill, base / "filling", at_random(rounds, 0.2, seconds, seed), lambda folder: None, complete)
    return {"fillings": rounds, "killed amid the work": killed}


def clock_set_back(base: Path, names: Iterable[str] | None = None) -> dict[str, int]:
    """The clock goes back by a day between a kill and the next start: the work comes to the same bytes.

    And a sweep that was made by a later clock holds as long as its notebook is the same, and no longer.
    """
    day, counts = -86_400.0, {}
    for name, work, whole, seconds in unbroken(base, names):
        folder, cache = base / f"{name}-back", base / f"{name}-cache-back"
        folder.mkdir()
        with cache_in(cache):
            command(work[0], folder, kill_after=seconds * 0.7)
        completes(name, work, whole, folder, cache, clock=day)
        counts[name] = 1
    argv = _sweep_of(base, [1])
    (folder := base / "swept").mkdir()
    for clock, runs in ((0.0, 1), (day, 1), (day, 2)):
        if runs == 2:  # older than the run by its own clock, too
            notebook = base / "01_swept.ipynb"
            notebook.write_text(notebook.read_text().replace("print(value)", "print(-value)"))
            os.utime(notebook, (0, 0))
        status, _ = command(argv, folder, clock=clock)
        assert status == 0 and _swept(folder) == {"1": "complete"}, (folder / ".log").read_text()
        assert len(list(folder.rglob("executed.ipynb"))) == runs, (clock, runs)
    return counts | {"a sweep": 1}


def two_at_once(base: Path, rounds: int) -> dict[str, int]:
    """Two processes that do the same at the same time with one cache: both come to what one alone comes to, or one is refused.

    They write into folders of their own, but for a training, where the second is refused, or finds it done.
    """
    counts: dict[str, int] = {}
    for name, work, whole, _ in unbroken(base):
        argv, made, _ = work
        for k in range(rounds):
            shared = name == "training"
            folders = [base / f"{name}-{k}-{side if not shared else 0}" for side in (0, 1)]
            for folder in folders:
                folder.mkdir(exist_ok=True)
            with cache_in(base / f"{name}-cache-{k}"):
                children = [started(argv, folder) for folder in folders]
                statuses = [ended(child) for child in children]
            allowed = [[0, 0]] if not shared else [[0, 2], [2, 0], [0, 0]]
            assert statuses in allowed, (name, statuses, (folders[0] / ".log").read_text())
            for folder in folders:
                assert (folder / made).read_bytes() == (whole / made).read_bytes(), name
                assert left_behind(folder) == [], name
            counts[name] = counts.get(name, 0) + 1
    return counts


def full_disks(base: Path, limit: int | None = None) -> dict[str, int]:
    """Every write of a work meets a full disk, one after the other: one line, no half file; then it goes as if unbroken.

    A transfer loses its picture to no other write than that of the picture. `limit`: writes of each work, at most.
    """
    paint, _, train, draw, split, _ = works_of(base).values()
    counts: dict[str, int] = {}
    for name, (argv, made, further) in {"painting": paint, "training": train, "drawing": draw, "splitting": split}.items():
        whole = base / f"{name}-whole"
        status, err, count = _with_full_disk(argv, whole, -1)
        assert status == 0, err
        for at in range(1, min(count, limit or count) + 1):
            folder = base / f"{name}-full-{at}"
            status, err, _ = _with_full_disk(argv, folder, at)
            assert status in (0, 1) and "--debug" not in err, (name, err)
            assert status == 0 or "too large" in err.splitlines()[-1], (name, err)
            if name == "painting":  # no other write costs the picture
                assert (folder / made).exists() or "out.png: File too large" in err, err
            if not (name == "training" and (folder / made).exists()):  # the network is there: what failed lies beside it
                goes_on = further if _begun(folder) else []
                status, err, _ = _with_full_disk([*argv, *goes_on], folder, -1)
                assert status == 0, (name, err)
            assert (folder / made).read_bytes() == (whole / made).read_bytes(), name
            shutil.rmtree(folder)
            counts[name] = counts.get(name, 0) + 1
    return counts


def _with_full_disk(argv: list[str], folder: Path, at: int) -> tuple[int, str, int]:
    """(status, stderr, writes) of a command in `folder`, whose write of number `at`, from 1, meets a full disk."""
    written: list[str] = []
    atomic = storage.atomic

    @contextlib.contextmanager
    def failing(path):
        written.append(str(path))
        with atomic(path) as temporary, full.disk(16) if len(written) == at else contextlib.nullcontext():
            yield temporary

    folder.mkdir(exist_ok=True)
    err = io.StringIO()
    with (
        contextlib.chdir(folder),
        cache_in(folder / "cache"),
        contextlib.redirect_stderr(err),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(storage, "atomic", failing),
        mock.patch.object(images.saving, "atomic", failing),
        mock.patch.object(figures.files, "atomic", failing),
    ):
        status = cli.main(argv)
    return status, err.getvalue(), len(written)


def replaced(base: Path) -> dict[str, int]:
    """Each painting is replaced under its name between the opening of its corpus and its reading, and then put back.

    The embedding of the other picture is never stored as that of the painting.
    """
    from workbench import encoders
    from workbench.retrieval import embeddings

    encoder = encoders.load("embedded", device="cpu", precision="float32")
    paintings = gallery(base / "paintings")
    with cache_in(base / "cache-of-truth"):
        truth = embeddings.embed(corpora.ingest(paintings), encoder, "content").raw
    for k, path in enumerate(sorted(paintings.iterdir())):
        with cache_in(base / f"cache-{k}"):
            corpus = corpora.ingest(paintings)
            own = path.read_bytes()
            shutil.copy(paintings / f"work-{(k + 1) % len(truth)}.png", path)
            try:
                embeddings.embed(corpus, encoder, "content")
                raise AssertionError(f"{path.name} was read although it was replaced")
            except WorkbenchError as error:
                assert path.name in str(error)
            path.write_bytes(own)
            assert np.array_equal(embeddings.embed(corpora.ingest(paintings), encoder, "content").raw, truth)
    return {"files replaced": len(truth)}


FORMATS = {
    "PNG": {},
    "JPEG": {},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {},
    "GIF": {},
    "BMP": {},
    "AVIF": {},
    "JPEG2000": {},
}


def damaged_images(base: Path, count: int, seed: int) -> dict[str, int]:
    """Images with damaged bytes: a picture in RGB, or one line that names the file."""
    base.mkdir(exist_ok=True)
    path = base / "damaged"
    seen = {"read": 0, "refused": 0}
    picture = Image.effect_mandelbrot((48, 32), (-2, -1, 1, 1), 40).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, options in FORMATS.items():
        stream = io.BytesIO()
        picture.save(stream, kind, **options, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "AVIF") else {}))
        for content in mutated_bytes(stream.getvalue(), count // len(FORMATS), seed):
            path.write_bytes(content)
            try:
                assert images.read(path).image.mode == "RGB"
                seen["read"] += 1
            except WorkbenchError as error:
                assert str(path) in str(error) and "\n" not in str(error)
                seen["refused"] += 1
    return seen


TABLES = {
    "metadata.csv": 'file_name,title,year,series\nwork-0.png,"A, b",1888,one\nwork-1.png,Nuit \u00e9toil\u00e9e,1889.0,\n',
    "metadata.jsonl": '{"file_name": "work-0.png", "title": "A", "year": 1888}\n{"file_name": "work-1.png", "tags": ["x"]}\n',
}


def damaged_tables(base: Path, count: int, seed: int) -> dict[str, int]:
    """Metadata with damaged bytes: a corpus whose texts are plain, or one line that names the table."""
    paintings = gallery(base / "paintings", 2)
    seen = {"read": 0, "refused": 0}
    for name, text in TABLES.items():
        table = paintings / name
        for content in mutated_bytes(text.encode(), count // len(TABLES), seed):
            table.write_bytes(content)
            try:
                corpus = corpora.ingest(paintings)
                said = [str(corpus.report), *(value for work in corpus for value in work.metadata.values())]
                assert all(line == plain(line) for text in said for line in text.split("\n"))
                assert [work.name for work in corpus] == ["work-0.png", "work-1.png"]
                seen["read"] += 1
            except WorkbenchError as error:
                assert name in str(error)
                seen["refused"] += 1
        table.unlink()
    return seen


def damaged_files(base: Path, count: int, seed: int) -> dict[str, int]:
    """Grids, settings, notebooks, checkpoints, weights, plans, ballots, recipes, records with damaged bytes, and cache entries.

    What is read is sound, or there is one line that names the file. A cache entry is as it was, or there is none.
    """
    from test_blind import answered, sent

    from workbench import encoders, runs, targets, transfer
    from workbench.distillation import recipe
    from workbench.runs import browsing, record
    from workbench.runs.declarations import parameters
    from workbench.runs.execution import read_settings
    from workbench.study import blind
    from workbench.study.blind import ballot
    from workbench.study.blind.plan import Plan

    paintings = gallery(base / "paintings", 2)
    notebook = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
    encoder = encoders.load("random", device="cpu", precision="float32")
    corpus = corpora.ingest(paintings)
    painting = transfer.Transfer(
        corpus[0].load(32), targets.single(corpus[1]), encoder, transfer.Settings(method="gram", size=32, steps=4)
    )
    for iterate in painting:
        if iterate.step == 2:
            break
    painting.checkpoint(base / "state")
    picture = painting.picture.clone()
    items = [blind.Item(method, "a", content, 0, f"{method}{content}.png") for method in "xy" for content in "pq"]
    plan = blind.plan(items, contents={"p": "p.png", "q": "q.png"}, references={"a": ("r.png", "s.png")})
    plan.save(base / "plan")
    folder = record.run_folder(base / "runs" / "tiny", {"tau": 0.1})
    record.start(folder, "tiny", {"tau": 0.1}, {})
    cache, arrays = storage.Cache(base / "cache"), {"a": np.arange(300, dtype=np.float32), "b": np.ones((4, 5))}
    cache.put("key", arrays)

    def resumed(path: Path) -> None:
        fresh = transfer.Transfer(painting.content, painting.target, encoder, painting.settings)
        assert torch.equal(fresh.resume(path).picture, picture)

    def kept(path: Path) -> None:
        found = cache.get("key", arrays)
        if found is None:
            raise WorkbenchError(f"{path} is rebuilt")
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)

    grid = f"notebook: {notebook}\nvary: {{tau: [0.1, 0.2], size: [64, 96]}}\nfixed: {{content: china}}\n"
    readers = {
        "grid.yaml": (grid.encode(), runs.read_grid),
        "settings.json": (b'{"tau": 0.1, "content": "china", "corpora": ["a", "b"]}', read_settings),
        "notebook.ipynb": (notebook.read_bytes(), parameters),
        "state.safetensors": ((base / "state").read_bytes(), resumed),
        "plan.json": ((base / "plan").read_bytes(), Plan.load),
        "answers.json": (sent(answered(plan)).encode(), lambda path: ballot.read(path, plan)),
        "recipe.json": (recipe.SHIPPED.read_bytes(), recipe.read_stages),
        "run.json": ((folder / record.RECORD).read_bytes(), lambda path: browsing.Archive(base / "runs").entries),
        "cache": ((cache.folder / "key.safetensors").read_bytes(), kept),
    }
    places = {"run.json": folder / record.RECORD, "cache": cache.folder / "key.safetensors"}
    seen = {"read": 0, "refused": 0}
    for name, (whole, reader) in readers.items():
        path = places.get(name, base / name)
        for content in mutated_bytes(whole, count // len(readers), seed):
            path.write_bytes(content)
            try:
                reader(path)
                seen["read"] += 1
            except WorkbenchError as error:
                assert path.name in str(error) or path.stem in str(error) or name == "grid.yaml", (name, str(error))
                assert "\n" not in str(error), (name, str(error))
                seen["refused"] += 1
            except Exception as error:
                raise AssertionError(f"{name}: {type(error).__name__}: {error}; the bytes are {content[:3000]!r}") from error
    return seen


def strange_values(count: int, seed: int) -> dict[str, int]:
    """Parameters of any value: a request, settings or parameters that hold, or one line."""
    from dataclasses import fields

    from workbench.methods import Request
    from workbench.runs import parse
    from workbench.transfer import Settings

    chance = random.Random(seed)
    values = [*VALUES, None, True, -1, 0, 1, 3, 0.5, 1e308, -0.0, float("nan"), float("inf"), 10**400, (), ("a", "b"), ("a=1",)]
    words = ["single", "whole", "blend", "regions", "by-hand", "gram", "neighbours", "colours", "strokes", "barycentre"]
    notebooks = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
    seen = {"taken": 0, "refused": 0}
    for k in range(count):
        chosen = {}
        try:
            if k % 3 == 0:
                chosen = {f.name: chance.choice(values + words) for f in chance.sample(fields(Settings), chance.randint(1, 3))}
                Settings(**chosen)
            elif k % 3 == 1:
                names = [f.name for f in fields(Request) if f.name != "settings"]
                chosen = {name: chance.choice(values + words) for name in chance.sample(names, chance.randint(1, 4))}
                Request(**chosen)
            else:
                known = ["content", "size", "tau", "corpora", "seed", "choices", "out", "k", "no_such"]
                chosen = [f"{chance.choice(known)}{chance.choice(('=', '=', '=', ''))}{chance.choice(VALUES)}"]
                parse(chance.choice(notebooks), chosen)
            seen["taken"] += 1
        except WorkbenchError as error:
            assert len(str(error).splitlines()) == 1 or any("\n" in str(value) for value in chosen), (chosen, str(error))
            seen["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{chosen}: {type(error).__name__}: {error}") from error
    return seen


def lines_of(paintings: Path) -> list[list[str]]:
    """Command lines that are right, and quick."""
    content, folder = str(paintings / "work-0.png"), str(paintings)
    quick = ["--size", "16", "--steps", "1"]
    return [
        ["transfer", content, "--corpus", folder, "--target", "whole", "--method", "colours", "--size", "16", "-o", "out.png"],
        ["transfer", content, "--corpus", folder, "--target", "single", "--style", "work-1", *quick, "-o", "out.png"],
        ["transfer", content, "--corpus", folder, "--where", "year=1888..1890", "--exclude", "work-1", *quick, "-o", "out.png"],
        ["compare", content, "--corpus", folder, "--targets", "whole", *quick, "-o", "figure.png"],
        ["corpus", "check", folder],
        ["corpus", "split", folder, "--held-out", ".3", "--seed", "1", "-o", "split.csv"],
        ["embed", folder, "--kind", "content", "--size", "32", "-o", "vectors.npz"],
        ["search", folder, content, "-k", "2", "--where", "artist=x", "--index", "exact"],
        ["clusters", folder, "-k", "2", "--kind", "style"],
        ["run", "nowhere.ipynb", "-p", "size=16", "-p", "out=runs"],
        ["sweep", "grid.yaml", "--out", "runs"],
        ["search", folder, content, "-o", "found.png", "--encoder", "lite0", "--precision", "float32"],
        ["corpus", "genres", folder, "--from", folder, "-k", "2", "-o", "proposed.csv"],
        [
            "compare",
            content,
            content,
            "--corpus",
            folder,
            "--targets",
            "whole",
            "nearest",
            "--method",
            "gram",
            "--tau",
            ".2",
            *quick,
            "--column",
            "--labels",
            "a",
            "b",
            "--title",
            "t",
            "-o",
            "figure.jpg",
        ],
        ["transfer", content, "--corpus", folder, "--corpus", folder, "--share", "1", "--share", "2", *quick, "-o", "out.png"],
        ["transfer", content, "--corpus", folder, "--checkpoint", "state", "--resume", *quick, "-o", "out.webp"],
        ["transfer", content, "--corpus", folder, "--method", "strokes", "--options", "strokes=5", *quick, "-o", "out.svg"],
        ["study", "power", "--raters", "2", "--contents", "2"],
        ["study", "tally", "answers", "--key", "key.json"],
        ["study", "register", "study.json", "-o", "registration.json"],
        ["study", "blind", "pictures.csv", "--corpora", folder, "--contents", content, "--contact", "a@b", "-o", "study.html"],
        ["evaluate", "lora", "loras", "--base", "base", "--corpus", folder, "--contents", content, "-o", "found"],
        ["export", "nocturne", "-o", "network.onnx"],
        ["bench", folder],
        ["train", "vae", "--corpus", folder, "--steps", "0", "-o", "network"],
        ["train", "artist", "--corpus", folder, "--steps", "0", "-o", "network"],
        ["distil", "--evaluate", "--data", folder, "--sizes", "0"],
    ]


def command_lines(base: Path, count: int, seed: int) -> dict[str, int]:
    """Mutated command lines: a status of the workbench, one line about an error, and never a fault of its own."""
    paintings = gallery(base / "paintings", 3)
    rows = "".join(f"work-{k}.png,Work {k},{1888 + k},{'portrait' if k else ''},x\n" for k in range(3))
    (paintings / "metadata.csv").write_text(f"file_name,title,year,genre,artist\n{rows}", encoding="utf-8")
    statuses: dict[str, int] = {}
    for line in mutated_lines(lines_of(paintings), count, seed):
        folder = Path(tempfile.mkdtemp(dir=base))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = cli.main(line)
            except SystemExit as asked:  # --help
                status = asked.code
        shutil.rmtree(folder, ignore_errors=True)
        said = err.getvalue()
        assert status in (0, 1, 2), (line, status, said)
        assert "Traceback" not in said and "--debug for the traceback" not in said, (line, said)
        assert status == 0 or sum(text.startswith("workbench: ") for text in said.splitlines()) <= 1, (line, said)
        assert not any(ord(sign) < 32 and sign not in "\n\r\t" for sign in out.getvalue() + said), (line, said)
        statuses[f"status {status}"] = statuses.get(f"status {status}", 0) + 1
    return dict(sorted(statuses.items()))


# Prints what the kernel knows of the most memory since the program began; getrusage counts what its parent had when it forked.
MEASURED = (
    "import sys; from workbench import cli; s = cli.main(sys.argv[1:]); print(open('/proc/self/status').read()); sys.exit(s)"
)


def vast_images(base: Path) -> dict[str, int]:
    """200 megapixels for a result of 512 px, as JPEG, PNG and TIFF: at most 256 MiB more than for a small one.

    That one takes what torch takes, 500 to 1,000 MiB. The process that decodes has a limit of its own: see images/vast.py.
    """
    base.mkdir(exist_ok=True)
    paintings = gallery(base / "paintings")

    def taken(path: Path) -> int:
        argv = ["transfer", str(path), "--corpus", str(paintings), "--target", "whole", "--method", "colours", "--size", "512"]
        command = [sys.executable, "-c", MEASURED, *argv, "-o", str(base / "out.png")]
        done = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
        assert done.returncode == 0 and found, done.stderr
        return int(found[1]) // 1024

    y, x = np.ogrid[:200, :200]
    tile = Image.fromarray(np.stack([(x + y) // 2, x + 0 * y, y + 0 * x], axis=-1).astype(np.uint8))
    tile.resize((600, 600)).save(base / "small.png")
    most = {"MiB for 600 x 600 px": taken(base / "small.png")}
    for kind in ("jpg", "png", "tif"):
        path = base / f"vast.{kind}"
        tile.resize((14_200, 14_200), Image.Resampling.NEAREST).save(path, **({"compress_level": 1} if kind == "png" else {}))
        most[f"MiB for a {kind}"] = taken(path)
        path.unlink()
        assert most[f"MiB for a {kind}"] < most["MiB for 600 x 600 px"] + 256, most
    return most


SCENARIOS: dict[str, Callable[[Path, float], dict[str, int]]] = {
    "kill -9 at random moments, then again": lambda base, scale: kills(base, math.ceil(50 * scale), 0),
    "kill -9 before and after each file takes its place": lambda base, scale: kills_at_files(base, math.ceil(40 * scale)),
    "kill -9 amid a sweep": lambda base, scale: kills_of_sweeps(base, math.ceil(20 * scale), 0),
    "kill -9 amid corpus fetch": lambda base, scale: kills_of_fetches(base, math.ceil(50 * scale), 0),
    "kill -9 while a vector store is filled": lambda base, scale: kills_of_stores(base, math.ceil(20 * scale), 0),
    "clock set back by a day": lambda base, scale: clock_set_back(base),
    "two processes at once": lambda base, scale: two_at_once(base, math.ceil(12 * scale)),
    "full disk at each write": lambda base, scale: full_disks(base, math.ceil(80 * scale)),
    "a painting replaced under its name": lambda base, scale: replaced(base),
    "images with damaged bytes": lambda base, scale: damaged_images(base, math.ceil(50_000 * scale), 0),
    "tables with damaged bytes": lambda base, scale: damaged_tables(base, math.ceil(20_000 * scale), 0),
    "other files with damaged bytes": lambda base, scale: damaged_files(base, math.ceil(20_000 * scale), 0),
    "parameters of any value": lambda base, scale: strange_values(math.ceil(50_000 * scale), 0),
    "mutated command lines": lambda base, scale: command_lines(base, math.ceil(10_000 * scale), 0),
    "200 megapixels for 512 px": lambda base, scale: vast_images(base),
}
"""What is tried -> a function of an empty folder and of how much, 1 being an hour or so of one core."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all of it, and write a table of what was tried, how often, and what did not hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how much: 1 takes some hour of one core (%(default)s)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further scenario after so many")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/faults/faults.md"))
    given = parser.parse_args(arguments)
    rows, began, failed = [], time.monotonic(), 0
    for name, scenario in SCENARIOS.items():
        if time.monotonic() - began > given.seconds:
            rows.append(f"| {name} | not tried: the time was up | |")
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, cache_in(Path(folder, "cache")):
            (base := Path(folder, "here")).mkdir()
            try:
                counts = scenario(base, given.scale)
                said = ", ".join(f"{what} {number}" for what, number in counts.items())
            except AssertionError as error:
                failed += 1
                said = "**does not hold**"
                print(f"{name}: {error}", file=sys.stderr, flush=True)
        rows.append(f"| {name} | {said} | {time.monotonic() - start:.0f} |")
        print(rows[-1], flush=True)
    table = ["| tried | counted | seconds |", "|---|---|---|", *rows]
    total = f"{(time.monotonic() - began) / 60:.0f} minutes"
    head = f"Made by `make faults`, scale {given.scale:g}, in {total}: see tests/faults/scenarios.py for what has to hold."
    storage.write_text(given.out, "\n".join([head, "", *table, ""]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
