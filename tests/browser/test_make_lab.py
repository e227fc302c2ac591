"""`make lab` opens JupyterLab with one token for all starts."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make(tmp_path):
    """make, with a folder in place of .venv."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".installed").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}

    def run(*words):
        command = ["make", "--no-print-directory", f"VENV={tmp_path}", *words]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    return run


def test_the_token_of_the_lab_is_kept_and_is_its_owners_alone(make, tmp_path):
    token = tmp_path / ".token"
    output = make(str(token))
    kept = token.read_text()
    assert len(kept) == 48 and kept.isalnum()  # Jupyter takes the file as it is, with a line's end if there is one
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    output += make(str(token)) + make("-n", "lab")
    assert token.read_text() == kept and kept not in output and str(token) in output
    assert ("--allow-root" in output) == (os.getuid() == 0)  # which JupyterLab refuses otherwise, as in a container
