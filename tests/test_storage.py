import os
import stat

import numpy as np
import pytest
from safetensors.numpy import save_file

from workbench import storage
from workbench.errors import WorkbenchError


class TestAtomic:
    """Files that are whole or absent."""

    def test_a_finished_block_leaves_the_file_and_nothing_else(self, tmp_path):
        with storage.atomic(tmp_path / "new" / "a.txt") as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text("whole")
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
        assert (tmp_path / "new" / "a.txt").read_text() == "whole"

    @pytest.mark.skipif(os.name == "nt", reason="modes")
    @pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
    def test_who_may_read_a_file_is_what_the_umask_says_whoever_writes_it(self, tmp_path, umask, mode):
        before = os.umask(umask)
        try:
            with storage.atomic(tmp_path / "a.safetensors") as temporary:
                save_file({"a": np.zeros(3)}, temporary)
            storage.write_text(tmp_path / "a.txt", "text")
        finally:
            os.umask(before)
        assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == {"a.safetensors": mode, "a.txt": mode}

    def test_a_block_that_raises_leaves_what_was_there(self, tmp_path):
        storage.write_text(tmp_path / "a.txt", "before")
        with pytest.raises(ZeroDivisionError), storage.atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            1 / 0  # noqa: B018
        assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
        assert (tmp_path / "a.txt").read_text() == "before"

    def test_a_path_that_cannot_be_is_named(self, tmp_path):
        storage.write_text(tmp_path / "file", "in the way")
        with pytest.raises(WorkbenchError, match="file/below"):
            storage.write_text(tmp_path / "file" / "below", "x")
        (tmp_path / "folder").mkdir()
        with pytest.raises(WorkbenchError, match="folder"):
            storage.write_text(tmp_path / "folder", "x")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which only Linux has")  # noqa: PTH110
    def test_a_full_disk_is_an_error_for_a_person(self, tmp_path):
        with (
            pytest.raises(WorkbenchError, match=r"cannot write .*a\.txt: No space left"),
            storage.atomic(tmp_path / "a.txt") as temporary,
        ):
            temporary.symlink_to("/dev/full")
            temporary.write_text("x" * 100_000)
        assert not (tmp_path / "a.txt").exists()


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
