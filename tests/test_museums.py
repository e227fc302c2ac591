"""Works from museums: what is fetched, what is left out, and what a server's refusals and failures come to.

A server on 127.0.0.1 answers as the museums' documentation says that they do. No museum is asked.
"""

import csv
import fcntl
import gzip
import io
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import waiting
from PIL import Image

from workbench import cli
from workbench.corpora import ingest, likeness, museums
from workbench.corpora.museums import fetch, fetching, web
from workbench.corpora.museums.source import genre, same_artist, year
from workbench.errors import UsageError, WorkbenchError

GOGH = "Vincent van Gogh"
ME = "me@example.org"


@dataclass
class Answer:
    """What the server sends; `length` is what it announces, the true one unless given."""

    body: bytes | str = b""
    status: int = 200
    kind: str = "image/jpeg"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class Server(ThreadingHTTPServer):
    """Answers by path: one answer, or a list of which the last is for ever, or a function of the query."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer | list[Answer] | Callable[[dict[str, str]], Answer]] = {}
        self.asked: list[tuple[str, float]] = []  # (path, time)
        self.agents: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.asked)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        with self.server.lock:
            self.server.asked.append((parts.path, time.monotonic()))
            self.server.agents.add(self.headers["User-Agent"])
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        answer = self.server.answers.get(parts.path, Answer("gone", 404, "text/html"))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer({key: values[0] for key, values in parse_qs(parts.query).items()})
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body) if answer.length is None else answer.length))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with self.server.lock:
            self.server.at_once -= 1
        self.wfile.write(body)
        self.close_connection = answer.length is not None


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No proxy, no table from an earlier test, and short waits."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WORKBENCH_CONTACT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(web, "BACKOFF", 0.01)


def scene(seed: int, size: tuple[int, int] = (360, 300)) -> Image.Image:
    """A picture of large forms, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def jpeg(seed: int, size: tuple[int, int] = (360, 300), quality: int = 90) -> bytes:
    file = io.BytesIO()
    scene(seed, size).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(seed: int) -> bytes:
    file = io.BytesIO()
    scene(seed).save(file, "PNG")
    return file.getvalue()


def as_json(value: object) -> Answer:
    return Answer(json.dumps(value), kind="application/json; charset=utf-8")


def as_table(rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0])
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


# The museums, as they are documented


def painting(server: Server, number: int, **other) -> dict:
    """A record of Cleveland's API, and the picture that it names."""
    server.answers.setdefault(f"/images/{number}.jpg", Answer(jpeg(number)))
    return {
        "id": number,
        "accession_number": f"1958.{number}",
        "share_license_status": "CC0",
        "title": f"Study {number}",
        "creation_date": "c. 1889",
        "creation_date_earliest": 1889,
        "creators": [{"id": 1, "description": "Vincent van Gogh (Dutch, 1853–1890)", "role": "artist"}],
        "type": "Painting",
        "url": f"https://clevelandart.org/art/1958.{number}",
        "images": {"web": {"url": f"{server.url}/images/{number}.jpg", "width": "360", "height": "300"}},
    } | other


def cleveland(
    server: Server, *records: dict, name: str = "cleveland", path: str = "/api/artworks", pause: float = 0
) -> museums.Source:
    """The source, reading `server`, which has `records` in pages of two."""

    def page(query: dict[str, str]) -> Answer:
        assert query["artists"] == GOGH
        skip = int(query["skip"])
        return as_json({"info": {"total": len(records)}, "data": records[skip : skip + 2]})

    server.answers[path] = page
    return replace(museums.SOURCES["cleveland"], name=name, api=server.url + path, origins=(server.url,), pause=pause)


def artic(server: Server) -> museums.Source:
    good = {
        "id": 28560,
        "title": "The Bedroom",
        "artist_title": GOGH,
        "artist_display": "Vincent van Gogh (Dutch, 1853–1890)",
        "date_start": 1889,
        "artwork_type_title": "Painting",
        "subject_titles": ["interiors", "bedrooms"],
        "is_public_domain": True,
        "image_id": "25c31d8d",
    }
    copy = good | {"id": 2, "artist_display": "Follower of Vincent van Gogh\nDutch, 1853–1890"}
    others = [good | {"id": 3, "is_public_domain": False}, good | {"id": 4, "image_id": None}, copy]
    server.answers["/iiif/2/25c31d8d/full/843,/0/default.jpg"] = Answer(jpeg(1))

    def search(query: dict[str, str]) -> Answer:
        assert (query["q"], query["query[term][is_public_domain]"]) == (GOGH, "true")
        records = [good] if query["page"] == "1" else others
        pages = {"total": 4, "limit": 100, "total_pages": 2, "current_page": int(query["page"])}
        return as_json({"pagination": pages, "data": records, "config": {"iiif_url": f"{server.url}/iiif/2"}})

    server.answers["/api/v1/artworks/search"] = search
    return replace(museums.SOURCES["artic"], api=f"{server.url}/api/v1/artworks/search", origins=(server.url,), pause=0)


