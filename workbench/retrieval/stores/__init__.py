"""Vector stores by the words of `--index`: "exact", "lancedb:museum", "postgresql://host/paintings#monet".

A store holds an index under a name, "works" unless #NAME says another. Its client is imported when it is opened, and is an
extra of this package, called as the first word.
"""

import importlib
import re

from workbench.errors import require
from workbench.names import without_passwords
from workbench.paths import exists, where
from workbench.retrieval.index import ExactIndex, Index

STORES = {
    "lancedb": ("lance", "Lance", "lancedb:FOLDER"),
    "chroma": ("chroma_server", "Chroma", "chroma://HOST:PORT"),
    "postgresql": ("postgres", "Postgres", "postgresql://USER@HOST/DATABASE"),
    "redis": ("redis_sets", "RedisSets", "redis://HOST:PORT"),
    "qdrant": ("qdrant", "Qdrant", "qdrant:http://HOST:PORT"),
    "milvus": ("milvus", "Milvus", "milvus:FILE.db"),
    "weaviate": ("weaviate", "Weaviate", "weaviate:http://HOST:PORT"),
    "pinecone": ("pinecone", "Pinecone", "pinecone:CLOUD/REGION"),
}
"""The first word -> (module, class, how it is written)."""
ON_DISK = ("lancedb", "qdrant", "milvus")
"""Stores whose place is a file or folder, where it is no address."""
NAME = "works"
"""Name of an index unless one is given."""
NAMES = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,47}")
"""Names that every store takes."""


def parse(words: str) -> tuple[str, str, str]:
    """(store, place, name) of words such as "lancedb:museum#monet". UsageError where they name no store."""
    if words == "exact":
        return words, "", ""
    store, _, rest = words.partition(":")
    written = ", ".join(["exact", *(how for _, _, how in STORES.values())])
    require(store in STORES, f"index {without_passwords(words)!r}: choose {written}")
    rest, _, name = rest.partition("#")
    require(bool(rest.strip("/ ")), f"index {without_passwords(words)!r}: write {STORES[store][2]}")
    require(
        bool(NAMES.fullmatch(name or NAME)), f"index {without_passwords(words)!r}: a name has 3 to 48 letters, digits and _"
    )
    return store, f"{store}:{rest}" if rest.startswith("//") else rest, name or NAME


def open_index(words: str, *, filled: bool = False) -> Index:
    """The index that `words` name; where there is none yet, the first upsert makes it.

    filled: it is to be read, so that a file or folder that is not there is refused, and not made. Raises UsageError where the
    words name no store, WorkbenchError where its client is not installed or it does not answer.
    """
    store, place, name = parse(words)
    if store == "exact":
        return ExactIndex()
    if filled and store in ON_DISK and "://" not in place:
        require(exists(place), f"index {words}: there is no {place}{where(place)}")
    module, kind, _ = STORES[store]
    opened: Index = getattr(importlib.import_module(f"workbench.retrieval.stores.{module}"), kind)(place, name)
    return opened
