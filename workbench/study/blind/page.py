"""The study as one HTML file, which a rater opens in a browser: it holds all it shows, and asks no server for anything."""

import base64
import io
import json
from pathlib import Path

import numpy as np

from workbench import images
from workbench.errors import require
from workbench.study.blind import ballot
from workbench.study.blind.plan import Plan, Version, names

TEMPLATE = Path(__file__).with_name("page.html")
SIZE = 512
"""px. Long side of the pictures of a pair."""
THUMBNAIL = 256
"""px. Long side of the works and the content beside them, at most."""
QUALITY = 88
"""Of a JPEG, 1 to 100."""
LIMIT = 20_000_000
"""Bytes of the file, at most: what can be sent by mail."""
SECONDS = 5
"""For an answer, about: what the page tells raters of the time it takes."""
TITLE = "Which picture is more like the artist?"


def page(plan: Plan, *, contact: str = "", title: str = TITLE, size: int = SIZE, limit: int = LIMIT) -> str:
    """The page of `plan` as HTML, which names no method and no file. The same text for the same arguments.

    A rater agrees, reads two faint digits, answers one version of the plan, drawn by the page (or the one that the address
    names: study.html#3), and gets the answers as a JSON file. What is answered survives a reload.

    Args:
        contact: who receives the answers, for questions and withdrawal: a name and an address.
        title: of the page.
        size: long side of the pictures of a pair, px, at most; works and contents beside them have THUMBNAIL at most.
        limit: bytes.

    Raises UsageError for a text that names a method and for a page over the limit, WorkbenchError for a picture that cannot
    be read.
    """
    for text in (title, contact):
        named = names(text, plan.methods)
        require(not named, f"{text!r} names the method {named!r}: reword it")
    require(bool(title.strip()), "the page needs a title")
    thumbnail = min(THUMBNAIL, size)
    beside = {(picture, thumbnail) for picture in plan.contents.values()}
    beside |= {(work, thumbnail) for works in plan.references.values() for work in works}
    judged = {
        (item.picture, size) for version in plan.versions for trial in version.trials for item in (trial.left, trial.right)
    }
    keys = sorted(beside | judged)
    # Numbers in random order: neither the name of a file nor its place in a sorted list says who made it.
    order = np.random.default_rng(plan.seed).permutation(len(keys))
    code = {key: f"p{number}" for key, number in zip(keys, order, strict=True)}
    artists, contents = list(plan.references), list(plan.contents)

    def of_version(version: Version) -> dict:
        rows = [
            [
                trial.id,
                artists.index(trial.left.artist),
                contents.index(trial.left.content),
                *(code[item.picture, size] for item in (trial.left, trial.right)),
            ]
            for trial in version.trials
        ]
        return {"questions": version.questions, "trials": rows}

    study = {
        "format": ballot.FORMAT,
        "plan": plan.hash,
        "title": title,
        "contact": contact,
        "ties": plan.ties,
        "minutes": max(1, round(len(plan.versions[0].trials) * len(plan.questions) * SECONDS / 60)),
        "questions": {key: [plan.read(key, artist) for artist in artists] for key in plan.questions},
        "references": [[code[work, thumbnail] for work in plan.references[artist]] for artist in artists],
        "contents": [code[plan.contents[content], thumbnail] for content in contents],
        "versions": [of_version(version) for version in plan.versions],
        "pictures": {code[key]: _jpeg(*key) for key in sorted(keys, key=code.__getitem__)},
    }
    data = json.dumps(study, separators=(",", ":")).replace("<", "\\u003c")
    text = TEMPLATE.read_text(encoding="utf-8").replace("STUDY", data, 1)
    large = f"the page would have {len(text) / 1e6:.1f} MB, more than {limit / 1e6:g}"
    require(len(text) <= limit, f"{large}: give fewer contents or methods, or a smaller size")
    return text


def _jpeg(path: str, size: int) -> str:
    """The picture at `path`, long side at most `size` px, encoded anew, without the metadata of its file."""
    picture = images.load(path)
    if max(picture.shape[-2:]) > size:
        picture = images.resize(picture, size)
    buffer = io.BytesIO()
    images.to_pil(picture).save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
