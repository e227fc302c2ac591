"""Paths as people write them, and names from outside on their way to a terminal."""

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import cli, inputs
from workbench.errors import UsageError
from workbench.names import plain
from workbench.paths import where, written


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "~/my pictures/a.png",
        "'~/my pictures/a.png'",
        '"~/my pictures/a.png"',
        "  ~/my pictures/a.png\n",
        "{home}/my pictures/a.png",
    ],
)
def test_what_a_shell_would_take_off_is_taken_off(home, text):
    assert written(text.format(home=home)) == home / "my pictures" / "a.png"


def test_a_file_address_is_a_path(home):
    assert written(f"file://{home}/my%20pictures/%C3%A9.png") == home / "my pictures" / "é.png"
    assert written("file:///a%00b") == Path("/a%00b")  # a zero byte would be an error of Python's


@pytest.mark.parametrize("name", ["'quoted'", " blank ", "~", "file:x"])
def test_what_exists_is_meant_as_it_stands(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert written(name) == Path(name)


@given(st.text())
def test_any_text_is_some_path(text):
    assert isinstance(written(text), Path) and written(Path("a b")) == Path("a b")


def test_contents_corpora_and_missing_paths(home, two_styles):
    (home / "paintings").symlink_to(two_styles)
    assert len(inputs.corpus("~/paintings")) == 12
    assert inputs.content_path(f"'{two_styles}/work-00.png'") == two_styles / "work-00.png"
    with pytest.raises(UsageError, match="corpus is empty"):
        inputs.corpus("")
    with pytest.raises(UsageError, match=f"looked for in {Path.cwd()}"):
        inputs.content_path("gone/away.png")
    with pytest.raises(UsageError, match=r"did you mean .*/paintings"):
        inputs.corpus("~/paintigs")
    assert where("grace_hoper") == where("/gone/away.png") == ""
    for odd in ("x" * 5000, "a\0b"):
        with pytest.raises(UsageError):
            inputs.content_path(odd)
        with pytest.raises(UsageError):
            inputs.corpus(odd)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Nuit étoilée, 星月夜", "Nuit étoilée, 星月夜"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("one\nrejected two", "one rejected two"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("caf\udce9.png", "caf\\udce9.png"),
        ("\x9b2J", "\\x9b2J"),
    ],
)
def test_what_a_terminal_obeys_is_spelt(name, shown):
    assert plain(name) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_a_plain_name_is_one_line_that_any_stream_takes_and_stays_as_it_is(text):
    shown = plain(text)
    assert len(shown.splitlines()) <= 1 and shown.encode() and plain(shown) == shown if shown else not text


def test_every_path_of_the_command_line_is_read_as_people_write_it():
    def options(parser):
        for action in parser._actions:
            yield parser.prog, action
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from options(command)

    assert [(prog, action.dest) for prog, action in options(cli._parser()) if action.type is Path] == []