def commons(server: Server) -> museums.Source:
    def file(number: int, licence: str, mime: str = "image/jpeg") -> dict:
        said = {
            "LicenseShortName": {"value": licence},
            "LicenseUrl": {"value": "https://creativecommons.org/licenses/by-sa/4.0"},
            "Artist": {"value": '<a href="//x">Ann &amp; Bob</a>'},
            "ObjectName": {"value": "<i>Irises</i>"},
            "DateTimeOriginal": {"value": "<time>May 1889</time>"},
        }
        picture = {"thumburl": f"{server.url}/thumb/{number}/1280px-a.jpg", "url": f"{server.url}/original", "mime": mime}
        info = picture | {"descriptionurl": "https://commons.wikimedia.org/wiki/File:A.jpg", "extmetadata": said}
        return {"pageid": number, "ns": 6, "title": "File:A.jpg", "imageinfo": [info]}

    server.answers["/thumb/1/1280px-a.jpg"] = Answer(jpeg(1))
    first = [file(1, "CC BY-SA 4.0"), file(2, "CC BY-NC 4.0")]
    second = [file(3, "Fair use"), file(4, "Public domain", "image/svg+xml"), file(5, "")]

    def query(query: dict[str, str]) -> Answer:
        assert query["gcmtitle"] == f"Category:Paintings by {GOGH}"
        if "gcmcontinue" in query:
            return as_json({"batchcomplete": True, "query": {"pages": second}})
        return as_json({"continue": {"gcmcontinue": "file|2", "continue": "gcmcontinue||"}, "query": {"pages": first}})

    server.answers["/w/api.php"] = query
    return replace(museums.SOURCES["commons"], api=f"{server.url}/w/api.php", origins=(server.url,), pause=0)


def nga(server: Server) -> museums.Source:
    def thing(number: int, attribution: str) -> dict:
        title = {"title": "Roses", "attribution": attribution, "beginyear": "1890", "classification": "Painting", "series": ""}
        return {"objectid": number} | title

    def view(number: int, free: str, kind: str = "primary") -> dict:
        where = {"iiifurl": f"{server.url}/iiif/{number}", "viewtype": kind, "openaccess": free}
        return {"uuid": number} | where | {"depictstmsobjectid": number}

    names = {1: GOGH, 2: GOGH, 3: GOGH, 4: f"after {GOGH}"}
    objects = [thing(number, name) for number, name in names.items()]
    views = [view(1, "1", "alternate"), view(1, "1"), view(2, "0"), view(4, "1")]
    server.answers["/data/objects.csv"] = Answer(as_table(objects), kind="text/plain; charset=utf-8")
    server.answers["/data/published_images.csv"] = Answer(as_table(views), kind="text/plain; charset=utf-8")
    server.answers["/iiif/1/full/!1024,1024/0/default.jpg"] = Answer(jpeg(21))
    return replace(museums.SOURCES["nga"], data=f"{server.url}/data", origins=(server.url,), pause=0)


MET_API = {
    "objectID": 436535,
    "isPublicDomain": True,
    "primaryImage": "",
    "artistPrefix": "",
    "artistDisplayName": GOGH,
    "title": "Wheat Field with Cypresses",
    "objectBeginDate": 1889,
    "classification": "Paintings",
    "objectURL": "https://www.metmuseum.org/art/collection/search/436535",
    "tags": [{"term": "Landscapes", "AAT_URL": "x"}],
}


def met(server: Server) -> museums.Source:
    """Asked work by work: there is no table."""
    server.answers["/images/web-large/1.jpg"] = Answer(jpeg(1))
    good = MET_API | {"objectID": 1, "primaryImageSmall": f"{server.url}/images/web-large/1.jpg"}
    records = {
        1: good,
        2: good | {"objectID": 2, "isPublicDomain": False},
        3: good | {"objectID": 3, "artistDisplayName": "Rembrandt (Rembrandt van Rijn)", "tags": None},
        4: good | {"objectID": 4, "artistPrefix": "Copy after"},
        5: good | {"objectID": 5, "primaryImageSmall": ""},
    }
    server.answers["/v1/search"] = as_json({"total": 6, "objectIDs": [*records, 6]})  # 6 is gone
    for number, record in records.items():
        server.answers[f"/v1/objects/{number}"] = as_json(record)
    source = museums.SOURCES["met"]
    return replace(source, table=f"{server.url}/table.csv.gz", api=f"{server.url}/v1", origins=(server.url,), pause=0)


