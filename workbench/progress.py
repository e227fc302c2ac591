"""Progress that suits where it is shown: a bar on a terminal, a plain line now and then elsewhere, nothing when not asked."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

EVERY_SECONDS = 10.0
T = TypeVar("T")


def track(items: Iterable[T], *, total: int, label: str, show: bool) -> Iterator[T]:
    """Yield `items`, showing on stderr how far along they are when `show` is true."""
    if not show:
        yield from items
        return
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, leave=False)
        return
    last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= EVERY_SECONDS or count == total:
            last = time.monotonic()
            print(f"{label}: {count}/{total}", file=sys.stderr, flush=True)
