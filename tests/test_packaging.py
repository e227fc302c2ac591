"""The wheel: it holds what the checkout holds, and works where there is no checkout."""

import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: what an earlier build left in the checkout must not get in."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "workbench", source / "workbench", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel in it and, behind it, the packages of the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    target = Path(subprocess.check_output([folder / "bin" / "python", "-c", SITE], text=True).strip())
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--no-deps"]
    done = subprocess.run([*install, "--no-index", "--quiet", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # A .pth file adds a folder without reading the .pth files in it, so an editable installation there has no effect.
    (target / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def run(command, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([*map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    files = (path for path in (ROOT / "workbench").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith(".")}
    assert wanted - packed == set()
    assert {name for name in packed if not name.startswith("workbench/") and ".dist-info/" not in name} == set()
    assert any(name.endswith("licenses/LICENSE") for name in packed)


@pytest.mark.slow
def test_the_installed_package_works_without_the_checkout(installed, tmp_path):
    python = installed / "bin" / "python"
    where = Path(run([python, "-c", "import workbench; print(workbench.__file__)"], tmp_path).strip())
    assert where.is_relative_to(installed)
    told = run([installed / "bin" / "workbench", "--help"], tmp_path)
    assert "run" in told and "transfer" in told
    code = """
        from workbench.corpora import ingest
        from workbench.samples import corpus_path
        print(len(ingest(corpus_path("nocturne"))))
    """
    assert int(run([python, "-c", "\n".join(line.strip() for line in code.splitlines())], tmp_path)) > 3


def test_git_ignores_no_module_of_the_package():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--", "workbench/*.py"]
    assert subprocess.check_output(command, cwd=ROOT, text=True).split() == []


def test_what_is_declared_twice_agrees():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {project['version']}" in citation
    assert f"license: {project['license'].split(' AND ')[0]}" in citation  # that of the code
    assert f"abstract: {project['description']}" in citation
    assert f"python {project['requires-python']}" in (ROOT / "environment.yml").read_text()


# --- the Makefile, which sets up the environment that all else needs


def make(folder, *arguments, **variables):
    """Run make where nothing can be installed: `touch` alone stands for a Python environment that works."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_NO_INDEX": "1"} | variables
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_an_old_python_is_refused_in_one_line(project):
    old = project / "old-python"
    old.write_text('#!/bin/sh\ncode=$(echo "$2" | sed "s/v = sys.version_info/v = (3, 9, 0)/")\nexec python3 -c "$code"\n')
    old.chmod(0o755)
    told = make(project, "demo", PYTHON=str(old))
    assert told.returncode != 0
    first = told.stderr.splitlines()[0]
    assert first.startswith("Python 3.11, 3.12 or 3.13 is needed") and "is 3.9" in first
    assert "Traceback" not in told.stderr and not (project / ".venv").exists()


@pytest.mark.slow
def test_a_broken_environment_is_made_again_and_a_sound_one_kept(project):
    broken = project / ".venv" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").symlink_to("/nonexistent/python")
    (project / ".venv" / "left.txt").write_text("half made")
    told = make(project, "venv", PYTHON=sys.executable)
    assert told.returncode == 0, told.stderr
    assert not (project / ".venv" / "left.txt").exists()
    assert subprocess.run([broken / "python", "-m", "pip", "--version"], capture_output=True).returncode == 0
    (project / ".venv" / "kept.txt").write_text("whole")
    assert make(project, "venv", PYTHON=sys.executable).returncode == 0
    assert (project / ".venv" / "kept.txt").exists()


def test_make_looks_for_the_browsers_that_the_tests_use():
    names = re.search(r"^BROWSERS = \((.*)\)", (ROOT / "tests" / "browser" / "real_lab.py").read_text(), re.MULTILINE)[1]
    assert f"for name in {names.replace(chr(34), '').replace(',', '')};" in (ROOT / "Makefile").read_text()


def test_only_the_comparison_is_published(project):
    drawn = project / "runs" / "sample" / "figures"
    drawn.mkdir(parents=True)
    for name in ("comparison.jpg", "comparison.pdf", "left_over.png"):
        (drawn / name).write_text(name)
    command = project / ".venv" / "bin" / "workbench"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    (project / ".venv" / ".installed").touch()
    told = make(project, "figures")
    assert told.returncode == 0, told.stderr
    assert {path.name for path in (project / "figures").iterdir()} == {"sample_comparison.jpg"}