def clevelands(server: Server) -> museums.Source:
    works = (
        painting(server, 1),
        painting(server, 2, share_license_status="Copyrighted"),
        painting(server, 3, share_license_status=None),
        painting(server, 4, creators=[{"description": "Workshop of Vincent van Gogh", "role": "artist"}]),
        painting(server, 5, images={}),
        painting(server, 6, type="Print"),
    )
    return cleveland(server, *works)


@pytest.mark.parametrize(
    "make, expected, left",
    [
        (met, {"title": "Wheat Field with Cypresses", "year": "1889", "genre": "landscape", "kind": "Paintings"}, 4),
        (artic, {"title": "The Bedroom", "year": "1889", "genre": "interior", "kind": "Painting"}, 3),
        (clevelands, {"title": "Study 1", "year": "1889", "genre": "", "kind": "Painting"}, 5),
        (commons, {"title": "Irises", "year": "1889", "attribution": "Ann & Bob", "licence": "CC BY-SA 4.0"}, 4),
        (nga, {"title": "Roses", "year": "1890", "series": "", "kind": "Painting"}, 2),
    ],
)
def test_a_museum_gives_its_open_works_alone(server, tmp_path, make, expected, left):
    """Documented records come to rows; what is not open, by another hand, or without a picture is left out and counted."""
    source = make(server)
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert (report.new, report.present, sum(report.left_out.values())) == ({source.name: 1}, 1, left)
    assert (report.stopped, report.failed) == ({}, [])
    corpus = ingest(tmp_path / "works")
    assert (corpus.report.warnings, corpus.report.files_without_row, corpus.report.rows_without_file) == ((), (), ())
    [work] = corpus
    assert {column: work.metadata[column] for column in expected} == expected
    assert (work.artist, work.metadata["source"], work.metadata["sha256"]) == (GOGH, source.name, work.sha256)
    assert work.metadata["licence"] and work.metadata["licence_url"].startswith("https://creativecommons.org/")
    assert work.metadata["source_url"].startswith("https://") and work.metadata["image_url"].startswith(server.url)
    credits = (tmp_path / "works" / "CREDITS.md").read_text(encoding="utf-8")
    assert work.name in credits and source.title in credits and work.metadata["licence"] in credits
    assert all(ME in agent and agent.startswith("artist-workbench/") for agent in server.agents)


def test_the_table_of_the_met_takes_one_request(server, tmp_path):
    """The columns of the museum's own CSV, and the address of a picture; an id already settled is no reason to ask."""
    source = met(server)
    row = {
        "Object ID": "436535",
        "Is Public Domain": "True",
        "Title": "Wheat Field with Cypresses",
        "Artist Prefix": "",
        "Artist Display Name": GOGH,
        "Object Begin Date": "1889",
        "Classification": "Paintings",
        "Tags": "Landscapes|Cypresses",
        "Link Resource": "https://www.metmuseum.org/art/collection/search/436535",
        "primaryImageSmall": f"{server.url}/images/web-large/1.jpg",
    }
    rows = [row, row | {"Object ID": "2", "Is Public Domain": "False"}, row | {"Object ID": "3", "Artist Display Name": "X"}]
    server.answers["/table.csv.gz"] = Answer(gzip.compress(as_table(rows)), kind="application/gzip")
    for _ in range(2):
        report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert (report.present, report.left_out) == (1, {("met", "licence: not in the public domain"): 1})
    assert ingest(tmp_path / "works")[0].genre == "landscape"
    assert [path for path, _ in server.asked] == ["/table.csv.gz", "/images/web-large/1.jpg"]


@pytest.mark.parametrize("table", [Answer("<html>", kind="text/html"), Answer(b"a,b\n1,2\n", kind="text/csv")])
def test_without_a_usable_table_the_met_is_asked_work_by_work(server, tmp_path, table):
    """And a second call asks for nothing that is settled."""
    source = replace(met(server), table=f"{server.url}/table.csv.gz")
    if table.kind == "text/html":  # a refusal is of the host: here the table's is another
        source = replace(source, table=f"http://localhost:{server.server_port}/table.csv.gz")
        source = replace(source, origins=(server.url, f"http://localhost:{server.server_port}"))
    server.answers["/table.csv.gz"] = table
    assert fetch(GOGH, [source], tmp_path / "works", contact=ME).present == 1
    asked = len(server.asked)
    assert fetch(GOGH, [source], tmp_path / "works", contact=ME).present == 1
    assert sorted({path for path, _ in server.asked[asked:]} - {"/table.csv.gz"}) == ["/v1/objects/6", "/v1/search"]


