"""The short fault suite: what goes wrong around the workbench costs no result and no lie. `make faults` tries much more."""

import sys

import pytest
from faults import scenarios


@pytest.mark.skipif(sys.platform == "win32", reason="fork, and signals")
def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path, ctrl_c):
    found = scenarios.kills(tmp_path, 1, seed=1, names=("painting", "embedding"))
    assert found["painting"] == found["embedding"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="fork, and signals")
def test_a_command_killed_at_a_file_goes_on_to_the_same_bytes(tmp_path, ctrl_c):
    assert scenarios.kills_at_files(tmp_path, 2, names=("painting", "drawing a figure")) == {
        "painting": 2,
        "drawing a figure": 2,
    }


@pytest.mark.skipif(sys.platform == "win32", reason="fork, and signals")
def test_a_sweep_that_is_killed_amid_a_cell_leaves_whole_notebooks_and_its_table(tmp_path, ctrl_c):
    assert scenarios.kills_of_sweeps(tmp_path, 0, 0, at=(10,)) == {"sweeps": 1, "killed amid the work": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="fork, and signals")
def test_a_fetch_that_is_killed_goes_on_to_the_same_folder(tmp_path, ctrl_c):
    assert scenarios.kills_of_fetches(tmp_path, 3, seed=1)["fetches"] == 3


@pytest.mark.skipif(sys.platform == "win32", reason="fork, and signals")
def test_a_clock_that_is_set_back_changes_no_result(tmp_path, ctrl_c):
    assert scenarios.clock_set_back(tmp_path, names=("painting",)) == {"painting": 1, "a sweep": 1}


def test_a_full_disk_at_any_write_costs_one_line_and_nothing_that_is_there(tmp_path):
    assert scenarios.full_disks(tmp_path, 1) == {"painting": 1, "training": 1, "drawing": 1, "splitting": 1}


def test_a_replaced_file_is_never_taken_for_the_former_one(tmp_path):
    assert scenarios.replaced(tmp_path)["files replaced"] == 4


def test_damaged_images_are_a_picture_or_one_line(tmp_path):
    assert sum(scenarios.damaged_images(tmp_path, 400, seed=1).values()) == 400


def test_damaged_tables_are_a_corpus_or_one_line(tmp_path):
    assert sum(scenarios.damaged_tables(tmp_path, 400, seed=1).values()) == 400


def test_damaged_files_are_read_soundly_or_one_line(tmp_path):
    assert sum(scenarios.damaged_files(tmp_path, 450, seed=1).values()) == 450


def test_parameters_of_any_value_are_taken_or_refused_in_one_line():
    assert sum(scenarios.strange_values(300, seed=1).values()) == 300


def test_no_command_line_is_a_fault_of_the_workbench(tmp_path):
    assert sum(scenarios.command_lines(tmp_path, 100, seed=1).values()) == 100
