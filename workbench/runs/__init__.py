"""Notebooks as runs: parameters checked before a kernel starts, papermill, run folders, and the session inside."""

from workbench.runs.browsing import Archive
from workbench.runs.declarations import Parameter, check, parameters, parse
from workbench.runs.execution import RunResult, run
from workbench.runs.session import Session, begin
from workbench.runs.sweeping import Grid, read_grid, sweep
from workbench.runs.swept import SweptRun
from workbench.runs.tidy import strip, stripped

__all__ = [
    "Archive",
    "Grid",
    "Parameter",
    "RunResult",
    "Session",
    "SweptRun",
    "begin",
    "check",
    "parameters",
    "parse",
    "read_grid",
    "run",
    "strip",
    "stripped",
    "sweep",
]