@pytest.mark.parametrize(
    "asked, given, same",
    [
        (GOGH, "Vincent van Gogh (Dutch, 1853–1890)", True),
        ("vincent VAN gogh", GOGH, True),
        ("Rembrandt van Rijn", "Rembrandt (Rembrandt van Rijn)", True),
        ("Edouard Manet", "Édouard Manet", True),
        (GOGH, "After Vincent van Gogh", False),
        (GOGH, "Vincent van Gogh|Paul Gauguin", False),
        ("Monet", "Claude Monet", False),
    ],
)
def test_names_of_artists(asked, given, same):
    assert same_artist(asked, given) == same


def test_genres_and_years():
    assert genre(["Men", "Self-portraits", "Portraits"]) == "self-portrait"
    assert genre(["Portraits", "Landscapes"]) == "portrait"
    assert genre(["Still Life"]) == "still-life"
    assert genre(["Cypresses"]) == genre([]) == ""
    assert [year(value) for value in (1889, "1889", -500, 0, None, "", "c. 1889")] == ["1889", "1889", "-500", "", "", "", ""]


# What servers do


def test_a_wait_that_a_server_asks_for_is_kept(server, tmp_path):
    """In seconds, or until a date."""
    source = cleveland(server, painting(server, 1), painting(server, 2))
    until = int(time.time()) + 3
    server.answers["/images/1.jpg"] = [Answer(status=429, headers={"Retry-After": "1"}), Answer(jpeg(1))]
    date = Answer(status=503, headers={"Retry-After": formatdate(until, usegmt=True)})
    server.answers["/images/2.jpg"] = [date, Answer(jpeg(2))]
    assert fetch(GOGH, [source], tmp_path / "works", contact=ME).present == 2
    first, second = (when for path, when in server.asked if path == "/images/1.jpg")
    assert second - first >= 0.99
    assert server.asked[-1][1] >= until - time.time() + time.monotonic() - 0.01
    assert server.count("/images/2.jpg") == 2


def test_a_server_that_asks_for_an_hour_is_left_alone(server, tmp_path):
    source = cleveland(server, painting(server, 1), painting(server, 2))
    server.answers["/images/1.jpg"] = Answer(status=429, headers={"Retry-After": "3600"})
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert "asks to be left alone for 3600 s (status 429)" in report.stopped["cleveland"]
    assert [path for path, _ in server.asked] == ["/api/artworks", "/images/1.jpg"]


