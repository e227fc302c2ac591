"""Open-access works from museums, as a corpus: `workbench corpus fetch`. The network is touched here, and only when asked."""

from workbench.corpora.museums.artic import Artic
from workbench.corpora.museums.cleveland import Cleveland
from workbench.corpora.museums.commons import Commons
from workbench.corpora.museums.fetching import Fetched, fetch
from workbench.corpora.museums.met import Met
from workbench.corpora.museums.nga import NGA
from workbench.corpora.museums.source import LeftOut, MuseumWork, Source

SOURCES: dict[str, Source] = {source.name: source for source in (Met(), Artic(), Cleveland(), Commons(), NGA())}

__all__ = ["SOURCES", "Fetched", "LeftOut", "MuseumWork", "Source", "fetch"]
