import os

import pytest

from workbench import storage
from workbench.errors import WorkbenchError


def test_a_finished_block_leaves_the_file_and_nothing_else(tmp_path):
    with storage.atomic(tmp_path / "new" / "a.txt") as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    storage.write_text(tmp_path / "a.txt", "before")
    with pytest.raises(ZeroDivisionError), storage.atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_path_that_cannot_be_is_named(tmp_path):
    storage.write_text(tmp_path / "file", "in the way")
    with pytest.raises(WorkbenchError, match="file/below"):
        storage.write_text(tmp_path / "file" / "below", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorkbenchError, match="folder"):
        storage.write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which only Linux has")  # noqa: PTH110
def test_a_full_disk_is_an_error_for_a_person(tmp_path):
    with (
        pytest.raises(WorkbenchError, match=r"cannot write .*a\.txt: No space left"),
        storage.atomic(tmp_path / "a.txt") as temporary,
    ):
        temporary.symlink_to("/dev/full")
        temporary.write_text("x" * 100_000)
    assert not (tmp_path / "a.txt").exists()


def test_the_cache_is_where_it_is_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "c"))
    assert storage.cache_dir("a", "b") == tmp_path / "c" / "a" / "b"
    assert (tmp_path / "c" / "a" / "b").is_dir()
    storage.write_text(tmp_path / "f", "")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "f"))
    with pytest.raises(WorkbenchError, match="WORKBENCH_CACHE"):
        storage.cache_dir("a")