REFUSALS = {
    "challenge": Answer("<html>checking", 403, "text/html", {"cf-mitigated": "challenge"}),
    "page": Answer("<html>_Incapsula_Resource", 200, "text/html"),
    "script": Answer("<script>check()</script>", 200, "text/html; charset=utf-8"),
    "disguised": Answer(" <!DOCTYPE html><html>no", 200, "image/jpeg"),
    "refusal": Answer("no", 403, "text/plain"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_stops_the_host_and_no_page_is_saved(server, tmp_path, refusal):
    """The other museum goes on, and a later call begins where the refusal came."""
    refusing = cleveland(server, *(painting(server, number) for number in (1, 2, 3)))
    with Server() as second:
        threading.Thread(target=second.serve_forever, args=(0.05,), daemon=True).start()
        other = cleveland(second, *(painting(second, number) for number in (7, 8)), name="other")
        server.answers["/images/2.jpg"] = REFUSALS[refusal]
        report = fetch(GOGH, [refusing, other], tmp_path / "works", contact=ME)
        second.shutdown()
    assert report.new == {"cleveland": 1, "other": 2}
    assert server.url in report.stopped["cleveland"] and "other" not in report.stopped
    assert (server.count("/images/2.jpg"), server.count("/images/3.jpg")) == (1, 0)
    assert len(ingest(tmp_path / "works")) == 3
    assert not list((tmp_path / "works").glob(".*.part"))
    server.answers["/images/2.jpg"] = Answer(jpeg(2))
    assert fetch(GOGH, [refusing], tmp_path / "works", contact=ME).new == {"cleveland": 2}
    assert server.count("/images/1.jpg") == 1


def test_a_body_cut_short_is_asked_for_again(server, tmp_path):
    source = cleveland(server, *(painting(server, number) for number in (1, 2)))
    half = Answer(jpeg(1)[:4000], length=len(jpeg(1)))
    server.answers["/images/1.jpg"] = [half, Answer(jpeg(1))]
    server.answers["/images/2.jpg"] = half
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert (report.present, server.count("/images/1.jpg"), server.count("/images/2.jpg")) == (1, 2, web.TRIES)
    [failure] = report.failed
    assert "cleveland 2" in failure and "RemoteProtocolError" in failure
    server.answers["/images/2.jpg"] = Answer(jpeg(2))
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert (report.present, report.failed) == (2, [])
    assert sorted(path.suffix for path in (tmp_path / "works").iterdir() if not path.name.startswith(".")) == [
        ".csv",
        ".jpg",
        ".jpg",
        ".md",
    ]


def test_a_server_that_fails_and_fails_is_left_alone(server, tmp_path):
    """Its pictures lie on a host of their own, as those of all museums do."""
    pictures = f"http://localhost:{server.server_port}"
    works = [painting(server, number, images={"web": {"url": f"{pictures}/{number}.jpg"}}) for number in range(1, 7)]
    source = replace(cleveland(server, *works), origins=(server.url, pictures))
    for number in range(1, 7):
        server.answers[f"/{number}.jpg"] = Answer("<html>bad gateway", 502, "text/html")
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert len(report.failed) == web.FAILURES - 1
    assert "failed 3 times in a row, the last time with status 502" in report.stopped["cleveland"]
    assert sum(path.endswith(".jpg") for path, _ in server.asked) == web.FAILURES * web.TRIES


def test_pictures_that_are_none(server, tmp_path):
    """Missing, undecodable, or a thumbnail: left out with the reason; nothing of them is kept."""
    source = cleveland(server, *(painting(server, number) for number in (1, 2, 3, 4)))
    server.answers["/images/1.jpg"] = Answer("gone", 404, "text/html")
    server.answers["/images/2.jpg"] = Answer(jpeg(2)[:-3000])  # as it lies on the server
    server.answers["/images/3.jpg"] = Answer(jpeg(3, (120, 100)))
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    reasons = sorted(reason.split(":")[0] for _, reason in report.left_out)
    assert reasons == ["damaged or truncated", "smaller than 256 px"]
    assert "status 404" in report.failed[0]
    assert [work.title for work in ingest(tmp_path / "works")] == ["Study 4"]


def test_no_other_host_is_read(server, tmp_path):
    """Neither by a redirect nor by an address in a record; a redirect within the host is followed."""
    with Server() as foreign:
        threading.Thread(target=foreign.serve_forever, args=(0.05,), daemon=True).start()
        elsewhere = {"web": {"url": f"{foreign.url}/images/3.jpg"}}
        works = (painting(server, 1), painting(server, 2), painting(server, 3, images=elsewhere), painting(server, 4))
        source = cleveland(server, *works, painting(server, 5, images={"web": {"url": "file:///etc/hostname"}}))
        server.answers["/images/1.jpg"] = Answer(status=302, headers={"Location": f"{foreign.url}/images/1.jpg"})
        server.answers["/images/2.jpg"] = Answer(status=301, headers={"Location": "/images/moved.jpg"})
        server.answers["/images/moved.jpg"] = Answer(jpeg(2))
        server.answers["/images/4.jpg"] = Answer(status=302, headers={"Location": "/images/4.jpg"})
        report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
        foreign.shutdown()
    assert foreign.asked == []
    assert [work.title for work in ingest(tmp_path / "works")] == ["Study 2"]
    assert len(report.failed) == 4
    assert sum(f"leads to another host, {foreign.url}, which is not read" in failure for failure in report.failed) == 2
    assert sum("redirected more than" in failure for failure in report.failed) == 1


def test_one_request_at_a_time_with_pauses(server, tmp_path):
    source = cleveland(server, *(painting(server, number) for number in range(1, 5)), pause=0.15)
    fetch(GOGH, [source, replace(source, name="again")], tmp_path / "works", contact=ME, limit=3)
    mine = [when for _, when in server.asked]
    assert server.most_at_once == 1
    assert len(mine) >= 5
    for source_asked in (mine[::2], mine[1::2]):  # two sources in turn, each with a pause of its own
        assert all(later - earlier >= 0.14 for earlier, later in itertools.pairwise(source_asked))


@pytest.mark.parametrize("answer", [as_json([1, 2]), as_json({"data": None, "info": {}}), Answer("{", kind="application/json")])
def test_an_answer_that_is_not_as_documented_is_one_line(server, tmp_path, answer):
    source = cleveland(server, painting(server, 1))
    server.answers["/api/artworks"] = answer
    report = fetch(GOGH, [source], tmp_path / "works", contact=ME)
    assert report.stopped["cleveland"].startswith("its answer is not as documented (")
    assert report.present == 0


def test_a_table_that_is_not_as_documented_is_one_line(server, tmp_path):
    """Git LFS's pointer in place of a table; a compressed table that breaks off."""
    washington = nga(server)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    server.answers["/data/objects.csv"] = Answer(pointer, kind="text/plain")
    table = as_table(
        [
            {"Object ID": n, "Is Public Domain": "", "Title": "", "Artist Display Name": "", "primaryImage": ""}
            for n in range(9999)
        ]
    )
    new_york = met(server)
    server.answers["/table.csv.gz"] = Answer(gzip.compress(table)[:-20], kind="application/gzip")
    report = fetch(GOGH, [washington, new_york], tmp_path / "works", contact=ME)
    assert set(report.stopped) == {"nga", "met"}
    assert "attribution" in report.stopped["nga"] and "EOFError" in report.stopped["met"]


# Duplicates


def test_the_same_picture_from_two_museums_comes_once(server, tmp_path):
    """Equal pixels in different files, and reproductions alike of which the larger stays, with what a person said of it."""
    first = cleveland(server, *(painting(server, number) for number in (1, 2, 3)), path="/first")
    other = {"title": "The other museum's"}
    second = cleveland(server, *(painting(server, number, **other) for number in (11, 12, 13)), name="second", path="/second")
    server.answers["/images/1.jpg"], server.answers["/images/11.jpg"] = Answer(png(1)), Answer(png(1) + b"\0")
    server.answers["/images/12.jpg"] = Answer(jpeg(2, (720, 600), quality=60))
    server.answers["/images/13.jpg"] = Answer(jpeg(3, (300, 256)))
    folder = tmp_path / "works"
    fetch(GOGH, [first], folder, contact=ME)
    rows = (folder / "metadata.csv").read_text(encoding="utf-8").replace("Study 2,1889,,,", "Study 2,1889,landscape,fields,")
    (folder / "metadata.csv").write_text(rows, encoding="utf-8")
    report = fetch(GOGH, [second], folder, contact=ME)
    assert report.present == 3
    assert len(report.duplicates) == 3
    assert "cleveland-2-study-2.jpg is removed for second-12-the-other-museum-s.jpg: alike," in str(report.duplicates)
    assert sum("the same pixels" in line for line in report.duplicates) == 1
    corpus = ingest(folder)
    assert [work.name for work in corpus] == [
        "cleveland-1-study-1.png",
        "cleveland-3-study-3.jpg",
        "second-12-the-other-museum-s.jpg",
    ]
    assert corpus.report.rows_without_file == ()
    assert (corpus[2].width, corpus[2].genre, corpus[2].series) == (720, "landscape", "fields")
    asked = len(server.asked)
    assert fetch(GOGH, [first, second], folder, contact=ME).new == {}
    assert not any("images" in path for path, _ in server.asked[asked:])


def test_looks_tell_reproductions_from_other_works():
    for seed in range(8):
        work = scene(seed, (400, 320))
        look = likeness.look(work)
        smaller, cropped = work.resize((200, 160)), work.crop((6, 5, 394, 315))
        lighter = work.point(lambda level: min(255, int(level * 1.15)))
        for same in (smaller, cropped, lighter):
            assert likeness.distance(look, likeness.look(same)) <= likeness.NEAR
        assert likeness.distance(look, likeness.look(scene(seed + 100))) > likeness.NEAR
        assert likeness.pixels(work) == likeness.pixels(work.copy()) != likeness.pixels(smaller)


# The folder


def test_a_call_goes_on_where_the_last_one_ended(server, tmp_path):
    """Edits and removals by hand stay; a larger limit brings more; pictures of one's own are not touched."""
    source = cleveland(server, *(painting(server, number) for number in range(1, 7)))
    folder = tmp_path / "works"
    assert fetch(GOGH, [source], folder, contact=ME, limit=3).present == 3
    table = folder / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("Study 1,1889,,", "Field,1889,landscape,"), encoding="utf-8")
    (folder / "cleveland-2-study-2.jpg").unlink()
    scene(50).save(folder / "mine.png")
    with table.open("a", encoding="utf-8") as file:
        file.write("mine.png,Me,My own\n")
    assert fetch(GOGH, [source], folder, contact=ME, limit=4).present == 4
    corpus = ingest(folder)
    assert [work.title for work in corpus] == ["Field", "Study 3", "Study 4", "Study 5", "My own"]
    assert corpus[0].genre == "landscape"
    assert corpus.report.rows_without_file == ()
    assert all(server.count(f"/images/{number}.jpg") == 1 for number in range(1, 6))
    assert server.count("/images/6.jpg") == 0


def test_what_is_edited_during_a_call_stays(server, tmp_path, monkeypatch):
    source = cleveland(server, *(painting(server, number) for number in range(1, 4)))
    folder = tmp_path / "works"
    fetch(GOGH, [source], folder, contact=ME, limit=1)
    table, decoded = folder / "metadata.csv", fetching._decoded

    def edited(path):
        text = table.read_text(encoding="utf-8")
        table.write_text(text.replace("Study 1,1889,,", "Study 1,1889,landscape,"), encoding="utf-8")
        return decoded(path)

    monkeypatch.setattr(fetching, "_decoded", edited)
    assert fetch(GOGH, [source], folder, contact=ME, limit=3).present == 3
    assert [work.genre for work in ingest(folder)] == ["landscape", "", ""]


def test_a_row_with_a_field_too_many_stays_as_it_is(server, tmp_path):
    source = cleveland(server, *(painting(server, number) for number in range(1, 4)))
    folder = tmp_path / "works"
    fetch(GOGH, [source], folder, contact=ME, limit=1)
    table = folder / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8").rstrip() + ",surplus\n", encoding="utf-8")
    before = table.read_bytes()
    with pytest.raises(WorkbenchError, match="line 2 has more fields than columns"):
        fetch(GOGH, [source], folder, contact=ME, limit=2)
    assert table.read_bytes() == before


def test_a_title_that_begins_like_a_formula_is_none_in_the_table(server, tmp_path):
    title = '=HYPERLINK("http://somewhere")'
    source, folder = cleveland(server, painting(server, 1, title=title)), tmp_path / "works"
    for _ in range(2):
        fetch(GOGH, [source], folder, contact=ME)
        with (folder / "metadata.csv").open(encoding="utf-8") as file:
            assert [row["title"] for row in csv.DictReader(file)] == [f"'{title}"]
        assert [work.title for work in ingest(folder)] == [title]


def test_what_one_query_leaves_out_another_may_want(server, tmp_path):
    """And what one has brought another does not lose, though it would leave it out."""
    source = cleveland(server, painting(server, 1), painting(server, 2, type="Print"))
    for kind, present in (("painting", 1), ("any", 2), ("painting", 2), ("painting", 2)):
        assert fetch(GOGH, [source], tmp_path / "works", contact=ME, kind=kind).present == present
    assert (tmp_path / "works" / "CREDITS.md").read_text(encoding="utf-8").count("Study") == 2
    assert server.count("/images/2.jpg") == 1


def test_a_first_call_that_brings_nothing_may_be_made_again(server, tmp_path):
    source = cleveland(server, painting(server, 1))
    page, server.answers["/api/artworks"] = server.answers["/api/artworks"], REFUSALS["challenge"]
    assert "cleveland" in fetch(GOGH, [source], tmp_path / "works", contact=ME).stopped
    server.answers["/api/artworks"] = page
    assert fetch(GOGH, [source], tmp_path / "works", contact=ME).present == 1


PROGRAM = """
import sys
from dataclasses import replace
from workbench import cli
from workbench.corpora import museums
url = sys.argv[1]
museums.SOURCES["cleveland"] = replace(museums.SOURCES["cleveland"], api=url + "/api/artworks", origins=(url,), pause=0)
words = ["corpus", "fetch", "--artist", "Vincent van Gogh", "--from", "cleveland", "--contact", "me@example.org"]
sys.exit(cli.main([*words, "-o", sys.argv[2]]))
"""


def goes_on(server: Server, folder: Path, source: museums.Source) -> None:
    """After a stop within the third picture of four, the next call asks for the third and the fourth."""
    assert not [path for path in folder.glob("cleveland-3*")]
    server.answers["/images/3.jpg"] = Answer(jpeg(3))
    report = fetch(GOGH, [source], folder, contact=ME)
    assert (report.new, report.present) == ({"cleveland": 2}, 4)
    assert [server.count(f"/images/{number}.jpg") for number in range(1, 5)] == [1, 1, 2, 1]
    assert ingest(folder).report.files_without_row == ()
    assert not list(folder.glob(".*.part"))
    assert fetch(GOGH, [source], folder, contact=ME).new == {}
    assert server.count("/images/3.jpg") == 2


def test_a_folder_is_filled_by_one_call_at_a_time(server, tmp_path):
    source = cleveland(server, painting(server, 1))
    folder = tmp_path / "works"
    fetch(GOGH, [source], folder, contact=ME)
    with (folder / ".fetch.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WorkbenchError, match="another call is filling it"):
            fetch(GOGH, [source], folder, contact=ME)
        assert fetch(GOGH, [source], folder, contact=ME, dry_run=True).found == {"cleveland": 1}
    assert fetch(GOGH, [source], folder, contact=ME).present == 1


def test_a_kill_loses_nothing(server, tmp_path):
    """Not even where it leaves a line of the manifest unfinished."""
    source = cleveland(server, *(painting(server, number) for number in range(1, 5)))
    reached, leave = threading.Event(), threading.Event()

    def stuck(query: dict[str, str]) -> Answer:
        reached.set()
        leave.wait(waiting.PATIENCE)
        return Answer(jpeg(3))

    server.answers["/images/3.jpg"] = stuck
    folder = tmp_path / "works"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, server.url, str(folder)], stderr=subprocess.PIPE, text=True)
    waiting.until(reached.is_set, process)
    process.kill()
    process.communicate(timeout=waiting.PATIENCE)
    leave.set()
    with (folder / ".fetch.jsonl").open("a") as file:
        file.write('\n{"source": "cleveland", "sour')
    goes_on(server, folder, source)


