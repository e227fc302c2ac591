"""Reading a museum's server politely: one connection, a pause between requests, and a stop where the server refuses."""

import io
import json
import random
import re
import sys
import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from workbench import __version__
from workbench.errors import WorkbenchError, require
from workbench.storage import cache_dir

TRIES = 4
"""Requests for one address until it is given up."""
BACKOFF = 1.0
"""Seconds after the first failure of an address, about; twice as many after each further one."""
PATIENCE = 120.0
"""The longest wait, seconds, that a server is granted; one that asks for more is left alone."""
FAILURES = 3
"""Addresses of one host that fail one after the other until the host is left alone."""
REDIRECTS = 5
PAGE, PICTURE, TABLE = 64 << 20, 128 << 20, 2 << 30
"""The most bytes of a page of records, of a picture, and of a table of a whole collection."""
_DAY = 24 * 3600.0


class HostRefused(WorkbenchError):
    """A server does not want to be read, or cannot be: nothing more is asked of it."""


class NotFetched(WorkbenchError):
    """One address gave nothing. The next may."""


class Web:
    """The servers `origins` ("https://api.example.org"), read for `contact`, with `pause` seconds between two requests to one.

    One request is made at a time, and none to any other server: neither an address in a record nor a redirect leads there.
    A wait that a server asks for (Retry-After) is kept. A challenge, a refusal, or a web page where there should be data
    raises HostRefused, then and ever after.
    """

    def __init__(self, contact: str, origins: Collection[str], pause: float):
        name = f"artist-workbench/{__version__} ({contact})"
        self._client = httpx.Client(headers={"User-Agent": name}, timeout=30, limits=httpx.Limits(max_connections=1))
        self._origins = origins
        self._pause = pause
        self._turn: dict[str, float] = {}  # origin -> the time, by the monotonic clock, from which it may be asked again
        self._failures: dict[str, int] = {}
        self._refused: dict[str, str] = {}

    def close(self) -> None:
        self._client.close()

    def json(self, url: str, parameters: Mapping[str, str | int]) -> Any:
        """The JSON at `url`. Raises ValueError where it is none."""
        body = io.BytesIO()
        self.read(str(httpx.URL(url, params=dict(parameters))), body, PAGE)
        return json.loads(body.getvalue())

    def table(self, url: str, name: str) -> Path:
        """The file at `url`, kept for a day in the cache under `name`."""
        path = cache_dir("museums") / name
        if not (path.exists() and 0 <= time.time() - path.stat().st_mtime < _DAY):  # a clock may have been set back
            part = path.with_name(f"{name}.part")
            try:
                with part.open("wb") as file:
                    self.read(url, file, TABLE)
                part.replace(path)
            except OSError as error:
                raise WorkbenchError(f"cannot write {path}: {error.strerror or error}") from error
            finally:
                part.unlink(missing_ok=True)
        return path

    def read(self, url: str, into: BinaryIO, largest: int) -> None:
        """Write what `url` holds into an empty file. Raises NotFetched, HostRefused, and OSError where `into` does."""
        reason, origin = "", _origin(url)
        for attempt in range(TRIES):
            into.seek(0)
            into.truncate()
            wait = self._pause + BACKOFF * 2**attempt * random.uniform(0.5, 1)
            try:
                answer = self._ask(url, into, largest)
            except httpx.RequestError as error:  # no connection, too slow, or a body cut short
                answer = (f"{type(error).__name__}: {error}", None)
            if answer is None:
                self._failures[origin] = 0
                return
            reason, asked = answer
            if asked is not None and asked > PATIENCE:
                self._refuse(origin, f"asks to be left alone for {asked:.0f} s ({reason})")
            self._turn[origin] = time.monotonic() + max(asked or 0, wait)
        self._failures[origin] = self._failures.get(origin, 0) + 1
        if self._failures[origin] >= FAILURES:
            self._refuse(origin, f"failed {FAILURES} times in a row, the last time with {reason}")
        raise NotFetched(f"{url}: {reason}, {TRIES} times")

    def _ask(self, url: str, into: BinaryIO, largest: int) -> tuple[str, float | None] | None:
        """None once the body is written; else why to try again, and the seconds to wait that the server asks for, if any."""
        for _ in range(REDIRECTS):
            origin = self._admitted(url)
            self._take_turn(origin)
            with self._client.stream("GET", url) as response:
                if response.next_request is None:
                    return self._take(response, origin, into, largest)
                url = str(response.next_request.url)
        raise NotFetched(f"{url}: redirected more than {REDIRECTS} times")

    def _admitted(self, url: str) -> str:
        origin = _origin(url)
        if origin not in self._origins:
            raise NotFetched(f"the address leads to another host, {origin}, which is not read")
        if origin in self._refused:
            raise HostRefused(self._refused[origin])
        return origin

    def _take_turn(self, origin: str) -> None:
        wait = self._turn.get(origin, 0) - time.monotonic()
        if wait > 5:
            print(f"{origin}: waiting {wait:.0f} s", file=sys.stderr, flush=True)
        time.sleep(max(wait, 0))
        self._turn[origin] = time.monotonic() + self._pause

    def _take(self, response: httpx.Response, origin: str, into: BinaryIO, largest: int) -> tuple[str, float | None] | None:
        status, headers = response.status_code, response.headers
        page = headers.get("content-type", "").startswith("text/html")
        if "cf-mitigated" in headers or status in (401, 403, 451) or (status < 300 and page):
            what = "a challenge" if "cf-mitigated" in headers else "a web page" if page else "a refusal"
            self._refuse(origin, f"answered with {what} (status {status})")
        if status == 429 or status >= 500:
            return f"status {status}", _seconds(headers.get("retry-after"))
        if status >= 300:
            raise NotFetched(f"{response.url}: status {status}")
        size = 0
        for chunk in response.iter_bytes(1 << 16):
            if not size and re.match(rb"\s*<(!doctype html|html)", chunk, re.IGNORECASE):
                self._refuse(origin, f"answered with a web page in place of {headers.get('content-type', 'data')}")
            size += len(chunk)
            if size > largest:
                raise NotFetched(f"{response.url}: larger than {largest >> 20} MiB")
            into.write(chunk)
        return None

    def _refuse(self, origin: str, reason: str) -> None:
        self._refused[origin] = f"{origin} {reason}"
        raise HostRefused(self._refused[origin])


def check_contact(contact: str) -> None:
    """Refuse a contact that a server's owner could not use, or that no header may hold."""
    usable = re.fullmatch(r"[!-'*-~]+( [!-'*-~]+)*", contact) and re.search(r"\S@\S|https?://\S", contact)
    require(
        bool(usable),
        "museums ask who reads them: give an e-mail or web address with --contact or in WORKBENCH_CONTACT"
        + (f", not {contact!r}" if contact else ""),
    )


def _origin(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise NotFetched(f"{url!r} is no address: {error}") from error
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After, RFC 9110, section 10.2.3: seconds, or a date."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
