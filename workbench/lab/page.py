"""The scripts of the widgets: modules of their own, for a page loads each by itself and nothing else."""

from pathlib import Path

FOLDER = Path(__file__).parent


def script(name: str) -> str:
    """The script `name`.js behind the functions that several share, as one module."""
    return "\n".join((FOLDER / f"{part}.js").read_text(encoding="utf-8") for part in ("elements", name))
