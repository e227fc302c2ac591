"""Studies: crossed designs of contents, methods, artists and seeds; their measures, intervals and tests; blind ratings."""

from workbench.study.design import Artist, Cell, Content, Study
from workbench.study.measures import Measures
from workbench.study.tables import pack_table, read_table, write_table

__all__ = ["Artist", "Cell", "Content", "Measures", "Study", "pack_table", "read_table", "write_table"]
