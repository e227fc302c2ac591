import ast
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import full
import nbformat
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image

from workbench import storage
from workbench.cli import main
from workbench.errors import WorkbenchError


class TestTwice:
    """A key that a person gives twice is refused wherever it is read: one of its values would be lost."""

    def test_in_json(self):
        assert storage.parse_json('{"a": {"b": 1}, "c": [{"b": 2}]}') == {"a": {"b": 1}, "c": [{"b": 2}]}
        for text in ('{"a": 1, "a": 1}', '[{"x": {"a": 1, "b": 2, "a": 3}}]'):
            with pytest.raises(ValueError, match="'a' is given twice"):
                storage.parse_json(text)

    @pytest.mark.parametrize(
        ("name", "text", "command"),
        [
            ("g.yaml", "notebook: n.ipynb\nvary: {a: [1]}\nvary: {b: [2]}\n", ("sweep", "g.yaml")),
            ("g.yaml", "notebook: n.ipynb\nvary: {a: [1], b: [2], a: [3]}\n", ("sweep", "g.yaml")),
            ("s.json", '{"a": 1, "a": 2}', ("run", "n.ipynb", "--settings", "s.json")),
            (
                "r.json",
                '[{"steps": 1, "steps": 2}]',
                ("distil", "--data", "works", "--recipe", "r.json", "--out", "x.safetensors"),
            ),
            ("d.json", '{"contents": ["china"], "contents": ["flower"]}', ("study", "register", "d.json", "-o", "x.json")),
            ("works/metadata.jsonl", '{"file_name": "a.png", "title": "A", "title": "B"}', ("corpus", "check", "works")),
            (
                "works/a",
                "",
                ("transfer", "a.png", "--corpus", "works", "--method", "strokes", "--options", "strokes=2", "strokes=3"),
            ),
        ],
        ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
    )
    def test_in_the_files_and_options_of_commands(self, tmp_path, monkeypatch, capsys, name, text, command):
        monkeypatch.chdir(tmp_path)
        Path("works").mkdir()
        for picture in ("a.png", "works/a.png"):
            Image.new("RGB", (40, 30), (90, 60, 30)).save(picture)
        cell = nbformat.v4.new_code_cell("a: int = 1", metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), "n.ipynb")
        Path(name).write_text(text)
        status = main([*command, *(("-o", "x.png") if command[0] == "transfer" else ())])
        assert status in (1, 2) and "is given twice" in capsys.readouterr().err
        assert not list(Path().glob("x*")) and not Path("runs").exists()


