"""An artist's works: a folder of images, what metadata.csv says of them, and a report of what was left out and why."""

from workbench.corpora.ingest import ingest, state
from workbench.corpora.works import METADATA, Corpus, IngestReport, Work, told_apart

__all__ = ["METADATA", "Corpus", "IngestReport", "Work", "ingest", "state", "told_apart"]