def test_ctrl_c_loses_nothing_and_describes_what_is_there(server, tmp_path, monkeypatch, capsys, ctrl_c):
    source = cleveland(server, *(painting(server, number) for number in range(1, 5)))
    monkeypatch.setitem(museums.SOURCES, "cleveland", source)

    def stop(query: dict[str, str]) -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # the call waits for the answer, and ends meanwhile
        return Answer(jpeg(3))

    server.answers["/images/3.jpg"] = stop
    folder = tmp_path / "works"
    words = ["corpus", "fetch", "--artist", GOGH, "--from", "cleveland", "--contact", ME, "-o", str(folder)]
    assert cli.main(words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "workbench: interrupted"
    assert [work.title for work in ingest(folder)] == ["Study 1", "Study 2"]
    goes_on(server, folder, source)


def test_a_full_disk_is_one_line_and_loses_nothing(server, tmp_path):
    """No file may grow beyond 32 KiB, as on a disk with that much left: the second picture does not fit."""
    source = cleveland(server, *(painting(server, number) for number in (1, 2, 3)))
    large = jpeg(2, (900, 700), quality=100)
    server.answers["/images/2.jpg"] = Answer(large)
    assert len(jpeg(1)) < 32 << 10 < len(large)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 << 10, before[1]))
    try:
        with pytest.raises(WorkbenchError, match=r"^cannot write .*\.part: .*; the same command goes on$"):
            fetch(GOGH, [source], tmp_path / "works", contact=ME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [work.title for work in ingest(tmp_path / "works")] == ["Study 1"]
    assert fetch(GOGH, [source], tmp_path / "works", contact=ME).present == 3
    assert server.count("/images/1.jpg") == 1


def test_wrong_arguments_are_refused_before_anything_is_asked(server, tmp_path):
    source = cleveland(server, painting(server, 1))
    for contact in ("", "me", "me@x (comment)", "me@x\r\nHost: y", "mé@example.org"):
        with pytest.raises(UsageError, match="WORKBENCH_CONTACT"):
            fetch(GOGH, [source], tmp_path / "works", contact=contact)
    with pytest.raises(UsageError, match="artist is empty"):
        fetch(" ", [source], tmp_path / "works", contact=ME)
    with pytest.raises(UsageError, match="limit is 0"):
        fetch(GOGH, [source], tmp_path / "works", contact=ME, limit=0)
    scene(1).save(tmp_path / "mine.png")
    with pytest.raises(UsageError, match="it holds what was not fetched; name a new folder"):
        fetch(GOGH, [source], tmp_path, contact=ME)
    with pytest.raises(WorkbenchError, match="cannot fetch into"):
        fetch(GOGH, [source], tmp_path / "mine.png", contact=ME)
    assert server.asked == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png"]


def test_the_command(server, tmp_path, monkeypatch, capsys):
    """A dry run counts and writes nothing; then pictures, from museums named in either way."""
    source = cleveland(
        server, painting(server, 1), painting(server, 2), painting(server, 3, share_license_status="Copyrighted")
    )
    monkeypatch.setitem(museums.SOURCES, "cleveland", source)
    monkeypatch.setitem(museums.SOURCES, "nga", nga(server))
    folder = tmp_path / "works"
    words = ["corpus", "fetch", "--artist", GOGH, "--from", "cleveland|nga", "-o", str(folder)]
    assert cli.main(words) == 2
    assert "WORKBENCH_CONTACT" in capsys.readouterr().err
    monkeypatch.setenv("WORKBENCH_CONTACT", "https://example.org/me")
    assert cli.main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "works found: cleveland 2, nga 1; new pictures: none; pictures in the folder: 0" in said
    assert "cleveland: 1 left out: licence 'Copyrighted'" in said
    assert not folder.exists()
    assert not any("images" in path and path.endswith(".jpg") for path, _ in server.asked)
    assert cli.main([*words, "--limit", "2"]) == 0
    assert "new pictures: cleveland 1, nga 1; pictures in the folder: 2" in capsys.readouterr().out
    server.answers["/images/2.jpg"] = REFUSALS["challenge"]
    assert cli.main(words) == 1
    assert "cleveland: stopped: " in capsys.readouterr().out
    assert cli.main(["corpus", "fetch", "--artist", GOGH, "--from", "louvre", "-o", str(folder)]) == 2
    assert "no museum 'louvre'; there are met, artic, cleveland, commons, nga" in capsys.readouterr().err