class TestAtomic:
    """Files that are whole or absent."""

    def test_a_finished_block_leaves_the_file_and_nothing_else(self, tmp_path):
        with storage.atomic(tmp_path / "new" / "a.txt") as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text("whole")
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
        assert (tmp_path / "new" / "a.txt").read_text() == "whole"

    @pytest.mark.parametrize("name", ["a" * 251 + ".txt", "é" * 125 + ".txt"])
    def test_any_name_that_the_file_system_takes_is_written(self, tmp_path, name):
        assert storage.write_text(tmp_path / name, "whole").read_text() == "whole"
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_a_block_that_raises_leaves_what_was_there(self, tmp_path):
        storage.write_text(tmp_path / "a.txt", "before")
        with pytest.raises(ZeroDivisionError), storage.atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            1 / 0  # noqa: B018
        assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
        assert (tmp_path / "a.txt").read_text() == "before"

    def test_what_a_killed_process_left_goes_at_the_next_write(self, tmp_path):
        """The temporary file of a process that still runs stays, and so does all that is no temporary file."""
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        left = tmp_path / f".picture-{gone.pid}-{storage._HERE}01234567.png"
        others = [
            f".picture-{os.getpid()}-{storage._HERE}01234567.png",
            ".picture-hand-made.png",
            f"picture-{gone.pid}-{storage._HERE}01234567.png",
        ]
        for name in (left.name, *others):
            (tmp_path / name).touch()
        storage._sweep.cache_clear()
        storage.write_text(tmp_path / "a.txt", "x")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.txt", *others])

    @pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
    def test_the_folder_of_a_killed_process_goes_with_the_next_one(self, tmp_path):
        """That of a process that still runs stays, and where a link leads to is not touched."""
        kills_itself = (
            "import os, signal, sys; from workbench import storage\n"
            "with storage.temporary_folder(sys.argv[1]) as folder:\n"
            "    (folder / 'a').mkdir(); (folder / 'a' / 'b').touch(); os.kill(os.getpid(), signal.SIGKILL)"
        )
        killed = subprocess.Popen([sys.executable, "-c", kills_itself, str(tmp_path)])
        assert killed.wait() == -signal.SIGKILL
        (left,) = tmp_path.iterdir()
        assert (left / "a" / "b").exists()
        (kept := tmp_path / "kept").mkdir()
        (tmp_path / left.name.replace("workbench", "link")).symlink_to(kept)
        storage._sweep.cache_clear()
        with storage.temporary_folder(tmp_path) as first, storage.temporary_folder(tmp_path) as second:
            assert set(tmp_path.iterdir()) == {first, second, kept}
            assert stat.S_IMODE(first.stat().st_mode) == 0o700
        assert list(tmp_path.iterdir()) == [kept]

    def test_a_path_that_cannot_be_is_named(self, tmp_path):
        storage.write_text(tmp_path / "file", "in the way")
        with pytest.raises(WorkbenchError, match="file/below"):
            storage.write_text(tmp_path / "file" / "below", "x")
        (tmp_path / "folder").mkdir()
        with pytest.raises(WorkbenchError, match="folder"):
            storage.write_text(tmp_path / "folder", "x")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]

    @pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
    def test_a_disk_that_is_full_for_safetensors_is_one_too(self, tmp_path):
        """Its error is none of the system's, and names no file."""
        with (
            pytest.raises(WorkbenchError, match=r"cannot write .*a\.safetensors: "),
            storage.atomic(tmp_path / "a.safetensors") as temporary,
            full.disk(),
        ):
            safetensors.numpy.save_file({"a": np.zeros(100_000)}, temporary)
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which only Linux has")  # noqa: PTH110
    def test_a_full_disk_is_an_error_for_a_person(self, tmp_path):
        with (
            pytest.raises(WorkbenchError, match=r"cannot write .*a\.txt: No space left"),
            storage.atomic(tmp_path / "a.txt") as temporary,
        ):
            temporary.symlink_to("/dev/full")
            temporary.write_text("x" * 100_000)
        assert not (tmp_path / "a.txt").exists()


class TestPermissions:
    """Files that others may read as the umask has it, whichever library writes them."""

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    @pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
    @pytest.mark.parametrize(
        "write",
        [
            lambda path: path.write_text("text"),
            lambda path: np.save(path, np.zeros(2)),
            lambda path: safetensors.numpy.save_file({"a": np.zeros(2)}, path),
            lambda path: safetensors.torch.save_file({"a": torch.zeros(2)}, path, metadata={"b": "c"}),
        ],
        ids=["text", "numpy", "safetensors of numpy", "safetensors of torch"],
    )
    def test_they_follow_the_umask(self, tmp_path, umask, write):
        before = os.umask(umask)
        try:
            for _ in range(2):  # new, and in place of another
                with storage.atomic(tmp_path / "a.npy") as temporary:
                    write(temporary)
        finally:
            os.umask(before)
        (written,) = tmp_path.iterdir()
        assert written.stat().st_mode & 0o777 == 0o666 & ~umask

    def test_every_safetensors_file_of_the_package_is_written_so(self):
        """A `save_file` outside of `atomic` would be neither whole or absent nor open to others."""
        calls = {"save_file": 0, "within atomic": 0}
        for path in Path(storage.__file__).parent.rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            calls["save_file"] += len(_calls(tree, "save_file"))
            for block in (node for node in ast.walk(tree) if isinstance(node, ast.With)):
                if any(_calls(item.context_expr, "atomic") for item in block.items):
                    calls["within atomic"] += len(_calls(block, "save_file"))
        assert calls["save_file"] == calls["within atomic"] > 2


def _calls(tree, name):
    """The calls in `tree` of a function called `name`, or of an attribute of that name."""
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [f for f in called if (f.id if isinstance(f, ast.Name) else getattr(f, "attr", "")) == name]


ARRAYS = {"rows": np.arange(6, dtype=np.float32).reshape(2, 3), "names": np.zeros(0, dtype=np.uint8)}


