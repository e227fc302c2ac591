"""What the READMEs point at exists, and nothing in them waits to be filled in."""

import re
from pathlib import Path

import pytest

from workbench import images, samples

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [
    ROOT / folder / "README.md"
    for folder in (
        "benchmarks",
        "figures",
        "figures/evidence",
        "notebooks",
        "workbench",
        "workbench/diffusion",
        "workbench/lab",
    )
]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    for link in links:
        file, _, anchor = link.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_placeholder_is_left(page):
    assert re.findall(r"@[A-Z0-9]+@|\b(?:TODO|TABLE|COMMANDS)$", page.read_text(encoding="utf-8"), re.MULTILINE) == []


def python_of(page: Path) -> list[str]:
    """The blocks of Python code in a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_makes_a_picture(tmp_path, monkeypatch, two_styles):
    [code] = python_of(ROOT / "README.md")
    monkeypatch.chdir(tmp_path)
    content = samples.photograph_path("flower")
    small = code.replace('"portrait.jpg"', repr(str(content))).replace('"van-gogh/"', repr(str(two_styles)))
    small = small.replace("size=512", "size=64, steps=2")
    assert small.count("size=64") == small.count(str(two_styles)) == small.count(str(content)) == 1
    exec(small, {})
    assert max(images.load(tmp_path / "result.png").shape) == 64


def files_named(page: Path) -> set[tuple[str, str]]:
    """(folder, name) of every module and folder that a page names in code; a bare name belongs to the last folder before it."""
    found = set()
    for line in page.read_text(encoding="utf-8").splitlines():
        folder = ""
        for name in re.findall(r"`((?:[a-z_]+/)*(?:[a-z0-9_]+\.py|[a-z_]+/))`", line):
            found.add((folder, name))
            folder = name.rpartition("/")[0] or folder
    return found


@pytest.mark.parametrize("page", ["workbench/README.md", "CONTRIBUTING.md"])
def test_every_module_that_the_map_names_exists(page):
    named = files_named(ROOT / page)
    places = [ROOT / "workbench", ROOT, ROOT / "tests"]
    missing = [(folder, name) for folder, name in named if not any((place / folder / name).exists() for place in places)]
    missing = [(folder, name) for folder, name in missing if not any((place / name).exists() for place in places)]
    assert len(named) > 10 and missing == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 10_240
