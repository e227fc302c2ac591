"""What a result carries about its making: all of it, the same for the same run, and nothing about person or machine."""

import getpass
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import provenance as pv
from workbench.errors import WorkbenchError

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, SHA-256 of "abc"


ADDRESSES = [
    "postgresql://me:hidden@db.example.org/museum#works",
    "postgresql://me:hid:den@hidden@db.example.org/museum",
    "redis://:hidden@db.example.org:6379",
    "postgresql://db.example.org/museum?user=me&password=hidden&sslmode=require",
    "qdrant:https://db.example.org?api_key=hidden",
]
"""Addresses of servers, each with a password or key of which no part may be written down."""


class TestProvenance:
    def test_it_holds_what_is_needed_to_make_the_result_again(self, tmp_path):
        content = tmp_path / "abc.txt"
        content.write_text("abc")
        made = pv.provenance({"size": 256, "taus": (0.1, 1.0)}, 7, {"content": content}, {"vgg19": ABC})
        assert made["parameters"] == {"size": 256, "taus": [0.1, 1.0]}
        assert made["seed"] == 7
        assert made["inputs"] == {"content": {"file": "abc.txt", "sha256": ABC}}
        assert made["weights"] == {"vgg19": ABC}
        assert made["versions"]["python"] == platform.python_version()
        assert set(pv.PACKAGES) < set(made["versions"])
        assert made["versions"]["torch"]

    def test_the_same_run_gives_the_same_text_whatever_the_order(self):
        one = pv.text(pv.provenance({"a": 1, "b": "ä"}, 0, {"x": ABC, "y": ABC}, {}))
        two = pv.text(pv.provenance({"b": "ä", "a": 1}, 0, {"y": ABC, "x": ABC}, {}))
        assert one == two
        assert one.isascii() and "\n" not in one
        assert json.loads(one)["parameters"]["b"] == "ä"

    def test_it_names_no_person_no_host_and_no_folder(self, tmp_path):
        content = tmp_path / "picture.png"
        content.write_bytes(b"x")
        parameters = {"content": str(content), "corpus": Path("/home/someone/corpora/monet"), "note": ["~/secret/van-gogh"]}
        text = pv.text(pv.provenance(parameters, None, {"content": content}, {}))
        for private in (str(tmp_path), tmp_path.name, platform.node(), "someone", "secret", str(Path.home())):
            assert private not in text
        if len(getpass.getuser()) > 4:
            assert getpass.getuser() not in text
        assert json.loads(text)["parameters"] == {"content": "picture.png", "corpus": "monet", "note": ["van-gogh"]}

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            ("/home/me/corpora/monet", "monet"),
            ("/home/me/corpora/monet/", "monet"),
            ("~/corpora/monet", "monet"),
            ("../../me/monet", "monet"),
            ("C:\\Users\\me\\monet.jpg", "monet.jpg"),
            ("clip:ViT-B-32//home/me/ckpt.pt", "clip:ViT-B-32/ckpt.pt"),
            ("clip:ViT-B-32/laion2b_s34b", "clip:ViT-B-32/laion2b_s34b"),
            ("corpora/monet", "corpora/monet"),
            ("https://example.org/monet.jpg", "https://example.org/monet.jpg"),
            ("nocturne", "nocturne"),
            ("", ""),
            (0.5, 0.5),
            (None, None),
            (True, True),
        ],
    )
    def test_paths_out_of_the_folder_are_reduced_and_nothing_else_is(self, value, kept):
        assert pv.shared(value) == kept

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_it_has_no_password_wherever_one_is_given(self, address):
        parameters = {"index": address, "more": [{"of": (address, f"lancedb:x {address}")}]}
        text = pv.text(pv.provenance(parameters, None, {}, {pv.shared(address): ABC}))
        assert "hidden" not in text and "db.example.org" in text

    @given(st.lists(st.text("abcde ", min_size=1).filter(str.strip), min_size=1, max_size=4))
    def test_no_folder_of_an_absolute_path_is_left(self, parts):
        assert pv.shared("/" + "/".join(parts)) == parts[-1]


@pytest.fixture
def copied(tmp_path):
    """The module alone in a folder, imported by a fresh interpreter: `copied()` gives what it says of its checkout."""
    root = tmp_path / "project"
    (root / "workbench").mkdir(parents=True)
    for name in ("provenance.py", "errors.py"):
        shutil.copy(Path(pv.__file__).parent / name, root / "workbench" / name)

    def ask(**environment):
        code = "import json; from workbench import provenance; print(json.dumps(provenance.checkout()))"
        found = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    return root, ask


class TestHashes:
    def test_a_folder_has_one_hash_whatever_the_file_browser_left_in_it(self, tmp_path):
        for name in ("one", "two"):
            (tmp_path / name / "sub").mkdir(parents=True)
            (tmp_path / name / "sub" / "a.txt").write_text("a")
            (tmp_path / name / "b.txt").write_text("b")
        (tmp_path / "two" / ".DS_Store").write_text("noise")
        assert pv.sha256(tmp_path / "one") == pv.sha256(tmp_path / "two")
        (tmp_path / "two" / "b.txt").rename(tmp_path / "two" / "c.txt")
        assert pv.sha256(tmp_path / "one") != pv.sha256(tmp_path / "two")

    def test_what_cannot_be_hashed_is_named(self, tmp_path):
        with pytest.raises(WorkbenchError, match=r"absent\.png"):
            pv.provenance({}, None, {"content": tmp_path / "absent.png"}, {})
        with pytest.raises(WorkbenchError, match="vgg19: expected a SHA-256"):
            pv.provenance({}, None, {}, {"vgg19": "latest"})
        with pytest.raises(WorkbenchError, match="content: expected a SHA-256"):
            pv.provenance({}, None, {"content": ABC.upper()}, {})


class TestCheckout:
    def test_the_commit_is_that_of_the_checkout_that_holds_the_package(self, copied):
        root, ask = copied
        path = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(root)}

        def git(*arguments):
            settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
            done = subprocess.run(
                ["git", *settings, *arguments], cwd=root, env=path, capture_output=True, text=True, check=True
            )
            return done.stdout.strip()

        assert ask(**path) == {}  # no repository
        git("init", "-q")
        assert ask(**path) == {}  # the package is not part of it, and nothing was committed
        git("add", ".")
        assert ask(**path) == {}
        git("commit", "-q", "-m", "one")
        commit = git("rev-parse", "HEAD")
        assert ask(**path) == {"commit": commit, "dirty": False}
        (root / "untracked.txt").write_text("x")
        assert ask(**path) == {"commit": commit, "dirty": False}
        with (root / "workbench" / "errors.py").open("a") as file:
            file.write("\n")
        assert ask(**path) == {"commit": commit, "dirty": True}
        assert ask(**path, GIT_DIR="/nonexistent") == {"commit": commit, "dirty": True}
        assert ask(PATH="/nonexistent", HOME=str(root)) == {}  # no git