class TestCache:
    """Arrays under a key, made again where the entry is damaged."""

    def same(self, found):
        return found.keys() == ARRAYS.keys() and all(
            np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in ARRAYS.items()
        )

    def test_what_is_put_is_got_by_its_key_alone(self, tmp_path):
        cache = storage.Cache(tmp_path)
        assert cache.get("a", ARRAYS) is None
        cache.put("a", ARRAYS)
        assert self.same(cache.get("a", ARRAYS)) and cache.get("b", ARRAYS) is None
        assert set(cache.get("a", ["rows"])) == {"rows"}
        assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]

    def test_arrays_may_be_changed_and_need_not_be_contiguous(self, tmp_path):
        cache = storage.Cache(tmp_path)
        cache.put("a", {"columns": ARRAYS["rows"].T})
        found = cache.get("a", ["columns"])["columns"]
        assert np.array_equal(found, ARRAYS["rows"].T)
        found += 1
        assert np.array_equal(cache.get("a", ["columns"])["columns"], ARRAYS["rows"].T)

    @pytest.mark.parametrize(
        "damage", [lambda b: b"", lambda b: b"damaged", lambda b: b[:-5], lambda b: b[:40], lambda b: b * 2]
    )
    def test_a_damaged_entry_is_none_and_goes(self, tmp_path, damage):
        cache = storage.Cache(tmp_path)
        cache.put("a", ARRAYS)
        (entry,) = tmp_path.iterdir()
        entry.write_bytes(damage(entry.read_bytes()))
        assert cache.get("a", ARRAYS) is None and not entry.exists()
        cache.put("a", ARRAYS)
        assert self.same(cache.get("a", ARRAYS))

    def test_a_flipped_bit_anywhere_is_damage(self, tmp_path):
        cache = storage.Cache(tmp_path)
        cache.put("a", ARRAYS)
        (entry,) = tmp_path.iterdir()
        whole = entry.read_bytes()
        for place in range(len(whole)):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << (place % 8)
            entry.write_bytes(flipped)
            found = cache.get("a", ARRAYS)
            assert found is None or self.same(found)  # blanks that fill up the header may be others

    def test_a_cache_that_cannot_be_written_is_a_warning_said_once(self, tmp_path, capsys):
        storage.write_text(tmp_path / "file", "in the way")
        cache = storage.Cache(tmp_path / "file")
        cache.put("a", ARRAYS)
        cache.put("b", ARRAYS)
        assert capsys.readouterr().err.count("is not written") == 1

    def test_where_the_home_cannot_be_written_the_cache_lasts_for_the_session(self, tmp_path, monkeypatch, capsys):
        monkeypatch.delenv("WORKBENCH_CACHE")
        storage.write_text(tmp_path / "home", "a file")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        storage._home.cache_clear()
        try:
            folder = storage.cache_dir("a")
            assert folder.is_dir() and storage.cache_dir("b").parent == folder.parent
            assert capsys.readouterr().err.count("set WORKBENCH_CACHE") == 1
        finally:
            storage._home.cache_clear()

    def test_an_entry_without_an_array_that_is_wanted_goes(self, tmp_path):
        cache = storage.Cache(tmp_path)
        cache.put("a", {"rows": np.zeros(3)})
        assert cache.get("a", ARRAYS) is None and not list(tmp_path.iterdir())

    def test_an_entry_that_cannot_be_read_is_an_error_that_names_it(self, tmp_path):
        (tmp_path / "a.safetensors").mkdir()
        with pytest.raises(WorkbenchError, match=r"cannot read .*a\.safetensors"):
            storage.Cache(tmp_path).get("a", ["rows"])

    def test_the_cache_is_where_it_is_said_to_be(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "c"))
        assert storage.cache_dir("a", "b") == tmp_path / "c" / "a" / "b"
        assert (tmp_path / "c" / "a" / "b").is_dir()
        storage.write_text(tmp_path / "f", "")
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "f"))
        with pytest.raises(WorkbenchError, match="WORKBENCH_CACHE"):
            storage.cache_dir("a")


class TestWeights:
    """What can be weights, whatever file it comes from."""

    def test_floats_that_are_finite_are(self):
        storage.check_weights("f", {"a": torch.ones(2).half(), "zeros": torch.zeros(3), "count": torch.tensor(7)})

    @pytest.mark.parametrize(
        ("tensor", "says"),
        [
            (torch.tensor([1.0, float("nan")]), "a has values that are not finite"),
            (torch.tensor([1.0, float("inf")]).half(), "a has values that are not finite"),
            (torch.ones(3, dtype=torch.int32), "a is torch.int32, not floating point"),
            (torch.zeros(3), "all its weights are zero"),
        ],
    )
    def test_anything_else_is_refused_by_name(self, tensor, says):
        with pytest.raises(WorkbenchError, match=f"^my file is .*{says}"):
            storage.check_weights("my file", {"a": tensor})
